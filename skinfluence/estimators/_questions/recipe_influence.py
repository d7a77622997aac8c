"""The influence of the recipe: the options that the training was done with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from statistics import fmean
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.base import is_classifier
from skorch.utils import is_dataset
from torch import Tensor, nn, optim

from ...exceptions import UnsupportedOptimizerError
from ...influence import LabelSmoothingStep, Recipe, Stage, retrace
from ...training import SmoothedKinks, TrainingStep, differentiating
from ...trajectory import Trajectory
from .._net import InfluenceNet
from .._replica import Replica
from .._training_data import TrainingData
from .._typing import At, QueryLike, Smoothing
from .estimate import (
    Estimate,
    check_smoothing,
    differentiable_stages,
    progress_of,
    reliable,
    smoothed,
)
from .later_faults import check_derivatives
from .question import Question, ask, query_of

# The options and their names in torch's parameter groups.
_NAMES = {
    "learning_rate": "lr",
    "weight_decay": "weight_decay",
    "momentum": "momentum",
}


@dataclass(frozen=True)
class RecipeInfluence:
    """Derivatives of the query in what a training was done with.

    All are in the query's unit per unit of the option. **Positive: a lower value would
    lower the loss.**

    Parameters
    ----------
    steps : DataFrame of shape (n_steps, 1 + n_options)
        The column "epoch", and the derivative in each option of the optimizer at the
        step alone: "learning_rate", "weight_decay" and "momentum" (of Adam and its
        kin, the first of `betas`), as far as it has them. 0 for a step that was not
        retraced.
    epochs : DataFrame of shape (n_epochs, n_options)
        Their sums over the steps of each epoch: the derivative in a change that is the
        same at all of these.
    options : DataFrame of shape (n_epochs, n_options)
        What the options were, on average over the steps and the parameter groups.
    class_weight : Series of shape (n_classes,) or None
        The derivative in the weight of each class, by its label, with all weights
        scaled to mean 1 as in ``fit``; NaN for a class of weight 0. None for a
        regressor, or where the labels are not known.
    label_smoothing : float or None
        The derivative in the `label_smoothing` of the criterion; None if it has none,
        or 0.
    initial_weights : dict of str to ndarray
        The derivative in each parameter as it was before the first retraced step.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.preprocessing import scale
    >>> from skinfluence import SGDInfluenceClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = SGDInfluenceClassifier("linear", max_epochs=3, random_state=0)
    >>> recipe = clf.fit(scale(X), y).recipe_influence(scale(X), y)
    >>> recipe.steps.shape, recipe.epochs.shape
    ((9, 3), (3, 2))
    >>> recipe.class_weight.shape
    (3,)
    """

    steps: pd.DataFrame
    epochs: pd.DataFrame
    options: pd.DataFrame
    class_weight: pd.Series | None
    label_smoothing: float | None
    initial_weights: Mapping[str, np.ndarray]


@differentiating
def recipe_influence(
    self: InfluenceNet,
    X_val: object,
    y_val: ArrayLike | None = None,
    *,
    sample_weight_val: ArrayLike | None = None,
    query: QueryLike = "loss",
    at: At = "final",
    last_epochs: int | None = None,
    smoothing: Smoothing = None,
) -> RecipeInfluence:
    r"""Differentiate the validation loss in the recipe of the training.

    Where along training the learning rate should have been lower, whether the weights
    should have decayed more, and which class should have counted more: from one
    retrace [1]_, the derivatives :math:`∂Q/∂h_t` in the optimizer's options at each
    step, in the weights of the classes, in the label smoothing, and in the initial
    weights.

    Parameters
    ----------
    X_val : array-like, CSR matrix, torch Dataset, or as in :meth:`fit`
        Validation samples.
    y_val : array-like of shape (n_val,) or (n_val, n_outputs)
        Their targets; None where a Dataset holds them.
    sample_weight_val : array-like of shape (n_val,), optional
        Non-negative weights of the validation samples in the mean.
    query : a named query or callable, default="loss"
        As in :meth:`influence`. It is held as it is: that the loss of the validation
        data is weighted by the classes too is not differentiated.
    at : "final", "epochs", "path", sequence or mapping, default="final"
        As in :meth:`influence`.
    last_epochs : int, optional
        Retrace only the last epochs and take the earlier ones as given.
    smoothing : None, float or "auto", default=None
        How wide kinks are smoothed on the way back, as in :meth:`influence`.

    Returns
    -------
    RecipeInfluence
        The derivatives, for each epoch and each step: where one is positive, a lower
        value would lower the loss.

    Raises
    ------
    UnsupportedOptimizerError
        If the optimizer is ASGD, whose learning rate acts in later steps.
    ValueError
        As in :meth:`influence`, and its other errors too.

    Warns
    -----
    InfluenceReliabilityWarning
        As in :meth:`influence`.

    See Also
    --------
    skinfluence.inspection.RecipeDisplay : Draws it.

    Notes
    -----
    The derivatives are those of this run: with its batches, its random numbers and its
    gradient clipping. With several parameter groups they are in a change that is added
    to the option of each. A weight decay of 0 has a derivative too; a momentum of 0
    has none, as the optimizer keeps no buffer for it.

    References
    ----------
    .. [1] D. Maclaurin, D. Duvenaud, R. P. Adams, "Gradient-based Hyperparameter
       Optimization through Reversible Learning", ICML 2015.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.model_selection import train_test_split
    >>> from sklearn.preprocessing import scale
    >>> from skinfluence import SGDInfluenceClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> X, X_val, y, y_val = train_test_split(scale(X), y, random_state=0)
    >>> clf = SGDInfluenceClassifier(lr=0.01, max_epochs=5, random_state=0).fit(X, y)
    >>> recipe = clf.recipe_influence(X_val, y_val)
    >>> list(recipe.epochs.columns)
    ['learning_rate', 'weight_decay']
    >>> bool((recipe.epochs["learning_rate"] < 0).all())  # it was too low
    True
    """
    check_smoothing(smoothing)
    question = ask(self, X_val, y_val, sample_weight_val, query, at, last_epochs)
    _check_optimizer(self)
    found = reliable(*smoothed(smoothing, partial(_retraced, self, question)))
    recipe: RecipeInfluence = found.item()
    return recipe


def _check_optimizer(net: InfluenceNet) -> None:
    if isinstance(net.optimizer_, optim.ASGD):
        raise UnsupportedOptimizerError(
            "`optimizer` must be one whose options act in their own step to "
            "differentiate in them, got ASGD, whose learning rate acts in later steps. "
            "Use SGD."
        )


def _retraced(
    net: InfluenceNet, question: Question, kinks: SmoothedKinks | None
) -> Estimate:
    """Return the recipe's influence, as an array of one object."""
    (run,), replica = differentiable_stages(net, question, kinks)
    smooths = _smooths_labels(net)
    if smooths:
        run = _with_label_smoothing(run, replica, kinks)
    recipe = Recipe(run.trajectory, run.back)
    query = query_of(replica, question)
    retraced = retrace(
        run.trajectory,
        run.step,
        query,
        run.at,
        first=run.first,
        back=run.back,
        progress=progress_of(net),
        watch=recipe.watch,
    )
    check_derivatives([run], query)
    scores = retraced.scores.cpu().numpy()
    in_weights, in_smoothing = scores.T if smooths else (scores, None)
    steps = _steps(run.trajectory, recipe)
    found = np.empty((), dtype=object)
    found[()] = RecipeInfluence(
        steps,
        steps.groupby("epoch").sum(),
        _options(run.trajectory, list(steps.columns[1:])),
        _in_class_weights(net, -in_weights),
        None if in_smoothing is None else float(-in_smoothing.sum()),
        _by_parameter(run.back, replica, retraced.adjoint),
    )
    return Estimate(found, retraced.growth)


