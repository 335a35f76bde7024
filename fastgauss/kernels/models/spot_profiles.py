"""Spot profiles of joint fits: a spot's light and its derivatives."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from .._compile import device
from ..numeric.special import exp_flushed
from ..simd.lanes import broadcast, load, store
from ..simd.masked import ramp
from . import profiles
from .axis_tables import make_fill


class Light(NamedTuple):
    """How the light of a kind of spot is computed."""

    columns: int  # derivatives by amplitude, centre and widths
    prepare: Callable  # tables of a spot for a box of pixels
    values: Callable  # a f
    derive: Callable  # the columns, to lane rows
    tables: int = 9  # rows of the tables of a spot, at most


def _make_separable(axes: int) -> Light:
    fill = make_fill(3, False)
    wide = axes + 1  # where the sigmas begin

    @device
    def prepare(table, stride, plain, i, first, count, integrate):
        if axes == 3:
            fill(table, 0, stride, first[0], count[0], plain[i, 3], plain[i, wide + 2], integrate)
        y, x = 3 * stride, 6 * stride
        fill(table, y, stride, first[1], count[1], plain[i, 2], plain[i, wide + 1], integrate)
        fill(table, x, stride, first[2], count[2], plain[i, 1], plain[i, wide], integrate)

    @device
    def values(table, stride, plain, i, first, z, y, k, integrate):
        across = table[3 * stride + y] * plain[i, 0]
        if axes == 3:
            across *= table[z]
        return load(table, 6 * stride + k) * across

    @device
    def derive(m, row, table, stride, plain, i, first, z, y, k, integrate):
        f = load(table, 6 * stride + k)
        slope = load(table, 7 * stride + k)
        growth = load(table, 8 * stride + k)
        outer = table[z] if axes == 3 else 1.0
        f_y = table[3 * stride + y] * outer
        amplitude = plain[i, 0]
        store(m, row, f * f_y)
        store(m, row + 1, slope * (f_y * amplitude))
        store(m, row + 2, f * (table[4 * stride + y] * outer * amplitude))
        store(m, row + wide, growth * (f_y * amplitude))
        store(m, row + wide + 1, f * (table[5 * stride + y] * outer * amplitude))
        if axes == 3:
            across = table[3 * stride + y] * amplitude
            store(m, row + 3, f * (table[stride + z] * across))
            store(m, row + wide + 2, f * (table[2 * stride + z] * across))

    return Light(2 * axes + 1, prepare, values, derive)


def _make_rotated() -> Light:
    @device
    def prepare(table, stride, plain, i, first, count, integrate):
        xx, yy, xy = plain[i, 3], plain[i, 4], plain[i, 5]
        inverse = 1.0 / (xx * yy - xy * xy)
        table[0], table[1], table[2] = yy * inverse, xx * inverse, -xy * inverse

    @device
    def at_point(table, plain, i, dx, dy):
        u = dx * table[0] + dy * table[2]
        v = dx * table[2] + dy * table[1]
        return u, v, exp_flushed((u * u + v * v) * -0.5)

    @device
    def values(table, stride, plain, i, first, z, y, k, integrate):
        dx = ramp(float(first[2] + k)) - plain[i, 1]
        dy = float(first[1] + y) - plain[i, 2]
        if not integrate:
            return at_point(table, plain, i, dx, dy)[2] * plain[i, 0]
        mean = broadcast(0.0)
        for n in range(profiles.POINTS * profiles.POINTS):
            to_x, to_y = profiles.NODES[n % profiles.POINTS], profiles.NODES[n // profiles.POINTS]
            weight = profiles.WEIGHTS[n % profiles.POINTS] * profiles.WEIGHTS[n // profiles.POINTS]
            mean = mean + at_point(table, plain, i, dx + to_x, dy + to_y)[2] * weight
        return mean * plain[i, 0]

    @device
    def derive(m, row, table, stride, plain, i, first, z, y, k, integrate):
        dx = ramp(float(first[2] + k)) - plain[i, 1]
        dy = float(first[1] + y) - plain[i, 2]
        f = broadcast(0.0)
        by_x, by_y, by_xx, by_yy, by_xy = f, f, f, f, f
        points = profiles.POINTS if integrate else 1
        for n in range(points * points):
            weight, px, py = 1.0, dx, dy
            if integrate:
                px = dx + profiles.NODES[n % profiles.POINTS]
                py = dy + profiles.NODES[n // profiles.POINTS]
                weight *= profiles.WEIGHTS[n % profiles.POINTS]
                weight *= profiles.WEIGHTS[n // profiles.POINTS]
            u, v, g = at_point(table, plain, i, px, py)
            q = u * table[0] + v * table[2]
            s = u * table[2] + v * table[1]
            g = g * weight
            f = f + g
            by_x = by_x + g * q
            by_y = by_y + g * s
            by_xx = by_xx + g * (q * u)
            by_yy = by_yy + g * (s * v)
            by_xy = by_xy + g * (q * v + s * u)
        amplitude = plain[i, 0]
        store(m, row, f)
        store(m, row + 1, by_x * amplitude)
        store(m, row + 2, by_y * amplitude)
        store(m, row + 3, by_xx * amplitude)
        store(m, row + 4, by_yy * amplitude)
        store(m, row + 5, by_xy * amplitude)

    return Light(6, prepare, values, derive)


PLANE, VOLUME, ROTATED = _make_separable(2), _make_separable(3), _make_rotated()
