"""The model image of a result: FitResult.render."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..base import check
from ..base.named_axes import in_order
from ..base.status import Status
from ..fields.rendering import render
from ..models.model import Model
from ..models.sloped import SlopedModel
from . import pixel_owners

if TYPE_CHECKING:
    from .fit_result import FitResult

_TOLERANCE = 1e-7


def compose(
    result: FitResult, shape: Any, background: Any, box: Any, threads: int | None
) -> np.ndarray:
    """See `FitResult.render`."""
    stack = result.frames is not None
    shape = check.shape("shape", shape, (result.model.ndim + stack,))
    side = check.integer("box", box, at_least=1)
    shows = np.isfinite(result.params).all(axis=1) & (result.status != Status.DROPPED)
    spots = result[shows]
    image = _background_image(spots, shape, background, side, threads)
    if not stack:
        return _shine(spots, image, threads)
    assert spots.frames is not None
    for frame in np.unique(spots.frames):
        _shine(spots[spots.frames == frame], image[frame], threads)
    return image


def _shine(spots: FitResult, image: np.ndarray, threads: int | None) -> np.ndarray:
    """Add the profiles of the spots to the image, in place."""
    if not len(spots) or not image.size:
        return image
    spots.model.check_gaussian("an image of the result")
    common: dict[str, Any] = {
        "tol": _TOLERANCE,
        "pixel": spots.pixel,
        "out": image,
        "threads": threads,
    }
    for plain, params in spots.model.parts(spots.params):
        _shine_part(image.shape, plain, params, common)
    return image


def _shine_part(
    shape: tuple[int, ...], plain: Model, params: np.ndarray, common: dict[str, Any]
) -> None:
    """Add spots of a model without constants."""
    places = params[:, plain.ndim : 0 : -1]
    if plain.rotated:
        matrix = plain.to_coordinates(params)[:, 3:6]
        root = np.empty((len(params), 2, 2))  # y before x
        root[:, 0, 0], root[:, 1, 1] = matrix[:, 1], matrix[:, 0]
        root[:, 0, 1] = root[:, 1, 0] = matrix[:, 2]
        render(shape, places, params[:, 0], covariance=root @ root, **common)
        return
    widths = np.ascontiguousarray(plain.widths(params)[:, ::-1])
    render(shape, places, params[:, 0], widths, **common)


def _background_image(
    spots: FitResult, shape: tuple[int, ...], background: Any, box: int, threads: int | None
) -> np.ndarray:
    """The background to which the spots are added."""
    if background is not None:
        given = check.real_array("background", in_order("background", background))
        if given.ndim and given.shape != shape:
            raise ValueError(
                f"background must have shape {shape} or be a number, got {given.shape}"
            )
        return np.array(np.broadcast_to(given, shape), np.float64)
    if spots.background is None:
        return _nearby(spots, shape, box, threads)
    known, terms, scale = spots.background
    image = np.zeros(shape) if known is None else np.array(np.broadcast_to(known, shape))
    if terms.shape[1]:
        image += _per_frame(terms[:, 0], shape)
    for k in range(1, terms.shape[1]):  # x, then y, then z
        places = np.arange(shape[-k], dtype=np.float64)
        ramp = ((places - scale[3 - k]) * scale[6 - k]).reshape(-1, *[1] * (k - 1))
        image += _per_frame(terms[:, k], shape) * ramp
    return image


def _per_frame(values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """One number for all frames, or one for each, in a shape that broadcasts."""
    return values[0] if len(values) == 1 else values.reshape(-1, *[1] * (len(shape) - 1))


def _nearby(spots: FitResult, shape: tuple[int, ...], box: int, threads: int | None) -> np.ndarray:
    """The background of the nearest spot whose box covers the pixel, else the median offset."""
    offsets = spots.params[:, -1]
    image = np.full(shape, np.median(offsets) if len(offsets) else 0.0)
    centres = spots.positions
    lead = [np.zeros((len(spots), 3 - centres.shape[1]))]
    if spots.frames is not None:
        lead = [spots.frames[:, np.newaxis].astype(np.float64)]
    three = np.column_stack([*lead, centres])
    extents = np.array((1, 1, *[box] * spots.model.ndim)[-3:])
    extent = np.array((1, 1, *shape)[-3:])
    boxes = pixel_owners.boxes_around(three, extents // 2, extents, extent)
    owner = pixel_owners.assign_owners(extent, np.ones(image.size, bool), three, boxes, threads)
    flat = image.reshape(-1)
    shone = np.flatnonzero(owner >= 0)
    own = owner[shone]
    flat[shone] = offsets[own]
    if isinstance(spots.model, SlopedModel):
        places = np.unravel_index(shone, shape)[: -spots.model.ndim - 1 : -1]  # x before y
        flat[shone] += spots.model.tilt(places, spots.params[own])
    return image
