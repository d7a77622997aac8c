"""The fetcher of 20 Newsgroups, with the reader of its local file."""

import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import Bunch

from .._numbers import random_generator
from .._values import check_boolean, check_list
from . import _local, _remote
from ._remote import Home
from ._subsets import check_home, splits_of

_PARTS = ("headers", "footers", "quotes")


def fetch_20newsgroups(
    *,
    subset: str = "train",
    categories: Sequence[str] | None = None,
    remove: Sequence[str] = (),
    shuffle: bool = True,
    random_state: int | np.random.RandomState | None = 42,
    data_home: Home = None,
    return_X_y: bool = False,
) -> Any:
    """Load 20 Newsgroups: posts of twenty discussion groups (classification).

    The posts and their order are those of :func:`sklearn.datasets.fetch_20newsgroups`,
    but they can be read from a local file as well. Downloads the data if it is not in
    scikit-learn's cache.

    ==============  =============================
    Classes         20
    Samples         11,314 train, 7,532 test
    Features        text
    ==============  =============================

    Parameters
    ----------
    subset : {'train', 'test', 'all'}, default='train'
        The posts before or after a certain date, or both.
    categories : sequence of str, default=None
        The groups to load; by default all of them.
    remove : sequence of str, default=()
        What to strip from the posts: any of 'headers', 'footers' and 'quotes'.
    shuffle : bool, default=True
        Whether to shuffle the posts.
    random_state : int, RandomState instance or None, default=42
        Determines the order of the posts when they are shuffled.
    data_home : str or path-like, default=None
        The cache folder; by default that of scikit-learn.
    return_X_y : bool, default=False
        If True, return ``(data, target)`` instead of a Bunch.

    Returns
    -------
    Bunch or tuple
        Its attributes are ``data``, a list of n_samples texts; ``target``, an ndarray
        of shape (n_samples,) and dtype int64, indices into ``target_names``;
        ``target_names``, the groups in alphabetical order; ``filenames``, an ndarray of
        paths that end in the split, the group and the number of the post; and
        ``DESCR``. With ``return_X_y=True`` the tuple ``(data, target)``.

    Raises
    ------
    ValueError
        If ``subset``, ``categories`` or ``remove`` has an unknown value.
    URLError
        If the data is not cached and cannot be downloaded.

    Notes
    -----
    If the environment variable ``SKINFLUENCE_DATA`` names a folder, the file
    ``newsgroups.jsonl.gz`` there is read instead, with one JSON object a line:
    ``split`` (train or test), ``group``, ``id``, ``text``, and ``sklearn_index``, the
    post's place in its split after scikit-learn's default shuffle. It is checked
    against the file ``SHA256SUMS``, if there is one.

    References
    ----------
    .. [1] K. Lang, "NewsWeeder: Learning to Filter Netnews", ICML 1995.

    Examples
    --------
    The pair of groups in the experiments of Hara, Nitanda and Maehara (2019):

    >>> from skinfluence.datasets import fetch_20newsgroups
    >>> pair = ["comp.sys.ibm.pc.hardware", "comp.sys.mac.hardware"]
    >>> posts = fetch_20newsgroups(categories=pair)  # doctest: +SKIP
    >>> len(posts.data)  # doctest: +SKIP
    1168
    """
    rng = random_generator(random_state)
    check_boolean("shuffle", shuffle)
    check_boolean("return_X_y", return_X_y)
    check_home(data_home)
    splits, folder, parts = splits_of(subset), _local.local_folder(), _parts(remove)
    if folder is None:
        posts = _remote.newsgroups(data_home, subset, parts)
    else:
        posts = _local_posts(folder, splits, parts)
    chosen, names = _groups(posts, categories)
    if shuffle:
        rng.shuffle(chosen)
    codes = [posts.target_names.index(name) for name in names]
    bunch = Bunch(
        data=[posts.data[i] for i in chosen],
        target=np.searchsorted(codes, posts.target[chosen]),
        target_names=names,
        filenames=posts.filenames[chosen],
        DESCR="20 Newsgroups, sorted by date: posts to discussion groups, Lang (1995).",
    )
    return (bunch.data, bunch.target) if return_X_y else bunch


def _parts(remove: Sequence[str]) -> tuple[str, ...]:
    parts = check_list("remove", remove, f"some of {_PARTS}")
    if not all(isinstance(part, str) and part in _PARTS for part in parts):
        raise ValueError(f"`remove` must be a tuple of {_PARTS}, got {remove!r}.")
    return tuple(parts)


def _groups(
    posts: Bunch, categories: Sequence[str] | None
) -> tuple[NDArray[np.intp], list[str]]:
    """Return the rows of the posts in the categories, and the categories in order."""
    groups = list(posts.target_names)
    wanted = groups
    if categories is not None:
        wanted = check_list("categories", categories, "names of groups")
    known = all(isinstance(name, str) and name in groups for name in wanted)
    if not wanted or not known:
        raise ValueError(
            f"`categories` must be a sequence of {groups}, got {categories!r}."
        )
    names = [name for name in groups if name in wanted]
    codes = [groups.index(name) for name in names]
    return np.flatnonzero(np.isin(posts.target, codes)), names


def _local_posts(folder: Path, splits: Sequence[str], remove: tuple[str, ...]) -> Bunch:
    """Return the posts in scikit-learn's order, not shuffled."""
    path = _local.checked(folder, "newsgroups.jsonl.gz")
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        all_posts = [json.loads(line) for line in lines]
    posts = [post for split in splits for post in _in_order(all_posts, split)]
    names = sorted({post["group"] for post in all_posts})
    return Bunch(
        data=_strip([post["text"] for post in posts], remove),
        target=np.searchsorted(names, [post["group"] for post in posts]),
        target_names=names,
        filenames=np.array(
            ["20news-bydate-{split}/{group}/{id}".format(**post) for post in posts]
        ),
    )


def _in_order(posts: list[dict[str, Any]], split: str) -> list[dict[str, Any]]:
    """Return the posts of a split, with scikit-learn's default shuffle undone."""
    posts = [post for post in posts if post["split"] == split]
    before = np.arange(len(posts))
    # 42 is the default `random_state` of scikit-learn's fetcher.
    np.random.RandomState(42).shuffle(before)
    return sorted(posts, key=lambda post: int(before[post["sklearn_index"]]))


def _strip(texts: list[str], remove: tuple[str, ...]) -> list[str]:
    if not remove:
        return texts
    try:
        from sklearn.datasets._twenty_newsgroups import (
            strip_newsgroup_footer,
            strip_newsgroup_header,
            strip_newsgroup_quoting,
        )
    except ImportError as error:
        raise ImportError(
            "`remove` needs functions that this version of scikit-learn lacks. "
            f"Use `remove=()`, or unset {_local.VARIABLE}."
        ) from error
    strippers = {
        "headers": strip_newsgroup_header,
        "footers": strip_newsgroup_footer,
        "quotes": strip_newsgroup_quoting,
    }
    for part in [part for part in strippers if part in remove]:
        texts = [strippers[part](text) for text in texts]
    return texts
