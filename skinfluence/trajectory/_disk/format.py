"""States as safetensors and step records as JSON, to the bit and without pickle."""

import base64
import json
import math
import struct
from collections.abc import Callable, Iterable, Mapping
from itertools import groupby
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import Tensor

from ...training import Clipping, State, StepRecord
from .checks import count, each, integer, optional, real

# No model has as many; a file may say that it has more.
_MOST_PARAMETERS = 2**20

# How a value that JSON does not know is written: an object with this one key.
_FLOAT, _TUPLE, _DICT = "float", "tuple", "dict"


def to_json(value: Any) -> str:
    """Return a value as JSON; ``from_json`` gives it back to the bit.

    Raises
    ------
    TypeError
        If it is not made of numbers, strings, None, tuples, lists and dicts.
    """
    return json.dumps(_plain(value), separators=(",", ":"), allow_nan=False)


def from_json(text: str) -> Any:
    """Return what :func:`to_json` was given."""
    return _restored(json.loads(text))


def _plain(value: Any) -> Any:
    if isinstance(value, (np.generic, Tensor)) and value.ndim == 0:
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return {_FLOAT: struct.pack(">d", value).hex()}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, tuple):
        return {_TUPLE: [_plain(item) for item in value]}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {_DICT: [[_plain(k), _plain(v)] for k, v in value.items()]}
    raise TypeError(
        f"A recorded value must be a number, a string, None, or a tuple, list or dict "
        f"of these to be kept on disk, got {type(value).__name__}."
    )


def _restored(value: Any) -> Any:
    if isinstance(value, list):
        return [_restored(item) for item in value]
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == _FLOAT:
        return struct.unpack(">d", bytes.fromhex(content))[0]
    if kind == _TUPLE:
        return tuple(_restored(item) for item in content)
    return {_restored(k): _restored(v) for k, v in content}


def _rows_to_json(rows: Tensor) -> str:
    whole = rows.numpy(force=True).astype("<i8", copy=False).tobytes()
    return f'"{base64.b64encode(whole).decode()}"'


def _rows_from_json(text: Any) -> Tensor:
    whole = np.frombuffer(base64.b64decode(text, validate=True), "<i8")
    if whole.size and whole.min() < 0:
        raise ValueError(f"row {whole.min()}")
    return torch.from_numpy(whole.astype(np.int64))


def _clipping_to_json(clipping: Clipping | None) -> str:
    if clipping is None:
        return "null"
    return to_json([clipping.kind, clipping.bound, clipping.norm_type])


def _clipping_from_json(value: Any) -> Clipping | None:
    if value is None:
        return None
    kind, bound, norm_type = _restored(value)
    if kind not in ("norm", "value"):
        raise ValueError(f"clipping by {kind!r:.80}")
    return Clipping(kind, real(bound), real(norm_type))


def _settings(value: Any) -> dict[Any, Any]:
    if type(value) is not dict:
        raise ValueError(f"{value!r:.80} where settings must be")
    return value


