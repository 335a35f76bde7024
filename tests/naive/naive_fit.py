"""Slow, obvious twins of the spot fits.

The first half writes the two-dimensional models out; the rest, for every model, estimator
and constraint, is built on `fastgauss.evaluate` and `fastgauss.jacobian`.
"""

import itertools

import numpy as np
from numpy.testing import assert_allclose, assert_array_equal
from tolerances import TOLERANCE

import fastgauss as fg
from fastgauss.models.model import get_model

CASES = (  # every model, on grids whose sides differ
    ("symmetric", (15,)),
    ("symmetric", (9, 8)),
    ("elliptic", (8, 10)),
    ("rotated", (11, 10)),
    ("symmetric", (6, 7, 8)),
    ("elliptic", (7, 6, 8)),
)


def model(params, shape, name):
    """One spot on a grid, written as in a textbook."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    amplitude, x0, y0 = params[:3]
    if name == "symmetric":
        sigma_x = sigma_y = params[3]
        theta = 0.0
    else:
        sigma_x, sigma_y = params[3:5]
        theta = params[5] if name == "rotated" else 0.0
    u = ((x - x0) * np.cos(theta) + (y - y0) * np.sin(theta)) / sigma_x
    v = (-(x - x0) * np.sin(theta) + (y - y0) * np.cos(theta)) / sigma_y
    return amplitude * np.exp(-0.5 * (u * u + v * v)) + params[-1]


def jacobian(params, shape, name):
    """Derivatives by central differences, (pixels, P)."""
    columns = []
    for k in range(len(params)):
        step = np.zeros(len(params))
        step[k] = 1e-6 * max(abs(params[k]), 1.0)
        high, low = model(params + step, shape, name), model(params - step, shape, name)
        columns.append(((high - low) / (2 * step[k])).ravel())
    return np.stack(columns, axis=1)


def covariance(params, roi, name):
    """Residual variance times the inverse of J'J."""
    residual = roi - model(params, roi.shape, name)
    j = jacobian(params, roi.shape, name)
    return (residual**2).sum() / (roi.size - len(params)) * np.linalg.inv(j.T @ j)


def fit(roi, start, name):
    """The least-squares solution that scipy finds with its tightest tolerances."""
    from scipy.optimize import least_squares

    result = least_squares(
        lambda p: (model(p, roi.shape, name) - roi).ravel(),
        start,
        jac="3-point",
        x_scale="jac",
        method="trf",
        xtol=1e-15,
        ftol=1e-15,
        gtol=1e-15,
        max_nfev=2000,
    )
    return result.x


def spots(rng, count, size, name, amplitude=200.0, offset=10.0):
    """Poisson ROIs of the usual conditions, and the parameters they were made with."""
    widths = {"symmetric": (1.3,), "elliptic": (1.2, 1.6), "rotated": (1.7, 1.1)}[name]
    truth = [amplitude * rng.uniform(0.9, 1.1, count)]
    truth += [(size - 1) / 2 + rng.uniform(-0.5, 0.5, count) for _ in range(2)]
    truth += [width * rng.uniform(0.9, 1.1, count) for width in widths]
    if name == "rotated":
        truth.append(rng.uniform(-1.5, 1.5, count))
    truth.append(offset * rng.uniform(0.9, 1.1, count))
    truth = np.stack(truth, axis=1)
    rois = np.stack([model(p, (size, size), name) for p in truth])
    return rng.poisson(rois).astype(np.float64), truth


def poisson_spots(rng, count, shape, name, pixel="sample", amplitude=200.0, offset=10.0):
    """Poisson ROIs of any model and dimension, and the parameters they were made with."""
    typical = {"amplitude": amplitude, "offset": offset}
    typical |= {"sigma": 1.3, "sigma_x": 1.7, "sigma_y": 1.2, "sigma_z": 1.4}
    middle = {axis: (n - 1) / 2 for axis, n in zip("xyz", shape[::-1], strict=False)}
    truth = []
    for key in get_model(name, len(shape)).names:
        if key in middle:
            truth.append(middle[key] + rng.uniform(-0.5, 0.5, count))
        elif key == "theta":
            truth.append(rng.uniform(-1.2, 1.2, count))
        else:
            truth.append(typical[key] * rng.uniform(0.9, 1.1, count))
    truth = np.stack(truth, axis=1)
    return rng.poisson(fg.image(truth, shape, name, pixel)).astype(np.float64), truth


