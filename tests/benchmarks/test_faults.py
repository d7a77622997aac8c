"""A small part of the benchmark of faults, and whether it tells of harm."""

import json
import os

import pandas as pd
import pytest

from tests import fresh

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system"),
]

# So many trials, or seconds of writing. Interrupts and inputs have tests of
# their own.
SIZES = {"kills": 2, "corruptions": 6, "hostile": 6, "writers": 1}

SMALL = """
import sys, warnings
import pandas as pd, torch
from benchmarks import faults
from benchmarks.fault_families import kills

torch.set_num_threads(1)
warnings.simplefilter("ignore")
sizes, output = eval(sys.argv[1]), sys.argv[2]
# Each kind is first trained undisturbed, also one for which no trial is left.
kills.RUNS = dict(list(kills.RUNS.items())[: sizes["kills"]])
found = [faults.counted(name, size, seed=0) for name, size in sizes.items()]
pd.concat(found).to_csv(output)
"""


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    output = tmp_path_factory.mktemp("faults") / "faults.csv"
    fresh.run(SMALL, repr(SIZES), str(output))
    return pd.read_csv(output)


@pytest.mark.parametrize("family", SIZES)
def test_all_is_as_promised(outcomes, family):
    own = outcomes[outcomes["family"] == family]
    assert own["trials"].sum() >= SIZES[family]
    assert own[~own["promised"]].to_dict("records") == []


TOLD = """
import json, os, tempfile, time, warnings
from pathlib import Path
import torch
from benchmarks.fault_families import corruptions, hostile, interrupts, kills
from benchmarks.fault_families.corruptions import Artefact, digest
from benchmarks.fault_families.forks import Fork, limited
from skinfluence.exceptions import TrajectoryFileError

torch.set_num_threads(1)
warnings.simplefilter("ignore")

def fails(error):
    raise error

def greedy():
    limited(1 << 28)
    return [str(len(bytes(1 << 30))), ""]

def reads(module, function):
    if module is corruptions:
        given = Artefact(None, function), Path("place"), Path("run/file.json")
    else:
        given = function, Path("place")
    return Fork(module.outcome, *given, digest(1)).answer()[0]

def damaged(text):
    return lambda place: fails(TrajectoryFileError(text))

class Swallowing(interrupts.CrossValidate):
    def __call__(self):
        try:
            super().__call__()
            time.sleep(5)
        except KeyboardInterrupt:
            pass

class Keeping(interrupts.CrossValidate):
    def __call__(self):
        self.scores = getattr(self, "scores", 0) + 1
        time.sleep(0.5)

def interrupted(task, expected):
    where = Path(tempfile.gettempdir())
    fork = Fork(interrupts.interrupted, task, where, 0.1, expected)
    return fork.answer()[0]

print(json.dumps({
    "forks": [
        Fork(lambda: ["fine", ""]).answer(),
        Fork(time.sleep, 60).answer(0.5),
        Fork(os.abort).answer(),
        Fork(fails, KeyError("lost")).answer(),
        Fork(greedy).answer(),
    ],
    "corruptions": [
        reads(corruptions, lambda place: 1),
        reads(corruptions, lambda place: 2),
        reads(corruptions, damaged("The file 'place/run/file.json' is damaged.")),
        reads(corruptions, damaged("Something is damaged.")),
        reads(corruptions, lambda place: fails(KeyError())),
    ],
    "hostile": [
        reads(hostile, lambda place: 1),
        reads(hostile, lambda place: 2),
        reads(hostile, damaged("The file is damaged.")),
        reads(hostile, lambda place: len(3 * (1 << 29) * b"x") and 1),
        reads(hostile, lambda place: fails(KeyError())),
    ],
    "interrupts": [interrupted(Swallowing, ""), interrupted(Keeping, "")],
}))
"""


@pytest.fixture(scope="module")
def told():
    return json.loads(fresh.run(TOLD).splitlines()[-1])


def test_a_fork_tells_how_it_ended(told):
    kind, detail = told["forks"].pop(1)
    assert kind == "hang"
    assert detail.startswith("for 0 s, ")
    assert "in _answer" in detail  # where it was
    assert told["forks"] == [
        ["fine", ""],
        ["died", "-6"],
        ["raw error", "KeyError: 'lost'"],
        ["raw error", "MemoryError: "],
    ]


def test_harm_by_damaged_files_is_told(told):
    assert told["corruptions"] == [
        "harmless",
        "silently other values",
        "named",
        "not named",
        "raw error",
    ]


def test_harm_by_hostile_files_is_told(told):
    assert told["hostile"] == [
        "without effect",
        "accepted",
        "refused",
        "too much memory",
        "raw error",
    ]


def test_an_interrupt_without_effect_is_told(told):
    assert told["interrupts"] == ["swallowed", "something kept"]
