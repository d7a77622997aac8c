"""Class weights in the mean of a query: those of training, or balanced ones."""

import numpy as np
import pytest
from sklearn.utils.class_weight import compute_sample_weight

from skinfluence import SGDInfluenceClassifier, SGDInfluenceRegressor

rng = np.random.RandomState(0)
X, X_VAL = rng.randn(60, 4), rng.randn(25, 4)
Y, Y_VAL = (np.array(list("aab"))[rng.randint(0, 3, n)] for n in (60, 25))
OWN = rng.uniform(0.5, 2, 25)


def fitted(**options):
    options = {"max_epochs": 3, "dtype": "float64", "random_state": 0, **options}
    return SGDInfluenceClassifier("linear", **options).fit(X, Y)


def by_class(weights):
    return np.array([weights.get(label, 1.0) for label in Y_VAL])


@pytest.mark.parametrize(
    ("class_weight", "query", "expected"),
    [
        ({"a": 0.5, "b": 3.0}, "loss", by_class({"a": 0.5, "b": 3.0})),
        ({"b": 3.0}, "error", by_class({"b": 3.0})),
        ("balanced", "loss", compute_sample_weight("balanced", Y_VAL)),
        (None, "balanced_loss", compute_sample_weight("balanced", Y_VAL)),
        (None, "balanced_error", compute_sample_weight("balanced", Y_VAL)),
        ({"b": 3.0}, "balanced_loss", compute_sample_weight("balanced", Y_VAL)),
    ],
)
@pytest.mark.parametrize("own", [None, OWN])
def test_the_mean_is_the_weighted_one(class_weight, query, expected, own):
    clf = fitted(class_weight=class_weight)
    found = clf.influence(X_VAL, Y_VAL, sample_weight_val=own, query=query)
    # The influence on each sample alone has no weights.
    plain = query.removeprefix("balanced_")
    single = clf.influence(X_VAL, Y_VAL, query=plain, aggregate=None)
    shares = expected * (1 if own is None else own)
    shares = shares / shares.sum()
    across = single if single.shape[1] == len(X) else single.T
    # The same sums in another order.
    np.testing.assert_allclose(found, shares @ across, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("query", ["balanced_loss", "balanced_error"])
def test_exact_changes_are_of_the_same_mean(query):
    clf = fitted(class_weight={"a": 2.0})
    exact = clf.counterfactual_influence(X_VAL, Y_VAL, samples=[0, 1], query=query)
    before = measured(clf, query)
    for row, change in zip((0, 1), exact, strict=True):
        after = measured(clf.refit_without([row]), query)
        assert after - before == pytest.approx(change, rel=1e-6, abs=1e-12)


def measured(clf, query):
    probabilities = clf.predict_proba(X_VAL)
    own = probabilities[np.arange(len(Y_VAL)), np.searchsorted(clf.classes_, Y_VAL)]
    values = -np.log(own) if query.endswith("loss") else 1 - own
    return np.average(values, weights=compute_sample_weight("balanced", Y_VAL))


def test_weights_of_a_class_that_the_validation_data_lacks():
    clf = fitted(class_weight={"a": 2.0})
    only = Y_VAL == "b"
    np.testing.assert_allclose(
        clf.influence(X_VAL[only], Y_VAL[only]),
        fitted(class_weight={"a": 2.0}).influence(
            X_VAL[only], Y_VAL[only], sample_weight_val=np.ones(only.sum())
        ),
        rtol=1e-12,
    )


def test_bad_input():
    with pytest.raises(ValueError, match="`query` must be 'loss' or a callable for"):
        SGDInfluenceRegressor("linear", max_epochs=1).fit(X, X[:, 0]).influence(
            X_VAL, X_VAL[:, 0], query="balanced_loss"
        )


@pytest.mark.slow
@pytest.mark.parametrize(("a", "b"), [(0.25, 0.25), (0.0, 0.5), (0.4, 0.0), (0.2, 0.5)])
def test_the_balanced_error_keeps_its_ranking_under_noise_of_each_class(a, b):
    # Both classes of the labels hold exactly a share a, or b, of the other: of each
    # sample as many copies, in twentieths, as the other class has samples; and all
    # three times that are labelled 1, by which the plain error is misled.
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 3))
    y = (X[:, 0] + 0.3 * rng.normal(size=60) > 0).astype(int)
    clf = SGDInfluenceClassifier(
        "mlp", dtype="float64", max_epochs=5, batch_size=10, random_state=0
    ).fit(X[:40], y[:40])
    X_val, y_val = X[40:], y[40:]
    classes = [np.flatnonzero(y_val == k) for k in (0, 1)]
    rows, labels = [], []
    for label, wrong in ((0, a), (1, b)):
        for true, share in ((label, 1 - wrong), (1 - label, wrong)):
            copies = round(20 * share) * len(classes[1 - true]) * (1 + 2 * label)
            rows += np.repeat(classes[true], copies).tolist()
            labels += [label] * (copies * len(classes[true]))
    noisy = clf.influence(X_val[rows], np.array(labels), query="balanced_error")
    right = clf.influence(X_val, y_val, query="balanced_error")
    # float64, of sums of some hundred terms.
    np.testing.assert_allclose(
        noisy, (1 - a - b) * right, atol=1e-12 * np.abs(right).max(), rtol=0
    )
    plain = clf.influence(X_val[rows], np.array(labels), query="error")
    assert np.corrcoef(plain, right)[0, 1] < 0.99
