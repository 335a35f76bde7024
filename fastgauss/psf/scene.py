"""An image of stars with one profile: chosen stars show the shape, the others are subtracted.

In rounds, all stars are drawn; the shape and the chosen stars are fitted together to the image
without the light of the others (``shared_shape.py``); the others are fitted with this shape, each
to the image without all but itself; and the noise, the wild pixels and the stars that are unlike
the others are found in the residual.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from . import noise as noises
from .picture import Picture
from .profiles import Form, local, values
from .shared_shape import (
    OWN,
    ROUGH_GAIN,
    Solution,
    Stack,
    chi2_of,
    fit_stars,
    leverages,
    middles,
    models,
    planes,
    solve,
)
from .sky import Sky, measure_sky
from .star_choice import Catalogue, window_half

_CHUNK = 128  # stars drawn at a time
_REACH = 1.0  # pixels, or half a sigma: how far a chosen star may be from where it was found
_EDGE, _LEAST_WIDEST = 3.0, 2.5  # a wider component is sky: sigmas in half a box; in sigmas
_EDGE_OF_SKY = 1.5  # the same where the sky is known from elsewhere
_MOST_FOLLOWED = 0.9  # of the noise of a pixel
_WILD_PART = 0.2  # of the middle of a star, beyond which it is none
_TINY = 1e-7  # least standard deviation of a pixel in units of the contrast


@dataclass
class Scene:
    """The stars of a picture, and what is known of them so far."""

    picture: Picture
    known: Catalogue
    chosen: np.ndarray  # rows of the stars that show the shape
    half: int  # of their boxes
    sigma: float
    form: Form
    shape: np.ndarray  # the shape's free parameters
    constant: float  # variance of the sky
    own: np.ndarray = field(init=False)  # of the chosen stars (S, 6)
    others: np.ndarray = field(init=False)  # of all stars (n, 6); those of the chosen follow `own`
    wild: np.ndarray = field(init=False)  # (S, y, x)
    reach: float = field(init=False)
    widest: float = field(init=False)
    near: np.ndarray = field(init=False)
    noise: noises.Noise | None = None
    sky: Sky | None = None  # of the chosen stars

    def __post_init__(self) -> None:
        stars = np.zeros((len(self.known.flux), OWN))
        stars[:, 0] = np.maximum(self.known.flux, 0.0)
        stars[:, 1:3] = self.known.places
        self.others, self.own = stars, stars[self.chosen].copy()
        side = 2 * self.half + 1
        self.wild = np.zeros((len(self.chosen), side, side), bool)
        self.reach = max(_REACH, 0.5 * self.sigma)
        self.widest = max(self.half / _EDGE, _LEAST_WIDEST * self.sigma)
        self.near = self._near()

    def _near(self) -> np.ndarray:
        """Rows of the chosen stars, and of those whose light may reach their boxes."""
        from scipy.spatial import KDTree

        tree = KDTree(self.known.places[self.chosen])
        distances = tree.query(self.known.places, p=np.inf)[0]
        return np.flatnonzero(distances <= 2 * self.half + 2)

    # -- light -------------------------------------------------------------------------------------

    def _light(self, stars: np.ndarray, first: np.ndarray, side: int) -> np.ndarray:
        """The light of stars in boxes that begin at ``first``."""
        step = np.arange(side)
        dy = (first[:, :1] - stars[:, 2:3]) + step
        dx = (first[:, 1:] - stars[:, 1:2]) + step
        q = local(self.form, self.shape, middles(first, side))
        return values(self.form, q, dy, dx) * stars[:, :1, np.newaxis]

    def drawn(self) -> np.ndarray:
        """All stars, on the pixels of the picture and its frame."""
        self.others[self.chosen, :3] = self.own[:, :3]
        total, side = np.zeros(self.picture.values.shape), 2 * self.half + 1
        for start in range(0, len(self.near), _CHUNK):
            part = self.near[start : start + _CHUNK]
            _, _, first = self.picture.windows(self.known.places[part], self.half)
            light = self._light(self.others[part], first, side)
            for (y, x), box in zip(first + self.picture.margin, light, strict=True):
                total[y : y + side, x : x + side] += box
        return total

    def boxes(self, stars: np.ndarray, rows: np.ndarray, half: int, total: np.ndarray) -> Stack:
        """Pixels around stars without the light of the others."""
        y, x, first = self.picture.windows(self.known.places[rows], half)
        light = self._light(stars, first, 2 * half + 1)
        crowd = total[y, x] - light
        good = self.picture.good[y, x]
        if self.picture.variance is not None:
            variance = self.picture.variance[y, x]
        elif self.noise is not None:
            level = crowd + light + stars[:, 3, np.newaxis, np.newaxis]
            variance = self.noise.variance(level)
        else:
            variance = np.full(good.shape, self.constant)
        return Stack(self.picture.values[y, x] - crowd, good / variance, first)

    # -- rounds ------------------------------------------------------------------------------------

    def stack(self, total: np.ndarray) -> Stack:
        """The boxes of the chosen stars without their wild pixels."""
        found = self.boxes(self.own, self.chosen, self.half, total)
        return found._replace(weights=np.where(self.wild, 0.0, found.weights), sky=self.sky)

    def level(self) -> None:
        """Set the planes of chosen stars, at the start, to the sky of their boxes."""
        y, x, _ = self.picture.windows(self.known.places[self.chosen], self.half)
        shown = np.where(self.picture.good[y, x], self.picture.values[y, x], np.nan)
        self.own[:, 3] = np.nanmedian(shown.reshape(len(self.chosen), -1), axis=1)

    def fit(self, stack: Stack, least_gain: float = ROUGH_GAIN) -> Solution:
        """The shape and the chosen stars together."""
        form, shape, own = self.form, self.shape, self.own
        found = solve(form, shape, own, stack, self.reach, self.widest, least_gain)
        self.shape, self.own = found.shape, found.own
        return found

    def judge(self, stack: Stack, total: np.ndarray) -> None:
        """Measure the noise by the residuals, and find wild pixels."""
        model = models(self.form, self.shape, self.own, stack)
        residual = stack.data - model
        y, x, _ = self.picture.windows(self.known.places[self.chosen], self.half)
        level = model + total[y, x] - self._light(self.own, stack.first, 2 * self.half + 1)
        exists = self.picture.good[y, x]
        used = exists & ~self.wild
        followed = np.minimum(leverages(self.form, self.shape, self.own, stack), _MOST_FOLLOWED)
        free = residual / np.sqrt(1.0 - followed)  # as large as the noise is
        self.noise = noises.measure_noise(level[used], free[used], _TINY**2)
        variance = self.noise.variance(level)
        if self.picture.variance is not None:
            variance = np.maximum(variance, self.picture.variance[y, x])
        star = model - planes(self.own, 2 * self.half + 1)
        self.wild = exists & noises.is_wild(residual, variance, star)

    def look_at_sky(self, total: np.ndarray) -> None:
        """Measure the sky of the chosen stars' boxes where no star is."""
        places = self.known.places[self.chosen]
        self.sky = measure_sky(self.picture, total, self.constant, places, self.half)
        if self.sky.precisions.any():
            self.widest = max(self.half / _EDGE_OF_SKY, self.widest)

    def fit_others(self, total: np.ndarray) -> None:
        """The stars that were not chosen, each without the light of all others."""
        rest = np.setdiff1d(self.near, self.chosen)
        for start in range(0, len(rest), _CHUNK):
            rows = rest[start : start + _CHUNK]
            stack = self.boxes(self.others[rows], rows, window_half(self.sigma), total)
            stars = self.others[rows]
            stars[:, 1:3] = self.known.places[rows]
            self.others[rows] = fit_stars(self.form, self.shape, stars, stack, 3)

    def spreads(self, total: np.ndarray) -> np.ndarray:
        """The deviation of each pixel's noise, with the light of all stars (and the frame)."""
        variance = self.picture.variance
        if variance is None and self.noise is not None:
            variance = self.noise.variance(total + float(np.median(self.own[:, 3])))
        return np.sqrt(np.full(total.shape, self.constant) if variance is None else variance)

    def add(self, places: np.ndarray) -> np.ndarray:
        """Stars at places ``x, y`` that were not known, none of them chosen; their rows."""
        rows = np.arange(len(places)) + len(self.known.flux)
        self.known = self.known.with_places(places)
        stars = np.zeros((len(places), OWN))
        stars[:, 1:3] = places
        self.others = np.concatenate([self.others, stars])
        self.near = self._near()
        return rows

    def refuse(self, stack: Stack) -> np.ndarray:
        """Leave out chosen stars that are unlike the others; their rows in the catalogue."""
        weights = np.where(self.wild, 0.0, stack.weights)
        chi2 = chi2_of(self.form, self.shape, self.own, stack._replace(weights=weights))
        away = np.abs(self.own[:, 1:3] - self.known.places[self.chosen]).max(axis=1)
        wrong = noises.unlike_others(chi2, (weights > 0).sum(axis=(1, 2)))
        wrong |= ~(self.own[:, 0] > 0) | (away >= 0.999 * self.reach)
        middle = slice(self.half - window_half(self.sigma), self.half + window_half(self.sigma) + 1)
        wrong |= self.wild[:, middle, middle].mean(axis=(1, 2)) > _WILD_PART
        return self.leave_out(wrong)

    def leave_out(self, wrong: np.ndarray) -> np.ndarray:
        """Leave out some of the chosen stars (S,), if not all; their rows in the catalogue."""
        if wrong.all():
            return self.chosen[:0]
        gone = self.chosen[wrong]
        self.sky = None if self.sky is None else self.sky.take(~wrong)
        self.others[self.chosen, :4] = self.own[:, :4]
        self.own, self.wild, self.chosen = self.own[~wrong], self.wild[~wrong], self.chosen[~wrong]
        return gone
