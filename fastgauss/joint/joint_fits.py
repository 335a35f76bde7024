"""Joint fits of overlapping spots: `fit_joint`."""

from __future__ import annotations

from typing import Any

from numpy.typing import ArrayLike

from ..base import check, image_data
from ..base.named_axes import lay_out
from ..base.pixel_errors import laid_out
from ..base.progress import Progress, reporting
from ..fit.options import options
from ..fit.picture_units import in_callers_unit, scaled_options
from ..fit.windows import box_sides
from ..models.model import Model, get_model
from ..results.fit_result import FitResult
from .arguments import METHODS, check_places, make_problem, read_picture
from .driver import solve


def fit_joint(
    image: ArrayLike,
    positions: ArrayLike,
    model: str | Model = "symmetric",
    *,
    box: int | tuple[int, ...] = 11,
    frames: ArrayLike | None = None,
    background: str | ArrayLike = "local",
    method: str = "lsq",
    pixel: str = "sample",
    guess: ArrayLike | None = None,
    weights: ArrayLike | None = None,
    error: ArrayLike | None = None,
    variance: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    fixed: dict[str, Any] | None = None,
    bounds: dict[str, Any] | None = None,
    shared: str | tuple[str, ...] = (),
    covariance: str = "auto",
    polarity: str = "bright",
    max_iter: int = 50,
    tol: float = 1e-6,
    threads: int | None = None,
    progress: bool | Progress = False,
) -> FitResult:
    """Fit all spots of an image together, those that overlap as one model.

    Parameters
    ----------
    image : array (y, x), (z, y, x) or (x,), or with `frames` (t, y, x) or (t, x)
        Of any real dtype and in any unit. Pixels that are NaN or infinite are missing, and so are
        those beyond 1e150, or 1e150 times the usual pixel of an image of such numbers.
    positions : array (n, ndim) or table
        (z,) row and column of each spot, or a table with columns (z,) y and x; (n,) of the peaks
        of a profile.
    model : {"symmetric", "elliptic", "rotated"} or Model
        As in `fit_rois`. A `psf_model`, also with a free width, gives each star its ``flux``; one
        that varies over the image is that of each position. Not one with a source.
    box : int or tuple of ints
        Pixels within this box around a rounded position are fitted; a spot's light is
        counted further out, until it is below 2 % of the noise's sigma.
    frames : int array (n,), optional
        The frame of each spot, for an `image` that is a stack. Each frame is fitted separately.
    background : {"local", "constant", "plane"} or array
        One offset for each group of overlapping spots (one for all with `shared` parameters), one
        for the image, a plane over the image, or a known background: an array of the image's shape,
        or one number. Light that is uneven within a group, such as the glow of a cell, makes shared
        widths too large unless it is known.
    method, pixel, weights, error, variance, mask, covariance, polarity
        As in `fit_spots`; covariance="sandwich" is not available.
    guess : array (P,) or (n, P), optional
        Starting values. Without them each spot is fitted alone first.
    fixed, bounds : dict, optional
        As in `fit_rois`, in the image's coordinates. Besides, a centre stays within half the
        distance to the nearest position, or a pixel, and within half a box; sigmas stay below
        `box`, and amplitudes keep the sign that `polarity` says. ``result.at_bound`` tells which
        parameters of which spot are on such a bound.
    shared : str or tuple of str
        Parameters that have one value for all spots. A spot whose own value is far from that
        of the others takes no part and has the status ``NOT_SHARED``.
    max_iter, tol
        Rounds, and the distance to the solution in standard errors, at which a group of spots
        that overlap is done. It is done, too, where six steps of its spots in turn were below the
        root of `tol`.
    threads : int, optional
        Largest number of threads. The result does not depend on it.
    progress : bool or callable
        True shows a tqdm bar; a callable gets ``(done, total)``.

    Returns
    -------
    FitResult
        One row a position. Errors and covariances take the neighbours and the background into
        account. ``objective``, ``pixels`` and ``dof`` are those of the box of each spot at the
        joint solution, and ``result.render(shape)`` is the image of all spots.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind, shape or value.

    See Also
    --------
    fit_spots : with ``joint=True`` finds the spots, too.

    Notes
    -----
    Newton's method for the whole image, without a matrix of its size: blocks of the normal
    equations for spots and for pairs that overlap, conjugate gradients for the step, damping by
    clusters of spots that overlap most. A spot that overlaps with no other spot has the solution of
    `fit_rois` on its box.

    In the second half of the rounds, but not before the last 100, the spots that do not come to
    rest are held, at most half of a group, so that the others come to rest beside them: those held
    have the status ``MAX_ITERATIONS``. A spot that converged beside held spots is at the minimum
    for the places at which those are held. When the fit goes on, most such spots move by less than
    0.2 standard errors, a few by up to two. With individual widths, an image with one spot in 20
    pixels needs 80 to 320 rounds. Give ``max_iter=400``, with which hardly a spot is held, or
    continue, with the options of the first fit: ``fit_joint(image, positions,
    guess=result.params)``. With 50 rounds all rows may have the status ``MAX_ITERATIONS``.

    A spot whose centre is outside of the image is fitted by the light that falls into the image,
    and converges as others do; `fit_spots` without ``joint=True`` gives it the status ``OUTSIDE``.

    The cost grows about linearly in spots and in pixels of their windows. On a thread with AVX2 it
    is 1 to 2.5 milliseconds a spot for 0.005 to 0.02 symmetric spots a pixel (sigma 1.3), mostly
    for the few that are hardly separable, and up to 3.5 for elliptic ones; 4 to 10 milliseconds
    for 0.05 a pixel, where the distance of neighbours is 3.4 sigmas on average;
    memory about 48 bytes a pixel of the image and 1 to 3 KB a spot, up to twice as much where spots
    were held and are released. Stars of a point spread
    function shine as far as their widest Gaussian stands out of the noise: 800 stars of three
    Gaussians and three decades of flux, 0.02 a pixel, take 2 to 8 milliseconds each, the more the
    closer the closest pairs are.

    References
    ----------
    .. [1] P. Stetson, Publ. Astron. Soc. Pacific 99, 191 (1987): groups of stars fitted at once.
    .. [2] H. Babcock, Y. Sigal, X. Zhuang, Optical Nanoscopy 1, 6 (2012): 3D-DAOSTORM.

    Examples
    --------
    >>> import numpy as np, fastgauss as fg
    >>> truth = np.array([[100.0, 20.3, 30.7, 1.3, 10.0], [80.0, 22.6, 31.1, 1.3, 0.0]])
    >>> image = fg.image(truth, (64, 64), model="symmetric").sum(axis=0)
    >>> fg.fit_joint(image, [[31.0, 20.0], [31.0, 23.0]]).amplitude.round(6)
    array([100.,  80.])
    """
    if frames is None:
        image_data.refuse_colours("image", image)
    check.choice("method", method, METHODS)
    _, background = lay_out("image", image, background=background)
    image, weights, variance, mask = laid_out(
        "image", image, weights, error, variance, mask, method
    )
    image, mask, weights, variance = image_data.measured(
        "image", image, mask, weights, variance, method
    )
    maps = {"weights": weights, "variance": variance, "mask": mask}
    picture, places = read_picture(image, positions, frames, method, **maps)
    ndim = places.shape[1] - (frames is not None)
    chosen = options(
        get_model(model, ndim), len(places), method=method, pixel=pixel, polarity=0, guess=guess,
        fixed=fixed, bounds=bounds, shared=shared, weighted=weights is not None,
        camera=variance is not None, covariance=covariance, max_iter=max_iter, tol=tol,
        threads=threads, progress=progress,
    )  # fmt: skip
    problem = make_problem(
        picture, image, maps, chosen, box_sides(box, ndim), background, fixed, polarity
    )
    check_places(chosen.model, places)
    chosen = scaled_options(chosen, picture.unit)
    with reporting(progress, len(places), "spot") as report:
        result = solve(problem, places, chosen._replace(progress=report))
    return in_callers_unit(result, picture.unit, method == "mle", weights is not None)
