"""The fetchers: one interface to scikit-learn's downloads and to local files."""

from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils import Bunch

from .._values import check_boolean
from . import _local, _remote
from ._remote import Home
from ._subsets import check_home, rows_of, splits_of

_CIFAR10_CLASSES = "airplane automobile bird cat deer dog frog horse ship truck"


def fetch_mnist(
    *, subset: str = "train", data_home: Home = None, return_X_y: bool = False
) -> Any:
    """Load MNIST: 28 x 28 greyscale images of handwritten digits (classification).

    Downloads the data if it is not in scikit-learn's cache.

    ==============  =============================
    Classes         10
    Samples         60,000 train, 10,000 test
    Dimensionality  784
    Features        uint8, 0 (paper) to 255 (ink)
    ==============  =============================

    Parameters
    ----------
    subset : {'train', 'test', 'all'}, default='train'
        The original training set, the test set, or both, training set first.
    data_home : str or path-like, default=None
        The cache folder; by default that of scikit-learn.
    return_X_y : bool, default=False
        If True, return ``(data, target)`` instead of a Bunch.

    Returns
    -------
    Bunch or tuple
        Its attributes are ``data``, an ndarray of shape (n_samples, 784) and dtype
        uint8, a flattened image in each row; ``target``, an ndarray of shape
        (n_samples,) and dtype int64, the digits; ``feature_names``; ``target_names``;
        and ``DESCR``. With ``return_X_y=True`` the tuple ``(data, target)``.

    Raises
    ------
    ValueError
        If ``subset`` is not one of the three.
    URLError
        If the data is not cached and cannot be downloaded.

    Notes
    -----
    The data is OpenML's table ``mnist_784``, version 1, by
    :func:`sklearn.datasets.fetch_openml`. If the environment variable
    ``SKINFLUENCE_DATA`` names a folder, the file ``mnist.npz`` there is read instead,
    with the arrays ``x_train`` and ``x_test`` of shape (n_samples, 28, 28), ``y_train``
    and ``y_test``; it is checked against the file ``SHA256SUMS``, if there is one.

    References
    ----------
    .. [1] Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-Based Learning
       Applied to Document Recognition", Proceedings of the IEEE 86(11), 1998.

    Examples
    --------
    >>> from skinfluence.datasets import fetch_mnist
    >>> X, y = fetch_mnist(return_X_y=True)  # doctest: +SKIP
    >>> X.shape  # doctest: +SKIP
    (60000, 784)
    """
    check_boolean("return_X_y", return_X_y)
    check_home(data_home)
    splits, folder = splits_of(subset), _local.local_folder()
    if folder is None:
        data, target = _remote.mnist(data_home, splits)
    else:
        data, target = _local.mnist(folder, splits)
    bunch = Bunch(
        data=data,
        target=target,
        feature_names=[f"pixel{i + 1}" for i in range(data.shape[1])],
        target_names=[str(digit) for digit in range(10)],
        DESCR="MNIST: 28 x 28 images of handwritten digits, LeCun et al. (1998).",
    )
    return (bunch.data, bunch.target) if return_X_y else bunch


def fetch_cifar10(
    *, subset: str = "train", data_home: Home = None, return_X_y: bool = False
) -> Any:
    """Load CIFAR-10: 32 x 32 colour images of ten kinds of objects (classification).

    Downloads the data if it is not in scikit-learn's cache.

    ==============  =============================
    Classes         10
    Samples         50,000 train, 10,000 test
    Dimensionality  3 x 32 x 32
    Features        uint8, 0 to 255
    ==============  =============================

    Parameters
    ----------
    subset : {'train', 'test', 'all'}, default='train'
        The original training set, the test set, or both, training set first.
    data_home : str or path-like, default=None
        The cache folder; by default that of scikit-learn.
    return_X_y : bool, default=False
        If True, return ``(data, target)`` instead of a Bunch.

    Returns
    -------
    Bunch or tuple
        Its attributes are ``data``, an ndarray of shape (n_samples, 3, 32, 32) and
        dtype uint8, the images with the channels red, green and blue first, as in
        PyTorch; ``target``, an ndarray of shape (n_samples,) and dtype int64,
        indices into ``target_names``; ``target_names``; and ``DESCR``. With
        ``return_X_y=True`` the tuple ``(data, target)``.

    Raises
    ------
    ValueError
        If ``subset`` is not one of the three.
    URLError
        If the data is not cached and cannot be downloaded.
    ImportError
        If local files are read and Pillow is not installed.

    Notes
    -----
    The data is OpenML's table ``CIFAR_10``, version 1, by
    :func:`sklearn.datasets.fetch_openml`. If the environment variable
    ``SKINFLUENCE_DATA`` names a folder, the files ``cifar10_train_a.npz``,
    ``cifar10_train_b.npz`` and ``cifar10_test.npz`` there are read instead. Their array
    ``webp`` (bytes) holds lossless pictures, which start at ``offsets``, each a grid of
    images, row by row; ``labels`` are the classes. They are checked against the file
    ``SHA256SUMS``, if there is one.

    References
    ----------
    .. [1] A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images",
       University of Toronto, 2009.

    Examples
    --------
    >>> from skinfluence.datasets import fetch_cifar10
    >>> X, y = fetch_cifar10(subset="test", return_X_y=True)  # doctest: +SKIP
    >>> X.shape  # doctest: +SKIP
    (10000, 3, 32, 32)
    """
    check_boolean("return_X_y", return_X_y)
    check_home(data_home)
    splits, folder = splits_of(subset), _local.local_folder()
    if folder is None:
        data, target = _remote.cifar10(data_home, splits)
    else:
        data, target = _local.cifar10(folder, splits)
    bunch = Bunch(
        data=data,
        target=target,
        target_names=_CIFAR10_CLASSES.split(),
        DESCR="CIFAR-10: 32 x 32 colour images in ten classes, Krizhevsky (2009).",
    )
    return (bunch.data, bunch.target) if return_X_y else bunch


