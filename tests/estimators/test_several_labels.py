"""Indicator matrices as y: scikit-learn's conventions, and what is refused."""

from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse
from sklearn.metrics import accuracy_score, f1_score, roc_auc_score
from sklearn.model_selection import cross_val_score
from sklearn.neural_network import MLPClassifier
from skorch.dataset import ValidSplit
from torch import nn
from torch.utils.data import TensorDataset

from skinfluence import (
    InfluenceCleaner,
    SGDInfluenceClassifier,
    SGDInfluenceRegressor,
    influence_over_runs,
    load_estimator,
    queries,
)
from skinfluence.estimators._losses import losses_by_sample, parts_by_target
from skinfluence.exceptions import UnsupportedCriterionError
from tests.oracles import relative_error

N_LABELS = 3
RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 5))
X_VAL = RNG.normal(size=(16, 5))
# Each label by a feature of its own, and no sample without a neighbour of every kind.
Y, Y_VAL = ((x[:, :N_LABELS] > 0.3).astype(np.int64) for x in (X, X_VAL))


def classifier(module="linear", **options):
    options = {"lr": 0.5, "max_epochs": 5, "random_state": 0, **options}
    return SGDInfluenceClassifier(module, **options)


@pytest.fixture(scope="module")
def clf():
    return classifier().fit(X, Y)


def test_predictions_are_those_of_the_labels_logits(clf):
    with torch.no_grad():
        logits = clf.module_(torch.from_numpy(X_VAL)).numpy()
    expected = 1 / (1 + np.exp(-logits))
    np.testing.assert_allclose(clf.predict_proba(X_VAL), expected, rtol=1e-12)
    np.testing.assert_array_equal(clf.predict(X_VAL), logits > 0)
    assert clf.score(X_VAL, Y_VAL) == (clf.predict(X_VAL) == Y_VAL).all(1).mean()


def test_follows_the_conventions_of_scikit_learns_network(clf):
    theirs = MLPClassifier(max_iter=5, random_state=0)
    with pytest.warns(UserWarning, match="converge"):
        theirs.fit(X, Y)
    assert clf.classes_.tolist() == list(theirs.classes_)
    for method in ("predict", "predict_proba"):
        mine, its = (getattr(each, method)(X_VAL) for each in (clf, theirs))
        assert mine.shape == its.shape
        assert mine.dtype == its.dtype
    assert clf.n_outputs_ == theirs.n_outputs_


@pytest.mark.parametrize(
    "container",
    [
        sparse.csr_matrix,
        sparse.csr_array,
        sparse.coo_array,
        pd.DataFrame,
        lambda y: pd.DataFrame(y).astype("Int64"),
        lambda y: y.astype(bool),
        lambda y: y.astype(float),
        lambda y: y.tolist(),
        torch.from_numpy,
        np.asfortranarray,
    ],
    ids=range(10),
)
def test_containers_of_labels(clf, container):
    other = classifier().fit(X, container(Y))
    expected = clf.influence(X_VAL, Y_VAL)
    np.testing.assert_array_equal(other.influence(X_VAL, container(Y_VAL)), expected)


def test_numbers_in_a_sparse_matrix():
    y = np.where(Y, RNG.normal(size=Y.shape), 0)
    dense, loose = (
        SGDInfluenceRegressor("linear", random_state=0).fit(X, each)
        for each in (y, sparse.csr_array(y))
    )
    np.testing.assert_array_equal(loose.predict(X_VAL), dense.predict(X_VAL))
    assert dense.predict(X_VAL).shape == Y_VAL.shape


def test_module_sizes_and_criterion(clf):
    assert [p.shape for p in clf.module_.parameters()] == [(N_LABELS, 5), (N_LABELS,)]
    assert type(clf.criterion_) is nn.BCEWithLogitsLoss
    one = classifier().fit(X, Y[:, 0])
    assert type(one.criterion_) is nn.CrossEntropyLoss
    mlp = classifier("mlp").fit(X, Y)
    assert [*mlp.module_.parameters()][-1].shape == (N_LABELS,)


