"""Spots of a crowded image: found, fitted together, and looked for again in what the fit leaves.

A round:

1. Spots stand out of the residual image, divided by its noise (`find_spots`). The noise is
   measured in the residual itself, as a function of the model's brightness: bright stars
   that are no Gaussians raise it where they are, and a crowd does not once it is explained.
   With photons (``method="mle"``) it is that of the model where that is more.
2. Those that changed and what is within five sigmas are fitted together (`fit_joint`), beside the
   light of the others; all, if that is half of them.
3. Spots are dropped whose amplitude is below four standard errors, in the covariance that
   knows the neighbours, and the weaker of two within half a sigma. Of neighbours that are
   weak together only the weakest goes: the other may be what both stand for.

The rounds hold widths that are free at one value, for a blend of two is a wide spot as well as two:
that of spots that stand alone, else the expected one. When nothing new shows, it is fitted as
shared by all, and the rounds go on. At the end comes the fit as it was asked for.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..base import check
from ..base.progress import reporting
from ..base.status import Status
from ..find import log_filter
from ..find.detection import find_spots
from ..find.noise import NOISE_FACTOR
from ..fit.options import options
from ..fit.pixel_maps import pixel_map, pixel_mask
from ..fit.windowed import fit_each
from ..joint.joint_fits import fit_joint
from ..models.model import Model
from ..results.fit_result import FitResult
from .pruning import LEAST_STRENGTH, SAME_SPOT, noise_by_brightness, surplus, with_dropped
from .search_options import of_rows, refuse_rows

ROUNDS = 20  # at most, of looking for spots
_NEW_FROM_OLD = 0.75  # sigmas between a peak of the residual and a spot, at least
_TOUCHED = 5.0  # sigmas around a change within which spots are fitted again
_FEW = 0.01  # part of new spots, below which the next stage begins
_TRIES = 2  # times that a spot may be dropped at a place
_LAST_FITS, _EXACT_FITS = 6, 2  # at most, and those to the tolerance that was asked for
_SURE = 10.0  # standard errors of an amplitude that noise does not have
_ALONE, _ALONE_PART = 6.0, 0.1  # sigmas around a spot that stands alone; part that must
_MANY = 20
_LOOSE = {"tol": 3e-2, "max_iter": 10}  # of fits between rounds


def pursue(
    picture: np.ndarray,
    positions: Any,
    model: Model,
    find: dict[str, Any],
    fit: dict[str, Any],
) -> FitResult:
    """`fit_spots` with ``joint=True``; its options to find spots and those to fit them."""
    places = None
    if positions is None:
        refuse_rows(fit)
    else:
        places = check.positions(positions, picture.ndim)
    background = "local" if fit["background"] is None else fit["background"]
    fit = fit | {"background": background}
    count = 0 if places is None else len(places)
    chosen = options(
        model, count, polarity=0, weighted=fit["weights"] is not None,
        camera=fit["variance"] is not None,
        **{k: fit[k] for k in (
            "method", "pixel", "guess", "fixed", "bounds", "shared", "covariance", "max_iter",
            "tol", "threads", "progress",
        )},
    )  # fmt: skip
    crowd = _Crowd(picture, model, find, fit)
    fit_joint(picture, np.empty((0, picture.ndim)), model, **crowd.whole())  # checks the rest
    with reporting(fit["progress"], count, "spot") as report:
        if places is None:
            centres, params = crowd.search()
            result, gone = crowd.settle(centres, np.arange(len(centres)), params)
            result = result[~gone]
        else:
            guess = None if chosen.guess is None else np.array(chosen.guess)
            result, _ = crowd.settle(places, *crowd.prune(places, guess))
        if report is not None:
            report(len(result), len(result))
    return result


class _Crowd:
    """One image and the options of its fit."""

    def __init__(
        self, picture: np.ndarray, model: Model, find: dict[str, Any], fit: dict[str, Any]
    ) -> None:
        self.picture, self.model, self.fit = picture, model, fit
        self.find = find
        self.sigma = np.array(check.per_axis("sigma", find["sigma"], picture.ndim, at_least=0.3))
        self.threshold = find["threshold"]
        self.dark = check.choice("polarity", find["polarity"], ("bright", "dark")) == "dark"
        z, y, x = {2: (self.sigma[0], 0.0, self.sigma[1])}.get(picture.ndim, tuple(self.sigma))
        self.gain = log_filter.spot_filter((z, y, x))[1]
        missing = pixel_mask(fit["mask"], picture.shape, None)
        weights = pixel_map("weights", fit["weights"], picture.shape, None)
        variance = pixel_map("variance", fit["variance"], picture.shape, None)
        self.shown = np.where(np.isfinite(picture), picture, np.nan)
        if missing is not None:
            self.shown[missing.array[0]] = np.nan
        self.error: Any = 1.0  # of a pixel, relative
        if weights is not None:
            self.shown[weights.array[0] == 0] = np.nan
            self.error = 1 / np.sqrt(np.where(weights.array[0] > 0, weights.array[0], 1.0))
        # Rounding: of counts, or of what has no noise at all.
        highest = np.abs(self.shown[np.isfinite(self.shown)]).max(initial=0.0)
        self.least = 12**-0.5 if picture.dtype.kind in "iu" else max(1e-6 * highest, 1e-300)
        self.variance = 0.0 if variance is None else variance.array[0]
        # A turned model is looked for unturned: of equal sigmas the angle is not known.
        self.plain = model.unturned
        self.widths = [self.plain.names[k] for k in sorted(set(self.plain.sigmas))]

    # -- fits ----------------------------------------------------------------------------------

    def whole(self, rows: np.ndarray | None = None) -> dict[str, Any]:
        """The options of a fit as it was asked for, of these rows."""
        out = self.fit | {"polarity": self.find["polarity"], "progress": False}
        if rows is None:
            return out | {"guess": None, "fixed": None, "bounds": None, "shared": ()}
        return out | {
            "fixed": of_rows(out["fixed"], rows, False),
            "bounds": of_rows(out["bounds"], rows, True),
        }

    def _between(self, hold: np.ndarray | None, rows: np.ndarray | None = None) -> dict[str, Any]:
        """The options of a fit between rounds: free widths held, or shared."""
        out = self.whole(np.arange(0) if rows is None else rows) | _LOOSE
        fixed, bounds = dict(out["fixed"] or {}), dict(out["bounds"] or {})
        shared = [out["shared"]] if isinstance(out["shared"], str) else list(out["shared"])
        for name in [*fixed, *bounds, *shared]:
            if name not in self.plain.names:
                fixed.pop(name, None), bounds.pop(name, None)
        shared = [name for name in shared if name in self.plain.names]
        for k, name in enumerate(self.widths):
            if name in fixed:
                continue
            if hold is None:
                shared = [*shared, name] if name not in shared else shared
            else:
                shared = [other for other in shared if other != name]
                bounds.pop(name, None)
                fixed[name] = float(hold[k])
        out |= {"fixed": fixed, "bounds": bounds, "shared": tuple(shared), "covariance": "auto"}
        return out

    def settle(
        self, places: np.ndarray, rows: np.ndarray, guess: np.ndarray | None
    ) -> tuple[FitResult, np.ndarray]:
        """The fit as asked for, and which spots the image does not show.

        What goes is told by fits that are not exact, and once more by the exact one.
        """
        exact = 0
        precise = False
        for turn in range(_LAST_FITS):
            asked = self.whole(rows) | {"guess": guess}
            if not precise:
                asked |= _LOOSE | {"covariance": "auto"}
            result = fit_joint(self.picture, places[rows], self.model, **asked)
            gone = self._surplus(result)
            exact += precise
            if exact == _EXACT_FITS or (precise and not gone.any()):
                break
            precise |= not gone.any() or turn + 1 + _EXACT_FITS == _LAST_FITS
            guess, rows = self._starts(result, places[rows])[~gone], rows[~gone]
        dropped = np.ones(len(places), bool)
        dropped[rows] = False
        return with_dropped(result, rows, len(places)), dropped

    # -- the search ----------------------------------------------------------------------------

    def search(self) -> tuple[np.ndarray, np.ndarray | None]:
        """Centres and starting values of the spots of the image."""
        centres = self._first()
        if not len(centres):
            return centres, None
        hold: np.ndarray | None = self._expected(centres)
        result = fit_joint(self.picture, centres, self.plain, **self._between(hold))
        given_up = np.empty((0, self.picture.ndim))
        stage = 0 if self._holds() else 1
        ground = None
        for _ in range(ROUNDS):
            gone = self._surplus(result)
            lost = result.positions[gone]
            given_up = np.concatenate([given_up, lost])
            result = result[~gone]
            light = result.render(self.picture.shape, 0.0, threads=self.fit["threads"])
            if ground is None:
                ground = result.render(self.picture.shape, threads=self.fit["threads"]) - light
            new = self._look(light, ground, result, given_up)
            if len(new) <= _FEW * len(result):
                if stage == 1 and not len(new) and not gone.any():
                    break  # else the errors of those that stay are not known yet
                if stage == 0:  # all widths as one, and new from here
                    stage, hold = 1, None
            result, ground = self._again(result, new, lost, hold, light, ground)
            if hold is None and self._holds():
                hold = np.median(result.params[:, self._columns()], axis=0)
        params = result.params[~self._surplus(result)]
        return params[:, self.plain.ndim : 0 : -1], self._asked(params)

    def _columns(self) -> list[int]:
        return sorted(set(self.plain.sigmas))

    def _holds(self) -> bool:
        """Whether there are widths to hold between rounds."""
        return any(name not in (self.fit["fixed"] or {}) for name in self.widths)

    def _first(self) -> np.ndarray:
        """Spots of the image as it is; counts of photons say how noisy it is."""
        threshold, image = self.threshold, self.shown
        if threshold is None and self.fit["method"] == "mle":
            from scipy.ndimage import uniform_filter

            usual = np.nanmedian(image) if np.isfinite(image).any() else 0.0
            filled = np.where(np.isfinite(image), image, usual)
            side = [int(24 * s) + 1 for s in self.sigma]
            mean = np.maximum(uniform_filter(filled, side, mode="nearest"), 0.0)
            image = image / np.sqrt(np.maximum(mean + self.variance, 1.0))
            threshold = NOISE_FACTOR * self.gain
        return find_spots(image, **self.find | {"threshold": threshold})

    def _expected(self, centres: np.ndarray) -> np.ndarray:
        """The widths of spots that stand alone, if some do, else those expected."""
        from scipy.spatial import KDTree

        shown = self.sigma if len(self.widths) > 1 else self.sigma[:1]
        expected = np.asarray(shown[::-1], float)
        if len(centres) > 1:
            away = KDTree(centres / self.sigma).query(centres / self.sigma, k=2)[0][:, 1]
            centres = centres[away > _ALONE]
            if len(centres) < max(3, _ALONE_PART * len(away)):
                return expected
        keys = ("box", "method", "pixel", "weights", "variance", "mask", "threads")
        alone = fit_each(
            self.picture, centres, self.plain, polarity=self.find["polarity"],
            **{key: self.fit[key] for key in keys},
        )  # fmt: skip
        with np.errstate(invalid="ignore"):  # of noise that was taken for a spot, no width counts
            sure = np.abs(alone.params[:, 0]) > _SURE * alone.errors[:, 0]
        widths = alone.params[sure & (alone.status == Status.CONVERGED)][:, self._columns()]
        if not len(widths):
            return expected
        # A blend is wider than a spot: of many the lower quartile, of few the narrowest.
        usual = np.quantile(widths, 0.25 if len(widths) >= _MANY else 0.0, axis=0)
        return np.clip(usual, 0.5 * expected, 2 * expected)

    def _starts(self, result: FitResult, places: np.ndarray) -> np.ndarray:
        """Starting values for all rows, the usual at their places for those without a fit."""
        shown = np.isfinite(result.params).all(axis=1)
        usual = np.tile(self._usual(result.params[shown]), (len(places), 1))
        usual[:, places.shape[1] : 0 : -1] = places
        return np.where(shown[:, np.newaxis], result.params, usual)

    def prune(
        self, places: np.ndarray, guess: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Which of the given positions stay when widths are held, and starting values."""
        rows = np.arange(len(places))
        if not self._holds():
            return rows, guess
        hold, start = self._expected(places), None
        for _ in range(_LAST_FITS):
            asked = self._between(hold, rows) | {"guess": start}
            result = fit_joint(self.picture, places[rows], self.plain, **asked)
            gone = self._surplus(result)
            if not gone.any():
                break
            start, rows = self._starts(result, places[rows])[~gone], rows[~gone]
        starts = self._asked(self._starts(result, places[rows])[~gone])
        return rows[~gone], starts if guess is None else guess[rows[~gone]]

    def _surplus(self, result: FitResult) -> np.ndarray:
        """Spots that the image does not show beside the others."""
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
        return out

    def _scale(self, result: FitResult) -> np.ndarray:
        """The usual sigmas along the image's axes."""
        shown = result.params[np.isfinite(result.params).all(axis=1)]
        if not len(shown):
            return self.sigma
        return np.median(result.model.widths(shown), axis=0)[::-1]

    def _noise(self, light: np.ndarray, ground: np.ndarray, residual: np.ndarray) -> np.ndarray:
        """The noise of each pixel."""
        if self.fit["method"] == "mle":
            error = np.sqrt(np.maximum(np.abs(light) + ground + self.variance, 0.25))
            return error * np.maximum(noise_by_brightness(np.abs(light), residual / error), 1.0)
        error = self.error * noise_by_brightness(np.abs(light), residual / self.error)
        return np.maximum(error, self.least)

    def _look(
        self, light: np.ndarray, ground: np.ndarray, result: FitResult, given_up: np.ndarray
    ) -> np.ndarray:
        """Spots that the residual shows, and that are neither there nor given up."""
        from scipy.spatial import KDTree

        residual = self.shown - light - ground
        noise = self._noise(light, ground, residual)
        level, threshold = noise, None
        if self.threshold is not None:
            level, threshold = np.maximum(NOISE_FACTOR * self.gain * noise, self.threshold), 1.0
        elif self.fit["method"] == "mle":
            threshold = NOISE_FACTOR * self.gain
        with np.errstate(divide="ignore", invalid="ignore"):
            found = find_spots(residual / level, **self.find | {"threshold": threshold})
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
        self, result: FitResult, new: np.ndarray, lost: np.ndarray, hold: np.ndarray | None,
        light: np.ndarray, ground: np.ndarray,
    ) -> tuple[FitResult, np.ndarray | None]:  # fmt: skip
        """Fit what changed, or all; and what is known of the background from now on."""
        from scipy.spatial import KDTree

        params = self._with_new(result, new, light + ground)
        asked = self._between(hold)
        changed = np.concatenate([new, lost])
        places = params[:, self.plain.ndim : 0 : -1]
        active = np.ones(len(params), bool)
        if len(changed):
            scale = self._scale(result)
            active = KDTree(changed / scale).query(places / scale)[0] < _TOUCHED
        if hold is None or 2 * active.sum() >= len(params) or asked["shared"]:
            found = fit_joint(self.picture, places, self.plain, **asked | {"guess": params})
            return found, None
        still = ~active[: len(result)]
        beside = ground + result[still].render(self.picture.shape, 0.0, threads=self.fit["threads"])
        for held in (asked["fixed"], asked["bounds"]):
            held.pop("offset", None)  # the background is known
        part = fit_joint(
            self.picture, places[active], self.plain,
            **asked | {"guess": params[active], "background": beside},
        )  # fmt: skip
        return FitResult.concatenate([result[still], part]), ground

    def _with_new(self, result: FitResult, new: np.ndarray, model: np.ndarray) -> np.ndarray:
        """Starting values of all spots."""
        params = result.params[np.isfinite(result.params).all(axis=1)]
        start = np.tile(self._usual(params), (len(new), 1))
        start[:, self.plain.ndim : 0 : -1] = new
        at = tuple(np.clip(np.rint(new), 0, np.array(self.picture.shape) - 1).astype(int).T)
        height = (self.shown[at] - model[at]) * (-1 if self.dark else 1)
        least = 0.05 * np.abs(start[:, 0])
        height = np.where(np.isfinite(height), np.maximum(height, least), least)
        start[:, 0] = -height if self.dark else height
        return np.concatenate([params, start])

    def _usual(self, params: np.ndarray) -> np.ndarray:
        """The medians of some spots."""
        if len(params):
            return np.median(params, axis=0)
        usual = np.ones(params.shape[1])
        usual[0] = -1.0 if self.dark else 1.0
        return usual

    def _asked(self, params: np.ndarray) -> np.ndarray:
        """Starting values of the model that was asked for."""
        if self.plain is self.model:
            return params
        middle = np.sqrt(params[:, 3] * params[:, 4])
        turn = np.zeros(len(params))
        return np.column_stack([params[:, :3], 1.02 * middle, 0.98 * middle, turn, params[:, -1]])
