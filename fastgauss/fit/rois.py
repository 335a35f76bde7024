"""Fits of separate regions of interest (ROIs): `fit_rois`.

`fit_rois` checks the options, divides the ROIs into chunks of one shape, and gives each chunk to
``fit/batch.py``, which writes its rows of the result. ``fit/windowed.py`` cuts the windows of
spots out of a whole image, and ``spots/image_fits.py`` finds the spots first.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..base import check, image_data, wording
from ..base.pixel_errors import laid_out
from ..base.progress import Progress
from ..kernels.status import TOO_FEW_PIXELS
from ..models.model import MODELS, Model, get_model
from ..models.sloped import BACKGROUNDS, with_background
from ..results.fit_result import FitResult
from .batch import Job
from .chunks import Chunk
from .options import options
from .picture_units import in_callers_unit, in_one_unit, scaled_options
from .pixel_maps import pixel_map, pixel_mask
from .windowed import solve

_LEAST_ROI, _MOST_ROI = 5, 64  # pixels a side of what may be one ROI


POLARITIES = ("auto", "bright", "dark")


def fit_rois(
    rois: ArrayLike,
    model: str | Model = "symmetric",
    *,
    background: str = "constant",
    method: str = "lsq",
    pixel: str = "sample",
    polarity: str = "auto",
    guess: ArrayLike | None = None,
    weights: ArrayLike | None = None,
    error: ArrayLike | None = None,
    variance: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    fixed: dict[str, Any] | None = None,
    bounds: dict[str, Any] | None = None,
    shared: str | tuple[str, ...] = (),
    coords: ArrayLike | None = None,
    covariance: str = "auto",
    max_iter: int = 50,
    tol: float = 1e-6,
    threads: int | None = None,
    progress: bool | Progress = False,
) -> FitResult:
    """Fit a Gaussian to each of many profiles, regions of interest (ROIs) or volumes.

    Parameters
    ----------
    rois : array (n, x), (n, y, x) or (n, z, y, x)
        ROIs with one spot each, of any real dtype; they are read in chunks, never copied as a
        whole. The centre of pixel ``[i, j]`` of a ROI is y = i, x = j. A NaN is a missing pixel.
        For a single ROI give ``roi[np.newaxis]``, because an array (y, x) means y profiles. The
        mask of masked arrays and of astropy's NDData is used, and in least squares the uncertainty
        of NDData as `weights`.
    model : {"symmetric", "elliptic", "rotated"} or Model
        Parameters in two dimensions: ``amplitude, x, y, sigma, offset``; ``sigma_x, sigma_y`` in
        place of sigma; or ``sigma_x, sigma_y, theta``, with sigma_x >= sigma_y and theta in (-pi/2,
        pi/2], measured from +x towards +y. A profile has ``amplitude, x, sigma, offset``, a volume
        a z, and a sigma_z if elliptic. `psf_model` (``flux, x, y, offset``, and a ``width`` on
        request) and `astigmatic_model` make other models.
    background : {"constant", "plane"}
        The background of each ROI: the ``offset``, or a plane with the parameters ``slope_x`` and
        ``slope_y`` before the offset (a volume has a ``slope_z``, a profile one ``slope``), in the
        unit of the data for a pixel, or for the unit of `coords`. The offset is then the background
        at the fitted centre, ``offset + slope_x (x - x0) + slope_y (y - y0)``, and its error is
        that of this value. A plane costs three (mle) to seven times as much. A `model` of a result
        that has slopes keeps them.
    method : {"lsq", "mle"}
        Least squares, or maximum likelihood for Poisson data, that is, counts of photons: subtract
        the camera's offset and multiply by its gain (photo-electrons for each count) first.
        Negative counts are taken as 0.
    pixel : {"sample", "integrate"}
        The model's value at the pixel's centre, or its mean over the pixel (for the rotated model
        from 5 x 5 points).
    polarity : {"auto", "bright", "dark"}
        Whether the spot from which a fit starts is brighter or darker than its surroundings;
        "auto" takes the one that differs more from them.
    guess : array (P,) or (n, P), optional
        Starting values. By default a fit starts from the moments of the strongest peak of the
        smoothed ROI, anywhere in it, and a doubtful fit is repeated from other places (see Notes).
        In least squares the starting values of an amplitude and offset without bounds do not
        matter, because both are computed exactly.
    weights : array (n, ...), (...) or (n,), optional
        For least squares: inverse variances of the pixels, for each ROI, one array for all ROIs, or
        one number for each ROI. A pixel of weight 0 is missing.
    error : float or array (n, ...), (...) or (n,), optional
        In place of `weights`: one standard deviation of each pixel, ``weights = 1 / error**2``, or
        one number for all. A pixel of infinite error is missing.
    variance : array (n, ...) or (...), optional
        For ``method="mle"``: the variance of the camera's read-out noise in each pixel, in photons
        squared (sCMOS). It is added to the data and to the model. A pixel of infinite variance is
        missing.
    mask : bool array (n, ...) or (...), optional
        True where a pixel is missing: dead, saturated, or part of another object.
    fixed : dict, optional
        Values of parameters that are not fitted, ``{"sigma": 1.3}``: a number or (n,).
    bounds : dict, optional
        Ranges of parameters, ``{"sigma": (0.5, 4.0)}``: each end is a number, (n,), None or
        infinite. Fitted parameters never leave their range.
    shared : str or tuple of str
        Parameters that have one value for all spots, such as the width of a PSF. The fit finds this
        value together with all other parameters, from the spots that converge. A spot whose own
        value is far from those of the others has no part in it (``NOT_SHARED``).
    coords : array (x,) or (n, x), optional
        Abscissae of the points of profiles, in any order; only with ``pixel="sample"``.
    covariance : {"auto", "residual", "absolute", "sandwich"}
        Which covariance of the parameters, with the Jacobian J and the weights W (1 without):
        "residual" is ``s**2 (J'WJ)**-1``, s**2 the objective by the degrees of freedom;
        "absolute" is ``(J'WJ)**-1``, right if weights are inverse variances;
        "sandwich" is ``(J'WJ)**-1 J'W V W J (J'WJ)**-1``, V the value of the model, right for
        Poisson data with any weights.
        "auto" is "absolute" for weighted least squares, else "residual"; with
        ``method="mle"`` it is the inverse of Fisher's information ``(J' J / (m + v))**-1``.
    max_iter : int
        Largest number of evaluations of the normal equations.
    tol : float
        The fit stops when the estimated distance to the solution is below ``tol``
        standard errors, in the metric of the covariance. At the default, parameters
        agree with the exact solution to about 1e-8 of their value.
    threads : int, optional
        Largest number of threads; by default `get_num_threads`. The result does not depend on it.
    progress : bool or callable
        True shows a tqdm bar; a callable gets ``(done, total)``.

    Returns
    -------
    FitResult
        One row for each ROI; coordinates count from the first pixel of the ROI. A failed fit keeps
        its row, and its status says why it failed.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind, shape or value.

    Notes
    -----
    A fit is doubtful if it does not converge, if its amplitude is below five standard errors, or if
    a pixel is far above the top of the model, as that of a second spot is (on an even background,
    of a spot whose place was not told). It is repeated from the pixel that differs most from the
    mean, and from the second strongest peak of the smoothed ROI. A fit of the rotated model that
    converged with a sigma below half a pixel is repeated from 18 other ellipses: few pixels show
    such a spot, and several ellipses may fit. The fit with the lowest objective counts, with its
    own status.

    The objective is sum w (d - m)**2, or twice the log-likelihood ratio (deviance) 2 sum (m - d + d
    log(d / m)). The method is Levenberg-Marquardt on eight or four spots at a time, with variable
    projection of amplitude and offset where they are linear and free (``kernels/fit/levmar.py``).
    The cost grows with pixels times iterations; a fit of 7 x 7 pixels takes about 0.3 microseconds,
    with ``method="mle"`` 0.8, on one AVX-512 core. Besides the result, each thread needs a chunk of
    1 MB, and two with weights, variance or mask.

    References
    ----------
    .. [1] F. Huang et al., Nature Methods 10, 653 (2013), equation 2: the variance.
    .. [2] H. White, Econometrica 48, 817 (1980): the sandwich.

    Examples
    --------
    >>> import numpy as np, fastgauss as fg
    >>> truth = np.array([[100.0, 4.8, 5.3, 1.2, 10.0], [50.0, 5.1, 4.6, 1.5, 8.0]])
    >>> rois = fg.image(truth, (11, 11), model="symmetric")
    >>> fg.fit_rois(rois).params.round(6)
    array([[100. ,   4.8,   5.3,   1.2,  10. ],
           [ 50. ,   5.1,   4.6,   1.5,   8. ]])
    >>> fg.fit_rois(rois, method="mle", fixed={"offset": [10.0, 8.0]}).sigma.round(6)
    array([1.2, 1.5])
    """
    rois, weights, variance, mask = laid_out(
        "rois", rois, weights, error, variance, mask, method, several=True
    )
    rois, mask, weights, variance = image_data.measured(
        "rois", rois, mask, weights, variance, method
    )
    stack = check.real_array("rois", rois, (2, 3, 4))
    _refuse_one_roi(stack, model, coords)
    count, shape = len(stack), stack.shape[1:]
    sign = {"auto": 0, "bright": 1, "dark": -1}[check.choice("polarity", polarity, POLARITIES)]
    check.choice("background", background, BACKGROUNDS)
    own = get_model(model, stack.ndim - 1)
    own.check_everywhere("separate regions of interest")
    chosen = options(
        with_background(own, background), count, method=method,
        pixel=pixel, polarity=sign, guess=guess, fixed=fixed, bounds=bounds, shared=shared,
        weighted=weights is not None, camera=variance is not None, covariance=covariance,
        max_iter=max_iter, tol=tol, threads=threads, progress=progress,
    )  # fmt: skip
    second = pixel_map("weights", weights, shape, count, numbers=True)
    if second is None:
        second = pixel_map("variance", variance, shape, count)
    missing = pixel_mask(mask, shape, count)
    unit = 1.0
    if chosen.shared:
        stack, second, unit = in_one_unit(stack, second, method)
        chosen = scaled_options(chosen, unit)
    places = _places(coords, shape, count, pixel)
    zeros = weights is not None and second is not None and second.zeros

    def fill(job: Job) -> None:
        def work(first: int, last: int) -> None:
            rows = slice(first, last)
            numbers = None if second is None else second.take(rows).array
            absent = None if missing is None else missing.take(rows).array
            where = places if places is None or len(places) == 1 else places[rows]
            job.fit_chunk(Chunk(stack[rows], shape, numbers, absent, where, zeros=zeros), rows)

        if 0 in shape:
            job.leave_out(np.ones(count, bool), TOO_FEW_PIXELS)
        else:
            job.run(work, count, int(np.prod(shape)))

    result = solve(chosen, fill, progress)
    result = in_callers_unit(result, unit, method == "mle", weights is not None)
    result.length = "px" if coords is None else "coords"
    return result


def _refuse_one_roi(stack: np.ndarray, model: Any, coords: Any) -> None:
    """Tell a region of interest from as many profiles as it has rows, where that can be told."""
    if stack.ndim > 2:
        return
    count, points = stack.shape
    if isinstance(model, str) and model in MODELS and not get_model(model, 2).round:
        raise ValueError(
            f"rois of shape {stack.shape} are profiles (n, x), which have no model {model!r}; "
            "one ROI (y, x) is rois[np.newaxis]"
        )
    if coords is None and _LEAST_ROI <= count == points <= _MOST_ROI:
        warnings.warn(
            f"rois of shape {stack.shape} are read as {wording.plural(count, 'profile')} of "
            f"{wording.plural(points, 'point')}; one ROI "
            "(y, x) is rois[np.newaxis], and coords= says that profiles are meant",
            stacklevel=3,
        )


def _places(
    coords: ArrayLike | None, shape: tuple[int, ...], count: int, pixel: str
) -> np.ndarray | None:
    """Abscissae of profiles, (1, x) or (n, x)."""
    if coords is None:
        return None
    if len(shape) != 1:
        raise ValueError(f"coords belong to profiles (n, x), got ROIs of {len(shape)} dimensions")
    if pixel != "sample":
        raise ValueError("coords are points: pixel must be 'sample' with them")
    places = np.atleast_2d(check.finite_array("coords", coords, (1, 2)))
    if places.shape not in ((1, *shape), (count, *shape)):
        raise ValueError(f"coords must have shape {shape} or {(count, *shape)}, got {places.shape}")
    return places
