"""The camera: what the options and the file say of pixels, and results in whole photons.

`Camera` converts counts to photons. The electron multiplication of an EMCCD makes the variance of
the signal larger by the excess noise factor F**2, which is 2 at a high gain. Photons divided by
F**2 have the variance of counts of photons, so the fit is of these: its camera has a gain divided
by F**2. Then amplitude, offset, flux and their errors are multiplied by F**2. Read-out noise is
that before division.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from ..base import check
from ..cameras.camera import Camera
from ..io.frames import Facts
from ..results.background import Background
from ..results.fit_result import FitResult
from .source import read_map

_HEIGHTS = ("amplitude", "flux", "offset", "slope_x", "slope_y", "slope_z")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the camera."""
    group = parser.add_argument_group(
        "the camera",
        "photons = (value - OFFSET) * GAIN. OFFSET, GAIN and VARIANCE are numbers, or files with a "
        "number for each pixel.",
    )
    group.add_argument(
        "--camera",
        metavar="FILE",
        help="of fastgauss.Camera.save, .npz; the options below come before what it says",
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


class Settings(NamedTuple):
    """The camera, the mask and the conversion of the pixels of pictures."""

    camera: Camera  # of photons divided by the excess noise factor
    excess: float
    mask: np.ndarray | None  # of a picture's shape

    def part(self, where: tuple[slice, ...]) -> Settings:
        """The settings of a part of the pixels."""
        mask = None if self.mask is None else self.mask[where]
        return self._replace(camera=self.camera[where], mask=mask)

    def photons(self, counts: np.ndarray) -> np.ndarray:
        """A picture as its results tell of it: NaN where a pixel is saturated or missing."""
        return self.camera.to_photons(counts) * self.excess


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


def settings_of(args: argparse.Namespace, facts: Facts, shape: tuple[int, ...]) -> Settings:
    """The settings that the options and the file tell of, for pictures of a shape."""
    if args.method == "mle" and facts.colour:
        raise ValueError(
            "--method mle needs counts of photons, which the luminance of 3 colours is not: "
            "select a colour by --channel, or give --axes TYX if the colours are frames. (tifffile "
            "writes three or four frames as colours unless it is told photometric='minisblack'.)"
        )
    names = ("offset", "gain", "variance", "saturation")
    known: dict[str, Any] = {"gain": facts.gain if args.method == "mle" else None}
    known["saturation"] = facts.saturation
    if args.camera is not None:
        saved = Camera.load(args.camera)
        saved.check_shape(f"--camera {args.camera}: pictures", shape)
        for name in names:
            value = getattr(saved, name)
            if value is not None:
                known[name] = np.broadcast_to(value, shape) if np.ndim(value) else value
    for name in names[:3]:
        if getattr(args, name) is not None:
            known[name] = _values(name, getattr(args, name), shape)
    if args.saturation is not None:
        known["saturation"] = args.saturation
    if isinstance(known["gain"], float):
        check.number("--gain", known["gain"], above=0.0)
    mask = None
    if args.mask is not None:
        mask = read_map(args.mask, shape, "--mask") > 0
    if known["gain"] is not None or args.excess_noise != 1.0:
        known["gain"] = (1.0 if known["gain"] is None else known["gain"]) / args.excess_noise
    try:
        camera = Camera(**{name: value for name, value in known.items() if value is not None})
    except ValueError as error:
        raise ValueError(f"--{error}") from error
    return Settings(camera, args.excess_noise, mask)


def told(args: argparse.Namespace, facts: Facts) -> str:
    """A clause that names the values taken from the file's header."""
    gain = facts.gain if args.gain is None and args.method == "mle" else None
    return of_header(saturation=facts.saturation if args.saturation is None else None, gain=gain)


def of_header(**values: float | None) -> str:
    """A clause with the values, by name, that were taken from a header; None was not."""
    parts = [f"{name} {value:g}" for name, value in values.items() if value is not None]
    return f"; its header says: {', '.join(parts)}" if parts else ""


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
    background = result.background
    larger = result.with_rows(rows)
    if background is not None:
        known = None if background.known is None else background.known * factor
        larger.background = Background(known, background.terms * factor, background.scale)
    return larger


def moved(result: FitResult, first: tuple[int, ...]) -> FitResult:
    """A result of a part of a picture, in the coordinates of the whole picture."""
    if not any(first):
        return result
    params = result.params.copy()
    ndim = result.model.ndim
    params[:, ndim:0:-1] += first
    shifted = result.with_rows(result.rows._replace(params=params))
    shifted.model = result.model.shifted(*(-float(each) for each in first[-2:]))
    background = result.background
    if background is not None:
        scale = background.scale.copy()
        scale[3 - ndim : 3] += first
        shifted.background = Background(background.known, background.terms, scale)
    return shifted
