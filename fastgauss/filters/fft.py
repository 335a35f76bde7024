"""Long filters by Fourier transforms, one axis after the other.

The cost does not grow with the length of the filter. A reflected, mirrored or wrapped axis is
periodic, so that a filter of any length, folded onto the period, is one circular convolution. In
the modes "constant" and "nearest" every element beyond an end is the same number; its weight is the
sum of the coefficients there. In any other mode the axis is padded by the radius at either end. All
arithmetic is float64.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ..base import thread_pool
from ..base.progress import Progress, report_part
from .taps import Profile, Term, axis_map

_CHUNK = 1 << 17  # elements that a task transforms at a time
_PERIODS: dict[str, Callable[[int], int]] = {  # of axes of n elements in periodic modes
    "reflect": lambda n: 2 * n,
    "mirror": lambda n: max(2 * n - 2, 1),
    "wrap": lambda n: n,
}


def _whole(profile: Profile) -> np.ndarray:
    """Both halves of a profile, from -radius to radius."""
    sign = -1.0 if profile.odd else 1.0
    return np.concatenate([sign * profile.half[:0:-1], profile.half])


class _Axis:
    """The transform of the filter for lines of one length, and the weights beyond the ends."""

    def __init__(self, profile: Profile, n: int, mode: str, cval: float) -> None:
        from scipy.fft import next_fast_len

        self.n, self.mode, self.cval, self.first = n, mode, cval, 0
        radius, whole = profile.radius, _whole(profile)
        places = np.arange(-radius, radius + 1)
        if mode in ("constant", "nearest"):
            self.period = next_fast_len(2 * n - 1, real=True)
            outside = n + radius
            sums = np.cumsum(np.concatenate([[0.0], whole]))  # over places < k at k + radius
            first = np.arange(n)
            self.before = sums[(radius - first).clip(0, 2 * radius + 1)]  # places < -i
            after = np.cumsum(np.concatenate([[0.0], whole[::-1]]))
            self.after = after[(radius + 1 - n + first).clip(0, 2 * radius + 1)]  # > n - 1 - i
            near = np.abs(places) < min(n, outside)
            places, whole = places[near], whole[near]
            self.extension = None
        elif mode in _PERIODS:
            self.period = _PERIODS[mode](n)
            self.extension = axis_map(n, self.period, mode)[self.period : 2 * self.period]
        else:
            self.period, self.first = next_fast_len(n + 2 * radius, real=True), radius
            self.extension = axis_map(n, radius, mode)
        folded = np.bincount(-places % self.period, whole, self.period)
        self.spectrum = np.fft.rfft(folded)

    def filter(self, lines: np.ndarray) -> np.ndarray:
        """Filter lines (m, n)."""
        from scipy.fft import irfft, rfft

        extended = lines if self.extension is None else lines[:, self.extension]
        image = rfft(extended, self.period, axis=1) * self.spectrum
        result = irfft(image, self.period, axis=1)[:, self.first : self.first + self.n]
        if self.mode == "constant":
            result += self.cval * (self.before + self.after)
        elif self.mode == "nearest":
            result += lines[:, :1] * self.before + lines[:, -1:] * self.after
        return result


def _filter_axis(
    volume: np.ndarray, axis: int, work: _Axis, threads: int | None,
    report: Progress | None,
) -> None:  # fmt: skip
    """Filter a contiguous float64 array along one axis in place."""
    n = volume.shape[axis]
    view = volume.reshape(-1, n, int(np.prod(volume.shape[axis + 1 :])))
    columns = max(1, _CHUNK // n)
    slices = -(-view.shape[2] // columns)
    planes = max(1, columns // view.shape[2])

    def task(start: int, stop: int) -> None:
        for index in range(start, stop):
            first, column = index // slices * planes, index % slices * columns
            part = view[first : first + planes, :, column : column + columns]
            lines = np.ascontiguousarray(part.transpose(0, 2, 1))
            shape = lines.shape
            part[...] = work.filter(lines.reshape(-1, n)).reshape(shape).transpose(0, 2, 1)

    thread_pool.run(lambda: task, -(-view.shape[0] // planes) * slices, 1, threads, report)


def filter_term(
    array: np.ndarray,
    term: Term,
    modes: Sequence[str],
    cval: float,
    threads: int | None,
    report: Progress | None = None,
) -> np.ndarray:
    """An array filtered with a product of profiles, float64."""
    result = array.astype(np.float64, order="C")
    for axis, (profile, mode) in enumerate(zip(term, modes, strict=True)):
        if not profile.trivial:
            work = _Axis(profile, result.shape[axis], mode, cval)
            done = (100 * k // len(term) for k in (axis, axis + 1))
            _filter_axis(result, axis, work, threads, report_part(report, 100, *done))
    return result
