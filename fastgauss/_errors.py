"""Covariances of a joint solution, neighbours and background included.

The covariance of spot i is the block (i, i) of the inverse of the whole normal matrix. It is taken
from the system of spot i, the spots linked to it and what they have in common (the background's
terms and shared parameters); spots further off enter by what they take from the common part. Where
a group is a spot and its linked neighbours, that is exact; else the neglected part is second order
in overlaps (see ``kernels.conjugate.invert_local``).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from . import _runtime
from ._joint import Joint, State
from .kernels import conjugate

_NEAR_SPOTS = 11  # whose parameters an error knows, beside the spot's own


def _common(fit: Joint, state: State) -> tuple[np.ndarray, np.ndarray]:
    """The border (n, p, t + s) of background and shared parameters, and its matrix."""
    crowd, tied, terms = fit.crowd, fit.tied, fit.terms
    _, ground = fit.ground_equations(state.sums)
    shared = np.flatnonzero(tied & (fit.lower < fit.upper).any(axis=0))
    if not len(shared):
        return fit.border, ground
    across = fit.diagonal[:, :, shared].copy()
    first = np.repeat(np.arange(len(across)), np.diff(crowd.pair_starts))
    np.add.at(across, first, fit.blocks[:, :, shared])
    np.add.at(across, crowd.pair_others, fit.blocks[:, shared].transpose(0, 2, 1))
    size = terms + len(shared)
    matrix = np.zeros((len(ground), size, size))
    matrix[:, :terms, :terms] = ground
    with_ground = fit.per_group(fit.border[:, shared])
    matrix[:, terms:, :terms] = with_ground
    matrix[:, :terms, terms:] = with_ground.transpose(0, 2, 1)
    matrix[:, terms:, terms:] = fit.per_group(across[:, shared])
    return np.concatenate([fit.border, across], axis=2), matrix


def _overlap(fit: Joint, free: np.ndarray) -> np.ndarray:
    """By how much the normal matrix exceeds a spot's own block at most, (n,).

    Spots that overlap see the same pixels, so each takes that much less from the common part;
    without it nothing would be left of that in a dense crowd.
    """
    crowd, n = fit.crowd, len(free)
    first = np.repeat(np.arange(n), np.diff(crowd.pair_starts))
    lengths = np.sqrt(np.einsum("npp->np", fit.diagonal))
    scale = np.where(free & (lengths > 0), 1 / np.where(lengths > 0, lengths, 1), 0.0)
    second = crowd.pair_others
    squares = (fit.blocks * scale[first, :, np.newaxis] * scale[second, np.newaxis]) ** 2
    sizes = np.sqrt(squares.sum(axis=(1, 2)))
    return np.bincount(first, sizes, n) + np.bincount(second, sizes, n)


def _blocks(fit: Joint, state: State, free: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Inverse blocks (n, c + p, c + p) of the c common unknowns and each spot; which are sound."""
    crowd = fit.crowd
    border, matrix = _common(fit, state)
    border = np.ascontiguousarray(border)
    n, p, c = border.shape
    known, factor = np.empty((n, c, c)), np.empty((n, p, p))

    def take(first: int, last: int) -> None:
        conjugate.reduce_border(
            crowd.lows, np.arange(first, last), fit.diagonal, border, free, factor, known
        )

    _runtime.run(lambda: take, len(crowd.lows) - 1, 64, fit.threads)
    known /= (1 + _overlap(fit, free))[:, np.newaxis, np.newaxis]
    totals = fit.per_group(known)
    out, sound = np.empty((n, c + p, c + p)), np.empty(n, np.bool_)

    def make() -> Callable[[int, int], None]:
        whole = (_NEAR_SPOTS + 1) * p + c
        scratch, members = np.empty((whole, whole)), np.empty(_NEAR_SPOTS + 1, np.int64)

        def invert(first: int, last: int) -> None:
            conjugate.invert_local(
                first, last, crowd.group_of, fit.diagonal, fit.blocks, crowd.link_starts,
                crowd.link_others, crowd.link_places, border, matrix, free, known, totals,
                _NEAR_SPOTS, scratch, members, out, sound,
            )  # fmt: skip

        return invert

    _runtime.run(make, n, 256, fit.threads)
    return out, sound


def covariances(
    fit: Joint, state: State, background_at: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Covariances (n, P, P) of coordinates and offset, before any scale; which are sound.

    ``background_at`` (n, t) holds the background's terms at the spots.
    """
    inside = (state.u > fit.lower) & (state.u < fit.upper)
    out, sound = _blocks(fit, state, inside & ~fit.tied)
    n, p = inside.shape
    c = out.shape[1] - p
    shared = np.flatnonzero(fit.tied & (fit.lower < fit.upper).any(axis=0))
    out[~sound] = np.nan
    spread = np.zeros((n, p + 1, c + p))
    own = np.arange(p)
    spread[:, own, c + own] = inside & ~fit.tied
    for k, column in enumerate(shared):
        spread[:, column, fit.terms + k] = inside[:, column]
    spread[:, p, : fit.terms] = background_at
    return spread @ out @ spread.transpose(0, 2, 1), sound
