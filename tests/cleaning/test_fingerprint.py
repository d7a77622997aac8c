"""The fingerprint is that of values, whatever holds them."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse

from skinfluence.cleaning import data_fingerprint

X = np.array([[1.0, -2.5, 0.0], [0.25, 3.0, 1e6], [-0.0, 8.0, 0.0]])
Y = ["a", "b", "a"]


@pytest.mark.parametrize(
    "same",
    [
        X.tolist(),
        X.astype(np.float32),
        np.asfortranarray(X),
        X[::-1][::-1],
        torch.tensor(X),
        pd.DataFrame(X, columns=[*"abc"], index=[*"xyz"]),
        pd.DataFrame(X).astype("Float64"),
    ],
    ids=lambda same: type(same).__name__,
)
def test_containers_do_not_count(same):
    assert data_fingerprint(same, np.array(Y)) == data_fingerprint(X, Y)


def test_sparse_formats_and_orders_do_not_count():
    csr = sparse.csr_matrix(X)
    shuffled = sparse.coo_matrix((csr.data[::-1], [i[::-1] for i in csr.nonzero()]))
    for same in (csr.tocsc(), shuffled, csr.astype(np.float32), sparse.csr_array(X)):
        assert data_fingerprint(same, Y) == data_fingerprint(csr, Y)


def test_tables_with_text_and_gaps():
    table = pd.DataFrame(
        {"n": [1, 2, 3], "t": ["x", None, "=y"], "f": [0.5, np.nan, 1.0]}
    )
    digest = data_fingerprint(table, Y)
    assert data_fingerprint(table.astype({"t": "category"}), Y) == digest
    assert data_fingerprint(table.to_numpy(), Y) == digest
    assert data_fingerprint(table.assign(t=["x", "", "=y"]), Y) != digest
    assert data_fingerprint(table.assign(t=["x", None, "=z"]), Y) != digest


@pytest.mark.parametrize(
    ("X_other", "y_other"),
    [
        (X[:2], Y[:2]),
        (X[[1, 0, 2]], Y),
        (X + np.eye(3) * 1e-15, Y),
        (X[:, :, None], Y),
        (X, ["a", "b", "b"]),
        (X, ["b", "a", "a"]),
    ],
)
def test_other_values_count(X_other, y_other):
    assert data_fingerprint(X_other, y_other) != data_fingerprint(X, Y)


def test_boundaries_between_texts_count():
    digests = {data_fingerprint(texts, [0, 1]) for texts in (["ab", "c"], ["a", "bc"])}
    assert len(digests) == 2


def test_large_arrays_go_by_blocks(monkeypatch):
    big = np.random.default_rng(0).normal(size=(40, 7))
    before = data_fingerprint(big, range(40))
    monkeypatch.setattr("skinfluence.cleaning._fingerprint._BLOCK", 10)
    assert data_fingerprint(big, range(40)) == before


def test_spreadsheets_do_not_take_it_for_a_number():
    assert data_fingerprint(X, Y).startswith("data-")
