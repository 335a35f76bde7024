"""FITS: the largest image of a file or the one that is asked for, and what its header says."""

from __future__ import annotations

import errno
import math
import warnings
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import numpy as np

from ..base.optional import require
from .frames import UNKNOWN, Facts, Reader, array_reader, check_growth, check_size

_BLOCK = 2880  # bytes
_ELECTRONS = ("e", "e-", "electron", "electrons", "photon", "photons")  # units that need no gain
_TIMES = ("TIME", "UTC", "TAI")  # CTYPE of an axis of frames


def open_fits(path: Path, stack: ExitStack, part: str | None) -> tuple[Facts, Reader]:
    """The facts and the frames of one HDU: number or name ``part``, else the largest image."""
    fits = require("astropy.io.fits", "reading FITS", "io")
    exceptions = require("astropy.utils.exceptions", "reading FITS", "io")
    stack.enter_context(warnings.catch_warnings())
    # warnings about header cards that are not used here
    warnings.simplefilter("ignore", exceptions.AstropyWarning)
    try:
        images = [
            (k, hdu)
            for k, hdu in enumerate(stack.enter_context(fits.open(path, memmap=False)))
            if hdu.is_image and len(hdu.shape) >= 2
        ]
        number, hdu = _chosen(images, part)
        place = hdu.fileinfo()
        if place["file"].compression is None:
            padded = place["datLoc"] + place["datSpan"]
            check_size(path, padded - _BLOCK + 1)
        check_growth(path, hdu.shape[-2:], np.float64)
        told = f"HDU {number}{f' ({hdu.name})' if hdu.name else ''} of {len(images)} images"
        facts = _facts(hdu, told if len(images) > 1 else "")
        return facts, array_reader(hdu.section, hdu.shape)  # scaled as the header says
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        raise ValueError("its header declares more data than a file can hold") from error


def _chosen(images: list[tuple[int, Any]], part: str | None) -> tuple[int, Any]:
    """Number and HDU of the image that is read."""
    if not images:
        raise ValueError("it holds no image")
    if part is None:  # a thumbnail may come before the image; equal sizes: the first
        return max(images, key=lambda image: math.prod(image[1].shape[-2:]))
    for number, hdu in images:
        if part.strip().upper() in (str(number), hdu.name.upper()):
            return number, hdu
    known = ", ".join(f"{k} ({hdu.name})" if hdu.name else str(k) for k, hdu in images)
    raise ValueError(f"HDU {part} is not one of its images, which are {known}")


def _positive(header: Any, *names: str) -> float | None:
    """The first of these cards that is a positive number."""
    for name in names:
        value = header.get(name)
        if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < math.inf:
            return float(value)
    return None


def _facts(hdu: Any, part: str) -> Facts:
    header, ndim = hdu.header, len(hdu.shape)
    kinds = [str(header.get(f"CTYPE{ndim - k}", "")).upper() for k in range(ndim - 2)]
    sizes: dict[str, tuple[float, str]] = {}
    exposure = _positive(header, "EXPTIME", "EXPOSURE")
    if exposure is not None:
        sizes["T"] = (exposure, "s")
    wcs = _celestial(header)
    if wcs is not None:
        utils = require("astropy.wcs.utils", "reading FITS", "io")
        scale = utils.proj_plane_pixel_scales(wcs) * 3600
        sizes |= {"X": (float(scale[0]), "arcsec"), "Y": (float(scale[1]), "arcsec")}
    counted = str(header.get("BUNIT", "")).strip().lower() in _ELECTRONS
    return Facts(
        "".join("T" if kind.startswith(_TIMES) else UNKNOWN for kind in kinds),
        tuple(hdu.shape[:-2]),
        sizes,
        gain=None if counted else _positive(header, "EGAIN", "GAIN"),
        saturation=_positive(header, "SATURATE"),
        part=part,
        wcs=wcs,
    )


def _celestial(header: Any) -> Any:
    """The celestial part of the header's world coordinates; None if there is none."""
    if not any(str(header.get(f"CTYPE{k}", "")).strip() for k in (1, 2)):
        return None
    with suppress(Exception):  # a header may hold anything
        wcs = require("astropy.wcs", "reading FITS", "io").WCS(header)
        if wcs.has_celestial:
            return wcs.celestial
    return None
