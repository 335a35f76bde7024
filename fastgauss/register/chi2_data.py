"""Input of chi-squared of a shift: two images, their missing pixels and errors."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..base import check, image_data
from ..base.named_axes import lay_out
from ..base.scaling import power_of_two
from . import fourier_series, inputs

_ERRORS = 1e-30, 1e30  # of images of usual size: beyond, no digit of an error matters
_USUAL = 1e15  # the size of pixels that need no scale


class Data(NamedTuple):
    """Two images, their missing pixels and their errors."""

    images: tuple[np.ndarray, np.ndarray]  # float64, 0 where missing
    valid: tuple[np.ndarray, np.ndarray]
    weight: float | np.ndarray  # 1 / err^2
    given: bool  # whether err was given
    unit: float  # of chi-squared, in which the images' own would be 1

    @property
    def plain(self) -> bool:
        """Whether nothing is missing and one number is the error of all pixels."""
        return not isinstance(self.weight, np.ndarray) and all(m.all() for m in self.valid)


def _mean(array: np.ndarray, exists: np.ndarray) -> np.float64:
    """The mean of the existing pixels."""
    if exists.all():
        return array.mean(dtype=np.float64)
    return array[exists].mean(dtype=np.float64) if exists.any() else np.float64(0.0)


def read(im1: Any, im2: Any, err: Any, mask: Any, zeromean: Any) -> Data:
    """Check the arguments of a chi-squared of shifts and scale the images."""
    zeromean = check.flag("zeromean", zeromean)
    masks = mask if isinstance(mask, tuple) else (mask, mask)
    if len(masks) != 2:
        raise ValueError(f"mask must be one array or a tuple of two, got {len(masks)}")
    im1, mask1 = lay_out("im1", im1, mask=masks[0])
    im2, mask2, err = lay_out("im2", im2, mask=masks[1], err=err)
    im1, hidden1 = image_data.masked("im1", im1, mask1)
    im2, hidden2, err = image_data.with_errors("im2", im2, mask2, err)
    arrays = [check.real_array(name, value, 2) for name, value in (("im1", im1), ("im2", im2))]
    shape = arrays[0].shape
    if arrays[1].shape != shape:
        raise ValueError(f"im2 must have the shape of im1, {shape}, got {arrays[1].shape}")
    if min(shape) < 3:
        raise ValueError(f"im1 must have 3 rows and columns or more, got {shape}")
    error = inputs.error("err", err, shape)
    valid = []
    for array, holes in zip(arrays, (hidden1, hidden2), strict=True):
        gone = inputs.missing("mask", holes, shape)
        with np.errstate(all="ignore"):
            whole = array.dtype.kind != "f" or np.isfinite(array.sum(dtype=np.float64))
        exists = np.ones(shape, dtype=bool) if whole else np.isfinite(array)
        valid.append(exists if gone is None else exists & ~gone)
    if isinstance(error, np.ndarray):
        valid[1] &= np.isfinite(error) & (error != 0)
    images, scale = _scaled(arrays, valid, zeromean)
    weight: float | np.ndarray = 1.0
    if isinstance(error, np.ndarray):
        with np.errstate(over="ignore"):
            one = np.where(valid[1], error, 1.0).astype(np.float64) * scale
        weight = np.where(valid[1], 1.0 / np.clip(one, *_ERRORS) ** 2, 0.0)
    elif error is not None:
        weight = float(1.0 / np.clip(error * scale, *_ERRORS) ** 2)
    with np.errstate(over="ignore"):
        unit = 1.0 if error is not None else float(np.float64(scale) ** -2)
    return Data((images[0], images[1]), (valid[0], valid[1]), weight, error is not None, unit)


def _factor(arrays: list[np.ndarray], valid: list[np.ndarray]) -> float:
    """A power of two for images whose squares float64 would not hold; otherwise 1."""
    size = 0.0
    for array, exists in zip(arrays, valid, strict=True):
        kept = array if exists.all() else array[exists]
        if kept.size:
            size = max(size, abs(float(kept.max())), abs(float(kept.min())))
    return 1.0 if not size or 1.0 / _USUAL < size < _USUAL else power_of_two(size)


def _scaled(
    arrays: list[np.ndarray], valid: list[np.ndarray], zeromean: bool
) -> tuple[list[np.ndarray], float]:
    """The images less the mean of the first, or of each, times a power of two; and that."""
    scale = _factor(arrays, valid)
    if scale != 1.0:
        arrays = [array * np.float64(scale) for array in arrays]
    level = _mean(arrays[0], valid[0])
    images = []
    for array, exists in zip(arrays, valid, strict=True):
        with np.errstate(invalid="ignore"):
            image = array - (_mean(array, exists) if zeromean else level)  # a level alone cancels
        if not exists.all():
            image[~exists] = 0.0
        images.append(image)
    again = _factor(images, valid)
    return [image * again for image in images] if again != 1.0 else images, scale * again


def spectra(data: Data) -> tuple[np.ndarray, np.ndarray] | None:
    """The spectra of both images, where these alone determine chi-squared; otherwise None."""
    if not data.plain:
        return None
    first, second = (fourier_series.transform(image) for image in data.images)
    return first, second


def power(image: np.ndarray) -> np.float64:
    """Sum of squares, without BLAS: see ``times`` of ``register/fourier_series.py``."""
    return np.einsum("ij,ij->", image, image)
