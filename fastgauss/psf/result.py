"""PsfMeasurement: the result of `measure_psf`."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..base import wording
from ..models.gaussian_sums import Shapes, gaussian_sum
from ..models.psf import PsfModel
from ..models.psf_field import PsfField, psf_field
from .profiles import Form, chain, numbers_of
from .scene import Scene
from .shared_shape import GAIN, OWN, Solution, covariances, models

_STAR = ("x", "y", "flux", "x_error", "y_error", "flux_error", "offset", "chi2", "pixels")
_ANGLES = 256
_STEP = 0.5  # pixels between the radii of curves


@dataclass(frozen=True, repr=False)
class PsfMeasurement:
    """A point spread function that was measured, and the stars that show it.

    `measure_psf` makes it.

    Attributes
    ----------
    model : PsfModel or PsfField
        What fits take as ``model=``, with the option `pixel` below; a PsfField with ``order=1`` or
        2.
    names : tuple of str
        ``weight_1`` ... ``weight_K``, ``sigma_1`` ... ``sigma_K``; for ellipses ``ratio``, that of
        sigma_y by sigma_x, or of the smaller by the larger sigma if they are turned, and ``theta``,
        the angle of the longer axis from +x towards +y. The sigma of an ellipse is the geometric
        mean of both. Where the function varies, all are those of the middle of the image.
    params, errors : ndarray (P,)
        Their values and standard errors.
    covariance : ndarray (P, P)
        The weights have the sum 1, so it is singular.
    stars : structured array (n,)
        ``x``, ``y``, ``flux``, ``x_error``, ``y_error``, ``flux_error``, ``offset``, ``chi2`` and
        ``pixels`` of each star that was used, the brightest first.
    refused : structured array (m,)
        ``x``, ``y`` and ``reason``.
    residuals : ndarray (n, box, box)
        Image minus model around each star, in the image's unit; NaN where a pixel was not used.
    chi2 : float
        Sum of squared residuals by the variance of the pixels.
    dof : int
        Pixels less parameters.
    pixel : {"sample", "integrate"}
        As it was given.
    coefficient_errors : ndarray or None
        Standard errors of ``model.coefficients``, where the function varies over the image.

    Examples
    --------
    >>> import numpy as np, fastgauss as fg
    >>> psf = fg.psf_model([0.7, 0.3], [1.2, 2.4])
    >>> image = psf.image((61, 61), flux=5e4) + np.random.default_rng(0).normal(0, 1, (61, 61))
    >>> found = fg.measure_psf(image, components=2)
    >>> found.names
    ('weight_1', 'weight_2', 'sigma_1', 'sigma_2')
    >>> bool((abs(found.params - [0.7, 0.3, 1.2, 2.4]) < 5 * found.errors).all())
    True
    >>> found.growth[-1]["radius"], found.growth[-1]["model"].round(3)
    (np.float64(26.0), np.float64(1.0))
    """

    model: PsfModel | PsfField
    names: tuple[str, ...]
    params: np.ndarray
    covariance: np.ndarray
    stars: np.ndarray
    refused: np.ndarray
    residuals: np.ndarray
    chi2: float
    dof: int
    pixel: str
    coefficient_errors: np.ndarray | None = None

    def __repr__(self) -> str:
        many = wording.plural(len(self.model.components), "Gaussian")
        used = wording.plural(len(self.stars), "star")
        return (
            f"<{type(self).__name__}: {many}, FWHM {self.model.fwhm:.3g} px, {used}, "
            f"{len(self.refused)} refused>"
        )

    @property
    def errors(self) -> np.ndarray:
        """Standard errors of the parameters (P,)."""
        return np.sqrt(np.maximum(np.diagonal(self.covariance), 0.0))

    @property
    def reduced_chi2(self) -> float:
        """chi2 by degrees of freedom."""
        return self.chi2 / self.dof if self.dof > 0 else math.nan

    @cached_property
    def _distances(self) -> np.ndarray:
        """How far each pixel is from the centre of its star, (n, box, box)."""
        half = self.residuals.shape[1] // 2
        side = np.arange(-half, half + 1)
        dy, dx = (np.rint(self.stars[axis]) - self.stars[axis] for axis in "yx")
        return np.hypot(dy[:, None, None] + side[:, None], dx[:, None, None] + side)

    @cached_property
    def growth(self) -> np.ndarray:
        """The part of the flux within circles: ``radius``, ``data``, ``model``, structured (r,).

        The part of the data is that of the model plus the residuals of all stars over their flux.
        """
        half = self.residuals.shape[1] // 2
        radii = np.arange(1, 2 * half + 1) * _STEP
        residual = np.nan_to_num(self.residuals)
        edges = np.append(0.0, radii)
        ring = np.histogram(self._distances, edges, weights=residual)[0]
        curve = np.empty(len(radii), [(name, np.float64) for name in ("radius", "data", "model")])
        within = np.stack([_within(model, radii) for model in self._models])
        share = self.stars["flux"][: len(within)] / self.stars["flux"][: len(within)].sum()
        curve["radius"], curve["model"] = radii, share @ within
        curve["data"] = curve["model"] + np.cumsum(ring) / self.stars["flux"].sum()
        return curve

    @cached_property
    def profile(self) -> np.ndarray:
        """A star of flux 1, means over rings: ``radius, data, error, model``, structured (r,)."""
        half = self.residuals.shape[1] // 2
        used = np.isfinite(self.residuals)
        ring = (self._distances / _STEP).astype(np.intp)[used]
        flux = np.broadcast_to(self.stars["flux"][:, None, None], used.shape)[used]
        unit = (
            2.0 ** -np.frexp(np.abs(flux).max(initial=0.0))[1]
        )  # in which squares do not overflow
        many = 2 * half
        inside = ring < many
        ring, flux = ring[inside], flux[inside] * unit
        residual, distance = self.residuals[used][inside] * unit, self._distances[used][inside]
        height = self._heights[used][inside]
        light = np.bincount(ring, flux, many)
        shown = light > 0
        light = np.where(shown, light, 1.0)
        names = ("radius", "data", "error", "model")
        curve = np.empty(many, [(name, np.float64) for name in names])
        curve["radius"] = np.bincount(ring, flux * distance, many) / light
        curve["model"] = np.bincount(ring, flux * height, many) / light
        curve["data"] = curve["model"] + np.bincount(ring, residual, many) / light
        curve["error"] = np.sqrt(np.bincount(ring, residual**2, many)) / light
        return curve[shown]

    @cached_property
    def _heights(self) -> np.ndarray:
        """The model of flux 1 on the pixels of each star, (n, box, box)."""
        side = self.residuals.shape[1]
        dy, dx = (self.stars[axis] - np.rint(self.stars[axis]) + side // 2 for axis in "yx")
        places = zip(dy.tolist(), dx.tolist(), strict=True)
        models = itertools.cycle(self._models)
        return np.stack(
            [m.image((side, side), p, pixel=self.pixel) for m, p in zip(models, places)]  # noqa: B905
        )

    @cached_property
    def _models(self) -> list[PsfModel]:
        """The model of all stars, or that of each."""
        if isinstance(self.model, PsfModel):
            return [self.model]
        places = zip(self.stars["y"].tolist(), self.stars["x"].tolist(), strict=True)
        return [self.model.at(place) for place in places]


def _within(model: PsfModel, radii: np.ndarray) -> np.ndarray:
    """The flux of a model within circles: over angles, of Gaussians whose exponent is known."""
    angle = np.pi * (np.arange(_ANGLES) + 0.5) / _ANGLES
    total = np.zeros(len(radii))
    for part in model.components:
        a, b = part["sigma_x"], part["sigma_y"]
        inverse = (np.cos(angle) / a) ** 2 + (np.sin(angle) / b) ** 2
        beyond = np.exp(-0.5 * radii[:, np.newaxis] ** 2 * inverse) / (inverse * a * b)
        total += part["weight"] * (1.0 - beyond.mean(axis=1))
    return total


# -- from a scene ------------------------------------------------------------------------------


def measured(scene: Scene, refused: dict[int, str]) -> PsfMeasurement:
    """The result of a scene that was fitted."""
    form, picture = scene.form, scene.picture
    total = scene.drawn()
    stack = scene.stack(total)
    solution = scene.fit(stack, GAIN)
    known = covariances(form, solution, stack)
    middle = solution.shape[: form.size]
    matrix = chain(form, middle)
    natural = matrix @ known.shape[: form.size, : form.size] @ matrix.T
    names, params, matrix = _parameters(form, middle)
    residual = (stack.data - models(form, solution.shape, solution.own, stack)) * picture.unit
    used = stack.weights > 0
    order = np.argsort(-solution.own[:, 0], kind="stable")
    stars = _table(solution, known.own, used, picture.level, picture.unit)[order]
    return PsfMeasurement(
        model=_model(form, solution.shape),
        names=names,
        params=params,
        covariance=matrix @ natural @ matrix.T,
        stars=stars,
        refused=_refused(scene, refused),
        residuals=np.where(used, residual, np.nan)[order],
        chi2=float(solution.chi2.sum()),
        dof=int(used.sum()) - OWN * len(stars) - form.whole,
        pixel=form.pixel,
        coefficient_errors=_coefficient_errors(form, solution.shape, known.shape)
        if form.order
        else None,
    )


def _model(form: Form, shape: np.ndarray) -> PsfModel | PsfField:
    numbers = numbers_of(form, shape[: form.size])
    if not form.order:
        return gaussian_sum(Shapes(*numbers), form.rotated)
    table, sums = _coefficients(form, shape)
    return psf_field(form.order, form.further, form.extent, numbers.weights, table @ sums.T)


def _coefficients(form: Form, shape: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The polynomials of the differences of the sigmas and of the ellipse, (terms, P).

    The matrix (P, P) sums differences to sigmas.
    """
    count, sums = form.components, np.eye(form.varying)
    sums[:count, :count] = np.tri(count)
    table = shape[count - 1 :].reshape(-1, form.varying).copy()
    table[0, :count] = np.exp(table[0, :count])
    table[1:, :count] *= table[0, :count]
    return table, sums


