"""Sums over the pixels of spots at given parameters: their normal equations, or the middle of the
sandwich, B'W V W B with V the model's own value (the estimator "spread")."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from .._compile import kernel
from ..numeric.packed_cholesky import packed_size
from ..simd.lane_types import WIDTH
from ..simd.lanes import lane_rows, store
from .estimators import HEADER, Estimator


@cache
def make_spread(
    evaluate: Callable,
    size: int,
    scratch: tuple[int, int, int],
    estimator: Estimator,
    constants: int = 0,
    wrap: Callable = kernel,
) -> Callable:
    """A kernel over a range of spots, from the blocks that ``kernels/fit/levmar.py`` uses.

    ``wrap`` may be ``inner_kernel``.
    """
    entries = packed_size(size)
    p = constants
    gram = p + size
    gradient = gram + entries
    objective = gradient + size
    work = objective + 1
    fixed_rows, axis_rows, row_rows = scratch
    read, kinds = estimator.read, estimator.kinds

    @wrap
    def spread(
        pixels, second, coords, nz, ny, nx, known, params, spreads, gradients, objectives
    ) -> None:  # fmt: skip
        """Write packed matrices ``spreads[n, P (P + 1) / 2]`` for ``params`` as fitted.

        And ``gradients[n, P]`` with ``objectives[n]``, unless these have no length.
        """
        first_pixel = work + fixed_rows + axis_rows * (nz + ny + nx) + row_rows * nz * ny + HEADER
        m = lane_rows(first_pixel + kinds * nz * ny * nx + coords.shape[1])
        m[p : p + size] = 1.0
        for k in range(constants):
            m[k] = known[0, k]
        count = pixels.shape[0]
        for first in range(0, count, WIDTH):
            present = min(WIDTH, count - first)
            for lane in range(present):
                item = first + lane
                read(m, first_pixel, lane, pixels, second, item, 0.0)
                if len(known) > 1:
                    for k in range(constants):
                        m[k, lane] = known[item, k]
                places = coords[min(item, len(coords) - 1)]
                for k in range(places.size):
                    m[first_pixel + kinds * pixels.shape[1] + k, lane] = places[k]
                for i in range(size):
                    m[p + i, lane] = params[item, i]
            loss = evaluate(m, first_pixel, nz, ny, nx, p, work, gram, gradient)
            store(m, objective, loss)
            for lane in range(present):
                for i in range(entries):
                    spreads[first + lane, i] = m[gram + i, lane]
                if objectives.size:
                    objectives[first + lane] = m[objective, lane]
                    for i in range(size):
                        gradients[first + lane, i] = m[gradient + i, lane]

    return spread