def test_probabilities_of_a_module_of_ones_own():
    module = nn.Sequential(nn.Linear(5, N_LABELS, dtype=torch.float64), nn.Sigmoid())
    clf = classifier(module, criterion=nn.BCELoss).fit(X, Y)
    with torch.no_grad():
        expected = clf.module_(torch.from_numpy(X_VAL)).numpy()
    np.testing.assert_allclose(clf.predict_proba(X_VAL), expected, rtol=1e-12)
    scores = clf.influence(X_VAL, Y_VAL, query="error")
    assert np.isfinite(scores).all()


def test_the_accuracy_of_held_out_rows_is_that_of_whole_rows():
    clf = classifier(train_split=ValidSplit(4, stratified=False)).fit(X, Y)
    (_, valid) = clf.get_split_datasets(X, Y.astype(np.float32))
    rows = np.asarray(valid.indices)
    found = clf.history_[-1, "valid_acc"]
    assert found == accuracy_score(Y[rows], clf.predict(X[rows]))


def test_cross_validation():
    found = cross_val_score(classifier(), X, Y, cv=3, scoring="f1_macro")
    assert found.min() > 0.5


def test_influence_over_the_validation_samples_is_that_of_each(clf):
    each = clf.influence(X_VAL, Y_VAL, aggregate=None)
    # Sums in another order: rounding in double precision.
    assert relative_error(each.mean(1), clf.influence(X_VAL, Y_VAL)) < 1e-12


def test_label_influence_in_parts_is_that_at_once(clf, monkeypatch):
    whole = clf.label_influence(X_VAL, Y_VAL)
    monkeypatch.setattr(
        "skinfluence.estimators._questions.label_influence._LABEL_BYTES", 1
    )
    assert relative_error(clf.label_influence(X_VAL, Y_VAL), whole) < 1e-12


def test_label_influence_finds_the_wrong_label_of_a_row():
    y = Y.copy()
    y[7, 1] = 1 - y[7, 1]
    clf = classifier(max_epochs=30).fit(X, y)
    changes = clf.label_influence(X_VAL, Y_VAL, at="path")
    assert np.unravel_index(changes.argmin(), changes.shape) == (7, 1)


@pytest.mark.parametrize(
    ("query", "metric"),
    [
        ("f1_macro", lambda p: f1_score(Y_VAL, p > 0.5, average="macro")),
        ("accuracy", lambda p: accuracy_score(Y_VAL, p > 0.5)),
        ("roc_auc", lambda p: roc_auc_score(Y_VAL, p)),
    ],
    ids=["f1_macro", "accuracy", "roc_auc"],
)
@pytest.mark.parametrize("n_labels", [2, N_LABELS])
def test_scores_of_scikit_learn_as_queries(query, metric, n_labels):
    clf = classifier("mlp", lr=0.1).fit(X, Y[:, :n_labels])
    y_val = Y_VAL[:, :n_labels]
    rows = [0, 3, 5, 8]
    (found,) = clf.counterfactual_influence(X_VAL, y_val, [rows], query=query)
    scores = [
        metric(each.predict_proba(X_VAL)) if n_labels == N_LABELS else None
        for each in (clf, clf.refit_without(rows))
    ]
    if n_labels == N_LABELS:
        assert found == pytest.approx(scores[0] - scores[1], rel=1e-12)
    else:
        # One list of two classes is not taken for those of one label.
        assert np.isfinite(found)


def test_groups_and_functions_of_all_samples_as_queries(clf):
    groups = np.arange(len(X_VAL)) % 2
    worst = clf.influence(X_VAL, Y_VAL, query=queries.worst_group(groups))
    each = clf.influence(X_VAL, Y_VAL, aggregate=None)
    losses = nn.functional.binary_cross_entropy_with_logits(
        torch.from_numpy(X_VAL @ clf.module_.layers[0].weight.detach().numpy().T)
        + clf.module_.layers[0].bias.detach(),
        torch.from_numpy(1.0 * Y_VAL),
        reduction="none",
    ).mean(1)
    means = torch.stack([losses[groups == g].mean() for g in (0, 1)])
    assert np.corrcoef(worst, each[:, groups == int(means.argmax())].mean(1))[0, 1] > 0


