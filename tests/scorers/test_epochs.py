"""Scorers of the epochs against logits that were noted in training."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.preprocessing import scale
from skorch.callbacks import Callback
from torch import nn

from skinfluence import SGDInfluenceClassifier, SGDInfluenceRegressor
from skinfluence.exceptions import NotRecordedError
from skinfluence.scorers import (
    AreaUnderMargin,
    Forgetting,
    Loss,
    Margin,
    MeanLoss,
    ProbabilityMargin,
    get_scorer,
)
from tests.cases import MODULES, Case


class Watch(Callback):
    """Notes what the module gives for all data at the end of each epoch."""

    def __init__(self, X):
        self.X = X

    def on_epoch_end(self, net, **kwargs):
        net.module_.eval()
        with torch.no_grad():
            outputs = net.module_(torch.as_tensor(self.X).to(net.dtype_))
        net.seen_ = [*getattr(net, "seen_", []), outputs.double().numpy()]


def watched(case, **options):
    """Return a fitted classifier, X, y and its logits of shape (epochs, n, classes)."""
    X, y, _ = case.data()
    clf = case.classifier(callbacks=[("watch", Watch(X))], **options).fit(X, y)
    return clf, y, np.stack(clf.seen_)


def margin(logits, label):
    return logits[label] - max(z for k, z in enumerate(logits) if k != label)


CASES = [Case(name) for name in MODULES] + [Case("batch_norm", "adam")]


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize(
    "options", [{}, {"record": 2}, {"checkpoint_every": 7}], ids=str
)
def test_means_are_over_the_recorded_epochs(case, options):
    clf, y, logits = watched(case, max_epochs=5, **options)
    kept = logits[-options.get("record", 5) :]
    rows = np.arange(len(y))
    # The same numbers in double precision: only the size of a batch differs.
    losses = -torch.log_softmax(torch.from_numpy(kept), dim=-1).numpy()[:, rows, y]
    np.testing.assert_allclose(MeanLoss()(clf), -losses.mean(0), rtol=1e-10)
    margins = np.array(
        [[margin(z, k) for z, k in zip(t, y, strict=True)] for t in kept]
    )
    np.testing.assert_allclose(AreaUnderMargin()(clf), margins.mean(0), rtol=1e-10)
    np.testing.assert_allclose(Margin()(clf), margins[-1], rtol=1e-10)
    votes = torch.softmax(torch.from_numpy(kept), dim=-1).numpy().mean(axis=0)
    expected = [margin(p, k) for p, k in zip(votes, y, strict=True)]
    found = ProbabilityMargin()(clf)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-14)


def test_one_epoch_has_the_mean_of_the_final_model():
    clf, _, _ = watched(Case("mlp"), max_epochs=1)
    X, y, _ = Case().data()
    assert np.array_equal(MeanLoss()(clf), Loss()(clf, X, y))
    assert np.array_equal(AreaUnderMargin()(clf), Margin()(clf))


def forgotten(right):
    """Count as Toneva et al. do, one epoch after the other."""
    events, known, ever = 0, False, False
    for now in right:
        events += known and not now
        known, ever = now, ever or now
    return events if ever else len(right)


def test_forgetting_counts_what_was_seen():
    # A large learning rate forgets; contradicting labels are never learned.
    X, y = load_iris(return_X_y=True)
    X = scale(X)[::3]
    y = y[::3].copy()
    X = np.concatenate([X, X[:1], X[:1]])
    y = np.append(y, [2, 2])
    clf = SGDInfluenceClassifier(
        lr=0.7, max_epochs=12, callbacks=[("watch", Watch(X))], random_state=0
    ).fit(X, y)
    right = np.stack(clf.seen_).argmax(-1) == y
    expected = np.array([forgotten(sample) for sample in right.T])
    scores = Forgetting()(clf)
    assert np.array_equal(np.floor(-scores), expected)
    # The case is no trivial one: learned at once, forgotten, never learned.
    assert {0, 1, 12} <= set(expected)
    mean = AreaUnderMargin()(clf)
    for count in np.unique(expected):
        group = np.flatnonzero(expected == count)
        assert np.array_equal(np.argsort(scores[group]), np.argsort(mean[group]))


@pytest.mark.parametrize("criterion", [nn.BCEWithLogitsLoss, nn.BCELoss])
@pytest.mark.parametrize("column", [True, False])
def test_a_single_output_is_the_logit_of_the_second_class(criterion, column):
    X, y = load_iris(return_X_y=True)
    X, y = scale(X)[50:], np.where(y[50:] == 1, "b", "a")

    class Single(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 1)

        def forward(self, X):
            z = self.layer(X)
            z = torch.sigmoid(z) if criterion is nn.BCELoss else z
            return z if column else z[:, 0]

    clf = SGDInfluenceClassifier(
        Single, criterion=criterion, max_epochs=2, dtype="float64", random_state=0
    ).fit(X, y)
    with torch.no_grad():
        z = clf.module_.layer(torch.from_numpy(X))[:, 0].numpy()
    np.testing.assert_allclose(Margin()(clf), np.where(y == "b", z, -z), rtol=1e-9)
    clf.set_params(max_epochs=1).fit(X, y)
    wins = clf.predict_proba(X) @ [-1, 1]
    found = ProbabilityMargin()(clf)
    np.testing.assert_allclose(found, np.where(y == "b", wins, -wins), rtol=1e-9)


def test_probabilities_have_the_margin_of_their_logits():
    X, y, _ = Case().data()
    logits = MODULES["mlp"]
    options = {"max_epochs": 2}
    plain = Case().classifier(**options).fit(X, y)
    softmax = Case().classifier(**options)
    softmax.set_params(
        module=lambda: nn.Sequential(logits(), nn.Softmax(-1)), criterion=nn.NLLLoss
    )
    softmax.fit(X, y)
    np.testing.assert_allclose(Margin()(softmax), Margin()(plain), rtol=1e-9)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_margin_of_other_classifiers_is_that_of_their_logits(n_classes):
    X, y = load_iris(return_X_y=True)
    X, y = X[y < n_classes], y[y < n_classes]
    clf = LogisticRegression(max_iter=1000).fit(X, y)
    decision = clf.decision_function(X)
    if n_classes == 2:
        expected = np.where(y == 1, decision, -decision)
    else:
        expected = [margin(z, k) for z, k in zip(decision, y, strict=True)]
    # The logarithm of a probability near 1 has lost some digits.
    np.testing.assert_allclose(Margin()(clf, X, y), expected, rtol=1e-6)


def test_training_on_and_going_back_are_seen():
    case = Case("mlp")
    X, y, _ = case.data()
    whole = case.classifier(max_epochs=4).fit(X, y)
    parts = case.classifier(max_epochs=2).fit(X, y)
    parts.partial_fit(X, y)
    assert np.array_equal(AreaUnderMargin()(whole), AreaUnderMargin()(parts))


NAMES = {
    "mean_loss": MeanLoss,
    "margin": Margin,
    "area_under_margin": AreaUnderMargin,
    "forgetting": Forgetting,
    "probability_margin": ProbabilityMargin,
}


@pytest.mark.parametrize("name", NAMES)
def test_names(name):
    scorer = get_scorer(name, at="path", last_epochs=2)
    assert type(scorer) is NAMES[name]
    scorer.check_estimator(SGDInfluenceClassifier())


@pytest.mark.parametrize("name", sorted({*NAMES} - {"margin"}))
def test_says_what_is_lacking(name):
    scorer = get_scorer(name)
    with pytest.raises(TypeError, match=f"for the scorer '{name}', got Log"):
        scorer.check_estimator(LogisticRegression())
    with pytest.raises(NotRecordedError, match=f"'{name}', got record=None"):
        scorer.check_estimator(SGDInfluenceClassifier(record=None))
    if name == "mean_loss":
        scorer.check_estimator(SGDInfluenceRegressor())
    else:
        with pytest.raises(TypeError, match=f"a classifier for .*'{name}', got SGD"):
            scorer.check_estimator(SGDInfluenceRegressor())


def test_a_probability_margin_needs_probabilities():
    clf = SGDInfluenceClassifier(criterion=nn.MultiMarginLoss)
    with pytest.raises(ValueError, match=r"probabilities .*'probability_margin'"):
        ProbabilityMargin().check_estimator(clf)
    AreaUnderMargin().check_estimator(clf)


def test_says_what_a_margin_lacks():
    with pytest.raises(TypeError, match="`predict_proba` for the scorer 'margin'"):
        Margin().check_estimator(RidgeClassifier())
    with pytest.raises(TypeError, match="must be a classifier for the scorer 'margin'"):
        Margin().check_estimator(SGDInfluenceRegressor())

    class Image(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Conv2d(1, 3, 3, padding=1)

        def forward(self, X):
            return self.layer(X)

    class Pixelwise(SGDInfluenceClassifier):
        def get_losses(self, y_pred, y_true, X=None, training=False):
            return y_pred.flatten(1).square().mean(1)

    X, y, _ = Case().data()
    clf = Pixelwise(Image, max_epochs=1).fit(X.astype(np.float32), y)
    with pytest.raises(ValueError, match=r"have shape \(14, 3, 6, 6\). Use the scorer"):
        Margin()(clf)
