"""Functions and classes of a user, whose code a key must know."""

import enum
from dataclasses import dataclass
from typing import NamedTuple

FACTOR = 2.0


def helper(outputs):
    return outputs.sum(1)


def by_helper(outputs, targets):
    return FACTOR * helper(outputs)


def by_module(outputs, targets):
    from tests import keyed

    return keyed.FACTOR * keyed.helper(outputs)


def endless(outputs, targets):
    return endless(outputs, targets) if targets is None else outputs[:, 0]


class Color(enum.Enum):
    RED = 1
    BLUE = 2

    @property
    def other(self):
        return Color.BLUE if self is Color.RED else Color.RED


class Point(NamedTuple):
    x: float
    y: float = 0.0


@dataclass
class Query:
    scale: float = 1.0
    names: frozenset[str] = frozenset(["a", "b", "c", "d"])

    @staticmethod
    def total(outputs):
        return helper(outputs)

    @classmethod
    def of(cls):
        return cls(3.0)

    def __call__(self, outputs, targets):
        return self.scale * self.total(outputs) * (len({"x", "y"} - self.names))
