"""Every call on the page for users of other packages runs; where the other package is here too,
the numbers agree."""

import re
import runpy
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage, stats

from fastgauss.kernels._compile import JIT_DISABLED

PAGES = runpy.run_path(str(Path(__file__).resolve().parents[2] / "docs" / "build" / "pages.py"))
pytestmark = pytest.mark.skipif(JIT_DISABLED, reason="many fits of whole images")
PAGE = PAGES["DOCS"] / "howto" / "coming-from.md"


def cells():
    """The code in the right column of every table."""
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if line.startswith("| ") and not line.endswith("fastgauss |"):
            yield from re.findall(r"`([^`]+)`", line.rsplit(" | ", 1)[1])


@pytest.fixture(scope="module")
def names():
    return PAGES["run"](PAGE)


def is_code(cell):
    return re.match(r"fg\.|found|image", cell) is not None


def test_every_call_in_the_right_columns_runs(names):
    codes = [cell for cell in cells() if is_code(cell)]
    assert len(codes) > 45
    for code in codes:
        eval(code, dict(names))  # raises where the page is wrong


def test_the_calls_of_scipy_and_numpy_give_the_same_numbers(names):
    fg, image = names["fg"], names["image"]
    for name in ("gaussian_filter", "gaussian_laplace", "gaussian_gradient_magnitude"):
        np.testing.assert_allclose(
            getattr(fg, name)(image, 2), getattr(ndimage, name)(image, 2), rtol=1e-9, atol=1e-9
        )
    x, samples = names["x"], names["samples"]
    np.testing.assert_allclose(fg.kde(samples)(x), stats.gaussian_kde(samples)(x), atol=1e-6)
    numbers, values = names["numbers"], names["values"]
    mean = stats.binned_statistic(numbers, values, bins=np.arange(10) - 0.5).statistic
    np.testing.assert_allclose(fg.bin_statistics(numbers, values, 9).mean, mean, rtol=1e-12)


def test_the_calls_of_scikit_image_give_the_same_numbers(names):
    pytest.importorskip("skimage")
    from skimage import filters, registration

    fg, image = names["fg"], names["image"]
    ours = fg.gaussian_filter(image, 2, mode="nearest")
    np.testing.assert_allclose(ours, filters.gaussian(image, 2, preserve_range=True), rtol=1e-9)
    ours = fg.difference_of_gaussians(image, 2, 3, mode="nearest")
    np.testing.assert_allclose(ours, filters.difference_of_gaussians(image, 2, 3), atol=1e-9)
    moved = np.roll(image, 2, axis=1)
    shift = fg.register.align(image, moved)
    back = registration.phase_cross_correlation(image, moved, normalization=None)[0]
    np.testing.assert_allclose([-shift.dy, -shift.dx], back, atol=0.1)


def test_the_calls_of_healpy_give_the_same_pixels(names):
    healpy = pytest.importorskip("healpy")
    fg, theta, phi, values = (names[name] for name in ("fg", "theta", "phi", "values"))
    for nest in (False, True):
        expected = healpy.ang2pix(16, theta, phi, nest=nest)
        np.testing.assert_array_equal(fg.healpix_pixel(theta, phi, 16, nest=nest), expected)
    expected = np.bincount(healpy.ang2pix(16, theta, phi), values, 12 * 16**2)
    sky = fg.healpix_add(np.zeros(12 * 16**2), theta, phi, values)
    np.testing.assert_array_equal(sky, expected)
