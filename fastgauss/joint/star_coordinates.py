"""The parameters of stars in a joint fit: those of sums of Gaussians of known shape.

The coordinates are the parameters of the model without the offset: flux, x, y, and the width where
it is free. The plain numbers are these, with 1 for a known width, and the constants of the star's
function (``kernels/fit/psf_light.py``).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..kernels.fit import psf_basis as basis
from ..models.model import Model
from ..models.star_model import StarModel
from .coordinates import Coordinates
from .windows import reach_of


class _Components(NamedTuple):
    """The Gaussians of stars, each (n or 1, K)."""

    height: np.ndarray
    x: np.ndarray
    y: np.ndarray
    sigma_x: np.ndarray  # how far it extends along x
    sigma_y: np.ndarray


class StarCoordinates(Coordinates):
    """The coordinates of a `StarModel`; ``model`` may be that of stars at known places."""

    def take(self, spots: np.ndarray) -> StarCoordinates:
        """The coordinates of some of the stars, in this order."""
        return StarCoordinates(self.model.rows(spots), self.direct)

    @property
    def _known(self) -> np.ndarray:
        """The constants of each star, or of all, (n or 1, C)."""
        return self.model.known.reshape(-1, basis.CONSTANTS)

    @property
    def _rotated(self) -> int:
        """How many of the components are turned."""
        known = self._known
        return int(known[0, basis.ROTATED]) if len(known) else 0

    def _components(self) -> _Components:
        known = self._known
        count = int(known[0, 0]) + self._rotated if len(known) else 0
        parts = known[:, basis.FIRST :].reshape(-1, basis.MOST, basis.NUMBERS)[:, :count]
        along, across = parts[..., basis.SIGMA_X], parts[..., basis.SIGMA_Y]
        if self._rotated:
            turn = np.arange(count) >= count - self._rotated
            xx, yy, xy = (parts[..., k] for k in (basis.XX, basis.YY, basis.XY))
            determinant = np.where(turn, xx * yy - xy * xy, 1.0)
            along = np.where(turn, np.sqrt(yy / determinant), along)
            across = np.where(turn, np.sqrt(xx / determinant), across)
        return _Components(parts[..., 0], parts[..., basis.X], parts[..., basis.Y], along, across)

    def unit(self, u: np.ndarray) -> np.ndarray:
        """The width of each star, (n,)."""
        return u[:, basis.WIDTH] if self.size > basis.WIDTH else np.ones(len(u))

    def units(self, u: np.ndarray) -> np.ndarray:
        """The length to which a step of the width is compared, (n, 1)."""
        return self.unit(u)[:, np.newaxis]

    def plain(self, u: np.ndarray) -> np.ndarray:
        """Flux, x, y, width and the constants of each star."""
        known = np.broadcast_to(self._known, (len(u), basis.CONSTANTS))
        return np.column_stack([u[:, : basis.WIDTH], self.unit(u), known])

    def jacobian(self, u: np.ndarray) -> np.ndarray:
        """d plain / d u: the numbers that have derivatives are the coordinates."""
        return np.eye(self.size)[np.newaxis]

    def widths(self, u: np.ndarray) -> np.ndarray:
        """The sigma of the Gaussian of the same full width, along x and y, (n, 2)."""
        sigma = self._known[:, basis.UNIT] * self.unit(u)
        return np.column_stack([sigma, sigma])

    def reach(self, u: np.ndarray, noise: np.ndarray) -> np.ndarray:
        """Half windows (n, 2) beyond which no component stands out of the noise."""
        parts, width = self._components(), self.unit(u)[:, np.newaxis]
        shape = (len(u), parts.height.shape[1])
        height = np.broadcast_to(u[:, :1] * parts.height / width**2, shape) * shape[1]
        noise = np.broadcast_to(noise[:, np.newaxis], shape)
        half = np.zeros((len(u), 2), np.int64)
        ends = (parts.x, parts.sigma_x), (parts.y, parts.sigma_y)
        for axis, (away, sigma) in enumerate(ends):
            wide = np.broadcast_to(sigma * width, shape)
            far = reach_of(wide.reshape(-1, 1), height.ravel(), noise.ravel()).reshape(shape)
            half[:, axis] = (far + np.ceil(np.abs(away * width)).astype(np.int64)).max(axis=1)
        return half

    def separable(self, u: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        """Plain numbers and Jacobians of the components as elliptic Gaussians; none if turned."""
        if self._rotated:
            return []
        width, found = self.unit(u), []
        for height, x, y, sigma_x, sigma_y in zip(
            *(each.T for each in self._components()), strict=True
        ):
            tall = np.broadcast_to(height / width**2, len(u))
            sigmas = sigma_x * width, sigma_y * width
            centre = u[:, 1] + x * width, u[:, 2] + y * width
            jacobian = np.zeros((len(u), self.size, 5))
            jacobian[:, 0, 0] = tall
            jacobian[:, 1, 1] = jacobian[:, 2, 2] = 1.0
            if self.size > basis.WIDTH:
                jacobian[:, basis.WIDTH, 0] = -2.0 * u[:, 0] * tall / width
                jacobian[:, basis.WIDTH, 1], jacobian[:, basis.WIDTH, 2] = x, y
                jacobian[:, basis.WIDTH, 3], jacobian[:, basis.WIDTH, 4] = sigma_x, sigma_y
            found.append((np.column_stack([u[:, 0] * tall, *centre, *sigmas]), jacobian))
        return found


def make_coordinates(model: Model, direct: bool, places: np.ndarray) -> Coordinates:
    """The coordinates of spots of a model at places ``x, y, z`` (n, d)."""
    if isinstance(model, StarModel):
        return StarCoordinates(model.placed(places), direct)
    return Coordinates(model, direct)
