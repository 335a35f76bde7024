"""Every public name says what it takes, gives and raises, and shows it."""

import ast
import enum
import inspect
import re
from pathlib import Path

import pytest

import fastgauss as fg

CLASSES = [name for name in fg.__all__ if inspect.isclass(getattr(fg, name))]
FUNCTIONS = [name for name in fg.__all__ if inspect.isfunction(getattr(fg, name))]


def _lacking(value, sections):
    """Which sections, underlined as numpydoc has them, are not there."""
    text = inspect.getdoc(value)
    return [s for s in sections if f"{s}\n{'-' * len(s)}\n" not in text]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_have_all_sections(name):
    function = getattr(fg, name)
    signature = inspect.signature(function)
    wanted = ["Examples"]
    if signature.parameters:
        wanted += ["Parameters", "Raises"]
    if signature.return_annotation not in (None, "None"):
        wanted.append("Returns")
    assert not _lacking(function, wanted)


@pytest.mark.parametrize("name", CLASSES)
def test_classes_say_what_they_hold_and_show_it(name):
    value = getattr(fg, name)
    if not issubclass(value, enum.Enum):
        assert len(_lacking(value, ["Parameters", "Attributes"])) < 2
    assert not _lacking(value, ["Examples"])


def test_methods_of_fields_and_grids_show_themselves():
    for kind in (fg.GaussianField, fg.Grid):
        methods = [m for key, m in vars(kind).items() if key[0] != "_" and inspect.isfunction(m)]
        assert methods
        for method in methods:
            assert not _lacking(method, ["Examples"]), method


def _docstrings():
    """File and text of every docstring of the package."""
    for path in sorted(Path(fg.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)):
                yield path.name, ast.get_docstring(node) or ""


def test_single_backticks_hold_no_names_of_other_packages():
    """The site links what stands in single backticks, and has no pages of other packages."""
    others = {"astropy", "dask", "math", "matplotlib", "np", "numba", "numpy", "pandas", "scipy"}
    quoted = re.compile(r"(?<![`\w])`([A-Za-z_]\w*)[\w.]*`(?!`)")
    found = [
        (name, match.group())
        for name, text in _docstrings()
        for match in quoted.finditer(text)
        if match.group(1) in others
    ]
    assert not found


def test_headings_of_sections_stand_on_lines_of_their_own():
    joined = re.compile(r"\S +-{5,}")  # a heading that was filled into its paragraph
    tables = re.compile(r"-{5,} +-{5,}")
    found = [
        (name, line)
        for name, text in _docstrings()
        for line in text.splitlines()
        if joined.search(line) and not tables.search(line)
    ]
    assert not found
