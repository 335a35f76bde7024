"""The astigmatic model: widths that are known functions of z."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..base import check, wording
from ..kernels.fit.astigmatic import CONSTANTS
from ..kernels.fit.models import MODELS
from ..kernels.models.model_kernels import ModelKernels
from .model import Model, get_model

_GRID = 81  # values of z among which the starting value is chosen


def bracket(curve: np.ndarray, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """1 + u**2 + A u**3 + B u**4 and its derivative by z."""
    _, centre, depth, third, fourth = curve
    u = (z - centre) / depth
    value = 1.0 + u**2 * (1.0 + u * (third + fourth * u))
    return np.maximum(value, 0.05), u * (2.0 + u * (3.0 * third + 4.0 * fourth * u)) / depth


@dataclass(frozen=True)
class AstigmaticModel(Model):
    """Spots ``amplitude, x, y, z, offset`` whose widths are known functions of z.

    `astigmatic_model` and `calibrate_astigmatism` make it; it is the ``model`` of `fit_rois`,
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
    def kernels(self) -> ModelKernels:
        """The row of astigmatic models in the table of the kernels."""
        return MODELS["astigmatic"][2]

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
            return np.stack([c[0] * np.sqrt(bracket(c, z)[0]) for c in self.curves], axis=-1)

    def widths(self, params: np.ndarray) -> np.ndarray:
        """The sigmas along x and y of spots, (..., 2)."""
        return self.sigmas_at(params[..., 3])

    @property
    def start_size(self) -> int:
        """Number of starting values that ``from_start`` takes: those of the elliptic model."""
        return 6

    def from_start(self, start: np.ndarray) -> np.ndarray:
        """Starting values with the z at which both curves come nearest to the two widths.

        The distance is that of the logarithms of the widths.
        """
        grid = np.linspace(*self.z_range, _GRID)
        curves = np.log(self.sigmas_at(grid))
        distance = ((np.log(start[:, None, 3:5]) - curves) ** 2).sum(axis=2)
        z = grid[np.where(np.isnan(distance), np.inf, distance).argmin(axis=1)]
        return np.column_stack([start[:, :3], z, start[:, 5]])

    def plain(self, params: np.ndarray) -> tuple[Model, np.ndarray]:
        """The same spots as spots of the elliptic model."""
        sigmas = self.sigmas_at(params[..., 3])
        parts = [params[..., :3], sigmas, params[..., 4:]]
        return get_model("elliptic", 2), np.concatenate(parts, axis=-1)

    def from_plain(self, jacobian: np.ndarray, params: np.ndarray) -> np.ndarray:
        """Derivatives of this model from those of the elliptic one, by the chain rule."""
        z = params[..., 3]
        slopes = []
        for curve in self.curves:
            value, slope = bracket(curve, z)
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
    z, focus and depth are in one unit, which the caller chooses. A fit costs as much as that of a
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
                f"got {wording.shown(curve)}"
            )
        constants += [*numbers.tolist(), 0.0, 0.0][:5]
    low, high = check.per_axis("z_range", z_range, 2)
    if not low < high:
        raise ValueError(f"z_range must be (lowest, highest), got {wording.shown(z_range)}")
    return from_constants((*constants, low, high))


def from_constants(constants: Iterable[Any]) -> AstigmaticModel:
    """The model of these curves and this range.

    Parameters
    ----------
    constants : iterable of 12 numbers
        In the order of `Model.constants`; their values are not checked.

    Returns
    -------
    AstigmaticModel

    Raises
    ------
    ValueError
        If they are not twelve numbers.

    Examples
    --------
    >>> import fastgauss as fg
    >>> lens = fg.astigmatic_model((1.3, -250, 400), (1.3, 250, 400), (-500, 500))
    >>> from_constants(lens.constants) == lens
    True
    """
    names = ("amplitude", "x", "y", "z", "offset")
    numbers = list(constants)
    if len(numbers) != CONSTANTS or not all(type(each) in {int, float} for each in numbers):
        raise ValueError(f"the constants of its model are not {CONSTANTS} numbers")
    return AstigmaticModel("astigmatic", 2, names, tuple(map(float, numbers)))
