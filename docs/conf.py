"""Settings of the documentation: ``sphinx-build -W --keep-going -n docs docs/_build/html``."""

import os
import re
from hashlib import sha256
from pathlib import Path

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx

import rankseg

here = Path(__file__).parent

project = "rankseg"
author = copyright = "The rankseg maintainers"
release = rankseg.__version__
extensions = [
    "myst_nb",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx_copybutton",
    "sphinx_design",
]
exclude_patterns = ["_build"]
autosummary_generate = False
nitpicky = True

html_theme = "furo"
html_title = f"rankseg {release}"
html_static_path = ["_static"]
html_css_files = ["custom.css"]
html_show_sourcelink = False
pygments_dark_style = "github-dark"
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#00704f", "color-brand-content": "#00704f"},
    "dark_css_variables": {"color-brand-primary": "#4fc79b", "color-brand-content": "#4fc79b"},
}

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

# Notebooks are executed without a network, and again when they or the package have changed.
sources = sorted(Path(rankseg.__file__).parent.rglob("*.py"))
state = sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:12]
nb_execution_mode = "cache"
nb_execution_cache_path = str(here / "_build" / "notebooks" / state)
nb_execution_in_temp = True
nb_execution_raise_on_error = True
nb_execution_timeout = 600
nb_merge_streams = True
os.environ |= {
    "HF_HUB_OFFLINE": "1",
    "MATPLOTLIBRC": str(here / "_static" / "matplotlibrc"),
    "OMP_NUM_THREADS": "1",  # pages are executed side by side
    # Commands print for a page, not for a terminal.
    "COLUMNS": "90",
    "TTY_COMPATIBLE": "0",
    "_TYPER_FORCE_DISABLE_TERMINAL": "1",
}

# Types are in the docstrings, where arrays have their shapes with them.
autodoc_typehints = "none"
autodoc_member_order = "bysource"
maximum_signature_line_length = 80
numpydoc_show_class_members = False
default_role = "py:obj"


def plain_stars(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]):
    """Keep the star of ``(batch, *spatial)`` from being read as emphasis."""
    lines[:] = [re.sub(r"(?<=[ (])\*spatial", r"\*spatial", line) for line in lines]


def plain_names(app: Sphinx, env: object, node: nodes.Element, text: nodes.Element):
    """Show `single backticks` that name no documented object, a parameter say, as code."""
    return text if node.get("reftype") == "obj" else None


TIGHT = 'stretchy="false" lspace="0" rspace="0"'


def mathml(display: str):
    """Return a visitor that writes formulas as MathML, which needs no script from elsewhere."""

    def visit(translator, node: nodes.Element) -> None:
        formula = convert(node.astext(), display=display)
        formula = formula.replace('<mo stretchy="false">&#x0007C;', f"<mo {TIGHT}>&#x0007C;")
        translator.body.append(f"<p>{formula}</p>" if display == "block" else formula)
        raise nodes.SkipNode

    return visit


def setup(app: Sphinx) -> None:
    """Connect what is defined above."""
    app.connect("autodoc-process-docstring", plain_stars)
    app.connect("missing-reference", plain_names)
    app.add_html_math_renderer("mathml", (mathml("inline"), None), (mathml("block"), None))


html_math_renderer = "mathml"
