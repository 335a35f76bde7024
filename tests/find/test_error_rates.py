"""How many false spots find_spots finds, and how many true ones: the numbers that it promises."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import stats
from scipy.spatial import cKDTree

import fastgauss as fg
from fastgauss.find import background, laplacian, maxima_counts, response, significance
from fastgauss.find.detection import find_spots
from fastgauss.find.matched_filter import matched_response
from fastgauss.find.prepared_search import factor_in_crowd
from fastgauss.kernels._compile import JIT_DISABLED

WIDTHS = (1.3, 0.0, 1.3)
compiled = pytest.mark.skipif(JIT_DISABLED, reason="large images")
Y, X = np.mgrid[:256, :256]
NOISE = {
    "normal": lambda rng: rng.normal(-7.0, 1e-3, Y.shape),
    "float32 on a bowl": lambda rng: (
        rng.normal(0, 5, Y.shape) + 1e-3 * ((Y - 128) ** 2 + (X - 90) ** 2)
    ).astype("f4"),
    "counts of 0.05": lambda rng: rng.poisson(0.05, Y.shape).astype("u1"),
    "counts of 0.7": lambda rng: rng.poisson(0.7, Y.shape),
    "counts of 4 to 400": lambda rng: rng.poisson(4 + 400 * X / 256),
    "a camera's units": lambda rng: (100 + 2.2 * rng.poisson(15, Y.shape)).astype("u2"),
}


@compiled
@pytest.mark.parametrize("kind", NOISE)
@pytest.mark.parametrize("sigma", [0.8, 1.3, 2.4])
def test_as_many_false_spots_as_asked(kind, sigma):
    rng = np.random.default_rng(11)
    asked, images = 20.0, 8
    found = sum(len(find_spots(NOISE[kind](rng), sigma, false_alarms=asked)) for _ in range(images))
    low, high = stats.poisson.ppf([1e-4, 1 - 1e-4], asked * images * np.array([0.7, 1.35]))
    assert low <= found <= high


@compiled
def test_as_many_in_a_volume_and_beside_missing_pixels():
    rng = np.random.default_rng(12)
    volume = rng.poisson(3.0, (60, 70, 80))
    found = sum(
        len(find_spots(rng.permutation(volume.ravel()).reshape(volume.shape), s, false_alarms=30))
        for s in (1.0, (1.6, 1.1, 1.1))
    )
    assert 40 <= found <= 85
    found = 0
    for _ in range(6):
        image = rng.normal(50, 4, Y.shape)
        image[rng.random(Y.shape) < 0.1] = np.nan
        image[60:90, 30:99] = np.nan
        found += len(find_spots(image, false_alarms=20, exclude_border=False))
    assert 80 <= found <= 165


@compiled
def test_one_missing_line_of_all_planes_does_not_hide_the_skewness_of_noise():
    volume = np.random.default_rng(17).gamma(0.1, size=(128, 64, 256))
    mask = np.zeros(volume.shape, bool)
    whole = len(find_spots(volume, 1.5, mask=mask))
    mask[:, 32] = True
    assert len(find_spots(volume, 1.5, mask=mask)) <= 2 * whole + 5


@compiled
@pytest.mark.parametrize("strength", [4.0, 6.0])
def test_as_many_true_spots_as_a_filter_that_knows_the_background(strength):
    rng = np.random.default_rng(13)
    sigma, level = 1.3, 40.0
    amplitude = strength * np.sqrt(level / np.pi) / sigma
    grid = np.stack(np.meshgrid(*[np.arange(24, 250, 32)] * 2, indexing="ij"), axis=-1)
    truth = grid.reshape(-1, 2).astype(float)
    r2 = ((Y % 32 - 24) ** 2 + (X % 32 - 24) ** 2)[None]
    light = amplitude * np.exp(-0.5 * r2[0] / sigma**2)
    hit = 0
    for _ in range(6):
        found = find_spots(rng.poisson(level + light), sigma, false_alarms=5)
        hit += np.count_nonzero(cKDTree(found).query(truth)[0] < 2.0)
    pixels = 254**2
    limit = maxima_counts.least_significance(5, pixels, significance.correlations(WIDTHS))
    share = hit / (6 * len(truth))
    assert share > stats.norm.sf(limit - strength) - 0.1


@compiled
def test_as_many_true_spots_on_the_dim_side_of_a_slope():
    """There the noise is far below that of the cell, and the slope moves the light of a spot."""
    rng = np.random.default_rng(23)
    sigma, strength = 2.5, 5.5
    level = np.broadcast_to(np.linspace(10.0, 300.0, 256), (256, 256))
    truth = np.stack(np.meshgrid(np.arange(24, 250, 32), [26, 58], indexing="ij"), -1)
    truth = truth.reshape(-1, 2).astype(float)
    amplitude = strength * np.sqrt(level[0][truth[:, 1].astype(int)] / np.pi) / sigma
    light = fg.render((256, 256), truth, amplitude, sigma=sigma)
    hit = 0
    for _ in range(12):
        found = find_spots(rng.poisson(level + light), sigma, significance=3.5)
        hit += np.count_nonzero(cKDTree(found).query(truth)[0] < 3.0)
    assert hit / (12 * len(truth)) > stats.norm.sf(3.5 - strength) - 0.05


def test_the_noise_and_the_height_of_responses_are_those_of_the_filters_weights():
    shape = (31, 1, 44)
    points = np.array([[0, 0, 0], [15, 0, 20], [30, 0, 9], [2, 0, 43]])
    rng = np.random.default_rng(14)
    values = np.zeros((3000 if not JIT_DISABLED else 100, len(points)))
    for row in values:
        picture = response.Picture(rng.normal(size=shape).astype("f4"), np.ones(31), None)
        row[:] = matched_response(picture, WIDTHS, None, 1).response[tuple(points.T)]
    gains = significance.gains_at(points, shape, WIDTHS)
    error = 4 / np.sqrt(2 * len(values))
    assert_allclose(values.std(axis=0), gains.deviation, rtol=error)
    y, x = np.mgrid[:31, :44]
    spot = np.exp(-0.5 * ((y - 15) ** 2 + (x - 20) ** 2) / 1.3**2).astype("f4")
    picture = response.Picture(spot[:, None], np.ones(31), None)
    found = matched_response(picture, WIDTHS, None, 1)
    assert_allclose(found.response[15, 0, 20], gains.height[1], rtol=1e-4)
    assert_allclose(gains.share[1], 1.0)


@pytest.mark.parametrize("missing", [False, True])
def test_a_paraboloid_is_its_own_background(missing):
    y, x = np.mgrid[:90, :110].astype(float)
    image = 3.0 * x - y + 0.02 * (x - 40) * (y - 30) + 0.05 * (y - 50) ** 2
    picture = response.Picture(image[:, None].astype("f4"), np.ones(90), None)
    weights = None
    if missing:
        weights = (np.random.default_rng(15).random(picture.volume.shape) > 0.02).astype("f4")
    measured = background.measure_background(picture, WIDTHS, weights, 1)
    points = np.array([[45, 0, 50], [44, 0, 61]])
    tolerance = 2.0 if missing else 0.5
    assert_allclose(measured.at(points), image[points[:, 0], points[:, 2]], atol=tolerance)
    rest = measured.subtracted(picture.volume, 1)[tuple(points.T)]
    assert_allclose(rest, 0.0, atol=tolerance)


def test_tails_are_those_of_counts():
    weights, far = significance.kernel_of(WIDTHS)
    rng = np.random.default_rng(16)
    mu, size = 0.8, 200_000 if not JIT_DISABLED else 20_000
    near = weights[np.abs(weights) > 1e-3]
    sums = rng.poisson(mu, (size, near.size)) @ near - mu * near.sum()
    sums += rng.normal(0, np.sqrt(mu * (far + np.sum(weights**2) - np.sum(near**2))), size)
    for share in (1e-1, 1e-2, 1e-3):
        r = np.quantile(sums, 1 - share)
        z = significance.significance(np.array([r]), np.array([mu**0.5]), 1.0, WIDTHS)
        assert_allclose(stats.norm.sf(z[0]), share, rtol=4 / np.sqrt(share * size) + 0.05)
    deviation = np.array([2.0, 3.0, 0.5])
    high = 4.0 * deviation * np.sqrt(np.sum(weights**2) + far)
    assert_allclose(significance.significance(high, deviation, 0.0, WIDTHS), 4.0, rtol=1e-3)
    skewed = [significance.significance(high, deviation, g, WIDTHS) for g in (-0.3, 0.3)]
    assert np.all(skewed[0] > 4.0)
    assert np.all(skewed[1] < 4.0)


def test_maxima_of_independent_pixels_and_of_fine_ones():
    z = np.array([3.0, 4.0, 5.0])
    alone = maxima_counts.expected_maxima(z, 1e6, ((0.0, 0.0),) * 2)
    assert_allclose(alone, 1e6 * stats.norm.sf(z), rtol=0.02)
    widths = (9.0, 0.0, 9.0)
    fine = maxima_counts.expected_maxima(z, 1e6, significance.correlations(widths))
    rough = 1.0 / (2 * 9.0**2)  # variance of the slope of a response along an axis
    euler = 1e6 * rough * z * stats.norm.pdf(z) / (2 * np.pi)
    assert_allclose(fine, euler, rtol=0.2)
    limit = maxima_counts.least_significance(7.0, 1e6, ((0.5, 0.1),))
    assert_allclose(maxima_counts.expected_maxima(limit, 1e6, ((0.5, 0.1),)), 7.0, rtol=1e-3)


def test_the_laplacian_of_crowds_has_the_rate_that_is_asked():
    factor = factor_in_crowd(Y.shape, (1.3, 1.3), 50.0, None)
    assert factor_in_crowd(Y.shape, (1.3, 1.3), None, 4.5) == 4.5
    assert factor_in_crowd(Y.shape, (1.3, 1.3), None, None) == 5.0
    if JIT_DISABLED:
        return
    image = np.random.default_rng(17).normal(size=Y.shape)
    gain = laplacian.log_filter.spot_filter(WIDTHS)[1]
    assert 30 <= len(find_spots(image, threshold=factor * gain, min_distance=0)) <= 75


def test_padding_of_zeros_clipped_pixels_and_edges_are_no_spots():
    rng = np.random.default_rng(18)
    counts = rng.poisson(100, (150, 150))
    framed = counts.copy()
    framed[:40] = 0
    edge = rng.poisson(np.where(np.arange(150) < 70, 100, 300), (150, 150))
    clipped = np.clip(counts - 105, 0, None).astype("u2")
    for image in (framed, edge, clipped):
        assert len(find_spots(image, false_alarms=1e-2)) <= 4


@compiled
@pytest.mark.parametrize("spread", [1.0, 2.0])
def test_a_camera_with_noise_of_its_own_in_each_pixel(spread):
    rng = np.random.default_rng(19)
    found = blind = 0
    for _ in range(6):
        variance = rng.lognormal(1.0, spread, Y.shape)
        image = rng.poisson(20.0, Y.shape) + rng.normal(0, np.sqrt(variance))
        found += len(find_spots(image, variance=variance, false_alarms=20))
        blind += len(find_spots(image, false_alarms=20))
    assert 75 <= found <= 165
    assert spread < 2 or blind > 1.5 * found


def test_a_pixel_of_infinite_variance_is_missing():
    image = np.random.default_rng(20).poisson(30.0, (60, 60)).astype(float)
    image[20, 30] = 1e6
    variance = np.full(image.shape, 2.0)
    variance[20, 30] = np.inf
    assert len(find_spots(image, variance=variance, false_alarms=1e-3)) == 0
    for wrong, words in (
        (variance[1:], r"have shape \(60, 60\), got \(59, 60\)"),
        (-variance, r"not be negative or NaN, got -2\.0 at index \(0, 0\)"),
        (
            np.where(np.isinf(variance), np.nan, variance),
            r"not be negative or NaN, got nan at index \(20, 30\)",
        ),
    ):
        with pytest.raises(ValueError, match=f"variance must {words}"):
            find_spots(image, variance=wrong)
    with pytest.raises(ValueError, match="variance must be None with a threshold"):
        find_spots(image, variance=variance, threshold=3.0)
