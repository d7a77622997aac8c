"""What recording costs a loop of one's own: process time against the plain loop.

For each network, pairs of a plain loop and a recorded one on the same batches, and a
retrace of the recorded run, in turn on one thread: the medians of the pairs' ratios,
and the ratios of the minima. The checks before the first step, which a long run does
not feel, are told apart, in steps of the plain loop. A recorded loop uses attention
that can be differentiated twice (SDPBackend.MATH); the plain loop of the transformer is
timed both with it and with torch's default.

    python benchmarks/recorder.py
"""

import argparse
import gc
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import torch
from tables import write
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from skinfluence import Recorder

OUTPUT = Path("benchmarks/recorder.csv")
BATCH = 64


def cnn() -> nn.Module:
    """Return the small network of the MNIST experiments."""
    return nn.Sequential(
        *(nn.Conv2d(1, 20, 5), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(20, 20, 5), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(320, 10)),
    )


class Transformer(nn.Module):
    """Two layers of width 64 on texts of 32 tokens."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(64, 4, 128, dropout=0.0, batch_first=True)
        self.embedding = nn.Embedding(100, 64)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.output = nn.Linear(64, 2)

    def forward(self, tokens: Tensor) -> Any:
        """Return the logits."""
        return self.output(self.layers(self.embedding(tokens)).mean(1))


class Case(NamedTuple):
    """A network, its data, and how a plain loop computes its attention."""

    make: Callable[[], nn.Module]
    inputs: Tensor
    targets: Tensor
    attention: Callable[[], AbstractContextManager[Any]] = nullcontext

    def parts(self) -> tuple[nn.Module, torch.optim.Optimizer]:
        """Return the network and its optimizer."""
        module = self.make()
        return module, torch.optim.SGD(module.parameters(), lr=0.01, momentum=0.9)


def cases() -> dict[str, Case]:
    """Return the cases by name, with random data: only its sizes matter."""
    draw = torch.Generator().manual_seed(0)
    images = torch.randn(640, 1, 28, 28, generator=draw)
    digits = torch.randint(10, (640,), generator=draw)
    texts = torch.randint(100, (640, 32), generator=draw)
    classes = torch.randint(2, (640,), generator=draw)
    math = partial(sdpa_kernel, SDPBackend.MATH)
    return {
        "MNIST CNN": Case(cnn, images, digits),
        "transformer, default attention": Case(Transformer, texts, classes),
        "transformer, math attention": Case(Transformer, texts, classes, math),
    }


def recorded(case: Case, n_epochs: int) -> tuple[Any, float]:
    """Return the model of a recorded loop, and the seconds before its first step."""
    start, checked = time.process_time(), None
    module, optimizer = case.parts()
    data = case.inputs, case.targets
    recorder = Recorder(
        module,
        optimizer,
        nn.CrossEntropyLoss,
        data,
        random_state=0,
        max_epochs=n_epochs,
    )
    for _ in range(n_epochs):
        for batch in recorder.batches(BATCH, shuffle=True):
            optimizer.zero_grad()
            loss = recorder.loss(batch)
            checked = checked or time.process_time() - start
            loss.backward()
            optimizer.step()
    return recorder.finish(), checked or 0.0


def plain(case: Case, rows: list[Tensor]) -> None:
    """Train in a plain loop."""
    module, optimizer = case.parts()
    criterion = nn.CrossEntropyLoss()
    with case.attention():
        for own in rows:
            optimizer.zero_grad()
            criterion(module(case.inputs[own]), case.targets[own]).backward()
            optimizer.step()


def timed(function: Callable[[], Any]) -> float:
    gc.collect()
    start = time.process_time()
    function()
    return time.process_time() - start


def pair(functions: dict[str, Callable[[], Any]]) -> dict[str, float]:
    """Return the seconds of each, the checks before the first step apart."""
    seconds = {k: timed(functions[k]) for k in ("plain", "retrace")}
    gc.collect()
    start = time.process_time()
    _, checks = functions["recorded"]()
    seconds["recorded"] = time.process_time() - start - checks
    return {**seconds, "checks": checks}


def row(name: str, case: Case, n_epochs: int, n_pairs: int) -> dict[str, Any]:
    """Return the ratios of one case."""
    model, _ = recorded(case, n_epochs)
    rows = [record.rows for record in model.trajectory_.records]
    validation = case.inputs[:BATCH], case.targets[:BATCH]
    functions = {
        "plain": partial(plain, case, rows),
        "recorded": partial(recorded, case, n_epochs),
        "retrace": partial(model.influence, *validation),
    }
    functions["plain"](), functions["retrace"]()
    seconds = [pair(functions) for _ in range(n_pairs)]
    least = {k: min(each[k] for each in seconds) for k in seconds[0]}
    ratios = {
        f"{kind}, {how}": round(value, 2)
        for kind in ("recorded", "retrace")
        for how, value in (
            ("median", statistics.median(s[kind] / s["plain"] for s in seconds)),
            ("minima", least[kind] / least["plain"]),
        )
    }
    step = least["plain"] / len(rows)
    checks = round(least["checks"] / step)
    return {
        "loop": name,
        "plain step, ms": round(1e3 * step, 1),
        **ratios,
        "checks, in steps": checks,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=int, default=9)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--output", type=Path, default=OUTPUT)
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.output.parent.mkdir(exist_ok=True)
    rows = []
    for name, case in cases().items():
        rows.append(row(name, case, options.epochs, options.pairs))
        print(rows[-1], file=sys.stderr)
    table = pd.DataFrame(rows)
    command = f"# python benchmarks/recorder.py --pairs {options.pairs}"
    command += f" --epochs {options.epochs}\n"
    options.output.write_text(command + table.to_csv(index=False))
    write(table, "recorder", options.output)


if __name__ == "__main__":
    main()
