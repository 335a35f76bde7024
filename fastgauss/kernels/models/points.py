"""Models at many points and on grids, a register of points at once.

A *shape* is a model without amplitude and offset: a building block that reads the coordinates of a
register of points, returns the profile, and writes its derivatives by centre, widths and angle, in
this order and separately for each axis, to one lane row each. ``prepare`` computes the numbers that
it needs from the parameters and writes them to lane rows after amplitude and offset. All lane
memory of a kernel is one array ``m``.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import numpy as np

from .._compile import device, kernel
from ..numeric.special import exp_flushed
from ..simd.lane_types import ALL_LANES, WIDTH
from ..simd.lanes import broadcast, lane_rows, load, select, store
from ..simd.mask_bits import mask_bits
from . import profiles
from .model_kernels import ModelKernels

_GROUPS = 32  # registers of points that are copied from and to the caller's arrays at a time
_QUADRATURE = 11  # rows of a rotated model, before the rows of its quadrature


class Shape(NamedTuple):
    """Building blocks of one model.

    ``prepare(m, raw, step, own)`` reads parameter k from row ``raw + k * step`` and writes
    ``rows`` rows from ``own`` on. ``profile(m, at, step, own, terms)`` reads coordinate k
    from row ``at + k * step``. Derivative k, in row ``terms + k``, belongs to parameter
    ``order[k]``. ``tables``: on a grid the profile is a product of tables, one for each axis.
    """

    prepare: Callable
    profile: Callable
    rows: int
    order: tuple[int, ...]
    tables: bool


@device
def _width(m, row):
    """A sigma that is positive; others become NaN."""
    sigma = load(m, row)
    return select(sigma > 0.0, sigma, np.nan)


def _make_prepare(ndim: int, sigmas: tuple[int, ...], size: int) -> Callable:
    """Prepare amplitude, offset, then centre, sigma and 1 / sigma of each axis."""

    @device
    def prepare(m, raw, step, own) -> None:
        store(m, own, load(m, raw))
        store(m, own + 1, load(m, raw + (size - 1) * step))
        for k in range(ndim):
            sigma = _width(m, raw + sigmas[k] * step)
            store(m, own + 2 + 3 * k, load(m, raw + (1 + k) * step))
            store(m, own + 3 + 3 * k, sigma)
            store(m, own + 4 + 3 * k, 1.0 / sigma)

    return prepare


def _make_sampled(ndim: int, derivatives: bool) -> Callable:
    """The sampled profile: exp of a sum over the axes."""

    @device
    def profile(m, at, step, own, terms):
        square = broadcast(0.0)
        for k in range(ndim):
            d = profiles.distance(load(m, at + k * step), load(m, own + 2 + 3 * k))
            u = d * load(m, own + 4 + 3 * k)
            square = square + u * u
            if derivatives:
                store(m, terms + k, u)
        f = exp_flushed(square * -0.5)
        if derivatives:
            for k in range(ndim):
                u = load(m, terms + k)
                slope = f * (u * load(m, own + 4 + 3 * k))
                store(m, terms + k, slope)
                store(m, terms + ndim + k, slope * u)
        return f

    return profile


def _make_integrated(ndim: int, derivatives: bool) -> Callable:
    """The integrated profile: a product over the axes."""

    @device
    def profile(m, at, step, own, terms):
        product = broadcast(1.0)
        for k in range(ndim):
            f, by_centre, by_sigma = profiles.integrated(
                load(m, at + k * step), load(m, own + 2 + 3 * k), load(m, own + 3 + 3 * k)
            )
            if derivatives:
                store(m, terms + k, by_centre * product)
                store(m, terms + ndim + k, by_sigma * product)
                for before in range(k):
                    store(m, terms + before, load(m, terms + before) * f)
                    store(m, terms + ndim + before, load(m, terms + ndim + before) * f)
            product = product * f
        return product

    return profile


def _make_prepare_rotated(integrate: bool) -> Callable:
    """Prepare amplitude, offset, centre, the slopes of u and v along x and y, and two groups:

    The first group converts derivatives by u and v to those by the widths and the angle, the second
    is for the quadrature.
    """

    @device
    def prepare(m, raw, step, own) -> None:
        sigma_x = _width(m, raw + 3 * step)
        sigma_y = _width(m, raw + 4 * step)
        inverse_x = 1.0 / sigma_x
        inverse_y = 1.0 / sigma_y
        before = np.nan
        for lane in range(WIDTH):
            theta = m[raw + 5 * step, lane]
            if theta != before:
                cos, sin = np.cos(theta), np.sin(theta)
            m[own + 4, lane] = cos
            m[own + 5, lane] = sin
            before = theta
        cos_u, sin_u = load(m, own + 4) * inverse_x, load(m, own + 5) * inverse_x
        cos_v, sin_v = load(m, own + 4) * inverse_y, load(m, own + 5) * inverse_y
        store(m, own, load(m, raw))
        store(m, own + 1, load(m, raw + 6 * step))
        store(m, own + 2, load(m, raw + step))
        store(m, own + 3, load(m, raw + 2 * step))
        store(m, own + 4, cos_u)
        store(m, own + 5, sin_u)
        store(m, own + 6, cos_v)
        store(m, own + 7, sin_v)
        store(m, own + 8, inverse_x)
        store(m, own + 9, inverse_y)
        store(m, own + 10, (sigma_x - sigma_y) * (sigma_x + sigma_y) * (inverse_x * inverse_y))
        if integrate:
            profiles.prepare_quadrature(m, own + _QUADRATURE, cos_u, sin_u, cos_v, sin_v)

    return prepare


def _make_rotated(integrate: bool, derivatives: bool) -> Callable:
    """The rotated profile as a function of u and v, sampled or averaged."""

    @device
    def profile(m, at, step, own, terms):
        dx = profiles.distance(load(m, at), load(m, own + 2))
        dy = profiles.distance(load(m, at + step), load(m, own + 3))
        cos_u, sin_u = load(m, own + 4), load(m, own + 5)
        cos_v, sin_v = load(m, own + 6), load(m, own + 7)
        u = dx * cos_u + dy * sin_u
        v = dy * cos_v - dx * sin_v
        if integrate:
            rows = own + _QUADRATURE
            f, fu, fv, fuu, fvv, fuv = profiles.rotated_integrated(
                m, rows, rows + profiles.HALF, u, v, cos_u, sin_u, cos_v, sin_v
            )
        else:
            f, fu, fv, fuu, fvv, fuv = profiles.rotated_sampled(u, v)
        if derivatives:
            store(m, terms, fu * cos_u - fv * sin_v)
            store(m, terms + 1, fu * sin_u + fv * cos_v)
            store(m, terms + 2, fuu * load(m, own + 8))
            store(m, terms + 3, fvv * load(m, own + 9))
            store(m, terms + 4, fuv * load(m, own + 10))
        return f

    return profile


def make_separable(ndim: int, sigmas: tuple[int, ...], integrate: bool, derivatives: bool) -> Shape:
    """The unrotated profiles; ``sigmas`` are the positions of each axis' width."""
    make = _make_integrated if integrate else _make_sampled
    prepare = _make_prepare(ndim, sigmas, max(sigmas) + 2)
    order = (*range(1, 1 + ndim), *sigmas)
    return Shape(prepare, make(ndim, derivatives), 2 + 3 * ndim, order, True)


