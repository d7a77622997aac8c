import gzip
import hashlib
import io
import sys
from urllib.error import URLError

import numpy as np
import pandas as pd
import pytest
import sklearn.datasets
from pandas.testing import assert_frame_equal, assert_series_equal
from sklearn.utils import Bunch

from skinfluence.datasets import fetch_adult, fetch_cifar10, fetch_mnist

FETCHERS = [fetch_mnist, fetch_cifar10, fetch_adult]
FILES = {
    fetch_mnist: "mnist.npz",
    fetch_cifar10: "cifar10_train_a.npz",
    fetch_adult: "adult.csv.gz",
}
# Published numbers of test samples of each class.
MNIST_TEST = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
ADULT_TEST = {"<=50K": 12435, ">50K": 3846}


@pytest.fixture(autouse=True)
def no_local_files(monkeypatch):
    monkeypatch.delenv("SKINFLUENCE_DATA", raising=False)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    folder = tmp_path / "files"
    folder.mkdir()
    monkeypatch.setenv("SKINFLUENCE_DATA", str(folder))
    return folder


def openml(monkeypatch, name, version, answer):
    """Put a stand-in for OpenML in place, and return the calls it gets."""
    calls = []

    def fetch_openml(asked, **options):
        calls.append(options)
        assert (asked, options["version"]) == (name, version)
        return answer

    monkeypatch.setattr(sklearn.datasets, "fetch_openml", fetch_openml)
    return calls


def subsets(train, test):
    return {"train": train, "test": test, "all": np.concatenate([train, test])}


# MNIST


@pytest.fixture(scope="module")
def mnist():
    """Images of 2 x 3 pixels; as many as there are, for the counts of the test set."""
    rng = np.random.RandomState(0)
    y_test = rng.permutation(np.repeat(np.arange(10), MNIST_TEST)).astype(np.uint8)
    return {
        "x_train": rng.randint(256, size=(60000, 2, 3), dtype=np.uint8),
        "y_train": rng.randint(10, size=60000, dtype=np.uint8),
        "x_test": rng.randint(256, size=(10000, 2, 3), dtype=np.uint8),
        "y_test": y_test,
    }


def check_mnist(arrays, subset):
    bunch = fetch_mnist(subset=subset)
    images = subsets(arrays["x_train"], arrays["x_test"])[subset]
    digits = subsets(arrays["y_train"], arrays["y_test"])[subset]
    assert bunch.data.dtype == np.uint8
    assert bunch.target.dtype == np.int64
    np.testing.assert_array_equal(bunch.data, [image.ravel() for image in images])
    np.testing.assert_array_equal(bunch.target, digits)
    assert bunch.feature_names == [f"pixel{i}" for i in (1, 2, 3, 4, 5, 6)]
    assert bunch.target_names == list("0123456789")
    assert "MNIST" in bunch.DESCR


@pytest.mark.parametrize("subset", ["train", "test", "all"])
def test_mnist_from_files(folder, mnist, subset):
    few = {name: array[:5] for name, array in mnist.items()}
    np.savez(folder / "mnist.npz", **few)
    check_mnist(few, subset)


@pytest.mark.parametrize("subset", ["train", "test", "all"])
def test_mnist_from_openml(monkeypatch, mnist, subset):
    images = np.concatenate([mnist["x_train"], mnist["x_test"]]).reshape(70000, 6)
    digits = np.concatenate([mnist["y_train"], mnist["y_test"]])
    # scikit-learn's parsers give wide numbers and strings.
    answer = Bunch(data=images.astype(float), target=digits.astype(str).astype(object))
    calls = openml(monkeypatch, "mnist_784", 1, answer)
    check_mnist(mnist, subset)
    assert calls[0]["as_frame"] is False


# CIFAR-10


