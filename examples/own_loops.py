"""Your own compiled loops over the kernels of fastgauss, cached, and on threads with prange.

Every kind of public kernel is used once; ``fastgauss.kernels`` lists them. Run
``NUMBA_THREADING_LAYER=workqueue python examples/own_loops.py`` twice: the second run compiles
nothing. The program compares the results of the loops with those of the package, and one thread
with many, and prints how many functions came from the cache and how many did not.
"""

from __future__ import annotations

import numpy as np
from numba import config, njit, prange, set_num_threads

import fastgauss as fg
from fastgauss import kernels

spot = kernels.make_evaluate("symmetric", 2)
spot_slopes = kernels.make_jacobian("symmetric", 2)
profile = kernels.make_jacobian("symmetric", 1)
draw = kernels.make_image("symmetric", 2)
fit = kernels.make_roi_fit("symmetric", 2)
fit_profiles = kernels.make_curve_fit(profile, 4)
equations = kernels.make_normal_equations("symmetric", 2)
damped_step = kernels.make_damped_step(5)
paint = kernels.make_paint(2)
project = kernels.make_project(2)
stencil = kernels.make_stencil("linear")
deposit = kernels.make_deposit(2)
gather = kernels.make_gather(2)
add = kernels.make_add("drop", "value")
add_checked = kernels.make_add_checked("value")


@njit(cache=True)
def draw_and_measure(params, shape):
    """Draw every spot, and say how bright it is in the middle, with its slopes there."""
    images = np.empty((len(params), *shape))
    heights = np.empty((len(params), 6))
    for i in range(len(params)):
        draw(params[i], images[i])
        p = (params[i, 0], params[i, 1], params[i, 2], params[i, 3], params[i, 4])
        value, slopes = spot_slopes((p[1], p[2]), p)
        heights[i, 0] = value
        for k in range(5):
            heights[i, 1 + k] = slopes[k]
    return images, heights


@njit(cache=True)
def row_of(params, y, out):
    """A row of a spot, eight pixels at a time; the last register has fewer."""
    p = (params[0], params[1], params[2], params[3], params[4])
    for i in range(0, out.size, kernels.WIDTH):
        inside = kernels.lanes_within(0.0, 0, out.size - i)
        kernels.store_double(out, i, spot((kernels.ramp(float(i)), y), p), inside)


@njit(cache=True)
def own_fit(rois, start, rounds):
    """Levenberg-Marquardt in plain code: accept a step that lowers the sum, else damp more."""
    params = start.copy()
    ones = np.ones((1, rois.shape[1], rois.shape[2]))
    damping = np.full(len(params), 1e-3)
    steps, trial = np.empty_like(params), np.empty_like(params)
    grams, gradients, losses = equations(rois, ones, params)
    for _ in range(rounds):
        damped_step(grams, gradients, damping, steps)
        for i in range(len(params)):
            for k in range(5):
                trial[i, k] = params[i, k] + steps[i, k]
        trial_grams, trial_gradients, trial_losses = equations(rois, ones, trial)
        for i in range(len(params)):
            helps = trial_losses[i] <= losses[i]
            damping[i] *= 0.1 if helps else 10.0
            if helps:
                losses[i] = trial_losses[i]
                for k in range(5):
                    params[i, k], gradients[i, k] = trial[i, k], trial_gradients[i, k]
                    for j in range(5):
                        grams[i, k, j] = trial_grams[i, k, j]
    return params


@njit(cache=True)
def fit_rows(x, y, start):
    """Fit Gaussian profiles by the solver for your own models."""
    return fit_profiles(x, y, np.ones_like(x), start, 1e-6, 50)


@njit(cache=True)
def sums(numbers, values, theta, phi):
    """Sums by index, by interval and by pixel of the sky, and the statistics of all values."""
    bins, sky, row = np.zeros(8), np.zeros(12 * 4 * 4), np.zeros(7)
    add(bins, numbers, values, 0, numbers.size)
    bad = add_checked(bins, numbers % 8, values)
    edges = np.linspace(0.0, 1.0, 9)
    row[5], row[6] = np.inf, -np.inf
    for i in range(values.size):
        j = kernels.find_bin(values[i], edges)
        if j >= 0:
            bins[j] += 1.0
        kernels.update_statistics(row, values[i], 1.0)
        sky[kernels.ring_pixel(theta[i], phi[i], 4)] += 1.0
        sky[kernels.nest_pixel(theta[i], phi[i], 4)] += 1.0
    return bins, sky, row, bad


@njit(cache=True)
def overlap(x, size):
    """The part of a normal distribution within each interval of an axis, window by window."""
    out = np.zeros(size)
    for i in range(x.size):
        k, last = kernels.images(x[i], 3.0, size, True, 0, size)
        while k <= last:
            first, count = kernels.window(x[i] + k * size, 3.0, 0, size)
            for n in range(first, first + count):
                u = (n - x[i] - k * size) * np.sqrt(0.5)
                out[n] += 0.5 * (kernels.erf(u + 0.35) - kernels.erf(u - 0.35))
            k += 1
        first, weights = stencil(x[i])
        for n in range(2):
            out[(first + n) % size] += weights[n]
    return out


