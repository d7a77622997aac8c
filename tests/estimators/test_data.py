"""Data in all its forms, modules and criteria of one's own."""

import copy
import math
import pickle
from functools import partial

import numpy as np
import pytest
import torch
from skorch.dataset import Dataset as SkorchDataset
from skorch.dataset import ValidSplit
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset, default_collate

from skinfluence import SGDInfluenceClassifier, SGDInfluenceRegressor
from skinfluence.estimators import ArrayDataset
from skinfluence.exceptions import UnsupportedCriterionError
from tests.cases import Case, rough
from tests.oracles import Spy, cross_entropy, finite_differences, relative_error

# What the library promises; the oracle's own error is about 1e-8.
TOLERANCE = 1e-6

N, N_VAL, SIDE = 12, 5, 4
RNG = np.random.default_rng(0)
LABELS, LABELS_VAL = np.arange(N) % 3, np.arange(N_VAL) % 3
IMAGES = RNG.normal(size=(N, 1, SIDE, SIDE)) + 0.5 * LABELS[:, None, None, None]
IMAGES_VAL = RNG.normal(size=(N_VAL, 1, SIDE, SIDE))
FLAT, FLAT_VAL = IMAGES.reshape(N, -1), IMAGES_VAL.reshape(N_VAL, -1)
TARGETS = np.tanh(FLAT @ RNG.normal(size=(SIDE * SIDE, 2)))
TARGETS_VAL = np.tanh(FLAT_VAL @ RNG.normal(size=(SIDE * SIDE, 2)))

OPTIONS = {
    "max_epochs": 2,
    "batch_size": 5,
    "lr": 0.1,
    "optimizer__momentum": 0.7,
    "dtype": "float64",
    "random_state": 0,
}


def mlp(n_outputs=3, *last):
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(SIDE * SIDE, 4),
        nn.Tanh(),
        nn.Dropout(0.3),
        nn.Linear(4, n_outputs),
        *last,
    )


def classifier(module=mlp, **options):
    return SGDInfluenceClassifier(module, **{**OPTIONS, **options})


def regressor(module, **options):
    return SGDInfluenceRegressor(module, **{**OPTIONS, **options})


def error(
    estimator,
    X,
    y,
    X_val,
    y_val,
    *,
    loss=cross_entropy,
    identify=lambda inputs: inputs.flatten(1),
    val=None,
    **fit,
):
    """Return the error of `influence` against finite differences.

    The oracle sees the batches as the loader gave them, tells samples by the values
    that `identify` finds in them, and takes `val`, the inputs and targets as tensors.
    """
    spy = Spy()
    estimator.set_params(callbacks=[spy]).fit(X, y, **fit)
    inputs, targets = val or (torch.from_numpy(X_val), torch.from_numpy(y_val))

    def query(ends, base):
        with torch.no_grad():
            return loss(ends[-1].eval()(inputs), targets).mean().numpy()

    expected = finite_differences(
        spy.run,
        FLAT,
        query,
        seeds=[record.seed or 0 for record in estimator.trajectory_.records],
        loss=loss,
        identify=identify,
    )
    assert np.abs(expected).max() > 1e-4
    found = estimator.influence(X_val, y_val)
    assert found.shape == (N,)
    return relative_error(found, expected)


def same_weights(one, other):
    mine, theirs = one.module_.state_dict(), other.module_.state_dict()
    return all(torch.equal(mine[name], theirs[name]) for name in mine)


# --- forms of X ----------------------------------------------------------------------


class Items(torch.utils.data.Dataset):
    """A Dataset of a user's own: nothing is known of it but its length and items."""

    def __init__(self, X, y):
        self.items = list(zip(X, y, strict=True))

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        return self.items[index]


class Parts(nn.Module):
    """Takes several inputs, by name or as a list."""

    def __init__(self):
        super().__init__()
        self.body = mlp()

    def forward(self, *given, a=None, b=None):
        a, b = given[0] if given else (a, b)
        return self.body(torch.cat([a, b], dim=1))


def parts(X):
    return {"a": X[:, :6], "b": X[:, 6:]}


def tensors(*arrays):
    return tuple(map(torch.from_numpy, arrays))


