"""The classifier."""

from typing import Any

import numpy as np
import torch
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets
from skorch.classifier import NeuralNetClassifier
from torch import nn
from torch.utils.data import DataLoader

from ._contract import EstimatorContract
from ._data import ArrayDataset
from ._refit import RefitMixin
from ._validation import check_weights


class SGDInfluenceClassifier(RefitMixin, EstimatorContract, NeuralNetClassifier):
    def __init__(
        self,
        module: Any = "mlp",
        *,
        criterion: Any = nn.CrossEntropyLoss,
        optimizer: Any = torch.optim.SGD,
        lr: float = 0.1,
        max_epochs: int = 20,
        batch_size: int = 64,
        shuffle: bool = True,
        class_weight: Any = None,
        dtype: str = "auto",
        device: Any = "cpu",
        random_state: Any = None,
        record: Any = "all",
        compile: Any = False,
        train_split: Any = None,
        callbacks: Any = None,
        warm_start: bool = False,
        verbose: int = 0,
        classes: Any = None,
        predict_nonlinearity: Any = "auto",
        iterator_train: Any = DataLoader,
        iterator_valid: Any = DataLoader,
        dataset: Any = ArrayDataset,
        use_caching: Any = "auto",
        torch_load_kwargs: Any = None,
        **kwargs: Any,
    ) -> None:
        self._set_init_params(locals())

    def check_data(self, X: Any, y: Any) -> None:
        """Find the classes of a Dataset that holds its own targets."""
        if y is None:
            super().check_data(X, y)

    def _encode_targets(
        self, y: Any, *, reset: bool, classes: Any = None, name: str = "y"
    ) -> Any:
        """Return class indices."""
        if y is None:
            return None
        check_classification_targets(y)
        if reset:
            known = self.classes if self.classes is not None else classes
            self.classes_inferred_ = np.unique(y if known is None else known)
            self.n_outputs_ = len(self.classes_inferred_)
        return self._class_indices(y, name)

    def _class_indices(self, y: Any, name: str) -> Any:
        order = np.argsort(self.classes_)
        places = np.searchsorted(self.classes_, y, sorter=order)
        indices = order[np.minimum(places, len(order) - 1)]
        unknown = np.unique(y[self.classes_[indices] != y])
        if len(unknown):
            raise ValueError(
                f"`{name}` must have only labels that the classifier was fitted on "
                f"({list(self.classes_)}), got {list(unknown)}."
            )
        return indices

    def _check_weights(self, X: Any, y: Any, sample_weight: Any) -> Any:
        if self.class_weight is not None:
            if y is None:
                raise ValueError(
                    "`class_weight` needs the labels: give them as y, or use "
                    "`sample_weight`."
                )
            own = compute_sample_weight(self.class_weight, y)
            given = check_weights(X, sample_weight)
            sample_weight = own if given is None else own * given
        return super()._check_weights(X, y, sample_weight)

    def predict(self, X: Any) -> Any:
        """Predict class labels.

        Parameters
        ----------
        X : array-like or CSR matrix of shape (n_samples, n_features), or as in fit
            The samples.

        Returns
        -------
        ndarray of shape (n_samples,)
            Labels; while training goes on, and for callbacks, the class indices that
            the net's own datasets hold.
        """
        indices = self.predict_proba(X).argmax(axis=1)
        return indices if self.run_ is not None else self.classes_[indices]
