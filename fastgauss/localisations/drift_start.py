"""First guess of a drift, of any size: segments as coarse images, found in the sum of the others.

Each segment is a histogram of at most 128 bins along an axis. Structure wider than some bins is
removed, so that illumination and background do not count, and the borders, which do not drift, fade
out.
The segments are found one after the other in the sum of those before, at the highest place of the
cross-correlation, and then once more in the sum of all others. A place counts if it is far above
what chance reaches; the others follow from the segments before and after.

Three axes: first y and x, of all depths together; then z alone, in columns of y and x.
"""

from __future__ import annotations

import math
from collections.abc import Generator

import numpy as np

from ..base.thread_pool import ordered, resolve_threads
from ..filters import difference_of_gaussians

_BINS = 128  # along an axis
_COLUMNS = 32  # along y and x, in which depths are compared
_NARROW, _WIDE = 1.0, 5.0  # bins: narrower and wider structure is removed
_BESIDE = 10  # bins on both sides of the highest place: no chance
_FADE = 0.1  # of the field, at each border
_FEWEST = 50  # localisations of a segment
_CLEAR = {1: 4.5, 2: 6.5}  # standard deviations, by axes; chance reaches 3 and 5
_KNOWN = 0.8  # of the segments
_STRAY = 1e-3  # part of the localisations on each side that may be far from the others
_FAR = 0.5  # of the width of the others


def field_of(places: np.ndarray) -> np.ndarray:
    """The lowest and the highest coordinates (2, d) of the field, without strays."""
    ends = np.array([places.min(axis=0), places.max(axis=0)])
    inner = np.quantile(places, [_STRAY, 1.0 - _STRAY], axis=0)
    more = _FAR * (inner[1] - inner[0])
    return np.clip(ends, inner[0] - more, inner[1] + more)


def first_guess(
    places: np.ndarray, segments: np.ndarray, count: int, box: np.ndarray, threads: int | None
) -> np.ndarray | None:
    """The drift (S, d) of the segments, its mean 0; None: too few segments are found.

    Localisations are sorted by segment; ``box`` is their field, by `field_of`.
    """
    ndim = places.shape[1]
    low, high = box
    if len(places) < _FEWEST * count or not (np.isfinite(high - low) & (high > low)).all():
        return None
    widths = (high - low) / _BINS
    ends = np.searchsorted(segments, np.arange(count + 1))
    cells = np.clip((places - low) / widths, 0, _BINS - 1).astype(np.int64)
    found = _trace(_Images(cells[:, max(ndim - 2, 0) :], ends, min(ndim, 2)), threads)
    if found is not None and ndim == 3:
        columns = cells[:, 1:] - np.rint(found).astype(np.int64)[segments]
        columns = np.clip(columns, 0, _BINS - 1) * _COLUMNS // _BINS
        depths = _trace(_Images(np.column_stack([columns, cells[:, 0]]), ends, 1), threads)
        found = np.column_stack([np.zeros((count, 1)) if depths is None else depths, found])
    return None if found is None else (found - found.mean(axis=0)) * widths


