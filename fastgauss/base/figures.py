"""Parts of figures that all pictures share: figures without pyplot, grey scales, colours."""

from __future__ import annotations

import io
from functools import cache, partial
from typing import Any

import numpy as np

from . import check, image_data, wording
from .optional import require

FITTED, FAILED = "#ff9f1c", "#2ec4ff"
MISSING = "#d9c8a0"  # colour of missing values
DIVERGING = "RdBu_r"  # for residuals, which lie around 0
_STRETCH = (0.5, 99.7)  # percentiles of the values shown as black and as white
_SAMPLE = 1e6  # pixels from which the percentiles are taken
_DPI = 100  # of a picture in a notebook
_LINEAR = 5.0  # noise levels from the median within which a grey scale is nearly linear
_LEAST_LINEAR = 0.02  # of the range of the grey scale
NORMS = ("asinh", "linear")


@cache
def _shown_figure() -> type:
    """The class of figures that a notebook shows without pyplot."""
    figure = require("matplotlib.figure", "plotting", "plot")

    class ShownFigure(figure.Figure):  # type: ignore[name-defined]
        """A figure that notebooks show as a picture."""

        def _repr_png_(self) -> bytes:
            return png(self)

    ShownFigure.__qualname__ = "ShownFigure"  # as which pickle finds it in this file
    return ShownFigure


def __getattr__(name: str) -> Any:
    if name == "ShownFigure":
        return _shown_figure()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def new_figure(width: float, height: float, layout: str = "compressed") -> Any:
    """A figure of this size in inches, not registered with pyplot, which notebooks show."""
    require("matplotlib.figure", "plotting", "plot")
    return _shown_figure()((width, height), layout=layout)


def png(figure: Any) -> bytes:
    """A figure as a picture."""
    figure.draw_without_rendering()  # so that the layout knows how wide labels are
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=_DPI)
    return file.getvalue()


def shown_image(image: Any) -> np.ndarray:
    """Check the argument ``image``: two axes and at least one finite pixel."""
    require("matplotlib.figure", "plotting", "plot")
    image = image_data.filled("image", image, 2)
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


def grey_scale(image: np.ndarray, norm: Any) -> dict[str, Any]:
    """The matplotlib options of an image by ``norm``: "asinh", "linear", or one of matplotlib."""
    colors = require("matplotlib.colors", "plotting", "plot")
    if isinstance(norm, colors.Normalize):
        return {"cmap": "gray", "norm": norm, "interpolation": "nearest"}
    if not isinstance(norm, str):
        expected = "a norm of matplotlib or one of " + ", ".join(map(repr, NORMS))
        raise TypeError(f"norm must be {expected}, got {wording.shown(norm)}")
    low, high = stretch(image)
    if check.choice("norm", norm, NORMS) == "linear":
        return style(low, high)
    finite = image[np.isfinite(image)].astype(np.float64)
    finite = finite[:: max(1, int(finite.size / _SAMPLE))]
    middle = float(np.median(finite)) if finite.size else 0.0
    noise = 1.4826 * float(np.median(np.abs(finite - middle))) if finite.size else 0.0
    width = max(_LINEAR * noise, _LEAST_LINEAR * (high - low))
    where = {"middle": middle, "width": width}
    ways = partial(_compressed, **where), partial(_expanded, **where)
    scale = colors.FuncNorm(ways, vmin=low, vmax=high)
    return {"cmap": "gray", "norm": scale, "interpolation": "nearest"}


def _compressed(values: Any, middle: float, width: float) -> Any:
    return np.arcsinh((values - middle) / width)


def _expanded(values: Any, middle: float, width: float) -> Any:
    return middle + width * np.sinh(values)


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
