"""Where a joint fit starts, and how far it may go."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..fit.options import Options
from ..fit.windowed import fit_each
from ..models.model import Model

_LEAST_SIGMA = 0.05  # pixels
_ODD = 1.6  # factor between the sigma of a spot fitted alone and the median, at which it is wrong


def _of_frame(value: Any, frame: int, shape: tuple[int, ...]) -> Any:
    """A map of the stack's pixels for one frame."""
    return value if value is None or np.shape(value) != shape else np.asarray(value)[frame]


def alone(
    image: Any,
    places: np.ndarray,
    model: Model,
    dark: bool,
    stack: bool,
    settings: dict[str, Any],
    maps: dict[str, Any],
) -> np.ndarray:
    """Starting values (n, P): each spot fitted alone, replaced where that is odd."""
    picture = np.asarray(image)
    settings = settings | {"tol": 1e-2, "max_iter": 15, "polarity": "dark" if dark else "bright"}
    params = np.full((len(places), model.size), np.nan)
    good = np.zeros(len(places), bool)
    fixed = settings.pop("fixed") or {}
    parts = [(None, np.arange(len(places)))]
    if stack:
        numbers = places[:, 0].astype(int)
        parts = [(f, np.flatnonzero(numbers == f)) for f in np.unique(numbers).tolist()]
    for frame, rows in parts:
        held = {k: np.asarray(v)[rows] if np.ndim(v) else v for k, v in fixed.items()}
        part = picture if frame is None else picture[frame]
        these = {
            k: v if frame is None else _of_frame(v, frame, picture.shape) for k, v in maps.items()
        }
        found = fit_each(
            part, places[rows, -model.ndim :], model, fixed=held or None, **settings, **these
        )
        params[rows], good[rows] = found.params, found.converged
    return _mend(params, good, places[:, -model.ndim :], model, dark)


def _mend(
    params: np.ndarray, good: np.ndarray, places: np.ndarray, model: Model, dark: bool
) -> np.ndarray:
    """Put the usual in place of what a neighbour's light has spoilt.

    The usual widths are the medians of spots that stand alone, if there are some; spots with
    a neighbour within four sigmas start from them, and so do odd ones.
    """
    centres, widths = slice(1, 1 + model.ndim), sorted(set(model.sigmas))
    with np.errstate(invalid="ignore"):
        away = np.abs(params[:, centres] - places[:, ::-1]).max(axis=1)
        good = good & (away <= 2.0) & ((params[:, 0] < 0) if dark else (params[:, 0] > 0))
    sigma = np.median(params[good][:, widths]) if widths and good.any() else 1.3
    alone = _room(places) > 4 * sigma
    chosen = good & alone if (good & alone).any() else good
    usual = np.median(params[chosen], axis=0) if chosen.any() else np.ones(model.size)
    if not chosen.any():
        usual[widths], usual[0], usual[-1] = 1.3, -1.0 if dark else 1.0, 0.0
    with np.errstate(invalid="ignore"):
        for k in widths:
            good = good & (params[:, k] > usual[k] / _ODD) & (params[:, k] < usual[k] * _ODD)
    bad = np.flatnonzero(~(good & alone))
    if model.turned:
        middle = np.sqrt(usual[3] * usual[4])
        usual[3:6] = middle * 1.02, middle * 0.98, 0.0
    params[np.ix_(bad, np.arange(1 + model.ndim, model.size))] = usual[1 + model.ndim :]
    params[bad, centres] = places[bad, ::-1]
    lost = np.flatnonzero(~np.isfinite(params).all(axis=1) | ~good)
    params[lost, 0] = usual[0]
    return params


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
    spread = places.copy()
    spread[:, :-ndim] *= 1e6  # frames do not see each other
    room = 0.5 * _room(spread)
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
    if not direct and model.turned:
        lower[:, 5], upper[:, 5] = -max(box), max(box)
    return np.ascontiguousarray(lower[:, :-1]), np.ascontiguousarray(upper[:, :-1])
