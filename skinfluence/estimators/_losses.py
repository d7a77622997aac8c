"""From what a module returns to one loss for each sample."""

from collections.abc import Mapping
from typing import Any

import torch
from skorch.utils import to_tensor
from torch import Tensor

from ..exceptions import UnsupportedCriterionError
from ._typing import Device

# Modules whose criteria take the outputs alone.
_OWN = {"torch", __name__.partition(".")[0]}


def outputs_of(returned: object) -> Any:
    """Return a module's outputs, among what it returned.

    Parameters
    ----------
    returned : Tensor, tuple, list, mapping or object
        What the module's ``forward`` returned.

    Returns
    -------
    Tensor
        The first of a tuple or list; the "logits" of a mapping, dataclass or other
        object, or its only value.

    Raises
    ------
    TypeError
        If there are several values, and none of the name "logits".

    Examples
    --------
    >>> from skinfluence.estimators import outputs_of
    >>> outputs_of({"loss": 0.5, "logits": [0.0, 1.0]})
    [0.0, 1.0]
    """
    if isinstance(returned, Tensor):
        return returned
    if isinstance(returned, (tuple, list)):
        return returned[0]
    values = _named(returned)
    if "logits" in values:
        return values["logits"]
    if len(values) == 1:
        return next(iter(values.values()))
    raise TypeError(
        f"A module that returns a {type(returned).__name__} must name its outputs "
        f"'logits', got {list(values)}. Override `get_losses` to use the others, and "
        "return the outputs as 'logits'."
    )


def _named(returned: object) -> Mapping[str, Any]:
    """Return what a module returned by its names."""
    if isinstance(returned, Mapping):
        return returned
    if hasattr(returned, "logits"):
        return {"logits": returned.logits}
    return getattr(returned, "__dict__", {})


def movable(returned: object) -> Any:
    """Return what skorch can move to a device, of what a module returned.

    Mappings may hold others beside the outputs, such as a language model's cache.
    """
    if isinstance(returned, (Tensor, tuple, list)):
        return returned
    values = _named(returned)
    found = isinstance(returned, Mapping) or "logits" in values or len(values) == 1
    return outputs_of(returned) if found else returned


def criterion_takes(criterion: object, returned: object) -> Any:
    """Return what a criterion takes: outputs, or your own all that was returned."""
    return outputs_of(returned) if is_known(criterion) else returned


def is_known(criterion: object) -> bool:
    """Whether a criterion is torch's or the library's own."""
    forward = getattr(type(criterion), "forward", None)
    return getattr(forward, "__module__", "").partition(".")[0] in _OWN


def targets_like(outputs: object, targets: object, device: Device) -> Any:
    """Give targets the outputs' shape and dtype where that keeps their values."""
    if isinstance(targets, Tensor):
        targets = targets.to(device)  # skorch's own way takes ten times as long
    else:
        targets = to_tensor(targets, device=device)
    if isinstance(outputs, Tensor) and isinstance(targets, Tensor):
        return _like_outputs(outputs, targets)
    return targets


def losses_by_sample(
    criterion: object, losses: Tensor, targets: Any, *, summed: bool
) -> Tensor:
    """Reduce what a criterion returned to one loss for each sample, (batch,).

    `summed` tells whether a sample's losses are summed, or their mean is taken: over
    the targets that the criterion does not ignore.
    """
    _check_by_sample(criterion, losses, len(targets))
    if losses.dim() == 1:
        return losses
    each = losses.flatten(1)
    if summed:
        return each.sum(1)
    n_counted = _n_counted(criterion, losses, targets)
    if n_counted is None:
        return each.mean(1)
    # To the bit what it is without such a criterion, where none is ignored.
    return torch.where(
        n_counted == each.shape[1], each.mean(1), each.sum(1) / n_counted
    )


def parts_by_target(
    criterion: object, losses: Tensor, targets: Any, *, summed: bool
) -> Tensor:
    """Return the parts of each sample's loss, (batch, n_targets), which sum to it."""
    _check_by_sample(criterion, losses, len(targets))
    parts = losses.reshape(len(targets), -1)
    if summed:
        return parts
    n_counted = _n_counted(criterion, losses, targets)
    return parts / (parts.shape[1] if n_counted is None else n_counted[:, None])


def _n_counted(criterion: object, losses: Tensor, targets: Any) -> Tensor | None:
    """Return how many targets of each sample count, at least 1; None for all."""
    ignored = getattr(criterion, "ignore_index", None)
    if ignored is None or losses.dim() == 1 or targets.shape != losses.shape:
        return None
    return (targets != ignored).flatten(1).sum(1).clamp_min(1)


def _check_by_sample(criterion: object, losses: Tensor, n_samples: int) -> None:
    if losses.dim() == 0 or len(losses) != n_samples:
        raise UnsupportedCriterionError(
            "`criterion` must give one loss for each sample (as torch's criteria "
            f"do with reduction='none'): got shape {tuple(losses.shape)} for "
            f"{n_samples} samples from {type(criterion).__name__}."
        )


def _like_outputs(y_pred: Tensor, y_true: Tensor) -> Tensor:
    differ = y_true.shape != y_pred.shape and y_true.numel() == y_pred.numel()
    if differ and _squeezed(y_true) == _squeezed(y_pred):
        # (n,) against (n, 1): a criterion would broadcast them to (n, n).
        y_true = y_true.reshape(y_pred.shape)
    if y_true.is_floating_point() or y_true.shape == y_pred.shape:
        y_true = y_true.to(y_pred.dtype)
    return y_true


def _squeezed(tensor: Tensor) -> list[int]:
    return [size for size in tensor.shape if size != 1]
