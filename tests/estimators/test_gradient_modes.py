"""Where the caller has turned gradients off, all is as where they are on."""

import numpy as np
import pytest
import torch

from skinfluence import SGDInfluenceRegressor
from skinfluence.scorers import get_scorer
from tests.cases import Case

OFF = {"no_grad": torch.no_grad, "inference_mode": torch.inference_mode}

QUESTIONS = {
    "influence": lambda clf, *data: clf.influence(*data, verify=1),
    "influence_by_epoch": lambda clf, *data: clf.influence_by_epoch(*data),
    "label_influence": lambda clf, *data: clf.label_influence(*data),
    "feature_influence": lambda clf, *data: clf.feature_influence(*data),
    "recipe_influence": lambda clf, *data: clf.recipe_influence(
        *data
    ).epochs.to_numpy(),
    "addition_influence": lambda clf, *data: clf.addition_influence(*data, *data),
    "counterfactual_influence": lambda clf, *data: clf.counterfactual_influence(
        *data, [0, 3]
    ),
    "check_influence": lambda clf, *data: (
        clf.check_influence(*data, n_samples=4, random_state=0).exact
    ),
    "refit_without": lambda clf, *data: clf.refit_without([0]).influence(*data),
    **{
        name: lambda clf, *data, name=name: get_scorer(name)(
            clf, *Case().data()[:2], *data
        )
        for name in ("koh_liang", "tracin", "fisher_kernel", "exact", "self_influence")
    },
}


@pytest.mark.parametrize("name", QUESTIONS)
@pytest.mark.parametrize("off", OFF.values(), ids=OFF)
def test_questions(off, name):
    clf, data = Case("mlp").fitted(), Case().validation()
    expected = QUESTIONS[name](clf, *data)
    with off():
        found = QUESTIONS[name](clf, *data)
        assert not torch.is_grad_enabled()
    # Stacks of runs are tried for their speed: other sizes round otherwise.
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-14)
    assert np.abs(expected).max() > 1e-6


@pytest.mark.parametrize("off", OFF.values(), ids=OFF)
def test_training(off):
    case = Case("batch_norm", "adam")
    clf = case.fitted()
    clf.partial_fit(*case.data()[:2])
    with off():
        other = case.fitted()
        other.partial_fit(*case.data()[:2])
    for own, theirs in zip(
        clf.module_.parameters(), other.module_.parameters(), strict=True
    ):
        assert torch.equal(own, theirs)
        assert not theirs.is_inference()
    np.testing.assert_array_equal(
        other.influence(*case.validation()), clf.influence(*case.validation())
    )


@pytest.mark.parametrize("off", OFF.values(), ids=OFF)
def test_questions_to_a_regressor(off):
    X = np.random.default_rng(0).normal(size=(12, 3))
    reg = SGDInfluenceRegressor("linear", lr=0.01, max_epochs=2, random_state=0)
    reg.fit(X, X[:, 0])
    slopes, bound = (
        reg.target_influence(X, X[:, 1]),
        reg.influence_error_bound(X, X[:, 1]),
    )
    with off():
        np.testing.assert_array_equal(reg.target_influence(X, X[:, 1]), slopes)
        assert repr(reg.influence_error_bound(X, X[:, 1])) == repr(bound)
