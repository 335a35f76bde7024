"""Normal equations and steps of the unrotated models; the mathematics stands in ``normal``."""

from __future__ import annotations

from ._compile import device
from .lanes import ALL_LANES, absolute, broadcast, load, mask_bits, select, store
from .linalg import packed
from .normal import MOST_STEPS, fill_outwards, limit_centre, limit_width, reciprocal
from .special import exp_negative


def _pairs(on_axis: tuple[int, ...]) -> tuple[int, ...]:
    """For each packed pair of columns, where its product stands in the Gram of one axis."""
    return tuple(
        packed(max(on_axis[i], on_axis[j]), min(on_axis[i], on_axis[j]))
        for i in range(len(on_axis))
        for j in range(i + 1)
    )


# Which of (1, X, X_c, X_s) each elliptic basis column takes on each axis.
_PAIRS_X = _pairs((1, 2, 1, 3, 1, 0))
_PAIRS_Y = _pairs((1, 1, 2, 1, 3, 0))


@device
def _gaussian_table(m, n, centre, sigma, table) -> None:
    """Fill table rows 3 i with exp(-(i - centre)**2 / (2 sigma**2)), i = 0 .. n - 1.

    By recurrence where that is safe; other lanes one by one.
    """
    curve = 1.0 / (sigma * sigma)
    shift = centre - float(n // 2)
    away = shift * curve
    up = exp_negative(away - 0.5 * curve)
    down = exp_negative(-away - 0.5 * curve)
    middle = exp_negative(shift * away * -0.5)
    fill_outwards(m, n, middle, up, down, exp_negative(-curve), table, 3)
    safe = (absolute(shift) < 20.0 * sigma) & (sigma > 0.07)
    if n > MOST_STEPS:
        safe = safe & ~safe
    if mask_bits(safe) != ALL_LANES:
        for i in range(n):
            u = float(i) - centre
            f = exp_negative(u * u * (curve * -0.5))
            store(m, table + 3 * i, select(safe, load(m, table + 3 * i), f))


@device
def _axis(m, n, centre, sigma, table, gram) -> None:
    """Fill table rows 3 i + (0, 1, 2) with X, X_c, X_s and the packed Gram of (1, X, X_c, X_s)."""
    _gaussian_table(m, n, centre, sigma, table)
    zero = broadcast(0.0)
    inverse = 1.0 / sigma
    s1 = zero
    s2 = zero
    s3 = zero
    s11 = zero
    s21 = zero
    s22 = zero
    s31 = zero
    s32 = zero
    s33 = zero
    for i in range(n):
        u = (float(i) - centre) * inverse
        f = load(m, table + 3 * i)
        c = f * (u * inverse)
        s = c * u
        store(m, table + 3 * i + 1, c)
        store(m, table + 3 * i + 2, s)
        s1 = s1 + f
        s2 = s2 + c
        s3 = s3 + s
        s11 = s11 + f * f
        s21 = s21 + c * f
        s22 = s22 + c * c
        s31 = s31 + s * f
        s32 = s32 + s * c
        s33 = s33 + s * s
    store(m, gram, broadcast(float(n)))
    store(m, gram + 1, s1)
    store(m, gram + 2, s11)
    store(m, gram + 3, s2)
    store(m, gram + 4, s21)
    store(m, gram + 5, s22)
    store(m, gram + 6, s3)
    store(m, gram + 7, s31)
    store(m, gram + 8, s32)
    store(m, gram + 9, s33)


@device
def _separable(m, pixels, ny, nx, p, width_x, width_y, work, gram, gradient):
    """Elliptic normal equations; the sigmas are rows ``width_x``, ``width_y`` of the parameters."""
    gram_x = work
    gram_y = work + 10
    table_x = work + 20
    table_y = table_x + 3 * nx
    _axis(m, nx, load(m, p + 1), load(m, p + width_x), table_x, gram_x)
    _axis(m, ny, load(m, p + 2), load(m, p + width_y), table_y, gram_y)
    amplitude = load(m, p)
    offset = load(m, p + width_y + 1)
    zero = broadcast(0.0)
    objective = zero
    total = zero
    g_f = zero
    g_x = zero
    g_y = zero
    g_sx = zero
    g_sy = zero
    for j in range(ny):
        y = load(m, table_y + 3 * j)
        height = amplitude * y
        row = zero
        row_f = zero
        row_c = zero
        row_s = zero
        for i in range(nx):
            f = load(m, table_x + 3 * i)
            r = (load(m, pixels + j * nx + i) - offset) - height * f
            objective = objective + r * r
            row = row + r
            row_f = row_f + r * f
            row_c = row_c + r * load(m, table_x + 3 * i + 1)
            row_s = row_s + r * load(m, table_x + 3 * i + 2)
        total = total + row
        g_f = g_f + row_f * y
        g_x = g_x + row_c * y
        g_sx = g_sx + row_s * y
        g_y = g_y + row_f * load(m, table_y + 3 * j + 1)
        g_sy = g_sy + row_f * load(m, table_y + 3 * j + 2)
    store(m, gradient, g_f)
    store(m, gradient + 1, g_x)
    store(m, gradient + 2, g_y)
    store(m, gradient + 3, g_sx)
    store(m, gradient + 4, g_sy)
    store(m, gradient + 5, total)
    for k in range(21):
        on_x, on_y = load(m, gram_x + _PAIRS_X[k]), load(m, gram_y + _PAIRS_Y[k])
        store(m, gram + k, on_x * on_y)
    return objective


@device
def accumulate_elliptic(m, pixels, ny, nx, p, work, gram, gradient):
    """Normal equations of ``amplitude, x, y, sigma_x, sigma_y, offset``."""
    return _separable(m, pixels, ny, nx, p, 3, 4, work, gram, gradient)


@device
def accumulate_symmetric(m, pixels, ny, nx, p, work, gram, gradient):
    """Normal equations of ``amplitude, x, y, sigma, offset``: the elliptic ones, widths tied."""
    g = work
    h = work + 6
    objective = _separable(m, pixels, ny, nx, p, 3, 3, work + 27, h, g)
    for i in range(3):
        store(m, gradient + i, load(m, g + i))
        for j in range(i + 1):
            store(m, gram + packed(i, j), load(m, h + packed(i, j)))
    store(m, gradient + 3, load(m, g + 3) + load(m, g + 4))
    store(m, gradient + 4, load(m, g + 5))
    for j in range(3):
        tied = load(m, h + packed(3, j)) + load(m, h + packed(4, j))
        store(m, gram + packed(3, j), tied)
        store(m, gram + packed(4, j), load(m, h + packed(5, j)))
    cross = load(m, h + packed(4, 3))
    squares = load(m, h + packed(3, 3)) + load(m, h + packed(4, 4))
    store(m, gram + packed(3, 3), squares + (cross + cross))
    store(m, gram + packed(4, 3), load(m, h + packed(5, 3)) + load(m, h + packed(5, 4)))
    store(m, gram + packed(4, 4), load(m, h + packed(5, 5)))
    return objective


@device
def _step_separable(m, p, t, q, width_x, width_y) -> None:
    scale = reciprocal(load(m, p))
    sigma_x = load(m, p + width_x)
    sigma_y = load(m, p + width_y)
    store(m, q, load(m, p) + load(m, t))
    store(m, q + 1, limit_centre(load(m, p + 1), load(m, t + 1) * scale, sigma_x))
    store(m, q + 2, limit_centre(load(m, p + 2), load(m, t + 2) * scale, sigma_y))
    store(m, q + width_x, limit_width(sigma_x, sigma_x + load(m, t + width_x) * scale))
    store(m, q + width_y, limit_width(sigma_y, sigma_y + load(m, t + width_y) * scale))
    store(m, q + width_y + 1, load(m, p + width_y + 1) + load(m, t + width_y + 1))


@device
def step_symmetric(m, p, t, q) -> None:
    """q = p moved by the basis coefficients t."""
    _step_separable(m, p, t, q, 3, 3)


@device
def step_elliptic(m, p, t, q) -> None:
    """q = p moved by the basis coefficients t."""
    _step_separable(m, p, t, q, 3, 4)
