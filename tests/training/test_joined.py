"""Steps pulled back together, in one compiled call, against the same one by one."""

import warnings
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from skorch.callbacks import GradientNormClipping, LRScheduler
from torch import nn
from torch.utils.checkpoint import checkpoint
from torch.utils.data import Dataset

from skinfluence import SGDInfluenceClassifier
from skinfluence.estimators._questions import influence
from skinfluence.exceptions import CompilationWarning, IrreproducibleStepError
from skinfluence.training import _compiler, _joined
from tests.cases import Case
from tests.oracles import relative_error

# Both are sums of the same products in double precision, in another order.
TOLERANCE = 1e-9


@pytest.fixture(autouse=True)
def in_short_runs(monkeypatch):
    monkeypatch.setattr(_joined, "_LEAST_STEPS", 1)


def joined(clf):
    """Return how many forms of steps were joined and trusted."""
    trusted = clf.compiled_functions_.trusted
    return sum(right for (name, *_), right in trusted.items() if name == "retake")


def one_by_one(clf):
    return {name for name, _ in clf.compiled_functions_.functions} >= {"pull"}


SCHEDULE = [("rate", LRScheduler("StepLR", step_size=1, gamma=0.5))]


@pytest.mark.parametrize("at", ["final", "epochs", "path"])
@pytest.mark.parametrize(
    ("optimizer", "options"),
    [
        ("sgd", {}),
        ("sgd", {"callbacks": SCHEDULE}),
        ("sgd", {"callbacks": [GradientNormClipping(0.2)]}),
        ("sgd", {"checkpoint_every": 4}),
        ("nesterov", {}),
        ("momentum", {"callbacks": SCHEDULE}),
    ],
)
def test_equal_steps_one_by_one(optimizer, options, at, counted):
    case = Case("mlp", optimizer, weighted=True)
    asked = case.validation()
    expected = case.fitted(**options).influence(*asked, at=at)
    clf = case.fitted(compile=True, **options)
    found = clf.influence(*asked, at=at)
    assert relative_error(found, expected) <= TOLERANCE
    assert joined(clf) == 1
    assert not one_by_one(clf)


def test_steps_with_a_short_batch_are_joined(counted):
    case = Case("mlp")
    asked = case.validation()
    expected = case.fitted(batch_size=4).influence(*asked)
    clf = case.fitted(batch_size=4, compile=True)
    assert relative_error(clf.influence(*asked), expected) <= TOLERANCE
    assert joined(clf) == 1


def test_a_second_question_compiles_nothing(counted):
    case = Case("mlp")
    clf = case.fitted(compile=True)
    first = clf.influence(*case.validation())
    number = len(counted)
    np.testing.assert_array_equal(clf.influence(*case.validation()), first)
    assert len(counted) == number


def test_epochs_apart_are_those_of_single_steps(counted):
    case = Case("mlp", "momentum")
    asked = case.validation()
    eager, clf = case.fitted(), case.fitted(compile=True)
    expected = eager.influence_by_epoch(*asked)
    assert relative_error(clf.influence_by_epoch(*asked), expected) <= TOLERANCE
    assert joined(clf) == 1


@pytest.mark.parametrize("at", ["final", "path"])
def test_growth_is_that_of_single_steps(at, counted, monkeypatch):
    grown = []
    monkeypatch.setattr(
        influence, "reliable", lambda scores, growth: grown.append(growth) or scores
    )
    case = Case("mlp", "momentum")
    for compiled in (False, True):
        case.fitted(compile=compiled).influence(*case.validation(), at=at)
    eager, found = grown
    assert found == pytest.approx(eager, rel=TOLERANCE)


@pytest.mark.parametrize(
    "limit", ["_MOST_OPERATIONS", "_MOST_VALUES"], ids=["operations", "values"]
)
def test_large_steps_are_taken_one_by_one(limit, monkeypatch, counted):
    case = Case("mlp")
    expected = case.fitted().influence(*case.validation())
    monkeypatch.setattr(_joined, limit, 1)
    clf = case.fitted(compile=True)
    found = clf.influence(*case.validation())
    assert relative_error(found, expected) <= TOLERANCE
    assert one_by_one(clf)
    assert joined(clf) == 0


def test_steps_of_short_runs_are_taken_one_by_one(monkeypatch, counted):
    monkeypatch.undo()
    monkeypatch.setattr(_compiler, "compile_graph", lambda graph, _: graph)
    clf = Case("mlp").fitted(compile=True)
    clf.influence(*Case("mlp").validation())
    assert one_by_one(clf)
    assert joined(clf) == 0


@pytest.mark.parametrize("case", [Case("mlp", "adam"), Case("batch_norm")], ids=str)
def test_other_steps_are_not_joined(case, counted):
    clf = case.fitted(compile=True)
    clf.influence(*case.validation())
    assert joined(clf) == 0


