"""Slow, obvious twins of the models, with as many digits as wanted."""

import mpmath as mp
import numpy as np


def _profile(x, centre, sigma, pixel):
    """One axis: the Gaussian at x, or its mean over the pixel around x."""
    if pixel == "sample":
        return mp.exp(-((x - centre) ** 2) / (2 * sigma**2))
    low, high = (x - mp.mpf(1) / 2 - centre), (x + mp.mpf(1) / 2 - centre)
    scale = sigma * mp.sqrt(2)
    if low > 0 or high < 0:  # difference of tails, with digits enough for both
        low, high = abs(low), abs(high)
        low, high = min(low, high), max(low, high)
        return sigma * mp.sqrt(mp.pi / 2) * (mp.erfc(low / scale) - mp.erfc(high / scale))
    return sigma * mp.sqrt(mp.pi / 2) * (mp.erf(high / scale) - mp.erf(low / scale))


def value(coords, params, model, pixel="sample"):
    """The model at one point, from its definition."""
    coords, params = [mp.mpf(float(c)) for c in coords], list(params)
    ndim = len(coords)
    amplitude, offset = params[0], params[-1]
    if model == "rotated" and ndim == 2:
        x, y = coords[0] - params[1], coords[1] - params[2]
        cos, sin = mp.cos(params[5]), mp.sin(params[5])
        u, v = (x * cos + y * sin) / params[3], (-x * sin + y * cos) / params[4]
        return amplitude * mp.exp(-(u * u + v * v) / 2) + offset
    widths = params[1 + ndim : -1]
    widths = widths * ndim if len(widths) == 1 else widths
    product = mp.mpf(1)
    for x, centre, sigma in zip(coords, params[1 : 1 + ndim], widths, strict=True):
        product *= _profile(x, centre, sigma, pixel)
    return amplitude * product + offset


def jacobian(coords, params, model, pixel="sample", digits=400):
    """Derivatives at one point, by differences with digits enough for tails under an offset."""
    with mp.workdps(digits):
        params = [mp.mpf(float(p)) for p in params]
        slopes = []
        for k in range(len(params)):

            def along(t, k=k):
                moved = [*params[:k], t, *params[k + 1 :]]
                return value(coords, moved, model, pixel)

            step = mp.mpf(10) ** -30
            slope = (along(params[k] + step) - along(params[k] - step)) / (2 * step)
            slopes.append(float(slope))
        return np.array(slopes), float(value(coords, params, model, pixel))
