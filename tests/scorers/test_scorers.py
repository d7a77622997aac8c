"""The scorers against what they are defined by, and how they are asked for."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_iris
from sklearn.ensemble import IsolationForest
from sklearn.linear_model import LinearRegression, LogisticRegression, RidgeClassifier
from sklearn.metrics import log_loss
from sklearn.neighbors import KernelDensity, LocalOutlierFactor
from sklearn.preprocessing import StandardScaler
from sklearn.svm import OneClassSVM
from skorch.dataset import ValidSplit

from skinfluence import SGDInfluenceClassifier, SGDInfluenceRegressor
from skinfluence.estimators import represent
from skinfluence.exceptions import NotRecordedError
from skinfluence.scorers import (
    Loss,
    Outlier,
    Random,
    SGDInfluence,
    get_scorer,
    named_scorers,
)
from skinfluence.scorers._base import NAMED_SCORERS


@pytest.fixture(scope="module")
def iris():
    X, y = load_iris(return_X_y=True)
    X = StandardScaler().fit_transform(X)
    return X[::2], y[::2], X[1::4], y[1::4]


def test_influence_is_the_estimators(iris):
    X, y, X_val, y_val = iris
    clf = SGDInfluenceClassifier(max_epochs=4, random_state=0).fit(X, y)
    weights = np.linspace(0.5, 2, len(y_val))
    found = SGDInfluence("path", last_epochs=2)(
        clf, X, y, X_val, y_val, sample_weight_val=weights
    )
    expected = clf.influence(
        X_val, y_val, sample_weight_val=weights, at="path", last_epochs=2
    )
    assert np.array_equal(found, expected)
    verified = SGDInfluence("final", verify=3)(clf, X, y, X_val, y_val)
    expected = clf.influence(X_val, y_val, verify=3)
    # How many runs are taken at once follows a trial's times, and rounding with it.
    np.testing.assert_allclose(verified, expected, rtol=1e-9, atol=1e-14)
    default = SGDInfluence()(clf, X, y, X_val, y_val)
    assert np.array_equal(default, clf.influence(X_val, y_val, at="epochs"))


def runs_by_hand(clf, X, y, count):
    """Return the classifier, and clones with the seeds that follow from its own."""
    rng = np.random.RandomState(clf.seed_)
    seeds = [int(rng.randint(2**31 - 1)) for _ in range(count - 1)]
    others = (clone(clf).set_params(random_state=seed).fit(X, y) for seed in seeds)
    return [clf, *others]


def test_influence_over_several_runs_is_the_mean_of_clones(iris):
    X, y, X_val, y_val = iris
    clf = SGDInfluenceClassifier(max_epochs=2, random_state=np.random.RandomState(1))
    clf.fit(X, y)
    scorer = SGDInfluence("path", query="error", n_runs=3)
    runs = runs_by_hand(clf, X, y, 3)
    expected = np.mean(
        [run.influence(X_val, y_val, at="path", query="error") for run in runs], axis=0
    )
    found = scorer(clf, X, y, X_val, y_val)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    by_label = scorer.by_label(clf, X, y, X_val, y_val)
    options = {"at": "path", "query": "error"}
    expected = np.mean(
        [run.label_influence(X_val, y_val, **options) for run in runs], axis=0
    )
    # Zeros, of the labels that the samples have, are zeros up to rounding.
    np.testing.assert_allclose(by_label, expected, rtol=1e-12, atol=1e-18)


def test_influence_that_no_run_knows_is_none(iris):
    X, y, X_val, y_val = iris
    # Rows 0 to 24 are never trained on.
    split = ValidSplit([(np.arange(25, len(y)), np.arange(25))])
    clf = SGDInfluenceClassifier(max_epochs=2, random_state=0, train_split=split)
    scores = SGDInfluence(n_runs=2)(clf.fit(X, y), X, y, X_val, y_val)
    assert (scores[:25] == 0).all()
    assert (scores[25:] != 0).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_runs": 0}, "`n_runs` must be an integer of at least 1, got 0"),
        ({"n_runs": 2.0}, "`n_runs` must be an integer of at least 1, got 2.0"),
        ({"n_runs": 2, "verify": 3}, "`verify` must be 0 with n_runs > 1"),
    ],
)
def test_refuses_what_is_no_number_of_runs(options, message, iris):
    with pytest.raises(ValueError, match=message):
        SGDInfluence(**options).check_estimator(SGDInfluenceClassifier())
    X, y, X_val, y_val = iris
    clf = SGDInfluenceClassifier(max_epochs=2, random_state=0).fit(X, y)
    with pytest.raises(ValueError, match=message):
        SGDInfluence(**options).by_label(clf, X, y, X_val, y_val)


def test_negative_influence_means_that_removal_helps(iris):
    X, y, X_val, y_val = iris
    clf = SGDInfluenceClassifier(
        "linear", max_epochs=4, dtype="float64", random_state=0
    ).fit(X, y)
    scores = SGDInfluence("final")(clf, X, y, X_val, y_val)
    before = log_loss(y_val, clf.predict_proba(X_val))
    for sample, sign in ((scores.argmin(), -1), (scores.argmax(), 1)):
        without = clf.refit_without([sample]).predict_proba(X_val)
        change = log_loss(y_val, without) - before
        assert np.sign(change) == sign
        # A linear estimate of a small change.
        assert change == pytest.approx(scores[sample], rel=0.2)


@pytest.mark.parametrize("labels", [[0, 1, 2], ["b", "c", "a"]])
@pytest.mark.parametrize("batch_size", [7, 64])
def test_loss_of_a_net_is_its_criterions(iris, labels, batch_size):
    X, y = iris[0], np.array(labels)[iris[1]]
    clf = SGDInfluenceClassifier(
        module__dropout=0.5, max_epochs=3, batch_size=batch_size, random_state=0
    ).fit(X, y, sample_weight=np.linspace(0.1, 1, len(y)))
    likely = clf.predict_proba(X)[np.arange(len(y)), np.searchsorted(clf.classes_, y)]
    scores = Loss()(clf, X, y, None, None)
    assert scores.dtype == np.float64
    # The probabilities are in single precision.
    np.testing.assert_allclose(scores, np.log(likely), rtol=1e-5)


@pytest.mark.parametrize("n_outputs", [None, 2])
@pytest.mark.parametrize(
    "regressor", [SGDInfluenceRegressor(random_state=0), LinearRegression()]
)
def test_loss_of_a_regressor_is_the_squared_error(regressor, n_outputs):
    X, y = load_diabetes(return_X_y=True)
    y = (y - y.mean()) / y.std()
    if n_outputs:
        y = np.stack([y, y[::-1]], axis=1)
    scores = Loss()(regressor.fit(X, y), X, y)
    errors = (y - regressor.predict(X)) ** 2
    expected = -(errors.mean(axis=1) if n_outputs else errors)
    np.testing.assert_allclose(scores, expected, rtol=1e-4, atol=1e-6)


def test_loss_of_a_classifier_is_the_logarithmic_loss(iris):
    X, y = iris[0], np.array(["b", "a", "c"])[iris[1]]
    clf = LogisticRegression().fit(X, y)
    scores = Loss()(clf, X, y)
    assert -scores.mean() == pytest.approx(log_loss(y, clf.predict_proba(X)))
    # An impossible label has the lowest score, and a finite one.
    clf.coef_ *= 1e6
    wrong = np.roll(clf.classes_, 1)[np.searchsorted(clf.classes_, clf.predict(X))]
    assert np.isfinite(Loss()(clf, X, wrong)).all()


@pytest.mark.parametrize(
    ("detector", "expected"),
    [
        (IsolationForest(random_state=0), lambda d, X: d.fit(X).score_samples(X)),
        (LocalOutlierFactor(), lambda d, X: d.fit(X).negative_outlier_factor_),
        (OneClassSVM(), lambda d, X: d.fit(X).score_samples(X)),
        (KernelDensity(), lambda d, X: d.fit(X).score_samples(X)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_outlier_scores_are_the_detectors(iris, detector, expected):
    X = iris[0].copy()
    X[5] = 30.0
    scorer = get_scorer(detector)
    assert isinstance(scorer, Outlier)
    scores = scorer(None, X, iris[1], None, None)
    assert np.array_equal(scores, expected(clone(detector), X))
    assert scores.argmin() == 5
    assert not hasattr(detector, "offset_")


def test_outliers_among_representations(iris):
    X, y, *_ = iris
    clf = SGDInfluenceClassifier(max_epochs=2, random_state=0).fit(X, y)
    detector = LocalOutlierFactor()
    scores = Outlier(detector, features="representation")(clf, X, y)
    hidden = represent(clf, X)
    assert np.array_equal(scores, clone(detector).fit(hidden).negative_outlier_factor_)
    images = X.reshape(-1, 1, 2, 2)
    assert np.array_equal(Outlier(detector)(None, images), Outlier(detector)(None, X))
    with pytest.raises(TypeError, match="a network for features='representation'"):
        Outlier(detector, "representation").check_estimator(LogisticRegression())
    with pytest.raises(ValueError, match=r"`features` must be .*, got 'raw'"):
        Outlier(detector, "raw").check_estimator(clf)


def test_random_scores_follow_their_seed():
    X = np.zeros((1000, 1))
    scores = Random(random_state=3)(None, X, None, None, None)
    assert np.array_equal(scores, Random(random_state=3)(None, X))
    assert not np.array_equal(scores, Random(random_state=4)(None, X))
    assert scores.mean() == pytest.approx(0.5, abs=0.05)


def test_names_stand_for_scorers_with_options():
    scorer = get_scorer("influence", at="path", last_epochs=3)
    assert scorer.get_params() == {
        "at": "path",
        "last_epochs": 3,
        "query": "loss",
        "smoothing": None,
        "n_runs": 1,
        "n_jobs": None,
        "verify": 0,
    }
    assert isinstance(get_scorer("loss", at="path", last_epochs=3), Loss)
    assert isinstance(get_scorer("random", at="path"), Random)
    assert repr(clone(scorer)) == "SGDInfluence(at='path', last_epochs=3)"


def test_scorers_and_functions_stand_for_themselves():
    def scorer(estimator, X, y, X_val, y_val):
        return np.zeros(len(X))

    loss = Loss()
    assert get_scorer(scorer, at="path") is scorer
    assert get_scorer(loss) is loss


def test_scorers_have_names():
    def mine(estimator, X, y, X_val, y_val):
        return np.zeros(len(X))

    loss = Loss()
    given = {"loss": "loss", "Random": Random(), "mine": mine}
    assert named_scorers(list(given.values())) == given
    assert named_scorers({"b": "loss", "a": loss}) == {"b": "loss", "a": loss}
    for wrong in ("loss", [], {}, [Loss(), Loss()]):
        with pytest.raises(ValueError, match="`scorers` must"):
            named_scorers(wrong)


@pytest.mark.parametrize(
    ("scorer", "error", "message"),
    [
        (
            "influenze",
            ValueError,
            r"`scorer` must be one of \[.*'influence',.* 'loss',.* 'random'.*\], an "
            "outlier detector or a callable, got 'influenze'",
        ),
        (3, TypeError, "an outlier detector or a callable, got 3"),
        (Loss, TypeError, "must be an instance, got the class Loss: call it"),
        (StandardScaler(), TypeError, r"or a callable, got StandardScaler\(\)"),
    ],
)
def test_refuses_what_is_no_scorer(scorer, error, message):
    with pytest.raises(error, match=message):
        get_scorer(scorer)


def test_says_which_estimators_cannot_be_scored():
    with pytest.raises(TypeError, match="a method `influence` for the scorer"):
        SGDInfluence().check_estimator(LogisticRegression())
    with pytest.raises(NotRecordedError, match="got record=None"):
        SGDInfluence().check_estimator(SGDInfluenceClassifier(record=None))
    with pytest.raises(TypeError, match="`get_losses`, have"):
        Loss().check_estimator(RidgeClassifier())
    for estimator in (SGDInfluenceClassifier(record=1), SGDInfluenceRegressor()):
        SGDInfluence().check_estimator(estimator)
        Loss().check_estimator(estimator)
    Loss().check_estimator(LogisticRegression())
    Loss().check_estimator(LinearRegression())


OWN = {"cook_distance", "ekfac", "fisher_kernel", "koh_liang"}
RECORDED = {
    "area_under_margin",
    "dvemb",
    "el2n",
    "exact",
    "forgetting",
    "grand",
    "influence",
    "learned_weights",
    "mean_loss",
    "mean_rank",
    "probability_margin",
    "relatif",
    "self_influence",
    "source",
    "tracin",
}
FOREIGN = {
    "autoencoder",
    "beta_shapley",
    "confident_learning",
    "data_banzhaf",
    "data_oob",
    "data_shapley",
    "edited_neighbours",
    "knn_shapley",
    "loss",
    "margin",
    "random",
}
VALIDATED = {
    "beta_shapley",
    "data_banzhaf",
    "data_shapley",
    "dvemb",
    "ekfac",
    "exact",
    "fisher_kernel",
    "influence",
    "knn_shapley",
    "koh_liang",
    "learned_weights",
    "mean_rank",
    "relatif",
    "source",
    "tracin",
}
QUICK = {"max_epochs": 2, "n_estimators": 5, "n_permutations": 1, "n_subsets": 2}
# What refuses is the first of its parts.
REFUSES = {"mean_rank": "influence"}


def skip_without(name):
    if name == "ekfac":
        pytest.importorskip("kronfluence")


def test_the_groups_below_hold_every_name():
    assert set(NAMED_SCORERS) == OWN | RECORDED | FOREIGN


@pytest.mark.parametrize("name", sorted(OWN | RECORDED | FOREIGN))
def test_refuses_a_foreign_estimator_or_scores_with_it(iris, name):
    X, y, X_val, y_val = (part[::3] for part in iris)
    clf = LogisticRegression().fit(X, y)
    scorer = get_scorer(name, random_state=0, **QUICK)
    if name in FOREIGN:
        assert scorer(clf, X, y, X_val, y_val).shape == (len(y),)
        return
    name = REFUSES.get(name, name)
    with pytest.raises(TypeError, match=f"the scorer '{name}', got LogisticRegr"):
        scorer(clf, X, y, X_val, y_val)


@pytest.mark.parametrize("name", sorted(OWN | RECORDED | FOREIGN))
def test_refuses_an_estimator_without_a_record_or_scores_with_it(iris, name):
    skip_without(name)
    X, y, X_val, y_val = (part[::3] for part in iris)
    X, y = X[y < 2], y[y < 2]
    X_val, y_val = X_val[y_val < 2], y_val[y_val < 2]
    clf = SGDInfluenceClassifier(
        "linear", max_epochs=2, record=None, random_state=0
    ).fit(X, y)
    scorer = get_scorer(name, random_state=0, **QUICK)
    if name not in RECORDED:
        assert scorer(clf, X, y, X_val, y_val).shape == (len(y),)
        return
    name = REFUSES.get(name, name)
    with pytest.raises(NotRecordedError, match=f"'{name}', got record=None"):
        scorer(clf, X, y, X_val, y_val)


@pytest.mark.parametrize("name", sorted(OWN | RECORDED | FOREIGN))
def test_refuses_to_do_without_validation_data_that_it_needs(iris, name):
    skip_without(name)
    X, y, *_ = (part[::3] for part in iris)
    X, y = X[y < 2], y[y < 2]
    clf = SGDInfluenceClassifier("linear", max_epochs=2, random_state=0).fit(X, y)
    scorer = get_scorer(name, random_state=0, **QUICK)
    if name not in VALIDATED:
        assert scorer(clf, X, y).shape == (len(y),)
        return
    name = REFUSES.get(name, name)
    with pytest.raises(ValueError, match=f"`X_val` must be given .*'{name}', got None"):
        scorer(clf, X, y)


def test_a_subclass_has_a_name_only_if_it_is_given_one():
    class Mine(Loss):
        pass

    with pytest.raises(TypeError, match="for the scorer 'Mine', got RidgeClassifier"):
        Mine().check_estimator(RidgeClassifier())
    assert Mine not in NAMED_SCORERS.values()
