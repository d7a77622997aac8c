"""The kept samples come back in what they came in."""

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.exceptions import NotFittedError

from skinfluence.cleaning import InfluenceCleaner
from tests.cleaning.problems import flipped_blobs, quick


@pytest.fixture(scope="module")
def blobs():
    return flipped_blobs()


CONTAINERS = {
    "array": np.asarray,
    "list": lambda X: X.tolist(),
    "frame": lambda X: pd.DataFrame(
        X, columns=list("abcd"), index=np.arange(len(X)) + 7
    ),
    "csr": sparse.csr_matrix,
    "csc": sparse.csc_matrix,
    "coo": sparse.coo_array,
}


@pytest.mark.parametrize("container", CONTAINERS)
def test_containers_give_the_same_ranking_and_come_back(blobs, container):
    X, y, *_ = blobs
    given = CONTAINERS[container](X)
    labels = pd.Series(y, name="label", dtype="category") if container == "frame" else y
    cleaner = InfluenceCleaner(quick(dtype="float32"), n_remove=12, random_state=0)
    X_kept, y_kept = cleaner.fit_resample(given, labels)
    expected = InfluenceCleaner(quick(), n_remove=12, random_state=0).fit(X, y)
    kept = expected.sample_indices_
    assert np.array_equal(cleaner.sample_indices_, kept)
    assert type(X_kept) is type(given)
    dense = X_kept.toarray() if sparse.issparse(given) else np.asarray(X_kept)
    assert np.array_equal(dense, X[kept])
    if container == "frame":
        assert X_kept.equals(given.iloc[kept])
        assert y_kept.equals(labels.iloc[kept])
        assert y_kept.dtype == labels.dtype
        assert cleaner.feature_names_in_.tolist() == list("abcd")
    else:
        assert np.array_equal(y_kept, y[kept])


def test_mixed_dtypes_come_back():
    rng = np.random.default_rng(0)
    X = pd.DataFrame(
        {
            "number": rng.normal(size=60),
            "count": rng.integers(5, size=60).astype(np.int16),
            "flag": rng.integers(2, size=60).astype(bool),
        }
    )
    y = pd.Series(np.where(X["number"] > 0, "yes", "no"))
    X_kept, y_kept = InfluenceCleaner(quick(), random_state=0).fit_resample(X, y)
    assert X_kept.dtypes.equals(X.dtypes)
    assert y_kept.dtype == y.dtype
    assert len(X_kept) == len(y_kept) == 57
    X_list, y_list = InfluenceCleaner(quick(), random_state=0).fit_resample(
        X.astype(float).to_numpy().tolist(), y.tolist()
    )
    assert isinstance(X_list, list)
    assert y_list == y_kept.tolist()


def test_fit_resample_leaves_no_final_estimator(blobs):
    X, y, *_ = blobs
    cleaner = InfluenceCleaner(quick(), random_state=0).fit(X, y)
    cleaner.fit_resample(X, y)
    assert not hasattr(cleaner, "final_estimator_")
    with pytest.raises(NotFittedError, match="no final estimator after fit_resample"):
        cleaner.predict(X)
    assert list(cleaner.to_frame()) == ["score", "label", "removed"]
