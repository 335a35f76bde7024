"""Images moved by a fraction of a pixel."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..base import check, thread_pool
from . import fourier_series
from .results import Shift
from .stack_results import StackAlignment

METHODS = ("fourier", "spline")


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
        Of any real dtype and any number of axes; finite.
    displacement : float or tuple
        Pixels along each axis, **in array-axis order**: (dy, dx) for an image.
    method : {"fourier", "spline"}
        Periodic and band-limited, or by splines of the order `order`, with `cval` where nothing is
        known.
    order : int, optional
        0 to 5, of the splines.
    cval : float, optional
        The value of pixels that come from outside, for splines.

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
    forth lose that mode alone. Noise stays white under "fourier"; splines smooth it.

    Examples
    --------
    >>> import numpy as np, fastgauss as fg
    >>> image = np.eye(4)
    >>> fg.register.shift_image(image, (0, 1)).round(12)[0]
    array([ 0.,  1., -0.,  0.])
    """
    array = check.finite_array("image", image)
    if not array.ndim or not array.size:
        raise ValueError(f"image must hold a pixel, got shape {array.shape}")
    if isinstance(displacement, Shift):
        raise TypeError(
            "displacement must be one number or a tuple, got a Shift: give (shift.dy, shift.dx), "
            "or (-shift.dy, -shift.dx) to move the second image onto the first"
        )
    move = check.per_axis("displacement", displacement, array.ndim)
    check.choice("method", method, METHODS)
    order = check.integer("order", order, at_least=0, at_most=5)
    fill = check.any_number("cval", cval)
    if method == "spline":
        from scipy.ndimage import shift

        return shift(array, move, order=order, mode="constant", cval=fill, prefilter=True)
    spectrum = fourier_series.transform(array)
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
    order: int = 5,
    cval: float = np.nan,
    threads: int | None = None,
) -> np.ndarray:
    """Move each frame of a stack, as `shift_image` does: what was at x is then at x + displacement.

    Parameters
    ----------
    frames : array_like (n, Y, X)
        Of any real dtype; finite.
    displacements : array_like (n, 2)
        Of each frame along axis 0 and axis 1. Minus the displacements of `align_stack` move the
        frames onto the reference, which is what `StackAlignment.apply` does.
    method : {"fourier", "spline"}
        Periodic and band-limited, or by splines of the order `order`, with `cval` where nothing is
        known.
    order : int, optional
        0 to 5, of the splines.
    cval : float, optional
        The value of pixels that come from outside, for splines.
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
    array = check.finite_array("frames", frames)
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
    options: dict[str, Any] = {"method": method, "order": order, "cval": cval}
    shift_image(array[0, :1, :1], 0.0, **options)  # are the options right?
    out = np.full(array.shape, np.nan)

    def move(begin: int, end: int) -> None:
        for k in range(begin, end):
            if not np.isnan(moves[k]).any():
                out[k] = shift_image(array[k], tuple(moves[k].tolist()), **options)

    thread_pool.run(lambda: move, len(array), 1, thread_pool.resolve_threads(threads))
    return out
