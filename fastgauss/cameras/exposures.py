"""Exposures: pictures of a camera as fits take them, in photons, with masks and variances."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..base import check, image_data, wrappers
from .camera import Camera, check_camera


class Exposure(NamedTuple):
    """A picture as it is fitted."""

    image: Any  # in photons
    mask: Any
    variance: Any  # of the read-out noise in photons squared
    saturation: Any
    counts: np.ndarray | None  # as the camera wrote them, if photons are other numbers


def in_photons(
    camera: Camera | None, image: Any, mask: Any, variance: Any, saturation: Any, method: Any
) -> Exposure:
    """The picture and its options, by a camera if there is one.

    ``variance`` and ``saturation`` are then the camera's; the mask is joined with what it says.
    """
    if check_camera("camera", camera) is None:
        return Exposure(image, mask, variance, saturation, None)
    assert camera is not None
    for name, given in (("variance", variance), ("saturation", saturation)):
        if given is not None:
            raise ValueError(f"{name} must be None with a camera, which has its own")
    if wrappers.open_array("image", image).variance is not None:
        raise ValueError("image must have no uncertainty with a camera, which knows its noise")
    values, mask = image_data.masked("image", image, mask)
    counts = check.real_array("image", values)
    camera.check_shape("image", counts.shape)
    lost = camera.lost(counts)
    if lost is not None:
        mask = image_data.joined_mask(lost, "mask", mask)
    if method == "mle" and np.any(camera.photon_variance):
        variance = np.broadcast_to(camera.photon_variance, counts.shape)
    if not camera.converts:
        return Exposure(counts, mask, variance, None, None)
    return Exposure(camera.photons_of(counts, lost), mask, variance, None, counts)
