"""Simulated movies of localisation microscopy: `movie`."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ..base import check, wording
from ..base.random_numbers import generator
from ..cameras.camera import Camera, check_camera
from ..fields.rendering import render
from ..models.astigmatic import AstigmaticModel
from .blinking import blink

_MOST = np.iinfo(np.uint16).max
_LEAST_ON = 0.01  # frames: shorter times on are many in a frame, and all alike


class SimulatedMovie(NamedTuple):
    """A movie and what is in it.

    Attributes
    ----------
    frames : ndarray (t, y, x) of uint16
        Counts of the camera.
    truth : structured ndarray (k,)
        A row for each frame in which an emitter shines: ``frame``, ``emitter`` (its number), the
        place ``y``, ``x`` (and ``z`` before these) with the drift of that frame, and the mean
        number of ``photons``. Sorted by frame and emitter. ``pandas.DataFrame(truth)`` is a table.
    drift : ndarray (t, ndim)
        The displacement of all emitters in each frame, along (z,) y, x.

    Examples
    --------
    See `movie`.
    """

    frames: np.ndarray
    truth: np.ndarray
    drift: np.ndarray


def movie(
    shape: tuple[int, int] = (64, 64),
    frames: int = 100,
    *,
    emitters: ArrayLike = 100,
    photons: ArrayLike = 1000.0,
    on_time: float = 2.0,
    off_time: float = 50.0,
    sigma: float | tuple[float, float] = 1.3,
    model: AstigmaticModel | None = None,
    pixel: str = "integrate",
    background: ArrayLike = 10.0,
    drift: ArrayLike = 0.0,
    camera: Camera | None = None,
    seed: Any = None,
) -> SimulatedMovie:
    """A movie of blinking emitters as a camera records it, and the emitters' places.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns of a frame.
    frames : int
        Number of frames.
    emitters : int, array (n, ndim) or table
        (z,) row and column of each emitter, or how many there are, at random places.
    photons : float or array (n,)
        Mean number of photons of an emitter that is on for a whole frame.
    on_time, off_time : float
        Mean times on and off, in frames, exponentially distributed; ``off_time=0``: always on.
    sigma : float or (float, float)
        Width of the PSF, a Gaussian, in pixels: one number, or along y and x.
    model : AstigmaticModel, optional
        In place of `sigma`: widths that depend on z. Emitters then have a z.
    pixel : {"integrate", "sample"}
        The mean of the PSF over a pixel, or its value at the centre.
    background : float or array (y, x)
        Mean photons of each pixel and frame beside the emitters.
    drift : float or array (frames, ndim)
        Displacement of all emitters in each frame, along (z,) y, x; a number is the standard
        deviation of a step of a random walk, which begins at 0.
    camera : Camera, optional
        Makes counts of photons: ``photons / gain + offset`` and read-out noise, rounded and cut off
        at 0, at its saturation and at 65535. Pixels that are missing have the value 0. By default
        counts are photons.
    seed : int or numpy.random.Generator, optional
        The same seed gives the same movie.

    Returns
    -------
    SimulatedMovie
        ``frames``, ``truth`` and ``drift``.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind, shape or value.

    Notes
    -----
    A frame of 256 x 256 pixels costs some 3 milliseconds, most of them for random numbers.

    Examples
    --------
    >>> import fastgauss as fg
    >>> camera = fg.Camera(offset=100, gain=0.5, variance=4.0)
    >>> frames, truth, _ = fg.simulate.movie((48, 48), 20, emitters=30, camera=camera, seed=1)
    >>> frames.shape, frames.dtype, truth.dtype.names
    ((20, 48, 48), dtype('uint16'), ('frame', 'emitter', 'y', 'x', 'photons'))
    >>> options = {"camera": camera, "method": "mle", "false_alarms": 0.05}
    >>> result = fg.fit_movie(frames, pixel="integrate", **options)
    >>> bool(abs(len(result) - (truth["photons"] > 300).sum()) < 10)
    True
    """
    sides = check.shape("shape", shape, (2,))
    count = check.integer("frames", frames, at_least=1)
    times = (
        check.number("on_time", on_time, at_least=_LEAST_ON),
        check.number("off_time", off_time, at_least=0.0),
    )
    widths = np.array(check.per_axis("sigma", sigma, 2, above=0.0))
    if model is not None and not isinstance(model, AstigmaticModel):
        raise TypeError(f"model must be an AstigmaticModel, got {wording.shown(model)}")
    known = check_camera("camera", camera) or Camera()
    known.check_shape("shape: frames", sides)
    glow = _not_negative("background", background, sides)
    movie = np.zeros((count, *sides), np.uint16)  # raises if there is not so much memory
    rng = generator(seed)
    places = _places(emitters, sides, model, rng)
    brightness = _not_negative("photons", photons, (len(places),))
    way = _drift(drift, count, places.shape[1], rng)

    blinks = blink(len(places), count, *times, rng)
    truth = _table(places[blinks.emitter] + way[blinks.frame], blinks, brightness)
    centres = np.stack([truth["y"], truth["x"]], axis=1)
    sigmas = np.broadcast_to(widths, centres.shape)
    if model is not None:
        sigmas = model.sigmas_at(truth["z"])[:, ::-1]
    heights = truth["photons"] / (2.0 * np.pi * sigmas.prod(axis=1))
    ends = np.searchsorted(truth["frame"], np.arange(count + 1))
    for number in range(count):
        rows = slice(*ends[number : number + 2])
        light = np.array(np.broadcast_to(glow, sides))
        render(sides, centres[rows], heights[rows], sigmas[rows], tol=1e-7, pixel=pixel, out=light)
        movie[number] = _counts(light, known, rng)
    return SimulatedMovie(movie, truth, way)


def _not_negative(name: str, value: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Numbers from 0 on: one for all, or one for each."""
    numbers = check.finite_array(name, value)
    if numbers.shape not in ((), shape):
        raise ValueError(f"{name} must be a number or have shape {shape}, got {numbers.shape}")
    check.not_negative(name, numbers)
    return np.broadcast_to(numbers, shape)


