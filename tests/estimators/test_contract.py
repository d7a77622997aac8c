"""The estimators among scikit-learn's: its own checks, its tools, its containers."""

import copy
import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse
from sklearn.base import clone
from sklearn.metrics import r2_score
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.estimator_checks import parametrize_with_checks
from skorch.callbacks import EpochScoring
from skorch.dataset import ValidSplit
from torch import nn

from skinfluence import (
    InfluenceCleaner,
    SGDInfluenceClassifier,
    SGDInfluenceRegressor,
    load_estimator,
)

N_SAMPLES, N_FEATURES = 60, 5


# Some checks have features of any scale, on which a default learning rate diverges.
diverging = pytest.mark.filterwarnings(
    "ignore::skinfluence.exceptions.DivergenceWarning"
)


@diverging
@parametrize_with_checks([SGDInfluenceClassifier(), SGDInfluenceRegressor()])
def test_scikit_learn_finds_nothing_wrong(estimator, check):
    check(estimator)


@pytest.mark.slow
@diverging
@parametrize_with_checks(
    [
        SGDInfluenceClassifier(optimizer__momentum=0.9),
        SGDInfluenceClassifier(record=None),
    ]
)
def test_scikit_learn_finds_nothing_wrong_with_options(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def data():
    """Return three classes that a linear model can tell: X, y, X_val, y_val."""
    rng = np.random.default_rng(0)
    y = np.arange(N_SAMPLES) % 3
    X = rng.normal(size=(N_SAMPLES, N_FEATURES))
    X[:, :3] += 2.0 * np.eye(3)[y]
    X_val = rng.normal(size=(9, N_FEATURES))
    return X, y, X_val, np.arange(9) % 3


def classifier(**options):
    options = {"max_epochs": 3, "batch_size": 16, "random_state": 0, **options}
    return SGDInfluenceClassifier(**options)


def same_weights(one, other):
    return all(
        torch.equal(mine, theirs)
        for mine, theirs in zip(
            one.module_.parameters(), other.module_.parameters(), strict=True
        )
    )


def test_pipeline(data):
    X, y, X_val, y_val = data
    pipeline = make_pipeline(StandardScaler(), classifier()).fit(X, y)
    scaler, last = pipeline[0], pipeline[-1]
    alone = classifier().fit(scaler.transform(X), y)
    assert same_weights(last, alone)
    assert pipeline.score(X, y) == alone.score(scaler.transform(X), y)
    np.testing.assert_array_equal(
        last.influence(scaler.transform(X_val), y_val),
        alone.influence(scaler.transform(X_val), y_val),
    )


def test_grid_search_over_the_module_and_the_learning_rate(data):
    X, y, X_val, y_val = data
    grid = {"module__hidden_layer_sizes": [(3,), (8, 4)], "lr": [1e-6, 0.5]}
    search = GridSearchCV(classifier(max_epochs=10), grid, cv=3).fit(X, y)
    # A learning rate of nothing learns nothing.
    assert search.best_params_["lr"] == 0.5
    assert search.best_score_ > 0.7
    best = search.best_estimator_
    widths = tuple(layer.out_features for layer in best.module_.layers[:-1:2])
    assert widths == search.best_params_["module__hidden_layer_sizes"]
    assert np.abs(best.influence(X_val, y_val)).max() > 0


def test_cross_validation_equals_fits_by_hand(data):
    X, y, _, _ = data
    folds = [(np.arange(20, 60), np.arange(20)), (np.arange(40), np.arange(40, 60))]
    found = cross_val_score(classifier(), X, y, cv=folds)
    by_hand = [
        classifier().fit(X[train], y[train]).score(X[test], y[test])
        for train, test in folds
    ]
    assert found.tolist() == by_hand


def test_clone_is_unfitted_and_fits_alike(data):
    X, y, _, _ = data
    clf = classifier(
        module__hidden_layer_sizes=(4,),
        optimizer__momentum=0.5,
        criterion__label_smoothing=0.1,
    )
    other = clone(clf)
    assert other.get_params(deep=False) == clf.get_params(deep=False)
    other = clone(clf.fit(X, y))
    assert not hasattr(other, "module_")
    assert same_weights(other.fit(X, y), clf)


def test_clone_copies_a_module_instance(data):
    X, y, _, _ = data
    module = nn.Linear(N_FEATURES, 3)
    clf = clone(classifier(module=module)).fit(X.astype(np.float32), y)
    assert clf.module is not module
    assert torch.equal(clf.module.weight, module.weight)


@pytest.mark.parametrize("copied", ["pickle", "deepcopy"])
@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.Adam])
def test_copies_answer_alike_and_train_on_alike(data, copied, optimizer):
    X, y, X_val, y_val = data
    clf = classifier(optimizer=optimizer, lr=0.01).fit(X, y)
    expected = clf.influence(X_val, y_val)
    copies = {
        "pickle": lambda c: pickle.loads(pickle.dumps(c)),
        "deepcopy": copy.deepcopy,
    }
    other = copies[copied](clf)
    assert other.get_params().keys() == clf.get_params().keys()
    np.testing.assert_array_equal(other.influence(X_val, y_val), expected)
    np.testing.assert_array_equal(other.predict_proba(X), clf.predict_proba(X))
    # What the copy does next is its own affair, and the same.
    other.partial_fit(X, y)
    np.testing.assert_array_equal(clf.influence(X_val, y_val), expected)
    clf.partial_fit(X, y)
    assert same_weights(other, clf)
    np.testing.assert_array_equal(
        other.influence(X_val, y_val), clf.influence(X_val, y_val)
    )


