"""What cannot be saved without pickle is named, and so is what is not trusted."""

import io
import pickle
import sys
import types
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from skorch import NeuralNet
from skorch.dataset import ValidSplit
from torch import nn

from skinfluence import (
    SGDInfluenceClassifier,
    load_estimator,
)
from skinfluence._files import sealed, unsealed
from skinfluence.estimators._saving import trusted as _trusted
from skinfluence.exceptions import (
    TrajectoryFileError,
    UntrustedTypeError,
)
from tests.cases import rough
from tests.estimators.persisted import (
    OPTIONS,
    Net,
    Rows,
    data,
    forge,
    plain,
    rename_type,
    sheet_of,
    squared,
    there_and_back,
    written_sheet,
)

pytestmark = rough


# What cannot be saved


class Holder:
    def __init__(self, held):
        self.held = held


class Pickled:
    def __reduce__(self):
        return print, ("loaded",)


def bad_parameters():
    class Local(nn.Module):
        pass

    return {
        "module": Local,
        "predict_nonlinearity": lambda outputs: outputs,
        "module__activation": lambda outputs: outputs,
        "train_split": Holder([ValidSplit(3), lambda: 0]),
        "criterion__weight": torch.eye(2).to_sparse(),
        "dataset__length": Pickled(),
        "optimizer__extra": {"net": NeuralNet(nn.Linear, nn.MSELoss)},
        "iterator_train__collate_fn": Holder(1).__init__,
    }


PLACES = {"train_split": r"train_split\.held\[1\]", "optimizer__extra": "extra.net"}


@pytest.mark.parametrize("name", bad_parameters())
def test_what_would_have_to_be_pickled_is_named(tmp_path, name):
    clf = SGDInfluenceClassifier(Net).set_params(**{name: bad_parameters()[name]})
    place = PLACES.get(name, name)
    with pytest.raises(TypeError, match=rf"`.*{place}` must be .* without pickle"):
        clf.save(tmp_path / "clf")
    assert list(tmp_path.iterdir()) == []


def test_a_list_that_holds_itself(tmp_path):
    endless = []
    endless.append(endless)
    with pytest.raises(TypeError, match="hold themselves"):
        SGDInfluenceClassifier(module__sizes=endless).save(tmp_path / "clf")
    holder = Holder(None)
    holder.held = [holder]  # an object may
    SGDInfluenceClassifier(module__sizes=holder).save(tmp_path / "clf")
    loaded = load_estimator(tmp_path / "clf", trusted=[Holder]).module__sizes
    assert loaded.held[0] is loaded


class Reopening(Rows):
    """A Dataset that leaves out what cannot be saved."""

    def __init__(self, X, y, path):
        super().__init__(X, y)
        self.path = path
        self.file = path.open("w")

    def __getstate__(self):
        return {**vars(self), "file": None}

    def __setstate__(self, state):
        vars(self).update(state, file=state["path"].open())


def test_a_dataset_that_says_what_to_save(tmp_path):
    X, y = data(dtype=np.float32)
    rows = Reopening(X, (y == "yes").astype(np.int64), tmp_path / "log")
    clf = SGDInfluenceClassifier(Net, classes=[0, 1], **OPTIONS).fit(rows)
    trusted = [Net, Reopening, type(tmp_path)]
    loaded = there_and_back(clf, tmp_path / "clf", trusted=trusted)
    again = loaded.training_data_[0].X
    assert (again.path, again.file.mode) == (tmp_path / "log", "r")
    assert plain(loaded.influence(rows)) == plain(clf.influence(rows))
    for held in (rows, again):
        held.file.close()


def test_a_dataset_that_cannot_be_saved_is_named(tmp_path):
    X, y = data(dtype=np.float32)
    rows = Rows(X, (y == "yes").astype(np.int64))
    rows.file = (tmp_path / "log").open("w")
    clf = SGDInfluenceClassifier(Net, classes=[0, 1], **OPTIONS).fit(rows)
    with pytest.raises(TypeError, match=r"`training_data_\[0\]\.X\.file` must be"):
        clf.save(tmp_path / "clf")
    rows.file.close()
    assert not (tmp_path / "clf").exists()


# What is not trusted


