"""One displacement or motion between two images or volumes, as exact as their noise allows.

With ``boundary="overlap"`` the images are two views of a larger scene, of which only what both show
counts: ``kernels/register/gauss_newton.py`` has the mathematics. With ``boundary="wrap"`` they are
periodic: ``register/periodic.py``. Volumes are views of a larger scene:
``register/volume_registration.py``. Rotations, scales and shears: ``register/motion_fit.py``.
"""

from __future__ import annotations

import math
from typing import Any, Literal, overload

import numpy as np
from numpy.typing import ArrayLike

from ..base import check, image_data
from ..base.named_axes import lay_out, refuse_axes
from ..base.thread_pool import resolve_threads
from ..kernels.register import window_columns
from . import (
    inputs,
    motion_fit,
    motions,
    periodic,
    volume_registration,
    whole_images,
    window_matching,
)
from .fixed_pattern import look_again, shows_fixed_pattern
from .hot_pixels import shows_hot_pixels
from .motion_results import Motion
from .results import Shift, Status, no_shift

BOUNDARIES = ("overlap", "wrap")
_TOL = 1e-7  # pixels


def read_pair(
    im1: Any,
    im2: Any,
    err1: Any,
    err2: Any,
    mask: Any,
    names: tuple[str, ...],
    brightness: str,
    ndim: int | tuple[int, ...] = 2,
) -> tuple[inputs.Pixels, inputs.Pixels]:
    """Both images, checked before anything is computed; ``names`` of the four arguments.

    With the brightness "same" the second has the level and the scale of the first.
    """
    masks = mask if isinstance(mask, tuple) else (mask, mask)
    if len(masks) != 2:
        raise ValueError(f"mask must be one array or a tuple of two, got {len(masks)}")
    for name, value in zip(names, (im1, im2), strict=False):
        refuse_axes(name, value)
    im1, mask1, err1 = lay_out(names[0], im1, **{"mask": masks[0], names[2]: err1})
    im2, mask2, err2 = lay_out(names[1], im2, **{"mask": masks[1], names[3]: err2})
    im1, hidden1, err1 = image_data.with_errors(names[0], im1, mask1, err1)
    im2, hidden2, err2 = image_data.with_errors(names[1], im2, mask2, err2)
    first, second = inputs.image(names[0], im1, ndim), inputs.image(names[1], im2, ndim)
    if first.shape != second.shape:
        raise ValueError(
            f"{names[1]} must have the shape of {names[0]}, {first.shape}, got {second.shape}"
        )
    shape = first.shape
    holes = [inputs.missing("mask", m, shape) for m in (hidden1, hidden2)]
    errors = [inputs.error(n, e, shape) for n, e in zip(names[2:], (err1, err2), strict=True)]
    one = inputs.read(first, errors[0], holes[0])
    same = brightness == "same"
    like = (one.level, one.scale) if same else (None, None)
    return one, inputs.read(second, errors[1], holes[1], *like)


@overload
def align(
    im1: ArrayLike, im2: ArrayLike, err1: ArrayLike | None = None, err2: ArrayLike | None = None,
    mask: ArrayLike | tuple | None = None, *, model: str = "shift",
    motion: Literal["translation"] = "translation",
    start: str | tuple[float, ...] = "correlation", boundary: str = "overlap",
    brightness: str = "linear", search: float | None = None, fixed_pattern: bool = False,
) -> Shift: ...  # fmt: skip


@overload
def align(
    im1: ArrayLike, im2: ArrayLike, err1: ArrayLike | None = None, err2: ArrayLike | None = None,
    mask: ArrayLike | tuple | None = None, *, model: str = "shift",
    motion: Literal["rigid", "similarity", "affine"],
    start: str | tuple[float, ...] | Motion = "correlation", boundary: str = "overlap",
    brightness: str = "linear", search: float | None = None, fixed_pattern: bool = False,
) -> Motion: ...  # fmt: skip


