"""Three dimensions from two: spots whose widths tell their distance from the focal plane.

A weak cylindrical lens makes sigma_x and sigma_y different functions of z; the curves, and
how spots are fitted with z as a parameter, stand in ``fastgauss.kernels.astigmatic``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ._search import check_search
from .base import check
from .detect import find_spots
from .fit import fit_spots
from .models import Model, get_model

_GRID = 81  # places of z that a start is looked for at


def _bracket(curve: np.ndarray, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """1 + u**2 + A u**3 + B u**4 and its derivative by z."""
    _, centre, depth, third, fourth = curve
    u = (z - centre) / depth
    value = 1.0 + u**2 * (1.0 + u * (third + fourth * u))
    return np.maximum(value, 0.05), u * (2.0 + u * (3.0 * third + 4.0 * fourth * u)) / depth


@dataclass(frozen=True)
class AstigmaticModel(Model):
    """Spots ``amplitude, x, y, z, offset`` whose widths are known functions of z.

    Made by `astigmatic_model` or `calibrate_astigmatism`; given as ``model`` to `fit_rois`,
    `fit_spots`, `image`, `evaluate` and `jacobian`.

    Attributes
    ----------
    curves : array (2, 5)
        sigma_0, c, d, A, B of x and of y, as in `astigmatic_model`.
    z_range : (float, float)
        Lowest and highest z of the calibration.

    Examples
    --------
    >>> import fastgauss as fg
    >>> model = fg.astigmatic_model((1.3, -250.0, 400.0), (1.3, 250.0, 400.0), (-500.0, 500.0))
    >>> model.names
    ('amplitude', 'x', 'y', 'z', 'offset')
    >>> model.sigmas_at([0.0, 250.0]).round(3)
    array([[1.533, 1.533],
           [2.081, 1.3  ]])
    """

    @property
    def curves(self) -> np.ndarray:
        """sigma_0, c, d, A, B of x and of y, (2, 5)."""
        return np.array(self.constants[:10]).reshape(2, 5)

    @property
    def z_range(self) -> tuple[float, float]:
        """Lowest and highest z of the calibration."""
        return self.constants[10], self.constants[11]

    def sigmas_at(self, z: ArrayLike) -> np.ndarray:
        """sigma_x and sigma_y in pixels at z, (..., 2)."""
        z = np.asarray(check.real_array("z", z), dtype=np.float64)
        with np.errstate(over="ignore", invalid="ignore"):
            return np.stack([c[0] * np.sqrt(_bracket(c, z)[0]) for c in self.curves], axis=-1)

    def widths(self, params: np.ndarray) -> np.ndarray:
        """The sigmas along x and y of spots, (..., 2)."""
        return self.sigmas_at(params[..., 3])

    @property
    def start_size(self) -> int:
        """A start is made from that of the elliptic model."""
        return 6

    def from_start(self, start: np.ndarray) -> np.ndarray:
        """z from both widths: where the logarithms of the curves come nearest."""
        grid = np.linspace(*self.z_range, _GRID)
        curves = np.log(self.sigmas_at(grid))
        distance = ((np.log(start[:, None, 3:5]) - curves) ** 2).sum(axis=2)
        z = grid[np.where(np.isnan(distance), np.inf, distance).argmin(axis=1)]
        return np.column_stack([start[:, :3], z, start[:, 5]])

    def plain(self, params: np.ndarray) -> tuple[Model, np.ndarray]:
        """The same spots as elliptic ones."""
        sigmas = self.sigmas_at(params[..., 3])
        parts = [params[..., :3], sigmas, params[..., 4:]]
        return get_model("elliptic", 2), np.concatenate(parts, axis=-1)

    def from_plain(self, jacobian: np.ndarray, params: np.ndarray) -> np.ndarray:
        """The derivative by z is that by both sigmas times theirs by z."""
        z = params[..., 3]
        slopes = []
        for curve in self.curves:
            value, slope = _bracket(curve, z)
            slopes.append(0.5 * curve[0] * slope / np.sqrt(value))
        by_z = jacobian[..., 3] * slopes[0] + jacobian[..., 4] * slopes[1]
        return np.concatenate([jacobian[..., :3], by_z[..., None], jacobian[..., 5:]], axis=-1)


def astigmatic_model(
    curve_x: ArrayLike, curve_y: ArrayLike, z_range: tuple[float, float]
) -> AstigmaticModel:
    """The model with known defocus curves.

    Parameters
    ----------
    curve_x, curve_y : array (5,) or (3,)
        sigma_0 in pixels, focus c, depth d, and A and B (0 if left out) of
        ``sigma(z)**2 = sigma_0**2 (1 + u**2 + A u**3 + B u**4)``, ``u = (z - c) / d``.
    z_range : (float, float)
        Lowest and highest z for which the curves hold; starting values lie between.

    Returns
    -------
    AstigmaticModel

    Raises
    ------
    TypeError, ValueError
        If a curve is not 3 or 5 numbers with positive sigma_0 and d, or the range is empty.

    Notes
    -----
    z and depths have one unit of the caller's choice. A fit costs as much as that of a
    symmetric spot.

    References
    ----------
    .. [1] B. Huang et al., Science 319, 810 (2008), supplement, equation S1.

    Examples
    --------
    >>> import numpy as np, fastgauss as fg
    >>> model = fg.astigmatic_model((1.3, -250.0, 400.0), (1.3, 250.0, 400.0), (-500.0, 500.0))
    >>> rois = fg.image([[500.0, 6.2, 5.9, 123.0, 10.0]], (13, 13), model=model)
    >>> fg.fit_rois(rois, model).z.round(6)
    array([123.])
    """
    constants: list[float] = []
    for name, curve in (("curve_x", curve_x), ("curve_y", curve_y)):
        numbers = check.finite_array(name, curve, 1)
        if numbers.size not in (3, 5) or numbers[0] <= 0 or numbers[2] <= 0:
            raise ValueError(
                f"{name} must be sigma_0, c, d, or those and A, B, with positive sigma_0 and d, "
                f"got {curve!r}"
            )
        constants += [*numbers.tolist(), 0.0, 0.0][:5]
    low, high = check.per_axis("z_range", z_range, 2)
    if not low < high:
        raise ValueError(f"z_range must be (lowest, highest), got {z_range!r}")
    return from_constants((*constants, low, high))


def from_constants(constants: Iterable[float]) -> AstigmaticModel:
    """The model of these curves and this range.

    Parameters
    ----------
    constants : iterable of 12 numbers
        As `Model.constants` has them; nothing is checked.

    Returns
    -------
    AstigmaticModel

    Examples
    --------
    >>> import fastgauss as fg
    >>> lens = fg.astigmatic_model((1.3, -250, 400), (1.3, 250, 400), (-500, 500))
    >>> from_constants(lens.constants) == lens
    True
    """
    names = ("amplitude", "x", "y", "z", "offset")
    return AstigmaticModel("astigmatic", 2, names, tuple(constants))


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
        One frame for each z; all beads in one plane.
    z : array (n,)
        Place of the stage, in the unit that fits shall report; six different ones at least.
    positions : array (beads, 2), optional
        Row and column of each bead; without them `find_spots` looks in the mean frame.
    box, sigma
        Window of a bead, and width of the spots to look for, as in `fit_spots`.
    **options
        Further options of `fit_spots` (method, pixel, variance, mask, threads, ...).

    Returns
    -------
    AstigmaticModel

    Raises
    ------
    TypeError, ValueError
        If shapes do not fit, or fewer than six frames have a bead that could be fitted.

    Notes
    -----
    Elliptic fits of all beads in all frames, then a robust least-squares fit (soft L1) of
    each defocus curve, weighted by the reported errors.

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
    frames = check.real_array("stack", stack, 3)
    places = check.finite_array("z", z, 1)
    if places.shape != frames.shape[:1]:
        raise ValueError(f"z must have one number for each of {len(frames)} frames")
    check_search(2, sigma)
    if positions is None:
        positions = find_spots(frames.mean(axis=0), sigma)
    centres = check.finite_array("positions", positions, 2)
    at, widths, errors = [], [], []
    for frame, place in zip(frames, places, strict=True):
        result = fit_spots(frame, centres, "elliptic", box=box, **options)
        result = result[result.converged]
        at.append(np.full(len(result), place))
        widths.append(result.params[:, 3:5])
        errors.append(result.errors[:, 3:5])
    all_at, all_widths, all_errors = map(np.concatenate, (at, widths, errors))
    if len(np.unique(all_at)) < 6:
        raise ValueError("stack must hold beads that can be fitted in at least six frames")
    curves = [_fit_curve(all_at, all_widths[:, k], all_errors[:, k]) for k in range(2)]
    return astigmatic_model(curves[0], curves[1], (float(places.min()), float(places.max())))


def _fit_curve(z: np.ndarray, sigma: np.ndarray, error: np.ndarray) -> np.ndarray:
    """sigma_0, c, d, A, B of one axis."""
    from scipy.optimize import least_squares

    extent = float(np.ptp(z))
    weight = 1.0 / np.hypot(error, 1e-3 * sigma)  # no width is known better than this

    def residual(curve: np.ndarray) -> np.ndarray:
        scaled = np.array([curve[0], curve[1] * extent, curve[2] * extent, curve[3], curve[4]])
        return (scaled[0] * np.sqrt(_bracket(scaled, z)[0]) - sigma) * weight

    narrowest = sigma.argmin()
    start = [sigma[narrowest], z[narrowest] / extent, 0.4, 0.0, 0.0]
    low, high = [0.0, -np.inf, 1e-3, -np.inf, -np.inf], np.inf
    fit = least_squares(residual, start, bounds=(low, high), loss="soft_l1", xtol=1e-12)
    curve = fit.x
    return np.array([curve[0], curve[1] * extent, curve[2] * extent, curve[3], curve[4]])
