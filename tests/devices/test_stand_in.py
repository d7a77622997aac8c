"""The stand-in refuses what a GPU does: else the tests on it would find nothing."""

import numpy as np
import pytest
import torch

from tests.cases import on_devices


@on_devices
def test_refuses_what_is_elsewhere(device):
    here = torch.arange(6.0).reshape(2, 3)
    there = here.to(device)
    assert there.device.type == device
    with pytest.raises(RuntimeError, match="on the same device"):
        there + here
    with pytest.raises(TypeError, match="to numpy"):
        np.asarray(there)
    with pytest.raises(
        RuntimeError, match=f"Expected a '{device}' device type for gen"
    ):
        torch.randn(3, device=device, generator=torch.Generator())
    assert torch.equal((there * torch.tensor(2.0)).cpu(), 2 * here)
    assert torch.equal(there[torch.tensor([1])].cpu(), here[1:])


@on_devices
def test_draws_from_a_generator_of_its_own(device):
    torch.empty(0, device=device)  # CUDA has generators from the first tensor on
    own, *_ = torch.get_device_module(device).default_generators
    own.manual_seed(0)
    first, second = (torch.randn(3, device=device) for _ in range(2))
    assert not torch.equal(first, second)
    own.manual_seed(0)
    torch.default_generator.manual_seed(1)
    assert torch.equal(torch.randn(3, device=device), first)
