"""Options of the fits between rounds."""

from __future__ import annotations

from typing import Any

import numpy as np


def refuse_rows(fit: dict[str, Any]) -> None:
    """Options by spot need to know the spots."""
    if fit["guess"] is not None:
        raise ValueError("guess needs positions with joint=True")
    for name in ("fixed", "bounds"):
        for key, value in (fit[name] if isinstance(fit[name], dict) else {}).items():
            pair = name == "bounds" and isinstance(value, (tuple, list)) and len(value) == 2
            ends = value if pair else [value]
            if any(np.ndim(end) for end in ends):
                raise ValueError(f"{name}[{key!r}] must be numbers without positions")


def of_rows(values: dict[str, Any] | None, rows: np.ndarray, pairs: bool) -> dict[str, Any] | None:
    """Fixed values or bounds of these spots."""

    def part(value: Any) -> Any:
        return np.asarray(value)[rows] if np.ndim(value) else value

    if values is None:
        return None
    return {k: tuple(map(part, v)) if pairs else part(v) for k, v in values.items()}
