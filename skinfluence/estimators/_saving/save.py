"""Saving an estimator to a folder."""

from pathlib import Path
from typing import Any

import sklearn
import skorch
import torch

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
# Files in subfolders that hold the checksums of the other files there.
PARTS = (*RUN, f"{PRETRAINED}/{MANIFEST}")

# Compiled code, and a call of fit that is still running.
# Of no use to the loaded one, or written on their own.
_LEFT_OUT = ("compiled_functions_", "run_", "_keywords")


def save_estimator(net: InfluenceNet, path: str | Path, overwrite: bool) -> None:
    """Write an estimator to a folder, fitted or not, without pickle."""
    if net.run_ is not None:
        raise RuntimeError(
            "An estimator can be saved before or after `fit`, not while it trains."
        )
    net._check_hooks()
    folder = check_path("path", path)
    stages = _stages(net)
    written = [_written(each) for each in stages]
    with new_folder(folder, _check_replaceable, overwrite=overwrite) as part:
        # The manifest of an estimator holds the checksum of the pretrained one's.
        for depth in reversed(range(len(stages))):
            place = _place(part, depth)
            with writing(folder):
                place.mkdir(parents=True, exist_ok=True)
            _write(stages[depth], written[depth], place, folder)
    for depth, net in enumerate(stages):
        if (trajectory := _trajectory(net)) is not None:
            reread(trajectory, _place(folder, depth) / TRAJECTORY)


def _stages(net: InfluenceNet) -> list[InfluenceNet]:
    """Return an estimator, the one that it starts from, and so on."""
    stages = [net]
    while isinstance(stages[-1].pretrained, InfluenceNet):
        stages.append(stages[-1].pretrained)
    return stages


def _place(folder: Path, depth: int) -> Path:
    return folder.joinpath(*depth * [PRETRAINED])


def _trajectory(net: InfluenceNet) -> Trajectory | None:
    return net.__dict__.get("trajectory_")


def _write(
    net: InfluenceNet, files: dict[str, bytes], part: Path, folder: Path
) -> None:
    """Write one estimator to a temporary folder, which will become `folder`."""
    if (trajectory := _trajectory(net)) is not None:
        trajectory.save(part / TRAJECTORY)
    with writing(folder):
        for name, data in files.items():
            write_file(part / name, data)
        write_file(part / MANIFEST, _manifest(part, files))


def _check_replaceable(folder: Path) -> None:
    """Raise an error if a folder holds more than a whole estimator."""
    files = read_manifest(folder)["files"]
    ours = {MANIFEST, *(name.partition("/")[0] for name in files)}
    refuse_others(folder, lambda name: name in ours or is_part(name))
    if RUN[0] in files:
        check_replaceable(folder / TRAJECTORY)
    if PARTS[-1] in files:
        _check_replaceable(folder / PRETRAINED)


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


def _written(net: InfluenceNet) -> dict[str, bytes]:
    """Return the estimator as files, without trajectory and pretrained estimator."""
    left_out = {*_LEFT_OUT}
    if _trajectory(net) is not None:
        left_out.add("trajectory_")
    if isinstance(net.pretrained, InfluenceNet):
        left_out.add("pretrained")
    packer = Packer()
    attributes = {k: v for k, v in net.__dict__.items() if k not in left_out}
    try:
        parts = {
            "class": packer.pack(type(net), type(net).__name__),
            "keywords": packer.pack(net._keywords, ""),
            # A later version may have others.
            "defaults": packer.pack(module_defaults(net.module), ""),
            "attributes": packer.pack(attributes, ""),
        }
    except RecursionError as error:
        raise TypeError(
            "The estimator's parameters and attributes must not hold lists or dicts "
            "that hold themselves, or are nested hundreds of times, to be saved."
        ) from error
    objects = {**parts, "objects": packer.objects, "tensors": packer.kinds}
    tensors = {str(k): tensor for k, tensor in enumerate(packer.tensors)}
    return {
        OBJECTS: to_json(objects).encode(),
        TENSORS: tensors_to_bytes(tensors),
        LEAVES: packer.written_leaves(),
    }


def _manifest(folder: Path, files: dict[str, bytes]) -> bytes:
    parts = [name for name in PARTS if (folder / name).exists()]
    contents = {**files, **{name: read_any(folder / name) for name in parts}}
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
