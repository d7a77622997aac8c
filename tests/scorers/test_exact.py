"""ExactCounterfactual: against training again, one sample at a time."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from skinfluence import SGDInfluenceClassifier
from skinfluence.exceptions import NotRecordedError
from skinfluence.scorers import ExactCounterfactual, get_scorer
from tests.scorers.problems import binary, logistic


def mean_loss(clf, X, y, weights=None):
    with torch.no_grad():
        outputs = clf.module_(torch.from_numpy(X))[:, 0]
        losses = torch.nn.functional.softplus(-outputs * torch.from_numpy(2.0 * y - 1))
    return np.average(losses.numpy(), weights=weights)


@pytest.mark.slow
@pytest.mark.parametrize("last_epochs", [None, 2])
def test_is_the_change_by_training_without_each_sample(tmp_path, last_epochs):
    X, y, X_val, y_val = binary()
    clf = logistic().fit(X, y)
    weights = np.linspace(0.5, 2, len(y_val))
    scorer = ExactCounterfactual("final", last_epochs, memory=tmp_path)
    found = scorer(clf, X, y, X_val, y_val, sample_weight_val=weights)
    before = mean_loss(clf, X_val, y_val, weights)
    expected = [
        mean_loss(
            clf.refit_without([sample], last_epochs=last_epochs), X_val, y_val, weights
        )
        - before
        for sample in range(len(X))
    ]
    # Many runs at once are summed in another order than one alone.
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-13)
    assert any(tmp_path.iterdir())


def test_asks_the_epochs_by_default_and_goes_by_its_name():
    X, y, X_val, y_val = binary()
    clf = logistic(max_epochs=3).fit(X, y)
    scorer = get_scorer("exact", last_epochs=2)
    assert isinstance(scorer, ExactCounterfactual)
    expected = clf.counterfactual_influence(X_val, y_val, at="epochs", last_epochs=2)
    found = scorer(clf, X, y, X_val, y_val)
    # How many runs are taken at once follows a trial's times, and rounding with it.
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-14)


def test_says_what_the_estimator_lacks():
    with pytest.raises(TypeError, match="for the scorer 'exact', got LogisticReg"):
        ExactCounterfactual().check_estimator(LogisticRegression())
    with pytest.raises(NotRecordedError, match="scorer 'exact', got record=None"):
        ExactCounterfactual().check_estimator(SGDInfluenceClassifier(record=None))
