"""Resolves names, outlier detectors and callables to scorers."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from .._values import check_takes
from ._base import NAMED_SCORERS
from ._outlier import Outlier, is_detector


def get_scorer(scorer: object, **options: object) -> Callable[..., np.ndarray]:
    """Return the scorer for a name, an outlier detector or a callable.

    Parameters
    ----------
    scorer : str, outlier detector or callable
        A name, such as ``"influence"``, ``"loss"`` or ``"random"`` (given on each
        scorer's page); a scikit-learn outlier detector; or a scorer, which is returned
        unchanged.
    **options : dict
        Parameters for a scorer given by name; those that it does not have are ignored.

    Returns
    -------
    callable
        A :class:`Scorer`.

    Raises
    ------
    ValueError
        If no scorer has that name.
    TypeError
        If `scorer` is of another type, or takes other arguments.

    Examples
    --------
    >>> from sklearn.ensemble import IsolationForest
    >>> from skinfluence.scorers import get_scorer
    >>> get_scorer("influence", at="path")
    SGDInfluence(at='path')
    >>> get_scorer(IsolationForest())
    Outlier(detector=IsolationForest())
    """
    if isinstance(scorer, str):
        if scorer not in NAMED_SCORERS:
            raise ValueError(
                f"`scorer` must be one of {sorted(NAMED_SCORERS)}, an outlier detector "
                f"or a callable, got {scorer!r}."
            )
        kind = NAMED_SCORERS[scorer]
        # A cleaner passes its parameters to every named scorer; few have all of them.
        parameters = kind().get_params()
        return kind(**{k: v for k, v in options.items() if k in parameters})
    # A scorer's class is callable too, but calling it only makes an instance.
    if isinstance(scorer, type):
        raise TypeError(
            f"`scorer` must be an instance, got the class {scorer.__name__}: call it."
        )
    if is_detector(scorer):
        return Outlier(scorer)
    if not callable(scorer):
        raise TypeError(
            f"`scorer` must be one of {sorted(NAMED_SCORERS)}, an outlier detector or "
            f"a callable, got {scorer!r}."
        )
    check_takes("scorer", scorer, "estimator", "X", "y", "X_val", "y_val")
    return scorer


def named_scorers(
    scorers: Sequence[object] | Mapping[str, object],
) -> dict[str, object]:
    """Return the given scorers by name.

    Parameters
    ----------
    scorers : sequence of scorers, or mapping of str to scorer
        Arguments of :func:`get_scorer`; a mapping gives them other names.

    Returns
    -------
    dict of str to scorer
        Name -> scorer, unchanged. The name is the string itself, or the name of the
        class or function.

    Raises
    ------
    ValueError
        If there are no scorers, or two have the same name.

    Examples
    --------
    >>> from skinfluence.scorers import Random, named_scorers
    >>> named_scorers(["loss", Random(random_state=0)])
    {'loss': 'loss', 'Random': Random(random_state=0)}
    """
    if isinstance(scorers, Mapping) and scorers:
        return dict(scorers)
    if isinstance(scorers, str) or not isinstance(scorers, Sequence) or not scorers:
        raise ValueError(
            "`scorers` must be a sequence of at least one scorer, or a mapping of name "
            f"to scorer, got {scorers!r}."
        )
    names = [_name(scorer) for scorer in scorers]
    if len(set(names)) < len(names):
        raise ValueError(
            f"`scorers` must have distinct names, got {names}. Pass a mapping of name "
            "to scorer."
        )
    return dict(zip(names, scorers, strict=True))


def _name(scorer: object) -> str:
    if isinstance(scorer, str):
        return scorer
    return getattr(scorer, "__name__", type(scorer).__name__)
