"""The camera: what its counts mean in photons, pixel by pixel: `Camera`.

    photons = (counts - offset) * gain

``gain`` is photo-electrons for each count, as in the FITS card GAIN (other programs call it
conversion factor or sensitivity). ``variance`` is that of the read-out noise in counts squared, as
dark frames show it; a fit of photons takes ``variance * gain**2``.
"""

from __future__ import annotations

import os
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..base import check, wording
from ..base.named_axes import in_order, transposed_back
from ..base.progress import Progress

Values = float | np.ndarray


class Camera:
    """Offset, gain, read-out noise and saturation of a camera, as numbers or as maps.

    `fit_spots`, `fit_movie` and `iter_movie` take it as ``camera=``; the command takes a saved one
    as ``--camera``.

    Parameters
    ----------
    offset : float or array (y, x) or (z, y, x)
        The value of a pixel without light, in counts: the mean of dark frames.
    gain : float or array
        Photo-electrons for each count, ``photons = (counts - offset) * gain``; the inverse of
        "counts for each photon". In a map, a pixel whose gain is NaN or not above 0 is missing.
    variance : float or array
        Variance of the read-out noise, in counts squared: the variance of dark frames. In a map, a
        pixel whose variance is NaN or infinite is missing.
    saturation : float or array, optional
        A pixel of this many counts or more is saturated, and missing.

    Attributes
    ----------
    offset, gain, variance, saturation : float or ndarray of float64
        As given; maps cannot be written to.
    shape : tuple of int, or None
        The shape of the maps; None if all are numbers.

    Raises
    ------
    TypeError, ValueError
        If a number is not finite, a gain is not above 0, a variance is negative, maps have
        different shapes, or no pixel of a map can be used.

    Examples
    --------
    >>> import numpy as np, fastgauss as fg
    >>> camera = fg.Camera(offset=100, gain=0.5, variance=6.0, saturation=4095)
    >>> camera.to_photons([[100, 120], [300, 4095]])
    array([[  0.,  10.],
           [100.,  nan]])
    >>> camera.photon_variance
    1.5
    """

    def __init__(
        self,
        offset: ArrayLike = 0.0,
        gain: ArrayLike = 1.0,
        variance: ArrayLike = 0.0,
        saturation: ArrayLike | None = None,
    ) -> None:
        self.offset = _values("offset", offset)
        self.gain = _values("gain", gain)
        if not np.any(np.asarray(self.gain) > 0):
            what = "above 0" if isinstance(self.gain, float) else "above 0 in some pixel"
            raise ValueError(f"gain must be {what}, got {wording.shown(gain)}")
        self.variance = _values("variance", variance)
        negative = np.argwhere(np.asarray(self.variance) < 0)
        if len(negative):
            at = tuple(negative[0].tolist())
            where = f" at index {at}" if at else ""
            least = np.asarray(self.variance)[at]
            raise ValueError(f"variance must not be negative, got {least}{where}")
        self.saturation = None if saturation is None else _values("saturation", saturation)
        maps = {n: value for n, value in self._all().items() if isinstance(value, np.ndarray)}
        shapes = {value.shape for value in maps.values()}
        if len(shapes) > 1:
            told = ", ".join(f"{name} {value.shape}" for name, value in maps.items())
            raise ValueError(f"the maps of a camera must have one shape, got {told}")
        self.shape: tuple[int, ...] | None = next(iter(shapes), None)
        if self._missing is not None and self._missing.all():
            raise ValueError("offset, gain and variance must be finite together in some pixel")

    def _all(self) -> dict[str, Values | None]:
        return {
            "offset": self.offset, "gain": self.gain, "variance": self.variance,
            "saturation": self.saturation,
        }  # fmt: skip

    def __repr__(self) -> str:
        told = ", ".join(f"{name}={_told(value)}" for name, value in self._all().items())
        return f"Camera({told})"

    # -- what a frame means ----------------------------------------------------------------------

    @cached_property
    def _missing(self) -> np.ndarray | None:
        """Pixels that cannot be used; None if all can."""
        if self.shape is None:
            return None
        good = np.isfinite(self.offset) & np.isfinite(self.gain) & np.isfinite(self.variance)
        missing = ~np.broadcast_to(good & (np.asarray(self.gain) > 0), self.shape)
        return missing if missing.any() else None

    @cached_property
    def photon_variance(self) -> Values:
        """The variance of the read-out noise in photons squared; infinite where one is missing."""
        with np.errstate(invalid="ignore", over="ignore"):
            variance = self.variance * np.square(self.gain)
        if self._missing is None:
            return variance if np.ndim(variance) else float(variance)
        return np.where(self._missing, np.inf, variance)

    @property
    def converts(self) -> bool:
        """Whether photons are other numbers than counts."""
        return any(
            np.ndim(value) or value != plain
            for value, plain in ((self.offset, 0.0), (self.gain, 1.0))
        )

    def check_shape(self, name: str, shape: tuple[int, ...]) -> None:
        """ValueError unless the maps are those of a picture of this shape."""
        if self.shape is not None and tuple(shape[-len(self.shape) :]) != self.shape:
            raise ValueError(f"{name} must have the camera's shape {self.shape}, got {shape}")

    def lost(self, counts: np.ndarray) -> np.ndarray | None:
        """Pixels (of the frame's shape) that are saturated or missing; None if there are none."""
        lost = self._missing
        if self.saturation is not None:
            full = counts >= self.saturation
            lost = full if lost is None else full | lost
        return None if lost is None or not lost.any() else np.broadcast_to(lost, counts.shape)

    def to_photons(self, frame: ArrayLike) -> np.ndarray:
        """The photons of a frame, NaN where a pixel is saturated or missing.

        Parameters
        ----------
        frame : array (..., y, x)
            Counts of any real dtype: a frame, a volume or a stack of them.

        Returns
        -------
        ndarray of the frame's shape, float64

        Raises
        ------
        TypeError, ValueError
            If the frame holds no real numbers, or its shape is not that of the maps.

        Examples
        --------
        See `Camera`.
        """
        arranged = in_order("frame", frame)
        counts = check.real_array("frame", arranged)
        self.check_shape("frame", counts.shape)
        return transposed_back(self.photons_of(counts, self.lost(counts)), arranged, frame)

    def photons_of(self, counts: np.ndarray, lost: np.ndarray | None) -> np.ndarray:
        """Photons of a checked frame, NaN where ``lost``."""
        with np.errstate(invalid="ignore", over="ignore"):
            photons = np.subtract(counts, self.offset, dtype=np.float64)
            photons *= self.gain
        if lost is not None:
            photons[lost] = np.nan
        return photons

    def __getitem__(self, where: Any) -> Camera:
        """The camera of a part of its pixels, by one slice for each axis of a frame.

        Examples
        --------
        >>> import numpy as np, fastgauss as fg
        >>> fg.Camera(offset=np.arange(12.0).reshape(3, 4))[1:, 2:4].offset
        array([[ 6.,  7.],
               [10., 11.]])
        """
        slices = where if isinstance(where, tuple) else (where,)
        if not all(isinstance(each, slice) for each in slices):
            raise TypeError(f"a part of a camera is taken by slices, got {wording.shown(where)}")
        if self.shape is None:
            return self
        slices = slices[max(0, len(slices) - len(self.shape)) :]
        parts = self._all()
        for name, value in parts.items():
            parts[name] = value[slices] if isinstance(value, np.ndarray) else value
        return Camera(**parts)  # type: ignore[arg-type]

    # -- where cameras come from -----------------------------------------------------------------

    @classmethod
    def calibrate(
        cls,
        dark: Any,
        bright: Any,
        *,
        saturation: ArrayLike | None = None,
        maps: bool = True,
        progress: bool | Progress = False,
    ) -> Camera:
        """The camera that dark frames and evenly lit frames show (photon transfer).

        Parameters
        ----------
        dark : array (n, y, x), path or iterable of frames
            At least two frames without light. Everything that `fit_movie` takes as frames.
        bright : array (n, y, x), path or iterable of frames, or a list of these
            At least two frames of constant light, without structure that moves; a list holds
            several levels of light. The light need not be the same in all pixels.
        saturation : float or array, optional
            As in `Camera`. A level that reaches it in a pixel does not count there.
        maps : bool
            True: offset, gain and variance of each pixel (sCMOS). False: one number for all pixels
            (CCD, and where there are few frames).
        progress : bool or callable
            True shows a tqdm bar of frames; a callable gets ``(done, total)``; total is 0 where the
            number of frames is not known.

        Returns
        -------
        Camera

        Raises
        ------
        TypeError, ValueError
            If there are fewer than two frames of a kind, their shapes differ, or `bright` is not
            brighter than `dark`.

        Notes
        -----
        Offset and variance are mean and variance of the dark frames. Of each level, the variance
        beyond the dark frames' is proportional to the mean beyond the dark frames', by the gain in
        counts for each photon [1]_: the slope, weighted by the inverse variances of the variances,
        is the inverse of `gain`. The variance that a flickering lamp adds is measured by the means
        of whole frames, and subtracted. With n frames the gain of a pixel has a relative error of
        ``sqrt(2 / n)``: use a thousand frames for maps.

        Frames are read once, one after the other. The cost is 10 ns a pixel; the memory is that of
        some ten frames for each level.

        References
        ----------
        .. [1] F. Huang et al., "Video-rate nanoscopy using sCMOS camera-specific single-molecule
           localization algorithms", Nature Methods 10 (2013) 653-658.

        Examples
        --------
        >>> import numpy as np, fastgauss as fg
        >>> rng = np.random.default_rng(0)
        >>> dark = rng.normal(100, 3, (500, 20, 20))
        >>> bright = [rng.poisson(k, dark.shape) * 2 + rng.permutation(dark) for k in (50, 200)]
        >>> camera = fg.Camera.calibrate(dark, bright, maps=False)
        >>> round(camera.offset), round(camera.gain, 2), round(camera.variance)
        (100, 0.5, 9)
        """
        from .calibration import calibrate

        saturation = None if saturation is None else _values("saturation", saturation)
        return cls(*calibrate(dark, bright, saturation, maps, progress), saturation)

    def save(self, path: str | os.PathLike) -> None:
        """Write the camera to a file, which `load` and the command's ``--camera`` read.

        Parameters
        ----------
        path : path-like
            Its name ends in .npz.

        Raises
        ------
        ValueError
            If the name has another ending.
        OSError
            If the file cannot be written.

        Examples
        --------
        >>> import tempfile, pathlib, fastgauss as fg
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder, "camera.npz")
        ...     fg.Camera(offset=100, gain=0.5).save(path)
        ...     fg.Camera.load(path)
        Camera(offset=100, gain=0.5, variance=0, saturation=None)
        """
        from .storage import save

        known = {name: value for name, value in self._all().items() if value is not None}
        save(path, {name: np.asarray(value) for name, value in known.items()})

    @classmethod
    def load(cls, path: str | os.PathLike) -> Camera:
        """Read a camera that `save` wrote.

        Any .npz file serves that holds arrays with the names ``offset``, ``gain``, ``variance`` and
        ``saturation``; what is not there has its default.

        Raises
        ------
        FileNotFoundError, ValueError
            If there is no such file, or the file holds no camera.

        Examples
        --------
        See `save`.
        """
        from .storage import load

        return load(path, cls)


def _values(name: str, value: Any) -> Values:
    """A finite number, or a map of numbers that may not be finite everywhere."""
    if check.entries(name, value) is None:
        return check.number(name, value)
    pixels = np.array(check.real_array(name, in_order(name, value), (2, 3)), np.float64)
    if not np.isfinite(pixels).any():
        raise ValueError(f"{name} must be finite in some pixel, got {wording.shown(value)}")
    pixels.flags.writeable = False
    return pixels


def _told(value: Values | None) -> str:
    """A number, or the shape and the median of a map."""
    if value is None or isinstance(value, float):
        return "None" if value is None else f"{value:.6g}"
    sides = " x ".join(map(str, value.shape))
    return f"<{sides} pixels, median {np.nanmedian(value):.4g}>"


def check_camera(name: str, camera: Any) -> Camera | None:
    """A camera or None; TypeError for anything else."""
    if camera is not None and not isinstance(camera, Camera):
        raise TypeError(f"{name} must be a Camera, got {wording.shown(camera)}")
    return camera
