"""Cross-correlation and phase correlation of whole images, of any number of axes.

The map of a and b at the lag d is

    c(d) = sum_x a(x) b(x + d),

so that its peak is at the displacement of b relative to a. With fftshift (the default) the lag
along an axis of n pixels is index - n // 2; without it, the index, or index - n in the second half.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..base import check, image_data
from ..base.named_axes import in_order, lay_out
from ..base.scaling import power_of_two
from . import fourier_series, peaks
from .inputs import missing

WINDOWS = ("hann",)
BOUNDARIES = ("wrap", "overlap")
_LEAST = 0.1  # share of the pixels under which a normalised value would mean nothing


def _window(name: Any, shape: tuple[int, ...]) -> np.ndarray | float:
    """The product of tapers along all axes."""
    if name is None:
        return 1.0
    check.choice("window", name, WINDOWS)
    taper = np.ones(shape)
    for axis, n in enumerate(shape):
        line = np.sin(np.pi * (np.arange(n) + 0.5) / n) ** 2
        taper *= line.reshape([-1 if i == axis else 1 for i in range(len(shape))])
    return taper


def _read(a: Any, b: Any, mask: Any) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Values, 0 where missing, and which exist."""
    masks = mask if isinstance(mask, tuple) else (mask, mask)
    if len(masks) != 2:
        raise ValueError(f"mask must be one array or a tuple of two, got {len(masks)}")
    pairs = [
        image_data.masked(name, *lay_out(name, value, mask=hidden))
        for name, value, hidden in (("a", a, masks[0]), ("b", b, masks[1]))
    ]
    arrays = [check.real_array(name, value) for name, (value, _) in zip("ab", pairs, strict=True)]
    if arrays[0].shape != arrays[1].shape:
        raise ValueError(f"b must have the shape of a, {arrays[0].shape}, got {arrays[1].shape}")
    if not arrays[0].ndim or not arrays[0].size:
        raise ValueError(f"a must hold a pixel, got shape {arrays[0].shape}")
    values, valid = [], []
    for array, (_, holes) in zip(arrays, pairs, strict=True):
        gone = missing("mask", holes, array.shape)
        exists = np.isfinite(array) if gone is None else np.isfinite(array) & ~gone
        values.append(np.where(exists, array, 0).astype(np.float64))
        valid.append(exists)
    return values, valid


