"""Windows of a joint fit: how far they reach."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from fastgauss.joint import windows


@pytest.mark.parametrize("ratio", [0.5, 30.0, 1e4])
def test_light_beyond_a_window_is_below_a_fiftieth_of_the_noise(ratio):
    noise, widths = np.array([2.0]), np.array([[1.7, 0.8, 1.3]])
    reach = windows.reach_of(widths, ratio * noise, noise)
    light = ratio * noise[:, None] * np.exp(-0.5 * (reach / widths) ** 2)
    assert (light <= 0.02 * noise[:, None] * (1 + 1e-12)).all()
    inside = ratio * noise[:, None] * np.exp(-0.5 * (np.maximum(reach - 1, 0) / widths) ** 2)
    assert (inside >= 0.02 * noise[:, None]).all()


def test_without_noise_windows_end_where_the_light_does():
    reach = windows.reach_of(np.full((3, 2), 2.0), np.array([5.0, -5.0, 0.0]), np.zeros(3))
    assert_array_equal(reach[:2], 13)  # 6.5 sigmas
    assert (reach[2] <= 13).all()


@pytest.mark.parametrize(("box", "least"), [((7, 9), [0, 4, 5]), ((3, 7, 9), [2, 4, 5])])
def test_windows_cover_the_box_and_stay_in_the_image(box, least):
    widths, faint = np.full((2, 3), 0.1), np.full(2, 1e-6)
    half = windows.half_windows(windows.reach_of(widths, faint, np.ones(2)), box)
    assert_array_equal(half, [least] * 2)
    extent = np.array([1 if len(box) == 2 else 6, 20, 30])
    centres = np.array([[0.0, 9.6, 11.2], [0.0, 19.0, 0.0]])
    laid = windows.lay_windows(centres, half, extent)
    first, count = laid[:, :3], laid[:, 3:]
    assert (first >= 0).all()
    assert (first + count <= extent).all()
    assert_array_equal(first[0, 1:], np.array([10, 11]) - least[1:])
    assert_array_equal(count[0, 1:], 2 * np.array(least[1:]) + 1)


def test_a_wide_bright_spot_has_a_wider_window_than_its_box():
    reach = windows.reach_of(np.full((1, 3), 4.0), np.array([1e3]), np.ones(1))
    half = windows.half_windows(reach, (5, 5))
    assert half[0, 0] == 0
    assert_array_equal(half[0, 1:], np.ceil(4.0 * np.sqrt(2 * np.log(1e3 / 0.02))))
