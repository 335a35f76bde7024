"""Every public name says what it takes, gives and raises, and shows it."""

import enum
import inspect

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
