"""Which stars show the point spread function: bright ones, alone, with all pixels of their core."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..base import wording
from .picture import Picture

BORDER = "too near the border"
CORE = "saturated or missing pixels in the core"
NEIGHBOUR = "a neighbour too near or too bright"
FAINT = "too faint"
SHAPE = "not of the shape of a star"
WIDTH = "of another width than the stars"
MANY = "fainter than the stars that suffice"
UNLIKE = "unlike the other stars"
LATE = "found beside brighter stars"

_MOST, _LOOKED_AT = 100, 300  # stars; those whose widths are compared
_CORE, _WINDOW = 2.0, 2.5  # sigmas: radius of the core, half a window
_LEAST_SIGNIFICANCE = 15.0
_LEAST_LIKENESS = 0.5  # one pixel has 0.2 at sigma 1.3, a star of thrice the sigma 0.6
NEAR, NEAR_SHARE = 6.0, 0.02  # sigmas within which a neighbour of this relative flux disturbs
_WIDE, _WIDE_SHARE = 14.0, 2.0
_WIDTHS = np.geomspace(0.4, 2.5, 33)  # in units of sigma: among which that of a star is sought
_SPOT = 1.5  # error of the logarithm of a width, in units of that of the flux
_BLUR = 0.06  # of logarithms of widths
_MODE = 0.5  # of the highest density of widths, which that of stars has at least
_SIDE = 3.0  # sigmas: half a window in which widths are sought
_FEW = 4  # stars, among which there is no width of most
_ALIKE = (0.15, 0.35)  # how far widths of stars are apart: one shape, and one that varies
_CERTAIN = 2.5  # standard errors of a width


class Catalogue(NamedTuple):
    """All stars of a picture."""

    places: np.ndarray  # (n, 2): x and y
    flux: np.ndarray
    error: np.ndarray  # of the flux, by the noise of the sky
    likeness: np.ndarray  # correlation of the pixels and the Gaussian

    def with_places(self, places: np.ndarray) -> Catalogue:
        """These stars and others, of which no more than the place is known."""
        unknown = np.full(len(places), np.nan)
        rest = (np.concatenate([each, unknown]) for each in self[1:])
        return Catalogue(np.concatenate([self.places, places]), *rest)


def window_half(sigma: float) -> int:
    """Pixels from the middle to the edge of the window that measures a star alone."""
    return max(2, round(_WINDOW * sigma))


def rough_fluxes(picture: Picture, places: np.ndarray, sigma: float, noise: float) -> Catalogue:
    """Fluxes of stars as Gaussians of a width on levels of their own, neighbours or not."""
    half = window_half(sigma)
    rows, columns, _ = picture.windows(places, half)
    data, good = picture.values[rows, columns], picture.good[rows, columns]
    r2 = (rows - picture.margin - places[:, 1, None, None]) ** 2
    r2 = r2 + (columns - picture.margin - places[:, 0, None, None]) ** 2
    g = np.where(good, np.exp(-0.5 * r2 / sigma**2) / (2.0 * np.pi * sigma**2), 0.0)
    count = np.maximum(good.sum(axis=(1, 2)), 1)
    mean = g.sum(axis=(1, 2)) / count
    centred = np.where(good, g - mean[:, None, None], 0.0)
    square = (centred**2).sum(axis=(1, 2))
    square = np.where(square > 1e-12, square, np.inf)
    moment = (centred * np.where(good, data, 0.0)).sum(axis=(1, 2))
    level = np.where(good, data, 0.0).sum(axis=(1, 2)) / count
    power = np.where(good, data - level[:, None, None], 0.0)
    power = np.maximum((power**2).sum(axis=(1, 2)), 1e-300)
    return Catalogue(
        places, moment / square, np.sqrt(noise / square), moment / np.sqrt(square * power)
    )


def log_widths(picture: Picture, places: np.ndarray, sigma: float) -> np.ndarray:
    """Logarithms of the sigmas (n,) of the Gaussians that are most like stars, on levels."""
    half = max(3, round(_SIDE * sigma))
    rows, columns, _ = picture.windows(places, half)
    data, good = picture.values[rows, columns], picture.good[rows, columns]
    r2 = (rows - picture.margin - places[:, 1, None, None]) ** 2
    r2 = r2 + (columns - picture.margin - places[:, 0, None, None]) ** 2
    count = np.maximum(good.sum(axis=(1, 2)), 1)
    mean = np.where(good, data, 0.0).sum(axis=(1, 2)) / count
    data = np.where(good, data - mean[:, None, None], 0.0)
    likeness = np.empty((len(_WIDTHS), len(places)))
    for k, width in enumerate(_WIDTHS * sigma):
        g = np.where(good, np.exp(-0.5 * r2 / width**2), 0.0)
        g = np.where(good, g - (g.sum(axis=(1, 2)) / count)[:, None, None], 0.0)
        square = np.maximum((g**2).sum(axis=(1, 2)), 1e-300)
        likeness[k] = (g * data).sum(axis=(1, 2)) / np.sqrt(square)
    at = np.clip(likeness.argmax(axis=0), 1, len(_WIDTHS) - 2)
    below, top, above = (likeness[at + k, np.arange(len(places))] for k in (-1, 0, 1))
    curve = below - 2.0 * top + above
    shift = np.where(curve < 0.0, 0.5 * (below - above) / np.where(curve < 0.0, curve, 1.0), 0.0)
    step = np.log(_WIDTHS[1] / _WIDTHS[0])
    return np.log(sigma * _WIDTHS[at]) + np.clip(shift, -1.0, 1.0) * step


def width_of_stars(logarithms: np.ndarray, errors: np.ndarray) -> float:
    """The logarithm of the width that stars have: the narrowest one that many have.

    Nothing that is seen through a point spread function is narrower than it, but galaxies are
    wider, each by another factor.
    """
    blur = np.hypot(errors, _BLUR)
    at = np.linspace(logarithms.min(), logarithms.max(), 400)
    density = np.exp(-0.5 * ((at[:, np.newaxis] - logarithms) / blur) ** 2) @ (1.0 / blur)
    inner = np.concatenate([[-np.inf], density, [-np.inf]])
    peak = (density >= inner[:-2]) & (density >= inner[2:]) & (density >= _MODE * density.max())
    return float(at[np.flatnonzero(peak)[0]])


def _core_lost(picture: Picture, places: np.ndarray, sigma: float) -> np.ndarray:
    """Stars with a pixel of the core that does not exist."""
    half = int(np.ceil(_CORE * sigma)) + 1
    rows, columns, _ = picture.windows(places, half)
    r2 = (rows - picture.margin - places[:, 1, None, None]) ** 2
    r2 = r2 + (columns - picture.margin - places[:, 0, None, None]) ** 2
    inside = r2 <= max(_CORE * sigma, 1.0) ** 2
    return (inside & ~picture.good[rows, columns]).any(axis=(1, 2))


def _crowded(known: Catalogue, sigma: float) -> np.ndarray:
    """Stars that a neighbour disturbs."""
    from scipy.spatial import KDTree

    disturbed = np.zeros(len(known.flux), bool)
    tree = KDTree(known.places)
    for reach, share in ((NEAR, NEAR_SHARE), (_WIDE, _WIDE_SHARE)):
        pairs = tree.query_pairs(reach * sigma, output_type="ndarray")
        for a, b in (pairs.T, pairs.T[::-1]):
            disturbed[a] |= known.flux[b] > share * np.abs(known.flux[a])
    return disturbed


def _of_width(
    picture: Picture, known: Catalogue, rows: np.ndarray, sigma: float, varies: bool
) -> np.ndarray:
    """Which of the stars of these rows have the width of stars."""
    if len(rows) <= _FEW:
        return np.ones(len(rows), bool)
    logarithms = log_widths(picture, known.places[rows], sigma)
    errors = _SPOT * known.error[rows] / known.flux[rows]
    away = np.abs(logarithms - width_of_stars(logarithms, errors))
    return away <= _ALIKE[varies] + _CERTAIN * errors


def choose(
    picture: Picture, known: Catalogue, candidates: np.ndarray, sigma: float, varies: bool = False
) -> tuple[np.ndarray, dict[int, str]]:
    """Rows of the stars to use, the brightest first, and why others are refused.

    ``varies`` tells that the shape of stars is not the same everywhere.
    """
    x, y = known.places.T
    high, wide = picture.shape
    near = np.minimum(np.minimum(x, wide - 1 - x), np.minimum(y, high - 1 - y)) < _CORE * sigma
    reasons = (
        (near, BORDER),
        (_core_lost(picture, known.places, sigma), CORE),
        (~(known.flux > _LEAST_SIGNIFICANCE * known.error), FAINT),
        (~(known.likeness > _LEAST_LIKENESS), SHAPE),
        (_crowded(known, sigma), NEIGHBOUR),
    )
    refused: dict[int, str] = {}
    for wrong, reason in reasons:
        for row in np.flatnonzero(wrong & candidates):
            refused.setdefault(int(row), reason)
    left = np.array([r for r in np.flatnonzero(candidates) if int(r) not in refused], np.intp)
    left = left[np.argsort(-known.flux[left], kind="stable")]
    refused |= dict.fromkeys(map(int, left[_LOOKED_AT:]), MANY)
    left = left[:_LOOKED_AT]
    alike = _of_width(picture, known, left, sigma, varies)
    refused |= dict.fromkeys(map(int, left[~alike]), WIDTH)
    left = left[alike]
    refused |= dict.fromkeys(map(int, left[_MOST:]), MANY)
    return left[:_MOST], refused


def none_left(refused: dict[int, str]) -> ValueError:
    """The error of an image whose stars are all refused."""
    counts: dict[str, int] = {}
    for reason in refused.values():
        counts[reason] = counts.get(reason, 0) + 1
    told = ", ".join(f"{n} with the reason {reason!r}" for reason, n in counts.items())
    many = wording.plural(len(refused), "star")
    return ValueError(
        f"image must show a bright star without saturated pixels or near neighbours: of {many}, "
        f"{told}"
    )
