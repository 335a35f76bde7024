"""Slow twin of the filters: scipy's coefficients as matrices of axes, and means of what exists."""

import numpy as np
from scipy.ndimage import gaussian_filter1d

PADS = {  # mode: numpy.pad's
    "reflect": "symmetric",
    "mirror": "reflect",
    "nearest": "edge",
    "wrap": "wrap",
    "constant": "constant",
}


def profile(sigma, order, radius):
    """f(-r) .. f(r), as scipy's filter shows them: the response to a one, turned round."""
    one = np.zeros(4 * radius + 1)
    one[2 * radius] = 1.0
    return gaussian_filter1d(one, sigma, order=order, radius=radius)[radius : 3 * radius + 1][::-1]


def axis_filter(array, axis, sigma, order, mode, cval, radius):
    """One axis, element by element."""
    f = profile(sigma, order, radius)
    more = {"constant_values": cval} if mode == "constant" else {}
    lines = np.moveaxis(array, axis, -1)
    pads = [(0, 0)] * (array.ndim - 1) + [(radius, radius)]
    padded = np.pad(lines, pads, mode=PADS[mode], **more)
    windows = np.lib.stride_tricks.sliding_window_view(padded, len(f), axis=-1)
    return np.moveaxis(windows @ f, -1, axis)


def gaussian_filter(array, sigma, order=0, mode="reflect", cval=0.0, truncate=4.0):
    """All axes, one after the other."""
    result = np.asarray(array, dtype=np.float64)
    for axis in range(result.ndim):
        radius = int(truncate * sigma + 0.5)
        result = axis_filter(result, axis, sigma, order, mode, cval, radius)
    return result


def mean_of_existing(array, missing, sigma, mode):
    """The smoothing where elements are missing."""
    values = gaussian_filter(np.where(missing, 0.0, array), sigma, mode=mode)
    weights = gaussian_filter(np.where(missing, 0.0, 1.0), sigma, mode=mode, cval=1.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(weights > 1e-12, values / weights, np.nan)


def gain(sigma, order, truncate=4.0):
    """Largest result of one axis for elements of at most 1."""
    return np.abs(profile(sigma, order, int(truncate * sigma + 0.5))).sum()


def bound(array, cval, gains):
    """Largest element that any pass may write."""
    largest = peak = float(np.abs(array).max(initial=abs(cval)))
    for each in gains:
        largest = each * max(largest, abs(cval))
        peak = max(peak, largest)
    return max(largest, 1e-300), peak