def fetch_adult(
    *, subset: str = "train", data_home: Home = None, return_X_y: bool = False
) -> Any:
    """Load Adult: whether a person earns more than $50,000 a year (classification).

    Downloads the data if it is not in scikit-learn's cache.

    ==============  =============================
    Classes         2
    Samples         32,561 train, 16,281 test
    Dimensionality  14
    Features        6 numbers, 8 categories
    ==============  =============================

    Parameters
    ----------
    subset : {'train', 'test', 'all'}, default='train'
        The original training set, the test set, or both, training set first.
    data_home : str or path-like, default=None
        The cache folder; by default that of scikit-learn.
    return_X_y : bool, default=False
        If True, return ``(data, target)`` instead of a Bunch.

    Returns
    -------
    Bunch or tuple
        Its attributes are ``data``, a DataFrame of shape (n_samples, 14) with columns
        of dtype int64 or category, and NaN for missing categories; ``target``,
        a categorical Series of shape (n_samples,) named ``class``; ``feature_names``;
        ``target_names``, ``['<=50K', '>50K']``; and ``DESCR``. The categories are the
        same in each subset. With ``return_X_y=True`` the tuple ``(data, target)``.

    Raises
    ------
    ValueError
        If ``subset`` is not one of the three.
    URLError
        If the data is not cached and cannot be downloaded.

    Notes
    -----
    The data is OpenML's table ``adult``, version 2, by
    :func:`sklearn.datasets.fetch_openml`. If the environment variable
    ``SKINFLUENCE_DATA`` names a folder, the file ``adult.csv.gz`` there is read
    instead, which has a header, the column ``split`` (train or test), the 14 features
    and ``income``, with ``?`` for missing values; it is checked against the file
    ``SHA256SUMS``, if there is one.

    References
    ----------
    .. [1] B. Becker, R. Kohavi, "Adult", UCI Machine Learning Repository, 1996,
       https://doi.org/10.24432/C5XW20.

    Examples
    --------
    >>> from skinfluence.datasets import fetch_adult
    >>> X, y = fetch_adult(return_X_y=True)  # doctest: +SKIP
    >>> y.value_counts().to_dict()  # doctest: +SKIP
    {'<=50K': 24720, '>50K': 7841}
    """
    check_boolean("return_X_y", return_X_y)
    check_home(data_home)
    splits, folder = splits_of(subset), _local.local_folder()
    if folder is None:
        frame, is_test = _remote.adult(data_home)
    else:
        frame, is_test = _local.adult(folder)
    # Before the split, so that every subset has the same categories.
    frame = frame.apply(_tidy).iloc[rows_of(is_test, splits)]
    data = frame.reset_index(drop=True)
    target = data.pop("class")
    bunch = Bunch(
        data=data,
        target=target,
        feature_names=data.columns.tolist(),
        target_names=target.cat.categories.tolist(),
        DESCR="Adult: income of 48,842 people, US census of 1994, Becker and Kohavi.",
    )
    return (bunch.data, bunch.target) if return_X_y else bunch


def _tidy(column: pd.Series) -> pd.Series:
    """Return a column in the same dtype, whichever parser read it."""
    if pd.api.types.is_numeric_dtype(column):
        return column.astype(np.int64)
    # In two steps: categories in another order would count as the same dtype.
    present = sorted(column.dropna().unique())
    return column.astype("category").cat.set_categories(present)
