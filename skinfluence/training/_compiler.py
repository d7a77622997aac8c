"""Functions of tensors, compiled once for each form of their arguments."""

import logging
import warnings
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from operator import attrgetter
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from torch.fx import Graph, GraphModule
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils import _pytree as pytree

from .._warnings import warn_caller
from ..exceptions import CompilationWarning
from ._holdings import holdings
from ._randomness import seeded
from ._rounding import Tensors, close

# Layers that compute a sample's output from the whole batch.
_MIXING = (nn.modules.batchnorm._BatchNorm,)

# Beside tensors only what is compared by its value may be among a batch's data, since
# the compiled functions hold it as it is.
_PLAIN = (str, bool, type(None))

Function = Callable[..., Any]
T = TypeVar("T")

logger = logging.getLogger(__name__)

# The compiler's settings for a device. A small network's kernels take less time than to
# call them one by one from Python, or to launch them.
_SETTINGS = {"cpu": {"cpp_wrapper": True}, "cuda": {"triton.cudagraphs": True}}

# What was compiled in this process, by the graph's code and what it is called with.
_PROGRAMS: dict[Hashable, Function] = {}
_MOST_PROGRAMS = 256


@dataclass
class CompiledFunctions:
    """Compiled functions, kept for further copies of the same step.

    Attributes
    ----------
    numbers : dict of Hashable to int
        Key of what a function is compiled for (shapes, clipping, ...) -> its number.
    functions : dict of (str, int) to callable
        The compiled functions, by name and that number.
    trusted : dict of (str, int, int) to bool
        Whether a function agrees with eager code, by name, that number and the number
        of samples.
    forms : dict of int to object
        The results of a training step that are not tensors, by that number.
    pads : bool or None
        Whether short batches may be filled up; None if not yet known.
    joins : bool or None
        Whether several steps are pulled back in one call; None if not yet known.
    held : str or None
        The `holdings` of the modules that are compiled; None if nothing is.
    """

    numbers: dict[Hashable, int] = field(default_factory=dict)
    functions: dict[tuple[str, int], Function] = field(default_factory=dict)
    trusted: dict[tuple[str, int, int], bool] = field(default_factory=dict)
    forms: dict[int, Any] = field(default_factory=dict)
    pads: bool | None = None
    joins: bool | None = None
    held: str | None = None

    def number(self, made_for: Hashable) -> int:
        """Return the number of a key."""
        return self.numbers.setdefault(made_for, len(self.numbers))

    def are_of(self, modules: Sequence[nn.Module]) -> bool:
        """Whether modules compute as they did when they were compiled first.

        If not, a warning says that they are computed without compiling.
        """
        try:
            now = holdings(modules)
        except Exception as error:  # objects may raise anything when they are pickled
            reason = f"whether they change cannot be known ({error})"
        else:
            if self.held is None:
                self.held = now
            if now == self.held:
                return True
            reason = "they hold something else than when they were compiled"
        warn_caller(
            f"The modules are computed without compiling, more slowly: {reason}. Let "
            "no attribute change, or use compile=False to silence this warning.",
            CompilationWarning,
        )
        return False

    def compare_again(self, name: str) -> None:
        """Have functions of a name compared at their next use, as at their first."""
        for use in [use for use, right in self.trusted.items() if right]:
            if use[0] == name:
                self.trusted.pop(use, None)

    def call(
        self,
        function: Function,
        number: int,
        *arguments: Tensor,
        live: Iterable[Tensor] = (),
    ) -> Any:
        """Call a function of tensors as it was compiled for the number.

        A function that computes with the `live` tensors themselves is refused.
        """
        key = function.__name__, number
        return self._call(key, function, arguments, live=live)

    def scan(
        self,
        function: Function,
        number: int,
        carried: Sequence[Tensor],
        each: Sequence[Sequence[Tensor]],
        live: Iterable[Tensor] = (),
    ) -> tuple[Sequence[Tensor], Sequence[Sequence[Tensor]]]:
        """Call a function of tensors several times, on its own results, as one program.

        Parameters
        ----------
        function : callable
            ``function(*carried, *own)`` returns a tuple of tensors: as many as are
            carried, which the next call is given, and others.
        number : int
            What it is compiled for.
        carried : sequence of Tensor
            What the first call is given.
        each : sequence of sequences of Tensor
            The further arguments of each call.
        live : iterable of Tensor
            As in :meth:`call`.

        Returns
        -------
        carried : sequence of Tensor
            The last call's.
        others : sequence of sequences of Tensor
            What else each call has returned.
        """
        every = [*carried, *chain.from_iterable(each)]
        n_carried, times = len(carried), len(each)
        key = function.__name__, number
        found = self._call(key, function, every, n_carried, times, live=live)
        others = found[n_carried:]
        size = len(others) // times
        calls = [others[k : k + size] for k in range(0, len(others), size)]
        return found[:n_carried], calls

    def _call(
        self,
        key: tuple[str, int],
        function: Function,
        arguments: Sequence[Tensor],
        n_carried: int = 0,
        times: int = 1,
        *,
        live: Iterable[Tensor],
    ) -> Any:
        if key not in self.functions:
            # Tracing runs the function: it must not advance the random numbers.
            with warnings.catch_warnings(), seeded(0, arguments[0].device):
                # The compiler's own warnings are about its own parts.
                warnings.simplefilter("ignore")
                examples = [argument.detach() for argument in arguments]
                n_first = n_carried + (len(examples) - n_carried) // times
                graph = make_fx(function)(*examples[:n_first])
                _check_constants(graph, live)
                if times > 1:
                    graph = unrolled(graph, n_carried, times)
                self.functions[key] = compile_graph(graph, examples)
        with torch.no_grad():
            return self.functions[key](*arguments)

    def first_use(
        self,
        key: tuple[str, int, int],
        compute: Callable[[], T],
        tensors: Callable[[T], Sequence[Tensors]],
        expected: Sequence[Tensors],
        warn: str | None,
    ) -> T | None:
        """Compute something by compiled code, and trust the code if it does it right.

        Parameters
        ----------
        key : tuple of (str, int, int)
            Where `trusted` notes whether it does.
        compute : callable
            Compiles and computes.
        tensors : callable
            Returns the tensors of the result that are compared, in groups: each one
            relative to the largest of its group.
        expected : sequence of sequences of Tensor or None
            What these must be, from the same step without compiling.
        warn : str or None
            The step's name in the warning about code that is not trusted; None to
            give no warning.

        Returns
        -------
        object or None
            What was computed; None if it is not to be trusted.
        """
        # Whatever the compiler fails with, the step can be computed without it.
        try:
            found = compute()
            agree = _agree(tensors(found), expected)
            reason = "" if agree else "its result differs from the step's own"
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
        self.trusted[key] = not reason
        if not reason:
            return found
        logger.debug("Compiling failed: %s", reason)
        if warn is not None:
            warn_caller(
                f"The {warn} step could not be compiled and is computed without "
                f"compiling, more slowly ({reason.splitlines()[0]}). Use compile=False "
                "to silence this warning.",
                CompilationWarning,
            )
        return None