def make_rotated(integrate: bool, derivatives: bool) -> Shape:
    """The rotated profile."""
    rows = _QUADRATURE + (profiles.HALF + profiles.POINTS) * integrate
    profile = _make_rotated(integrate, derivatives)
    return Shape(_make_prepare_rotated(integrate), profile, rows, (1, 2, 3, 4, 5), False)


@device
def _read(m, row, source, start, count) -> None:
    """Copy elements of an array to lane rows; an array of one element fills all lanes."""
    if source.size == 1:
        store(m, row, broadcast(source[0]))
        return
    whole = count // WIDTH
    for i in range(whole):
        store(m, row + i, load(source, start + i * WIDTH))
    for lane in range(count - whole * WIDTH):
        m[row + whole, lane] = source[start + whole * WIDTH + lane]


@device
def _write(m, row, step, out, start, count) -> None:
    """Output k of ``count`` points, from row ``row + k * step`` on, to ``out[start + i, k]``."""
    outputs = out.shape[1]
    if outputs > 1:
        lanes = m.reshape(-1)
        for k in range(outputs):
            first = (row + k * step) * WIDTH
            for i in range(count):
                out[start + i, k] = lanes[first + i]
        return
    flat = out.reshape(-1)
    whole = count // WIDTH
    for i in range(whole):
        store(flat, start + i * WIDTH, load(m, row + i))
    for lane in range(count - whole * WIDTH):
        flat[start + whole * WIDTH + lane] = m[row + whole, lane]


def make_put(order: tuple[int, ...], derivatives: bool) -> Callable:
    """Make the step from a profile to the outputs of one group."""
    size, count_terms = max(order) + 2, len(order)

    @device
    def put(m, f, own, terms, target, step) -> None:
        """Write output k to row ``target + k * step``."""
        amplitude = load(m, own)
        if derivatives:
            store(m, target, f)
            for k in range(1, size - 1):
                store(m, target + k * step, broadcast(0.0))
            for k in range(count_terms):
                row = target + order[k] * step
                store(m, row, load(m, row) + load(m, terms + k) * amplitude)
            store(m, target + (size - 1) * step, broadcast(1.0))
        else:
            store(m, target, amplitude * f + load(m, own + 1))

    return put


