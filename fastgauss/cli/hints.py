"""What the command says where no spot was found, or where most fits did not converge."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..base import wording
from ..base.status import Status
from ..filters import gaussian_filter
from ..find import find_spots
from ..find.noise import NOISE_FACTOR
from ..results.fit_result import FitResult
from ..results.table import status_word

_WHAT_TO_TRY = {
    Status.MAX_ITERATIONS: "--fixed sigma=WIDTH or --shared sigma, or --model symmetric",
    Status.STALLED: "a larger --box, or --method lsq if the values are not photons",
    Status.SINGULAR: "a larger --box, a higher --threshold, or --fixed sigma=WIDTH",
    Status.NOT_FINITE: "--mask FILE, whose pixels above 0 are left out",
    Status.TOO_FEW_PIXELS: "a larger --box; without this option it is 4 sigma to either side",
    Status.OUTSIDE: "a higher --threshold, or --joint where spots overlap",
    Status.DROPPED: "a higher --threshold",
    Status.TOO_WIDE: "a --sigma nearer to the width of the spots, which also widens --box",
    Status.OUTLIER: "--mask FILE for hot pixels, or a larger --sigma",
    Status.SATURATED: "--saturation VALUE, which leaves out saturated pixels",
    Status.NOT_SHARED: "the fit without --shared",
}


def of_statuses(result: FitResult) -> str:
    """One sentence where most spots did not converge: why, and what to try; else nothing."""
    count, good = len(result), int(result.converged.sum())
    if 2 * good >= count:
        return ""
    failed = {
        Status(code): number
        for code, number in result.status_counts().items()
        if code not in (Status.CONVERGED, Status.AT_BOUND)
    }
    most = sorted(failed, key=lambda code: -failed[code])[:2]
    reasons = "; ".join(
        f"{failed[code]} {status_word(code)} ({code.message}), try {_WHAT_TO_TRY[code]}"
        for code in most
    )
    return f"{count - good} of {wording.plural(count, 'fit')} did not converge: {reasons}"


def _response(image: np.ndarray, sigmas: tuple[float, ...]) -> np.ndarray:
    """The response of `find_spots`: the height of a spot of these sigmas at its centre."""
    axes = range(image.ndim)
    bent = sum(
        sigma**2 * gaussian_filter(image, sigmas, order=tuple(2 * (k == axis) for k in axes))
        for axis, sigma in zip(axes, sigmas, strict=True)
    )
    return -(2.0 ** (image.ndim / 2)) * (2.0 / image.ndim) * bent


def of_no_spots(
    image: np.ndarray,
    sigmas: tuple[float, ...],
    *,
    threshold: float | None,
    false_alarms: float | None,
    dark: bool,
    mask: np.ndarray | None,
) -> str:
    """Sentences: the threshold, the noise, the strongest candidate, and what to try.

    Noise and default threshold are those of the whole image; `find_spots` measures them locally.
    """
    if any(n < s for n, s in zip(image.shape, sigmas, strict=True)):
        return f"no spot was found: the image is narrower than --sigma {max(sigmas):g}"
    options: dict[str, Any] = {"polarity": "dark" if dark else "bright", "exclude_border": False}
    missing = ~np.isfinite(image)
    if mask is not None:
        missing |= mask
    level = np.median(image[~missing]) if not missing.all() else 0.0
    filled = np.where(missing, level, image) - level
    response = _response(filled.astype(np.float32), sigmas) * (-1.0 if dark else 1.0)
    shown = response[~missing] if not missing.all() else response
    centre = np.median(shown)
    noise = 1.4826 * float(np.median(np.abs(shown - centre)))
    limit = centre + NOISE_FACTOR * noise
    used = f"the threshold was about {limit:.3g}, {NOISE_FACTOR:g} times the noise"
    if threshold is not None:
        used = f"the threshold was {threshold:g}"
    elif false_alarms is not None:
        used = f"none is as significant as --false-alarms {false_alarms:g} asks"
    told = f"no spot was found: {used}; the noise of the filtered image is {noise:.3g}"
    places = find_spots(image, sigmas, threshold=0.0, mask=missing, **options)
    if not len(places):
        return f"{told}, and nothing in it stands out"
    pixels = tuple(np.rint(places).astype(int).T)
    heights = response[pixels]
    best = int(heights.argmax())
    names = ("plane", "row", "column")[-image.ndim :]
    where = ", ".join(f"{name} {p:.0f}" for name, p in zip(names, places[best], strict=True))
    other = "" if dark else ", --dark for dark spots"
    return (
        f"{told}; the strongest candidate, at {where}, has a height of {heights[best]:.3g}. Try "
        f"--threshold {0.8 * heights[best]:.2g}, a --sigma nearer to the width of the spots{other}"
    )
