"""A loop of one's own, recorded: exact, or refused where it happens."""

import copy
import os
import pickle
import time
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from torch.autograd import forward_ad
from torch.nn.utils import clip_grad_norm_, clip_grad_value_
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader, Dataset, TensorDataset

from skinfluence import Recorder, SGDInfluenceClassifier, Trajectory, load_estimator
from skinfluence.exceptions import (
    IrreproducibleStepError,
    NotRecordedError,
    UnsupportedCriterionError,
    UnsupportedModuleError,
    UnsupportedOptimizerError,
)

N, N_VAL, N_EPOCHS = 26, 9, 3
SGD = partial(torch.optim.SGD, lr=0.3)
CHANGE = 1e-5


def data(dtype=torch.float64):
    rng = np.random.default_rng(0)
    X = torch.from_numpy(rng.normal(size=(N + N_VAL, 4))).to(dtype)
    y = torch.from_numpy(rng.integers(0, 3, N + N_VAL))
    return (X[:N], y[:N]), (X[N:], y[N:])


class Net(nn.Module):
    """Two layers; with dropout, whose draws a repetition must have again."""

    def __init__(self, dropout=0.0):
        super().__init__()
        self.hidden = nn.Linear(4, 5)
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(5, 3)

    def forward(self, x):
        return self.output(self.dropout(torch.tanh(self.hidden(x))))


def net(dtype=torch.float64, **options):
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return Net(**options).to(dtype)


class Loop:
    """One recipe, recorded or plain: the plain one weights the samples' losses."""

    def __init__(self, optimizer=SGD, **recipe):
        self.optimizer = optimizer
        self.every = recipe.pop("every", 1)
        self.factor = recipe.pop("factor", None)
        self.clip = recipe.pop("clip", None)
        self.schedule = recipe.pop("schedule", None)
        self.trained = recipe.pop("trained", {})  # the first layer, by epoch
        self.rows = []

    def steps(self, module, batches_of, loss_of):
        optimizer = self.optimizer(module.parameters())
        factor = 1 / self.every if self.factor is None else self.factor
        losses = loss_of(module, optimizer)
        scheduler = self.schedule and self.schedule(optimizer)
        count = 0
        for epoch in range(N_EPOCHS):
            if epoch in self.trained:
                module.hidden.requires_grad_(self.trained[epoch])
            for batch in batches_of(epoch):
                if count % self.every == 0:
                    optimizer.zero_grad()
                (factor * losses(batch)).backward()
                count += 1
                if count % self.every == 0:
                    if self.clip:
                        self.clip(module.parameters())
                    optimizer.step()
            if scheduler:
                scheduler.step()

    def recorded(self, module):
        made = []

        def loss_of(module, optimizer):
            criterion = nn.CrossEntropyLoss
            made.append(
                Recorder(module, optimizer, criterion, data()[0], random_state=0)
            )
            return made[0].loss

        def batches_of(epoch):
            self.rows.append([])
            for batch in made[0].batches(batch_size=7, shuffle=True):
                self.rows[-1].append(batch.rows)
                yield batch

        self.steps(module, batches_of, loss_of)
        return made[0].finish()

    def plain(self, module, weights):
        (X, y), _ = data()

        def loss_of(module, optimizer):
            def loss(rows):
                losses = nn.functional.cross_entropy(
                    module(X[rows]), y[rows], reduction="none"
                )
                return (weights[rows] * losses).mean()

            return loss

        self.steps(module, self.rows.__getitem__, loss_of)

    def small_changes(self, rows):
        """Differentiate by central differences, through plain loops."""
        _, (X_val, y_val) = data()
        changes = []
        for row in rows:
            losses = []
            for change in (CHANGE, -CHANGE):
                weights = torch.ones(N, dtype=torch.float64)
                weights[row] += change
                module = net()
                self.plain(module, weights)
                with torch.no_grad():
                    found = nn.functional.cross_entropy(module(X_val), y_val)
                losses.append(float(found))
            changes.append(-(losses[0] - losses[1]) / (2 * CHANGE))
        return np.array(changes)


