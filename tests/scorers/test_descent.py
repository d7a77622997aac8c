"""The descent on weights: against torch's optimizers, and by what it keeps."""

import numpy as np
import pytest
import torch

from skinfluence.scorers._descent import PATIENCE, UPDATES, Descent, centered, judging


def descent(n_steps=6, update="sgd", step_size=0.1, early_stopping=None, reseed=False):
    return Descent(n_steps, update, step_size, early_stopping, reseed)


def same(variable):
    return variable


def along(slopes, losses=None):
    """Return a measure with given slopes and losses, and the variables it saw."""
    seen = []

    def measure(number, variable, differentiate):
        seen.append(variable)
        loss = np.nan if losses is None else losses[number]
        return (slopes[number] if differentiate else variable * np.nan), loss

    return measure, seen


def test_adam_is_that_of_torch():
    slopes = np.random.default_rng(0).normal(size=(6, 5))
    parameter = torch.zeros(5, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([parameter], lr=0.1)
    for each in slopes:
        parameter.grad = torch.tensor(each)
        optimizer.step()
    found = descent(update="adam").run(np.zeros(5), along(slopes)[0], same)
    # eps is relative here: with slopes of order 1 both are 1e-8 of the root, summed.
    np.testing.assert_allclose(found, parameter.detach().numpy(), rtol=0, atol=1e-7)


def test_adam_and_sign_do_not_depend_on_the_unit():
    slopes = np.random.default_rng(1).normal(size=(6, 5))
    for update in UPDATES:
        found = [
            descent(update=update).run(np.zeros(5), along(unit * slopes)[0], same)
            for unit in (1.0, 2.0**-40)
        ]
        # A power of two changes no bits.
        assert np.array_equal(*found), update


def test_signed_steps_have_one_size():
    slopes = np.array([[3.0, -0.1, 0.0], [-2.0, -1.0, 0.0]])
    measure, seen = along(slopes)
    found = descent(2, "sign").run(np.ones(3), measure, same)
    assert seen[1].tolist() == [0.9, 1.1, 1.0]
    np.testing.assert_allclose(found, [1.0, 1.2, 1.0], rtol=1e-15)


def test_every_step_is_projected():
    measure, seen = along(np.random.default_rng(2).normal(size=(6, 5)))
    found = descent().run(np.zeros(5), measure, centered)
    for variable in [*seen, found]:
        assert np.exp(variable).mean() == pytest.approx(1, rel=1e-12)


LOSSES = [5.0, 4.0, 4.5, 3.0, 4.0, 3.5, 3.1]


def test_the_best_step_is_kept():
    slopes = np.random.default_rng(3).normal(size=(6, 5))
    measure, seen = along(slopes, LOSSES)
    found = descent(6, early_stopping=0.5).run(np.zeros(5), measure, same)
    assert np.array_equal(found, seen[3])
    # The last step is judged too, by a training of its own.
    assert len(seen) == 7
    worse = along(slopes, [1.0, *LOSSES[1:]])[0]
    start = np.zeros(5)
    assert np.array_equal(descent(6, early_stopping=0.5).run(start, worse, same), start)
    # Unjudged, the last one is taken, and nothing is trained under it.
    measure, seen = along(slopes)
    found = descent(6).run(start, measure, same)
    assert len(seen) == 6
    assert not any(np.array_equal(found, each) for each in seen)


def test_a_descent_stops_where_nothing_is_gained():
    losses = [5.0, 4.0, *[4.0 + k for k in range(20)]]
    measure, seen = along(np.ones((30, 5)), losses)
    found = descent(20, early_stopping=0.5).run(np.zeros(5), measure, same)
    assert np.array_equal(found, seen[1])
    assert len(seen) == 2 + PATIENCE


def test_a_run_that_diverged_is_never_the_best():
    losses = [np.nan, 4.0, np.nan, 5.0]
    measure, seen = along(np.ones((3, 5)), losses)
    found = descent(3, early_stopping=0.5).run(np.zeros(5), measure, same)
    assert np.array_equal(found, seen[1])


@pytest.mark.parametrize("share", [0.1, 0.5, 0.8])
def test_judges_are_a_share_of_each_class(share):
    classes = np.repeat([0, 1, 2], [20, 50, 130])
    judges = judging(share, 200, classes, seed=3)
    assert judges.sum() == round(200 * share)
    for label, size in enumerate([20, 50, 130]):
        # Every k-th: off by less than one at each end.
        assert abs(judges[classes == label].sum() - share * size) < 2
    assert np.array_equal(judges, judging(share, 200, classes, seed=3))
    assert not np.array_equal(judges, judging(share, 200, classes, seed=4))
    assert not judging(None, 200).any()


@pytest.mark.parametrize(("share", "n_val"), [(0.5, 1), (0.1, 4), (0.9, 4)])
def test_too_few_validation_samples_are_refused(share, n_val):
    with pytest.raises(
        ValueError, match=rf"`early_stopping` .* got {share} of {n_val}"
    ):
        judging(share, n_val)
