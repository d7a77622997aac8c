"""Embeddings with options that have no derivative."""

from torch import nn

from ..exceptions import UnsupportedModuleError
from ._objective import Objective

_EMBEDDINGS = (nn.Embedding, nn.EmbeddingBag)

# Options that a few rows need not show, with the demand and the reason.
_OPTIONS = {
    "max_norm": (
        "max_norm=None",
        "it rewrites its weights while it reads them, which autograd does not see",
    ),
    "scale_grad_by_freq": (
        "scale_grad_by_freq=False",
        "it scales its gradient, and not the gradient's derivative",
    ),
}


def check_options(objective: Objective, remedy: str) -> None:
    """Refuse embeddings with options that have no derivative."""
    for module in objective.modules:
        for name, part in module.named_modules():
            shown = type(part).__name__
            for option, (demand, why) in _OPTIONS.items():
                if isinstance(part, _EMBEDDINGS) and getattr(part, option):
                    where = f"`{name}` ({shown})" if name else f"`{shown}`"
                    raise UnsupportedModuleError(
                        f"{where} must have {demand}: {why}. {remedy}"
                    )
