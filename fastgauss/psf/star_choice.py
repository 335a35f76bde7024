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
MANY = "fainter than the stars that suffice"
UNLIKE = "unlike the other stars"
LATE = "found beside brighter stars"

_MOST = 100  # stars
_CORE, _WINDOW = 2.0, 2.5  # sigmas: radius of the core, half a window
_LEAST_SIGNIFICANCE = 15.0
_LEAST_LIKENESS = 0.5  # one pixel has 0.2 at sigma 1.3, a star of thrice the sigma 0.6
NEAR, NEAR_SHARE = 6.0, 0.02  # sigmas within which a neighbour of this relative flux disturbs
_WIDE, _WIDE_SHARE = 14.0, 2.0


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


def choose(
    picture: Picture, known: Catalogue, candidates: np.ndarray, sigma: float
) -> tuple[np.ndarray, dict[int, str]]:
    """Rows of the stars to use, the brightest first, and why others are refused."""
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
