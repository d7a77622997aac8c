"""Estimators that start from others: what is taken over, and what can be asked."""

import copy
import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from skinfluence import (
    InfluenceCleaner,
    SGDInfluenceClassifier,
    load_estimator,
)
from skinfluence._keys import digest
from skinfluence.estimators._questions.counterfactual import ensemble_of
from skinfluence.estimators._questions.question import ask
from skinfluence.exceptions import (
    DivergedTrainingError,
    DivergenceWarning,
    IrreproducibleStepError,
    NotRecordedError,
    TrainingDataChangedError,
)
from tests.cases import rough
from tests.oracles import validation_loss
from tests.stages import MODULES, trained, validation

# The same arithmetic in double precision in another order.
TOLERANCE = 1e-10

BODY = {
    "mlp": ["0.weight", "0.bias", "2.weight", "2.bias"],
    "batch_norm": ["0.weight", "0.bias", "1.weight", "1.bias"],
    "dropout": ["0.weight", "0.bias"],
}


def values(module):
    """Return all parameters and buffers as one vector."""
    return np.concatenate([v.numpy().ravel() for v in module.state_dict().values()])


def built_in(pretrained=None, **options):
    """Return a classifier with a built-in module, the fastest to be trained."""
    options = {"max_epochs": 2, "batch_size": 5, "random_state": 0, **options}
    return SGDInfluenceClassifier(pretrained=pretrained, **options)


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(20, 4)).astype(np.float32)
    return X, np.arange(20) % 3, X[::-1].copy(), np.arange(20) % 2


@pytest.fixture(scope="module")
def pretrained(data):
    return built_in(random_state=3).fit(*data[:2])


# --- what is taken over --------------------------------------------------------------


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("module", MODULES)
def test_starts_from_the_final_parameters_and_buffers(module, frozen):
    chain = trained(module, frozen=frozen)
    clf = chain.last
    assert clf.pretrained_parameters_ == BODY[module]
    first, final = chain.spies[0].run.module, clf.pretrained.module_
    head = list(first.state_dict())[-2:]
    for name, tensor in first.state_dict().items():
        if name not in head:
            assert torch.equal(tensor, final.state_dict()[name])
    for name, parameter in clf.module_.named_parameters():
        held = torch.equal(parameter, first.state_dict()[name])
        assert held == (frozen and name in BODY[module])
        assert parameter.requires_grad == (not frozen or name not in BODY[module])
    # As in torch: BatchNorm's statistics move in training, whatever is frozen.
    for name, buffer in clf.module_.named_buffers():
        assert not torch.equal(buffer, final.state_dict()[name])


def test_the_other_parameters_are_those_of_a_training_without(data, pretrained):
    X, _, X2, y2 = data
    alone = built_in(max_epochs=0).fit(X2, y2).module_.layers[-1]
    started = built_in(pretrained, max_epochs=0).fit(X2, y2).module_
    assert torch.equal(started.layers[-1].weight, alone.weight)
    assert torch.equal(started.layers[0].weight, pretrained.module_.layers[0].weight)
    assert X is pretrained.training_data_[0].X  # the pretrained one is not copied


def test_into_another_dtype(data, pretrained):
    _, _, X2, y2 = data
    clf = built_in(pretrained, dtype="float64").fit(X2, y2)
    scores = clf.influence(X2, y2, stage="pretraining")
    whole = built_in(random_state=3, dtype="float64").fit(*data[:2])
    expected = built_in(whole, dtype="float64").fit(X2, y2)
    expected = expected.influence(X2, y2, stage="pretraining")
    # Single precision through some ten steps.
    assert np.abs(scores - expected).max() <= 1e-4 * np.abs(expected).max()


