"""The retrace through stages against finite differences through all trainings."""

import numpy as np
import pytest
import torch
from skorch.callbacks import Callback
from torch.func import functional_call

from skinfluence import SGDInfluenceRegressor
from tests.cases import rough
from tests.oracles import relative_error, rows_of, validation_loss
from tests.stages import MODULES, N_PRETRAINING, trained, validation

# What the library promises; the oracle's own error is about 1e-9.
TOLERANCE = 1e-6

# One graph through both trainings, in double precision: sums in another order.
ROUNDING = 1e-11


# Samples whose weights are moved: some of the earlier and of the later rows, and of
# all batches.
SOME = (0, 2, 3, 5, 7)


def slopes(chain, stage=1, epochs=None, step=1e-5):
    """Return minus the derivative of the validation loss in some samples' weights.

    Central differences of fourth order, as in the oracle for one training.
    """
    X_val, y_val = validation()
    epochs = epochs or {chain.last.trajectory_.n_epochs: 1.0}
    ones = np.ones(len(chain.data[stage][0]))
    base = chain.retrain(ones, stage)

    def value(weights):
        ends = chain.retrain(weights, stage)
        return sum(
            weight * validation_loss(ends[e - 1], X_val, y_val, base[e - 1]).mean()
            for e, weight in epochs.items()
        ) / sum(epochs.values())

    found = []
    for sample in SOME:
        total = 0.0
        for shift, factor in ((-2, 1), (-1, -8), (1, 8), (2, -1)):
            weights = ones.copy()
            weights[sample] += shift * step
            total += factor * value(weights)
        found.append(-total / (12 * step))
    return np.array(found)


def error(chain, stage=1, **options):
    scores = chain.last.influence(*validation(), stage=stage, **options)
    expected = slopes(chain, stage, options.get("at"))
    assert scores.shape == (len(chain.data[stage][0]),)
    # Far above what the oracle cannot tell from 0.
    assert np.abs(expected).min() > 1e-9
    return relative_error(scores[[*SOME]], expected)


@rough
@pytest.mark.parametrize("frozen", [False, True], ids=["trainable", "frozen"])
@pytest.mark.parametrize("optimizer", ["momentum", "adam"])
def test_equals_finite_differences_through_both_trainings(optimizer, frozen):
    assert error(trained("mlp", optimizer, frozen=frozen)) <= TOLERANCE


@rough
@pytest.mark.parametrize("frozen", [False, True], ids=["trainable", "frozen"])
@pytest.mark.parametrize("module", ["batch_norm", "dropout"])
def test_with_buffers_and_random_numbers(module, frozen):
    assert error(trained(module, frozen=frozen)) <= TOLERANCE


@rough
@pytest.mark.parametrize(
    ("frozen", "stage"), [((False, True), 2), ((True, False), 1), ((True, False), 2)]
)
def test_a_chain_of_three(frozen, stage):
    chain = trained("mlp", "momentum", n_stages=3, frozen=frozen)
    assert error(chain, stage) <= TOLERANCE


@rough
def test_samples_that_trained_nothing_that_was_taken_over_have_no_influence():
    # The second training moved its head alone, and the third took its body.
    last = trained("mlp", n_stages=3, frozen=(False, True)).last
    assert (last.influence(*validation(), stage=1) == 0).all()
    assert (last.influence(*validation(), stage=2) != 0).all()


@rough
@pytest.mark.parametrize(("module", "frozen"), [("mlp", False), ("batch_norm", True)])
def test_from_an_autoencoder(module, frozen):
    assert error(trained(module, frozen=frozen, autoencoder=True)) <= TOLERANCE


@rough
def test_a_query_along_the_path_of_the_last_training():
    at = {1: 3.0, 2: 1.0}
    assert error(trained("batch_norm", frozen=True), at=at) <= TOLERANCE


class FreezeFirst(Callback):
    """Freezes the weights of the first layer for some epochs."""

    def __init__(self, begin, end):
        self.begin, self.end = begin, end

    def on_epoch_begin(self, net, **kwargs):
        frozen = self.begin <= len(net.history) < self.end
        net.module_[0].weight.requires_grad_(not frozen)


class NoGradient:
    """Does the same in a plain loop, which takes so many steps again and again."""

    def __init__(self, steps, n_steps):
        self.steps, self.n_steps, self.taken = steps, n_steps, 0

    def __call__(self, parameters):
        if self.taken % self.n_steps in self.steps:
            parameters[0].grad = None
        self.taken += 1


@rough
@pytest.mark.parametrize("epochs", [(1, 2), (1, 3)])
def test_a_body_that_a_callback_freezes(epochs):
    # Not frozen by the estimator: for the first epoch, or for all.
    chain = trained("mlp", "adam", callbacks=[FreezeFirst(*epochs)])
    records = chain.last.trajectory_.records
    steps = {r.step for r in records if epochs[0] <= r.epoch < epochs[1]}
    chain.clips[0] = NoGradient(steps, len(records))
    assert error(chain) <= TOLERANCE


