"""The compiled way back through a step against the step as it is without."""

import copy
import pickle
import warnings
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from skorch.callbacks import GradientNormClipping
from torch import nn
from torch._dynamo.utils import counters
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._pytree import tree_leaves, tree_map_only

from skinfluence import SGDInfluenceClassifier
from skinfluence.exceptions import CompilationWarning
from skinfluence.training import _compiler
from tests.cases import MODULES, Case
from tests.oracles import relative_error

# Both are sums of the same products in double precision, in another order.
TOLERANCE = 1e-9

# Its own parts warn as they are imported, in the first test that compiles.
OF_THE_COMPILER = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def both(case, **options):
    asked = case.validation()
    expected = case.fitted(**options).influence(*asked, at="epochs")
    clf = case.fitted(compile=True, **options)
    return clf, clf.influence(*asked, at="epochs"), expected


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["momentum", "adam"])
@pytest.mark.parametrize("module", sorted(MODULES))
def test_equals_the_step_without(module, optimizer, counted):
    _, found, expected = both(Case(module, optimizer, weighted=True))
    assert relative_error(found, expected) <= TOLERANCE
    # The step forwards and the way back. Dropout draws random numbers, which compiled
    # code would draw otherwise; Adam's step is differentiated at its gradient, a
    # function of its own.
    functions = {"dropout": 0}.get(module, 3 if optimizer == "adam" else 2)
    assert len(counted) == functions


def test_equals_the_step_without_under_clipping(counted):
    _, found, expected = both(Case("mlp"), callbacks=[GradientNormClipping(0.2)])
    assert relative_error(found, expected) <= TOLERANCE
    assert counted


def test_a_second_call_compiles_nothing(counted):
    clf, found, _ = both(Case("mlp"))
    number = len(counted)
    np.testing.assert_array_equal(
        clf.influence(*Case("mlp").validation(), at="epochs"), found
    )
    assert len(counted) == number == 2


def test_short_batches_are_filled_up_only_where_samples_do_not_mix(counted):
    assert both(Case("mlp"))[0].compiled_functions_.pads
    assert not both(Case("batch_norm"))[0].compiled_functions_.pads


def test_copies_and_refits_do_not_hold_compiled_code(counted):
    clf, _, _ = both(Case("mlp"))
    for other in (copy.deepcopy(clf), pickle.loads(pickle.dumps(clf))):
        assert other.compiled_functions_ is None
    X, y, _ = Case("mlp").data()
    before = clf.compiled_functions_
    assert clf.fit(X, y).compiled_functions_ is not before


@pytest.mark.parametrize("wrong", [False, True])
def test_falls_back_with_a_warning(wrong, monkeypatch):
    def fail(graph, examples):
        if wrong:
            return lambda *a: [2 * value for value in graph(*a)]
        raise RuntimeError("no C++ compiler")

    case = Case("mlp")
    expected = case.fitted().influence(*case.validation())
    monkeypatch.setattr(_compiler, "compile_graph", fail)
    why = "differs" if wrong else "no C"
    with pytest.warns(CompilationWarning, match=f"training step .*{why}"):
        clf = case.fitted(compile=True)
    with pytest.warns(CompilationWarning, match=f"retrace step .*{why}"):
        found = clf.influence(*case.validation())
    np.testing.assert_array_equal(found, expected)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        clf.influence(*case.validation())


def biased():
    """Return a network with a bias whose gradient is 0 but for rounding."""
    return nn.Sequential(
        nn.Conv2d(1, 3, 3),
        nn.BatchNorm2d(3),
        nn.Softplus(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(12, 3),
    )


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.Adam])
@pytest.mark.parametrize("wrong", [0.0, 0.1])
def test_a_gradient_that_is_rounding_is_not_compared_with_itself(
    optimizer, wrong, monkeypatch
):
    def other_rounding(graph, examples):
        draws = torch.Generator().manual_seed(0)

        def run(*tensors):
            found = graph(*tensors)
            floats = [x for x in tree_leaves(found) if x.is_floating_point()]
            noise = 1e-7 * max(float(x.abs().max()) for x in floats)
            return tree_map_only(
                lambda x: x.is_floating_point(),
                lambda x: (
                    x * (1 + wrong) + noise * torch.randn(x.shape, generator=draws)
                ),
                found,
            )

        return run

    monkeypatch.setattr(_compiler, "compile_graph", other_rounding)
    X, y, _ = Case().data()
    clf = SGDInfluenceClassifier(
        biased, optimizer=optimizer, lr=0.01, batch_size=7, max_epochs=1, compile=True
    )
    with pytest.warns(CompilationWarning) if wrong else nullcontext():
        clf.fit(X.astype(np.float32), y)
        clf.influence(*Case().validation())
    trusted = clf.compiled_functions_.trusted
    assert len(trusted) == 2
    assert all(value is not bool(wrong) for value in trusted.values())


