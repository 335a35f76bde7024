"""Arguments of all filters, checked, and the choice between direct sums and Fourier transforms."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache, wraps
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ..base import check, wording
from ..base.progress import check_progress, report_part, reporting
from . import fft, taps
from .separable import Source, correlate

MODES = {mode: mode for mode in taps.MODES} | {
    "grid-mirror": "reflect",
    "grid-constant": "constant",
    "grid-wrap": "wrap",
}
METHODS = ("auto", "direct", "fft")
NAN_POLICIES = ("propagate", "omit")

_KINDS = (np.dtype(np.float32), np.dtype(np.float64))
_FFT_RADIUS = {4: 800, 8: 400}  # by bytes of an element: from this radius on transforms are faster
_MOST_RADIUS = 1 << 24
_NO_WIDTH = 1e-15  # up to this sigma an axis is not filtered, as in scipy
_MOST_ORDER = 64  # of a derivative: of a higher order only rounding is left
_FEW = 1 << 10  # elements of the longest profile that is cached

_SIMPLE = frozenset({int, float, np.float64, str, type(None)})  # a cache knows their types

_profile = lru_cache(maxsize=16)(taps.gaussian)


class Job(NamedTuple):
    """A checked image, its mode beyond its ends, and the axes to filter."""

    array: np.ndarray
    modes: tuple[str, ...]
    cval: float
    axes: tuple[int, ...]
    out: np.ndarray
    threads: int | None
    progress: Any = False  # the option; while the job runs, a callback that gets hundredths


# -- arguments ---------------------------------------------------------------------------------


def _keep(function: Callable) -> Callable:
    """Keep what a function makes of ``known`` and of simple options, which are checked once.

    To check the options takes about as long as to filter 200 x 200 elements. Sequences are checked
    anew: (1, 0) equals (True, 0) for a cache.
    """
    kept = lru_cache(maxsize=64, typed=True)(function)

    @wraps(function)
    def call(known: Any, *options: Any) -> Any:
        return (kept if _SIMPLE.issuperset(map(type, options)) else function)(known, *options)

    return call


def each(name: str, value: Any, count: int) -> list[Any]:
    """One entry for each axis, from one entry or a sequence."""
    items = check.entries(name, value)
    if items is None:
        return [value] * count
    if len(items) != count:
        raise ValueError(f"{name} must be one or a sequence of {count}, got {len(items)}")
    return items


def _axes(axes: Any, ndim: int) -> list[int]:
    if axes is None:
        return list(range(ndim))
    items = check.entries("axes", axes)
    items = [axes] if items is None else items
    result = [check.integer(f"axes[{i}]", axis) for i, axis in enumerate(items)]
    if any(not -ndim <= axis < ndim for axis in result):
        raise ValueError(f"axes must be between {-ndim} and {ndim - 1}, got {wording.shown(axes)}")
    result = [axis % ndim for axis in result]
    if len(set(result)) < len(result):
        raise ValueError(f"axes must differ, got {wording.shown(axes)}")
    return result


def _target(out: Any, array: np.ndarray) -> np.ndarray:
    """The array for the result: the one given, or a new one of the given or the default dtype."""
    if isinstance(out, np.ndarray):
        return check.out_array("out", out, array.shape, _KINDS)
    if out is None:
        narrow = array.dtype.kind == "f" and array.dtype.itemsize <= 4
        return np.empty(array.shape, np.float32 if narrow else np.float64)
    try:
        dtype = np.dtype(out)
    except TypeError:
        raise TypeError(f"out must be an array or a dtype, got {wording.shown(out)}") from None
    if dtype not in _KINDS:
        raise TypeError(f"out must be of dtype float32 or float64, got {dtype}")
    return np.empty(array.shape, dtype)


def given(out: Any, result: np.ndarray) -> np.ndarray:
    """The array that the caller gave to be written, which holds the result, or the result."""
    return out if isinstance(out, np.ndarray) else result


@_keep
def _modes_and_axes(ndim: int, mode: Any, axes: Any) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """The mode of each axis of the image, and the axes to filter."""
    chosen = _axes(axes, ndim)
    modes = ["reflect"] * ndim
    for axis, word in zip(chosen, each("mode", mode, len(chosen)), strict=True):
        modes[axis] = MODES[check.choice("mode", word, MODES)]
    return tuple(modes), tuple(chosen)


def make_job(
    image: ArrayLike, mode: Any, cval: Any, axes: Any, out: Any, threads: int | None,
    progress: Any = False,
) -> Job:  # fmt: skip
    check_progress(progress)
    array = check.real_array("image", image)
    if array.ndim == 0:
        raise ValueError("image must have one dimension or more, got 0")
    modes, chosen = _modes_and_axes(array.ndim, mode, axes)
    fill = check.any_number("cval", cval)
    if threads is not None:
        check.integer("threads", threads, at_least=1)
    return Job(array, modes, fill, chosen, _target(out, array), threads, progress)


def _radii(radius: Any, sigmas: Sequence[float], truncate: Any) -> list[int]:
    """Radius of each profile: the one given, or `truncate` sigmas."""
    cut = check.number("truncate", truncate, at_least=0.0)
    given = each("radius", radius, len(sigmas))
    result = []
    for sigma, value in zip(sigmas, given, strict=True):
        if value is not None:
            result.append(check.integer("radius", value, at_least=0))
        else:
            result.append(int(min(cut * sigma + 0.5, 2.0 * _MOST_RADIUS)))
        if result[-1] > _MOST_RADIUS:
            raise ValueError(f"radius must be at most {_MOST_RADIUS}, got {result[-1]}")
    return result


def _sigmas(count: int, sigma: Any) -> list[float]:
    """A width for each axis that is filtered."""
    return [check.number("sigma", value, at_least=0.0) for value in each("sigma", sigma, count)]


class _Axes(NamedTuple):
    """The axes to filter, of how many."""

    ndim: int
    chosen: tuple[int, ...]


@_keep
def _term(axes: _Axes, sigma: Any, order: Any, radius: Any, truncate: Any) -> taps.Term:
    count = len(axes.chosen)
    sigmas = _sigmas(count, sigma)
    orders = [
        check.integer("order", m, at_least=0, at_most=_MOST_ORDER)
        for m in each("order", order, count)
    ]
    term = [taps.NOTHING] * axes.ndim
    radii = _radii(radius, sigmas, truncate)
    for axis, width, m, r in zip(axes.chosen, sigmas, orders, radii, strict=True):
        if width > _NO_WIDTH:
            term[axis] = (_profile if r < _FEW else taps.gaussian)(width, m, r)
    return tuple(term)


@_keep
def _derivatives(
    axes: _Axes, sigma: Any, order: int, radius: Any, truncate: Any
) -> tuple[taps.Term, ...]:
    count = len(axes.chosen)
    if not count:
        raise ValueError("axes must name one axis or more, got none")
    smooth = [axis for axis, width in enumerate(_sigmas(count, sigma)) if width > _NO_WIDTH]
    if not smooth:
        raise ValueError(
            f"sigma must be above 0 along one axis or more, got {wording.shown(sigma)}"
        )
    orders = order * np.eye(count, dtype=int)[smooth]
    return tuple(_term(axes, sigma, row, radius, truncate) for row in orders.tolist())


def make_term(job: Job, sigma: Any, order: Any, radius: Any, truncate: Any) -> taps.Term:
    """A profile for each axis of the image; axes of sigma 0 are not filtered."""
    return _term(_Axes(job.array.ndim, job.axes), sigma, order, radius, truncate)


def derivatives(
    job: Job, sigma: Any, order: int, radius: Any, truncate: Any
) -> tuple[taps.Term, ...]:
    """A term for each axis that is smoothed, differentiated along it."""
    return _derivatives(_Axes(job.array.ndim, job.axes), sigma, order, radius, truncate)


# -- the filter --------------------------------------------------------------------------------


def _direct(job: Job, source: Source, terms: Sequence[taps.Term], squares: bool) -> np.ndarray:
    """Sum of terms, or the root of the sum of their squares, in a contiguous array."""
    out = job.out
    alone = out.flags.carray and out.dtype.isnative
    if not alone or np.may_share_memory(out, source.volume):
        out = np.empty(out.shape, out.dtype.newbyteorder("="))
    lead = 3 - job.array.ndim
    if lead >= 0:
        shape = (1,) * lead + job.array.shape
        mask = None if source.mask is None else source.mask.reshape(shape)
        volume = source._replace(volume=source.volume.reshape(shape), mask=mask)
        terms = [(taps.NOTHING,) * lead + term for term in terms]
        modes = ("reflect",) * lead + job.modes
        target = out.reshape(shape)
        correlate(volume, terms, modes, job.cval, target, job.threads, squares, job.progress)
        return out
    for index, term in enumerate(terms):
        part = _many_axes(job, source, term, np.empty_like(out))
        if job.progress is not None:
            job.progress(100 * (index + 1) // len(terms), 100)
        if squares:
            part *= part
        if index:
            out += part
        else:
            out[...] = part
    return np.sqrt(out, out=out) if squares else out


def _many_axes(job: Job, source: Source, term: taps.Term, out: np.ndarray) -> np.ndarray:
    """One term of an array of more than three axes: the last three axes together."""
    shape = job.array.shape
    everything = (slice(None),) * 3
    flat = source._replace(
        volume=source.volume.reshape(1, -1, shape[-1]),
        mask=None if source.mask is None else source.mask.reshape(1, -1, shape[-1]),
    )
    work = flat.read(everything, out.dtype)
    for axis in range(job.array.ndim - 3):
        if term[axis].trivial:
            continue
        views = (math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 : -1]), shape[-1])
        filtered = np.empty(views, out.dtype)
        modes = (job.modes[axis], "reflect", "reflect")
        for before, after in zip(work.reshape(views), filtered, strict=True):
            own = (term[axis], taps.NOTHING, taps.NOTHING)
            correlate(Source(before), [own], modes, job.cval, after, job.threads)
        work = filtered
    views = (-1, *shape[-3:])
    for before, after in zip(work.reshape(views), out.reshape(views), strict=True):
        correlate(Source(before), [term[-3:]], job.modes[-3:], job.cval, after, job.threads)
    return out


def _by_transforms(job: Job, terms: Sequence[taps.Term], squares: bool) -> np.ndarray:
    total = np.zeros(job.array.shape)
    for index, term in enumerate(terms):
        done = (100 * k // len(terms) for k in (index, index + 1))
        told = report_part(job.progress, 100, *done)
        part = fft.filter_term(job.array, term, job.modes, job.cval, job.threads, told)
        total += part * part if squares else part
    return np.sqrt(total, out=total) if squares else total


def _run(job: Job, terms: Sequence[taps.Term], method: str, squares: bool) -> np.ndarray:
    """Filter into ``job.out`` by the method that ``method`` selects."""
    array, out = job.array, job.out
    if not array.size:
        return out
    if method == "auto":
        longest = max(profile.radius for term in terms for profile in term)
        long = longest > _FFT_RADIUS[out.itemsize] and math.isfinite(job.cval)
        method = "fft" if long and np.isfinite(array).all() else "direct"
    if method == "fft":
        out[...] = _by_transforms(job, terms, squares)
        return out
    result = _direct(job, Source(array), terms, squares)
    if result is not out:
        out[...] = result
    return out


def run(
    job: Job, terms: Sequence[taps.Term], method: str = "auto", squares: bool = False
) -> np.ndarray:
    """Filter into ``job.out``, with the progress bar or callback of the job."""
    with reporting(job.progress, 100, "%") as report:
        told = report_part(report, 100, 0, 100)
        return _run(job._replace(progress=told), terms, method, squares)


def run_normalised(job: Job, term: taps.Term, mask: np.ndarray | None, omit_nan: bool) -> None:
    """Weighted means of the elements that are not missing; NaN where there is none in reach."""
    source = Source(job.array, mask, omit_nan)
    with reporting(job.progress, 100, "%") as report:
        first, second = (report_part(report, 100, k, k + 50) for k in (0, 50))
        values = job._replace(out=np.empty_like(job.out), progress=first)
        sums = _direct(values, source, [term], False)
        one = job._replace(out=np.empty_like(job.out), cval=1.0, progress=second)
        weights = _direct(one, source._replace(weigh=True), [term], False)
    with np.errstate(divide="ignore", invalid="ignore"):
        np.divide(sums, weights, out=job.out)
