"""Notebooks of the pages that are programs: made by jupytext, for the reader to download.

A notebook holds the text of its page and its blocks of Python as cells. A picture of the page
becomes a cell that shows the file that the cell before it has written.
"""

from __future__ import annotations

import re
from pathlib import Path

import pages

FOLDER = pages.DOCS / "_notebooks"
_REPLACED = (
    (r"^```output\n.*?^```$\n", ""),  # a notebook prints it
    (r"^```(?:sh|bash)$", "```console"),  # commands of a shell are to be read, not run
    (
        r"^```\{figure\} \S*?(?P<file>[^/\s]+)\n.*?^```$",
        r'```python\nfrom IPython.display import Image\n\nImage("\g<file>")\n```',
    ),
    (r"\{py:\w+\}`[~!]?([^`]+)`", r"`\1`"),  # a link to the page of a public name
    (r"\[([^\]]+)\]\((?!https?:)[^)]*\)", r"\1"),  # a link to another page
)


def has_notebook(page: Path) -> bool:
    """Whether a page is a program from top to bottom: a how-to, or the tour."""
    return (page.parent.name == "howto" or page.stem == "tour") and any(pages.blocks(page))


def as_markdown(page: Path) -> str:
    """The text of a page without what only Sphinx understands."""
    text = page.read_text(encoding="utf-8")
    for pattern, new in _REPLACED:
        text = re.sub(pattern, new, text, flags=re.DOTALL | re.MULTILINE)
    return text


def write(page: Path, folder: Path = FOLDER) -> Path:
    """Write the notebook of a page into a folder; the path of the file."""
    import jupytext

    notebook = jupytext.reads(as_markdown(page), fmt="md")
    notebook.metadata["kernelspec"] = {
        "display_name": "Python 3",
        "language": "python",
        "name": "python3",
    }
    folder.mkdir(exist_ok=True)
    path = folder / f"{page.stem}.ipynb"
    jupytext.write(notebook, path)
    return path
