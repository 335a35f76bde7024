"""Errors that hold where each pixel has a noise of its own, and where pixels are missing."""

import naive_register as naive
import numpy as np
import pytest
from numpy.testing import assert_allclose

from fastgauss.kernels._compile import JIT_DISABLED
from fastgauss.register import align, chi2_shift, displacement_field

compiled = pytest.mark.skipif(JIT_DISABLED, reason="many images")


def star_field(n, count, low, high, sigma, rng, move):
    """Counts of photons of stars, before and after a move."""
    places = rng.uniform(10, n - 10, (count, 2))
    heights = np.exp(rng.uniform(np.log(low), np.log(high), count))
    grid = np.arange(n)
    images = []
    for dx, dy in ((0, 0), move):
        rows = np.exp(-0.5 * ((grid[:, np.newaxis] - places[:, 1] - dy) / sigma) ** 2)
        columns = np.exp(-0.5 * ((grid[:, np.newaxis] - places[:, 0] - dx) / sigma) ** 2)
        images.append(rng.poisson(20 + (rows * heights) @ columns.T))
    return images


METHODS = {
    "align": lambda a, b: (align(a, b)[:2], align(a, b).errors),
    "wrap": lambda a, b: (
        align(a, b, boundary="wrap")[:2],
        align(a, b, boundary="wrap").errors,
    ),
    "chi2_shift": lambda a, b: np.split(np.array(chi2_shift(a, b)), 2),
}


@compiled
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("low", "high", "sigma", "count"),
    [(50, 500, 1.3, 40), (500, 8000, 1.3, 40), (60, 900, 2.5, 15)],
)
def test_photons(method, low, high, sigma, count):
    pulls = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        truth = rng.uniform(-3, 3, 2)
        found, errors = METHODS[method](*star_field(72, count, low, high, sigma, rng, truth))
        pulls += list((np.array(found) - truth) / errors)
    assert 0.8 < np.sqrt(np.mean(np.square(pulls))) < 1.25


@compiled
@pytest.mark.parametrize("method", ["align", "wrap"])
def test_photons_of_clouds(method):
    pulls = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        truth, n = rng.uniform(-3, 3, 2), 64
        size = n if method == "wrap" else 2 * n
        spectrum = naive.cloud(size, rng)
        a, b = (
            rng.poisson(np.clip(60 + 20 * naive.scene(spectrum, size, *d), 0, None))[:n, :n]
            for d in ((0, 0), truth)
        )
        found, errors = METHODS[method](a, b)
        pulls += list((np.array(found) - truth) / errors)
    assert 0.8 < np.sqrt(np.mean(np.square(pulls))) < 1.25


@compiled
def test_windows_on_photons():
    rng = np.random.default_rng(3)
    a, b = star_field(256, 900, 80, 2000, 1.4, rng, (1.4, -2.3))
    field = displacement_field(a, b, 48, 24)
    good = field.converged
    assert good.mean() > 0.95
    pulls = np.stack([field.dx - 1.4, field.dy + 2.3], -1)[good] / field.errors[good]
    assert 0.75 < np.sqrt(np.mean(pulls**2)) < 1.3


def test_chi2_with_holes_knows_where_the_noise_is():
    pulls = []
    for seed in range(4 if JIT_DISABLED else 40):
        rng = np.random.default_rng(seed)
        truth = rng.uniform(-2, 2, 2)
        a, b = (i.astype(float) for i in star_field(64, 30, 200, 4000, 1.5, rng, truth))
        a[rng.random(a.shape) < 0.01] = np.nan
        dx, dy, ex, ey = chi2_shift(a, b)
        pulls += [(dx - truth[0]) / ex, (dy - truth[1]) / ey]
    assert np.sqrt(np.mean(np.square(pulls))) < 2.0


# -- missing pixels ----------------------------------------------------------------------------


def views(n, dx, dy, noise, seed):
    rng = np.random.default_rng(seed)
    spectrum = naive.cloud(2 * n, rng)
    images = [naive.scene(spectrum, 2 * n, *d)[:n, :n] for d in ((0, 0), (dx, dy))]
    return [image + rng.normal(0, noise, image.shape) for image in images]


@compiled
@pytest.mark.parametrize("share", [0.01, 0.05, 0.15])
def test_single_pixels_may_be_missing(share):
    pulls = []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        a, b = views(64, 1.3, -2.4, 0.1, seed)
        holes = rng.random(a.shape) < share
        shift = align(a, b, mask=holes)  # the same pixels of both images
        whole = align(a, b)
        assert shift.converged
        assert shift.errors.max() < (1.2 + 6 * share) * whole.errors.max()
        pulls += list((shift[:2] - np.array([1.3, -2.4])) / shift.errors)
    assert 0.8 < np.sqrt(np.mean(np.square(pulls))) < 1.25


@compiled
def test_windows_with_missing_pixels():
    a, b = views(128, 1.3, -2.4, 0.02, 2)
    holes = np.random.default_rng(1).random(a.shape) < 0.05
    field = displacement_field(np.where(holes, np.nan, a), b, 32, 32)
    assert field.converged.all() and np.abs(field.dx - 1.3).max() < 0.3
    lines = np.zeros(a.shape, bool)
    lines[::16] = lines[:, 40] = True
    field = displacement_field(a, b, 32, 32, mask=lines)
    assert field.converged.all() and np.abs(field.dx - 1.3).max() < 0.3


@compiled
def test_what_is_missing_in_one_image_alone_makes_no_window_doubtful():
    a, b = views(128, 1.3, -2.4, 0.02, 3)
    b[52:56] = np.nan  # more than what is guessed
    b[:, 90:95] = np.nan
    field = displacement_field(a, b, 32, 16)
    assert field.converged.all() and np.abs(field.dx - 1.3).max() < 0.3


@compiled
@pytest.mark.parametrize("pad", [40, 80])
def test_padding_does_not_matter(pad):
    a, b = views(48, 1.3, -2.4, 0.02, 2)
    wide = [np.pad(image, pad, constant_values=np.nan) for image in (a, b)]
    shift = align(*wide)
    assert shift.converged
    assert_allclose(shift[:2], (1.3, -2.4), rtol=0, atol=0.1)
