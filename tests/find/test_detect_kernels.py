"""The filters, maxima and noise under find_spots against scipy, scikit-image and naive twins."""

from __future__ import annotations

import naive_detect as naive
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from naive_detect import spots
from scipy import ndimage, stats
from skimage.feature import peak_local_max

from fastgauss.find import background, cells, log_filter, noise, peaks, response
from fastgauss.find.detection import find_spots
from fastgauss.kernels._compile import JIT_DISABLED
from fastgauss.kernels.find import local_maxima, noise_samples

EPS32 = float(np.finfo(np.float32).eps)


def response_of(image, sigma=1.3):
    """The response as find_spots computes it, in the image's shape."""
    widths = response.as_three(tuple(np.broadcast_to(float(sigma), image.ndim)), 0.0)
    picture = response.prepare(image, None, False, widths, 1)
    terms, _ = log_filter.spot_filter(widths)
    return response.correlate_picture(picture.volume, terms, 1).reshape(image.shape)


# -- filters -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "sigmas"),
    [
        ((1, 1, 50), (0.0, 0.0, 2.0)),
        ((17, 1, 23), (1.3, 0.0, 1.3)),
        ((9, 1, 30), (0.5, 0.0, 3.0)),
        ((6, 9, 10), (0.7, 1.0, 1.3)),
        ((3, 2, 5), (1.3, 1.3, 1.3)),
    ],
)
def test_correlate_equals_dense_kernel(shape, sigmas):
    volume = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    for terms in ([log_filter.smoothing(sigmas)], log_filter.spot_filter(sigmas)[0]):
        result = response.correlate_picture(volume, terms, 1)
        assert np.allclose(result, naive.correlate(volume, terms), rtol=0, atol=20 * EPS32)


@pytest.mark.parametrize(
    ("shape", "sigma"), [((200,), 2.0), ((50, 60), 1.3), ((50, 50), 3.0), ((22, 24, 26), 1.5)]
)
def test_response_is_scaled_gaussian_laplace(shape, sigma):
    image = np.random.default_rng(2).normal(size=shape)
    inner = (slice(int(4 * sigma) + 1, -int(4 * sigma) - 1),) * len(shape)
    ours = response_of(image, sigma)[inner]
    theirs = -ndimage.gaussian_laplace(image, sigma, truncate=6.0)[inner]
    scale = np.vdot(ours, theirs) / np.vdot(theirs, theirs)
    # the continuous filter is 1/(height of its response), up to sampling and truncation
    assert scale == pytest.approx(2 ** (len(shape) / 2 + 1) * sigma**2 / len(shape), rel=0.03)
    assert np.abs(ours - scale * theirs).max() < 0.02 * np.abs(ours).max()