@pytest.mark.parametrize(
    "query",
    [
        *("balanced_loss", "balanced_error", "auc", "average_precision", "brier"),
        *("calibration", "f1", "log_loss"),
    ],
)
def test_measures_of_one_label_are_refused(clf, query):
    with pytest.raises(ValueError, match=f"`query` can be '{query}' only where each"):
        clf.influence(X_VAL, Y_VAL, query=query)


@pytest.mark.parametrize(
    ("fitted", "given"),
    [
        (Y, Y_VAL[:, 0]),
        (Y, Y_VAL[:, :2]),
        (Y, np.repeat(Y_VAL, 2, axis=1)),
        (Y[:, 0], Y_VAL),
        (Y[:, 0], Y_VAL[:, :2]),
    ],
    ids=["one label", "fewer", "more", "several", "two"],
)
def test_labels_of_another_kind_than_in_fit_are_refused(fitted, given):
    clf = classifier().fit(X, fitted)
    got = str(given.shape[1:]).replace("(", r"\(").replace(")", r"\)")
    with pytest.raises(ValueError, match=rf"`y_val` must .* as in fit, got {got}"):
        clf.influence(X_VAL, given)
    with pytest.raises(ValueError, match=rf"`y_pool` must .* as in fit, got {got}"):
        clf.addition_influence(X_VAL, given, X, fitted)
    with pytest.raises(ValueError, match=rf"`y` must .* as in fit, got {got}"):
        clf.partial_fit(X_VAL, given)


def test_a_matrix_of_other_numbers_is_refused_later_too(clf):
    with pytest.raises(
        ValueError, match=r"`y_val` must be an indicator matrix .*got 2"
    ):
        clf.influence(X_VAL, 2 * Y_VAL)


NOT_SEVERAL = r"one label for each .*indicator matrix of 0 and 1"


@pytest.mark.parametrize(
    ("options", "y", "message"),
    [
        ({}, 2 * Y, NOT_SEVERAL),
        ({}, 2 * Y - 1, NOT_SEVERAL),
        ({}, Y.astype(str), NOT_SEVERAL),
        ({"criterion": nn.CrossEntropyLoss}, Y, NOT_SEVERAL + ".*CrossEntropyLoss"),
        ({"class_weight": "balanced"}, Y, "`class_weight` must be None .*pos_weight"),
        ({"classes": ["a", "b", "c"]}, Y, "`classes` must be the numbers of the col"),
        ({"criterion": nn.MSELoss}, Y, "`criterion` must be nn.BCEWithLogitsLoss"),
        ({"criterion": nn.BCELoss}, Y, None),
        ({"criterion": "mean"}, Y, "`criterion`|'criterion'"),
        ({"criterion__ignore_index": 1}, Y, "`criterion` must be made with values"),
        ({"criterion__pos_wieght": 1}, Y, "Did you mean `criterion__pos_weight`"),
    ],
    ids=range(11),
)
def test_what_cannot_be_trained_on_is_refused(options, y, message):
    if message is not None:
        with pytest.raises(ValueError, match=message):
            classifier(**options).fit(X, y)


def test_a_regressor_has_no_criterion_by_its_labels():
    with pytest.raises(ValueError, match="'criterion' parameter"):
        SGDInfluenceRegressor(criterion="auto").fit(X, Y)


def test_a_net_that_was_made_for_one_label_is_refused():
    module = nn.Linear(5, N_LABELS, dtype=torch.float64)
    clf = classifier(module).initialize()
    with pytest.raises(ValueError, match="CrossEntropyLoss"):
        clf.partial_fit(X, Y)


def test_samples_to_add(clf):
    found = clf.addition_influence(X, Y, X_VAL, Y_VAL)
    # What was trained on, once more, in all batches on average: about as its absence.
    assert np.corrcoef(found, -clf.influence(X_VAL, Y_VAL))[0, 1] > 0.9
    with pytest.raises(ValueError, match="`y_pool` must be given to a classifier"):
        clf.addition_influence(X_VAL, None, X_VAL, Y_VAL)


