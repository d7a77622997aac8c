"""scikit-learn's own checks of an estimator, none of them expected to fail."""

from sklearn.utils.estimator_checks import parametrize_with_checks
from torch.optim import Adam

from skinfluence import SGDInfluenceRegressor
from skinfluence.cleaning import InfluenceCleaner, InfluenceCleanerCV
from tests.cases import rough

# The checks' data is not scaled, and their training is as rough as the warning says.
pytestmark = rough


@parametrize_with_checks(
    [
        InfluenceCleaner(),
        InfluenceCleanerCV(n_removes=(0, 0.1), cv=2),
        InfluenceCleaner(output="representation"),
        InfluenceCleaner(SGDInfluenceRegressor(optimizer=Adam, lr=0.02)),
    ]
)
def test_estimator_checks(estimator, check):
    check(estimator)
