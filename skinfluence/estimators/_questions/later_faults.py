"""What shows no fault in the first step of a run, but does later, or in the query."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from torch import Tensor

from ..._warnings import warn_caller
from ...exceptions import InfluenceReliabilityWarning
from ...influence import Query, Stage
from ...training import (
    Objective,
    State,
    check_first_derivative,
    check_later_steps,
    few,
    may_stop,
)
from ...trajectory import Replay

# How many steps, about, are looked at for what shows no fault in the first.
_LATER_STEPS = 8
# And how many more, about, at most: one of each other graph of the losses.
_MOST_GRAPHS = 16

_EXACT = "Use counterfactual_influence, which needs no derivative, or mend the module."


def check_derivatives(stages: Sequence[Stage], query: Query) -> None:
    """Refuse what shows no fault in the first step of training, but does elsewhere.

    After the retrace: a step that is not the recorded one is told as that.
    """
    for stage in stages:
        _check_later_steps(stage)
    _check_query(query, stages)
    if any(stage.back.in_half for stage in stages):
        warn_caller(
            "The influence has the precision of half-precision numbers (about 1 %): "
            "the forward pass casts to bfloat16 or float16, as torch.autocast does, "
            "and gradients pass through it. Train without these casts, or give the "
            "module parameters in half precision, which are widened on the way back.",
            InfluenceReliabilityWarning,
        )


def _check_later_steps(stage: Stage) -> None:
    """Refuse what shows no fault in the first step, but does in a later one."""
    trajectory, step, back = stage.trajectory, stage.step, stage.back
    kept = [k for k in trajectory.kept if stage.first <= k < max(stage.at)]
    # The second, which may use what the first has written, and some up to the last.
    numbers = {*kept[1:2], *kept[-1 :: -max(1, len(kept) // _LATER_STEPS)]}
    records = [trajectory.records[k] for k in _unseen(stage, numbers, whole=False)]
    check_later_steps(
        step,
        ((trajectory.state(r.step), r, few(r.micro_batches()[0])) for r in records),
        back.reached,
        remedy=_EXACT,
    )
    suspects = _suspects(stage, numbers)
    places = {k: suspects[k] for k in _unseen(stage, suspects, whole=True)}
    states = Replay(trajectory, step).forwards(places)
    for (number, own), state in zip(places.items(), states, strict=True):
        record = trajectory.records[number]
        # All of its samples: on any of them it may depend.
        batches = [record.micro_batches()[place] for place in own]
        taken = [(state, record, batch) for batch in batches]
        check_later_steps(step, taken, back.reached, remedy=_EXACT)
    seen = [*((k, False) for k in numbers), *((k, True) for k in suspects)]
    trajectory.examined |= dict.fromkeys(seen, back.reached.clone())


def _unseen(stage: Stage, numbers: Iterable[int], *, whole: bool) -> list[int]:
    """Return the steps that no question looked at in all that is reached now."""
    reached, examined = stage.back.reached, stage.trajectory.examined

    def seen(number: int) -> bool:
        known = examined.get((number, whole))
        if known is None or len(known) != len(reached):  # as of a part of a chain
            return False
        return not bool((reached & ~known).any())

    return [number for number in numbers if not seen(number)]


def _suspects(stage: Stage, seen: Iterable[int]) -> dict[int, Sequence[int]]:
    """Return the steps that need a closer look, and the places of batches in them."""
    back, records = stage.back, stage.trajectory.records
    places: dict[int, list[int]] = {}
    for number, place in _other_graphs(back.graphs, seen):
        places.setdefault(number, []).append(place)
    # Which values' gradient is stopped, the graph does not say.
    found = back.stopping.found
    stopping = {n: range(len(records[n].micro_batches())) for n in found}
    return dict(sorted({**places, **stopping}.items()))


def _other_graphs(
    graphs_of: Mapping[int, tuple[int, ...]], seen: Iterable[int]
) -> list[tuple[int, int]]:
    """Return a step, and the place of a batch in it, for each graph not seen yet."""
    known = {graphs_of[k][0] for k in seen if k in graphs_of}
    found: dict[int, tuple[int, int]] = {}
    for number, graphs in graphs_of.items():
        for place, graph in enumerate(graphs):
            if graph not in known:
                found[graph] = number, place
    others = list(found.values())
    return others[:: max(1, len(others) // _MOST_GRAPHS)]


def _check_query(query: Query, stages: Sequence[Stage]) -> None:
    """Refuse a query whose gradient is wrong: on its first batch at the last state.

    Batches that may stop some values' gradient are looked at in every state.
    """
    stage, parameters = stages[0], _needed(stages)
    last = max(stage.at)
    _show(stage, query, stage.trajectory.state(stage.trajectory.last_kept(last)))
    batches = query.by_batch()
    stopping = [each for each in batches if may_stop(partial(_values, each))]
    _check_batch(batches[0], stage, parameters, last)
    if stopping:
        numbers = sorted(stage.at)
        states = Replay(stage.trajectory, stage.step).forwards(numbers)
        for number, state in zip(numbers, states, strict=True):
            _show(stage, query, state)
            for each in stopping:
                _check_batch(each, stage, parameters, number)


def _values(query: Query) -> Tensor:
    """Return the measures of a query's only batch."""
    return next(query.values())[0]


def _show(stage: Stage, query: Query, state: State) -> None:
    live = stage.back.live
    live.show(state.of_dtype(live.dtype))
    query.objective.train(False)


def _check_batch(
    query: Query, stage: Stage, parameters: Sequence[int], seed: int
) -> None:
    def value(objective: Objective) -> Tensor:
        objective.train(False)
        values, weights = next(replace(query, objective=objective).values())
        return values @ weights

    own = [stage.back.live.parameters[k] for k in parameters]
    check_first_derivative(query.objective, own, value, seed, remedy=_EXACT)


def _needed(stages: Sequence[Stage]) -> list[int]:
    """Return the parameters in which the query is differentiated."""
    if len(stages) > 1:  # an earlier run may have moved any of them
        return list(range(len(stages[0].step.live.parameters)))
    (stage,) = stages
    records = stage.trajectory.records[stage.first : max(stage.at)]
    return sorted({k for record in records for k in record.active})