def _check_constants(graph: GraphModule, live: Iterable[Tensor]) -> None:
    """Refuse a graph that holds live tensors: others are given in their place."""
    places = {tensor.untyped_storage().data_ptr() for tensor in live}
    for node in graph.graph.nodes:
        held = attrgetter(node.target)(graph) if node.op == "get_attr" else None
        if isinstance(held, Tensor) and held.untyped_storage().data_ptr() in places:
            raise RuntimeError(
                "it computes with parameters or buffers other than those it is given, "
                "as checkpointed parts do"
            )


def unrolled(graph: GraphModule, n_carried: int, times: int) -> GraphModule:
    """Return a graph that runs a graph several times, on its own results.

    See :meth:`CompiledFunctions.scan`.
    """
    inputs = [node for node in graph.graph.nodes if node.op == "placeholder"]
    whole = Graph()
    carried = [whole.placeholder(f"carried_{k}") for k in range(n_carried)]
    own = [
        [whole.placeholder(f"own_{time}_{k}") for k in range(len(inputs) - n_carried)]
        for time in range(times)
    ]
    others: list[Any] = []
    for arguments in own:
        given: dict[Any, Any] = dict(zip(inputs, [*carried, *arguments], strict=True))
        results: Any = whole.graph_copy(graph.graph, given)
        carried = results[:n_carried]
        others += results[n_carried:]
    whole.output((*carried, *others))
    return GraphModule(graph, whole)


def compile_graph(graph: Any, examples: list[Any]) -> Function:
    """Compile a traced graph for tensors like these.

    ``torch.compile`` would trace it again and guard it against other tensors in each
    call, which takes as long as a small network's whole step; what the graph was made
    for is in the key that it is kept under. A program serves every equal graph: those
    of further fits, which are traced anew as their modules may be others.
    """
    if any(node.op == "get_attr" for node in graph.graph.nodes):
        return _compile(graph, examples)  # it holds tensors that its code does not tell
    form = tuple((x.shape, x.stride(), x.dtype, x.device) for x in examples)
    known = graph.code, form, torch.get_num_threads()
    if known not in _PROGRAMS:
        if len(_PROGRAMS) == _MOST_PROGRAMS:
            _PROGRAMS.pop(next(iter(_PROGRAMS)), None)
        _PROGRAMS[known] = _compile(graph, examples)
    return _PROGRAMS[known]


