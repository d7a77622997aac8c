"""The page of an audit: one self-contained file, in which data is never markup."""

import base64
import hashlib
import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from .charts import curve, histogram, scatter
from .extras import needed
from .values import cut, written

_POLICY = (
    "default-src 'none'; img-src data:; style-src 'sha256-{style}'; "
    "script-src 'sha256-{script}'; base-uri 'none'; form-action 'none'"
)
# Long facts are cut. Invisible characters could disguise a text (right-to-left
# overrides, zero-width spaces), so they are shown as code points.
_MOST_CHARACTERS = 5_000
_UNSEEN = re.compile(
    "[\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f\\xad\\u061c\\u200b\\u200e\\u200f\\u202a-\\u202e"
    "\\u2060-\\u2069\\ufeff\\ufff9-\\ufffb\\ud800-\\udfff]"
)
# The part of the content that the script needs.
_FOR_SCRIPT = (
    "title",
    "fingerprint",
    "measure",
    "unit",
    "classes",
    "epochs",
    "level",
    "n_samples",
    "ranked_by_influence",
    "by_label",
    "suspects",
    "validation",
)


def page(content: Mapping[str, Any]) -> str:
    """Return the page as HTML."""
    style, script = _template_text("report.css"), _template_text("report.js")
    return str(
        _environment()
        .get_template("report.html")
        .render(
            **content,
            style=style,
            script=script,
            policy=_POLICY.format(style=_digest(style), script=_digest(script)),
            data={name: content[name] for name in _FOR_SCRIPT},
            charts=_charts(content),
        )
    )


def _charts(content: Mapping[str, Any]) -> dict[str, Any]:
    unit = content["unit"]
    check, search = content["check"], content["curve"]
    ranked_by = ("influence", unit) if content["ranked_by_influence"] else ("score", "")
    return {
        "distribution": histogram(content["distribution"], *ranked_by),
        "check": check and scatter(check, unit),
        "curve": search and curve(search),
    }


def visible(text: object) -> str:
    """Return text with its invisible and reordering characters made visible."""
    return _UNSEEN.sub(_shape, cut(text, _MOST_CHARACTERS))


def _shape(match: re.Match[str]) -> str:
    code = ord(match[0])
    # Unicode has pictures of the control characters.
    return chr(0x2400 + code) if code < 32 else f"‹U+{code:04X}›"


@cache
def _environment() -> Any:
    jinja2 = needed("jinja2", "jinja2")
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_template_text),
        # The page's own style and script are the only text marked as safe.
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(visible=visible, number=written)
    return environment


@cache
def _template_text(name: str) -> str:
    return files(__package__).joinpath("templates", name).read_text("utf-8")


def _digest(text: str) -> str:
    """Return the hash by which the page's policy allows its own style and script."""
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
