"""scikit-learn's own checks of an estimator, none of them expected to fail."""

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks
from torch.optim import Adam

from skinfluence import SGDInfluenceRegressor
from skinfluence.cleaning import InfluenceCleaner, InfluenceCleanerCV

# The checks' data is not scaled, and their training is as rough as the warning says.
pytestmark = pytest.mark.filterwarnings(
    "ignore::skinfluence.exceptions.InfluenceReliabilityWarning"
)


@parametrize_with_checks(
    [
        InfluenceCleaner(),
        InfluenceCleanerCV(n_removes=(0, 0.1), cv=2),
        InfluenceCleaner(transform="representation"),
        InfluenceCleaner(SGDInfluenceRegressor(optimizer=Adam, lr=0.02)),
    ]
)
def test_estimator_checks(estimator, check):
    check(estimator)
