"""Slow, obvious twins of the spot fits."""

import numpy as np


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
        method="lm",
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
