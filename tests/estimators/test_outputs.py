"""A module's outputs may be part of what it returns: the results stay the same."""

from collections import UserDict

import numpy as np
import pytest
import torch
from skorch.dataset import ValidSplit
from torch import nn
from torch.utils.data import TensorDataset

from skinfluence import SGDInfluenceClassifier, SGDInfluenceRegressor
from skinfluence.estimators import outputs_of
from skinfluence.exceptions import UnsupportedModuleError
from skinfluence.scorers import KohLiang, Loss, Margin, TracIn
from tests.cases import rough
from tests.oracles import relative_error, weight_slopes

N_SAMPLES, N_FEATURES, N_CLASSES = 12, 4, 3

RNG = np.random.default_rng(0)
Y = np.arange(N_SAMPLES) % N_CLASSES
X, X_VAL = RNG.normal(size=(2, N_SAMPLES, N_FEATURES)) + 0.5 * Y[:, None]


class Cache:
    """What no device can be moved to, as a language model's."""


FORMS = {
    "tuple": lambda z: (z, z.exp()),
    "list": lambda z: [z, z.exp()],
    "logits": lambda z: {"loss": None, "logits": z, "cache": Cache()},
    "the only entry": lambda z: {"scores": z},
    "mapping": lambda z: UserDict(logits=z, hidden=z.exp()),
}


class Returning(nn.Module):
    def __init__(self, form, n_outputs=N_CLASSES):
        super().__init__()
        self.layer = nn.Linear(N_FEATURES, n_outputs)
        self.form = form

    def forward(self, x):
        return self.form(torch.tanh(self.layer(x)))


def plain(z):
    return z


def module(form, **options):
    torch.manual_seed(0)
    return Returning(form, **options).double()


def classifier(form, cls=SGDInfluenceClassifier, **options):
    options = {"max_epochs": 2, "batch_size": 5, "random_state": 0, **options}
    return cls(module(form), **options)


def answers(clf):
    yield clf.predict_proba(X_VAL)
    yield clf.predict(X_VAL)
    yield clf.score(X_VAL, Y)
    for query in ("loss", "error"):
        yield clf.influence(X_VAL, Y, query=query)
        yield clf.influence(X_VAL, Y, query=query, aggregate=None)
    yield clf.label_influence(X_VAL, Y)
    yield clf.counterfactual_influence(X_VAL, Y)
    yield clf.refit_without([0, 3]).predict_proba(X_VAL)


@pytest.mark.slow
@rough
@pytest.mark.parametrize("form", FORMS)
def test_answers_are_those_of_the_outputs_alone(form):
    options = {"train_split": ValidSplit(4, stratified=True)}
    one, other = (classifier(f, **options).fit(X, Y) for f in (FORMS[form], plain))
    assert one.history[:, "valid_acc"] == other.history[:, "valid_acc"]
    for found, expected in zip(answers(one), answers(other), strict=True):
        # The number of runs at once, and so the last bits, is a matter of time.
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("form", FORMS)
def test_scorers_see_the_outputs(form):
    fitted = [classifier(f).fit(X, Y) for f in (FORMS[form], plain)]
    for scorer in (Margin(), Loss(), TracIn(), KohLiang()):
        found, expected = (scorer(clf, X_val=X_VAL, y_val=Y) for clf in fitted)
        assert (found == expected).all()


@pytest.mark.parametrize("form", FORMS)
def test_regressors(form):
    targets = X.sum(1)
    one, other = (
        SGDInfluenceRegressor(
            module(f, n_outputs=1), max_epochs=2, batch_size=5, random_state=0
        ).fit(X, targets)
        for f in (FORMS[form], plain)
    )
    assert (one.predict(X_VAL) == other.predict(X_VAL)).all()
    found, expected = (reg.target_influence(X_VAL, targets) for reg in (one, other))
    assert (found == expected).all()


class OnAll(nn.Module):
    """A criterion of one's own takes all that the module returned."""

    def forward(self, returned, targets):
        losses = nn.functional.cross_entropy(returned[0], targets, reduction="none")
        return losses + 0.1 * returned[1].square().mean(1)