def test_pickle_does_not_hold_the_data_twice(data):
    X = np.tile(data[0], (100, 1))
    y = np.tile(data[1], 100)
    clf = classifier(module="linear", record=None, max_epochs=1).fit(X, y)
    # X once, the targets, and what little else there is.
    assert len(pickle.dumps(clf)) < 1.5 * (X.nbytes + y.nbytes)


def test_parameters_set_after_a_fit_are_those_of_the_next(data):
    X, y, _, _ = data
    fresh = classifier(
        optimizer__momentum=0.9,
        optimizer__weight_decay=0.1,
        lr=0.01,
        module__hidden_layer_sizes=(4,),
        iterator_train__drop_last=True,
    ).fit(X, y)
    changed = classifier(optimizer__momentum=0.5).fit(X, y)
    changed.set_params(optimizer__momentum=0.9, optimizer__weight_decay=0.1, lr=0.01)
    changed.set_params(module__hidden_layer_sizes=(4,), iterator_train__drop_last=True)
    params = changed.get_params()
    assert params["optimizer__momentum"] == 0.9
    assert same_weights(changed.fit(X, y), fresh)
    assert changed.optimizer_.param_groups[0]["momentum"] == 0.9
    assert same_weights(clone(changed).fit(X, y), fresh)


def test_keywords_set_as_attributes_are_parameters_too(data):
    X, y, _, _ = data
    fresh = classifier(optimizer__momentum=0.9, module__bias=False, module="linear")
    changed = classifier(optimizer__momentum=0.5, module="linear").fit(X, y)
    changed.optimizer__momentum = 0.9  # in place of one given to `__init__`
    changed.module__bias = False
    for net in (changed, clone(changed), copy.deepcopy(changed)):
        assert net.optimizer__momentum == 0.9
        assert net.get_params()["module__bias"] is False
        assert same_weights(net.fit(X, y), fresh.fit(X, y))
    # The last one counts, however it was set.
    changed.set_params(optimizer__momentum=0.1)
    assert changed.get_params()["optimizer__momentum"] == 0.1
    assert changed.fit(X, y).optimizer_.param_groups[0]["momentum"] == 0.1


def test_a_misspelt_keyword_set_as_an_attribute_is_refused(data):
    X, y, _, _ = data
    clf = classifier()
    clf.modul__bias = False
    with pytest.raises(ValueError, match="modul__bias"):
        clf.fit(X, y)


def test_an_instance_set_as_an_attribute_is_a_parameter(data):
    X, y, _, _ = data
    clf = classifier()
    clf.module, clf.criterion = nn.Linear(5, 3).double(), nn.CrossEntropyLoss()
    clf.fit(X, y)
    clf.module = nn.Linear(5, 3, bias=False).double()
    assert clf.fit(X, y).module_.bias is None
    assert clf.module_ is not clf.module


def test_another_optimizer_after_a_fit(data):
    X, y, X_val, y_val = data
    clf = classifier(lr=0.01).fit(X, y)
    before = clf.influence(X_val, y_val)
    clf.set_params(optimizer=torch.optim.Adam)
    # The run that was recorded is still the same one.
    np.testing.assert_array_equal(clf.influence(X_val, y_val), before)
    fresh = classifier(lr=0.01, optimizer=torch.optim.Adam).fit(X, y)
    assert same_weights(clf.fit(X, y), fresh)


