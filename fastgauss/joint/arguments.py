"""Arguments of a joint fit, checked."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..base import check
from ..fit.chunks import usual
from ..fit.options import Options
from ..fit.picture_units import scaled, scaled_maps, unit_of_picture
from ..fit.pixel_maps import pixel_map, pixel_mask
from ..models.model import Model

METHODS = ("lsq", "mle")  # those of ``kernels/joint/image.py``
BACKGROUNDS = ("local", "constant", "plane")
LARGEST = 1e150  # of a pixel in units of the usual: its square is finite


def in_three(extents: tuple[int, ...]) -> np.ndarray:
    """Extents along z, y and x of those of an image: a profile is one row, an image one plane."""
    return np.array((1, 1, *extents)[-3:])


class Picture(NamedTuple):
    """An image as the fit takes it."""

    shape: tuple[int, ...]
    data: np.ndarray  # flat float64
    second: np.ndarray  # flat weights or variances, or one for all
    exists: np.ndarray  # flat bool
    background: np.ndarray  # flat known background, or (1,)
    stack: bool
    unit: float = 1.0  # what the image was multiplied by; see ``fit/picture_units.py``

    @property
    def extent(self) -> np.ndarray:
        """Pixels along z (frames of a stack), y and x."""
        if self.stack and len(self.shape) == 2:  # of profiles
            return np.array((self.shape[0], 1, self.shape[1]))
        return in_three(self.shape)


def read_picture(
    image: Any, positions: Any, frames: Any, method: Any, weights: Any, variance: Any, mask: Any
) -> tuple[Picture, np.ndarray]:
    """The image and the places (n, d) of spots in it, with the frame first in a stack."""
    array = check.real_array("image", image, (2, 3) if frames is not None else (1, 2, 3))
    shape = array.shape
    missing = pixel_mask(mask, shape, None)
    second = pixel_map("weights", weights, shape, None)
    exists = np.isfinite(array)
    if missing is not None:
        exists &= ~missing.array[0]
    if second is not None and second.zeros:
        exists &= second.array[0] > 0
    unit, power = unit_of_picture(array, exists, method == "mle"), -2
    data = scaled(usual(array), unit)
    if array.dtype.itemsize >= 8 and array.dtype.kind == "f":
        exists &= np.abs(data) < LARGEST
    if second is None:
        second, power = pixel_map("variance", variance, shape, None), 1
    ndim = len(shape) - (frames is not None)
    places = check.positions(positions, ndim)
    if frames is not None:
        numbers = check.integer_array("frames", frames, 1)
        if numbers.shape != (len(places),):
            raise ValueError(f"frames must have shape ({len(places)},), got {numbers.shape}")
        if len(numbers) and not (numbers.min() >= 0 and numbers.max() < shape[0]):
            raise ValueError(f"frames must be from 0 to {shape[0] - 1}")
        places = np.column_stack([numbers.astype(np.float64), places])
    per_pixel = np.array([0.0 if method == "mle" else 1.0])
    if second is not None:
        per_pixel = usual(second.array[0]).reshape(-1)
        per_pixel = scaled(per_pixel, unit, power)
    picture = Picture(
        shape, data.reshape(-1), per_pixel, exists.reshape(-1), np.zeros(1), frames is not None,
        unit,
    )  # fmt: skip
    return picture, places


def read_background(
    background: Any, shape: tuple[int, ...], fixed: dict[str, Any] | None
) -> tuple[str, np.ndarray]:
    """The kind of the background, "known" if none of it is fitted, and its known part."""
    held = None if fixed is None else fixed.get("offset")
    if isinstance(background, str):
        check.choice("background", background, BACKGROUNDS)
        if held is None:
            return background, np.zeros(1)
        if np.ndim(held):
            raise ValueError("fixed['offset'] must be a number in a joint fit; see background")
        background = held
    elif held is not None:
        raise ValueError("fixed must not hold the offset where background is an array")
    known = check.finite_array("background", background)
    if known.ndim and known.shape != shape:
        raise ValueError(f"background must have shape {shape} or be a number, got {known.shape}")
    return "known", usual(np.broadcast_to(known, shape)).reshape(-1)


def check_places(model: Model, places: np.ndarray) -> None:
    """Refuse places (n, d) at which a model that varies over an image is not defined."""
    model.placed(places[:, -model.ndim :][:, ::-1])


class Problem(NamedTuple):
    """One image and what its joint fits have in common: checked once, solved as often as needed."""

    picture: Picture
    image: np.ndarray  # as it was given
    maps: dict[str, Any]  # weights, variance and mask as they were given
    box: tuple[int, ...]
    kind: str  # of the background
    dark: bool

    def with_background(self, known: np.ndarray) -> Problem:
        """The problem with this known background, of the image's shape."""
        background = np.ascontiguousarray(known, np.float64).reshape(-1)
        return self._replace(picture=self.picture._replace(background=background), kind="known")

    def with_weights(self, weights: np.ndarray) -> Problem:
        """The problem with these inverse variances of pixels, of the image's shape."""
        second = np.ascontiguousarray(weights, np.float64).reshape(-1)
        return self._replace(picture=self.picture._replace(second=second))


def make_problem(
    picture: Picture, image: Any, maps: dict[str, Any], chosen: Options, box: tuple[int, ...],
    background: Any, fixed: Any, polarity: Any,
) -> Problem:  # fmt: skip
    """The problem of a picture; what has no meaning in a joint fit is refused."""
    chosen.model.check_light("a joint fit")
    chosen.model.check_image(picture.shape)
    if chosen.covariance == "sandwich":
        raise ValueError("covariance must not be 'sandwich' for a joint fit")
    dark = check.choice("polarity", polarity, ("bright", "dark")) == "dark"
    kind, background = read_background(background, picture.shape, fixed)
    unit = picture.unit
    return Problem(
        picture._replace(background=scaled(background, unit)), scaled(np.asarray(image), unit),
        scaled_maps(maps, unit), box, kind, dark,
    )  # fmt: skip