def test_tied_parameters_may_become_several(data):
    class Twice(nn.Module):
        def __init__(self, tied, outputs):
            super().__init__()
            self.one, self.two = nn.Linear(4, 4), nn.Linear(4, 4)
            self.head = nn.Linear(4, outputs)
            if tied:
                self.two.weight = self.one.weight

        def forward(self, X):
            return self.head(torch.tanh(self.two(torch.tanh(self.one(X)))))

    X, y, X2, y2 = data
    options = {"max_epochs": 2, "dtype": "float64", "random_state": 0}
    source = SGDInfluenceClassifier(
        Twice, module__tied=True, module__outputs=3, **options
    ).fit(X, y)
    clf = SGDInfluenceClassifier(
        Twice, module__tied=False, module__outputs=2, pretrained=source, **options
    ).fit(X2, y2)
    assert len(clf.pretrained_parameters_) == 4
    weights = np.ones((4, 20))
    weights[:, 6] += 1e-4 * np.array([1, -1, 2, -2])
    c = clf.counterfactual_influence(X2, y2, weights, stage=1) / 1e-4
    slope = (8 * (c[0] - c[1]) - (c[2] - c[3])) / 12
    # The differences' rounding: about 1e-16 over their step.
    assert abs(clf.influence(X2, y2, stage=1)[6] + slope) <= 1e-8 * abs(slope) + 1e-11


def test_training_on_does_not_start_again(data, pretrained):
    _, _, X2, y2 = data
    whole = built_in(pretrained, max_epochs=4).fit(X2, y2)
    parts = built_in(pretrained).fit(X2, y2).partial_fit(X2, y2)
    warm = built_in(pretrained, warm_start=True).fit(X2, y2).fit(X2, y2)
    by_hand = built_in(pretrained, module=nn.Linear(4, 3)).set_params(module="mlp")
    by_hand = by_hand.partial_fit(X2, y2).partial_fit(X2, y2)
    scores = whole.influence(X2, y2, stage=1)
    for clf in (parts, warm, by_hand):
        assert np.array_equal(values(clf.module_), values(whole.module_))
        assert np.array_equal(clf.influence(X2, y2, stage=1), scores)


@pytest.mark.filterwarnings("ignore:`module` returns")
def test_initialized_by_hand(data):
    X, y, X2, y2 = data
    module = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 3))
    source = built_in(module=module).fit(X, y)
    clf = built_in(source, module=module).initialize()
    assert np.array_equal(values(clf.module_), values(source.module_))
    clf.partial_fit(X2, y2)
    assert np.abs(clf.influence(X2, y2, stage=1)).max() > 0


@pytest.mark.parametrize("frozen", [False, True])
def test_resumes_from_the_same_start_only(data, pretrained, frozen, tmp_path):
    _, _, X2, y2 = data

    def run(source, epochs, **options):
        clf = built_in(
            source,
            max_epochs=epochs,
            trajectory_dir=tmp_path,
            freeze_pretrained=frozen,
        )
        return clf.fit(X2, y2, **options)

    run(pretrained, 2)
    longer = run(pretrained, 4, resume=True)
    assert longer.trajectory_.folder.name == "run-000001"
    direct = built_in(pretrained, max_epochs=4, freeze_pretrained=frozen).fit(X2, y2)
    assert np.array_equal(values(longer.module_), values(direct.module_))
    other = built_in(random_state=4).fit(*data[:2])
    assert run(other, 4, resume=True).trajectory_.folder.name == "run-000002"


# --- training again ------------------------------------------------------------------


def truth(chain, weights, stage=1):
    """Return the change of the validation loss by plain loops."""
    X_val, y_val = validation()

    def value(own):
        return validation_loss(chain.retrain(own, stage)[-1], X_val, y_val).mean()

    base = value(np.ones(len(chain.data[stage][0])))
    return np.array([value(own) - base for own in weights])


WEIGHTS = np.ones((4, 8))
WEIGHTS[0, 2] = WEIGHTS[1, [0, 5]] = 0.0
WEIGHTS[2] = np.linspace(0, 2, 8)


