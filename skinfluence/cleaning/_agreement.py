"""How far the decisions of two readers agree."""

import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
from sklearn.metrics import cohen_kappa_score

Decided = Mapping[int, tuple[str, Any]]
"""Row of a sample -> the word, and the new label, "" where there is none."""

_COLUMNS = ("sample", "first", "first_label", "second", "second_label")
_MOST_LISTED = 5


@dataclass(frozen=True, eq=False)
class Agreement:
    """How far two readers agree on the samples that both have decided on.

    Parameters
    ----------
    n_both : int
        How many samples both decided on.
    share : float
        The share of these on which they agree, to the label; NaN if there are none.
    kappa : float
        Cohen's kappa of these decisions: 1 for full agreement, 0 for what chance alone
        would give. NaN if there are none, or both have made one and the same decision
        about all of them.
    conflicts : DataFrame
        The samples on which they disagree: ``sample``, ``first`` and ``second`` (their
        decisions), ``first_label`` and ``second_label`` (the new labels).

    See Also
    --------
    skinfluence.cleaning.Decisions.agreement : Returns it.

    Examples
    --------
    >>> import numpy as np
    >>> from skinfluence.cleaning import Decisions
    >>> none = np.array([], dtype=int)
    >>> first = Decisions(
    ...     kept=np.array([1, 2]), removed=np.array([5, 8]), relabelled={}
    ... )
    >>> second = Decisions(kept=np.array([2, 8]), removed=np.array([5]), relabelled={})
    >>> print(first.agreement(second))
    Both decided on 3 samples and agree on 2 (67 %; Cohen's kappa 0.40).
    """

    n_both: int
    share: float
    kappa: float
    conflicts: pd.DataFrame

    def __str__(self) -> str:
        return self.in_words()

    def in_words(self, what: str = "samples") -> str:
        """Describe the agreement.

        Parameters
        ----------
        what : str, default="samples"
            What was decided on.

        Returns
        -------
        str
            A sentence.
        """
        if not self.n_both:
            return f"Both decided on none of the same {what}."
        n_agree = self.n_both - len(self.conflicts)
        kappa = "" if math.isnan(self.kappa) else f"; Cohen's kappa {self.kappa:.2f}"
        return (
            f"Both decided on {self.n_both:,} {what} and agree on {n_agree:,} "
            f"({self.share:.0%}{kappa})."
        ).replace("%", " %")


def agreement_of(first: Decided, second: Decided) -> Agreement:
    """Compare the decisions on the samples that both have decided on."""
    both = sorted(first.keys() & second.keys())
    conflicts = [(k, *first[k], *second[k]) for k in both if first[k] != second[k]]
    frame = pd.DataFrame(conflicts, columns=list(_COLUMNS))
    share = 1 - len(conflicts) / len(both) if both else float("nan")
    codes = _codes([first[k] for k in both], [second[k] for k in both])
    return Agreement(len(both), share, _kappa(*codes), frame)


def listed_conflicts(agreement: Agreement) -> str:
    """Return the first conflicts in words."""
    told = [
        f"sample {line['sample']} ({_said(line, 'first')} or {_said(line, 'second')})"
        for line in agreement.conflicts.head(_MOST_LISTED).to_dict("records")
    ]
    more = len(agreement.conflicts) - len(told)
    return ", ".join(told) + (f" and {more} more" if more else "")


def _said(line: Mapping[Hashable, Any], reader: str) -> str:
    word, label = line[reader], line[f"{reader}_label"]
    return f"relabel to {str(label)[:40]!r}" if word == "relabel" else str(word)


def _codes(*readers: list[tuple[str, Any]]) -> list[list[int]]:
    """Return decisions as numbers, the same for the same decision."""
    known: dict[tuple[str, Any], int] = {}
    return [[known.setdefault(each, len(known)) for each in own] for own in readers]


def _kappa(first: list[int], second: list[int]) -> float:
    # Chance agrees as often: there is nothing to compare with.
    if len({*first, *second}) < 2:
        return float("nan")
    return float(cohen_kappa_score(first, second))