def test_other_questions(clf):
    weighted = clf.recipe_influence(X_VAL, Y_VAL)
    assert weighted.class_weight is None
    assert clf.feature_influence(X_VAL, Y_VAL).shape == X.shape
    over_runs = influence_over_runs(clf, X_VAL, Y_VAL, n_runs=2, random_state=0)
    assert over_runs.mean.shape == (len(X),)
    explained = clf.explain(X_VAL[:2], Y_VAL[:2], n_harmful=1, n_helpful=1)
    given = [Y[row].tolist() for row in explained["row"]]
    assert explained["label"].tolist() == given


def test_a_check_says_what_is_always_predicted(clf):
    said = str(clf.check_influence(X_VAL, Y_VAL, n_samples=4))
    common = Y.mean(0) > 0.5
    constant = "no label" if not common.any() else "labels"
    assert f"always predicting {constant}" in said


def test_refit_with_other_labels(clf):
    other = [1, 1, 0]
    found = clf.refit_without([2], relabel={4: other})
    (change,) = clf.counterfactual_influence(X_VAL, Y_VAL, [4], labels=[other])
    expected = clf.refit_without([], relabel={4: other})
    assert found.predict(X_VAL).shape == Y_VAL.shape
    losses = [
        float(each.get_loss(each.forward(X_VAL), torch.from_numpy(1.0 * Y_VAL)))
        for each in (expected, clf)
    ]
    assert change == pytest.approx(losses[0] - losses[1], rel=1e-9)
    with pytest.raises(
        ValueError, match=r"`relabel` must have targets of shape \(3,\)"
    ):
        clf.refit_without([2], relabel={4: 1})
    with pytest.raises(ValueError, match="`relabel` must be an indicator matrix"):
        clf.refit_without([2], relabel={4: [0, 1, 5]})


def test_saved_and_loaded(clf, tmp_path):
    clf.save(tmp_path / "net")
    loaded = load_estimator(tmp_path / "net")
    for method in ("influence", "label_influence"):
        mine, its = (getattr(e, method)(X_VAL, Y_VAL) for e in (clf, loaded))
        np.testing.assert_array_equal(mine, its)
    np.testing.assert_array_equal(loaded.predict(X_VAL), clf.predict(X_VAL))
    with pytest.raises(ValueError, match="as in fit"):
        loaded.influence(X_VAL, Y_VAL[:, 0])


def test_training_that_goes_on_is_one_run():
    once = classifier(max_epochs=4).fit(X, Y)
    twice = classifier(max_epochs=2).fit(X, Y).partial_fit(X, Y, classes=range(3))
    np.testing.assert_array_equal(twice.predict_proba(X), once.predict_proba(X))
    np.testing.assert_array_equal(
        twice.label_influence(X_VAL, Y_VAL), once.label_influence(X_VAL, Y_VAL)
    )


def test_a_run_on_disk_is_resumed(tmp_path):
    options = {"trajectory_dir": tmp_path, "batch_size": 8}
    clf = classifier(**options).fit(X, Y)
    again = classifier(**options).fit(X, Y, resume=True)
    np.testing.assert_array_equal(again.predict_proba(X), clf.predict_proba(X))


def test_fit_again_on_one_label_forgets_the_several():
    clf = classifier().fit(X, Y).fit(X, Y[:, 0])
    assert not clf.multilabel_
    assert clf.predict(X).shape == (len(X),)
    assert clf.label_influence(X_VAL, Y_VAL[:, 0]).shape == (len(X), 2)


class Tagger(nn.Module):
    """A class for each place of a sample."""

    def __init__(self, n_classes=3):
        super().__init__()
        self.linear, self.n_classes = nn.Linear(5, 4 * n_classes), n_classes

    def forward(self, X):
        return self.linear(X.float()).unflatten(1, (self.n_classes, 4))


