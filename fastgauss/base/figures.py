"""Parts of figures that all pictures share: figures without pyplot, grey scales, colours."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import check
from .optional import require

FITTED, FAILED = "#ff9f1c", "#2ec4ff"
MISSING = "#d9c8a0"  # colour of missing values
DIVERGING = "RdBu_r"  # for residuals, which lie around 0
_STRETCH = (0.5, 99.7)  # percentiles of the values shown as black and as white
_SAMPLE = 1e6  # pixels from which the percentiles are taken


def new_figure(width: float, height: float, layout: str = "compressed") -> Any:
    """A figure of this size in inches, not registered with pyplot."""
    figure = require("matplotlib.figure", "plotting", "plot")
    return figure.Figure((width, height), layout=layout)


def shown_image(image: Any) -> np.ndarray:
    """Check the argument ``image``: two axes and at least one finite pixel."""
    require("matplotlib.figure", "plotting", "plot")
    image = check.filled("image", image, 2)
    if not np.isfinite(image).any():
        raise ValueError(f"image must hold a finite pixel, got none in shape {image.shape}")
    return image


def stretch(*images: np.ndarray) -> tuple[float, float]:
    """The values shown as black and white: percentiles of a sample of the finite pixels."""
    parts = []
    for image in images:
        step = max(1, int((image.size / _SAMPLE) ** (1.0 / image.ndim)))
        sample = image[(slice(None, None, step),) * image.ndim].astype(np.float64)
        finite = sample[np.isfinite(sample)]
        # all sampled pixels may be missing although others are finite
        parts.append(finite if finite.size else image[np.isfinite(image)].astype(np.float64))
    values = np.concatenate(parts)
    if not values.size:
        return 0.0, 1.0
    low, high = np.percentile(values, _STRETCH)
    return float(low), float(high) if high > low else float(low) + 1.0


def style(low: float, high: float, cmap: str = "gray") -> dict[str, Any]:
    """The matplotlib options with which an image is shown."""
    return {"cmap": cmap, "vmin": low, "vmax": high, "interpolation": "nearest"}


def around_zero(half: float) -> dict[str, Any]:
    """The matplotlib options of a residual between ``-half`` and ``half``."""
    half = half if np.isfinite(half) and half > 0 else 1.0
    return style(-half, half, DIVERGING)


def frame_image(axes: Any, shape: tuple[int, ...]) -> None:
    """Show all pixels of the image, row 0 at the top, and nothing beyond them."""
    axes.set(xlim=(-0.5, shape[1] - 0.5), ylim=(shape[0] - 0.5, -0.5))


def whole_ticks(axes: Any, shape: tuple[int, ...]) -> None:
    """At most three ticks, at whole pixels."""
    for axis, n in ((axes.yaxis, shape[0]), (axes.xaxis, shape[1])):
        axis.set_ticks(np.unique(np.rint(np.linspace(0, max(n - 1, 0), 3)).astype(int)))
