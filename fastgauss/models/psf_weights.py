"""Point spread functions whose components have free weights: values and starting values."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from ..kernels.fit import psf_basis as kernels
from ..kernels.fit.models import MODELS
from ..kernels.models.model_kernels import ModelKernels
from .gaussian_sums import Shapes, own_sigmas
from .psf import PsfModel, from_constants
from .star_model import StarModel, WrappedStarModel

_FIRST = 3  # the parameter of the second component's weight


@dataclass(frozen=True, repr=False)
class WeightedStarModel(WrappedStarModel):
    """Stars ``flux, x, y, weight_2, ..., weight_K, offset``: free weights of K Gaussians."""

    addition = "free weights"
    usual: tuple[float, ...] = field(kw_only=True)  # the weights of ``base``

    @property
    def kernels(self) -> ModelKernels:
        """The row of so many components with free weights."""
        return MODELS[f"psf_{len(self.usual)}_weights"][2]

    @property
    def wide_kernels(self) -> ModelKernels:
        """The same with a free width."""
        return MODELS[f"psf_width_{len(self.usual)}_weights"][2]

    @property
    def free_weights(self) -> range:
        """The parameters that are weights."""
        return range(_FIRST, self.size - 1)

    @property
    def peak(self) -> float:
        """The highest value of the profile of flux 1 and the weights of ``base``."""
        return self.base.peak

    @property
    def known(self) -> np.ndarray:
        """The constants as the kernels of a fit take them: heights are those of weights of 1."""
        known = np.array(self.base.known)
        parts = known[..., kernels.FIRST :].reshape(-1, kernels.MOST, kernels.NUMBERS)
        numbers = known.reshape(-1, kernels.CONSTANTS)
        straight = int(numbers[0, 0]) if len(numbers) else 0
        parts = parts[:, : len(self.usual)]
        a, b, c = (parts[..., k] for k in (kernels.XX, kernels.YY, kernels.XY))
        along = np.arange(len(self.usual)) < straight  # of the others these are inverse covariances
        volume = np.where(along, 1.0 / (a * b), np.sqrt(np.where(along, 1.0, a * b - c * c)))
        heights = numbers[:, kernels.FIRST :: kernels.NUMBERS]
        heights[:, : len(self.usual)] = volume / (2.0 * math.pi)
        return known

    def with_weights(self) -> WeightedStarModel:
        """The model itself."""
        return self

    def with_source(self) -> StarModel:
        """Refuse it."""
        raise ValueError(
            "a source must have a point spread function of known weights, got free ones"
        )

    def check_light(self, what: str) -> None:
        """Refuse what cannot compute stars with weights of their own."""
        raise ValueError(f"model must have known weights for {what}, got {self!r}")

    def _star(self, params: np.ndarray) -> np.ndarray:
        """The parameters of ``base``."""
        return params[..., [0, 1, 2, -1]]

    def gaussians(self, params: np.ndarray) -> np.ndarray:
        """The numbers of the components, (K, 6, ...)."""
        found = self.base.each(self._star(params))
        own = params[..., _FIRST:-1]
        found[0, 0], found[1:, 0] = 1.0 - own.sum(axis=-1), np.moveaxis(own, -1, 0)
        return found

    def widths(self, params: np.ndarray) -> np.ndarray:
        """The sigmas of the round Gaussians of the same FWHM, (..., 2).

        They are exact for components of one centre and one shape. Of others they are those of
        round, concentric ones of the same areas, times what this misses with the weights of
        ``base``.
        """
        star = self._star(params)
        missed = self.base.widths(star)[..., 0] / _concentric_sigmas(self.base.each(star))
        sigma = _concentric_sigmas(self.gaussians(params)) * missed
        return np.repeat(sigma[..., np.newaxis], 2, axis=-1)

    def from_start(self, start: np.ndarray) -> np.ndarray:
        """Starting values, of the height and place of the peak, with the weights of ``base``."""
        stars = self.base.from_start(start)
        weights = np.broadcast_to(self.usual[1:], (len(stars), len(self.usual) - 1))
        return np.column_stack([stars[:, :3], weights, stars[:, 3]])


def _concentric_sigmas(parts: np.ndarray) -> np.ndarray:
    """The sigmas of round Gaussians of the FWHM of concentric components (K, 6, ...); or NaN."""
    sigmas = np.sqrt(parts[:, 3] * parts[:, 4])
    order = np.argsort(sigmas, axis=0)
    sigmas, weights = (np.take_along_axis(each, order, axis=0) for each in (sigmas, parts[:, 0]))
    shapes = Shapes(np.moveaxis(weights, 0, -1), np.moveaxis(sigmas, 0, -1), np.zeros(2))
    rises = (shapes.weights / shapes.sigmas**2).sum(axis=-1) > 0.0
    return np.where(rises, own_sigmas(shapes), np.nan)


def weighted_model(star: StarModel) -> WeightedStarModel:
    """The same function with free weights."""
    base = _in_order(star) if isinstance(star, PsfModel) else star
    weights = base.gaussians(np.zeros(base.size))[:, 0].ravel()
    if len(weights) < 2:
        raise ValueError(
            "free weights must be of two Gaussians or more: one alone has the whole flux, got "
            f"{star!r}"
        )
    names = MODELS[f"psf_{len(weights)}_weights"][2].parameters
    return WeightedStarModel(
        f"{base.name}_weights", base.ndim, names, base.constants, base=base,
        usual=tuple(weights.tolist()),
    )  # fmt: skip


def _in_order(star: PsfModel) -> PsfModel:
    """The same function with its rotated components last, in which order kernels have them."""
    parts = star.components
    rotated = parts["theta"] != 0.0
    if not np.any(np.diff(rotated.astype(int)) < 0):
        return star
    rows = parts[np.argsort(rotated, kind="stable")].tolist()
    return from_constants(number for row in rows for number in row)