class _Images:
    """The images of the segments, displaced along the last axes; those before are columns."""

    def __init__(self, cells: np.ndarray, ends: np.ndarray, axes: int):
        from scipy import fft

        self.axes, self.ends, self.count = axes, ends, len(ends) - 1
        self.shape = (_COLUMNS,) * (cells.shape[1] - axes) + (_BINS,) * axes
        self.cells = np.ravel_multi_index(tuple(cells.T), self.shape)
        ramp = np.clip((np.arange(_BINS) + 0.5) / (_FADE * _BINS), 0.0, 1.0)
        fade = np.sin(0.5 * np.pi * np.minimum(ramp, ramp[::-1])) ** 2
        self.window = fade if axes == 1 else fade[:, np.newaxis] * fade
        size = (2 * _BINS,) * axes
        shared = np.abs(fft.rfftn(self.window**2, size)) ** 2
        self.shares = np.maximum(fft.irfftn(shared, size), 0.0)  # of chance at each displacement

    def spectra(self, threads: int | None) -> Generator[np.ndarray, None, None]:
        """The spectra of all segments, a few of them at a time."""
        return ordered(self.spectrum, range(self.count), resolve_threads(threads))

    def spectrum(self, segment: int) -> np.ndarray:
        """The spectrum of one segment's image, padded by as many zeros along each axis."""
        from scipy import fft

        cells = self.cells[self.ends[segment] : self.ends[segment + 1]]
        image = np.bincount(cells, minlength=math.prod(self.shape)).reshape(self.shape)
        along = tuple(range(-self.axes, 0))
        image = difference_of_gaussians(
            image.astype(np.float64), _NARROW, _WIDE, mode="nearest", axes=along, threads=1
        )
        image = (image * self.window).astype(np.float32)
        return fft.rfftn(image, (2 * _BINS,) * self.axes, along)


def _trace(images: _Images, threads: int | None) -> np.ndarray | None:
    """The displacements (S, axes) of the segments in bins; None: too few are found."""
    count, axes = images.count, images.axes
    found, clear = np.zeros((count, axes)), np.zeros(count, bool)
    spectra = images.spectra(threads)
    total = next(spectra)
    for s, spectrum in enumerate(spectra, 1):
        found[s], clear[s] = _place(total, spectrum, images.shares)
        if clear[s]:
            total = total + _moved(spectrum, -found[s])
    clear[0] = True
    for s, spectrum in enumerate(images.spectra(threads)):
        others = total - _moved(spectrum, -found[s]) if clear[s] else total
        place, clear[s] = _place(others, spectrum, images.shares)
        if clear[s]:
            found[s] = place
            total = others + _moved(spectrum, -place)
    if np.count_nonzero(clear) < max(_KNOWN * count, 2):
        return None
    moments = np.arange(count)
    return np.stack([np.interp(moments, moments[clear], f) for f in found[clear].T], axis=1)


def _moved(spectrum: np.ndarray, by: np.ndarray) -> np.ndarray:
    """The spectrum of an image that is displaced by a number of bins."""
    axes, size = len(by), 2 * _BINS
    for axis in range(axes):
        last = axis == axes - 1
        waves = np.fft.rfftfreq(size) if last else np.fft.fftfreq(size)
        phases = np.exp(-2j * np.pi * by[axis] * waves).astype(np.complex64)
        spectrum = spectrum * phases.reshape(-1, *(1,) * (axes - 1 - axis))
    return spectrum


def _place(total: np.ndarray, spectrum: np.ndarray, shares: np.ndarray) -> tuple[np.ndarray, bool]:
    """Where an image is in the sum of others, in bins, and whether that is clear."""
    from scipy import fft

    size, axes = 2 * _BINS, shares.ndim
    product = spectrum * total.conj()
    product = product.sum(axis=tuple(range(product.ndim - axes)))
    values = fft.irfftn(product, (size,) * axes)
    best = np.unravel_index(int(values.argmax()), values.shape)
    place = np.empty(axes)
    for axis in range(axes):
        line = values[tuple(slice(None) if a == axis else k for a, k in enumerate(best))]
        beside = [float(line[(best[axis] + k) % size]) for k in (-1, 0, 1)]
        bend = 2.0 * beside[1] - beside[0] - beside[2]
        place[axis] = best[axis] + (0.5 * (beside[2] - beside[0]) / bend if bend > 0 else 0.0)
    place[place >= _BINS] -= size
    squares = np.square(values, dtype=np.float64)
    near = np.ix_(*(np.arange(k - _BESIDE, k + _BESIDE + 1) % size for k in best))
    chance = (squares.sum() - squares[near].sum()) / (shares.sum() - shares[near].sum())
    height = float(values[best])
    return place, height > max(_CLEAR[axes] * math.sqrt(max(chance * shares[best], 0.0)), 0.0)