def unrolled(chain):
    """Return the influence by autograd through both trainings as one graph."""
    weights = torch.ones(N_PRETRAINING, dtype=torch.float64, requires_grad=True)
    parameters: dict = {}
    for k in (1, 0):
        run = chain.spies[k].run
        frozen = [n for n, p in run.module.named_parameters() if not p.requires_grad]
        own = {n: p.detach().requires_grad_() for n, p in run.module.named_parameters()}
        own |= {n: p for n, p in parameters.items() if own[n].shape == p.shape}
        velocity = {n: torch.zeros_like(p) for n, p in own.items()}
        for (inputs, targets), (group,) in zip(run.batches, run.groups, strict=True):
            rows = rows_of(inputs, chain.data[k][0])
            losses = chain.losses[k](functional_call(run.module, own, inputs), targets)
            share = weights[rows] if k else torch.ones(len(rows), dtype=torch.float64)
            names = [n for n in own if n not in frozen]
            gradients = torch.autograd.grad(
                (losses * share).sum() / len(rows),
                [own[n] for n in names],
                create_graph=True,
            )
            for name, gradient in zip(names, gradients, strict=True):
                velocity[name] = group["momentum"] * velocity[name] + gradient
                own[name] = own[name] - group["lr"] * velocity[name]
        parameters = own
    X_val, y_val = map(torch.from_numpy, validation())
    outputs = functional_call(chain.spies[0].run.module, parameters, X_val)
    query = torch.nn.functional.cross_entropy(outputs, y_val)
    (slope,) = torch.autograd.grad(query, weights)
    return -slope.numpy()


@pytest.mark.parametrize("frozen", [False, True], ids=["trainable", "frozen"])
def test_equals_autograd_through_both_unrolled_trainings(frozen):
    chain = trained("mlp", frozen=frozen, optimizer__dampening=0.0)
    scores = chain.last.influence(*validation(), stage="pretraining")
    assert relative_error(scores, unrolled(chain)) <= ROUNDING


@pytest.mark.parametrize("frozen", [False, True], ids=["trainable", "frozen"])
@pytest.mark.parametrize("module", MODULES)
def test_with_few_kept_states_to_the_same_bits(module, frozen):
    whole = trained(module, frozen=frozen).last
    thin = trained(module, frozen=frozen, checkpoint_every=4).last
    assert thin.trajectory_.interval == thin.pretrained.trajectory_.interval == 4
    assert np.array_equal(
        thin.influence(*validation(), stage=1), whole.influence(*validation(), stage=1)
    )


def test_single_queries_make_up_their_mean():
    last = trained("batch_norm", n_stages=3, frozen=(True, False)).last
    for stage in (1, 2):
        columns = last.influence(*validation(), stage=stage, aggregate=None)
        assert columns.shape[1] == len(validation()[0])
        mean = last.influence(*validation(), stage=stage)
        assert relative_error(columns.mean(axis=1), mean) <= ROUNDING
        X_val, y_val = validation()
        alone = last.influence(X_val[2:3], y_val[2:3], stage=stage)
        assert relative_error(columns[:, 2], alone) <= ROUNDING


# ------------------------------------------------------------- labels and targets


def label_slopes(chain, stage, step=1e-5):
    """Return the derivative of the loss on the way of some samples to each label."""
    X, y = chain.data[stage]
    n_classes = len(chain.estimators[stage].classes_)
    # The cross-entropy is linear in the probabilities of a target.
    soft = np.eye(n_classes)[y]
    ones = np.ones(len(X))
    base = chain.retrain(ones, stage, soft)[-1]

    def value(targets):
        end = chain.retrain(ones, stage, targets)[-1]
        return validation_loss(end, *validation(), base).mean()

    found = np.zeros((len(SOME), n_classes))
    for place, sample in enumerate(SOME):
        for label in range(n_classes):
            direction = np.zeros_like(soft)
            direction[sample] = np.eye(n_classes)[label] - soft[sample]
            for shift, factor in ((-2, 1), (-1, -8), (1, 8), (2, -1)):
                moved = soft + shift * step * direction
                found[place, label] += factor * value(moved) / (12 * step)
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "optimizer", "options"),
    [
        *((module, "momentum", {}) for module in MODULES),
        ("mlp", "adam", {}),
        ("batch_norm", "momentum", {"frozen": True}),
        ("mlp", "momentum", {"n_stages": 3, "stage": 2}),
    ],
)
def test_labels_of_an_earlier_stage(module, optimizer, options):
    options = dict(options)
    stage = options.pop("stage", 1)
    chain = trained(module, optimizer, **options)
    found = chain.last.label_influence(*validation(), stage=stage)
    y = chain.data[stage][1]
    assert found.shape == (len(y), stage + 2)
    assert (found[np.arange(len(y)), y] == 0).all()
    expected = label_slopes(chain, stage)
    assert relative_error(found[[*SOME]].ravel(), expected.ravel()) <= TOLERANCE


def test_targets_of_an_earlier_stage():
    rng = np.random.default_rng(0)
    X, X2 = rng.normal(size=(10, 4)), rng.normal(size=(8, 4))
    y, y2 = rng.normal(size=10), rng.normal(size=8)
    options = {"max_epochs": 2, "batch_size": 4, "random_state": 0}
    source = SGDInfluenceRegressor(**options).fit(X, y)
    reg = SGDInfluenceRegressor(pretrained=source, **options).fit(X2, y2)
    found = reg.target_influence(X2, y2, stage="pretraining")
    # Finite differences of whole trainings with other targets.
    step = 1e-4
    moved = [
        reg.counterfactual_influence(
            X2, y2, labels=y + shift * step, samples=None, stage="pretraining"
        )
        for shift in (-2, -1, 1, 2)
    ]
    expected = np.array([1, -8, 8, -1]) @ moved / (12 * step)
    assert found.shape == (10,)
    assert relative_error(found, expected) <= TOLERANCE


def test_a_stage_of_the_other_kind_has_no_labels():
    last = trained("mlp", autoencoder=True).last
    message = "`stage` must be that of a classifier, got that of a SGDInfluenceRegres"
    with pytest.raises(ValueError, match=message):
        last.label_influence(*validation(), stage=1)
