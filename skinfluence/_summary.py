"""Facts about a fitted object, shown in a notebook: as a table, and as text."""

from collections.abc import Mapping
from html import escape
from typing import Any

from sklearn import get_config
from sklearn.base import BaseEstimator

# Colours are the page's own, so that the table is right on light and dark ones.
_STYLE = (
    ".skinfluence-facts{margin:.5em 0;border-collapse:collapse;"
    "font-family:monospace;font-size:.9em}"
    ".skinfluence-facts tr{background:none!important}"
    ".skinfluence-facts :is(th,td){padding:.2em .7em;text-align:left!important;"
    "vertical-align:top;color:inherit;background:none;"
    "border:1px solid rgba(128,128,128,.35);max-width:60em;overflow-wrap:anywhere}"
    ".skinfluence-facts th{font-weight:normal;opacity:.75;white-space:nowrap}"
)


def facts_as_text(facts: Mapping[str, str]) -> str:
    """Return a line for each fact, the values below one another."""
    width = max(map(len, facts), default=0) + 1
    return "\n".join(f"{label + ':':{width}} {value}" for label, value in facts.items())


def facts_as_html(facts: Mapping[str, str]) -> str:
    """Return a table of the facts, whatever their texts are; "" without any."""
    if not facts:
        return ""
    rows = "".join(
        f"<tr><th>{escape(label)}</th><td>{escape(value)}</td></tr>"
        for label, value in facts.items()
    )
    return f'<style>{_STYLE}</style><table class="skinfluence-facts">{rows}</table>'


def _shows_html() -> bool:
    return bool(get_config()["display"] == "diagram")


class Summarized:
    """Shown in a notebook by its facts; by its ``repr`` with ``display="text"``."""

    def _facts(self) -> Mapping[str, str]:
        """Return what there is to say, by label."""
        raise NotImplementedError

    def _repr_html_(self) -> str | None:
        return facts_as_html(self._facts()) if _shows_html() else None


class SummarizedEstimator(BaseEstimator):
    """Shows the facts of a fitted estimator below scikit-learn's diagram of it."""

    def _facts(self) -> Mapping[str, str]:
        """Return what there is to say, by label; nothing before the fit."""
        raise NotImplementedError

    def _html_repr(self) -> str:
        return f"{super()._html_repr()}{facts_as_html(self._facts())}"

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, str]:
        bundle: dict[str, str] = super()._repr_mimebundle_(**kwargs)
        texts = bundle["text/plain"], facts_as_text(self._facts())
        return {**bundle, "text/plain": "\n".join(filter(None, texts))}
