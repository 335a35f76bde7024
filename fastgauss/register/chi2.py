"""Chi-squared of the shift between two periodic images: the map, its minimum and its errors.

For the displacement d of im2 relative to im1

    chi2(d) = sum_x v1(x) w2(x + d) (im1(x) - im2(x + d))^2,   w2 = v2 / err^2,

where v1 and v2 are 0 at missing pixels, else 1: three correlations, two of them constant if no
pixel is missing and err is one number. Between whole pixels it is interpolated, band-limited.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from ..base import check
from . import fourier_series
from .chi2_data import Data, power, read, spectra
from .chi2_errors import covariance, rise_of

BOUNDARIES = ("wrap", "overlap")
_ZOOMED = 101  # nodes of a side of the array that is returned, unless told otherwise
LARGEST = 4096  # nodes of a side, at most
_WIDE = 4.0  # standard errors that the array spans in each direction


def _maps(data: Data, size: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """chi2 and the number of pairs of pixels by lag d (at index d modulo the size)."""
    im1, im2 = data.images
    v1, v2 = (m.astype(np.float64) for m in data.valid)
    w2 = data.weight * v2

    def correlate(p: np.ndarray, q: np.ndarray) -> np.ndarray:
        return fourier_series.inverse(
            fourier_series.cross(
                fourier_series.transform(p, size), fourier_series.transform(q, size)
            ),
            size,
        )

    chi2 = correlate(im1**2 * v1, w2) - 2 * correlate(im1, w2 * im2) + correlate(v1, w2 * im2**2)
    pairs = v1.sum() * np.ones(size) if data.plain and size == im1.shape else correlate(v1, v2)
    return np.maximum(chi2, 0.0), np.rint(pairs)


def _plain_series(data: Data, both: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """The series of chi2 where two of its terms are constants, from the spectra of both images."""
    im1, im2 = data.images
    series = fourier_series.cross(*both)
    series *= -2.0 * data.weight / im1.size
    series[0, 0] += data.weight * (power(im1) + power(im2))
    return series


def _zero(n: int) -> int:
    """Index of no shift: n / 2 - 1 or (n - 1) / 2."""
    return (n - 1) // 2


def chi2_map(
    im1: ArrayLike,
    im2: ArrayLike,
    err: ArrayLike | None = None,
    boundary: str = "wrap",
    zeromean: bool = False,
    reduced: bool = False,
    *,
    mask: ArrayLike | tuple | None = None,
) -> np.ndarray:
    """Chi-squared of all shifts by whole pixels that bring the second image onto the first.

    Parameters
    ----------
    im1, im2 : array_like (Y, X)
        Images of any real dtype; NaN and infinity are missing.
    err : float or array_like (Y, X), optional
        Standard deviation of the noise, pixel by pixel of `im2`; 0 in an array is a missing pixel.
        1 by default.
    boundary : {"wrap", "overlap"}
        Periodic images, or nothing beyond their edges: then the sum is over what overlaps.
    zeromean : bool, optional
        Subtract the mean of each image first.
    reduced : bool, optional
        Divide by the number of pixels that were compared, less two.
    mask : array_like (Y, X) of bool, or a tuple of two, optional
        True where a pixel is missing, in both images or in each.

    Returns
    -------
    ndarray (Y, X) float64
        chi2 of the shift s = (row - z_y, column - z_x) *of im2*: its minimum is at minus the
        displacement. z is n / 2 - 1 of an even axis and (n - 1) / 2 of an odd one. NaN where no
        pixels are compared, or no more than two if `reduced`.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described.

    Notes
    -----
    The meaning of image_registration's ``chi2n_map``, except that a missing pixel is left out;
    there it counts as zero. Costs three real transforms, nine where pixels are missing or err is an
    array.

    Examples
    --------
    >>> import numpy as np, fastgauss as fg
    >>> image = np.random.default_rng(0).normal(size=(8, 9))
    >>> chi2 = fg.register.chi2_map(image, np.roll(image, (1, 2), (0, 1)))
    >>> [int(i) for i in np.unravel_index(chi2.argmin(), chi2.shape)]  # 3 - 1, 4 - 2
    [2, 2]
    """
    check.choice("boundary", boundary, BOUNDARIES)
    reduced = check.flag("reduced", reduced)
    data = read(im1, im2, err, mask, zeromean)
    shape = data.images[0].shape
    both = spectra(data) if boundary == "wrap" else None
    if both is not None:
        series = _plain_series(data, both)
        chi2 = np.maximum(fourier_series.inverse(series * data.images[0].size, shape), 0.0)
        pairs = np.full(shape, float(data.images[0].size))
    else:
        chi2, pairs = _maps(data, shape if boundary == "wrap" else tuple(2 * n for n in shape))
    chi2 = chi2 * data.unit
    fewest = 2 if reduced else 0
    many = pairs - fewest if reduced else 1.0
    chi2 = np.divide(chi2, many, out=np.full(chi2.shape, np.nan), where=pairs > fewest)
    lags = [(_zero(n) - np.arange(n)) % m for n, m in zip(shape, chi2.shape, strict=True)]
    return chi2[np.ix_(*lags)]


def by_displacement(data: Data, both: tuple[np.ndarray, np.ndarray] | None) -> np.ndarray:
    """The series of chi2 by displacement, for as many pairs of pixels everywhere.

    ``both`` is what `spectra` says.
    """
    if both is not None:
        return _plain_series(data, both)
    chi2, pairs = _maps(data, data.images[0].shape)
    enough = pairs > 0.5 * pairs.max()
    level = np.divide(chi2, pairs, out=np.zeros_like(chi2), where=enough) * pairs.max()
    level[~enough] = level.max()
    return fourier_series.transform(level) / chi2.size


def chi2_shift(
    im1: ArrayLike,
    im2: ArrayLike,
    err: ArrayLike | None = None,
    upsample_factor: str | float = "auto",
    return_error: bool = True,
    return_chi2array: bool = False,
    zeromean: bool = False,
    *,
    nfitted: int = 1,
    mask: ArrayLike | tuple | None = None,
) -> tuple:
    """Displacement of one periodic image relative to another where chi-squared is least.

    For crops of a larger scene use `align`: what leaves a crop does not enter on its other side.

    Parameters
    ----------
    im1, im2 : array_like (Y, X)
        Images of any real dtype; NaN and infinity are missing.
    err : float or array_like (Y, X), optional
        Standard deviation of the noise of the difference, pixel by pixel of `im2`; 0 in an array is
        a missing pixel. By default it is estimated from the residual.
    upsample_factor : "auto" or number, optional
        A minimum of the interpolated chi-squared itself, or the best of the multiples of
        1 / upsample_factor pixels around.
    return_error, return_chi2array : bool, optional
        What to return.
    zeromean : bool, optional
        Subtract the mean of each image first.
    nfitted : int, optional
        1: errors of each axis, where chi2 rises by 1. 2: extent of the joint region of the same
        probability, 1.52 times as much.
    mask : array_like (Y, X) of bool, or a tuple of two, optional
        True where a pixel is missing, in both images or in each.

    Returns
    -------
    dx, dy : float
        Displacement along axis 1 and axis 0; NaN where no minimum is found.
    ex, ey : float
        If `return_error`: their standard errors.
    (x, y, chi2) : tuple of ndarray
        If `return_chi2array`: displacements (nx,), (ny,) and chi-squared (ny, nx) around the
        minimum.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described.

    Notes
    -----
    The meaning of image_registration's ``chi2_shift``. Its errors are those of the joint region
    (nfitted=2), and with err=None those of an error of 1. Where both images are noisy the error is
    larger than the rise of 1: see the module's mathematics.

    References
    ----------
    M. Guizar-Sicairos, S. Thurman and J. Fienup, "Efficient subpixel image registration
    algorithms", Optics Letters 33 (2008) 156: the matrix-multiply DFT.

    Examples
    --------
    >>> import numpy as np, fastgauss as fg
    >>> y, x = np.mgrid[:64, :65] - 32.0
    >>> image = 20 * np.exp(-(x**2 + y**2) / 18)
    >>> moved = fg.register.shift_image(image, (-4.25, 3.665))
    >>> noise = np.random.default_rng(0).normal(size=image.shape)
    >>> dx, dy, ex, ey = fg.register.chi2_shift(image, moved + noise, 1.0)
    >>> abs(dx - 3.665) < 3 * ex, abs(dy + 4.25) < 3 * ey
    (True, True)
    """
    return_error = check.flag("return_error", return_error)
    return_chi2array = check.flag("return_chi2array", return_chi2array)
    factor = 0.0
    if upsample_factor != "auto":
        if isinstance(upsample_factor, str):
            check.choice("upsample_factor", upsample_factor, ("auto",))
        factor = check.number("upsample_factor", upsample_factor, at_least=1)
    rise = math.sqrt(rise_of(nfitted, 1.0))
    data = read(im1, im2, err, mask, zeromean)
    shape = data.images[0].shape
    both = spectra(data)
    series = by_displacement(data, both)
    values = fourier_series.inverse(series * data.images[0].size, shape)
    start = fourier_series.coarse_minimum(values)
    best = fourier_series.minimise(series, shape, start)
    place = best.place if best.found else np.full(2, np.nan)
    errors = np.full(2, np.nan)
    if best.found and (return_error or return_chi2array):
        errors = np.sqrt(np.diag(covariance(data, both, best, values)))
    if best.found and factor:
        place = _on_grid(series, shape, place, factor)
    out: tuple = (float(place[0]), float(place[1]))
    if return_error:
        out += (float(rise * errors[0]), float(rise * errors[1]))
    if return_chi2array:
        out += (_array(series * data.unit, shape, place, errors, factor),)
    return out


def _on_grid(
    series: np.ndarray, shape: tuple[int, ...], place: np.ndarray, factor: float
) -> np.ndarray:
    """The best multiple of 1 / factor next to a minimum."""
    x, y = ((np.rint(place[i] * factor) + np.arange(-1, 2)) / factor for i in (0, 1))
    values = fourier_series.zoom(series, shape, y, x)
    i, j = np.unravel_index(int(values.argmin()), values.shape)
    return np.array([x[j], y[i]])


def _array(
    series: np.ndarray, shape: tuple[int, ...], place: np.ndarray, errors: np.ndarray, factor: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Displacements and chi2 around the minimum."""
    if not np.isfinite(place).all():
        return np.full(_ZOOMED, np.nan), np.full(_ZOOMED, np.nan), np.full((_ZOOMED,) * 2, np.nan)
    span = np.clip(_WIDE * np.nan_to_num(errors, posinf=math.inf), 1e-6, 0.5 * min(shape))
    half = _ZOOMED // 2
    if factor:
        half = int(min(max(np.ceil(span.max() * factor), half), LARGEST // 2))
        span = np.full(2, half / factor)
    steps = np.linspace(-1, 1, 2 * half + 1)
    x, y = (place[i] + span[i] * steps for i in (0, 1))
    return x, y, np.maximum(fourier_series.zoom(series, shape, y, x), 0.0)
