"""A grid divided into boxes (dask): each box is drawn from the particles that reach it.

A box gets its particles in the order of the tiles of the whole grid, and their centres relative to
the first node of the whole grid. Each node then receives the same numbers in the same order as with
`render`, so that the result has the same bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, product
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..base.grid import Grid
from ..kernels.fields.windows import Particles
from . import arguments, sweeps
from .plan import Geometry, as_plan, by_tile, make_geometry, sigmas_of

Chunks = tuple[tuple[int, ...], ...]  # lengths of the boxes along each axis


@dataclass(frozen=True)
class Share:
    """Particles that reach a box, in the order of tiles."""

    keys: np.ndarray  # (n,) tiles
    heights: np.ndarray  # (n,)
    about: Geometry


def corners(chunks: Chunks) -> list[tuple[int, ...]]:
    """The first node of each box, boxes in C order."""
    return list(product(*([0, *accumulate(lengths)][:-1] for lengths in chunks)))


def _part(rows: np.ndarray, which: np.ndarray) -> np.ndarray:
    """The rows of some particles, or the one row that is for all particles."""
    return rows[which] if len(rows) > 1 else rows


def _reaching(about: Geometry, rows: np.ndarray, grid: Grid, axis: int, span: Any) -> np.ndarray:
    """Which of some particles may reach nodes [low, high) of an axis."""
    low, high = span
    away = about.centres[rows, axis] - 0.5 * (low + high - 1)
    if grid.periodic[axis]:
        period = max(grid.shape[axis], 1)  # a grid may be empty
        away -= period * np.rint(away / period)
    half = _part(about.half, rows)[:, axis]
    return rows[np.abs(away) <= 0.5 * (high - low) + half + 1.0]


def deal(
    grid: Grid,
    chunks: Chunks,
    total: int,
    positions: ArrayLike,
    amplitudes: ArrayLike,
    options: dict[str, Any],
) -> list[Share]:
    """The share of each box, in C order, of some of ``total`` particles.

    The cost is the number of particles times the boxes along the first axis, plus the number in
    each share times the boxes along the next axis.
    """
    sigma = options["sigma"]
    if np.ndim(sigma) == 1 and total != len(np.asarray(positions)):  # for these and all others
        sigmas_of(sigma, total, grid)
        options = {**options, "sigma": np.reshape(sigma, (1, -1))}
    about = make_geometry(grid, positions, **options)
    n = len(about.centres)
    heights = arguments.amplitudes_of(amplitudes, n)
    tiled = by_tile(grid, about.centres, total)
    about = about._replace(
        centres=tiled.centres,
        widths=_part(about.widths, tiled.order),
        half=_part(about.half, tiled.order),
    )
    members = [np.arange(n)]
    for axis, lengths in enumerate(chunks):
        ends = list(accumulate(lengths))
        spans = list(zip([0, *ends][:-1], ends, strict=True))
        members = [_reaching(about, rows, grid, axis, span) for rows in members for span in spans]
    keys, heights = tiled.keys[tiled.order], heights[tiled.order]
    return [
        Share(
            keys[rows],
            heights[rows],
            about._replace(
                centres=about.centres[rows],
                widths=_part(about.widths, rows),
                half=_part(about.half, rows),
            ),
        )
        for rows in members
    ]


def _joined(shares: Sequence[Share]) -> Share:
    """Shares of several blocks of particles as one, in the order of the blocks."""
    if len(shares) == 1:
        return shares[0]
    keys = np.concatenate([share.keys for share in shares])
    order = np.argsort(keys, kind="stable")
    abouts = [share.about for share in shares]

    def join(name: str) -> np.ndarray:
        each = [getattr(about, name) for about in abouts]
        if all(len(rows) == 1 and np.array_equal(rows, each[0]) for rows in each):
            return each[0]
        counts = [len(about.centres) for about in abouts]
        full = [
            np.broadcast_to(rows, (n, *rows.shape[1:]))
            for rows, n in zip(each, counts, strict=True)
        ]
        return np.concatenate(full)[order]

    about = abouts[0]._replace(
        centres=np.concatenate([about.centres for about in abouts])[order],
        widths=join("widths"),
        half=join("half"),
        longest=np.max([about.longest for about in abouts], axis=0),
    )
    return Share(keys[order], np.concatenate([share.heights for share in shares])[order], about)


def draw(
    grid: Grid,
    begin: tuple[int, ...],
    box: np.ndarray,
    shares: Sequence[Share],
    combine: str,
    threads: int | None,
) -> np.ndarray:
    """Combine a box, in place, with its shares of all blocks of particles."""
    share = _joined(shares)
    about = share.about
    n = len(about.centres)
    if n and box.size:
        particles = Particles(
            about.centres,
            np.ascontiguousarray(about.widths),
            np.arange(n, dtype=np.int32 if n < 2**31 else np.int64),
            np.array([0, n]),
            about.half[:, 0].max(keepdims=True),
            max(grid.shape[0], 1),
        )
        plan = as_plan(grid, about, particles)
        sweeps.scatter(plan, box, share.heights, combine, threads, begin)
    return box
