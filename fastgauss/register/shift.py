"""Images moved by a fraction of a pixel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..base import check, image_data, thread_pool
from ..base.named_axes import in_order, lay_out, transposed_back
from . import fourier_series
from .inputs import fill, missing
from .results import Shift
from .stack_results import StackAlignment

METHODS = ("fourier", "spline")
_WHOLE = 1.0 - 1e-9  # of the weight of the pixels around: what exists
_WHOLE_NUMBERS = "biu"  # kinds of dtype of which every number is finite


def shift_image(
    image: ArrayLike,
    displacement: float | tuple[float, ...],
    method: str = "fourier",
    *,
    order: int = 5,
    cval: float = np.nan,
) -> np.ndarray:
    """Move an image: what was at x is then at x + displacement.

    Parameters
    ----------
    image : array_like
        Of any real dtype and any number of axes; finite, or for splines NaN, infinity and masked
        where a pixel is missing.
    displacement : float or tuple
        Pixels along each axis, **in array-axis order**: (dy, dx) for an image.
    method : {"fourier", "spline"}
        Periodic and band-limited, or by splines of the order `order`, with `cval` where nothing is
        known.
    order : int, optional
        0 to 5, of the splines.
    cval : float, optional
        The value of pixels that come from outside or from missing pixels, for splines.

    Returns
    -------
    ndarray float64
        Of the same shape.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described.

    Notes
    -----
    Of an even axis, the mode of Nyquist becomes its cosine: the result is real and shifts back and
    forth lose that mode alone. Noise stays white under "fourier"; splines smooth it. Splines get a
    guess of missing pixels from those around; what lies between a missing pixel and those next to
    it is `cval`.

    Examples
    --------
    >>> import numpy as np, fastgauss as fg
    >>> image = np.eye(4)
    >>> fg.register.shift_image(image, (0, 1)).round(12)[0]
    array([ 0.,  1., -0.,  0.])
    """
    order, outside = _options(method, order, cval)
    arranged = in_order("image", image)
    array, exists = read_pixels("image", arranged, None, method)
    if not array.ndim or not array.size:
        raise ValueError(f"image must hold a pixel, got shape {array.shape}")
    if isinstance(displacement, Shift):
        raise TypeError(
            "displacement must be one number or a tuple, got a Shift: give (shift.dy, shift.dx), "
            "or (-shift.dy, -shift.dx) to move the second image onto the first"
        )
    move = check.per_axis("displacement", displacement, array.ndim)
    if method == "spline":
        moved = _by_splines(array, exists, move, order, outside)
    else:
        moved = _by_waves(array, move)
    return transposed_back(moved, arranged, image)


def _options(method: str, order: Any, cval: Any) -> tuple[int, float]:
    check.choice("method", method, METHODS)
    return check.integer("order", order, at_least=0, at_most=5), check.any_number("cval", cval)


def read_pixels(
    name: str, value: Any, mask: Any, method: str, frames: bool = False
) -> tuple[np.ndarray, np.ndarray | None]:
    """Numbers, and which of them exist; None if all do, as they must for periodic images.

    The mask of ``frames`` may be one for all of them.
    """
    if method != "spline":
        if mask is not None:
            raise ValueError(f"mask must be None with method={method!r}, whose frames are whole")
        array = check.real_array(name, value)
        return array if array.dtype.kind in _WHOLE_NUMBERS else check.finite_array(
            name, array
        ), None
    values, hidden = image_data.masked(name, value, mask)
    array = check.real_array(name, values)
    exists = None if array.dtype.kind in _WHOLE_NUMBERS else np.isfinite(array)
    if hidden is not None:
        one = frames and np.ndim(hidden) == array.ndim - 1
        gone = missing("mask", hidden, array.shape[1:] if one else array.shape)
        if gone is not None:
            here = np.broadcast_to(~gone, array.shape)
            exists = here if exists is None else exists & here
    return array, None if exists is None or exists.all() else exists


def _by_splines(
    array: np.ndarray, exists: np.ndarray | None, move: tuple[float, ...], order: int, cval: float
) -> np.ndarray:
    from scipy.ndimage import shift

    return resample(array, exists, lambda pixels, **how: shift(pixels, move, **how), order, cval)


def resample(
    array: np.ndarray, exists: np.ndarray | None, move: Callable, order: int, cval: float
) -> np.ndarray:
    """Pixels after a move of scipy's, by splines; ``cval`` where nothing is known."""
    array = array.astype(np.float64, copy=False)
    if exists is None:
        return move(array, order=order, mode="constant", cval=cval)
    values = np.where(exists, array, 0.0)
    if exists.any():
        level = values[exists].mean()
        values = np.where(exists, values - level, 0.0)
        fill(values, exists)
        values += level
    moved = move(values, order=order, mode="constant", cval=cval)
    known = move(exists.astype(np.float64), order=min(order, 1), mode="constant", cval=0.0)
    moved[known < _WHOLE] = cval
    return moved