def _coefficient_errors(form: Form, shape: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """Errors of the coefficients of the sigmas and of the ellipse, (terms, P)."""
    table, sums = _coefficients(form, shape)
    size, count = form.varying, form.components
    middle = np.append(table[0, :count], np.ones(form.further))
    slopes = np.diag(np.tile(middle, len(table)))  # by the parameters of the fit
    for term in range(1, len(table)):  # t_k is a common factor of all terms
        column = np.arange(count)
        slopes[term * size + column, column] = table[term, :count]
    matrix = np.kron(np.eye(len(table)), sums) @ slopes
    part = covariance[count - 1 :, count - 1 :]
    variances = np.einsum("ij,jk,ik->i", matrix, part, matrix)
    return np.sqrt(np.maximum(variances, 0.0)).reshape(len(table), size)


def _parameters(form: Form, shape: np.ndarray) -> tuple[tuple[str, ...], np.ndarray, np.ndarray]:
    """Names and values of the parameters, and their derivatives by the natural ones."""
    weights, sigmas, (e, d) = numbers_of(form, shape)
    names = [f"weight_{k + 1}" for k in range(form.components)]
    names += [f"sigma_{k + 1}" for k in range(form.components)]
    matrix = np.eye(2 * form.components + form.further)
    ellipse: list[float] = []
    if form.rotated:
        size = max(math.hypot(e, d), 1e-12)
        ellipse = [math.exp(-size), 0.5 * math.atan2(d, e)]
        slope = -ellipse[0] / size
        matrix[-2, -2:] = slope * e, slope * d
        matrix[-1, -2:] = -0.5 * d / size**2, 0.5 * e / size**2
        names += ["ratio", "theta"]
    elif form.further:
        ellipse = [math.exp(-e)]
        matrix[-1, -1] = -ellipse[0]
        names.append("ratio")
    return tuple(names), np.concatenate([weights, sigmas, ellipse]), matrix


def _table(
    solution: Solution, each: np.ndarray, used: np.ndarray, level: float, unit: float
) -> np.ndarray:
    """The rows of the stars that were used."""
    kinds = [(name, np.int64 if name == "pixels" else np.float64) for name in _STAR]
    rows = np.empty(len(solution.own), kinds)
    errors = np.sqrt(np.maximum(np.einsum("sii->si", each), 0.0))
    rows["flux"], rows["flux_error"] = solution.own[:, 0] * unit, errors[:, 0] * unit
    rows["x"], rows["x_error"] = solution.own[:, 1], errors[:, 1]
    rows["y"], rows["y_error"] = solution.own[:, 2], errors[:, 2]
    rows["offset"] = solution.own[:, 3] * unit + level
    rows["chi2"], rows["pixels"] = solution.chi2, used.sum(axis=(1, 2))
    return rows


def _refused(scene: Scene, refused: dict[int, str]) -> np.ndarray:
    """Place and reason of each star that was refused."""
    longest = max(map(len, refused.values()), default=1)
    table = np.empty(len(refused), [("x", "f8"), ("y", "f8"), ("reason", f"U{longest}")])
    rows = sorted(refused)
    table["x"], table["y"] = scene.known.places[rows].T if rows else (0.0, 0.0)
    table["reason"] = [refused[row] for row in rows]
    return table
