"""What cannot be recorded or retraced: refused before the first step, with a sentence.

Each of these failed with torch's raw words, failed after all of the training, or gave
numbers that were not the derivative of the run.
"""

import threading
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from sklearn.base import clone
from skorch.callbacks import Callback
from torch import nn
from torch.nn.utils import prune
from torch.optim.swa_utils import AveragedModel
from torch.utils.checkpoint import checkpoint
from torch.utils.data import TensorDataset

from skinfluence import SGDInfluenceClassifier, SGDInfluenceRegressor
from skinfluence.exceptions import (
    InfluenceReliabilityWarning,
    IrreproducibleStepError,
    UnsupportedCriterionError,
    UnsupportedModuleError,
)
from tests.oracles import relative_error, trained_in_order, weight_slopes

# What the library promises; the oracle's own error is about 1e-9.
TOLERANCE = 1e-6

N, WIDTH, N_CLASSES, BATCH_SIZE = 12, 4, 3, 4
RNG = np.random.default_rng(0)
Y = np.arange(N) % N_CLASSES
X, X_VAL = RNG.normal(size=(2, N, WIDTH)) + 0.5 * Y[:, None]
DATA = torch.from_numpy(X), torch.from_numpy(Y)
DATA_VAL = torch.from_numpy(X_VAL), torch.from_numpy(Y)
SAMPLES = [0, 5, 7]


def layers():
    return nn.Sequential(nn.Linear(WIDTH, 5), nn.Tanh(), nn.Linear(5, N_CLASSES))


class Net(nn.Module):
    """A network, and a way for subclasses to do something to its outputs."""

    def __init__(self):
        super().__init__()
        self.layers = layers()
        self.prepare()

    def prepare(self):
        pass

    def forward(self, x):
        return self.changed(self.layers(x))

    def changed(self, outputs):
        return outputs


def classifier(module, cls=SGDInfluenceClassifier, **options):
    options = {"max_epochs": 3, "batch_size": BATCH_SIZE, "lr": 0.1, **options}
    return cls(module, dtype="float64", shuffle=False, random_state=0, **options)


# --- what cannot be copied ----------------------------------------------------------


class Locked(Net):
    def prepare(self):
        self.lock = threading.Lock()


@pytest.mark.parametrize("module", [Locked, Locked()], ids=["class", "instance"])
def test_a_module_that_cannot_be_copied_is_told_by_its_attribute(module):
    message = "copy.deepcopy copies, but the attribute `lock` of Locked cannot be"
    with pytest.raises(TypeError, match=message):
        classifier(module).fit(X, Y)
    classifier(Locked, record=None).fit(X, Y)


SCRIPTED = {
    "script": lambda: torch.jit.script(layers()),
    "trace": lambda: nn.Sequential(torch.jit.trace(layers(), torch.zeros(2, WIDTH))),
}


@pytest.mark.filterwarnings("ignore:.*is deprecated:DeprecationWarning")
@pytest.mark.parametrize("instance", [True, False])
@pytest.mark.parametrize("how", SCRIPTED)
def test_torch_script_is_refused(how, instance):
    make = SCRIPTED[how]
    with pytest.raises(TypeError, match="must hold no TorchScript"):
        classifier(make() if instance else make).fit(X, Y)


@pytest.mark.parametrize("affine", [True, False])
def test_lazy_norms_take_their_size_from_the_first_batch(affine):
    def start():
        torch.manual_seed(0)
        layer, last = nn.Linear(WIDTH, 5).double(), nn.Linear(5, N_CLASSES).double()
        return lambda norm: nn.Sequential(norm, layer, nn.Tanh(), last)

    lazy = start()(nn.LazyBatchNorm1d(affine=affine))
    plain = start()(nn.BatchNorm1d(WIDTH, affine=affine).double())
    clf = clone(classifier(lazy)).fit(X, Y)
    expected = weight_slopes(
        plain, DATA, DATA_VAL, SAMPLES, epochs=3, batch_size=BATCH_SIZE, lr=0.1
    )
    assert relative_error(clf.influence(X_VAL, Y)[SAMPLES], expected) <= TOLERANCE


