"""One displacement between two images, as exact as their noise allows.

With ``boundary="overlap"`` the images are two views of a larger scene, of which only what both show
counts: ``kernels/register/gauss_newton.py`` has the mathematics. With ``boundary="wrap"`` they are
periodic: ``register/periodic.py``.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..base import check
from ..base.thread_pool import resolve_threads
from ..kernels.register import window_columns
from . import inputs, periodic, window_matching
from .results import Shift

BOUNDARIES = ("overlap", "wrap")
_COARSE = 32  # pixels of the coarsest level that is searched
_TOL = 1e-7  # pixels
_LEAST = 0.1  # share of an image that must be in both


def read_pair(
    im1: Any, im2: Any, err1: Any, err2: Any, mask: Any, names: tuple[str, ...]
) -> tuple[inputs.Pixels, inputs.Pixels]:
    """Both images, checked before anything is computed; ``names`` of the four arguments."""
    masks = mask if isinstance(mask, tuple) else (mask, mask)
    if len(masks) != 2:
        raise ValueError(f"mask must be one array or a tuple of two, got {len(masks)}")
    im1, hidden1, err1 = check.with_errors(names[0], im1, masks[0], err1)
    im2, hidden2, err2 = check.with_errors(names[1], im2, masks[1], err2)
    first, second = inputs.image(names[0], im1), inputs.image(names[1], im2)
    if first.shape != second.shape:
        raise ValueError(
            f"{names[1]} must have the shape of {names[0]}, {first.shape}, got {second.shape}"
        )
    shape = first.shape
    holes = [inputs.missing("mask", m, shape) for m in (hidden1, hidden2)]
    errors = [inputs.error(n, e, shape) for n, e in zip(names[2:], (err1, err2), strict=True)]
    one = inputs.read(first, errors[0], holes[0])
    return one, inputs.read(second, errors[1], holes[1], one.level)


def align(
    im1: ArrayLike,
    im2: ArrayLike,
    err1: ArrayLike | None = None,
    err2: ArrayLike | None = None,
    mask: ArrayLike | tuple | None = None,
    *,
    model: str = "shift",
    start: str | tuple[float, float] = "correlation",
    boundary: str = "overlap",
    brightness: str = "offset",
    search: float | None = None,
) -> Shift:
    """Displacement of one image relative to another, with its covariance.

    Parameters
    ----------
    im1, im2 : array_like (Y, X)
        Images of any real dtype, 12 pixels or more a side; NaN and infinity are missing.
    err1, err2 : float or array_like (Y, X), optional
        Standard deviation of the noise of each image; 0 in an array is a missing pixel. Unless both
        are given, the residual tells the noise, half of it in either image.
    mask : array_like (Y, X) of bool, or a tuple of two, optional
        True where a pixel is missing, in both images or in each.
    model : {"shift"}
        What moves: the whole image.
    start : "correlation" or (dx, dy)
        Where to begin: at the best match of gradients from coarse to fine, or at a place that is
        right to about a pixel.
    boundary : {"overlap", "wrap"}
        Views of a larger scene, or periodic images without missing pixels and with uniform errors.
    brightness : {"offset", "linear", "same"}
        How the second image may differ: by a constant, also by a factor, or not at all. Of no
        effect with ``boundary="wrap"``, where neither matters.
    search : float, optional
        Largest displacement that is looked for, in pixels; a quarter of the shorter side by
        default.

    Returns
    -------
    Shift
        dx (axis 1), dy (axis 0), covariance, status, correlation, noise, pixels.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described. Images that cannot be registered have a status.

    Notes
    -----
    About 2 ms for 128 x 128, 10 ms for 512 x 512 pixels. The errors know the noise and the
    splines' interpolation, not a scene that changes.

    References
    ----------
    C. Knapp and G. Carter, "The generalized correlation method for estimation of time delay",
    IEEE Trans. ASSP 24 (1976) 320.

    Examples
    --------
    >>> import numpy as np, fastgauss as fg
    >>> scene = np.random.default_rng(0).normal(size=(90, 90)).cumsum(0).cumsum(1)
    >>> shift = fg.register.align(scene[5:69, 5:69], scene[7:71, 2:66])
    >>> round(shift.dx, 3), round(shift.dy, 3)
    (3.0, -2.0)
    """
    check.choice("model", model, ("shift",))
    check.choice("boundary", boundary, BOUNDARIES)
    check.choice("brightness", brightness, window_matching.BRIGHTNESS)
    first, second = read_pair(im1, im2, err1, err2, mask, ("im1", "im2", "err1", "err2"))
    reach = (
        0.25 * min(first.values.shape)
        if search is None
        else check.number("search", search, above=0)
    )
    begin = None
    if not isinstance(start, str):
        begin = check.per_axis("start", start, 2)
    else:
        check.choice("start", start, ("correlation",))
    if boundary == "wrap":
        return periodic.register(first, second, begin, reach)
    return _overlap(first, second, begin, reach, brightness)


def _overlap(
    first: inputs.Pixels,
    second: inputs.Pixels,
    begin: tuple[float, ...] | None,
    reach: float,
    brightness: str,
) -> Shift:
    threads = resolve_threads(None)
    shape = first.values.shape
    both = window_matching.pair(first, second, first.values.size, threads)
    windows = np.array([[0, 0, *shape]])
    if begin is None:
        starts = window_matching.search(both, windows, np.zeros((1, 2)), reach, _COARSE, threads)
    else:
        starts = np.array([begin])
    out, status = window_matching.refine(both, windows, starts, brightness, _TOL, _LEAST, threads)
    row = out[0]
    covariance = row[
        [window_columns.VAR_X, window_columns.COV, window_columns.COV, window_columns.VAR_Y]
    ].reshape(2, 2)
    pixels = 0 if math.isnan(row[window_columns.PIXELS]) else int(row[window_columns.PIXELS])
    return Shift(
        float(row[window_columns.DX]), float(row[window_columns.DY]), covariance, int(status[0]),
        float(row[window_columns.CORRELATION]), float(row[window_columns.RESIDUAL]), pixels,
    )  # fmt: skip
