"""Point spread functions measured from the stars of an image: `measure_psf`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..base import check, image_data
from ..base.named_axes import lay_out
from ..base.pixel_errors import error_weights
from ..base.progress import Progress, Steps, check_progress, reporting
from ..base.widths import read_width
from ..find.detection import find_spots
from ..fit.saturation import plateau, without_saturated
from ..kernels.fit.psf_basis import MOST
from ..kernels.models.profiles import PIXELS
from ..models.field_terms import ORDERS
from .noise import pixel_noise
from .picture import Picture, read_picture
from .profiles import SHAPES, Form, free_of, numbers_of
from .result import PsfMeasurement, measured
from .rounds import LEAST_COMPONENTS, count_steps, measure
from .scene import Scene
from .star_choice import LATE, Catalogue, choose, none_left, rough_fluxes

_LEAST_BOX, _MOST_BOX = 7, 301
_BOX, _NARROW = 20.0, 4.0  # sigmas from the middle to the edge of a box: for the wings, the core
_LEAST_SIDE = 6.0  # sigmas: the least box that tells a star from its background
_SEARCHES = 3
_ALIKE = 1.4  # ratio of sigmas of the search and of the stars
_SAME = 2.0  # sigmas within which a found star is a given one


def measure_psf(
    image: ArrayLike,
    positions: ArrayLike | None = None,
    *,
    components: int | str = "auto",
    shape: str = "round",
    order: int = 0,
    pixel: str = "sample",
    box: int | None = None,
    sigma: float = 1.3,
    fwhm: float | None = None,
    error: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    saturation: float | None = None,
    threads: int | None = None,
    progress: bool | Progress = False,
) -> PsfMeasurement:
    """The point spread function of an image as a sum of Gaussians, from its stars.

    Stars are found; bright ones without near neighbours are chosen, up to a hundred; their fluxes,
    centres and backgrounds and the one shape that they share are fitted together.

    Parameters
    ----------
    image : array (y, x)
        An image of stars or other points, of any real dtype. NaN and infinity are missing pixels.
        Masked arrays and NDData as in `fit_rois`.
    positions : array (n, 2) or table, optional
        Row and column of the stars that may show the shape, or a table with columns y and x. By
        default all stars that are found. The others are found in any case, for their light is
        taken away.
    components : "auto" or int
        The number of Gaussians, at most 8. "auto" takes as many as the image shows, up to 6 (by
        the Bayesian information criterion), and at least 2 if `order` is above 0.
    shape : {"round", "elliptic", "rotated"}
        Round Gaussians; or ellipses of one axis ratio along the axes of the image, or turned by
        one angle.
    order : {0, 1, 2}
        With 1 or 2 the sigmas (and the ellipse) are polynomials of this order in the position: the
        point spread function varies over the image, and the model is a `PsfField`. The weights are
        the same everywhere. This needs 6 or 12 stars, spread over the image.
    pixel : {"sample", "integrate"}
        The option `pixel` of the fits that will take the model: "sample" measures the profile that
        pixels show, blurred by the pixel; "integrate" the profile of the light before it falls on
        pixels.
    box : int, optional
        Odd number of rows and columns of the box around each star, within which the shape is
        measured, six sigma of the stars at least; by default twenty sigma to either side. The light
        beyond is not known.
    sigma : float
        Expected width of the stars in pixels, with which they are searched for. If it turns out to
        be wrong, the measured width takes its place.
    fwhm : float, optional
        In place of `sigma`: the full width at half maximum.
    error : array (y, x), optional
        One standard deviation of each pixel. By default the noise is measured: a constant, and
        a part that grows with the light, by the residuals of the stars.
    mask : bool array (y, x), optional
        True where a pixel is missing.
    saturation : float, optional
        A pixel of this value or more is missing. Where adjacent pixels have the largest value of
        the image, all pixels of this value are missing in any case: in an integer image if it is
        255 or more, in another one if the pixels beside them show noise that is as fine.
    threads : int, optional
        Largest number of threads of the search. The result does not depend on it.
    progress : bool or callable
        ``True`` shows a progress bar (tqdm); a callable is called with the steps that are done and
        their number: the search, the rounds of fits, each component that may be added, the errors.

    Returns
    -------
    PsfMeasurement
        The model with its covariance, the stars that were used, those that were refused with the
        reason, the residuals and the growth curve.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind, shape or value, if a position is outside of the image,
        if no star can be used (the message counts the reasons), or if too few can for `order`.

    See Also
    --------
    psf_model, moffat_psf, psf_from_image : Models of known numbers, profiles and pictures.

    Notes
    -----
    A star is refused if pixels of its core (2 sigma) are missing or beyond the border, if it
    is fainter than 15 deviations of the noise, if it has another shape, as a hot pixel has, if a
    neighbour within 6 sigma has more than 2 percent of its flux or one within 14 sigma twice its
    flux, if it is wider or narrower than stars, as galaxies and saturated stars are, or if in the
    end its chi2 is far above that of most stars: 1.5 times the median, and 6 deviations. The width
    of stars is the narrowest one that many have; theirs may differ by 15 percent (35 with `order`
    above 0) and 2.5 standard errors.

    Flux, centre and a plane for each star, and weights, sigmas and ellipse for all, are found by
    damped least squares, in which the six numbers of each star are eliminated. The light of other
    stars is subtracted; these are fitted with the shape in turn, in rounds. Once the shape is
    known, the residual of all stars, divided by its noise, is searched for more of them: faint
    ones in the wings of others, where they add 5 percent to the light at least. Pixels whose
    residual exceeds 5 deviations are left out: those of cosmic rays and of unknown stars. One
    deviation is the noise and 3 percent of the star's light, by which real profiles differ from
    sums of Gaussians.

    In the box of one star its far wing and the sky look alike. The pixels that no star reaches
    therefore determine the planes: a polynomial of the second order goes through their means in
    tiles, and counts as a measurement of each star's plane. Its error is the scatter of the tiles
    around it. In images with less than 24 such tiles (of ten sigma), and where the sky has
    structure, the pixels of the box alone decide, and part of wide wings is taken for sky: see the
    growth curve. Fluxes of stars with a Moffat profile of beta 2.5 are 0.05 percent too low with
    such a sky, and 0.3 percent without.

    The light of stars that are never found, which are fainter than the noise or nearer than 2 sigma
    to others, is counted as part of the wings: 0.02 percent of the flux in a field with 3 stars in
    1000 pixels.

    The time is about that of the search and three to six seconds of one core for a hundred stars.

    References
    ----------
    .. [1] P. Stetson, PASP 99, 191 (1987): DAOPHOT, point spread functions of crowded fields.
    .. [2] E. Bendinelli, ApJ 366, 599 (1991); M. Cappellari, MNRAS 333, 400 (2002): sums of
       Gaussians.

    Examples
    --------
    >>> import numpy as np, fastgauss as fg
    >>> rng = np.random.default_rng(5)
    >>> psf = fg.psf_model([0.7, 0.3], [1.2, 2.4])
    >>> y, x = np.meshgrid(np.arange(25.0, 200, 50), np.arange(25.0, 200, 50), indexing="ij")
    >>> stars = np.stack([np.full(16, 2e4), x.ravel(), y.ravel(), np.zeros(16)], axis=1)
    >>> image = rng.poisson(fg.image(stars, (200, 200), psf).sum(axis=0) + 20.0)
    >>> found = fg.measure_psf(image, components=2)
    >>> found
    <PsfMeasurement: 2 Gaussians, FWHM 2.98 px, 16 stars, 0 refused>
    >>> found.model.components["sigma_x"].round(1)
    array([1.2, 2.4])

    A point spread function that is wider on the right; each star is fitted with that of its place:

    >>> wide = [fg.psf_model([0.7, 0.3], [s, 2 * s]) for s in 1.1 + 0.002 * stars[:, 1]]
    >>> image = sum(w.image((200, 200), star[2:0:-1], flux=2e4) for w, star in zip(wide, stars))
    >>> image = rng.poisson(image + 20.0)
    >>> varying = fg.measure_psf(image, components=2, order=1).model
    >>> varying.at((100, 20)).components["sigma_x"].round(1)
    array([1.1, 2.3])
    >>> varying.at((100, 180)).components["sigma_x"].round(1)
    array([1.5, 2.9])
    >>> len(fg.fit_spots(image, stars[:, 2:0:-1], varying))
    16
    """
    image_data.refuse_colours("image", image)
    image, error, mask = lay_out("image", image, error=error, mask=mask)
    weights = error_weights(None, error, "lsq", "image", image)
    image, mask, weights, _ = image_data.measured("image", image, mask, weights)
    array = check.real_array("image", image, 2)
    form, automatic = _form(components, shape, pixel)
    check_progress(progress)
    curved = check.integer("order", order, at_least=0, at_most=ORDERS[-1])
    width = _width(sigma, fwhm)
    side = None if box is None else _box(box)
    given = None if positions is None else _inside(check.positions(positions, 2), array.shape)
    if mask is not None:
        mask = check.mask("mask", mask, array.shape)
    if weights is not None:
        weights = np.asarray(check.real_array("error", weights), np.float64)
    full = plateau(array, None)
    if full is not None:
        full = array >= array[full][0]  # those without another beside them, too
        mask = full if mask is None else full | mask
    mask = without_saturated(array, mask, saturation)
    total = count_steps(form, automatic) + 2  # with the search and the errors
    with reporting(progress, total, "step") as report:
        steps = Steps(report, total)
        picture, known, candidates, width = _stars(
            array, mask, weights, given, width, side, curved > 0, threads
        )
        _check_side(side, width)
        half = _half(side, width, _BOX, array.shape)
        scene, refused = _scene(picture, known, candidates, half, width, curved > 0)
        steps.advance()
        late = measure(scene, form._replace(order=curved), automatic, refused, steps, threads)
        if given is None:
            refused |= dict.fromkeys(map(int, late), LATE)
        found = measured(scene, refused)
        steps.advance()
    return found


# -- arguments ---------------------------------------------------------------------------------


def _form(components: Any, shape: Any, pixel: Any) -> tuple[Form, bool]:
    automatic = isinstance(components, str)
    if automatic:
        check.choice("components", components, ("auto",))
        count = LEAST_COMPONENTS
    else:
        count = check.integer("components", components, at_least=1, at_most=MOST)
    kind = check.choice("shape", shape, SHAPES)
    return Form(count, kind, check.choice("pixel", pixel, PIXELS)), automatic


def _width(sigma: Any, fwhm: Any) -> float:
    both = check.per_axis("sigma", read_width(sigma, fwhm, 2), 2, at_least=0.3, at_most=50.0)
    return math.sqrt(both[0] * both[1])


def _box(box: Any) -> int:
    side = check.integer("box", box, at_least=_LEAST_BOX, at_most=_MOST_BOX)
    if side % 2 == 0:
        raise ValueError(f"box must be odd, got {side}")
    return side


def _check_side(side: int | None, sigma: float) -> None:
    """Refuse a box that shows no more of a star than its core, which has any width."""
    if side is not None and side < _LEAST_SIDE * sigma:
        least = 2 * math.ceil(0.5 * (_LEAST_SIDE * sigma - 1.0)) + 1
        raise ValueError(
            f"box must be at least {least} pixels for these stars, whose sigma is {sigma:.3g} "
            f"pixels, got {side}"
        )


def _inside(places: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Positions, none of which may be outside of the image; x before y."""
    if not len(places):
        raise ValueError("positions must hold a star, got none")
    outside = ((places < -0.5) | (places > np.array(shape) - 0.5)).any(axis=1)
    if outside.any():
        row = int(np.flatnonzero(outside)[0])
        raise ValueError(
            f"positions must be inside of the image of shape {shape}, got "
            f"{tuple(places[row].tolist())} at index {row}"
        )
    return places[:, ::-1].copy()


