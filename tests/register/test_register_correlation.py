"""Correlations and moved images, of any number of axes."""

import itertools

import naive_register as naive
import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import ndimage
from tolerances import TOLERANCE

from fastgauss.register import cross_correlate, phase_correlate, shift_from_correlation, shift_image

close = {"rtol": 0, "atol": TOLERANCE["correlation"]}


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("boundary", ["wrap", "overlap"])
@pytest.mark.parametrize("shape", [(9,), (8,), (5, 6), (7, 4), (3, 4, 3)])
def test_map_is_the_sum(shape, boundary, normalize):
    a, b = np.random.default_rng(1).normal(size=(2, *shape))
    options = {"boundary": boundary, "normalize": normalize}
    assert_allclose(
        cross_correlate(a, b, **options), naive.cross_correlate(a, b, **options), **close
    )
    if normalize:
        assert_allclose(
            cross_correlate(3 * a + 50, b - 9, **options), cross_correlate(a, b, **options), **close
        )


def test_missing_pixels_do_not_count():
    rng = np.random.default_rng(2)
    a, b = rng.normal(size=(2, 6, 7))
    mask = rng.random(a.shape) < 0.2
    bad = np.where(mask, np.nan, a)
    for boundary in ("wrap", "overlap"):
        expected = naive.cross_correlate(bad, b, boundary, True)
        assert_allclose(cross_correlate(bad, b, boundary=boundary), expected, **close)
        masked = cross_correlate(np.where(mask, 1e3, a), b, boundary=boundary, mask=(mask, None))
        assert_allclose(masked, expected, **close)


