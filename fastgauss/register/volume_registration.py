"""The displacement between two volumes: where to begin, Newton's steps, and what may be trusted.

The steps are first those of splines, whose iteration converges from a pixel away, and then those of
``volume_refinement``.
"""

from __future__ import annotations

import math

import numpy as np

from . import significance, spline_fields, volume_refinement, volume_search
from .inputs import Pixels
from .results import Shift, Status, no_shift
from .volumes import (
    Noise,
    Point,
    Window,
    complement,
    covariance_at,
    gain_change,
    noise_of,
    point_at,
    window_at,
)

_MAX_ITER = 20
_TOL = 1e-6  # pixels
_ROUNDING = 1e-4  # pixels: a step below it that does not shrink is made by rounding
_REACH = 4.0  # pixels that a solution may be away from where it began
_LEAST = 0.1  # share of the pixels of a volume that must be in both
_ALIKE = 0.9, 30.0  # correlation of gradients, and evidence, that need no other proof


def register(
    first: Pixels,
    second: Pixels,
    begin: tuple[float, ...] | None,
    bound: float,
    brightness: str,
) -> Shift:
    """The displacement of a volume, looked for within ``bound`` along each axis."""
    shape = first.values.shape
    reach = 0.25 * min(shape) if math.isinf(bound) else bound
    filter_ = spline_fields.choose(first, second)
    known = noise_of(first, second, filter_)
    fields = [
        spline_fields.field(pixels, filter_.low, extra, variance, known.unit)
        for pixels, extra, variance in zip((first, second), (0, 1), known.variances, strict=True)
    ]
    rivals = np.zeros((0, len(shape)))
    if begin is None:
        start, rivals = volume_search.start(first, second, reach, bound)
    else:
        start, reach = np.array(begin[::-1]), min(reach, 4.0)
    fewest = _LEAST * min(int(np.count_nonzero(p.valid)) for p in (first, second))
    linear = brightness != "same"
    status, place, window, at, gain = _iterate(fields, start, linear, known, fewest)
    if window is None or at is None or status not in (Status.CONVERGED, Status.MAX_ITERATIONS):
        return no_shift(status, len(shape))
    pixels = int(np.count_nonzero(window.w))
    samples = pixels * filter_.independent
    covariance, noise = covariance_at(window, at, place, gain, known)
    off = filter_.bias * np.sin(2.0 * np.pi * place)  # of the splines
    covariance = covariance + np.diag((spline_fields.LEFT * off) ** 2)
    place = place + off
    if status == Status.CONVERGED and len(at.flat):
        status = Status.ONE_DIRECTION
        axes = complement(at.flat, len(shape))
        place = axes @ (axes.T @ place)
    same = at.srr == 0.0
    likeness = min(max(at.alike, 0.0), 1.0 - 1e-12)
    chance = 2.0 * math.log(2.0 * reach + 1.0)  # a volume has so many times more displacements
    evidence = -samples * math.log1p(-(likeness**2)) - chance
    sure = significance.beyond_doubt(at.spread * filter_.independent - chance, evidence, likeness)
    sure = sure or (likeness >= _ALIKE[0] and evidence >= _ALIKE[1])
    if status == Status.CONVERGED and sure and not same:
        total = (known.unit or noise) * pixels / float(np.sum(window.w, dtype=np.float64))
        fine = volume_refinement.refine(first, second, place, gain, filter_, known, total, linear)
        if fine is not None:
            place = fine.place
            covariance, noise = covariance_at(fine.window, fine.at, place, fine.gain, fine.noise)
            pixels = int(np.count_nonzero(fine.window.w))
    finite = np.isfinite(np.diag(covariance))
    rivals = rivals[(np.abs((rivals - place) * finite) > 2.0).any(axis=1)]
    if not same and not sure:
        status, covariance = Status.AMBIGUOUS, covariance + np.eye(len(shape)) * reach**2 / 3.0
    elif len(rivals) and status in (Status.CONVERGED, Status.ONE_DIRECTION):
        away = (rivals - place) * finite
        status, covariance = Status.AMBIGUOUS, covariance + away.T @ away / (len(away) + 1)
    product = math.sqrt(max(at.saa * at.sbb, 0.0))
    correlation = 0.5 * (at.saa + at.sbb - at.srr) / product if product > 0 else math.nan
    if not known.unit:
        noise = noise / first.scale / first.scale
    dz, dy, dx = place.tolist()
    return Shift(dx, dy, covariance[::-1, ::-1].copy(), int(status), correlation, noise, pixels, dz)


def _iterate(
    fields: list[spline_fields.Field], start: np.ndarray, linear: bool, noise: Noise, fewest: float
) -> tuple[int, np.ndarray, Window | None, Point | None, float]:
    """Newton's iteration: status, displacement, and what holds there."""
    place, gain, window, at = start.astype(float), 1.0, None, None
    move = np.full(start.size, 2**30)
    status, before = int(Status.MAX_ITERATIONS), math.inf
    for _ in range(_MAX_ITER):
        if np.abs(place - move).max() > 1.0:
            move = np.rint(place).astype(int)
            window = window_at(fields, move, linear)
            if window is None or np.count_nonzero(window.w) < fewest:
                return int(Status.TOO_FEW_PIXELS), place, None, None, gain
        assert window is not None
        at = point_at(window, fields[1].coefficients, place, gain, noise)
        if len(at.flat) == place.size or not at.peak:
            status = int(Status.NO_TEXTURE if at.peak else Status.LOST)
            return status, place, None, None, gain
        size = float(np.abs(at.step).max())
        place = place + (at.step if size <= 1.0 else at.step / size)
        if np.abs(place - start).max() > _REACH:
            return int(Status.LOST), place, None, None, gain
        change = gain_change(at, gain, noise.ratio) if linear else 1.0
        settled = abs(change - 1.0) <= 1e-6 or (change - 1.0) ** 2 * at.saa <= 0.01 * at.srr
        if not settled:
            gain *= min(max(change, 1.0 / 256.0), 256.0)
        elif size <= _TOL or _ROUNDING >= size >= 0.5 * before:
            status = int(Status.CONVERGED)
            break
        before = size
    assert window is not None
    if np.abs(place - np.rint(place)).max() <= 10 * _TOL and abs(gain - 1.0) < 0.01:
        exact = point_at(window, fields[1].coefficients, np.rint(place), 1.0, noise)
        if exact.srr == 0.0:  # the same pixels, to the bit
            return status, np.rint(place), window, exact, 1.0
    return status, place, window, point_at(window, fields[1].coefficients, place, gain, noise), gain
