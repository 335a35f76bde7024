"""Concatenation: the rows of several results as one result."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..base import check, wording
from .background import Background
from .rows import Rows, join

if TYPE_CHECKING:
    from .fit_result import FitResult

_SAME = ("model", "pixel", "length", "absolute", "pixel_size")


def concatenate(results: Sequence[FitResult], frames: Any) -> tuple[Rows, Background | None]:
    """The rows and the background of `FitResult.concatenate`."""
    if not results:
        raise ValueError("results must hold at least one FitResult, got none")
    for result in results:
        for name in _SAME:
            first, own = (getattr(each, name) for each in (results[0], result))
            if first != own:
                raise ValueError(f"results must have one {name}, got {first} and {own}")

    numbers = _frames(results, frames)
    rows = join([result.rows for result in results])._replace(frames=numbers)
    if any(result.rows.flux_errors is not None for result in results):
        rows = rows._replace(flux_errors=np.concatenate([each.flux_error for each in results]))
    first, *others = (result.background for result in results)
    return rows, first if all(_equal(first, other) for other in others) else None


def _frames(results: Sequence[FitResult], frames: Any) -> np.ndarray | None:
    """The frame of each spot."""
    if frames is not None:
        numbers = check.integer_array("frames", frames, 1)
        if len(numbers) != len(results):
            raise ValueError(
                f"frames must have {wording.plural(len(results), 'number')}, got {len(numbers)}"
            )
        return np.repeat(numbers.astype(np.intp), [len(result) for result in results])
    known = [result.frames for result in results if result.frames is not None]
    if known and len(known) < len(results):
        raise ValueError("results must all have frames, or none, unless frames are given")
    return np.concatenate(known) if known else None


def _equal(one: Background | None, other: Background | None) -> bool:
    if one is None or other is None:
        return one is other
    return all(
        a is b or (a is not None and b is not None and np.array_equal(a, b, equal_nan=True))
        for a, b in zip(one, other, strict=True)
    )
