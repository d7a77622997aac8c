"""What is computed on a GPU against the same on a CPU, in double precision."""

import numpy as np
import pytest
import torch

from skinfluence import load_estimator
from skinfluence.trajectory import spill
from tests.cases import MODULES, OPTIMIZERS, Case, rough
from tests.oracles import relative_error

pytestmark = [
    rough,
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]

# The devices add in another order: rounding grows a little along a run of nine steps.
TOLERANCE = 1e-7

# Dropout draws other numbers on a GPU.
SAME_ON_BOTH = sorted(set(MODULES) - {"dropout"})


def both(case, **options):
    return case.fitted(device="cuda", **options), case.fitted(**options)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("module", SAME_ON_BOTH)
def test_influence(module, optimizer):
    case = Case(module, optimizer, weighted=True)
    there, here = both(case)
    asked = case.validation()
    assert there.module_[-1].weight.device.type == "cuda"
    found, expected = there.influence(*asked), here.influence(*asked)
    assert relative_error(found, expected) <= TOLERANCE


@pytest.mark.parametrize("options", [{"checkpoint_every": 4}, {"record": 2}])
@pytest.mark.parametrize("module", ["mlp", "batch_norm"])
@pytest.mark.filterwarnings("ignore::skinfluence.exceptions.NondeterminismWarning")
def test_thinned_and_short_records(module, options):
    case = Case(module, "adam")
    there, here = both(case, **options)
    found, expected = (clf.influence(*case.validation()) for clf in (there, here))
    assert relative_error(found, expected) <= TOLERANCE


@pytest.mark.parametrize("compiled", [False, True])
def test_every_sample_and_every_validation_sample(compiled):
    case = Case("mlp", "momentum")
    there, here = both(case, compile=compiled)
    for aggregate in ("mean", None):
        found, expected = (
            clf.influence(*case.validation(), aggregate=aggregate)
            for clf in (there, here)
        )
        assert relative_error(found, expected) <= TOLERANCE


@pytest.mark.parametrize("module", SAME_ON_BOTH)
def test_counterfactuals(module):
    case = Case(module, "adam")
    there, here = both(case)
    found, expected = (
        clf.counterfactual_influence(*case.validation()) for clf in (there, here)
    )
    assert relative_error(found, expected) <= TOLERANCE


def test_dropout_repeats_on_the_same_device():
    case = Case("dropout", "sgd")
    clf = case.fitted(device="cuda")
    # A step that drew other numbers would be refused as irreproducible.
    assert np.isfinite(clf.influence(*case.validation())).all()


def test_on_disk_and_back_on_a_cpu(tmp_path):
    case = Case("mlp", "adam")
    there, here = both(case, trajectory_dir=tmp_path / "runs")
    there.save(tmp_path / "saved")
    loaded = load_estimator(
        tmp_path / "saved", trusted=["tests.cases.mlp"], device="cpu"
    )
    assert next(loaded.module_.parameters()).device.type == "cpu"
    found, expected = (clf.influence(*case.validation()) for clf in (loaded, here))
    assert relative_error(found, expected) <= TOLERANCE


@pytest.mark.parametrize("n_on_device", [0, 3])
@pytest.mark.filterwarnings("ignore::skinfluence.exceptions.NondeterminismWarning")
def test_states_in_host_memory(n_on_device):
    case = Case("batch_norm", "adam")
    clf = case.fitted(device="cuda")
    expected = clf.influence(*case.validation(), at="path")
    run = clf.trajectory_
    states = {number: run.state(number).each(torch.clone) for number in run.kept[:-1]}
    spill(run, n_on_device * states[1].nbytes, torch.device("cuda"))
    run._store.clear()
    run._store.update(states)
    host = [s.parameters for k, s in run._store._states.items() if k > n_on_device]
    assert all(p.device.type == "cpu" and p.is_pinned() for p in host)
    for number, state in states.items():
        assert torch.equal(run.state(number).parameters, state.parameters)
    found = clf.influence(*case.validation(), at="path")
    assert relative_error(found, expected) <= TOLERANCE


@pytest.mark.parametrize("module", ["mlp", "cnn", "batch_norm"])
@pytest.mark.filterwarnings("ignore::skinfluence.exceptions.NondeterminismWarning")
def test_compiled_steps(module):
    # Captured as CUDA graphs, whose results are written over by the next step.
    case = Case(module, "adam", weighted=True)
    there, here = both(case, compile=True, checkpoint_every=4)
    assert 5 in {record.compiled_size for record in there.trajectory_.records}
    for mine, theirs in zip(
        there.module_.parameters(), here.module_.parameters(), strict=True
    ):
        found, expected = mine.detach().cpu().numpy(), theirs.detach().numpy()
        assert relative_error(found, expected) <= TOLERANCE
    found, expected = (
        clf.influence(*case.validation(), at="path") for clf in (there, here)
    )
    assert relative_error(found, expected) <= TOLERANCE
