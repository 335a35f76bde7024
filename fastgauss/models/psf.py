"""A point spread function (PSF) as a sum of Gaussians: components, shape, files."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..base import check, wording
from ..base.widths import FWHM
from ..kernels.fit import psf_basis as kernels
from ..kernels.fit.models import MODELS
from ..kernels.models.profiles import PIXELS
from .evaluation import image
from .psf_astropy import star_model
from .psf_components import NAMES, read_components
from .psf_files import not_readable, read_rows, write_components
from .psf_outline import Outline, outline_of
from .star_model import StarModel


@dataclass(frozen=True)
class PsfModel(StarModel):
    """Stars ``flux, x, y, offset`` whose profile is a sum of Gaussians of known shape.

    `psf_model` makes it. It is the ``model`` of `fit_rois`, `fit_spots`, `fit_joint`, `image`,
    `evaluate` and `jacobian`. It cannot be changed, and two models of the same numbers are equal.

    Attributes
    ----------
    components : structured array (K,)
        ``weight``, ``x``, ``y``, ``sigma_x``, ``sigma_y`` and ``theta`` of each Gaussian. The
        weights add up to 1; x and y count from the centre of the star.
    fwhm : float
        Full width at half maximum in pixels: the diameter of the circle that has the area on which
        the profile is above half its peak.
    peak : float
        The highest value of the profile of flux 1.

    Examples
    --------
    >>> import fastgauss as fg
    >>> psf = fg.psf_model([3.0, 1.0], [1.2, 2.5])
    >>> psf
    <PsfModel of 2 Gaussians, FWHM 2.93 px>
    >>> psf.names, psf.components["weight"]
    (('flux', 'x', 'y', 'offset'), array([0.75, 0.25]))
    >>> psf == fg.psf_model([0.75, 0.25], [1.2, 2.5])
    True
    """

    def __repr__(self) -> str:
        many = wording.plural(len(self.components), "Gaussian")
        return f"<{type(self).__name__} of {many}, FWHM {self.fwhm:.3g} px>"

    @cached_property
    def known(self) -> np.ndarray:
        """The constants as the kernels of a fit take them."""
        numbers = np.zeros(kernels.CONSTANTS)
        outline, every = self._outline, self.components.tolist()
        every.sort(key=lambda part: bool(part[5]))  # those along the axes first, in their order
        rotated = sum(bool(part[5]) for part in every)
        numbers[0], numbers[kernels.ROTATED] = len(every) - rotated, rotated
        numbers[kernels.UNIT] = self.own_sigma
        numbers[kernels.PEAK], numbers[kernels.DIP] = outline.peak, outline.dip
        for k, (weight, x, y, sigma_x, sigma_y, theta) in enumerate(every):
            first = kernels.FIRST + kernels.NUMBERS * k
            height = weight / (2.0 * math.pi * sigma_x * sigma_y)
            shape = sigma_x, sigma_y, 0.0
            if theta:
                cos, sin, a, b = math.cos(theta), math.sin(theta), sigma_x**-2, sigma_y**-2
                shape = a * cos**2 + b * sin**2, a * sin**2 + b * cos**2, (a - b) * sin * cos
            numbers[first : first + kernels.NUMBERS] = height, x, y, *shape
        return numbers

    # -- shape -------------------------------------------------------------------------------------

    @property
    def components(self) -> np.ndarray:
        """``weight, x, y, sigma_x, sigma_y, theta`` of each Gaussian, a structured array (K,)."""
        numbers = np.array(self.constants).reshape(-1, len(NAMES))
        table = np.empty(len(numbers), [(name, np.float64) for name in NAMES])
        for name, column in zip(NAMES, numbers.T, strict=True):
            table[name] = column
        return table

    @property
    def fwhm(self) -> float:
        """Full width at half maximum in pixels."""
        return self._outline.fwhm

    @property
    def peak(self) -> float:
        """The highest value of the profile of flux 1."""
        return self._outline.peak

    @property
    def own_sigma(self) -> float:
        """The sigma of the round Gaussian that has the same full width at half maximum."""
        return self._outline.fwhm / FWHM

    @cached_property
    def _outline(self) -> Outline:
        return outline_of(self.components)

    # -- what fits and results ask of a model ------------------------------------------------------

    def widths(self, params: np.ndarray) -> np.ndarray:
        """The sigmas of the round Gaussian of the same FWHM, (..., 2)."""
        return np.full((*params.shape[:-1], 2), self.own_sigma)

    def gaussians(self, params: np.ndarray) -> np.ndarray:
        """The numbers of the components (K, 6), of all stars."""
        return np.array(self.constants).reshape(-1, len(NAMES))

    def from_start(self, start: np.ndarray) -> np.ndarray:
        """Starting values, of the height and the place of the peak."""
        outline = self._outline
        columns = [start[:, 0] / outline.peak, start[:, 1] - outline.x, start[:, 2] - outline.y]
        return np.column_stack([*columns, start[:, 4]])

    # -- pictures and files ------------------------------------------------------------------------

    def image(
        self,
        shape: tuple[int, int],
        position: ArrayLike | None = None,
        *,
        flux: float = 1.0,
        offset: float = 0.0,
        pixel: str = "sample",
    ) -> np.ndarray:
        """An image of one star.

        Parameters
        ----------
        shape : (int, int)
            Rows and columns.
        position : (float, float), optional
            Row and column of the centre; by default the middle of the image.
        flux, offset : float
            The sum of the light over all the plane, and what is added to every pixel.
        pixel : {"sample", "integrate"}
            The value at the pixel's centre, or the mean over the pixel.

        Returns
        -------
        array (y, x)

        Raises
        ------
        TypeError, ValueError
            If an argument is of the wrong kind, shape or value.

        Examples
        --------
        >>> import fastgauss as fg
        >>> fg.psf_model([1.0], [1.0]).image((3, 3), flux=100.0, pixel="integrate").round(1)
        array([[ 5.8,  9.3,  5.8],
               [ 9.3, 14.7,  9.3],
               [ 5.8,  9.3,  5.8]])
        """
        sides = check.shape("shape", shape, (2,))
        middle = tuple(0.5 * (n - 1) for n in sides)
        row, column = middle if position is None else check.per_axis("position", position, 2)
        light, background = check.number("flux", flux), check.number("offset", offset)
        return image([light, column, row, background], sides, self, pixel)

    def save(self, path: str | os.PathLike, *, pixel: str | None = None) -> None:
        """Write the components to a JSON file, from which `load` makes an equal model.

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
        >>> import os, tempfile, fastgauss as fg
        >>> path = os.path.join(tempfile.mkdtemp(), "psf.json")
        >>> psf = fg.psf_model([0.7, 0.3], [1.1, 2.0])
        >>> psf.save(path)
        >>> fg.PsfModel.load(path) == psf
        True
        """
        write_components(path, self.components, pixel)

    @classmethod
    def load(cls, path: str | os.PathLike) -> PsfModel:
        """Read a model that `save` wrote.

        Parameters
        ----------
        path : str or path
            Name of the file.

        Returns
        -------
        PsfModel

        Raises
        ------
        ValueError
            If the file holds no point spread function.

        Examples
        --------
        See `save`.
        """
        source, rows = read_rows(path)
        try:
            return from_constants(number for row in rows for number in row)
        except (ValueError, TypeError, OverflowError) as error:
            raise not_readable(source, error) from error

    def to_astropy(self, pixel: str = "sample") -> Any:
        """The model as astropy's and photutils' ``Fittable2DModel``.

        Parameters
        ----------
        pixel : {"sample", "integrate"}
            Its value at a point, or its mean over the pixel around the point.

        Returns
        -------
        astropy.modeling.Fittable2DModel
            With the parameters ``flux``, ``x_0`` and ``y_0``, and exact derivatives. photutils'
            ``PSFPhotometry`` takes it as its ``psf_model``.

        Raises
        ------
        TypeError, ValueError
            If `pixel` is none of the two.
        ImportError
            If astropy is missing.

        Examples
        --------
        >>> import fastgauss as fg
        >>> star = fg.psf_model([0.7, 0.3], [1.1, 2.0]).to_astropy()
        >>> star.param_names, round(star(0.0, 0.0), 4)
        (('flux', 'x_0', 'y_0'), 0.104)
        """
        return star_model()(self, check.choice("pixel", pixel, PIXELS))


# -- making ------------------------------------------------------------------------------------


def psf_model(
    weights: ArrayLike,
    sigmas: ArrayLike | None = None,
    *,
    offsets: ArrayLike | None = None,
    theta: ArrayLike | None = None,
    covariances: ArrayLike | None = None,
) -> PsfModel:
    """A point spread function as a model: a sum of up to eight Gaussians of known shape.

    Parameters
    ----------
    weights : array (K,)
        Part of the flux that each Gaussian has, up to a common factor. Single weights may be
        negative; their sum must be positive.
    sigmas : array (K,) or (K, 2)
        Sigma in pixels of each round Gaussian, or the sigmas along y and x of each elliptic one.
    offsets : array (K, 2), optional
        Row and column of the centre of each Gaussian, counted from the centre of the star; by
        default 0.
    theta : array (K,), optional
        Angle by which the axes of elliptic Gaussians are turned from +x towards +y.
    covariances : array (K, 2, 2), optional
        In place of `sigmas` and `theta`: the covariance of each Gaussian, y before x.

    Returns
    -------
    PsfModel
        The ``model`` of fits: its parameters are ``flux, x, y, offset``, and its profile has the
        integral 1. `PsfModel.with_width` adds a free factor of all sigmas,
        `PsfModel.with_weights` free weights, and `PsfModel.with_source` a source that is no point.

    Raises
    ------
    TypeError, ValueError
        If there are no Gaussians or more than eight, a sigma is not between 0.001 and a million
        pixels, the sum of the weights is not positive, or an argument has another shape.

    Notes
    -----
    The numbers of the components are data: a fit is compiled once for all such models. With
    ``pixel="integrate"`` each component is integrated exactly, by error functions. One that is
    turned is averaged over 5 x 5 points in each pixel, with an error below 3e-8 (0.7 / s)**10 of
    its peak, s its smaller sigma, and takes many times as long. A least-squares fit of 11 x 11
    pixels with three components along the axes takes about 2.5 microseconds on one AVX2 core.

    References
    ----------
    .. [1] D. Hogg, D. Lang, PASP 125, 719 (2013): sums of Gaussians for stars and galaxies.

    Examples
    --------
    >>> import numpy as np, fastgauss as fg
    >>> psf = fg.psf_model([0.7, 0.2, 0.1], [1.2, 2.0, 4.0])
    >>> stars = fg.image([[500.0, 6.2, 5.9, 10.0], [90.0, 5.8, 6.3, 10.0]], (13, 13), psf)
    >>> fg.fit_rois(stars, psf).params.round(6)
    array([[500. ,   6.2,   5.9,  10. ],
           [ 90. ,   5.8,   6.3,  10. ]])
    """
    return _made(read_components(weights, sigmas, offsets, theta, covariances))


def _made(numbers: np.ndarray) -> PsfModel:
    constants = tuple(numbers.ravel().tolist())
    row = MODELS["psf"][2]
    return PsfModel("psf", row.axes, row.parameters, constants)


def from_constants(constants: Iterable[Any]) -> PsfModel:
    """The model of these numbers.

    Parameters
    ----------
    constants : iterable of 6 K numbers
        In the order of `Model.constants`.

    Returns
    -------
    PsfModel

    Raises
    ------
    ValueError
        If they are no numbers of a point spread function.

    Examples
    --------
    >>> import fastgauss as fg
    >>> psf = fg.psf_model([1.0, 2.0], [1.0, 2.0])
    >>> from_constants(psf.constants) == psf
    True
    """
    numbers = list(constants)
    if len(numbers) % len(NAMES) or not all(type(each) in {int, float} for each in numbers):
        raise ValueError(f"its components are not of {len(NAMES)} numbers each")
    table = np.array(numbers, dtype=np.float64).reshape(-1, len(NAMES))
    sigmas, offsets, theta = table[:, 4:2:-1], table[:, 2:0:-1], table[:, 5]
    return _made(read_components(table[:, 0], sigmas, offsets, theta, None))
