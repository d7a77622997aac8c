"""scikit-learn's own checks of an estimator."""

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


@parametrize_with_checks(
    [
        InfluenceCleaner(),
        InfluenceCleanerCV(
            SGDInfluenceClassifier(max_epochs=6, lr=0.5), n_removes=(0, 0.1), cv=2
        ),
        InfluenceCleaner(output="representation"),
        InfluenceCleaner(SGDInfluenceRegressor(optimizer=Adam, lr=0.02)),
    ],
    expected_failed_checks=lambda estimator: REPEATS,
)
def test_estimator_checks(estimator, check):
    check(estimator)