class LossOnAll(SGDInfluenceClassifier):
    def get_losses(self, y_pred, y_true, X=None, training=False):
        losses = super().get_losses(y_pred, y_true, X=X, training=training)
        return losses + 0.1 * y_pred["hidden"].square().mean(1)


def own_losses(module, inputs, targets):
    outputs = module.layer(inputs).tanh()
    losses = nn.functional.cross_entropy(outputs, targets, reduction="none")
    return losses + 0.1 * outputs.exp().square().mean(1)


@rough
@pytest.mark.parametrize(
    ("form", "options"),
    [("tuple", {"criterion": OnAll}), ("mapping", {"cls": LossOnAll})],
)
def test_losses_of_ones_own_get_all_that_was_returned(form, options):
    clf = classifier(FORMS[form], shuffle=False, **options).fit(X, Y)
    data, validation = (
        (torch.from_numpy(each), torch.from_numpy(Y)) for each in (X, X_VAL)
    )
    expected = weight_slopes(
        module(FORMS[form]),
        data,
        validation,
        range(N_SAMPLES),
        losses=own_losses,
        query=own_losses,
        batch_size=5,
        lr=0.1,
    )
    # The oracle's own error is about 1e-9.
    assert relative_error(clf.influence(X_VAL, Y), expected) <= 1e-6


def test_what_are_no_outputs():
    with pytest.raises(TypeError, match=r"must name its outputs 'logits', got \['a'"):
        classifier(lambda z: {"a": z, "b": z}).fit(X, Y)
    with pytest.raises(TypeError, match=r"got \[\]"):
        outputs_of({})


# --- inputs that are mappings ---------------------------------------------------------


class OfTwo(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(N_FEATURES, N_CLASSES).double()

    def forward(self, left, right):
        return self.layer(left * right)


class Encoding(UserDict):
    """A tokenizer's result: a mapping, but no dict."""


@pytest.mark.parametrize(
    "kind",
    [
        lambda x: Encoding(left=x, right=x),
        lambda x: Encoding(left=torch.from_numpy(x), right=torch.from_numpy(x)),
        lambda x: {"left": x.tolist(), "right": x.tolist()},
    ],
)
def test_mappings_as_inputs(kind):
    found, expected = (
        SGDInfluenceClassifier(OfTwo, max_epochs=2, random_state=0)
        .fit(form(X), Y)
        .influence(form(X_VAL), Y)
        for form in (kind, lambda x: {"left": x, "right": x})
    )
    assert (found == expected).all()


def test_lists_of_several_lengths_are_refused():
    ragged = {"left": [[1.0, 2.0]] * 11 + [[1.0]], "right": X}
    with pytest.raises(ValueError, match="X\\['left'\\] must have rows of one length"):
        SGDInfluenceClassifier(OfTwo).fit(ragged, Y)


def linear_module(n_outputs, **options):
    return SGDInfluenceClassifier(
        nn.Linear(N_FEATURES, n_outputs), max_epochs=1, random_state=0, **options
    )


@pytest.mark.parametrize("n_outputs", [1, 2])
def test_an_output_for_each_class(n_outputs):
    message = rf"`module` must return an output for each of the 3 classes.*{n_outputs}"
    with pytest.raises(UnsupportedModuleError, match=message):
        linear_module(n_outputs).fit(X, Y)


def test_more_outputs_than_classes_are_warned_of():
    message = "`module` returns 5 outputs for 3 classes"
    with pytest.warns(UserWarning, match=message):
        linear_module(5).fit(X, Y)


def test_classes_that_the_data_lacks_have_outputs_too():
    clf = linear_module(5, classes=range(5)).fit(X, Y)
    assert clf.predict_proba(X).shape == (N_SAMPLES, 5)
    data = TensorDataset(torch.tensor(X, dtype=torch.float32), torch.tensor(Y))
    linear_module(5).fit(data)
    with pytest.raises(UnsupportedModuleError, match=r"each of the 3 classes.* got 1"):
        linear_module(1).fit(data)


def test_one_output_for_two_classes_of_a_binary_criterion():
    clf = linear_module(1, criterion=nn.BCEWithLogitsLoss).fit(X, Y > 0)
    assert clf.predict_proba(X).shape == (N_SAMPLES, 2)
