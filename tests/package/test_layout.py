"""The tests are laid out like the package, and the rooms of kernels like the rooms above them."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

import fastgauss

PACKAGE = Path(fastgauss.__file__).parent
TESTS = Path(__file__).resolve().parents[1]
OWN = {"naive", "support", "package"}  # twins, helpers, and tests of the package as a whole
BELOW = {"simd", "numeric"}  # rooms of kernels that serve several rooms above


def rooms(folder):
    """The folders with Python files directly below a folder."""
    return {path.parent.name for path in folder.glob("*/*.py")}


def test_every_room_has_tests_in_a_room_of_the_same_name():
    assert rooms(TESTS) == rooms(PACKAGE) | OWN


def test_rooms_of_kernels_are_named_after_the_rooms_that_call_them():
    assert rooms(PACKAGE / "kernels") - BELOW <= rooms(PACKAGE)


def test_names_of_test_files_are_unique():
    names = [path.name for path in TESTS.rglob("test_*.py")]
    assert len(names) == len(set(names))


def test_no_room_bears_the_name_of_a_public_function():
    assert rooms(PACKAGE) & set(fastgauss.__all__) == {"register", "simulate"}  # public rooms


def test_no_file_of_the_package_is_longer_than_400_lines():
    long = {
        path.relative_to(PACKAGE).as_posix(): count
        for path in PACKAGE.rglob("*.py")
        if (count := len(path.read_text(encoding="utf-8").splitlines())) > 400
    }
    assert not long


def long_functions(text, most=80):
    """Functions of more lines than this, the docstring not counted, and their sections."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            lines = text.splitlines()[node.lineno - 1 : node.end_lineno]
            told = len((ast.get_docstring(node) or "").splitlines())
            if len(lines) - told > most:
                yield node.name, sum(line.lstrip().startswith("# -- ") for line in lines)


def test_only_kernel_factories_are_longer_than_80_lines_and_these_have_sections():
    found = [
        (path.relative_to(PACKAGE).parts[0], path.name, *long)
        for path in PACKAGE.rglob("*.py")
        for long in long_functions(path.read_text(encoding="utf-8"))
    ]
    assert found
    assert not [entry for entry in found if entry[0] != "kernels" or "make_" not in entry[2]]
    assert not [entry for entry in found if entry[3] < 2]
    text = "def long():\n    # -- one ---\n" + "    x = 1\n" * 9
    assert list(long_functions(text, 5)) == [("long", 1)]


def copied_slices(text):
    """Lines that assign a part of one array to a part of another."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Subscript):
            parts = node.targets[0].slice, node.value
            if all(any(isinstance(n, ast.Slice) for n in ast.walk(part)) for part in parts):
                yield node.lineno


def test_kernels_copy_by_loops():
    """For a copied slice numba compiles the message of an error: a fifth of a first fit's time."""
    found = [
        (path.relative_to(PACKAGE).as_posix(), line)
        for path in (PACKAGE / "kernels").rglob("*.py")
        if path.parent.name != "simd"  # numpy twins of instructions
        for line in copied_slices(path.read_text(encoding="utf-8"))
    ]
    assert not found
    text = "a[1:3] = b[2:4]\na[:] = 0.0\na[0] = b[1:].sum()\na[i : i + 2, k] = a[j : j + 2, k]\n"
    assert list(copied_slices(text)) == [1, 4]


def test_ci_runs_as_plain_python_all_tests_that_need_it():
    ci = TESTS.parent / ".ci" / "run"
    if not ci.is_file():
        pytest.skip("no checkout")
    listed = re.search(r"^plain=\(\n.*?^\)", ci.read_text(), re.MULTILINE | re.DOTALL)[0]
    command = ["bash", "-c", listed + '\nprintf "%s\\n" "${plain[@]}"']
    told = subprocess.run(command, capture_output=True, text=True, check=True, cwd=TESTS.parent)
    paths = [TESTS.parent / line for line in told.stdout.splitlines()]
    assert len(paths) > 20 and all(path.exists() for path in paths)
    more = re.compile(r"skipif\(not JIT_DISABLED|\* \(JIT_DISABLED|[)] if JIT_DISABLED or")
    needing = [
        path for path in TESTS.glob("*/test_*.py") if more.search(path.read_text(encoding="utf-8"))
    ]
    assert len(needing) > 3
    assert not [path.name for path in needing if not {path, path.parent} & set(paths)]


def test_the_citation_names_the_version():
    text = (TESTS.parent / "CITATION.cff").read_text()
    assert f"\nversion: {fastgauss.__version__}\n" in text
