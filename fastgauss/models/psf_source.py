"""Gaussian sources behind a point spread function: values, derivatives, starting values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..kernels.fit.models import MODELS
from ..kernels.fit.psf_basis import UNIT
from ..kernels.models.model_kernels import ModelKernels
from ..kernels.models.profiles import NODES, WEIGHTS
from .source_covariances import can_be_possible, is_possible, made_possible, own_covariances
from .star_model import StarModel, WrappedStarModel

_OWN = (0, 1, 2, 6)  # the parameters that are those of a star
_XX, _YY, _XY = 3, 4, 5
_PART = slice(_XX, _XY + 1)
_LEAST = 1e-12  # pixels squared: what a result without any width is taken for


@dataclass(frozen=True, repr=False)
class SourceModel(WrappedStarModel):
    """Sources ``flux, x, y, xx, yy, xy, offset`` behind a point spread function."""

    addition = "Gaussian source"

    @property
    def kernels(self) -> ModelKernels:
        """The row of sources in the table of the kernels."""
        return MODELS["psf_source"][2]

    @property
    def always_rotated(self) -> bool:
        """True: any source may be turned."""
        return True

    def with_source(self) -> SourceModel:
        """The model itself."""
        return self

    def with_width(self) -> StarModel:
        """Refuse it."""
        raise ValueError("a width must be of stars alone, got a model with a source")

    def with_weights(self) -> StarModel:
        """Refuse them."""
        raise ValueError("free weights must be of stars alone, got a model with a source")

    @property
    def start_size(self) -> int:
        """Number of starting values that ``from_start`` takes: those of the elliptic model."""
        return 6

    def widths(self, params: np.ndarray) -> np.ndarray:
        """The sigmas along x and y of the source behind a Gaussian of the same FWHM, (..., 2)."""
        own = self.base.widths(params[..., _OWN])
        return np.sqrt(np.maximum(own**2 + params[..., [_XX, _YY]], _LEAST))

    def _matrices(self, params: np.ndarray) -> tuple[np.ndarray, ...]:
        """Weight, x, y of the components, and xx, yy and xy with the source, each (K, ...)."""
        found = self.base.gaussians(params[..., _OWN])
        found = found.reshape(*found.shape, *[1] * (params.ndim + 1 - found.ndim))
        weight, x, y, sigma_x, sigma_y, theta = np.moveaxis(found, 1, 0)
        cos, sin, a, b = np.cos(theta), np.sin(theta), sigma_x**2, sigma_y**2
        xx = a * cos**2 + b * sin**2 + params[..., _XX]
        yy = a * sin**2 + b * cos**2 + params[..., _YY]
        xy = (a - b) * sin * cos + params[..., _XY]
        bad = ~((xx > 0.0) & (xx * yy > xy * xy))
        return weight, x, y, np.where(bad, np.nan, xx), np.where(bad, np.nan, yy), xy

    def gaussians(self, params: np.ndarray) -> np.ndarray:
        """The numbers of the components, (K, 6, ...); NaN where there is no such Gaussian."""
        weight, x, y, xx, yy, xy = self._matrices(params)
        mean, half = 0.5 * (xx + yy), 0.5 * (xx - yy)
        along = xy == 0.0
        high = np.where(along, xx, mean + np.hypot(half, xy))
        low = np.where(along, yy, (xx * yy - xy * xy) / high)
        theta = np.where(along, 0.0, 0.5 * np.arctan2(xy, half))
        sigmas = np.sqrt(high), np.sqrt(low)
        return np.stack(np.broadcast_arrays(weight, x, y, *sigmas, theta), axis=1)

    def from_start(self, start: np.ndarray) -> np.ndarray:
        """Starting values, of the height, the place and the widths of the peak."""
        stars = self.base.from_start(start[:, [0, 1, 2, 3, 5]])
        square = np.atleast_2d(self.base.known)[:, UNIT] ** 2
        whole = np.maximum(start[:, 3:5] ** 2, square[:, np.newaxis])
        flux = stars[:, 0] * np.sqrt(whole.prod(axis=1)) / square
        own = whole - square[:, np.newaxis]
        return np.column_stack([flux, stars[:, 1:3], own, np.zeros(len(own)), stars[:, 3]])

    def check_possible(self, bounds: np.ndarray | None, guess: np.ndarray | None) -> None:
        """Refuse bounds and starting values with which no Gaussian of a component is one."""
        own = own_covariances(np.atleast_2d(self.known))
        what = "with the covariance of each component added, it must be positive definite"
        if bounds is not None:
            lower, upper = bounds[..., _PART]
            bad = ~can_be_possible(own, lower, upper)
            if bad.any():
                raise ValueError(
                    "xx, yy and xy must be allowed to be a covariance by fixed and bounds "
                    f"({what}), got none at index {bad.argmax()}"
                )
        if guess is not None:
            given = guess[:, _PART]
            bad = ~is_possible(own, given)
            if bounds is not None:
                bad &= ~is_possible(own, np.clip(given, *bounds[..., _PART]))
            if bad.any():
                row = int(bad.argmax())
                raise ValueError(
                    f"guess must have a covariance xx, yy, xy ({what}), got "
                    f"{given[row].tolist()} at index {row}"
                )

    def make_possible(self, start: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> None:
        """Raise xx and yy within bounds where no Gaussian of a component is one, in place."""
        own = own_covariances(np.atleast_2d(self.known))
        start[:, _PART] = made_possible(own, start[:, _PART], lower[:, _PART], upper[:, _PART])

    def derivatives(
        self, points: Sequence[np.ndarray], params: np.ndarray, pixel: str
    ) -> np.ndarray:
        """Derivatives by all parameters at points (x, y) that broadcast with sources (..., P).

        They are those of ``kernels/fit/psf_source.py``, in numpy.
        """
        nodes, weights = (NODES, WEIGHTS) if pixel == "integrate" else ((0.0,), (1.0,))
        away_x, away_y = points[0] - params[..., 1], points[1] - params[..., 2]
        total = np.zeros((6, *np.broadcast_shapes(away_x.shape, away_y.shape)))
        for weight, dx, dy, xx, yy, xy in zip(
            *np.broadcast_arrays(*self._matrices(params)), strict=True
        ):
            determinant = xx * yy - xy * xy
            height = weight / (2.0 * math.pi * np.sqrt(determinant))
            mxx, myy, mxy = yy / determinant, xx / determinant, -xy / determinant
            for k in range(len(nodes) ** 2):
                i, j = k % len(nodes), k // len(nodes)
                u, v = away_x - dx + nodes[i], away_y - dy + nodes[j]
                s, t = mxx * u + mxy * v, mxy * u + myy * v
                f = weights[i] * weights[j] * height * np.exp(-0.5 * (u * s + v * t))
                terms = 1.0, s, t, 0.5 * (s * s - mxx), 0.5 * (t * t - myy), s * t - mxy
                for row, term in enumerate(terms):
                    total[row] += f * term
        total[1:] *= params[..., 0]
        return np.stack([*total, np.ones(total.shape[1:])], axis=-1)


def source_model(star: StarModel) -> SourceModel:
    """A Gaussian source behind this function."""
    names = MODELS["psf_source"][2].parameters
    return SourceModel(f"{star.name}_source", star.ndim, names, star.constants, base=star)