TOKENS = np.array(["x", "y", "z"])[RNG.integers(0, 3, size=(40, 4))]


def test_sequences_of_labels():
    clf = classifier(Tagger).fit(X, TOKENS)
    assert not clf.multilabel_
    assert clf.classes_.tolist() == ["x", "y", "z"]
    with torch.no_grad():
        logits = clf.module_(torch.from_numpy(X)).numpy()
    expected = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    np.testing.assert_allclose(clf.predict_proba(X), expected, rtol=1e-5)
    np.testing.assert_array_equal(clf.predict(X), clf.classes_[logits.argmax(1)])
    found = clf.influence_by_target(X[:9], TOKENS[:9])
    assert found.shape == TOKENS.shape
    whole = clf.influence(X[:9], TOKENS[:9])
    # Single precision.
    np.testing.assert_allclose(found.sum(1), whole, atol=1e-6)
    table = clf.explain(X[:1], TOKENS[:1], n_harmful=1, n_helpful=0)
    assert table["label"][0] == TOKENS[table["row"][0]].tolist()
    assert clf.check_influence(X[:9], TOKENS[:9], n_samples=4).skill is None


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda c: c.label_influence(X, TOKENS), "one label for each sample"),
        (lambda c: c.influence(X, TOKENS, query="error"), "each sample has one label"),
        (lambda c: c.influence(X, TOKENS[:, 0]), r"shape \(4,\) as in fit, got \(\)"),
        (lambda c: c.influence(X, TOKENS[:, :3]), r"\(4,\) as in fit, got \(3,\)"),
        (
            lambda c: c.counterfactual_influence(X, TOKENS, [0], labels="all"),
            "`labels` must be given for each run",
        ),
        (lambda c: c.fit(X, np.where(TOKENS == "x", "w", "v")), "returns 3 outputs"),
    ],
    ids=["labels", "error", "one", "shorter", "all", "fewer classes"],
)
def test_refuses_of_sequences(ask, message):
    clf = classifier(Tagger).fit(X, TOKENS)
    with pytest.raises((ValueError, UserWarning), match=message):
        ask(clf)