@pytest.mark.parametrize("way", ["stacked", "loop"])
@pytest.mark.parametrize("frozen", [False, True], ids=["trainable", "frozen"])
@pytest.mark.parametrize("module", MODULES)
def test_counterfactuals_equal_retraining_both_by_hand(module, frozen, way):
    chain = trained(module, frozen=frozen)
    asked = ask(chain.last, *validation(), None, "loss", "final", None, 1)
    ensemble = ensemble_of(chain.last, asked, way=way)
    found = ensemble.changes(torch.from_numpy(WEIGHTS)).numpy()
    expected = truth(chain, WEIGHTS)
    assert np.abs(found - expected).max() <= TOLERANCE
    assert np.abs(found[:3]).min() > 1e4 * TOLERANCE
    assert found[3] == 0.0


@pytest.mark.parametrize("way", ["stacked", "loop"])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_counterfactuals_of_a_chain_of_three(optimizer, way):
    chain = trained("batch_norm", optimizer, n_stages=3, frozen=(True, False))
    asked = ask(chain.last, *validation(), None, "loss", "final", None, 2)
    ensemble = ensemble_of(chain.last, asked, way=way)
    found = ensemble.changes(torch.from_numpy(WEIGHTS)).numpy()
    assert np.abs(found - truth(chain, WEIGHTS, 2)).max() <= TOLERANCE


@pytest.mark.parametrize("stage", [1, 2])
@pytest.mark.parametrize("module", MODULES)
def test_refits_equal_retraining_all_by_hand(module, stage):
    chain = trained(module, n_stages=3, frozen=(True, False))
    before = values(chain.last.module_)
    other = chain.last.refit_without([2], stage=stage)
    expected = values(chain.retrain(WEIGHTS[0], stage)[-1])
    np.testing.assert_allclose(values(other.module_), expected, rtol=0, atol=1e-12)
    assert np.abs(values(other.module_) - before).max() > 1e-4
    change = chain.last.counterfactual_influence(*validation(), [2], stage=stage)
    X_val, y_val = validation()
    losses = [validation_loss(m.module_, X_val, y_val) for m in (other, chain.last)]
    assert abs(losses[0].mean() - losses[1].mean() - change[0]) <= 1e-12
    # What was asked is left as it was.
    assert np.array_equal(values(chain.last.module_), before)
    assert other.pretrained is not chain.last.pretrained


def test_a_refit_is_an_estimator_like_the_first():
    last = trained("batch_norm", n_stages=3, frozen=(True, False)).last
    other = last.refit_without([2, 3], stage=2)
    scores = other.influence(*validation(), stage=2)
    assert (scores[[2, 3]] == 0).all()
    assert (np.delete(scores, [2, 3]) != 0).all()
    again = other.refit_without([], stage=2)
    assert np.array_equal(values(again.module_), values(other.module_))
    same = last.refit_without([], stage="pretraining")
    assert np.array_equal(values(same.module_), values(last.module_))
    frozen = [p.requires_grad for p in last.module_.parameters()]
    assert [p.requires_grad for p in other.module_.parameters()] == frozen


@rough
def test_verified_and_checked_samples_are_the_truth():
    last = trained().last
    exact = last.counterfactual_influence(*validation(), stage=1)
    assert np.allclose(
        last.influence(*validation(), stage=1, verify=8), exact, rtol=0, atol=1e-12
    )
    check = last.check_influence(*validation(), 4, random_state=0, stage="pretraining")
    assert np.allclose(check.exact, exact[check.samples], rtol=0, atol=1e-12)
    estimated = last.influence(*validation(), stage=1)
    assert np.array_equal(check.estimated, estimated[check.samples])


def test_results_are_cached_for_their_own_stage(tmp_path):
    last = trained("mlp", n_stages=3).last
    for stage in (1, 2):
        cached = last.counterfactual_influence(
            *validation(), [0], stage=stage, memory=str(tmp_path)
        )
        direct = last.counterfactual_influence(*validation(), [0], stage=stage)
        assert cached[0] == direct[0]


# --- among scikit-learn's tools ------------------------------------------------------


