"""Maps of pixels: their shapes, and ``error`` (one standard deviation) in place of ``weights``."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import check, wrappers
from .named_axes import lay_out


def check_map(
    name: str, shape: tuple[int, ...], roi: tuple[int, ...], count: int | None, numbers: bool
) -> None:
    """Raise unless a map has the shape of one ROI, or of ``count`` ROIs; None: of an image.

    With ``numbers`` one number for each ROI, (n,), is allowed, but not for profiles, whose points
    can be as many as the profiles.
    """
    allowed = [roi] if count is None else [roi, (count, *roi)]
    if numbers and count is not None and len(roi) > 1:
        allowed.append((count,))
    if shape not in allowed:
        shapes = " or ".join(map(str, allowed))
        raise ValueError(f"{name} must have shape {shapes}, got {shape}")


def error_weights(
    weights: Any, error: Any, method: Any, name: str, image: Any, several: bool = False
) -> Any:
    """The option ``weights``, or the weights of the option ``error``, one standard deviation.

    An error is a map or one number for all pixels.
    ``several``: the first axis of the image counts ROIs.
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
    roi, count = (shape[1:], shape[0]) if several and shape else (shape, None)
    if not array.ndim:
        array = np.broadcast_to(array, roi)  # the same of all pixels
    check_map("error", array.shape, roi, count, numbers=True)
    if not (array > 0).all():
        raise ValueError(f"error must be positive, got {array[~(array > 0)].flat[0]}")
    with np.errstate(over="ignore", under="ignore"):
        return array**-2.0


def laid_out(
    name: str, image: Any, weights: Any, error: Any, variance: Any, mask: Any, method: Any,
    several: bool = False,
) -> tuple[Any, Any, Any, Any]:  # fmt: skip
    """The image, its weights (or those of the option ``error``), variances and mask.

    Where their axes have names, they come in the order z, y, x.
    """
    image, weights, error, variance, mask = lay_out(
        name, image, weights=weights, error=error, variance=variance, mask=mask
    )
    return image, error_weights(weights, error, method, name, image, several), variance, mask
