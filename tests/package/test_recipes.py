"""The recipes of ``docs/contributing``: their changes, code and tests, on a copy of the package."""

import runpy
from pathlib import Path

import pytest

from fastgauss.kernels._compile import JIT_DISABLED

DOCS = Path(__file__).resolve().parents[2] / "docs"
RECIPES = runpy.run_path(str(DOCS / "build" / "recipes.py"))
PAGES = sorted((DOCS / "contributing").glob("a-*.md"))


@pytest.mark.skipif(JIT_DISABLED, reason="a recipe is tried with compiled code")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_recipe_works_as_it_is_written(page, tmp_path):
    assert RECIPES["is_recipe"](page)
    RECIPES["run"](page, tmp_path)


def test_a_recipe_changes_a_copy_of_the_package(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "```diff\n--- fastgauss/base/version.py\n+++ fastgauss/base/version.py\n@@\n"
        ' """The version of the package."""\n+\n+NAME = "new"\n'
        "```\n\n```{code-block} python\n:caption: tests/test_new.py\n\n"
        "from fastgauss.base import version\n\n\n"
        'def test_name():\n    assert version.NAME == "new"\n```\n\n'
        "```python\nfrom fastgauss.base import version\n\nprint(version.NAME)\n```\n\n"
        "```output\nnew\n```\n"
    )
    RECIPES["run"](page, tmp_path / "first")
    text = page.read_text()
    page.write_text(text.partition("```python")[0].replace("NAME ==", "NAME !="))
    with pytest.raises(AssertionError, match="1 failed"):
        RECIPES["run"](page, tmp_path / "second")
    page.write_text(text.replace("@@\n", "@@\n-__version__ = 0\n"))
    with pytest.raises(ValueError, match=r"version\.py must hold once, holds 0 times"):
        RECIPES["run"](page, tmp_path / "third")
