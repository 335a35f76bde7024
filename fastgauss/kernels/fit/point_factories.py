"""Factories for the caller's own compiled code: value, derivatives and image of the models.

The kernels are those of `fastgauss.evaluate`, for one point or a register of points, on the
stack. Coordinates and parameters may be numbers or lane values, in any mixture. If one of them is a
lane value, so is the result; else the result is a number.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numba import types

from .._compile import device, entry, inner_kernel, kernel, variants
from ..models import points
from ..simd.arguments import three
from ..simd.lane_tuples import load_all, store_all
from ..simd.lane_types import LaneType
from ..simd.lanes import broadcast, load, store
from ..simd.stack_memory import first_lane, stack_rows
from .models import model_named


def put_all(m: Any, row: int, values: Any, count: int) -> None:
    """Write numbers and lane values, one, a tuple or a 1-D array, to lane rows."""
    put = _put_tuple if isinstance(values, tuple) else _put_array
    if not isinstance(values, tuple) and np.shape(values) != (count,):
        put = _put_lanes if np.ndim(values) else _put_number
    put(m, row, values, count)


@device
def _put_tuple(m, row, values, count):
    store_all(m, row, values)


@device
def _put_array(m, row, values, count):
    for i in range(count):
        store(m, row + i, broadcast(np.float64(values[i])))


@device
def _put_lanes(m, row, values, count):
    store(m, row, values)


@device
def _put_number(m, row, values, count):
    store(m, row, broadcast(np.float64(values)))


@variants(put_all)
def _choose_put(m: Any, row: Any, values: Any, count: Any) -> Callable | None:
    if isinstance(values, types.BaseTuple):
        wanted = getattr(count, "literal_value", None)
        return _put_tuple if len(values) == wanted else None
    if isinstance(values, types.Array):
        return _put_array if values.ndim == 1 else None
    return _put_lanes if isinstance(values, LaneType) else _put_number


def as_given(value: Any, coords: Any, params: Any) -> Any:
    """The lanes if lanes were given, else the number in the first lane."""
    given = (coords if isinstance(coords, tuple) else (coords,)) + (
        params if isinstance(params, tuple) else ()
    )
    return (_as_lanes if any(map(np.ndim, given)) else _as_number)(value, coords, params)


@device
def _as_lanes(value, coords, params):
    return value


@device
def _as_number(value, coords, params):
    return first_lane(value)


def _has_lanes(kind: Any) -> bool:
    each = kind if isinstance(kind, types.BaseTuple) else (kind,)
    return any(isinstance(k, LaneType) for k in each)


@variants(as_given)
def _choose_given(value: Any, coords: Any, params: Any) -> Callable:
    return _as_lanes if _has_lanes(coords) or _has_lanes(params) else _as_number


@cache
def make_evaluate(model: str, ndim: int, pixel: str = "sample") -> Callable:
    """Make the value of a model for compiled code: that of `fastgauss.evaluate`, to the bit.

    Parameters
    ----------
    model : {"symmetric", "elliptic", "rotated"}
        "rotated" has at most two dimensions; in one dimension all three are the same.
    ndim : {1, 2, 3}
    pixel : {"sample", "integrate"}
        The value at the point or its mean over a unit pixel around it.

    Returns
    -------
    callable
        ``evaluate(coords, params)`` with coords ``x`` or ``(x,)``, ``(x, y)``, ``(x, y, z)`` and
        params a tuple of P or an array (P,), in the model's order. Numbers of any real type give
        a float64, one lane value or more (see ``lanes``) gives lanes.

    Raises
    ------
    ValueError
        Raised by the factory; the function that it returns never raises.

    Notes
    -----
    NaN gives NaN, and so does a sigma that is not positive. An array of params that is shorter than
    P is read beyond its end. The function is thread-safe, allocates nothing and is inlined in the
    caller. A sampled point takes 9 ns with numbers and 1.1 ns with lanes, an integrated one 40 to
    200 ns and 10 to 25 ns: numbers use the same registers. If params is a tuple, the compiler moves
    roots and angles, which depend only on params, out of the caller's loop; with an array it
    cannot, because the loop might write to the array.

    Examples
    --------
    >>> from numba import njit
    >>> from fastgauss.kernels import make_evaluate
    >>> spot = make_evaluate("symmetric", 2)
    >>> @njit
    ... def highest(params, x, y):
    ...     best = -1e300
    ...     for i in range(len(params)):
    ...         best = max(best, spot((x, y), params[i]))
    ...     return best
    >>> float(highest(np.array([[8.0, 1.0, 1.0, 2.0, 0.5], [9.0, 4.0, 4.0, 1.0, 0.5]]), 1.0, 1.0))
    8.5
    """
    shape = model_named(model, ndim, pixel).profile(pixel == "integrate", False)
    prepare, profile = shape.prepare, shape.profile
    size = max(shape.order) + 2
    own = ndim + size
    rows = own + shape.rows

    @entry
    def evaluate(coords, params):
        m = stack_rows(rows)
        put_all(m, 0, coords, ndim)
        put_all(m, ndim, params, size)
        prepare(m, ndim, 1, own)
        f = profile(m, 0, 1, own, rows)
        return as_given(load(m, own) * f + load(m, own + 1), coords, params)

    return evaluate


@cache
def make_jacobian(model: str, ndim: int, pixel: str = "sample") -> Callable:
    """Make the value and derivatives of a model for compiled code, as in `fastgauss.jacobian`.

    Parameters
    ----------
    model, ndim, pixel
        As in `make_evaluate`.

    Returns
    -------
    callable
        ``jacobian(coords, params)`` returns ``(value, slopes)``, slopes the tuple of the P
        derivatives by the parameters. It may be given to `make_curve_fit` where ndim is 1.

    Raises
    ------
    ValueError
        Raised by the factory; the function that it returns never raises.

    Notes
    -----
    NaN, and code that is moved out of loops, as in `make_evaluate`. The function is thread-safe,
    allocates nothing and is inlined.

    Examples
    --------
    >>> from numba import njit
    >>> from fastgauss.kernels import make_jacobian
    >>> profile = make_jacobian("symmetric", 1)
    >>> @njit
    ... def at(x, params):
    ...     return profile(x, params)
    >>> value, slopes = at(2.0, (10.0, 2.0, 1.5, 1.0))
    >>> float(value), [float(slope) for slope in slopes]
    (11.0, [1.0, 0.0, 0.0, 1.0])
    """
    shape = model_named(model, ndim, pixel).profile(pixel == "integrate", True)
    prepare, profile = shape.prepare, shape.profile
    put = points.make_put(shape.order, True)
    size = max(shape.order) + 2
    own = ndim + size
    terms = own + shape.rows
    target = terms + len(shape.order)
    rows = target + size

    @entry
    def jacobian(coords, params):
        m = stack_rows(rows)
        put_all(m, 0, coords, ndim)
        put_all(m, ndim, params, size)
        prepare(m, ndim, 1, own)
        f = profile(m, 0, 1, own, terms)
        put(m, f, own, terms, target, 1)
        value = as_given(load(m, own) * f + load(m, own + 1), coords, params)
        return value, as_given(load_all(m, target, size), coords, params)

    return jacobian


@cache
def make_image(model: str, ndim: int, pixel: str = "sample") -> Callable:
    """Make a function for compiled code that draws one spot on an array, as `fastgauss.image`.

    Parameters
    ----------
    model, ndim, pixel
        As in `make_evaluate`.

    Returns
    -------
    callable
        ``image(params, out)`` with params (P,) float64 and ``out`` a C-ordered float64 array
        ``[x]``, ``[y, x]`` or ``[z, y, x]``, which is overwritten. It may be called from Python.

    Raises
    ------
    ValueError
        Raised by the factory; the function that it returns never raises.

    Notes
    -----
    NaN gives NaN; params that are too short are read beyond their end. The function is thread-safe
    if no two threads share ``out``. Each call allocates one table.

    Examples
    --------
    >>> from numba import njit
    >>> from fastgauss.kernels import make_image
    >>> draw = make_image("symmetric", 2)
    >>> @njit
    ... def flux(params):
    ...     out = np.empty((31, 31))
    ...     draw(params, out)
    ...     return out.sum()
    >>> round(float(flux(np.array([1.0, 15.0, 15.0, 2.0, 0.0]))), 6)
    25.132741
    """
    fill = points.make_image(model_named(model, ndim, pixel), pixel == "integrate", inner_kernel)

    @kernel
    def image(params, out) -> None:
        lengths = three(out.shape, 1)
        fill(params.reshape(1, -1), lengths, out.reshape(-1), 0, lengths[0] * lengths[1])

    return image
