"""All stages of a fit of many ROIs in one function, for compiled code.

What `fastgauss.fit_rois` does with a chunk of spots: starts, Levenberg-Marquardt, covariances and
verdicts, then other starts for the few doubtful spots, and another unit for those whose squares
leave the range of float64. Only fits without a suspicious pixel (``left_out.py``) are not made.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import numpy as np

from .._compile import device, inner_kernel
from ..models.model_kernels import ModelKernels
from ..numeric.packed_cholesky import packed_size
from ..simd.arguments import three
from ..status import AT_BOUND, AT_EDGE, NOT_FINITE, TOO_FEW_PIXELS, UNSCALED
from .estimators import DEVIANCE, ESTIMATORS, OTHER_LOSS
from .second_starts import ELLIPSES, STARTS
from .stages import stages
from .verdicts import DOUBTFUL, NARROW

GAIN = 1e-9  # of the objective: what a fit from another start must be better by
_LEAST_DATA = 1e-150  # whose squares float64 holds
COUNTS = 10  # binary digits of the brightest pixel of a likelihood in another unit


@device
def _largest(row):
    """The largest finite magnitude of a row."""
    largest = 0.0
    for value in row:
        if math.isfinite(value):
            largest = max(largest, abs(value))
    return largest


@device
def _rescale(row, digits):
    """Multiply a row by a power of two that brings its largest below 2**digits; returns it."""
    largest = _largest(row)
    if largest == 0.0:
        return 1.0
    _, exponent = math.frexp(largest)
    power = math.ldexp(1.0, min(max(digits - exponent, -1022), 1022))
    for k in range(row.size):
        row[k] *= power
    return power


@device
def _is_inside(params, item, extents):
    """Whether a centre is among the pixels."""
    inside = True
    for a in range(len(extents)):
        inside = inside and -0.5 <= params[item, 1 + a] <= extents[a] - 0.5
    return inside


@device
def _rows_at(array, members):
    """Some rows; all where one row is for all."""
    if len(array) == 1:
        return array
    part = np.empty((members.size, array.shape[1]))
    for k in range(members.size):
        part[k] = array[members[k]]
    return part


@cache
def make_whole_fit(model: ModelKernels, pixel: str, estimator: str) -> Callable:
    """``fit(pixels, second, shape, tol, max_iter)`` of rows of pixels.

    Returns parameters, packed covariances, objectives, statuses and iterations.
    """
    judge = ESTIMATORS[estimator]
    kernels = stages(model, pixel, estimator, False, False, inner_kernel)
    start, solve, finish = kernels.start, kernels.fit, kernels.finish
    verdicts, second_starts = kernels.verdicts, kernels.second
    size, ndim = len(model.parameters), model.axes
    entries = packed_size(size)
    weighted, loss = judge.kinds > 1, judge.loss
    counts_of = loss == DEVIANCE
    last_change = 0 if loss == OTHER_LOSS else 1  # of units: only those losses are known in others
    scaled = judge.scaled and not (weighted and judge.linear)  # else the noise is known

    # -- one fit -------------------------------------------------------------------------------

    @device
    def fit_from(pixels, second, nz, ny, nx, guess, tol, max_iter):
        count = pixels.shape[0]
        nothing = np.empty((0, size))
        known = np.empty((1, 0))
        places = np.empty((1, 0))
        params = np.empty((count, size))
        objectives = np.empty(count)
        packed = np.empty((count, entries))
        counts = np.empty(count, np.int32)
        status = np.empty(count, np.int32)
        iterations = np.empty(count, np.int32)
        data, shape, bounds = (pixels, second, places), (nz, ny, nx), (nothing, nothing)
        out = params, objectives, packed, nothing, counts, status, iterations
        solve(data, shape, known, guess, bounds, (tol, max_iter), out)
        extent = nz if ndim > 2 else 0, ny if ndim > 1 else 0, nx
        results = params, packed, objectives, status
        noise = counts, np.full(1, size), scaled
        finish(results, nothing, noise, bounds, known, places, extent)
        doubts = np.empty(count, np.int8)
        told = np.empty((0, ndim)), np.ones(ndim)
        verdicts(data, extent, known, results, noise, loss, bounds, told, doubts)
        return params, packed, objectives, status, iterations, doubts

    # -- the better of two fits ----------------------------------------------------------------

    @device
    def is_better(found, item, trial, k, extents, first):
        """Whether a fit from another start is to be kept."""
        value, how = trial[2][k], trial[3][k]
        if first or not math.isfinite(value) or how == TOO_FEW_PIXELS:
            return first
        before = found[2][item]
        lower = value < before * (1.0 - GAIN) or not math.isfinite(before)
        return lower and _is_inside(trial[0], k, extents)

    @device
    def write(found, item, trial, k, unit, weight) -> None:
        """Row k of a fit as row ``item`` of the results, in the caller's unit."""
        whole = unit if counts_of else weight * unit * unit
        rest = 1.0 if scaled else 1.0 / unit if counts_of else 1.0 / whole
        found[2][item], found[3][item] = trial[2][k] / whole, trial[3][k]
        found[4][item] = trial[4][k]
        e = 0
        for i in range(size):
            of_i = unit if i in (0, size - 1) else 1.0
            found[0][item, i] = trial[0][k, i] / of_i
            for j in range(i + 1):
                of_j = unit if j in (0, size - 1) else 1.0
                found[1][item, e] = trial[1][k, e] / (of_i * (of_j * rest))
                e += 1

    # -- other units ---------------------------------------------------------------------------

    @device
    def change_units(pixels, second, rows):
        """These rows in units of their own, and the units of data and weights."""
        data, other = np.empty((rows.size, pixels.shape[1])), second
        units, weights = np.ones(rows.size), np.ones(rows.size)
        if weighted:
            other = np.empty((rows.size, pixels.shape[1]))
        for k in range(rows.size):
            data[k] = pixels[rows[k]]
            units[k] = _rescale(data[k], COUNTS if counts_of else 1)
            if weighted:
                other[k] = second[min(rows[k], len(second) - 1)]
                if counts_of:
                    other[k] *= units[k]
                else:
                    weights[k] = _rescale(other[k], 1)
        return data, other, units, weights

    # -- all spots -----------------------------------------------------------------------------

    @device
    def fit(pixels, second, shape, tol, max_iter):
        nz, ny, nx = three(shape[1:], 1)
        count = pixels.shape[0]
        if weighted and judge.linear:  # a pixel of weight 0 does not exist, nor does its value
            for item in range(count):
                for k in range(pixels.shape[1]):
                    if second[min(item, len(second) - 1), k] == 0.0:
                        pixels[item, k] = np.nan
        extents = (nx,) if ndim == 1 else (nx, ny) if ndim == 2 else (nx, ny, nz)
        nobody, usual = np.empty((0, ndim)), np.ones(ndim)
        found = (
            np.empty((count, size)), np.empty((count, entries)), np.empty(count),
            np.empty(count, np.int32), np.empty(count, np.int32),
        )  # fmt: skip
        rows = np.arange(count)
        data, other, units, weights = pixels, second, np.ones(count), np.ones(count)
        centres = np.empty((count, ndim))
        doubts = np.empty(count, np.int8)
        for change in range(2):
            members = np.arange(rows.size)
            for which in range(-1, STARTS + ELLIPSES):
                if which == STARTS:
                    members = np.flatnonzero(doubts[: rows.size] & NARROW)
                    for at in members:
                        centres[at] = found[0][rows[at], 1 : 1 + ndim]
                if not members.size:
                    continue
                part, beside = data, other
                if which >= 0:
                    part, beside = _rows_at(data, members), _rows_at(other, members)
                guess = np.empty((members.size, size))
                if which < 0:
                    start(
                        part, np.empty((1, 0)), nz, ny, nx, 0, nobody, usual, guess
                    )  # fmt: skip
                else:
                    second_starts(
                        part, np.empty((1, 0)), nz, ny, nx, 0, nobody, usual, which,
                        _rows_at(centres, members), guess,
                    )  # fmt: skip
                trial = fit_from(part, beside, nz, ny, nx, guess, tol, max_iter)
                left = np.ones(members.size, np.bool_)
                for k in range(members.size):
                    at, item = members[k], rows[members[k]]
                    if which < 0:
                        centres[at] = trial[0][k, 1 : 1 + ndim]
                    if is_better(found, item, trial, k, extents, which < 0):
                        write(found, item, trial, k, units[at], weights[at])
                        doubts[at] = trial[5][k]
                    doubt = DOUBTFUL if which < STARTS else DOUBTFUL | NARROW
                    left[k] = doubts[at] & doubt != 0
                members = members[left]
            if change == last_change:
                break
            for item in range(count):  # squares that are all 0, of pixels that are not
                if found[2][item] == 0.0 and 0.0 < _largest(pixels[item]) < _LEAST_DATA:
                    found[3][item] = UNSCALED
            rows = np.flatnonzero(found[3] == UNSCALED)
            if not rows.size:
                break
            data, other, units, weights = change_units(pixels, second, rows)
        status = found[3]
        for item in range(count):
            if status[item] == AT_EDGE:
                status[item] = AT_BOUND
            elif status[item] == UNSCALED:
                status[item] = NOT_FINITE
        return found

    return fit