def test_untrusted_names_are_listed(tmp_path):
    SGDInfluenceClassifier(Net, predict_nonlinearity=squared).save(tmp_path / "clf")
    names = [f"{Net.__module__}.Net", f"{Net.__module__}.squared"]
    with pytest.raises(UntrustedTypeError) as raised:
        load_estimator(tmp_path / "clf")
    assert f"trusted={names}" in str(raised.value)
    with pytest.raises(UntrustedTypeError, match=r"lacks \['[\w.]*squared'\]"):
        load_estimator(tmp_path / "clf", trusted=[Net])
    for trusted in (names, [Net, squared], (Net, names[1])):
        assert load_estimator(tmp_path / "clf", trusted=trusted).module is Net
    for trusted in (True, "Net", Net):
        with pytest.raises(TypeError, match="`trusted` must be a list"):
            load_estimator(tmp_path / "clf", trusted=trusted)


@pytest.mark.parametrize("new", [("os", "system"), ("subprocess", "Popen")])
def test_a_malicious_name_is_refused(tmp_path, new):
    SGDInfluenceClassifier().save(tmp_path / "clf")
    old = ("torch.optim.sgd", "SGD")
    forge(tmp_path / "clf", "values.skops", lambda data: rename_type(data, old, new))
    with pytest.raises(UntrustedTypeError, match=rf"{new[0]}\.{new[1]}"):
        load_estimator(tmp_path / "clf")


def test_a_net_hidden_among_the_objects_is_not_unpickled(tmp_path):
    X, y = data()
    clf = SGDInfluenceClassifier(**OPTIONS).fit(X, y)
    clf.save(tmp_path / "clf")
    flag = tmp_path / "executed"

    class Evil:
        def __reduce__(self):
            return Path.touch, (flag,)

    pickled = pickle.dumps({"module_": Evil()})
    state = {
        "device": "cpu",
        "torch_load_kwargs": None,
        "__cuda_dependent_attributes__": ("bytes", pickled.hex()),
        "_keywords": {},
    }

    def hide(data):
        sheet = sheet_of(data)
        sheet["objects"].append([sheet["class"], False, [], state, [], []])
        sheet["attributes"]["extra"] = ("object", len(sheet["objects"]) - 1)
        return written_sheet(sheet)

    forge(tmp_path / "clf", "estimator.json", hide)
    with pytest.raises(TrajectoryFileError, match="no class that can be made"):
        load_estimator(tmp_path / "clf")
    assert not flag.exists()


@pytest.mark.parametrize(
    ("part", "message"),
    [
        (("method", ("object", 0), "mro"), "no method of a callback"),
        (("dtype", "load"), "is no dtype"),
        (("leaf", 10_000), "IndexError"),
        (("reduce", "os", "system"), "KeyError"),
    ],
)
def test_a_forged_part_is_refused(tmp_path, part, message):
    module = nn.Linear(3, 2)
    SGDInfluenceClassifier(module).save(tmp_path / "clf")

    def forged(data):
        sheet = sheet_of(data)
        sheet["keywords"]["module__extra"] = part
        return written_sheet(sheet)

    forge(tmp_path / "clf", "estimator.json", forged)
    with pytest.raises(TrajectoryFileError, match=message):
        load_estimator(tmp_path / "clf")