def _smooths_labels(net: InfluenceNet) -> bool:
    criterion = net.criterion_
    return isinstance(criterion, nn.CrossEntropyLoss) and criterion.label_smoothing > 0


def _with_label_smoothing(
    run: Stage, replica: Replica, kinks: SmoothedKinks | None
) -> Stage:
    back = LabelSmoothingStep(
        run.back.objective,
        run.back.live,
        kinks,
        criterion=replica.net.criterion_,
    )
    return replace(run, back=back)


def _steps(trajectory: Trajectory, recipe: Recipe) -> pd.DataFrame:
    epochs = [record.epoch for record in trajectory.records]
    found = {name: slopes.numpy() for name, slopes in recipe.slopes().items()}
    order = [name for name in _NAMES if name in found]
    columns = {"epoch": epochs, **{name: found[name] for name in order}}
    return pd.DataFrame(columns, index=pd.RangeIndex(len(epochs), name="step"))


def _options(trajectory: Trajectory, names: Sequence[str]) -> pd.DataFrame:
    """Return the options of each epoch, averaged."""
    records = trajectory.records
    columns = {
        name: [fmean(_value(h, name) for h in r.hyperparameters) for r in records]
        for name in names
    }
    epochs = pd.Index([record.epoch for record in records], name="epoch")
    return pd.DataFrame(columns, epochs).groupby("epoch").mean()


