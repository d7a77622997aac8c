"""Loops of several processes, recorded: the derivative of the loop of all of them.

The oracle is a plain loop with DistributedDataParallel in the same processes.
"""

import contextlib
import itertools
import pickle
import traceback
from functools import partial

import numpy as np
import pytest
import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import clip_grad_norm_

from skinfluence import Recorder, load_estimator
from tests.recorder.test_recorder import CHANGE, SGD, Net, data, net, run

pytestmark = pytest.mark.slow

N_RANKS, N_EPOCHS = 2, 2
ROWS = [0, 5, 25]


def in_process(rank, work, folder, arguments):
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo",
        init_method=f"file://{folder}/group",
        rank=rank,
        world_size=N_RANKS,
    )
    try:
        found = work(rank, *arguments)
    except Exception:
        found = traceback.format_exc()
    (folder / str(rank)).write_bytes(pickle.dumps(found))
    distributed.barrier()
    distributed.destroy_process_group()


def on_ranks(work, folder, *arguments):
    """Return what each of several processes returns."""
    context = torch.multiprocessing.get_context("fork")
    children = [
        context.Process(target=in_process, args=(rank, work, folder, arguments))
        for rank in range(N_RANKS)
    ]
    for child in children:
        child.start()
    for child in children:
        child.join(120)
        child.kill()  # of no effect on one that has ended
    return [pickle.loads((folder / str(rank)).read_bytes()) for rank in range(N_RANKS)]


class Loop:
    """One recipe, recorded or plain: the plain one weights the samples' losses."""

    def __init__(
        self,
        optimizer=SGD,
        every=1,
        bound=None,
        syncs=True,
        sizes=None,
        **options,
    ):
        self.optimizer = optimizer
        self.every = every  # batches in a step
        self.bound = bound  # of the gradient's norm
        self.syncs = syncs  # after batches on which no step is taken
        self.sizes = sizes  # of each rank's batches
        self.options = options  # of the Recorder
        self.rows = []

    def steps(self, module, batches_of, loss_of):
        ddp = DistributedDataParallel(module)
        optimizer = self.optimizer(ddp.parameters())
        losses, count = loss_of(ddp, optimizer), 0
        for epoch in range(N_EPOCHS):
            for batch in batches_of(epoch):
                if count % self.every == 0:
                    optimizer.zero_grad()
                count += 1
                steps = count % self.every == 0
                quiet = not steps and not self.syncs
                with ddp.no_sync() if quiet else contextlib.nullcontext():
                    (losses(batch) / self.every).backward()
                if steps:
                    if self.bound:
                        clip_grad_norm_(ddp.parameters(), self.bound)
                    optimizer.step()

    def loading(self, rank):
        if self.sizes is None:
            return {"batch_size": 4, "shuffle": True}
        order = torch.randperm(26, generator=torch.Generator().manual_seed(0))
        own = order[rank::N_RANKS].tolist()
        ends = [0, *itertools.accumulate(self.sizes[rank])]
        batches = [own[a:b] for a, b in itertools.pairwise(ends)]
        return {"batch_sampler": batches}

    def recorded(self, module, rank):
        made, loading = [], self.loading(rank)

        def loss_of(ddp, optimizer):
            criterion = nn.CrossEntropyLoss
            # The ranks' generators differ: the first one's is used by all.
            state = np.random.RandomState(rank)
            options = {"random_state": state, **self.options}
            made.append(Recorder(ddp, optimizer, criterion, data()[0], **options))
            return made[0].loss

        def batches_of(epoch):
            self.rows.append([])
            for batch in made[0].batches(**loading):
                self.rows[-1].append(batch.rows)
                yield batch

        self.steps(module, batches_of, loss_of)
        return made[0].finish()

    def validation_loss(self, weights):
        (X, y), (X_val, y_val) = data()
        module = net()

        def loss_of(ddp, optimizer):
            def loss(rows):
                losses = nn.functional.cross_entropy(
                    ddp(X[rows]), y[rows], reduction="none"
                )
                return (weights[rows] * losses).mean()

            return loss

        self.steps(module, self.rows.__getitem__, loss_of)
        with torch.no_grad():
            return float(nn.functional.cross_entropy(module(X_val), y_val))

    def small_changes(self):
        """Differentiate by central differences, through plain loops."""
        changes = []
        for row in ROWS:
            losses = []
            for change in (CHANGE, -CHANGE):
                weights = torch.ones(26, dtype=torch.float64)
                weights[row] += change
                losses.append(self.validation_loss(weights))
            changes.append(-(losses[0] - losses[1]) / (2 * CHANGE))
        return np.array(changes)


RECIPES = {
    "sgd, some states kept": Loop(checkpoint_every=3),
    "adamw, clipped": Loop(partial(torch.optim.AdamW, lr=0.05), bound=0.2),
    "accumulated": Loop(partial(torch.optim.SGD, lr=0.2, momentum=0.9), every=2),
    "accumulated without averaging, clipped": Loop(every=2, syncs=False, bound=0.2),
    "of unequal sizes": Loop(sizes=[[5, 4, 4], [6, 6, 1]]),
}


