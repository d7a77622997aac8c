"""Loading an estimator from a folder."""

import inspect
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from sklearn.base import BaseEstimator
from skorch.exceptions import DeviceWarning

from ..._files import damaged, is_link, read_file
from ..._folders import folder_to_read
from ..._values import check_path
from ..._warnings import warn_caller
from ...exceptions import NondeterminismWarning, SkinfluenceError
from ...training import check_device
from ...trajectory import Trajectory, from_json, tensors_from_bytes
from .._modules import earlier_module_defaults, module_defaults
from .._net import InfluenceNet, net_modules
from .._typing import Device
from .paths import check_paths
from .save import (
    ESTIMATORS,
    LEAVES,
    MANIFEST,
    OBJECTS,
    PRETRAINED,
    RUN,
    TENSORS,
    TRAJECTORY,
    inner_folders,
    read_manifest,
)
from .trusted import Trusted, load, names_of
from .unpacking import Unpacker


def load_estimator(
    path: str | Path,
    trusted: Iterable[Trusted] | None = None,
    *,
    device: Device | None = None,
) -> Any:
    """Return the estimator that was saved to a folder.

    It predicts, computes influence and continues training as the saved one would, on a
    CPU to the last bit. Nothing is unpickled. The states of the trajectory are read
    when they are needed: the folder must stay where it is; it is never changed.

    Parameters
    ----------
    path : str or Path
        The folder that :meth:`save
        <skinfluence.SGDInfluenceClassifier.save>` or
        :func:`~skinfluence.save_estimator` wrote.
    trusted : list of str, path, class or function, optional
        Your own classes and functions that the estimator uses, themselves or by their
        full names, and the paths among its parameters `memory` and `decisions`, as
        they were given; the error lists those that are missing. The classes and
        functions of the library, torch's modules, criteria, optimizers and loaders,
        skorch's callbacks that write no files, and scikit-learn's estimators, splitters
        and metrics are always trusted.
    device : str or torch.device, optional
        Where to put the model; becomes the parameter `device`. By default where it was
        trained, or the CPU if there is no such device.

    Returns
    -------
    estimator
        Of the class that was saved: an SGDInfluenceClassifier, an InfluenceCleaner, a
        Pipeline.

    Raises
    ------
    UntrustedTypeError
        If it uses classes, functions or files that are not trusted.
    TrajectoryFileError
        If a file is missing, damaged, foreign, or of a newer format; for states of
        the trajectory, when they are read.
    ImportError
        If a class or function cannot be imported any more.
    ValueError
        If `device` is not available.

    Warns
    -----
    NondeterminismWarning
        If states must be recomputed, and were computed by another version of torch.
    DeviceWarning
        skorch's, if the device of the training is not available.

    See Also
    --------
    save_estimator : Writes the folder.
    Trajectory.load : The same for a trajectory alone.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from skinfluence import SGDInfluenceRegressor, load_estimator
    >>> with TemporaryDirectory() as folder:
    ...     SGDInfluenceRegressor("linear", lr=0.2).save(f"{folder}/plan")
    ...     load_estimator(f"{folder}/plan").lr
    0.2
    """
    folder, names = folder_to_read(check_path("path", path)), names_of(trusted)
    if device is not None:
        check_device(device)
    manifest = read_manifest(folder)
    folders = inner_folders(manifest)
    for name in (TRAJECTORY, PRETRAINED, ESTIMATORS, *folders):
        if is_link(folder / name):
            raise damaged(folder / name, "it is a link")
    recorded = [name for name in RUN if name in manifest["files"]]
    for name in (*recorded, *(f"{each}/{MANIFEST}" for each in folders)):
        _read(folder, manifest, name)
    inner = {
        name: load_estimator(folder / name, trusted, device=device) for name in folders
    }
    with _telling(folder / OBJECTS, f"; it was written by {manifest['written_by']}"):
        net = _assembled(folder, manifest, names, device, inner)
    check_paths(net, names)
    if recorded:
        net.trajectory_ = Trajectory.load(
            folder / TRAJECTORY, device=net.device or "cpu"
        )
        _check_run(net, net.trajectory_, folder)
        _warn_of_rounding(net.trajectory_, manifest["written_by"]["torch"])
    if PRETRAINED in inner:
        net.__dict__["pretrained"] = inner[PRETRAINED]
    return net


@contextmanager
def _telling(path: Path, more: str = "") -> Iterator[None]:
    """Name the file whose content fails, wherever that is."""
    try:
        yield
    except (SkinfluenceError, ImportError):
        raise
    except Exception as error:  # foreign content can fail anywhere
        why = f"it does not make an estimator ({error!r:.300}){more}"
        raise damaged(path, why) from error