# --- outputs and criteria -----------------------------------------------------------


@dataclass
class Output:
    logits: torch.Tensor
    hidden: object = None


@dataclass
class Only:
    scores: torch.Tensor


@dataclass
class Two:
    scores: torch.Tensor
    hidden: object = None


class Returning(Net):
    def __init__(self, form):
        super().__init__()
        self.changed = form


@pytest.mark.parametrize("form", [Output, Only])
def test_outputs_in_a_dataclass(form):
    torch.manual_seed(0)
    module = Net().double()
    returning = Returning(form).double()
    returning.load_state_dict(module.state_dict())
    plain, clf = (classifier(m).fit(X, Y) for m in (module, returning))
    np.testing.assert_array_equal(clf.influence(X_VAL, Y), plain.influence(X_VAL, Y))
    np.testing.assert_array_equal(clf.predict_proba(X), plain.predict_proba(X))


def test_a_dataclass_without_logits_is_refused():
    with pytest.raises(
        TypeError, match=r"returns a Two must name its outputs 'logits'"
    ):
        classifier(Returning, module__form=Two).fit(X, Y)


@pytest.mark.parametrize(
    ("criterion", "takes"),
    [
        (nn.GaussianNLLLoss, "input, target, var"),
        (nn.CosineEmbeddingLoss, "input1, input2, target"),
        (nn.TripletMarginLoss, "anchor, positive, negative"),
        (nn.CTCLoss, "log_probs, targets, input_lengths, target_lengths"),
    ],
)
def test_criteria_with_further_arguments_are_refused(criterion, takes):
    message = f"{criterion.__name__} takes {takes}. Override `get_losses`"
    with pytest.raises(UnsupportedCriterionError, match=message):
        classifier(Net, SGDInfluenceRegressor, criterion=criterion).fit(X, Y * 0.1)


@pytest.mark.parametrize(
    "criterion", [nn.MultiLabelMarginLoss, nn.MultiLabelSoftMarginLoss, nn.KLDivLoss]
)
def test_targets_that_the_criterion_does_not_take_are_refused(criterion):
    message = r"outputs, of shape \(2, 3\) .* targets, of shape \(2,\) and torch.int64"
    with pytest.raises(UnsupportedCriterionError, match=message):
        classifier(Net, criterion=criterion).fit(X, Y)


# --- steps that cannot be repeated --------------------------------------------------


class OwnGenerator(Net):
    def prepare(self):
        self.generator = torch.Generator().manual_seed(0)

    def changed(self, outputs):
        shape, dtype = outputs.shape, outputs.dtype
        return outputs + torch.randn(shape, generator=self.generator, dtype=dtype)


class NumpysOwn(Net):
    def prepare(self):
        self.rng = np.random.default_rng(0)

    def changed(self, outputs):
        return outputs * self.rng.uniform()


class Counter(Net):
    calls = 0

    def changed(self, outputs):
        self.calls += self.training
        return outputs / (1 + self.calls)


class Global(Net):
    def changed(self, outputs):
        # Mostly this draws and does nothing.
        return outputs * (1 + (np.random.random_sample() < 1e-9))  # noqa: NPY002


@pytest.mark.parametrize("record", ["all", "replay"])
@pytest.mark.parametrize(
    ("module", "message"),
    [
        (OwnGenerator, "must be the same when it is"),
        (NumpysOwn, "must be the same when it is"),
        (Counter, "must be the same when it is"),
        (Global, "but they drew from NumPy's or Python's"),
    ],
)
def test_a_loss_that_is_another_one_each_time_is_refused(module, message, record):
    with pytest.raises(UnsupportedModuleError, match=message):
        classifier(module, record=record).fit(X, Y)
    classifier(module, record=None).fit(X, Y)


class Reentrant(Net):
    def forward(self, x):
        # As adapters in a frozen network: the input leads to no parameter.
        return checkpoint(self.layers, x.requires_grad_(), use_reentrant=True)


