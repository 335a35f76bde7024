"""Peaks of correlations: to a fraction of a lag, at edges, on ridges, and where there is none."""

import itertools

import naive_register as naive
import numpy as np
import pytest
from numpy.testing import assert_allclose

from fastgauss.register import (
    align,
    chi2_map,
    chi2_shift,
    cross_correlate,
    phase_correlate,
    shift_from_correlation,
    shift_image,
)


@pytest.mark.parametrize("shape", [(31,), (32,), (24, 31), (21, 24), (11, 13, 12)])
@pytest.mark.parametrize("fftshift", [True, False])
def test_fractions_have_no_bias(shape, fftshift):
    rng = np.random.default_rng(len(shape))
    image = rng.normal(size=shape)
    image -= image.mean()
    for fraction in (0.1, 0.25, 0.4, -0.45):
        move = fraction + rng.integers(-3, 4, len(shape))
        # no power at the Nyquist frequency, whose modes cannot be moved
        smooth = shift_image(shift_image(image, 0.5), -0.5)
        moved = shift_image(smooth, tuple(move))
        for c in (
            cross_correlate(smooth, moved, fftshift=fftshift),
            phase_correlate(smooth, moved, window=None, fftshift=fftshift),
        ):
            assert_allclose(shift_from_correlation(c, fftshift=fftshift), move, rtol=0, atol=1e-3)


def test_smooth_volume_in_sharp_noise():
    rng = np.random.default_rng(1)
    grid = np.indices((25, 27, 24))
    volume = rng.uniform(0, 10, grid.shape[1:])
    for centre in ((12, 13, 12), (8, 8, 18)):
        away = sum((g - c) ** 2 for g, c in zip(grid, centre, strict=True))
        volume += 100 * np.exp(-away / 18)
    move = (1.43, -2.54, 3.65)
    c = cross_correlate(volume, shift_image(volume, move))
    assert_allclose(shift_from_correlation(c), move, rtol=0, atol=0.02)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("d", [24.0, 27.0, 31.0, 31.3, -31.0, -31.6, -32.0])
def test_edges_of_overlap_do_not_wrap(d, axis):
    n, big = 64, 192
    spectrum = naive.cloud(big, np.random.default_rng(6), 1.7)
    move = [0.0, 0.0]
    move[1 - axis] = d
    a, b = (naive.scene(spectrum, big, *m)[64:128, 64:128] for m in ((0, 0), move))
    c = cross_correlate(a, b, boundary="overlap")
    assert c.shape == (n, n)
    expected = move[::-1]
    assert_allclose(shift_from_correlation(c), expected, rtol=0, atol=0.3)


@pytest.mark.parametrize("method", ["fourier", "gaussian", "parabola"])
def test_no_peak_is_nan(method):
    zero, flat = np.zeros((16, 18)), np.full((16, 18), 7.0)
    spot = zero.copy()
    spot[5:8, 6:9] = 1
    for a, b in itertools.product((zero, flat), (zero, flat, spot)):
        assert np.isnan(shift_from_correlation(phase_correlate(a, b), method=method)).all()
        raw = cross_correlate(a, b, normalize=False)
        assert np.isnan(shift_from_correlation(raw, method=method)).all()
        assert np.isnan(align(a, b)[:2]).all() and np.isnan(align(b, a, boundary="wrap")[:2]).all()
        assert np.isnan(chi2_shift(a, b)[:2]).all()


def test_no_pairs_have_no_chi2():
    rng = np.random.default_rng(2)
    image = rng.normal(size=(8, 9))
    assert np.isnan(chi2_map(image * np.nan, image)).all()
    half = np.zeros(image.shape, bool)
    half[:, 4:] = True
    rest = chi2_map(image, image, boundary="overlap", mask=(half, ~half))
    assert np.isnan(rest).any() and np.isfinite(rest).any()


def test_ridges_give_the_lag_next_to_zero():
    line = np.random.default_rng(3).normal(size=32)
    a, b = (np.repeat(np.roll(line, k)[:, np.newaxis], 20, 1) for k in (0, 4))
    for boundary in ("wrap", "overlap"):
        found = shift_from_correlation(cross_correlate(a, b, boundary=boundary))
        assert_allclose(found, (4, 0), rtol=0, atol=0.2)
    dx, dy, ex, ey = chi2_shift(a, b)
    assert dx == 0 and np.isinf(ex) and dy == pytest.approx(4, abs=1e-6) and ey < 1e-3


def test_a_shift_is_no_displacement():
    image = np.random.default_rng(4).normal(size=(20, 20))
    with pytest.raises(TypeError, match=r"displacement must be .* got a Shift"):
        shift_image(image, align(image, image))
