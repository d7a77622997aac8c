"""The built-in modules, chosen by name: ``"mlp"`` and ``"linear"``."""

import inspect
from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor, nn

from .._numbers import are_counts, check_integer, is_real
from .._values import check_boolean

_ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
}


class _Dense(nn.Module):
    """Layers from 2-D input to one output a sample, or several."""

    def __init__(self, layers: Sequence[nn.Module], n_outputs: int | None) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)
        self.flat = n_outputs is None

    def forward(self, X: Tensor) -> Tensor:
        """Return outputs of shape (n, n_outputs), or (n,) for a 1-D target."""
        outputs: Tensor = self.layers(X)
        return outputs.squeeze(-1) if self.flat else outputs


class LinearModule(_Dense):
    """One linear layer.

    Parameters
    ----------
    n_features : int
        Number of input features.
    n_outputs : int or None
        Number of outputs; None for one, without an axis of its own.
    bias : bool
        Whether the layer has an intercept.

    Examples
    --------
    >>> import torch
    >>> from skinfluence.estimators import LinearModule
    >>> LinearModule(4, 3)(torch.zeros(2, 4)).shape
    torch.Size([2, 3])
    """

    def __init__(
        self, n_features: int, n_outputs: int | None = None, *, bias: bool = True
    ) -> None:
        _check_sizes(n_features, n_outputs)
        bias = check_boolean("module__bias", bias)
        super().__init__([nn.Linear(n_features, n_outputs or 1, bias=bias)], n_outputs)


class MLPModule(_Dense):
    """A multi-layer perceptron.

    Parameters
    ----------
    n_features : int
        Number of input features.
    n_outputs : int or None
        Number of outputs; None for one, without an axis of its own.
    hidden_layer_sizes : sequence of int
        Widths of the hidden layers.
    activation : {"gelu", "silu", "tanh", "relu"}
        Activation of the hidden layers. All but ReLU are smooth: the derivative of a
        run sees all that they do.
    dropout : float
        Dropout probability after each hidden layer.

    Examples
    --------
    >>> from skinfluence.estimators import MLPModule
    >>> module = MLPModule(4, 3, hidden_layer_sizes=(8, 8))
    >>> sum(parameter.numel() for parameter in module.parameters())
    139
    """

    def __init__(
        self,
        n_features: int,
        n_outputs: int | None = None,
        *,
        hidden_layer_sizes: Sequence[int] = (100,),
        activation: str = "gelu",
        dropout: float = 0.0,
    ) -> None:
        _check_sizes(n_features, n_outputs, hidden_layer_sizes)
        if activation not in list(_ACTIVATIONS):
            raise ValueError(
                f"`module__activation` must be one of {sorted(_ACTIVATIONS)}, "
                f"got {activation!r}."
            )
        if not is_real(dropout) or not 0 <= dropout < 1:
            raise ValueError(
                "`module__dropout` must be a probability, at least 0 and below 1, got "
                f"{dropout!r}."
            )
        layers: list[nn.Module] = []
        width = n_features
        for size in hidden_layer_sizes:
            layers += [nn.Linear(width, size), _ACTIVATIONS[activation]()]
            if dropout:
                layers.append(nn.Dropout(dropout))
            width = size
        super().__init__([*layers, nn.Linear(width, n_outputs or 1)], n_outputs)


def _check_sizes(n_features: object, n_outputs: object, sizes: Any = ()) -> None:
    """Refuse what is no number of units, or no sequence of them."""
    check_integer("n_features", n_features, 1)
    if n_outputs is not None:
        check_integer("n_outputs", n_outputs, 1)
    sequence = isinstance(sizes, (Sequence, np.ndarray)) and not isinstance(sizes, str)
    if not sequence or not are_counts(sizes, 1):
        raise ValueError(
            "`module__hidden_layer_sizes` must be a sequence of integers of at least "
            f"1, such as (100,), got {sizes!r}."
        )


BUILT_IN: dict[str, type[nn.Module]] = {"linear": LinearModule, "mlp": MLPModule}

# As they were, in files that do not tell them: those that have changed since.
_EARLIER_DEFAULTS = {"module__activation": "relu"}


def module_defaults(module: object) -> dict[str, Any]:
    """Return the parameters that a built-in module takes unless they are given."""
    kinds = [kind for name, kind in BUILT_IN.items() if module in (name, kind)]
    return {
        f"module__{parameter.name}": parameter.default
        for kind in kinds
        for parameter in inspect.signature(kind).parameters.values()
        if parameter.kind is parameter.KEYWORD_ONLY
    }


def earlier_module_defaults(module: object) -> dict[str, Any]:
    """Return what they were for files that do not tell them."""
    return {
        name: _EARLIER_DEFAULTS.get(name, default)
        for name, default in module_defaults(module).items()
    }