def test_parameters_that_only_a_backward_pass_reaches_are_refused():
    net, data = Reentrant().double(), torch.from_numpy(X).requires_grad_()
    assert (
        torch.autograd.grad(net(data).sum(), [*net.parameters()], allow_unused=True)
        == (None,) * 4
    )
    with pytest.raises(
        UnsupportedModuleError, match=r"`layers\.0\.weight` .* backward"
    ):
        classifier(Reentrant).fit(X, Y)
    classifier(Reentrant, record=None).fit(X, Y)


def test_the_check_changes_no_bit():
    class Own(Net):
        def prepare(self):
            self.drop = nn.Dropout(0.3)

        def changed(self, outputs):
            return self.drop(outputs)

    recorded, plain = (classifier(Own, record=r).fit(X, Y) for r in ("all", None))
    pairs = zip(recorded.module_.parameters(), plain.module_.parameters(), strict=True)
    assert all(torch.equal(mine, theirs) for mine, theirs in pairs)


# --- what influence would hold fixed ------------------------------------------------


class AveragesWeights(Net):
    """Evaluates with an average of the last weights."""

    def prepare(self):
        self.register_buffer("mean", torch.zeros(N_CLASSES, 5))

    def forward(self, x):
        hidden, last = self.layers[:2](x), self.layers[2]
        if not self.training:
            return hidden @ self.mean.T
        with torch.no_grad():
            self.mean.mul_(0.5).add_(0.5 * last.weight)
        return last(hidden)


class Centred(Net):
    """Evaluates relative to a running mean of the outputs."""

    def prepare(self):
        self.register_buffer("centre", torch.zeros(N_CLASSES))

    def changed(self, outputs):
        if not self.training:
            return outputs - outputs.softmax(1) * self.centre
        with torch.no_grad():
            self.centre.mul_(0.5).add_(0.5 * outputs.mean(0))
        return outputs


class Watched(Centred):
    """Keeps that mean, and never uses it."""

    def changed(self, outputs):
        return super().changed(outputs) if self.training else outputs


def exact_changes_of(module, samples):
    options = {"epochs": 3, "batch_size": BATCH_SIZE, "lr": 0.1}

    def loss(weights):
        trained = trained_in_order(module, *DATA, weights, **options)
        with torch.no_grad():
            return nn.functional.cross_entropy(trained(DATA_VAL[0]), DATA_VAL[1])

    every = torch.ones(N, dtype=torch.float64)
    without = [every.index_fill(0, torch.tensor([k]), 0.0) for k in samples]
    return np.array([float(loss(weights) - loss(every)) for weights in without])


@pytest.mark.parametrize("module", [AveragesWeights, Centred])
def test_an_average_that_only_evaluation_uses_is_refused(module):
    message = "computed from the parameters in training, such as an average of weights"
    with pytest.raises(UnsupportedModuleError, match=message):
        classifier(module).fit(X, Y)
    torch.manual_seed(0)
    start = module().double()
    found = classifier(start, record="replay").fit(X, Y)
    changes = found.counterfactual_influence(X_VAL, Y, SAMPLES)
    assert relative_error(changes, exact_changes_of(start, SAMPLES)) <= TOLERANCE


def test_a_buffer_that_nothing_uses_is_no_matter():
    torch.manual_seed(0)
    start = Watched().double()
    expected = weight_slopes(
        start, DATA, DATA_VAL, SAMPLES, epochs=3, batch_size=BATCH_SIZE, lr=0.1
    )
    scores = classifier(start).fit(X, Y).influence(X_VAL, Y)
    assert relative_error(scores[SAMPLES], expected) <= TOLERANCE


class AveragedNet(Net):
    """Holds an average of itself, that it updates or a callback does."""

    def __init__(self, trained=True, alone=True):
        super().__init__()
        self.average = AveragedModel(self.layers).requires_grad_(trained)
        self.alone = alone

    def forward(self, x):
        if not self.training:
            return self.layers(x) + self.average(x)
        if self.alone:
            self.average.update_parameters(self.layers)
        return self.layers(x)


class Averages(Callback):
    def on_batch_end(self, net, training=False, **kwargs):
        if training:
            net.module_.average.update_parameters(net.module_.layers)