def existing(roi, weights=None, variance=None, mask=None, coords=None):
    """Coordinates (x, y, z), values, weights and variances of the pixels that exist."""
    roi = np.asarray(roi, dtype=np.float64)
    w = np.broadcast_to(1.0 if weights is None else weights, roi.shape)
    v = np.broadcast_to(0.0 if variance is None else variance, roi.shape)
    gone = np.broadcast_to(False if mask is None else mask, roi.shape)
    keep = ~gone & ~np.isnan(roi) & (w > 0)
    axes = np.indices(roi.shape)[::-1] if coords is None else [np.asarray(coords)]
    points = tuple(axis[keep].astype(np.float64) for axis in axes)
    return points, roi[keep], w[keep], v[keep]


def _losses(d, m):
    """2 (m - d + d log(d / m)) of each pixel; infinite where the model is not positive."""
    positive = m > 0
    m, d = np.where(positive, m, 1.0), np.maximum(d, 0.0)
    logs = np.log(np.where(d > 0, d, m) / m)
    return np.where(positive, 2 * (m - d + d * logs), np.inf)


def deviance(roi, params, name, pixel="sample", **data):
    """Twice the log-likelihood ratio of the data to the model; ``data`` as in `existing`."""
    points, d, _, v = existing(roi, **data)
    return _losses(d + v, fg.evaluate(points, params, name, pixel) + v).sum()


def least_deviance(roi, start, name):
    """The smallest deviance near ``start`` of a model that is nowhere negative."""
    from scipy.optimize import minimize

    points, d, _, _ = existing(roi)

    def loss(params):
        return _losses(d, np.maximum(fg.evaluate(points, params, name), 1e-12)).sum()

    positive = {"type": "ineq", "fun": lambda params: fg.evaluate(points, params, name)}
    found = minimize(loss, start, method="SLSQP", constraints=[positive],
                     options={"maxiter": 500, "ftol": 1e-12})  # fmt: skip
    return min(found.fun, loss(start))


def objective(roi, params, name, method="lsq", pixel="sample", **data):
    """What is minimised."""
    if method == "mle":
        return deviance(roi, params, name, pixel, **data)
    points, d, w, _ = existing(roi, **data)
    return (w * (d - fg.evaluate(points, params, name, pixel)) ** 2).sum()


def fisher(roi, params, name, method="mle", pixel="sample", **data):
    """J' diag(1 / (model + variance)) J, or J'WJ of least squares."""
    points, _, w, v = existing(roi, **data)
    j = fg.jacobian(points, params, name, pixel)
    if method == "mle":
        w = 1 / (fg.evaluate(points, params, name, pixel) + v)
    return j.T @ (w[:, np.newaxis] * j)


def sandwich(roi, params, name, pixel="sample", free=slice(None), **data):
    """Covariance of a least-squares fit of free parameters to Poisson data."""
    points, _, w, _ = existing(roi, **data)
    j = w[:, np.newaxis] * fg.jacobian(points, params, name, pixel)[:, free]
    filling = j.T @ (np.maximum(fg.evaluate(points, params, name, pixel), 0)[:, np.newaxis] * j)
    bread = _inverse(fisher(roi, params, name, "lsq", pixel, **data)[free][:, free])
    return bread @ filling @ bread


def _inverse(matrix):
    scale = np.sqrt(np.diag(matrix))
    return np.linalg.inv(matrix / np.outer(scale, scale)) / np.outer(scale, scale)


