"""Arrays of other libraries: dask's, which are computed when asked for, and xarray's, with names.

A public function computes with numpy. It first asks whether an array is ``foreign``: then a
``Way`` applies the function to the blocks of dask's array, or to what xarray's holds, and the
result is of the same kind. Neither library is imported to know its arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache, wraps
from inspect import signature
from typing import Any, NamedTuple

import numpy as np

from . import check, named_axes

_PLAIN = frozenset({np.ndarray, list, float, int, np.float64, type(None)})
_LIBRARIES = ("xarray", "dask")

Function = Callable[..., Any]
Arguments = dict[str, Any]


@lru_cache(maxsize=256)
def _library_of(kind: Any) -> str:
    """Which of the libraries has made a type; "" for neither."""
    roots = {base.__module__.partition(".")[0] for base in kind.__mro__}
    return next((name for name in _LIBRARIES if name in roots), "")


def library_of(value: Any) -> str:
    """Which library's array a value is, or a tuple of values holds; "" for numpy's and others."""
    kind: Any = type(value)
    if kind in _PLAIN:
        return ""
    if kind is tuple:
        return max(map(library_of, value), default="")
    return _library_of(kind)


def foreign(*values: Any) -> bool:
    """Whether one of the values, or of those in a tuple, is of another library.

    Plain loops: every call of a public function goes this way.
    """
    for value in values:
        kind: Any = type(value)
        if kind is tuple:
            for item in value:
                if type(item) not in _PLAIN and _library_of(type(item)):  # type: ignore[arg-type]
                    return True
        elif kind not in _PLAIN and _library_of(kind):
            return True
    return False


class Way(NamedTuple):
    """How a function is applied to arrays of other libraries."""

    dask: Callable[[Function, Arguments], Any]
    xarray: Callable[[Function, Arguments], Any]

    def __call__(self, function: Function, arguments: Arguments) -> Any:
        """Call a function with its arguments by name, some of which are foreign."""
        out = arguments.get("out")
        if out is not None and not isinstance(out, type | np.dtype):
            raise TypeError("out must be a dtype, or left out, where arrays are dask's or xarray's")
        library = max(map(library_of, arguments.values()))  # xarray's, which may hold dask's, first
        return getattr(self, library)(function, arguments)


def _is_named(value: Any) -> bool:
    """Whether a value is a DataArray; other things of xarray's are refused."""
    if library_of(value) != "xarray":
        return False
    if type(value).__name__ != "DataArray":
        raise TypeError(f"arrays of xarray's must be DataArrays, got {type(value).__name__}")
    return True


# -- functions of points -----------------------------------------------------------------------


class _Points(NamedTuple):
    """Arguments that broadcast against each other but for their core dimensions, the last."""

    arrays: list[Any]
    cores: list[tuple[str, ...]]
    rest: Arguments
    several: int  # arrays in the place of a tuple; -1 for one that is none

    def again(self, function: Function, arrays: Sequence[Any], **others: Any) -> Any:
        """The function of other arrays."""
        first = arrays[: self.several] if self.several >= 0 else None
        given = [tuple(first), *arrays[self.several :]] if first is not None else arrays
        return function(*given, **{**self.rest, **others})


def _points(inputs: dict[str, tuple[str, ...]], arguments: Arguments) -> _Points:
    arrays: list[Any] = []
    cores: list[tuple[str, ...]] = []
    several = -1
    for name, core in inputs.items():
        value = arguments[name]
        if isinstance(value, tuple) and not core:
            several = len(value)
            arrays += value
            cores += [core] * len(value)
        else:
            arrays.append(value)
            cores.append(core)
    rest = {name: value for name, value in arguments.items() if name not in inputs}
    return _Points(arrays, cores, rest, several)