def _centred(values: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Existing values less their mean; 0 where values are missing."""
    count = valid.sum()
    return np.where(valid, values - values.sum() / max(count, 1), 0.0)


def _lags(values: np.ndarray, shape: tuple[int, ...], fftshift: bool) -> np.ndarray:
    """The lags of this shape of a larger map, in the order that ``fftshift`` says."""
    order = [
        np.arange(n) - n // 2 if fftshift else np.rint(np.fft.fftfreq(n, 1 / n)).astype(int)
        for n in shape
    ]
    return values[np.ix_(*[lags % n for lags, n in zip(order, values.shape, strict=True)])]


def cross_correlate(
    a: ArrayLike,
    b: ArrayLike,
    normalize: bool = True,
    window: str | None = None,
    *,
    boundary: str = "wrap",
    mask: ArrayLike | tuple | None = None,
    fftshift: bool = True,
) -> np.ndarray:
    """Cross-correlation of two arrays at all lags up to half their size.

    Parameters
    ----------
    a, b : array_like
        Of one shape, with any number of axes; NaN and infinity are missing.
    normalize : bool, optional
        Correlation coefficients, -1 to 1, of the pixels that overlap at each lag; NaN at lags where
        fewer than a tenth of the pixels overlap. Otherwise the sum of products.
    window : {"hann"}, optional
        A taper: both arrays are multiplied by it after their mean is subtracted.
    boundary : {"wrap", "overlap"}
        Periodic arrays, or nothing beyond their edges.
    mask : array_like of bool, or a tuple of two, optional
        True where a pixel is missing, in both or in each.
    fftshift : bool, optional
        The lag 0 at index n // 2 of an axis of n, otherwise at index 0.

    Returns
    -------
    ndarray float64
        Of the same shape: at lag d the sum over x of a(x) b(x + d), largest at the displacement of
        b.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described.

    Notes
    -----
    Costs three real transforms, and up to five more where pixels are missing or edges count.

    References
    ----------
    D. Padfield, "Masked object registration in the Fourier domain", IEEE Trans. Image Processing 21
    (2012) 2706, eq. 5.

    Examples
    --------
    >>> import numpy as np, fastgauss as fg
    >>> a = np.random.default_rng(0).normal(size=(32, 33))
    >>> c = fg.register.cross_correlate(a, np.roll(a, (2, -3), (0, 1)))
    >>> fg.register.shift_from_correlation(c).round(1)
    array([ 2., -3.])
    """
    check.choice("boundary", boundary, BOUNDARIES)
    normalize, fftshift = check.flag("normalize", normalize), check.flag("fftshift", fftshift)
    values, valid = _read(a, b, mask)
    shape = values[0].shape
    if window is not None or normalize:
        values = [_centred(v, m) for v, m in zip(values, valid, strict=True)]
    taper = _window(window, shape)
    if normalize:
        values = [v * power_of_two(float(np.abs(v).max(initial=0.0))) for v in values]
    values = [v * taper for v in values]
    size = shape if boundary == "wrap" else tuple(2 * n for n in shape)

    def correlate(p: np.ndarray, q: np.ndarray) -> np.ndarray:
        return fourier_series.inverse(fourier_series.cross(p, q), size)

    spectra = [fourier_series.transform(v, size) for v in values]
    product = correlate(*spectra)
    if not normalize:
        return _lags(product, shape, fftshift)
    whole = boundary == "wrap" and valid[0].all() and valid[1].all()
    if whole:
        means = [v.mean() for v in values]
        spread = math.sqrt(
            math.prod(float(((v - m) ** 2).sum()) for v, m in zip(values, means, strict=True))
        )
        covariance = product - values[0].size * means[0] * means[1]
        return _lags(covariance / spread if spread > 0 else covariance * np.nan, shape, fftshift)
    known = [fourier_series.transform(m.astype(np.float64), size) for m in valid]
    squares = [fourier_series.transform(v * v, size) for v in values]
    count = np.rint(correlate(known[0], known[1]))
    enough = count >= _LEAST * values[0].size
    count = np.maximum(count, 1)
    sums = correlate(spectra[0], known[1]), correlate(known[0], spectra[1])
    parts = correlate(squares[0], known[1]), correlate(known[0], squares[1])
    spreads = [np.maximum(p - s * s / count, 0) for p, s in zip(parts, sums, strict=True)]
    spread = np.sqrt(spreads[0] * spreads[1])
    enough &= spread > 1e-12 * math.sqrt(math.prod(float((v * v).sum()) for v in values))
    result = np.full(size, np.nan)
    np.divide(product - sums[0] * sums[1] / count, spread, out=result, where=enough)
    return _lags(np.clip(result, -1, 1), shape, fftshift)


def phase_correlate(
    a: ArrayLike, b: ArrayLike, window: str | None = "hann", *, fftshift: bool = True
) -> np.ndarray:
    """Phase correlation: every mode of the cross-spectrum counts alike.

    Parameters
    ----------
    a, b : array_like
        Of one shape, with any number of axes; NaN and infinity count as the mean.
    window : {"hann"} or None, optional
        A taper: both arrays are multiplied by it after their mean is subtracted.
    fftshift : bool, optional
        The lag 0 at index n // 2 of an axis of n, otherwise at index 0.

    Returns
    -------
    ndarray float64
        Of the same shape, periodic: a peak of height 1 or less at the displacement of b.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described.

    Notes
    -----
    Modes without power are left out. Costs three real transforms. The taper, which does not move,
    draws the peak towards 0, by up to 0.1 px for displacements of 3 px of 40 x 40 x 40 pixels. For
    views of a larger scene `align` and `cross_correlate` with ``boundary="overlap"`` have no such
    bias.

    Examples
    --------
    >>> import numpy as np, fastgauss as fg
    >>> a = np.random.default_rng(0).normal(size=(32, 33))
    >>> c = fg.register.phase_correlate(a, np.roll(a, (2, -3), (0, 1)), window=None)
    >>> fg.register.shift_from_correlation(c, method="parabola").round(6)
    array([ 2., -3.])
    """
    fftshift = check.flag("fftshift", fftshift)
    values, valid = _read(a, b, None)
    shape = values[0].shape
    taper = _window(window, shape)
    values = [_centred(v, m) for v, m in zip(values, valid, strict=True)]
    values = [v * power_of_two(float(np.abs(v).max(initial=0.0))) for v in values]
    spectra = [fourier_series.transform(v * taper) for v in values]
    product = fourier_series.cross(*spectra)
    size = np.abs(product)
    fine = size > 1e-15 * size.max()
    product = np.divide(product, size, out=np.zeros_like(product), where=fine)
    return _lags(fourier_series.inverse(product, shape), shape, fftshift)


def shift_from_correlation(
    correlation: ArrayLike, *, fftshift: bool = True, method: str = "fourier"
) -> np.ndarray:
    """The displacement at the peak of a correlation, to a fraction of a pixel.

    Parameters
    ----------
    correlation : array_like
        What `cross_correlate` or `phase_correlate` returned; NaN is no value.
    fftshift : bool, optional
        The value of this option with which the correlation was computed.
    method : {"fourier", "gaussian", "parabola"}
        "fourier": the maximum of the band-limited interpolation next to the highest value, without
        a bias. "gaussian", "parabola": the maximum of this curve through the highest value and its
        neighbours along each axis; the Gaussian is used where all three values are positive. These
        two are exact for a Gaussian or a parabola, but give 0.14 px for 0.25 px where the peak is
        narrow.

    Returns
    -------
    ndarray (ndim,) float64
        Displacement of the second array **in array-axis order**: (dy, dx) for images; NaN where the
        correlation is a constant, as that of blank images is. Of equal peaks, the one next to 0.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described, or nothing is finite.

    Notes
    -----
    The map is periodic along an axis if it goes on across its edge as it does elsewhere. Otherwise
    a peak within 8 lags of the edge is found by the Gaussian, at the edge itself from the inside.

    Examples
    --------
    >>> import numpy as np, fastgauss as fg
    >>> x = np.arange(20.0)
    >>> peak = np.exp(-((x - 12.3) ** 2) / 6)
    >>> fg.register.shift_from_correlation(peak).round(4)
    array([2.3])
    """
    values = check.real_array("correlation", in_order("correlation", correlation))
    fftshift = check.flag("fftshift", fftshift)
    check.choice("method", method, peaks.METHODS)
    values = np.asarray(values, dtype=np.float64)
    if not values.ndim or not np.isfinite(values).any():
        raise ValueError(f"correlation must hold a finite value, got shape {values.shape}")
    middle = [n // 2 for n in values.shape]
    if not fftshift:
        values = np.roll(values, middle, range(values.ndim))
    return peaks.highest(values, method) - middle
