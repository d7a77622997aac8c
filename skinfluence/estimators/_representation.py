"""The last hidden layer of a net."""

import threading

import numpy as np
import torch
from skorch.net import NeuralNet
from torch import Tensor, nn


def represent(net: NeuralNet, X: object) -> np.ndarray:
    """Return the inputs of the last linear layer of a fitted net.

    Parameters
    ----------
    net : skorch.NeuralNet
        A fitted net whose module has a :class:`torch.nn.Linear`.
    X : array-like of n_samples rows, or as in ``fit``
        Samples.

    Returns
    -------
    ndarray of shape (n_samples, n_units)
        The representation, in the network's dtype; for a linear model X itself.

    Raises
    ------
    ValueError
        If the module has no linear layer.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skinfluence import SGDInfluenceClassifier
    >>> from skinfluence.estimators import represent
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = SGDInfluenceClassifier(module__hidden_layer_sizes=(5,), max_epochs=1)
    >>> represent(clf.fit(X, y), X).shape
    (150, 5)
    """
    thread, seen = threading.get_ident(), []

    def note(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        # Another thread may be using the same net.
        if threading.get_ident() == thread:
            seen.append(inputs[0].detach().flatten(1).cpu())

    layers = [part for part in net.module_.modules() if isinstance(part, nn.Linear)]
    if not layers:
        raise ValueError(
            "A representation needs a module with a torch.nn.Linear, got "
            f"{type(net.module_).__name__}."
        )
    hooks = [layer.register_forward_pre_hook(note) for layer in layers]
    parts = []
    try:
        for _ in net.forward_iter(X):
            # The last of the layers to be called.
            parts.append(seen[-1])
            seen.clear()
    finally:
        for hook in hooks:
            hook.remove()
    representation: np.ndarray = torch.cat(parts).numpy()
    return representation
