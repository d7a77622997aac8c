"""The cleaned network's last hidden layer as features."""

from collections.abc import Callable
from types import MethodType
from typing import Any

import numpy as np
from sklearn.base import TransformerMixin
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from ..estimators import represent


class _TransformParameter:
    """The parameter ``transform`` and the method of that name, in one place.

    scikit-learn looks for both as the attribute ``transform``. The method is found
    there if the parameter is set, and ``get_params`` knows where the parameter is.
    """

    def __init__(self, method: Callable[..., np.ndarray]) -> None:
        self.method = method
        self.__doc__ = method.__doc__

    def __set__(self, cleaner: Any, value: Any) -> None:
        cleaner.__dict__["transform"] = value

    def __get__(self, cleaner: Any, owner: Any = None) -> Any:
        if cleaner is None:
            return self.method
        if not cleaner._transforms():
            raise AttributeError(
                "`transform` must be 'representation' for a cleaner that transforms, "
                "got None. With None it is the last step of a scikit-learn Pipeline, "
                "or resamples in one of imbalanced-learn's."
            )
        return MethodType(self.method, cleaner)


class RepresentationMixin(TransformerMixin):
    """Makes a cleaner with ``transform="representation"`` a transformer."""

    _n_features_out_: int

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        if not self._transforms():
            tags.transformer_tags = None
        return tags

    def _transforms(self) -> bool:
        return self.__dict__["transform"] is not None

    @classmethod
    def _get_param_names(cls) -> list[str]:
        return [name for name in super()._get_param_names() if name != "transform"]

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Get the parameters.

        Parameters
        ----------
        deep : bool, default=True
            Whether to return the parameters of the estimators in it as well.

        Returns
        -------
        dict of str to object
            The parameters by name.
        """
        params = super().get_params(deep=deep)
        return {**params, "transform": self.__dict__["transform"]}

    def transform(self, X: Any) -> np.ndarray:
        """Return the last hidden layer of the cleaned network.

        That is what goes into its last linear layer; for a linear model X itself.

        Parameters
        ----------
        X : array-like or CSR matrix of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        ndarray of shape (n_samples, n_units)
            The representation, in the network's dtype.
        """
        check_is_fitted(self)
        return represent(self.final_estimator_, X)

    def fit_transform(self, X: Any, y: Any = None, **fit_params: Any) -> np.ndarray:
        """Clean, refit, and return the representation of all samples given.

        Parameters
        ----------
        X : array-like or CSR matrix of shape (n_samples, n_features)
            Samples.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Their targets.
        **fit_params : dict
            As in ``fit``.

        Returns
        -------
        ndarray of shape (n_samples, n_units)
            The representation, in the network's dtype.
        """
        return self.fit(X, y, **fit_params).transform(X)

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Return names for the units of the representation.

        Parameters
        ----------
        input_features : object
            Not used; there for scikit-learn's interface.

        Returns
        -------
        ndarray of shape (n_units,), str objects
            The class's name in lower case, and a number.
        """
        check_is_fitted(self, "_n_features_out_")
        prefix = type(self).__name__.lower()
        names = [f"{prefix}{unit}" for unit in range(self._n_features_out_)]
        return np.array(names, dtype=object)


# scikit-learn wraps the output of plain methods only: the condition comes after that.
_plain = vars(RepresentationMixin)
RepresentationMixin.transform = _TransformParameter(_plain["transform"])  # type: ignore[assignment, method-assign]
for _name in ("fit_transform", "get_feature_names_out"):
    _conditional = available_if(lambda cleaner: cleaner._transforms())
    setattr(RepresentationMixin, _name, _conditional(_plain[_name]))
