"""Sphinx settings of the book; `docs/build.py` calls Sphinx with them.

Sphinx with MyST-NB and furo, because they build offline from Python packages alone, where Jupyter Book 2 needs Node.js
and downloads a theme, and because furo has light and dark, phones and search without a script from another host.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.writers.html5 import HTML5Translator

import feelvos_lab

sys.path.insert(0, str(Path(__file__).parent))

from mathml import mathml

project = author = "feelvos_lab"
version = release = feelvos_lab.__version__
project_copyright = "the feelvos_lab authors, Apache-2.0"
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
root_doc = "index"
default_role = "code"

html_theme = "furo"
html_title = "feelvos_lab"
html_static_path = ["_static"]
html_favicon = "_static/favicon.svg"
html_css_files = ["book.css"]
html_copy_source = html_show_sourcelink = False
html_math_renderer = "mathml"

nb_execution_mode = "off"  # docs/build.py has executed the copies
nb_merge_streams = True
nb_code_prompt_show = "Guessed? Show the {type}"
nb_code_prompt_hide = "Hide the {type}"
myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
maximum_signature_line_length = 70  # else a phone scrolls
napoleon_google_docstring = True
suppress_warnings = ["config.cache"]


def write_inline_math(writer: HTML5Translator, node: nodes.math) -> None:
    writer.body.append(mathml(node.astext(), display=False))
    raise nodes.SkipNode


def write_math(writer: HTML5Translator, node: nodes.math_block) -> None:
    writer.body.append(f'<div class="math">{mathml(node.astext(), display=True)}</div>\n')
    raise nodes.SkipNode


def docstring_as_rst(app: Sphinx, kind: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Docstrings quote code in single backticks; stars and bars in their prose are meant as they stand."""
    end = next((number for number, line in enumerate(lines) if line.strip() == "Example:"), len(lines))
    for number, line in enumerate(lines[:end]):
        parts = re.split(r"(`[^`]+`)", line)
        lines[number] = "".join(f"`{p}`" if p.startswith("`") else re.sub(r"(\*|\||_\b)", r"\\\1", p) for p in parts)


def setup(app: Sphinx) -> None:
    app.add_html_math_renderer("mathml", (write_inline_math, None), (write_math, None))
    app.connect("autodoc-process-docstring", docstring_as_rst, priority=400)  # napoleon, at 500, reads the result
