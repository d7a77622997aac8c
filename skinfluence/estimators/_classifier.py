"""The classifier."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets
from skorch.classifier import NeuralNetClassifier
from torch import nn
from torch.utils.data import DataLoader

from ._array_dataset import ArrayDataset
from ._contract import EstimatorContract
from ._labels import (
    are_several_labels,
    check_one_label,
    check_sequences,
    check_target_shape,
    indicators,
    labels_of,
    left_out,
)
from ._losses import outputs_of
from ._measures import has_probabilities
from ._net import InfluenceNet
from ._questions.counterfactual import CounterfactualMixin
from ._questions.influence import InfluenceMixin
from ._questions.label_influence import LabelInfluenceMixin
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
from ._validation import check_classes, explained


class SGDInfluenceClassifier(
    LabelInfluenceMixin,
    InfluenceMixin,
    ReliabilityMixin,
    CounterfactualMixin,
    EstimatorContract,
    NeuralNetClassifier,
):
    r"""A classifier that tells how its training samples influence it.

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
    criterion : class, instance or "auto", default="auto"
        The loss. It must support ``reduction="none"``, one loss for each sample, as
        torch's criteria do. An instance is copied at each fit. With "auto"
        ``nn.CrossEntropyLoss``, or ``nn.BCEWithLogitsLoss`` where y is an indicator
        matrix.
    optimizer : class, default=torch.optim.SGD
        One of ``torch.optim``: SGD, Adam, AdamW, RMSprop, Adagrad, Adadelta, NAdam,
        RAdam, Adamax or ASGD; others only with ``record=None``.
    lr : float, default=0.1
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
    class_weight : dict, "balanced" or None, default=None
        Weights of the classes, as in scikit-learn; multiplied with `sample_weight`.
        They weight the validation samples in the mean of a query too ("balanced" by the
        frequencies there). Must be None where y is an indicator matrix.
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
    classes : array-like of shape (n_classes,) or None, default=None
        The labels; by default those that occur in the first y. Give them with a
        torch Dataset that holds its own targets.
    predict_nonlinearity : callable, "auto" or None, default="auto"
        What :meth:`predict_proba` applies to the module's outputs: by default the
        softmax if the criterion is the cross-entropy, and the logistic function if it
        is the binary one.
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
    classes_ : ndarray of shape (n_classes,)
        The labels; where y is an indicator matrix, the numbers of its columns.
    multilabel_ : bool
        Whether y is an indicator matrix: each sample has any number of labels.
    module_ : nn.Module
        The trained module.
    criterion_, optimizer_ : object
        The criterion, with ``reduction="none"``, and the optimizer in its last state.
    trajectory_ : Trajectory or None
        The recorded run, see :class:`~skinfluence.Trajectory`.
    history_ : skorch.history.History
        skorch's record of each epoch's loss and scores.
    n_features_in_ : int
        Number of features of a 2-D X.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, if X had names in :meth:`fit`.
    input_shape_ : tuple
        Shape of one sample, where X is an array.
    n_outputs_ : int
        Number of classes, or of columns of an indicator matrix.
    target_names_in_ : list of str
        Names of the columns of y, if it was a table of several.
    target_shape_ : tuple or None
        Shape of one sample's target, where y is an array.
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
    SGDInfluenceRegressor : The same for regression.

    Notes
    -----
    Each step lowers the batch loss

    .. math:: L_t(θ) = \frac{1}{|S_t|} \sum_{i \in S_t} c_i ℓ_i(θ),

    where :math:`S_t` is the batch, :math:`ℓ_i` the criterion on sample i (its mean over
    the labels, if y is an indicator matrix), and :math:`c_i` the sample's weight times
    that of its class, scaled to mean 1 over all samples. The divisor is the number of
    samples in the batch, also where a ``CrossEntropyLoss`` has a ``weight`` for each
    class, or ignores some targets (``ignore_index``), and torch would divide by the sum
    of the weights of the targets that it does not ignore. A sample's loss is then the
    mean over its other targets, and 0 if it has none. To use another loss, override
    :meth:`get_losses`.

    References
    ----------
    .. [1] S. Hara, A. Nitanda, T. Maehara, "Data Cleansing for Models Trained with
       SGD", NeurIPS 2019.

    Examples
    --------
    Samples with wrong labels turn out to be harmful:

    >>> from sklearn.datasets import load_iris
    >>> from sklearn.model_selection import train_test_split
    >>> from skinfluence import SGDInfluenceClassifier
    >>> from skinfluence.datasets import flip_labels
    >>> X, y = load_iris(return_X_y=True)
    >>> X, X_val, y, y_val = train_test_split(X, y, random_state=0)
    >>> y, flipped = flip_labels(y, 0.1, random_state=0)
    >>> clf = SGDInfluenceClassifier(random_state=0).fit(X, y)
    >>> scores = clf.influence(X_val, y_val)
    >>> bool(scores[flipped].mean() < 0 < scores[~flipped].mean())
    True
    """

    def __init__(
        self,
        module: ModuleLike = "mlp",
        *,
        criterion: CriterionLike = "auto",
        optimizer: OptimizerFactory = torch.optim.SGD,
        lr: float = 0.1,
        max_epochs: int = 20,
        batch_size: int = 64,
        accumulate_steps: int = 1,
        shuffle: bool = True,
        class_weight: Mapping[Any, float] | str | None = None,
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
        classes: ArrayLike | None = None,
        predict_nonlinearity: Nonlinearity = "auto",
        iterator_train: LoaderFactory = DataLoader,
        iterator_valid: LoaderFactory = DataLoader,
        dataset: DatasetFactory = ArrayDataset,
        use_caching: bool | str = "auto",
        torch_load_kwargs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        self._set_init_params(locals())

    encodes_labels_: bool = False
    multilabel_: bool = False

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags

    def _criterion(self) -> Any:
        """Return the criterion that was chosen, or that of the labels."""
        if not isinstance(self.criterion, str):
            return self.criterion
        return nn.BCEWithLogitsLoss if self.multilabel_ else nn.CrossEntropyLoss

    def check_data(self, X: object, y: object) -> None:
        """Find the classes of a Dataset that holds its own targets."""
        if not self.encodes_labels_:
            super().check_data(X, y)

    def _encode_targets(
        self,
        y: Any,
        *,
        reset: bool,
        classes: ArrayLike | None = None,
        name: str = "y",
    ) -> Any:
        """Return class indices, or the indicators of several labels."""
        if reset:
            # A Dataset's own targets are class indices; only `classes` can name them.
            self.encodes_labels_ = y is not None or self.classes is not None
            self.__dict__.pop("classes_inferred_", None)
            self.target_shape_, self.multilabel_ = None, False
        if y is None or not self.encodes_labels_:
            return y
        if reset:
            self.target_shape_ = y.shape[1:]
            self.multilabel_ = are_several_labels(self, y)
            self._learn_classes(y, classes)
        check_target_shape(self, y, name)
        if classes is not None:
            self._check_same_classes(classes)
        if self.multilabel_:
            return indicators(y, name)
        none = left_out(self, y)
        if not none.any():
            return self._class_indices(y, name)
        indices = y.astype(np.int64)
        indices[~none] = self._class_indices(y[~none], name)
        return indices

    def _learn_classes(self, y: np.ndarray, classes: ArrayLike | None) -> None:
        if self.multilabel_:
            self._check_several_labels()
            self.classes_inferred_ = np.arange(y.shape[1])
        else:
            check_sequences(self, y)
            check_classification_targets(y.ravel())
            given = self.classes if self.classes is not None else classes
            labels = y[~left_out(self, y)] if given is None else check_classes(given)
            self.classes_inferred_ = np.unique(labels)
        self.n_outputs_ = len(self.classes_inferred_)
        if self.multilabel_ and self.classes is not None:
            self._check_same_classes(self.classes)

    def _check_several_labels(self) -> None:
        """Refuse parameters that are of a single label for each sample."""
        if self.class_weight is not None:
            raise ValueError(
                "`class_weight` must be None where y is an indicator matrix, got "
                f"{self.class_weight!r:.200}. Weight its labels by "
                "criterion__pos_weight, or the samples by `sample_weight`."
            )
        if not has_probabilities(self):
            raise ValueError(
                "`criterion` must be nn.BCEWithLogitsLoss (by 'auto'), or "
                "`predict_nonlinearity` make probabilities of the outputs, where y is "
                f"an indicator matrix, got {self.criterion!r:.200}: labels are "
                "predicted whose probability is above 1/2."
            )

    def _check_same_classes(self, classes: ArrayLike) -> None:
        """Refuse other classes than those that the net has."""
        labels = check_classes(classes)
        if self.multilabel_ and labels.tolist() != [*range(self.n_outputs_)]:
            raise ValueError(
                "`classes` must be the numbers of the columns where y is an indicator "
                f"matrix, 0 to {self.n_outputs_ - 1}, got {labels.tolist()}."
            )
        if set(labels.tolist()) != set(self.classes_.tolist()):
            raise ValueError(
                "`classes` must be those that the classifier was made with or first "
                f"saw, {self.classes_.tolist()}, got {labels.tolist()}. Give all "
                "classes in the first call of partial_fit."
            )

    def _class_indices(self, y: np.ndarray, name: str) -> np.ndarray:
        order = np.argsort(self.classes_)
        try:
            ranks = np.searchsorted(self.classes_, y, sorter=order)
            indices: np.ndarray = order[np.minimum(ranks, len(order) - 1)]
            unknown = np.unique(y[self.classes_[indices] != y]).tolist()
        except TypeError:  # such as None, which has no order among the classes
            unknown = y.tolist()
        if unknown:
            raise ValueError(
                f"`{name}` must have only labels that the classifier was fitted on "
                f"({self.classes_.tolist()}), got {unknown!r:.200}."
            )
        return indices

    def _class_weights(self, y: np.ndarray | None) -> np.ndarray | None:
        if self.class_weight is None:
            return None
        if y is None:
            raise ValueError(
                "`class_weight` needs the labels: give them as y, or use "
                "`sample_weight`."
            )
        check_one_label(y, "`class_weight`")
        known = np.unique(y).tolist()
        with explained(
            f"`class_weight` must give weights to the classes of y, {known}, got "
            f"{self.class_weight!r:.200}"
        ):
            weights: np.ndarray = compute_sample_weight(self.class_weight, y)
        return weights

    def _validation_class_weights(
        self, y: np.ndarray | None, *, balanced: bool
    ) -> np.ndarray | None:
        weights = "balanced" if balanced else self.class_weight
        if weights is None:
            return None
        if y is None:
            raise ValueError(
                "`y_val` must be given to weight the classes, got None: with a Dataset "
                "pass its labels too, or weights as `sample_weight_val`."
            )
        check_one_label(y, "a balanced `query`" if balanced else "`class_weight`")
        if isinstance(weights, str):
            return np.asarray(compute_sample_weight(weights, y))
        # The validation data need not have samples of each class.
        return np.array([weights.get(label, 1.0) for label in y.tolist()], dtype=float)

    def _get_predict_nonlinearity(self) -> Callable[..., Any]:
        nonlinearity: Callable[..., Any] = super()._get_predict_nonlinearity()
        if self.predict_nonlinearity != "auto":
            return nonlinearity
        if isinstance(self.criterion_, nn.CrossEntropyLoss):
            # skorch's is over the last axis, which may be of tokens or pixels.
            return lambda returned: outputs_of(returned).softmax(1)
        if not self.multilabel_:
            return nonlinearity
        # skorch would make two classes of each output of a binary criterion.
        if isinstance(self.criterion_, nn.BCEWithLogitsLoss):
            return lambda returned: outputs_of(returned).sigmoid()
        return outputs_of

    def predict_proba(self, X: object) -> np.ndarray:
        """Predict class probabilities.

        Parameters
        ----------
        X : array-like or CSR matrix of shape (n_samples, n_features), or as in fit
            The samples.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            Probabilities, if `predict_nonlinearity` turns the outputs into such. Where
            y is an indicator matrix, that of each label by itself.
        """
        probabilities: np.ndarray = super().predict_proba(X)
        binary = isinstance(self.criterion_, (nn.BCELoss, nn.BCEWithLogitsLoss))
        # skorch turns outputs of shape (n, 1) into (n, 2, 1).
        if binary and probabilities.shape[2:] == (1,):
            return probabilities[:, :, 0]
        return probabilities

    def predict(self, X: object) -> np.ndarray:
        """Predict class labels.

        Parameters
        ----------
        X : array-like or CSR matrix of shape (n_samples, n_features), or as in fit
            The samples.

        Returns
        -------
        ndarray of shape (n_samples,), or (n_samples, n_labels) of an indicator matrix
            Labels, the most probable ones; of several those more probable than not.
            During training, for callbacks, the class indices that the net's
            own datasets hold.
        """
        probabilities = self.predict_proba(X)
        if not self.encodes_labels_:
            return np.asarray(probabilities.argmax(axis=1))
        labels = labels_of(self)
        predicted = labels.predicted(probabilities)
        return predicted if self.run_ is not None else labels.decoded(predicted)
