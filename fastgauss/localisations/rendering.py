"""Pictures of localisations: Gaussians as wide as their errors, counts, or averaged counts."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..base import check, wording
from ..base.grid import Grid
from ..fields import render
from ..results import FitResult
from ..sums import deposit
from .groups import Groups
from .points import Points, read_points

MODES = ("gaussian", "histogram", "average shift")
_MOST = 2**31  # pixels
_TOL = 1e-3  # of a Gaussian's peak, where it is cut off
_LEAST = 0.01  # pixels: the least sigma of a Gaussian
_WHOLE = 1e-9  # pixels that a side may be beyond a whole number of them


def render_localisations(
    localisations: FitResult | Groups | tuple[ArrayLike, ...],
    pixel: float | tuple[float, ...] = 0.1,
    mode: str = "gaussian",
    *,
    shape: tuple[int, ...] | None = None,
    threads: int | None = None,
) -> np.ndarray:
    """The picture, or the volume, that localisations form: how many there are in each fine pixel.

    The picture covers the frames of the camera: its first edge is at -0.5 along each axis, the edge
    of the camera's first pixel.

    Parameters
    ----------
    localisations : FitResult, Groups, or tuple
        A tuple is (frame, positions) or (frame, positions, errors), as for `estimate_drift`.
        Localisations whose position or error is not finite, and those outside of the picture, are
        left out. Of an astigmatic result y and x are drawn.
    pixel : float or one for each axis
        Side of a pixel of the picture, in pixels of the camera, or in the unit of the
        positions.
    mode : str
        "gaussian": each localisation is a Gaussian of integral 1 with its standard errors as
        sigmas, averaged over the pixels. "histogram": each counts 1 in its pixel. "average shift":
        the mean of histograms that are shifted by parts of a pixel, in the limit of many shifts:
        each localisation is shared by the pixels around it, in proportion to how near they are.
    shape : tuple of ints, optional
        Shape of the camera's frames; by default the smallest that has all localisations.
    threads : int, optional
        Largest number of threads; the picture has the same bits for any number.

    Returns
    -------
    ndarray
        float64, rows first. Pixel ``[i, j]`` is centred at ``-0.5 + (i + 0.5) * pixel`` along y,
        and so on. The sum is the number of localisations, less what is outside; of Gaussians it is
        within 0.2 %.

    Raises
    ------
    TypeError, ValueError
        If an argument is of a wrong kind, the mode is "gaussian" and there are no errors, or the
        picture would have more than 2**31 pixels.

    See Also
    --------
    render : Sums of Gaussians on any grid.

    Examples
    --------
    >>> import fastgauss as fg
    >>> frame, positions, errors = [0, 1], [[3.0, 2.0], [1.0, 4.5]], [0.2, 0.3]
    >>> picture = fg.render_localisations((frame, positions, errors), 0.25, shape=(6, 7))
    >>> picture.shape, float(picture.sum().round(2))
    ((24, 28), 2.0)
    >>> fg.render_localisations((frame, positions), 1.0, "histogram").sum(axis=1)
    array([0., 1., 0., 1.])
    """
    points = read_points(localisations, in_frames=False)
    if isinstance(localisations, FitResult):
        points = _along_image(points, localisations.model.ndim)
    mode = check.choice("mode", mode, MODES)
    if mode == "gaussian" and points.errors is None:
        raise ValueError("localisations must have errors for mode='gaussian'")
    good = points.known
    places = points.places[good]
    grid = _fine_grid(places, pixel, shape)
    if mode != "gaussian":
        kernel = "nearest" if mode == "histogram" else "linear"
        return deposit(grid, places, kernel=kernel, threads=threads)
    # narrower ones would look the same
    sigmas = np.maximum(points.errors[good], _LEAST * np.array(grid.spacing))  # type: ignore[index]
    with np.errstate(under="ignore"):
        heights = np.prod(np.array(grid.spacing) / (math.sqrt(2 * math.pi) * sigmas), axis=1)
    return render(grid, places, heights, sigmas, tol=_TOL, pixel="integrate", threads=threads)


def _along_image(points: Points, ndim: int) -> Points:
    """Without a depth that is no axis of the image."""
    errors = None if points.errors is None else points.errors[:, -ndim:]
    return points._replace(axes=points.axes[-ndim:], places=points.places[:, -ndim:], errors=errors)


def _fine_grid(places: np.ndarray, pixel: Any, shape: Any) -> Grid:
    """The pixels of the picture, which cover the pixels of the camera."""
    ndim = places.shape[1]
    sides = check.per_axis("pixel", pixel, ndim, above=0.0)
    if shape is None:
        ends = places.max(axis=0, initial=0.0).tolist()
        extents = [math.floor(end + 0.5) + 1.0 for end in ends]
    else:
        extents = [float(n) for n in check.shape("shape", shape, (ndim,))]
    with np.errstate(over="ignore"):
        counts = np.ceil(np.array(extents) / np.array(sides) - _WHOLE)
    if not counts.prod() <= _MOST:
        raise ValueError(
            f"pixel must give a picture of at most {_MOST} pixels, got {wording.shown(pixel)} for "
            f"{' x '.join(f'{extent:g}' for extent in extents)}"
        )
    return Grid(
        tuple(int(count) for count in counts),
        spacing=sides,
        origin=tuple(-0.5 + 0.5 * side for side in sides),
    )
