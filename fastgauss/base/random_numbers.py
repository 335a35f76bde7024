"""Random number generators, from the seed that a user gives."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import wording


def generator(seed: Any) -> np.random.Generator:
    """The generator that ``numpy.random.default_rng`` makes of a seed."""
    try:
        return np.random.default_rng(seed)
    except (TypeError, ValueError) as error:
        raise type(error)(
            "seed must be an integer of 0 or more, or a numpy.random.Generator, "
            f"got {wording.shown(seed)}"
        ) from None