def _minimise(parts, start, free, method):
    """Minimise over the ``free`` entries of a vector.

    ``parts(vector)`` gives data, model, weights and derivatives (pixels, len(vector)).
    scipy comes near, then Newton's method with the Hessian by differences makes the score
    vanish to 1e-9 of its standard deviation.
    """
    from scipy.optimize import least_squares

    vector = np.array(start, dtype=np.float64)

    known = {}  # data, model, weights and derivatives by the bytes of the values

    def at(values):
        key = values.tobytes()
        if key not in known:
            vector[free] = values
            d, m, w, j = parts(vector)
            known[key] = d, m, w, j[:, free]
        return known[key]

    def residual(values):
        d, m, w, _ = at(values)
        if method == "lsq":
            return np.sqrt(w) * (m - d)
        return np.copysign(np.sqrt(np.maximum(_losses(d, m), 0)), m - d)

    def slopes(values):
        d, m, w, j = at(values)
        if method == "lsq":
            return np.sqrt(w)[:, np.newaxis] * j
        d = np.maximum(d, 0)
        near = abs(m - d) < 1e-4 * m
        r = np.where(near, 1.0, residual(values))
        return np.where(near, 1 / np.sqrt(m), (1 - d / m) / r)[:, np.newaxis] * j

    def gradient(values):
        d, m, w, j = at(values)
        return j.T @ (w * (m - d) if method == "lsq" else 1 - np.maximum(d, 0) / m)

    near = least_squares(
        residual, vector[free], jac=slopes, x_scale="jac",
        xtol=1e-12, ftol=1e-12, gtol=1e-12, max_nfev=50,
    )  # fmt: skip
    values, noise = near.x, 1.0
    d, m, w, j = at(values)
    if method == "lsq":
        noise = np.sqrt(2 * near.cost / len(d))
    else:
        w = 1 / m
    scale = 1 / np.sqrt((w[:, np.newaxis] * j**2).sum(axis=0))
    step = np.diag(scale * (1e-4 * noise + 1e-9))
    columns = [(gradient(values + h) - gradient(values - h)) / (2 * h.max()) for h in step]
    hessian = np.outer(scale, scale) * (np.array(columns) + np.array(columns).T) / 2
    floor = 1e-9 * noise + 1e-13 * np.abs(values / scale).max()
    for _ in range(20):
        step = np.linalg.solve(hessian, scale * gradient(values))
        values = values - scale * step
        if abs(step).max() < floor:
            vector[free] = values
            return vector
    raise ArithmeticError(f"the twin did not converge: {abs(step).max() / noise} errors away")


def estimate(
    roi,
    start,
    name,
    method="lsq",
    pixel="sample",
    weights=None,
    variance=None,
    mask=None,
    fixed=None,
    bounds=None,
    coords=None,
):
    """Parameters at the minimum of the objective; ``fixed`` and ``bounds`` of one spot.

    With bounds: each bounded parameter is free or at one of its ends; the best of all these
    combinations that obeys the bounds.
    """
    data = {"weights": weights, "variance": variance, "mask": mask, "coords": coords}
    points, d, w, v = existing(roi, **data)
    names = get_model(name, len(points)).names
    fixed = fixed or {}
    if bounds:
        best = None
        low = np.array([-np.inf if bounds.get(n, (None,) * 2)[0] is None else bounds[n][0]
                        for n in names])  # fmt: skip
        high = np.array([np.inf if bounds.get(n, (None,) * 2)[1] is None else bounds[n][1]
                         for n in names])  # fmt: skip
        ends = {n: (None, *(e for e in pair if e is not None and np.isfinite(e)))
                for n, pair in bounds.items()}  # fmt: skip
        for choice in itertools.product(*ends.values()):
            held = {n: e for n, e in zip(ends, choice, strict=True) if e is not None}
            try:
                found = estimate(roi, start, name, method, pixel, fixed=fixed | held, **data)
            except ArithmeticError:  # no such minimum
                continue
            value = objective(roi, found, name, method, pixel, **data)
            if (found >= low).all() and (found <= high).all() and (not best or value < best[0]):
                best = value, found
        return best[1]
    start = [fixed.get(n, value) for n, value in zip(names, start, strict=True)]

    def parts(params):
        m = fg.evaluate(points, params, name, pixel)
        return d + v, m + v, w, fg.jacobian(points, params, name, pixel)

    return _minimise(parts, start, [k for k, n in enumerate(names) if n not in fixed], method)


