"""Arguments of one to three axes, as the caller's compiled code gives them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .._compile import device, variants


def three(values: Any, fill: Any) -> tuple[Any, Any, Any]:
    """The entries for one to three axes as entries for three axes."""
    z, y, x = (_three_of_one, _three_of_two, _three_of_three)[len(values) - 1](values, fill)
    return z, y, x


@device
def _three_of_one(values, fill):
    return fill, fill, values[0]


@device
def _three_of_two(values, fill):
    return fill, values[0], values[1]


@device
def _three_of_three(values, fill):
    return values[0], values[1], values[2]


@variants(three)
def _choose_three(values: Any, fill: Any) -> Callable:
    return (_three_of_one, _three_of_two, _three_of_three)[len(values) - 1]


FAR = 1e15  # beyond it neighbouring nodes are the same floating-point number


def check(name: str, value: Any, allowed: Any) -> None:
    if value not in allowed:
        raise ValueError(f"{name} must be one of {tuple(allowed)}, got {value!r}")


def periods(periodic: bool | tuple[bool, ...], ndim: int) -> tuple[bool, bool, bool]:
    """Whether each of three axes is periodic."""
    check("ndim", ndim, (1, 2, 3))
    given = periodic if isinstance(periodic, tuple) else (bool(periodic),) * ndim
    if len(given) != ndim:
        raise ValueError(f"periodic must be a bool or a tuple of {ndim}, got {periodic!r}")
    z, y, x = three(given, False)
    return bool(z), bool(y), bool(x)
