"""Slow twin of the two-loop recursion: the inverse Hessian of BFGS as a dense matrix."""

import numpy as np


def step(steps, changes, slope, free):
    """Minus the inverse Hessian of the free variables times the gradient; oldest pairs first."""
    free = np.asarray(free, bool)
    pairs = [(s[free], y[free]) for s, y in zip(steps, changes, strict=True)]
    pairs = [(s, y) for s, y in pairs if s @ y > 0]
    length = pairs[-1][0] @ pairs[-1][1] / (pairs[-1][1] @ pairs[-1][1]) if pairs else 1.0
    inverse = length * np.eye(free.sum())
    for s, y in pairs:
        other = np.eye(free.sum()) - np.outer(y, s) / (s @ y)
        inverse = other.T @ inverse @ other + np.outer(s, s) / (s @ y)
    out = np.zeros(len(slope))
    out[free] = -inverse @ slope[free]
    return out
