"""A device that stands in for a GPU where there is none.

Its memory is the host's under another label, and the CPU's kernels compute on it. Like
a GPU it refuses to compute together with tensors of the host, or to become an array,
and draws from a generator of its own.
"""

import ctypes
import functools
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor
from torch.utils.backend_registration import (
    _DummyBackendModule,
    _setup_privateuseone_for_python_backend,
)

NAME = "stand"

_aten = torch.ops.aten
# DLPack says where memory is: the host, or a device of a kind that it has no word for.
_HOST, _ELSEWHERE = 1, 12
_address = ctypes.pythonapi.PyCapsule_GetPointer
_address.restype = ctypes.c_void_p
_address.argtypes = [ctypes.py_object, ctypes.c_char_p]

# Of the CPU's kernels those that touch no memory do for any device.
_CPU = torch._C.DispatchKeySet(torch._C.DispatchKey.CPU)
_SHAPING = {
    _aten.set_.source_Tensor,
    _aten.set_.source_Storage,
    _aten.set_.source_Storage_storage_offset,
}
# They take places in the host's memory, as on a GPU.
_INDEXING = {_aten.index, _aten.index_put, _aten.index_put_, _aten._index_put_impl_}

# torch has a way to compute these for any device, which is not a GPU's.
_OWN_KERNELS = [
    _aten.convolution.default,
    _aten.convolution_backward.default,
    _aten.empty_like.default,
]


def _labelled(tensor, place):
    """Return a tensor of the same memory that says it is somewhere else."""
    capsule = torch._C._to_dlpack(tensor)
    device_type = _address(capsule, b"dltensor") + ctypes.sizeof(ctypes.c_void_p)
    ctypes.c_int32.from_address(device_type).value = place
    return torch._C._from_dlpack(capsule)


def _host(tensor):
    if not tensor.numel():  # operations make room in it, which needs its own memory
        return torch.empty(tensor.shape, dtype=tensor.dtype)
    return _labelled(tensor, _HOST)


def _device(tensor):
    if tensor._is_zerotensor():  # without memory
        tensor = torch.zeros(tensor.shape, dtype=tensor.dtype)
    return _labelled(tensor, _ELSEWHERE)


class _Kernel:
    """The CPU's kernel of one operation, on labels of the host of the same memory."""

    def __init__(self, op):
        self.op = op
        self.draws = torch.Tag.nondeterministic_seeded in op.tags
        self.may_mix = op.overloadpacket in _INDEXING
        # Numbers among tensors were unpacked on the way.
        self.tensors = [str(each.type) == "Tensor" for each in op._schema.arguments]

    def __call__(self, *args, **kwargs):
        to_host = self.op is _aten.empty_like.default and _asks_for_host(kwargs)
        if to_host:
            kwargs.pop("pin_memory", None)
        twins = {}
        args = [
            torch.tensor(value)
            if tensor and type(value) is int
            else self.unlabelled(value, twins)
            for value, tensor in zip(args, self.tensors, strict=False)
        ]
        kwargs = {name: self.unlabelled(kwargs[name], twins) for name in kwargs}
        with _drawing(kwargs.get("generator")) if self.draws else _AS_IT_IS:
            result = self.op(*args, **kwargs)
        return result if to_host else self.labelled(result, twins)

    def unlabelled(self, value, twins):
        if isinstance(value, Tensor):
            if value.device.type == NAME:
                twin = _host(value)
                twins[id(twin)] = value, twin
                return twin
            if value.dim() == 0 or self.may_mix:
                return value
            raise RuntimeError(
                "Expected all tensors to be on the same device, but found at least two "
                f"devices, {NAME} and {value.device}, in {self.op}"
            )
        if isinstance(value, list | tuple):
            return [self.unlabelled(each, twins) for each in value]
        return torch.device("cpu") if isinstance(value, torch.device) else value

    def labelled(self, value, twins):
        if isinstance(value, Tensor):
            given, twin = twins.get(id(value), (None, None))
            if given is None:
                return _device(value)
            return given if given.shape == twin.shape else _become(given, twin)
        if isinstance(value, list | tuple):
            return type(value)(self.labelled(each, twins) for each in value)
        return value


