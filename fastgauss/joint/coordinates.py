"""The parameters of a joint fit, as the fit, the kernels and the result have them.

A fit changes *coordinates* u (n, p), the parameters of the model without its offset. For the
rotated model, unless widths or angle have bounds, the sigma matrix takes their place. Kernels
take *plain* numbers (n, k): amplitude, centre, and the widths of each axis or the sigma matrix. A
profile is a row of an image whose spots are constant along y.
The *Jacobian* (n or 1, p, k) is d plain / d u.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..kernels.models.spot_profiles import Light
from ..models import sigma_matrix
from ..models.model import Model
from .windows import reach_of

_ROUND = 1e-9  # relative difference of the sigmas below which a spot is round
_ALL_ROWS = 1e8  # pixels: the width along y of the peaks of a profile


class Coordinates(NamedTuple):
    """The coordinates of one model."""

    model: Model
    direct: bool  # widths and angle themselves, not the sigma matrix

    def take(self, spots: np.ndarray) -> Coordinates:
        """The coordinates of some of the spots, in this order."""
        return self

    @property
    def size(self) -> int:
        """Coordinates of a spot, p."""
        return self.model.size - 1

    @property
    def light(self) -> Light:
        """How the kernels compute the light of a spot."""
        light = self.model.kernels.light
        assert light is not None  # ``options`` has refused other models
        return light

    @property
    def _matrix(self) -> bool:
        return self.model.rotated and not self.direct

    def start(self, params: np.ndarray) -> np.ndarray:
        """Coordinates of parameters (n, P)."""
        return (sigma_matrix.to_sigma_matrix(params) if self._matrix else params)[:, :-1].copy()

    def plain(self, u: np.ndarray) -> np.ndarray:
        """The plain numbers of kernels, (n, k)."""
        ndim, full = self.model.ndim, np.column_stack([u, np.zeros(len(u))])
        if self.model.rotated:
            return u if self._matrix else sigma_matrix.to_sigma_matrix(full)[:, :-1]
        widths = self.model.widths(full)
        if ndim == 1:  # a row of an image: at y = 0, and as high as all rows
            row = np.broadcast_to([0.0, _ALL_ROWS], (len(u), 2))
            return np.concatenate([u[:, :2], row[:, :1], widths, row[:, 1:]], axis=1)
        return np.concatenate([u[:, : 1 + ndim], widths], axis=1)

    def jacobian(self, u: np.ndarray) -> np.ndarray:
        """d plain / d u."""
        if self.model.rotated:
            return np.eye(6)[np.newaxis] if self._matrix else _rotated_jacobian(u)
        ndim = self.model.ndim
        plain, _ = self.model.plain(np.zeros((1, self.model.size)))
        if plain is not self.model:  # a model with its own curve of widths
            full = np.column_stack([u, np.zeros(len(u))])
            units = np.broadcast_to(np.eye(plain.size), (len(u), plain.size, plain.size))
            by = self.model.from_plain(units, full[:, np.newaxis])
            return np.ascontiguousarray(by[:, : plain.size - 1, : self.size].transpose(0, 2, 1))
        axes = max(ndim, 2)
        jacobian = np.zeros((1, self.size, 2 * axes + 1))
        jacobian[0, range(1 + ndim), range(1 + ndim)] = 1.0
        for axis, column in enumerate(self.model.sigmas):
            jacobian[0, column, 1 + axes + axis] = 1.0
        return jacobian

    def separable(self, u: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        """Plain numbers and Jacobians of the separable Gaussians that a spot is; none if turned."""
        return [] if self.model.rotated else [(self.plain(u), self.jacobian(u))]

    def reach(self, u: np.ndarray, noise: np.ndarray) -> np.ndarray:
        """Half windows (n, ndim) along (x, y, z): light stands out of the noise (n,) there."""
        return reach_of(self.widths(u), u[:, 0], noise)

    def units(self, u: np.ndarray) -> np.ndarray:
        """The lengths to which steps of the widths are compared, (n, 1) or one each."""
        if self.model.rotated:
            return self.widths(u).min(axis=1, keepdims=True)
        return np.abs(u[:, sorted({k for k in self.model.sigmas if k < self.size})])

    def widths(self, u: np.ndarray) -> np.ndarray:
        """How far a spot extends along (x, y, z), in sigmas, (n, ndim)."""
        if not self.model.rotated:
            return np.abs(self.model.widths(np.column_stack([u, np.zeros(len(u))])))
        xx, yy, xy = self.plain(u)[:, 3:6].T
        return np.column_stack([np.hypot(xx, xy), np.hypot(yy, xy)])

    def report(self, u: np.ndarray, covariance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Parameters without the offset, and the covariance (n, P, P), both as reported."""
        if not self._matrix:
            return u, covariance
        params, by = u.copy(), np.zeros((len(u), 7, 7))
        by[:, range(7), range(7)] = 1.0
        xx, yy, xy = u[:, 3:6].T
        half = np.hypot(0.5 * (xx - yy), xy)
        theta = 0.5 * np.arctan2(2 * xy, xx - yy)
        params[:, 3], params[:, 4] = 0.5 * (xx + yy) + half, 0.5 * (xx + yy) - half
        params[:, 5] = np.where(theta <= -0.5 * np.pi, theta + np.pi, theta)
        cos, sin = np.cos(theta), np.sin(theta)
        with np.errstate(divide="ignore", invalid="ignore"):
            twice = 1.0 / (2 * half)
            by[:, 3, 3:6] = np.column_stack([cos**2, sin**2, 2 * sin * cos])
            by[:, 4, 3:6] = np.column_stack([sin**2, cos**2, -2 * sin * cos])
            by[:, 5, 3:6] = np.column_stack([-sin * cos, sin * cos, cos**2 - sin**2])
            by[:, 5, 3:6] *= twice[:, np.newaxis]
            return params, by @ covariance @ by.transpose(0, 2, 1)

    def report_held(self, at_lower: np.ndarray, at_upper: np.ndarray) -> np.ndarray:
        """Which parameters without the offset are on a bound, from that of coordinates (n, p).

        Of a sigma matrix, what is as large as it may be limits the larger sigma, and what is as
        small as it may be the smaller one.
        """
        held = at_lower | at_upper
        if self._matrix:
            held[:, 3] = at_upper[:, 3:6].any(axis=1) | at_lower[:, 5]
            held[:, 4] = at_lower[:, 3:5].any(axis=1)
            held[:, 5] = False
        return held

    def lost_angles(self, u: np.ndarray) -> np.ndarray:
        """Spots (n,) whose angle means nothing, because their sigmas are equal."""
        if not (self.model.rotated and self.direct):
            return np.zeros(len(u), bool)
        sizes = np.abs(u[:, 3:5])
        return np.abs(sizes[:, 0] - sizes[:, 1]) <= _ROUND * sizes.max(axis=1)


def _rotated_jacobian(u: np.ndarray) -> np.ndarray:
    """d(amplitude, x, y, P) / d(amplitude, x, y, sigma_x, sigma_y, theta)."""
    sigma_x, sigma_y, theta = u[:, 3:6].T
    cos, sin = np.cos(theta), np.sin(theta)
    apart = sigma_x - sigma_y
    jacobian = np.zeros((len(u), 6, 6))
    jacobian[:, range(3), range(3)] = 1.0
    jacobian[:, 3, 3:] = np.column_stack([cos**2, sin**2, sin * cos])
    jacobian[:, 4, 3:] = np.column_stack([sin**2, cos**2, -sin * cos])
    jacobian[:, 5, 3:] = np.column_stack(
        [-2 * apart * sin * cos, 2 * apart * sin * cos, apart * (cos**2 - sin**2)]
    )
    return jacobian