@pytest.mark.parametrize("trained", [True, False])
def test_a_forward_pass_that_writes_to_parameters_is_refused(trained):
    message = r"`average\.module\.0\.weight` must be changed by the optimizer alone"
    with pytest.raises(UnsupportedModuleError, match=message):
        classifier(AveragedNet, module__trained=trained).fit(X, Y)


def test_a_callback_that_writes_to_frozen_parameters_is_refused_on_the_way():
    clf = classifier(
        AveragedNet, module__trained=False, module__alone=False, callbacks=[Averages()]
    )
    message = r"`average\.module\.0\.weight` is not trained, .* before step 3, such as"
    with pytest.raises(UnsupportedModuleError, match=message):
        clf.fit(X, Y)


def test_an_averaged_model_that_is_trained_itself():
    torch.manual_seed(0)
    start = AveragedModel(layers().double())
    expected = weight_slopes(
        start, DATA, DATA_VAL, SAMPLES, epochs=3, batch_size=BATCH_SIZE, lr=0.1
    )
    scores = classifier(start).fit(X, Y).influence(X_VAL, Y)
    assert relative_error(scores[SAMPLES], expected) <= TOLERANCE


def test_buffers_that_a_callback_computes_from_parameters_are_warned_of():
    class Copies(Callback):
        def on_epoch_end(self, net, **kwargs):
            net.module_.centre.copy_(net.module_.layers[2].bias.detach())

    class Net(Centred):
        def changed(self, outputs):
            return outputs if self.training else outputs * (1 + self.centre)

    with pytest.warns(
        InfluenceReliabilityWarning, match="changed the module's buffers"
    ):
        clf = classifier(Net, callbacks=[Copies()]).fit(X, Y)
    with pytest.raises(IrreproducibleStepError, match="changed the module's buffers"):
        clf.counterfactual_influence(X_VAL, Y, [0])


class DataDependent(Net):
    """Scales its inputs by the first batch: the flag is a buffer."""

    def prepare(self):
        self.scale = nn.Parameter(torch.ones(WIDTH))
        self.register_buffer("ready", torch.tensor(False))

    def forward(self, x):
        if not self.ready:
            with torch.no_grad():
                self.scale.copy_(1 / x.std(0))
                self.ready.fill_(True)
        return self.layers(x * self.scale)


def test_parameters_that_the_first_batch_initializes():
    torch.manual_seed(0)
    start = DataDependent().double()
    # The estimator looks at its first two samples before it trains.
    scaled = DataDependent().double()
    scaled.load_state_dict(start.state_dict())
    scaled(DATA[0][:2])
    expected = weight_slopes(
        scaled, DATA, DATA_VAL, SAMPLES, epochs=3, batch_size=BATCH_SIZE, lr=0.1
    )
    scores = classifier(start).fit(X, Y).influence(X_VAL, Y)
    assert relative_error(scores[SAMPLES], expected) <= TOLERANCE


# --- what changes between epochs ----------------------------------------------------


class AtSecondEpoch(Callback):
    def __init__(self, change):
        self.change = change

    def on_epoch_begin(self, net, **kwargs):
        if len(net.history) == 2:
            self.change(net.module_)


def prunes(module):
    prune.l1_unstructured(module.layers[0], "weight", amount=0.3)


def replaces(module):
    module.layers[2] = nn.Linear(5, N_CLASSES).double()


def rebinds(module):
    module.layers[2].bias = nn.Parameter(module.layers[2].bias.detach() + 0.1)


@pytest.mark.parametrize("change", [prunes, replaces, rebinds])
def test_other_parameters_on_the_way_are_refused_where_they_come(change):
    clf = classifier(Net, callbacks=[AtSecondEpoch(change)])
    message = r"replaced, added or removed `layers\.\d\.\w+` before step 3, such as"
    with pytest.raises(UnsupportedModuleError, match=message):
        clf.fit(X, Y)
    assert not hasattr(clf, "trajectory_")
    classifier(Net, callbacks=[AtSecondEpoch(change)], record=None).fit(X, Y)


# --- tensors that are not plain numbers ---------------------------------------------


