"""Messages show values as their user wrote them, and nouns that agree with numbers."""

import ast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastgauss as fg
from fastgauss.base import wording

SCALARS = st.one_of(
    st.integers(-9999, 9999),
    st.floats(allow_nan=False, allow_infinity=False, width=32),
    st.booleans(),
)


@settings(deadline=None)
@given(st.lists(SCALARS, max_size=4), st.sampled_from([list, tuple]))
def test_containers_of_numpy_scalars_are_shown_as_pythons(values, kind):
    own = kind(np.array(v)[()] for v in values)
    text = wording.shown(own)
    if not text.endswith("..."):
        assert ast.literal_eval(text) == kind(values)
    assert "np." not in text and len(text) <= 60


def test_arrays_and_what_is_no_number():
    assert wording.shown(np.arange(3)) == "[0, 1, 2]"
    assert wording.shown(np.array(2.5)) == "2.5"
    assert wording.shown(np.zeros((2, 2))) == "an array of shape (2, 2)"
    assert wording.shown([np.zeros((2, 2)), None]) == "[an array of shape (2, 2), None]"
    assert wording.shown({"sigma": (np.float64(1), np.float32(2))}) == "{'sigma': (1.0, 2.0)}"
    endless = [1]
    endless.append(endless)
    assert wording.shown(endless).startswith("[1, [1, ")
    assert wording.shown("x" * 99) == "'" + "x" * 56 + "..."
    assert wording.shown(np.str_("square")) == "'square'"


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda i: fg.find_spots(i, sigma=np.float64("nan")), "at least 0.3, got nan"),
        (lambda i: fg.fit_spots(i, box=np.array([3, 4, 5])), r"2 integers, got \[3, 4, 5\]"),
        (lambda i: fg.fit_spots(i, fixed={"sigma": np.float64("inf")}), "finite, got inf"),
        (lambda i: fg.fit_spots(i, bounds={"sigma": np.ones(3)}), r"got \[1.0, 1.0, 1.0\]"),
        (lambda i: fg.fit_spots(i, background="local"), "without joint=True, got 'local'"),
        (lambda i: fg.fit_spots(np.float64(3)), "2 or 3 dimensions, got a single number"),
        (lambda i: fg.fit_spots(None), "image must hold real numbers, got None"),
        (lambda i: fg.kde(i[0], bounds=(np.float64(3), np.int64(1))), r"got \[3.0, 1\]"),
        (lambda i: fg.histogram(i[0], 3, np.int32(2)), "range must be a pair, got 2"),
        (lambda i: fg.histogram(i[0], np.array([3.0, 2.0]), (0, 1)), r"grow, got \[3.0, 2.0\]"),
        (lambda i: fg.Grid((3, 3), spacing=np.array([1.0, 0.0])), "above 0, got 0.0"),
    ],
)
def test_messages_have_no_names_of_numpy(call, text):
    with pytest.raises((TypeError, ValueError), match=text) as caught:
        call(np.zeros((12, 12)))
    assert "np." not in str(caught.value) and "array(" not in str(caught.value)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_nouns_agree_with_numbers(count):
    ending = "" if count == 1 else "s"
    assert wording.plural(count, "window") == f"{count} window{ending}"
    data = np.arange(3.0 * max(count, 1)).reshape(3, -1) ** 2
    if count:
        assert f"in {count} dimension{ending}>" in repr(fg.pca(data, n_components=1))
        assert f"of {count} row{ending}, " in repr(fg.fit_lines(data.T))
        field = fg.GaussianField((5, 5), np.full((count, 2), 2.0), 1.0)
        assert f"of {count} particle{ending} with" in repr(field)
