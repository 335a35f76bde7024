"""Normal equations of unweighted least squares for eight spots at once.

Every model is  m = amplitude * f(x, y; shape) + offset.  A small change of its
parameters changes it by a combination of *basis* columns: f, some derivatives of f,
and 1. ``accumulate`` forms, at given parameters,

    gram      basis' basis                (packed lower triangle)
    gradient  basis' (data - m)
    objective sum (data - m)**2

and ``step`` turns the coefficients t of a combination into new parameters.

Unrotated models are separable, f = X(u) Y(v) with u = (x - x0) / sigma_x and
v = (y - y0) / sigma_y; the basis is f, uf, vf, u**2 f, v**2 f and 1, and a symmetric
spot has the sum of the fourth and fifth. A Gram entry is a product of two sums along
one axis, and the data enter through the row sums of r, rX, ruX, ru**2X alone (r the
residual): five multiply-adds a pixel instead of 27.

The rotated model has f = exp(-d' M d / 2), d = (x - x0, y - y0); its basis is f
times the six monomials of degree 2 at most in d. The sums of f**2 dx**k dy**l
(k + l <= 4), f dx**k dy**l and r f dx**k dy**l (k + l <= 2) are its Gram matrix and
gradient as they stand. Its shape is held as P = M**(-1/2), the symmetric "sigma
matrix": smooth where sigma_x = sigma_y, where (sigma_x, sigma_y, theta) is not, and
equal to (sigma_x, sigma_y) on the diagonal where the spot is not turned. With
Q = P**-1,  df = f d' Q dP M d.

Amplitude and offset are linear. ``project`` puts them at their best for the given
shape (variable projection: Golub & Pereyra 1973, in the form of Kaufman 1975, BIT
15, 49), at the cost of a 2 x 2 system: the fit then needs no start for either and
fewer iterations.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from ._compile import device
from .lanes import load, maximum, minimum, select, store
from .linalg import packed

MOST_STEPS = 40  # pixels along an axis up to which the recurrence loses under 1e-13
_STEP_DOWN, _STEP_UP = 0.4, 2.5  # a width changes by no more than these factors in one step


@device
def fill_outwards(m, n, start, up, down, square, table, stride) -> None:
    """Fill lane rows table + stride * i with a Gaussian, i = 0 .. n - 1, from its middle value.

    Outwards each value is the one before times a ratio, and each ratio (``up``, ``down``)
    the one before times ``square`` = exp(-1 / sigma**2) (Greengard & Lee 2004, SIAM Review
    46, 443): three exponentials instead of n. Rounding grows with the square of the
    number of steps, and neither the middle nor a ratio may leave the range of float64.
    """
    middle = n // 2
    right = start
    left = start
    store(m, table + stride * middle, start)
    for k in range(1, n - middle):
        right = right * up
        up = up * square
        store(m, table + stride * (middle + k), right)
    for k in range(1, middle + 1):
        left = left * down
        down = down * square
        store(m, table + stride * (middle - k), left)


@cache
def make_project(size: int) -> Callable:
    """Variable projection for models of this many parameters."""

    @device
    def project(m, p, gram, gradient, objective):
        """Move amplitude and offset in ``p`` to their best for its shape; new objective.

        ``gradient`` becomes that at the new values. Where the 2 x 2 system is
        singular (a width far below a pixel or far above the ROI) they stay.
        """
        last = size - 1
        h_aa = load(m, gram)
        h_ba = load(m, gram + packed(last, 0))
        h_bb = load(m, gram + packed(last, last))
        g_a = load(m, gradient)
        g_b = load(m, gradient + last)
        determinant = h_aa * h_bb - h_ba * h_ba
        sound = determinant > h_aa * h_bb * 1e-13
        inverse = select(sound, 1.0 / determinant, 0.0)
        step_a = (g_a * h_bb - g_b * h_ba) * inverse
        step_b = (g_b * h_aa - g_a * h_ba) * inverse
        store(m, p, load(m, p) + step_a)
        store(m, p + last, load(m, p + last) + step_b)
        for i in range(size):
            h_ai = load(m, gram + packed(i, 0))
            h_bi = load(m, gram + packed(last, i))
            store(m, gradient + i, load(m, gradient + i) - (step_a * h_ai + step_b * h_bi))
        left = objective - (step_a * g_a + step_b * g_b)
        return select(left < 0.0, 0.0, left)

    return project


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