def squeezed(data):
    """Return an archive that takes little, with a part that unpacks to much."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        source = zipfile.ZipFile(io.BytesIO(data))
        for name in source.namelist():
            archive.writestr(name, source.read(name))
        archive.writestr("zeros.npy", bytes(100 << 20))
    return packed.getvalue()


def with_squeezed_matrix(data):
    """Return an archive with a sparse matrix that unpacks to much."""
    matrix, packed = io.BytesIO(), io.BytesIO(data)
    with zipfile.ZipFile(matrix, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("data.npy", bytes(100 << 20))
    with zipfile.ZipFile(packed, "a") as archive:
        archive.writestr("matrix.npz", matrix.getvalue())
    return packed.getvalue()


@pytest.mark.parametrize("change", [squeezed, with_squeezed_matrix])
def test_an_archive_that_unpacks_to_too_much(tmp_path, change):
    SGDInfluenceClassifier().save(tmp_path / "clf")
    forge(tmp_path / "clf", "values.skops", change)
    with pytest.raises(TrajectoryFileError, match=r"values\.skops.* unpack"):
        load_estimator(tmp_path / "clf")


@pytest.mark.parametrize("name", ["trajectory", "pretrained"])
def test_a_part_may_not_be_a_link(tmp_path, name):
    X, y = data()
    SGDInfluenceClassifier(**OPTIONS).fit(X, y).save(tmp_path / "clf")
    if (tmp_path / "clf" / name).exists():
        (tmp_path / "clf" / name).rename(tmp_path / name)
    (tmp_path / "clf" / name).symlink_to(tmp_path / name)
    with pytest.raises(TrajectoryFileError, match=rf"{name}.* it is a link"):
        load_estimator(tmp_path / "clf")


@pytest.mark.parametrize(
    "files", [{}, [], [1], None, {"estimator.json": {"bytes": -1, "crc32": 3}}]
)
def test_a_manifest_that_lacks_files(tmp_path, files):
    SGDInfluenceClassifier().save(tmp_path / "clf")
    path = tmp_path / "clf" / "manifest.json"
    content = unsealed(path, "skinfluence estimator", 9)
    path.write_bytes(sealed({**content, "files": files}))
    with pytest.raises(TrajectoryFileError, match=r"manifest\.json.* does not tell"):
        load_estimator(tmp_path / "clf")


def test_the_root_must_be_an_estimator(tmp_path):
    SGDInfluenceClassifier().save(tmp_path / "clf")
    new = ("torch.nn.modules.linear", "Linear")
    old = ("skinfluence.estimators", "SGDInfluenceClassifier")
    forge(tmp_path / "clf", "values.skops", lambda data: rename_type(data, old, new))
    with pytest.raises(TrajectoryFileError, match="is no estimator"):
        load_estimator(tmp_path / "clf")


def test_no_trusted_name_reads_or_writes_files():
    names = _trusted._always_trusted()
    assert not [name for name in names if "Checkpoint" in name or "LoadInit" in name]
    assert not {"torch.load", "torch.save", "builtins.eval", "builtins.open"} & names
    assert all(name.split(".")[0] not in ("os", "sys", "pickle") for name in names)


class Grown(SGDInfluenceClassifier):
    """What a later version may look like."""

    def __init__(self, module="mlp", *, novelty="new", lr=3.0, **kwargs):
        super().__init__(module, lr=lr, **kwargs)
        self.novelty = novelty


def test_a_parameter_that_was_not_there_yet_has_its_default(tmp_path):
    SGDInfluenceClassifier(lr=0.5).save(tmp_path / "clf")
    old = ("skinfluence.estimators", "SGDInfluenceClassifier")
    new = (Grown.__module__, "Grown")
    forge(tmp_path / "clf", "values.skops", lambda data: rename_type(data, old, new))
    loaded = load_estimator(tmp_path / "clf", trusted=[Grown])
    assert (loaded.novelty, loaded.lr, loaded.max_epochs) == ("new", 0.5, 20)


def run_as_script(code, monkeypatch):
    """Run code in a module of its own that is the main one."""
    main = types.ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", main)
    exec(code, vars(main))


def test_a_class_of_a_script(tmp_path, monkeypatch):
    """It can be loaded by the same script, and by no other one."""
    common = (
        "import torch\n"
        "from skinfluence import SGDInfluenceClassifier, load_estimator\n"
        f"folder = {str(tmp_path / 'clf')!r}\n"
    )
    own = "class Own(torch.nn.Linear):\n    pass\n"
    save = "SGDInfluenceClassifier(Own(3, 2)).save(folder)\n"
    load = "load_estimator(folder, trusted=['__main__.Own'])\n"
    run_as_script(common + own + save + load, monkeypatch)
    message = "A class or function of the estimator is not"
    with pytest.raises(ImportError, match=message):
        run_as_script(common + load, monkeypatch)


def test_a_class_that_is_gone(tmp_path):
    SGDInfluenceClassifier(Net).save(tmp_path / "clf")
    old, new = (Net.__module__, "Net"), (Net.__module__, "Gone")
    forge(tmp_path / "clf", "values.skops", lambda data: rename_type(data, old, new))
    with pytest.raises(ImportError, match=r"not where it was: .*Gone.* saved with"):
        load_estimator(tmp_path / "clf", trusted=[f"{Net.__module__}.Gone"])
