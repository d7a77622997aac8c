"""The cleaned network's last hidden layer as features."""

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import TransformerMixin
from sklearn.utils import Tags
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from ..estimators import represent
from ._data import Samples


class _Transformer(TransformerMixin):
    """The methods of a transformer, whose output scikit-learn wraps."""

    _n_features_out_: int

    def transform(self, X: Samples) -> np.ndarray:
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

    def fit_transform(
        self, X: Samples, y: ArrayLike | None = None, **fit_params: object
    ) -> np.ndarray:
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

    def get_feature_names_out(self, input_features: object = None) -> np.ndarray:
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


def _transforms(cleaner: "RepresentationMixin") -> bool:
    if not cleaner._transforms():
        raise AttributeError(
            "`output` must be 'representation' for a cleaner that transforms, got "
            "'prediction', with which it is the last step of a scikit-learn Pipeline, "
            "or resamples in one of imbalanced-learn's."
        )
    return True


# A subclass of TransformerMixin has the methods in its body wrapped, which would make
# conditional ones unconditional. Hence a separate class for the conditions.
class _Conditional:
    transform = available_if(_transforms)(_Transformer.transform)
    fit_transform = available_if(_transforms)(_Transformer.fit_transform)
    get_feature_names_out = available_if(_transforms)(
        _Transformer.get_feature_names_out
    )


class RepresentationMixin(_Conditional, _Transformer):
    """Makes a cleaner with ``output="representation"`` a transformer."""

    output: str

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        if not self._transforms():
            tags.transformer_tags = None
        return tags

    def _transforms(self) -> bool:
        return self.output == "representation"
