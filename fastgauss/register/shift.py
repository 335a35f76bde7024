"""An image moved by a fraction of a pixel."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from ..base import check
from . import fourier_series
from .results import Shift

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