def estimate_shared(rois, starts, name, shared, method="lsq", pixel="sample", weights=None):
    """Parameters (n, P) and their covariances (n, P, P) with some values common to all spots.

    The covariance is that of known noise: the inverse of the joint J'WJ or information.
    """
    names = get_model(name, rois.ndim - 1).names
    own = [k for k, n in enumerate(names) if n not in shared]
    common = [k for k, n in enumerate(names) if n in shared]
    columns = np.empty((len(rois), len(names)), int)  # where a spot's parameters stand
    columns[:, own] = np.arange(len(rois) * len(own)).reshape(len(rois), -1)
    columns[:, common] = len(rois) * len(own) + np.arange(len(common))
    start = np.empty(columns.max() + 1)
    start[columns] = starts
    points, _, _, _ = existing(np.zeros(rois.shape[1:]))
    w = np.ones_like(rois) if weights is None else np.broadcast_to(weights, rois.shape)

    def parts(vector):
        m = [fg.evaluate(points, vector[c], name, pixel) for c in columns]
        j = np.zeros((len(rois), len(m[0]), len(vector)))
        for block, c in zip(j, columns, strict=True):
            block[:, c] = fg.jacobian(points, vector[c], name, pixel)
        return rois.ravel(), np.concatenate(m), w.ravel(), j.reshape(-1, len(vector))

    vector = _minimise(parts, start, slice(None), method)
    _, m, weight, j = parts(vector)
    weight = 1 / m if method == "mle" else weight
    joint = _inverse(j.T @ (weight[:, np.newaxis] * j))
    return vector[columns], np.stack([joint[np.ix_(c, c)] for c in columns])


def uncertainty(
    roi, params, name, method="lsq", pixel="sample", *,
    fixed=None, bounds=None, covariance="auto", **data,
):  # fmt: skip
    """Covariance by definition; 0 for what is fixed or at a bound."""
    names = get_model(name, np.ndim(roi)).names
    fixed, bounds = fixed or {}, bounds or {}
    held = [n in fixed or p in bounds.get(n, ()) for n, p in zip(names, params, strict=True)]
    free = np.flatnonzero(np.logical_not(held))
    if covariance == "sandwich":
        block = sandwich(roi, params, name, pixel, free, **data)
    else:
        block = _inverse(fisher(roi, params, name, method, pixel, **data)[free][:, free])
        unknown = method == "lsq" and data.get("weights") is None
        if covariance == "residual" or (covariance == "auto" and unknown):
            dof = existing(roi, **data)[1].size - len(free)
            block = block * objective(roi, params, name, method, pixel, **data) / dof
    full = np.zeros((len(names), len(names)))
    full[np.ix_(free, free)] = block
    return full


def assert_same(params, expected, covariance):
    """Parameters (P,) agree to a small part of their errors, angles up to half a turn."""
    errors = np.sqrt(np.diag(covariance))
    assert_array_equal(np.asarray(params)[errors == 0], expected[errors == 0])
    away = (params - expected)[errors > 0]
    if len(params) == 7 and errors[5] > 0:
        k = int((errors[:5] > 0).sum())
        away[k] -= np.pi * np.round(away[k] / np.pi)
    assert_allclose(away / errors[errors > 0], 0, atol=TOLERANCE["fit, standard errors"])


def assert_fits(result, rois, starts, name, options, covariance="auto"):
    """All that a result says of each spot is what its twin says; ``options(k)`` are spot k's."""
    assert result.converged.all(), result.status
    for k, roi in enumerate(rois):
        own = options(k)
        expected = estimate(roi, starts[k], name, **own)
        data = {key: own[key] for key in ("weights", "variance", "mask", "coords") if key in own}
        spread = uncertainty(roi, expected, name, covariance=covariance, **own)
        assert_same(result.params[k], expected, spread)
        expected[np.diag(spread) > 0] = result.params[k][np.diag(spread) > 0]
        value = objective(roi, expected, name, own.get("method", "lsq"),
                          own.get("pixel", "sample"), **data)  # fmt: skip
        assert_allclose(result.objective[k], value, rtol=TOLERANCE["fit objective"])
        scale = np.sqrt(np.diag(spread))
        assert_allclose(result.errors[k], scale, rtol=TOLERANCE["fit errors"])
        scale[scale == 0] = 1.0
        outer = np.outer(scale, scale)
        atol = TOLERANCE["fit errors"]
        assert_allclose(result.covariance[k] / outer, spread / outer, atol=atol)
        pixels = existing(roi, **data)[1].size
        free = len(expected) - len(own.get("fixed", ()))
        assert (result.pixels[k], result.dof[k]) == (pixels, pixels - free)