class Rotated(Net):
    """Turns its inputs by complex factors, as rotary embeddings do."""

    def prepare(self):
        angles = torch.arange(WIDTH // 2) + 0.5
        self.register_buffer("factors", torch.polar(torch.ones_like(angles), angles))

    def forward(self, x):
        pairs = torch.view_as_complex(x.reshape(len(x), -1, 2))
        return self.layers(torch.view_as_real(pairs * self.factors).flatten(1))


def test_complex_buffers_stay_complex():
    torch.manual_seed(0)
    start = Rotated().double()  # which leaves complex numbers alone
    expected = weight_slopes(
        start, DATA, DATA_VAL, SAMPLES, epochs=3, batch_size=BATCH_SIZE, lr=0.1
    )
    scores = classifier(start).fit(X, Y).influence(X_VAL, Y)
    assert relative_error(scores[SAMPLES], expected) <= TOLERANCE


def test_sparse_buffers_are_refused():
    class Graph(Net):
        def prepare(self):
            self.register_buffer("graph", torch.eye(N_CLASSES).to_sparse())

        def changed(self, outputs):
            return torch.sparse.mm(self.graph, outputs.T).T

    with pytest.raises(UnsupportedModuleError, match=r"must be dense, got .* `graph`"):
        classifier(Graph).fit(X, Y)


class Tied(nn.Module):
    """Uses an embedding's weights a second time, where its padding is trained."""

    def __init__(self, padding=None):
        super().__init__()
        self.words = nn.Embedding(9, 4, padding_idx=padding)
        self.last = nn.Linear(4, 9, bias=False)
        self.last.weight = self.words.weight
        self.outputs = nn.Linear(9, N_CLASSES)

    def forward(self, x):
        return self.outputs(torch.tanh(self.last(self.words(x).mean(1))))


def test_tied_weights_of_an_embedding():
    words = np.random.default_rng(0).integers(0, 9, (N, 5))
    torch.manual_seed(0)
    start = Tied().double()
    data = torch.from_numpy(words), DATA[1]
    expected = weight_slopes(
        start, data, data, SAMPLES, epochs=3, batch_size=BATCH_SIZE, lr=0.1
    )
    scores = classifier(start).fit(words, Y).influence(words, Y)
    assert relative_error(scores[SAMPLES], expected) <= TOLERANCE
    # The gradient that padding leaves out is a stop-gradient where it is trained.
    with pytest.raises(UnsupportedModuleError, match="autograd gets it wrong"):
        classifier(Tied, module__padding=0).fit(words, Y)


@pytest.mark.parametrize("split", [None, 3, (1, 2), "ab"], ids=repr)
def test_split_that_is_none(split):
    clf = SGDInfluenceClassifier(train_split=lambda dataset, y: split)
    with pytest.raises(TypeError, match="`train_split` must return two datasets"):
        clf.fit(X, Y)


def test_split_that_takes_no_targets():
    clf = SGDInfluenceClassifier(train_split=lambda dataset: (dataset, None))
    with pytest.raises(TypeError, match=r"`train_split` must take \(dataset, y\)"):
        clf.fit(X, Y)


def test_class_numbers_of_a_dataset():
    def fitted(last):
        targets = torch.tensor([*Y, last])
        data = TensorDataset(torch.zeros(N + 1, WIDTH), targets)
        return SGDInfluenceClassifier(layers, max_epochs=1).fit(data)

    with pytest.raises(ValueError, match="must be class numbers, from 0 on, got -5"):
        fitted(-5)
    with pytest.warns(UserWarning, match="ignore_index"):  # which stands for none
        assert fitted(-100).initialized_


def test_class_number_that_the_first_targets_do_not_show():
    # Only so many are looked at before training: reading all may take long.
    targets = torch.cat([torch.from_numpy(Y).repeat(8), torch.tensor([N_CLASSES])])
    data = TensorDataset(torch.zeros(len(targets), WIDTH), targets)
    with pytest.raises(ValueError, match="numbers of the module's outputs"):
        SGDInfluenceClassifier(layers, max_epochs=1).fit(data)