RECIPES = {
    "sgd": Loop(),
    "momentum, clipped by norm": Loop(
        partial(torch.optim.SGD, lr=0.2, momentum=0.9),
        clip=partial(clip_grad_norm_, max_norm=0.25),
    ),
    "clipped by value": Loop(clip=partial(clip_grad_value_, clip_value=0.01)),
    "adam, scheduled": Loop(
        partial(torch.optim.Adam, lr=0.05),
        schedule=partial(torch.optim.lr_scheduler.ExponentialLR, gamma=0.7),
    ),
    "adamw, accumulated": Loop(partial(torch.optim.AdamW, lr=0.05), every=2),
    "accumulated over epochs' ends": Loop(every=3),
    "scaled": Loop(factor=0.3),
    "accumulated sums": Loop(every=2, factor=1.0),
    "frozen on the way": Loop(partial(torch.optim.Adam, lr=0.05), trained={1: False}),
    "trained later": Loop(
        partial(torch.optim.Adam, lr=0.05), trained={0: False, 1: True}
    ),
    "adamw, warmed up from 0": Loop(
        partial(torch.optim.AdamW, lr=0.05),
        schedule=partial(torch.optim.lr_scheduler.LambdaLR, lr_lambda=lambda e: e / 2),
    ),
}


@pytest.mark.parametrize("recipe", RECIPES)
def test_influence_is_the_derivative_of_a_plain_loop(recipe):
    loop = copy.deepcopy(RECIPES[recipe])
    module = net()
    model = loop.recorded(module)
    # No bit of the training is another one.
    plain = net()
    loop.plain(plain, torch.ones(N, dtype=torch.float64))
    pairs = zip(module.parameters(), plain.parameters(), strict=True)
    assert all(torch.allclose(a, b, rtol=1e-12, atol=0) for a, b in pairs)
    rows = [0, 5, 11, 25]
    _, validation = data()
    scores = model.influence(*validation)
    # Central differences are exact to about the square of their step.
    np.testing.assert_allclose(scores[rows], loop.small_changes(rows), rtol=1e-6)
    exact = model.counterfactual_influence(*validation, [0, 5])
    assert np.isfinite(exact).all()


def run(
    module=None,
    training=None,
    criterion=nn.CrossEntropyLoss,
    optimizer=SGD,
    in_step=None,
    after_step=None,
    in_epoch=None,
    at_end=None,
    n_epochs=2,
    loading=None,
    **options,
):
    module = net() if module is None else module
    optimizer = optimizer(module.parameters())
    training = data()[0] if training is None else training
    recorder = Recorder(
        module, optimizer, criterion, training, random_state=0, **options
    )
    for epoch in range(n_epochs):
        module.train()
        loading = loading or {"batch_size": 7, "shuffle": True}
        for batch in recorder.batches(**loading):
            optimizer.zero_grad()
            loss = recorder.loss(batch)
            loss.backward()
            if in_step:
                in_step(module)
            optimizer.step()
            if after_step:
                after_step(module)
        if in_epoch:
            in_epoch(module, epoch)
    if at_end:
        at_end(module)
    return recorder.finish()


def test_it_is_the_estimators_run():
    training, validation = data(torch.float32)
    module = net(torch.float32, dropout=0.3)
    options = {"lr": 0.3, "batch_size": 7, "max_epochs": 2, "random_state": 0}
    clf = SGDInfluenceClassifier(module, **options)
    clf.fit(training[0].numpy(), training[1].numpy())
    model = run(copy.deepcopy(module), training)
    ours = zip(model.module_.parameters(), clf.module_.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in ours)
    arrays = validation[0].numpy(), validation[1].numpy()
    scores = clf.influence(*arrays)
    np.testing.assert_array_equal(model.influence(*validation), scores)
    np.testing.assert_array_equal(
        model.label_influence(*validation), clf.label_influence(*arrays)
    )


def test_what_the_loop_does_besides_changes_nothing():
    def evaluate(module, epoch):
        module.eval()
        with torch.no_grad():
            module(data()[1][0] + torch.randn(4))
        np.random.default_rng().normal()

    module = net(dropout=0.3)
    plain, looked = run(copy.deepcopy(module)), run(module, in_epoch=evaluate)
    _, validation = data()
    scores = plain.influence(*validation)
    np.testing.assert_array_equal(looked.influence(*validation), scores)


def test_the_model_is_a_copy():
    module = net()
    model = run(module)
    scores = model.influence(*data()[1])
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
    np.testing.assert_array_equal(model.influence(*data()[1]), scores)


class Items(Dataset):
    """Inputs that are drawn anew each time, by the generators of torch and NumPy."""

    def __len__(self):
        return N

    def __getitem__(self, row):
        (X, y), _ = data()
        return X[row] + 0.1 * torch.randn(4), int(y[row])