def align(
    im1: ArrayLike,
    im2: ArrayLike,
    err1: ArrayLike | None = None,
    err2: ArrayLike | None = None,
    mask: ArrayLike | tuple | None = None,
    *,
    model: str = "shift",
    motion: str = "translation",
    start: str | tuple[float, ...] | Motion = "correlation",
    boundary: str = "overlap",
    brightness: str = "linear",
    search: float | None = None,
    fixed_pattern: bool = False,
) -> Shift | Motion:
    """Displacement or motion of one image or volume relative to another, with its covariance.

    Parameters
    ----------
    im1, im2 : array_like (Y, X) or (Z, Y, X)
        Images of any real dtype with 12 rows and columns (and planes) or more; NaN and infinity are
        missing.
        Images of 12 or 13 rows or columns have too few pixels away from the border for
        ``boundary="overlap"`` and get the status `Status.TOO_FEW_PIXELS`.
    err1, err2 : float or array_like of the images' shape, optional
        Standard deviation of the noise of each image; 0 in an array is a missing pixel. Unless both
        are given, the residual of each pixel tells its noise.
    mask : array_like of bool of the images' shape, or a tuple of two, optional
        True where a pixel is missing, in both images or in each.
    model : {"shift"}
        What moves: the whole image.
    motion : {"translation", "rigid", "similarity", "affine"}
        How it moves: by a displacement alone; and by a rotation about the centre; and by a scale;
        or by any matrix. Volumes and periodic images have translations alone.
    start : "correlation", (dx, dy), (dx, dy, dz) or Motion
        Where to begin: at the best match of gradients from coarse to fine, or at a place that is
        right to about a pixel; of motions, anywhere in the image. With "correlation", rotations up
        to 15 degrees either way and scales of 0.85 to 1.18 are tried, all in steps by which the
        corners of an image of 24 to 47 pixels move by 1.25 pixels, each at its best displacement;
        (dx, dy) has no rotation and the scale 1, and a `Motion` of another kind begins at the
        nearest one of this kind.
    boundary : {"overlap", "wrap"}
        Views of a larger scene, or periodic images without missing pixels and with uniform errors;
        volumes, and images with another motion than a translation, are views of a larger scene.
    brightness : {"linear", "offset", "same"}
        How the second image may differ: by a constant and a factor, or not at all. "offset" means
        "linear": a factor is found, too.
    search : float, optional
        Largest displacement along each axis, in pixels, of the centre where there is another
        motion: a larger one is no result. By default displacements up to a quarter of the shorter
        side are looked for, and those a little larger are results.
    fixed_pattern : bool
        Whether both images may hold the same pattern that does not move with the scene: hot pixels,
        a bad column, a dark border, a beam stop, the shade of a lens. Translations of images that
        are views of a larger scene are then looked at three times more, in ways that count such a
        pattern less. By default they are if the images differ, at the displacement that was found,
        by more than 1.3 times their noise, if strong or smooth gradients want another displacement
        than the others do, by four standard deviations, or if most pixels that stick out alone are
        the same ones in both (Notes). Leave it out for images of a few levels, such as masks and
        labels.

    Returns
    -------
    Shift or Motion
        `Shift` of a translation: dx (the last axis), dy (the one before), dz (axis 0 of volumes),
        covariance, status, correlation, noise, pixels. `Motion` of others: matrix and displacement
        of the centre, the covariance of all parameters, and the rest.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described. Images that cannot be registered have a status.

    Notes
    -----
    About 2 ms for 128 x 128, 10 ms for 512 x 512 pixels, 0.4 s for 64 x 64 x 64; with another
    motion than a translation, 0.05 s and 0.3 s. Neither the unit
    of the pixels nor a constant added to them changes the result.

    The last steps of volumes are by filters of 34 taps instead of splines, unless that is expected
    to gain little, or ``err1`` or ``err2`` differs by more than a factor of 2 between pixels.

    The errors contain the noise and the interpolation of the splines, but not changes of the scene.
    Anything that does not move between the images (hot pixels, dust, a border, the shade of the
    lens) draws the result towards 0. Where parts of the images want different displacements, or
    pixels and lines stick out alone in both, the pair is looked at again. Of 400 pairs with a
    pattern 5 are wrong and `Status.CONVERGED`, most of them in strong noise, or moved by about a
    pixel. Mask the pattern, divide both images by it, or give ``fixed_pattern=True``, which looks
    at every pair again. The displacement is then that of the larger area, or the status is
    `Status.AMBIGUOUS`, where noise does not hide the scene and the images have 64 rows and columns
    or more. That takes 0.03 s for 128 x 128 and 0.25 s for 512 x 512 pixels; so do pairs whose
    scene changes or turns, of which the images differ by more than noise, too. Pairs with a `start`
    are not looked at again by default.

    The slope of a background as steep as 300 times the slopes of the scene hides it: such images,
    and pure ramps, are `Status.NO_TEXTURE`.

    Images of which another displacement may be the right one, or that have nothing in common, are
    `Status.AMBIGUOUS`, and their errors include the other displacements. Of images with few
    objects, such as stars, most objects must be in both, and two at least. Where each image shows a
    single object, nothing tells whether it is the same one, and it is taken for the same. Where the
    images have structure along one direction only, the displacement is that across it, 0 along it,
    the error infinite along it (of both dx and dy if the structure is oblique), and the status
    `Status.ONE_DIRECTION`. So it is of a motion of which the structure determines a part alone; a
    disc, for example, has no angle. A parameter with an infinite error stays near its start.

    Single missing pixels are guessed from their neighbours and count little. A wild pixel (or a
    group of up to nine, or a fill value) is missing, too: a pixel whose value is a thousand times
    as far from the median as the values of most pixels, and thirty times as far as those of all
    pixels next to it.

    References
    ----------
    C. Knapp and G. Carter, "The generalized correlation method for estimation of time delay",
    IEEE Trans. ASSP 24 (1976) 320. H. White, "A heteroskedasticity-consistent covariance matrix
    estimator and a direct test for heteroskedasticity", Econometrica 48 (1980) 817.

    Examples
    --------
    >>> import numpy as np, fastgauss as fg
    >>> scene = np.random.default_rng(0).normal(size=(90, 90)).cumsum(0).cumsum(1)
    >>> shift = fg.register.align(scene[5:69, 5:69], scene[7:71, 2:66])
    >>> round(shift.dx, 3), round(shift.dy, 3)
    (3.0, -2.0)
    >>> volume = np.random.default_rng(0).normal(size=(40, 40, 40)).cumsum(0).cumsum(1).cumsum(2)
    >>> shift = fg.register.align(volume[5:35, 5:35, 5:35], volume[4:34, 7:37, 2:32])
    >>> shift.displacement.round(2)
    array([ 1., -2.,  3.])
    >>> motion = fg.register.align(scene[5:69, 5:69], scene[7:71, 2:66], motion="rigid")
    >>> round(motion.dx, 2), round(motion.dy, 2), round(abs(motion.angle), 3)
    (3.0, -2.0, 0.0)
    """
    check.choice("model", model, ("shift",))
    check.choice("motion", motion, tuple(motions.NAMES))
    check.choice("boundary", boundary, BOUNDARIES)
    check.choice("brightness", brightness, window_matching.BRIGHTNESS)
    wrap = boundary == "wrap"
    first, second = read_pair(
        im1, im2, err1, err2, mask, ("im1", "im2", "err1", "err2"), brightness, (2, 3)
    )
    ndim = first.values.ndim
    if ndim == 3 and wrap:
        raise ValueError("boundary must be 'overlap' for volumes, got 'wrap'")
    if check.flag("fixed_pattern", fixed_pattern):
        _check_fixed_pattern(ndim, motion, boundary, start)
    bound, most = math.inf, float(max(first.values.shape))  # beyond it no pixel is in both
    if search is not None:
        bound = min(check.number("search", search, above=0), most)
    if motion != "translation":
        if ndim == 3:
            raise ValueError(f"motion must be 'translation' for volumes, got {motion!r}")
        if wrap:
            raise ValueError(f"boundary must be 'overlap' with motion={motion!r}, got 'wrap'")
        place = _start_of_motion(start, motion, first.values.shape)
        return motion_fit.register(first, second, motion, place, bound, brightness)
    if isinstance(start, Motion):
        raise TypeError(
            "start must be 'correlation' or a displacement with motion='translation', got a Motion"
        )
    begin = None
    if not isinstance(start, str):
        begin = check.per_axis("start", start, ndim)
    else:
        check.choice("start", start, ("correlation",))
    if fixed_pattern:
        shift = _overlap(first, second, None, bound, brightness, fixed_pattern=True)
    else:
        of_images = periodic.register if wrap else _overlap
        method = volume_registration.register if ndim == 3 else of_images
        shift = method(first, second, begin, bound, brightness)
    if np.abs(shift.displacement).max() > bound:
        return no_shift(Status.LOST, ndim, shift.pixels)
    return shift


