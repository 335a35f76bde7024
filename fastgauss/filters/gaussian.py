"""Gaussian windows and filters of arrays: smoothing, derivatives, band passes.

A filter correlates an array with a product of one sampled profile per axis, as scipy.ndimage does:
the results are those of scipy except for rounding. A profile is the Gaussian of sum 1, cut at
`truncate` sigmas, or one of its derivatives (``filters/taps.py``). The mode of an axis says which
values lie beyond its ends: see `gaussian_filter`.

With missing elements the smoothing is a normalised convolution: the mean of the other elements,
weighted by the Gaussian (Knutsson & Westin 1993, eq. 9 with one basis function).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from ..base import check, image_data, wording
from ..base.duck_arrays import foreign, keeping_names, of_image
from ..base.progress import Progress
from ..models.evaluation import image as evaluate_image
from .blocks import by_overlap
from .dispatch import (
    METHODS,
    NAN_POLICIES,
    derivatives,
    given,
    make_job,
    make_term,
    run,
    run_normalised,
)
from .taps import Profile

_FILTER = of_image(by_overlap)


def gaussian_filter(
    image: ArrayLike,
    sigma: float | Sequence[float],
    order: int | Sequence[int] = 0,
    mode: str | Sequence[str] = "reflect",
    cval: float = 0.0,
    truncate: float = 4.0,
    out: np.ndarray | DTypeLike | None = None,
    *,
    radius: int | Sequence[int] | None = None,
    axes: int | Sequence[int] | None = None,
    mask: ArrayLike | None = None,
    nan_policy: str = "propagate",
    method: str = "auto",
    threads: int | None = None,
    progress: bool | Progress = False,
) -> np.ndarray:
    """Smooth an array with a Gaussian, or differentiate it, as scipy.ndimage does.

    Parameters
    ----------
    image : array_like of any shape, real
        Of any dtype, byte order and strides. An array of dask or xarray gives a result of that
        library (`fastgauss.dask.gaussian_filter`). Where an array of xarray has axes named x, y, z,
        sequences have the order z, y, x; `axes`, and sequences beside it, count the axes as given.
    sigma : float or sequence of floats
        Standard deviations in elements, one for all axes or one for each; an axis of sigma 0 is not
        filtered.
    order : int or sequence of ints, default 0
        Order of the derivative along each axis. As in scipy, an axis of sigma 0 is not
        differentiated.
    mode : str or sequence of str, default "reflect"
        The values beyond the ends of each axis: "reflect", "constant", "nearest", "mirror", "wrap",
        or scipy's "grid-mirror", "grid-constant", "grid-wrap" (see Notes).
    cval : float, default 0
        The value beyond the ends in mode "constant"; may be NaN.
    truncate : float, default 4
        Radius of the filter in sigmas, rounded to elements.
    out : array, or dtype float32 or float64, optional
        An array for the result, which may be `image`; or the dtype of the result (scipy's
        `output`). By default the result is float32 for float32 and float16, else float64, also for
        integers.
    radius : int or sequence of ints, optional
        The radius in elements, in the place of `truncate`.
    axes : int or sequence of ints, optional
        The axes to filter, by default all. Sequences of `sigma`, `order`, `mode` and `radius` have
        one entry for each of them.
    mask : array_like of bool, the image's shape, optional
        True where an element is missing. The result is then the weighted mean of the other elements
        (a normalised convolution), and NaN where there is none within the radius.
    nan_policy : {"propagate", "omit"}
        "propagate": a NaN makes all results within the radius NaN. "omit": a NaN is a missing
        element.
    method : {"auto", "direct", "fft"}
        "direct" sums products; "fft" uses Fourier transforms, whose cost does not grow with
        `sigma`. "auto" is "fft" where the largest radius exceeds 800 for float32 results (400 for
        float64), the image and `cval` are finite and no element is missing; else it is "direct".
    threads : int, optional
        Largest number of threads. The result does not depend on it, to the bit.
    progress : bool or callable
        True shows a tqdm bar; a callable gets ``(done, total)``.

    Returns
    -------
    array
        `out` if it was given.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind, shape or value; or with `mask` or ``nan_policy="omit"``
        if `order` is not 0 or `method` is "fft".

    See Also
    --------
    gaussian_laplace, gaussian_gradient_magnitude, difference_of_gaussians

    Notes
    -----
    Beyond the ends of an axis with elements a b c d::

        reflect, grid-mirror    d c b a | a b c d | d c b a
        mirror                    d c b | a b c d | c b a
        nearest                   a a a | a b c d | d d d
        wrap, grid-wrap           b c d | a b c d | a b c
        constant, grid-constant   v v v | a b c d | v v v    v = cval

    The coefficients are those of scipy.ndimage.gaussian_filter. The values agree with scipy's in
    all modes: they differ by at most 4 units in the last place of the largest element within the
    radius times the filter's gain (1 for order 0), 16 units for transforms. The products are summed
    in the precision of the result, those of the tails first. scipy returns integers for integers
    and truncates after every axis, so that smoothed counts come out up to one too low for each
    axis; here they are float64, or float32 if `out` says so.

    The cost for each element and axis is about 1 ns in float32 and 2 ns in float64, and 1 ns more
    for each 40 or 20 elements of the radius, on one AVX-512 core at 3.5 GHz; threads divide it.
    Each thread needs some megabytes of scratch memory. Arrays of more than three axes need two more
    copies of the result, transforms three in float64, missing elements two.

    A transform leaves a rounding error of 1e-16 of the largest element of a line everywhere in that
    line.

    Examples
    --------
    >>> import numpy as np
    >>> import fastgauss as fg
    >>> image = np.zeros((3, 5))
    >>> image[1, 2] = 100.0
    >>> fg.gaussian_filter(image, 0.8, mode="constant").round(1)
    array([[ 0.5,  5.2, 11.4,  5.2,  0.5],
           [ 1.1, 11.4, 24.9, 11.4,  1.1],
           [ 0.5,  5.2, 11.4,  5.2,  0.5]])
    >>> image[0, 0] = np.nan
    >>> bool(np.isnan(fg.gaussian_filter(image, 0.8, nan_policy="omit")).any())
    False
    """
    if foreign(image, mask):
        return _FILTER(gaussian_filter, locals())
    image, mask = image_data.masked("image", image, mask)
    omit = check.choice("nan_policy", nan_policy, NAN_POLICIES) == "omit"
    check.choice("method", method, METHODS)
    job = make_job(image, mode, cval, axes, out, threads, progress)
    term = make_term(job, sigma, order, radius, truncate)
    gap = None if mask is None else check.mask("mask", mask, job.array.shape)
    if gap is None and not (omit and job.array.dtype.kind == "f"):
        return given(out, run(job, [term], method))
    if any(profile.odd or not np.all(profile.half >= 0) for profile in term):
        raise ValueError(f"order must be 0 where elements are missing, got {wording.shown(order)}")
    if method == "fft":
        raise ValueError("method must be 'auto' or 'direct' where elements are missing, got 'fft'")
    run_normalised(job, term, gap, omit)
    return given(out, job.out)


@keeping_names
def gaussian_laplace(
    image: ArrayLike,
    sigma: float | Sequence[float],
    mode: str | Sequence[str] = "reflect",
    cval: float = 0.0,
    truncate: float = 4.0,
    out: np.ndarray | DTypeLike | None = None,
    *,
    radius: int | Sequence[int] | None = None,
    axes: int | Sequence[int] | None = None,
    threads: int | None = None,
    progress: bool | Progress = False,
) -> np.ndarray:
    """Laplacian of Gaussian: the sum over the axes of second derivatives of the smoothed array.

    Parameters
    ----------
    image, sigma, mode, cval, truncate, out, radius, axes, threads, progress
        As for `gaussian_filter`.

    Returns
    -------
    array
        `out` if it was given.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind, shape or value.

    See Also
    --------
    find_spots : Uses a scaled Laplacian of Gaussian with no response to a constant.

    Notes
    -----
    The same values as scipy.ndimage.gaussian_laplace; all terms are summed while the data are in
    cache. An axis of sigma 0 is not filtered, so that a stack can be filtered frame by frame, as
    with `axes`; scipy adds the image itself as the derivative along this axis. At least one sigma
    must be above 0.

    Examples
    --------
    >>> import numpy as np
    >>> import fastgauss as fg
    >>> fg.gaussian_laplace(np.arange(12.0) ** 2, 1.0)[4:8].round(1)
    array([2., 2., 2., 2.])
    """
    job = make_job(image, mode, cval, axes, out, threads, progress)
    return given(out, run(job, derivatives(job, sigma, 2, radius, truncate)))


@keeping_names
def gaussian_gradient_magnitude(
    image: ArrayLike,
    sigma: float | Sequence[float],
    mode: str | Sequence[str] = "reflect",
    cval: float = 0.0,
    truncate: float = 4.0,
    out: np.ndarray | DTypeLike | None = None,
    *,
    radius: int | Sequence[int] | None = None,
    axes: int | Sequence[int] | None = None,
    threads: int | None = None,
    progress: bool | Progress = False,
) -> np.ndarray:
    """Length of the gradient of the smoothed array.

    Parameters
    ----------
    image, sigma, mode, cval, truncate, out, radius, axes, threads, progress
        As for `gaussian_filter`.

    Returns
    -------
    array
        `out` if it was given.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind, shape or value.

    Notes
    -----
    The same values as scipy.ndimage.gaussian_gradient_magnitude, in one pass over the data. An axis
    of sigma 0 is not filtered, as in `gaussian_laplace`.

    Examples
    --------
    >>> import numpy as np
    >>> import fastgauss as fg
    >>> ramp = np.add.outer(3.0 * np.arange(12), 4.0 * np.arange(12))
    >>> fg.gaussian_gradient_magnitude(ramp, 1.0)[5:7, 5:7].round(3)
    array([[5., 5.],
           [5., 5.]])
    """
    job = make_job(image, mode, cval, axes, out, threads, progress)
    return given(out, run(job, derivatives(job, sigma, 1, radius, truncate), squares=True))


@keeping_names
def difference_of_gaussians(
    image: ArrayLike,
    low_sigma: float | Sequence[float],
    high_sigma: float | Sequence[float] | None = None,
    mode: str | Sequence[str] = "reflect",
    cval: float = 0.0,
    truncate: float = 4.0,
    out: np.ndarray | DTypeLike | None = None,
    *,
    axes: int | Sequence[int] | None = None,
    threads: int | None = None,
    progress: bool | Progress = False,
) -> np.ndarray:
    """Difference of an array smoothed with a small and with a large sigma: a band pass.

    Parameters
    ----------
    low_sigma, high_sigma : float or sequence of floats
        The two widths, each like `sigma` of `gaussian_filter`; `high_sigma` is by default 1.6 times
        `low_sigma`.
    image, mode, cval, truncate, out, axes, threads, progress
        As for `gaussian_filter`.

    Returns
    -------
    array
        `out` if it was given.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind, shape or value.

    Notes
    -----
    The same values as skimage.filters.difference_of_gaussians for images of real numbers, in one
    pass over the data; the default mode of scikit-image is "nearest". A ratio of 1.6 comes closest
    to a Laplacian of Gaussian.

    References
    ----------
    Marr & Hildreth 1980, Proc. R. Soc. Lond. B 207, 187, appendix B.

    Examples
    --------
    >>> import numpy as np
    >>> import fastgauss as fg
    >>> spot = fg.image([100.0, 8.0, 8.0, 1.5, 20.0], (17, 17), model="symmetric")
    >>> round(float(fg.difference_of_gaussians(spot, 1.5, 3.0)[8, 8]), 1)
    30.0
    """
    job = make_job(image, mode, cval, axes, out, threads, progress)
    if high_sigma is None:
        lows = check.per_axis("low_sigma", low_sigma, len(job.axes), at_least=0.0)
        high_sigma = [1.6 * sigma for sigma in lows]
    low, high = (make_term(job, sigma, 0, None, truncate) for sigma in (low_sigma, high_sigma))
    minus = Profile(-high[0].half, high[0].odd)
    return given(out, run(job, [low, (minus, *high[1:])]))


def gaussian_kernel(
    shape: int | Sequence[int],
    sigma: float | Sequence[float],
    pixel: str = "sample",
    normalize: bool = True,
) -> np.ndarray:
    """A Gaussian window of one to n axes, centred in its shape.

    Parameters
    ----------
    shape : int or sequence of D ints
        Lengths of the axes, at least 1. The centre is at (n - 1) / 2, between two elements where n
        is even.
    sigma : float or sequence of D floats
        Standard deviations in elements.
    pixel : {"sample", "integrate"}
        Values at the elements, or means over them.
    normalize : bool, default True
        True: the sum is 1. False: the peak of the sampled Gaussian is 1.

    Returns
    -------
    ndarray of the shape, float64
        The outer product of one profile an axis.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind, shape or value.

    Notes
    -----
    In one dimension and without `normalize` this is ``scipy.signal.windows.gaussian(n, sigma)``.

    Examples
    --------
    >>> import fastgauss as fg
    >>> fg.gaussian_kernel(4, 1.0, normalize=False).round(4)
    array([0.3247, 0.8825, 0.8825, 0.3247])
    >>> fg.gaussian_kernel((3, 3), 0.8).sum().round(12)
    np.float64(1.0)
    """
    lengths = check.entries("shape", shape)
    lengths = [shape] if lengths is None else lengths
    counts = [check.integer(f"shape[{i}]", n, at_least=1) for i, n in enumerate(lengths)]
    widths = check.per_axis("sigma", sigma, len(counts), above=0.0)
    check.choice("pixel", pixel, ("sample", "integrate"))
    unit_sum = check.flag("normalize", normalize)
    window = np.ones(())
    for n, width in zip(counts, widths, strict=True):
        window = np.multiply.outer(window, _window(n, width, pixel, unit_sum))
    return window


def _window(n: int, sigma: float, pixel: str, unit_sum: bool) -> np.ndarray:
    """The profile of one axis."""
    if unit_sum and pixel == "sample":  # relative to the middle elements, which may underflow
        square = (np.arange(n) - 0.5 * (n - 1)) ** 2
        with np.errstate(over="ignore"):
            profile = np.exp(-0.5 * (square - square.min()) / sigma / sigma)
    else:
        params = [1.0, 0.5 * (n - 1), sigma, 0.0]
        profile = evaluate_image(params, (n,), model="symmetric", pixel=pixel)
    return profile / profile.sum() if unit_sum else profile
