"""Fits of the spots of whole images: `fit_spots`."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..base import wording
from ..base.named_axes import axes_of
from ..base.progress import Progress
from ..cameras.camera import Camera
from ..models.model import Model
from ..results.fit_result import FitResult
from .prepared_images import Given, check_image, fit_alone, place_spots


def fit_spots(
    image: ArrayLike,
    positions: ArrayLike | None = None,
    model: str | Model = "symmetric",
    *,
    joint: bool = False,
    background: str | ArrayLike | None = None,
    split: float | None = None,
    box: int | tuple[int, ...] | None = None,
    sigma: float | tuple[float, ...] | ArrayLike | None = 1.3,
    fwhm: float | tuple[float, ...] | None = None,
    false_alarms: float | None = None,
    significance: float | None = None,
    threshold: float | None = None,
    detector: str | None = None,
    shape_level: float | None = None,
    min_distance: float | None = None,
    exclude_border: bool | int = True,
    polarity: str = "bright",
    method: str = "lsq",
    pixel: str = "sample",
    guess: ArrayLike | None = None,
    weights: ArrayLike | None = None,
    error: ArrayLike | None = None,
    variance: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    saturation: float | None = None,
    camera: Camera | None = None,
    fixed: dict[str, Any] | None = None,
    bounds: dict[str, Any] | None = None,
    shared: str | tuple[str, ...] = (),
    covariance: str = "auto",
    max_iter: int = 50,
    tol: float = 1e-6,
    threads: int | None = None,
    progress: bool | Progress = False,
) -> FitResult:
    """Fit the spots of an image, volume or profile, found first or given by their positions.

    Parameters
    ----------
    image : array (y, x), (z, y, x) or (x,)
        One image, volume or profile, of any real dtype; `fit_movie` is for the frames of a movie,
        and each colour of a photograph is an image. A warning says if no spot was found in an
        array that was read as a volume and may be a movie. A NaN is a missing pixel; an infinity
        gives its spots the status ``NOT_FINITE``. Masked arrays and NDData as in `fit_rois`. An
        array of xarray whose axes are named x, y and z may have them in any order; positions,
        widths and boxes are in the order (z,) y, x. Maps of its pixels must then have named axes,
        too.
    positions : array (n, ndim) or table, optional
        (z,) row and column of each spot, or a table with columns (z,) y and x; (n,) of the peaks
        of a profile, whose coordinate is the index of its points. By default
        `find_spots` finds them, with the options `sigma`, `false_alarms`, `significance`,
        `threshold`, `detector`, `shape_level`, `min_distance` and `exclude_border`.
    model : {"symmetric", "elliptic", "rotated"} or Model
        Parameters of an image: ``amplitude, x, y, sigma, offset``; ``sigma_x, sigma_y`` in place
        of sigma; or ``sigma_x, sigma_y, theta``. A volume has a z, and a sigma_z if elliptic.
        `psf_model` and `astigmatic_model` make other models. With ``joint=True`` not a model with
        a source or a free width.
    joint : bool
        For crowded images: spots that overlap are fitted together, and further spots are searched
        for in the residual (see Notes). `guess`, and `fixed` or `bounds` with a value for each
        spot, then need `positions`; covariance="sandwich" is not available.
    background : {"constant", "plane", "local"} or array, optional
        Of a spot that is fitted alone: "constant", the ``offset`` (the default), or "plane", with
        ``slope_x`` and ``slope_y`` as in `fit_rois`. With ``joint=True`` as in `fit_joint`: one of
        the whole image, "constant", "plane" or an array, or by default "local".
    split : float, optional
        With ``joint=True`` and without `positions`: the probability, such as 1e-3, that a single
        spot is taken as two. A spot is fitted as two where the likelihood-ratio test at this level
        rejects one, and two close spots are fitted as one where it does not (see Notes). By default
        there are no such tests: they need spots that have the shape of the model, and take a spot
        with a halo, or on a background that is not fitted, for several.
    box : int or tuple of ints, optional
        Extent in pixels, of all axes or in array-axis order, of the window around the rounded
        position; by default four `sigma` to either side, ``2 * round(4 * sigma) + 1`` pixels along
        each axis, and at least 7. The window is cut at the border of the image, and half-way to a
        neighbouring position along the axis that separates the two most.
    sigma : float, tuple of floats, array (K, 1) or (K, ndim), or None
        Expected width of the spots in pixels, of all axes or in array-axis order. The search uses
        it, the default of `box`, and the start of each fit, which is at the position. The default
        is 1.3, or the width of a `psf_model`. Rows are several sizes, and None takes those that
        the image shows, as in `find_spots`: each spot has the box and the start of its own size.
        These need a search, not `positions`, and no ``joint=True``.
    fwhm : float or tuple of floats, optional
        In place of `sigma`: the full width at half maximum, 2.3548 sigma.
    polarity : {"bright", "dark"}
        Whether spots are brighter or darker than their surroundings. It sets the sign of the
        amplitude from which a fit starts.
    false_alarms, significance, threshold, detector, shape_level, min_distance, exclude_border
        Options of `find_spots`: how strong the spots are, by which filter, their shape, and their
        distances from each other and from the border; not used with `positions`. No `detector` or
        `shape_level` with ``joint=True``, whose search is that of the Laplacian.
    method : {"lsq", "mle"}
        Least squares, or maximum likelihood for Poisson data, that is, counts of photons: give a
        `camera`, or convert the image yourself.
    pixel : {"sample", "integrate"}
        The model's value at the pixel's centre, or its mean over the pixel.
    guess : array (P,) or (n, P), optional
        Starting values in the image's coordinates.
    weights, error : array of the image's shape, optional
        For least squares: inverse variances of the pixels, or one standard deviation of each,
        which may be one number for all. A pixel of weight 0 or infinite error is missing. Each fit
        uses the part in its window.
    variance : array of the image's shape, optional
        For ``method="mle"``: the variance of the camera's read-out noise in each pixel, in photons
        squared (sCMOS).
    mask : bool array of the image's shape, optional
        True where a pixel is missing.
    saturation : float, optional
        A pixel of this value or more is missing, in the search and in the fits. Without this
        option, spots have the status ``SATURATED`` where two or more adjacent pixels of the window
        have the largest value of the image: in an integer image if that is 255 or more, in another
        one if the pixels beside them show noise that is as fine.
    camera : Camera, optional
        The camera that wrote the image. Photons are searched and fitted, and `weights`, `error`,
        `guess`, `threshold`, `fixed`, `bounds` and the result are in photons. Pixels that are
        saturated or of no use are missing. With ``method="mle"`` the read-out noise of the camera
        is the `variance`. Not with `variance` or `saturation`.
    fixed : dict, optional
        Values of parameters that are not fitted, ``{"sigma": 1.3}``: a number or (n,). Centres are
        in the image's coordinates, also in `bounds`.
    bounds : dict, optional
        Ranges of parameters, ``{"sigma": (0.5, 4.0)}``: each end is a number, (n,), None or
        infinite.
    shared : str or tuple of str
        Parameters that have one value for all spots, such as the width of a PSF; it is fitted. The
        light of neighbours in their windows makes it too large without ``joint=True``; as to an
        uneven background with that, see `fit_joint`.
    covariance : {"auto", "residual", "absolute", "sandwich"}
        Which covariance of the parameters, as in `fit_rois`: by default "residual", with `weights`
        or `error` "absolute", and with ``method="mle"`` that of the likelihood.
    max_iter : int
        Largest number of evaluations of the normal equations of each fit.
    tol : float
        A fit stops when its estimated distance to the solution is below ``tol`` standard errors.
    threads : int, optional
        Largest number of threads; by default `get_num_threads`. The result does not depend on it.
    progress : bool or callable
        True shows a tqdm bar; a callable gets ``(done, total)``.

    Returns
    -------
    FitResult
        One row for each spot, in image coordinates, in the order of `positions` or of `find_spots`
        (strongest first); for ``joint=True`` see Notes. A window without enough pixels, or outside
        the image, has the status ``TOO_FEW_PIXELS``. With ``joint=True`` spots that were found and
        then dropped are not in the result. For given `positions` every row stays; where the image
        does not show the spot beside its neighbours, the row is NaN with the status ``DROPPED``.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind, shape or value.

    See Also
    --------
    fit_profile : Peaks of a profile with any abscissae, without an expected width.

    Notes
    -----
    Without ``joint=True`` each spot is fitted alone, and the light of a neighbour in its window
    disturbs the fit. The cost is that of `find_spots`, of `fit_rois`, and of a search for
    neighbours (about 1 microsecond for each spot).

    With ``joint=True`` spots are found and fitted by `fit_joint`. Then, in rounds, their model is
    subtracted, and further spots are searched for in the residual, above `threshold` and five times
    its noise, or as many times as `significance` or `false_alarms` say, and fitted together with
    the others. This noise is measured in the residual, as a function of the model's light. What the
    model leaves of a bright star of another shape thus counts as noise near that star; a
    `psf_model` leaves least. Where most spots of a dense crowd are hidden by its own light, the
    noise is measured by differences of neighbouring pixels; this needs white noise. A spot is
    dropped if its amplitude is below 4 standard errors, or if a stronger spot is within half a
    sigma. The rounds end, at the latest after 20, when the residual shows no spot except those that
    were dropped twice at the same place. A fit with all options follows. Between rounds free widths
    are held: most at the common width, that of isolated spots, or `sigma` if there are none; a
    wider spot is fitted as two of the common width if these leave a smaller residual in its box,
    and is held at its own width otherwise. With `positions` no spots are added. The cost is that of
    three to six calls of `fit_joint`; a round fits only the spots near a change again.

    With `split`, each spot is then tested against two, and each close pair against one. A spot
    whose residual has second derivatives of the spot's shape is fitted as two along their axis, and
    two spots within 1.5 sigmas that are nearest to each other as one. Two stay if the objective,
    for known noise or for that of the residual, falls by more than the quantile of the chi-squared
    distribution with as many degrees of freedom as the second spot has parameters. With a fixed or
    shared width that is right, equal spots of 2,000 photons are separated from a distance of one
    sigma on, and their amplitudes may have errors of more than a quarter. With free widths one wide
    spot may explain the light of two, and pairs within about 1.3 sigmas stay one. The first of two
    keeps the row of the single spot; the second comes after all rows. A spot that is found later
    comes after those that were found before.

    The search, too, uses `weights` (or `error`), `variance` and `mask`.

    Examples
    --------
    >>> import numpy as np, fastgauss as fg
    >>> rng = np.random.default_rng(1)
    >>> truth = [[200.0, 20.3, 30.7, 1.3, 10.0], [150.0, 44.1, 12.8, 1.3, 0.0]]
    >>> image = fg.image(truth, (64, 64), model="symmetric").sum(axis=0)
    >>> result = fg.fit_spots(rng.poisson(image), false_alarms=0.01)
    >>> result.x.round(1), result.y.round(1)
    (array([20.3, 44.1]), array([30.7, 12.8]))
    """
    given = Given(
        positions=positions, model=model, joint=joint, background=background, split=split,
        box=box, sigma=sigma, fwhm=fwhm, false_alarms=false_alarms,
        significance=significance, threshold=threshold, detector=detector,
        shape_level=shape_level, min_distance=min_distance, exclude_border=exclude_border,
        polarity=polarity, method=method, pixel=pixel, guess=guess, weights=weights, error=error,
        variance=variance, mask=mask, saturation=saturation, camera=camera, fixed=fixed,
        bounds=bounds, shared=shared, covariance=covariance, max_iter=max_iter, tol=tol,
        threads=threads, progress=progress,
    )  # fmt: skip
    result = fit_image(image, given)
    if positions is None and not len(result) and axes_of(image) is None:
        _warn_of_axes(image, given)
    return result


def fit_image(image: Any, given: Given) -> FitResult:
    """`fit_spots` of an image or volume that is known to be one."""
    checked = check_image(image, given)
    if not given.joint:
        return fit_alone([place_spots(checked, given)])
    from .iterative_search import search_and_fit

    asked = checked.asked
    return search_and_fit(checked.picture, given.positions, asked.model, asked.find, checked.fit)


def _warn_of_axes(image: Any, given: Given) -> None:
    """Say what an array without spots was taken for, if its shape may mean something else."""
    shape = np.shape(image)
    told = ""
    sizes = given.sigma, given.fwhm, given.box, given.min_distance
    if len(shape) == 3 and not any(np.size(size) == 3 for size in sizes):
        told = (
            f"a volume of {wording.plural(shape[0], 'plane')}; the frames of a movie are for "
            "fit_movie"
        )
    elif len(shape) == 2 and 1 in shape and max(shape) > 1 and given.exclude_border:
        told = "an image that is all border; the points of a profile are for an array (x,)"
    if told:
        warnings.warn(
            f"no spot was found in the image of shape {shape}, which was read as {told}",
            stacklevel=3,
        )