@pytest.mark.parametrize("n_workers", [0, 2])
def test_a_dataset_that_draws(n_workers):
    loading = {"batch_size": 7, "shuffle": True, "num_workers": n_workers}
    model = run(training=Items(), loading=loading, n_classes=3)
    scores = model.influence(*data()[1])
    exact = model.counterfactual_influence(*data()[1], np.arange(N))
    assert np.corrcoef(scores, exact)[0, 1] > 0.9


def noisy_batch(items):
    X = torch.stack([item["x"] for item in items])
    return X + 0.1 * torch.randn(X.shape, dtype=X.dtype), torch.stack(
        [item["y"] for item in items]
    )


def test_a_list_of_items_and_a_collation_that_draws():
    (X, y), (X_val, y_val) = data()
    items = [{"x": x, "y": label} for x, label in zip(X, y, strict=True)]
    model = run(training=items, collate_fn=noisy_batch, n_classes=3)
    held_out = [{"x": x, "y": label} for x, label in zip(X_val, y_val, strict=True)]
    scores = model.influence(held_out)
    exact = model.counterfactual_influence(held_out, samples=np.arange(N))
    assert np.corrcoef(scores, exact)[0, 1] > 0.9


def test_inputs_of_several_names():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 3, dtype=torch.float64)

        def forward(self, a, b):
            return self.layer(torch.cat([a, b], 1))

    (X, y), (X_val, y_val) = data()
    module = Two()
    whole = run(copy.deepcopy(module.layer))
    model = run(module, ({"a": X[:, :1], "b": X[:, 1:]}, y))
    scores = model.influence({"a": X_val[:, :1], "b": X_val[:, 1:]}, y_val)
    np.testing.assert_allclose(scores, whole.influence(X_val, y_val), rtol=1e-12)


def test_a_forward_and_a_criterion_of_ones_own():
    def forward(module, inputs):
        return {"out": 0.5 * module(inputs)}

    def criterion(outputs, targets):
        scores = 2 * outputs["out"]
        return nn.functional.cross_entropy(scores, targets, reduction="none")

    model = run(criterion=criterion, forward=forward)
    scores = run().influence(*data()[1])
    np.testing.assert_allclose(model.influence(*data()[1]), scores, rtol=1e-12)


def token_losses(outputs, targets):
    losses = nn.functional.cross_entropy(outputs, targets, reduction="none")
    return losses.mean(1)


def test_a_check_where_there_is_no_score():
    """Outputs are the logits of tokens, and targets the tokens: not R²."""
    (X, y), (X_val, y_val) = data()
    module = nn.Sequential(
        nn.Linear(4, 6, dtype=torch.float64), nn.Unflatten(1, (3, 2))
    )
    twice, twice_val = (torch.stack([part, part], 1) for part in (y, y_val))
    model = run(module, (X, twice), token_losses)
    check = model.check_influence(X_val, twice_val, 5, n_subsets=4, random_state=0)
    assert check.skill is None
    assert np.isfinite(check.exact).all()


def in_bfloat16(module, inputs):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        return module(inputs)


def checkpointed(module, inputs):
    return checkpoint(module, inputs, use_reentrant=False)


# Recomputed, the same operations are rounded as before; bfloat16 has 8 bits.
@pytest.mark.filterwarnings("ignore:The influence has the precision of half")
@pytest.mark.parametrize(
    ("forward", "tolerance"), [(checkpointed, 1e-5), (in_bfloat16, 0.05)]
)
def test_a_forward_that_saves_memory(forward, tolerance):
    training, validation = data(torch.float32)
    model = run(net(torch.float32, dropout=0.1), training, forward=forward)
    scores = model.influence(*validation)
    plain = run(net(torch.float32, dropout=0.1), training).influence(*validation)
    assert np.abs(scores - plain).max() <= tolerance * np.abs(plain).max()


def test_a_batch_whose_loss_is_not_finite_is_passed_over():
    (X, y), validation = data()
    X = X.clone()
    X[3] = np.nan
    module = net()
    optimizer = SGD(module.parameters())
    recorder = Recorder(module, optimizer, nn.CrossEntropyLoss, (X, y), random_state=0)
    for batch in recorder.batches(7):
        loss = recorder.loss(batch)
        if not loss.isfinite():
            continue
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    scores = recorder.finish().influence(*validation)
    assert (scores[:7] == 0).all()
    assert (scores[7:] != 0).all()


