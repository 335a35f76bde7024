"""Numbers agree with their nouns, and messages show values as they were written."""

import numpy as np
import pytest

import fastgauss as fg
from fastgauss.base.wording import plural, rounded

ONE = fg.image([100.0, 4.8, 5.3, 1.2, 10.0], (11, 11), model="symmetric")


@pytest.mark.parametrize(
    ("noun", "several"),
    [("spot", "spots"), ("axis", "axes"), ("box", "boxes"), ("entry", "entries"), ("ray", "rays")],
)
def test_nouns_agree_with_their_numbers(noun, several):
    assert plural(1, noun) == f"1 {noun}"
    for count in (0, 2, 117):
        assert plural(count, noun) == f"{count} {several}"


def test_rounded_numbers_are_as_they_are_typed():
    given = (166.4, 12345.0, 0.05209, 9.0, -1234.5, 3e-7, 2.5e14)
    expected = ["170", "12000", "0.052", "9", "-1200", "3e-07", "2.5e+14"]
    assert [rounded(value, 2) for value in given] == expected


def test_results_count_their_rows_in_words():
    result = fg.fit_rois(np.stack([ONE, ONE]))
    assert "symmetric, 2 spots, 2 converged" in repr(result)
    assert "symmetric, 1 spot, 1 converged" in repr(result[:1])
    assert "symmetric, 0 spots, 0 converged" in repr(result[:0])
    x = np.linspace(-4.0, 5.0, 60)
    assert "1 peak, 1 converged" in repr(fg.fit_profile(x, 2.0 * np.exp(-(x**2) / 2)))


def test_a_row_that_does_not_exist_is_refused_with_what_was_given():
    result = fg.fit_rois(ONE[np.newaxis])
    with pytest.raises(IndexError, match=r"out of range for 1 spot$"):
        result[3]
    with pytest.raises(IndexError, match=r"got None$"):
        result[None]
    with pytest.raises(IndexError, match=r"got an array of shape \(2, 3\)$"):
        result[np.zeros((2, 3), int)]


def test_rows_of_an_array_that_do_not_exist_are_refused_in_the_same_words():
    result = fg.fit_rois(np.stack([ONE, ONE]))
    with pytest.raises(IndexError, match=r"^row -3 is out of range for 2 spots$"):
        result[[1, -3]]
    with pytest.raises(
        IndexError, match=r"^rows must have one boolean for each of 2 spots, got 3$"
    ):
        result[[True, False, True]]
    assert len(result[[-1, 1, 0]]) == 3 and len(result[[True, False]]) == 1


def test_arguments_are_named_where_numpy_would_speak():
    seeds = (-3.5, TypeError), (-1, ValueError), ("nonsense", TypeError), ([-1], ValueError)
    for seed, kind in seeds:
        with pytest.raises(kind, match=r"^seed must be an integer of 0 or more, .*, got "):
            fg.simulate.movie((16, 16), 2, emitters=1, seed=seed)
        with pytest.raises(kind, match=r"^seed must be an integer"):
            fg.kde([1.0, 2.0, 2.5]).sample(3, seed)
    for given in (np.float64(7.5), 9, (9, 9, 9)):
        with pytest.raises(ValueError, match=r"^zoom_shape must be 2 numbers of at most"):
            fg.register.chi2_shift_iterzoom(ONE, ONE, zoom_shape=given)
    with pytest.raises(TypeError, match=r"^grid_or_shape\[0\] must be an integer, got 2.5"):
        fg.deposit((2.5, 3), np.ones((1, 2)))
    with pytest.raises(TypeError, match=r"^grid_or_shape must be an integer, got None"):
        fg.render(None, np.ones((1, 2)), 1.0, sigma=1.0)


@pytest.mark.parametrize("shape", [(3, 11), (2, 11, 11), (10,)])
def test_errors_of_another_shape_are_called_error(shape):
    expected = r"^error must have shape \(11, 11\) or \(1, 11, 11\) or \(1,\), got"
    with pytest.raises(ValueError, match=expected):
        fg.fit_rois(ONE[np.newaxis], error=np.ones(shape))
    with pytest.raises(ValueError, match=r"^error must have shape \(11, 11\), got"):
        fg.fit_spots(ONE, [[5, 5]], error=np.ones(shape))
    with pytest.raises(ValueError, match=r"^error must have shape \(11, 11\), got"):
        fg.fit_joint(ONE, [[5, 5]], error=np.ones(shape))


def test_numbers_of_numpy_are_shown_as_numbers():
    with pytest.raises(ValueError, match=r"got 3.0 and sigma 2.0$"):
        fg.find_spots(ONE, np.float64(2.0), fwhm=np.float64(3.0))
    with pytest.raises(ValueError, match=r"z_range must be .*, got \(2, 1\)$"):
        fg.astigmatic_model([1.3, 200.0, 400.0], [1.3, -200.0, 400.0], (np.int64(2), np.int64(1)))
    with pytest.raises(ValueError, match="for a grid of 1 axis"):
        fg.render((8,), np.ones((3, 2)), 1.0, sigma=1.0)


@pytest.mark.parametrize("name", ["error", "weights"])
def test_what_is_allowed_for_maps_of_profiles_and_stacks(name):
    profiles = fg.image([[100.0, 9.0, 1.5, 3.0]] * 4, (20,), model="symmetric")
    for shape in ((20,), (4, 20)):
        assert fg.fit_rois(profiles, **{name: np.ones(shape)}).converged.all()
    with pytest.raises(ValueError, match=rf"^{name} must have shape \(20,\) or \(4, 20\), got"):
        fg.fit_rois(profiles, **{name: np.ones(4)})
    stack = np.stack([ONE, ONE])
    for shape in ((2,), (11, 11)):
        with pytest.raises(ValueError, match=rf"^{name} must have shape \(2, 11, 11\), got"):
            fg.fit_joint(stack, [[5, 5], [5, 5]], frames=[0, 1], **{name: np.ones(shape)})
    each = fg.fit_rois(stack, **{name: np.array([0.5, 2.0])})
    other = each.errors[0] / each.errors[1]
    np.testing.assert_allclose(other, 0.25 if name == "error" else 2.0, rtol=1e-3)
