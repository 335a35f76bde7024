"""The notebooks of the site: the code of their pages, and cells that show the pictures."""

import importlib
from pathlib import Path

import pytest

jupytext = pytest.importorskip("jupytext")

BUILD = Path(__file__).resolve().parents[2] / "docs" / "build"


@pytest.fixture(scope="module")
def build():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BUILD)
        yield importlib.import_module("notebooks"), importlib.import_module("pages")


def test_a_notebook_has_the_code_of_its_page(build, tmp_path):
    notebooks, pages = build
    for page in filter(notebooks.has_notebook, pages.all_pages()):
        cells = jupytext.read(notebooks.write(page, tmp_path)).cells
        code = [cell.source for cell in cells if cell.cell_type == "code"]
        own = [source for source in code if not source.startswith("from IPython")]
        assert own == [block.strip() for block, _ in pages.blocks(page)], page.name
        assert len(code) - len(own) == page.read_text(encoding="utf-8").count("```{figure}")


def test_a_notebook_has_nothing_that_only_the_site_understands(build, tmp_path):
    notebooks, _ = build
    page = tmp_path / "page.md"
    page.write_text(
        "See {py:obj}`~fastgauss.kde`, [fits](../guide/fits.md), [that](https://b.c/d.md).\n\n"
        "```python\nprint(3)\n```\n\n```output\n3\n```\n\n"
        "```{figure} ../_pictures/a.png\n:alt: An a\n\nThe a.\n```\n"
    )
    assert notebooks.as_markdown(page) == (
        "See `fastgauss.kde`, fits, [that](https://b.c/d.md).\n\n"
        "```python\nprint(3)\n```\n\n\n"
        '```python\nfrom IPython.display import Image\n\nImage("a.png")\n```\n'
    )


def test_every_howto_and_the_tour_have_a_notebook(build):
    notebooks, pages = build
    made = {page.stem for page in pages.all_pages() if notebooks.has_notebook(page)}
    howto = {page.stem for page in (pages.DOCS / "howto").glob("*.md")} - {"index"}
    assert made == howto | {"tour"}
