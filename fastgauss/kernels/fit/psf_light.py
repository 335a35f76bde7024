"""The light of a star in a joint fit: a sum of Gaussians, with a known or a free width.

The plain numbers of a star are flux, x, y and width (1 if it is known), and then the constants of
its function (``psf_basis.py``). Each component along the axes has a table of both axes, whose rows
are f, df/d(centre) and df/d(sigma), or the derivative by the width in place of the last. A turned
component is computed at each pixel.
"""

from __future__ import annotations

from functools import cache

from .._compile import device
from ..models.axis_tables import make_fill
from ..models.spot_profiles import Light
from ..simd.lane_types import WIDTH as LANES
from ..simd.lanes import broadcast, load, store
from ..simd.masked import ramp
from . import psf_basis as basis

START = 4  # where the constants begin
_AXIS, _BOTH = 3, 6  # rows of the tables of a component along one axis, and along both


@cache
def make_light(free: bool) -> Light:
    """How joint fits compute a star."""
    fill = make_fill(_AXIS, False)
    at_point, at_pixel = basis.make_gaussian("sample", free), basis.make_gaussian("integrate", free)

    @device
    def widen(table, at, stride, count, lean, sigma, width):
        """Turn derivatives by sigma into those by the width, which moves an offset too."""
        for k in range(0, count, LANES):
            f, slope = load(table, at + k), load(table, at + stride + k)
            growth = load(table, at + 2 * stride + k)
            store(table, at + 2 * stride + k, growth * sigma + slope * lean - f / width)

    @device
    def prepare(table, stride, plain, i, first, count, integrate):
        width = plain[i, basis.WIDTH]
        for k in range(int(plain[i, START])):
            at, y = START + basis.FIRST + basis.NUMBERS * k, _BOTH * k * stride
            x = y + _AXIS * stride
            lean_x, lean_y = plain[i, at + basis.X], plain[i, at + basis.Y]
            sigma_x, sigma_y = plain[i, at + basis.SIGMA_X], plain[i, at + basis.SIGMA_Y]
            centre_x, centre_y = plain[i, 1] + lean_x * width, plain[i, 2] + lean_y * width
            fill(table, y, stride, first[1], count[1], centre_y, sigma_y * width, integrate)
            fill(table, x, stride, first[2], count[2], centre_x, sigma_x * width, integrate)
            if free:
                widen(table, y, stride, count[1], lean_y, sigma_y, width)
                widen(table, x, stride, count[2], lean_x, sigma_x, width)

    @device
    def rotated(plain, i, k, first, y, column, integrate):
        """A rotated component at pixels along x."""
        at, width = START + basis.FIRST + basis.NUMBERS * k, plain[i, basis.WIDTH]
        lean = plain[i, at + basis.X] * width, plain[i, at + basis.Y] * width
        xx, yy, xy = plain[i, at + basis.XX], plain[i, at + basis.YY], plain[i, at + basis.XY]
        numbers = plain[i, at], xx, yy, xy
        to_x = ramp(float(first[2] + column)) - (plain[i, 1] + lean[0])
        to_y = broadcast(float(first[1] + y) - (plain[i, 2] + lean[1]))
        if integrate:
            return at_pixel(numbers, width, lean, to_x, to_y)
        return at_point(numbers, width, lean, to_x, to_y)

    @device
    def values(table, stride, plain, i, first, z, y, k, integrate):
        count, curve = int(plain[i, START]), 1.0 / (plain[i, basis.WIDTH] * plain[i, basis.WIDTH])
        total = broadcast(0.0)
        for c in range(count):
            row = _BOTH * c * stride
            across = table[row + y] * (plain[i, START + basis.FIRST + basis.NUMBERS * c] * curve)
            total = total + load(table, row + _AXIS * stride + k) * across
        for c in range(count, count + int(plain[i, START + basis.ROTATED])):
            total = total + rotated(plain, i, c, first, y, k, integrate)[0]
        return total * plain[i, 0]

    @device
    def derive(m, row, table, stride, plain, i, first, z, y, k, integrate):
        count, curve = int(plain[i, START]), 1.0 / (plain[i, basis.WIDTH] * plain[i, basis.WIDTH])
        f = by_x = by_y = by_width = broadcast(0.0)
        for c in range(count):
            height = plain[i, START + basis.FIRST + basis.NUMBERS * c] * curve
            at_y = _BOTH * c * stride + y
            at_x = _BOTH * c * stride + _AXIS * stride + k
            f_x, f_y = load(table, at_x), table[at_y] * height
            f = f + f_x * f_y
            by_x = by_x + load(table, at_x + stride) * f_y
            by_y = by_y + f_x * (table[at_y + stride] * height)
            if free:
                by_width = by_width + load(table, at_x + 2 * stride) * f_y
                by_width = by_width + f_x * (table[at_y + 2 * stride] * height)
        for c in range(count, count + int(plain[i, START + basis.ROTATED])):
            part, part_x, part_y, part_width = rotated(plain, i, c, first, y, k, integrate)
            f, by_x, by_y = f + part, by_x + part_x, by_y + part_y
            if free:
                by_width = by_width + part_width * (1.0 / plain[i, basis.WIDTH])
        flux = plain[i, 0]
        store(m, row, f)
        store(m, row + 1, by_x * flux)
        store(m, row + 2, by_y * flux)
        if free:
            store(m, row + basis.WIDTH, by_width * flux)

    return Light(basis.WIDTH + free, prepare, values, derive, _BOTH * basis.MOST)
