"""Tables of the error after removing images, against that with all of them."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd
from cleansing import NONE
from scipy.stats import ttest_rel


def error_before(curves: pd.DataFrame) -> pd.Series:
    """Return each split's share of misclassified test images with all images."""
    return curves[curves["method"] == NONE].set_index("seed")["test_error"]


def summary(curves: pd.DataFrame) -> pd.DataFrame:
    """Return means over the splits, and paired t-tests against no removal."""
    before = error_before(curves)
    removed = curves[curves["method"] != NONE]
    rows = [
        {
            "method": method,
            "retrain": retrain,
            "n_removed": count,
            **compared(own, before),
            "val_error": own["val_error"].mean(),
            "val_loss": own["val_loss"].mean(),
            "precision": own["precision"].mean(),
        }
        for (method, retrain, count), own in removed.groupby(
            ["method", "retrain", "n_removed"], sort=False
        )
    ]
    return pd.DataFrame(rows)


def compared(rows: pd.DataFrame, before: pd.Series) -> dict[str, float]:
    """Return the mean error of a row for each split, its gain, and how sure that is."""
    after = rows.set_index("seed")["test_error"]
    before = before.loc[after.index]
    gain = before - after
    # Without any difference there is nothing to test.
    p = ttest_rel(before, after).pvalue if gain.any() else 1.0
    return {
        "error": after.mean(),
        "gain": gain.mean(),
        "gain_se": gain.std(ddof=1) / len(gain) ** 0.5,
        "n_better": int((gain > 0).sum()),
        "p": p,
    }


def best(curves: pd.DataFrame) -> pd.DataFrame:
    """Return each method at the number that has the lowest mean error on the curve.

    It is the same in all splits, and chosen by the test images, as a reader of the
    curve would.
    """
    before = error_before(curves)
    rows = []
    for names, own in _by_curve(curves):
        means = own.groupby("n_removed")["test_error"].mean()
        at_best = own[own["n_removed"] == means.idxmin()]
        line = _readable(compared(at_best, before), len(before))
        rows.append({**names, "m": means.idxmin(), **line})
    return pd.DataFrame(rows)


def validated(curves: pd.DataFrame) -> pd.DataFrame:
    """Return each method at the number with the fewest wrong validation images.

    Each split has its own number, of equal ones the smallest; 0 is among them.
    """
    before, none = error_before(curves), curves[curves["method"] == NONE]
    rows = []
    for names, own in _by_curve(curves):
        either = pd.concat([none, own]).sort_values(["val_error", "n_removed"])
        chosen = either.groupby("seed", as_index=False).first()
        numbers = ", ".join(str(count) for count in chosen["n_removed"])
        line = _readable(compared(chosen, before), len(before))
        rows.append({**names, "m of each split": numbers, **line})
    return pd.DataFrame(rows)


def found(curves: pd.DataFrame) -> pd.DataFrame:
    """Return the mean share of flipped labels among the first images, in percent."""
    removed = curves[curves["method"] != NONE]
    table = removed.pivot_table("precision", "method", "n_removed", sort=False)
    return (100 * table[sorted(table)]).map("{:.0f}".format).reset_index()


def _by_curve(curves: pd.DataFrame) -> Iterator[tuple[dict[str, str], pd.DataFrame]]:
    removed = curves[curves["method"] != NONE]
    for (method, retrain), own in removed.groupby(["method", "retrain"], sort=False):
        yield {"method": method, "retrained": retrain}, own


def _readable(comparison: dict[str, float], n_splits: int) -> dict[str, str]:
    """Return a comparison as a reader wants it, in percent."""
    gain, error = 100 * comparison["gain"], 100 * comparison["gain_se"]
    return {
        "error (%)": f"{100 * comparison['error']:.2f}",
        "gain (points)": f"{gain:+.2f} ± {error:.2f}".replace("-", "−"),
        "better in": f"{comparison['n_better']} of {n_splits}",
        "p": f"{comparison['p']:.2g}",
    }
