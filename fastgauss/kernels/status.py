"""Status codes of fits: how an iteration ended."""

from __future__ import annotations

CONVERGED = 0
MAX_ITERATIONS = 1
STALLED = 2
SINGULAR = 3
NOT_FINITE = 4
TOO_FEW_PIXELS = 5
OUTSIDE = 6
AT_BOUND = 7
DROPPED = 8  # only by a joint fit
TOO_WIDE = 9
OUTLIER = 10
SATURATED = 11
NOT_SHARED = 12  # only with shared parameters
TOO_NARROW = 13  # only ellipses with an angle
AT_EDGE = -2  # until results are made: on a bound that was not given, that of positivity
UNSCALED = -1  # not fitted: the squares of such data leave the range of float64
