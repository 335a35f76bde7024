"""Stars whose profile is a sum of Gaussians of known shape, with a known or a free width."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike

from ..base import check
from ..kernels.fit.models import MODELS
from ..kernels.fit.psf_basis import PEAK, UNIT
from ..kernels.models.model_kernels import ModelKernels
from .model import Model, get_model
from .wrapped import WrappedModel


def _height(weight: np.ndarray, sigma_x: np.ndarray, sigma_y: np.ndarray) -> np.ndarray:
    """The heights of Gaussians of the integral ``weight``; NaN where there is no such Gaussian."""
    area = 2.0 * math.pi * sigma_x * sigma_y
    return weight / np.where(area > 0.0, area, np.nan)


@dataclass(frozen=True)
class StarModel(Model):
    """What `PsfModel` and `PsfField` share; ``gaussians`` tells the shape of each star."""

    def gaussians(self, params: np.ndarray) -> np.ndarray:
        """``weight, x, y, sigma_x, sigma_y, theta`` of each Gaussian, (K, 6) or (K, 6, ...)."""
        raise NotImplementedError

    def each(self, params: np.ndarray) -> np.ndarray:
        """The numbers of ``gaussians`` for each star, (K, 6, ...), a copy."""
        found = self.gaussians(params)
        whole = found.reshape(*found.shape, *[1] * (params.ndim + 1 - found.ndim))
        return np.array(np.broadcast_to(whole, (*found.shape[:2], *params.shape[:-1])))

    def weights_of(self, params: ArrayLike) -> np.ndarray:
        """The weights of all components, known or free.

        Parameters
        ----------
        params : array (..., P)
            Parameters of stars, such as `FitResult.params`.

        Returns
        -------
        array (..., K)
            Their sum is 1.

        Raises
        ------
        TypeError, ValueError
            If they are no parameters of this model.

        Examples
        --------
        See `with_weights`.
        """
        given = np.asarray(check.real_array("params", params), dtype=np.float64)
        if given.ndim == 0 or given.shape[-1] != self.size:
            raise ValueError(
                f"params must have a last axis of {self.size} for {self.names}, "
                f"got shape {given.shape}"
            )
        return np.moveaxis(self.each(given)[:, 0], 0, -1)

    @property
    def kernels(self) -> ModelKernels:
        """The row of point spread functions in the table of the kernels."""
        return MODELS["psf"][2]

    @property
    def wide_kernels(self) -> ModelKernels:
        """The row of the same function with a free width."""
        return MODELS["psf_width"][2]

    @property
    def free_weights(self) -> range:
        """The parameters that are weights of the components, from the second component on."""
        return range(0)

    def flux(self, params: np.ndarray) -> np.ndarray:
        """The flux of each star (n, 4), a parameter."""
        return params[:, 0].copy()

    def flux_gradient(self, params: np.ndarray) -> np.ndarray:
        """Derivatives of the flux by the parameters, (n, 4)."""
        return np.tile(np.eye(self.size)[0], (len(params), 1))

    @property
    def start_size(self) -> int:
        """Number of starting values that ``from_start`` takes: those of the symmetric model."""
        return 5

    @property
    def always_rotated(self) -> bool:
        """Whether components count as turned where their angle is 0, too.

        If angles differ between stars, a star has the same value with others and alone.
        """
        return False

    def parts(self, params: np.ndarray) -> list[tuple[Model, np.ndarray]]:
        """The components as elliptic or rotated spots; the first has the offset."""
        found = []
        for k, part in enumerate(self.gaussians(params)):
            weight, x, y, sigma_x, sigma_y, theta = part
            rotated = self.always_rotated or bool(np.any(theta))
            values = np.empty((*params.shape[:-1], 7 if rotated else 6))
            values[..., 0] = params[..., 0] * _height(weight, sigma_x, sigma_y)
            values[..., 1], values[..., 2] = params[..., 1] + x, params[..., 2] + y
            values[..., 3], values[..., 4] = sigma_x, sigma_y
            values[..., 5] = theta
            values[..., -1] = params[..., -1] if k == 0 else 0.0
            found.append((get_model("rotated" if rotated else "elliptic", 2), values))
        return found

    def from_parts(self, jacobians: list[np.ndarray], params: np.ndarray) -> np.ndarray:
        """Derivatives by flux, centre and offset from those by the parameters of the components."""
        result = np.zeros((*jacobians[0].shape[:-1], self.size))
        weights = self.free_weights
        for k, (part, jacobian) in enumerate(zip(self.gaussians(params), jacobians, strict=True)):
            weight, _, _, sigma_x, sigma_y, _ = part
            result[..., 0] += jacobian[..., 0] * _height(weight, sigma_x, sigma_y)
            result[..., 1:3] += jacobian[..., 1:3]
            if weights:
                light = params[..., 0] * jacobian[..., 0] * _height(np.ones(()), sigma_x, sigma_y)
                columns, sign = (weights, -1.0) if k == 0 else ([weights[k - 1]], 1.0)
                result[..., columns] += sign * light[..., np.newaxis]
        result[..., -1] = 1.0
        return result

    def with_width(self) -> StarModel:
        """The same function with a free width: stars ``flux, x, y, width, offset``.

        Returns
        -------
        Model
            The ``model`` of `fit_rois`, `fit_spots`, `evaluate`, `jacobian` and `image`. All sigmas
            and all offsets of the components are ``width`` times those of this model, so that the
            FWHM is, too; the flux remains the integral. `FitResult.fwhm` is that of each star.

        Notes
        -----
        Where the focus or the seeing of an image differs from that in which the function was
        measured, ``fit_spots(image, model=psf.with_width(), shared="width")`` fits one factor for
        the whole image, and `fit_joint` one for stars that overlap. The width is a number without
        unit, and positive.

        Examples
        --------
        >>> import fastgauss as fg
        >>> psf = fg.psf_model([0.7, 0.3], [1.2, 2.4]).with_width()
        >>> psf.names
        ('flux', 'x', 'y', 'width', 'offset')
        >>> star = fg.image([[900.0, 6.2, 5.9, 1.25, 10.0]], (13, 13), psf)
        >>> fg.fit_rois(star, psf).width.round(6)
        array([1.25])
        """
        return WideStarModel(
            f"{self.name}_width",
            self.ndim,
            self.wide_kernels.parameters,
            self.constants,
            base=self,
        )

    def with_weights(self) -> StarModel:
        """The same function with free weights: stars ``flux, x, y, weight_2, ..., offset``.

        Returns
        -------
        Model
            The ``model`` of `fit_rois`, `fit_spots`, `evaluate`, `jacobian` and `image`.
            ``weight_2`` to ``weight_K`` are the parts of the flux that the second to the last
            component have, and the first has the rest, so that the flux remains the integral.
            ``weights_of`` gives all K. Fits start from the weights of this model.

        Raises
        ------
        ValueError
            If there is one Gaussian alone, which has the whole flux, or if the model is of sources.

        Notes
        -----
        Components that are turned come last: where this model has one before others, ``weight_k``
        is of component k of ``base``. A weight may come out negative, by noise or because the
        function is below the sum of the other components; ``bounds`` keep it between 0 and 1. One
        star of a thousand counts hardly tells its weights. ``shared`` fits those of all stars
        together, which makes a point spread function of known Gaussians fit another image. A model
        of both has them after the width: ``psf.with_width().with_weights()``. Joint fits take known
        weights only.

        Examples
        --------
        >>> import fastgauss as fg
        >>> psf = fg.psf_model([0.7, 0.3], [1.2, 2.4]).with_weights()
        >>> psf.names
        ('flux', 'x', 'y', 'weight_2', 'offset')
        >>> stars = fg.image([[900.0, 6.2, 5.9, 0.4, 10.0], [90.0, 6, 6, 0.4, 10.0]], (13, 13), psf)
        >>> fits = fg.fit_rois(stars, psf, shared="weight_2")
        >>> psf.weights_of(fits.params[0]).round(6)
        array([0.6, 0.4])
        """
        from .psf_weights import weighted_model

        return weighted_model(self)

    def with_source(self) -> StarModel:
        """Sources of Gaussian shape behind the same function: ``flux, x, y, xx, yy, xy, offset``.

        Returns
        -------
        Model
            The ``model`` of `fit_rois`, `fit_spots`, `evaluate`, `jacobian` and `image`. ``xx``,
            ``yy`` and ``xy`` are the covariance of the source itself in square pixels, without the
            point spread function. `source_shapes` turns results into sigmas and angles with errors.

        Raises
        ------
        ValueError
            If the model has a free width or free weights, which a source cannot be told from.

        Notes
        -----
        The covariance of a Gaussian adds to that of each component. It is fitted as it is, and may
        come out negative by noise where a source is smaller than its errors: so its mean over many
        sources has no bias. ``fixed``, ``bounds`` and ``guess`` of a fit must allow a covariance
        whose sum with that of each component is positive definite. With ``pixel="integrate"`` all
        components are averaged over 5 x 5 points in each pixel. A fit takes some five times as long
        as that of a star.

        Examples
        --------
        >>> import fastgauss as fg
        >>> galaxies = fg.psf_model([0.7, 0.3], [1.2, 2.4]).with_source()
        >>> image = fg.image([[900.0, 7.2, 6.9, 4.0, 2.0, 1.0, 10.0]], (15, 15), galaxies)
        >>> fg.fit_rois(image, galaxies).params.round(6)
        array([[900. ,   7.2,   6.9,   4. ,   2. ,   1. ,  10. ]])
        """
        from .psf_source import source_model

        return source_model(self)


@dataclass(frozen=True)
class PlacedStars(StarModel):
    """The model of stars at known places."""

    table: np.ndarray | None = None  # constants of the kernels, (n, C)

    @property
    def known(self) -> np.ndarray:
        """The constants of each star as the kernels of a fit take them."""
        assert self.table is not None
        return self.table

    def rows(self, which: slice | np.ndarray) -> PlacedStars:
        """Some of the stars."""
        return replace(self, table=self.known[which])

    def from_start(self, start: np.ndarray) -> np.ndarray:
        """Starting values, of the height and the place of the peak."""
        start = np.take(start, (0, 1, 2, 4), axis=1)  # in C order, for which kernels are
        start[:, 0] /= self.known[:, PEAK]
        return start


_WIDTH = 3  # which parameter the width is
_MOST_STRETCH = 4.0  # by which moments of a noisy spot may tell another width to start from


@dataclass(frozen=True, repr=False)
class WrappedStarModel(WrappedModel, StarModel):
    """A point spread function with further parameters, which ``addition`` names."""

    addition: ClassVar[str]
    base: StarModel = field(kw_only=True)

    def __repr__(self) -> str:
        return f"{repr(self.base)[:-1]}, {self.addition}>"

    @property
    def always_rotated(self) -> bool:
        """That of ``base``."""
        return self.base.always_rotated


@dataclass(frozen=True, repr=False)
class WideStarModel(WrappedStarModel):
    """Stars ``flux, x, y, width, offset``: a point spread function with a free width."""

    addition = "free width"

    @property
    def peak(self) -> float:
        """The highest value of the profile of flux 1 and width 1."""
        return self.base.peak

    @property
    def kernels(self) -> ModelKernels:
        """The row of point spread functions with a free width."""
        return self.base.wide_kernels

    @property
    def free_weights(self) -> range:
        """Those of ``base``, which follow the width."""
        own = self.base.free_weights
        return range(own.start + 1, own.stop + 1) if own else own

    def with_width(self) -> WideStarModel:
        """The model itself."""
        return self

    def with_weights(self) -> StarModel:
        """The model of both, in which the width is before the weights."""
        return self.base.with_weights().with_width()

    def check_light(self, what: str) -> None:
        """Refuse a model whose light joint fits cannot compute: one with free weights."""
        self.base.check_light(what)

    def with_source(self) -> StarModel:
        """Refuse it."""
        raise ValueError(
            "a source must have a point spread function of known width, got a free one"
        )

    def _star(self, params: np.ndarray) -> np.ndarray:
        """The parameters of ``base``."""
        return np.delete(params, _WIDTH, axis=-1)

    def widths(self, params: np.ndarray) -> np.ndarray:
        """The sigmas of the round Gaussians of the same FWHM, (..., 2)."""
        return self.base.widths(self._star(params)) * params[..., _WIDTH, np.newaxis]

    def gaussians(self, params: np.ndarray) -> np.ndarray:
        """The numbers of the components, (K, 6, ...)."""
        wide = self.base.each(self._star(params))
        wide[:, 1:5] *= params[..., _WIDTH]
        return wide

    def from_start(self, start: np.ndarray) -> np.ndarray:
        """Starting values, of the height, the place and the width of the peak."""
        units = np.atleast_2d(self.base.known)[:, UNIT]
        width = np.clip(start[:, 3] / units, 1.0 / _MOST_STRETCH, _MOST_STRETCH)
        stars = self.base.from_start(start)
        places = start[:, 1:3] + (stars[:, 1:3] - start[:, 1:3]) * width[:, np.newaxis]
        return np.column_stack([stars[:, 0] * width**2, places, width, stars[:, 3:]])

    def from_parts(self, jacobians: list[np.ndarray], params: np.ndarray) -> np.ndarray:
        """Derivatives by all parameters, by the chain rule."""
        result = super().from_parts(jacobians, params)
        pairs = zip(self.parts(params), jacobians, strict=True)
        centre = params[..., 1:3]
        for (_, values), jacobian in pairs:
            moved = values.copy()
            moved[..., 0] *= -2.0
            moved[..., 1:3] -= centre
            result[..., _WIDTH] += (moved[..., :5] * jacobian[..., :5]).sum(axis=-1)
        width = params[..., _WIDTH]
        result[..., _WIDTH] /= np.where(width > 0.0, width, np.nan)
        return result