def _half(side: int | None, sigma: float, reach: float, shape: tuple[int, ...]) -> int:
    """Pixels from the middle to the edge of a box."""
    if side is not None:
        return side // 2
    most = min(max(min(shape) // 2, _LEAST_BOX // 2), _MOST_BOX // 2)
    return int(np.clip(round(reach * sigma), _LEAST_BOX // 2, most))


# -- stars -------------------------------------------------------------------------------------


def _search(
    array: np.ndarray, mask: Any, given: np.ndarray | None, sigma: float, threads: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """Places of all stars, x before y, and which of them may show the shape."""
    # Close neighbours must be found: the Laplacian separates closer stars.
    found = find_spots(array, sigma, mask=mask, detector="laplacian", threads=threads)[:, ::-1]
    if given is None:
        if not len(found):
            lost = 0 if mask is None else int(mask.sum())
            told = f", of whose pixels {lost} are masked or saturated" if lost else ""
            raise ValueError(
                f"image must show stars, but none of sigma {sigma:.3g} pixels was found in shape "
                f"{array.shape}{told}; give their sigma or fwhm, or positions"
            )
        return found, np.ones(len(found), bool)
    from scipy.spatial import KDTree

    distances = KDTree(given).query(found)[0] if len(found) else np.empty(0)
    further = found[distances > _SAME * sigma]
    candidates = np.arange(len(given) + len(further)) < len(given)
    return np.concatenate([given, further]), candidates


def _stars(
    array: np.ndarray, mask: Any, weights: np.ndarray | None, given: np.ndarray | None,
    sigma: float, side: int | None, varies: bool, threads: int | None,
) -> tuple[Picture, Catalogue, np.ndarray, float]:  # fmt: skip
    """The picture, its stars, which of them may be used, and the sigma of one Gaussian."""
    searched = sigma
    places, candidates = _search(array, mask, given, searched, threads)
    for _ in range(_SEARCHES):
        margin = max(_half(side, 2.0 * searched, _BOX, array.shape), round(8.0 * searched)) + 4
        picture = read_picture(array, mask, weights, margin)
        noise = max(pixel_noise(picture.values, picture.good), 1e-14)
        known = rough_fluxes(picture, places, searched, noise)
        half = _half(None, searched, _NARROW, array.shape)
        half = max(half, _half(side, searched, _NARROW, array.shape))
        scene, _ = _scene(picture, known, candidates, half, searched, varies)
        scene.level()
        stack = scene.boxes(scene.own, scene.chosen, half, scene.drawn())
        scene.fit(stack)
        measured_sigma = float(numbers_of(scene.form, scene.shape).sigmas[0])
        ratio = measured_sigma / searched
        if 1.0 / _ALIKE < ratio < _ALIKE:
            break
        searched = float(np.clip(measured_sigma, 0.3, 50.0))
        places, candidates = _search(array, mask, given, searched, threads)
    return picture, rough_fluxes(picture, places, searched, noise), candidates, searched


def _scene(
    picture: Picture, known: Catalogue, candidates: np.ndarray, half: int, sigma: float,
    varies: bool,
) -> tuple[Scene, dict[int, str]]:  # fmt: skip
    """The chosen stars, of one Gaussian, and the reasons why others are refused."""
    chosen, refused = choose(picture, known, candidates, sigma, varies)
    if not len(chosen):
        raise none_left(refused)
    form = Form(1, "round", "sample")
    noise = max(pixel_noise(picture.values, picture.good), 1e-14)
    shape = free_of(form, np.ones(1), np.array([sigma]), np.zeros(2))
    return Scene(picture, known, chosen, half, sigma, form, shape, noise), refused