def test_code_that_is_wrong_is_given_up_for_single_steps(monkeypatch):
    def wrong(graph, examples):
        doubles = len(examples) > 20
        return (lambda *a: [2 * x for x in graph(*a)]) if doubles else graph

    case = Case("mlp")
    expected = case.fitted().influence(*case.validation())
    monkeypatch.setattr(_compiler, "compile_graph", wrong)
    clf = case.fitted(compile=True)
    found = clf.influence(*case.validation())
    assert relative_error(found, expected) <= TOLERANCE
    assert clf.compiled_functions_.joins is False
    assert one_by_one(clf)


@pytest.mark.parametrize("optimizer", ["momentum", "adam"])
@pytest.mark.parametrize("n_epochs", [1, 3, 4])
def test_a_step_that_is_not_the_recorded_one_is_refused(optimizer, n_epochs, counted):
    case = Case("mlp", optimizer)  # of three steps in an epoch
    clf = case.fitted(compile=True, max_epochs=n_epochs)
    clf.influence(*case.validation())  # so that the code is trusted
    for step in range(3 * n_epochs):
        entry = clf.trajectory_.state(step).parameters[:1]
        before = entry.clone()
        entry += 0.1
        with pytest.raises(IrreproducibleStepError):
            clf.influence(*case.validation())
        entry.copy_(before)
    clf.influence(*case.validation())


class Scaled(nn.Module):
    """Has an attribute that its outputs depend on, and checkpoints a part if asked."""

    def __init__(self, checkpointed=False):
        super().__init__()
        self.hidden = nn.Sequential(nn.Flatten(), nn.Linear(36, 5), nn.Tanh())
        self.last = nn.Linear(5, 3)
        self.scale, self.stopped = 1.0, False
        self.checkpointed = checkpointed

    def forward(self, X):
        if self.checkpointed:
            hidden = checkpoint(self.hidden, X, use_reentrant=False)
        else:
            hidden = self.hidden(X)
        hidden = hidden.detach() if self.stopped and self.training else hidden
        return self.scale * self.last(hidden)


def scaled(optimizer, **options):
    case = Case("mlp", optimizer)
    X, y, _ = case.data()
    return case.classifier(**options).set_params(module=Scaled).fit(X, y)


def changed():
    return pytest.warns(CompilationWarning, match="something else")


def forward_twice(module):
    return lambda X: 2 * type(module).forward(module, X)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("asked_before", [False, True])
@pytest.mark.parametrize("question", ["influence", "counterfactual_influence"])
def test_a_module_that_was_changed_is_refused(
    question, asked_before, optimizer, counted
):
    clf, asked = scaled(optimizer, compile=True), Case().validation()
    if asked_before:
        clf.influence(*asked)
    clf.module_.scale = 1.5
    with changed(), pytest.raises(IrreproducibleStepError):
        getattr(clf, question)(*asked)
    clf.module_.scale = 1.0
    clf.influence(*asked)
    clf.module_.forward = forward_twice(clf.module_)
    with changed(), pytest.raises(IrreproducibleStepError):
        getattr(clf, question)(*asked)


def test_a_gradient_that_is_stopped_after_a_question_is_refused(counted):
    # The losses stay what they were.
    clf, asked = scaled("sgd", compile=True), Case().validation()
    clf.influence(*asked)
    clf.module_.stopped = True
    with changed(), pytest.raises(IrreproducibleStepError):
        clf.influence(*asked)


class OwnLosses(SGDInfluenceClassifier):
    """Has losses that depend on what is no part of a module."""

    strength = 1.0

    def get_losses(self, *args, **kwargs):
        return self.strength * super().get_losses(*args, **kwargs)


@pytest.mark.parametrize("asked_before", [False, True])
@pytest.mark.parametrize("question", ["influence", "refit_without"])
def test_a_net_that_was_changed_is_refused(question, asked_before, monkeypatch):
    monkeypatch.setattr(_compiler, "compile_graph", lambda graph, _: graph)
    X, y, _ = Case().data()
    clf = OwnLosses(**Case().classifier(compile=True).get_params(deep=False))
    clf.fit(X, y)
    asked = Case().validation()
    if asked_before:
        clf.influence(*asked)
    clf.strength = 2.0
    arguments = asked if question == "influence" else ([0],)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CompilationWarning)
        with pytest.raises(IrreproducibleStepError):
            getattr(clf, question)(*arguments)


class Locked(Scaled):
    """Holds what cannot be compared with what it was."""

    def __init__(self):
        super().__init__()
        self.steps = CannotBePickled()


class CannotBePickled:
    def __deepcopy__(self, memo):
        return self

    def __reduce__(self):
        raise TypeError("no pickle of it")


def test_modules_that_cannot_be_watched_are_not_compiled(counted):
    X, y, _ = Case().data()
    eager = Case().classifier().set_params(module=Locked).fit(X, y)
    clf = Case().classifier(compile=True).set_params(module=Locked)
    with pytest.warns(CompilationWarning, match="cannot be known .no pickle"):
        clf.fit(X, y)
    assert not counted
    with pytest.warns(CompilationWarning, match="cannot be known"):
        found = clf.influence(*Case().validation())
    np.testing.assert_array_equal(found, eager.influence(*Case().validation()))