@pytest.mark.parametrize(
    ("ndim", "sigma"), [(1, 1.3), (1, 4.0), (2, 0.5), (2, 1.3), (2, 3.3), (3, 1.0), (3, 1.7)]
)
def test_ideal_spot_has_its_amplitude_as_response(ndim, sigma):
    shape = (int(10 * sigma) + 7,) * ndim
    centre = tuple(n // 2 for n in shape)
    image = 1000.0 + spots(shape, [centre], 70.0, sigma)
    assert response_of(image, sigma)[centre] == pytest.approx(70.0, rel=2e-4)


def test_response_with_a_sigma_for_each_axis():
    image = spots((40, 60), [(20, 30)], 50.0, (1.5, 4.0))
    assert find_spots(image, (1.5, 4.0), threshold=49.9) == pytest.approx(np.array([[20.0, 30.0]]))
    assert len(find_spots(image, (1.5, 4.0), threshold=50.1)) == 0


@pytest.mark.parametrize("width", [0.65, 2.6, 3.9])
def test_response_to_other_widths_is_as_documented(width):
    image = spots((51, 51), [(25, 25)], 100.0, width)
    expected = 400 * 1.3**2 * width**2 / (1.3**2 + width**2) ** 2
    assert response_of(image)[25, 25] == pytest.approx(expected, rel=0.06)


@pytest.mark.parametrize("sigma", [0.3, 1.3, 4.0])
def test_constant_and_linear_backgrounds_vanish(sigma):
    y, x = np.mgrid[:60, :60]
    image = 1e5 + 700.0 * x - 300.0 * y
    inner = response_of(image, sigma)[18:-18, 18:-18]
    assert np.abs(inner).max() < 4 * EPS32 * np.ptp(image)


def test_noise_gain():
    noise = np.random.default_rng(3).normal(size=(80, 80) if JIT_DISABLED else (400, 400))
    for sigma in (1.0, 2.0):
        _, gain = log_filter.spot_filter((sigma, 0.0, sigma))
        assert response_of(noise, sigma).std() == pytest.approx(gain, rel=0.1)


def test_plane_peaks():
    volume = np.random.default_rng(4).normal(size=(5, 3, 7)).astype(np.float32)
    assert np.array_equal(response._measure(volume, 1), np.abs(volume).max(axis=(1, 2)))
    volume[1, 0, 0], volume[2, 2, 6], volume[3, 1, 1] = np.nan, -np.inf, np.inf
    assert not np.any(response._measure(volume, 1)[1:4] < 1e30)


# -- maxima ------------------------------------------------------------------------------------


def test_maxima_are_those_of_scikit_image():
    response = response_of(np.random.default_rng(5).normal(size=(60, 70)))
    where, tied = peaks._local_maxima(response[:, None, :], 0.1, 1)
    theirs = peak_local_max(response, min_distance=1, threshold_abs=0.1, exclude_border=False)
    assert not tied.any()
    assert np.array_equal(where, np.sort(np.ravel_multi_index(tuple(theirs.T), response.shape)))


@settings(max_examples=20 if JIT_DISABLED else 100, deadline=None)
@given(st.data())
def test_each_plateau_is_one_maximum(data):
    shape = data.draw(st.tuples(st.integers(1, 5), st.integers(1, 5), st.integers(1, 8)))
    levels = data.draw(st.integers(1, 4))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    volume = rng.integers(0, levels + 1, shape).astype(np.float32)
    where, tied = peaks._local_maxima(volume, 0.5, 1)
    if tied.any():
        where = np.append(where[~tied], local_maxima.plateau_centres(volume, where[tied]))
    found = {tuple(map(int, p)) for p in np.transpose(np.unravel_index(where, shape))}
    expected = naive.plateaus(volume, 0.5)
    assert len(found) == len(where) == len(expected)
    assert all(len(found & members) == 1 for members in expected)


def test_more_maxima_than_expected_are_all_found():
    volume = np.zeros((1, 200, 200), dtype=np.float32)
    volume[0, ::2, ::2] = 1.0
    assert len(peaks._local_maxima(volume, 0.5, 1)[0]) == 100 * 100


@pytest.mark.parametrize("distance", [(1.0, 2.6, 2.6), (3.0, 1.5, 8.5), (1.0, 1.0, 30.0)])
def test_thin_equals_naive(distance):
    rng = np.random.default_rng(6)
    shape = (7, 30, 40)
    points = np.stack([rng.integers(0, n, 300) for n in shape], axis=1)
    keep = peaks.thin_peaks(points, shape, np.array(distance))
    assert np.flatnonzero(keep).tolist() == naive.thin(points, np.array(distance))


@pytest.mark.parametrize("n", [1, 2, 3, 10, 501])
def test_clipped_noise_equals_naive(n):
    rng = np.random.default_rng(7)
    samples = rng.normal(3.0, 2.0, (4, n)).astype(np.float32)
    samples[:, : n // 5] += 40.0
    ordered, counts = np.sort(samples, axis=1), np.array([n, n, n, 0])
    found = np.empty((5, 4))
    noise_samples.clipped_noise(ordered, counts, found)
    for row, ours in zip(ordered[:3].astype(np.float64), found.T, strict=False):
        centre, sigma = naive.clipped_noise(row)
        usual = row[np.abs(row - centre) <= 3.0 * ours[1]] - centre
        far, near = row[int(0.02275 * n)], row[int(0.15866 * n)]
        theirs = centre, sigma, np.sqrt(np.mean(usual**2)) / 0.98658, 2 * near - far, near - far
        assert ours == pytest.approx(theirs, rel=1e-6)
    assert found[:3, 3].tolist() == [0.0, 0.0, 0.0]


def test_a_cut_normal_distribution_has_the_deviation_of_the_whole():
    parts = (np.arange(4001) + 0.5) / 4001
    samples = stats.norm.ppf(parts)[None].astype(np.float32)
    found = np.empty((5, 1))
    noise_samples.clipped_noise(samples, np.array([samples.size]), found)
    assert found[:, 0] == pytest.approx([0.0, 1.0, 1.0, 0.0, 1.0], abs=5e-3)


@pytest.mark.parametrize("error", [0.1, 1.0, 5.0])
def test_values_are_drawn_to_their_mean_by_the_part_that_chance_explains(error):
    values = np.random.default_rng(20).normal(3.0, 1.0, 12)
    own = max(0.0, 1.0 - 1.5 * error**2 / np.var(values))
    expected = values.mean() + own * (values - values.mean())
    assert noise.shrunk(values, error) == pytest.approx(expected, rel=1e-12)
    assert noise.shrunk(np.full(3, 2.0), error).tolist() == [2.0, 2.0, 2.0]


def test_whole_numbers_that_are_not_negative():
    volume = np.arange(-3, 9, dtype=np.float32).reshape(1, 3, 4)
    places, no_gap = tuple(np.arange(n) for n in volume.shape), np.empty((0, 0, 0), bool)
    assert noise_samples.are_whole(volume, no_gap, places, 1.0, 3.0)
    assert not noise_samples.are_whole(volume, no_gap, places, 1.0, 2.0)
    assert not noise_samples.are_whole(volume, no_gap, places, 1.0, 3.5)
    assert noise_samples.are_whole(volume, no_gap, places, -1.0, 8.0)
    assert noise_samples.are_whole(volume, volume < 0, places, 1.0, 0.0)
    assert not noise_samples.are_whole(volume, np.ones(volume.shape, bool), places, 1.0, 3.0)


@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("step", [(0, 2, 0), (0, 0, 9)])
def test_likeness_of_responses_some_pixels_apart(missing, step):
    rng = np.random.default_rng(21)
    response = rng.normal(2.0, 1.5, (1, 12, 20)).astype(np.float32)
    source = rng.normal(size=response.shape).astype(np.float32)
    source[0, 2:7, 3:9] = 1.0  # flat: no noise
    gap = rng.random(response.shape) < 0.2
    division = cells.Cells(response.shape, (1, 2, 2), 30)
    known = rng.uniform(1.0, 2.0, (2, 1, 2, 2))
    known[1, 0, 1, 1] = 0.0
    each = division.each()
    hidden = gap if missing else np.empty((0, 0, 0), bool)
    squares, products = noise_samples.likeness(
        source, response, hidden, division.places(), each, known, step
    )
    theirs = [0.0, 0.0]
    for index in np.ndindex(*(len(p) for p in division.places())):
        z, y, x = (p[i] for p, i in zip(division.places(), index, strict=True))
        cell = tuple(i // e for i, e in zip(index, each, strict=True))
        centre, deviation = known[(0, *cell)], known[(1, *cell)]
        flat = 3 <= y <= 5 and 4 <= x <= 7
        if deviation == 0 or flat or (missing and gap[z, y, x]):
            continue
        here = (float(response[z, y, x]) - centre) / deviation
        there = response[0, min(y + step[1], 11), min(x + step[2], 19)]
        if abs(here) <= 3.0:
            theirs[0] += here**2
            theirs[1] += here * np.clip((float(there) - centre) / deviation, -3.0, 3.0)
    assert (squares, products) == pytest.approx(theirs, rel=1e-6)


@pytest.mark.parametrize("shape", [(5, 1, 40), (3, 9, 61), (1, 1, 300)])
def test_smoothed_blocks_equal_naive(shape):
    rng = np.random.default_rng(22)
    sigmas = tuple(1.1 if n > 1 else 0.0 for n in shape)
    axes = tuple(background.block_axis(n, s) for n, s in zip(shape, sigmas, strict=True))
    means = rng.normal(size=[axis.blocks for axis in axes]).astype(np.float32)
    ours = background._smoothed(means, axes, 1)
    few = max(2, round(2.5 * 9.0 * 1.1 / round(3.0 * 1.1)))
    theirs = naive.smoothed_blocks(means.astype(float), [(a.window.half, few) for a in axes])
    assert ours == pytest.approx(theirs, abs=2e-5)


@pytest.mark.parametrize("shape", [(30, 1, 40), (12, 20, 61)])
def test_light_of_points_leaves_the_blocks_around_them(shape):
    rng = np.random.default_rng(23)
    sigmas = tuple(1.1 if n > 1 else 0.0 for n in shape)
    axes = tuple(background.block_axis(n, s) for n, s in zip(shape, sigmas, strict=True))
    points = np.stack([rng.integers(0, n, 50) for n in shape], axis=1)
    points[0], points[1] = 0, np.array(shape) - 1
    flux = rng.uniform(1, 9, 50)
    blocks = tuple(axis.blocks for axis in axes)
    before = background.Background(rng.normal(size=blocks).astype(np.float32), axes)
    after, taken = before.without_light(points, flux, 1)
    pixels = np.prod([axis.side for axis in axes])
    light = naive.add_between(points, -flux / pixels, axes, blocks)
    assert light.sum() == pytest.approx(-flux.sum() / pixels)
    theirs = background._smoothed(light.astype(np.float32), axes, 1)
    assert taken.means == pytest.approx(theirs, abs=1e-6)
    assert np.array_equal(after.means, before.means + taken.means)


@pytest.mark.parametrize("shape", [(1, 1, 9), (1, 5, 7), (4, 3, 5)])
@pytest.mark.parametrize("missing", [False, True])
def test_third_moment_of_differences_equals_naive(shape, missing):
    rng = np.random.default_rng(8)
    volume = rng.gamma(2.0, size=shape).astype(np.float32)
    rows = np.unique(rng.integers(0, shape[0] * shape[1], 7))
    division = cells.Cells(shape, tuple(min(2, n) for n in shape))
    deviations = rng.uniform(0.5, 1.5, len(division))
    deviations[0] = -5.0  # no noise there
    gap = rng.random(shape if missing else (0, 0, 0)) < 0.3
    known = division.values(deviations)
    total, number = noise_samples.third_moment(
        volume, gap, known.nodes[0], known.lower, known.shares, rows, 2.0
    )
    every = [np.arange(n) for n in shape]
    mesh = np.stack([axis.ravel() for axis in np.meshgrid(*every, indexing="ij")], axis=1)
    chosen = np.isin(mesh[:, 0] * shape[1] + mesh[:, 1], rows)
    mesh, here = mesh[chosen], known.at(mesh[chosen])[0]
    away = naive.differences(volume.astype(float), every).ravel()[chosen]
    counts = (here > 0) & ~(gap[tuple(mesh.T)] if missing else np.zeros(len(mesh), bool))
    away = away[counts] / here[counts]
    away = away[np.abs(away) < 2.0]
    assert number == len(away) > 0
    assert total == pytest.approx(np.sum(away**3), rel=1e-12)


@pytest.mark.parametrize(("shape", "radii"), [((1, 30, 40), (0, 2, 3)), ((5, 4, 9), (2, 3, 1))])
def test_weighted_sums_equal_naive(shape, radii):
    rng = np.random.default_rng(9)
    volume = rng.normal(size=shape).astype(np.float32)
    profiles = rng.normal(size=(2, 3, 9))
    corners = [(0, 0, 0), tuple(n - 1 for n in shape)]
    points = np.array(corners + [tuple(rng.integers(0, shape)) for _ in range(20)])
    sums = np.empty((len(points), 2))
    local_maxima.weighted_sums(volume, points, profiles, np.array(radii), sums, 1, len(points))
    for point, ours in zip(points[1:], sums[1:], strict=True):
        theirs = [naive.weighted_sum(volume.astype(float), point, p, radii) for p in profiles]
        assert ours == pytest.approx(theirs, rel=1e-11, abs=1e-11)


@pytest.mark.parametrize("counts", [(1, 3, 4), (2, 1, 5), (3, 2, 2)])
@pytest.mark.parametrize("straight", [True, False])
def test_values_between_cells_are_those_of_scipy(counts, straight):
    rng = np.random.default_rng(10)
    shape = (9, 31, 47)
    division = cells.Cells(shape, counts)
    values = rng.uniform(1.5, 1.6, len(division))  # lines beyond them stay above half of them
    points = np.stack([rng.integers(0, n, 200) for n in shape], axis=1)
    where = (points + 0.5) * (np.array(counts) / np.array(shape)) - 0.5
    grid = values.reshape(counts)
    if straight:
        pads = np.array([int(n > 1) for n in counts])
        grid = np.pad(grid, [(p, p) for p in pads], mode="reflect", reflect_type="odd")
        where = where + pads
    expected = ndimage.map_coordinates(grid, where.T, order=1, mode="nearest")
    ours = division.values(values, values + 1.0, straight=straight).at(points)
    assert np.allclose(ours, [expected, expected + 1.0], rtol=1e-12, atol=0)
