"""The code of the README and of the pages of the site runs, and prints what they say."""

import re
import runpy
from pathlib import Path

import numpy as np
import pytest

import fastgauss as fg
from fastgauss.kernels._compile import JIT_DISABLED

PAGES = runpy.run_path(str(Path(__file__).resolve().parents[2] / "docs" / "build" / "pages.py"))
RECIPES = runpy.run_path(str(PAGES["DOCS"] / "build" / "recipes.py"))
README = PAGES["README"]
OPTIONAL = {"dask", "distributed", "joblib", "xarray", "zarr"}  # a page may be about these

needs_compiled_code = pytest.mark.skipif(JIT_DISABLED, reason="images and volumes of real size")


def is_simple(page):
    """Whether a page has a test here: not the README, and not a recipe (``test_recipes.py``)."""
    return page != README and not RECIPES["is_recipe"](page)


def run(page, folder, monkeypatch):
    pytest.importorskip("pandas")
    pytest.importorskip("matplotlib")
    monkeypatch.setenv("MPLBACKEND", "Agg")
    monkeypatch.chdir(folder)
    try:
        return PAGES["run"](page)
    except ModuleNotFoundError as error:
        if error.name not in OPTIONAL:
            raise
        pytest.skip(f"not installed: {error.name}")


@needs_compiled_code
def test_the_code_of_the_readme_runs(tmp_path, monkeypatch):
    names = run(README, tmp_path, monkeypatch)
    assert names["good"].converged.all()
    assert len(names["good"]) == 3
    np.testing.assert_allclose(np.sort(names["good"].x), [20.3, 44.1, 50.6], atol=0.1)
    assert isinstance(names["result"], fg.FitResult)


@needs_compiled_code
@pytest.mark.parametrize(
    "page",
    [page for page in PAGES["all_pages"]() if list(PAGES["blocks"](page)) and is_simple(page)],
    ids=lambda page: page.stem,
)
def test_the_code_of_a_page_runs(page, tmp_path, monkeypatch):
    run(page, tmp_path, monkeypatch)


def test_a_page_that_prints_something_else_is_told(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("```python\nn = 2\n```\n\n```python\nprint(n)\n```\n\n```output\n3\n```\n")
    with pytest.raises(AssertionError, match=r"page\.md prints\n2\nnot\n3"):
        PAGES["run"](page)
    page.write_text("text\n```python\n1 / 0\n```\n")
    with pytest.raises(ZeroDivisionError) as error:
        PAGES["run"](page)
    assert error.traceback[-1].lineno == 2  # counted from 0: the line of the page


def test_the_tables_beside_peers_are_filled_from_one_run(tmp_path):
    report = runpy.run_path(str(README.parent / "benchmarks" / "common" / "report.py"))
    rates = [
        report["Rate"]("fit mle symmetric", "11 x 11", "fastgauss", 3e5, 1.0),
        report["Rate"]("fit mle symmetric", "11 x 11", "another", 2e4, 15.04),
        report["Rate"]("fit 1-D symmetric", "32", "fastgauss", 4e6, 1.0),
        report["Rate"]("fit 1-D symmetric", "32", "scipy leastsq", 8e3, 500.0),
    ]
    for page, text in (
        (README, report["summary"]),
        (README.parent / "docs/background/performance.md", report["tables"]),
    ):
        copy = tmp_path / page.name
        copy.write_text(page.read_text(encoding="utf-8"), encoding="utf-8")
        report["fill"](copy, "peers", text(rates))
        filled = copy.read_text(encoding="utf-8")
        assert "**300,000**" in filled and "20,000 (15x)" in filled and "8,000 (500x)" in filled
        assert "picassosr 124,932" not in filled
        assert (
            filled.partition("<!-- peers -->")[0]
            == page.read_text(encoding="utf-8").partition("<!-- peers -->")[0]
        )
    with pytest.raises(ValueError, match="must hold"):
        report["fill"](copy, "nothing", "")


@pytest.mark.parametrize(
    "module", [fg, fg.register, fg.simulate], ids=lambda module: module.__name__
)
def test_every_public_name_has_a_place_in_the_reference(module):
    pages = [page.read_text(encoding="utf-8") for page in (PAGES["DOCS"] / "api").glob("*.md")]
    listed = {
        name
        for page in pages
        for block in page.split(".. currentmodule:: ")[1:]
        if block.splitlines()[0] == module.__name__
        for name in re.findall(r"^   (\w+)$", block, flags=re.MULTILINE)
    }
    assert listed == set(module.__all__) - {"register", "simulate"}


def test_what_the_readme_links_to_is_there():
    links = re.findall(r"\]\(([^)#]+)", README.read_text(encoding="utf-8"))
    assert len(links) > 10
    assert not [link for link in links if not (README.parent / link).exists()]