def test_a_clone_keeps_what_it_starts_from(data, pretrained):
    clf = built_in(pretrained, freeze_pretrained=True)
    other = clone(clone(clf))
    assert other.pretrained is pretrained
    assert other.freeze_pretrained
    assert other.get_params().keys() == clf.get_params().keys()
    assert not any(name.startswith("pretrained__") for name in clf.get_params())
    _, _, X2, y2 = data
    fitted = clf.fit(X2, y2)
    assert not hasattr(clone(fitted), "module_")
    assert np.array_equal(
        values(clone(fitted).fit(X2, y2).module_), values(fitted.module_)
    )


def test_grid_search_in_a_pipeline_and_cleaning(data, pretrained):
    _, _, X2, y2 = data
    pipeline = make_pipeline(StandardScaler(), built_in(pretrained))
    grid = {"sgdinfluenceclassifier__freeze_pretrained": [True, False]}
    search = GridSearchCV(pipeline, grid, cv=2).fit(X2, y2)
    assert search.best_estimator_[-1].pretrained is pretrained
    cleaner = InfluenceCleaner(built_in(pretrained), n_remove=2, random_state=0)
    cleaner.fit(X2, y2)
    assert cleaner.final_estimator_.pretrained is pretrained
    assert cleaner.get_params()["estimator__pretrained"] is pretrained


def test_a_cache_tells_starts_apart(data, pretrained):
    other = built_in(random_state=3).fit(data[0], data[1][::-1].copy())
    assert digest(built_in(pretrained)) == digest(built_in(copy.deepcopy(pretrained)))
    assert digest(built_in(pretrained)) != digest(built_in(other))
    assert digest(built_in(pretrained)) != digest(built_in())


@pytest.mark.slow
def test_is_pickled_and_saved_with_all_its_stages(data, pretrained, tmp_path):
    X, y, X2, y2 = data
    middle = built_in(pretrained, freeze_pretrained=True).fit(X2, y2)
    last = built_in(middle).fit(X, y)
    last.save(tmp_path / "chain")
    loaded = load_estimator(tmp_path / "chain")
    for again in (loaded, pickle.loads(pickle.dumps(last))):
        for stage in (None, 1, 2):
            assert np.array_equal(
                again.influence(X2, y, stage=stage), last.influence(X2, y, stage=stage)
            )
    # What is loaded can be saved in its own place, and read from there.
    loaded.save(tmp_path / "chain", overwrite=True)
    assert np.array_equal(
        loaded.influence(X2, y, stage=2), last.influence(X2, y, stage=2)
    )
    plan = built_in(middle)
    plan.save(tmp_path / "plan")
    unfitted = load_estimator(tmp_path / "plan")
    assert np.array_equal(values(unfitted.fit(X, y).module_), values(last.module_))


# --- bad input -----------------------------------------------------------------------


def test_refuses_what_it_cannot_start_from(data, pretrained):
    X, y, X2, y2 = data
    with pytest.raises(NotFittedError, match="`pretrained` must be fitted and its run"):
        built_in(built_in()).fit(X2, y2)
    with pytest.raises(NotRecordedError, match="run recorded: `record` must be 'all'"):
        built_in(built_in(record=None).fit(X, y)).fit(X2, y2)
    with pytest.raises(TypeError, match="must be a fitted SGDInfluenceClassifier or"):
        built_in(pretrained.module_).fit(X2, y2)
    clf = built_in(pretrained).fit(X2, y2)
    with pytest.raises(ValueError, match="`pretrained` must be another estimator"):
        clf.set_params(pretrained=clf).fit(X2, y2)
    with pytest.warns(DivergenceWarning):
        lost = built_in(lr=1e20).fit(X, y)
    with pytest.raises(DivergedTrainingError, match="`pretrained` must be fitted"):
        built_in(lost).fit(X2, y2)


