"""Sums of Gaussians that stand for other point spread functions: Moffat profiles, and images.

A Moffat profile is a mixture of Gaussians: with alpha the core width,

    (1 + (r / alpha)**2)**-beta = int t**(beta - 1) exp(-t) / Gamma(beta) exp(-t (r / alpha)**2) dt,

so that its flux is spread over Gaussians of sigma = alpha / sqrt(2 t) as a Gamma distribution of t
with the shape beta - 1. Its quantiles are where a few Gaussians start from; least squares with
weights that follow the residual (C. Lawson 1961) then make the largest error as small as possible.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ..base import check, wording
from ..base.named_axes import in_order
from .psf import PsfModel, psf_model
from .psf_components import MOST

_ROUNDS, _NEAR = 10, 4.0  # of weights; how near the first round must come to the tolerance
_FLOOR = 1e-3  # least weight, relative
_RADII, _SPREAD = 120, 2.2
_GRID = 24  # sigmas among which the start of an image is found
_LEAST_SIDE = 5
_LEAST_TOL = 1e-6  # for rounding
_WIDEST = 1e6  # sigma in units of alpha, or pixels: a wider Gaussian is no part of a profile
_NARROWEST = 1e-2  # of the distance of the points of an image


class _Problem(NamedTuple):
    """A target, and the model of it: ``model(p)`` returns values and their derivatives."""

    target: np.ndarray
    model: Callable


def _solve(problem: _Problem, start: np.ndarray, tol: float) -> tuple[float, np.ndarray]:
    """The largest error and the parameters, by least squares with weights that follow the error."""
    from scipy.optimize import least_squares

    weight = np.ones(len(problem.target))
    best, found, p = math.inf, start, start
    for _ in range(_ROUNDS):
        p = least_squares(
            lambda q, w=weight: w * (problem.model(q)[0] - problem.target),
            p,
            lambda q, w=weight: w[:, np.newaxis] * problem.model(q)[1],
            method="lm",
            max_nfev=200,
        ).x
        error = np.abs(problem.model(p)[0] - problem.target)
        largest = float(error.max())
        if not math.isfinite(largest):
            break
        if largest < best:
            best, found = largest, p
        if best <= tol or best > _NEAR * tol:
            break
        weight = weight * np.sqrt(error / largest + _FLOOR)
        weight /= weight.max()
    return best, found


# -- Moffat profiles ---------------------------------------------------------------------------


def moffat_psf(fwhm: float, beta: float, tol: float = 1e-4) -> PsfModel:
    """A Moffat profile as a sum of Gaussians: a star that is seen through the atmosphere.

    Parameters
    ----------
    fwhm : float
        Full width at half maximum in pixels, from 0.02 to 1000.
    beta : float
        Exponent of ``(1 + (r / alpha)**2)**-beta``, from 1.2 to a million.
    tol : float
        Largest error of the profile, relative to its peak, and of the part of the flux within any
        radius. The sum has as few Gaussians as reach it.

    Returns
    -------
    PsfModel

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind or value, or eight Gaussians do not reach `tol`. With
        eight, the error is 1e-3 for beta 1.5, 1e-4 for 2, 2e-5 for 2.5 and less above.

    Notes
    -----
    The profile is a mixture of Gaussians whose inverse variances follow a Gamma distribution. Its
    quantiles are the start of a fit whose largest error is made as small as possible. A call takes
    some tenths of a second.

    References
    ----------
    .. [1] A. Moffat, Astronomy and Astrophysics 3, 455 (1969).
    .. [2] I. Trujillo et al., MNRAS 328, 977 (2001): typical beta of real images, 2.5 to 4.8.

    Examples
    --------
    >>> import fastgauss as fg
    >>> psf = fg.moffat_psf(3.0, 3.5, tol=1e-3)
    >>> psf
    <PsfModel of 4 Gaussians, FWHM 3 px>
    >>> psf.components["weight"].round(2)
    array([0.12, 0.52, 0.33, 0.04])
    """
    width = check.number("fwhm", fwhm, at_least=0.02, at_most=1e3)
    exponent = check.number("beta", beta, at_least=1.2, at_most=1e6)
    least = check.number("tol", tol, at_least=_LEAST_TOL)
    reached = math.inf
    for count in range(1, MOST + 1):
        error, weights, sigmas = _moffat(exponent, least, count)
        reached = min(error, reached)
        if error <= least:
            alpha = 0.5 * width / math.sqrt(math.expm1(math.log(2.0) / exponent))
            return psf_model(weights, alpha * sigmas)
    raise ValueError(
        f"tol must be at least {_rounded_up(reached)} for beta={wording.shown(beta)}: "
        f"{MOST} Gaussians come no nearer; got {wording.shown(tol)}"
    )


def _rounded_up(error: float) -> str:
    """An error in two digits, of which it is not above."""
    digit = 10.0 ** (math.floor(math.log10(error)) - 1)
    return f"{math.ceil(error / digit) * digit:.2g}"


def _moffat(beta: float, tol: float, count: int) -> tuple[float, np.ndarray, np.ndarray]:
    """Error, weights and sigmas, in units of alpha, of a number of Gaussians."""
    from scipy.special import gammaincinv

    outer = math.sqrt(math.expm1(min(-math.log(tol) / (beta - 1.0), 40.0)))
    radii = np.geomspace(0.01 / math.sqrt(2.0 * beta), 2.0 * outer, _RADII)
    square = np.concatenate([[0.0], radii]) ** 2
    logarithm = np.log1p(square)
    target = np.concatenate([np.exp(-beta * logarithm), -np.expm1((1.0 - beta) * logarithm)])
    edges = 0.5 * (1.0 + np.tanh(_SPREAD * np.linspace(-1.0, 1.0, count + 1)) / np.tanh(_SPREAD))
    t = gammaincinv(beta - 1.0, 0.5 * (edges[1:] + edges[:-1]))[::-1]
    start = np.log(np.concatenate([np.diff(edges), 1.0 / np.sqrt(2.0 * np.maximum(t, 1e-30))]))

    def model(p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        with np.errstate(all="ignore"):
            weights = np.exp(p[:count] - p[:count].max())
            weights /= weights.sum()
            sigmas = np.exp(p[count:])
            q = 0.5 * square[:, np.newaxis] / sigmas**2
            e = np.exp(-q)
            heights = e / (2.0 * sigmas**2 * (beta - 1.0))
            columns = np.concatenate([heights, 1.0 - e])
            values = columns @ weights
            by_weight = (columns - values[:, np.newaxis]) * weights
            by_sigma = np.concatenate([heights * (2.0 * q - 2.0), -2.0 * q * e]) * weights
        return values, np.concatenate([by_weight, by_sigma], axis=1)

    error, found = _solve(_Problem(target, model), start, tol)
    weights = np.exp(found[:count] - found[:count].max())
    sigmas = np.exp(np.minimum(found[count:], 99.0))
    if sigmas.max() > _WIDEST:
        error = math.inf
    return error, weights / weights.sum(), sigmas


# -- images ------------------------------------------------------------------------------------


def psf_from_image(
    array: ArrayLike,
    oversampling: float | tuple[float, float] = 1,
    components: int | str = "auto",
    tol: float = 1e-3,
) -> PsfModel:
    """A measured point spread function as a sum of Gaussians.

    Parameters
    ----------
    array : array (y, x)
        Values of the profile in any unit, without background. The centre of the star is the middle
        of the array.
    oversampling : float or (float, float)
        Points for each pixel of the images that will be fitted, along both axes or along y and x.
    components : "auto" or int
        Number of Gaussians, at most 8; "auto" takes as few as reach `tol`.
    tol : float
        Largest error at the points of the array, relative to its largest value.

    Returns
    -------
    PsfModel
        Of round Gaussians with one centre if these reach `tol`, else of elliptic ones with centres
        of their own. All weights are positive.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind, shape or value, or with "auto" if eight Gaussians do
        not reach `tol`; the message tells the error that they reach.

    Warns
    -----
    UserWarning
        If the given number of components does not reach `tol`, with the error that they reach.

    Notes
    -----
    The start is a nonnegative combination of Gaussians with many sigmas (scipy's ``nnls``), which
    nonlinear least squares improve. The light beyond the array is not known: the flux of the model
    is that of its Gaussians. An *effective* PSF, as of photutils' ``EPSFBuilder``, holds the
    integration over pixels already: fit with ``pixel="sample"``.

    References
    ----------
    .. [1] M. Cappellari, MNRAS 333, 400 (2002): sums of Gaussians for images.

    Examples
    --------
    >>> import fastgauss as fg
    >>> measured = fg.moffat_psf(12.0, 3.0).image((101, 101))  # four points for each pixel
    >>> fg.psf_from_image(measured, oversampling=4, tol=1e-2)
    <PsfModel of 2 Gaussians, FWHM 3.02 px>
    """
    values = check.finite_array("array", in_order("array", array), 2)
    if min(values.shape) < _LEAST_SIDE:
        raise ValueError(
            f"array must have at least {_LEAST_SIDE} rows and columns, got {values.shape}"
        )
    if not values.max() > 0:
        raise ValueError(f"array must have a positive maximum, got {values.max():g}")
    steps = check.per_axis("oversampling", oversampling, 2, above=0.0)
    least = check.number("tol", tol, at_least=_LEAST_TOL)
    automatic = isinstance(components, str)
    if automatic:
        check.choice("components", components, ("auto",))
        counts = range(1, MOST + 1)
    else:
        most = check.integer("components", components, at_least=1, at_most=MOST)
        counts = range(most, most + 1)
    error, table = _of_image(values / values.max(), steps, counts, least)
    if error > least:
        reached = f"{MOST if automatic else counts[0]} Gaussians reach {_rounded_up(error)}"
        if automatic:
            raise ValueError(f"tol must be larger for this array: {reached}, got {least:g}")
        warnings.warn(f"the error of the PSF is larger than tol={least:g}: {reached}", stacklevel=2)
    return psf_model(table[:, 0], table[:, 3:5], offsets=table[:, 1:3])


def _of_image(
    values: np.ndarray, steps: tuple[float, ...], counts: range, tol: float
) -> tuple[float, np.ndarray]:
    """The least error, and weight, centre and sigmas (y before x) of each Gaussian."""
    sides = zip(values.shape, steps, strict=True)
    axes = [(np.arange(n) - 0.5 * (n - 1)) / step for n, step in sides]
    y, x = (each.ravel() for each in np.meshgrid(*axes, indexing="ij"))
    bright = values.ravel() * (values.ravel() > 0.5)
    centre = (bright @ y / bright.sum(), bright @ x / bright.sum())
    spectrum = _spectrum(values, axes, centre)
    best, table = math.inf, np.empty((0, 5))
    for elliptic in (False, True):
        for count in counts:
            heights, sigmas = _grouped(*spectrum, count)
            start = [np.log(heights), np.log(sigmas), np.array(centre)]
            if elliptic:
                start = [*start[:1], np.full(count, centre[0]), np.full(count, centre[1])]
                start += [np.log(sigmas), np.log(sigmas)]
            p = np.concatenate(start)
            if len(p) > values.size:
                continue
            model = _image_model(y, x, count, elliptic)
            error, found = _solve(_Problem(values.ravel(), model), p, tol)
            made = _as_table(found, count, elliptic)
            widths = made[:, 3:5]
            sound = np.isfinite(made).all() and (made[:, 0] > 0).all()
            sound &= (widths > _NARROWEST / max(steps)).all() and (widths < _WIDEST).all()
            if error < best and sound:
                best, table = error, made
            if best <= tol:
                return best, table
    return best, table


def _spectrum(
    values: np.ndarray, axes: list[np.ndarray], centre: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray]:
    """Heights and sigmas of the round Gaussians that approximate an image, the heights above 0."""
    from scipy.optimize import nnls

    finest = min(float(axis[1] - axis[0]) for axis in axes)
    widest = max(float(axis[-1] - axis[0]) for axis in axes)
    sigmas = np.geomspace(0.3 * finest, 0.7 * widest, _GRID)
    tables = [
        np.exp(-0.5 * ((axis - at) / sigmas[:, np.newaxis]) ** 2)
        for axis, at in zip(axes, centre, strict=True)
    ]
    columns = (tables[0][:, :, np.newaxis] * tables[1][:, np.newaxis, :]).reshape(_GRID, -1).T
    q, r = np.linalg.qr(columns)
    heights, _ = nnls(r, q.T @ values.ravel())
    shown = heights > 0
    if not shown.any():
        return np.ones(1), sigmas[:1]
    return heights[shown], sigmas[shown]


def _grouped(heights: np.ndarray, sigmas: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """As many Gaussians as asked for: the nearest sigmas are joined, the brightest are divided."""
    places, lights = np.log(sigmas).tolist(), (heights * sigmas**2).tolist()
    groups = list(zip(places, lights, strict=True))
    while len(groups) > count:
        k = min(range(len(groups) - 1), key=lambda i: groups[i + 1][0] - groups[i][0])
        (one, light), (other, more) = groups[k : k + 2]
        groups[k : k + 2] = [((one * light + other * more) / (light + more), light + more)]
    while len(groups) < count:
        k = max(range(len(groups)), key=lambda i: groups[i][1])
        place, light = groups[k]
        groups[k : k + 1] = [(place - 0.2, 0.5 * light), (place + 0.2, 0.5 * light)]
    wide = np.exp(np.array([place for place, _ in groups]))
    return np.array([light for _, light in groups]) / wide**2, wide


def _image_model(y: np.ndarray, x: np.ndarray, count: int, elliptic: bool) -> Callable:
    """Values and derivatives by log heights, then log sigmas and centre, or centres and sigmas."""

    def model(p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        with np.errstate(all="ignore"):
            table = _as_table(p, count, elliptic)
            _, at_y, at_x, sigma_y, sigma_x = table.T
            v, u = (y[:, np.newaxis] - at_y) / sigma_y, (x[:, np.newaxis] - at_x) / sigma_x
            parts = np.exp(p[:count] - 0.5 * (u * u + v * v))
            by_y, by_x = parts * v / sigma_y, parts * u / sigma_x
            by_width = [parts * v * v, parts * u * u]
            columns = [parts, by_y, by_x, *by_width]
            if not elliptic:
                by_y, by_x = (by.sum(axis=1, keepdims=True) for by in (by_y, by_x))
                columns = [parts, by_width[0] + by_width[1], by_y, by_x]
            return parts.sum(axis=1), np.concatenate(columns, axis=1)

    return model


def _as_table(p: np.ndarray, count: int, elliptic: bool) -> np.ndarray:
    """Weight, centre and sigmas (y before x) of each Gaussian."""
    with np.errstate(all="ignore"):
        heights = np.exp(p[:count])
        if elliptic:
            at_y, at_x = p[count : 3 * count].reshape(2, -1)
            sigma_y, sigma_x = np.exp(p[3 * count :]).reshape(2, -1)
        else:
            sigma_y = sigma_x = np.exp(p[count : 2 * count])
            at_y, at_x = (np.full(count, each) for each in p[2 * count :])
        return np.column_stack([heights * sigma_y * sigma_x, at_y, at_x, sigma_y, sigma_x])
