"""Normal equations of one model with one estimator, for a register of spots at once.

Every model is  m = amplitude * f(x, y, z; shape) + offset.  A small change of its
parameters changes it by a combination of *basis* columns B: f, some derivatives of f,
and 1. With the weights W of the estimator (see ``estimators``), ``accumulate`` forms

    gram      B'W B            (packed lower triangle)
    gradient  B'W (d - m),  or B'W d for least squares
    objective S,            or sum w d**2 for least squares

and ``step`` turns the coefficients t of a combination into new parameters.

Unrotated models are separable, f = X(u) Y(v) with u = (x - x0) / sigma_x and so on; the
basis is f, its derivatives by each centre and by each width, made dimensionless, and 1.
Sums over pixels are nested: along rows first, whose results meet the factors of the next
axis (``contract``). With equal weights a Gram entry is a product of sums along single
axes, and three multiply-adds a pixel remain; with weights there are eleven.

The rotated model has f = exp(-d' M d / 2), d = (x - x0, y - y0); its basis is f
times the six monomials of degree 2 at most in d. The sums of w f**2 dx**k dy**l
(k + l <= 4), w f dx**k dy**l and r f dx**k dy**l (k + l <= 2) are its Gram matrix and
gradient as they stand. Its shape is held as P = M**(-1/2), the symmetric "sigma
matrix": smooth where sigma_x = sigma_y, where (sigma_x, sigma_y, theta) is not, and
equal to (sigma_x, sigma_y) on the diagonal where the spot is not turned. With
Q = P**-1,  df = f d' Q dP M d.

Amplitude and offset are linear. In least squares ``settle`` puts them at their best for
the given shape (variable projection: Golub & Pereyra 1973, in the form of Kaufman 1975,
BIT 15, 49), at the cost of a 2 x 2 system: the fit then needs no start for either and
fewer iterations. Where they are bound, it takes them as they are.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from .._compile import device
from ..numeric.packed_cholesky import packed
from ..simd.lanes import load, maximum, minimum, select, store

_STEP_DOWN, _STEP_UP = 0.4, 2.5  # a width changes by no more than these factors in one step
_SINGULAR = 1e-13  # relative determinant at which a spot and its background look alike


@cache
def make_settle(size: int, project: bool) -> Callable:
    """From sums over data to residuals, for least squares with this many parameters."""
    last = size - 1

    @device
    def settle(m, p, gram, gradient, square):
        """Make ``gradient`` = B'W d that of the residuals; returns the objective.

        With ``project`` amplitude and offset in ``p`` are put at their best first. Where
        they cannot be told apart, all goes to the offset.
        """
        h_aa = load(m, gram)
        h_ba = load(m, gram + packed(last, 0))
        h_bb = load(m, gram + packed(last, last))
        g_a = load(m, gradient)
        g_b = load(m, gradient + last)
        if project:
            determinant = h_aa * h_bb - h_ba * h_ba
            sound = determinant > h_aa * h_bb * _SINGULAR
            inverse = select(sound, 1.0 / determinant, 0.0)
            amplitude = (g_a * h_bb - g_b * h_ba) * inverse
            offset = select(sound, (g_b * h_aa - g_a * h_ba) * inverse, g_b * reciprocal(h_bb))
            store(m, p, amplitude)
            store(m, p + last, offset)
        else:
            amplitude = load(m, p)
            offset = load(m, p + last)
        by_a = g_a - (amplitude * h_aa + offset * h_ba)
        by_b = g_b - (amplitude * h_ba + offset * h_bb)
        for i in range(size):
            h_ai = load(m, gram + packed(i, 0))
            h_bi = load(m, gram + packed(last, i))
            store(m, gradient + i, load(m, gradient + i) - (amplitude * h_ai + offset * h_bi))
        objective = square - (amplitude * (g_a + by_a) + offset * (g_b + by_b))
        return select(objective < 0.0, 0.0, objective)

    return settle


@device
def no_settle(m, p, gram, gradient, objective):
    """For estimators whose sums are those of residuals already."""
    return objective


@device
def reciprocal(x):
    """1 / x, and 0 where x is 0: no step along a column that vanishes."""
    return select(x == 0.0, 0.0, 1.0 / x)


@device
def limit_centre(old, step, scale):
    """A centre moves by no more than two sigmas in one step."""
    most = scale * 2.0
    return old + minimum(maximum(step, -most), most)


@device
def limit_width(old, new):
    """A width stays positive and within a factor of its old value."""
    return minimum(maximum(new, old * _STEP_DOWN), old * _STEP_UP)
