"""Sizes and angles of sources from their fitted covariances, with errors and upper limits."""

from __future__ import annotations

import math

import numpy as np

from ..base import check, wording
from ..models.psf_source import SourceModel
from ..models.sloped import SlopedModel
from .fit_result import FitResult

_FIRST = 3  # the column of xx, before yy and xy
_FIELDS = (
    "sigma_major", "sigma_minor", "theta", "sigma_major_error", "sigma_minor_error", "theta_error",
    "sigma_major_limit", "sigma_minor_limit",
)  # fmt: skip
_MOST_LEVEL = 0.9999
_SPLIT = 4.0  # times the variance of what splits two axes: noise in the square of their distance
_UNKNOWN = math.pi / math.sqrt(12.0)  # standard deviation of an angle of which nothing is known


def source_shapes(result: FitResult, level: float = 0.95) -> np.ndarray:
    """Sigmas and angle of sources that were fitted behind a point spread function.

    Parameters
    ----------
    result : FitResult
        Of a fit with a ``model`` that `PsfModel.with_source` made.
    level : float
        The probability with which an axis is below its limit, between 0.5 and 0.9999; how well
        limits keep it is in Notes.

    Returns
    -------
    structured array (n,)
        ``sigma_major`` and ``sigma_minor`` in pixels, the roots of the principal values of the
        fitted covariance without what noise adds to their distance (see Notes), 0 where that is
        negative; ``theta``, the angle of the major axis from +x
        towards +y in (-pi/2, pi/2]; ``sigma_major_error``, ``sigma_minor_error``, ``theta_error``;
        and the upper limits ``sigma_major_limit`` and ``sigma_minor_limit``. All are NaN where a
        fit has no result.

    Raises
    ------
    TypeError, ValueError
        If the result is of another model, or the level out of range.

    Notes
    -----
    Errors are to first order, those of a sigma as if its square were at least its standard error,
    and that of an angle at most that of a random one, 0.907, which a round source has. The limit
    takes the estimate v of a squared sigma for normal with the standard error e, and the square for
    positive: v + e q(1 - (1 - level) p(v / e)) with the normal distribution p and its quantile q.

    Noise splits the axes of a round source, and makes the major one too large and the minor one too
    small. Half the difference r of the principal values is therefore replaced by
    r - b**2 (1 - exp(-r**2 / b**2)) / (2 r), where b is the standard error across the major axis
    [2]_; the mean of both values remains. For 8,000 sources of axes of 0.5 to 3 pixels behind a
    Moffat profile at a signal-to-noise ratio of 50, the mean of sigma_major was 0.1 to 0.3 percent
    too large, and that of sigma_minor 0.3 to 0.7 percent too small (0.7 and 1.5 percent with r
    itself); ellipticities (xx - yy) / (xx + yy) and 2 xy / (xx + yy) had less than 0.5 percent of
    bias.

    For the limit of the minor axis, v is the mean of the principal values less the root of
    r**2 - 4 s**2, or the mean itself where that is negative; s**2 is the variance of (xx - yy) / 2
    and of xy together. In simulations at a level of 95 % the limit of the minor
    axis held for 95 to 99 % of sources, round ones and such of axes 2:1, whose larger covariance
    was at least 5 times its error; for 88 to 97 % at 3 times, for 81 to 92 % at 1.5 times, where
    errors are not of first order; and for 97 % or more of sources smaller than their errors. The
    limit of the major axis held for 91 to 96 % of long sources and for 99 % of round ones. Means
    over sources are to be taken of xx, yy and xy.

    References
    ----------
    .. [1] E. Sheldon, MNRAS 444, L25 (2014): sums of Gaussians for galaxies behind such functions.
    .. [2] S. Plaszczynski et al., MNRAS 439, 4048 (2014): lengths of vectors without the bias of
       noise.

    Examples
    --------
    >>> import fastgauss as fg
    >>> galaxies = fg.psf_model([0.7, 0.3], [1.2, 2.4]).with_source()
    >>> image = fg.image([[900.0, 7.2, 6.9, 4.0, 1.0, 0.0, 10.0]], (15, 15), galaxies)
    >>> shapes = fg.source_shapes(fg.fit_rois(image, galaxies))
    >>> shapes["sigma_major"].round(4), shapes["sigma_minor"].round(4)
    (array([2.]), array([1.]))
    """
    if not isinstance(result, FitResult):
        raise TypeError(f"result must be a FitResult, got {wording.shown(result)}")
    model = result.model.base if isinstance(result.model, SlopedModel) else result.model
    if not isinstance(model, SourceModel):
        raise ValueError(f"result must be of a model with_source(), got {result.model.name!r}")
    chance = 1.0 - check.number("level", level, at_least=0.5, at_most=_MOST_LEVEL)
    part = slice(_FIRST, _FIRST + 3)
    return shapes_of(result.params[:, part], result.covariance[:, part, part], chance)