FORMS = {
    "4d": (mlp, lambda X, y: (X, y)),
    "tensors": (mlp, tensors),
    "lists": (mlp, lambda X, y: (X.tolist(), y.tolist())),
    "tensor_dataset": (mlp, lambda X, y: (TensorDataset(*tensors(X, y)), None)),
    "skorch_dataset": (mlp, lambda X, y: (SkorchDataset(X, y), None)),
    "array_dataset": (mlp, lambda X, y: (ArrayDataset(X, y), None)),
    "own_dataset": (mlp, lambda X, y: (Items(X, y), None)),
    "dict": (Parts, lambda X, y: (parts(X.reshape(len(X), -1)), y)),
    "list": (Parts, lambda X, y: (list(parts(X.reshape(len(X), -1)).values()), y)),
    "dict_of_tensors": (
        Parts,
        lambda X, y: (parts(torch.from_numpy(X.reshape(len(X), -1))), y),
    ),
    "single_precision_dict": (
        Parts,
        lambda X, y: (parts(X.reshape(len(X), -1).astype(np.float32)), y),
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same(form):
    # Only the form differs: the same module, the same batches, the same dropout.
    module, wrap = FORMS[form]
    images, images_val = IMAGES, IMAGES_VAL
    if form.startswith("single"):
        images, images_val = (
            a.astype(np.float32).astype(float) for a in (IMAGES, IMAGES_VAL)
        )
    plain = classifier().fit(images, LABELS)
    clf = classifier(module).fit(*wrap(images, LABELS))
    assert all(
        torch.equal(mine, theirs)
        for mine, theirs in zip(
            clf.module_.parameters(), plain.module_.parameters(), strict=True
        )
    )
    np.testing.assert_array_equal(
        clf.influence(*wrap(images_val, LABELS_VAL)),
        plain.influence(images_val, LABELS_VAL),
    )
    X, _ = wrap(images, LABELS)
    np.testing.assert_array_equal(clf.predict_proba(X), plain.predict_proba(images))
    np.testing.assert_array_equal(clf.predict(X), plain.predict(images))


def first_leaves(inputs):
    inputs = inputs.values() if isinstance(inputs, dict) else inputs
    return torch.cat(list(inputs), dim=1)


def test_finite_differences_of_4d_input():
    assert error(classifier(), IMAGES, LABELS, IMAGES_VAL, LABELS_VAL) <= TOLERANCE


def test_finite_differences_of_a_dict():
    inputs = {name: torch.from_numpy(x) for name, x in parts(FLAT_VAL).items()}

    class Named(Parts):
        """Called by the oracle with the dict itself."""

        def forward(self, given=None, **inputs):
            return super().forward(**(given or inputs))

    found = error(
        classifier(Named),
        parts(FLAT),
        LABELS,
        parts(FLAT_VAL),
        LABELS_VAL,
        identify=first_leaves,
        val=(inputs, torch.from_numpy(LABELS_VAL)),
    )
    assert found <= TOLERANCE


def test_finite_differences_of_a_dataset():
    # Its items are fetched again in the retrace: dropout must not see that.
    found = error(
        classifier(),
        Items(IMAGES, LABELS),
        None,
        IMAGES_VAL,
        LABELS_VAL,
    )
    assert found <= TOLERANCE


def test_a_dataset_under_a_train_split():
    # skorch's accuracy has to be told the classes of such a Dataset.
    options = {"train_split": ValidSplit(3), "classes": [0, 1, 2]}
    clf = classifier(**options).fit(Items(IMAGES, LABELS))
    plain = classifier(**options).fit(IMAGES, LABELS)
    assert clf.history[:, "valid_acc"] == plain.history[:, "valid_acc"]
    found = clf.influence(IMAGES_VAL, LABELS_VAL)
    np.testing.assert_array_equal(found, plain.influence(IMAGES_VAL, LABELS_VAL))
    assert (found[: N // 3] == 0).all()
    assert (found[N // 3 :] != 0).all()


def test_targets_beside_a_dataset_only_split_it():
    # skorch takes y beside a Dataset for stratified splits. The Dataset's own
    # targets are trained on, whatever they are called outside.
    names = np.array(["c", "a", "b"])[LABELS]
    split = ValidSplit(2, stratified=True)
    clf = classifier(train_split=split).fit(Items(IMAGES, LABELS), names)
    plain = classifier(train_split=split).fit(IMAGES, LABELS)
    assert same_weights(clf, plain)
    np.testing.assert_array_equal(clf.predict(IMAGES), plain.predict(IMAGES))
    np.testing.assert_array_equal(
        clf.influence(IMAGES_VAL, LABELS_VAL), plain.influence(IMAGES_VAL, LABELS_VAL)
    )


def test_a_datasets_targets_are_places_of_outputs():
    # No sample of class 1: class 2 is output 2 all the same.
    labels = np.where(LABELS == 1, 2, LABELS)
    clf = classifier(lr=0.5, max_epochs=20).fit(SkorchDataset(IMAGES, labels))
    plain = classifier(lr=0.5, max_epochs=20, classes=[0, 1, 2]).fit(IMAGES, labels)
    assert same_weights(clf, plain)
    assert set(clf.predict(IMAGES)) == {0, 2}
    np.testing.assert_array_equal(
        clf.influence(IMAGES_VAL, LABELS_VAL), plain.influence(IMAGES_VAL, LABELS_VAL)
    )


def test_classes_name_a_datasets_targets():
    names = ["x", "y", "z"]
    clf = classifier(classes=names).fit(Items(IMAGES, LABELS))
    plain = classifier().fit(IMAGES, np.array(names)[LABELS])
    np.testing.assert_array_equal(clf.predict(IMAGES), plain.predict(IMAGES))
    np.testing.assert_array_equal(
        clf.influence(IMAGES_VAL, np.array(names)[LABELS_VAL]),
        plain.influence(IMAGES_VAL, np.array(names)[LABELS_VAL]),
    )


def test_from_a_dataset_to_arrays_and_back():
    names = np.array(["x", "y", "z"])
    clf = classifier().fit(Items(IMAGES, LABELS))
    assert set(clf.predict(IMAGES)) <= {0, 1, 2}
    clf.fit(IMAGES, names[LABELS])
    assert set(clf.predict(IMAGES)) <= set(names)
    clf.partial_fit(Items(IMAGES, LABELS))
    assert clf.classes_.tolist() == names.tolist()
    assert set(clf.predict(IMAGES)) <= set(names)
    clf.fit(Items(IMAGES, LABELS))
    assert set(clf.predict(IMAGES)) <= {0, 1, 2}


def test_a_dataset_forgets_the_shapes_of_the_fit_before():
    clf = classifier().fit(FLAT[:, :8].repeat(2, axis=1), LABELS)
    clf.fit(Items(IMAGES, LABELS))
    assert not hasattr(clf, "n_features_in_")
    plain = classifier().fit(IMAGES, LABELS)
    np.testing.assert_array_equal(
        clf.influence(IMAGES_VAL, LABELS_VAL), plain.influence(IMAGES_VAL, LABELS_VAL)
    )
    reg = regressor(partial(mlp, 1)).fit(IMAGES, TARGETS[:, 0])
    reg.set_params(module=partial(mlp, 2)).fit(Items(IMAGES, TARGETS))
    assert reg.predict(IMAGES).shape == (N, 2)


@pytest.mark.parametrize("y", [TARGETS, TARGETS[:, 0]], ids=["two", "one"])
def test_a_dataset_of_a_regression(y):
    module = partial(mlp, 2) if y.ndim == 2 else partial(mlp, 1, nn.Flatten(0))
    reg, plain = regressor(module), regressor(module)
    reg.fit(Items(IMAGES, y))
    plain.fit(IMAGES, y)
    np.testing.assert_array_equal(reg.predict(IMAGES), plain.predict(IMAGES))
    np.testing.assert_array_equal(
        reg.influence(IMAGES_VAL, y[:N_VAL]), plain.influence(IMAGES_VAL, y[:N_VAL])
    )


def test_weights_for_a_dataset():
    weights = np.arange(1.0, N + 1)
    clf = classifier().fit(Items(IMAGES, LABELS), sample_weight=weights)
    plain = classifier().fit(IMAGES, LABELS, sample_weight=weights)
    assert same_weights(clf, plain)


def test_integer_inputs_stay_integers_for_a_module_of_ones_own():
    tokens = RNG.integers(0, 7, size=(N, 4))

    def embedding():
        return nn.Sequential(nn.Embedding(7, 3), nn.Flatten(), nn.Linear(12, 3))

    clf = classifier(embedding).fit(tokens, LABELS)
    assert np.abs(clf.influence(tokens[:4], LABELS[:4])).max() > 0


# --- loaders -------------------------------------------------------------------------


class Loader(DataLoader):
    """A loader of a user's own."""


def collate(samples):
    """Collate as users do: from a list of (x, y) pairs."""
    inputs, targets = zip(*samples, strict=True)
    return default_collate(list(inputs)), default_collate(list(targets))


@pytest.mark.parametrize(
    "options",
    [
        {"iterator_train": Loader},
        {"iterator_valid": Loader},
        {"iterator_train__collate_fn": collate, "iterator_valid__collate_fn": collate},
        {"iterator_train__collate_fn": collate, "iterator_train__num_workers": 1},
        {"dataset": SkorchDataset},
        {"iterator_valid__batch_size": 2},
    ],
    ids=lambda options: "-".join(options),
)
@pytest.mark.parametrize("split", [None, ValidSplit(3)])
def test_loaders_of_ones_own_load_the_same(options, split):
    plain = classifier(train_split=split).fit(IMAGES, LABELS)
    clf = classifier(train_split=split, **options).fit(IMAGES, LABELS)
    assert same_weights(clf, plain)
    np.testing.assert_allclose(
        clf.influence(IMAGES_VAL, LABELS_VAL),
        plain.influence(IMAGES_VAL, LABELS_VAL),
        # The query's batches may be others: double precision's rounding.
        rtol=1e-12,
    )


def test_a_collate_function_takes_part_in_the_retrace():
    def double(samples):
        inputs, targets = collate(samples)
        return 2 * inputs, targets

    clf = classifier(iterator_train__collate_fn=double).fit(IMAGES, LABELS)
    plain = classifier().fit(2 * IMAGES, LABELS)
    assert same_weights(clf, plain)
    np.testing.assert_array_equal(
        clf.influence(IMAGES_VAL, LABELS_VAL), plain.influence(IMAGES_VAL, LABELS_VAL)
    )


QUERY_SAMPLING = {
    "shuffle": {"iterator_valid__shuffle": True},
    "drop_last": {"iterator_valid__drop_last": True, "iterator_valid__batch_size": 4},
    "sampler": {"iterator_valid__sampler": torch.utils.data.RandomSampler(range(3))},
    "batch_sampler": {"iterator_valid__batch_sampler": [[2, 1], [0]]},
}


# skorch says what a shuffled prediction would be; here it is none.
@pytest.mark.filterwarnings("ignore:You set iterator_valid__shuffle")
@pytest.mark.parametrize("name", QUERY_SAMPLING)
@pytest.mark.parametrize("as_dataset", [False, True])
def test_a_query_takes_every_row_in_order(name, as_dataset):
    options = QUERY_SAMPLING[name]
    size = options.get("iterator_valid__batch_size", OPTIONS["batch_size"])
    plain = classifier(iterator_valid__batch_size=size).fit(IMAGES, LABELS)
    clf = classifier(**options).fit(IMAGES, LABELS)
    val = (
        (Items(IMAGES_VAL, LABELS_VAL), None)
        if as_dataset
        else (IMAGES_VAL, LABELS_VAL)
    )
    for aggregate in ("mean", None):
        found = clf.influence(*val, aggregate=aggregate)
        expected = plain.influence(IMAGES_VAL, LABELS_VAL, aggregate=aggregate)
        assert relative_error(found, expected) <= 1e-12
    np.testing.assert_array_equal(
        clf.predict_proba(IMAGES_VAL), plain.predict_proba(IMAGES_VAL)
    )


class Thinned(DataLoader):
    """A loader that leaves rows out by itself."""

    def __iter__(self):
        return (batch for k, batch in enumerate(super().__iter__()) if k)


def test_a_query_loader_that_leaves_out_rows_is_refused():
    clf = classifier(iterator_valid=Thinned).fit(IMAGES, LABELS)
    n_val = len(IMAGES_VAL)
    left = n_val - OPTIONS["batch_size"]
    message = f"`iterator_valid` must load every row.*got {left} of {n_val} rows"
    with pytest.raises(ValueError, match=message):
        clf.influence(IMAGES_VAL, LABELS_VAL)


# --- modules -------------------------------------------------------------------------


def lazy():
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(4), nn.Tanh(), nn.LazyLinear(3))


def test_lazy_modules():
    assert error(classifier(lazy), IMAGES, LABELS, IMAGES_VAL, LABELS_VAL) <= TOLERANCE


@pytest.mark.parametrize("dtype", ["auto", "float64"])
def test_lazy_modules_have_the_dtype_asked_for(dtype):
    clf = classifier(lazy, dtype=dtype).fit(IMAGES, LABELS)
    expected = torch.float64 if dtype == "float64" else torch.float32
    assert {p.dtype for p in clf.module_.parameters()} == {expected}


def test_a_module_instance_is_never_changed():
    module = mlp().double()
    before = copy.deepcopy(module.state_dict())
    clf = classifier(module).fit(IMAGES, LABELS)
    first = clf.influence(IMAGES_VAL, LABELS_VAL)
    assert clf.module is module
    assert clf.module_ is not module
    again = classifier(module).fit(IMAGES, LABELS)
    clf.fit(IMAGES, LABELS)
    assert same_weights(clf, again)
    np.testing.assert_array_equal(clf.influence(IMAGES_VAL, LABELS_VAL), first)
    for name, value in module.state_dict().items():
        assert torch.equal(value, before[name])
    assert all(p.grad is None for p in module.parameters())


def test_finite_differences_of_an_instance():
    module = mlp().double()
    assert (
        error(classifier(module), IMAGES, LABELS, IMAGES_VAL, LABELS_VAL) <= TOLERANCE
    )


def test_frozen_parameters():
    module = mlp().double()
    module[1].requires_grad_(False)
    clf = classifier(module)
    assert error(clf, IMAGES, LABELS, IMAGES_VAL, LABELS_VAL) <= TOLERANCE
    assert len(clf.trajectory_.final.parameters) == 4 * 3 + 3
    assert torch.equal(clf.module_[1].weight, module[1].weight)


class Shared(nn.Module):
    """One layer used twice, and a parameter that is never used."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(16, 16)
        self.unused = nn.Parameter(torch.ones(3))
        self.head = nn.Linear(16, 3)

    def forward(self, X):
        return self.head(torch.tanh(self.layer(torch.tanh(self.layer(X.flatten(1))))))


def test_shared_and_unused_parameters():
    clf = classifier(Shared)
    assert error(clf, IMAGES, LABELS, IMAGES_VAL, LABELS_VAL) <= TOLERANCE
    assert torch.equal(clf.module_.unused, torch.ones(3, dtype=torch.float64))


def test_forward_takes_what_fit_is_given():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = mlp()

        def forward(self, X, scale=1.0):
            return self.body(scale * X)

    clf = classifier(Scaled).fit(IMAGES, LABELS, scale=0.5)
    plain = classifier().fit(0.5 * IMAGES, LABELS)
    np.testing.assert_array_equal(
        clf.influence(IMAGES_VAL, LABELS_VAL), plain.influence(IMAGES_VAL, LABELS_VAL)
    )


# --- criteria ------------------------------------------------------------------------

CLASS_WEIGHT = torch.tensor([0.5, 1.0, 2.5], dtype=torch.float64)


@pytest.mark.parametrize(
    "criterion",
    [
        nn.CrossEntropyLoss(label_smoothing=0.2),
        nn.CrossEntropyLoss(weight=CLASS_WEIGHT),
        nn.CrossEntropyLoss(reduction="none"),
    ],
    ids=["label_smoothing", "weight", "none"],
)
def test_criterion_instances(criterion):
    # The mean over the batch of each sample's own loss, also with class weights.
    each = copy.deepcopy(criterion)
    each.reduction = "none"
    clf = classifier(criterion=criterion)
    assert error(clf, IMAGES, LABELS, IMAGES_VAL, LABELS_VAL, loss=each) <= TOLERANCE
    assert clf.criterion is criterion
    assert clf.criterion_ is not criterion


def test_a_criterion_instance_is_not_changed():
    criterion = nn.CrossEntropyLoss()
    classifier(criterion=criterion).fit(IMAGES, LABELS)
    assert criterion.reduction == "mean"


def test_criterion_parameters():
    clf = classifier(criterion__label_smoothing=0.2).fit(IMAGES, LABELS)
    plain = classifier(criterion=nn.CrossEntropyLoss(label_smoothing=0.2))
    assert same_weights(clf, plain.fit(IMAGES, LABELS))


def binary_loss(outputs, targets):
    targets = targets.to(outputs).reshape(outputs.shape)
    losses = functional.binary_cross_entropy_with_logits(
        outputs, targets, reduction="none"
    )
    return losses.reshape(len(losses))


@pytest.mark.parametrize("last", [(), (nn.Flatten(0),)], ids=["(n, 1)", "(n,)"])
def test_a_single_logit(last):
    names, y, y_val = np.array(["no", "yes"]), LABELS % 2, LABELS_VAL % 2
    clf = classifier(partial(mlp, 1, *last), criterion=nn.BCEWithLogitsLoss)
    found = error(
        clf,
        IMAGES,
        names[y],
        IMAGES_VAL,
        names[y_val],
        loss=binary_loss,
        val=tensors(IMAGES_VAL, y_val),
    )
    assert found <= TOLERANCE
    probabilities = clf.predict_proba(IMAGES)
    assert probabilities.shape == (N, 2)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0)
    predicted = clf.predict(IMAGES)
    assert predicted.shape == (N,)
    np.testing.assert_array_equal(predicted == "yes", probabilities[:, 1] > 0.5)


def test_log_likelihood_of_probabilities():
    # skorch takes the logarithm of what the module gives, raised by an epsilon.
    def loss(outputs, targets):
        logs = (outputs + torch.finfo(outputs.dtype).eps).log()
        return functional.nll_loss(logs, targets, reduction="none")

    clf = classifier(partial(mlp, 3, nn.Softmax(dim=1)), criterion=nn.NLLLoss)
    assert error(clf, IMAGES, LABELS, IMAGES_VAL, LABELS_VAL, loss=loss) <= TOLERANCE
    np.testing.assert_allclose(clf.predict_proba(IMAGES).sum(axis=1), 1.0)


CRITERIA = {
    "mse": (nn.MSELoss, lambda d: d**2),
    "l1": (nn.L1Loss, abs),
    "huber": (
        partial(nn.HuberLoss, delta=0.3),
        lambda d: torch.where(abs(d) < 0.3, d**2 / 2, 0.3 * (abs(d) - 0.15)),
    ),
    "smooth_l1": (
        nn.SmoothL1Loss,
        lambda d: torch.where(abs(d) < 1, d**2 / 2, abs(d) - 0.5),
    ),
}


@pytest.mark.parametrize("outputs", ["(n,)", "(n, 1)", "(n, 2)"])
@pytest.mark.parametrize("name", CRITERIA)
def test_regression(name, outputs):
    criterion, of_difference = CRITERIA[name]
    width = 2 if outputs == "(n, 2)" else 1
    last = (nn.Flatten(0),) if outputs == "(n,)" else ()
    y, y_val = TARGETS, TARGETS_VAL
    if width == 1:
        y, y_val = y[:, 0], y_val[:, 0]

    def loss(found, targets):
        # The mean over a sample's outputs; by hand, so that nothing is broadcast.
        difference = found.reshape(len(found), width) - targets.reshape(-1, width)
        return of_difference(difference).mean(1)

    reg = regressor(partial(mlp, width, *last), criterion=criterion)
    assert error(reg, IMAGES, y, IMAGES_VAL, y_val, loss=loss) <= TOLERANCE
    assert reg.predict(IMAGES).shape == y.shape
    residual = y - reg.predict(IMAGES)
    expected = 1 - (residual**2).sum(0) / ((y - y.mean(0)) ** 2).sum(0)
    assert reg.score(IMAGES, y) == pytest.approx(expected.mean())


@rough
@pytest.mark.parametrize(("module", "y"), [("mlp", TARGETS), ("linear", TARGETS[:, 0])])
def test_regression_with_the_built_in_modules(module, y):
    y_val = TARGETS_VAL if y.ndim == 2 else TARGETS_VAL[:, 0]

    def loss(found, targets):
        return ((found - targets) ** 2).reshape(len(found), -1).mean(1)

    # A kink is no trouble to the oracle where nothing comes near it.
    options = {"module__activation": "tanh"} if module == "mlp" else {}
    reg = regressor(module, dtype="auto", **options)
    assert error(reg, FLAT, y, FLAT_VAL, y_val, loss=loss) <= TOLERANCE


def test_a_loss_of_ones_own():
    class Focal(SGDInfluenceClassifier):
        """Overrides what is said to be overridden."""

        def get_losses(self, y_pred, y_true, X=None, training=False):
            return focal(y_pred, y_true)

    def focal(outputs, targets):
        losses = cross_entropy(outputs, targets)
        return (1 - torch.exp(-losses)) ** 2 * losses

    clf = Focal(mlp, **OPTIONS)
    assert error(clf, IMAGES, LABELS, IMAGES_VAL, LABELS_VAL, loss=focal) <= TOLERANCE


def test_a_sum_over_outputs():
    # KLDivLoss's "batchmean" sums over a sample's outputs; "mean" is their mean.
    def log_probabilities():
        return mlp(3, nn.LogSoftmax(dim=1))

    class Divergence(nn.KLDivLoss):
        def forward(self, outputs, targets):
            return super().forward(outputs, functional.one_hot(targets, 3).double())

    def loss(outputs, targets):
        return -outputs[torch.arange(len(outputs)), targets]

    clf = classifier(log_probabilities, criterion=Divergence(reduction="batchmean"))
    assert error(clf, IMAGES, LABELS, IMAGES_VAL, LABELS_VAL, loss=loss) <= TOLERANCE


class Scalar(nn.Module):
    def forward(self, outputs, targets):
        return functional.cross_entropy(outputs, targets)


@pytest.mark.parametrize(
    ("criterion", "message"),
    [
        (Scalar, r"one loss for each sample.*got shape \(\) for 2 samples from Scalar"),
        (nn.CrossEntropyLoss(reduction="sum"), r"reduction 'mean' or 'none' .*'sum'"),
    ],
)
def test_criteria_without_a_loss_for_each_sample_are_refused(criterion, message):
    with pytest.raises(UnsupportedCriterionError, match=message):
        classifier(criterion=criterion).fit(IMAGES, LABELS)


class Untrained(nn.Module):
    """Has outputs of some shape, and must not be trained."""

    def __init__(self, *shape):
        super().__init__()
        self.shape = shape
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, x):
        assert not self.training
        return (
            (self.weight * x.flatten(1).sum(1))
            .reshape(-1, 1)
            .expand(-1, math.prod(self.shape))
            .reshape(-1, *self.shape)
        )


LOGARITHMS = lambda: mlp(3, nn.LogSoftmax(dim=1))  # noqa: E731
THREE_BY_FIVE = np.random.default_rng(0).normal(size=(N, 3, 5))


@pytest.mark.parametrize(
    ("make", "module", "criterion", "y", "message"),
    [
        (classifier, LOGARITHMS, nn.NLLLoss, LABELS, "logarithm.*CrossEntropyLoss"),
        (
            classifier,
            partial(Untrained, 1),
            nn.BCEWithLogitsLoss,
            LABELS,
            "two classes, got 3.*CrossEntropyLoss.*indicator matrix",
        ),
        (
            classifier,
            partial(Untrained, 3),
            nn.BCEWithLogitsLoss,
            LABELS,
            "two classes, got 3",
        ),
        (
            classifier,
            partial(Untrained, 2),
            nn.BCEWithLogitsLoss,
            LABELS % 2,
            r"same shape but for axes of size 1, got \(2, 2\) and \(2,\)",
        ),
        (
            regressor,
            partial(Untrained, 2),
            nn.MSELoss,
            TARGETS[:, 0],
            r"same shape but for axes of size 1, got \(2, 2\) and \(2,\)",
        ),
    ],
)
@pytest.mark.parametrize("as_dataset", [False, True])
def test_outputs_that_the_criterion_would_mistake(
    make, module, criterion, y, message, as_dataset
):
    data = (Items(IMAGES, y), None) if as_dataset else (IMAGES, y)
    with pytest.raises(UnsupportedCriterionError, match=message):
        make(module, criterion=criterion).fit(*data)


def test_axes_of_targets_are_not_rearranged():
    # Only a Dataset's targets may have more than two axes.
    for shape in ((5, 3), (15,)):
        data = Items(IMAGES, THREE_BY_FIVE.reshape(N, *shape))
        with pytest.raises(UnsupportedCriterionError, match="but for axes of size 1"):
            regressor(partial(Untrained, 3, 5)).fit(data)
    with_ones = Items(IMAGES, THREE_BY_FIVE[:, None])
    module = partial(mlp, 15, nn.Unflatten(1, (3, 5)))
    reg = regressor(module).fit(with_ones)
    plain = regressor(module).fit(Items(IMAGES, THREE_BY_FIVE))
    assert same_weights(reg, plain)


def test_log_probabilities_have_the_same_loss_under_the_cross_entropy():
    def nll(outputs, targets):
        return functional.nll_loss(outputs, targets, reduction="none")

    clf = classifier(LOGARITHMS)
    assert error(clf, IMAGES, LABELS, IMAGES_VAL, LABELS_VAL, loss=nll) <= TOLERANCE
    np.testing.assert_allclose(clf.predict_proba(IMAGES).sum(axis=1), 1.0)


@pytest.mark.parametrize("as_dataset", [False, True])
def test_ignored_targets_count_in_the_mean(as_dataset):
    def loss(outputs, targets):
        return torch.where(targets == 2, 0.0, cross_entropy(outputs, targets))

    X, val = IMAGES, (IMAGES_VAL, LABELS_VAL)
    clf = classifier(criterion__ignore_index=2)
    if as_dataset:
        with pytest.warns(UserWarning, match=r"CrossEntropyLoss's ignore_index \(2\)"):
            clf.fit(Items(IMAGES, LABELS))
    with pytest.warns(UserWarning, match=r"CrossEntropyLoss's ignore_index \(2\)"):
        assert error(clf, X, LABELS, *val, loss=loss) <= TOLERANCE
    assert (clf.influence(*val)[LABELS == 2] == 0).all()


@pytest.mark.parametrize("shuffle", [True, False])
def test_whole_batches_train_as_a_data_loader_does(shuffle):
    class Loader(torch.utils.data.DataLoader):
        """Known to be no more than a loader of the user's own."""

    case = Case("dropout", options={"shuffle": shuffle})
    ours, theirs = case.fitted(), case.fitted(iterator_train=Loader)
    for mine, other in zip(
        ours.trajectory_.records, theirs.trajectory_.records, strict=True
    ):
        assert torch.equal(mine.rows, other.rows)
    assert torch.equal(
        ours.trajectory_.final.parameters, theirs.trajectory_.final.parameters
    )


@pytest.mark.parametrize(
    "lying", [lambda X: np.repeat(X, 2, axis=1)[:, ::2], np.asfortranarray]
)
def test_data_is_known_again_however_it_lies_in_memory(lying):
    clf = SGDInfluenceClassifier(max_epochs=2, random_state=0)
    clf.fit(lying(FLAT), LABELS)
    clf.partial_fit(np.ascontiguousarray(FLAT), LABELS)
    assert clf.trajectory_.n_samples == N
    scores = clf.influence(FLAT_VAL, LABELS_VAL)
    # A view's copy is whole.
    copied = pickle.loads(pickle.dumps(clf))
    assert np.array_equal(copied.influence(FLAT_VAL, LABELS_VAL), scores)


@pytest.mark.parametrize("indices", [range, np.arange, torch.arange])
def test_subsets_by_any_indices(indices):
    case = Case("mlp")
    X, y, _ = case.data()
    data = torch.utils.data.TensorDataset(torch.from_numpy(X), torch.from_numpy(y))

    def part(*ends, kind):
        rows = list(range(*ends)) if kind is list else kind(*ends)
        return torch.utils.data.Subset(data, rows)

    def scores(kind):
        clf = case.classifier(classes=[0, 1, 2]).fit(part(2, 12, kind=kind))
        clf.partial_fit(part(0, 2, kind=kind))
        query = part(9, 14, kind=kind)
        return clf.influence(query), clf.influence(query, aggregate=None)

    for found, expected in zip(scores(indices), scores(list), strict=True):
        np.testing.assert_array_equal(found, expected)
        assert np.abs(expected).min() > 0
