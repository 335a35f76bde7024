"""A point spread function that varies over an image: widths that are polynomials of the position.

With the terms b_j of the polynomial (``field_terms.py``), the K Gaussians of a place have the
weights w_k, which are the same everywhere, the sigmas

    s_k = sum_j c_jk b_j(x, y),

which are positive everywhere, and the covariances s_k**2 exp(E), where the numbers e and d of

    E = [[e, 0], [0, -e]]  along the axes,    E = [[e, d], [d, -e]]  turned  (x before y),

are such polynomials too. The determinant of exp(E) is 1, so that s_k is the geometric mean of both
sigmas, and the full width at half maximum is that of round Gaussians.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..base import check, wording
from ..base.widths import FWHM
from ..kernels.fit import psf_basis as kernels
from ..kernels.fit.models import MODELS
from .field_terms import COUNTS, ORDERS, Extent, least, terms
from .gaussian_sums import Shapes, gaussian_sum, own_sigmas
from .model import Model
from .psf import PsfModel
from .psf_components import LEAST_SIGMA, MOST_SIGMA
from .psf_files import not_readable, read_field, write_field
from .star_model import PlacedStars, StarModel

_HEAD = 7  # constants before the weights
_LARGEST = 50.0  # of a coefficient of an ellipse
_SIDE = 1e9  # pixels of an image, at most


@dataclass(frozen=True)
class PsfField(StarModel):
    """Stars ``flux, x, y, offset`` whose profile varies over an image.

    `measure_psf` makes it with ``order=1`` or 2. It is the ``model`` of `fit_spots`, `fit_joint`,
    `image`, `evaluate` and `jacobian`: each star has the profile of its place. A fit takes the
    place that is given or found, and holds the profile while the centre moves by parts of a pixel;
    images of the result take the fitted centre. `fit_rois` does not know the places of its ROIs:
    give it the model ``at`` one. It cannot be changed, and two of the same numbers are equal.

    Attributes
    ----------
    order : int
        Of the polynomials, 1 or 2.
    shape : (int, int)
        Rows and columns of the image in which it was measured. It is not defined elsewhere, and
        positions count in this image: for a part of it take the model ``shifted`` to that part.
    components, fwhm, peak
        Those of the middle of the image, as `PsfModel` has them.
    coefficients : ndarray (3 or 6, P)
        Those of 1, y, x, and with ``order=2`` of y**2, y x, x**2, with y and x from -1 at one
        border to 1 at the other. The first K columns are of the sigmas in pixels; those that follow
        are of ellipses (see ``models/psf_field.py``).

    Examples
    --------
    See `measure_psf`.
    """

    def __repr__(self) -> str:
        many = wording.plural(len(self._weights), "Gaussian")
        high, wide = self.shape
        low, most = FWHM * self._corners.min(), FWHM * self._corners.max()
        return (
            f"<{type(self).__name__} of {many}, order {self.order}, {high} x {wide} px, FWHM "
            f"{low:.3g} to {most:.3g} px>"
        )

    # -- numbers -----------------------------------------------------------------------------------

    @property
    def order(self) -> int:
        """Order of the polynomials."""
        return int(self.constants[1])

    @property
    def always_rotated(self) -> bool:
        """Whether the ellipses have an angle."""
        return self.constants[2] == 2

    @property
    def extent(self) -> Extent:
        """The image in which it was measured."""
        return Extent(*self.constants[3:_HEAD])

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the image in which it was measured."""
        return int(self.extent.high), int(self.extent.wide)

    @property
    def _weights(self) -> np.ndarray:
        count = int(self.constants[0])
        return np.array(self.constants[_HEAD : _HEAD + count])

    @property
    def coefficients(self) -> np.ndarray:
        """The coefficients of the polynomials, (terms, P)."""
        numbers = np.array(self.constants[_HEAD + int(self.constants[0]) :])
        return numbers.reshape(COUNTS[self.order], -1)

    def _shapes(self, places: np.ndarray) -> Shapes:
        """The shapes at places ``x, y`` (..., 2); beyond the border those of the border."""
        y, x = (np.clip(each, -1.0, 1.0) for each in self.extent.scaled(places))
        numbers = terms(self.order, y, x) @ self.coefficients
        count = len(self._weights)
        ellipse = np.zeros((*numbers.shape[:-1], 2))
        ellipse[..., : numbers.shape[-1] - count] = numbers[..., count:]
        return Shapes(self._weights, numbers[..., :count], ellipse)

    def at(self, position: ArrayLike) -> PsfModel:
        """The point spread function of one place.

        Parameters
        ----------
        position : (float, float)
            Row and column.

        Returns
        -------
        PsfModel

        Raises
        ------
        TypeError, ValueError
            If the position is no pair of numbers, or outside of the image.

        Examples
        --------
        See `measure_psf`.
        """
        row, column = check.per_axis("position", position, 2)
        place = np.array([column, row])
        self._check_inside("position", place[np.newaxis])
        return gaussian_sum(self._shapes(place), self.always_rotated)

    def check_image(self, shape: tuple[int, ...]) -> None:
        """Refuse an image that is not part of the one in which the model was measured."""
        high, wide = shape[-2:]
        corners = np.array([[0.0, 0.0], [wide - 1.0, high - 1.0]])
        self._check_inside(f"the pixels of image, of shape {(high, wide)},", corners)

    def _check_inside(self, name: str, places: np.ndarray) -> None:
        outside = self.extent.is_outside(places)
        if outside.any():
            row = int(np.flatnonzero(outside)[0])
            where = f" at index {row}" if len(places) > 1 else ""
            raise ValueError(
                f"{name} must be inside of the image of shape {self.shape} in which the model was "
                f"measured, got {tuple(places[row, ::-1].tolist())}{where}: for another image take "
                "the model 'shifted' to it"
            )

    @cached_property
    def _middle(self) -> PsfModel:
        high, wide, row, column = self.extent
        return self.at((row + 0.5 * (high - 1.0), column + 0.5 * (wide - 1.0)))

    @property
    def _corners(self) -> np.ndarray:
        """The sigmas of the corners and of the middles of the edges."""
        high, wide, row, column = self.extent
        y, x = np.meshgrid(row + high * np.arange(3) / 2, column + wide * np.arange(3) / 2)
        return own_sigmas(self._shapes(np.stack([x.ravel(), y.ravel()], axis=1) - 0.5))

    @property
    def components(self) -> np.ndarray:
        """The components in the middle of the image, as `PsfModel` has them."""
        return self._middle.components

    @property
    def fwhm(self) -> float:
        """Full width at half maximum in pixels, in the middle of the image."""
        return self._middle.fwhm

    @property
    def peak(self) -> float:
        """The highest value of the profile of flux 1, in the middle of the image."""
        return self._middle.peak

    # -- what fits and results ask of a model ------------------------------------------------------

    def check_everywhere(self, what: str, whole: Model | None = None) -> None:
        """Refuse what the same model everywhere is needed for; ``whole`` is the caller's model."""
        one = "model" if whole is None else "model.base"
        raise ValueError(
            f"model must be the same everywhere for {what}: take {one}.at(position), got "
            f"{whole or self!r}"
        )

    @property
    def known(self) -> np.ndarray:
        """There are none that hold everywhere."""
        self.check_everywhere("a fit without places")
        raise AssertionError

    @property
    def own_sigma(self) -> float:
        """The sigma of the round Gaussian of the same full width, in the middle of the image."""
        return self._middle.own_sigma

    def widths(self, params: np.ndarray) -> np.ndarray:
        """The sigmas of the round Gaussians of the same FWHM, (..., 2)."""
        sigmas = own_sigmas(self._shapes(params[..., 1:3]))
        return np.repeat(sigmas[..., np.newaxis], 2, axis=-1)

    def gaussians(self, params: np.ndarray) -> np.ndarray:
        """The numbers of the components at the centres of stars, (K, 6, ...)."""
        weights, sigmas, ellipse = self._shapes(params[..., 1:3])
        e, d = np.moveaxis(ellipse, -1, 0)
        size = np.hypot(e, d) if self.always_rotated else e
        found = np.zeros((len(weights), 6, *e.shape))
        for part, weight, sigma in zip(found, weights, np.moveaxis(sigmas, -1, 0), strict=True):
            part[0] = weight
            part[3], part[4] = sigma * np.exp(0.5 * size), sigma * np.exp(-0.5 * size)
            if self.always_rotated:
                part[5] = 0.5 * np.arctan2(d, e)
        return found

    def placed(self, places: np.ndarray) -> PlacedStars:
        """The model of stars at places ``x, y`` (n, 2)."""
        self._check_inside("positions", places)
        weights, sigmas, ellipse = shapes = self._shapes(places)
        count, (e, d) = len(weights), ellipse.T
        heights = weights / (2.0 * math.pi * sigmas**2)
        table = np.zeros((len(places), kernels.CONSTANTS))
        table[:, kernels.ROTATED if self.always_rotated else 0] = count
        table[:, kernels.UNIT] = own_sigmas(shapes)
        table[:, kernels.PEAK] = peak = heights.sum(axis=1)
        middle = self._middle.known
        table[:, kernels.DIP] = peak * (middle[kernels.DIP] / middle[kernels.PEAK])
        parts = table[:, kernels.FIRST :].reshape(len(places), kernels.MOST, kernels.NUMBERS)[
            :, :count
        ]
        parts[..., 0] = heights
        if self.always_rotated:
            size = np.hypot(e, d)
            flat, round_ = np.sinh(size) / np.where(size > 0.0, size, 1.0), np.cosh(size)
            inverse = np.stack([round_ - flat * e, round_ + flat * e, -flat * d], axis=1)
            parts[..., 3:] = inverse[:, np.newaxis] / sigmas[..., np.newaxis] ** 2
        else:
            parts[..., 3] = sigmas * np.exp(0.5 * e)[:, np.newaxis]
            parts[..., 4] = sigmas * np.exp(-0.5 * e)[:, np.newaxis]
        return PlacedStars(self.name, self.ndim, self.names, (), table)

    # -- other images, and files -------------------------------------------------------------------

    def shifted(self, row: float, column: float) -> PsfField:
        """The same function in coordinates that count from another pixel.

        Parameters
        ----------
        row, column : float
            The pixel of this image that is the first of the other one.

        Returns
        -------
        PsfField

        Raises
        ------
        TypeError, ValueError
            If they are no finite numbers.

        Examples
        --------
        >>> psf.shifted(100, 50)  # doctest: +SKIP
        """
        high, wide, first, left = self.extent
        place = first - check.number("row", row), left - check.number("column", column)
        return replace(
            self, constants=(*self.constants[:3], high, wide, *place, *self.constants[_HEAD:])
        )

    def save(self, path: str | os.PathLike, *, pixel: str | None = None) -> None:
        """Write the numbers to a JSON file, from which `load` makes an equal model.

        Parameters
        ----------
        path : str or path
            Name of the file.
        pixel : {"sample", "integrate"}, optional
            The option `pixel` of the fits that the model is for, such as `PsfMeasurement.pixel`.
            The file keeps it, and ``fastgauss fit --psf FILE`` follows it; `load` does not read it.

        Raises
        ------
        TypeError, ValueError
            If `path` is no name, or `pixel` none of the two; no file is written then.

        Examples
        --------
        >>> psf.save("psf.json")  # doctest: +SKIP
        """
        write_field(path, list(self.constants), pixel)

    @classmethod
    def load(cls, path: str | os.PathLike) -> PsfField:
        """Read a model that `save` wrote.

        Parameters
        ----------
        path : str or path
            Name of the file.

        Returns
        -------
        PsfField

        Raises
        ------
        ValueError
            If the file holds no point spread function that varies over an image.

        Examples
        --------
        See `save`.
        """
        source, numbers = read_field(path)
        try:
            return from_constants(numbers)
        except (ValueError, TypeError, OverflowError) as error:
            raise not_readable(source, error) from error


