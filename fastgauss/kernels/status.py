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
