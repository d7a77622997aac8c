"""The plan of what is kept and recomputed, carried out on numbers alone."""

import math
from itertools import pairwise

import pytest

from skinfluence.trajectory import (
    Schedule,
    fewest_states,
    leaves_room,
    smallest_interval,
)
from skinfluence.trajectory._schedule import Advance, Backward, Check, Drop


def every(interval, n_steps):
    """Return the numbers of every `interval`-th state and of the last."""
    return [*range(0, n_steps, interval), n_steps]


def carry_out(schedule):
    """Do what the plan says; return the steps gone back, the peak and the steps taken.

    A state can be used only while it is held, and a step only between its two states.
    """
    kept = set(schedule.kept)
    held, steps, checked, at = set(kept), [], [], None
    peak, taken = len(held), 0
    for action in schedule:
        match action:
            case Advance(start, stop):
                assert start in held
                assert start < stop
                assert stop not in held
                held.add(stop)
                taken += stop - start
                at = stop
            case Check(low, start, stop):
                # It goes on from where the modules stand, so nothing is taken twice.
                assert at == start < stop
                assert {low, stop} <= kept
                checked.append((low, stop))
                taken += stop - start
                at = stop
            case Backward(step):
                assert {step, step + 1} <= held
                steps.append(step)
                at = None
            case Drop(state):
                assert state not in kept
                held.remove(state)
        peak = max(peak, len(held))
    assert held == kept  # nothing is left behind
    return steps, peak, taken, checked


@pytest.mark.parametrize("n_steps", [1, 2, 3, 5, 16, 17, 40, 61])
def test_every_step_is_gone_back_once_in_order(n_steps):
    for interval in (1, 2, 3, 7, n_steps, 2 * n_steps):
        kept = every(interval, n_steps)
        for room in (2, 3, 4, 6, interval, math.inf):
            schedule = Schedule(kept, n_steps, 0, len(kept) + room)
            steps, peak, taken, checked = carry_out(schedule)
            assert steps == list(range(n_steps))[::-1]
            assert peak <= len(kept) + room
            assert (peak, taken) == (schedule.peak_states, schedule.recomputed_steps)
            # What was recomputed is compared with the kept state after it.
            gaps = [pair for pair in pairwise(kept) if pair[1] > pair[0] + 1]
            assert checked == gaps[::-1]


@pytest.mark.parametrize("interval", [1, 2, 4, 5, 13])
@pytest.mark.parametrize("room", [2, 3, 5, math.inf])
def test_between_any_two_states(interval, room):
    n_steps = 13
    kept = every(interval, n_steps)
    for stop in range(n_steps + 1):
        for first in range(stop + 1):
            schedule = Schedule(kept, stop, first, len(kept) + room)
            steps, peak, taken, _ = carry_out(schedule)
            assert steps == list(range(first, stop))[::-1]
            assert peak <= len(kept) + room
            assert (peak, taken) == (schedule.peak_states, schedule.recomputed_steps)


def test_a_walk_from_a_state_that_is_not_kept_takes_no_step_twice():
    # State 6 lies between 4 and 8: the sweep finds it on its way to the check at 8.
    assert list(Schedule([0, 4, 8], stop=6, first=4)) == [
        Advance(4, 5),
        Advance(5, 6),
        Check(4, 6, 8),
        Backward(5),
        Drop(6),
        Backward(4),
        Drop(5),
    ]


def test_irregular_kept_states():
    kept = [3, 4, 9, 10, 24]
    steps, peak, _, checked = carry_out(Schedule(kept, 24, 3, 9))
    assert steps == list(range(3, 24))[::-1]
    assert peak == 9
    assert checked == [(10, 24), (4, 9)]


def test_states_that_the_steps_do_not_lead_to_are_not_checked():
    *_, checked = carry_out(Schedule([0, 4, 8], 8, unchecked=frozenset([4])))
    assert checked == [(4, 8)]


def test_room_for_a_whole_segment_takes_each_step_once():
    schedule = Schedule(every(8, 64), 64, 0, 9 + 7)
    assert (schedule.peak_states, schedule.recomputed_steps) == (16, 64)
    less = Schedule(every(8, 64), 64, 0, 9 + 6)
    assert less.peak_states <= 15
    assert less.recomputed_steps > 64


def test_all_states_kept_take_no_step_again():
    schedule = Schedule(every(1, 30), 30)
    assert (schedule.peak_states, schedule.recomputed_steps) == (31, 0)


def binomial_cost(length, snapshots):
    """Steps taken again, from Griewank and Walther's closed form (Proposition 1)."""
    repeats = 0
    while math.comb(snapshots + repeats, snapshots) < length:
        repeats += 1
    return repeats * length - math.comb(snapshots + repeats, repeats - 1)


@pytest.mark.parametrize("length", [10, 33, 120, 500])
@pytest.mark.parametrize("room", [3, 4, 7])
def test_recomputes_no_more_than_the_binomial_bound(length, room):
    schedule = Schedule([0, length], length, 0, 2 + room)
    # One snapshot is the kept state; one more step is taken for the check.
    assert schedule.recomputed_steps == binomial_cost(length, room - 1) + 1


LENGTHS = [16, 17, 18, 21, 26, 31, 50, 64, 100, 129, 500, 1000, 4096, 15640, 2**16]


@pytest.mark.parametrize("n_steps", [*LENGTHS, 2**20])
def test_square_root_plan(n_steps):
    budget = math.floor(2.2 * math.sqrt(n_steps))
    interval = smallest_interval(n_steps, budget)
    schedule = Schedule(every(interval, n_steps), n_steps, 0, budget)
    assert schedule.peak_states <= 2.2 * math.sqrt(n_steps)
    assert schedule.recomputed_steps <= n_steps


@pytest.mark.parametrize("n_steps", [*LENGTHS, 2**20])
def test_logarithmic_plan(n_steps):
    budget = fewest_states(n_steps)
    assert budget <= 2 * math.log2(n_steps)
    interval = smallest_interval(n_steps, budget)
    schedule = Schedule(every(interval, n_steps), n_steps, 0, budget)
    assert schedule.peak_states <= 2 * math.log2(n_steps)
    assert schedule.recomputed_steps <= n_steps * math.log2(n_steps) / 2


@pytest.mark.parametrize("n_steps", [1, 2, 3, 7, 15, 16, 30, 99, 250])
def test_the_chosen_interval_is_the_smallest_that_fits(n_steps):
    for budget in range(fewest_states(n_steps), n_steps + 4):
        interval = smallest_interval(n_steps, budget)
        kept = every(interval, n_steps)
        assert leaves_room(len(kept), interval, budget)
        assert Schedule(kept, n_steps, 0, budget).peak_states <= budget
        fitting = [k for k in range(1, n_steps + 1) if -(-n_steps // k) + k <= budget]
        if fitting:
            assert interval == fitting[0]


def test_a_run_without_steps():
    assert fewest_states(0) == 1
    assert smallest_interval(0, 1) == 1
    assert list(Schedule([0], 0)) == []
