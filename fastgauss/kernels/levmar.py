"""Levenberg-Marquardt for many small problems at once: a lane is a spot.

Each lane goes through its own iterations; a lane that is done takes the next spot
of its range, so that a slow spot holds up nobody. Lanes never exchange numbers:
a spot's result is the same to the bit alone, in any company and in any split.

One round, at the trial parameters q of every lane:

1. normal equations at q; amplitude and offset are projected to their best;
2. q is accepted if the objective S did not grow (within rounding): damping / 10,
   else q is dropped and the damping grows tenfold (Marquardt 1963, scaled by the
   diagonal);
3. the step d solves (H + damping diag H) d = g at the accepted point, and q = p + d.

Near the end the trial is mixed with the step before (Anderson 1965, J. ACM 12, 547,
depth one, in the metric of H), which extrapolates the geometric series that
Gauss-Newton steps form.

**When to stop.** e = sqrt(d' g) is the step's length in the metric of the inverse
covariance, so e / s, with s**2 = S / (pixels - P), is the step in standard errors
(cf. Bates & Watts 1981, Technometrics 23, 179). Each step is about rho times the one
before, so after the step the distance left is about e rho / (1 - rho). The fit has
converged when that is at most tol s, with rho the larger of the last two ratios and
at least min(1, 1e-6 / tol): a loose tolerance may take a measured rate at its word, a
tight one may not; or when e is below the rounding of the data. The step is then taken.
The test counts only while the damping is small, when d is the Gauss-Newton step; a
damping that grows without end means that no descent is left although the test fails,
and has a status of its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import numpy as np

from ._compile import device, kernel
from .lanes import (
    ALL_LANES,
    WIDTH,
    absolute,
    broadcast,
    lane_rows,
    load,
    lowest_bit,
    mask_bits,
    maximum,
    minimum,
    select,
    sqrt,
    store,
)
from .linalg import packed_size, solve_damped
from .normal import make_project

CONVERGED = 0
MAX_ITERATIONS = 1
STALLED = 2
SINGULAR = 3
NOT_FINITE = 4
TOO_FEW_PIXELS = 5
OUTSIDE = 6

FIRST_DAMPING = 1e-3
MOST_DAMPING = 1e8
_SMALL_DAMPING = 0.1
TRUSTED = 1e-6  # a tolerance this tight takes no measured rate at its word
_SETTLED = 0.9  # steps whose squares shrink by this factor form a geometric series
_MIX_LEAST, _MIX_MOST = -4.0, 0.5  # extrapolation at most fivefold, and damping of swings
_ROUNDING = 4e-15  # of a residual, relative to the data's root mean square
_SLACK = 1.0 + 1e-13  # an objective that grew by no more than rounding did not grow


@cache
def make_fit(accumulate: Callable, step: Callable, size: int, rows: tuple[int, int]) -> Callable:
    """The fit of one model: a kernel over a range of spots.

    ``accumulate`` and ``step`` are the model's building blocks of ``normal``, ``size``
    its number of parameters; ``accumulate`` needs ``rows[0]`` lane rows of scratch and
    ``rows[1]`` more for each row and column of pixels.

    All lane memory is one array ``m``; what stands where is fixed here. (Views of it
    would be counted references: an atomic operation each.)
    """
    project = make_project(size)
    entries = packed_size(size)
    (p, q, gradient, before, moved, turned, trial_gradient, t) = range(0, 8 * size, size)
    first_gram = 8 * size
    second_gram = first_gram + entries
    scalars = second_gram + entries
    best, damp, length, rate_before, rounds = range(scalars, scalars + 5)
    work = rounds + 1
    fixed_rows, axis_rows = rows

    @device
    def judge(m, pixels, ny, nx, gram, last_gram):
        """Normal equations at the trial; accept or drop it. Returns where it was accepted.

        ``gram`` receives the trial's, and the last one's again where that was dropped.
        """
        objective = accumulate(m, pixels, ny, nx, q, work, gram, trial_gradient)
        objective = project(m, q, gram, trial_gradient, objective)
        accepted = objective <= load(m, best) * _SLACK
        for i in range(size):
            old = load(m, gradient + i)
            new = select(accepted, load(m, trial_gradient + i), old)
            store(m, gradient + i, new)
            store(m, turned + i, new - old)
            store(m, p + i, select(accepted, load(m, q + i), load(m, p + i)))
        if mask_bits(accepted) != ALL_LANES:
            for i in range(entries):
                kept = select(accepted, load(m, gram + i), load(m, last_gram + i))
                store(m, gram + i, kept)
        store(m, best, select(accepted, objective, load(m, best)))
        factor = select(accepted, broadcast(0.1), broadcast(10.0))
        store(m, damp, load(m, damp) * factor)
        return accepted

    @device
    def propose(m, accepted, gram):
        """The next trial; returns the squared length of the step from the accepted point."""
        damping = load(m, damp)
        solve_damped(m, gram, damping, gradient, t, size)
        square = broadcast(0.0)
        along = broadcast(0.0)
        across = broadcast(0.0)
        for i in range(size):
            d = load(m, t + i)
            g = load(m, gradient + i)
            change = d - load(m, before + i)
            square = square + d * g
            along = along + change * g
            across = across + change * load(m, turned + i)
        settled = (square < _SETTLED * load(m, length)) & (damping < _SMALL_DAMPING)
        mix = minimum(maximum(along / across, broadcast(_MIX_LEAST)), broadcast(_MIX_MOST))
        mix = select(accepted & settled & (across > 0.0), mix, broadcast(0.0))
        for i in range(size):
            d = load(m, t + i)
            mixed = d - mix * (load(m, moved + i) + (d - load(m, before + i)))
            store(m, before + i, d)
            store(m, moved + i, mixed)
        step(m, p, moved, q)
        return square

    @device
    def advance(m, pixels, ny, nx, gram, last_gram, tol, max_iter):
        """One round for all lanes; returns the lanes that converged and those that end."""
        trust = min(1.0, TRUSTED / tol)
        square = propose(m, judge(m, pixels, ny, nx, gram, last_gram), gram)
        damping = load(m, damp)
        rate = minimum(square / load(m, length), broadcast(1.0))
        slowest = maximum(rate, load(m, rate_before))
        rest = 1.0 - sqrt(minimum(slowest, broadcast(0.8)))
        ahead = maximum(slowest / (rest * rest), broadcast(trust * trust))
        store(m, rate_before, rate)
        store(m, length, maximum(square, broadcast(1e-300)))
        count = load(m, rounds) + 1.0
        store(m, rounds, count)
        goal = load(m, best) * (tol * tol / max(ny * nx - size, 1))
        height = absolute(load(m, p)) + absolute(load(m, p + size - 1))
        floor = height * height * (_ROUNDING * _ROUNDING * ny * nx)
        near = (square * ahead <= goal) | (square <= floor)
        unfit = ~(load(m, best) < np.inf)
        converged = near & (damping < _SMALL_DAMPING) & ~unfit
        ended = converged | unfit | (damping > MOST_DAMPING) | (count >= float(max_iter))
        return mask_bits(converged), mask_bits(ended)

    @device
    def begin(m, block, lane, item, pixels, start):
        """Put a spot into a lane."""
        source, target = pixels[item], m[block:, lane]
        for k in range(source.size):
            target[k] = source[k]
        for i in range(size):
            m[q + i, lane] = start[item, i]
        m[best, lane] = np.inf
        m[damp, lane] = FIRST_DAMPING
        m[length, lane] = 1e-300
        m[rate_before, lane] = 0.0
        m[rounds, lane] = 0.0

    @device
    def verdict(m, lane, converged):
        """The status of a lane that ended."""
        if converged:
            return CONVERGED
        if not math.isfinite(m[best, lane]):
            m[p : p + size, lane] = np.nan
            m[best, lane] = np.nan
            return NOT_FINITE
        return STALLED if m[damp, lane] > MOST_DAMPING else MAX_ITERATIONS

    @kernel
    def fit(pixels, ny, nx, start, tol, max_iter, params, objectives, grams, status, iterations):
        """Fit spots ``pixels[n, ny * nx]`` from ``start[n, P]`` into the five output arrays."""
        block = work + fixed_rows + axis_rows * (ny + nx)
        m = lane_rows(block + ny * nx)
        m[q : q + size] = 1.0
        who = np.zeros(WIDTH, np.int64)
        count = pixels.shape[0]
        following = min(count, WIDTH)
        for lane in range(following):
            begin(m, block, lane, lane, pixels, start)
            who[lane] = lane
        busy = (1 << following) - 1  # bit k: lane k has a spot
        gram, last_gram = first_gram, second_gram
        while busy:
            gram, last_gram = last_gram, gram
            converged, ended = advance(m, block, ny, nx, gram, last_gram, tol, max_iter)
            ended &= busy
            while ended:
                lane = lowest_bit(ended)
                ended &= ended - 1
                item = who[lane]
                good = (converged >> lane) & 1 == 1
                status[item] = verdict(m, lane, good)
                first = q if good else p
                for i in range(size):
                    params[item, i] = m[first + i, lane]
                for i in range(entries):
                    grams[item, i] = m[gram + i, lane]
                objectives[item] = m[best, lane]
                iterations[item] = int(m[rounds, lane])
                if following < count:
                    begin(m, block, lane, following, pixels, start)
                    who[lane] = following
                    following += 1
                else:
                    busy &= ~(1 << lane)

    return fit
