"""The Python blocks of a page: found and run, top to bottom in one namespace.

For the tests (``tests/package/test_docs.py``) and for the pictures of the site (``docs/conf.py``).
"""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parents[1]
README = DOCS.parent / "README.md"
_BLOCK = re.compile(
    r"^```python\n(?P<code>.*?)^```$(?:\s+^```output\n(?P<output>.*?)^```$)?",
    flags=re.DOTALL | re.MULTILINE,
)


def all_pages() -> list[Path]:
    """The README and every page of the site."""
    return [README, *sorted(DOCS.glob("[!_]*.md")), *sorted(DOCS.glob("[!_]*/*.md"))]


def blocks(page: Path) -> Iterator[tuple[str, str | None]]:
    """The blocks fenced as ``python``, each on its lines of the page, and what they print.

    What a block prints stands below it, fenced as ``output``, or is None.
    """
    text = page.read_text(encoding="utf-8")
    for block in _BLOCK.finditer(text):
        yield "\n" * text.count("\n", 0, block.start("code")) + block["code"], block["output"]


def run(page: Path) -> dict[str, Any]:
    """Run the page's blocks in the current directory; the names that they leave.

    Raises AssertionError where a block does not print what stands below it.
    """
    names: dict[str, Any] = {"__name__": f"page {page.stem}"}
    for code, output in blocks(page):
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(compile(code, page, "exec"), names)
        if output is not None:
            found = printed.getvalue()
            assert found.rstrip() == output.rstrip(), f"{page.name} prints\n{found}not\n{output}"
    return names