@pytest.mark.filterwarnings("ignore:Some targets are CrossEntropyLoss's ignore_index")
def test_labels_that_stand_for_none_are_no_class():
    y = np.where(TOKENS == "z", -100, np.where(TOKENS == "x", 7, 9))
    clf = classifier(Tagger, module__n_classes=2).fit(X, y)
    assert clf.classes_.tolist() == [7, 9]
    (data,) = clf.training_data_
    np.testing.assert_array_equal(data.y, np.where(y < 0, -100, (y - 7) // 2))
    found = clf.influence_by_target(X[:9], y[:9])
    assert (found[y == -100] == 0).all()
    assert (found[y != -100] != 0).all()
    table = clf.explain(X[:1], y[:1], n_harmful=1, n_helpful=0)
    assert table["label"][0] == y[table["row"][0]].tolist()


def test_targets_are_not_told_apart_in_losses_of_ones_own():
    class Own(SGDInfluenceClassifier):
        def get_losses(self, y_pred, y_true, X=None, training=False):
            return super().get_losses(y_pred, y_true, X=X, training=training)

    own = Own("linear", max_epochs=1, random_state=0).fit(X, Y)
    with pytest.raises(ValueError, match="`get_losses` of Own returns one loss"):
        own.influence_by_target(X_VAL, Y_VAL)
    whole = classifier().fit(X, Y[:, 0])
    np.testing.assert_allclose(
        whole.influence_by_target(X_VAL, Y_VAL[:, 0]),
        whole.influence(X_VAL, Y_VAL[:, 0]),
        rtol=1e-9,
    )


def test_no_bit_changes_where_no_label_stands_for_none():
    losses = torch.rand(5, 7, requires_grad=True)
    other = losses.detach().clone().requires_grad_()
    targets = torch.arange(35).reshape(5, 7) % 3
    criterion = nn.CrossEntropyLoss(reduction="none")
    found = losses_by_sample(criterion, losses, targets, summed=False)
    assert torch.equal(found, other.mean(1))
    weights = torch.rand(5)
    (found @ weights).backward()
    (other.mean(1) @ weights).backward()
    assert torch.equal(losses.grad, other.grad)
    parts = parts_by_target(criterion, losses, targets, summed=False)
    torch.testing.assert_close(parts.sum(1), found)


class Items(torch.utils.data.Dataset):
    def __len__(self):
        return len(X)

    def __getitem__(self, row):
        return X[row], Y[row, 0]


def test_the_classes_of_a_dataset_need_not_be_known():
    module = nn.Linear(5, 2, dtype=torch.float64)
    clf = classifier(module).fit(Items())
    scores = clf.influence(Items(), query="error")
    own = classifier(module).fit(X, Y[:, 0])
    np.testing.assert_array_equal(scores, own.influence(X, Y[:, 0], query="error"))


# ------------------------------------------------------------ what must not be guessed


def linear(n_outputs=3):
    return lambda: nn.Linear(4, n_outputs).double()


def labels_of_rows(seed=0):
    rng = np.random.default_rng(seed)
    inputs = rng.normal(size=(30, 4))
    return inputs, (inputs[:, :3] > 0).astype(int)


SHORT = {"max_epochs": 2, "random_state": 0}


@pytest.mark.parametrize(
    "change",
    [
        lambda y: np.where(y, "yes", "no"),
        lambda y: 2 * y + 1,
        lambda y: np.where(np.arange(3) == 1, -100, y),
    ],
    ids=["words", "odd", "masked"],
)
def test_labels_are_not_taken_for_probabilities(change):
    inputs, y = labels_of_rows()
    with pytest.raises(UnsupportedCriterionError, match="for the probabilities of the"):
        SGDInfluenceClassifier(linear(), **SHORT).fit(inputs, change(y))


def test_a_dataset_of_several_labels_needs_their_criterion():
    inputs, y = labels_of_rows()
    data = TensorDataset(torch.from_numpy(inputs), torch.from_numpy(y))
    with pytest.raises(UnsupportedCriterionError, match="for the probabilities of the"):
        SGDInfluenceClassifier(linear(), **SHORT).fit(data)
    soft = torch.softmax(torch.from_numpy(inputs[:, :3]), 1)
    clf = SGDInfluenceClassifier(linear(), **SHORT)
    clf.fit(TensorDataset(torch.from_numpy(inputs), soft))
    assert clf.history[-1, "train_loss"] > 0


@pytest.mark.parametrize("kind", [SGDInfluenceClassifier, SGDInfluenceRegressor])
def test_columns_of_targets_in_another_order_are_refused(kind):
    inputs, y = labels_of_rows()
    table = pd.DataFrame(y.astype(float), columns=list("abc"))
    fitted = kind("linear", **SHORT).fit(inputs, table)
    with pytest.raises(ValueError, match=r"columns of y must be \['a', 'b', 'c'\]"):
        fitted.influence(inputs, table[list("cab")])
    np.testing.assert_array_equal(
        fitted.influence(inputs, table), fitted.influence(inputs, table.to_numpy())
    )


def test_outputs_are_not_spread_over_several_targets():
    class Squares(nn.MSELoss):
        pass

    inputs, _ = labels_of_rows()
    reg = SGDInfluenceRegressor(linear(1), criterion=Squares, **SHORT)
    with pytest.raises(UnsupportedCriterionError, match="must have the same shape"):
        reg.fit(inputs, inputs[:, :3])


def test_one_number_is_no_row_of_labels():
    inputs, y = labels_of_rows()
    clf = SGDInfluenceClassifier("linear", **SHORT).fit(inputs, y)
    with pytest.raises(ValueError, match=r"`labels\[0\]` must be one label of shape"):
        clf.counterfactual_influence(inputs, y, [3, 4], labels=[0, 1])
    reg = SGDInfluenceRegressor("linear", **SHORT).fit(inputs, inputs[:, :2])
    with pytest.raises(ValueError, match="'all' for a classifier only"):
        reg.counterfactual_influence(inputs, inputs[:, :2], [3], labels="all")


class Places(nn.Module):
    """Three classes at each of five places."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 15).double()

    def forward(self, X):
        return self.layer(X).view(-1, 3, 5)


def test_a_negative_label_of_a_sequence_is_no_class_by_accident():
    inputs, _ = labels_of_rows()
    places = np.random.default_rng(0).integers(0, 3, (30, 5))
    places[2, 1] = -1
    ignoring = partial(nn.CrossEntropyLoss, ignore_index=-1)
    with pytest.raises(ValueError, match="`y` must number the classes of a sequence"):
        SGDInfluenceClassifier(Places, criterion=ignoring, **SHORT).fit(inputs, places)
    with pytest.raises(ValueError, match=r"got -1.*criterion__ignore_index"):
        SGDInfluenceClassifier(Places, **SHORT).fit(inputs, places)
    signs = 2 * labels_of_rows()[1] - 1
    with pytest.raises(ValueError, match="`y` must number the classes of a sequence"):
        SGDInfluenceClassifier(linear(), **SHORT).fit(inputs, signs)


def test_classes_of_sequences_have_no_weights_by_sample():
    inputs, _ = labels_of_rows()
    places = np.random.default_rng(0).integers(0, 3, (30, 5))
    with pytest.raises(ValueError, match="`class_weight` needs one label for each"):
        SGDInfluenceClassifier(Places, class_weight="balanced", **SHORT).fit(
            inputs, places
        )
    clf = SGDInfluenceClassifier(Places, **SHORT).fit(inputs, places)
    with pytest.raises(ValueError, match="a balanced `query` needs one label for each"):
        clf.influence(inputs, places, query="balanced_loss")


def test_a_cleaner_of_sequences_ranks_by_their_loss():
    inputs, _ = labels_of_rows()
    places = np.random.default_rng(0).integers(0, 3, (30, 5))
    cleaner = InfluenceCleaner(
        SGDInfluenceClassifier(Places, **SHORT), n_remove=3, cv=3, random_state=0
    )
    assert cleaner.fit(inputs, places).query_ == "loss"


class Pixels(nn.Module):
    """Three classes for each pixel of a picture, in its shape or in a row."""

    def __init__(self, in_a_row=False):
        super().__init__()
        self.in_a_row = in_a_row
        self.layer = nn.Conv2d(1, 3, 3, padding=1).double()

    def forward(self, X):
        found = self.layer(X)
        return found.flatten(2) if self.in_a_row else found


@pytest.mark.filterwarnings("ignore:Some targets are CrossEntropyLoss's ignore_index")
def test_labels_of_pixels_are_those_of_a_sequence():
    rng = np.random.default_rng(0)
    pictures = rng.normal(size=(20, 1, 4, 4))
    labels = (pictures[:, 0] > 0).astype(int) + (pictures[:, 0] > 1)
    labels[3, 0, 0] = -100  # is no class
    options = {"lr": 0.2, "batch_size": 5, **SHORT}
    clf = SGDInfluenceClassifier(Pixels, **options).fit(pictures[:14], labels[:14])
    rows = labels.reshape(20, 16)
    other = SGDInfluenceClassifier(Pixels, module__in_a_row=True, **options)
    other.fit(pictures[:14], rows[:14])
    found = clf.influence(pictures[14:], labels[14:])
    expected = other.influence(pictures[14:], rows[14:])
    np.testing.assert_allclose(found, expected, rtol=1e-10)
    by_pixel = clf.influence_by_target(pictures[14:], labels[14:])
    assert by_pixel.shape == (14, 4, 4)
    np.testing.assert_allclose(by_pixel.sum((1, 2)), found, rtol=1e-10)
    assert by_pixel[3, 0, 0] == 0
    assert clf.predict(pictures).shape == (20, 4, 4)
    with pytest.raises(ValueError, match="`y` must hold one label for each sample"):
        SGDInfluenceClassifier("mlp", **SHORT).fit(pictures[:, 0, 0], labels)
