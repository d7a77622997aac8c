"""The files that SKINFLUENCE_DATA names, if any, against published facts."""

import os

import numpy as np
import pytest

from skinfluence.datasets import (
    fetch_20newsgroups,
    fetch_adult,
    fetch_cifar10,
    fetch_mnist,
)

pytestmark = pytest.mark.skipif(
    not os.environ.get("SKINFLUENCE_DATA"), reason="SKINFLUENCE_DATA is not set"
)


def test_mnist():
    bunch = fetch_mnist()
    assert bunch.data.shape == (60000, 784)
    assert bunch.target[:5].tolist() == [5, 0, 4, 1, 9]
    counts = np.bincount(fetch_mnist(subset="test").target)
    assert counts.tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    # The mean and deviation that PyTorch's examples normalize by.
    assert bunch.data.mean() / 255 == pytest.approx(0.1307, abs=5e-5)
    assert bunch.data.std() / 255 == pytest.approx(0.3081, abs=5e-5)


def test_cifar10():
    bunch = fetch_cifar10(subset="all")
    assert bunch.data.shape == (60000, 3, 32, 32)
    names = [bunch.target_names[label] for label in bunch.target[:5]]
    assert names == ["frog", "truck", "truck", "deer", "automobile"]
    assert np.bincount(bunch.target[50000:]).tolist() == [1000] * 10
    means = bunch.data[:50000].mean(axis=(0, 2, 3)) / 255
    assert means == pytest.approx([0.4914, 0.4822, 0.4465], abs=6e-5)


def test_adult():
    train, test = fetch_adult(), fetch_adult(subset="test")
    assert train.data.shape == (32561, 14)
    assert train.target.value_counts().to_dict() == {"<=50K": 24720, ">50K": 7841}
    assert test.target.value_counts().to_dict() == {"<=50K": 12435, ">50K": 3846}
    assert (train.data.dtypes == "int64").sum() == 6
    assert (train.data.dtypes == "category").sum() == 8
    assert train.data["occupation"].isna().sum() == 1843
    assert (train.data.dtypes == test.data.dtypes).all()


def test_newsgroups():
    # The example in the docstring of scikit-learn's fetcher.
    bunch = fetch_20newsgroups(categories=["alt.atheism", "sci.space"])
    assert bunch.target.shape == (1073,)
    assert bunch.target[:10].tolist() == [0, 1, 1, 1, 0, 1, 1, 0, 0, 0]
    pair = ["comp.sys.ibm.pc.hardware", "comp.sys.mac.hardware"]
    assert len(fetch_20newsgroups(categories=pair, subset="test").data) == 392 + 385
    assert len(fetch_20newsgroups(subset="all").data) == 18846
