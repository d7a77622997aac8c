import sys

import numpy as np
import pytest
import torch
from scipy.stats import rankdata, spearmanr

from benchmarks.peers import measure
from benchmarks.peers.problem import Fidelity, load
from skinfluence.metrics import linear_datamodeling_score


@pytest.fixture(scope="module")
def problem():
    return load(
        "easy",
        n_train=60,
        n_val=30,
        max_epochs=2,
        batch_size=20,
        module__hidden_layer_sizes=(4,),
    )


def test_plain_training_gives_the_shared_run(problem):
    run = problem.train()
    here = torch.nn.utils.parameters_to_vector(run.module.parameters())
    trajectory = problem.clf.trajectory_
    # Single precision: the order of sums may differ between the two loops.
    final = trajectory.state(trajectory.n_steps).parameters
    torch.testing.assert_close(here.detach(), final, rtol=1e-5, atol=1e-6)
    assert len(run.epoch_ends) == 2


def test_a_missing_peer_is_skipped_with_a_message(problem, monkeypatch, capsys):
    for name in {"cleanlab", *sys.modules}:
        if name.partition(".")[0] == "cleanlab":
            monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, "benchmarks.peers.cleanlab_quality", raising=False)
    found = measure.methods(problem, ["cleanlab_quality", "random_scores"])
    assert [method.name for method in found] == ["random"]
    assert "cleanlab_quality skipped" in capsys.readouterr().err


def test_fidelity_is_that_of_scipy_and_of_the_metrics(problem, tmp_path):
    fidelity = Fidelity(problem, tmp_path, n_samples=12, n_subsets=8, seed=3)
    scores = np.random.default_rng(0).normal(size=60)
    found = fidelity(scores)

    X_val, y_val = problem.X_val, problem.y_val
    alone = problem.clf.counterfactual_influence(X_val, y_val, fidelity.samples)
    expected = spearmanr(scores[fidelity.samples], alone).statistic
    assert found["Spearman"] == pytest.approx(expected, abs=1e-12)
    lds = linear_datamodeling_score(
        problem.clf, scores, X_val, y_val, n_subsets=8, keep=0.9, random_state=3
    )
    assert found["LDS"] == pytest.approx(lds, abs=1e-12)
    # Average precision: the mean, over the flipped, of the precision at their rank.
    ranks = rankdata(scores)[problem.flipped]
    precision = np.mean([(ranks <= rank).sum() / rank for rank in ranks])
    assert found["precision"] == pytest.approx(precision, abs=1e-12)


def test_a_table_has_a_row_for_each_method_that_ran(problem, tmp_path):
    fidelity = Fidelity(problem, tmp_path, n_samples=12, n_subsets=8)
    final, *_, chance = measure.methods(problem, ["ours", "random_scores"])
    found = measure.compare(problem, fidelity, [final, chance], rounds=2)
    rows = {row["method"]: row for row in found}
    assert rows.keys() == {final.name, chance.name}
    # Training again agrees with what estimates it, and not with chance.
    assert rows[final.name]["LDS"] > 0.8 > rows[chance.name]["LDS"]
    for row in rows.values():
        assert row["sum s"] == row["fit s"] + row["scoring s"]
