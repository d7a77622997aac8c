"""What tells whether modules changed since they were compiled."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from skinfluence.training._holdings import holdings


class Holder(nn.Module):
    factor = 1.0

    def __init__(self):
        super().__init__()
        self.layer, self.other = nn.Linear(3, 3), nn.Linear(3, 3)
        self.register_buffer("mean", torch.zeros(3))
        self.constant = torch.ones(3)
        self.itself = [self]
        self.function = lambda values: values + 1.0

    def forward(self, values):
        return self.function(self.layer(values)) * self.factor


MODULES = {
    "holder": Holder,
    "recurrent": lambda: nn.LSTM(3, 4, 2),
    "attention": lambda: nn.TransformerEncoderLayer(8, 2),
    "norm": lambda: nn.BatchNorm1d(3),
    "parametrized": lambda: nn.Sequential(weight_norm(nn.Linear(3, 3))),
    "loss": lambda: nn.CrossEntropyLoss(weight=torch.ones(3)),
}


@pytest.mark.parametrize("make", MODULES.values(), ids=MODULES)
def test_copies_hold_the_same_whatever_their_parameters(make):
    module = make()
    expected = holdings([module])
    other = copy.deepcopy(module)
    with torch.no_grad():
        for tensor in (*other.parameters(), *other.buffers()):
            tensor += 1
    assert holdings([other]) == expected
    assert holdings([module]) == expected


CHANGES = {
    "attribute": lambda module: setattr(module, "factor", 2.0),
    "tensor": lambda module: module.constant.mul_(2),
    "mode": lambda module: module.layer.eval(),
    "function": lambda module: setattr(module, "function", lambda v: v + 2.0),
    "forward": lambda module: setattr(module.layer, "forward", torch.relu),
    "hook": lambda module: module.layer.register_forward_hook(lambda m, i, o: 2 * o),
    "tie": lambda module: setattr(module.layer, "weight", module.other.weight),
    "activation": lambda module: setattr(module, "layer", nn.Identity()),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_changes_are_seen(change):
    module = Holder()
    before = holdings([module])
    change(module)
    assert holdings([module]) != before


def test_a_changed_class_is_seen(monkeypatch):
    module = Holder()
    before = holdings([module])
    monkeypatch.setattr(Holder, "factor", 3.0)
    assert holdings([module]) != before
