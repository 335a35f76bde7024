"""Normal equations and steps of the unrotated models; the mathematics stands in ``normal``."""

from __future__ import annotations

from ._compile import device
from .lanes import ALL_LANES, absolute, broadcast, load, mask_bits, select, store
from .normal import MOST_STEPS, fill_outwards, limit_centre, limit_width, reciprocal
from .special import exp_negative


@device
def _gaussian_table(m, n, shift, sigma, table) -> None:
    """Fill table rows 3 i with exp(-u**2 / 2), u = (i - n // 2 - shift) / sigma, i = 0 .. n - 1.

    By recurrence where that is safe; other lanes one by one.
    """
    curve = 1.0 / (sigma * sigma)
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
            u = float(i - n // 2) - shift
            f = exp_negative(u * u * (curve * -0.5))
            store(m, table + 3 * i, select(safe, load(m, table + 3 * i), f))


@device
def _axis(m, n, centre, sigma, table):
    """Fill table rows 3 i + (0, 1, 2) with X, uX, u**2 X and return their sums and products.

    The tuple is sum X u**k, k = 0, 1, 2, then sum X**2 u**k, k = 0 .. 4.
    """
    shift = centre - float(n // 2)
    _gaussian_table(m, n, shift, sigma, table)
    zero = broadcast(0.0)
    inverse = 1.0 / sigma
    s0 = zero
    s1 = zero
    s2 = zero
    q0 = zero
    q1 = zero
    q2 = zero
    q3 = zero
    q4 = zero
    for i in range(n):
        u = (float(i - n // 2) - shift) * inverse
        f = load(m, table + 3 * i)
        fu = f * u
        fuu = fu * u
        store(m, table + 3 * i + 1, fu)
        store(m, table + 3 * i + 2, fuu)
        s0 = s0 + f
        s1 = s1 + fu
        s2 = s2 + fuu
        q0 = q0 + f * f
        q1 = q1 + f * fu
        q2 = q2 + fu * fu
        q3 = q3 + fu * fuu
        q4 = q4 + fuu * fuu
    return s0, s1, s2, q0, q1, q2, q3, q4


@device
def _residuals(m, pixels, ny, nx, amplitude, offset, table_x, table_y):
    """Sum r**2, sum r, and sums of r times f, uf, vf, u**2 f, v**2 f."""
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
        row_f = zero
        row_u = zero
        row_uu = zero
        for i in range(nx):
            f = load(m, table_x + 3 * i)
            r = (load(m, pixels + j * nx + i) - offset) - height * f
            objective = objective + r * r
            total = total + r
            row_f = row_f + r * f
            row_u = row_u + r * load(m, table_x + 3 * i + 1)
            row_uu = row_uu + r * load(m, table_x + 3 * i + 2)
        g_f = g_f + row_f * y
        g_x = g_x + row_u * y
        g_sx = g_sx + row_uu * y
        g_y = g_y + row_f * load(m, table_y + 3 * j + 1)
        g_sy = g_sy + row_f * load(m, table_y + 3 * j + 2)
    return objective, total, g_f, g_x, g_y, g_sx, g_sy


@device
def _write_common(m, gram, x, y, last) -> None:
    """The Gram entries among f, uf, vf, and theirs with 1, whose row begins at ``last``."""
    store(m, gram, x[3] * y[3])
    store(m, gram + 1, x[4] * y[3])
    store(m, gram + 2, x[5] * y[3])
    store(m, gram + 3, x[3] * y[4])
    store(m, gram + 4, x[4] * y[4])
    store(m, gram + 5, x[3] * y[5])
    store(m, last, x[0] * y[0])
    store(m, last + 1, x[1] * y[0])
    store(m, last + 2, x[0] * y[1])


@device
def accumulate_symmetric(m, pixels, ny, nx, p, work, gram, gradient):
    """Normal equations of ``amplitude, x, y, sigma, offset``.

    The basis is f, uf, vf, (u**2 + v**2) f, 1.
    """
    table_y = work + 3 * nx
    sigma = load(m, p + 3)
    x = _axis(m, nx, load(m, p + 1), sigma, work)
    y = _axis(m, ny, load(m, p + 2), sigma, table_y)
    objective, total, g_f, g_x, g_y, g_sx, g_sy = _residuals(
        m, pixels, ny, nx, load(m, p), load(m, p + 4), work, table_y
    )
    store(m, gradient, g_f)
    store(m, gradient + 1, g_x)
    store(m, gradient + 2, g_y)
    store(m, gradient + 3, g_sx + g_sy)
    store(m, gradient + 4, total)
    _write_common(m, gram, x, y, gram + 10)
    cross = x[5] * y[5]
    store(m, gram + 6, x[5] * y[3] + x[3] * y[5])
    store(m, gram + 7, x[6] * y[3] + x[4] * y[5])
    store(m, gram + 8, x[5] * y[4] + x[3] * y[6])
    store(m, gram + 9, x[7] * y[3] + x[3] * y[7] + (cross + cross))
    store(m, gram + 13, x[2] * y[0] + x[0] * y[2])
    store(m, gram + 14, broadcast(float(ny * nx)))
    return objective


@device
def accumulate_elliptic(m, pixels, ny, nx, p, work, gram, gradient):
    """Normal equations of ``amplitude, x, y, sigma_x, sigma_y, offset``.

    The basis is f, uf, vf, u**2 f, v**2 f, 1.
    """
    table_y = work + 3 * nx
    x = _axis(m, nx, load(m, p + 1), load(m, p + 3), work)
    y = _axis(m, ny, load(m, p + 2), load(m, p + 4), table_y)
    objective, total, g_f, g_x, g_y, g_sx, g_sy = _residuals(
        m, pixels, ny, nx, load(m, p), load(m, p + 5), work, table_y
    )
    store(m, gradient, g_f)
    store(m, gradient + 1, g_x)
    store(m, gradient + 2, g_y)
    store(m, gradient + 3, g_sx)
    store(m, gradient + 4, g_sy)
    store(m, gradient + 5, total)
    _write_common(m, gram, x, y, gram + 15)
    store(m, gram + 6, x[5] * y[3])
    store(m, gram + 7, x[6] * y[3])
    store(m, gram + 8, x[5] * y[4])
    store(m, gram + 9, x[7] * y[3])
    store(m, gram + 10, x[3] * y[5])
    store(m, gram + 11, x[4] * y[5])
    store(m, gram + 12, x[3] * y[6])
    store(m, gram + 13, x[5] * y[5])
    store(m, gram + 14, x[3] * y[7])
    store(m, gram + 18, x[2] * y[0])
    store(m, gram + 19, x[0] * y[2])
    store(m, gram + 20, broadcast(float(ny * nx)))
    return objective


@device
def _step_separable(m, p, t, q, width_x, width_y) -> None:
    """d(centre) = t sigma / amplitude, d(sigma) likewise, on each axis."""
    scale = reciprocal(load(m, p))
    sigma_x = load(m, p + width_x)
    sigma_y = load(m, p + width_y)
    scale_x = scale * sigma_x
    scale_y = scale * sigma_y
    store(m, q, load(m, p) + load(m, t))
    store(m, q + 1, limit_centre(load(m, p + 1), load(m, t + 1) * scale_x, sigma_x))
    store(m, q + 2, limit_centre(load(m, p + 2), load(m, t + 2) * scale_y, sigma_y))
    store(m, q + width_x, limit_width(sigma_x, sigma_x + load(m, t + width_x) * scale_x))
    store(m, q + width_y, limit_width(sigma_y, sigma_y + load(m, t + width_y) * scale_y))
    store(m, q + width_y + 1, load(m, p + width_y + 1) + load(m, t + width_y + 1))


@device
def step_symmetric(m, p, t, q) -> None:
    """q = p moved by the basis coefficients t."""
    _step_separable(m, p, t, q, 3, 3)


@device
def step_elliptic(m, p, t, q) -> None:
    """q = p moved by the basis coefficients t."""
    _step_separable(m, p, t, q, 3, 4)