def _places(
    emitters: Any, sides: tuple[int, ...], model: AstigmaticModel | None, rng: np.random.Generator
) -> np.ndarray:
    """Places (n, ndim) of all emitters."""
    low, high = [0.0, 0.0], [max(n - 1.0, 0.0) for n in sides]
    if model is not None:
        low, high = [model.z_range[0], *low], [model.z_range[1], *high]
    if check.entries("emitters", emitters) is None and not check.column_names(emitters):
        count = check.integer("emitters", emitters, at_least=0)
        return rng.uniform(low, high, (count, len(low)))
    return check.finite_array("emitters", check.places("emitters", emitters, len(low)))


def _drift(drift: Any, frames: int, ndim: int, rng: np.random.Generator) -> np.ndarray:
    """The displacement (frames, ndim) in each frame."""
    way = check.finite_array("drift", drift, (0, 2))
    if way.ndim == 0:
        step = check.number("drift", drift, at_least=0.0)
        way = np.cumsum(rng.normal(0.0, step, (frames, ndim)), axis=0)
        return way - way[0]
    if way.shape != (frames, ndim):
        raise ValueError(f"drift must be a number or have shape {(frames, ndim)}, got {way.shape}")
    return way


def _table(places: np.ndarray, blinks: Any, brightness: np.ndarray) -> np.ndarray:
    """The rows of ``truth``."""
    axes = check.axis_names(places.shape[1])
    kinds: list[Any] = [("frame", np.intp), ("emitter", np.intp)]
    kinds += [(name, np.float64) for name in (*axes, "photons")]
    truth = np.empty(len(places), kinds)
    truth["frame"], truth["emitter"] = blinks.frame, blinks.emitter
    for name, column in zip(axes, places.T, strict=True):
        truth[name] = column
    truth["photons"] = brightness[blinks.emitter] * blinks.part
    return truth


def _counts(light: np.ndarray, camera: Camera, rng: np.random.Generator) -> np.ndarray:
    """The values that a camera writes for these mean numbers of photons."""
    electrons = rng.poisson(light)
    noise = rng.standard_normal(light.shape) if np.any(camera.variance) else 0.0
    with np.errstate(divide="ignore", invalid="ignore"):
        counts = electrons / camera.gain + camera.offset + noise * np.sqrt(camera.variance)
    top = _MOST if camera.saturation is None else np.minimum(camera.saturation, _MOST)
    counts = np.rint(np.clip(counts, 0.0, top))
    sound = np.isfinite(camera.photon_variance)
    return np.where(sound, counts, 0.0).astype(np.uint16)
