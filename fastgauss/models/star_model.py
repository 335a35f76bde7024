"""Models of stars ``flux, x, y, offset`` whose profile is a sum of Gaussians of known shape."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..kernels.fit.models import MODELS
from ..kernels.models.model_kernels import ModelKernels
from .model import Model, get_model


@dataclass(frozen=True)
class StarModel(Model):
    """What `PsfModel` and `PsfField` share; ``gaussians`` tells the shape of each star."""

    def gaussians(self, params: np.ndarray) -> np.ndarray:
        """``weight, x, y, sigma_x, sigma_y, theta`` of each Gaussian, (K, 6) or (K, 6, ...)."""
        raise NotImplementedError

    @property
    def kernels(self) -> ModelKernels:
        """The row of point spread functions in the table of the kernels."""
        return MODELS["psf"][2]

    def flux(self, params: np.ndarray) -> np.ndarray:
        """The flux of each star (n, 4), a parameter."""
        return params[:, 0].copy()

    def flux_gradient(self, params: np.ndarray) -> np.ndarray:
        """Derivatives of the flux by the parameters, (n, 4)."""
        return np.tile([1.0, 0.0, 0.0, 0.0], (len(params), 1))

    @property
    def start_size(self) -> int:
        """Number of starting values that ``from_start`` takes: those of the symmetric model."""
        return 5

    def parts(self, params: np.ndarray) -> list[tuple[Model, np.ndarray]]:
        """The components as elliptic or rotated spots; the first has the offset."""
        found = []
        for k, part in enumerate(self.gaussians(params)):
            weight, x, y, sigma_x, sigma_y, theta = part
            turned = bool(np.any(theta))
            values = np.empty((*params.shape[:-1], 7 if turned else 6))
            values[..., 0] = params[..., 0] * (weight / (2.0 * math.pi * sigma_x * sigma_y))
            values[..., 1], values[..., 2] = params[..., 1] + x, params[..., 2] + y
            values[..., 3], values[..., 4] = sigma_x, sigma_y
            values[..., 5] = theta
            values[..., -1] = params[..., 3] if k == 0 else 0.0
            found.append((get_model("rotated" if turned else "elliptic", 2), values))
        return found

    def from_parts(self, jacobians: list[np.ndarray], params: np.ndarray) -> np.ndarray:
        """Derivatives by flux, centre and offset from those by the parameters of the components."""
        result = np.zeros((*jacobians[0].shape[:-1], 4))
        for part, jacobian in zip(self.gaussians(params), jacobians, strict=True):
            weight, _, _, sigma_x, sigma_y, _ = part
            height = weight / (2.0 * math.pi * sigma_x * sigma_y)
            result[..., 0] += jacobian[..., 0] * height
            result[..., 1:3] += jacobian[..., 1:3]
        result[..., 3] = 1.0
        return result
