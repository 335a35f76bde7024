"""Arguments of fields, checked: amplitudes, volumes, weights, masks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ..base import check, image_data, wording
from ..base.grid import Grid
from ..base.named_axes import channels_last, lay_out_channels

KINDS = (np.dtype(np.float32), np.dtype(np.float64))


def amplitudes_of(value: ArrayLike, n: int, channels: int | None = None) -> np.ndarray:
    """Amplitudes (n,) or (n, channels) from one number, or from one for each."""
    array = check.finite_array("amplitudes", value)
    shape = (n,) if channels is None else (n, channels)
    if array.shape not in ((), shape):
        raise ValueError(f"amplitudes must be one number or of shape {shape}, got {array.shape}")
    if array.shape == shape:  # broadcast_to would make it read-only, for which kernels compile anew
        return np.ascontiguousarray(array)
    return np.full(shape, array)


def target(out: np.ndarray | None, grid: Grid, dtype: Any = np.float64) -> np.ndarray:
    """A writable array of the grid's shape: the memory of ``out``, or a new one of zeros."""
    if out is None:
        return np.zeros(grid.shape, dtype=dtype)
    return check.out_array("out", out, grid.shape, KINDS)


class Drawing(NamedTuple):
    """The image that particles are drawn on, of channels if heights are (n, channels)."""

    image: np.ndarray
    heights: np.ndarray
    blank: bool  # whether the image is new, and 0 everywhere
    result: np.ndarray  # the image as the caller gave it, of a subclass perhaps, or the new one


def drawing(amplitudes: ArrayLike, n: int, out: np.ndarray | None, grid: Grid) -> Drawing:
    """Amplitudes and what they are drawn on; amplitudes (n, channels) are those of channels."""
    if out is None:
        shape = check.finite_array("amplitudes", amplitudes).shape
        channels = shape[1] if len(shape) == 2 and shape[0] == n and shape[1] else None
    else:
        shape = check.target("out", out).shape
        channels = shape[-1] if len(shape) == grid.ndim + 1 else None
    heights = amplitudes_of(amplitudes, n, channels)
    shape = grid.shape if channels is None else (*grid.shape, channels)
    if out is not None:
        return Drawing(check.out_array("out", out, shape, KINDS), heights, False, out)
    image = np.zeros(shape)
    return Drawing(image, heights, True, image)


def _shape_of(name: str, array: np.ndarray, grid: Grid) -> tuple[int, ...]:
    """The grid's shape, or that and an axis of channels."""
    extra = array.shape[grid.ndim :]
    if array.shape[: grid.ndim] != grid.shape or len(extra) > 1 or 0 in extra:
        raise ValueError(
            f"{name} must have the grid's shape {grid.shape}, or that and a last axis of channels, "
            f"got {array.shape}"
        )
    return array.shape


def volume_of(value: ArrayLike, grid: Grid) -> np.ndarray:
    """An array of real numbers of the grid's shape; of channels the planes (channels, ...)."""
    array = check.real_array("volume", channels_last("volume", value))
    if len(_shape_of("volume", array, grid)) > grid.ndim:
        array = np.moveaxis(array, -1, 0)
    if array.dtype.kind == "f" and array.itemsize not in (4, 8):  # unknown to the kernels
        return array.astype(np.float32 if array.itemsize < 4 else np.float64)
    return array


@dataclass(frozen=True)
class Data:
    """The volume, 0 at missing nodes, and the weights of its nodes; planes of channels."""

    volume: np.ndarray
    weights: np.ndarray | None  # None: all nodes have the same weight
    nodes: int  # number of valid nodes
    absolute: bool  # whether weights are inverse variances
    channels: int | None = None

    def split(self) -> list[Data]:
        """The data of each channel; weights that are alike are one array."""
        parts: list[Data] = []
        for c, plane in enumerate(self.volume):
            if self.weights is None:
                parts.append(Data(plane, None, plane.size, self.absolute))
                continue
            own = self.weights[c]
            for earlier in range(c):
                if self.weights.strides[0] == 0 or np.array_equal(self.weights[earlier], own):
                    own = parts[earlier].weights
                    break
            parts.append(Data(plane, own, int(np.count_nonzero(own)), self.absolute))
        return parts


