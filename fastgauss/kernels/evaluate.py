"""Models at many points, eight points a register.

A *point function* gives a model's value and derivatives at the points of one register.
It reads parameter k from flat memory: element k where all points share the parameters
(stride 0), else the lanes from k * stride + i on. A rotated model has cos(theta) and
sin(theta) in place of theta.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from . import profiles
from ._compile import device, kernel
from .lanes import WIDTH, broadcast, lane_rows, load, store


@device
def _take(params, k, stride, i):
    """Parameter k of the points from i on."""
    return broadcast(params[k]) if stride == 0 else load(params, k * stride + i)


def _line(profile: Callable) -> Callable:
    @device
    def point(coords, params, stride, i):
        amplitude = _take(params, 0, stride, i)
        f, c, s = profile(coords[0], _take(params, 1, stride, i), _take(params, 2, stride, i))
        offset = _take(params, 3, stride, i)
        return amplitude * f + offset, f, amplitude * c, amplitude * s, f * 0.0 + 1.0

    return point


def _plane(profile: Callable, symmetric: bool) -> Callable:
    width_y = 3 if symmetric else 4

    @device
    def point(coords, params, stride, i):
        amplitude = _take(params, 0, stride, i)
        sigma_x, sigma_y = _take(params, 3, stride, i), _take(params, width_y, stride, i)
        f, fc, fs = profile(coords[0], _take(params, 1, stride, i), sigma_x)
        g, gc, gs = profile(coords[1], _take(params, 2, stride, i), sigma_y)
        product = f * g
        high_f = amplitude * f
        high_g = amplitude * g
        value = amplitude * product + _take(params, width_y + 1, stride, i)
        one = product * 0.0 + 1.0
        if symmetric:
            return value, product, high_g * fc, high_f * gc, high_g * fs + high_f * gs, one
        return value, product, high_g * fc, high_f * gc, high_g * fs, high_f * gs, one

    return point


def _space(profile: Callable, symmetric: bool) -> Callable:
    width_y, width_z = (4, 4) if symmetric else (5, 6)

    @device
    def point(coords, params, stride, i):
        amplitude = _take(params, 0, stride, i)
        sigma_x, sigma_y = _take(params, 4, stride, i), _take(params, width_y, stride, i)
        f, fc, fs = profile(coords[0], _take(params, 1, stride, i), sigma_x)
        g, gc, gs = profile(coords[1], _take(params, 2, stride, i), sigma_y)
        h, hc, hs = profile(
            coords[2], _take(params, 3, stride, i), _take(params, width_z, stride, i)
        )
        product = f * g * h
        gh = amplitude * (g * h)
        fh = amplitude * (f * h)
        fg = amplitude * (f * g)
        value = amplitude * product + _take(params, width_z + 1, stride, i)
        one = product * 0.0 + 1.0
        if symmetric:
            return value, product, gh * fc, fh * gc, fg * hc, gh * fs + fh * gs + fg * hs, one
        return value, product, gh * fc, fh * gc, fg * hc, gh * fs, fh * gs, fg * hs, one

    return point


def _rotated(model: Callable) -> Callable:
    @device
    def point(coords, params, stride, i):
        return model(
            coords[0],
            coords[1],
            _take(params, 0, stride, i),
            _take(params, 1, stride, i),
            _take(params, 2, stride, i),
            _take(params, 3, stride, i),
            _take(params, 4, stride, i),
            _take(params, 5, stride, i),
            _take(params, 6, stride, i),
            _take(params, 7, stride, i),
        )

    return point


def _point(name: str, ndim: int, pixel: str) -> Callable:
    sampled = pixel == "sample"
    profile = profiles.sampled if sampled else profiles.integrated
    if ndim == 1:
        return _line(profile)
    if name == "rotated":
        return _rotated(profiles.rotated_sampled if sampled else profiles.rotated_integrated)
    return (_plane if ndim == 2 else _space)(profile, name == "symmetric")


def _coordinates(ndim: int) -> Callable:
    """From flat memory, coordinate k in elements k * stride + i, to a tuple of lanes."""
    if ndim == 1:
        return device(lambda coords, stride, i: (load(coords, i),))
    if ndim == 2:
        return device(lambda coords, stride, i: (load(coords, i), load(coords, stride + i)))
    return device(
        lambda coords, stride, i: (
            load(coords, i),
            load(coords, stride + i),
            load(coords, 2 * stride + i),
        )
    )


@cache
def make_evaluate(name: str, ndim: int, pixel: str) -> Callable:
    """Values of a model: a kernel over points in flat memory."""
    point, coordinates = _point(name, ndim, pixel), _coordinates(ndim)

    @kernel
    def evaluate(coords, stride, count, params, param_stride, out) -> None:
        """Write ``out[count]``; count is a multiple of the lanes."""
        for i in range(0, count, WIDTH):
            store(out, i, point(coordinates(coords, stride, i), params, param_stride, i)[0])

    return evaluate


@cache
def make_jacobian(name: str, ndim: int, pixel: str) -> Callable:
    """Derivatives of a model: a kernel over points in flat memory."""
    point, coordinates = _point(name, ndim, pixel), _coordinates(ndim)

    @kernel
    def jacobian(coords, stride, count, params, param_stride, out) -> None:
        """Write derivative k of point i to ``out[k * stride + i]``."""
        for i in range(0, count, WIDTH):
            at = i
            for slope in point(coordinates(coords, stride, i), params, param_stride, i)[1:]:
                store(out, at, slope)
                at += stride

    return jacobian


@cache
def make_image(name: str, ndim: int, pixel: str) -> Callable:
    """Values of a model on the pixels of a grid, for many spots: a kernel over spots."""
    point = _point(name, ndim, pixel)

    @device
    def place(x, y, z):
        if ndim == 1:
            return (x,)
        if ndim == 2:
            return x, y
        return x, y, z

    @kernel
    def image(params, shape, out) -> None:
        """Write ``out[n, pixels]`` for ``params[n, :]``; ``shape`` is (z, y, x)."""
        nz, ny, nx = shape
        blocks = (nx + WIDTH - 1) // WIDTH
        columns = lane_rows(2 * blocks)
        row = columns[blocks:].reshape(-1)
        for i in range(blocks * WIDTH):
            columns[i // WIDTH, i % WIDTH] = i
        for item in range(params.shape[0]):
            target = 0
            for z in range(nz):
                for y in range(ny):
                    for block in range(blocks):
                        coords = place(
                            load(columns, block), broadcast(float(y)), broadcast(float(z))
                        )
                        store(columns, blocks + block, point(coords, params[item], 0, 0)[0])
                    for i in range(nx):
                        out[item, target + i] = row[i]
                    target += nx

    return image
