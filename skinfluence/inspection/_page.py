"""The page of an audit: one file with all that it needs, in which data is only text."""

import base64
import hashlib
import unicodedata
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

_POLICY = (
    "default-src 'none'; img-src data:; style-src 'sha256-{style}'; "
    "script-src 'sha256-{script}'; base-uri 'none'; form-action 'none'"
)
# What the browser's part of the page needs to know.
_FOR_SCRIPT = (
    "title",
    "fingerprint",
    "unit",
    "classes",
    "epochs",
    "n_asked",
    "n_samples",
    "ranked_by_influence",
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
        )
    )


def visible(text: Any) -> str:
    """Return text in which characters that have no shape, or move others, are seen."""
    return "".join(map(_shape, str(text)))


def _shape(character: str) -> str:
    if character in "\n\t":
        return character
    code = ord(character)
    if code < 32:
        return chr(0x2400 + code)
    if unicodedata.category(character) in ("Cc", "Cf", "Cs"):
        return f"‹U+{code:04X}›"
    return character


@cache
def _environment() -> Any:
    try:
        import jinja2
    except ImportError as error:
        raise ImportError(
            "A report's page needs jinja2: pip install 'skinfluence[report]'."
        ) from error
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_template_text),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["visible"] = visible
    return environment


@cache
def _template_text(name: str) -> str:
    return files(__package__).joinpath("templates", name).read_text("utf-8")


def _digest(text: str) -> str:
    """Return what the page's policy knows its own style and script by."""
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
