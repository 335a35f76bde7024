"""Chi-squared of shifts: maps, minima, errors, and the cases of image_registration's suite."""

import naive_register as naive
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from tolerances import TOLERANCE

from fastgauss.kernels._compile import JIT_DISABLED
from fastgauss.register import (
    align,
    chi2_map,
    chi2_map_to_errors,
    chi2_shift,
    chi2_shift_iterzoom,
    shift_image,
)

SHIFTS = [1, 1.5, -1.25, 8.2, 10.1]
SIZES = [99, 100, 101]
FINDERS = {
    "chi2_shift": chi2_shift,
    "iterzoom": chi2_shift_iterzoom,
    "align": lambda im1, im2: align(im1, im2, boundary="wrap"),
}
compiled = pytest.mark.skipif(JIT_DISABLED, reason="nothing here is compiled: once is enough")
close = TOLERANCE["correlation"]


# -- the map -----------------------------------------------------------------------------------


@pytest.mark.parametrize("reduced", [False, True])
@pytest.mark.parametrize("boundary", ["wrap", "overlap"])
@pytest.mark.parametrize("shape", [(6, 6), (5, 8), (7, 5)])
def test_map_is_the_sum(shape, boundary, reduced):
    rng = np.random.default_rng(0)
    im1, im2 = rng.normal(size=(2, *shape)) + 1000
    options = {"boundary": boundary, "reduced": reduced}
    for err in (np.ones(shape), rng.uniform(0.5, 2, shape)):
        expected = naive.chi2_map(im1, im2, err, **options)
        assert_allclose(chi2_map(im1, im2, err, **options), expected, rtol=1e-8, atol=1e-9)
    plain = chi2_map(im1, im2, 2.0, **options)
    expected = naive.chi2_map(im1, im2, np.full(shape, 2.0), **options)
    assert_allclose(plain, expected, rtol=1e-8, atol=1e-9)
    holes = im1.copy(), im2.copy(), rng.uniform(0.5, 2, shape)
    holes[0][1, 2], holes[1][3, 3], holes[1][0, 1], holes[2][2, 4] = np.nan, np.inf, np.nan, 0
    expected = naive.chi2_map(*holes, **options)
    assert_allclose(chi2_map(*holes, **options), expected, rtol=1e-7, atol=1e-8)


def test_zero_mean_and_masks():
    rng = np.random.default_rng(1)
    im1, im2 = rng.normal(size=(2, 6, 7))
    expected = chi2_map(im1 - im1.mean(), im2 - im2.mean())
    assert_allclose(chi2_map(im1, im2 + 50, zeromean=True), expected, rtol=1e-9)
    mask = rng.random((6, 7)) < 0.2
    bad = np.where(mask, np.nan, im1), np.where(mask, np.nan, im2)
    assert_array_equal(chi2_map(*bad), chi2_map(im1, im2, mask=mask))
    assert_array_equal(chi2_map(bad[0], im2), chi2_map(im1, im2, mask=(mask, None)))


# -- the shift ---------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(8, 8), (9, 9), (12, 9), (7, 20)])
@pytest.mark.parametrize("finder", ["chi2_shift", "iterzoom"])
def test_an_image_has_no_shift_to_itself(shape, finder):
    image = np.random.default_rng(0).normal(size=shape)
    assert FINDERS[finder](image, image)[:2] == (0, 0)
    assert chi2_shift(image, image, np.ones(shape))[:2] == pytest.approx((0, 0), abs=1e-9)
    assert chi2_shift(image, image, upsample_factor=10)[:2] == (0, 0)


