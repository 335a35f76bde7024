"""The Gaussian models: names, order and meaning of the parameters, direction of theta.

With u = (x - x0) / sigma_x and so on, every model is

    value = amplitude * exp(-(u**2 + v**2 + w**2) / 2) + offset

``amplitude`` is the height of the point-sampled peak above ``offset``. With
``pixel="integrate"`` the exponential is replaced by its mean over the pixel
(a unit interval, square or cube centred on the coordinate); the amplitude is
still that of the profile, so both agree as sigma grows.

The rotated model turns the sigma_x axis by ``theta`` from +x towards +y:

    u = ( (x - x0) cos(theta) + (y - y0) sin(theta)) / sigma_x
    v = (-(x - x0) sin(theta) + (y - y0) cos(theta)) / sigma_y

The flux, the integral of the profile over all space, is
amplitude * (2 pi)**(d/2) * (product of the d sigmas).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from ..base import check, wording
from ..kernels.fit import models as kernels
from ..kernels.models.model_kernels import ModelKernels
from . import sigma_matrix

MODELS = kernels.NAMES


@dataclass(frozen=True)
class Model:
    """One model in one number of dimensions.

    Attributes
    ----------
    name : str
        "symmetric", "elliptic" or "rotated"; `astigmatic_model` and `psf_model` make others.
    ndim : int
        1, 2 or 3.
    names : tuple of str
        The parameters, in the order in which arrays hold them.
    constants : tuple of float
        Numbers that define the model and are not fitted.
    """

    name: str
    ndim: int
    names: tuple[str, ...]
    constants: tuple[float, ...] = ()

    @property
    def size(self) -> int:
        """Number of parameters, P."""
        return len(self.names)

    @property
    def kernels(self) -> ModelKernels:
        """The row of the model in the table of the kernels."""
        return kernels.MODELS[self.name][self.ndim]

    @property
    def known(self) -> np.ndarray:
        """The constants as the kernels of a fit take them."""
        return np.array(self.constants)

    def check_gaussian(self, what: str) -> None:
        """Refuse what sums of Gaussians are needed for, if this is none."""
        if not self.kernels.gaussian:
            raise ValueError(f"model must be a Gaussian for {what}, got {self.name!r}")

    def check_light(self, what: str) -> None:
        """Refuse a model whose light joint fits cannot compute."""
        self.check_gaussian(what)
        if self.kernels.light is None:
            raise ValueError(f"model must have no source for {what}, got {self.name!r}")

    @property
    def sigmas(self) -> tuple[int, ...]:
        """Indices of the widths among the parameters, one for each axis in the order x, y, z."""
        return self.kernels.widths

    @property
    def round(self) -> bool:
        """Whether one width is that of several axes."""
        return len(self.sigmas) != len(set(self.sigmas))

    def widths(self, params: np.ndarray) -> np.ndarray:
        """The sigmas along the axes (x, y, z) of spots, (..., ndim)."""
        return params[..., list(self.sigmas)]

    # -- models that vary over an image ------------------------------------------------------------

    def check_everywhere(self, what: str, whole: Model | None = None) -> None:
        """Refuse what the same model everywhere is needed for; ``whole`` is the caller's model."""

    def check_image(self, shape: tuple[int, ...]) -> None:
        """Refuse an image of which the model is not defined everywhere."""

    def placed(self, places: np.ndarray) -> Model:
        """The model of spots at places ``x, y`` (n, 2) of an image, whose ``rows`` can be taken."""
        return self

    def rows(self, which: slice | np.ndarray) -> Model:
        """The model of some of the spots that were placed."""
        return self

    def shifted(self, row: float, column: float) -> Model:
        """The model in coordinates that count from another pixel of the image."""
        return self

    @property
    def own_sigma(self) -> float | None:
        """The sigma that spots are known to have, if they are."""
        return None

    @property
    def peak(self) -> float:
        """The highest value of the profile whose factor is 1."""
        return 1.0

    @property
    def slopes(self) -> tuple[int, ...]:
        """Indices of the slopes of the background along x, y, z, if it is a plane."""
        return ()

    def flux(self, params: np.ndarray) -> np.ndarray:
        """The integral of the profile of each spot (n, P), over all space."""
        widths = self.widths(params).prod(axis=1)
        return params[:, 0] * self.kernels.volume * widths

    def flux_gradient(self, params: np.ndarray) -> np.ndarray:
        """Derivatives of the flux by the parameters, (n, P)."""
        plain, values = self.plain(params)
        gradient = np.zeros(values.shape)
        widths, volume = plain.widths(values), plain.kernels.volume
        gradient[:, 0] = volume * widths.prod(axis=1)
        for axis, column in enumerate(plain.sigmas):
            others = np.delete(widths, axis, axis=1).prod(axis=1)
            gradient[:, column] += values[:, 0] * volume * others
        return self.from_plain(gradient, params)

    @property
    def start_size(self) -> int:
        """Number of starting values that ``from_start`` takes."""
        return self.size

    def from_start(self, start: np.ndarray) -> np.ndarray:
        """Starting values of this model from those that the moments of spots give."""
        return start

    @property
    def rotated(self) -> bool:
        """Whether an angle turns the widths out of the axes."""
        return False

    @property
    def unrotated(self) -> Model:
        """The model of the same widths along the axes; this one, if it has no angle."""
        return self

    def to_coordinates(self, params: np.ndarray) -> np.ndarray:
        """The coordinates (n, P) in which a fit without bounds moves, of parameters (n, P)."""
        return params

    def from_coordinates(
        self, start: np.ndarray, lower: np.ndarray, upper: np.ndarray
    ) -> np.ndarray:
        """Parameters (n, P) within bounds, of coordinates (n, P)."""
        return start

    def check_possible(self, bounds: np.ndarray | None, guess: np.ndarray | None) -> None:
        """Refuse bounds (2, n or 1, P) or starting values (n, P) for which there is no profile."""

    def make_possible(self, start: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> None:
        """Give starting values (n, P) a profile within the bounds, in place."""

    def make_canonical(self, params: np.ndarray, packed: np.ndarray, bounds: np.ndarray) -> None:
        """Give results and their packed covariances the usual form, in place."""

    def plain(self, params: np.ndarray) -> tuple[Model, np.ndarray]:
        """The same spots as spots of a model without constants: this model, if it has none."""
        return self, params

    def from_plain(self, jacobian: np.ndarray, params: np.ndarray) -> np.ndarray:
        """Derivatives by this model's parameters from those by the plain model's parameters."""
        return jacobian

    def parts(self, params: np.ndarray) -> list[tuple[Model, np.ndarray]]:
        """The models without constants whose sum this is, and the parameters of each."""
        return [self.plain(params)]

    def from_parts(self, jacobians: list[np.ndarray], params: np.ndarray) -> np.ndarray:
        """Derivatives by this model's parameters from those by the parameters of its parts."""
        return self.from_plain(jacobians[0], params)


@dataclass(frozen=True)
class RotatedModel(Model):
    """Two widths turned by an angle; a fit without bounds moves their sigma matrix."""

    @property
    def rotated(self) -> bool:
        """True: there is an angle."""
        return True

    @property
    def unrotated(self) -> Model:
        """The elliptic model."""
        return get_model("elliptic", self.ndim)

    def to_coordinates(self, params: np.ndarray) -> np.ndarray:
        """The sigma matrix in the place of widths and angle."""
        return sigma_matrix.to_sigma_matrix(params)

    def from_coordinates(
        self, start: np.ndarray, lower: np.ndarray, upper: np.ndarray
    ) -> np.ndarray:
        """Widths and angle of a sigma matrix."""
        return sigma_matrix.from_sigma_matrix(start, lower, upper)

    def make_canonical(self, params: np.ndarray, packed: np.ndarray, bounds: np.ndarray) -> None:
        """The larger width first, and the angle within half a turn."""
        sigma_matrix.make_canonical(params, packed, bounds)


def _build() -> dict[tuple[str, int], Model]:
    models = {}
    for name in MODELS:
        for ndim, row in kernels.MODELS[name].items():
            kind = RotatedModel if row.angle else Model
            models[name, ndim] = kind(name, ndim, row.parameters)
    return models


_TABLE = _build()
_SHOWN = 6  # columns that a message names


def find_model(columns: Collection[str], name: str | None = None) -> Model:
    """The model whose parameters are exactly those among the columns of a table.

    Parameters
    ----------
    columns : collection of str
        Names of columns; other columns may be among them.
    name : str, optional
        Name of the model, needed where several models have these parameters, as in one dimension.

    Returns
    -------
    Model

    Raises
    ------
    ValueError
        If there is no such model.

    Examples
    --------
    >>> find_model(["frame", "amplitude", "x", "sigma", "offset"], "symmetric").ndim
    1
    """
    every = {parameter for model in _TABLE.values() for parameter in model.names}
    there = {parameter for parameter in every if parameter in columns}
    fitting = [model for model in _TABLE.values() if set(model.names) == there]
    for model in fitting:
        if name is None or model.name == name:
            return model
    of = "" if name is None else f" of the model {name!r}"
    found = sorted(there) or list(columns)[:_SHOWN]
    raise ValueError(
        f"its columns are not the parameters{of}: {', '.join(found) or 'there are none'}"
    )


def get_model(name: str | Model, ndim: int) -> Model:
    """The model of this name for this number of dimensions.

    Parameters
    ----------
    name : {"symmetric", "elliptic", "rotated"} or Model
        In one dimension all three are the same profile. A Model is returned unchanged.
    ndim : int
        1, 2 or 3.

    Returns
    -------
    Model

    Raises
    ------
    TypeError, ValueError
        If there is no such model; the rotated one has at most two dimensions.

    Examples
    --------
    >>> get_model("symmetric", 2).names
    ('amplitude', 'x', 'y', 'sigma', 'offset')
    """
    if isinstance(name, Model):
        if name.ndim != ndim:
            raise ValueError(
                f"model must have {wording.plural(ndim, 'dimension')} for this, got {name}"
            )
        return name
    check.choice("model", name, MODELS)
    if (name, ndim) not in _TABLE:
        known = tuple(n for n, d in _TABLE if d == ndim)
        raise ValueError(
            f"model must be one of {known} in {wording.plural(ndim, 'dimension')}, got {name!r}"
        )
    return _TABLE[name, ndim]