def _by_waves(array: np.ndarray, move: tuple[float, ...]) -> np.ndarray:
    spectrum = fourier_series.transform(array.astype(np.float64, copy=False))
    for axis, (n, d) in enumerate(zip(array.shape, move, strict=True)):
        half = axis == array.ndim - 1
        wave = fourier_series.waves(n, half, np.array([-d]))[0, 0]
        spectrum *= wave.reshape([-1 if i == axis else 1 for i in range(array.ndim)])
    return fourier_series.inverse(spectrum, array.shape)


def shift_stack(
    frames: ArrayLike,
    displacements: ArrayLike,
    method: str = "spline",
    *,
    mask: ArrayLike | None = None,
    order: int = 5,
    cval: float = np.nan,
    threads: int | None = None,
) -> np.ndarray:
    """Move each frame of a stack, as `shift_image` does: what was at x is then at x + displacement.

    Parameters
    ----------
    frames : array_like (n, Y, X)
        Of any real dtype; finite, or for splines NaN, infinity and masked where a pixel is missing.
    displacements : array_like (n, 2)
        Of each frame along axis 0 and axis 1. Minus the displacements of `align_stack` move the
        frames onto the reference, which is what `StackAlignment.apply` does.
    method : {"fourier", "spline"}
        Periodic and band-limited, or by splines of the order `order`, with `cval` where nothing is
        known.
    mask : array_like (Y, X) or (n, Y, X) of bool, optional
        True where a pixel is missing, for splines.
    order : int, optional
        0 to 5, of the splines.
    cval : float, optional
        The value of pixels that come from outside or from missing pixels, for splines.
    threads : int, optional
        Largest number of threads. Results do not depend on it, to the bit.

    Returns
    -------
    ndarray (n, Y, X) float64
        NaN in frames whose displacement is NaN.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described.

    Examples
    --------
    >>> import numpy as np, fastgauss as fg
    >>> frames = np.stack([np.eye(4)] * 2)
    >>> fg.register.shift_stack(frames, [(0, 0), (0, 1)]).round(9)[1, 0] + 0.0
    array([nan,  1.,  0.,  0.])
    """
    order, cval = _options(method, order, cval)
    if isinstance(frames, list | tuple):
        frames = [in_order(f"frames[{k}]", frame) for k, frame in enumerate(frames)]
    arranged, mask = lay_out("frames", frames, mask=mask)
    array, exists = read_pixels("frames", arranged, mask, method, frames=True)
    if array.ndim != 3 or not array.size:
        raise ValueError(f"frames must hold pixels in 3 dimensions, got shape {array.shape}")
    if isinstance(displacements, StackAlignment):
        raise TypeError(
            "displacements must be an array, got a StackAlignment: use its method apply, or give "
            "-displacements to move the frames onto the reference"
        )
    moves = check.real_array("displacements", displacements)
    if moves.shape != (len(array), 2):
        raise ValueError(f"displacements must have shape {(len(array), 2)}, got {moves.shape}")
    if np.isinf(moves).any():
        raise ValueError("displacements must be finite or NaN, got infinity")
    out = np.full(array.shape, np.nan)

    def move(begin: int, end: int) -> None:
        for k in range(begin, end):
            if not np.isnan(moves[k]).any():
                move = tuple(moves[k].tolist())
                if method == "spline":
                    here = None if exists is None or exists[k].all() else exists[k]
                    out[k] = _by_splines(array[k], here, move, order, cval)
                else:
                    out[k] = _by_waves(array[k], move)

    thread_pool.run(lambda: move, len(array), 1, thread_pool.resolve_threads(threads))
    return transposed_back(out, arranged, frames)
