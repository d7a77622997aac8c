"""Cook's distance of linear models."""

import numpy as np
import torch
from scipy.linalg import pinvh
from sklearn.base import BaseEstimator
from torch import Tensor, nn

from ..estimators import FinalModel, LinearModule, final_model, kinds_of
from ..exceptions import UnsupportedCriterionError
from ._base import BaseScorer, ScoringData
from ._checks import check_own
from ._gradients import weights_of

_CRITERIA = (nn.MSELoss, nn.CrossEntropyLoss, nn.BCEWithLogitsLoss)


class CookDistance(BaseScorer, name="cook_distance"):
    r"""Score the samples of a linear model by Cook's distance, largest first.

    Named ``"cook_distance"``. Cook's distance is how far the fitted values move if the
    sample is left out, in units of their standard errors [1]_. For a linear regression
    with residual :math:`e_i`, leverage :math:`h_i`, p coefficients and residual
    variance :math:`s^2`,

    .. math:: \text{score}_i = -D_i, \quad
       D_i = \frac{e_i^2}{p s^2} \frac{h_i}{(1 - h_i)^2}.

    For a logistic regression it is Pregibon's one-step approximation [2]_, with the
    Pearson residual for :math:`e_i`, the leverage of the weighted least squares, and
    :math:`s^2 = 1`. Sample and class weights and the optimizer's L2 penalty enter the
    leverage; with a penalty p is the effective number of coefficients, the sum of the
    leverages. The residuals are those of the trained model, which should have
    converged. The score has no unit, is never positive, and is 0 for rows that were not
    trained on. The validation data is not used.

    References
    ----------
    .. [1] R. D. Cook, "Detection of Influential Observation in Linear Regression",
       Technometrics 19(1), 1977.
    .. [2] D. Pregibon, "Logistic Regression Diagnostics", Annals of Statistics 9(4),
       1981.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.preprocessing import scale
    >>> from skinfluence import SGDInfluenceRegressor
    >>> from skinfluence.scorers import CookDistance
    >>> X, y = load_diabetes(return_X_y=True)
    >>> X, y = scale(X), scale(y)
    >>> y[7] += 10
    >>> reg = SGDInfluenceRegressor("linear", random_state=0).fit(X, y)
    >>> int(CookDistance()(reg, X, y).argmin())
    7
    """

    _estimator_checks = (check_own,)
    _of_one_label = True

    def _check_estimator(self, estimator: BaseEstimator) -> None:
        module = estimator.module
        linear = module in ("linear", LinearModule) or isinstance(module, LinearModule)
        if not linear:
            raise ValueError(
                "`module` of the estimator must be 'linear' for the scorer "
                f"'cook_distance', got {module!r}. Use another scorer, such as "
                "'koh_liang'."
            )
        kinds = kinds_of(estimator.criterion)
        if not {*kinds} <= {*_CRITERIA}:
            raise UnsupportedCriterionError(
                "`criterion` of the estimator must be one of "
                f"{', '.join(each.__name__ for each in _CRITERIA)} for the scorer "
                f"'cook_distance', got {kinds[0].__name__}."
            )

    def _score(self, estimator: BaseEstimator, data: ScoringData) -> np.ndarray:
        """Return minus Cook's distance of each sample."""
        model = final_model(estimator)
        rows, slopes, curvatures, weights = _least_squares(model)
        hessian = rows.T @ (rows * (weights * curvatures)[:, None])
        inverse = pinvh(hessian + len(rows) * np.diag(_penalty(model)))
        squares = np.einsum("ij,jk,ik->i", rows, inverse, rows)
        leverages = weights * curvatures * squares
        count = float(leverages.sum())
        dispersion = 1.0
        if type(model.net.criterion_) is nn.MSELoss:
            freedom = _degrees_of_freedom(len(rows), count)
            dispersion = float(weights @ (slopes**2 / curvatures)) / freedom
        # A sample with leverage 1 determines its own fitted value.
        rest = np.maximum(1 - leverages, np.finfo(np.float64).eps)
        distances = (weights * slopes / rest) ** 2 * squares / (count * dispersion)
        scores = np.zeros(model.n_samples)
        scores[model.trained.numpy()] = -distances
        return scores


def _least_squares(model: FinalModel) -> list[np.ndarray]:
    """Return the design matrix, slopes, curvatures and sample weights.

    Slopes and curvatures are the first and second derivative of each sample's loss with
    respect to its linear predictor.
    """
    parts = []
    for batch in map(model.fetch, model.batches):
        inputs, targets, _ = batch
        with torch.no_grad():
            outputs = model.objective.forward(inputs)
        along = _direction(model, outputs.requires_grad_())
        losses = model.objective.criterion(outputs, targets, inputs)
        slopes = _derivative(losses, outputs, along)
        curvatures = _derivative(slopes, outputs, along)
        rows = inputs[0].to(outputs)
        if model.net.module_.layers[0].bias is not None:
            rows = torch.cat([rows, torch.ones_like(rows[:, :1])], dim=1)
        parts.append((rows, slopes, curvatures, weights_of(batch, losses)))
    columns = [torch.cat(part) for part in zip(*parts, strict=True)]
    return [column.detach().double().cpu().numpy() for column in columns]


def _direction(model: FinalModel, outputs: Tensor) -> Tensor:
    """Return how a sample's outputs change with its linear predictor."""
    two_classes = type(model.net.criterion_) is nn.CrossEntropyLoss
    count = outputs[:1].numel()
    if count != 1 + two_classes:
        raise ValueError(
            "The model must have one target, or two classes, for the scorer "
            f"'cook_distance', got {count} outputs."
        )
    # Of two logits only the difference matters: each moves by half of it.
    return outputs.new_tensor([-0.5, 0.5]) if two_classes else outputs.new_ones(())


def _derivative(values: Tensor, outputs: Tensor, along: Tensor) -> Tensor:
    (gradient,) = torch.autograd.grad(values.sum(), outputs, create_graph=True)
    return (gradient * along).reshape(len(outputs), -1).sum(1)


def _penalty(model: FinalModel) -> np.ndarray:
    """Return the L2 penalty on each coefficient."""
    decay = {
        id(parameter): value
        for parameter, value in zip(model.parameters, model.weight_decay, strict=True)
    }
    layer = model.net.module_.layers[0]
    penalty = np.full(layer.in_features, decay.get(id(layer.weight), 0.0))
    if layer.bias is not None:
        penalty = np.append(penalty, decay.get(id(layer.bias), 0.0))
    # Two logits share the coefficients' difference, and with it the penalty.
    return penalty / layer.out_features


def _degrees_of_freedom(n_samples: int, count: float) -> float:
    """Return the degrees of freedom of the residuals."""
    freedom = n_samples - count
    # Without a penalty the leverages sum to an integer, up to rounding.
    if freedom < 1e-6 * n_samples:
        raise ValueError(
            "The training data must have more samples than the model has coefficients "
            f"for the scorer 'cook_distance', got {n_samples} and {count:.4g}."
        )
    return freedom
