"""The Fisher kernel between training and validation samples."""

from numbers import Real
from typing import Any

import numpy as np
from scipy.linalg import svd
from sklearn.base import BaseEstimator

from ..estimators import FinalModel, final_model
from ._checks import check_choice, check_own
from ._gradients import FinalGradients

_SELECTIONS = ("rank", "sbq")

# All samples' gradients are held at once.
_MOST_BYTES = 2**32


class FisherKernel(BaseEstimator):
    r"""Score the samples by their Fisher kernel with the validation data.

    The name ``"fisher_kernel"`` stands for it. With the empirical Fisher matrix
    :math:`F = \frac1n \sum_i c_i ∇ℓ_i ∇ℓ_i^\top` at the final model [1]_,

    .. math:: \text{score}_i =
       \tfrac1n c_i ∇ℓ_i(θ)^\top (F + λI)^{-1} ∇Q(θ),

    Q being the mean validation loss: :class:`KohLiang` with F in the place of the
    Hessian, which for a well-specified model with a logarithmic loss it approaches
    (section 4 of [1]_). It is never indefinite. Unit: the validation loss's. Negative:
    the sample is harmful. Nothing needs to be recorded. Dropout and BatchNorm are in
    evaluation mode.

    Parameters
    ----------
    selection : {"rank", "sbq"}, default="rank"
        Whether each sample is scored by itself, or all of them one after the other by
        sequential Bayesian quadrature: each time the sample is chosen that, together
        with those chosen before, best represents the validation data in the kernel's
        space (algorithm 1 of [1]_), so that duplicates count once. The score is then
        the sample's rank, n for the first chosen, with the sign of what it adds:
        negative where it pulls against the validation data; 0 for what adds nothing.
    damping : "auto" or float, default="auto"
        The λ that is added to F; with "auto" a tenth of its mean eigenvalue [2]_.

    Attributes
    ----------
    damping_ : float
        The λ of the last call.

    References
    ----------
    .. [1] R. Khanna, B. Kim, J. Ghosh, O. Koyejo, "Interpreting Black Box Predictions
       using Fisher Kernels", AISTATS 2019.
    .. [2] R. Grosse et al., "Studying Large Language Model Generalization with
       Influence Functions", arXiv:2308.03296, 2023.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.model_selection import train_test_split
    >>> from sklearn.preprocessing import scale
    >>> from skinfluence import SGDInfluenceClassifier
    >>> from skinfluence.scorers import FisherKernel
    >>> X, y = load_iris(return_X_y=True)
    >>> X, X_val, y, y_val = train_test_split(scale(X), y, random_state=0)
    >>> clf = SGDInfluenceClassifier(random_state=0).fit(X, y)
    >>> FisherKernel()(clf, X, y, X_val, y_val).shape
    (112,)
    """

    def __init__(self, selection: str = "rank", damping: str | float = "auto") -> None:
        self.selection = selection
        self.damping = damping

    def check_estimator(self, estimator: Any) -> None:
        """Raise an error if the estimator has no gradients to ask for.

        Parameters
        ----------
        estimator : object
            The estimator, fitted or not.

        Raises
        ------
        TypeError
            If it is not one of the library's estimators.
        ValueError
            If a parameter of the scorer is not as described.
        """
        check_own(estimator, "fisher_kernel")
        check_choice("selection", self.selection, _SELECTIONS)
        number = isinstance(self.damping, Real) and 0 < self.damping < np.inf
        if self.damping != "auto" and not number:
            raise ValueError(
                "`damping` must be 'auto' or a finite number above 0, got "
                f"{self.damping!r}."
            )

    def __call__(
        self,
        estimator: Any,
        X: Any,
        y: Any,
        X_val: Any,
        y_val: Any,
        *,
        sample_weight_val: Any = None,
    ) -> np.ndarray:
        """Return the samples' kernel with the validation data, or their ranks.

        Parameters
        ----------
        estimator : object
            One of the library's estimators, fitted on X and y.
        X, y : array-like of n_samples rows
            What it was fitted on; not looked at, the estimator knows them.
        X_val, y_val : array-like of n_val rows
            Validation data.
        sample_weight_val : array-like of shape (n_val,), optional
            Weights of the validation samples.

        Returns
        -------
        ndarray of shape (n_samples,), float64
            In the loss's unit, or signed ranks; 0 for rows that were not trained on.

        Raises
        ------
        ValueError
            If the gradients of all samples would take more than 4 GiB.
        """
        self.check_estimator(estimator)
        model = final_model(estimator)
        query = model.query(X_val, y_val, sample_weight_val)
        _check_size(model)
        gradients = FinalGradients(model)
        matrix, root_weights = gradients.matrix()
        # Rows √c_i ∇ℓ_i, so that F is the matrix's square over n.
        weighted = (root_weights[:, None] * matrix).double().cpu().numpy()
        target = gradients.of_query(query).double().cpu().numpy()
        n = len(weighted)
        left, sizes, right = svd(weighted, full_matrices=False)
        spectrum = sizes**2 / n
        self.damping_ = (
            0.1 * float(spectrum.sum()) / len(target)
            if self.damping == "auto"
            else float(self.damping)
        )
        whitened = 1 / (spectrum + self.damping_)
        pulls = left @ (sizes * whitened * (right @ target))
        scores = np.zeros(model.n_samples)
        if self.selection == "rank":
            own = root_weights.double().cpu().numpy() * pulls / n
        else:
            own = quadrature_ranks(left * sizes * np.sqrt(whitened), pulls)
        scores[model.trained.numpy()] = own
        return scores


def quadrature_ranks(features: np.ndarray, pulls: np.ndarray) -> np.ndarray:
    """Return signed ranks in the order of sequential Bayesian quadrature.

    Parameters
    ----------
    features : ndarray of shape (n, r)
        Whose products are the kernel K between the samples.
    pulls : ndarray of shape (n,)
        The samples' mean kernel z with what is to be represented. Chosen is who
        raises :math:`z_S^T K_{SS}^{-1} z_S` most.
    """
    n = len(features)
    scores, free = np.zeros(n), np.ones(n, dtype=bool)
    rest, variance = pulls.copy(), np.square(features).sum(axis=1)
    # Rounding errors of a variance that is 0.
    floor = 1e-10 * variance.max(initial=0.0)
    columns = np.zeros((n, min(features.shape)))
    for k in range(columns.shape[1]):
        open_ = free & (variance > floor)
        gains = np.divide(rest**2, variance, out=np.zeros(n), where=open_)
        best = int(gains.argmax())
        if gains[best] == 0:
            break
        scores[best] = np.sign(rest[best]) * (n - k)
        free[best] = False
        column = features @ features[best] - columns[:, :k] @ columns[best, :k]
        columns[:, k] = column / np.sqrt(variance[best])
        rest -= columns[:, k] * (rest[best] / np.sqrt(variance[best]))
        variance -= columns[:, k] ** 2
    return scores


def _check_size(model: FinalModel) -> None:
    size = sum(parameter.nbytes for parameter in model.parameters)
    needed = size * len(model.trained)
    if needed > _MOST_BYTES:
        raise ValueError(
            "The scorer 'fisher_kernel' holds the gradients of all samples: "
            f"{len(model.trained):,} of {size:,} bytes are more than "
            f"{_MOST_BYTES:,}. Use another scorer, such as 'koh_liang'."
        )
