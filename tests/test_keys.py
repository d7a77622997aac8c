"""Keys know what a result depends on: the code of the user's functions and classes."""

import functools
import threading
import types

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from skinfluence._keys import check_cacheable, digest
from tests import fresh, keyed


def module_of(source, name="users_module"):
    """Return a module made from its source, as if it had been edited and imported."""
    module = types.ModuleType(name)
    exec(compile(source, f"{name}.py", "exec"), module.__dict__)
    return module


SOURCE = """
FACTOR = 2.0
WEIGHTS = [1.0, 2.0]
def inner(x):
    return x + 1
def query(outputs, targets, power=2):
    def nested(x):
        return x * FACTOR
    return inner(nested(outputs)) ** power
class Query:
    unit = 1.0
    def __call__(self, outputs, targets):
        return self.unit * self.total(outputs) + WEIGHTS[0]
    @staticmethod
    def total(outputs):
        return outputs.sum(1)
    @property
    def double(self):
        return 2 * self.unit
class Child(Query):
    pass
"""


@pytest.mark.parametrize(
    ("old", "new", "changed"),
    [
        ("** power", "** (power + 1)", "query"),
        ("power=2", "power=3", "query"),
        ("x * FACTOR", "x / FACTOR", "query"),
        ("FACTOR = 2.0", "FACTOR = 2.5", "query"),
        ("x + 1", "x + 1.0", "query"),
        ("unit = 1.0", "unit = 1.5", "Query"),
        ("self.unit * self", "self.unit + self", "Query"),
        ("outputs.sum(1)", "outputs.sum(0)", "Query"),
        ("2 * self.unit", "3 * self.unit", "Query"),
        ("[1.0, 2.0]", "[1.5, 2.0]", "Query"),
    ],
)
def test_edited_code_has_another_key(old, new, changed):
    assert SOURCE.count(old) == 1
    before, after = module_of(SOURCE), module_of(SOURCE.replace(old, new))
    names = {"query": {"query"}, "Query": {"Query", "Child"}}[changed]
    for name in ("query", "Query", "Child"):
        same = digest(getattr(before, name)) == digest(getattr(after, name))
        assert same == (name not in names), name
    for name in names - {"query"}:
        assert digest(getattr(before, name)()) != digest(getattr(after, name)())


def test_code_elsewhere_in_the_file_does_not_matter():
    more = "# a comment\n\nOTHER = 3\n" + SOURCE + "\ndef other():\n    return 1\n"
    for name in ("query", "Query", "Child"):
        before, after = (getattr(module_of(text), name) for text in (SOURCE, more))
        assert digest(before) == digest(after)


def closing_over(value):
    def query(outputs, targets):
        return value * outputs[:, 0]

    return query


def test_closures_lambdas_and_partials():
    assert digest(closing_over(1.0)) == digest(closing_over(1.0))
    assert digest(closing_over(1.0)) != digest(closing_over(2.0))
    assert digest(lambda a, b: a) == digest(lambda a, b: a)
    assert digest(lambda a, b: a) != digest(lambda a, b: b)
    one, other = (functools.partial(closing_over(1.0), targets=k) for k in (1, 2))
    assert digest(one) != digest(other)
    one, other = (functools.lru_cache(closing_over(k)) for k in (1.0, 2.0))
    assert digest(one) != digest(other)


@pytest.mark.parametrize("query", [keyed.by_helper, keyed.by_module, keyed.Query()])
def test_what_is_called_belongs_to_the_key(monkeypatch, query):
    before = digest(query)
    monkeypatch.setattr(keyed, "helper", lambda outputs: outputs.sum(1) + 1)
    assert digest(query) != before


def test_a_module_of_the_user_counts_by_what_is_named_of_it(monkeypatch):
    def query(outputs, targets):
        return keyed.helper(outputs)

    before = digest(query)
    monkeypatch.setattr(keyed, "FACTOR", 3.0)
    assert digest(query) == before
    monkeypatch.setattr(keyed, "helper", closing_over(1.0))
    assert digest(query) != before


def test_packages_count_by_name():
    def query(outputs, targets):
        return functional.cross_entropy(outputs, targets) + torch.zeros(3) + np.zeros(3)

    assert digest(query) == digest(query)
    assert digest(functional.cross_entropy) != digest(functional.nll_loss)
    assert digest(nn.Linear) != digest(nn.Conv1d)


def things():
    class Net(nn.Module):
        def forward(self, X):
            return super().forward(X)

    return [
        *(keyed.by_helper, keyed.by_module, keyed.endless, keyed.Query(), keyed.Query),
        *(keyed.Color, keyed.Color.RED, keyed.Color.BLUE, keyed.Point, keyed.Point(1)),
        *(closing_over({"a", "b", "c"}), closing_over(2), lambda a: a in {"x", "y"}),
        *(Net, type(None), types.FunctionType, np.mean, torch.nn.functional.relu),
        *(keyed.Query.of, keyed.Color.RED.__class__.other.fget, ValueError),
    ]


def test_keys_are_the_same_in_every_process():
    code = (
        "from tests.test_keys import things, digest;"
        "print([digest(thing) for thing in things()])"
    )
    here = [digest(thing) for thing in things()]
    assert fresh.run(code).strip() == str(here)
    assert len(set(here)) == len(here)


LOCK = threading.Lock()


def locking(outputs, targets):
    with LOCK:
        return outputs[:, 0]


@pytest.mark.parametrize(
    "query", [locking, closing_over(k for k in [1]), closing_over(threading.Lock())]
)
def test_what_has_no_content_is_refused_by_name(query):
    check_cacheable(query=keyed.by_helper)
    with pytest.raises(ValueError, match=r"`query` must have a stable key.*(pickle)"):
        check_cacheable(query=query)


def test_attributes_of_a_function_count():
    def scaled(factor):
        def query(outputs, targets):
            return query.factor * outputs[:, 0]

        query.factor = factor
        return query

    assert digest(scaled(1.0)) == digest(scaled(1.0)) != digest(scaled(2.0))