def shapes_of(parts: np.ndarray, covariance: np.ndarray, chance: float) -> np.ndarray:
    """The shapes of estimates xx, yy, xy (n, 3) of this covariance (n, 3, 3).

    ``chance`` is the probability of a size above its limit.
    """
    from scipy.special import ndtr, ndtri

    values, angle, directions = _axes(parts)
    found = np.empty(len(parts), [(name, np.float64) for name in _FIELDS])
    found["theta"] = angle
    with np.errstate(all="ignore"):
        errors = [np.sqrt(np.einsum("ni,nij,nj->n", d, covariance, d)) for d in directions]
        apart = values[0] - values[1]
        turn = errors[2] / apart
        found["theta_error"] = np.where(turn < _UNKNOWN, turn, _UNKNOWN)
        found["theta_error"][np.isnan(errors[2] + apart)] = np.nan
        likely = values[0], _without_split(values, covariance)
        unsplit = _without_bias(values, errors[2])
        for k, name in enumerate(("sigma_major", "sigma_minor")):
            value, error = unsplit[k], errors[k]
            found[name] = np.sqrt(np.maximum(value, 0.0))
            size = np.sqrt(np.maximum(value, error))
            found[f"{name}_error"] = np.where(error > 0.0, 0.5 * error / size, error)
            pull = np.where(error > 0.0, likely[k] / error, 0.0)
            most = likely[k] - error * ndtri(chance * ndtr(pull))
            found[f"{name}_limit"] = np.sqrt(np.maximum(most, 0.0))
    return found


def _without_bias(values: tuple[np.ndarray, ...], across: np.ndarray) -> tuple[np.ndarray, ...]:
    """Principal values with the distance that they have on average without noise.

    ``across`` is the standard error of the turn of the axes, in units of their covariance.
    """
    mean, radius = 0.5 * (values[0] + values[1]), 0.5 * (values[0] - values[1])
    excess = -0.5 * across**2 * np.expm1(-((radius / across) ** 2)) / radius
    radius = radius - np.where(np.isfinite(excess), excess, 0.0)
    return mean + radius, mean - radius


def _without_split(values: tuple[np.ndarray, ...], covariance: np.ndarray) -> np.ndarray:
    """The minor principal value, less the part of its distance to the major one that is noise."""
    (xx, yy, xy), both = np.einsum("nii->in", covariance), covariance[:, 0, 1]
    noise = _SPLIT * (0.25 * (xx + yy - 2.0 * both) + xy)
    mean, radius = 0.5 * (values[0] + values[1]), 0.5 * (values[0] - values[1])
    return mean - np.sqrt(np.maximum(radius**2 - noise, 0.0))


def _axes(parts: np.ndarray) -> tuple[tuple[np.ndarray, ...], np.ndarray, list[np.ndarray]]:
    """Principal values, the angle, and what both values and the turn are of xx, yy and xy."""
    xx, yy, xy = parts.T
    mean, half = 0.5 * (xx + yy), 0.5 * (xx - yy)
    radius, angle = np.hypot(half, xy), 0.5 * np.arctan2(xy, half)
    angle = np.where(angle > -0.5 * math.pi, angle, np.abs(angle))  # NaN remains
    cos, sin = np.cos(angle), np.sin(angle)
    major = np.stack([cos**2, sin**2, 2.0 * sin * cos], axis=1)
    minor = np.stack([sin**2, cos**2, -2.0 * sin * cos], axis=1)
    turn = np.stack([-sin * cos, sin * cos, cos**2 - sin**2], axis=1)
    return (mean + radius, mean - radius), angle, [major, minor, turn]
