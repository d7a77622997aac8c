"""Files of earlier versions are read for ever, wherever their classes are now."""

import importlib
import json
import shutil

import numpy as np
import pytest
from sklearn.base import clone

import skinfluence
from skinfluence import load_estimator
from skinfluence._names import _RENAMED
from skinfluence.estimators import MLPModule, SGDInfluenceClassifier
from skinfluence.estimators._saving import save
from skinfluence.exceptions import ResumeWarning
from skinfluence.trajectory._disk import manifest as manifest_format
from tests.cases import rough
from tests.estimators.make_files import FILES, KILLED_AFTER, data, in_folder

# The files are of another machine: other kernels round otherwise, by some bits a step,
# and repeated steps tell of it.
CLOSE = {"rtol": 1e-9, "atol": 1e-12}
OF_ANOTHER = pytest.mark.filterwarnings("ignore:Repeating steps:UserWarning")
pytestmark = [rough, OF_ANOTHER]

VERSIONS = sorted(folder.name for folder in FILES.iterdir())


@pytest.fixture(params=VERSIONS)
def folder(request):
    return FILES / request.param


@pytest.fixture
def activation(folder):
    """The default when the files were written; the first did not tell it."""
    return "relu" if folder.name in ("0.1", "0.1-trajectory-2") else "gelu"


@pytest.fixture
def expected(folder):
    with np.load(folder / "expected.npz") as file:
        return dict(file)


def test_a_classifier_and_what_it_started_from(folder, expected):
    X, y = data()
    clf = load_estimator(folder / "classifier")
    np.testing.assert_allclose(clf.predict_proba(X), expected["probabilities"], **CLOSE)
    np.testing.assert_allclose(clf.influence(X, y), expected["influence"], **CLOSE)
    earlier = clf.influence(X, y, stage="pretraining")
    np.testing.assert_allclose(earlier, expected["pretraining"], **CLOSE)


def test_a_network_is_trained_again_as_it_was(folder, activation, expected):
    X, y = data()
    clf = load_estimator(folder / "classifier")
    assert clf.get_params().get("module__activation", "gelu") == activation
    again = clone(clf).fit(X, y, sample_weight=np.linspace(0.5, 1.5, len(X)))
    np.testing.assert_allclose(
        again.predict_proba(X), expected["probabilities"], **CLOSE
    )


def test_a_regressor(folder, expected):
    X, _ = data()
    scores = load_estimator(folder / "regressor").influence(X, X[:, 0])
    np.testing.assert_allclose(scores, expected["regressor"], **CLOSE)


def test_a_killed_run_is_resumed(folder, activation, expected, tmp_path):
    runs = shutil.copytree(folder / "runs", tmp_path / "runs")
    journal = runs / "run-000001" / "journal.jsonl"
    before = journal.read_bytes()
    clf = in_folder(runs, module__activation=activation).fit(*data(), resume=True)
    # No warning (they are errors), no second run: the first one goes on.
    assert [path.name for path in runs.iterdir()] == ["run-000001"]
    assert journal.read_bytes().startswith(before[: before.index(b"\n")])
    assert clf.trajectory_.n_steps > KILLED_AFTER
    np.testing.assert_allclose(clf.influence(*data()), expected["resumed"], **CLOSE)


def test_there_are_files_of_every_format_that_is_read():
    formats = {
        (content["format"], content["version"])
        for manifest in FILES.rglob("manifest.json")
        for content in [json.loads(manifest.read_bytes())["content"]]
    }
    for module in (save, manifest_format):
        read = {(module.FORMAT, version + 1) for version in range(module.VERSION)}
        assert read <= formats


def test_a_killed_run_is_not_resumed_with_another_default(folder, activation, tmp_path):
    runs = shutil.copytree(folder / "runs", tmp_path / "runs")
    other = {} if activation == "relu" else {"module__activation": "relu"}
    with pytest.warns(ResumeWarning, match="other `module__activation`"):
        clf = in_folder(runs, **other).fit(*data(), resume=True)
    X, _ = data()
    fresh = in_folder(tmp_path / "fresh", **other).fit(*data())
    np.testing.assert_array_equal(clf.predict_proba(X), fresh.predict_proba(X))


def test_what_is_written_today_keeps_its_activation(tmp_path, monkeypatch):
    X, y = data()
    clf = in_folder(tmp_path / "runs").fit(X, y)
    SGDInfluenceClassifier(max_epochs=1, random_state=0).save(tmp_path / "plan")
    today = SGDInfluenceClassifier(max_epochs=1, random_state=0).fit(X, y)
    # A later version has another default.
    monkeypatch.setitem(MLPModule.__init__.__kwdefaults__, "activation", "tanh")
    plan = load_estimator(tmp_path / "plan").fit(X, y)
    np.testing.assert_array_equal(plan.predict_proba(X), today.predict_proba(X))
    in_folder(tmp_path / "runs").fit(X, y, resume=True)
    assert len(list((tmp_path / "runs").iterdir())) == 2  # another run
    resumed = in_folder(tmp_path / "runs", module__activation="gelu")
    resumed.fit(X, y, resume=True)
    assert len(list((tmp_path / "runs").iterdir())) == 2
    np.testing.assert_array_equal(resumed.predict_proba(X), clf.predict_proba(X))


@pytest.mark.parametrize("name", sorted(set(_RENAMED.values())))
def test_a_name_in_files_is_that_of_a_class(name):
    module, _, attribute = name.rpartition(".")
    found = getattr(importlib.import_module(module), attribute)
    assert f"{found.__module__}.{found.__qualname__}" == name


def test_what_is_written_today_names_no_private_module(tmp_path):
    X, y = data()
    for net in (SGDInfluenceClassifier(max_epochs=1), in_folder(tmp_path / "runs")):
        net.fit(X, y).save(tmp_path / "saved", overwrite=True)
        texts = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
        assert not any(b"skinfluence._" in text for text in texts)
        for room in ("estimators", "trajectory"):
            assert not any(f"{room}._".encode() in text for text in texts)


@pytest.mark.parametrize("room", ["cleaning", "estimators", "scorers", "trajectory"])
def test_public_classes_have_a_public_module(room):
    package = importlib.import_module(f"{skinfluence.__name__}.{room}")
    for name in package.__all__:
        value = getattr(package, name)
        assert "._" not in getattr(value, "__module__", ""), name