@pytest.mark.slow
def test_compiles():
    clf, found, expected = both(Case("mlp"))
    assert all(clf.compiled_functions_.trusted.values())
    assert relative_error(found, expected) <= TOLERANCE


@OF_THE_COMPILER
@pytest.mark.slow
def test_the_compiler_takes_the_settings_for_a_gpu(monkeypatch):
    # On a CPU they change nothing.
    monkeypatch.setattr(_compiler, "_SETTINGS", {"cpu": _compiler._SETTINGS["cuda"]})
    values = torch.arange(3.0)
    graph = make_fx(lambda x: [2 * x])(values)
    (found,) = _compiler._compile(graph, [values])(values + 1)
    assert found.tolist() == [2.0, 4.0, 6.0]


def test_what_a_graph_writes_over_is_copied(monkeypatch):
    # As CUDA graphs do, which write to the same memory each time.
    memory, begun = torch.zeros(3), []
    monkeypatch.setattr(
        torch.compiler, "cudagraph_mark_step_begin", lambda: begun.append(1)
    )

    def function(value):
        return [memory.copy_(value), None]

    copying = _compiler._copying(function)
    first, nothing = copying(torch.ones(3))
    copying(torch.full((3,), 2.0))
    assert first.tolist() == [1.0, 1.0, 1.0]
    assert nothing is None
    assert len(begun) == 2


def test_equal_graphs_are_compiled_once(monkeypatch):
    compiled = []
    monkeypatch.setattr(_compiler, "_PROGRAMS", {})
    monkeypatch.setattr(
        _compiler, "_compile", lambda graph, _: compiled.append(graph) or graph
    )
    case = Case("mlp")
    first, second = case.fitted(compile=True), case.fitted(compile=True)
    assert len(compiled) == 1
    for mine, theirs in zip(
        first.module_.parameters(), second.module_.parameters(), strict=True
    ):
        assert torch.equal(mine, theirs)
    Case("linear").fitted(compile=True)
    assert len(compiled) == 2


def test_graphs_that_hold_tensors_are_compiled_each_by_itself(monkeypatch):
    compiled = []
    monkeypatch.setattr(_compiler, "_PROGRAMS", {})
    monkeypatch.setattr(
        _compiler, "_compile", lambda graph, _: compiled.append(graph) or graph
    )

    def times(factor):
        held = torch.full((3,), factor)
        return make_fx(lambda x: x * held)(torch.ones(3))

    for factor in (1.0, 2.0):
        _compiler.compile_graph(times(factor), [torch.ones(3)])
    assert len(compiled) == 2


@OF_THE_COMPILER
@pytest.mark.slow
def test_programs_are_kept_on_disk():
    def times(factor):
        held = torch.full((40,), factor)
        return make_fx(lambda x: (x * held).sin())(torch.ones(40))

    x, found = torch.arange(40.0), []
    _compiler._compile(times(2.0), [x])
    before = counters["aot_autograd"]["autograd_cache_hit"]
    for factor in (2.0, 3.0):
        # Its key has the form of the tensors that a graph holds, and not their values.
        found.append(_compiler._compile(times(factor), [x])(x))
        # Sines by vectors of numbers are rounded in another way.
        assert torch.allclose(found[-1], (x * factor).sin(), rtol=0, atol=1e-6)
    assert counters["aot_autograd"]["autograd_cache_hit"] == before + 2
