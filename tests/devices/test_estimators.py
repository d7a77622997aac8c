"""Training on a device against the same on a CPU, in double precision.

The device is a GPU, or a stand-in for one.
"""

import numpy as np
import pytest
import torch

from skinfluence import load_estimator
from skinfluence.trajectory import spill
from tests.cases import MODULES, PAIRS, Case, on_cuda, on_devices, rough
from tests.oracles import relative_error

pytestmark = rough

# The devices add in another order: rounding grows a little along a run of nine steps.
TOLERANCE = 1e-7

# Dropout draws other numbers on a device.
SAME_ON_BOTH = sorted(set(MODULES) - {"dropout"})


def both(case, device, **options):
    # As torch steps on a device: ASGD rounds its learning rates to single precision,
    # and elsewhere in a loop over the parameters.
    here = case.fitted(optimizer__foreach=True, **options)
    return case.fitted(device=device, **options), here


@on_devices
@pytest.mark.parametrize(
    ("optimizer", "module"), [pair for pair in PAIRS if pair[1] in SAME_ON_BOTH]
)
def test_influence(module, optimizer, device):
    case = Case(module, optimizer, weighted=True)
    there, here = both(case, device, max_epochs=2)
    asked = case.validation()
    assert next(there.module_.parameters()).device.type == device
    found, expected = there.influence(*asked), here.influence(*asked)
    assert relative_error(found, expected) <= TOLERANCE


@on_devices
@pytest.mark.parametrize("options", [{"checkpoint_every": 4}, {"record": 2}])
@pytest.mark.parametrize("module", ["mlp", "batch_norm"])
@pytest.mark.filterwarnings("ignore::skinfluence.exceptions.NondeterminismWarning")
def test_thinned_and_short_records(module, options, device):
    case = Case(module, "adam")
    there, here = both(case, device, **options)
    found, expected = (clf.influence(*case.validation()) for clf in (there, here))
    assert relative_error(found, expected) <= TOLERANCE


@on_devices
def test_every_sample_and_every_validation_sample(device):
    case = Case("mlp", "momentum")
    there, here = both(case, device)
    for aggregate in ("mean", None):
        found, expected = (
            clf.influence(*case.validation(), aggregate=aggregate)
            for clf in (there, here)
        )
        assert relative_error(found, expected) <= TOLERANCE


@on_devices
@pytest.mark.parametrize("module", ["batch_norm", "mlp", "shared"])
def test_counterfactuals(module, device):
    case = Case(module, "adam")
    there, here = both(case, device, max_epochs=2)
    found, expected = (
        clf.counterfactual_influence(*case.validation()) for clf in (there, here)
    )
    assert relative_error(found, expected) <= TOLERANCE


@on_devices
def test_dropout_repeats_on_the_same_device(device):
    case = Case("dropout", "sgd")
    clf = case.fitted(device=device)
    # A step that drew other numbers would be refused as irreproducible.
    assert np.isfinite(clf.influence(*case.validation())).all()


@on_devices
def test_on_disk_and_back_on_a_cpu(tmp_path, device):
    case = Case("mlp", "adam")
    there, here = both(case, device, trajectory_dir=tmp_path / "runs")
    there.save(tmp_path / "saved")
    trusted = ["tests.cases.mlp"]
    loaded = load_estimator(tmp_path / "saved", trusted=trusted, device="cpu")
    again = load_estimator(tmp_path / "saved", trusted=trusted)
    assert next(loaded.module_.parameters()).device.type == "cpu"
    assert next(again.module_.parameters()).device.type == device
    expected = here.influence(*case.validation())
    for clf in (there, loaded, again):
        found = clf.influence(*case.validation())
        assert relative_error(found, expected) <= TOLERANCE


@on_devices
@pytest.mark.parametrize("n_on_device", [0, 3])
@pytest.mark.filterwarnings("ignore::skinfluence.exceptions.NondeterminismWarning")
def test_states_in_host_memory(n_on_device, device):
    case = Case("batch_norm", "adam")
    clf = case.fitted(device=device)
    expected = clf.influence(*case.validation(), at="path")
    run = clf.trajectory_
    states = {number: run.state(number).each(torch.clone) for number in run.kept[:-1]}
    spill(run, n_on_device * states[1].nbytes, torch.device(device))
    run._store.clear()
    run._store.update(states)
    host = [s.parameters for k, s in run._store._states.items() if k > n_on_device]
    assert all(
        p.device.type == "cpu" and (p.is_pinned() or device != "cuda") for p in host
    )
    for number, state in states.items():
        assert torch.equal(run.state(number).parameters, state.parameters)
    found = clf.influence(*case.validation(), at="path")
    assert relative_error(found, expected) <= TOLERANCE


@on_cuda
@pytest.mark.parametrize("module", ["mlp", "cnn", "batch_norm"])
@pytest.mark.filterwarnings("ignore::skinfluence.exceptions.NondeterminismWarning")
def test_compiled_steps(module, device):
    # Captured as CUDA graphs, whose results are written over by the next step.
    case = Case(module, "adam", weighted=True)
    there, here = both(case, device, compile=True, checkpoint_every=4)
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


@on_cuda
def test_compiled_queries(device):
    case = Case("mlp", "momentum")
    there, here = both(case, device, compile=True)
    for aggregate in ("mean", None):
        found, expected = (
            clf.influence(*case.validation(), aggregate=aggregate)
            for clf in (there, here)
        )
        assert relative_error(found, expected) <= TOLERANCE


@on_devices
def test_a_run_is_resumed(device, tmp_path):
    case = Case("batch_norm", "adam")
    options = {"device": device, "trajectory_dir": tmp_path}
    case.fitted(max_epochs=2, **options)
    X, y, _ = case.data()
    there = case.classifier(**options).fit(X, y, resume=True)
    assert len([*tmp_path.iterdir()]) == 1
    here = case.fitted(optimizer__foreach=True)
    found, expected = (clf.influence(*case.validation()) for clf in (there, here))
    assert relative_error(found, expected) <= TOLERANCE


@on_devices
def test_continues_elsewhere(device, tmp_path):
    case = Case("mlp", "adam")
    X, y, _ = case.data()
    here = case.fitted(optimizer__foreach=True)
    here.save(tmp_path / "here")
    trusted = ["tests.cases.mlp"]
    there = load_estimator(tmp_path / "here", trusted=trusted, device=device)
    assert next(there.module_.parameters()).device.type == device
    there.partial_fit(X, y)
    there.save(tmp_path / "there")
    back = load_estimator(tmp_path / "there", trusted=trusted, device="cpu")
    here.partial_fit(X, y)
    expected = here.influence(*case.validation())
    for clf in (there, back):
        found = clf.influence(*case.validation())
        assert relative_error(found, expected) <= TOLERANCE
