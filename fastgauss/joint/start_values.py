"""Starting values and bounds of a joint fit."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..fit.options import Options
from ..fit.shared_parameters import outliers
from ..fit.windowed import fit_each
from ..models.model import Model
from .arguments import Problem

_LEAST_SIGMA = 0.05  # pixels
_SIGMA = 1.3  # pixels: of a model without a width of its own, where no spot tells it
_ODD = 1.6  # factor between the sigma of a spot fitted alone and the median, at which it is wrong


def _of_frame(value: Any, frame: int, shape: tuple[int, ...]) -> Any:
    """A map of the stack's pixels for one frame."""
    return value if value is None or np.shape(value) != shape else np.asarray(value)[frame]


def alone(problem: Problem, places: np.ndarray, chosen: Options) -> tuple[np.ndarray, np.ndarray]:
    """Starting values (n, P), each spot fitted alone and replaced where that is odd.

    Also which spots (n,) have the shared parameters: all but spots whose own values are, beside
    their errors, far from those of the others.
    """
    picture, model, dark = problem.image, chosen.model, problem.dark
    settings: dict[str, Any] = {
        "box": problem.box, "method": chosen.method, "pixel": chosen.pixel,
        "threads": chosen.threads, "tol": 1e-2, "max_iter": 15,
        "polarity": "dark" if dark else "bright",
    }  # fmt: skip
    params, errors = (np.full((len(places), model.size), np.nan) for _ in range(2))
    good = np.zeros(len(places), bool)
    parts = [(None, np.arange(len(places)))]
    if problem.picture.stack:
        numbers = places[:, 0].astype(int)
        parts = [(f, np.flatnonzero(numbers == f)) for f in np.unique(numbers).tolist()]
    for frame, rows in parts:
        part = picture if frame is None else picture[frame]
        maps = {
            k: v if frame is None else _of_frame(v, frame, picture.shape)
            for k, v in problem.maps.items()
        }
        found = fit_each(
            part, places[rows, -model.ndim :], model, fixed=_fixed(chosen, rows), **settings,
            **maps,
        )  # fmt: skip
        params[rows], errors[rows], good[rows] = found.params, found.errors, found.converged
    start = _mend(params.copy(), good, places, model, dark)
    member = np.ones(len(places), bool)
    widths = [k for k in chosen.shared if k in model.sigmas]
    if len(places) and widths:
        floor = 0.25 * np.median(start[:, widths], axis=0)
        out = outliers(params[:, widths], errors[:, widths], good, floor)
        # Wider ones may be two spots that overlap; those that are narrower than the light are none.
        narrow = (params[:, widths] < np.median(start[:, widths], axis=0)).all(axis=1)
        member = ~(out & narrow)
        shown = ~member & np.isfinite(params).all(axis=1)
        start[shown] = params[shown]
    return start, member


def _fixed(chosen: Options, rows: np.ndarray) -> dict[str, Any] | None:
    """Parameters that these spots have fixed."""
    if chosen.bounds is None:
        return None
    lower, upper = np.broadcast_to(chosen.bounds, (2, chosen.spots, chosen.model.size))[:, rows]
    return {
        name: lower[:, k]
        for k, name in enumerate(chosen.model.names)
        if len(rows) and (lower[:, k] == upper[:, k]).all()
    } or None


def _mend(
    params: np.ndarray, good: np.ndarray, places: np.ndarray, model: Model, dark: bool
) -> np.ndarray:
    """Replace starting values that the light of a neighbour has made wrong.

    The usual widths are the medians of spots that stand alone, if there are some; spots with
    a neighbour within four sigmas start from them, and so do odd ones.
    """
    apart, places = _spread(places, model.ndim), places[:, -model.ndim :]
    centres, widths = slice(1, 1 + model.ndim), sorted(set(model.sigmas))
    with np.errstate(invalid="ignore"):
        away = np.abs(params[:, centres] - places[:, ::-1]).max(axis=1)
        good = good & (away <= 2.0) & ((params[:, 0] < 0) if dark else (params[:, 0] > 0))
    usual_sigma = _SIGMA if model.own_sigma is None else model.own_sigma
    sigma = np.median(model.widths(params[good])) if widths and good.any() else usual_sigma
    alone = _room(apart) > 4 * sigma
    chosen = good & alone if (good & alone).any() else good
    usual = np.median(params[chosen], axis=0) if chosen.any() else np.ones(model.size)
    if not chosen.any():
        usual[widths] = _SIGMA if model.own_sigma is None else 1.0
        usual[0], usual[-1] = -1.0 if dark else 1.0, 0.0
    with np.errstate(invalid="ignore"):
        for k in widths:
            good = good & (params[:, k] > usual[k] / _ODD) & (params[:, k] < usual[k] * _ODD)
    bad = np.flatnonzero(~(good & alone))
    if model.rotated:
        middle = np.sqrt(usual[3] * usual[4])
        usual[3:6] = middle * 1.02, middle * 0.98, 0.0
    params[np.ix_(bad, np.arange(1 + model.ndim, model.size))] = usual[1 + model.ndim :]
    params[bad, centres] = places[bad, ::-1]
    lost = np.flatnonzero(~np.isfinite(params).all(axis=1) | ~good)
    params[lost, 0] = usual[0]
    return params


def _spread(places: np.ndarray, ndim: int) -> np.ndarray:
    """Places (n, d) whose frames, in a stack, are far apart: spots of two frames do not overlap."""
    spread = places.copy()
    spread[:, :-ndim] *= 1e6
    return spread


def _room(places: np.ndarray) -> np.ndarray:
    """Distance to the nearest other position."""
    from scipy.spatial import KDTree

    if len(places) < 2:
        return np.full(len(places), np.inf)
    return KDTree(places).query(places, k=2)[0][:, 1]


def limits(
    chosen: Options, places: np.ndarray, box: tuple[int, ...], direct: bool, dark: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Bounds of the coordinates (n, p): the caller's, else those that keep neighbours apart."""
    model, count = chosen.model, chosen.spots
    ndim = model.ndim
    lower = np.full((count, model.size), -np.inf)
    upper = np.full((count, model.size), np.inf)
    (upper if dark else lower)[:, 0] = 0.0
    centres, half = places[:, -ndim:], np.array(box) / 2
    room = 0.5 * _room(_spread(places, ndim))
    room = np.minimum(np.maximum(room, 1.0)[:, np.newaxis], half)
    lower[:, 1 : 1 + ndim] = (centres - room)[:, ::-1]
    upper[:, 1 : 1 + ndim] = (centres + room)[:, ::-1]
    if model.sigmas:
        lower[:, list(model.sigmas)], upper[:, list(model.sigmas)] = _LEAST_SIGMA, max(box)
    if chosen.bounds is not None:
        given = np.isfinite(chosen.bounds)
        lower = np.where(given[0], chosen.bounds[0], lower)
        upper = np.where(given[1], chosen.bounds[1], upper)
        lower = np.where((lower > upper) & ~given[0], -np.inf, lower)
        upper = np.where((lower > upper) & ~given[1], np.inf, upper)
    if not direct and model.rotated:
        lower[:, 5], upper[:, 5] = -max(box), max(box)
    return np.ascontiguousarray(lower[:, :-1]), np.ascontiguousarray(upper[:, :-1])
