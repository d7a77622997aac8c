"""Relative influence as a scorer."""

import numpy as np
from sklearn.base import BaseEstimator

from ._base import BaseScorer, ScoringData
from ._checks import check_choice, check_retraceable
from ._influence import At, SGDInfluence
from ._tracin import SelfInfluence
from ._visits import STEPS


class RelatIF(BaseScorer, name="relatif"):
    r"""Score the samples by their influence relative to that on themselves.

    Named ``"relatif"``. The influence on the validation loss is divided by the root of
    the sample's self-influence, the change of the model that it brings about,

    .. math:: \text{score}_i =
       \frac{\text{influence}_i}{\sqrt{\text{self-influence}_i}},

    as ℓ-RelatIF of [1]_ is, there with the Hessian's influence function and
    :math:`\sqrt{∇ℓ_i^\top H^{-1} ∇ℓ_i}`, here with :class:`SGDInfluence` and
    :class:`SelfInfluence` of the recorded run. Samples of large loss, such as outliers,
    which have a large influence on everything, no longer take the first places. The
    score is in units of the root of the loss, negative for harmful samples, and 0 for
    rows that were not trained on.

    Parameters
    ----------
    at : "final", "epochs", "path", sequence or mapping, default="epochs"
        Which models of the run are evaluated, as in :class:`SGDInfluence`.
    steps : {"epochs", "all"}, default="epochs"
        Where the gradients are taken, as in :class:`SelfInfluence`.
    last_epochs : int, optional
        Retrace only the last epochs; by default all recorded epochs.
    smoothing : None, float or "auto", default=None
        How wide kinks are smoothed on the way back, as in :class:`SGDInfluence`.

    References
    ----------
    .. [1] E. Barshan, M.-E. Brunet, G. K. Dziugaite, "RelatIF: Identifying Explanatory
       Training Examples via Relative Influence", AISTATS 2020, section 4.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.model_selection import train_test_split
    >>> from sklearn.preprocessing import scale
    >>> from skinfluence import SGDInfluenceClassifier
    >>> from skinfluence.scorers import RelatIF
    >>> X, y = load_iris(return_X_y=True)
    >>> X, X_val, y, y_val = train_test_split(scale(X), y, random_state=0)
    >>> clf = SGDInfluenceClassifier(max_epochs=5, random_state=0).fit(X, y)
    >>> RelatIF(at="path")(clf, X, y, X_val, y_val).shape
    (112,)
    """

    def __init__(
        self,
        at: At = "epochs",
        steps: str = "epochs",
        last_epochs: int | None = None,
        smoothing: float | str | None = None,
    ) -> None:
        self.at = at
        self.steps = steps
        self.last_epochs = last_epochs
        self.smoothing = smoothing

    _estimator_checks = (check_retraceable,)
    _required_data = ("X_val",)

    def _check_parameters(self) -> None:
        check_choice("steps", self.steps, STEPS)

    def _score(self, estimator: BaseEstimator, data: ScoringData) -> np.ndarray:
        """Return the relative influence of each sample."""
        part = data.X, data.y, data.X_val, data.y_val
        influence = SGDInfluence(self.at, self.last_epochs, smoothing=self.smoothing)(
            estimator, *part, sample_weight_val=data.sample_weight_val
        )
        own = -SelfInfluence(self.steps, self.last_epochs)(estimator, *part)
        # Without a gradient there is no influence either, but for rounding.
        scores: np.ndarray = np.divide(
            influence, np.sqrt(own), out=np.zeros_like(influence), where=own > 0
        )
        return scores
