"""The camera: counts of a file to photons, and results back to the scale that is asked for.

    photons = (counts - offset) * gain

``gain`` is photo-electrons for each count, as in the FITS card GAIN (other programs call it
conversion or sensitivity). ``variance`` is that of the read-out noise in counts squared, as dark
frames show it; the fit takes ``variance * gain**2``. Each is a number or a file with a number for
each pixel.

The electron multiplication of an EMCCD makes the variance of the signal larger by the excess noise
factor F**2, which is 2 at a high gain. Photons divided by F**2 have the variance of counts of
photons, so the fit is of these, with the read-out variance divided by F**4. Then amplitude, offset,
flux and their errors are multiplied by F**2. Read-out noise is that before division.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from ..base import check
from ..io.frames import Facts
from ..results.background import Background
from ..results.fit_result import FitResult
from .source import read_map

_HEIGHTS = ("amplitude", "offset")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the camera."""
    group = parser.add_argument_group(
        "the camera",
        "photons = (value - OFFSET) * GAIN. OFFSET, GAIN and VARIANCE are numbers, or files with a "
        "number for each pixel.",
    )
    group.add_argument("--offset", help="value of a pixel without light (0)")
    group.add_argument(
        "--gain", help="photo-electrons for each count (FITS: its GAIN with --method mle; else 1)"
    )
    group.add_argument(
        "--variance", help="of the read-out noise, in counts squared; needs --method mle (0)"
    )
    group.add_argument(
        "--excess-noise",
        metavar="F2",
        type=float,
        default=1.0,
        help="excess noise factor, F squared, of an EMCCD: 2; needs --method mle (1)",
    )
    group.add_argument(
        "--saturation", type=float, help="pixels of this value or more are missing (FITS: SATURATE)"
    )
    group.add_argument("--mask", metavar="FILE", help="an image; its pixels above 0 are missing")


class Camera(NamedTuple):
    """What is known of the pixels of a picture; maps have its shape."""

    offset: Any
    gain: Any
    variance: Any
    excess: float
    saturation: float | None
    mask: np.ndarray | None
    converts: bool  # counts become photons


def check_options(args: argparse.Namespace) -> None:
    """Raise before the work where options of the camera do not go together."""
    check.number("--excess-noise", args.excess_noise, at_least=1.0)
    if args.saturation is not None:
        check.number("--saturation", args.saturation)
    if args.method != "mle":
        for name in ("variance", "excess-noise"):
            if getattr(args, name.replace("-", "_")) not in (None, 1.0):
                raise ValueError(f"--{name} needs --method mle, which knows the noise of photons")


def _values(name: str, text: str, shape: tuple[int, ...]) -> Any:
    """A number, or the map of a file."""
    try:
        return check.number(f"--{name}", float(text))
    except ValueError as error:
        if _is_number(text):
            raise
        try:
            return read_map(text, shape, f"--{name}").astype(np.float64)
        except FileNotFoundError:
            raise ValueError(f"--{name} must be a number or a file, got {text}") from error


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def camera_of(args: argparse.Namespace, facts: Facts, shape: tuple[int, ...]) -> Camera:
    """The camera that the options and the file tell of, for pictures of a shape."""
    given = {
        name: None if getattr(args, name) is None else _values(name, getattr(args, name), shape)
        for name in ("offset", "gain", "variance")
    }
    gain = given["gain"]
    if gain is None and args.method == "mle":
        gain = facts.gain
    if isinstance(gain, float):
        check.number("--gain", gain, above=0.0)
    mask = None
    if args.mask is not None:
        mask = read_map(args.mask, shape, "--mask") > 0
    saturation = facts.saturation if args.saturation is None else args.saturation
    converts = given["offset"] is not None or gain is not None or args.excess_noise != 1.0
    gain = 1.0 if gain is None else np.where(np.asarray(gain) > 0, gain, np.nan)
    offset = 0.0 if given["offset"] is None else given["offset"]
    variance = given["variance"]
    if variance is not None:
        variance = np.broadcast_to(variance, shape).astype(np.float64)
        if not (variance >= 0).all():
            raise ValueError("--variance must not be negative")
    return Camera(offset, gain, variance, args.excess_noise, saturation, mask, converts)


def told(args: argparse.Namespace, facts: Facts) -> str:
    """What was taken from the file's header."""
    parts = []
    if args.saturation is None and facts.saturation is not None:
        parts.append(f"saturation {facts.saturation:g}")
    if args.gain is None and args.method == "mle" and facts.gain is not None:
        parts.append(f"gain {facts.gain:g}")
    return f"; its header says: {', '.join(parts)}" if parts else ""


def _part(values: Any, where: tuple[slice, ...]) -> Any:
    return values[where] if np.ndim(values) else values


def measured(
    camera: Camera, counts: np.ndarray, where: tuple[slice, ...]
) -> tuple[np.ndarray, dict[str, Any]]:
    """A part of a picture as it is fitted, and the options of the fit that tell of its pixels."""
    raw = counts[where]
    mask = None if camera.mask is None else camera.mask[where]
    options: dict[str, Any] = {"mask": mask, "saturation": camera.saturation}
    gain = _part(camera.gain, where) / camera.excess
    if camera.variance is not None:
        variance = camera.variance[where] * gain**2
        options["variance"] = np.where(np.isnan(variance), np.inf, variance)
    if not camera.converts:
        return raw, options
    options["saturation"] = None
    if camera.saturation is not None:
        full = raw >= camera.saturation
        options["mask"] = full if mask is None else full | mask
    return (raw - _part(camera.offset, where)) * gain, options


def in_part(
    values: Mapping[str, Any] | None, factor: float, first: tuple[int, ...]
) -> dict[str, Any] | None:
    """Fixed values or bounds of parameters, of a fit of divided heights in a part of a picture."""
    if values is None:
        return None
    shifts = dict(zip("xyz", reversed(first), strict=False))

    def inside(name: str, value: Any) -> Any:
        if value is None or isinstance(value, tuple):
            return None if value is None else tuple(inside(name, end) for end in value)
        return (value - shifts.get(name, 0)) / (factor if name in _HEIGHTS else 1.0)

    return {name: inside(name, value) for name, value in values.items()}


def multiplied(result: FitResult, factor: float) -> FitResult:
    """A result whose heights, and their errors, are larger by a factor."""
    if factor == 1.0:
        return result
    scale = np.where([name in _HEIGHTS for name in result.names], factor, 1.0)
    low = np.tril_indices(len(scale))
    rows = result.rows
    errors = None if rows.errors is None else rows.errors * scale
    rows = rows._replace(
        params=rows.params * scale, packed=rows.packed * np.outer(scale, scale)[low], errors=errors
    )
    ground = result.background
    larger = result.with_rows(rows)
    if ground is not None:
        known = None if ground.known is None else ground.known * factor
        larger.background = Background(known, ground.terms * factor, ground.scale)
    return larger


def moved(result: FitResult, first: tuple[int, ...]) -> FitResult:
    """A result of a part of a picture, in the coordinates of the whole picture."""
    if not any(first):
        return result
    params = result.params.copy()
    ndim = result.model.ndim
    params[:, ndim:0:-1] += first
    shifted = result.with_rows(result.rows._replace(params=params))
    ground = result.background
    if ground is not None:
        scale = ground.scale.copy()
        scale[3 - ndim : 3] += first
        shifted.background = Background(ground.known, ground.terms, scale)
    return shifted
