"""Sphinx configuration. The build needs no network and allows no warning."""

import tomllib
from importlib.metadata import version as installed_version
from pathlib import Path

from skorch import NeuralNet

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
    "sphinx.ext.mathjax",
    "numpydoc",
    "sphinx_gallery.gen_gallery",
]
templates_path = ["_templates"]
exclude_patterns = ["_build"]
default_role = "literal"  # `name` is a parameter more often than a page

# The types stand in the docstrings, in words.
autodoc_typehints = "none"
autodoc_inherit_docstrings = False  # a public method is described where it is written
numpydoc_show_class_members = False
numpydoc_validation_checks = set(PYPROJECT["tool"]["numpydoc_validation"]["checks"])

# Other projects' names cannot be looked up without a network.
nitpick_ignore_regex = [
    ("py:.*", r"(matplotlib|numpy|pandas|scipy|sklearn|skorch|torch)(\..+)?"),
]

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "filename_pattern": r"/plot_",  # the others are shown, not run
    "doc_module": ("skinfluence",),
    "write_computation_times": False,
}

html_theme = "pydata_sphinx_theme"
html_title = f"skinfluence {release}"
html_show_sourcelink = False
html_sidebars = {"*": []}  # pages without pages below them have nothing to show there


# skorch's methods are shown if they are also scikit-learn's; the others are hooks.
SHOWN = {"fit", "partial_fit", "predict", "predict_proba"}
# These take a method of skorch's away.
HIDDEN = {"SGDInfluenceRegressor.predict_proba"}


def skip_foreign(app, what, name, obj, skip, options):
    """Leave out what other projects wrote: it refers to pages that are not here.

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
    app.connect("autodoc-skip-member", skip_foreign)
