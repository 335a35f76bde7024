"""What is around maxima, their tails and the chances of their shapes, against naive twins."""

from __future__ import annotations

import naive_arms
import naive_detect as naive
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import special
from scipy.spatial import KDTree

from fastgauss.find import (
    found_maxima,
    lines,
    matched_filter,
    noise,
    peaks,
    response,
    shapes,
    significance,
)
from fastgauss.find import surroundings as find_surroundings
from fastgauss.find.surroundings import Looked, look_around
from fastgauss.kernels.find import arms as arm_kernels
from fastgauss.kernels.find import shape_chances, surroundings

RNG = np.random.default_rng


def noisy(shape, kind):
    """A volume of noise, of few values, or with values of very different size."""
    values = RNG(1).normal(size=shape)
    if kind == "few":
        values = np.rint(values)
    if kind == "wide":
        values = np.sign(values) * 10.0 ** (30.0 * np.abs(values) - 45.0).clip(-45, 30)
    if kind == "hot":
        values.flat[::29] = 1e6
    return values.astype(np.float32)


@pytest.mark.parametrize("kind", ["normal", "few", "wide", "hot"])
@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize(("shape", "sigmas"), [
    ((1, 1, 60), (0.0, 0.0, 2.0)), ((40, 1, 30), (1.3, 0.0, 0.9)), ((9, 12, 10), (0.7, 1.0, 1.0)),
])  # fmt: skip
def test_core_and_ring_equal_naive(shape, sigmas, missing, kind):
    volume = noisy(shape, kind)
    gap = RNG(2).random(shape) < 0.3
    gap[-1, -1, -12:] = True  # rings without a pixel
    picture = response.Picture(volume, np.ones(shape[0]), None, gap=gap if missing else None)
    points = np.array([[0, 0, 0], [n - 1 for n in shape], [n // 2 for n in shape]])
    points = np.concatenate([points, RNG(3).integers(0, shape, (60, 3))])
    around = look_around(picture, points, sigmas, 1)
    core, ring, contrast = surroundings.core_and_ring(sigmas)
    none = np.zeros(shape, bool)
    for p, point in enumerate(points):
        inner = naive.ring_pixels(volume, none, point, core)
        outer = naive.ring_pixels(volume, gap if missing else none, point, ring)
        assert around.core[p] == pytest.approx(np.mean(inner), rel=1e-12)
        assert around.number[p] == len(outer)
        if outer:
            assert around.ring[p] == np.median(outer)
            assert around.lower[p] == outer[(len(outer) - 1) // 2]
        amplitude = RNG(p).uniform(-1, 1)
        limit = around.core[p] - 0.5 * contrast * amplitude
        below = sum(value <= limit for value in outer)
        assert around.stand_out(np.full(len(points), amplitude))[p] == (2 * below >= len(outer))


@pytest.mark.parametrize("kind", ["normal", "few", "hot"])
@pytest.mark.parametrize(("shape", "half"), [
    ((1, 1, 60), (0, 0, 5)), ((20, 1, 30), (6, 0, 6)), ((6, 7, 8), (2, 2, 3)),
])  # fmt: skip
def test_the_rougher_side_equals_naive(shape, half, kind):
    volume = noisy(shape, kind)
    points = np.array([[0, 0, 0], [n - 1 for n in shape], [n // 2 for n in shape]])
    points = np.concatenate([points, RNG(3).integers(0, shape, (30, 3))])
    ours = np.full(len(points), -1.0)
    surroundings.rougher_side(volume, points, np.array(half), ours, 0, 20)
    surroundings.rougher_side(volume, points, np.array(half), ours, 20, len(points))
    theirs = [naive.rougher_side(volume, point, np.array(half)) for point in points]
    assert_allclose(ours, theirs, rtol=2e-7)


@pytest.mark.parametrize(("shape", "sigmas"), [
    ((40, 1, 50), (1.3, 0.0, 1.3)), ((30, 1, 30), (0.8, 0.0, 2.0)), ((12, 20, 20), (1.0, 1.2, 1.2)),
])  # fmt: skip
@pytest.mark.parametrize("lined", [0.0, 1.0, 5.0])
def test_chances_of_arms_equal_naive(shape, sigmas, lined):
    rng = RNG(4)
    response = rng.normal(size=shape)
    response[shape[0] // 2] += lined
    response[..., shape[2] // 3] += lined
    response = response.astype(np.float32)
    points = np.array([[0, 0, 0], [n - 1 for n in shape], [n // 2 for n in shape]])
    points = np.concatenate([points, rng.integers(0, shape, (80, 3))])
    points[40:, 0] = shape[0] // 2
    count, ndim = len(points), np.count_nonzero(sigmas)
    arms = lines._arms(sigmas)
    known = arms.units, arms.offsets, arms.limits, arms.cosines
    level, error = rng.normal(-1.0, 0.1, count), rng.uniform(0.05, 1.0, count)
    moments = np.eye(ndim) * rng.uniform(0.3, 1.5, (count, 1, 1)) + rng.normal(
        0, 0.05, (count, 1, 1)
    )
    doubt = rng.uniform(0.0, 0.1, count)
    chance, crossed, noisy_cross = np.empty(count), np.empty(count), np.empty(count)
    arm_kernels.arm_chances(
        response, points, level, error, moments, doubt, known, chance, crossed, 0, 30
    )
    arm_kernels.arm_chances(
        response, points, level, error, moments, doubt, known, chance, crossed, 30, count
    )
    arm_kernels.crossing_chances(response, points, level, error, known, noisy_cross)
    for p, point in enumerate(points):
        values, there, own = naive_arms.look(response, point, level[p], error[p], arms.offsets)
        of_lines = naive_arms.chance_of_arms(
            values, there, own, arms.units, arms.limits, arms.cosines, moments[p], doubt[p]
        )
        assert chance[p] == pytest.approx(of_lines, rel=1e-11, abs=1e-300)
        least = naive_arms.LEAST_ERROR
        without = naive_arms.chance_of_crossing(values, there, least, arms.cosines)
        assert crossed[p] == pytest.approx(without, rel=1e-9, abs=1e-300)
        with_noise = naive_arms.chance_of_crossing(values, there, own, arms.cosines)
        assert noisy_cross[p] == pytest.approx(with_noise, rel=1e-11, abs=1e-300)
    assert (chance < 1.0).any()
    assert (noisy_cross < 0.5).any()


def test_what_was_seen_around_a_place_is_known_again(monkeypatch):
    shape, sigmas = (40, 1, 50), (1.3, 0.0, 1.3)
    picture = response.Picture(noisy(shape, "normal"), np.ones(shape[0]), None)
    rng, looked, asked = RNG(7), Looked(picture, sigmas), []

    def look(picture, points, sigmas, threads):
        asked.extend(map(tuple, points.tolist()))
        return look_around(picture, points, sigmas, threads)

    monkeypatch.setattr(find_surroundings, "look_around", look)
    flat = np.arange(picture.volume.size)
    for number in (300, 0, 500, 300):
        chosen = rng.permutation(flat)[:number]
        points = np.stack(np.unravel_index(chosen, shape), axis=1)
        ours, theirs = looked.around(points, 1), look_around(picture, points, sigmas, 1)
        for one, other in zip(ours, theirs, strict=True):
            assert_array_equal(one, other)
    assert len(asked) == len(set(asked)) < 1000


@pytest.mark.parametrize("shape", [(1, 1, 30), (12, 1, 14), (4, 5, 6)])
def test_the_brightest_neighbour(shape):
    volume = noisy(shape, "few")
    points = np.stack([axis.ravel() for axis in np.indices(shape)], axis=1)
    best = np.empty_like(points)
    surroundings.brightest(volume, points, best)
    for point, ours in zip(points, best, strict=True):
        theirs = naive.neighbourhood(volume, point)
        assert volume[tuple(ours)] == volume[theirs]
        if volume[tuple(point)] == volume[theirs]:
            assert_array_equal(ours, point)


def test_refined_places_are_vertices_of_parabolas():
    y, x = np.mgrid[:9, :11].astype(float)
    volume = (3.0 - (y - 4.2) ** 2 - 0.5 * (x - 6.7) ** 2).astype(np.float32)[:, None]
    points = np.array([[4, 0, 7], [0, 0, 10], [4, 0, 0]])
    places = peaks.refine_peaks(volume, points)
    assert_allclose(places, [[4.2, 0.0, 6.7], [0.0, 0.0, 10.0], [4.2, 0.0, 0.0]], atol=1e-5)
    assert_array_equal(peaks.refine_peaks(-volume, points), points)
    steep = np.array([0.0, 0.0, 1.0, 0.0, -1.1, 0.0], np.float32).reshape(1, 1, 6)
    assert_array_equal(peaks.refine_peaks(steep, np.array([[0, 0, 3]])), [[0.0, 0.0, 3.0]])


@pytest.mark.parametrize("shape", [(1, 1, 500), (90, 1, 70), (20, 40, 30)])
@pytest.mark.parametrize("others", [0, 1, 150])
def test_the_nearest_points_are_those_of_a_tree(shape, others):
    rng = RNG(4)
    unit, reach = np.array([1.5, 1.0, 2.0]), 4.0
    points, there = (rng.integers(0, shape, (n, 3)) for n in (200, others))
    away, which = peaks.nearest_points(points, there, shape, unit, reach)
    if not others:
        assert np.all(np.isinf(away)) and not which.any()
        return
    distance, _ = KDTree(there / unit).query(points / unit)
    near = distance <= reach
    assert_allclose(away, np.where(near, distance, np.inf), rtol=1e-12)
    own = np.linalg.norm((points - there[which]) / unit, axis=1)
    assert_allclose(own[near], distance[near], rtol=1e-12)


def test_maxima_at_exactly_the_reach_are_near():
    points, there = np.array([[0, 0, 12]]), np.array([[0, 0, 4], [0, 0, 20]])
    away, which = peaks.nearest_points(points, there, (1, 1, 30), np.array([1.0, 1.0, 2.0]), 4.0)
    assert (away[0], which[0]) == (4.0, 0)


@pytest.mark.parametrize("sigmas", [(0.0, 0.0, 1.5), (1.3, 0.0, 1.3), (1.0, 1.2, 0.8)])
def test_maxima_that_may_have_arms(sigmas):
    shape = tuple(24 if s else 1 for s in sigmas)
    volume = noisy(shape, "normal")
    points = RNG(5).integers(0, shape, (80, 3))
    level, error = RNG(6).normal(size=(2, len(points)))
    error = np.abs(error)
    offsets = RNG(7).integers(-6, 7, (5, 2, 3)) * np.array([int(s > 0) for s in sigmas])
    limits = RNG(8).uniform(0.1, 0.6, 5)
    ours, none = np.empty(len(points), bool), np.zeros(shape, bool)
    near = np.empty((len(points), 10), np.float32)
    surroundings.have_arms(
        volume, points, level, error, offsets, limits, ours, near, 0, len(points)
    )
    for p, point in enumerate(points):
        height = max(volume[tuple(point)] - level[p], 1e-40)
        high = []
        for sides, limit in zip(offsets, limits, strict=True):
            pixels = [naive.ring_pixels(volume, none, point, side[None]) for side in sides]
            allowed = limit * height - np.sqrt(1 + limit**2) * error[p]
            high.append(all(value - level[p] > allowed for side in pixels for value in side))
        assert ours[p] == any(high)
        at = point + offsets.swapaxes(0, 1).reshape(-1, 3)
        there = np.all((at >= 0) & (at < shape), axis=1)
        assert_array_equal(near[p][there], volume[tuple(at[there].T)])
        assert np.isnan(near[p][~there]).all()


@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_outer_moments_are_eigenvalues(ndim):
    matrices = RNG(9).normal(size=(50, ndim, ndim))
    matrices = matrices @ matrices.transpose(0, 2, 1)
    matrices[0] = 2.0 * np.eye(ndim)
    for matrix in matrices:
        theirs = np.linalg.eigvalsh(matrix)[[0, -1]]
        ours = shape_chances._smallest_eigenvalue(matrix, ndim), shapes._largest(matrix[None])[0]
        assert ours == pytest.approx(theirs, abs=1e-12 * np.trace(matrix))


def chance(value, variance, light, gain, known):
    """The tail of the gamma distribution with these moments, by its cube root."""
    square = max(known[1] * variance + known[2] * light, 1e-300)
    half = 0.5 * np.clip((known[3] * variance + known[4] * light) * gain / square**1.5, 1e-3, 20)
    root = np.cbrt(max(1 + half * value / np.sqrt(square), 0.0))
    return special.ndtr(-3 / half * (root - 1 + half**2 / 9))


@pytest.mark.parametrize("sigmas", [(0.0, 0.0, 1.5), (1.3, 0.0, 1.3), (1.0, 1.2, 0.8)])
def test_chances_of_shapes_equal_naive(sigmas):
    template = shapes._template(sigmas)
    count, ndim = len(template.squares), len(template.slices[-1])
    rng = RNG(10)
    volume = rng.normal(size=tuple(20 if s else 1 for s in sigmas)).astype(np.float32)
    points = rng.integers(0, volume.shape, (40, 3))
    sums = peaks.window_sums(volume + 0.5, points, template.profiles, template.radii, 1)
    sums[0, 0] = -1.0
    noise, gain = rng.uniform(0.5, 1.5, (40, count)), rng.uniform(0.0, 1.0, 40)
    sharp, moments, others = np.empty(40), np.empty((40, ndim, ndim)), np.empty((4, 40))
    squares = template.squares
    shape_chances.sharp_chances(sums, noise, gain, squares, template.sharp, sharp)
    shape_chances.moment_chances(sums, noise, gain, squares[0], template.moment, moments, others)
    for p, row in enumerate(sums):
        amplitude, total = row[0] / squares[0], max(row[0], 0.0)
        light = max(amplitude, 0.0) * gain[p]
        theirs = [
            chance(row[k + 1] / squares[k + 1] - known[0] * amplitude, noise[p, k + 1], light,
                   gain[p], known)
            for k, known in enumerate(template.sharp)
        ]  # fmt: skip
        assert sharp[p] == pytest.approx(min(theirs), rel=1e-9)
        mean = row[count : count + ndim] / (total or 1.0)
        second = np.zeros((ndim, ndim))
        second[np.triu_indices(ndim)] = row[count + ndim :] / (total or 1.0)
        second = np.triu(second) + np.triu(second, 1).T - np.outer(mean, mean)
        assert_allclose(moments[p], second, rtol=1e-12, atol=1e-12)
        smallest, (narrow, wide, thin) = np.linalg.eigvalsh(second)[0] * total, template.moment
        theirs = (
            ndim * chance(narrow[0] * total - smallest, noise[p, 0], light, gain[p], narrow),
            chance(smallest - wide[0] * total, noise[p, 0], light, gain[p], wide),
            ndim * chance(thin[0] * total - smallest, noise[p, 0], light, gain[p], thin),
        )
        assert_allclose(others[:3, p], theirs, rtol=1e-7, atol=1e-300)
        variance = wide[1] * noise[p, 0] + wide[2] * light
        assert others[3, p] == pytest.approx(np.sqrt(variance) / total if total else np.inf)


def test_significances_equal_those_of_interpolated_tables():
    widths = (1.3, 0.0, 1.3)
    tables = significance.tail_tables(widths)
    rng = RNG(11)
    high, deviation = rng.uniform(-1.0, 6.0, 300), rng.uniform(0.1, 3.0, 300)
    gain = rng.normal(size=300)
    high[:5], deviation[5:10], gain[10:15] = 0.0, 0.0, 0.0
    high[15:20] = 1e300
    ours = significance.significance(high, deviation, gain, widths)
    for r, d, g, z in zip(high, deviation, gain, ours, strict=True):
        if r <= 0 or d <= 0:
            assert z == (np.inf if r > 0 else 0.0)
            continue
        log_x, s, *cumulants = tables[int(g < 0)]
        unit = max(abs(g), 1e-6 * d)
        mu, x = (d / unit) ** 2, min(r / d, 1e9) * unit / d
        value, first, second = (np.interp(np.log(x), log_x, table) for table in cumulants)
        s = x / first if np.log(x) < log_x[-1] else s[-1]
        w = np.sqrt(np.clip(2 * mu * (s * x - value * s**2), 1e-200, 1e200))
        assert z == pytest.approx(w + np.log(s * np.sqrt(mu * second) / w) / w, rel=1e-9)


def test_gains_of_long_axes_are_those_of_the_whole_axis():
    widths, shape = (1.1, 0.0, 0.7), (700, 1, 90)
    rows, columns = RNG(12).choice([0, 3, 60, 350, 640, 699], 40), RNG(13).integers(0, 90, 40)
    points = np.stack([rows, np.zeros(40, int), columns], axis=1)
    ours = significance.gains_at(points, shape, widths)
    share = [significance.shares(n, s)[p] for n, s, p in zip(shape, widths, points.T, strict=True)]
    assert_allclose(ours.share, np.prod(share, axis=0), rtol=1e-12)
    assert significance.axis_sums(700, 1.1).shape[1] < shape[0]
    near = significance.near_ends(np.arange(700), 700, 1.1)
    out = significance.axis_sums(700, 1.1)[0, near]
    assert_allclose(out, out[::-1], rtol=1e-9)  # both ends are alike
    assert np.ptp(out[100:600]) == 0.0
    assert out[0] != out[350]


@pytest.mark.parametrize("kind", ["gain", "counts", "jumps", "camera"])
def test_judged_maxima_equal_naive(kind):
    widths, shape = (1.3, 0.0, 1.3), (90, 1, 70)
    rng = RNG(14)
    image = rng.normal(50.0, 4.0, shape)
    if kind == "counts":
        image = rng.poisson(20.0, shape).astype(float)
    if kind == "jumps":
        image[:, :, 35:] = rng.normal(50.0, 40.0, (90, 1, 35))
    volume = (image - 50.0).astype(np.float32)
    picture = response.Picture(volume, np.ones(shape[0]), None, level=50.0)
    variance = rng.lognormal(1.0, 1.0, shape) if kind == "camera" else None
    scale = matched_filter.filtered(picture, widths, 0.0, variance, 1)
    if kind == "jumps":
        scale = scale._replace(picture=picture._replace(level=50.5))
    judge = found_maxima.judge_of(scale, 256)
    if kind == "jumps":
        jumps = noise.Jumps(volume, np.ones(1), np.full(1, 30.0))
        judge = judge._replace(noise=judge.noise._replace(jumps=jumps))
    points = np.stack([rng.integers(0, n, 80) for n in shape], axis=1)
    strength = (scale.matched.response[tuple(points.T)] * 3.0).astype(np.float32)
    around = look_around(picture, points, widths, 1)
    around.ring[:40] += 30.0
    around.number[:5] = 0.0
    ours = judge.judged(points, strength, around)
    alone = judge.judged(points, strength)
    assert_array_equal(alone.ring, alone.background)
    least = judge.noise.least_at(points, 1)
    assert (least.max(initial=0.0) > 5.0) == (kind == "jumps")
    for p in range(len(points)):
        theirs = naive.judged(
            judge, points[p], float(strength[p]), (around.ring[p], around.number[p]),
            least[p] if len(least) else 0.0,
        )  # fmt: skip
        assert_allclose(ours.values[:7, p], theirs, rtol=1e-9, atol=1e-12)
