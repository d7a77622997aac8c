"""The scorers on other kinds of data and modules, and through the cleaner."""

import numpy as np
import pytest
import torch
from scipy import sparse
from torch import nn

from skinfluence import InfluenceCleaner, SGDInfluenceClassifier
from skinfluence.estimators import final_model
from skinfluence.scorers import FisherKernel, GraNd, KohLiang, SelfInfluence, TracIn
from skinfluence.scorers._gradients import FinalGradients
from tests.cases import MODULES, Case
from tests.scorers.problems import binary, linear_regressor, mlp, regression


@pytest.mark.parametrize("module", MODULES)
def test_samples_gradients_are_those_of_single_samples(module, monkeypatch):
    case = Case(module, weighted=True)
    X, y, weights = case.data()
    clf = case.fitted()
    monkeypatch.setattr("skinfluence.scorers._gradients._GRADIENT_BYTES", 4000)
    gradients, roots = FinalGradients(final_model(clf)).matrix()
    expected = []
    clf.module_.eval()
    for x, target in zip(torch.from_numpy(X), torch.from_numpy(y), strict=True):
        loss = nn.functional.cross_entropy(clf.module_(x[None]), target[None])
        parts = torch.autograd.grad(loss, clf.module_.parameters())
        expected.append(torch.cat([part.reshape(-1) for part in parts]))
    torch.testing.assert_close(gradients, torch.stack(expected))
    scaled = torch.from_numpy(weights / weights.mean())
    torch.testing.assert_close(roots, scaled.sqrt())


class Parts(nn.Module):
    """A linear model of two inputs, or of one that is cut in two."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(2, 2), nn.Linear(1, 2)

    def forward(self, a, b=None):
        a, b = (a[:, :2], a[:, 2:]) if b is None else (a, b)
        return self.first(a) + self.second(b)


def as_dict(X):
    return {"a": X[:, :2], "b": X[:, 2:]}


@pytest.mark.parametrize("container", [sparse.csr_matrix, as_dict])
@pytest.mark.parametrize(
    "scorer",
    [KohLiang(damping=0.1), FisherKernel(), TracIn(), SelfInfluence(), GraNd()],
    ids=lambda scorer: type(scorer).__name__,
)
def test_containers_of_the_same_data_give_the_same_scores(scorer, container):
    X, y, X_val, y_val = binary()
    clf = SGDInfluenceClassifier(
        Parts, dtype="float64", max_epochs=3, batch_size=6, random_state=0
    )
    expected = scorer(clf.fit(X, y), X, y, X_val, y_val)
    held, held_val = container(X), container(X_val)
    found = scorer(clf.fit(held, y), held, y, held_val, y_val)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize(
    "name",
    [
        "exact",
        "koh_liang",
        "tracin",
        "self_influence",
        "grand",
        "relatif",
        "fisher_kernel",
        "learned_weights",
    ],
)
def test_the_cleaner_takes_them_by_name(name):
    X, y, X_val, y_val = binary()
    cleaner = InfluenceCleaner(mlp(), n_remove=4, scorer=name, random_state=0)
    cleaner.fit(X, y, X_val, y_val)
    assert cleaner.influence_.shape == (24,)
    assert len(np.unique(cleaner.influence_)) > 12
    assert set(cleaner.removed_indices_) == set(cleaner.influence_.argsort()[:4])


def test_the_cleaner_takes_cooks_distance_of_a_regression():
    X, y, X_val, y_val = regression()
    y[3] += 30
    cleaner = InfluenceCleaner(
        linear_regressor(max_epochs=40), n_remove=1, scorer="cook_distance"
    )
    cleaner.fit(X, y, X_val, y_val)
    assert cleaner.removed_indices_.tolist() == [3]
    with pytest.raises(ValueError, match="'linear' for the scorer 'cook_distance'"):
        InfluenceCleaner(mlp(), scorer="cook_distance").fit(X, y > 0, X_val, y_val > 0)