def _compile(graph: Any, examples: list[Any]) -> Function:
    # It takes some seconds, which only those pay who compile, and keeps its programs on
    # the disk for later processes.
    from torch._inductor import standalone_compile

    device = examples[0].device.type
    compiled = standalone_compile(
        graph,
        examples,
        dynamic_shapes="from_example_inputs",
        options={"config_patches": _SETTINGS.get(device, {})},
    )
    return _copying(compiled) if device == "cuda" else compiled


def _copying(function: Function) -> Function:
    """Copy what a CUDA graph returns: its next launch writes to the same memory."""

    def copied(*arguments: Tensor) -> Any:
        torch.compiler.cudagraph_mark_step_begin()
        return pytree.tree_map_only(Tensor, torch.clone, function(*arguments))

    return copied


class _Place(NamedTuple):
    """Stands for a tensor among a batch's data."""

    number: int


class _Empty:
    """Stands for an empty dictionary among a batch's data."""


class _Packed(NamedTuple):
    """Stands for a container among a batch's data."""

    leaves: tuple[Any, ...]
    spec: Any


@dataclass(frozen=True, slots=True)
class Flattened:
    """Data of a batch as a list of tensors, and its structure.

    Attributes
    ----------
    tensors : tuple of Tensor
        Each one once, however often it is in the data.
    structure : object
        The data with places instead of tensors; hashable.
    """

    tensors: tuple[Tensor, ...]
    structure: Any

    @classmethod
    def of(cls, data: Any, device: torch.device) -> "Flattened":
        """Flatten data; its tensors are moved to the device."""
        places: dict[int, _Place] = {}
        tensors: list[Tensor] = []

        def take(part: Any) -> Any:
            if isinstance(part, Tensor):
                place = places.setdefault(id(part), _Place(len(tensors)))
                if place.number == len(tensors):
                    tensors.append(part.to(device))
                return place
            # pytree knows these too, but takes as long as a layer.
            if type(part) is tuple:
                return tuple(map(take, part))
            if type(part) is dict and not part:
                return _Empty
            if isinstance(part, _PLAIN):
                return part
            leaves, spec = pytree.tree_flatten(part)
            if spec.is_leaf():
                return type(part)  # `unflatten` refuses it
            return _Packed(tuple(map(take, leaves)), spec)

        structure = take(data)
        return cls(tuple(tensors), structure)

    @property
    def form(self) -> Hashable:
        """What other data must share to use the same function."""
        shapes = tuple((x.shape, x.stride(), x.dtype) for x in self.tensors)
        return shapes, self.structure

    def filled(self, size: int, count: int) -> "Flattened":
        """Fill a batch's tensors up from `size` samples to `count`, with their own."""
        rows = torch.arange(count, device=self.tensors[0].device) % size
        tensors = tuple(
            x.index_select(0, rows) if x.dim() and len(x) == size else x
            for x in self.tensors
        )
        return replace(self, tensors=tensors)

    def parts(self, size: int) -> "list[Flattened] | None":
        """Divide the data of several batches of a size; None if that cannot be."""
        if any(not x.dim() or len(x) % size for x in self.tensors):
            return None
        pieces = [x.split(size) for x in self.tensors]
        if len({*map(len, pieces)}) != 1:
            return None
        return [replace(self, tensors=part) for part in zip(*pieces, strict=True)]

    def unflatten(self, tensors: Sequence[Tensor]) -> Any:
        """Return the data with these tensors in place of its own."""

        def put(part: Any) -> Any:
            if isinstance(part, _Place):
                return tensors[part.number]
            if isinstance(part, _Packed):
                return pytree.tree_unflatten([*map(put, part.leaves)], part.spec)
            if isinstance(part, tuple):
                return tuple(map(put, part))
            if part is _Empty:
                return {}
            if isinstance(part, _PLAIN):
                return part
            raise TypeError(f"a batch has a {part.__name__} among its data")

        return put(self.structure)


class Call(NamedTuple):
    """A step as the compiled functions see it: tensors, and their key."""

    key: int
    size: int
    data: Flattened
    tensors: tuple[Tensor, ...]


def mixes(modules: Sequence[nn.Module]) -> bool:
    """Whether a layer is known to compute samples' outputs from the whole batch."""
    every = (m for part in modules for m in part.modules())
    return any(isinstance(m, _MIXING) for m in every)


def _agree(found: Sequence[Tensors], expected: Sequence[Tensors]) -> bool:
    # Rounding may take a sample to the other side of a kink, such as a ReLU's.
    return all(
        close(mine, theirs, 0.25) for mine, theirs in zip(found, expected, strict=True)
    )
