"""Missing pixels of images that are moved by splines: they go along, and spoil nothing else."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import ndimage

from fastgauss.register import shift_image, shift_stack


def smooth(shape, seed=0):
    return ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), 2.0)


@pytest.mark.parametrize("shape", [(40,), (30, 34), (18, 20, 22)])
def test_a_hole_goes_along(shape):
    image = smooth(shape)
    hole = np.zeros(shape, bool)
    hole[tuple(slice(n // 2, n // 2 + 2) for n in shape)] = True
    whole = shift_image(image, 1.5, "spline")
    for value in (np.nan, np.inf):
        moved = shift_image(np.where(hole, value, image), 1.5, "spline")
        lost = np.isnan(moved) & ~np.isnan(whole)
        # what lies between a missing pixel and the one before it
        expected = np.zeros(shape, bool)
        expected[tuple(slice(n // 2 + 1, n // 2 + 4) for n in shape)] = True
        assert_array_equal(lost, expected)
        known = ~np.isnan(moved)
        assert_allclose(moved[known], whole[known], rtol=0, atol=0.1 * np.abs(image).max())
    masked = shift_image(np.ma.array(image, mask=hole), 1.5, "spline")
    assert_array_equal(masked, moved)


def test_masks_of_a_stack_are_those_of_its_frames():
    frames = np.stack([smooth((24, 26), seed) for seed in range(3)])
    moves = np.array([(0.0, 0.0), (2.0, -1.0), (0.25, 0.5)])
    mask = np.zeros(frames.shape, bool)
    mask[:, 5, 7] = mask[:, 10:14, 3:6] = True
    by_nan = shift_stack(np.where(mask, np.nan, frames), moves)
    for given in (mask, mask[0]):
        assert_array_equal(shift_stack(frames, moves, mask=given), by_nan)
    assert_array_equal(shift_stack(np.ma.array(frames, mask=mask), moves), by_nan)
    assert_array_equal(np.isnan(by_nan[0]), mask[0])
    assert_allclose(by_nan[1][7, 7], frames[1, 5, 8], rtol=0, atol=1e-9)
    assert np.isnan(by_nan[1][7, 6])
    assert_array_equal(shift_stack(frames, moves, mask=mask, cval=0.0)[0][mask[0]], 0.0)
    assert np.isnan(shift_stack(np.full((1, 4, 4), np.nan), [(0, 0.5)])).all()
    with pytest.raises(ValueError, match="mask must have shape"):
        shift_stack(frames, moves, mask=mask[:2])
    with pytest.raises(ValueError, match="mask must be None with method='fourier'"):
        shift_stack(frames, moves, "fourier", mask=mask)
    with pytest.raises(ValueError, match="frames must be finite"):
        shift_stack(np.where(mask, np.nan, frames), moves, "fourier")