def _check_run(net: InfluenceNet, run: Trajectory, folder: Path) -> None:
    """Refuse a run of more samples than the estimator was trained on."""
    n_samples = sum(map(len, net.training_data_))
    if run.n_samples > n_samples:
        why = f"it tells of {run.n_samples} samples, and the estimator of {n_samples}"
        raise damaged(folder / RUN[-1], why)


def _read(folder: Path, manifest: dict[str, Any], name: str) -> bytes:
    entry = manifest["files"][name]
    return read_file(folder / name, entry["bytes"], entry["crc32"])


def _assembled(
    folder: Path,
    manifest: dict[str, Any],
    trusted: list[str],
    device: Device | None,
    inner: dict[str, Any],
) -> Any:
    """Return the estimator, without its trajectory."""
    written = from_json(_read(folder, manifest, OBJECTS).decode())
    with _telling(folder / TENSORS):
        tensors, _ = tensors_from_bytes(_read(folder, manifest, TENSORS))
    leaves = _read(folder, manifest, LEAVES)
    with _telling(folder / LEAVES):
        named = _named(leaves, trusted, manifest["written_by"])
    saved = written.get("attributes", {"device": "cpu"})["device"]
    saved = saved[1] if isinstance(saved, tuple) else saved or "cpu"
    where = _available(saved) if device is None else torch.device(device)
    unpacker = Unpacker(
        written["objects"],
        written["tensors"],
        [tensors[str(k)] for k in range(len(tensors))],
        named,
        where,
        [inner[f"{ESTIMATORS}/{k}"] for k in range(len(inner) - (PRETRAINED in inner))],
    )
    if "estimator" in written:
        other = unpacker.unpack(written["estimator"])
        if not isinstance(other, BaseEstimator):
            raise TypeError(f"{other!r:.80} is no estimator")
        return other
    cls = unpacker.unpack(written["class"])
    if not (isinstance(cls, type) and issubclass(cls, InfluenceNet)):
        raise TypeError(f"{cls!r} is no estimator")
    net = cls.__new__(cls)
    # The class may have got new parameters since it was saved.
    net.__dict__.update(_defaults(cls))
    net.__dict__.update(unpacker.unpack(written["attributes"]))
    told = unpacker.unpack(written.get("defaults"))
    given = unpacker.unpack(written["keywords"])
    net._keywords = {**_changed_since(net.module, told), **given}
    if str(where) != saved:
        _move(net, where if device is None else device)
    return net


def _defaults(cls: type) -> dict[str, Any]:
    parameters = inspect.signature(cls).parameters.values()
    return {p.name: p.default for p in parameters if p.default is not p.empty}


def _changed_since(module: object, told: dict[str, Any] | None) -> dict[str, Any]:
    """Return the defaults that a file's built-in module had, where today's differ."""
    had = earlier_module_defaults(module) if told is None else told
    today = module_defaults(module)
    return {name: value for name, value in had.items() if value != today.get(name)}


def _named(written: bytes, trusted: list[str], versions: object) -> list[Any]:
    try:
        return load(written, trusted)
    except (ImportError, AttributeError) as error:
        raise ImportError(
            f"A class or function of the estimator is not where it was: {error}. Let "
            f"it be found under its old name. The estimator was saved with {versions}."
        ) from error


def _available(device: str) -> torch.device:
    """Return the device, or the CPU if there is no such device."""
    if _is_available(device):
        return torch.device(device)
    warn_caller(
        f"The estimator was trained on the device {device!r}, which is not there: "
        "it is put on the CPU.",
        DeviceWarning,
    )
    return torch.device("cpu")


def _is_available(device: Device) -> bool:
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError):  # torch built without CUDA asserts
        return False
    return True


def _move(net: InfluenceNet, device: Device) -> None:
    """Put a net on another device than it was on."""
    net.__dict__["device"] = device if isinstance(device, str) else str(device)
    if not net.initialized_:
        return
    for module in net_modules(net):
        module.to(device)
    for name in net._optimizers:
        optimizer = getattr(net, f"{name}_")
        # Moves the state to the parameters' device.
        optimizer.load_state_dict(optimizer.state_dict())


def _warn_of_rounding(trajectory: Trajectory, version: str) -> None:
    if trajectory.interval > 1 and _public(version) != _public(torch.__version__):
        warn_caller(
            f"The run was recorded with torch {version}, and some of its states must "
            f"be computed again, with torch {torch.__version__}: if that rounds "
            "otherwise, the run cannot be retraced to the last bit.",
            NondeterminismWarning,
        )


def _public(version: str) -> str:
    """Return a version without its build."""
    return version.partition("+")[0]
