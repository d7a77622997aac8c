"""Sphinx configuration. The build needs no network and allows no warning."""

import tomllib
from importlib.metadata import version as installed_version
from pathlib import Path

from docutils.nodes import SkipNode
from latex2mathml.converter import convert
from skorch import NeuralNet
from sphinx.util.math import get_node_equation_number

ROOT = Path(__file__).parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))

project = "skinfluence"
author = "The skinfluence developers"
copyright = f"2026, {author}"
version = release = installed_version("skinfluence")

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.doctest",
    "numpydoc",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
templates_path = ["_templates"]
exclude_patterns = ["_build"]
default_role = "literal"  # `name` is a parameter more often than a page

html_math_renderer = "mathml"  # see below

# The docstrings give the types in words.
autodoc_typehints = "none"
autodoc_inherit_docstrings = False  # a public method is documented where it is defined
numpydoc_show_class_members = False
# A Protocol's generated `__init__` takes no parameters that could be described.
numpydoc_validation_exclude = {r"scorers\.Scorer$"}
numpydoc_validation_checks = set(PYPROJECT["tool"]["numpydoc_validation"]["checks"])

# Resolving other projects' names would need a network.
nitpick_ignore_regex = [
    ("py:.*", r"(matplotlib|numpy|pandas|scipy|sklearn|skorch|torch)(\..+)?"),
]

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "filename_pattern": r"/plot_",  # the others are shown, not run
    "doc_module": ("skinfluence",),
    "write_computation_times": False,
    "default_thumb_file": str(ROOT / "docs" / "_static" / "logo.svg"),
}

html_theme = "pydata_sphinx_theme"
html_title = "skinfluence"
html_logo = html_favicon = "_static/logo.svg"
html_static_path = ["_static"]
html_css_files = ["formulas.css"]
html_show_sourcelink = False
html_theme_options = {"logo": {"text": "skinfluence"}}
html_sidebars = {"index": []}  # the front page has cards in their place
copybutton_exclude = ".linenos, .gp, .go"  # prompts and output are not copied


# Browsers show MathML by themselves; MathJax would have to be downloaded by the reader.
def visit_inline_formula(translator, node):
    translator.body.append(convert(node.astext()))
    raise SkipNode


def visit_display_formula(translator, node):
    translator.body.append(translator.starttag(node, "div", CLASS="math notranslate"))
    if node["number"]:
        number = get_node_equation_number(translator, node)
        translator.body.append(f'<span class="eqno">({number})')
        translator.add_permalink_ref(node, "Link to this equation")
        translator.body.append("</span>")
    formula = node.astext()
    if r"\\" in formula:
        formula = rf"\begin{{split}}{formula}\end{{split}}"
    mathml = convert(formula, display="block")
    # MathML Core has no columnalign; browsers align cells by CSS.
    mathml = mathml.replace('columnalign="', 'style="text-align:')
    translator.body.append(f"{mathml}</div>\n")
    raise SkipNode


# skorch's methods are shown if scikit-learn has them too; the others are hooks.
SHOWN = {"fit", "partial_fit", "predict", "predict_proba"}
# Removed from the interface that skorch gives them.
HIDDEN = {"SGDInfluenceRegressor.predict_proba"}


def skip_foreign(app, what, name, obj, skip, options):
    """Leave out members that other projects wrote: they refer to pages not built here.

    Plain attributes are left out too: the docstring of their class describes them.
    """
    if what not in {"class", "exception"}:
        return None
    name = name.rpartition(".")[2]
    if name not in SHOWN and hasattr(NeuralNet, name):
        return True
    function = getattr(obj, "fget", obj)  # of a property
    if getattr(function, "__qualname__", None) in HIDDEN:
        return True
    module = str(getattr(function, "__module__", ""))
    return None if module.startswith("skinfluence") else True


def setup(app):
    app.add_html_math_renderer(
        "mathml",
        inline_renderers=(visit_inline_formula, None),
        block_renderers=(visit_display_formula, None),
    )
    app.connect("autodoc-skip-member", skip_foreign)
