"""Whether an image holds counts, and their mean where there are few."""

from __future__ import annotations

import numpy as np
from scipy import special

from ..kernels.find import noise_samples
from .background import Background
from .cells import Cells, median
from .response import NO_GAP, Picture

FEW = 3.0  # mean counts from which deviations of responses are those of a normal distribution
_ALIKE = 0.75, 1.33  # ratio of variance and mean of counts
_ALIKE_FEW = 0.6, 1.6  # minus the logarithm of the share of zeros, by the ratio of ones to zeros
COUNTED = 1.5e3  # counts in a cell, about, that tell its mean
_LOOKED = 100  # pixels of a cell that tell whether all are whole numbers
_MOST = 1 << 14  # pixels of a cell that are looked at
_HIGHEST = 31  # of few counts
_ROUNDS = 12


def are_whole(picture: Picture, cells: Cells) -> bool:
    """Whether the pixels are whole numbers and none is negative, as far as a sample tells."""
    if picture.unit != 1.0:
        return False
    gap = NO_GAP if picture.gap is None else picture.gap
    places = cells.places(_LOOKED)
    return noise_samples.are_whole(picture.volume, gap, places, picture.sign, picture.level)


def means_of_background(background: Background, picture: Picture, cells: Cells) -> np.ndarray:
    """Medians of the background in each cell, as counts."""
    blocks = Cells(background.means.shape, tuple(
        min(m, n) for m, n in zip(background.means.shape, cells.counts, strict=True)
    ))  # fmt: skip
    if blocks.counts != cells.counts:
        return np.full(len(cells), median(picture.pixels(background.means).ravel()))
    return median(picture.pixels(blocks.sample(background.means, 64)))


def few_counts(picture: Picture, cells: Cells, usual: float) -> np.ndarray | None:
    """Mean counts of each cell where they are few, or None if these are no counts.

    Pixels brighter than nearly all counts would be may be spots and are left out; their part is
    known for counts. The mean solves m = E[N | N <= q], m the mean of the pixels that are left.
    """
    values = cells.sample(picture.volume, min(_MOST, int(COUNTED / max(usual, 1e-3))))
    rows = np.clip(picture.pixels(values), 0, _HIGHEST).astype(np.int64)
    there = np.ones(rows.shape, bool)
    if picture.gap is not None:
        there = ~cells.sample(picture.gap, min(_MOST, int(COUNTED / max(usual, 1e-3))))
    index = rows + (_HIGHEST + 1) * np.arange(len(rows))[:, None]
    table = np.bincount(index[there], minlength=len(rows) * (_HIGHEST + 1))
    table = table.reshape(len(rows), _HIGHEST + 1).astype(np.float64)
    whole = table.sum(axis=0)
    none, one = whole[:2] / max(whole.sum(), 1.0)
    if not (0 < none < 1 and one > 0):
        return None
    if not _ALIKE_FEW[0] < -np.log(none) * none / one < _ALIKE_FEW[1]:
        return None
    number, total = np.cumsum(table, axis=1), np.cumsum(table * np.arange(_HIGHEST + 1), axis=1)
    every = np.arange(len(rows))
    mu = np.full(len(rows), -np.log(none))
    for _ in range(_ROUNDS):
        last = np.clip(np.ceil(mu + 3.0 * np.sqrt(mu) + 0.5), 1, _HIGHEST).astype(np.int64)
        mean = total[every, last] / np.maximum(number[every, last], 1.0)
        mu = np.maximum(mean * special.pdtr(last, mu) / special.pdtr(last - 1, mu), 1e-6)
    return np.where(number[:, -1] > 0, mu, -np.log(none))


def are_counts(variance: np.ndarray, mean: np.ndarray) -> bool:
    """Whether the variance of cells is their mean."""
    known = mean > 0
    if not known.any():
        return False
    return bool(_ALIKE[0] < median(variance[known] / mean[known]) < _ALIKE[1])
