"""Detection of spots: `find_spots`.

A spot is where the likelihood ratio of a spot on a local background to that background alone is
more significant than noise explains (``matched_filter``). With a threshold in the image's units, or
with the detector "laplacian", spots are maxima of a negative Laplacian (``laplacian``): its sum and
first moment are zero, so its response to a constant or linear background is zero. The Laplacian is
scaled so that a noiseless spot of sigma s (that of the filter) and amplitude A has the response A
at its centre; in d dimensions a spot of sigma t has the response

    A * (2 t**2 / (s**2 + t**2))**(d/2) * 2 s**2 / (s**2 + t**2)
"""

from __future__ import annotations

from typing import Any, Literal, overload

import numpy as np

from ..base import check, image_data
from ..base.named_axes import lay_out
from ..base.progress import Progress
from .found_spots import FoundSpots
from .noise import NOISE_FACTOR
from .options import Given
from .prepared_search import prepare_search

# -- the public function -----------------------------------------------------------------------


@overload
def find_spots(
    image: Any, sigma: Any = ..., *, details: Literal[True], **options: Any
) -> FoundSpots: ...
@overload
def find_spots(
    image: Any, sigma: Any = ..., *, details: Literal[False] = ..., **options: Any
) -> np.ndarray: ...
def find_spots(  # type: ignore[misc]  # the options above are these
    image: Any,
    sigma: Any = 1.3,
    *,
    fwhm: Any = None,
    false_alarms: float | None = None,
    significance: float | None = None,
    threshold: float | None = None,
    detector: str | None = None,
    shape_level: float | None = None,
    details: bool = False,
    min_distance: Any = None,
    exclude_border: bool | int = True,
    polarity: str = "bright",
    variance: Any = None,
    mask: Any = None,
    saturation: float | None = None,
    threads: int | None = None,
    progress: bool | Progress = False,
) -> np.ndarray | FoundSpots:
    """Positions of the bright or dark spots of an image or volume, the strongest first.

    Parameters
    ----------
    image : array_like (X,), (Y, X) or (Z, Y, X), real
        One profile, image or volume, of any dtype, byte order and strides. NaN, infinity and values
        farther than 1e30 from the median are missing pixels (or 1e30 times the usual deviation from
        it, where that is above 1e25), and so are the masked pixels of masked arrays and of
        astropy's NDData. An array of xarray whose axes are named x, y and z may have them in any
        order; results are (z,) row and column all the same.
    sigma : float, sequence of D floats, array (K, 1) or (K, D), or None; default 1.3
        Width of the spots in pixels, at least 0.3; one number, or one for each axis.
        Spots from half to three times this width are found too, with a weaker response.
        Several sizes are rows, ``[[1.3], [3.5]]``, of one number or of one for each axis: each spot
        is found at the size that it resembles most. A range is several sizes in steps,
        ``np.geomspace(1, 4, 5)[:, None]``. With steps of a factor of 1.5, a spot between two sizes
        has a signal-to-noise ratio that is 2 % smaller in an image. None takes the sizes that the
        image shows (Notes).
    fwhm : as `sigma`, optional
        In place of `sigma`: the full width at half maximum, 2.3548 sigma.
    false_alarms : float, optional
        Number of false spots that are expected in the image: maxima of its noise that are at least
        as significant as a spot must be (Notes). By default 1, unless one of the next two is given.
    significance : float, optional
        Smallest significance of a spot: the number of standard deviations beyond which a normal
        distribution has as much probability as the noise at the spot has beyond its response.
    threshold : float, optional
        Smallest response of a spot, in units of the image: the amplitude above the background of
        the faintest noiseless spot of this `sigma` that is found.
    detector : {"matched", "laplacian"}, optional
        Whether spots are maxima of a matched filter, judged by likelihood ratio, or of a negative
        Laplacian, which is three to four times faster, misses faint spots and separates closer
        ones. By default the Laplacian with a `threshold`, else the matched filter. Without a
        `threshold`, maxima of the Laplacian must exceed five deviations of its noise, which is
        measured locally, or as many as follow from `false_alarms` or `significance`.
    shape_level : float, optional
        A maximum is left out if a spot would look as unlike a spot with a probability below this:
        hot pixels, columns, tracks, lines, plateaus (Notes). 0 keeps all. By default 0.01, which
        keeps 99 % of the spots of 0.6 to three times `sigma`; 0 by default with the Laplacian.
    details : bool, default False
        Whether to return a `FoundSpots`: the positions, and the significance, amplitude,
        background, sharpness, p-value of the shape and size of each spot.
    min_distance : float or sequence of D floats, optional
        If two maxima are closer than this many pixels (one number, or the semi-axes of an
        ellipsoid), the weaker one is dropped. Default 2 `sigma`.
    exclude_border : bool or int, default True
        Width in pixels of the frame in which no spot is reported. True means 1, because a maximum
        on the outermost pixels may belong to a spot outside the image. False means 0.
    polarity : {"bright", "dark"}, default "bright"
        Whether spots are brighter or darker than their surroundings.
    variance : array_like, the image's shape, optional
        The variance of the camera's read-out noise in each pixel, beside the noise of the counts in
        the image (sCMOS); a pixel of infinite variance is missing. Not with the Laplacian.
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
    positions : ndarray (n, D) float64, or FoundSpots
        In pixels and in the order of the image's axes (row, column), the strongest spot first: by
        significance with the matched filter, by response with the Laplacian. Each position is the
        vertex of the parabolas through the response at a local maximum and its neighbours, at
        most half a pixel from that maximum, so that ``np.rint(positions)`` is the pixel of the
        maximum (of two equal pixels, either of them). For noiseless isolated spots the error is
        about 0.05 pixels.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind, shape or range, if more than one of `false_alarms`,
        `significance` and `threshold` is given, or a `threshold` with the matched filter.

    See Also
    --------
    fit_spots : Finds spots and fits them.

    Notes
    -----
    At each pixel the best amplitude of a spot on a local background, a paraboloid in a window nine
    times as wide as the spot, is a matched filter whose weights have the sum zero. The amplitude
    divided by its standard deviation is the root of twice the logarithm of the likelihood ratio
    [1]_. The signal-to-noise ratio is 99 % of that with a known background.

    The noise is measured in cells of about ``95 sigma`` pixels in an image (``30 sigma`` in a
    volume), and interpolated between them. Whole numbers whose variance is their mean are taken as
    counts, whose noise is that of the background. Tails are those of shot noise, by the formula of
    Lugannani and Rice [2]_, from 0.02 counts a pixel on; for noise of another gain the skewness is
    measured from the pixels. Whole numbers that take few values, as in clipped images, are taken as
    shot noise of their variance and skewness. Where most of the response is due to structures wider
    than spots, as on a texture (the correlation of responses 3 sigma apart is 0.6 or more), the
    skewness of the response counts, too.

    The expected number of maxima above a significance is that of a normal field on the lattice of
    pixels, by the correlations of the filter [3]_. In simulated white noise, and in counts from
    0.05 a pixel on, the number of maxima was within 35 % of the expected one. On a curved
    background, and in structured noise, the local deviation is right, but the number is not.

    Each of several sizes is searched for separately, with the same least significance, above which
    noise is expected to have `false_alarms` maxima over places and sizes: the sizes are one more
    axis of that field, with the correlations of the filters. Of the maxima of one spot at several
    sizes, the one with the largest signal-to-noise ratio is kept. A weaker maximum at another size
    is left out if it is closer than `min_distance` (2 sigma of the smaller size), or if it is not
    significant without the light of the other spots.

    With ``sigma=None`` bright spots (0.001 false alarms) are found at the sizes 0.7, 1, 1.4 ... 8,
    at most an eighth of the image. The size of each follows from the ratio of its signal-to-noise
    ratios at two sizes. Similar sizes become one size, their median; sizes that spread by more than
    a factor of 1.5 become several, in steps. If fewer than three spots are bright, all these sizes
    are searched for.

    A maximum is a spot if two conditions hold. It is significant, also above the median of the ring
    around it (2 to 4 sigma) where that median is above the background. And the mean of its core (up
    to 1 sigma) exceeds that median by half of the difference that a noiseless spot of its curvature
    has, minus twice the error of this difference by noise. This excludes straight edges, and the
    dark rings that the filter produces around bright spots.

    The shape is judged by sums of the pixels around a maximum, each with the variance and the
    skewness that noise and the spot's own light give it. A maximum has the shape of a spot unless
    its middle pixel, column or row is higher above the amplitude than in a spot of 0.6 `sigma`; its
    second moment in some direction, in the window of a spot, is smaller than in such a spot (of
    0.66 `sigma` where the largest moment is that of a line); its second moments in all directions
    are larger than in a spot of 3 `sigma`; the response is high at 3, 5 and 7 `sigma` on both
    sides, with no gap between (a line); half of the response is the sum of responses that are as
    high along up to three directions (lines that cross); or the response, above that on the darkest
    third around, stays half as high at 3 `sigma` in two directions 140 degrees or more apart (an
    edge), at 3, 5 and 7 `sigma` in one direction (the end of a line), or nearly so on average over
    two opposite directions. High responses beside a maximum that is surely more compact than lines
    are its neighbours, and do not count; nor does the light of maxima that are spots themselves, or
    of maxima between which and all neighbours the image is significantly darker (a row of spots),
    nor what chance explains where spots are dense. The p-value is twice the smallest probability
    that these tests give for spots at the limits of 0.6 and 3 `sigma`, so hardly any spot between
    these limits has a small one. Spots in rows may be taken for lines: at 0.01 spots a pixel some
    0.5 % of those of sigma 1.3, at 0.02 some 2 to 4 %. A spot that is narrower than a pixel cannot
    be distinguished from a hot pixel: below a sigma of about 0.8 only bright hot pixels and lines
    are left out.

    A maximum of the Laplacian is a spot if it is above the threshold and its core exceeds the ring
    as above, without allowance for noise. The noise of the Laplacian is taken as normal, which
    fails for counts below about three a pixel, and for images that are mostly covered by spots.

    The matched filter separates two equal bright spots from a distance of about 2.8 sigma on, the
    Laplacian from about 2.5 sigma on. With one size, maxima of the Laplacian within 4 sigma of a
    spot are therefore spots, too, or replace it where it is several spots, if they are as
    significant above the noise of the Laplacian and of the light there. Where spots cover more than
    a twentieth of an image, their light acts as noise that hides other spots; where they cover more
    than a hundredth, their wings may, as those of bright stars do (the noise is then more than
    twice that of the Laplacian). There all maxima of the Laplacian above five deviations of its own
    noise count. Spots wider than 1.7 sigma are not separated. To a spot of amplitude A and sigma t
    in an image (s is `sigma`), the response of the matched filter is
    ``2 A t**2 / (s**2 + t**2)``, and that of the Laplacian ``4 A s**2 t**2 / (s**2 + t**2)**2``.

    With `variance` the weight of each pixel is the inverse of its variance, which includes that of
    the counts of the background. A pixel is then not taken for a spot because it is noisier.

    A missing pixel has no weight. A spot whose centre is missing is found if two fifths of the
    Gaussian window around it are valid pixels. Pixels beyond the border have no weight either; for
    the Laplacian the image is mirrored there. Equal neighbouring maxima are one spot, at the middle
    pixel.

    The computation is in float32, after the median is subtracted. At sigma 1.3 and one spot in a
    thousand pixels a large image takes some 20 ns a pixel on one thread, a small one at least 3
    ms; the Laplacian 8 ns and 1 ms. It needs 16 bytes a pixel beyond the image, about 28 with
    missing pixels, and 8 for each further size.

    References
    ----------
    .. [1] S. M. Kay, "Fundamentals of Statistical Signal Processing: Detection Theory" (1998).
    .. [2] R. Lugannani and S. Rice, "Saddle point approximation for the distribution of the sum of
       independent random variables", Advances in Applied Probability 12 (1980) 475-490.
    .. [3] K. J. Worsley, "An improved theoretical P value for SPMs based on discrete local maxima",
       NeuroImage 28 (2005) 1056-1062; for fine pixels, K. J. Worsley et al., "A unified
       statistical approach for determining significant signals in images of cerebral activation",
       Human Brain Mapping 4 (1996) 58-73.

    Examples
    --------
    >>> import numpy as np
    >>> from fastgauss import find_spots
    >>> y, x = np.mgrid[:60, :80]
    >>> image = 200.0 + x  # an uneven background
    >>> for row, column, amplitude in ((20.0, 30.0, 50.0), (41.0, 62.0, 90.0)):
    ...     r2 = (y - row) ** 2 + (x - column) ** 2
    ...     image += amplitude * np.exp(-r2 / (2 * 1.3**2))
    >>> find_spots(image).round(1)
    array([[41., 62.],
           [20., 30.]])
    >>> noisy = image + np.random.default_rng(0).normal(0, 5, image.shape)
    >>> find_spots(noisy, false_alarms=0.01).round()
    array([[41., 62.],
           [20., 30.]])
    >>> find_spots(image, threshold=70.0).round(2)
    array([[41., 62.]])
    >>> image += 40.0 * np.exp(-((y - 20) ** 2 + (x - 62) ** 2) / (2 * 4.0**2))
    >>> spots = find_spots(image, [[1.3], [4.0]], threshold=30.0, details=True)
    >>> spots.positions.round(), spots.sigma
    (array([[41., 62.],
           [20., 30.],
           [20., 62.]]), array([1.3, 1.3, 4. ]))
    """
    given = Given(
        sigma=sigma, fwhm=fwhm, false_alarms=false_alarms, significance=significance,
        threshold=threshold, detector=detector, shape_level=shape_level, details=details,
        min_distance=min_distance, exclude_border=exclude_border, polarity=polarity,
        variance=variance, mask=mask, saturation=saturation,
    )  # fmt: skip
    spots = _find(image, given, threads, progress)
    return spots if given.details else spots.positions


def find_in_crowd(
    image: np.ndarray,
    sigma: Any,
    *,
    factor: float = NOISE_FACTOR,
    threshold: float | None = None,
    min_distance: Any = None,
    exclude_border: bool | int = True,
    polarity: str = "bright",
    threads: int | None = None,
) -> np.ndarray:
    """`find_spots` by curvature, which separates closer spots than the matched filter does.

    Spots are above a threshold, or above ``factor`` deviations of the response's noise.
    """
    given = Given(
        sigma, threshold=threshold, min_distance=min_distance, exclude_border=exclude_border,
        polarity=polarity, detector="laplacian", factor=factor,
    )  # fmt: skip
    return _find(image, given, threads, False).positions


def _find(image: Any, given: Given, threads: Any, progress: Any) -> FoundSpots:
    """The spots that the options ask for."""
    image_data.refuse_colours("image", image)
    image, mask, variance = lay_out("image", image, mask=given.mask, variance=given.variance)
    image, mask = image_data.masked("image", image, mask)
    array = check.real_array("image", image, (1, 2, 3))
    return prepare_search(given, array.ndim).spots_of(array, mask, variance, threads, progress)
