"""Axes with names, as arrays of xarray have them: those of space in the order z, y, x."""

from __future__ import annotations

from typing import Any

import numpy as np

_SPACE = ("z", "y", "x")
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


def in_order(value: Any) -> Any:
    """An array whose axes x, y and z have the order z, y, x; what has no such names as it is.

    The other axes, such as that of time, stay in their places. Nothing is copied.
    """
    dims = axes_of(value) or ()
    space = [word for word in dims if word.lower() in _SPACE]
    ordered = sorted(space, key=str.lower, reverse=True)
    if space == ordered:
        return value
    names = iter(ordered)
    turned = [next(names) if word in space else word for word in dims]
    return value.transpose(*turned)


def lay_out(name: str, image: Any, **maps: Any) -> tuple[Any, ...]:
    """An image and the maps of its pixels, all with their axes in the order z, y, x.

    Raises ValueError for a map without names beside an image that is turned: its order would be
    a guess.
    """
    turned = in_order(image)
    if turned is not image:
        got = ", ".join(axes_of(image) or ())
        for word, given in maps.items():
            if given is not None and axes_of(given) is None and np.ndim(given) > 1:
                raise ValueError(
                    f"{word} must have axes with names where {name} has them in another order than "
                    f"z, y, x, got {name} with axes {got}; transpose {name}, or name the axes of "
                    f"{word}"
                )
    return turned, *(in_order(given) for given in maps.values())