def of_points(
    inputs: dict[str, tuple[str, ...]],
    outputs: Callable[[Arguments], dict[str, int | None]],
) -> Way:
    """The way of a function whose arguments broadcast, but for core dimensions.

    ``outputs`` tells the core dimensions of the result, with their lengths if they are new.
    """

    def by_dask(function: Function, arguments: Arguments) -> Any:
        import dask.array as da

        own = _points(inputs, arguments)
        core = outputs(arguments)
        arrays = [da.asarray(array) for array in own.arrays]
        for k, (array, names) in enumerate(zip(arrays, own.cores, strict=True)):
            if array.ndim < len(names):
                raise ValueError(f"params must have a last axis, got shape {array.shape}")
            whole = range(array.ndim - len(names), array.ndim)
            arrays[k] = array.rechunk({axis: -1 for axis in whole})
        outer = [a.ndim - len(c) for a, c in zip(arrays, own.cores, strict=True)]
        # says now what is wrong
        own.again(
            function, [np.ones((0, *a.shape[n:])) for a, n in zip(arrays, outer, strict=True)]
        )
        threads = own.rest.get("threads") or 1  # dask has several blocks in hand
        loops = [f"axis {k}" for k in range(max(outer), 0, -1)]  # counted from the last
        sources: list[Any] = []
        for array, n, names in zip(arrays, outer, own.cores, strict=True):
            sources += [array, (*loops[len(loops) - n :], *names)]
        return da.blockwise(
            lambda *blocks: np.asarray(own.again(function, blocks, threads=threads)),
            (*loops, *core),
            *sources,
            new_axes={name: n for name, n in core.items() if n is not None},
            concatenate=True,
            dtype=np.float64,
            meta=np.empty((0,) * (len(loops) + len(core))),
        )

    def by_xarray(function: Function, arguments: Arguments) -> Any:
        import xarray as xr

        own = _points(inputs, arguments)
        named = []
        for array, core in zip(own.arrays, own.cores, strict=True):
            if _is_named(array):
                named.append(list(array.dims[array.ndim - len(core) :]))
            elif np.ndim(array) == len(core):
                named.append(list(core))
            else:
                raise TypeError(
                    f"arrays beside a DataArray must be DataArrays or have {len(core)} dimensions, "
                    f"got shape {np.shape(array)}"
                )
        known = {
            word: name
            for core, names in zip(own.cores, named, strict=True)
            for word, name in zip(core, names, strict=True)
        }
        return xr.apply_ufunc(
            lambda *arrays: own.again(function, arrays),
            *own.arrays,
            input_core_dims=named,
            output_core_dims=[[known.get(name, name) for name in outputs(arguments)]],
            dask="allowed",
        )

    return Way(by_dask, by_xarray)


# -- functions of an image ---------------------------------------------------------------------


def of_image(dask: Callable[[Function, Arguments], Any]) -> Way:
    """The way of a function of ``image`` and ``mask`` whose result has the image's shape.

    Axes with names are in the order z, y, x while the function runs. An option ``axis`` or ``axes``
    counts them as they were given.
    """

    def by_xarray(function: Function, arguments: Arguments) -> Any:
        given, mask = arguments["image"], arguments.get("mask")
        image, mask = named_axes.lay_out("image", given, mask=mask)
        plain = {**arguments, "image": image}
        if mask is not None:
            plain["mask"] = mask
        for option in ("axis", "axes"):
            if image is not given and plain.get(option) is not None:
                plain[option] = _numbers_in(image.dims, given.dims, option, plain[option])
        result = function(
            **{name: value.data if _is_named(value) else value for name, value in plain.items()}
        )
        if not _is_named(image):
            return result
        return image.copy(data=result).transpose(*given.dims)

    return Way(dask, by_xarray)


def keeping_names(function: Function) -> Function:
    """A function of an image that gives a DataArray for a DataArray."""
    way, places = of_image(function), signature(function)

    @wraps(function)
    def call(image: Any, *options: Any, **others: Any) -> Any:
        if library_of(image) == "xarray":
            return way(function, dict(places.bind(image, *options, **others).arguments))
        return function(image, *options, **others)

    return call


def _numbers_in(order: Sequence[Any], dims: Sequence[Any], option: str, axes: Any) -> Any:
    """Numbers of axes of ``dims``, as numbers of the same axes in another order."""
    items = check.entries(option, axes)
    numbers = [
        check.integer(option, axis, at_least=-len(dims), at_most=len(dims) - 1)
        for axis in ([axes] if items is None else items)
    ]
    found = [list(order).index(dims[number]) for number in numbers]
    return found[0] if items is None else found


def by_rows(function: Function, arguments: Arguments) -> Any:
    """A function of ``image`` and ``mask`` to which only the rows along ``axis`` matter."""
    import dask.array as da

    rest = dict(arguments)
    image = da.asarray(rest.pop("image"))
    mask = rest.pop("mask")
    rest["threads"] = rest["threads"] or 1
    axis = check.integer("axis", rest["axis"])
    empty = function(image=np.empty((0,) * image.ndim, image.dtype), mask=None, **rest)
    image = image.rechunk({axis: -1})
    if mask is None:
        return da.map_blocks(
            lambda part: function(image=part, mask=None, **rest), image, dtype=empty.dtype
        )
    missing = da.asarray(mask)
    if missing.shape != image.shape:
        raise ValueError(f"mask must have shape {image.shape}, got {missing.shape}")
    return da.map_blocks(
        lambda part, gap: function(image=part, mask=gap, **rest),
        image, missing.rechunk(image.chunks), dtype=empty.dtype,
    )  # fmt: skip
