"""The site: ``pip install -e '.[docs]' && sphinx-build -W --keep-going -n docs docs/_build``."""

import contextlib
import os
import re
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "build"))
os.environ.setdefault("MPLBACKEND", "Agg")

import notebooks  # noqa: E402
import pages  # noqa: E402

import fastgauss  # noqa: E402

project = "fastgauss"
author = copyright = "The fastgauss developers"
version = release = fastgauss.__version__

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autosummary",
    "sphinx_copybutton",
    "sphinx_design",
    "directives",
]
templates_path = ["_templates"]
exclude_patterns = ["_build", "_notebooks", "_pictures"]

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath", "amsmath"]
myst_heading_anchors = 3
html_math_renderer = "mathml"

default_role = "autolink"  # a name in single backticks links to its page, if it has one
autodoc_typehints = "none"  # the docstrings tell more
autosummary_generate = True
numpydoc_show_class_members = False
numpydoc_xref_param_type = False
nitpick_ignore = [
    ("py:obj", "field"),  # a parameter of `gather`, and a module
    *(("py:obj", constant) for constant in ("WIDTH", "EMPTY_STATISTICS")),  # of kernels
]

html_theme = "pydata_sphinx_theme"
html_title = "fastgauss"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_sidebars = {page: [] for page in ("install", "changelog")}  # they have no pages below them
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "logo": {"text": "fastgauss"},
    "navbar_align": "left",
    "navbar_end": ["theme-switcher"],
    "header_links_before_dropdown": 7,
    "show_prev_next": True,
    "footer_start": ["copyright"],
    "footer_end": [],
    "secondary_sidebar_items": ["page-toc"],
    "pygments_light_style": "tango",
}
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True


def prepare_pages(app, env, names):
    """Run the pages that write pictures, before any page shows one, and write the notebooks."""
    folder = HERE / "_pictures"
    folder.mkdir(exist_ok=True)
    for name in sorted(names):
        page = Path(env.doc2path(name))
        if page.suffix != ".md":
            continue
        if any(".savefig(" in code for code, _ in pages.blocks(page)):
            with contextlib.chdir(folder):
                pages.run(page)
        if notebooks.has_notebook(page):
            notebooks.write(page)


def link_notebook(app, name, source):
    """Put the link to its notebook below the title of a page."""
    page = Path(app.env.doc2path(name))
    if page.suffix == ".md" and notebooks.has_notebook(page):
        link = f"{{download}}`As a notebook <../_notebooks/{page.stem}.ipynb>`"
        source[0] = re.sub(r"\A(# .*\n)", rf"\1\n{link}\n", source[0])


def setup(app):
    """Tell Sphinx."""
    app.connect("env-before-read-docs", prepare_pages)
    app.connect("source-read", link_notebook)