_AS_IT_IS = nullcontext()


def _asks_for_host(kwargs):
    return getattr(kwargs.get("device"), "type", None) == "cpu"


def _become(tensor, made):
    """Let a tensor of the device be what was made in the host's memory."""
    return _aten.set_.source_Tensor.redispatch(_CPU, tensor, _device(made))


def _copy_from(source, target, non_blocking=False):
    mine, theirs = (
        _labelled(x, _HOST) if x.device.type == NAME else x for x in (target, source)
    )
    mine.copy_(theirs)
    return target


def _resize(tensor, size, memory_format=None):
    grown = torch.empty(size, dtype=tensor.dtype)
    n_kept = min(tensor.numel(), grown.numel())
    grown.view(-1)[:n_kept] = _host(tensor).reshape(-1)[:n_kept]
    return _become(tensor, grown)


_TRANSFERS = {
    _aten._copy_from.default: _copy_from,
    _aten.resize_.default: _resize,
    _aten.record_stream.default: lambda tensor, stream: None,
}


@functools.cache
def _kernel(op):
    """Return what computes an operation on the device."""
    if op.is_view or op in _SHAPING:
        return functools.partial(op.redispatch, _CPU)
    return _TRANSFERS.get(op) or _Kernel(op)


def _run(op, *args, **kwargs):
    return _kernel(op)(*args, **kwargs)


@contextmanager
def _drawing(generator):
    """Draw from the device's generator where the CPU's kernel takes the host's."""
    own, host = (
        torch.get_device_module(NAME).default_generators[0],
        torch.default_generator,
    )
    if generator is not None:
        if generator is not own:
            raise RuntimeError(f"Expected a '{NAME}' device type for generator")
        yield
        return
    before = host.get_state()
    host.set_state(own.get_state())
    yield
    own.set_state(host.get_state())
    host.set_state(before)


class Module(_DummyBackendModule):
    """What `torch.cuda` is to CUDA."""

    def __init__(self):
        self.default_generators = (torch.Generator(),)

    def manual_seed_all(self, seed):
        self.default_generators[0].manual_seed(seed)

    def mem_get_info(self, device=None):
        return 2**30, 2**31

    def current_stream(self, device):
        return torch.Stream(device=device)

    Stream = current_stream

    def stream(self, stream):
        return nullcontext()


def _to_device(storage):
    """Copy a storage: torch cannot make one for a device that it does not know."""
    bytes_there = torch.empty(storage.nbytes(), dtype=torch.uint8, device=NAME)
    return bytes_there.untyped_storage().copy_(storage)


def _patch_storages():
    clone, to = torch.UntypedStorage.clone, torch.UntypedStorage.to

    def clone_anywhere(self):
        return _to_device(self) if self.device.type == NAME else clone(self)

    def to_anywhere(self, *, device, non_blocking=False):
        there = torch.device(device).type == NAME
        return _to_device(self) if there else to(self, device=device)

    torch.UntypedStorage.clone = clone_anywhere
    torch.UntypedStorage.to = to_anywhere


_LIBRARIES = []  # what they register lasts as long as they do


def register():
    """Let torch have the device, for the rest of this process.

    The process can no longer fork once it has differentiated: torch keeps a thread for
    the device.
    """
    _setup_privateuseone_for_python_backend(NAME, Module())
    fallback, kernels = (torch.library.Library(name, "IMPL") for name in ("_", "aten"))
    fallback.fallback(_run, "PrivateUse1")
    for op in _OWN_KERNELS:
        kernels.impl(op, _kernel(op), "PrivateUse1")
    _LIBRARIES.extend([fallback, kernels])
    _patch_storages()
    # As on a GPU: a parameter of two layers is still one after a move.
    torch.__future__.set_swap_module_params_on_conversion(True)
