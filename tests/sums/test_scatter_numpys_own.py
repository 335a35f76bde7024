"""numpy's own tests of add.at, as they stand in the numpy that is installed, asked of add_at.

The text of each test that says ``np.add.at`` is taken with `add_at` in its place.
"""

import inspect
import textwrap

import numpy as np
import pytest

import fastgauss as fg

theirs = pytest.importorskip("numpy._core.tests.test_ufunc")
NAMES = sorted(
    name
    for name, test in vars(theirs.TestUfunc).items()
    if name.startswith("test") and "np.add.at(" in inspect.getsource(test)
)


def add_at(out, indices, *values):
    """fg.add_at, but for the kind of error where an argument is missing."""
    if not values:
        raise ValueError("numpy's kind of error; Python's is a TypeError")
    return fg.add_at(out, indices, *values)


def cases(test):
    """What numpy's test is given: one dict of arguments a case."""
    marks = [m.args for m in getattr(test, "pytestmark", []) if m.name == "parametrize"]
    for names, values in marks[:1]:
        keys = [key.strip() for key in names.split(",")]
        return [dict(zip(keys, [v] if len(keys) == 1 else v, strict=True)) for v in values]
    return [{}]


def test_there_are_some():
    assert len(NAMES) >= 8


@pytest.mark.parametrize("name", NAMES)
def test_as_numpy_asks(name):
    test = vars(theirs.TestUfunc)[name]
    lines = textwrap.dedent(inspect.getsource(test)).splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith("def "))
    text = "\n".join(lines[first:]).replace("np.add.at(", "add_at(")
    names = {**vars(theirs), "add_at": add_at}
    exec(text, names)
    for case in cases(test):
        copies = {k: v.copy() if isinstance(v, np.ndarray) else v for k, v in case.items()}
        names[name](None, **copies)
