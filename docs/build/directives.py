"""What the pages need of Sphinx beside its own: formulas as MathML, docstrings as they stand.

Browsers draw MathML by themselves: no script, no font and no network is needed.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.utils.math import latex2mathml
from sphinx.util.docutils import SphinxDirective

ROOT = Path(__file__).resolve().parents[2]


def _inline(writer: Any, node: nodes.math) -> None:
    writer.body.append(latex2mathml.tex2mathml(node.astext()))
    raise nodes.SkipNode


def _display(writer: Any, node: nodes.math_block) -> None:
    formula = latex2mathml.tex2mathml(node.astext(), as_block=True)
    writer.body.append(f'<div class="formula">{formula}</div>\n')
    raise nodes.SkipNode


class Docstring(SphinxDirective):
    """The docstring of a file, folded up: ``{docstring} kernels/fit/levmar.py``."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """A `details` element with the text."""
        path = ROOT / "fastgauss" / self.arguments[0]
        self.env.note_dependency(str(path))
        text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
        head = f"<summary>From the source, <code>fastgauss/{self.arguments[0]}</code></summary>"
        return [
            nodes.raw("", f'<details class="source">{head}', format="html"),
            nodes.literal_block(text, text, language="text"),
            nodes.raw("", "</details>", format="html"),
        ]


def setup(app: Any) -> dict[str, bool]:
    """Tell Sphinx."""
    app.add_html_math_renderer("mathml", (_inline, None), (_display, None))
    app.add_directive("docstring", Docstring)
    return {"parallel_read_safe": True}
