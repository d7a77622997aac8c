"""Autoencoder: the error is that of what was trained, and outliers have a large one."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.metrics import roc_auc_score

from skinfluence.scorers import Autoencoder, get_scorer


@pytest.fixture(scope="module")
def digits():
    """Return digits, some with their pixels in disorder, and which these are."""
    X, _ = load_digits(return_X_y=True)
    X = X[:400] / 16 + 3
    rng = np.random.default_rng(0)
    strange = np.arange(400) % 20 == 7
    X[strange] = rng.permuted(X[strange], axis=1)
    return X, strange


@pytest.mark.parametrize("shape", [(-1, 64), (-1, 1, 8, 8)])
def test_score_is_minus_the_error_of_the_trained_net(digits, shape, monkeypatch):
    X = digits[0].reshape(shape)
    nets = []
    regressor = Autoencoder._regressor

    def keeping(self, scaled):
        nets.append(regressor(self, scaled))
        return nets[-1]

    monkeypatch.setattr(Autoencoder, "_regressor", keeping)
    scores = Autoencoder(max_epochs=3, random_state=0)(None, X)
    flat = X.reshape(len(X), -1)
    mean, spread = (X.mean(), X.std()) if X.ndim == 4 else (flat.mean(0), flat.std(0))
    rows = ((flat - mean) / np.where(spread == 0, 1, spread)).astype(np.float32)
    with torch.no_grad():
        restored = nets[0].module_.eval()(torch.from_numpy(rows).reshape(shape)).numpy()
    # The net works in single precision.
    np.testing.assert_allclose(
        scores, -((restored - rows) ** 2).mean(1), rtol=1e-4, atol=1e-6
    )


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(-1, 64), (-1, 1, 8, 8)])
def test_outliers_have_the_lowest_scores(digits, shape):
    X, strange = digits
    scores = Autoencoder(random_state=0)(None, X.reshape(shape))
    # Of clean digits some are unlike all others too.
    assert roc_auc_score(~strange, scores) > 0.95


@pytest.mark.slow
def test_restores_at_least_as_much_as_principal_components():
    # What lies in a curved two-dimensional surface has more than two components.
    rng = np.random.default_rng(0)
    angle, height = rng.uniform(0, 3, (2, 300))
    X = np.stack([np.cos(angle), np.sin(angle), height, angle**2], axis=1)
    scaled = (X - X.mean(0)) / X.std(0)
    components = PCA(2).fit(scaled)
    linear = components.inverse_transform(components.transform(scaled))
    scores = Autoencoder(2, max_epochs=300, lr=0.01, random_state=0)(None, X)
    assert -scores.mean() < np.square(scaled - linear).mean()


def test_containers_and_units_make_no_difference(digits):
    X, _ = digits
    scorer = Autoencoder(max_epochs=2, random_state=0)
    expected = scorer(None, X)
    np.testing.assert_allclose(scorer(None, pd.DataFrame(X)), expected)
    np.testing.assert_allclose(scorer(None, sparse.csr_matrix(X)), expected)
    # Scaled by powers of two, which leave all digits alone.
    np.testing.assert_allclose(scorer(None, X * 2.0 ** (np.arange(64) % 5)), expected)


def test_scores_follow_their_seed(digits):
    X, _ = digits
    scores = [Autoencoder(max_epochs=1, random_state=s)(None, X) for s in (0, 0, 1)]
    assert np.array_equal(scores[0], scores[1])
    assert not np.array_equal(scores[0], scores[2])


def test_odd_sizes_of_images():
    X = np.random.default_rng(0).normal(size=(5, 3, 7, 10))
    assert Autoencoder(max_epochs=1, random_state=0)(None, X).shape == (5,)


def test_refuses_bad_input():
    with pytest.raises(ValueError, match=r"2-D, or images .* got shape \(4, 3, 2\)"):
        Autoencoder()(None, np.zeros((4, 3, 2)))
    with pytest.raises(ValueError, match="NaN"):
        Autoencoder()(None, np.full((4, 2), np.nan))
    with pytest.raises(ValueError, match="`width` must be an integer of at least 1, g"):
        Autoencoder(0)(None, np.zeros((4, 2)))
    with pytest.raises(ValueError, match="`max_epochs` must be an integer of at"):
        Autoencoder(max_epochs=-1)(None, np.zeros((4, 2)))


def test_name():
    assert isinstance(get_scorer("autoencoder", at="path"), Autoencoder)
