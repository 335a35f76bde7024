"""Finding spots: where an image has bright or dark blobs of about a given size.

The image is filtered with the negative Laplacian of a Gaussian. The filter has zero sum
and no first moment, so a constant and a linear background vanish, whatever their size.
It is scaled so that a noiseless spot of just its sigma s and of amplitude A gives the
response A at its centre; in d dimensions a spot of sigma t gives

    A * (2 t**2 / (s**2 + t**2))**(d/2) * 2 s**2 / (s**2 + t**2)

Spots are the local maxima of the response that stand above its noise.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ._search import check_search
from .base import check, thread_pool
from .base.progress import Progress, check_progress, report_part, reporting
from .filters import taps
from .filters.separable import Source, correlate
from .kernels.find import local_maxima

POLARITIES = ("bright", "dark")
NOISE_FACTOR = 5.0  # default threshold in standard deviations of the response's noise

_CHUNK = 1 << 17  # pixels that a task takes at a time
_PEDESTAL_SAMPLES = 1 << 14
_CELL_BLOBS = 1000.0  # independent responses in a cell of the noise map
_CELL_SAMPLES = 1024
_LIVE = 0.25  # part of a cell's samples that must vary for the cell to show its noise
_WINDOW = 0.4  # a maximum on a missing pixel needs this part of its Gaussian window
_PROOF = 0.5  # a spot rises above the ring around it by this part of what its response says
_ROUNDING = 16.0 * float(np.finfo(np.float32).eps)  # false response, relative to the signal
_PREPARED, _FILTERED = 15, 70  # hundredths of the time after which that is done
_LARGEST = 1e30  # from here on sums of float32 numbers might overflow: missing


class _Picture(NamedTuple):
    """An image made ready for the filters: a float32 volume of bright spots on about zero."""

    volume: np.ndarray
    peaks: np.ndarray  # largest magnitude of each plane
    blocked: np.ndarray | None  # pixels that may not hold a spot


def _as_volume(array: np.ndarray) -> np.ndarray:
    """A view with three axes: an image becomes planes of one line, a profile one line."""
    if array.ndim == 3:
        return array
    return array[:, None, :] if array.ndim == 2 else array[None, None, :]


def _three(values: tuple[float, ...], absent: float) -> tuple[float, float, float]:
    """Values for the axes of an image at the places where `_as_volume` puts them."""
    z, y, x = {1: (absent, absent, *values), 2: (values[0], absent, values[-1])}.get(
        len(values), values
    )
    return z, y, x


def _each_chunk(volume: np.ndarray, task: Callable[[int, int], None], threads: int | None) -> None:
    """Run a task on ranges of planes; the ranges depend on the shape alone."""
    planes = max(1, _CHUNK // (volume.shape[1] * volume.shape[2]))
    thread_pool.run(lambda: task, volume.shape[0], planes, threads)


# -- the image made ready ----------------------------------------------------------------------


def _pedestal(volume: np.ndarray) -> float:
    """Median of a regular sub-sample of the finite values."""
    axes = max(1, sum(n > 1 for n in volume.shape))
    step = max(1, math.ceil((volume.size / _PEDESTAL_SAMPLES) ** (1.0 / axes)))
    with np.errstate(over="ignore"):
        sample = volume[::step, ::step, ::step].astype(np.float64)
    finite = sample[np.isfinite(sample)]
    return float(np.median(finite)) if finite.size else 0.0


def _measure(volume: np.ndarray, threads: int | None) -> np.ndarray:
    """Largest magnitude of each plane, NaN or infinity where there is one."""
    bits, peaks = volume.view(np.int32), np.empty(len(volume), dtype=np.int32)
    _each_chunk(
        volume, lambda start, stop: local_maxima.plane_peaks(bits, peaks, start, stop), threads
    )
    return peaks.view(np.float32)


def _prepare(
    image: np.ndarray,
    mask: np.ndarray | None,
    dark: bool,
    sigmas: tuple[float, float, float],
    threads: int | None,
) -> _Picture:
    """Subtract a pedestal while casting to float32, fill what is missing."""
    source = _as_volume(image)
    holes = None if mask is None else _as_volume(mask)
    volume = np.empty(source.shape, dtype=np.float32)
    pedestal = _pedestal(source)
    dtype = np.float32 if image.dtype == np.float32 else np.float64

    def cast(start: int, stop: int) -> None:
        block, target = source[start:stop], volume[start:stop]
        above, below = (pedestal, block) if dark else (block, pedestal)
        with np.errstate(over="ignore", invalid="ignore"):
            np.subtract(above, below, out=target, dtype=dtype, casting="unsafe")
        if holes is not None:
            np.copyto(target, np.nan, where=holes[start:stop])

    _each_chunk(volume, cast, threads)
    peaks = _measure(volume, threads)
    if np.all(peaks < _LARGEST):
        return _Picture(volume, peaks, None)
    blocked = _fill(volume, sigmas, threads)
    return _Picture(volume, _measure(volume, threads), blocked)


def _fill(
    volume: np.ndarray, sigmas: tuple[float, float, float], threads: int | None
) -> np.ndarray:
    """Give missing pixels the Gaussian-weighted mean of those around; tell where few are.

    Every pixel within the filter's reach of an existing one gets a value; others stay 0.
    """
    gap = ~(np.abs(volume) < _LARGEST)
    volume[gap] = 0.0
    terms = [taps.smoothing(sigmas)]
    weight = _correlate(np.logical_not(gap).astype(np.float32), terms, threads)
    mean = _correlate(volume, terms, threads)
    np.divide(mean, weight, out=volume, where=gap & (weight > 1e-6))
    return gap & (weight < _WINDOW)


def _correlate(
    volume: np.ndarray, terms: Sequence[taps.Term], threads: int | None,
    report: Progress | None = None,
) -> np.ndarray:  # fmt: skip
    """The volume under a sum of separable filters."""
    out = np.empty_like(volume)
    planar = volume.shape[1] == 1  # lines of one plane rather than planes of one line
    shape = volume.shape[1:2] + volume.shape[::2] if planar else volume.shape
    order = (1, 0, 2) if planar else (0, 1, 2)
    terms = [tuple(term[axis] for axis in order) for term in terms]
    source = Source(volume.reshape(shape))
    target = out.reshape(shape)
    correlate(source, terms, ("reflect",) * 3, 0.0, target, threads, report=report)
    return out


# -- the threshold -----------------------------------------------------------------------------


def _cells(shape: tuple[int, ...], sigmas: tuple[float, float, float]) -> tuple[int, ...]:
    """How many cells of the noise map go along each axis."""
    active = [axis for axis in range(3) if sigmas[axis] > 0]
    blobs = _CELL_BLOBS ** (1.0 / len(active))
    return tuple(
        max(1, round(n / (3.0 * sigma * blobs))) if sigma > 0 else 1
        for n, sigma in zip(shape, sigmas, strict=True)
    )


def _cell_samples(
    picture: _Picture, response: np.ndarray, cells: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Sorted samples ``(cells, S)`` of the response on a regular grid, and how many live."""
    shape = response.shape
    side = math.ceil(_CELL_SAMPLES ** (1.0 / max(1, sum(n > 1 for n in shape))))
    each = [min(side, n // c) for n, c in zip(shape, cells, strict=True)]
    places = [
        ((np.arange(c * m) + 0.5) * (n / (c * m))).astype(np.int64)
        for n, c, m in zip(shape, cells, each, strict=True)
    ]
    samples = np.empty([len(p) for p in places], dtype=np.float32)
    local_maxima.take_samples(picture.volume, response, *places, samples)
    if picture.blocked is not None:
        samples[picture.blocked[np.ix_(*places)]] = np.nan
    split = samples.reshape([k for pair in zip(cells, each, strict=True) for k in pair])
    rows = split.transpose(0, 2, 4, 1, 3, 5).reshape(math.prod(cells), math.prod(each))
    ordered = np.sort(rows, axis=1)  # NaN comes last
    return ordered, np.count_nonzero(~np.isnan(ordered), axis=1)


def _noise_thresholds(
    picture: _Picture, response: np.ndarray, sigmas: tuple[float, float, float], least: float
) -> np.ndarray:
    """Default threshold in each cell: NOISE_FACTOR times the noise above its centre."""
    cells = _cells(response.shape, sigmas)
    ordered, live = _cell_samples(picture, response, cells)
    centres, noise = np.empty(len(ordered)), np.empty(len(ordered))
    local_maxima.clipped_noise(ordered, live, centres, noise)
    levels = centres + NOISE_FACTOR * np.maximum(noise, least)
    shown = live >= _LIVE * ordered.shape[1]
    levels[~shown] = np.median(levels[shown]) if shown.any() else NOISE_FACTOR * least
    return levels.reshape(cells)


def _level_at(levels: np.ndarray, points: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Thresholds at points, linear between the centres of the cells."""
    if levels.size == 1:
        return np.full(len(points), levels.flat[0])
    from scipy.ndimage import map_coordinates

    scale = np.array(levels.shape) / np.array(shape)
    where = (points + 0.5) * scale - 0.5
    return map_coordinates(levels, where.T, order=1, mode="nearest")


# -- maxima ------------------------------------------------------------------------------------


def _local_maxima(
    response: np.ndarray, above: float, threads: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """Flat indices, increasing, of the maxima over a number, and which are on plateaus."""
    found: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def task(start: int, stop: int) -> None:
        capacity = 1 << 12
        while True:
            where = np.empty(capacity, dtype=np.int64)
            tied = np.empty(capacity, dtype=np.bool_)
            count = local_maxima.local_maxima(response, above, start, stop, where, tied)
            if count <= capacity:
                break
            capacity = count
        found[start] = where[:count].copy(), tied[:count].copy()

    _each_chunk(response, task, threads)
    parts = [found[start] for start in sorted(found)]
    return np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])


def _rounding_level(peaks: np.ndarray, sigma: float, planes: np.ndarray) -> np.ndarray:
    """What rounding may feign as a response in each of some planes."""
    radius = taps.smoothing((sigma,))[0].radius
    padded = np.pad(peaks, radius, mode="edge")
    window = np.lib.stride_tricks.sliding_window_view(padded, 2 * radius + 1)
    return _ROUNDING * window.max(axis=1)[planes]


def _peaks(
    picture: _Picture,
    response: np.ndarray,
    levels: np.ndarray,
    sigmas: tuple[float, float, float],
    threads: int | None,
) -> np.ndarray:
    """Maxima ``(n, 3)`` above threshold and rounding, the strongest first."""
    where, tied = _local_maxima(response, max(0.0, float(levels.min())), threads)
    if tied.any():
        where = np.sort(
            np.append(where[~tied], local_maxima.plateau_centres(response, where[tied]))
        )
    if picture.blocked is not None:
        where = where[~picture.blocked.flat[where]]
    points = np.stack(np.unravel_index(where, response.shape), axis=1)
    strength = response.flat[where]
    good = strength > _level_at(levels, points, response.shape)
    good &= strength > _rounding_level(picture.peaks, sigmas[0], points[:, 0])
    points, strength = points[good], strength[good]
    good = _stand_out(picture.volume, points, strength, sigmas, threads)
    order = np.argsort(-strength[good], kind="stable")
    return points[good][order]


def _stand_out(
    volume: np.ndarray,
    points: np.ndarray,
    strength: np.ndarray,
    sigmas: tuple[float, float, float],
    threads: int | None,
) -> np.ndarray:
    """Which maxima are spots by the median of the ring around them, not by its mean alone."""
    if len(points) == 0:
        return np.empty(0, dtype=np.bool_)
    core, ring, contrast = local_maxima.core_and_ring(sigmas)
    needed = (_PROOF * contrast) * strength.astype(np.float64)
    keep = np.empty(len(points), dtype=np.bool_)

    def task(start: int, stop: int) -> None:
        local_maxima.stands_out(volume, points, needed, core, ring, keep, start, stop)

    thread_pool.run(lambda: task, len(points), max(1, _CHUNK // len(ring)), threads)
    return keep


def _thin(points: np.ndarray, shape: tuple[int, ...], distance: np.ndarray) -> np.ndarray:
    """Which points stay when those closer than a distance to a stronger one go."""
    keep = np.ones(len(points), dtype=np.bool_)
    if np.any(distance > 1.0) and len(points) > 1:
        cell = np.ceil(np.clip(distance, 8, np.maximum(shape, 8))).astype(np.int64)
        head = np.full(-(-np.array(shape) // cell), -1)
        local_maxima.thin(points, np.maximum(distance, 0.5), cell, head, keep)
    return keep


def _refine(response: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Vertices of the parabolas through each maximum and its two neighbours on an axis."""
    refined = points.astype(np.float64)
    centre = response[tuple(points.T)].astype(np.float64)
    for axis, n in enumerate(response.shape):
        inner = np.flatnonzero((points[:, axis] > 0) & (points[:, axis] < n - 1))
        step = np.zeros(3, dtype=np.int64)
        step[axis] = 1
        before = response[tuple((points[inner] - step).T)] - centre[inner]
        after = response[tuple((points[inner] + step).T)] - centre[inner]
        bend = before + after
        shift = np.divide(0.5 * (before - after), bend, out=np.zeros(len(inner)), where=bend < 0)
        refined[inner, axis] += shift
    return refined


# -- the public function -----------------------------------------------------------------------


def find_spots(
    image: Any,
    sigma: float | Sequence[float] = 1.3,
    *,
    threshold: float | None = None,
    min_distance: float | Sequence[float] | None = None,
    exclude_border: bool | int = True,
    polarity: str = "bright",
    mask: Any = None,
    threads: int | None = None,
    progress: bool | Progress = False,
) -> np.ndarray:
    """Positions of the bright or dark spots of an image or volume, the strongest first.

    Parameters
    ----------
    image : array_like (X,), (Y, X) or (Z, Y, X), real
        Read as it is, whatever its dtype, byte order and strides. NaN, infinity and
        values farther than 1e30 from the median are missing pixels.
    sigma : float or sequence of D floats, default 1.3
        Width of the spots in pixels, at least 0.3; one number, or one for each axis.
        Spots from half to three times as wide are found too, with less contrast.
    threshold : float, optional
        Least response of a spot, in units of the image: the amplitude above the
        background of the faintest ideal spot of this `sigma`. By default five times the
        noise of the response, which is measured locally.
    min_distance : float or sequence of D floats, optional
        Of two maxima closer than this many pixels (one number, or the semi-axes of an
        ellipsoid) the weaker is dropped. Default 2 `sigma`.
    exclude_border : bool or int, default True
        Width in pixels of the frame in which no spot is reported. True is 1: a maximum
        on the outermost pixels may be the flank of something outside. False is 0.
    polarity : {"bright", "dark"}, default "bright"
        Whether spots are brighter or darker than what is around them.
    mask : array_like of bool, the image's shape, optional
        True where a pixel does not exist.
    threads : int, optional
        Threads at most; the result does not depend on it.
    progress : bool or callable
        True shows a tqdm bar; a callable gets ``(done, total)``.

    Returns
    -------
    positions : ndarray (n, D) float64
        In pixels and in the order of the image's axes (row, column), by falling
        response. Each is the vertex of the parabolas through the response at a local
        maximum and its neighbours, at most half a pixel from that maximum, so that
        ``np.rint(positions)`` is the pixel (of two equal ones, either). Noiseless
        isolated spots come out within about 0.05 pixels.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind, shape or range.

    See Also
    --------
    fit_spots : Finds and fits.

    Notes
    -----
    The response is a scale-normalised negative Laplacian of Gaussian, see
    ``fastgauss.detect``: constant and linear backgrounds have none. A spot of amplitude A
    and sigma t has the response ``4 A s**2 t**2 / (s**2 + t**2)**2`` in an image (s is
    `sigma`): 0.64 A where t is half or twice s, 0.36 A at three times.

    A maximum of it is a spot if it exceeds the threshold and rounding, and if the
    mean of its core (up to 1 sigma) exceeds the *median* of the ring around it (2 to 4
    sigma) by half of what an ideal spot of that response would. The last keeps
    out the dark rings that the filter makes of bright spots, and straight edges.

    The default threshold is the median of the response plus 5 standard deviations, from
    the median absolute deviation, repeated without samples beyond 3 sigma. It is taken
    in cells of about ``95 sigma`` pixels in an image (``30 sigma`` in a volume) and
    interpolated between them, so brighter and noisier parts have a higher
    one. White normal noise in an image of n pixels has fewer than ``1e-6 n / sigma**2``
    maxima over it: 0.1 in 512 x 512 at the default. Pixels that equal all their
    neighbours (padding, saturation) carry no noise and are left out; where three quarters
    are such, there is no noise. For integer images the noise is at least that of
    rounding, ``1 / sqrt(12)``.

    Give a `threshold` where this cannot hold: counts below about three a pixel, whose
    noise is far from normal, and images that spots cover for the most part, whose
    response has no pixels without spots (at 0.02 spots of sigma 1.3 per pixel the default
    begins to miss faint ones).

    Missing pixels get the Gaussian-weighted mean of those around them. A spot whose centre
    is missing is found if two fifths of the Gaussian window around it exist. Beyond its
    border the image is mirrored. Equal neighbouring maxima are one spot, at the middle one.

    The work is done in float32 after the median is subtracted. Cost: time about
    7 ns a pixel and thread in an image at sigma 1.3, growing with sigma; memory 8 bytes
    a pixel beyond the image, about 20 with missing pixels.

    References
    ----------
    .. [1] T. Lindeberg, "Feature detection with automatic scale selection",
       International Journal of Computer Vision 30 (1998) 79-116.

    Examples
    --------
    >>> import numpy as np
    >>> from fastgauss.detect import find_spots
    >>> y, x = np.mgrid[:60, :80]
    >>> image = 200.0 + x  # an uneven background
    >>> for row, column, amplitude in ((20.0, 30.0, 50.0), (41.0, 62.0, 90.0)):
    ...     r2 = (y - row) ** 2 + (x - column) ** 2
    ...     image += amplitude * np.exp(-r2 / (2 * 1.3**2))
    >>> find_spots(image).round(2)
    array([[41., 62.],
           [20., 30.]])
    >>> find_spots(image, threshold=70.0).round(2)
    array([[41., 62.]])
    """
    array = check.real_array("image", image, (1, 2, 3))
    sigmas, threshold, distances, margin = check_search(
        array.ndim, sigma, threshold, min_distance, exclude_border
    )
    margin = min(margin, max(array.shape))
    dark = check.choice("polarity", polarity, POLARITIES) == "dark"
    holes = None if mask is None else check.mask("mask", mask, array.shape)
    threads = thread_pool.resolve_threads(threads)
    check_progress(progress)
    if any(n < s for n, s in zip(array.shape, sigmas, strict=True)):
        return np.empty((0, array.ndim))

    with reporting(progress, 100, "%") as report:
        widths = _three(sigmas, 0.0)
        picture = _prepare(array, holes, dark, widths, threads)
        terms, gain = taps.spot_filter(widths)
        filtering = report_part(report, 100, _PREPARED, _FILTERED)
        response = _correlate(picture.volume, terms, threads, filtering)
        if threshold is None:
            least = gain / math.sqrt(12.0) if array.dtype.kind in "iu" else 0.0
            levels = _noise_thresholds(picture, response, widths, least)
        else:
            levels = np.full((1, 1, 1), threshold)
        points = _peaks(picture, response, levels, widths, threads)
        points = points[_thin(points, response.shape, np.array(_three(distances, 1.0)))]
        axes = np.flatnonzero(widths)
        lengths = np.array(response.shape)[axes]
        inside = np.all((points[:, axes] >= margin) & (points[:, axes] < lengths - margin), axis=1)
        found = _refine(response, points[inside])[:, axes]
        if report is not None:
            report(100, 100)
        return found