def test_learning_rate_set_after_a_fit_leaves_the_recorded_run(data):
    X, y, X_val, y_val = data
    clf = classifier(optimizer__momentum=0.5).fit(X, y)
    before = clf.influence(X_val, y_val)
    clf.set_params(lr=7.0, optimizer__momentum=0.1, max_epochs=9)
    np.testing.assert_array_equal(clf.influence(X_val, y_val), before)


def test_string_labels_in_a_data_frame(data):
    X, y, X_val, y_val = data
    names = np.array(["yes", "maybe", "no"])
    frame, frame_val = (pd.DataFrame(a, columns=list("abcde")) for a in (X, X_val))
    clf = classifier().fit(frame, pd.Series(names[y]))
    assert clf.classes_.tolist() == ["maybe", "no", "yes"]
    assert clf.feature_names_in_.tolist() == list("abcde")
    assert set(clf.predict(frame)) <= set(names)
    assert clf.score(frame, names[y]) > 0.5
    # The same run with the labels' places in alphabetical order.
    places = np.array([2, 0, 1])
    plain = classifier().fit(X, places[y])
    np.testing.assert_array_equal(
        clf.influence(frame_val, names[y_val]), plain.influence(X_val, places[y_val])
    )


@pytest.mark.parametrize("use_caching", [True, False])
def test_callbacks_score_string_labels(data, use_caching):
    X, y, _, _ = data
    names = np.array(["no", "maybe", "yes"])

    def scores(labels):
        callback = EpochScoring("accuracy", name="own", use_caching=use_caching)
        split = ValidSplit(3, stratified=True)
        clf = classifier(train_split=split, callbacks=[callback], max_epochs=9)
        clf.fit(X, labels)
        return clf.history[:, "own"], clf.history[:, "valid_acc"]

    own, valid = scores(names[y])
    assert own == valid
    assert max(own) > 0.5
    assert (own, valid) == scores(np.array([1, 0, 2])[y])  # as the names are sorted


def test_classes_may_be_given_in_any_order(data):
    X, y, X_val, y_val = data
    clf = classifier(classes=[2, 0, 1, 3]).fit(X, y)
    assert clf.classes_.tolist() == [2, 0, 1, 3]
    assert clf.predict_proba(X).shape == (N_SAMPLES, 4)
    # Classes are outputs by their place in `classes`.
    places = np.array([1, 2, 0])
    plain = classifier(classes=[0, 1, 2, 3]).fit(X, places[y])
    np.testing.assert_array_equal(clf.predict_proba(X), plain.predict_proba(X))
    np.testing.assert_array_equal(places[clf.predict(X)], plain.predict(X))
    np.testing.assert_array_equal(
        clf.influence(X_val, y_val), plain.influence(X_val, places[y_val])
    )


@pytest.mark.parametrize(
    ("dtype", "trained_in"),
    [
        (np.float64, torch.float64),
        (np.float32, torch.float32),
        (np.float16, torch.float32),
        (np.int64, torch.float32),
        (np.uint8, torch.float32),
        (bool, torch.float32),
    ],
)
def test_dtypes(data, dtype, trained_in):
    X, y, X_val, y_val = data
    X, X_val = ((10 * (a > 0)).astype(dtype) for a in (X, X_val))
    clf = classifier(lr=0.01).fit(X, y)
    assert clf.dtype_ == trained_in
    # All these values are exact in either precision.
    plain = {torch.float32: np.float32, torch.float64: np.float64}[trained_in]
    other = classifier(lr=0.01).fit(X.astype(plain), y)
    assert same_weights(clf, other)
    np.testing.assert_array_equal(
        clf.influence(X_val, y_val), other.influence(X_val.astype(plain), y_val)
    )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dtype_parameter(data, dtype):
    X, y, X_val, y_val = data
    clf = classifier(dtype=dtype).fit(X, y)
    other = classifier().fit(X.astype(dtype), y)
    assert clf.predict_proba(X).dtype == dtype
    assert same_weights(clf, other)
    np.testing.assert_array_equal(
        clf.influence(X_val, y_val), other.influence(X_val.astype(dtype), y_val)
    )


