"""Cook's distance of linear models."""

from typing import Any

import numpy as np
import torch
from scipy.linalg import pinvh
from sklearn.base import BaseEstimator
from torch import Tensor, nn

from ..estimators import FinalModel, LinearModule, final_model
from ..exceptions import UnsupportedCriterionError
from ._checks import check_own
from ._gradients import weights_of

_CRITERIA = (nn.MSELoss, nn.CrossEntropyLoss, nn.BCEWithLogitsLoss)


class CookDistance(BaseEstimator):
    r"""Score the samples of a linear model by Cook's distance: the largest go first.

    The name ``"cook_distance"`` stands for it. How far the model's fitted values move
    without the sample, in units of their standard errors [1]_. For a linear regression
    with residual :math:`e_i`, leverage :math:`h_i`, p coefficients and residual
    variance :math:`s^2`,

    .. math:: \text{score}_i = -D_i, \quad
       D_i = \frac{e_i^2}{p s^2} \frac{h_i}{(1 - h_i)^2}.

    For a logistic regression Pregibon's one-step version [2]_, with Pearson's residual
    in the place of :math:`e_i`, the leverage of the weighted least squares, and
    :math:`s^2 = 1`. Sample and class weights and the optimizer's L2 penalty are part of
    the leverage; with a penalty p is the effective number of coefficients, the sum of
    the leverages. Residuals are those of the trained model, which should have
    converged. No unit. The validation data is not used.

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

    def check_estimator(self, estimator: Any) -> None:
        """Raise an error if the estimator is no linear model with a known criterion.

        Parameters
        ----------
        estimator : object
            The estimator, fitted or not.

        Raises
        ------
        TypeError
            If it is not one of the library's estimators.
        ValueError
            If its module is not ``"linear"``.
        UnsupportedCriterionError
            If its criterion is neither the squared error nor the cross-entropy.
        """
        check_own(estimator, "cook_distance")
        module = estimator.module
        linear = module in ("linear", LinearModule) or isinstance(module, LinearModule)
        if not linear:
            raise ValueError(
                "`module` of the estimator must be 'linear' for the scorer "
                f"'cook_distance', got {module!r}. Use another scorer, such as "
                "'koh_liang'."
            )
        criterion = estimator.criterion
        kind = criterion if isinstance(criterion, type) else type(criterion)
        if kind not in _CRITERIA:
            raise UnsupportedCriterionError(
                "`criterion` of the estimator must be one of "
                f"{', '.join(known.__name__ for known in _CRITERIA)} for the scorer "
                f"'cook_distance', got {kind.__name__}."
            )

    def __call__(
        self,
        estimator: Any,
        X: Any,
        y: Any,
        X_val: Any = None,
        y_val: Any = None,
        *,
        sample_weight_val: Any = None,
    ) -> np.ndarray:
        """Return minus Cook's distance of each sample.

        Parameters
        ----------
        estimator : object
            A linear estimator of the library, fitted on X and y.
        X, y : array-like of n_samples rows
            What it was fitted on; not looked at, the estimator knows them.
        X_val, y_val, sample_weight_val : object
            Not used.

        Returns
        -------
        ndarray of shape (n_samples,), float64
            Never positive; 0 for rows that were not trained on.

        Raises
        ------
        ValueError
            If there are several targets or more than two classes, or not more samples
            than coefficients.
        """
        self.check_estimator(estimator)
        model = final_model(estimator)
        rows, slopes, curvatures, weights = _least_squares(model)
        hessian = rows.T @ (rows * (weights * curvatures)[:, None])
        inverse = pinvh(hessian + len(rows) * np.diag(_penalty(model)))
        squares = np.einsum("ij,jk,ik->i", rows, inverse, rows)
        leverages = weights * curvatures * squares
        count = float(leverages.sum())
        dispersion = 1.0
        if type(model.net.criterion_) is nn.MSELoss:
            spare = _spare(len(rows), count)
            dispersion = float(weights @ (slopes**2 / curvatures)) / spare
        left = np.maximum(1 - leverages, np.finfo(np.float64).eps)
        distances = (weights * slopes / left) ** 2 * squares / (count * dispersion)
        scores = np.zeros(model.n_samples)
        scores[model.trained.numpy()] = -distances
        return scores


def _least_squares(model: FinalModel) -> list[np.ndarray]:
    """Return what one step of weighted least squares is made of.

    The rows that the coefficients multiply, each loss's first and second derivative in
    the one number that they give, and the samples' weights c_i.
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
    """Return how a sample's outputs follow from the one number that counts."""
    two_classes = type(model.net.criterion_) is nn.CrossEntropyLoss
    count = outputs[:1].numel()
    if count != 1 + two_classes:
        raise ValueError(
            "The model must have one target, or two classes, for the scorer "
            f"'cook_distance', got {count} outputs."
        )
    # What counts of two logits is their difference, half of it either way.
    return outputs.new_tensor([-0.5, 0.5]) if two_classes else outputs.new_ones(())


def _derivative(values: Tensor, outputs: Tensor, along: Tensor) -> Tensor:
    (found,) = torch.autograd.grad(values.sum(), outputs, create_graph=True)
    return (found * along).reshape(len(outputs), -1).sum(1)


def _penalty(model: FinalModel) -> np.ndarray:
    """Return the L2 penalty on each coefficient."""
    decay = {
        id(parameter): value
        for parameter, value in zip(model.parameters, model.weight_decay, strict=True)
    }
    layer = model.net.module_.layers[0]
    found = np.full(layer.in_features, decay.get(id(layer.weight), 0.0))
    if layer.bias is not None:
        found = np.append(found, decay.get(id(layer.bias), 0.0))
    # Of two logits, each has half of the coefficients' difference.
    return found / layer.out_features


def _spare(n_samples: int, count: float) -> float:
    """Return the degrees of freedom of the residuals."""
    spare = n_samples - count
    # Sums of leverages are whole numbers but for rounding, where nothing is penalized.
    if spare < 1e-6 * n_samples:
        raise ValueError(
            "The training data must have more samples than the model has coefficients "
            f"for the scorer 'cook_distance', got {n_samples} and {count:.4g}."
        )
    return spare
