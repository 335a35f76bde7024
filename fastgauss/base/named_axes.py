"""Axes with names, as arrays of xarray have them: those of space in the order z, y, x."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

SPACE = ("z", "y", "x")
_TIMES = frozenset({"t", "time", "frame", "frames", "c", "channel", "band", "rgb"})


def axes_of(value: Any) -> tuple[str, ...] | None:
    """The names of the axes, or None for an array without names."""
    if isinstance(value, np.ndarray):
        return None
    named = all(hasattr(value, attribute) for attribute in ("dims", "coords", "data"))
    return tuple(map(str, value.dims)) if named else None


def refuse_axes(name: str, value: Any) -> None:
    """ValueError if the names of an array's axes say that it is no image and no volume."""
    dims = axes_of(value) or ()
    others = [word for word in dims if word.lower() in _TIMES]
    if others and len(dims) > 2:
        raise ValueError(
            f"{name} must be one image (y, x) or volume (z, y, x), got axes {', '.join(dims)}; "
            f"give it once for each {others[0]}"
        )


def in_order(name: str, value: Any) -> Any:
    """An array whose axes x, y and z have the order z, y, x; what has no such names as it is.

    One other axis beside two or three of these, such as that of time or of regions of interest,
    comes first; several others stay in their places. Nothing is copied. Raises ValueError for two
    axes with the same name, whether the letter is small or large.
    """
    dims, space, others = _sorted_out(name, value)
    space.sort(key=str.lower, reverse=True)
    if len(others) == 1 and len(space) > 1:
        return _transposed(value, dims, [*others, *space])
    names = iter(space)
    return _transposed(value, dims, [word if word in others else next(names) for word in dims])


def channels_last(name: str, value: Any) -> Any:
    """As ``in_order``, but one other axis, that of channels, comes last."""
    dims, space, others = _sorted_out(name, value)
    if len(others) == 1 and len(space) > 1:
        return _transposed(value, dims, [*sorted(space, key=str.lower, reverse=True), *others])
    return in_order(name, value)


def transposed_back(result: np.ndarray, arranged: Any, given: Any) -> np.ndarray:
    """An array that lies as ``arranged`` does, with its axes as those of ``given`` before it."""
    if arranged is given:
        return result
    order = [arranged.dims.index(word) for word in given.dims]
    return result.transpose(*order, *range(len(order), result.ndim))


def frames_first(name: str, value: Any) -> Any:
    """An array of frames whose first axis counts the frames; the frames stay as they lie.

    That axis is the only one that is not of space, or z if all three are of space.
    """
    dims, space, others = _sorted_out(name, value)
    if not others and len(space) == len(SPACE):
        first = [max(space, key=str.lower)]
    else:
        first = others if len(others) == 1 and len(space) > 1 else []
    return _transposed(value, dims, [*first, *(word for word in dims if word not in first)])


def is_of_space(value: Any) -> bool:
    """Whether all axes of an array are named x, y or z."""
    return all(word.lower() in SPACE for word in axes_of(value) or ("",))


def _sorted_out(name: str, value: Any) -> tuple[tuple[str, ...], list[str], list[str]]:
    """The names of all axes, of those of space, and of the others."""
    dims = axes_of(value) or ()
    space = [word for word in dims if word.lower() in SPACE]
    if len({word.lower() for word in space}) < len(space):
        raise ValueError(
            f"{name} must have at most one axis of each name z, y, x, got axes {', '.join(dims)}"
        )
    return dims, space, [word for word in dims if word not in space]


def _transposed(value: Any, dims: tuple[str, ...], order: list[str]) -> Any:
    """The array with its axes in this order; itself if they are."""
    if tuple(order) == dims:
        return value
    return value.transpose(*(value.dims[dims.index(word)] for word in order))


def lay_out(name: str, image: Any, **maps: Any) -> tuple[Any, ...]:
    """An image and the maps of its pixels, all with their axes in the order of `in_order`.

    Raises ValueError for a map without names beside an image that is turned: its order would be
    a guess.
    """
    return _all_laid_out(in_order, name, image, maps)


def lay_out_channels(name: str, image: Any, **maps: Any) -> tuple[Any, ...]:
    """As ``lay_out``, with the axis of channels last."""
    return _all_laid_out(channels_last, name, image, maps)


def _all_laid_out(
    arrange: Callable[[str, Any], Any], name: str, image: Any, maps: dict[str, Any]
) -> tuple[Any, ...]:
    arranged = arrange(name, image)
    if arranged is not image:
        got = ", ".join(axes_of(image) or ())
        side = "after" if arrange is in_order else "before"
        for word, given in maps.items():
            if given is not None and axes_of(given) is None and np.ndim(given) > 1:
                raise ValueError(
                    f"{word} must have axes with names where {name} has them in another order than "
                    f"z, y, x {side} all others, got {name} with axes {got}; transpose {name}, or "
                    f"name the axes of {word}"
                )
    return arranged, *(
        transposed_like(arrange(word, given), arranged) for word, given in maps.items()
    )


def transposed_like(given: Any, image: Any) -> Any:
    """A map of pixels with the axes of its image, if both have the same names in another order."""
    dims, order = axes_of(given), axes_of(image)
    if dims is None or order is None or len(dims) != len(order) or set(dims) != set(order):
        return given
    return _transposed(given, dims, list(order))
