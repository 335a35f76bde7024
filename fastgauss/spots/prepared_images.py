"""An image made ready for the fits of its spots: checked, in photons, searched."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..base import check, image_data, wording
from ..base.named_axes import lay_out
from ..base.pixel_errors import laid_out
from ..base.widths import DEFAULT
from ..cameras.exposures import in_photons
from ..find import options as search_options
from ..find.found_spots import FoundSpots
from ..find.options import Scales, check_search, read_scales
from ..find.prepared_search import PreparedSearch, prepare_search
from ..fit.pixel_maps import pixel_map, pixel_mask
from ..fit.saturation import without_saturated
from ..fit.windowed import Placed, fit_pictures
from ..fit.windows import box_sides
from ..models.model import Model, get_model
from ..models.sloped import BACKGROUNDS, with_background
from ..results.fit_result import FitResult
from .noise_scaling import in_units_of_noise

_OF_THE_SEARCH = (
    "false_alarms", "significance", "threshold", "detector", "shape_level", "min_distance",
    "exclude_border", "polarity", "threads",
)  # fmt: skip
_OF_THE_FIT = (
    "method", "pixel", "guess", "fixed", "bounds", "shared", "covariance", "max_iter", "tol",
    "threads", "progress",
)  # fmt: skip


class Given(NamedTuple):
    """The options of `fit_spots`."""

    positions: Any
    model: Any
    joint: Any
    background: Any
    split: Any
    box: Any
    sigma: Any
    fwhm: Any
    false_alarms: Any
    significance: Any
    threshold: Any
    detector: Any
    shape_level: Any
    min_distance: Any
    exclude_border: Any
    polarity: Any
    method: Any
    pixel: Any
    guess: Any
    weights: Any
    error: Any
    variance: Any
    mask: Any
    saturation: Any
    camera: Any
    fixed: Any
    bounds: Any
    shared: Any
    covariance: Any
    max_iter: Any
    tol: Any
    threads: Any
    progress: Any


class Asked(NamedTuple):
    """The options of `fit_spots`, checked, for all images of one number of axes."""

    model: Model
    scales: Scales
    sigmas: tuple[float, ...]  # of the largest spots
    curved: bool  # whether spots are found by curvature
    find: dict[str, Any]  # arguments of the search
    search: PreparedSearch | None  # by `find_spots`; None if there is none
    fit: dict[str, Any]  # arguments of the fit but for those of pixels
    level: float  # of tests of one spot against two, 0 for none


class Checked(NamedTuple):
    """An image whose pixels and options are checked."""

    picture: np.ndarray
    asked: Asked
    counts: np.ndarray | None  # the picture as the camera wrote it, if it is of photons
    fit: dict[str, Any]  # arguments of the fit


class Spots(NamedTuple):
    """The spots of an image, and how each is fitted alone."""

    placed: Placed
    model: Model
    options: dict[str, Any]


def check_image(image: Any, given: Given, asked: Asked | None = None) -> Checked:
    """The image in the units of the fit; TypeError or ValueError for what cannot be fitted.

    ``asked``: of an image before that has the same options, where there was one.
    """
    background = _background_of(image, given.background)
    image, weights, variance, mask = laid_out(
        "image", image, given.weights, given.error, given.variance, given.mask, given.method
    )
    image, mask, variance, saturation, counts = in_photons(
        given.camera, image, mask, variance, given.saturation, given.method
    )
    image, mask, weights, variance = image_data.measured(
        "image", image, mask, weights, variance, given.method
    )
    picture = check.real_array("image", image, (1, 2, 3))
    if asked is None or asked.model.ndim != picture.ndim:
        asked = read_options(given, picture.ndim)
    maps = {
        "weights": weights, "variance": variance,
        "mask": without_saturated(picture, mask, saturation),
    }  # fmt: skip
    fit = asked.fit | maps
    if given.joint:
        fit |= {"background": background, "split": asked.level}
    return Checked(picture, asked, counts, fit)


def read_options(given: Given, ndim: int) -> Asked:
    """The options except those of pixels, checked, for images of ``ndim`` axes."""
    model = get_model(given.model, ndim)
    placed = given.positions is not None
    joint = check.flag("joint", given.joint)
    level = _read_level(given.split, joint, placed)
    scales = _read_scales(given, model, placed)
    several = len(scales.rows) != 1
    sigmas: Any = scales.rows[-1] if scales.rows else (DEFAULT,) * ndim
    find: dict[str, Any] = {
        "sigma": (np.array(scales.rows) if scales.rows else None) if several else sigmas,
    } | {name: getattr(given, name) for name in _OF_THE_SEARCH}  # fmt: skip
    curved = check_search(
        ndim, sigmas, given.threshold, given.min_distance, given.exclude_border,
        given.false_alarms, given.significance, given.shape_level, given.detector,
    ).curved  # fmt: skip
    fit: dict[str, Any] = {"box": box_sides(given.box, ndim, sigmas)}
    fit |= {name: getattr(given, name) for name in _OF_THE_FIT}
    search = None
    if not joint:
        model = with_background(model, _read_background(given.background))
        if not placed:
            own = {name: value for name, value in find.items() if name != "threads"}
            may = not model.round  # the fit tells how long they are
            whole = search_options.Given(**own, details=several, elongated=may)
            search = prepare_search(whole, ndim)
    return Asked(model, scales, sigmas, curved, find, search, fit, level)


def place_spots(checked: Checked, given: Given) -> Spots:
    """The spots of an image, found unless they are given, for fits of each alone."""
    picture, asked, fit = checked.picture, checked.asked, dict(checked.fit)
    sizes: Any = asked.sigmas
    positions, box = given.positions, fit.pop("box")
    if asked.search is not None:
        found = _find(checked, asked.search)
        positions = found.positions
        if len(asked.scales.rows) != 1:
            sizes = found.sigma if found.sigma.ndim > 1 else found.sigma[:, np.newaxis]
            sizes = np.broadcast_to(sizes, positions.shape)
            box = _boxes(given.box, sizes)
    maps = {name: fit.pop(name) for name in ("weights", "variance", "mask")}
    centres = check.positions(positions, picture.ndim)
    placed = Placed(picture, centres, box, sizes, counts=checked.counts, **maps)
    return Spots(placed, asked.model, fit | {"polarity": given.polarity})


def fit_alone(several: Sequence[Spots]) -> FitResult:
    """The spots of some images with the same options, each fitted alone."""
    first = several[0]
    return fit_pictures([spots.placed for spots in several], first.model, **first.options)


def _background_of(image: Any, background: Any) -> Any:
    """The background with its axes in the order of those of the image, if that is one image."""
    image_data.refuse_colours("image", image)
    if background is None or isinstance(background, str):
        return background
    return lay_out("image", image, background=background)[1]


def _read_background(background: Any) -> str:
    """The background of a spot that is fitted alone."""
    if background is None:
        return BACKGROUNDS[0]
    if not isinstance(background, str) or background not in BACKGROUNDS:
        raise ValueError(
            f"background must be one of {BACKGROUNDS} without joint=True, "
            f"got {wording.shown(background)}"
        )
    return background


def _read_scales(given: Given, model: Model, placed: bool) -> Scales:
    """The sizes of the spots; several are for a search, and for separate fits."""
    scales = read_scales(given.sigma, given.fwhm, model.ndim, model.own_sigma)
    if len(scales.rows) != 1 and (given.joint or placed):
        name = "sigma" if given.fwhm is None else "fwhm"
        what = "joint=True" if given.joint else "positions"
        value = wording.shown(getattr(given, name))
        raise ValueError(f"{name} must be one size with {what}, got {value}")
    return scales


def _boxes(box: int | tuple[int, ...] | None, sizes: np.ndarray) -> np.ndarray:
    """The box of each spot of a size (n, ndim)."""
    ndim = sizes.shape[1]
    sides = [box_sides(box, ndim, tuple(size)) for size in sizes.tolist()]
    return np.array(sides, np.intp).reshape(-1, ndim)


def _read_level(split: float | None, joint: bool, placed: bool) -> float:
    """The level of tests of one spot against two, 0 for none."""
    if split is None:
        return 0.0
    level = check.number("split", split, above=0.0, at_most=0.5)
    if not joint or placed:
        raise ValueError(f"split needs joint=True, and no positions, got {level}")
    return level


def _find(checked: Checked, search: PreparedSearch) -> FoundSpots:
    """The spots of a picture, with what the fit knows of its pixels."""
    picture, fit = checked.picture, checked.fit
    missing, weights, variance = (
        None if known is None else known.array[0]
        for known in (
            pixel_mask(fit["mask"], picture.shape, None),
            pixel_map("weights", fit["weights"], picture.shape, None),
            pixel_map("variance", fit["variance"], picture.shape, None),
        )
    )
    if weights is not None:
        missing = weights == 0 if missing is None else missing | (weights == 0)
    shown = picture if missing is None else np.where(missing, np.nan, picture)
    if weights is not None or (variance is not None and checked.asked.curved):
        shown, threshold = in_units_of_noise(
            shown, np.array(checked.asked.sigmas), weights, variance, search.given.threshold,
            known=False,
        )  # fmt: skip
        search = prepare_search(search.given._replace(threshold=threshold), picture.ndim)
        variance = None
    return search.spots_of(shown, None, variance, fit["threads"])
