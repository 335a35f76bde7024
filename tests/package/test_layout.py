"""The tests are laid out like the package, and the rooms of kernels like the rooms above them."""

from pathlib import Path

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
    assert rooms(PACKAGE) & set(fastgauss.__all__) == {"register"}  # a public room itself


def test_no_file_of_the_package_is_longer_than_400_lines():
    long = {
        path.relative_to(PACKAGE).as_posix(): count
        for path in PACKAGE.rglob("*.py")
        if (count := len(path.read_text(encoding="utf-8").splitlines())) > 400
    }
    assert not long
