"""Kernels whose other tests are too large for plain Python, on a few numbers."""

import numpy as np
import pytest

import fastgauss as fg
from fastgauss.kernels._compile import JIT_DISABLED
from fastgauss.kernels.sums import scatter_add

pytestmark = pytest.mark.skipif(not JIT_DISABLED, reason="larger tests try these compiled")
ROTATED = np.array([[90.0, 3.1, 2.8, 1.5, 1.0, 0.4, 10.0]])


@pytest.mark.parametrize("method", ["lsq", "mle"])
def test_a_turned_spot_averaged_over_pixels_is_found_again(method):
    rois = fg.image(ROTATED, (6, 7), model="rotated", pixel="integrate")
    result = fg.fit_rois(rois, "rotated", method=method, pixel="integrate")
    np.testing.assert_allclose(result.params, ROTATED, rtol=1e-5)


def test_sandwich_is_that_of_the_jacobian():
    truth = np.array([[90.0, 3.1, 2.8, 1.3, 10.0]])
    roi = np.rint(fg.image(truth, (6, 7), model="symmetric"))
    result = fg.fit_rois(roi, covariance="sandwich")
    y, x = np.indices(roi.shape[1:], dtype=float)
    jacobian = fg.jacobian((x, y), result.params[0], "symmetric").reshape(-1, 5)
    values = fg.evaluate((x, y), result.params[0], "symmetric").ravel()
    inverse = np.linalg.inv(jacobian.T @ jacobian)
    expected = inverse @ (jacobian.T * values) @ jacobian @ inverse
    np.testing.assert_allclose(result.covariance[0], expected, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("far", [False, True])
@pytest.mark.parametrize("kind", ["value", "scalar", "row"])
def test_all_ways_to_add_are_numpys(kind, far):
    """``far``: the array is larger than what is near the processor, and memory is asked ahead."""
    rng = np.random.default_rng(3)
    n = scatter_add.BLOCK + scatter_add.AHEAD + 5
    bins = scatter_add.NEAR // 8 + 1 if far else 10
    rows = (2,) if kind == "row" else ()
    indices = rng.integers(0, bins, n)
    values = rng.integers(0, 9, (1, *rows) if kind == "scalar" else (n, *rows)).astype(float)
    expected = np.zeros((bins, *rows))
    np.add.at(expected, indices, values)
    for place in ("plain", "raise", "wrap", "clip", "drop"):
        out = np.zeros_like(expected)
        scatter_add.make_add(place, kind)(out, indices, values, 0, n)
        np.testing.assert_array_equal(out, expected)
    out = np.zeros_like(expected)
    assert scatter_add.make_add_below(kind)(out, indices, values)
    np.testing.assert_array_equal(out, expected)
    if kind != "row":
        out = np.zeros_like(expected)
        scatter_add.make_add_runs(kind)(out, np.sort(indices), values, 0, n)
        assert out.sum() == expected.sum()