class WritesInputs(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(36, 3)

    def forward(self, X):
        return self.layer(X.mul_(0.5).flatten(1))


class Recomputing(nn.Module):
    """Computes a norm, or with a buffer that moves, again on the way back."""

    def __init__(self, moves):
        super().__init__()
        self.first, self.last = nn.Linear(36, 5), nn.Linear(5, 3)
        self.norm = nn.BatchNorm1d(5, affine=False)
        self.register_buffer("factor", torch.ones(()))
        self.moves = moves

    def middle(self, hidden):
        return torch.tanh(hidden * self.factor if self.moves else self.norm(hidden))

    def forward(self, X):
        if self.moves and self.training:
            with torch.no_grad():
                self.factor.mul_(1.05)
        hidden = self.first(X.flatten(1))
        return self.last(checkpoint(self.middle, hidden, use_reentrant=False))


@pytest.mark.parametrize(
    ("module", "options", "warns"),
    [
        (WritesInputs, {}, True),
        (Recomputing, {"module__moves": False, "max_epochs": 1}, True),
        (Recomputing, {"module__moves": True, "drop_last": True}, True),
    ],
    ids=["writes to its inputs", "norm in a recomputation", "buffer in one"],
)
def test_modules_with_effects(module, options, warns, counted):
    X, y, _ = Case().data()
    last = {"iterator_train__drop_last": options.get("drop_last", False)}
    options = {k: v for k, v in options.items() if k != "drop_last"} | last
    found = []
    for compiled in (False, True):
        clf = Case().classifier(compile=compiled)
        clf.set_params(module=module, **options)
        with pytest.warns(CompilationWarning) if compiled and warns else nullcontext():
            clf.fit(X, y)
            found.append(clf.influence(*Case().validation(), last_epochs=1))
    assert relative_error(found[1], found[0]) <= TOLERANCE


@pytest.mark.parametrize("n_epochs", [1, 4])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_checkpointed_parts_are_not_compiled(optimizer, n_epochs, counted):
    options = {"module__checkpointed": True, "max_epochs": n_epochs}
    expected = scaled(optimizer, **options).influence(*Case().validation())
    with pytest.warns(CompilationWarning, match="checkpointed"):
        clf = scaled(optimizer, compile=True, **options)
    with pytest.warns(CompilationWarning, match="checkpointed"):
        found = clf.influence(*Case().validation())
    assert relative_error(found, expected) <= TOLERANCE


class Weighing(nn.Module):
    """Takes a tensor beside the inputs, that belongs to no sample."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(36, 3))

    def forward(self, X, prior=None):
        found = self.layers(X)
        return found if prior is None else found * (1 + prior.mean())


def test_a_tensor_as_long_as_eight_batches_is_not_divided(counted):
    X, y, _ = Case().data()
    found = []
    for compiled in (False, True):
        clf = SGDInfluenceClassifier(
            Weighing,
            dtype="float64",
            lr=0.1,
            batch_size=5,
            max_epochs=4,
            compile=compiled,
            random_state=0,
        )
        for prior in (torch.linspace(0, 1, 40), torch.full((40,), 0.5)):
            clf.partial_fit(X, y, classes=[0, 1, 2], prior=prior.double())
        found.append(clf.influence(*Case().validation()))
    assert relative_error(*found) <= TOLERANCE


class Padded(nn.Module):
    """Depends on how far its batch is padded."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(1, 2, dtype=torch.float64)

    def forward(self, X):
        return self.layer(X.mean(dim=1, keepdim=True))


class Sequences(Dataset):
    def __init__(self, n=40):
        rng = np.random.default_rng(0)
        self.items = [torch.from_numpy(rng.normal(size=1 + k % 3)) for k in range(n)]

    def __len__(self):
        return len(self.items)

    def __getitem__(self, k):
        return self.items[k], k % 2


def padded(items):
    inputs, targets = zip(*items, strict=True)
    return (
        nn.utils.rnn.pad_sequence(inputs, batch_first=True),
        torch.tensor(targets),
    )


def test_batches_that_a_collation_pads_are_fetched_as_they_were(counted):
    data = Sequences()
    options = {
        "lr": 0.1,
        "max_epochs": 2,
        "batch_size": 2,
        "random_state": 0,
        "iterator_train__collate_fn": padded,
        "iterator_valid__collate_fn": padded,
    }
    y = np.arange(len(data)) % 2
    eager = SGDInfluenceClassifier(Padded, **options).fit(data, y)
    clf = SGDInfluenceClassifier(Padded, compile=True, **options).fit(data, y)
    expected = eager.influence(Sequences(8), y[:8])
    found = clf.influence(Sequences(8), y[:8])
    assert relative_error(found, expected) <= TOLERANCE