def test_refuses_modules_that_have_nothing_in_common(data, pretrained):
    X, _, X2, y2 = data
    message = (
        r"must share a parameter with the module, by name and shape. The module has "
        r"layers.0.weight \(2, 3\), layers.0.bias \(2,\); the pretrained one has "
        r"layers.0.weight \(100, 4\), layers.0.bias \(100,\), layers.2.weight"
    )
    clf = built_in(pretrained, module="linear")
    with pytest.raises(ValueError, match=message):
        clf.fit(X2[:, :3], y2)
    assert not hasattr(clf, "module_")
    with pytest.raises(ValueError, match="`freeze_pretrained` must leave something to"):
        built_in(pretrained, freeze_pretrained=True).fit(X, np.arange(20) % 3)


def test_refuses_to_set_parameters_of_what_is_fitted(pretrained):
    with pytest.raises(ValueError, match="`pretrained__lr` cannot be set"):
        built_in(pretrained).set_params(lr=0.1, pretrained__lr=0.5)
    with pytest.raises(ValueError, match="freeze_pretrained"):
        built_in(pretrained, freeze_pretrained="yes").fit([[0.0] * 4] * 4, [0, 1] * 2)


METHODS = {
    "influence": lambda clf, **options: clf.influence(*validation(), **options),
    "labels": lambda clf, **options: clf.label_influence(*validation(), **options),
    "counterfactual": lambda clf, **options: clf.counterfactual_influence(
        *validation(), [0], **options
    ),
    "refit": lambda clf, **options: clf.refit_without([0], **options),
}


@pytest.mark.parametrize("ask", METHODS.values(), ids=METHODS)
def test_refuses_stages_that_are_not_there(ask):
    chain = trained("mlp", n_stages=3)
    for stage in (3, 0, -1, True, 1.0, "fine-tuning"):
        message = f"how many stages back, 1 to 2 for this estimator, got {stage!r}"
        with pytest.raises(ValueError, match=message):
            ask(chain.last, stage=stage)
    with pytest.raises(ValueError, match="that did not start from another one, got"):
        ask(chain.estimators[2], stage="pretraining")
    with pytest.raises(ValueError, match="`last_epochs` must be None with `stage`"):
        ask(chain.last, stage=1, last_epochs=1)


@pytest.mark.parametrize("ask", METHODS.values(), ids=METHODS)
def test_refuses_a_way_back_that_is_not_there(ask):
    with pytest.raises(NotRecordedError, match="The estimator must have recorded its"):
        ask(trained("mlp", record=1).last, stage="pretraining")
    chain = trained("mlp", n_stages=3)
    chain.estimators[1].trajectory_.oldest = 2  # as record=1 leaves it
    with pytest.raises(NotRecordedError, match="The estimator 1 stages back must have"):
        ask(chain.last, stage=2)


@pytest.mark.parametrize("ask", METHODS.values(), ids=METHODS)
def test_refuses_a_start_that_has_changed(ask):
    chain = trained("mlp")
    X, y = chain.data[1]
    source = copy.deepcopy(chain.estimators[1])
    chain.estimators[1].partial_fit(X, y)
    with pytest.raises(IrreproducibleStepError, match="its parameters are others now"):
        ask(chain.last, stage=1)
    chain.last.set_params(pretrained=source)
    ask(chain.last, stage=1)
    with torch.no_grad():
        source.module_[0].weight.add_(1.0)
    with pytest.raises(IrreproducibleStepError):
        ask(chain.last, stage=1)


@pytest.mark.parametrize("ask", METHODS.values(), ids=METHODS)
def test_refuses_pretraining_data_that_has_changed(ask):
    chain = trained("mlp")
    chain.data[1][0][0] += 1
    with pytest.raises(TrainingDataChangedError, match="changed in place"):
        ask(chain.last, stage=1)


def test_samples_are_rows_of_the_stage():
    last = trained("mlp").last
    message = "`samples` must be rows of the training data, 0 to 7, got 9 to 9"
    for question in (
        lambda: last.refit_without([9], stage=1),
        lambda: last.counterfactual_influence(*validation(), [9], stage=1),
    ):
        with pytest.raises(ValueError, match=message):
            question()
    assert last.refit_without([9]).trajectory_.n_samples == 12
