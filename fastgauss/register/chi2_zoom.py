"""Chi-squared looked at ever closer, and errors read from an array of it."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from ..base import check, wording
from . import chi2, fourier_series
from .chi2_data import read, spectra
from .chi2_errors import rise_of


def chi2_map_to_errors(
    chi2_values: ArrayLike, zoom_factor: float = 1.0, nsigma: float = 1.0, nfitted: int = 1
) -> tuple[float, float, float, float]:
    """Errors in both directions of both axes from an array of chi-squared.

    Parameters
    ----------
    chi2_values : array_like (ny, nx)
        With its minimum inside, and all of the region around it.
    zoom_factor : float, optional
        Nodes of the array per pixel.
    nsigma : float, optional
        Standard errors wanted.
    nfitted : int, optional
        1: the error of each axis, for any displacement along the other; 2: the joint region.

    Returns
    -------
    x_low, x_high, y_low, y_high : float
        Distance in pixels from the minimum to the ends of the region where chi2 has risen by no
        more than nsigma**2 (nfitted=1), between nodes by interpolation; NaN where it leaves the
        array.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described.

    Examples
    --------
    >>> import numpy as np, fastgauss as fg
    >>> y, x = np.mgrid[-20:21, -30:31]
    >>> errors = fg.register.chi2_map_to_errors((x / 10) ** 2 + (y / 5) ** 2)
    >>> [round(e, 2) for e in errors]
    [10.0, 10.0, 5.0, 5.0]
    """
    values = check.finite_array("chi2_values", chi2_values, 2)
    if not values.size:
        raise ValueError(f"chi2_values must hold a value, got shape {values.shape}")
    zoom_factor = check.number("zoom_factor", zoom_factor, above=0)
    rise = rise_of(nfitted, nsigma)
    at = np.unravel_index(int(values.argmin()), values.shape)
    ends: list[float] = []
    for axis in (1, 0):
        profile = values.min(axis=1 - axis) - values.min()
        place = int(at[axis])
        for line in (profile[place::-1], profile[place:]):
            ends.append(_crossing(line, rise) / zoom_factor)
    return ends[0], ends[1], ends[2], ends[3]


def _crossing(line: np.ndarray, rise: float) -> float:
    """Where a profile from its minimum on first exceeds a rise; straight in its square root."""
    above = np.flatnonzero(line > rise)
    if not above.size:
        return math.nan
    i = int(above[0])
    low, high, goal = (math.sqrt(v) for v in (line[i - 1], line[i], rise))
    return i - 1 + (goal - low) / (high - low)


def chi2_shift_iterzoom(
    im1: ArrayLike,
    im2: ArrayLike,
    err: ArrayLike | None = None,
    return_error: bool = True,
    return_chi2array: bool = False,
    zeromean: bool = False,
    *,
    zoom_shape: tuple[int, int] = (10, 10),
    rezoom_shape: tuple[int, int] = (100, 100),
    mindiff: float = 1.0,
    nfitted: int = 1,
    mask: ArrayLike | tuple | None = None,
) -> tuple:
    """The displacement of `chi2_shift`, found by zooming into chi-squared again and again.

    Parameters
    ----------
    im1, im2, err, return_error, return_chi2array, zeromean, nfitted, mask
        As in `chi2_shift`; without err it is 1.
    zoom_shape, rezoom_shape : (rows, columns), optional
        Nodes of each zoom, 5 or more, and of the last, from which the errors are read.
    mindiff : float, optional
        Zoom until chi2 varies by less than this over an array.

    Returns
    -------
    dx, dy : float
        Displacement along axis 1 and axis 0; NaN where no minimum is found.
    ex, ey : float
        If `return_error`: half the extent of the region of 1 sigma, from the rise of chi2 alone,
        which contains only the noise of `im2`.
    (x, y, chi2) : tuple of ndarray
        If `return_chi2array`: the last array.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described.

    Notes
    -----
    `chi2_shift` is faster and more accurate. This function has the meaning of image_registration's
    ``chi2_shift_iterzoom``.

    Examples
    --------
    >>> import numpy as np, fastgauss as fg
    >>> image = np.random.default_rng(42).normal(size=(50, 55))
    >>> shifted = np.roll(image, (12, 5), (0, 1))
    >>> fg.register.chi2_shift_iterzoom(image, shifted)[:2]
    (5.0, 12.0)
    """
    return_error = check.flag("return_error", return_error)
    return_chi2array = check.flag("return_chi2array", return_chi2array)
    sides = [
        tuple(
            check.integer(f"{name}[{i}]", n, at_least=5)
            for i, n in enumerate(check.entries(name, value) or ())
        )
        for name, value in (("zoom_shape", zoom_shape), ("rezoom_shape", rezoom_shape))
    ]
    given = ("zoom_shape", zoom_shape), ("rezoom_shape", rezoom_shape)
    for (name, value), side in zip(given, sides, strict=True):
        if len(side) != 2 or max(side) > chi2.LARGEST:
            raise ValueError(
                f"{name} must be 2 numbers of at most {chi2.LARGEST}, got {wording.shown(value)}"
            )
    mindiff = check.number("mindiff", mindiff, above=0)
    rise = rise_of(nfitted, 1.0)
    data = read(im1, im2, 1.0 if err is None else err, mask, zeromean)
    shape = data.images[0].shape
    series = chi2.by_displacement(data, spectra(data))
    place = np.array(
        fourier_series.coarse_minimum(fourier_series.inverse(series, shape)), dtype=float
    )
    span = 1.0
    while True:
        x, y, values, place = _zoomed(series, shape, place, span, sides[0])
        if values.max() - values.min() < mindiff or span < 1e-9:
            break
        span *= 0.4
    # a region that the last array holds: chi2 rises with the square of the distance
    variation = max(float(values.max() - values.min()), 1e-30)
    span *= math.sqrt(8.0 * rise / variation) if variation < 4 * rise else 1.0
    span = min(span, 0.5 * min(shape))
    best = fourier_series.minimise(series, shape, place)
    place, found = best.place, best.found
    x, y, values, _ = _zoomed(series, shape, place, span, sides[1])
    if not found:
        place = np.full(2, np.nan)
    out: tuple = (float(place[0]), float(place[1]))
    if return_error:
        density = [(n - 1) / (2 * span) for n in (len(x), len(y))]
        low_x, high_x, low_y, high_y = chi2_map_to_errors(values, 1.0, 1.0, nfitted)
        out += (0.5 * (low_x + high_x) / density[0], 0.5 * (low_y + high_y) / density[1])
    if return_chi2array:
        out += ((x, y, values),)
    return out


def _zoomed(
    series: np.ndarray,
    shape: tuple[int, ...],
    place: np.ndarray,
    span: float,
    sides: tuple[int, ...],
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """chi2 on an array around a place, a node on the place itself; and where it is least."""
    steps = [span * (np.arange(n) - (n - 1) // 2) / ((n - 1) / 2) for n in sides]
    y, x = place[1] + steps[0], place[0] + steps[1]
    values = fourier_series.zoom(series, shape, y, x)
    i, j = np.unravel_index(int(values.argmin()), values.shape)
    return x, y, values, np.array([x[j], y[i]])
