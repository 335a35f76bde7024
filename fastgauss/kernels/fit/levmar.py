"""Levenberg-Marquardt and its stopping rule, for many small problems at once: a lane is a spot.

Each lane goes through its own iterations; a lane that is done takes the next spot
of its range, so that a slow spot delays no other spot. Lanes never exchange numbers:
a spot's result is the same to the bit alone, in any company and in any split.

One round, at the trial parameters q of every lane:

1. normal equations at q, of ``normal``;
2. q is accepted if the objective S did not grow (within rounding): damping / 10,
   else q is dropped and the damping grows tenfold (Marquardt 1963, scaled by the
   diagonal); a trial whose model is negative somewhere is dropped so, too;
3. the step d solves (H + damping diag H) d = g at the accepted point, and q = p + d.

With *bounds* the coordinates are the parameters themselves; see ``bounds``. A fixed parameter has
two equal bounds. How a likelihood keeps its model positive stands in ``positivity``.

Near the end the trial is mixed with the step before (Anderson 1965, J. ACM 12, 547,
depth one, in the metric of H), which extrapolates the geometric series that
Gauss-Newton steps form. Where bounds keep a model from the data, Gauss-Newton may swing
wider with each step; there the same mixture shortens it.

**When to stop.** e = sqrt(d' g) is the step's length in the metric of the inverse
covariance, so e / s, with s**2 = S / (pixels - P), or 1 for a likelihood, is the step in
standard errors (cf. Bates & Watts 1981, Technometrics 23, 179). Each step is about rho
times the one before, so after the step the distance left is about e rho / (1 - rho). The fit has
converged when that is at most tol s, with rho the larger of the last two ratios and
at least min(1, 1e-6 / tol): a loose tolerance may take a measured rate at its word, a
tight one may not; or when e is below the rounding of the data. The step is then taken.
A damped step is taken for 1 + damping times its length, and a much damped one not at all;
a damping that grows without end means that no descent is left although the test fails,
and has a status of its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import numpy as np

from .._compile import device, kernel
from ..numeric.packed_cholesky import packed_size, solve_damped
from ..simd.lane_types import ALL_LANES, WIDTH
from ..simd.lanes import absolute, broadcast, lane_rows, load, maximum, minimum, select, sqrt, store
from ..simd.mask_bits import lowest_bit, mask_bits
from ..status import (
    AT_BOUND,
    AT_EDGE,
    CONVERGED,
    MAX_ITERATIONS,
    NOT_FINITE,
    STALLED,
    TOO_FEW_PIXELS,
    UNSCALED,
)
from .bounds import NO_BOUNDS, make_bounds
from .estimators import HEADER, HEAVIEST, LEVEL, Estimator
from .extents import unit_span
from .positivity import make_positive

FIRST_DAMPING = 1e-3
MOST_DAMPING = 1e8
_SMALL_DAMPING, _LARGE_DAMPING = 0.1, 10.0
TRUSTED = 1e-6  # a tolerance this tight takes no measured rate at its word
_SETTLED = 0.9  # steps whose squares shrink by this factor form a geometric series
_MIX_LEAST, _MIX_MOST = -4.0, 0.5  # extrapolation at most fivefold, and damping of swings
_MIX_BOUNDED = 0.9  # the most damping of swings where there are bounds
_ROUNDING = 4e-15  # of a residual, relative to the data's root mean square
_SLACK = 1.0 + 1e-13  # an objective that grew by no more than rounding did not grow
_LEAST_OFFSET = 1e-2  # of the mean: where a likelihood starts at least
_DEEPEST = 0.9  # of the offset: how far a model falls below it at the start of a likelihood
_SAFE_SQUARES, _SAFE_WEIGHTS = (1e-150, 1e150), (1e-100, 1e100)  # what needs no other unit
_SAFE_COUNTS = (0.5, 1e100)


@device
def _is_safe(m, first, lane, linear, positive, scale):
    """Whether the sums over these data keep to the range of float64; no data at all do."""
    if linear:
        weight = m[first - 3, lane]
        safe = _SAFE_SQUARES[0] < scale < _SAFE_SQUARES[1] or scale == 0.0
        return math.isnan(scale) or (safe and _SAFE_WEIGHTS[0] < weight < _SAFE_WEIGHTS[1])
    return not positive or _SAFE_COUNTS[0] < scale < _SAFE_COUNTS[1] or not scale > 0.0


@cache
def make_fit(
    evaluate: Callable,
    step: Callable,
    darkest: Callable,
    size: int,
    scratch: tuple[int, int, int],
    estimator: Estimator,
    bounded: bool,
    constants: int = 0,
    span: Callable = unit_span,
    slopes: int = 0,
    wrap: Callable = kernel,
) -> Callable:
    """The fit of one model with one estimator: a kernel over a range of spots.

    ``evaluate`` and ``step`` are the building blocks of ``normal``, ``darkest`` is that of
    ``darkest_pixel``, and ``size`` the model's number of parameters. ``evaluate`` needs
    ``scratch[0]`` lane rows, ``scratch[1]`` more for each pixel of each axis, and ``scratch[2]``
    for each row of pixels. ``wrap`` may be ``inner_kernel``: then the fit is for the caller's own
    compiled code. The first ``constants`` rows of lane memory hold what the model knows beside
    its parameters, and ``span`` of both is the range of its profile. ``slopes`` parameters before
    the offset are those of a plane.

    All lane memory is one array ``m``; what stands where is fixed here. (Views of it
    would be counted references: an atomic operation each.)
    """
    entries = packed_size(size)
    (p, q, gradient, before, moved, gradient_change, trial_gradient, t) = range(
        constants, constants + 8 * size, size
    )
    first_gram = constants + 8 * size
    second_gram = first_gram + entries
    scalars = second_gram + entries
    best, damp, length, rate_before, rounds, freedom, slack, extent, pivot, dimmest, typical = (
        range(scalars, scalars + 11)
    )
    lower = typical + 1
    upper = lower + size
    work = lower + (3 * size + entries if bounded else 0)
    keep_positive, rests = make_positive(size, dimmest, typical)
    hold, clip, attach = make_bounds(size, lower, slopes) if bounded else NO_BOUNDS
    fixed_rows, axis_rows, row_rows = scratch
    read, kinds = estimator.read, estimator.kinds
    linear, scaled, positive = estimator.linear, estimator.scaled, estimator.positive

    # -- one round of all lanes ----------------------------------------------------------------

    @device
    def judge(m, pixels, nz, ny, nx, gram, last_gram):
        """Normal equations at the trial; accept or drop it. Returns where it was accepted.

        ``gram`` receives the trial's, and the last one's again where that was dropped.
        """
        objective = evaluate(m, pixels, nz, ny, nx, q, work, gram, trial_gradient)
        accepted = objective <= load(m, best) * _SLACK + load(m, slack)
        accepted = accepted & (objective < np.inf)
        for i in range(size):
            old = load(m, gradient + i)
            new = select(accepted, load(m, trial_gradient + i), old)
            store(m, gradient + i, new)
            store(m, gradient_change + i, new - old)
            store(m, p + i, select(accepted, load(m, q + i), load(m, p + i)))
        if mask_bits(accepted) != ALL_LANES:
            for i in range(entries):
                kept = select(accepted, load(m, gram + i), load(m, last_gram + i))
                store(m, gram + i, kept)
        store(m, best, select(accepted, objective, load(m, best)))
        if positive:
            value = 1.0 / load(m, pixels - HEAVIEST)
            store(m, dimmest, select(accepted, value, load(m, dimmest)))
        factor = select(accepted, broadcast(0.1), broadcast(10.0))
        store(m, damp, load(m, damp) * factor)
        return accepted

    @device
    def propose(m, pixels, nz, ny, nx, accepted, gram):
        """The next trial; returns the squared length of the step from the accepted point."""
        damping = load(m, damp)
        held_gram, held_gradient = hold(m, p, gram, gradient, gradient)
        solve_damped(m, held_gram, damping, held_gradient, t, size)
        if bounded:  # the gradient may point inside where the step does not
            hold(m, p, gram, gradient, t)
            solve_damped(m, held_gram, damping, held_gradient, t, size)
        square = broadcast(0.0)
        along = broadcast(0.0)
        across = broadcast(0.0)
        for i in range(size):
            d = load(m, t + i)
            g = load(m, gradient + i)
            change = d - load(m, before + i)
            square = square + d * g
            along = along + change * g
            across = across + change * load(m, gradient_change + i)
        settled = (square < _SETTLED * load(m, length)) & (damping < _SMALL_DAMPING)
        most = broadcast(_MIX_BOUNDED if bounded else _MIX_MOST)
        mix = minimum(maximum(along / across, broadcast(_MIX_LEAST)), most)
        if bounded:  # a model that bounds keep from the data: Gauss-Newton may swing ever wider
            later = load(m, rounds) > 0.0  # not of the lane's last spot
            settled = settled | ((mix > 0.0) & (damping < _SMALL_DAMPING) & later)
        mix = select(accepted & settled & (across > 0.0), mix, broadcast(0.0))
        for i in range(size):
            d = load(m, t + i)
            mixed = d - mix * (load(m, moved + i) + (d - load(m, before + i)))
            store(m, before + i, d)
            store(m, moved + i, mixed)
        step(m, p, moved, q)
        if positive:
            profile = darkest(m, q, work, pixels + kinds * nx, nz, ny, nx)
            below = load(m, pixels - 3)
            if slopes:
                below = below + load(m, pixels - LEVEL)
            square = absolute(square + keep_positive(m, q, gradient, profile, below))
        clip(m, q)
        return square

    @device
    def advance(m, pixels, nz, ny, nx, gram, last_gram, tol, max_iter):
        """One round for all lanes; returns the lanes that converged and those that end."""
        trust = min(1.0, TRUSTED / tol)
        accepted = judge(m, pixels, nz, ny, nx, gram, last_gram)
        square = propose(m, pixels, nz, ny, nx, accepted, gram)
        damping = load(m, damp)
        rate = minimum(square / load(m, length), broadcast(1.0))
        slowest = maximum(rate, load(m, rate_before))
        rest = 1.0 - sqrt(minimum(slowest, broadcast(0.8)))
        ahead = maximum(slowest / (rest * rest), broadcast(trust * trust))
        store(m, rate_before, rate)
        store(m, length, maximum(square, broadcast(1e-300)))
        count = load(m, rounds) + 1.0
        store(m, rounds, count)
        goal = broadcast(tol * tol)
        if scaled:
            goal = load(m, best) * (goal / maximum(load(m, freedom), broadcast(1.0)))
        floor = load(m, extent) * (_ROUNDING * _ROUNDING)
        whole = square * (1.0 + damping) * (1.0 + damping)  # of a step that was damped
        near = (whole * ahead <= goal) | (whole <= floor)
        unfit = ~(load(m, best) < np.inf) | (load(m, freedom) < 0.0)
        converged = near & (damping < _LARGE_DAMPING) & ~unfit
        ended = converged | unfit | (damping > MOST_DAMPING) | (count >= float(max_iter))
        return mask_bits(converged), mask_bits(ended)

    # -- spots that enter a lane and leave it --------------------------------------------------

    @device
    def begin(m, first, lane, item, pixels, second, coords, known, start, lowest, highest):
        """Put a spot into a lane; returns the number of its pixels."""
        zero = start[item, size - 1] if linear and math.isfinite(start[item, size - 1]) else 0.0
        count, rounding, scale, mean = read(m, first, lane, pixels, second, item, zero)
        where = min(item, len(coords) - 1)
        for k in range(coords.shape[1]):
            m[first + kinds * pixels.shape[1] + k, lane] = coords[where, k]
        if len(known) > 1:
            for k in range(constants):
                m[k, lane] = known[item, k]
        for i in range(size):
            m[q + i, lane] = start[item, i]
            m[gradient + i, lane] = 0.0  # nothing of the spot that the lane held before
            m[before + i, lane] = 0.0
            m[moved + i, lane] = 0.0
        m[q + size - 1, lane] -= zero
        if positive:  # a likelihood needs such a model to start from
            least = (mean if mean > 0.0 else 1.0) * _LEAST_OFFSET
            m[q + size - 1, lane] = max(m[q + size - 1, lane], least)
            most = highest[item, size - 1] if bounded else np.inf
            room = _DEEPEST * min(m[q + size - 1, lane], most)
            rise, fall = span(start, item, known)
            m[q, lane] = max(m[q, lane], -room / rise)
            if fall > 0.0:
                m[q, lane] = min(m[q, lane], room / fall)
        free = size
        if bounded:
            for i in range(size):
                shift = zero if i == size - 1 else 0.0
                low, high = lowest[item, i] - shift, highest[item, i] - shift
                m[lower + i, lane] = low
                m[upper + i, lane] = high
                m[q + i, lane] = min(max(m[q + i, lane], low), high)
                free -= low == high
        m[best, lane] = np.inf
        m[damp, lane] = FIRST_DAMPING
        m[length, lane] = 1e-300
        m[rate_before, lane] = 0.0
        m[rounds, lane] = 0.0
        m[freedom, lane] = count - free
        if count >= free and not _is_safe(m, first, lane, linear, positive, scale):
            m[freedom, lane] = -np.inf
        m[slack, lane] = rounding
        m[extent, lane] = scale
        m[pivot, lane] = zero
        m[typical, lane] = mean
        m[dimmest, lane] = 0.0
        return count

    @device
    def offset_of(m, row, lane, item, lowest, highest):
        """The offset itself: exactly at its bound where that counted from the pivot is."""
        if bounded and m[row, lane] == m[lower + size - 1, lane]:
            return lowest[item, size - 1]
        if bounded and m[row, lane] == m[upper + size - 1, lane]:
            return highest[item, size - 1]
        return m[row, lane] + m[pivot, lane]

    @device
    def verdict(m, lane, converged):
        """The status of a lane that ended."""
        few = m[freedom, lane] < 0.0
        if few or not math.isfinite(m[best, lane]):
            for i in range(size):
                m[p + i, lane] = np.nan
            m[best, lane] = np.nan
            if m[freedom, lane] == -np.inf:
                return UNSCALED
            return TOO_FEW_PIXELS if few else NOT_FINITE
        if converged:
            edge = False
            if positive and rests(m, lane):
                for i in range(size):  # the last step was not judged
                    m[q + i, lane] = m[p + i, lane]
                i = size - 1 if m[q, lane] >= 0.0 else 0
                edge = not bounded or m[lower + i, lane] < m[upper + i, lane]
            held = False
            if bounded:
                for i in range(size):
                    held = attach(m, lane, q, i) or held
            if edge:
                return AT_EDGE
            return AT_BOUND if held else CONVERGED
        return STALLED if m[damp, lane] > MOST_DAMPING else MAX_ITERATIONS

    # -- all spots -----------------------------------------------------------------------------

    @wrap
    def fit(data, shape, known, start, bounds, stop, out):
        """Fit spots from ``start[n, P]`` into the arrays of ``out``, which are named below.

        ``data`` are the pixels [n, nz * ny * nx], the estimator's other number of each pixel, and
        the places of the pixels, if any, each for all spots or for each; ``shape`` is
        (nz, ny, nx) and ``known`` the constants, one row for all spots or one for each. ``bounds``
        are the lowest and the highest values [n, P], where there are any; ``stop`` is (tol,
        max_iter). All are plain tuples, which cost less than named ones where Python calls.
        """
        pixels, second, coords = data
        nz, ny, nx = shape
        lowest, highest = bounds
        tol, max_iter = stop
        params, objectives, grams, gradients, counts, status, iterations = out
        first = work + fixed_rows + axis_rows * (nz + ny + nx) + row_rows * nz * ny + HEADER
        m = lane_rows(first + kinds * nz * ny * nx + coords.shape[1])
        for i in range(size):
            store(m, q + i, broadcast(1.0))
        for k in range(constants):
            store(m, k, broadcast(known[0, k]))
        who = np.zeros(WIDTH, np.int64)
        count, following = pixels.shape[0], 0
        busy, vacant = 0, (1 << WIDTH) - 1  # bit k: lane k has a spot, has none
        gram, last_gram = first_gram, second_gram
        while True:
            while vacant and following < count:
                lane = lowest_bit(vacant)
                vacant &= vacant - 1
                counts[following] = begin(
                    m, first, lane, following, pixels, second, coords, known, start, lowest, highest
                )
                who[lane] = following
                busy |= 1 << lane
                following += 1
            if not busy:
                break
            gram, last_gram = last_gram, gram
            converged, ended = advance(m, first, nz, ny, nx, gram, last_gram, tol, max_iter)
            ended &= busy
            busy &= ~ended
            vacant |= ended
            while ended:
                lane = lowest_bit(ended)
                ended &= ended - 1
                item = who[lane]
                good = (converged >> lane) & 1 == 1
                status[item] = verdict(m, lane, good)
                best_row = q if good else p
                for i in range(size):
                    params[item, i] = m[best_row + i, lane]
                params[item, size - 1] = offset_of(
                    m, best_row + size - 1, lane, item, lowest, highest
                )
                for i in range(entries):
                    grams[item, i] = m[gram + i, lane]
                if bounded:
                    for i in range(size):
                        gradients[item, i] = m[gradient + i, lane]
                objectives[item] = m[best, lane]
                iterations[item] = int(m[rounds, lane])

    return fit
