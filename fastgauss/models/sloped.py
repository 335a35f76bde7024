"""Models on a plane of background: any model, with the slopes of its background as parameters."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from ..kernels.fit.planes import on_plane, slope_names
from ..kernels.models.model_kernels import ModelKernels
from .model import Model
from .wrapped import WrappedModel

BACKGROUNDS = ("constant", "plane")


@dataclass(frozen=True)
class SlopedModel(WrappedModel):
    """A model whose background is a plane: the fits with ``background="plane"`` return it.

    Its value is that of `base` with the offset ``offset + slope_x (x - x0) + slope_y (y - y0)``,
    with x0 and y0 the centre of the spot: the offset is the background at the centre. The slopes
    are in the unit of the data for a pixel. They stand before the offset; a profile has one,
    ``slope``, and a volume three.

    Attributes
    ----------
    base : Model
        The same model on a constant background.

    Examples
    --------
    >>> import fastgauss as fg
    >>> roi = fg.image([[90.0, 5.2, 4.9, 1.3, 10.0]], (11, 11), "symmetric")
    >>> model = fg.fit_rois(roi, background="plane").model
    >>> model.names
    ('amplitude', 'x', 'y', 'sigma', 'slope_x', 'slope_y', 'offset')
    >>> fg.evaluate((5.2, 4.9), [90.0, 5.2, 4.9, 1.3, 2.0, 0.0, 10.0], model)
    np.float64(100.0)
    """

    base: Model = field(kw_only=True)

    @property
    def kernels(self) -> ModelKernels:
        """The row of the model on a plane."""
        return on_plane(self.base.kernels)

    @property
    def slopes(self) -> tuple[int, ...]:
        """Indices of the slopes along x, y, z."""
        return tuple(range(self.size - 1 - self.ndim, self.size - 1))

    @cached_property
    def _own(self) -> list[int]:
        """The parameters that are those of ``base``."""
        return [*range(self.size - 1 - self.ndim), self.size - 1]

    def spot(self, params: np.ndarray) -> np.ndarray:
        """The parameters of ``base``, (..., P)."""
        return params[..., self._own]

    def spread(self, values: np.ndarray) -> np.ndarray:
        """Numbers of the parameters of ``base``, (..., P), and 0 for the slopes."""
        whole = np.zeros((*values.shape[:-1], self.size))
        whole[..., self._own] = values
        return whole

    def check_light(self, what: str) -> None:
        """Refuse a spot on a plane of its own."""
        raise ValueError(f"model must have no slopes for {what}, got {self.name!r} on a plane")

    # -- the spot ----------------------------------------------------------------------------------

    @property
    def rotated(self) -> bool:
        """Whether an angle turns the widths out of the axes."""
        return self.base.rotated

    @property
    def unrotated(self) -> Model:
        """The model of the same widths along the axes, on a plane."""
        return with_background(self.base.unrotated, "plane")

    @property
    def start_size(self) -> int:
        """Number of starting values that ``from_start`` takes."""
        return self.base.start_size

    def widths(self, params: np.ndarray) -> np.ndarray:
        """The sigmas along the axes (x, y, z) of spots, (..., ndim)."""
        return self.base.widths(self.spot(params))

    def flux(self, params: np.ndarray) -> np.ndarray:
        """The integral of the profile of each spot (n, P), over all space."""
        return self.base.flux(self.spot(params))

    def flux_gradient(self, params: np.ndarray) -> np.ndarray:
        """Derivatives of the flux by the parameters, (n, P)."""
        return self.spread(self.base.flux_gradient(self.spot(params)))

    def from_start(self, start: np.ndarray) -> np.ndarray:
        """Starting values without slopes."""
        return self.spread(self.base.from_start(start))

    def to_coordinates(self, params: np.ndarray) -> np.ndarray:
        """The coordinates (n, P) in which a fit without bounds moves."""
        return self.base.to_coordinates(params)

    def from_coordinates(
        self, start: np.ndarray, lower: np.ndarray, upper: np.ndarray
    ) -> np.ndarray:
        """Parameters (n, P) within bounds, of coordinates (n, P)."""
        return self.base.from_coordinates(start, lower, upper)

    def check_possible(self, bounds: np.ndarray | None, guess: np.ndarray | None) -> None:
        """Refuse bounds or starting values for which there is no profile of ``base``."""
        self.base.check_possible(
            None if bounds is None else self.spot(bounds),
            None if guess is None else self.spot(guess),
        )

    def make_possible(self, start: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> None:
        """Give starting values a profile within the bounds, in place."""
        spots = self.spot(start)
        self.base.make_possible(spots, self.spot(lower), self.spot(upper))
        start[..., self._own] = spots

    def make_canonical(self, params: np.ndarray, packed: np.ndarray, bounds: np.ndarray) -> None:
        """Give results and their packed covariances the usual form, in place."""
        self.base.make_canonical(params, packed, bounds)

    def plain(self, params: np.ndarray) -> tuple[Model, np.ndarray]:
        """The same spots, without the plane, as spots of a model without constants."""
        return self.base.plain(self.spot(params))

    def parts(self, params: np.ndarray) -> list[tuple[Model, np.ndarray]]:
        """The models without constants whose sum this is, without the plane."""
        return self.base.parts(self.spot(params))

    # -- the plane ---------------------------------------------------------------------------------

    def tilt(self, points: Sequence[np.ndarray], params: np.ndarray) -> np.ndarray:
        """The plane less the offset, at points (x, y, z) that broadcast with spots (..., P)."""
        total: np.ndarray = np.float64(0.0)
        for axis, (column, places) in enumerate(zip(self.slopes, points, strict=True)):
            total = total + params[..., column] * (places - params[..., 1 + axis])
        return total

    def derivatives(
        self, jacobian: np.ndarray, points: Sequence[np.ndarray], params: np.ndarray
    ) -> np.ndarray:
        """Derivatives by the parameters from those by the parameters of ``base``, (..., P)."""
        whole = self.spread(jacobian)
        for axis, (column, places) in enumerate(zip(self.slopes, points, strict=True)):
            whole[..., column] = places - params[..., 1 + axis]
            whole[..., 1 + axis] -= params[..., column]
        return whole


def with_background(model: Model, background: str) -> Model:
    """The model on a "constant" background or a "plane"; one that has slopes keeps them."""
    if background == "constant" or isinstance(model, SlopedModel):
        return model
    if model.kernels.basis is None:
        raise ValueError(
            f"background must be 'constant' for the model {model.name!r}, got {background!r}"
        )
    names = on_plane(model.kernels).parameters
    return SlopedModel(model.name, model.ndim, names, model.constants, base=model)


def with_slopes_of(model: Model, columns: Container[str]) -> Model:
    """The model on a plane, if the columns of a table have its slopes."""
    found = all(name in columns for name in slope_names(model.ndim))
    return with_background(model, "plane") if found else model