@pytest.mark.parametrize("shape", [(30, 30), (31, 31), (31, 40), (24, 33)])
@pytest.mark.parametrize("finder", FINDERS)
@pytest.mark.parametrize(("dx", "dy"), [(0.5, -0.5), (2.25, 3.7), (-4.1, 0.0)])
def test_shifts_without_noise_are_exact_on_axes_of_all_sizes(shape, finder, dx, dy):
    y, x = (np.arange(n) - n // 2 for n in shape)
    image = np.exp(-0.5 * np.add.outer(y**2, x**2) / 2.0**2)
    moved = shift_image(image, (dy, dx))
    assert_allclose(FINDERS[finder](image, moved)[:2], (dx, dy), rtol=0, atol=1e-6)
    assert_allclose(chi2_shift(image, moved, upsample_factor=4)[:2], (dx, dy), atol=0.125 + 1e-9)
    x_at, y_at, values = chi2_shift(image, moved, 0.1, return_chi2array=True)[-1]
    least = np.unravel_index(values.argmin(), values.shape)
    assert x_at[least[1]] == pytest.approx(dx, abs=1e-6)
    assert y_at[least[0]] == pytest.approx(dy, abs=1e-6)


def gaussian_pair(rng, dx, dy, size, amplitude=1000.0, width=3.0):
    """A spot, and one displaced in noise of 1; the tolerance of their suite."""
    y, x = np.indices((size, size)) - 50.0
    image = amplitude * np.exp(-(x**2 + y**2) / (2 * width**2))
    moved = amplitude * np.exp(-((x - dx) ** 2 + (y - dy) ** 2) / (2 * width**2))
    tolerance = 3 / np.sqrt(2 * np.pi * width**2 * amplitude)
    return image, moved + rng.normal(size=image.shape), tolerance


@compiled
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dy", SHIFTS)
@pytest.mark.parametrize("dx", SHIFTS)
def test_spots_of_their_suite(dx, dy, size):
    rng = np.random.default_rng([int(100 * (dx + 20)), int(100 * (dy + 20)), size])
    image, moved, tolerance = gaussian_pair(rng, dx, dy, size)
    for finder in FINDERS.values():
        assert_allclose(finder(image, moved)[:2], (dx, dy), rtol=0, atol=tolerance)


@compiled
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dy", SHIFTS)
@pytest.mark.parametrize("dx", SHIFTS)
def test_extended_scenes_of_their_suite(dx, dy, size):
    """Their amplitude is below the noise by 1400, and no error can be 0.08 of it; one that can."""
    rng = np.random.default_rng([int(100 * (dx + 20)), int(100 * (dy + 20)), size])
    y, x = np.indices((size, size)) - size / 2 + (1 - size % 2)
    radius = np.hypot(y, x)
    radius[radius == 0] = np.inf
    modes = (rng.normal(size=(2, size, size)) / radius).T @ [1, 1j]
    image = np.abs(np.fft.fftshift(np.fft.ifft2(modes.T)))
    for amplitude, noise in ((1.0, 1.0), (500.0, 0.5)):
        scene = amplitude * image
        moved = shift_image(scene, (dy, dx)) + rng.normal(0, noise, image.shape)
        sx, sy, ex, ey = chi2_shift(scene, moved, noise)
        assert abs(sx - dx) < 4 * ex and abs(sy - dy) < 4 * ey
    assert abs(ex - 0.04) < 0.03 and abs(ey - 0.04) < 0.03
    zoomed = chi2_shift_iterzoom(scene, moved, noise)
    assert_allclose(zoomed[:2], (sx, sy), rtol=0, atol=1e-8)
    assert_allclose(zoomed[2:], (ex, ey), rtol=0.25)


@compiled
@pytest.mark.parametrize("noise", [0.1, 0.5])
@pytest.mark.parametrize("both", [True, False])
def test_errors_are_honest(both, noise):
    """Also where both images are noisy and chi-squared alone says less."""
    rng = np.random.default_rng(3)
    n = 48
    errors, reported, bounds = [], [], []
    for _ in range(400):
        spectrum = naive.cloud(n, rng)
        truth = rng.uniform(-6, 6, 2)
        a = naive.scene(spectrum, n) + both * rng.normal(0, noise, (n, n))
        b = naive.scene(spectrum, n, *truth) + rng.normal(0, noise, (n, n))
        result = chi2_shift(a, b, noise * np.sqrt(1 + both))
        errors.append(result[:2] - truth)
        reported.append(result[2:])
        gx, gy = naive.gradients(spectrum, n)
        fisher = np.array([[np.vdot(p, q) for q in (gx, gy)] for p in (gx, gy)])
        bounds.append(noise**2 * np.diag(np.linalg.inv(fisher)))
    errors, reported = np.array(errors), np.array(reported)
    ratio = np.sqrt(np.mean(reported**2) / np.mean(errors**2))
    assert ratio == pytest.approx(1, abs=0.15)
    assert 0.63 < np.mean(np.abs(errors) < reported) < 0.74
    if not both:  # the scene is known: the bound is reached
        assert np.mean(errors**2) < 1.1**2 * np.mean(bounds)


def test_missing_pixels_and_arrays_of_errors():
    rng = np.random.default_rng(5)
    spectrum = naive.cloud(40, rng)
    a, b = naive.scene(spectrum, 40), naive.scene(spectrum, 40, 2.3, -1.6)
    b = b + rng.normal(0, 0.05, b.shape)
    b[3:9, 10:20] = np.nan
    err = np.full(b.shape, 0.05)
    err[30:33, 5:9] = 0
    for options in ({"err": err}, {"err": 0.05}, {}):
        dx, dy, ex, ey = chi2_shift(a, b, **options)
        assert abs(dx - 2.3) < 6 * ex < 0.2 and abs(dy + 1.6) < 6 * ey < 0.2


def test_no_structure_has_no_shift():
    result = chi2_shift(np.ones((9, 9)), np.ones((9, 9)), 1.0, return_chi2array=True)
    assert np.isnan(result[:4]).all() and np.isnan(result[4][2]).all()
    noise = np.random.default_rng(1).normal(size=(2, 40, 40))
    assert min(chi2_shift(0.001 * noise[0], noise[1], 1.0)[2:]) > 5


def test_joint_errors_are_larger():
    rng = np.random.default_rng(5)
    spectrum = naive.cloud(32, rng)
    a, b = naive.scene(spectrum, 32), naive.scene(spectrum, 32, 1.3, 0.4)
    b += rng.normal(0, 0.1, b.shape)
    one, two = chi2_shift(a, b, 0.1)[2:], chi2_shift(a, b, 0.1, nfitted=2)[2:]
    assert_allclose(np.divide(two, one), np.sqrt(2.2957489), rtol=1e-6)  # chi2, 2 dof, 68.27 %
    x, y, values = chi2_shift(a, b, 0.1, return_chi2array=True)[-1]
    density = 1 / (x[1] - x[0]), 1 / (y[1] - y[0])
    ends = chi2_map_to_errors(values)
    assert_allclose(ends[0] / density[0] + ends[1] / density[0], 2 * one[0], rtol=0.15)
    assert_allclose(ends[2] / density[1] + ends[3] / density[1], 2 * one[1], rtol=0.15)


@pytest.mark.parametrize(("nsigma", "nfitted", "rise"), [(1, 1, 1), (2, 1, 4), (1, 2, 2.29575)])
def test_errors_of_an_array(nsigma, nfitted, rise):
    y, x = np.mgrid[-40:41, -40:41]
    values = 7 + (x / 8) ** 2 + (y / 5) ** 2 + 0.9 * (x / 8) * (y / 5)
    ends = chi2_map_to_errors(values, 10, nsigma, nfitted)
    inverse = np.linalg.inv([[1 / 64, 0.45 / 40], [0.45 / 40, 1 / 25]])
    expected = np.sqrt(rise * np.diag(inverse))[[0, 0, 1, 1]] / 10
    assert_allclose(ends, expected, rtol=5e-3)
    assert np.isnan(chi2_map_to_errors(values, nsigma=30)).all()


BAD = [
    (chi2_shift, "im2 must have the shape", {"im2": np.ones((20, 21))}),
    (chi2_shift, "im1 must have 3 rows", {"im1": np.ones((2, 2)), "im2": np.ones((2, 2))}),
    (chi2_shift, "im1 must have 2 dimensions", {"im1": np.ones(9)}),
    (chi2_shift, "err must be finite and above 0", {"err": 0}),
    (chi2_shift, "upsample_factor must be one of", {"upsample_factor": "best"}),
    (chi2_shift, "upsample_factor must be finite and at least 1", {"upsample_factor": 0.5}),
    (chi2_shift, "nfitted must be at least 1", {"nfitted": 0}),
    (chi2_map, "boundary must be one of", {"boundary": "fill"}),
    (chi2_shift_iterzoom, "zoom_shape must be 2 numbers", {"zoom_shape": (9, 9, 9)}),
    (chi2_shift_iterzoom, r"rezoom_shape\[1\] must be at least 5", {"rezoom_shape": (9, 1)}),
    (chi2_shift_iterzoom, "mindiff must be finite and above 0", {"mindiff": 0}),
]


@pytest.mark.parametrize(("function", "message", "options"), BAD)
def test_bad_input(function, message, options):
    image = np.random.default_rng(0).normal(size=(20, 20))
    with pytest.raises(ValueError, match=message):
        function(**{"im1": image, "im2": image, **options})


@pytest.mark.parametrize("name", ["zeromean", "reduced"])
def test_flags_are_flags(name):
    with pytest.raises(TypeError, match=f"{name} must be True or False"):
        chi2_map(np.ones((4, 4)), np.ones((4, 4)), **{name: 1})
