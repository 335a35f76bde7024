"""Suspicious pixels of symmetric spots, and the judgement on a fit without one, in plain numpy."""

import numpy as np


def model(params, shape):
    y, x = np.mgrid[: shape[0], : shape[1]]
    square = (x - params[1]) ** 2 + (y - params[2]) ** 2
    return params[0] * np.exp(-0.5 * square / params[3] ** 2) + params[-1]


def suspect(roi, params, method, objective):
    """The number of a suspicious pixel, or -1."""
    height, x, y, sigma, offset = params
    m = model(params, roi.shape)
    residuals = roi - m
    j, i = (int(np.clip(np.rint(c), 0, n - 1)) for c, n in zip((y, x), roi.shape, strict=True))
    if sigma < 0.8:
        far_y, far_x = abs(np.arange(roi.shape[0]) - j), abs(np.arange(roi.shape[1]) - i)
        far = np.maximum(far_y[:, None], far_x[None])
        near = (far <= 2) & (far >= (1 if sigma < 0.5 else 2))
        weights = (1 / m if method == "mle" else np.ones(roi.shape))[near]
        total = (weights * residuals[near]).sum()
        if (
            total * np.sign(height) > 0.003 * abs(height) * weights.sum()
            and total**2 > 0.04 * weights.sum() * objective
        ):
            return j * roi.shape[1] + i
        if method == "lsq":
            return -1
    f = (m - offset) / height
    leverage = f / 2 if method == "mle" else f**2
    rest = 1 - np.minimum(leverage / (np.pi * sigma**2), 0.95)
    part = residuals**2 / rest / (m if method == "mle" else objective / roi.size)
    k = int(part.argmax())
    least = 25 if method == "mle" else 16
    large = part.flat[k] > least and abs(residuals.flat[k]) > 0.1 * abs(height)
    return k if large else -1


def is_outlier(whole, part, freedom, missed, params, m, count, method):
    """From the objectives with and without a pixel, and by how many heights it is missed.

    ``params`` are those of the fit without the pixel, and ``m`` is its value there.
    """
    fall, sigma = whole - part, params[3]
    few, even, left = count, count, freedom
    sure = 49 if method == "lsq" else 36
    if method == "lsq":
        background, light = max(params[-1], 0.0), params[0] * 2 * np.pi * sigma**2
        total = background * count + light
        squares = background**2 * count + 2 * background * light + params[0] ** 2 * np.pi * sigma**2
        few, even = min(total**2 / squares, count), min(total / m, count) if m > 0 else count
        left = few - (count - freedom)
    if left <= 0 or fall / part * left * even / few <= sure * (1 + (10 / left) ** 3):
        return False
    missed = abs(missed)
    if method == "lsq":
        return missed > 0.5 or (sigma > 0.9 and missed > 0.3 and missed * fall > 0.2 * whole)
    if part < freedom + 2.5 * np.sqrt(2 * freedom):
        return fall > 36 and missed > 0.1
    return missed * fall > 0.3 * whole
