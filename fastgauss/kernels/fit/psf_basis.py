"""The basis of a point spread function at every pixel, and where its constants stand.

The constants are the number of components along the axes, the unit (the sigma of the Gaussian with
the same full width at half maximum), the highest value of f, how far f falls below 0, and the
number of rotated components; then, for each component, w / (2 pi sigma_x sigma_y), dx, dy, and
three numbers of its shape: sigma_x, sigma_y and 0, or xx, yy and xy of the inverse covariance if it
is rotated. Each spot may have numbers of its own, where the function varies over an image; of all
spots of a call, the same components are rotated. The mathematics stands in ``psf.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from .._compile import device
from ..models.profiles import make_over_pixel
from ..numeric.contraction import FACTOR_ROWS
from ..numeric.special import exp_negative
from ..simd.lanes import broadcast, load, store
from .axis_profiles import fill_integrated, fill_sampled

MOST = 8  # components
UNIT, PEAK, DIP, ROTATED, FIRST = 1, 2, 3, 4, 5  # constants; the number along the axes is before
NUMBERS = 6  # constants of a component; those along the axes come first
CONSTANTS = FIRST + MOST * NUMBERS
X, Y, SIGMA_X, SIGMA_Y = 1, 2, 3, 4  # of a component, after its height
XX, YY, XY = 3, 4, 5  # of a rotated one
WIDTH = 3  # which parameter a free width is: flux, x, y, width, offset
KNOWN_ROW, FREE_ROW = 5, 6  # lane rows a pixel: the basis, 1, and the weighted residual
_FILLS = {"sample": fill_sampled, "integrate": fill_integrated}


@cache
def make_width(free: bool) -> Callable:
    """The factor of all sigmas and offsets."""

    @device
    def width_of(m, p):
        return load(m, p + WIDTH) if free else 1.0

    return width_of


@cache
def make_tables(pixel: str, free: bool) -> Callable:
    """Tables of all components along both axes."""
    fill, width_of = _FILLS[pixel], make_width(free)

    @device
    def widen(m, n, lean, table, step) -> None:
        """Turn the derivatives by sigma into those by the width, which moves an offset too."""
        for i in range(n):
            at = table + step * i
            store(m, at + 2, load(m, at + 2) + lean * load(m, at + 1) - load(m, at))

    @device
    def tables(m, count, ny, nx, p, along, across) -> None:
        """Write f, unit df/dx0 and, of a free width s, s df/ds for each component at each pixel.

        That is three rows a component. The tables of y hold the heights of the components too.
        """
        x0, y0, unit, width = load(m, p + 1), load(m, p + 2), load(m, UNIT), width_of(m, p)
        step = FACTOR_ROWS * count
        for k in range(count):
            at = FIRST + NUMBERS * k
            height, sigma_x, sigma_y = load(m, at), load(m, at + SIGMA_X), load(m, at + SIGMA_Y)
            height = height / (width * width)
            x, y = along + FACTOR_ROWS * k, across + FACTOR_ROWS * k
            fill(m, nx, 0, x0 + load(m, at + X) * width, sigma_x * width, x, step)
            fill(m, ny, 0, y0 + load(m, at + Y) * width, sigma_y * width, y, step)
            if free:
                widen(m, nx, load(m, at + X) / sigma_x, x, step)
                widen(m, ny, load(m, at + Y) / sigma_y, y, step)
            slope = unit / sigma_x
            for i in range(nx):
                store(m, x + step * i + 1, load(m, x + step * i + 1) * slope)
            slope = unit / sigma_y * height
            for j in range(ny):
                store(m, y + step * j, load(m, y + step * j) * height)
                store(m, y + step * j + 1, load(m, y + step * j + 1) * slope)
                if free:
                    store(m, y + step * j + 2, load(m, y + step * j + 2) * height)

    return tables


@device
def _add(m, row, f_y, slope_y, f, by_x, by_y):
    """What one component adds at a pixel; its table of x stands in ``row``."""
    f_x = load(m, row)
    return f + f_x * f_y, by_x + load(m, row + 1) * f_y, by_y + f_x * slope_y


@device
def _put(m, row, f, by_x, by_y) -> None:
    store(m, row, f)
    store(m, row + 1, by_x)
    store(m, row + 2, by_y)


@device
def _fill_known(m, count, nx, along, across, columns) -> None:
    """Sums over the components: f and its derivatives at the pixels of one row.

    Four pixels share the loads of a factor of y.
    """
    step = FACTOR_ROWS * count
    for i0 in range(0, nx, 4):
        i1, i2, i3 = min(i0 + 1, nx - 1), min(i0 + 2, nx - 1), min(i0 + 3, nx - 1)
        zero = broadcast(0.0)
        f0, x0, y0 = zero, zero, zero
        f1, x1, y1 = zero, zero, zero
        f2, x2, y2 = zero, zero, zero
        f3, x3, y3 = zero, zero, zero
        for k in range(count):
            row = along + FACTOR_ROWS * k
            f, slope = load(m, across + FACTOR_ROWS * k), load(m, across + FACTOR_ROWS * k + 1)
            f0, x0, y0 = _add(m, row + step * i0, f, slope, f0, x0, y0)
            f1, x1, y1 = _add(m, row + step * i1, f, slope, f1, x1, y1)
            f2, x2, y2 = _add(m, row + step * i2, f, slope, f2, x2, y2)
            f3, x3, y3 = _add(m, row + step * i3, f, slope, f3, x3, y3)
        _put(m, columns + KNOWN_ROW * i0, f0, x0, y0)
        _put(m, columns + KNOWN_ROW * i1, f1, x1, y1)
        _put(m, columns + KNOWN_ROW * i2, f2, x2, y2)
        _put(m, columns + KNOWN_ROW * i3, f3, x3, y3)


@device
def _add_free(m, row, across, f, by_x, by_y, by_width):
    """The same with a free width; the table of y stands in ``across``."""
    f_x, f_y = load(m, row), load(m, across)
    by_width = by_width + load(m, row + 2) * f_y + f_x * load(m, across + 2)
    by_x = by_x + load(m, row + 1) * f_y
    return f + f_x * f_y, by_x, by_y + f_x * load(m, across + 1), by_width


@device
def _fill_free(m, count, nx, along, across, columns) -> None:
    """The same with a free width; two pixels share loads, for which registers suffice."""
    step = FACTOR_ROWS * count
    for i0 in range(0, nx, 2):
        i1 = min(i0 + 1, nx - 1)
        zero = broadcast(0.0)
        f0, x0, y0, s0 = zero, zero, zero, zero
        f1, x1, y1, s1 = zero, zero, zero, zero
        for k in range(count):
            row, at = along + FACTOR_ROWS * k, across + FACTOR_ROWS * k
            f0, x0, y0, s0 = _add_free(m, row + step * i0, at, f0, x0, y0, s0)
            f1, x1, y1, s1 = _add_free(m, row + step * i1, at, f1, x1, y1, s1)
        _put(m, columns + FREE_ROW * i0, f0, x0, y0)
        _put(m, columns + FREE_ROW * i1, f1, x1, y1)
        store(m, columns + FREE_ROW * i0 + WIDTH, s0)
        store(m, columns + FREE_ROW * i1 + WIDTH, s1)


@cache
def make_gaussian(pixel: str, free: bool) -> Callable:
    """A rotated component: its value, minus its derivatives along x and y, and s df/ds.

    ``numbers`` are its height and the inverse covariance xx, yy, xy for a width of 1, and ``lean``
    its offset from the centre of the star. The last result is 0 where the width is not free.
    """

    @device
    def add(shape, weight, u, v, sums):
        xx, yy, xy, lean_x, lean_y = shape
        total, by_x, by_y, by_width = sums
        slope_x, slope_y = xx * u + xy * v, xy * u + yy * v
        f = exp_negative((u * slope_x + v * slope_y) * -0.5) * weight
        if free:
            u, v = u + lean_x, v + lean_y
            by_width = by_width + f * (u * slope_x + v * slope_y - 2.0)
        return total + f, by_x + f * slope_x, by_y + f * slope_y, by_width

    over_pixel = make_over_pixel(pixel, add)

    @device
    def gaussian(numbers, width, lean, x, y):
        curve = 1.0 / (width * width)
        height, xx, yy, xy = numbers
        shape = xx * curve, yy * curve, xy * curve, lean[0], lean[1]
        zero = broadcast(0.0)
        return over_pixel(shape, height * curve, x, y, (zero, zero, zero, zero))

    return gaussian


@cache
def make_rotated(pixel: str, free: bool) -> Callable:
    """``make_gaussian`` of the component whose constants begin at a lane row."""
    gaussian = make_gaussian(pixel, free)

    @device
    def rotated(m, at, width, x, y):
        numbers = load(m, at), load(m, at + XX), load(m, at + YY), load(m, at + XY)
        lean = load(m, at + X) * width, load(m, at + Y) * width
        return gaussian(numbers, width, lean, x, y)

    return rotated


@cache
def make_fill_row(pixel: str, free: bool) -> Callable:
    """The basis at the pixels of one row, of the sum over all components."""
    rotated, width_of = make_rotated(pixel, free), make_width(free)
    fill, stride = (_fill_free, FREE_ROW) if free else (_fill_known, KNOWN_ROW)

    @device
    def add_rotated(m, nx, j, p, columns) -> None:
        first, width = int(m[0, 0]), width_of(m, p)
        unit = load(m, UNIT) * width
        for k in range(first, first + int(m[ROTATED, 0])):
            at = FIRST + NUMBERS * k
            y = float(j) - (load(m, p + 2) + load(m, at + Y) * width)
            for i in range(nx):
                x = float(i) - (load(m, p + 1) + load(m, at + X) * width)
                f, by_x, by_y, by_width = rotated(m, at, width, x, y)
                row = columns + stride * i
                by_x = load(m, row + 1) + by_x * unit
                _put(m, row, load(m, row) + f, by_x, load(m, row + 2) + by_y * unit)
                if free:
                    store(m, row + WIDTH, load(m, row + WIDTH) + by_width)

    @device
    def fill_row(m, nx, j, p, along, across, columns) -> None:
        """Row j; the tables of x and y stand in ``along`` and ``across``."""
        count = int(m[0, 0])
        fill(m, count, nx, along, across + FACTOR_ROWS * count * j, columns)
        add_rotated(m, nx, j, p, columns)

    return fill_row