@njit(cache=True, parallel=True)
def each_item(rois, params, grids, volume, places, out):
    """The work of all threads: item i writes only to ``out[i]`` and ``grids[i]``."""
    for i in prange(len(rois)):
        fitted, _, _, status, _ = fit(rois[i : i + 1], 1e-6, 50)
        out[i, 0] = fitted[0, 3] if status[0] == 0 else np.nan
        p = (params[i, 0], params[i, 1], params[i, 2], params[i, 3], params[i, 4])
        out[i, 1] = spot((1.5, 2.5), p)
        paint(grids[i], (p[2], p[1]), p[3], p[0], 4.0)
        out[i, 2] = project(volume, (p[2], p[1]), p[3], 4.0)
        deposit(grids[i], (places[i, 0], places[i, 1]), 2.0)
        out[i, 3] = gather(volume, (places[i, 0], places[i, 1]))
        out[i, 4] = kernels.ring_pixel(0.1 + 0.01 * i, 1.0, 64)
        out[i, 5] = kernels.exp(-out[i, 1]) + kernels.log(out[i, 1]) + kernels.erfc(out[i, 1])
        out[i, 6] = kernels.total(kernels.load(volume[i % 16], 0))


FUNCTIONS = draw_and_measure, row_of, own_fit, fit_rows, sums, overlap, each_item


def main() -> None:
    """Call all of them, and compare with the package."""
    rng = np.random.default_rng(0)
    params = np.column_stack(
        [rng.uniform(5, 9, 20), rng.uniform(4, 6, (20, 2)), rng.uniform(1.1, 1.6, 20), np.ones(20)]
    )
    rois, heights = draw_and_measure(params, (11, 11))
    assert np.array_equal(rois, fg.image(params, (11, 11), "symmetric"))
    slopes = fg.jacobian((params[:, 1], params[:, 2]), params, "symmetric")
    assert np.allclose(heights, np.column_stack([params[:, 0] + 1.0, slopes]), rtol=1e-12)
    row = np.empty(11)
    row_of(params[0], 5.0, row)
    assert np.allclose(row, rois[0, 5], rtol=1e-12)
    noisy = rois + rng.normal(0, 0.05, rois.shape)
    whole = fg.fit_rois(noisy, tol=1e-9)
    assert np.allclose(own_fit(noisy, params * 1.02, 15), whole.params, rtol=1e-6)
    x, start = np.arange(11.0)[np.newaxis], np.tile([5.0, 5.0, 1.5, 0.0], (20, 1))
    assert np.allclose(fit_rows(x, rois[:, 5], start)[0][:, [1, 2]], params[:, [1, 3]])
    numbers, values = rng.integers(0, 20, 50), rng.uniform(size=50)
    bins, sky, row, bad = sums(numbers, values, 3.0 * values, 6.0 * values)
    expected = np.histogram(values, 8, (0.0, 1.0))[0].astype(float)
    np.add.at(expected, numbers[numbers < 8], values[numbers < 8])
    np.add.at(expected, numbers % 8, values)
    both = (
        fg.healpix_pixel(3 * values, 6 * values, 4),
        fg.healpix_pixel(3 * values, 6 * values, 4, nest=True),
    )
    assert bad == -1 and np.allclose(bins, expected)
    assert np.array_equal(sky, np.bincount(np.concatenate(both), minlength=192))
    assert np.allclose([row[2] + row[3], row[4] / row[0]], [values.mean(), values.var()])
    assert abs(overlap(12.0 * values, 12).sum() - 50 * (1.0 + 0.9995)) < 1.0

    volume = rng.normal(size=(16, 16))
    places = params[:, [2, 1]]
    results = []
    for threads in (1, config.NUMBA_NUM_THREADS):
        set_num_threads(threads)
        grids, out = np.zeros((20, 16, 16)), np.zeros((20, 7))
        each_item(noisy, params, grids, volume, places, out)
        results.append((grids, out))
    assert all(np.array_equal(a, b) for a, b in zip(*results, strict=True))
    assert np.array_equal(out[:, 0], fg.fit_rois(noisy).sigma)
    field = fg.GaussianField((16, 16), places, params[:, 3:4], radius=4.0)
    assert np.allclose(out[:, 2], field.adjoint(volume), atol=1e-12)
    assert np.array_equal(out[:, 3], fg.gather(volume, places))
    total = field.render(params[:, 0]) + fg.deposit((16, 16), places, 2.0)
    assert np.allclose(grids.sum(axis=0), total, rtol=1e-12)


if __name__ == "__main__":
    main()
    if not config.DISABLE_JIT:
        for kind in ("cache_hits", "cache_misses"):
            print(kind, sum(sum(getattr(f.stats, kind).values()) for f in FUNCTIONS))