def test_weights_of_an_earlier_epoch():
    kept = {}

    def keep(module, epoch):
        kept[epoch] = copy.deepcopy(module.state_dict())

    model = run(
        n_epochs=3, in_epoch=keep, at_end=lambda module: module.load_state_dict(kept[1])
    )
    assert model.trajectory_.n_epochs == 2
    scores = run(n_epochs=2).influence(*data()[1])
    np.testing.assert_array_equal(model.influence(*data()[1]), scores)


def test_a_run_on_disk_is_saved_and_loaded(tmp_path):
    model = run(trajectory_dir=tmp_path / "runs", checkpoint_every=3)
    scores = run().influence(*data()[1])
    np.testing.assert_array_equal(model.influence(*data()[1]), scores)
    model.save(tmp_path / "model")
    loaded = load_estimator(tmp_path / "model", trusted=[Net])
    np.testing.assert_array_equal(loaded.influence(*data()[1]), scores)
    np.testing.assert_array_equal(
        loaded.predict(data()[1][0]), model.predict(data()[1][0])
    )


def test_the_last_epochs_alone():
    model = run(record=1, n_epochs=3)
    assert model.trajectory_.first_recorded_step == 8
    assert np.isfinite(model.influence(*data()[1])).all()


def test_targets_that_are_numbers():
    (X, _), (X_val, _) = data()
    y, y_val = X[:, :2].square(), X_val[:, :2].square()
    module = nn.Linear(4, 2, dtype=torch.float64)
    model = run(module, (X, y), nn.MSELoss, optimizer=partial(torch.optim.SGD, lr=0.02))
    assert model.predict(X_val).shape == (N_VAL, 2)
    scores = model.influence(X_val, y_val)
    exact = model.counterfactual_influence(X_val, y_val)
    assert np.corrcoef(scores, exact)[0, 1] > 0.9


def moved(module, epoch):
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(0.99)


def moved_once(module):
    """Move the parameters after the second step of an epoch, and no other."""
    moved_once.count += 1
    if moved_once.count % 4 == 2:
        moved(module, 0)


moved_once.count = 0


def noisy(module):
    for parameter in module.parameters():
        parameter.grad.add_(0.01 * torch.ones_like(parameter))


class Rounds(Net):
    def forward(self, x):
        hidden = self.hidden(x)
        return self.output(hidden + (hidden.round() - hidden).detach())


def half_eval(module):
    module.dropout.eval()