def _value(group: Mapping[str, Any], name: str) -> float:
    if name == "momentum" and not group.get("momentum"):
        return float(group["betas"][0]) if "betas" in group else 0.0
    return float(group[_NAMES[name]])


def _in_class_weights(net: InfluenceNet, slopes: np.ndarray) -> pd.Series | None:
    """Return ∂Q/∂(class weight) from ∂Q/∂w of the samples, w their factors at 1."""
    known = {data.offset: data for data in net.training_data_}.values()
    if not is_classifier(net) or any(_labels(net, data) is None for data in known):
        return None
    classes = np.asarray(net.classes_)
    total = np.zeros(len(classes))
    for data in known:
        total += _of_data(net, data, slopes[data.offset : data.offset + len(data)])
    return pd.Series(total, classes, name="class_weight")


def _of_data(net: InfluenceNet, data: TrainingData, slopes: np.ndarray) -> np.ndarray:
    """Return the part of one data set, whose weights are scaled to mean 1 together."""
    labels = _labels(net, data)
    by_class = net._class_weights(labels)
    of_class = np.asarray(labels)[:, None] == np.asarray(net.classes_)
    weights = np.ones(len(data)) if data.weights is None else data.weights.numpy()
    factors = np.ones(len(data)) if by_class is None else np.asarray(by_class)
    with np.errstate(invalid="ignore", divide="ignore"):
        each = (of_class * factors[:, None]).sum(0) / of_class.sum(0)
        shares = weights @ of_class / len(data)
        found: np.ndarray = (slopes @ of_class - shares * slopes.sum()) / each
    return found


def _labels(net: InfluenceNet, data: TrainingData) -> np.ndarray | None:
    """Return the labels of a data set, None if it holds no single ones."""
    if is_dataset(data.X) or np.ndim(data.y) != 1:
        return None
    return np.asarray(net.classes_[data.y] if net.encodes_labels_ else data.y)


def _by_parameter(
    step: TrainingStep, replica: Replica, adjoint: Tensor
) -> dict[str, np.ndarray]:
    live = step.live
    pieces = live.layout.split(adjoint)
    found = {id(p): piece for p, piece in zip(live.parameters, pieces, strict=True)}
    named = replica.net.module_.named_parameters()
    return {
        name: found[id(p)].double().cpu().numpy() for name, p in named if id(p) in found
    }
