"""Seeds, and generators that are left alone."""

import threading

import pytest
import torch

from skinfluence.training import derive_seed, seeded

CPU = torch.device("cpu")


def test_a_block_draws_from_its_seed_and_leaves_no_trace():
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    with seeded(123, CPU) as draws:
        inside = torch.rand(2)
    assert torch.equal(torch.rand(3), expected)
    assert torch.equal(
        inside, torch.rand(2, generator=torch.Generator().manual_seed(123))
    )
    assert draws.any


def test_a_block_that_draws_nothing_is_told_apart():
    with seeded(1, CPU) as draws:
        torch.ones(3).sum()
    assert not draws.any


def test_generators_are_put_back_after_an_error():
    torch.manual_seed(7)
    before = torch.get_rng_state()
    with pytest.raises(RuntimeError, match="shape"), seeded(1, CPU):
        torch.rand(5).view(4)
    assert torch.equal(torch.get_rng_state(), before)


def test_no_seed_touches_nothing():
    torch.manual_seed(7)
    expected = torch.rand(2)
    torch.manual_seed(7)
    with seeded(None, CPU):
        assert torch.equal(torch.rand(2), expected)


def test_threads_take_turns():
    expected = {}
    for seed in range(4):
        with seeded(seed, CPU):
            expected[seed] = torch.rand(50)
    torch.manual_seed(11)
    before = torch.get_rng_state()
    wrong = []

    def draw(seed):
        for _ in range(200):
            with seeded(seed, CPU):
                if not torch.equal(torch.rand(50), expected[seed]):
                    wrong.append(seed)

    threads = [threading.Thread(target=draw, args=(seed,)) for seed in expected]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert torch.equal(torch.get_rng_state(), before)


def test_seeds_differ_by_run_purpose_and_count():
    seeds = [
        derive_seed(seed, purpose, counter)
        for seed in range(5)
        for purpose in ("initialization", "sampling", "step")
        for counter in range(20)
    ]
    assert len(set(seeds)) == len(seeds)
    assert len({seed % 2**32 for seed in seeds}) == len(seeds)  # the CPU uses 32 bits
    assert all(0 <= seed < 2**63 for seed in seeds)
