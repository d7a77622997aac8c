"""The Fisher kernel between training and validation samples."""

import numpy as np
from scipy.linalg import svd
from sklearn.base import BaseEstimator

from .._numbers import is_real
from ..estimators import FinalModel, final_model
from ._base import BaseScorer, ScoringData
from ._checks import check_choice, check_own, is_one_of
from ._gradients import FinalGradients

_SELECTIONS = ("rank", "sbq")

# Limit for the gradients of all samples, which are held at once.
_MOST_BYTES = 2**32


class FisherKernel(BaseScorer, name="fisher_kernel"):
    r"""Score the samples by their Fisher kernel with the validation data.

    Named ``"fisher_kernel"``. With the empirical Fisher matrix
    :math:`F = \frac1n \sum_i c_i ∇ℓ_i ∇ℓ_i^\top` at the final model [1]_,

    .. math:: \text{score}_i =
       \tfrac1n c_i ∇ℓ_i(θ)^\top (F + λI)^{-1} ∇Q(θ),

    where Q is the mean validation loss. This is :class:`KohLiang` with F for the
    Hessian, which it approaches for a well-specified model with a logarithmic loss
    (section 4 of [1]_), and it is never indefinite. The score is in the unit of the
    validation loss, negative for harmful samples, and 0 for rows that were not trained
    on. No recorded run is needed. Dropout and BatchNorm are in evaluation mode. The
    gradients of all samples must fit in 4 GiB.

    Parameters
    ----------
    selection : {"rank", "sbq"}, default="rank"
        ``"rank"`` scores each sample independently; ``"sbq"`` is sequential Bayesian
        quadrature: it greedily selects the sample that, together with those already
        selected, best represents the validation data in the kernel's space (algorithm 1
        of [1]_), so that duplicates count once. The score is then the sample's rank, n
        for the first, with the sign of its contribution: negative where it works
        against the validation data, 0 where it adds nothing.
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

    _estimator_checks = (check_own,)
    _required_data = ("X_val",)

    def _check_parameters(self) -> None:
        check_choice("selection", self.selection, _SELECTIONS)
        number = is_real(self.damping) and 0 < self.damping < np.inf
        if not is_one_of(self.damping, ["auto"]) and not number:
            raise ValueError(
                "`damping` must be 'auto' or a finite number above 0, got "
                f"{self.damping!r}."
            )

    def _score(self, estimator: BaseEstimator, data: ScoringData) -> np.ndarray:
        """Return the samples' kernel with the validation data, or their ranks."""
        model = final_model(estimator)
        query = model.query(*data.validation)
        _check_size(model)
        gradients = FinalGradients(model)
        matrix, root_weights = gradients.matrix()
        # Rows √c_i ∇ℓ_i: F is its Gram matrix over n, inverted through the SVD.
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
            trained = root_weights.double().cpu().numpy() * pulls / n
        else:
            trained = quadrature_ranks(left * sizes * np.sqrt(whitened), pulls)
        scores[model.trained.numpy()] = trained
        return scores


def quadrature_ranks(features: np.ndarray, pulls: np.ndarray) -> np.ndarray:
    """Return signed ranks in the order of sequential Bayesian quadrature.

    Parameters
    ----------
    features : ndarray of shape (n, r)
        Their inner products are the kernel K between the samples.
    pulls : ndarray of shape (n,)
        The samples' mean kernel z with the data to be represented. Each step selects
        the sample that raises :math:`z_S^T K_{SS}^{-1} z_S` most.
    """
    n = len(features)
    scores, free = np.zeros(n), np.ones(n, dtype=bool)
    rest, variance = pulls.copy(), np.square(features).sum(axis=1)
    # A variance below this is 0 up to rounding.
    floor = 1e-10 * variance.max(initial=0.0)
    columns = np.zeros((n, min(features.shape)))
    for k in range(columns.shape[1]):
        eligible = free & (variance > floor)
        gains = np.divide(rest**2, variance, out=np.zeros(n), where=eligible)
        best = int(gains.argmax())
        if gains[best] == 0:
            break
        scores[best] = np.sign(rest[best]) * (n - k)
        free[best] = False
        # One step of a pivoted Cholesky decomposition of the kernel.
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
