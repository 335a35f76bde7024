"""Hints of the command: no spot was found, most fits failed, or the noise is not as stated."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.spatial import KDTree

from ..base import wording
from ..base.status import Status
from ..filters import gaussian_filter
from ..find import find_spots
from ..find.maxima_counts import expected_maxima, least_significance
from ..find.options import FALSE_ALARMS
from ..find.prepared_search import factor_in_crowd
from ..find.response import as_three
from ..find.significance import correlations
from ..io.frames import Facts
from ..results.fit_result import FitResult
from ..results.table import status_word

NO_SPOT_OF_ANY_SIGMA = (
    "no spot was found with any --sigma. Try --threshold or --false-alarms, "
    "or a --sigma nearer to the width of the spots"
)
_FAINT = 3.0  # significance from which a maximum is a candidate
_MOST_NEGATIVE = 0.6  # of the pixels: dark ones with noise alone are negative in half
_LEAST_ROWS = 10  # from which their median says something of the noise
_CROWDED = 0.25  # of the spots: a part with neighbours from which a hint is given
_NEAR = 2.0  # widths at half maximum between spots whose light overlaps
_AS_PHOTONS = (0.5, 2.0)  # medians of reduced_chi2 of photons and of spots near the model
_FEW = 1.0  # photons of the background below which reduced_chi2 is less, and errors are right
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
    Status.TOO_NARROW: "--model symmetric or elliptic, or --mask FILE for hot pixels",
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
    told = f"{count - good} of {count} fits" if count > 1 else "the only fit"
    return f"{told} did not converge: {reasons}"


def of_negative(photons: np.ndarray) -> str:
    """One sentence where most pixels that are fitted as photons are negative; else nothing."""
    known = photons[np.isfinite(photons)]
    part = float((known < 0).mean()) if known.size else 0.0
    if part <= _MOST_NEGATIVE:
        return ""
    return (
        f"{100.0 * part:.0f} % of the pixels are below 0 photons, and --method mle needs photons: "
        "try a smaller --offset, an image from which no background was subtracted, or --method lsq"
    )


def of_scatter(result: FitResult) -> str:
    """One sentence where pixels do not scatter as photons in most fits; else nothing."""
    known = result.reduced_chi2[result.converged & np.isfinite(result.reduced_chi2)]
    low, high = _AS_PHOTONS
    middle = float(np.median(known)) if len(known) >= _LEAST_ROWS else 1.0
    faint = middle < low and float(np.median(result["offset"])) < _FEW
    if low <= middle <= high or faint:
        return ""
    told = (
        f"the median reduced_chi2 is {wording.rounded(middle, 2)}, and of photons it is 1: "
        f"the errors are too {'large' if middle < low else 'small'}. "
        "Check --offset, --gain and --variance, which make the values photons"
    )
    more = ", that no background was subtracted, and whether spots overlap (--joint)"
    return told if middle < low else told + more


def of_overlap(result: FitResult) -> str:
    """One sentence where many spots, each fitted alone, have a near neighbour; else nothing."""
    kept = result[result.converged]
    width = float(np.median(kept.fwhm)) if len(kept) >= _LEAST_ROWS else 0.0
    if not 0.0 < width < np.inf:
        return ""
    places = kept.positions / (_NEAR * width)
    if kept.frames is not None:
        places = np.column_stack([places, 2.0 * kept.frames])  # no neighbours of other frames
    distances, _ = KDTree(places).query(places, k=2)
    near = int((distances[:, 1] < 1.0).sum())
    if near <= _CROWDED * len(kept):
        return ""
    return (
        f"{near} of {wording.plural(len(kept), 'spot')} overlap with another one, and where two "
        "lie closer still, one may be missing: --joint fits them together. Where the background "
        "is uneven, give it --bounds of the widths, too"
    )


def of_channels(facts: Facts, channel: str | None) -> str:
    """A further sentence where the first of several channels was read, because none was named."""
    count = dict(zip(facts.axes, facts.lengths, strict=True)).get("C", 1)
    if channel is not None or count < 2:
        return ""
    return f". This is channel 0 of {count}: --channel selects another"


def _response(image: np.ndarray, sigmas: tuple[float, ...]) -> np.ndarray:
    """The Laplacian of `find_spots`: the height of a spot of these sigmas at its centre."""
    axes = range(image.ndim)
    bent = sum(
        sigma**2 * gaussian_filter(image, sigmas, order=tuple(2 * (k == axis) for k in axes))
        for axis, sigma in zip(axes, sigmas, strict=True)
    )
    return -(2.0 ** (image.ndim / 2)) * (2.0 / image.ndim) * bent


def _named(place: np.ndarray) -> str:
    """A pixel in words."""
    names = ("plane", "row", "column")[-len(place) :]
    return ", ".join(f"{name} {p:.0f}" for name, p in zip(names, place, strict=True))


def _of_insignificant(
    image: np.ndarray, sigmas: tuple[float, ...], false_alarms: float, missing: np.ndarray,
    options: dict[str, Any],
) -> str:  # fmt: skip
    """Sentences for a search by likelihood ratio: significances, and what to try."""
    pixels = float(np.count_nonzero(~missing))
    known = correlations(as_three(sigmas, 0.0))
    needed = least_significance(false_alarms, pixels, known)
    told = (
        f"no spot was found: --false-alarms {false_alarms:g} needs a significance of {needed:.3g}"
    )
    spots = find_spots(
        image, sigmas, significance=min(needed, _FAINT), shape_level=0.0, mask=missing,
        details=True, **options,
    )  # fmt: skip
    if not len(spots.positions):
        return f"{told}, and nothing in the image stands out"
    best, place = float(spots.significance[0]), _named(spots.positions[0])
    tried = "a --sigma nearer to the width of the spots"
    tried += ", --dark for dark spots" if options["polarity"] == "bright" else ""
    if best >= needed:
        return (
            f"{told}; the strongest candidate, at {place}, has {best:.3g} but not the shape of a "
            f"spot. Try --shape-level 0, {tried}"
        )
    more = 1.5 * float(expected_maxima(np.array(best), pixels, known))
    return (
        f"{told}; the strongest candidate, at {place}, has {best:.3g}. Try --false-alarms "
        f"{wording.rounded(more, 2)}, {tried}"
    )


def of_no_spots(
    image: np.ndarray,
    sigmas: tuple[float, ...],
    *,
    threshold: float | None,
    false_alarms: float | None,
    curved: bool,
    dark: bool,
    mask: np.ndarray | None,
) -> str:
    """Sentences: the threshold, the noise, the strongest candidate, and what to try.

    Spots that are ``curved`` are maxima of the Laplacian, above a threshold or a multiple of the
    noise, here those of the whole image; `find_spots` measures them locally. Others are found by
    their significance, which is told instead.
    """
    if any(n < s for n, s in zip(image.shape, sigmas, strict=True)):
        return f"no spot was found: the image is narrower than --sigma {max(sigmas):g}"
    options: dict[str, Any] = {"polarity": "dark" if dark else "bright", "exclude_border": False}
    missing = ~np.isfinite(image)
    if mask is not None:
        missing |= mask
    if threshold is None and not curved:
        expected = FALSE_ALARMS if false_alarms is None else false_alarms
        return _of_insignificant(image, sigmas, expected, missing, options)
    level = np.median(image[~missing]) if not missing.all() else 0.0
    filled = np.where(missing, level, image) - level
    response = _response(filled.astype(np.float32), sigmas) * (-1.0 if dark else 1.0)
    shown = response[~missing] if not missing.all() else response
    centre = np.median(shown)
    noise = 1.4826 * float(np.median(np.abs(shown - centre)))
    factor = factor_in_crowd(image.shape, sigmas, false_alarms, None)
    limit = centre + factor * noise
    used = f"the threshold was about {wording.rounded(limit, 3)} ({factor:.3g} times the noise)"
    if threshold is not None:
        used = f"the threshold was {wording.rounded(threshold, 12)}"
    told = (
        f"no spot was found: {used}; the noise of the filtered image is {wording.rounded(noise, 3)}"
    )
    places = find_spots(image, sigmas, threshold=0.0, mask=missing, **options)
    if not len(places):
        return f"{told}, and nothing in it stands out"
    pixels = tuple(np.rint(places).astype(int).T)
    heights = response[pixels]
    best = int(heights.argmax())
    where = _named(places[best])
    instead = "" if false_alarms is None else " in place of --false-alarms"
    other = "" if dark else ", --dark for dark spots"
    tallest = heights[best]
    return (
        f"{told}; the strongest candidate, at {where}, has a height of "
        f"{wording.rounded(tallest, 3)}. Try --threshold {wording.rounded(0.8 * tallest, 2)}"
        f"{instead}, a --sigma nearer to the width of the spots{other}"
    )