@cache
def make_points(model: ModelKernels, integrate: bool, derivatives: bool) -> Callable:
    """Make a kernel of values or derivatives of a model at points."""
    shape, ndim = model.profile(integrate, derivatives), model.axes
    prepare, profile, order = shape.prepare, shape.profile, shape.order
    size = max(order) + 2
    outputs = size if derivatives else 1
    own_rows, count_terms = shape.rows, len(order)
    put = make_put(order, derivatives)

    @device
    def differs(m, raw, step, a, b):
        """Whether the parameters of two groups differ anywhere."""
        same = load(m, raw + a) == load(m, raw + b)
        for k in range(1, size):
            same = same & (load(m, raw + k * step + a) == load(m, raw + k * step + b))
        return mask_bits(same) != ALL_LANES

    @kernel
    def points(coords, params, out) -> None:
        """Fill ``out[n, :]`` from coordinates, arrays (n), and parameters.

        These are arrays (n), or (1) where all points share them.
        """
        count = out.shape[0]
        step = min(_GROUPS, (count + WIDTH - 1) // WIDTH)
        varying = params[0].size > 1
        raw = ndim * step
        raw_step = step if varying else 1
        target = raw + size * raw_step
        own = target + outputs * step
        terms = own + own_rows
        m = lane_rows(terms + count_terms)
        for start in range(0, count, step * WIDTH):
            part = min(step * WIDTH, count - start)
            for k in range(ndim):
                _read(m, k * step, coords[k], start, part)
            if varying or start == 0:
                for k in range(size):
                    _read(m, raw + k * raw_step, params[k], start, part)
            known = -1
            for i in range((part + WIDTH - 1) // WIDTH):
                if i == 0 or (varying and differs(m, raw, raw_step, known, i)):
                    known = i
                    prepare(m, raw + i, raw_step, own)
                f = profile(m, i, step, own, terms)
                put(m, f, own, terms, target + i, step)
            _write(m, target, step, out, start, part)

    return points


@cache
def make_image(model: ModelKernels, integrate: bool, wrap: Callable = kernel) -> Callable:
    """Make a kernel of values of a model on the pixels of grids, over rows of pixels.

    ``wrap`` may be ``inner_kernel``.
    """
    shape, ndim = model.profile(integrate, False), model.axes
    prepare, profile, own_rows, tables = shape.prepare, shape.profile, shape.rows, shape.tables
    size = max(shape.order) + 2
    axis = profiles.integrated if integrate else profiles.sampled

    # -- one row of pixels ---------------------------------------------------------------------

    @device
    def tabulate(m, k, own, table, first, last) -> None:
        """The profile of axis k at first .. last, from the start of ``table`` on."""
        for i in range(first // WIDTH, last // WIDTH + 1):
            x = load(m, 0) + float(i * WIDTH)
            f = axis(x, load(m, own + 2 + 3 * k), load(m, own + 3 + 3 * k))[0]
            store(m, table + i, f)

    @device
    def fill_row(m, y, own, table, last) -> None:
        """The profile at 0 .. last of row y."""
        store(m, 2, broadcast(float(y)))
        for i in range(last // WIDTH + 1):
            store(m, 1, load(m, 0) + float(i * WIDTH))
            store(m, table + i, profile(m, 1, 1, own, 0))

    @device
    def put(table, nx, height, offset, out, at) -> None:
        """Write height * table + offset; the last register may overlap the one before."""
        if nx < WIDTH:
            for i in range(nx):
                out[at + i] = height * table[i] + offset
        else:
            wide_height, wide_offset = broadcast(height), broadcast(offset)
            for i in range(0, nx - WIDTH + 1, WIDTH):
                store(out, at + i, wide_height * load(table, i) + wide_offset)
            i = nx - WIDTH
            store(out, at + i, wide_height * load(table, i) + wide_offset)

    # -- all rows ------------------------------------------------------------------------------

    @wrap
    def image(params, lengths, out, start, stop) -> None:
        """Rows start .. stop of the images of ``params[n, :]``.

        ``lengths`` is (z, y, x). Row r of all goes to ``out[(r - start) * x]`` on.
        """
        nz, ny, nx = lengths
        raw = 3
        own = raw + size
        table_x = own + own_rows
        table_y = table_x + nx // WIDTH + 1
        table_z = table_y + ny // WIDTH + 1
        m = lane_rows(table_z + nz // WIDTH + 1)
        flat = m.reshape(-1)
        for i in range(WIDTH):
            flat[i] = i
        row_x, row_y = flat[table_x * WIDTH :], flat[table_y * WIDTH :]
        row_z = flat[table_z * WIDTH :]
        rows = nz * ny
        known = -1
        for r in range(start, stop):
            item = r // rows
            z = (r - item * rows) // ny
            y = r - item * rows - z * ny
            if item != known:
                known = item
                for k in range(size):
                    store(m, raw + k, broadcast(params[item, k]))
                prepare(m, raw, 1, own)
                if tables:
                    last = min(stop - item * rows, rows) - 1
                    whole = last >= (z + 1) * ny
                    tabulate(m, 0, own, table_x, 0, nx - 1)
                    if ndim > 1:
                        first_y = 0 if whole else y
                        last_y = ny - 1 if whole else last - z * ny
                        tabulate(m, 1, own, table_y, first_y, last_y)
                    if ndim > 2:
                        tabulate(m, 2, own, table_z, z, last // ny)
            height = m[own, 0]
            if not tables:
                fill_row(m, y, own, table_x, nx - 1)
            if tables and ndim > 1:
                height *= row_y[y]
            if tables and ndim > 2:
                height *= row_z[z]
            put(row_x, nx, height, m[own + 1, 0], out, (r - start) * nx)

    return image