@pytest.mark.parametrize(
    "container", [sparse.csr_matrix, sparse.csr_array, sparse.coo_array]
)
def test_sparse_equals_dense(data, container):
    X, y, X_val, y_val = data
    X, X_val = (a * (a > 0.5) for a in (X, X_val))
    clf, dense = classifier().fit(container(X), y), classifier().fit(X, y)
    # Batches are made dense: these are the same numbers, so the same bits.
    assert same_weights(clf, dense)
    expected = dense.influence(X_val, y_val)
    np.testing.assert_array_equal(clf.influence(container(X_val), y_val), expected)
    np.testing.assert_array_equal(clf.influence(X_val, y_val), expected)
    np.testing.assert_array_equal(clf.predict(container(X)), dense.predict(X))


@pytest.mark.parametrize("make", [lambda a: a[::-1], np.asfortranarray, torch.tensor])
def test_memory_layouts(data, make):
    X, y, X_val, y_val = data
    clf = classifier().fit(make(X), y)
    plain = classifier().fit(np.ascontiguousarray(make(X)), y)
    assert same_weights(clf, plain)
    np.testing.assert_array_equal(
        clf.influence(make(X_val), y_val),
        plain.influence(np.ascontiguousarray(make(X_val)), y_val),
    )


@pytest.mark.parametrize("class_weight", [{"a": 0.5, "b": 3.0}, "balanced"])
def test_class_weight_is_a_sample_weight(data, class_weight):
    X, _, X_val, _ = data
    y = np.array(["a", "b", "b", "c", "b"] * (N_SAMPLES // 5))
    y_val = np.array(["a", "b", "c"] * 3)
    clf = classifier(class_weight=class_weight).fit(X, y)
    weights = compute_sample_weight(class_weight, y)
    weighted = classifier().fit(X, y, sample_weight=weights)
    assert same_weights(clf, weighted)
    assert not same_weights(clf, classifier().fit(X, y))
    asked = compute_sample_weight(class_weight, y_val)
    np.testing.assert_allclose(
        clf.influence(X_val, y_val),
        weighted.influence(X_val, y_val, sample_weight_val=asked),
        # The weights are scaled by other powers of 2, and rounded in between.
        rtol=1e-6,
        atol=1e-9,
    )


def test_class_weight_multiplies_with_the_samples(data):
    X, y, _, _ = data
    own = np.random.default_rng(1).uniform(0.1, 2.0, N_SAMPLES)
    both = classifier(class_weight={0: 2.0}).fit(X, y, sample_weight=own)
    product = classifier().fit(X, y, sample_weight=own * np.where(y == 0, 2.0, 1.0))
    assert same_weights(both, product)


@pytest.mark.parametrize("scale", [0.25, 3.0])
def test_sample_weight_has_no_scale(data, scale):
    X, y, X_val, y_val = data
    weights = np.random.default_rng(1).uniform(0.1, 2.0, N_SAMPLES)
    one = classifier().fit(X, y, sample_weight=weights)
    other = classifier().fit(X, y, sample_weight=scale * weights)
    # A power of two scales without rounding; 3 costs an ulp, which training enlarges.
    tolerance = 0.0 if scale == 0.25 else 1e-12
    for mine, theirs in zip(
        one.module_.parameters(), other.module_.parameters(), strict=True
    ):
        torch.testing.assert_close(mine, theirs, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(
        one.influence(X_val, y_val),
        other.influence(X_val, y_val),
        rtol=0.0,
        atol=tolerance,
    )


def test_equal_weights_are_none(data):
    X, y, X_val, y_val = data
    one = classifier().fit(X, y, sample_weight=np.full(N_SAMPLES, 4.0))
    other = classifier().fit(X, y)
    assert same_weights(one, other)
    np.testing.assert_array_equal(
        one.influence(X_val, y_val), other.influence(X_val, y_val)
    )


def regressor(**options):
    options = {"max_epochs": 3, "batch_size": 16, "random_state": 0, **options}
    return SGDInfluenceRegressor(**options)


def test_regression_targets_of_one_and_two_axes(data):
    X, _, X_val, _ = data
    y, y_val = X @ np.arange(5.0), X_val @ np.arange(5.0)
    flat, column = regressor().fit(X, y), regressor().fit(X, y[:, None])
    assert flat.predict(X).shape == (N_SAMPLES,)
    assert column.predict(X).shape == (N_SAMPLES, 1)
    # One output is one output: the same weights, the same losses.
    assert same_weights(flat, column)
    np.testing.assert_array_equal(flat.predict(X), column.predict(X)[:, 0])
    np.testing.assert_array_equal(
        flat.influence(X_val, y_val), column.influence(X_val, y_val[:, None])
    )
    wide = regressor().fit(X, np.column_stack([y, -y]))
    assert wide.predict(X).shape == (N_SAMPLES, 2)


@pytest.mark.slow
@pytest.mark.parametrize("criterion", [nn.BCEWithLogitsLoss, nn.BCELoss])
@pytest.mark.parametrize("shape", [(), (1,), (3,)])
def test_a_regressor_of_binary_targets_predicts_probabilities(data, criterion, shape):
    X, *_ = data
    y = (X[:, :3] > 0).astype(float).reshape(len(X), 3)
    y = y[:, 0].reshape(-1, *shape) if shape != (3,) else y
    layers = [nn.Linear(X.shape[1], 1 if shape == () else shape[0])]
    if criterion is nn.BCELoss:
        layers.append(nn.Sigmoid())
    reg = regressor(
        module=nn.Sequential(*layers), criterion=criterion, dtype="float64"
    ).fit(X, y)
    with torch.no_grad():
        outputs = reg.module_(torch.from_numpy(X).double())
    logits = outputs if criterion is nn.BCEWithLogitsLoss else outputs.logit()
    # The sigmoid and back, in double precision.
    np.testing.assert_allclose(
        reg.predict(X), logits.sigmoid().numpy().reshape(y.shape), rtol=1e-12
    )
    assert reg.score(X, y) == r2_score(y, reg.predict(X))
    assert reg.influence(X, y).shape == (len(X),)
    cleaner = InfluenceCleaner(reg, n_remove="auto", random_state=0).fit(X, y)
    assert cleaner.predict(X).shape == y.shape
    plain = clone(reg).set_params(predict_nonlinearity=None).fit(X, y)
    np.testing.assert_array_equal(plain.predict(X), outputs.numpy().reshape(y.shape))


def test_integer_targets_keep_their_digits(data):
    X, _, _, _ = data
    # 2**25 + 1 is no float32.
    y = 2**25 + np.arange(N_SAMPLES)
    integers = regressor(module="linear", lr=1e-3).fit(X, y)
    floats = regressor(module="linear", lr=1e-3).fit(X, y.astype(np.float64))
    assert same_weights(integers, floats)
    assert integers.score(X, y) == floats.score(X, y)


def test_what_fit_learns(data):
    X, y, _, _ = data
    clf = classifier().fit(X, y)
    assert clf.n_features_in_ == N_FEATURES
    assert clf.n_outputs_ == 3
    assert (clf.n_steps_, clf.n_epochs_) == (12, 3)
    assert clf.trajectory_.n_steps == 12
    assert clf.trajectory_.n_samples == N_SAMPLES
    # What belongs to a call does not outlive it.
    assert "run_" not in vars(clf)


def test_refit_forgets_the_fit_before(data):
    X, y, X_val, y_val = data
    clf = classifier().fit(X[:, :2], y == 0).fit(X, y)
    fresh = classifier().fit(X, y)
    assert same_weights(clf, fresh)
    assert clf.trajectory_.n_steps == fresh.trajectory_.n_steps
    np.testing.assert_array_equal(
        clf.influence(X_val, y_val), fresh.influence(X_val, y_val)
    )


@pytest.mark.slow
@pytest.mark.parametrize("integer", [np.int64, np.int32, np.uint8])
def test_parameters_may_be_numpys_numbers(data, integer, tmp_path):
    X, y, X_val, y_val = data

    def fitted(number, real, folder, **options):
        return classifier(
            max_epochs=number(4),
            lr=real(0.25),
            record=number(2),
            checkpoint_every=number(2),
            trajectory_dir=tmp_path / folder,
            **{name: number(value) for name, value in options.items()},
        ).fit(X, y)

    for name in ("batch_size", "iterator_train__batch_size"):
        plain = fitted(int, float, "plain", **{name: 7})
        own = fitted(integer, np.float32, "own", **{name: 7})
        assert own.trajectory_.n_steps == plain.trajectory_.n_steps
        expected = plain.influence(X_val, y_val)
        np.testing.assert_array_equal(own.influence(X_val, y_val), expected)
        own.save(tmp_path / "saved", overwrite=True)
        loaded = load_estimator(tmp_path / "saved")
        np.testing.assert_array_equal(loaded.influence(X_val, y_val), expected)