@pytest.mark.parametrize("fftshift", [True, False])
@pytest.mark.parametrize("shape", [(16, 16), (15, 17), (16, 21), (9, 8, 10), (30,)])
def test_peaks_are_at_the_displacement(shape, fftshift):
    rng = np.random.default_rng(3)
    a = rng.normal(size=shape)
    for move in itertools.product(*[(-(n - 1) // 2, -1, 0, n // 2 - 1) for n in shape]):
        b = np.roll(a, move, range(a.ndim))
        for c in (
            cross_correlate(a, b, fftshift=fftshift),
            cross_correlate(a, b, fftshift=fftshift, normalize=False),
            phase_correlate(a, b, None, fftshift=fftshift),
        ):
            peak = np.unravel_index(c.argmax(), c.shape)
            lag = [
                i - n // 2 if fftshift else (i + n // 2) % n - n // 2
                for i, n in zip(peak, shape, strict=True)
            ]
            assert [(i - j) % n for i, j, n in zip(lag, move, shape, strict=True)] == [0] * a.ndim
            found = shift_from_correlation(c, fftshift=fftshift)
            assert np.abs(found - lag).max() < 0.5


def test_fraction_of_a_pixel():
    rng = np.random.default_rng(4)
    spectrum = naive.cloud(64, rng, 2.0)
    a, b = naive.scene(spectrum, 64), naive.scene(spectrum, 64, 2.3, -4.6)
    assert_allclose(shift_from_correlation(cross_correlate(a, b)), (-4.6, 2.3), atol=0.25)
    for c in (cross_correlate(a, b, window="hann"), phase_correlate(a, b)):
        assert_allclose(shift_from_correlation(c), (-4.6, 2.3), atol=0.7)  # a taper stays
    x = np.arange(-10.0, 11.0)
    peak = np.exp(-np.add.outer((x - 1.3) ** 2, (x + 2.4) ** 2) / 5)
    assert_allclose(shift_from_correlation(peak), (1.3, -2.4), rtol=0, atol=1e-5)  # aliased
    exact = shift_from_correlation(peak, method="gaussian")
    assert_allclose(exact, (1.3, -2.4), rtol=0, atol=1e-12)
    assert np.abs(shift_from_correlation(peak - 2) - (1.3, -2.4)).max() < 0.05


def test_without_structure_there_is_nothing():
    flat = np.ones((6, 7))
    assert np.isnan(cross_correlate(flat, flat)).all()
    assert np.isnan(cross_correlate(flat, flat, boundary="overlap")).all()
    assert not phase_correlate(flat, flat).any()
    with pytest.raises(ValueError, match="correlation must hold a finite value"):
        shift_from_correlation(np.full((3, 3), np.nan))


@pytest.mark.parametrize("shape", [(12,), (13,), (8, 9), (12, 10), (6, 7, 8)])
def test_fourier_shift_is_the_shift_theorem(shape):
    rng = np.random.default_rng(5)
    image = rng.normal(size=shape)
    move = tuple(rng.uniform(-3, 3, len(shape)))
    spectrum = np.fft.fftn(image)
    for axis, (n, d) in enumerate(zip(shape, move, strict=True)):
        k = np.fft.fftfreq(n)
        wave = np.exp(-2j * np.pi * k * d)
        if n % 2 == 0:
            wave[n // 2] = np.cos(np.pi * d)
        spectrum *= wave.reshape([-1 if i == axis else 1 for i in range(len(shape))])
    assert_allclose(shift_image(image, move), np.fft.ifftn(spectrum).real, **close)
    whole = tuple(range(1, 1 + len(shape)))
    assert_allclose(shift_image(image, whole), np.roll(image, whole, range(len(shape))), **close)
    splines = shift_image(image, move, "spline", order=3, cval=7.0)
    assert_allclose(splines, ndimage.shift(image, move, order=3, cval=7.0), rtol=0, atol=0)


SIZES = range(9, 27)
MOVES = np.linspace(-2.5, 2.5, 11)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("axes", [(1,), (1, 1), (1, 2)])
def test_spots_of_their_suite(size, axes):
    """Each case of image_registration's shifts of 1-D, 2-D and asymmetric images."""
    grids = np.meshgrid(*[np.arange(size * k) - (size * k - 1) / 2 for k in axes], indexing="ij")
    image = np.exp(-0.5 * sum(g**2 for g in grids))
    for move in itertools.product(MOVES, repeat=len(axes)):
        expected = np.exp(-0.5 * sum((g - d) ** 2 for g, d in zip(grids, move, strict=True)))
        assert np.abs(shift_image(image, move) - expected).max() < 0.05


BAD = [
    (cross_correlate, ValueError, "b must have the shape of a", (np.ones(3), np.ones(4)), {}),
    (cross_correlate, ValueError, "a must hold a pixel", (np.ones(0), np.ones(0)), {}),
    (cross_correlate, ValueError, "a must hold a pixel", (1.0, 2.0), {}),
    (cross_correlate, ValueError, "window must be one of", (np.ones(3),) * 2, {"window": "box"}),
    (cross_correlate, ValueError, "boundary must be", (np.ones(3),) * 2, {"boundary": "fill"}),
    (cross_correlate, TypeError, "normalize must be True", (np.ones(3),) * 2, {"normalize": 1}),
    (phase_correlate, TypeError, "b must hold real numbers", (np.ones(3), ["a"] * 3), {}),
    (shift_from_correlation, ValueError, "method must be", (np.ones(3),), {"method": "cubic"}),
    (shift_image, ValueError, "displacement must be one number or 2", (np.ones((3, 3)), (1,)), {}),
    (shift_image, ValueError, "image must be finite", ([1.0, np.nan], 1), {}),
    (shift_image, ValueError, "image must hold a pixel", (np.ones((0, 2)), 1), {}),
    (shift_image, ValueError, "order must be at most 5", (np.ones(4), 1), {"order": 6}),
    (shift_image, TypeError, "cval must be a real", (np.ones(4), 1, "spline"), {"cval": "a"}),
    (shift_image, ValueError, "displacement must be finite", (np.ones(4), np.inf), {}),
]


@pytest.mark.parametrize(("function", "error", "message", "arguments", "options"), BAD)
def test_bad_input(function, error, message, arguments, options):
    with pytest.raises(error, match=message):
        function(*arguments, **options)
