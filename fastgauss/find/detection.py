"""Detection of spots: `find_spots`.

The image is filtered with the negative Laplacian of a Gaussian. The sum and the first moment of the
filter are zero, so the response to a constant and to a linear background is zero. The filter is
scaled so that a noiseless spot of sigma s (that of the filter) and amplitude A has the response A
at its centre; in d dimensions a spot of sigma t has the response

    A * (2 t**2 / (s**2 + t**2))**(d/2) * 2 s**2 / (s**2 + t**2)

Spots are the local maxima of the response that exceed a threshold from its noise.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..base import check, thread_pool
from ..base.progress import Progress, check_progress, report_part, reporting
from ..base.widths import read_width
from . import log_filter
from .noise import noise_thresholds
from .options import check_search
from .peaks import find_peaks, refine_peaks, thin_peaks
from .response import as_three, correlate_picture, prepare

POLARITIES = ("bright", "dark")
_PREPARED, _FILTERED = 15, 70  # hundredths of the work done after each


# -- the public function -----------------------------------------------------------------------


def find_spots(
    image: Any,
    sigma: float | Sequence[float] = 1.3,
    *,
    fwhm: float | Sequence[float] | None = None,
    threshold: float | None = None,
    min_distance: float | Sequence[float] | None = None,
    exclude_border: bool | int = True,
    polarity: str = "bright",
    mask: Any = None,
    saturation: float | None = None,
    threads: int | None = None,
    progress: bool | Progress = False,
) -> np.ndarray:
    """Positions of the bright or dark spots of an image or volume, the strongest first.

    Parameters
    ----------
    image : array_like (X,), (Y, X) or (Z, Y, X), real
        One profile, image or volume, of any dtype, byte order and strides. NaN, infinity and values
        farther than 1e30 from the median are missing pixels (or 1e30 times the usual deviation from
        it, where that is above 1e25), and so are the masked pixels of masked arrays and of
        astropy's NDData.
    sigma : float or sequence of D floats, default 1.3
        Width of the spots in pixels, at least 0.3; one number, or one for each axis.
        Spots from half to three times this width are found too, with a weaker response.
    fwhm : float or sequence of D floats, optional
        In place of `sigma`: the full width at half maximum, 2.3548 sigma.
    threshold : float, optional
        Smallest response of a spot, in units of the image: the amplitude above the background of
        the faintest noiseless spot of this `sigma` that is found. By default five times the noise
        of the response, which is measured locally.
    min_distance : float or sequence of D floats, optional
        If two maxima are closer than this many pixels (one number, or the semi-axes of an
        ellipsoid), the weaker one is dropped. Default 2 `sigma`.
    exclude_border : bool or int, default True
        Width in pixels of the frame in which no spot is reported. True means 1, because a maximum
        on the outermost pixels may belong to a spot outside the image. False means 0.
    polarity : {"bright", "dark"}, default "bright"
        Whether spots are brighter or darker than their surroundings.
    mask : array_like of bool, the image's shape, optional
        True where a pixel is missing.
    saturation : float, optional
        A pixel of this value or more is missing.
    threads : int, optional
        Largest number of threads. The result does not depend on it.
    progress : bool or callable
        True shows a tqdm bar; a callable gets ``(done, total)``.

    Returns
    -------
    positions : ndarray (n, D) float64
        In pixels and in the order of the image's axes (row, column), by falling response. Each is
        the vertex of the parabolas through the response at a local maximum and its neighbours, at
        most half a pixel from that maximum, so that ``np.rint(positions)`` is the pixel of the
        maximum (of two equal pixels, either of them). For noiseless isolated spots the error is
        about 0.05 pixels.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind, shape or range.

    See Also
    --------
    fit_spots : Finds spots and fits them.

    Notes
    -----
    The response is a scale-normalised negative Laplacian of Gaussian; the response to constant and
    linear backgrounds is zero. A spot of amplitude A and sigma t has the response ``4 A s**2 t**2 /
    (s**2 + t**2)**2`` in an image (s is `sigma`): 0.64 A where t is half or twice s, 0.36 A at
    three times.

    A local maximum of the response is a spot if it exceeds the threshold and the rounding error,
    and if the mean of its core (up to 1 sigma) exceeds the *median* of the ring around it (2 to 4
    sigma) by half of the difference that a noiseless spot with that response has. This last
    condition excludes straight edges, and the dark rings that the filter produces around bright
    spots.

    The default threshold is the median of the response plus 5 standard deviations. These come from
    the median absolute deviation, computed again without samples beyond 3 sigma. The threshold is
    measured in cells of about ``95 sigma`` pixels in an image (``30 sigma`` in a volume) and
    interpolated between them, so that brighter and noisier parts have a higher threshold. White
    normal noise in an image of n pixels has fewer than ``1e-6 n / sigma**2`` maxima above it: 0.1
    in 512 x 512 at the default. Pixels that equal all their neighbours (padding, saturation) carry
    no noise and are left out; where they are three quarters of the pixels, the noise is taken as 0.
    For integer images the noise is at least that of rounding, ``1 / sqrt(12)``.

    Give a `threshold` where this measurement fails: for counts below about three a pixel, whose
    noise is far from normal, and for images that are mostly covered by spots (at 0.02 spots of
    sigma 1.3 per pixel the default threshold begins to miss faint spots).

    A missing pixel gets the Gaussian-weighted mean of the pixels around it. A spot whose centre is
    missing is found if two fifths of the Gaussian window around it are valid pixels. Beyond its
    border the image is mirrored. Equal neighbouring maxima are one spot, at the middle pixel.

    The computation is in float32, after the median is subtracted. In an image at sigma 1.3 it takes
    about 7 ns a pixel on one thread, and more at larger sigma. It needs 8 bytes a pixel beyond the
    image, about 20 with missing pixels.

    References
    ----------
    .. [1] T. Lindeberg, "Feature detection with automatic scale selection",
       International Journal of Computer Vision 30 (1998) 79-116.

    Examples
    --------
    >>> import numpy as np
    >>> from fastgauss import find_spots
    >>> y, x = np.mgrid[:60, :80]
    >>> image = 200.0 + x  # an uneven background
    >>> for row, column, amplitude in ((20.0, 30.0, 50.0), (41.0, 62.0, 90.0)):
    ...     r2 = (y - row) ** 2 + (x - column) ** 2
    ...     image += amplitude * np.exp(-r2 / (2 * 1.3**2))
    >>> find_spots(image).round(2)
    array([[41., 62.],
           [20., 30.]])
    >>> find_spots(image, threshold=70.0).round(2)
    array([[41., 62.]])
    """
    check.picture("image", image)
    image, mask = check.masked("image", image, mask)
    array = check.real_array("image", image, (1, 2, 3))
    sigma = read_width(sigma, fwhm, array.ndim)
    sigmas, threshold, distances, margin = check_search(
        array.ndim, sigma, threshold, min_distance, exclude_border
    )
    margin = min(margin, max(array.shape))
    dark = check.choice("polarity", polarity, POLARITIES) == "dark"
    holes = None if mask is None else check.mask("mask", mask, array.shape)
    if saturation is not None:
        full = array >= check.number("saturation", saturation)
        holes = full if holes is None else holes | full
    threads = thread_pool.resolve_threads(threads)
    check_progress(progress)
    if any(n < s for n, s in zip(array.shape, sigmas, strict=True)):
        return np.empty((0, array.ndim))

    with reporting(progress, 100, "%") as report:
        widths = as_three(sigmas, 0.0)
        picture = prepare(array, holes, dark, widths, threads)
        terms, gain = log_filter.spot_filter(widths)
        filtering = report_part(report, 100, _PREPARED, _FILTERED)
        response = correlate_picture(picture.volume, terms, threads, filtering)
        if threshold is None:
            least = gain / math.sqrt(12.0) if array.dtype.kind in "iu" else 0.0
            levels = noise_thresholds(picture, response, widths, least)
        else:
            levels = np.full((1, 1, 1), threshold / picture.unit)
        points = find_peaks(picture, response, levels, widths, threads)
        points = points[thin_peaks(points, response.shape, np.array(as_three(distances, 1.0)))]
        axes = np.flatnonzero(widths)
        lengths = np.array(response.shape)[axes]
        inside = np.all((points[:, axes] >= margin) & (points[:, axes] < lengths - margin), axis=1)
        found = refine_peaks(response, points[inside])[:, axes]
        if report is not None:
            report(100, 100)
        return found
