"""Calibration of astigmatism: `calibrate_astigmatism`.

A weak cylindrical lens makes sigma_x and sigma_y different functions of z, so that the widths of a
spot show its distance from the focal plane. The curves, and the fit with z as a parameter, are
explained in ``kernels/fit/astigmatic.py``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..base import check, wording
from ..base.named_axes import lay_out
from ..find.detection import find_spots
from ..find.options import check_search
from ..models.astigmatic import AstigmaticModel, astigmatic_model, bracket
from .image_fits import fit_spots

_FEWEST = 6  # places along z, for the three numbers of a curve
_MAPS = ("weights", "error", "variance", "mask")  # options of `fit_spots` for each pixel


def calibrate_astigmatism(
    stack: ArrayLike,
    z: ArrayLike,
    positions: ArrayLike | None = None,
    *,
    box: int | tuple[int, int] = 15,
    sigma: float = 1.5,
    **options: Any,
) -> AstigmaticModel:
    """The model of a microscope from a stack of beads at known z.

    Parameters
    ----------
    stack : array (n, y, x)
        One frame for each z; all beads in one plane. Axes of xarray that are named x and y may have
        any order; maps of the pixels must then have named axes, too.
    z : array (n,)
        Position of the stage, in the unit in which fits shall report z; at least six different
        values.
    positions : array (beads, 2), optional
        Row and column of each bead; by default `find_spots` finds them in the mean frame.
    box, sigma
        Window of a bead, and width of the spots to find, as in `fit_spots`.
    **options
        Further options of `fit_spots` (method, pixel, variance, mask, threads, ...).

    Returns
    -------
    AstigmaticModel

    Raises
    ------
    TypeError, ValueError
        If shapes do not agree, or beads were fitted at fewer than six places z.

    Notes
    -----
    All beads are fitted with the elliptic model in all frames. Then each defocus curve is fitted by
    robust least squares (soft L1), weighted by the reported errors.

    Examples
    --------
    >>> import numpy as np, fastgauss as fg
    >>> truth = fg.astigmatic_model((1.3, -250.0, 400.0), (1.4, 250.0, 400.0), (-400.0, 400.0))
    >>> z = np.linspace(-400.0, 400.0, 33)
    >>> frames = fg.image([[900.0, 20.2, 18.1, k, 10.0] for k in z], (40, 40), model=truth)
    >>> fg.calibrate_astigmatism(frames, z).curves[:, :3].round(2)
    array([[   1.3, -250. ,  400. ],
           [   1.4,  250. ,  400. ]])
    """
    maps = {name: options.get(name) for name in _MAPS}  # `fit_spots` brings them in order
    frames = check.real_array("stack", lay_out("stack", stack, **maps)[0], 3)
    places = check.finite_array("z", z, 1)
    if places.shape != frames.shape[:1]:
        raise ValueError(
            f"z must have one number for each of {wording.plural(len(frames), 'frame')}, got "
            f"{len(places)}"
        )
    if len(frames) < _FEWEST:
        raise ValueError(f"stack must hold {_FEWEST} frames or more, got {len(frames)}")
    check_search(2, sigma)
    if positions is None:
        positions = find_spots(frames.mean(axis=0), sigma, detector="laplacian")  # of any shape
    centres = check.finite_array("positions", positions, 2)
    at, widths, errors = [], [], []
    for frame, place in zip(frames, places, strict=True):
        result = fit_spots(frame, centres, "elliptic", box=box, **options)
        result = result[result.converged]
        at.append(np.full(len(result), place))
        widths.append(result.params[:, 3:5])
        errors.append(result.errors[:, 3:5])
    all_at, all_widths, all_errors = map(np.concatenate, (at, widths, errors))
    fitted = len(np.unique(all_at))
    if fitted < _FEWEST:
        raise ValueError(
            f"stack must hold beads that can be fitted at {_FEWEST} places z or more, got {fitted}"
        )
    curves = [_fit_curve(all_at, all_widths[:, k], all_errors[:, k]) for k in range(2)]
    return astigmatic_model(curves[0], curves[1], (float(places.min()), float(places.max())))


def _fit_curve(z: np.ndarray, sigma: np.ndarray, error: np.ndarray) -> np.ndarray:
    """sigma_0, c, d, A, B of one axis."""
    from scipy.optimize import least_squares

    extent = float(np.ptp(z))
    weight = 1.0 / np.hypot(error, 1e-3 * sigma)  # the smallest error that a width gets

    def residual(curve: np.ndarray) -> np.ndarray:
        scaled = np.array([curve[0], curve[1] * extent, curve[2] * extent, curve[3], curve[4]])
        return (scaled[0] * np.sqrt(bracket(scaled, z)[0]) - sigma) * weight

    narrowest = sigma.argmin()
    start = [sigma[narrowest], z[narrowest] / extent, 0.4, 0.0, 0.0]
    low, high = [0.0, -np.inf, 1e-3, -np.inf, -np.inf], np.inf
    fit = least_squares(residual, start, bounds=(low, high), loss="soft_l1", xtol=1e-12)
    curve = fit.x
    return np.array([curve[0], curve[1] * extent, curve[2] * extent, curve[3], curve[4]])
