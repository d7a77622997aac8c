"""Saving an estimator to a folder."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import sklearn
import skorch
import torch
from sklearn.base import BaseEstimator

from ..._files import (
    checksum,
    damaged,
    is_part,
    read_any,
    sealed,
    unsealed,
    write_file,
    writing,
)
from ..._folders import new_folder, refuse_others
from ..._values import check_path
from ..._version import __version__
from ...trajectory import (
    Trajectory,
    check_replaceable,
    reread,
    tensors_to_bytes,
    to_json,
)
from .._modules import module_defaults
from .._net import InfluenceNet
from .packing import Packer

MANIFEST = "manifest.json"
FORMAT, VERSION = "skinfluence estimator", 2

OBJECTS, TENSORS, LEAVES = "estimator.json", "tensors.safetensors", "values.skops"
TRAJECTORY = "trajectory"
# The states have checksums of their own, in the trajectory's manifest.
RUN = (f"{TRAJECTORY}/manifest.json", f"{TRAJECTORY}/journal.jsonl")
PRETRAINED = "pretrained"
ESTIMATORS = "estimators"  # in which each has a number
_INNER = re.compile(rf"({PRETRAINED}|{ESTIMATORS}/[0-9]+)/{re.escape(MANIFEST)}")

# Compiled code, and a call of fit that is still running.
# Of no use to the loaded one, or written on their own.
_LEFT_OUT = ("compiled_functions_", "run_", "_keywords", "_ranks")


class _Part(NamedTuple):
    """An estimator as files, and the estimators in folders within its own."""

    estimator: Any
    files: dict[str, bytes]
    inner: dict[str, "_Part"]


def save_estimator(
    estimator: BaseEstimator, path: str | Path, *, overwrite: bool = False
) -> None:
    """Write an estimator to a folder, fitted or not, without pickle.

    The estimators of this library have a method `save` that does this. The function
    takes scikit-learn's estimators too, such as a Pipeline or a search in which one of
    them stands. Each network in it is written to a folder of its own, with its
    trajectory, as by :meth:`SGDInfluenceClassifier.save
    <skinfluence.SGDInfluenceClassifier.save>`; frames as their columns.

    Parameters
    ----------
    estimator : estimator
        The estimator.
    path : str or Path
        A new or empty folder; it appears under its name once it is complete.
    overwrite : bool, default=False
        Whether to replace an estimator that was saved there. Nothing else is ever
        replaced.

    Raises
    ------
    TypeError
        If a part can only be pickled, such as a lambda, a ``joblib.Memory`` or a column
        of dates with a time zone. ``joblib.dump`` writes a pickle: a file that is not
        safe to load from others.
    TrajectoryFileError
        If the folder is in use or cannot be written; its old content is kept.
    RuntimeError
        If the estimator is being fitted.

    See Also
    --------
    load_estimator : Loads it.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from skinfluence import InfluenceCleaner, load_estimator, save_estimator
    >>> X, y = load_iris(return_X_y=True)
    >>> model = make_pipeline(StandardScaler(), InfluenceCleaner(random_state=0))
    >>> model = model.fit(X, y)
    >>> with TemporaryDirectory() as folder:
    ...     save_estimator(model, f"{folder}/iris")
    ...     loaded = load_estimator(f"{folder}/iris")
    >>> bool((loaded.predict_proba(X) == model.predict_proba(X)).all())
    True
    """
    if not isinstance(estimator, BaseEstimator):
        raise TypeError(
            "`estimator` must be an instance of an estimator of scikit-learn's kind, "
            f"got {estimator!r:.200}."
        )
    folder = check_path("path", path)
    whole = _part(estimator)
    with new_folder(folder, _check_replaceable, overwrite=overwrite) as hidden:
        _write(whole, hidden, folder)
    _reread(whole, folder)


def _part(estimator: Any) -> _Part:
    """Return an estimator as files; refuse one that cannot be written."""
    packer, inner = Packer(), {}
    packed = _packed_net if isinstance(estimator, InfluenceNet) else _packed_other
    try:
        parts = packed(estimator, packer)
    except RecursionError as error:
        raise TypeError(
            "The estimator's parameters and attributes must not hold lists or dicts "
            "that hold themselves, or are nested hundreds of times, to be saved."
        ) from error
    if isinstance(getattr(estimator, "pretrained", None), InfluenceNet):
        inner[PRETRAINED] = _part(estimator.pretrained)
    for number, net in enumerate(packer.nets):
        inner[f"{ESTIMATORS}/{number}"] = _part(net)
    objects = {**parts, "objects": packer.objects, "tensors": packer.kinds}
    tensors = {str(k): tensor for k, tensor in enumerate(packer.tensors)}
    files = {
        OBJECTS: to_json(objects).encode(),
        TENSORS: tensors_to_bytes(tensors),
        LEAVES: packer.written_leaves(),
    }
    return _Part(estimator, files, inner)


def _packed_net(net: InfluenceNet, packer: Packer) -> dict[str, Any]:
    """Return a net without its trajectory and pretrained estimator."""
    if net.run_ is not None:
        raise RuntimeError(
            "An estimator can be saved before or after `fit`, not while it trains."
        )
    net._check_hooks()
    left_out = {*_LEFT_OUT}
    if _trajectory(net) is not None:
        left_out.add("trajectory_")
    if isinstance(net.pretrained, InfluenceNet):
        left_out.add("pretrained")
    attributes = {k: v for k, v in net.__dict__.items() if k not in left_out}
    return {
        "class": packer.pack(type(net), type(net).__name__),
        "keywords": packer.pack(net._keywords, ""),
        # A later version may have others.
        "defaults": packer.pack(module_defaults(net.module), ""),
        "attributes": packer.pack(attributes, ""),
    }


def _packed_other(estimator: BaseEstimator, packer: Packer) -> dict[str, Any]:
    return {"estimator": packer.pack(estimator, type(estimator).__name__)}


def _trajectory(estimator: Any) -> Trajectory | None:
    if not isinstance(estimator, InfluenceNet):
        return None
    return estimator.__dict__.get("trajectory_")


def _write(part: _Part, place: Path, folder: Path) -> None:
    """Write an estimator to a place in a temporary folder, which becomes `folder`."""
    with writing(folder):
        place.mkdir(parents=True, exist_ok=True)
    # The manifest of an estimator holds the checksums of the inner ones'.
    for name, inner in part.inner.items():
        _write(inner, place / name, folder)
    if (trajectory := _trajectory(part.estimator)) is not None:
        trajectory.save(place / TRAJECTORY)
    with writing(folder):
        for name, data in part.files.items():
            write_file(place / name, data)
        write_file(place / MANIFEST, _manifest(part, place))


def _reread(part: _Part, place: Path) -> None:
    """Let the trajectories read from where they are now, if they were there before."""
    if (trajectory := _trajectory(part.estimator)) is not None:
        reread(trajectory, place / TRAJECTORY)
    for name, inner in part.inner.items():
        _reread(inner, place / name)


def inner_folders(manifest: Mapping[str, Any]) -> list[str]:
    """Return the folders of the estimators within one, by its manifest."""
    found = (_INNER.fullmatch(name) for name in manifest["files"])
    return [match[1] for match in found if match]


def _check_replaceable(folder: Path) -> None:
    """Raise an error if a folder holds more than a whole estimator."""
    files = read_manifest(folder)["files"]
    ours = {MANIFEST, *(name.partition("/")[0] for name in files)}
    refuse_others(folder, lambda name: name in ours or is_part(name))
    if RUN[0] in files:
        check_replaceable(folder / TRAJECTORY)
    inner = inner_folders({"files": files})
    if (folder / ESTIMATORS).exists():
        refuse_others(
            folder / ESTIMATORS,
            lambda name: f"{ESTIMATORS}/{name}" in inner or is_part(name),
        )
    for name in inner:
        _check_replaceable(folder / name)


def read_manifest(folder: Path) -> Any:
    """Return what the manifest of an estimator says."""
    path = folder / MANIFEST
    manifest = unsealed(path, FORMAT, VERSION)
    try:
        files, versions = manifest["files"], manifest["written_by"]
        sizes = [(each["bytes"], each["crc32"]) for each in files.values()]
        lacks = {OBJECTS, TENSORS, LEAVES} - files.keys()
        known = all(type(size) is int and type(crc) is str for size, crc in sizes)
        named = all(type(version) is str for version in versions.values())
        if lacks or not (known and named and "torch" in versions):
            raise ValueError(f"files {sorted(files)!r:.200}")
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        why = f"it does not tell the files of an estimator ({error!r:.200})"
        raise damaged(path, why) from error
    return manifest


def _manifest(part: _Part, place: Path) -> bytes:
    names = [f"{name}/{MANIFEST}" for name in part.inner]
    names += [name for name in RUN if (place / name).exists()]
    contents = {**part.files, **{name: read_any(place / name) for name in names}}
    content = {
        "format": FORMAT,
        "version": VERSION,
        "written_by": _versions(),
        "files": {
            name: {"bytes": len(data), "crc32": checksum(data)}
            for name, data in contents.items()
        },
    }
    return sealed(content)


def _versions() -> dict[str, str]:
    return {
        "skinfluence": __version__,
        "torch": torch.__version__,
        "skorch": skorch.__version__,
        "scikit-learn": sklearn.__version__,
    }
