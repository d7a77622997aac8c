"""The regressor."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.utils.metaestimators import available_if
from skorch.net import NeuralNet
from skorch.regressor import NeuralNetRegressor
from torch import nn
from torch.utils.data import DataLoader

from ._array_dataset import ArrayDataset
from ._contract import EstimatorContract
from ._labels import check_target_shape
from ._net import InfluenceNet
from ._questions.counterfactual import CounterfactualMixin
from ._questions.influence import InfluenceMixin
from ._questions.label_influence import TargetInfluenceMixin
from ._questions.reliability import ReliabilityMixin
from ._typing import (
    CriterionLike,
    DatasetFactory,
    Device,
    Folder,
    LoaderFactory,
    ModuleLike,
    Nonlinearity,
    OptimizerFactory,
    RandomState,
)


class SGDInfluenceRegressor(
    TargetInfluenceMixin,
    InfluenceMixin,
    ReliabilityMixin,
    CounterfactualMixin,
    EstimatorContract,
    NeuralNetRegressor,
):
    r"""A regressor that tells how its training samples influence it.

    A skorch net, with the whole of skorch's and scikit-learn's interface. While it
    trains it records its steps; :meth:`influence` then goes back through them and
    estimates, for each training sample, how the validation loss would change had the
    sample been left out [1]_.

    Parameters
    ----------
    module : {"mlp", "linear"}, nn.Module class, instance or callable, default="mlp"
        What is trained. The built-in modules
        (:class:`~skinfluence.estimators.MLPModule`,
        :class:`~skinfluence.estimators.LinearModule`) take their sizes and their dtype
        from the data. "mlp" has one hidden layer of 100 units with GELU, which is
        smooth: the influence of its samples predicts what a real change does better
        than that of a ReLU network. An instance is copied at each fit and never
        changed.
    criterion : class or instance, default=nn.MSELoss
        The loss. It must support ``reduction="none"``, one loss for each sample, as
        torch's criteria do. An instance is copied at each fit.
    optimizer : class, default=torch.optim.SGD
        One of ``torch.optim``: SGD, Adam, AdamW, RMSprop, Adagrad, Adadelta, NAdam,
        RAdam, Adamax or ASGD; others only with ``record=None``.
    lr : float, default=0.05
        Learning rate.
    max_epochs : int, default=20
        Number of epochs of each call of :meth:`fit` and :meth:`partial_fit`.
    batch_size : int, default=64
        Samples in a batch; -1 for all.
    accumulate_steps : int, default=1
        Number of batches over whose mean losses each step of the optimizer takes the
        mean: their gradients are accumulated, as by ``(loss / k).backward()`` for each
        of k batches, and clipped once. Each batch normalizes itself (BatchNorm) and
        draws its own random numbers (dropout). The last step of an epoch takes the
        mean of the batches that are left, if they are fewer. Callbacks see every batch
        (``on_batch_begin``, ``on_batch_end``, and so a schedule by batches), and
        ``on_grad_computed`` every step.
    shuffle : bool, default=True
        Whether the batches are drawn anew in each epoch.
    dtype : {"auto", "float32", "float64"}, default="auto"
        Dtype of the parameters. With "auto" a built-in module is float64 if X is, and
        float32 otherwise; your own module keeps its dtype.
    device : str or torch.device, default="cpu"
        Where to train.
    random_state : int, RandomState instance or None, default=None
        Determines initial weights, batches and dropout, independent of global
        generators. Pass an int for reproducible runs.
    record : "all", "replay", int or None, default="all"
        Which epochs keep the states that the retrace needs: all, the last `record`, or
        none. Without them there is no :meth:`influence`. With "replay" all of them,
        for a module whose gradient has no derivative (a stop-gradient, an operation
        that torch cannot differentiate twice): the run can be repeated
        (:meth:`counterfactual_influence`, :meth:`refit_without`) but not retraced.
    checkpoint_every : "auto" or int, default="auto"
        Number of steps between kept states; the states in between are recomputed when
        they are needed, to the same bits on a CPU. With "auto" the smallest number
        that stays within `max_trajectory_bytes`: 1 for small runs. It is doubled when
        a run turns out longer than expected.
    max_trajectory_bytes : "auto" or int, default="auto"
        Memory for all states, the kept ones and those recomputed at one time. With
        "auto" a quarter of the free memory of the device, at most 4 GiB; a
        quarter of the free disk where `trajectory_dir` is given.
        Where states lie further apart than the square root of the number of steps T,
        steps are recomputed more than once; 2·log2(T) states are always enough.
    trajectory_dir : str, Path or None, default=None
        Where to record on disk: each call of :meth:`fit` makes a folder ``run-000001``,
        ``run-000002``, ... there, which survives a crash (``fit(..., resume=True)``)
        and is read when it is needed. By default runs are recorded in memory.
    compile : bool, default=False
        Whether training steps, and the way back through them in :meth:`influence`, are
        compiled with ``torch.compile``'s backend, once for each shape of batch. That
        takes some ten seconds or more the first time in a process, and pays for small
        networks in long runs; steps that draw random numbers (dropout) are not
        compiled. A compiled run differs from another one by rounding; whether it is
        recorded changes no bit of either. What the module computes must depend on its
        inputs, parameters and buffers alone, not on attributes that change on the way.
    n_threads : "auto", int or None, default="auto"
        Number of processor threads that :meth:`fit` sets torch to while it trains, and
        the retrace while it goes back through the recorded steps. ``"auto"`` is 1 where
        a step is so small that more threads may gain little, and where other programs
        keep the processor busy make it several times slower; otherwise as many as torch
        is set to. None: as many as torch is set to. The last bits of large sums
        may depend on it.
    train_split : callable or None, default=None
        Splits off validation data, such as skorch's ``ValidSplit(5)``. Samples in
        the validation part have influence 0.
    callbacks : list of skorch callbacks, "disable" or None, default=None
        Callbacks beside skorch's own; "disable" for none at all.
    warm_start : bool, default=False
        Whether a further call of :meth:`fit` continues training, as
        :meth:`partial_fit` does.
    stop_on_interrupt : bool, default=False
        What an interrupt (Ctrl-C) does while a call trains. By default it ends the
        call: `fit` leaves the estimator as it was before, :meth:`partial_fit` after its
        last whole step (with record=None it may be a part of one), and
        KeyboardInterrupt is raised. With True it ends the training only, as in skorch:
        the model so far is kept and the call returns. Either way a run on disk
        (`trajectory_dir`) can be resumed.
    pretrained : SGDInfluenceClassifier, SGDInfluenceRegressor or None, default=None
        A fitted and recorded estimator whose final parameters and buffers training
        starts from, where they have the same name and shape in both modules. It is
        neither copied nor trained; :meth:`influence` with ``stage="pretraining"``
        is the influence of its training samples on this model. Its task may differ:
        other classes, another loss, other data.
    freeze_pretrained : bool, default=False
        Whether the parameters that were taken over stay fixed. Buffers, such as
        BatchNorm's running statistics, move with training as they do in torch.
    verbose : int, default=0
        1 for skorch's table of the epochs and a progress bar of the retrace.
    predict_nonlinearity : callable, "auto" or None, default="auto"
        What :meth:`predict` applies to the module's outputs; by default nothing.
    iterator_train : class, default=DataLoader
        Loads the training batches.
    iterator_valid : class, default=DataLoader
        Loads the batches of prediction and validation, every row once and in order:
        ``iterator_valid__shuffle``, ``__drop_last`` and samplers have no effect.
    dataset : class, default=ArrayDataset
        Wraps X and y, see :class:`~skinfluence.estimators.ArrayDataset`.
    use_caching : bool or "auto", default="auto"
        Whether skorch's scoring callbacks cache predictions.
    torch_load_kwargs : dict or None, default=None
        Arguments that skorch passes to ``torch.load``.
    **kwargs : dict
        Parameters of the components: ``module__x``, ``criterion__x``, ``optimizer__x``,
        ``iterator_train__x``, ``iterator_valid__x``, ``callbacks__x``, ``dataset__x``.

    Attributes
    ----------
    module_ : nn.Module
        The trained module.
    criterion_, optimizer_ : object
        The criterion, with ``reduction="none"``, and the optimizer in its last state.
    trajectory_ : Trajectory or None
        The recorded run, see :class:`~skinfluence.Trajectory`.
    history_ : skorch.history.History
        skorch's record of each epoch's loss and scores.
    target_names_in_ : list of str
        Names of the columns of y, if it was a table of several.
    n_features_in_ : int
        Number of features of a 2-D X.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, if X had names in :meth:`fit`.
    input_shape_ : tuple
        Shape of one sample, where X is an array.
    n_outputs_ : int or None
        Number of targets; None for a one-dimensional y.
    seed_ : int
        Seed of the run, drawn from `random_state`.
    n_steps_, n_epochs_ : int
        Number of steps and epochs of all calls together.
    dtype_ : torch.dtype or None
        Dtype of the module's parameters; inputs are cast to it.
    pretrained_parameters_ : list of str
        Names of the parameters that were taken over from `pretrained`, if one is given.
    training_data_ : list
        The data of each call of :meth:`fit` or :meth:`partial_fit`, not copied.

    See Also
    --------
    SGDInfluenceClassifier : The same for classification.

    Notes
    -----
    Each step lowers the batch loss

    .. math:: L_t(θ) = \frac{1}{|S_t|} \sum_{i \in S_t} c_i ℓ_i(θ),

    where :math:`S_t` is the batch, :math:`ℓ_i` the criterion on sample i (its mean over
    the targets, if there are several, without those that its ``ignore_index`` names),
    and :math:`c_i` the sample's weight, scaled to mean 1 over all
    samples. To use another loss, override :meth:`get_losses`.

    References
    ----------
    .. [1] S. Hara, A. Nitanda, T. Maehara, "Data Cleansing for Models Trained with
       SGD", NeurIPS 2019.

    Examples
    --------
    The sample with a corrupted target is the most harmful one:

    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.model_selection import train_test_split
    >>> from sklearn.preprocessing import scale
    >>> from skinfluence import SGDInfluenceRegressor
    >>> X, y = load_diabetes(return_X_y=True)
    >>> X, X_val, y, y_val = train_test_split(scale(X), scale(y), random_state=0)
    >>> y[7] += 10
    >>> reg = SGDInfluenceRegressor("linear", lr=0.01, random_state=0).fit(X, y)
    >>> int(reg.influence(X_val, y_val).argmin())
    7
    """

    def __init__(
        self,
        module: ModuleLike = "mlp",
        *,
        criterion: CriterionLike = nn.MSELoss,
        optimizer: OptimizerFactory = torch.optim.SGD,
        lr: float = 0.05,
        max_epochs: int = 20,
        batch_size: int = 64,
        accumulate_steps: int = 1,
        shuffle: bool = True,
        dtype: str = "auto",
        device: Device = "cpu",
        random_state: RandomState = None,
        record: str | int | None = "all",
        checkpoint_every: str | int = "auto",
        max_trajectory_bytes: str | int = "auto",
        trajectory_dir: Folder | None = None,
        compile: bool = False,
        n_threads: str | int | None = "auto",
        train_split: Callable[..., object] | None = None,
        callbacks: list[Any] | str | None = None,
        warm_start: bool = False,
        stop_on_interrupt: bool = False,
        pretrained: InfluenceNet | None = None,
        freeze_pretrained: bool = False,
        verbose: int = 0,
        predict_nonlinearity: Nonlinearity = "auto",
        iterator_train: LoaderFactory = DataLoader,
        iterator_valid: LoaderFactory = DataLoader,
        dataset: DatasetFactory = ArrayDataset,
        use_caching: bool | str = "auto",
        torch_load_kwargs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        self._set_init_params(locals())

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def _encode_targets(
        self,
        y: Any,
        *,
        reset: bool,
        classes: ArrayLike | None = None,
        name: str = "y",
    ) -> Any:
        """Return the targets in floating point."""
        if reset:
            # A Dataset's own targets are not looked at: None for any shape.
            self.target_shape_ = None if y is None else y.shape[1:]
            self.n_outputs_ = self.target_shape_[0] if self.target_shape_ else None
        if y is None:
            return None
        check_target_shape(self, y, name)
        return _floating(y, name)

    def _get_predict_nonlinearity(self) -> Callable[..., Any]:
        nonlinearity: Callable[..., Any] = super()._get_predict_nonlinearity()
        # skorch would make two classes of each output of a binary criterion.
        if self.predict_nonlinearity == "auto":
            if isinstance(self.criterion_, nn.BCEWithLogitsLoss):
                return torch.sigmoid
            if isinstance(self.criterion_, nn.BCELoss):
                return nn.Identity()
        return nonlinearity

    @available_if(lambda self: False)
    def predict_proba(self, X: object) -> Any:
        """Regressors have no probabilities: hides skorch's method."""

    def predict(self, X: object) -> np.ndarray:
        """Predict targets.

        Parameters
        ----------
        X : array-like or CSR matrix of shape (n_samples, n_features), or as in fit
            The samples.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_outputs)
            Predicted targets, shaped as in fit; probabilities with a binary
            cross-entropy.
        """
        predictions: np.ndarray = NeuralNet.predict_proba(self, X)
        if getattr(self, "target_shape_", None) == ():
            return predictions.reshape(len(predictions))
        return predictions


def _floating(y: np.ndarray, name: str) -> np.ndarray:
    """Return targets in floating point; refuse what is no finite number."""
    try:
        if y.dtype.kind in "cmM":
            raise TypeError
        # float64 keeps the digits of integers; the loss casts to the outputs' dtype.
        found = y if y.dtype.kind == "f" else y.astype(np.float64)
    except (TypeError, ValueError):
        found = np.full(1, np.nan)
    if not np.isfinite(found).all():
        raise ValueError(f"`{name}` must hold finite numbers, got {y.tolist()!r:.200}.")
    return found