def answers(rank, folder):
    found = {}
    for name, loop in RECIPES.items():
        model = loop.recorded(net(), rank)
        _, validation = data()
        together = model.across_ranks()
        found[name] = {
            "alone": model.influence(*validation),
            "together": together.influence(*validation),
            "by plain loops": loop.small_changes(),
        }
        if name == "adamw, clipped":
            if rank == 0:
                model.save(folder / "model")
            together.save(folder / f"together-{rank}")
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("ranks")


@pytest.fixture(scope="module")
def found(folder):
    return on_ranks(answers, folder, folder)


@pytest.mark.parametrize("recipe", RECIPES)
def test_influence_is_the_derivative_of_a_plain_loop(found, recipe):
    for each in found:
        assert isinstance(each, dict), each
        scores = each[recipe]["alone"]
        # Central differences are exact to about the square of their step.
        np.testing.assert_allclose(
            scores[ROWS], each[recipe]["by plain loops"], rtol=1e-6
        )
        # Sums in another order.
        np.testing.assert_allclose(each[recipe]["together"], scores, rtol=1e-9)
        np.testing.assert_array_equal(scores, found[0][recipe]["alone"])


@pytest.mark.parametrize("name", ["model", "together-0", "together-1"])
def test_one_process_loads_the_whole_run(found, folder, name):
    scores = found[0]["adamw, clipped"]["alone"]
    model = load_estimator(folder / name, trusted=[Net])
    np.testing.assert_array_equal(model.influence(*data()[1]), scores)


def other_questions(rank):
    loop = Loop(partial(torch.optim.Adam, lr=0.05))
    model = loop.recorded(net(dropout=0.2), rank)
    _, (X_val, y_val) = data()
    groups = [[0, 1], [2], [3, 4, 5]]
    asked = {
        "exact": lambda m: m.counterfactual_influence(X_val, y_val, groups),
        "labels": lambda m: m.label_influence(X_val, y_val),
        "explained": lambda m: m.explain(X_val, y_val),
        "verified": lambda m: m.influence(X_val, y_val, verify=3),
        "checked": lambda m: m.check_influence(X_val, y_val, 6, random_state=0),
    }
    together = model.across_ranks()
    found = {name: [ask(model), ask(together)] for name, ask in asked.items()}
    found["another question"] = message_of(
        lambda: together.influence(X_val[rank:], y_val[rank:])
    )
    found["drawn by each"] = message_of(
        lambda: together.check_influence(
            X_val, y_val, 6, random_state=np.random.RandomState(rank)
        )
    )
    return found


def message_of(call):
    try:
        call()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "no error"


def test_other_questions(tmp_path):
    for each in on_ranks(other_questions, tmp_path):
        assert isinstance(each, dict), each
        for name in ("exact", "labels", "verified"):
            alone, together = each[name]
            np.testing.assert_allclose(together, alone, rtol=1e-9, atol=1e-15)
        alone, together = each["checked"]
        np.testing.assert_allclose(together.estimated, alone.estimated, rtol=1e-9)
        np.testing.assert_allclose(together.exact, alone.exact, rtol=1e-9)
        for name in ("another question", "drawn by each"):
            assert "must ask the same question" in each[name]


class Normed(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(4)
        self.layer = nn.Linear(4, 3)

    def forward(self, x):
        return self.layer(self.norm(x))


def accumulated(module):
    """Return the model of a loop of one process, with two batches in a step."""
    optimizer = SGD(module.parameters())
    recorder = Recorder(module, optimizer, nn.CrossEntropyLoss, data()[0])
    batches = recorder.batches(4)
    for _ in range(3):
        optimizer.zero_grad()
        for _ in range(2):
            recorder.loss(next(batches)).backward()
        optimizer.step()
    return recorder.finish()


def refused(rank, of_one_process, mixing):
    def first_step(module, quiet=False):
        ddp = DistributedDataParallel(module)
        optimizer = SGD(ddp.parameters())
        recorder = Recorder(ddp, optimizer, nn.CrossEntropyLoss, data()[0])
        batch = next(recorder.batches(4))
        with ddp.no_sync() if quiet else contextlib.nullcontext():
            recorder.loss(batch).backward()
        optimizer.step()

    def unwrapped():
        module = net()
        Recorder(module, SGD(module.parameters()), nn.CrossEntropyLoss, data()[0])

    return {
        "BatchNorm": message_of(lambda: first_step(Normed().double())),
        "no averages": message_of(lambda: first_step(net(), quiet=True)),
        "not wrapped": message_of(unwrapped),
        "too few batches": message_of(of_one_process.across_ranks),
        "BatchNorm, retraced": message_of(mixing.across_ranks),
    }


def test_what_cannot_be_recorded_is_refused(tmp_path):
    models = run(), accumulated(Normed().double())
    for each in on_ranks(refused, tmp_path, *models):
        assert isinstance(each, dict), each
        assert "must not change its buffers" in each["BatchNorm"]
        assert "the gradients were not averaged" in each["no averages"]
        assert "must be a torch.nn.parallel.Distributed" in each["not wrapped"]
        assert "must have a batch for each process" in each["too few batches"]
        assert "must not change its buffers" in each["BatchNorm, retraced"]
