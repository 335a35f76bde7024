"""Likelihood-ratio tests of a joint fit: is a spot two, and are two close spots one.

Both questions compare one spot with two, fitted with the spots within two sigmas beside the light
of all others. The test statistic is the fall of the objective from the best fit of one to the best
fit of two, within 3.5 sigmas: of chi-squared or, with ``method="mle"``, of the deviance. Where the
noise is not known, chi-squared is that for the noise measured in the residual, as a function of
brightness (``spots/noise_scaling.py``). Where two leave more than noise the fall is divided by what
they leave for a degree of freedom, as in an F test: a spot that is no Gaussian is not two for that.

The hypothesis of one spot is one of the common width where widths are fixed or shared, and a spot
of any width where each has its own; that of two is two spots of the common width. Where the light
of more than three in four spots is wider than the width that is held, the width is wrong, or nearly
all are two: one spot is then as wide as the lower quartile.

Of one spot the statistic does not follow the chi-squared distribution: the second spot may be at
any place if its flux is 0, and one that is near the first changes the image only as a second
derivative does. The statistic is then the largest of a field of squares over all places and
directions. A simulation of this field (``benchmarks/comparisons/one_or_two.py``: white noise and
photons, two and three dimensions) gives 0.3 to 1.1 of the tail of the chi-squared distribution for
as many degrees of freedom as the second spot has parameters, between 5 % and 0.05 %, where the two
are within 1.5 sigmas, and 1.0 to 1.3 (in volumes 1.9) within 2.5. This tail is the level.

The start of the two, and whether a test has a reason, follow from a fit of the residual around
the spot by the spot's derivatives: the second ones stand for the covariance of the light beyond
that of one spot. Its principal axis is the direction, and its root half the distance.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.special import chdtri

from ..results.fit_result import FitResult
from .noise_scaling import ResidualNoise
from .search_fits import SearchFits
from .width_choice import Choice

_ROUNDS = 10
_CLOSE = 1.5  # sigmas, within which two spots may be one
_REASON = 0.4  # part of the level, from which a spot is tried as two
_HALF = 0.3, 1.2  # sigmas between the middle and each of the two, at the start
_REACH = 3.5  # sigmas around a spot, within which objectives are compared
_BESIDE = 2.0  # sigmas around a question, within which other spots are fitted with it
_USUAL = 0.25  # quantile of the variances of light, beyond those of one spot, that one spot has
_KNOWN = 0.2  # largest error of these, in variances of one spot
_MANY = 0.01  # part of spots that changed, from which the common width is fitted anew
_CHUNK = 256  # spots

Again = Callable[..., tuple[FitResult, "np.ndarray | None"]]


class Found(NamedTuple):
    """Spots of a search after the tests."""

    choice: Choice
    result: FitResult
    paired: np.ndarray  # (n,) bool: one of two that a test found to be two
    tried: np.ndarray  # (n,) bool: one spot, as a test found


class Questions(NamedTuple):
    """Places at which there are one or two spots; the windows of any two have no common pixel."""

    first: np.ndarray  # (m,) the row of the spot, or of the first of two
    second: np.ndarray  # (m,) that of the second, -1 where there is one
    one: np.ndarray  # (m, P)
    two: np.ndarray  # (2 m, P)

    @property
    def rows(self) -> np.ndarray:
        """All rows that are asked about."""
        return np.concatenate([self.first, self.second[self.second >= 0]])


class PairTests:
    """The tests of one image at a level."""

    def __init__(self, fits: SearchFits, noise: ResidualNoise, level: float) -> None:
        self.fits, self.noise = fits, noise
        self.ndim = fits.plain.ndim
        self.shape = fits.problem.picture.shape
        columns = fits.free_columns()
        self.possible = set(range(1 + self.ndim)) <= set(columns)
        self.wider = 0.0  # variance of one spot beyond that of the width held, relative
        self.own = fits.holds() and fits.own_widths()
        held = set(fits.width_columns) if fits.holds() and not self.own else set()
        self.level = float(chdtri(len(set(columns) - held), level)) if level else np.inf

    def resolve(
        self, found: Found, known: np.ndarray | None, again: Again,
        hold_common: Callable[..., Choice],
    ) -> Found:  # fmt: skip
        """The spots after tests in rounds, until no test has a reason that is not done.

        ``known`` is what is below the spots, None: what their fit says. The offset of spots that
        were fitted beside others has the light of these in it. ``again`` fits what changed,
        ``hold_common`` holds widths at a new common one. The first of two spots keeps the row of
        the one, the second follows all others.
        """
        if not self.possible or not np.isfinite(self.level):
            return found
        for _ in range(_ROUNDS):
            light, background = self.noise.parts(found.result)
            background = background if known is None else known
            error = self._error(light, background)
            asked = self._ask(found, self.noise.shown - light - background, error)
            if not len(asked.first):
                break
            found, changed = self._answer(found, asked, background, error)
            if not len(changed):
                continue
            shared = self.fits.holds() and len(changed) > _MANY * len(found.tried)
            result, known = again(found.result, found.choice, changed, shared, background)
            choice = hold_common(found.choice, result) if shared else found.choice
            if shared:  # of another width, what was one may be two
                found = found._replace(tried=found.paired.copy())
            params = np.where(np.isfinite(result.params), result.params, choice.params)
            found = found._replace(result=result, choice=choice._replace(params=params))
        return found

    def _error(self, light: np.ndarray, background: np.ndarray) -> np.ndarray:
        """The noise of each pixel: known, or measured in the residual."""
        if self.noise.counts:
            return self.noise.of_photons(light, background)
        if self.fits.asked.absolute:
            return np.broadcast_to(self.noise.error, self.shape)
        return self.noise(light, background, self.noise.shown - light - background)

    # -- questions -----------------------------------------------------------------------------

    def _ask(self, found: Found, residual: np.ndarray, error: np.ndarray) -> Questions:
        """The strongest questions that do not disturb each other."""
        ndim, params = self.ndim, found.result.params
        axes = slice(1, 1 + ndim)
        open_ = np.isfinite(params).all(axis=1) & ~found.choice.own
        widths = np.ones((len(params), ndim))
        widths[open_] = np.abs(self.fits.plain.widths(params[open_]))
        i, j = self._close(params, widths, np.flatnonzero(open_ & ~found.paired))
        new = ~(found.tried[i] & found.tried[j])
        i, j = i[new], j[new]
        wonder = np.flatnonzero(open_ & ~found.tried)
        gain, half, excess = self._reasons(params[wonder], widths[wonder], residual, error)
        self.wider = max(self.wider, float(np.quantile(excess, _USUAL)) if len(excess) else 0.0)
        wonder, half = (x[gain > _REASON * self.level] for x in (wonder, half))
        gain = gain[gain > _REASON * self.level]
        away = (((params[i] - params[j])[:, axes] / widths[i]) ** 2).sum(axis=1)
        order = np.concatenate([np.argsort(away, kind="stable"),
                                len(i) + np.argsort(-gain, kind="stable")])  # fmt: skip
        one = np.concatenate([self._merged(params[i], params[j]), params[wonder]])
        two = np.repeat(one, 2, axis=0)
        two[: 2 * len(i) : 2], two[1 : 2 * len(i) : 2] = params[i], params[j]
        two[2 * len(i) :: 2, axes] += half
        two[2 * len(i) + 1 :: 2, axes] -= half
        two[2 * len(i) :, 0] *= 0.5
        first = np.concatenate([i, wonder])
        second = np.concatenate([j, np.full(len(wonder), -1)])
        chosen = self._apart(one[:, axes][:, ::-1], widths[first][:, ::-1], first, second, order)
        return Questions(
            first[chosen], second[chosen], one[chosen],
            two.reshape(-1, 2, two.shape[1])[chosen].reshape(-1, two.shape[1]),
        )  # fmt: skip

    def _close(
        self, params: np.ndarray, widths: np.ndarray, rows: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Rows of spots that are nearest to one another, and close."""
        from scipy.spatial import KDTree

        if len(rows) < 2:
            return np.empty(0, np.intp), np.empty(0, np.intp)
        places = params[rows, 1 : 1 + self.ndim] / np.median(widths[rows], axis=0)
        distance, near = KDTree(places).query(places, k=2)
        near = np.where(near[:, 0] == np.arange(len(rows)), near[:, 1], near[:, 0])
        mutual = (near[near] == np.arange(len(rows))) & (np.arange(len(rows)) < near)
        i = np.flatnonzero(mutual & (distance[:, 1] < _CLOSE))
        return rows[i], rows[near[i]]

    def _merged(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """One spot of the light of two."""
        part = np.abs(a[:, :1]) / np.maximum(np.abs(a[:, :1]) + np.abs(b[:, :1]), 1e-300)
        one = part * a + (1 - part) * b
        one[:, 0] = a[:, 0] + b[:, 0]
        return one

    def _apart(
        self, places: np.ndarray, widths: np.ndarray, first: np.ndarray, second: np.ndarray,
        order: np.ndarray,
    ) -> np.ndarray:  # fmt: skip
        """Questions whose windows do not meet, the first of the order first."""
        from scipy.spatial import KDTree

        if not len(order):
            return order
        side = 2 * self._extent(widths).max(axis=0) + 1.0
        free, chosen = np.ones(len(order), bool), []
        used: set[int] = set()
        near = KDTree(places / side).query_ball_point(places / side, 1.0, p=np.inf)
        for k in order.tolist():
            rows = {int(first[k]), int(second[k])} - {-1}
            if free[k] and not rows & used:
                chosen.append(k)
                free[near[k]] = False
                used |= rows
        return np.array(chosen)

    def _extent(self, widths: np.ndarray) -> np.ndarray:
        """Half windows in pixels."""
        return np.ceil(_REACH * widths).astype(np.intp)

    def _reasons(
        self, params: np.ndarray, widths: np.ndarray, residual: np.ndarray, error: np.ndarray
    ) -> tuple[np.ndarray, ...]:
        """The fall of the objective that second derivatives promise, and half the distance.

        Of each spot (n,), and (n, ndim) along x, y, z. Also how much larger the variance of the
        light is than that of one spot, relative, where this is known.
        """
        gain, half = np.zeros(len(params)), np.zeros((len(params), self.ndim))
        excess, known = np.zeros((2, len(params)))
        for low in range(0, len(params), _CHUNK):
            rows = slice(low, low + _CHUNK)
            gain[rows], half[rows], excess[rows], known[rows] = self._expect(
                params[rows], widths[rows], residual, error
            )
        return gain, half, excess[known < _KNOWN]

    def _expect(
        self, params: np.ndarray, widths: np.ndarray, residual: np.ndarray, error: np.ndarray
    ) -> tuple[np.ndarray, ...]:
        """`_reasons` for a few spots, with the error of the last."""
        ndim = self.ndim
        centres = params[:, 1 : 1 + ndim]
        extent = self._extent(widths).max(axis=0)[::-1]
        offsets = np.stack(np.meshgrid(*[np.arange(-h, h + 1) for h in extent], indexing="ij"), -1)
        at = np.rint(centres[:, ::-1]).astype(np.intp)[:, None] + offsets.reshape(-1, ndim)
        inside = ((at >= 0) & (at < self.shape)).all(axis=2)
        index = tuple(np.clip(at, 0, np.array(self.shape) - 1).transpose(2, 0, 1))
        with np.errstate(invalid="ignore", divide="ignore"):
            left, weight = residual[index], 1.0 / error[index]
        left, weight = (np.where(inside & np.isfinite(left), x, 0.0) for x in (left, weight))
        d = (at[..., ::-1] - centres[:, None]) / widths[:, None]
        light = np.exp(-0.5 * (d**2).sum(axis=2)) * (params[:, :1] * self.fits.plain.peak)
        i, j = np.triu_indices(ndim)
        second = (d[..., i] * d[..., j] - (i == j)) / (widths[:, i] * widths[:, j])[:, None]
        columns = np.concatenate(
            [light[..., None], light[..., None] * d, np.ones_like(light)[..., None],
             light[..., None] * second * np.where(i == j, 0.5, 1.0)], axis=2
        )  # fmt: skip
        columns = columns * weight[..., None]
        scale = np.sqrt(np.maximum((columns**2).sum(axis=1), 1e-300))
        columns /= scale[:, None]
        normal = np.einsum("npk,npl->nkl", columns, columns)
        right = np.einsum("npk,np->nk", columns, left * weight)
        known = 2 + ndim
        normal[:, range(known), range(known)] += 1e-9  # where pixels are missing
        solved = np.linalg.solve(
            normal[:, :known, :known],
            np.concatenate([normal[:, :known, known:], right[:, :known, None]], axis=2),
        )
        across = normal[:, known:, :known]
        matrix = normal[:, known:, known:] - across @ solved[:, :, :-1]
        right = right[:, known:] - (across @ solved[:, :, -1:])[..., 0]
        scale = scale[:, known:]
        matrix, right = matrix * scale[:, :, None] * scale[:, None], right * scale
        alike = np.where(i == j, widths[:, i] * widths[:, j], 0.0)
        square = np.maximum(np.einsum("nh,nhl,nl->n", alike, matrix, alike), 1e-300)
        excess = (alike * right).sum(axis=1) / square
        return *self._along_axis(matrix, right, widths, (i, j)), excess, square**-0.5

    def _along_axis(
        self, matrix: np.ndarray, right: np.ndarray, widths: np.ndarray,
        pair: tuple[np.ndarray, np.ndarray],
    ) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
        """The best direction of a covariance of rank one: its gain, and half the distance."""
        directions = _directions(self.ndim)
        i, j = pair
        along = directions * widths[:, None]  # (n, k, ndim), of one sigma
        terms = along[..., i] * along[..., j]
        slope = np.einsum("nkh,nh->nk", terms, right)
        square = np.einsum("nkh,nhl,nkl->nk", terms, matrix, terms)
        with np.errstate(divide="ignore", invalid="ignore"):
            size = np.where((slope > 0) & (square > 0), slope / square, 0.0)
        gains = size * slope
        best = np.argmax(gains, axis=1)
        every = np.arange(len(best))
        half = np.clip(np.sqrt(size[every, best]), *_HALF)
        return gains[every, best], half[:, None] * along[every, best]

    # -- answers -------------------------------------------------------------------------------

    def _answer(
        self, found: Found, asked: Questions, background: np.ndarray, error: np.ndarray
    ) -> tuple[Found, np.ndarray]:
        """The spots with the answers, and where they changed (k, ndim)."""
        choice, ndim = found.choice, self.ndim
        fall, one, two = self._compare(found, asked, background, error)
        is_two, was_two = fall > self.level, asked.second >= 0
        params, hold = found.result.params.copy(), choice.hold.copy()
        params = np.where(np.isfinite(params), params, choice.params)
        paired, tried, stays = found.paired.copy(), found.tried.copy(), np.ones(len(params), bool)
        tried[asked.first], tried[asked.second[was_two]] = True, True
        both = np.concatenate([asked.first[is_two], asked.second[is_two & was_two]])
        paired[both] = True
        merged, split = was_two & ~is_two & np.isfinite(fall), is_two & ~was_two
        params[asked.first[merged]] = one.params[merged]
        stays[asked.second[merged]] = False
        halves = two.params[np.repeat(split, 2)]
        params[asked.first[split]] = halves[0::2]
        tried[asked.first[split]] = False
        count = int(split.sum())
        none, some = np.zeros(count, bool), np.ones(count, bool)
        hold = np.concatenate([hold[stays], hold[asked.first[split]]])
        choice = Choice(
            np.concatenate([params[stays], halves[1::2]]), hold,
            np.concatenate([choice.own[stays], none]),
        )  # fmt: skip
        places = np.concatenate([one.positions[merged], halves[:, ndim:0:-1]])
        return Found(
            choice, found.result[stays],
            np.concatenate([paired[stays], some]), np.concatenate([tried[stays], none]),
        ), places  # fmt: skip

    def _compare(
        self, found: Found, asked: Questions, background: np.ndarray, error: np.ndarray
    ) -> tuple[np.ndarray, FitResult, FitResult]:
        """By how much two leave less than one, in the noise's variances; both fits."""
        near = self._beside(found, asked)
        others = np.ones(len(found.tried), bool)
        others[asked.rows], others[near] = False, False
        beside = background + self.noise.light(found.result[others])
        weights = None if self.noise.counts else 1.0 / error**2
        columns, places = self.fits.width_columns, asked.one[:, self.ndim : 0 : -1]
        hold = found.result.params[:, columns]
        known = hold[asked.first]
        fits, losses = [], []
        for params, widths in (
            (asked.one, np.full_like(known, np.nan) if self.own else known * self._stretch()),
            (asked.two, np.repeat(known, 2, axis=0)),
        ):
            start, count = np.concatenate([params, found.result.params[near]]), len(params)
            held = np.concatenate([widths, hold[near]])
            start[:, columns] = np.where(np.isfinite(held), held, start[:, columns])
            fit = self.fits.fit_between(
                start[:, self.ndim : 0 : -1], start, held, background=beside, weights=weights
            )
            fits.append(fit[:count])
            losses.append(self.noise.loss(beside + self.noise.light(fit), error))
        one, two = fits
        sums = self._sums(places, self.fits.plain.widths(asked.one)[:, ::-1], *losses)
        freedom = np.maximum(sums[2] - 2 * (one.params.shape[1] - 1), 1.0)
        fall = (sums[0] - sums[1]) / np.maximum(sums[1] / freedom, 1.0)
        sound = np.isfinite(two.params).all(axis=1).reshape(-1, 2).all(axis=1)
        return np.where(sound & np.isfinite(one.params).all(axis=1), fall, np.nan), one, two

    def _stretch(self) -> float:
        """The width of one spot by that held."""
        return float(np.sqrt(1.0 + self.wider))

    def _beside(self, found: Found, asked: Questions) -> np.ndarray:
        """Rows of other spots so near to a question that they are fitted with it."""
        from scipy.spatial import KDTree

        free = np.isfinite(found.result.params).all(axis=1)
        free[asked.rows] = False
        rows = np.flatnonzero(free)
        if not len(rows):
            return rows
        scale = np.median(np.abs(self.fits.plain.widths(asked.one)), axis=0)
        axes = slice(1, 1 + self.ndim)
        tree = KDTree(asked.one[:, axes] / scale)
        return rows[tree.query(found.result.params[rows, axes] / scale)[0] < _BESIDE]

    def _sums(
        self, places: np.ndarray, widths: np.ndarray, one: np.ndarray, two: np.ndarray
    ) -> np.ndarray:
        """Sums (3, m) of two images and of the pixels that exist, in the window of each place."""
        half = self._extent(np.abs(widths))
        middle = np.clip(np.rint(places).astype(np.intp), 0, np.array(self.shape) - 1)
        sums, exists = np.zeros((3, len(places))), np.isfinite(self.noise.shown)
        for k, (at, h) in enumerate(zip(middle, half, strict=True)):
            box = tuple(slice(max(a - b, 0), a + b + 1) for a, b in zip(at, h, strict=True))
            sums[:, k] = one[box].sum(), two[box].sum(), exists[box].sum()
        return sums


def _directions(ndim: int) -> np.ndarray:
    """Unit vectors (k, ndim) of half a circle or sphere, evenly spread; of a profile, the one."""
    if ndim == 1:
        return np.ones((1, 1))
    if ndim == 2:
        angle = np.pi * np.arange(24) / 24
        return np.column_stack([np.cos(angle), np.sin(angle)])
    k = np.arange(96) + 0.5
    z, turn = k / 96, np.pi * (1 + 5**0.5) * k
    return np.column_stack([np.sqrt(1 - z**2) * np.cos(turn), np.sqrt(1 - z**2) * np.sin(turn), z])
