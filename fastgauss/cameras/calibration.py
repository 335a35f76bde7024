"""Photon transfer: the gain of a camera from the noise of evenly lit frames.

Of pixel p at level k, A is the variance and B the mean beyond those of the dark frames. Photons are
counted, so A = g B with g counts for each photon. The estimate is the weighted slope

    g = sum_k w_k A_k B_k / sum_k w_k B_k**2 ,    w_k = (n_k - 1) / S_k**2 ,

where n_k is the number of frames and S_k the mean variance of a pixel. A lamp whose light has the
relative variance f**2 adds f**2 B**2 to A; the means of whole frames, in which photons average out,
show f**2.
"""

from __future__ import annotations

import os
from typing import Any, NamedTuple

import numpy as np

from ..base import check, wording
from ..base.named_axes import in_order
from ..base.progress import Progress, check_progress, reporting
from ..io.movies import checked_frames, open_movie


class _Moments(NamedTuple):
    """Sums over the frames of one level."""

    frames: int
    mean: np.ndarray  # (y, x)
    variance: np.ndarray  # (y, x)
    highest: np.ndarray  # (y, x)
    of_frames: float  # variance of the means of frames


def _moments(name: str, frames: Any, progress: bool | Progress) -> _Moments:
    """Mean, variance and maximum of each pixel, in one pass (Welford's algorithm)."""
    mean = squares = highest = np.zeros(())
    means: list[float] = []
    with open_movie(name, frames) as movie, reporting(progress, movie.length, "frame") as report:
        for frame in checked_frames(name, movie):
            counts = np.asarray(check.finite_array(name, in_order(name, frame), (2, 3)))
            if not means:
                mean, squares = np.zeros(counts.shape), np.zeros(counts.shape)
                highest = counts.copy()
            means.append(float(counts.mean()))
            off = counts - mean
            mean += off / len(means)
            squares += off * (counts - mean)
            np.maximum(highest, counts, out=highest)
            if report is not None:
                report(len(means), movie.length)
    if len(means) < 2:
        raise ValueError(
            f"{name} must hold at least 2 frames, got {wording.plural(len(means), 'frame')}"
        )
    variance = squares / (len(means) - 1)
    return _Moments(len(means), mean, variance, highest, float(np.var(means, ddof=1)))


def _levels(bright: Any) -> list[Any]:
    """The stacks of all levels of light."""
    several = isinstance(bright, list | tuple) and len(bright) > 0
    if several and all(isinstance(b, str | os.PathLike) or np.ndim(b) > 2 for b in bright):
        return list(bright)
    return [bright]


def calibrate(
    dark: Any, bright: Any, saturation: Any, maps: bool, progress: bool | Progress
) -> tuple[Any, Any, Any]:
    """Offset, gain and variance; see `Camera.calibrate`."""
    check.flag("maps", maps)
    check_progress(progress)
    none = _moments("dark", dark, progress)
    upper = weights = np.zeros(())
    for number, stack in enumerate(levels := _levels(bright)):
        name = "bright" if len(levels) == 1 else f"bright[{number}]"
        level = _moments(name, stack, progress)
        if level.mean.shape != none.mean.shape:
            shapes = f"{none.mean.shape}, got {level.mean.shape}"
            raise ValueError(f"{name} must have frames of the shape of dark, {shapes}")
        light = level.mean - none.mean
        if not light.mean() > 0:
            raise ValueError(f"{name} must be brighter than dark, got a mean of {light.mean():.4g}")
        noise = level.variance.mean()
        flicker = max(level.of_frames - noise / light.size, 0.0) / light.mean() ** 2
        excess = level.variance - none.variance - flicker * light**2
        weight = (level.frames - 1) / (noise or 1.0) ** 2
        if saturation is not None:
            weight = np.where(level.highest >= saturation, 0.0, weight)
        upper, weights = upper + weight * light**2, weights + weight * excess * light
    if not maps:
        upper, weights = upper.sum(), weights.sum()
        if not weights > 0:
            raise ValueError("bright must have more noise than dark, got less")
        return float(none.mean.mean()), float(upper / weights), float(none.variance.mean())
    with np.errstate(divide="ignore", invalid="ignore"):
        gain = np.where(weights > 0, upper / weights, np.nan)
    return none.mean, gain, none.variance
