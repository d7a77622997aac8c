"""FisherKernel: against a dense Fisher matrix, and against a brute-force selection."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from skinfluence.scorers import FisherKernel, KohLiang, get_scorer
from tests.scorers.problems import binary, logistic, mlp


def gradients(clf, X, y):
    """Return each sample's gradient, one backward pass for each."""
    rows = []
    for x, target in zip(torch.from_numpy(X), torch.from_numpy(y), strict=True):
        loss = clf.criterion_(clf.module_(x[None]), target[None])
        parts = torch.autograd.grad(loss.sum(), clf.module_.parameters())
        rows.append(torch.cat([part.reshape(-1) for part in parts]).numpy())
    return np.array(rows)


def kernel(clf, X, y, X_val, y_val, c, v, damping):
    """Return √c-weighted kernels among the samples and with the validation mean."""
    c = c * len(c) / c.sum()
    G = np.sqrt(c)[:, None] * gradients(clf, X, y)
    target = np.average(gradients(clf, X_val, y_val), axis=0, weights=v)
    inverse = np.linalg.inv(G.T @ G / len(X) + damping * np.eye(G.shape[1]))
    return G @ inverse @ G.T, G @ inverse @ target, np.sqrt(c)


@pytest.mark.parametrize("n", [24, 60], ids=["few", "many"])  # of 26 parameters
@pytest.mark.parametrize("damping", ["auto", 0.5])
def test_rank_is_the_dense_formula(n, damping):
    X, y, X_val, y_val = binary(n)
    c, v = np.linspace(0.2, 1, n), np.linspace(1, 2, len(X_val))
    clf = mlp().fit(X, y, sample_weight=c)
    scorer = FisherKernel(damping=damping)
    found = scorer(clf, X, y, X_val, y_val, sample_weight_val=v)
    if damping == "auto":
        G = gradients(clf, X, y)
        fisher = (G.T * (c / c.sum())) @ G
        expected = 0.1 * np.trace(fisher) / len(fisher)
        assert scorer.damping_ == pytest.approx(expected, rel=1e-9)
    _, pulls, roots = kernel(clf, X, y, X_val, y_val, c, v, scorer.damping_)
    # A condition number of up to 1e4 above the rounding error.
    expected = roots * pulls / n
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9 * abs(expected).max())


def test_sbq_is_the_brute_force_selection():
    X, y, X_val, y_val = binary(12)
    X[5], y[5] = X[4], y[4]  # a duplicate adds nothing
    c, v = np.ones(12), np.ones(len(X_val))
    clf = mlp().fit(X, y)
    scorer = FisherKernel("sbq", damping=0.05)
    found = scorer(clf, X, y, X_val, y_val)
    K, z, _ = kernel(clf, X, y, X_val, y_val, c, v, 0.05)
    chosen: list[int] = []
    expected = np.zeros(12)

    def represented(rows):
        """Return the part of the validation mean that some rows represent."""
        return z[rows] @ np.linalg.solve(K[np.ix_(rows, rows)], z[rows])

    for k in range(11):
        left = {*range(12)} - {5, *chosen}
        best = max(left, key=lambda j: represented([*chosen, j]))
        before = K[best, chosen] @ np.linalg.solve(K[np.ix_(chosen, chosen)], z[chosen])
        expected[best] = np.sign(z[best] - before) * (12 - k)
        chosen.append(best)
    # Of the two alike either may come first.
    alike = sorted([found[4], found[5]], key=abs)
    assert alike == [0.0, expected[4]]
    rest = np.delete(np.arange(12), [4, 5])
    assert np.array_equal(found[rest], expected[rest])


def test_is_koh_liang_where_fisher_matrix_and_hessian_agree():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(4000, 3))
    y = (rng.uniform(size=4000) < 1 / (1 + np.exp(-X @ [1.0, -1.0, 0.5]))).astype(int)
    clf = logistic(max_epochs=5, batch_size=100, optimizer__weight_decay=0.0)
    clf.fit(X[:3000], y[:3000])
    data = clf, X[:3000], y[:3000], X[3000:], y[3000:]
    fisher, hessian = FisherKernel(damping=0.05)(*data), KohLiang(damping=0.05)(*data)
    # The model is the one that made the labels: they differ by sampling, 1/sqrt(n).
    assert np.corrcoef(fisher, hessian)[0, 1] > 0.99
    assert np.polyfit(fisher, hessian, 1)[0] == pytest.approx(1, abs=0.1)


def test_needs_no_record_and_is_for_the_final_model():
    X, y, X_val, y_val = binary()
    found = [
        FisherKernel()(logistic(record=record).fit(X, y), X, y, X_val, y_val)
        for record in ("all", None)
    ]
    assert np.array_equal(*found)


def test_says_what_it_needs(monkeypatch):
    with pytest.raises(TypeError, match="for the scorer 'fisher_kernel', got Logistic"):
        FisherKernel().check_estimator(LogisticRegression())
    with pytest.raises(ValueError, match=r"`selection` must be one of .*, got 'best'"):
        FisherKernel("best").check_estimator(logistic())
    for damping in (0, -1.0, np.inf, "none"):
        with pytest.raises(ValueError, match="`damping` must be 'auto' or a finite"):
            FisherKernel(damping=damping).check_estimator(logistic())
    assert isinstance(get_scorer("fisher_kernel"), FisherKernel)
    X, y, X_val, y_val = binary()
    clf = logistic().fit(X, y)
    monkeypatch.setattr("skinfluence.scorers._fisher_kernel._MOST_BYTES", 700)
    with pytest.raises(ValueError, match="24 of 32 bytes are more than 700"):
        FisherKernel()(clf, X, y, X_val, y_val)
