"""Values of options that are more than one word or number."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any


def _read(text: str, kind: Callable[[str], Any], whole: str) -> Any:
    """A number; ``whole`` is all that was given, for the message."""
    try:
        return kind(text)
    except ValueError:
        what = "an integer" if kind is int else "a number"
        raise argparse.ArgumentTypeError(f"{text.strip()!r} in {whole!r} is not {what}") from None


def _numbers(text: str, kind: Callable[[str], Any]) -> Any:
    """One number, or a tuple of those between commas."""
    values = tuple(_read(part, kind, text) for part in text.split(","))
    return values[0] if len(values) == 1 else values


class Repeated(argparse.Action):
    """An option that may be repeated: its value if given once, else a list, a tuple for each."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any,
        option_string: str | None = None,
    ) -> None:  # fmt: skip
        """Keep the value, beside those that were given before."""
        before = getattr(namespace, self.dest)
        if before is self.default:
            setattr(namespace, self.dest, values)
            return
        rows = [*(before if isinstance(before, list) else [_row(before)]), _row(values)]
        if len(rows[0]) != len(rows[-1]):
            raise argparse.ArgumentError(
                self, f"give as many numbers each time, got {len(rows[0])} and {len(rows[-1])}"
            )
        setattr(namespace, self.dest, rows)


def _row(values: Any) -> tuple[float, ...]:
    """A number or a tuple of numbers as a tuple."""
    return values if isinstance(values, tuple) else (values,)


def _range(part: str, kind: Callable[[str], Any], whole: str) -> list[Any]:
    """Both ends of "LOW:HIGH"; an end that is left out is None."""
    ends = part.split(":")
    if len(ends) != 2:
        raise argparse.ArgumentTypeError(f"a range is LOW:HIGH, got {part!r} in {whole!r}")
    return [_read(end, kind, whole) if end.strip() else None for end in ends]


def lengths(text: str) -> Any:
    """One length in pixels, or one for each axis: "1.3" or "1.8,1.3,1.3"."""
    return _numbers(text, float)


def sides(text: str) -> Any:
    """One number of pixels, or one for each axis: "11" or "9,11,11"."""
    return _numbers(text, int)


def slices(text: str) -> tuple[slice, ...]:
    """Ranges of pixels, one for each axis: "100:200,50:150"."""
    return tuple(slice(*_range(part, int, text)) for part in text.split(","))


def names(text: str) -> tuple[str, ...]:
    """Names between commas: "sigma" or "sigma_x,sigma_y"."""
    return tuple(part.strip() for part in text.split(","))


def fixed(text: str) -> dict[str, float]:
    """Parameters and their values: "sigma=1.3,offset=10"."""
    return {n: _read(value, float, text) for n, value in _pairs(text, "sigma=1.3,offset=10")}


def bounds(text: str) -> dict[str, tuple[float | None, ...]]:
    """Parameters and their ranges: "sigma=0.8:3,offset=0:"."""
    pairs = _pairs(text, "sigma=0.8:3,offset=0:")
    return {name: tuple(_range(value, float, text)) for name, value in pairs}


def _pairs(text: str, example: str) -> list[tuple[str, str]]:
    pairs = [part.partition("=") for part in text.split(",")]
    if not all(equals for _, equals, _ in pairs):
        raise argparse.ArgumentTypeError(f"write it as {example}, got {text!r}")
    return [(name.strip(), value) for name, _, value in pairs]