def webp_file(path, images, labels, rows, columns):
    """Write images as lossless pictures of `rows` x `columns` images each."""
    image_module = pytest.importorskip("PIL.Image")
    blobs, per_picture = [], rows * columns
    for start in range(0, len(images), per_picture):
        picture = image_module.new("RGB", (32 * columns, 32 * rows))
        for k, image in enumerate(images[start : start + per_picture]):
            corner = (32 * (k % columns), 32 * (k // columns))
            picture.paste(image_module.fromarray(image), corner)
        buffer = io.BytesIO()
        picture.save(buffer, "WEBP", lossless=True, exact=True)
        blobs.append(buffer.getvalue())
    np.savez(
        path,
        webp=np.frombuffer(b"".join(blobs), np.uint8),
        offsets=np.cumsum([0] + [len(blob) for blob in blobs]),
        labels=labels.astype(np.uint8),
    )


@pytest.fixture
def cifar10_images(folder):
    rng = np.random.RandomState(0)
    images = rng.randint(256, size=(30, 32, 32, 3), dtype=np.uint8)
    labels = rng.randint(10, size=30)
    parts = {"train_a": slice(12), "train_b": slice(12, 24), "test": slice(24, 30)}
    for name, part in parts.items():
        webp_file(folder / f"cifar10_{name}.npz", images[part], labels[part], 2, 3)
    return images, labels


@pytest.mark.parametrize("subset", ["train", "test", "all"])
def test_cifar10_from_files(cifar10_images, subset):
    images, labels = cifar10_images
    part = {"train": slice(24), "test": slice(24, 30), "all": slice(30)}[subset]
    bunch = fetch_cifar10(subset=subset)
    assert bunch.data.dtype == np.uint8
    assert bunch.target.dtype == np.int64
    np.testing.assert_array_equal(np.moveaxis(bunch.data, 1, -1), images[part])
    np.testing.assert_array_equal(bunch.target, labels[part])
    assert (len(bunch.target_names), bunch.target_names[6]) == (10, "frog")


def test_cifar10_from_openml(monkeypatch):
    # OpenML's rows: 1024 red values row by row, then green, then blue.
    one = np.arange(3072) % 251
    n_train = 50000
    labels = np.concatenate([np.arange(n_train) % 7, np.arange(10000) // 1000])
    answer = Bunch(
        data=np.broadcast_to(one.astype(np.uint8), (60000, 3072)),
        target=labels.astype(str).astype(object),
    )
    openml(monkeypatch, "CIFAR_10", 1, answer)
    X, y = fetch_cifar10(subset="test", return_X_y=True)
    assert X.shape == (10000, 3, 32, 32)
    assert X.dtype == np.uint8
    assert X[5, 2, 3, 4] == (2 * 1024 + 3 * 32 + 4) % 251
    assert y.dtype == np.int64
    np.testing.assert_array_equal(y, labels[n_train:])


def test_pillow_is_asked_for(cifar10_images, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ImportError, match="pip install pillow"):
        fetch_cifar10()


# Adult


@pytest.fixture(scope="module")
def adult():
    """The rows of the training set and of the test set, as strings and ints."""
    rng = np.random.RandomState(0)
    test_income = np.repeat(list(ADULT_TEST), list(ADULT_TEST.values()))
    income = np.concatenate([rng.choice(list(ADULT_TEST), 32561), test_income])
    frame = pd.DataFrame(
        {
            "age": rng.randint(17, 90, size=48842),
            "workclass": rng.choice(["State-gov", "?", "Private"], size=48842),
            "capital-gain": np.arange(48842),
            "income": income,
        }
    )
    # One kind of work that only the training set has, one that only the test set has.
    frame.loc[0, "workclass"], frame.loc[48841, "workclass"] = "Never-worked", "Armed"
    return frame.iloc[:32561], frame.iloc[32561:]


def write_adult(path, train, test):
    rows = pd.concat([train.assign(split="train"), test.assign(split="test")])
    first = rows.pop("split")
    rows.insert(0, "split", first)
    with gzip.open(path, "wt") as file:
        rows.to_csv(file, index=False)


def openml_adult(train, test):
    """Give the table as OpenML does: test set first, floats, categories unsorted."""
    frame = pd.concat([test, train], ignore_index=True).rename(
        columns={"income": "class"}
    )
    kinds = ["State-gov", "Private", "Never-worked", "Armed"]
    known = frame["workclass"].replace({"?": None})
    frame["workclass"] = pd.Categorical(known, kinds)
    frame["class"] = pd.Categorical(frame["class"], [">50K", "<=50K"])
    frame["age"] = frame["age"].astype(float)
    return Bunch(frame=frame)


def check_adult(train, test, subset):
    bunch = fetch_adult(subset=subset)
    rows = {"train": train, "test": test, "all": pd.concat([train, test])}[subset]
    kinds = ["Armed", "Never-worked", "Private", "State-gov"]
    expected = pd.DataFrame(
        {
            "age": rows["age"].tolist(),
            "workclass": pd.Categorical(
                rows["workclass"].replace({"?": None}).tolist(), kinds
            ),
            "capital-gain": rows["capital-gain"].tolist(),
        }
    )
    assert_frame_equal(bunch.data, expected)
    target = pd.Categorical(rows["income"].tolist(), ["<=50K", ">50K"])
    assert_series_equal(bunch.target, pd.Series(target, name="class"))
    assert bunch.feature_names == ["age", "workclass", "capital-gain"]
    assert bunch.target_names == ["<=50K", ">50K"]


@pytest.mark.parametrize("subset", ["train", "test", "all"])
def test_adult_from_files(folder, adult, subset):
    train, test = adult[0].head(40), adult[1].tail(20)
    write_adult(folder / "adult.csv.gz", train, test)
    check_adult(train, test, subset)


@pytest.mark.parametrize("subset", ["train", "test", "all"])
def test_adult_from_openml(monkeypatch, adult, subset):
    openml(monkeypatch, "adult", 2, openml_adult(*adult))
    check_adult(*adult, subset)


# What all have in common


def test_both_sources_give_the_same(monkeypatch, folder, adult):
    write_adult(folder / "adult.csv.gz", *adult)
    openml(monkeypatch, "adult", 2, openml_adult(*adult))
    local = fetch_adult()
    monkeypatch.setenv("SKINFLUENCE_DATA", "")
    remote = fetch_adult()
    assert local.keys() == remote.keys()
    assert_frame_equal(local.data, remote.data)
    assert_series_equal(local.target, remote.target)


def test_data_home_reaches_scikit_learn(monkeypatch, adult, tmp_path):
    calls = openml(monkeypatch, "adult", 2, openml_adult(*adult))
    fetch_adult(data_home=tmp_path)
    assert calls[0]["data_home"] == tmp_path


def test_return_X_y(folder, adult):
    write_adult(folder / "adult.csv.gz", adult[0].head(40), adult[1].tail(20))
    bunch = fetch_adult(subset="test")
    X, y = fetch_adult(subset="test", return_X_y=True)
    assert_frame_equal(X, bunch.data)
    assert_series_equal(y, bunch.target)


def test_a_table_in_another_order_is_refused(monkeypatch, adult):
    bunch = openml_adult(*adult)
    bunch.frame = bunch.frame[::-1]  # the training set first
    openml(monkeypatch, "adult", 2, bunch)
    with pytest.raises(RuntimeError, match="OpenML's table 'adult'"):
        fetch_adult()


@pytest.mark.parametrize("fetch", FETCHERS)
@pytest.mark.parametrize("subset", ["val", None])
def test_refuses_an_unknown_subset(fetch, subset):
    with pytest.raises(ValueError, match="`subset` must be 'train', 'test' or 'all'"):
        fetch(subset=subset)


@pytest.mark.parametrize("fetch", FETCHERS)
@pytest.mark.parametrize("error", [URLError("no route"), TimeoutError("too slow")])
def test_without_network_the_variable_is_named(monkeypatch, fetch, error):
    def fail(*args, **options):
        raise error

    monkeypatch.setattr(sklearn.datasets, "fetch_openml", fail)
    with pytest.raises(URLError, match="SKINFLUENCE_DATA") as caught:
        fetch()
    assert str(error) in str(caught.value)
    assert caught.value.__cause__ is error


@pytest.mark.parametrize("fetch", FETCHERS)
def test_a_missing_file_is_named(folder, fetch):
    with pytest.raises(FileNotFoundError, match=FILES[fetch]):
        fetch()


def test_a_folder_that_is_none_is_named(folder, monkeypatch):
    monkeypatch.setenv("SKINFLUENCE_DATA", str(folder / "absent"))
    with pytest.raises(NotADirectoryError, match=r"SKINFLUENCE_DATA .*absent"):
        fetch_adult()


def write_sum(folder, name, digest, mark=" "):
    (folder / "SHA256SUMS").write_text(
        f"{'0' * 64}  other.npz\n{digest} {mark}{name}\n"
    )


@pytest.mark.parametrize("mark", [" ", "*"])
def test_a_file_is_checked_once(folder, adult, monkeypatch, mark):
    path = folder / "adult.csv.gz"
    write_adult(path, adult[0].head(40), adult[1].tail(20))
    write_sum(folder, path.name, hashlib.sha256(path.read_bytes()).hexdigest(), mark)
    digest, calls = hashlib.file_digest, []
    monkeypatch.setattr(
        hashlib, "file_digest", lambda *args: calls.append(args) or digest(*args)
    )
    assert len(fetch_adult().data) == 40
    assert len(fetch_adult(subset="test").data) == 20
    assert len(calls) == 1


def test_a_damaged_file_is_named_each_time(folder, adult):
    path = folder / "adult.csv.gz"
    write_adult(path, adult[0].head(40), adult[1].tail(20))
    write_sum(folder, path.name, "ab" * 32)
    for _ in range(2):
        with pytest.raises(OSError, match=r"adult\.csv\.gz .* SHA256SUMS says abab"):
            fetch_adult()