def _being(check: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return how to read what passes a check."""
    return lambda value: check(_restored(value))


# A step's number is always written; the others only where they change.
_FIELDS: dict[str, tuple[Callable[[Any], str], Callable[[Any], Any]]] = {
    "epoch": (to_json, _being(count)),
    "data": (to_json, _being(count)),
    "rows": (_rows_to_json, _rows_from_json),
    "seed": (to_json, _being(optional(count))),
    "hyperparameters": (to_json, _being(each(_settings))),
    "active": (to_json, _being(each(count))),
    "clipping": (_clipping_to_json, _clipping_from_json),
    "digest": (to_json, _being(optional(integer))),
    "loss": (to_json, _being(optional(real))),
    "compiled_size": (to_json, _being(optional(count))),
    "n_threads": (to_json, _being(optional(count))),
    "sizes": (to_json, _being(each(count))),
    "losses": (to_json, _being(each(real))),
    "item_seed": (to_json, _being(optional(count))),
    "scale": (to_json, _being(real)),
}


class RecordEncoder:
    """Writes records one after the other, each by what it changes in the last one."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[Any, str]] = {}

    def encode(self, record: StepRecord) -> str:
        """Return the record as a JSON object."""
        parts = [f'"step":{record.step}']
        for name, (encode, _) in _FIELDS.items():
            value = getattr(record, name)
            known, written = self._last.get(name, (self, ""))
            if value is known:
                continue
            text = encode(value)
            self._last[name] = value, text
            # Texts are compared: values that are equal may differ (1, 1.0 and True).
            if text != written:
                parts.append(f'"{name}":{text}')
        return "{" + ",".join(parts) + "}"


class RecordDecoder:
    """Reads what a :class:`RecordEncoder` wrote; what did not change is shared."""

    def __init__(self) -> None:
        self._last: dict[str, Any] = {}

    def decode(self, line: Mapping[str, Any]) -> StepRecord:
        """Return the record of a JSON object."""
        for name, (_, decode) in _FIELDS.items():
            if name in line:
                self._last[name] = decode(line[name])
        return StepRecord(line["step"], **self._last)


def tensors_to_bytes(tensors: Mapping[str, Tensor], about: Any = None) -> bytes:
    """Return tensors in the format of safetensors, and what is to be known of them."""
    apart, seen = {}, set()
    for name, tensor in tensors.items():
        tensor = tensor.detach().cpu().contiguous()
        storage = tensor.untyped_storage().data_ptr()
        # safetensors refuses memory that two names share.
        apart[name] = tensor.clone() if storage in seen else tensor
        seen.add(storage)
    return safetensors.torch.save(apart, {"about": to_json(about)})


def tensors_from_bytes(
    data: bytes, device: torch.device | str = "cpu"
) -> tuple[dict[str, Tensor], Any]:
    """Return what :func:`tensors_to_bytes` was given."""
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    # Copied to memory of torch's own: some kernels round by how their input is aligned.
    tensors = {
        name: tensor.to(device, copy=True)
        for name, tensor in safetensors.torch.load(data).items()
    }
    return tensors, from_json(header["__metadata__"]["about"])


def states_to_bytes(states: Mapping[int, State]) -> bytes:
    """Return states by their numbers in the format of safetensors."""
    tensors: dict[str, Tensor] = {}
    about = {}
    owners: dict[int, str] = {}
    for number, state in states.items():
        tensors[f"{number}.parameters"] = state.parameters
        for name, moment in state.moments.items():
            tensors[f"{number}.moments.{name}"] = moment
        # A buffer that several states share is written once.
        names = tuple(
            owners.setdefault(id(buffer), f"{number}.buffers.{index}")
            for index, buffer in enumerate(state.buffers)
        )
        tensors |= zip(names, state.buffers, strict=True)
        # Parameters mostly share one tuple: told by identity, as -0.0 equals 0.0.
        shared = (list(same) for _, same in groupby(state.scalars, key=id))
        scalars = [(len(same), same[0]) for same in shared]
        about[number] = (tuple(state.moments), names, scalars)
    return tensors_to_bytes(tensors, about)


def states_from_bytes(
    data: bytes, device: torch.device | str = "cpu"
) -> dict[int, State]:
    """Return what :func:`states_to_bytes` was given."""
    tensors, about = tensors_from_bytes(data, device)
    states = {}
    for number, (moments, buffers, scalars) in about.items():
        # As many as the optimizer had parameters.
        if sum(count(times) for times, _ in scalars) > _MOST_PARAMETERS:
            raise ValueError(f"more than {_MOST_PARAMETERS} parameters")
        states[number] = State(
            tensors[f"{number}.parameters"],
            {name: tensors[f"{number}.moments.{name}"] for name in moments},
            tuple(own for times, own in scalars for _ in range(times)),
            tuple(tensors[name] for name in _buffer_names(number, buffers)),
        )
    return states


def _buffer_names(number: int, buffers: tuple[str, ...] | int) -> Iterable[str]:
    """Return the names of a state's buffers; early files have only their number."""
    if isinstance(buffers, tuple):
        return buffers
    return (f"{number}.buffers.{index}" for index in range(count(buffers)))