def _check_fixed_pattern(ndim: int, motion: str, boundary: str, start: Any) -> None:
    """Refuse what is not looked at again."""
    for name, value, allowed in (
        ("motion", motion, "translation"),
        ("boundary", boundary, "overlap"),
        ("start", start, "correlation"),
    ):
        if not (isinstance(value, str) and value == allowed):
            raise ValueError(f"{name} must be {allowed!r} with fixed_pattern=True, got {value!r}")
    if ndim != 2:
        raise ValueError("fixed_pattern must be False for volumes, got True")


def _start_of_motion(start: Any, kind: str, shape: tuple[int, ...]) -> motions.Place | None:
    """Where to begin, None if it is to be found."""
    if isinstance(start, Motion):
        if not (np.isfinite(start.matrix).all() and np.isfinite(start.displacement).all()):
            raise ValueError("start must be a Motion with a solution, got one without")
        if start.shape != shape:
            raise ValueError(f"start must be a Motion of images {shape}, got one of {start.shape}")
        if math.isnan(motions.scale_of(start.matrix)):
            raise ValueError("start must be a Motion that mirrors nothing, got one that does")
        return motions.nearest(start.matrix, start.displacement, kind)
    if isinstance(start, str):
        check.choice("start", start, ("correlation",))
        return None
    dx, dy = check.per_axis("start", start, 2)
    return motions.Place(np.eye(2), np.array([dy, dx]))


