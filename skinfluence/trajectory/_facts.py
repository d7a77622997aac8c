"""The facts of a run besides its steps and states."""

from dataclasses import KW_ONLY, dataclass, field

from torch import Tensor

from ..training import Address


@dataclass
class RunFacts:
    """The facts of a run besides its steps and states, see :class:`Trajectory`.

    Attributes
    ----------
    oldest : int
        The first step whose state may be asked for.
    """

    seed: int
    keep_epochs: int | None = None
    addresses: list[Address] = field(default_factory=list)
    untrained: list[Tensor] = field(default_factory=list)
    _: KW_ONLY
    flaws: dict[int, str] = field(default_factory=dict)
    diverged_at: int | None = None
    n_samples: int = 0
    interval: int = 1
    max_bytes: int | None = None
    anchors: set[int] = field(default_factory=set)
    oldest: int = 0


def cut_facts(facts: RunFacts, n_steps: int) -> None:
    """Forget what concerns the steps from `n_steps` on."""
    # A state's flaw lies on the path into it: the new end keeps its own.
    facts.flaws = {k: why for k, why in facts.flaws.items() if k <= n_steps}
    facts.anchors = {k for k in facts.anchors if k <= n_steps}
    if facts.diverged_at is not None and facts.diverged_at >= n_steps:
        facts.diverged_at = None
    # A killed run may have counted epochs whose states were not on the disk yet.
    facts.oldest = min(facts.oldest, n_steps)