def measured(volume: Any, weights: Any, mask: Any, grid: Grid, name: str = "volume") -> Data:
    """Check a volume with its weights and mask; NaN, mask True and weight 0 are missing nodes."""
    volume, mask, weights = lay_out_channels(name, volume, mask=mask, weights=weights)
    volume, mask, weights, _ = image_data.measured(name, volume, mask, weights)
    array = check.real_array(name, volume)
    shape = _shape_of(name, array, grid)
    several = len(shape) > grid.ndim
    kind = np.float32 if array.dtype.kind == "f" and array.itemsize <= 4 else np.float64
    each = None
    if weights is None and mask is None and _all_finite(array):  # one look instead of five
        clean, channels = np.asarray(array, kind), shape[-1] if several else None
        clean = np.moveaxis(clean, -1, 0) if several else np.ascontiguousarray(clean)
        return Data(clean, None, array.size, False, channels)
    good = ~np.isnan(array) if array.dtype.kind == "f" else np.ones(shape, dtype=bool)
    if weights is not None:
        own = check.real_array("weights", weights).astype(np.float64, copy=False)
        each = _shaped("weights", own, grid, shape)
        _check_weights(own)
        good &= each > 0
    if mask is not None:
        good &= ~_shaped("mask", check.boolean_array("mask", mask), grid, shape)
    infinite = np.isinf(array) & good
    if infinite.any():
        where = tuple(np.argwhere(infinite)[0].tolist())
        raise ValueError(f"{name} must not be infinite, got {array[where]} at index {where}")
    nodes = int(np.count_nonzero(good))
    whole = nodes == good.size
    clean = array if whole else np.where(good, array, 0)
    if several:
        clean, good = np.moveaxis(clean, -1, 0), np.moveaxis(good, -1, 0)
        each = None if each is None else np.moveaxis(each, -1, 0)
    if each is not None or not whole:
        each = _weights_of(good, each, several)
    channels = shape[-1] if several else None
    clean = np.asarray(clean, kind) if several else np.ascontiguousarray(clean, kind)
    return Data(clean, each, nodes, weights is not None, channels)


def _all_finite(array: np.ndarray) -> bool:
    return array.dtype.kind != "f" or bool(np.isfinite(array).all())


def _check_weights(weights: np.ndarray) -> None:
    """Refuse weights that are infinite, NaN or negative."""
    if not np.isfinite(weights).all():
        raise ValueError("weights must be finite")
    if weights.size and weights.min() < 0:
        raise ValueError(f"weights must not be negative, got {weights.min()}")


def _weights_of(good: np.ndarray, each: np.ndarray | None, several: bool) -> np.ndarray:
    """The weight of each node, by default 1, in new memory, and 0 where a node is not good.

    Channels whose weights are one array, and whose good nodes are the same, share one plane.
    """
    alike = several and (each is None or each.strides[0] == 0) and (good == good[:1]).all()
    if not alike:
        return np.multiply(good, 1.0 if each is None else each, dtype=np.float64, order="C")
    plane = np.multiply(good[0], 1.0 if each is None else each[0], dtype=np.float64, order="C")
    return np.broadcast_to(plane, good.shape)


def refuse_channels(data: Data) -> None:
    """For what knows volumes without channels alone."""
    if data.channels is not None:
        raise ValueError(
            f"volume must have the grid's shape {data.volume.shape[1:]}, got one more axis of "
            f"{wording.plural(data.channels, 'channel')}"
        )


def _shaped(name: str, value: Any, grid: Grid, shape: tuple[int, ...]) -> np.ndarray:
    """An array of this shape; one of the grid's shape is that of every channel."""
    array = check.real_array(name, value)
    if array.shape == shape:
        return array
    if array.shape != grid.shape:
        own = "" if shape == grid.shape else f" or the volume's {shape}"
        raise ValueError(f"{name} must have the grid's shape {grid.shape}{own}, got {array.shape}")
    return np.broadcast_to(array[..., np.newaxis], shape)
