"""Spots of a crowded image: found, fitted together, and searched for again in the residual.

A round:

1. Spots stand out of the residual image, divided by its noise (`find_spots`). The noise is
   measured in the residual itself, as a function of the model's brightness: bright stars
   that are no Gaussians raise it where they are, and a crowd does not once it is explained.
   With photons (``method="mle"``) it is that of the model where that is more.
   Where the light of a crowd is taken for noise, see ``spots/peaks.py``.
2. Those that changed and what is within five sigmas are fitted together, beside the light of the
   others; all, if that is half of them.
3. Spots are dropped whose amplitude is below four standard errors, in the covariance that
   includes the neighbours, and the weaker of two within half a sigma. Of neighbours that are
   weak together only the weakest is dropped: the other one may explain the light of both.

The rounds hold widths that are free (``spots/width_choice.py``): most at one common value, which
is fitted as shared by these when nothing new shows, and the rounds go on; spots of other widths at
their own. At the end comes the fit as it was asked for.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..base import check, wording
from ..base.progress import reporting
from ..base.status import Status
from ..fit.picture_units import in_callers_unit
from ..joint.arguments import check_places
from ..models.model import Model
from ..results.fit_result import FitResult
from .noise_scaling import ResidualNoise
from .pair_tests import Found, PairTests
from .peaks import ResidualPeaks
from .pruning import LEAST_OF_TWO, LEAST_STRENGTH, SAME_SPOT, surplus, with_dropped
from .search_fits import SearchFits, refuse_rows
from .width_choice import Choice, choose, common_width, fit_shapes

ROUNDS = 20  # at most, of looking for spots
_NEW_FROM_OLD = 0.75  # sigmas between a peak of the residual and a spot, at least
_TOUCHED = 5.0  # sigmas around a change within which spots are fitted again
_FEW = 0.01  # part of new spots, below which the next stage begins
_TRIES = 2  # times that a spot may be dropped at a place
_LAST_FITS, _EXACT_FITS = 6, 3  # at most, and those to the tolerance that was asked for


def search_and_fit(
    picture: np.ndarray,
    positions: Any,
    model: Model,
    find: dict[str, Any],
    fit: dict[str, Any],
) -> FitResult:
    """`fit_spots` with ``joint=True``; its options to find spots and those to fit them."""
    for name in ("detector", "shape_level"):
        if (value := find[name]) is not None:
            raise ValueError(f"{name} must be None with joint=True, got {wording.shown(value)}")
    if model.own_sigma is not None and model.sigmas:
        raise ValueError(
            f"model must have a known width with joint=True, got {model!r}; fit with the known "
            "width, then give the positions of the result to fit_joint with the free width"
        )
    if positions is None:
        refuse_rows(fit)
        places = np.empty((0, picture.ndim))
    else:
        places = check.positions(positions, picture.ndim)
        check_places(model, places)
    background = "local" if fit["background"] is None else fit["background"]
    search = _Search(picture, model, find, fit | {"background": background}, len(places))
    with reporting(fit["progress"], len(places), "spot") as report:
        if positions is None:
            choice, paired = search.search()
            rows = np.arange(len(choice.params))
            result, gone = search.settle(choice, search.places(choice), rows, paired)
            result = result[~gone & (result.status != Status.NOT_SHARED)]
        else:
            choice, rows = search.prune(places)
            result, _ = search.settle(choice, places, rows, np.zeros(len(rows), bool))
        if report is not None:
            report(len(result), len(result))
    result = result.with_rows(result.rows._replace(ids=None))  # numbered as they are returned
    counts, weighted = fit["method"] == "mle", fit["weights"] is not None
    return in_callers_unit(result, search.fits.unit, counts, weighted)


class _Search:
    """One image and the spots that are searched for in it."""

    def __init__(
        self, picture: np.ndarray, model: Model, find: dict[str, Any], fit: dict[str, Any],
        count: int,
    ) -> None:  # fmt: skip
        self.fits = SearchFits(picture, model, find["polarity"], fit, count)
        self.model, self.threads = self.fits.plain, fit["threads"]
        self.dark = self.fits.dark
        self.sigma = np.broadcast_to(np.asarray(find["sigma"], float), picture.ndim)
        self.shape, counts = picture.shape, fit["method"] == "mle"
        read = self.fits.problem.picture
        # Rounding: of counts, or of what has no noise at all.
        rounding = self.fits.unit * 12**-0.5 if picture.dtype.kind in "iu" else 0.0
        self.noise = ResidualNoise(read, counts, rounding, self.threads)
        self.shown = self.noise.shown
        self.peaks = ResidualPeaks(self.noise, find, self.sigma, self.fits.unit)
        settings = {key: fit[key] for key in ("box", "method", "pixel", "threads")}
        self.split = fit["split"]
        self.settings = settings | self.fits.problem.maps | {"polarity": find["polarity"]}

    def places(self, choice: Choice) -> np.ndarray:
        """Positions (n, ndim) of spots."""
        return choice.params[:, self.model.ndim : 0 : -1]

    # -- the fit as it was asked for -----------------------------------------------------------

    def settle(
        self, choice: Choice, places: np.ndarray, rows: np.ndarray, paired: np.ndarray
    ) -> tuple[FitResult, np.ndarray]:
        """The fit as asked for, and which spots the image does not show.

        ``rows`` are those of ``places`` that the choice is about, ``paired`` those that a test has
        found. What goes is told by fits that are not exact, and once more by the exact one.
        """
        guess, member, exact, precise = self._asked(choice.params), ~choice.own, 0, False
        if len(rows) and self.fits.asked.guess is not None:
            guess = np.array(self.fits.asked.guess)[rows]
        for turn in range(_LAST_FITS):
            result = self.fits.fit(places[rows], guess, rows, member, precise)
            gone = self._surplus(result, paired)
            exact += precise
            if exact == _EXACT_FITS or (precise and not gone.any()):
                break
            precise |= not gone.any() or turn + 1 + _EXACT_FITS == _LAST_FITS
            guess = self._starts(result, places[rows])[~gone]
            rows, member, paired = rows[~gone], member[~gone], paired[~gone]
        result, rows = result[~gone], rows[~gone]  # what is left to go is too faint to matter
        dropped = np.ones(len(places), bool)
        dropped[rows] = False
        return with_dropped(result, rows, len(places)), dropped

    def prune(self, places: np.ndarray) -> tuple[Choice, np.ndarray]:
        """Which of the given positions stay when widths are held, and how."""
        rows = np.arange(len(places))
        start = self._usual_at(np.empty((0, self.model.size)), places)
        choice = Choice(start, start[:, self.fits.width_columns], np.zeros(len(rows), bool))
        if not len(places):
            return choice, rows
        if not self.fits.holds():
            first = self.fits.fit_between(places, None, choice.hold, rows)
            return choice._replace(params=self._starts(first, places)), rows
        shapes = fit_shapes(self.fits, places, self.settings)
        width = common_width(self.fits, shapes, places, self.sigma)
        free = self.fits.fit_free(places, rows)
        choice = choose(self.fits, free, start, None, width, self.noise.of(free))
        guess = None
        for _ in range(_LAST_FITS):
            found = self.fits.fit_between(places[rows], guess, choice.hold, rows)
            guess, gone = self._starts(found, places[rows]), self._surplus(found)
            choice = Choice(guess, choice.hold, choice.own)
            choice, guess, rows = choice.of(~gone), guess[~gone], rows[~gone]
            if not gone.any():
                break
        return choice, rows

    # -- the search ----------------------------------------------------------------------------

    def search(self) -> tuple[Choice, np.ndarray]:
        """The spots of the image, and which of them (n,) a test has found to be one of two."""
        choice = self._first()
        if not len(choice.params):
            return choice, np.zeros(0, bool)
        result = self.fits.fit_between(self.places(choice), choice.params, choice.hold)
        given_up = np.empty((0, len(self.shape)))
        together, background = not self.fits.holds(), None
        for _ in range(ROUNDS):
            gone = self._surplus(result) | ~np.isfinite(result.params).all(axis=1)
            lost = self._given_up(result.positions[gone], self.places(choice)[gone])
            given_up = np.concatenate([given_up, lost])
            result, choice = result[~gone], choice.of(~gone)
            light, below = self.noise.parts(result)
            background = below if background is None else background
            new = self._look(light, background, result, given_up)
            shared = False
            if len(new) <= _FEW * len(result):
                if together and not len(new) and not gone.any():
                    break  # else the errors of those that stay are not known yet
                shared = not together  # the common width anew, and the search from there
                together = True
            choice = self._with_new(result, choice, new, light + background)
            result, background = self._again(
                result, choice, np.concatenate([new, lost]), shared, background
            )
            if shared:
                choice = self._hold_common(choice, result)
        stays = ~self._surplus(result)
        choice = choice._replace(params=result.params)
        return self._tested(choice.of(stays), result[stays], background)

    def _tested(
        self, choice: Choice, result: FitResult, background: np.ndarray | None
    ) -> tuple[Choice, np.ndarray]:
        """The spots after tests of one against two, and which are one of two."""
        tests = PairTests(self.fits, self.noise, self.split)
        none = np.zeros(len(result), bool)
        found = Found(choice, result, none, none)
        found = tests.resolve(found, background, self._again, self._hold_common)
        stays = ~self._surplus(found.result, found.paired)
        return found.choice.of(stays), found.paired[stays]

    def _given_up(self, fitted: np.ndarray, found: np.ndarray) -> np.ndarray:
        """Where spots that go have been: at the end of their fit, and where that began."""
        with np.errstate(invalid="ignore"):
            away = ((fitted - found) / self.sigma) ** 2
        moved = ~(away.sum(axis=1) < SAME_SPOT**2)
        lost = np.concatenate([fitted, found[moved]])
        return lost[np.isfinite(lost).all(axis=1)]

    def _first(self) -> Choice:
        """Spots that the image shows as it is."""
        centres = self.peaks.of_image()
        start = self._usual_at(np.empty((0, self.model.size)), centres)
        columns = self.fits.width_columns
        choice = Choice(start, start[:, columns], np.zeros(len(start), bool))
        if not len(centres):
            return choice
        if not self.fits.holds():
            first = self.fits.fit_between(centres, None, choice.hold)
            return choice._replace(params=self._starts(first, centres))
        shapes = fit_shapes(self.fits, centres, self.settings)
        width = common_width(self.fits, shapes, centres, self.sigma)
        free = self.fits.fit_free(centres)
        return choose(self.fits, free, start, shapes, width, self.noise.of(free))

    def _look(
        self, light: np.ndarray, background: np.ndarray, result: FitResult, given_up: np.ndarray
    ) -> np.ndarray:
        """Spots that the residual shows, and that are neither there nor given up."""
        from scipy.spatial import KDTree

        found = self.peaks.of_residual(light, background)
        shown = result.positions[np.isfinite(result.params).all(axis=1)]
        if len(shown) and len(found):
            scale = self._scale(result)
            found = found[KDTree(shown / scale).query(found / scale)[0] > _NEW_FROM_OLD]
        if len(given_up) and len(found):
            near = KDTree(given_up / self.sigma).query_ball_point(
                found / self.sigma, SAME_SPOT, return_length=True
            )
            found = found[near < _TRIES]
        return found

    def _again(
        self, result: FitResult, choice: Choice, changed: np.ndarray, shared: bool,
        background: np.ndarray,
    ) -> tuple[FitResult, np.ndarray | None]:  # fmt: skip
        """Fit what changed, or all; and what is known of the background from now on.

        The first spots of the choice are those of the result, the others are new.
        """
        from scipy.spatial import KDTree

        places, hold = self.places(choice), None if shared else choice.hold
        active = np.ones(len(places), bool)
        if len(changed):
            scale = self._scale(result)
            active = KDTree(changed / scale).query(places / scale)[0] < _TOUCHED
        if shared or 2 * active.sum() >= len(places) or self.fits.shares():
            member = ~choice.own
            return self.fits.fit_between(places, choice.params, hold, None, member), None
        still = ~active[: len(result)]
        beside = background + result[still].render(self.shape, 0.0, threads=self.threads)
        part = self.fits.fit_between(
            places[active], choice.params[active], choice.hold[active], background=beside
        )
        whole = FitResult.concatenate([result[still], part])
        order = np.argsort(np.concatenate([np.flatnonzero(~active), np.flatnonzero(active)]))
        return whole[order], background

    def _hold_common(self, choice: Choice, result: FitResult) -> Choice:
        """Hold spots at the common width of a fit, or at their own."""
        widths = result.params[:, self.fits.width_columns]
        finite = np.isfinite(widths).all(axis=1)
        usual = finite & ~choice.own
        hold = choice.hold.copy()
        if usual.any():
            hold[~choice.own] = np.median(widths[usual], axis=0)
        hold[choice.own & finite] = widths[choice.own & finite]
        return choice._replace(hold=hold)

    def _with_new(
        self, result: FitResult, choice: Choice, new: np.ndarray, model: np.ndarray
    ) -> Choice:
        """The spots of a result and new ones, of the common width."""
        known = self._starts(result, self.places(choice))
        common = choice.hold[~choice.own]
        width = np.median(common, axis=0) if len(common) else self._expected()
        start = self._usual_at(known, new)
        start[:, self.fits.width_columns] = width
        at = tuple(np.clip(np.rint(new), 0, np.array(self.shape) - 1).astype(int).T)
        height = (self.shown[at] - model[at]) * (-1 if self.dark else 1) / self.model.peak
        least = 0.05 * np.abs(start[:, 0])
        height = np.where(np.isfinite(height), np.maximum(height, least), least)
        start[:, 0] = -height if self.dark else height
        return Choice(
            np.concatenate([known, start]),
            np.concatenate([choice.hold, np.tile(width, (len(new), 1))]),
            np.concatenate([choice.own, np.zeros(len(new), bool)]),
        )

    # -- starting values -----------------------------------------------------------------------

    def _expected(self) -> np.ndarray:
        """The expected widths (w,)."""
        columns = self.fits.width_columns
        known = self.sigma if len(columns) > 1 else self.sigma[: len(columns)]
        return np.asarray(known[::-1], float)

    def _usual_at(self, params: np.ndarray, places: np.ndarray) -> np.ndarray:
        """Starting values of spots at places: the medians of other spots."""
        usual = np.ones(self.model.size)
        usual[0] = -1.0 if self.dark else 1.0
        usual[self.fits.width_columns] = self._expected()
        if len(params):
            usual = np.median(params, axis=0)
        start = np.tile(usual, (len(places), 1))
        start[:, self.model.ndim : 0 : -1] = places
        return start

    def _starts(self, result: FitResult, places: np.ndarray) -> np.ndarray:
        """Starting values for all rows, the usual at their places for those without a fit."""
        shown = np.isfinite(result.params).all(axis=1)
        usual = np.ones(result.params.shape[1])
        usual[0] = -1.0 if self.dark else 1.0
        if shown.any():
            usual = np.median(result.params[shown], axis=0)
        starts = np.tile(usual, (len(places), 1))
        starts[:, places.shape[1] : 0 : -1] = places
        return np.where(shown[:, np.newaxis], result.params, starts)

    def _asked(self, params: np.ndarray) -> np.ndarray:
        """Starting values of the model that was asked for."""
        if self.model is self.fits.model:
            return params
        middle = np.sqrt(params[:, 3] * params[:, 4])
        turn = np.zeros(len(params))
        return np.column_stack([params[:, :3], 1.02 * middle, 0.98 * middle, turn, params[:, -1]])

    # -- what goes -----------------------------------------------------------------------------

    def _surplus(self, result: FitResult, paired: np.ndarray | None = None) -> np.ndarray:
        """Spots that the image does not show beside the others; not those ``paired`` by a test."""
        with np.errstate(divide="ignore", invalid="ignore"):
            amplitude = result.params[:, 0] * (-1 if self.dark else 1)
            strength = amplitude / result.errors[:, 0]
        # Where errors are not known, what has light stays, unless it stands on another spot.
        unknown = ~np.isfinite(strength) & (result.errors[:, 0] != 0)
        usual = np.median(amplitude[np.isfinite(amplitude)]) if np.isfinite(amplitude).any() else 0
        bright = amplitude > 0.02 * usual
        strength = np.where(unknown, np.where(bright, LEAST_STRENGTH, 0.0), strength)
        shown = np.flatnonzero(np.isfinite(result.params).all(axis=1))
        out = np.zeros(len(result), bool)
        out[shown] = surplus(strength[shown], result.positions[shown] / self._scale(result))
        if paired is not None and not self.fits.own_widths():
            out &= ~(paired & (strength > LEAST_OF_TWO))
        return out

    def _scale(self, result: FitResult) -> np.ndarray:
        """The usual sigmas along the image's axes."""
        shown = result.params[np.isfinite(result.params).all(axis=1)]
        if not len(shown):
            return self.sigma
        return np.median(result.model.widths(shown), axis=0)[::-1]
