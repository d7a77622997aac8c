"""Influence functions with Kronecker-factored curvature."""

from importlib.util import find_spec

import numpy as np
from sklearn.base import BaseEstimator

from .._numbers import is_real
from ..estimators import final_model
from ._base import BaseScorer, ScoringData
from ._checks import check_own, is_one_of
from ._kronfluence import pairwise_scores

RandomState = int | np.random.RandomState | None


class EKFAC(BaseScorer, name="ekfac"):
    r"""Score the samples by influence functions with EK-FAC.

    Named ``"ekfac"``. The influence function of :class:`KohLiang`, with the
    Gauss-Newton matrix G of the training losses for their Hessian, in Kronecker factors
    for each layer, whose eigenvalues are corrected [1]_. The package kronfluence
    computes it, as in section 2 of [2]_:

    .. math:: \text{score}_i =
       \tfrac1n ∇Q(θ)^\top (G + λI)^{-1} c_i ∇ℓ_i(θ),

    where Q is the mean validation loss and :math:`c_i` the sample and class weight. It
    takes a few passes through the data and is for networks that are too large for the
    other solvers. The score is in the unit of the validation loss, negative for harmful
    samples, and 0 for rows that were not trained on. No recorded run is needed. Dropout
    and BatchNorm are in evaluation mode, and the optimizer's L2 penalty is left out.

    The parameters of ``Linear`` and ``Conv2d`` layers that are trained as a whole
    count, and no others. The factors need gradients of outputs whose mean outer product
    is G: one for each sample, drawn with random signs. Needs ``pip install
    skinfluence[ekfac]``.

    Parameters
    ----------
    damping : "auto" or float, default="auto"
        The λ that is added to G; with "auto" in each layer a tenth of its mean
        eigenvalue [2]_.
    batch_size : int, default=256
        How many samples' gradients are computed at once.
    random_state : int, RandomState instance or None, default=None
        Draws the signs.

    See Also
    --------
    FisherKernel : The same with the exact empirical Fisher matrix.

    References
    ----------
    .. [1] T. George, C. Laurent, X. Bouthillier, N. Ballas, P. Vincent, "Fast
       Approximate Natural Gradient Descent in a Kronecker-factored Eigenbasis",
       NeurIPS 2018.
    .. [2] R. Grosse et al., "Studying Large Language Model Generalization with
       Influence Functions", arXiv:2308.03296, 2023.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.model_selection import train_test_split
    >>> from sklearn.preprocessing import scale
    >>> from skinfluence import SGDInfluenceClassifier
    >>> from skinfluence.scorers import EKFAC
    >>> X, y = load_iris(return_X_y=True)
    >>> X, X_val, y, y_val = train_test_split(scale(X), y, random_state=0)
    >>> clf = SGDInfluenceClassifier(random_state=0).fit(X, y)
    >>> scorer = EKFAC(random_state=0)
    >>> scores = scorer(clf, X, y, X_val, y_val)  # doctest: +SKIP
    """

    def __init__(
        self,
        damping: str | float = "auto",
        *,
        batch_size: int = 256,
        random_state: RandomState = None,
    ) -> None:
        self.damping = damping
        self.batch_size = batch_size
        self.random_state = random_state

    _estimator_checks = (check_own,)
    _required_data = ("X_val",)

    def _check_parameters(self) -> None:
        number = is_real(self.damping) and 0 < self.damping < np.inf
        if not is_one_of(self.damping, ["auto"]) and not number:
            raise ValueError(
                "`damping` must be 'auto' or a finite number above 0, got "
                f"{self.damping!r}."
            )

    def _check_estimator(self, estimator: BaseEstimator) -> None:
        if find_spec("kronfluence") is None:
            raise ImportError(
                "The scorer 'ekfac' needs the package kronfluence, which is not "
                "installed: pip install kronfluence. Or use the scorer 'koh_liang'."
            )

    def _score(self, estimator: BaseEstimator, data: ScoringData) -> np.ndarray:
        """Return the samples' influence by kronfluence."""
        model = final_model(estimator)
        if len({part.offset for part in estimator.training_data_}) > 1:
            raise ValueError(
                "The estimator must be trained on one data set for the scorer 'ekfac', "
                f"got {len(estimator.training_data_)} calls on different data. Use the "
                "scorer 'koh_liang'."
            )
        query = model.query(*data.validation)
        damping = None if self.damping == "auto" else float(self.damping)
        found = pairwise_scores(
            model, query, damping, self.batch_size, self.random_state
        )
        scores = np.zeros(model.n_samples)
        scores[model.trained.numpy()] = found / len(model.trained)
        return scores
