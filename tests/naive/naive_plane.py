"""Slow, obvious twins of spots on a plane of background."""

import numpy as np

import fastgauss as fg

NAMES = {1: ("slope",), 2: ("slope_x", "slope_y"), 3: ("slope_x", "slope_y", "slope_z")}


def on_plane(spots, slopes):
    """Parameters (n, P) with the slopes before the offset."""
    spots = np.atleast_2d(spots)
    between = np.broadcast_to(slopes, (len(spots), len(slopes)))
    return np.concatenate([spots[:, :-1], between, spots[:, -1:]], axis=1)


def images(params, shape, model, pixel="sample"):
    """A spot of this model, and a plane that has the value of the offset at its centre."""
    ndim = len(shape)
    axes = np.indices(shape)[::-1]  # x before y
    found = []
    for row in params:
        slopes = row[-1 - ndim : -1]
        spot = np.append(row[: -1 - ndim], row[-1])
        image = fg.image(spot, shape, model, pixel)
        for axis, centre, slope in zip(axes, row[1:], slopes, strict=False):
            image = image + slope * (axis - centre)
        found.append(image)
    return np.array(found)


def level(roi):
    """Slopes by the medians of both ends of each axis, x first, and the pixels without it."""
    slopes, flat = [], np.array(roi, np.float64)
    for axis in reversed(range(roi.ndim)):
        n = roi.shape[axis]
        thick = max(n // 5, 1)
        places = np.arange(n)
        low = np.nanmedian(np.take(roi, places[:thick], axis))
        high = np.nanmedian(np.take(roi, places[n - thick :], axis))
        slope = (high - low) / (n - thick) if n > thick else 0.0
        slopes.append(slope)
        ramp = slope * (places - 0.5 * (n - 1))
        flat -= ramp.reshape([-1 if k == axis else 1 for k in range(roi.ndim)])
    return np.array(slopes), flat
