"""Errors of pixels: the option ``error``, one standard deviation, beside ``weights``."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import check, wrappers


def error_weights(
    weights: Any, error: Any, method: Any, name: str, image: Any, several: bool = False
) -> Any:
    """The option ``weights``, or the weights of the option ``error``, one standard deviation.

    ``error`` has the shape of the image; with ``several`` images also that of one, or of a number
    for each.
    """
    if error is None:
        return weights
    if weights is not None:
        raise ValueError("error must be None where weights are given, which are 1 / error**2")
    if method == "mle":
        raise ValueError(
            "error must be None with method='mle', which knows the noise of photons; give the "
            "camera's own noise as variance="
        )
    array = np.asarray(check.real_array("error", error), np.float64)
    shape = wrappers.open_array(name, image).values.shape
    allowed = [shape, shape[1:], shape[:1]] if several and shape else [shape]
    if array.shape not in allowed:
        raise ValueError(
            f"error must have shape {' or '.join(map(str, allowed[:2]))}, got {array.shape}"
        )
    if not (array > 0).all():
        raise ValueError(f"error must be positive, got {array[~(array > 0)].flat[0]}")
    with np.errstate(over="ignore", under="ignore"):
        return array**-2.0
