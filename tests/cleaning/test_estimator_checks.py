"""scikit-learn's own checks of an estimator."""

import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.utils.estimator_checks import parametrize_with_checks
from torch.optim import Adam

from skinfluence import SGDInfluenceClassifier, SGDInfluenceRegressor
from skinfluence.cleaning import InfluenceCleaner, InfluenceCleanerCV
from tests.cases import rough

# The checks' data is not scaled, and their training is as rough as the warning says.
pytestmark = rough

# Samples that are repeated in place of a weight are split, ranked and counted one by
# one: other samples are held out, and another number is removed.
REPEATS = {
    f"check_sample_weight_equivalence_on_{kind}_data": "samples are split and counted"
    for kind in ("dense", "sparse")
}


def expected(estimator):
    return REPEATS


@parametrize_with_checks([InfluenceCleaner()], expected_failed_checks=expected)
def test_estimator_checks(estimator, check):
    check(estimator)


# The folds' models, and the last one, are of another kind: of five trained networks two
# are left, those that rank.
@pytest.mark.slow
@parametrize_with_checks(
    [
        InfluenceCleanerCV(
            SGDInfluenceClassifier("linear", max_epochs=2, lr=0.01),
            final_estimator=LogisticRegression(),
            n_removes=(0.1, 0.2),
            cv=2,
            validation_fraction=0.2,
        ),
        InfluenceCleaner(
            SGDInfluenceClassifier(max_epochs=6, lr=0.5), output="representation"
        ),
        InfluenceCleaner(
            SGDInfluenceRegressor(optimizer=Adam, lr=0.05, max_epochs=5),
        ),
    ],
    expected_failed_checks=expected,
)
def test_estimator_checks_of_other_cleaners(estimator, check):
    check(estimator)