REFUSED = {
    "parameters moved between epochs": ({"in_epoch": moved}, "were changed between"),
    "parameters moved within an epoch": (
        {"after_step": moved_once},
        "were changed between steps 1 and 2",
    ),
    "gradients changed": ({"in_step": noisy}, "gradients were changed"),
    "a part in evaluation mode": ({"in_step": half_eval}, "must be in training mode"),
    "a straight-through estimator": ({"module": Rounds().double()}, "gets it wrong in"),
    "a mean loss": (
        {"criterion": nn.functional.cross_entropy},
        "one loss for each sample",
    ),
    "a sum": ({"criterion": nn.CrossEntropyLoss(reduction="sum")}, "reduction"),
    "an optimizer that is not known": ({"optimizer": torch.optim.Rprop}, "`optimizer`"),
    "no step": ({"n_epochs": 0}, "at least one step"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_recorded_is_refused(kind):
    options, message = REFUSED[kind]
    errors = (
        IrreproducibleStepError,
        NotRecordedError,
        RuntimeError,
        UnsupportedCriterionError,
        UnsupportedModuleError,
        UnsupportedOptimizerError,
    )
    with pytest.raises(errors, match=message):
        run(**copy.deepcopy(options))


@pytest.fixture
def parts():
    module = net()
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    recorder = Recorder(
        module, optimizer, nn.CrossEntropyLoss, data()[0], random_state=0
    )
    batches = recorder.batches(7)
    return module, optimizer, recorder, batches


def test_a_step_needs_the_loss_of_a_batch(parts):
    module, optimizer, _, batches = parts
    batch = next(batches)
    nn.functional.cross_entropy(module(batch.inputs), batch.targets).backward()
    with pytest.raises(IrreproducibleStepError, match="must be on the loss of a batch"):
        optimizer.step()


def test_a_penalty_belongs_into_the_criterion(parts):
    module, _, recorder, batches = parts
    loss = recorder.loss(next(batches)) + 0.1 * module.hidden.weight.square().sum()
    with pytest.raises(IrreproducibleStepError, match="added to the loss"):
        loss.backward()


def test_gradients_of_the_last_step_are_cleared(parts):
    _, optimizer, recorder, batches = parts
    recorder.loss(next(batches)).backward()
    optimizer.step()
    with pytest.raises(IrreproducibleStepError, match="zero_grad"):
        recorder.loss(next(batches)).backward()


def test_gradients_of_what_is_frozen_are_cleared_too(parts):
    module, _, recorder, batches = parts
    (X, _), _ = data()
    module(X).sum().backward()
    module.zero_grad()
    module.hidden(X).sum().backward()
    module.hidden.requires_grad_(False)
    with pytest.raises(IrreproducibleStepError, match="zero_grad"):
        recorder.loss(next(batches)).backward()


def test_all_batches_of_a_step_have_one_factor(parts):
    _, optimizer, recorder, batches = parts
    (0.5 * recorder.loss(next(batches))).backward()
    recorder.loss(next(batches)).backward()
    with pytest.raises(IrreproducibleStepError, match="same factor"):
        optimizer.step()


def test_a_batch_whose_loss_is_not_used_takes_no_part(parts):
    _, optimizer, recorder, batches = parts
    recorder.loss(next(batches))
    left_out = []
    for batch in batches:
        left_out.append(batch.rows)
        optimizer.zero_grad()
        recorder.loss(batch).backward()
        optimizer.step()
    model = recorder.finish()
    scores = model.influence(*data()[1])
    used = np.zeros(N, bool)
    used[torch.cat(left_out)] = True
    assert (scores[~used] == 0).all()
    assert (scores[used] != 0).all()


def test_a_loss_is_differentiated_once(parts):
    _, _, recorder, batches = parts
    loss = recorder.loss(next(batches))
    loss.backward(retain_graph=True)
    with pytest.raises(IrreproducibleStepError, match="differentiated once"):
        loss.backward()


def test_autocast_and_no_grad_belong_elsewhere(parts):
    _, _, recorder, batches = parts
    batch = next(batches)
    with torch.no_grad(), pytest.raises(RuntimeError, match="gradients enabled"):
        recorder.loss(batch)
    with torch.autocast("cpu"), pytest.raises(RuntimeError, match="autocast"):
        recorder.loss(batch)
    with pytest.raises(TypeError, match="must be a Batch"):
        recorder.loss((batch.inputs, batch.targets))


def test_a_closure_computes_the_loss(parts):
    _, optimizer, recorder, batches = parts
    returned = []
    for batch in batches:

        def closure(batch=batch):
            optimizer.zero_grad()
            loss = recorder.loss(batch)
            loss.backward()
            return loss.item()

        returned.append(optimizer.step(closure))
    model = recorder.finish()
    losses = [record.loss for record in model.trajectory_.records]
    assert returned == losses
    scores = run(
        n_epochs=1,
        optimizer=partial(torch.optim.SGD, lr=0.1),
        loading={"batch_size": 7},
    ).influence(*data()[1])
    np.testing.assert_array_equal(model.influence(*data()[1]), scores)


def test_a_recorder_is_finished_once(parts):
    _, optimizer, recorder, batches = parts
    recorder.loss(next(batches)).backward()
    optimizer.step()
    recorder.finish()
    for again in (recorder.finish, lambda: next(recorder.batches(7))):
        with pytest.raises(RuntimeError, match="finished"):
            again()
    # The optimizer is the user's again.
    optimizer.step()


def test_options_of_batches_stay(parts):
    _, _, recorder, batches = parts
    list(batches)
    with pytest.raises(ValueError, match="same in every epoch"):
        next(recorder.batches(8))


def flooded(loss):
    return (loss - 0.1).abs() + 0.1


FUNCTIONS = {
    "square": lambda loss: loss**2,
    "product": lambda loss: loss * loss,
    "logarithm": torch.log,
    "soft": nn.functional.softplus,
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_of_the_loss_is_refused_in_the_first_step(parts, name):
    _, _, recorder, batches = parts
    with pytest.raises(IrreproducibleStepError, match="another function of it"):
        FUNCTIONS[name](recorder.loss(next(batches))).backward()


@pytest.mark.parametrize("name", ["scaled", "shifted", "flooded", "cloned"])
def test_a_loss_times_a_number_is_not_refused(parts, name):
    _, optimizer, recorder, batches = parts
    linear = {
        "scaled": lambda loss: loss * torch.tensor(0.3),
        "shifted": lambda loss: 2 * loss + 1,
        "flooded": flooded,
        "cloned": lambda loss: torch.stack([loss.clone(), loss]).mean(),
    }
    for batch in batches:
        optimizer.zero_grad()
        loss = recorder.loss(batch)
        assert np.isfinite(loss.item())
        assert isinstance(loss.detach().numpy().tolist(), float)
        linear[name](loss).backward()
        optimizer.step()
    assert np.isfinite(recorder.finish().influence(*data()[1])).all()
    # No derivatives are followed any more.
    with forward_ad.dual_level():
        pass


def test_the_derivative_of_a_loss_is_followed_no_further_than_the_run(parts):
    _, optimizer, recorder, batches = parts
    recorder.loss(next(batches)).backward()
    optimizer.step()
    optimizer.zero_grad()
    loss = recorder.loss(next(batches))
    with forward_ad.dual_level():
        loss.backward()


def test_a_factor_that_depends_on_the_loss_is_refused(parts):
    _, optimizer, recorder, batches = parts

    def normalized(batch):
        optimizer.zero_grad()
        loss = recorder.loss(batch)
        (loss / loss.item()).backward()

    normalized(next(batches))
    optimizer.step()
    normalized(next(batches))
    with pytest.raises(IrreproducibleStepError, match="same in every step"):
        optimizer.step()


RATES = {
    "sgd": partial(torch.optim.SGD, momentum=0.9),
    "adam": torch.optim.Adam,
    "nadam": torch.optim.NAdam,
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", RATES)
def test_a_rate_that_is_a_tensor(name, dtype):
    training, validation = data(dtype)

    def scores(lr, **options):
        optimizer = partial(RATES[name], lr=lr)
        model = run(net(dtype), training, optimizer=optimizer, **options)
        return model.influence(*validation)

    rate = torch.tensor(0.05)
    kept = scores(rate)
    # Its steps are repeated to the bit, or there would be a warning.
    np.testing.assert_array_equal(scores(rate, checkpoint_every=3), kept)
    number = scores(0.05)
    # The rate is rounded to single precision, and so is what is computed from it.
    assert np.abs(kept - number).max() <= 1e-6 * np.abs(number).max()


def test_fewer_batches_in_the_last_step_of_an_epoch(parts):
    # With the same factor for each, or with the same sum of them.
    _, optimizer, recorder, batches = parts
    for taken in (3, 1):
        optimizer.zero_grad()
        for _ in range(taken):
            (recorder.loss(next(batches)) / 3).backward()
        optimizer.step()
    assert [record.scale for record in recorder.finish().trajectory_.records] == [
        pytest.approx(1.0, rel=1e-6),
        pytest.approx(1 / 3, rel=1e-6),
    ]


@pytest.mark.parametrize("cleared", ["before the loss", "after the loss"])
def test_a_loop_goes_on_after_an_interrupt(cleared):
    module = net(dropout=0.3)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.3)
    recorder = Recorder(
        module, optimizer, nn.CrossEntropyLoss, data()[0], random_state=0
    )

    def cell(stops):
        for number, batch in enumerate(recorder.batches(7, shuffle=True)):
            if cleared == "before the loss":
                optimizer.zero_grad()
            loss = recorder.loss(batch)
            if cleared == "after the loss":
                optimizer.zero_grad()
            loss.backward()
            if stops and number == 1:
                raise KeyboardInterrupt
            optimizer.step()

    with pytest.raises(KeyboardInterrupt):
        cell(stops=True)
    cell(stops=False)
    model = recorder.finish()
    assert [len(record.rows) for record in model.trajectory_.records] == [7, 7, 7, 7, 5]
    # The retrace compares every step, its draws included, with its record.
    scores = model.influence(*data()[1])
    exact = model.counterfactual_influence(*data()[1], np.arange(N))
    assert np.corrcoef(scores, exact)[0, 1] > 0.9


def test_one_epoch_at_a_time(parts):
    _, _, recorder, batches = parts
    next(batches)
    next(recorder.batches(7))
    with pytest.raises(RuntimeError, match="one call of `recorder"):
        next(batches)


def test_items_that_are_drawn_are_of_one_epoch():
    module = net()
    optimizer = SGD(module.parameters())
    recorder = Recorder(module, optimizer, nn.CrossEntropyLoss, Items(), n_classes=3)
    first, again = (
        next(recorder.batches(7)),
        recorder.batches(7),
    )
    recorder.loss(first).backward()
    with pytest.raises(IrreproducibleStepError, match="must be of one epoch"):
        recorder.loss(next(again)).backward()


def test_groups_are_given_at_first():
    module = net()
    optimizer = SGD(module.hidden.parameters())
    recorder = Recorder(module, optimizer, nn.CrossEntropyLoss, data()[0])
    batch = next(recorder.batches(7))
    optimizer.add_param_group({"params": module.output.parameters()})
    with pytest.raises(RuntimeError, match="Give it all of them at first"):
        recorder.loss(batch)


@pytest.mark.parametrize("act", [copy.copy, copy.deepcopy, pickle.dumps])
def test_a_recorder_is_not_copied(parts, act):
    with pytest.raises(TypeError, match="cannot be copied or pickled"):
        act(parts[2])


@pytest.fixture
def group(tmp_path):
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path}/group", rank=0, world_size=1
    )
    yield
    torch.distributed.destroy_process_group()


@pytest.mark.usefixtures("group")
def test_one_process_with_distributed_data_parallel():
    module = nn.parallel.DistributedDataParallel(net(dropout=0.1))
    model, plain = run(module), run(net(dropout=0.1))
    scores = plain.influence(*data()[1])
    np.testing.assert_array_equal(model.influence(*data()[1]), scores)
    np.testing.assert_array_equal(model.across_ranks().influence(*data()[1]), scores)


WRAPPERS = {
    "DataParallel": nn.DataParallel,
    "one around another": lambda module: nn.parallel.DistributedDataParallel(
        nn.DataParallel(module)
    ),
    "torch.compile": partial(torch.compile, backend="eager"),
}


@pytest.mark.usefixtures("group")
@pytest.mark.parametrize("name", WRAPPERS)
def test_a_wrapped_module_is_refused(name):
    module = WRAPPERS[name](net())
    with pytest.raises(TypeError, match="must be the one that is trained itself"):
        Recorder(module, SGD(module.parameters()), nn.CrossEntropyLoss, data()[0])


def test_a_collation_is_given_to_the_recorder(parts):
    with pytest.raises(TypeError, match="given to the Recorder"):
        next(parts[2].batches(7, collate_fn=noisy_batch))


def test_a_model_that_was_recorded_is_not_fitted():
    model = run()
    for fit in (model.fit, model.partial_fit):
        with pytest.raises(TypeError, match="the loop is yours"):
            fit(*data()[0])


OTHER = torch.optim.SGD(nn.Linear(2, 2).parameters(), lr=0.1)
BAD = {
    "module": ({"module": "mlp"}, TypeError, "`module` must be a torch.nn.Module"),
    "optimizer": ({"optimizer": "sgd"}, TypeError, "`optimizer` must be a torch"),
    "another optimizer": ({"optimizer": OTHER}, ValueError, "parameters of `module`"),
    "criterion": ({"criterion": 3}, TypeError, "`criterion` must be one of"),
    "loader": (
        {"data": DataLoader(TensorDataset(torch.ones(3, 4)))},
        TypeError,
        "got a DataLoader",
    ),
    "no data": ({"data": None}, TypeError, "map-style Dataset"),
    "lengths": ({"data": (torch.ones(3, 4), torch.ones(2))}, ValueError, "same number"),
    "forward": ({"forward": 3}, TypeError, "`forward` must be"),
    "collate_fn": ({"collate_fn": 3}, TypeError, "`collate_fn` must be"),
    "n_classes": ({"n_classes": 1}, ValueError, "`n_classes` must be"),
    "max_epochs": ({"max_epochs": 0}, ValueError, "`max_epochs` must be"),
    "record": ({"record": None}, (TypeError, ValueError), "`record` must be"),
    "random_state": ({"random_state": "a"}, ValueError, "random_state"),
    "checkpoint_every": (
        {"checkpoint_every": 0},
        (TypeError, ValueError),
        "checkpoint_every",
    ),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_input(kind):
    changed, error, message = BAD[kind]
    module = net()
    options = {
        "module": module,
        "optimizer": torch.optim.SGD(module.parameters(), lr=0.1),
        "criterion": nn.CrossEntropyLoss,
        "data": data()[0],
        **changed,
    }
    with pytest.raises(error, match=message):
        Recorder(**options)


@pytest.mark.parametrize("size", [0, -2, "a", 2.5])
def test_bad_batch_sizes(size):
    module = net()
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    recorder = Recorder(module, optimizer, nn.CrossEntropyLoss, data()[0])
    with pytest.raises((TypeError, ValueError), match="batch_size"):
        next(recorder.batches(size))


STOPS = {
    "at the end of an epoch": 2,
    "within an epoch": 5,
    "before the first step": 0,
}


@pytest.fixture
def written_at_once(monkeypatch):
    """Have each state written as it comes, not many together."""
    monkeypatch.setattr("skinfluence.trajectory._disk.store._SHARD_STATES", 1)


def wait_for_states(folder, number):
    """Wait for the thread that writes them."""
    end = time.monotonic() + 600
    while number and time.monotonic() < end:
        (run,) = folder.iterdir()
        if len(Trajectory.load(run).kept) >= number:
            return
        time.sleep(0.02)


def killed(folder, stop, **options):
    """Train in a process of its own, which ends without a word."""
    context = torch.multiprocessing.get_context("fork")
    child = context.Process(target=stoppable, args=(folder, stop), kwargs=options)
    child.start()
    child.join(600)
    assert child.exitcode == 1


def stoppable(folder, stop=None, module=None, lr=0.05, n_epochs=3, **options):
    """Train with accumulation, clipping and a schedule; or stop after some steps."""
    module = net(dropout=0.2) if module is None else module
    optimizer = torch.optim.AdamW(module.parameters(), lr=lr)
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)
    recorder = Recorder(
        module,
        optimizer,
        nn.CrossEntropyLoss,
        data()[0],
        random_state=0,
        trajectory_dir=folder,
        **options,
    )
    losses, outputs, steps = [], [], 0
    for _ in range(n_epochs):
        for number, batch in enumerate(recorder.batches(7, shuffle=True)):
            loss = recorder.loss(batch) / 2
            loss.backward()
            losses.append(loss.item())
            if number % 2:
                if steps == stop:
                    every = options.get("checkpoint_every", 1)
                    wait_for_states(folder, -(-steps // every))
                    os._exit(1)
                clip_grad_norm_(module.parameters(), 0.2)
                optimizer.step()
                optimizer.zero_grad()
                schedule.step()
                steps += 1
        module.eval()
        with torch.no_grad():
            outputs.append(module(data()[1][0]))
        module.train()
    return recorder.finish(), losses, outputs


@pytest.mark.usefixtures("written_at_once")
@pytest.mark.parametrize("options", [{}, {"checkpoint_every": 2}], ids=["all", "some"])
@pytest.mark.parametrize("stop", STOPS)
def test_a_stopped_loop_goes_on(stop, options, tmp_path):
    whole, losses, outputs = stoppable(tmp_path / "whole", **options)
    killed(tmp_path / "runs", STOPS[stop], **options)
    resumed, again, seen = stoppable(tmp_path / "runs", resume=True, **options)
    # The same losses, schedules and models at the ends of epochs: the same run.
    assert again == losses
    assert all(map(torch.equal, seen, outputs))
    scores = whole.influence(*data()[1])
    np.testing.assert_array_equal(resumed.influence(*data()[1]), scores)
    assert resumed.n_steps_ == whole.n_steps_ == 6
    assert len(list((tmp_path / "runs").iterdir())) == 1


OTHER_LOOPS = {
    "initial parameters": (
        lambda: {"module": Net(0.2).double()},
        "the initial parameters differ",
    ),
    "rate": (lambda: {"lr": 0.06}, "another learning rate"),
    "epochs": (lambda: {"n_epochs": 1}, "the loop took 2 of its 3 steps"),
}


@pytest.mark.usefixtures("written_at_once")
@pytest.mark.parametrize("kind", OTHER_LOOPS)
def test_another_loop_does_not_go_on(kind, tmp_path):
    make, message = OTHER_LOOPS[kind]
    killed(tmp_path, 4)
    changed = make()
    with pytest.raises(IrreproducibleStepError, match=message):
        stoppable(tmp_path, resume=True, **changed)


def test_a_run_to_resume_is_on_disk():
    with pytest.raises(ValueError, match="`resume` needs a run that is recorded on"):
        stoppable(None, resume=True)