def psf_field(
    order: int, further: int, extent: Extent, weights: np.ndarray, coefficients: np.ndarray
) -> PsfField:
    """The model of these numbers; ``further`` are those of the ellipse, 0 to 2."""
    numbers = [len(weights), order, further, *extent, *weights, *coefficients.ravel()]
    row = MODELS["psf"][2]
    return PsfField("psf_field", row.axes, row.parameters, tuple(map(float, numbers)))


def from_constants(constants: Iterable[Any]) -> PsfField:
    """The model of these numbers.

    Parameters
    ----------
    constants : iterable of numbers
        In the order of `Model.constants`.

    Returns
    -------
    PsfField

    Raises
    ------
    ValueError
        If they are no numbers of a point spread function.

    Examples
    --------
    >>> field = psf_field(1, 0, Extent(9, 9), np.ones(1), np.array([[1.1], [0.0], [0.2]]))
    >>> from_constants(field.constants) == field
    True
    """
    numbers = list(constants)
    if not all(type(each) in {int, float} and math.isfinite(each) for each in numbers):
        raise ValueError("its constants are no finite numbers")
    if len(numbers) < _HEAD or any(each != int(each) for each in numbers[:3]):
        raise ValueError("its constants begin with no number of components, order and shape")
    count, order, further = map(int, numbers[:3])
    if not (1 <= count <= kernels.MOST and order in ORDERS[1:] and 0 <= further <= 2):
        raise ValueError(f"it has {count} components, order {order} and {further} of an ellipse")
    if len(numbers) != _HEAD + count + COUNTS[order] * (count + further):
        raise ValueError(f"it has {len(numbers)} constants")
    weights = np.array(numbers[_HEAD : _HEAD + count])
    coefficients = np.array(numbers[_HEAD + count :]).reshape(COUNTS[order], -1)
    if not abs(math.fsum(weights) - 1.0) < 1e-9 or np.abs(coefficients).max() > MOST_SIGMA:
        raise ValueError("its weights have not the sum 1, or a coefficient is out of range")
    if np.abs(coefficients[:, count:]).max(initial=0.0) > _LARGEST:
        raise ValueError("its ellipses are out of range")
    if not least(order, coefficients[:, :count]).min() >= LEAST_SIGMA:
        raise ValueError("its sigmas are not positive everywhere in its image")
    extent = Extent(*map(float, numbers[3:_HEAD]))
    if not all(1.0 <= side <= _SIDE and side == int(side) for side in extent[:2]):
        raise ValueError(f"its image is of {extent.high} x {extent.wide} pixels")
    return psf_field(order, further, extent, weights, coefficients)