def _overlap(
    first: inputs.Pixels,
    second: inputs.Pixels,
    begin: tuple[float, ...] | None,
    bound: float,
    brightness: str,
    fixed_pattern: bool = False,
) -> Shift:
    threads = resolve_threads(None)
    reach = min(bound, 0.25 * min(first.values.shape)) if math.isinf(bound) else bound
    found = whole_images.match(
        first, second, reach, brightness, _TOL, threads, begin=begin, bounded=bound < math.inf
    )
    both, out, status, reach = found
    seen = begin is None and (
        shows_fixed_pattern(both, out, status) or shows_hot_pixels(first, second)
    )
    if fixed_pattern or seen:
        look_again(both, out, status, reach, brightness, threads)
    if begin is None:
        whole_images.doubt_few_objects(found)
    row = out[0]
    covariance = row[
        [window_columns.VAR_X, window_columns.COV, window_columns.COV, window_columns.VAR_Y]
    ].reshape(2, 2)
    pixels = 0 if math.isnan(row[window_columns.PIXELS]) else int(row[window_columns.PIXELS])
    noise = float(row[window_columns.RESIDUAL])
    if not both.unit:
        noise = noise / first.scale / first.scale
    return Shift(
        float(row[window_columns.DX]), float(row[window_columns.DY]), covariance, int(status[0]),
        float(row[window_columns.CORRELATION]), noise, pixels,
    )  # fmt: skip
