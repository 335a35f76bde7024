"""The widths that spots of a search are held at, and which of them are two.

A blend of two spots is a wide spot as well as two, so that a search holds widths. The common width
is that of isolated spots; of one that is longer than it is wide, the width: two spots that
overlap are longer along one axis alone. A spot whose own width is far from the common one is

* two, if two spots of the common width leave less in its box;
* a spot of its own width, narrow or wide, if that leaves only noise;
* else a spot of the common width beside which others are still to be found.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..base.status import Status
from ..fit.windowed import fit_each
from ..models.model import get_model
from ..results.fit_result import FitResult
from .noise_scaling import deviance
from .search_fits import SearchFits

_ALONE, _ALONE_PART = 6.0, 0.1  # sigmas around an isolated spot; part of spots that must be
_MANY, _KNOWN = 20, 0.15  # isolated spots that are many; relative error of a width that is known
_LONGER = 3.0  # standard errors between the widths of a spot that is longer than wide
_WIDER, _NARROWER = 0.08, 0.25  # parts of the common width that count
_SURE, _SURE_NARROW = 3.0, 5.0  # standard errors from the common width
_BETTER = 10.0  # by so much, in units of the noise's square, two leave less than one
_ONLY_NOISE = 5.0  # standard deviations above its mean that a sum of squares of noise may be


class Choice(NamedTuple):
    """Spots of a search: parameters of the plain model and how widths are held."""

    params: np.ndarray  # (n, P)
    hold: np.ndarray  # (n, w)
    own: np.ndarray  # (n,) bool: not of the common width

    def of(self, rows: np.ndarray) -> Choice:
        """The choice of these spots."""
        return Choice(self.params[rows], self.hold[rows], self.own[rows])


def fit_shapes(fits: SearchFits, centres: np.ndarray, settings: dict[str, Any]) -> FitResult:
    """Each spot fitted alone, with a width for each axis, turned in an image."""
    model = fits.plain
    if model.round:
        model = get_model("rotated" if model.ndim == 2 else "elliptic", model.ndim)
    return fit_each(fits.problem.image, centres, model, **settings)


def common_width(
    fits: SearchFits, shapes: FitResult, centres: np.ndarray, sigma: np.ndarray
) -> np.ndarray:
    """The widths (w,) of isolated spots if there are enough, else the expected ones."""
    from scipy.spatial import KDTree

    columns = fits.width_columns
    expected = np.asarray((sigma if len(columns) > 1 else sigma[:1])[::-1], float)
    rows = np.arange(len(centres))
    if len(centres) > 1:
        away = KDTree(centres / sigma).query(centres / sigma, k=2)[0][:, 1]
        rows = np.flatnonzero(away > _ALONE)
        if len(rows) < max(3, _ALONE_PART * len(away)):
            return expected
    own = sorted(set(shapes.model.sigmas))
    with np.errstate(invalid="ignore"):
        known = (shapes.errors[rows][:, own] < _KNOWN * shapes.params[rows][:, own]).all(axis=1)
    rows = rows[(shapes.status[rows] == Status.CONVERGED) & known]
    if not len(rows):
        return expected
    widths, errors = shapes.params[rows][:, own], shapes.errors[rows][:, own]
    if len(columns) < widths.shape[1]:
        with np.errstate(invalid="ignore"):
            apart = widths.max(axis=1) - widths.min(axis=1)
            longer = apart > _LONGER * np.sqrt((errors**2).sum(axis=1))
        mean = np.exp(np.log(widths).mean(axis=1))
        widths = np.where(longer, widths.min(axis=1), mean)[:, None]
    # A blend is wider than a spot: of many the lower quartile, of few the narrowest.
    usual = np.quantile(widths, 0.25 if len(widths) >= _MANY else 0.0, axis=0)
    return np.clip(usual, 0.5 * expected, 2 * expected)


def choose(
    fits: SearchFits, free: FitResult, start: np.ndarray, shapes: FitResult | None,
    width: np.ndarray, noise: np.ndarray,
) -> Choice:  # fmt: skip
    """How each spot of a fit with free widths is held; with ``shapes``, which are two.

    ``start`` (n, P) stands for spots without a fit, ``noise`` is that of each pixel.
    """
    columns, n = fits.width_columns, len(free)
    hold, own = np.tile(width, (n, 1)), np.zeros(n, bool)
    finite = np.isfinite(free.params).all(axis=1)
    params = np.where(finite[:, None], free.params, start)
    values, errors = params[:, columns], free.errors[:, columns]
    if not fits.own_widths():
        own = (free.status == Status.NOT_SHARED) & (values < width).all(axis=1)
        return Choice(params, np.where(own[:, None], values, hold), own)
    known = np.where(np.isfinite(errors), errors, 0.0)
    narrow = finite & (width - values > np.maximum(_SURE_NARROW * known, _NARROWER * width)).all(
        axis=1
    )
    with np.errstate(invalid="ignore"):
        wide = finite & (values - width > np.maximum(_SURE * errors, _WIDER * width)).any(axis=1)
    single = _Compared(fits, free, noise)
    rows = np.flatnonzero(wide)
    pairs = None
    two = np.zeros(n, bool)
    if len(rows) and shapes is not None:
        pairs, two[rows] = _pairs(fits, free, shapes, width, rows, single)
    own = narrow | (wide & ~two & single.only_noise())
    hold = np.where(own[:, None], values, hold)
    if pairs is None or not two.any():
        return Choice(params, hold, own)
    halves = pairs.params[np.repeat(two[rows], 2)]
    return Choice(
        np.concatenate([params[~two], halves]),
        np.concatenate([hold[~two], np.tile(width, (len(halves), 1))]),
        np.concatenate([own[~two], np.zeros(len(halves), bool)]),
    )


def _pairs(
    fits: SearchFits, free: FitResult, shapes: FitResult, width: np.ndarray, rows: np.ndarray,
    single: _Compared,
) -> tuple[FitResult, np.ndarray]:  # fmt: skip
    """Two spots of the common width in the place of each of these, and where they leave less."""
    ndim, columns = fits.plain.ndim, fits.width_columns
    params = free.params[rows]
    axis = _long_axes(shapes, rows)  # (m, ndim) along x, y, z: direction times length
    length = np.sqrt((axis**2).sum(axis=1, keepdims=True))
    narrow = np.exp(np.log(width).mean())
    half = np.sqrt(np.maximum(length**2 - narrow**2, 0.25 * narrow**2)) * axis / length
    start = np.repeat(params, 2, axis=0)
    start[0::2, 1 : 1 + ndim] += half
    start[1::2, 1 : 1 + ndim] -= half
    wide = fits.plain.widths(start).prod(axis=1)
    start[:, columns] = width
    start[:, 0] *= 0.5 * wide / fits.plain.widths(start).prod(axis=1)
    others = np.ones(len(free), bool)
    others[rows] = False
    beside = single.background + free[others].render(single.shape, 0.0)
    found = fits.fit_between(
        start[:, ndim:0:-1], start, np.tile(width, (len(start), 1)), background=beside
    )
    model = beside + found.render(single.shape, 0.0)
    one, two = single.losses[rows], single.sums(single.loss(model))[rows]
    scale = np.ones(len(rows))
    if not fits.asked.absolute:
        freedom = np.maximum(single.pixels[rows] - 2 * start.shape[1], 1)
        scale = np.minimum(one, two) / freedom
    sound = np.isfinite(found.params).all(axis=1).reshape(-1, 2).all(axis=1)
    return found, sound & (one - two > _BETTER * scale)


def _long_axes(shapes: FitResult, rows: np.ndarray) -> np.ndarray:
    """The longest semi-axis (m, ndim) of each spot, along x, y, z."""
    params, model = shapes.params[rows], shapes.model
    widths = model.widths(params)
    if model.rotated:
        theta = np.where(np.isfinite(params[:, 5]), params[:, 5], 0.0)
        axis = np.column_stack([np.cos(theta), np.sin(theta)])
    else:
        axis = np.eye(model.ndim)[np.argmax(np.where(np.isfinite(widths), widths, 0.0), axis=1)]
    length = np.nanmax(np.where(np.isfinite(widths), widths, 1.0), axis=1)
    return axis * length[:, None]


class _Compared:
    """The residual of a fit in the box of each spot."""

    def __init__(self, fits: SearchFits, result: FitResult, noise: np.ndarray) -> None:
        picture = fits.problem.picture
        self.counts = fits.asked.method == "mle"
        self.shape = picture.shape
        self.data, self.exists = (x.reshape(self.shape) for x in (picture.data, picture.exists))
        second = picture.second
        self.second = second.reshape(self.shape) if second.size > 1 else second[0]
        light = result.render(self.shape, 0.0)
        self.background = result.render(self.shape) - light
        places = np.where(np.isfinite(result.positions), result.positions, 0.0)
        half = np.array(fits.problem.box) // 2
        first = np.clip(np.rint(places).astype(np.intp) - half, 0, self.shape)
        last = np.clip(first + np.array(fits.problem.box), 0, self.shape)
        self.boxes = [
            tuple(map(slice, a, b)) for a, b in zip(first.tolist(), last.tolist(), strict=True)
        ]
        model = light + self.background
        self.losses = self.sums(self.loss(model))
        self.pixels = self.sums(self.exists.astype(np.float64))
        with np.errstate(invalid="ignore", divide="ignore"):
            self.squares = self.sums(((self.data - model) / noise) ** 2)

    def sums(self, image: np.ndarray) -> np.ndarray:
        """Sums of the pixels that exist in each box."""
        image = np.where(self.exists & np.isfinite(image), image, 0.0)
        return np.array([image[box].sum() for box in self.boxes])

    def loss(self, model: np.ndarray) -> np.ndarray:
        """The loss of each pixel."""
        if self.counts:
            return deviance(self.data, model, self.second)
        with np.errstate(invalid="ignore"):
            return self.second * (self.data - model) ** 2

    def only_noise(self) -> np.ndarray:
        """Boxes in which no more than noise is left."""
        return self.squares <= self.pixels + _ONLY_NOISE * np.sqrt(2 * self.pixels)
