"""The motion of an image relative to another, as registration returns it."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ..base import check
from ..base.named_axes import lay_out, transposed_back
from . import motions
from .results import Status


class Motion(NamedTuple):
    """The motion of one image relative to another: rotation, scale or shear, and displacement.

    What is at p in the first image is at ``c + matrix @ (p - c) + displacement`` in the second,
    with p in array-axis order, (y, x), and c the centre of the image, ((Y - 1) / 2, (X - 1) / 2).

    Attributes
    ----------
    kind : {"rigid", "similarity", "affine"}
        Of the motion; `names` are its parameters.
    matrix : ndarray (2, 2)
        **In array-axis order**; NaN without a solution.
    displacement : ndarray (2,)
        Of the centre, **in array-axis order**, (dy, dx), in pixels.
    covariance : ndarray (k, k)
        Of the parameters in the order of `names`, in units of pixels, radians and 1; infinite where
        the pixels do not determine a parameter.
    status : int
        A code of `Status`.
    correlation, noise, pixels
        As in `Shift`.
    shape : tuple
        Of the images.

    Examples
    --------
    A scene turned by 0.1 radian about the centre and magnified by 1.05, and its parameters:

    >>> import numpy as np, fastgauss as fg
    >>> from scipy import ndimage
    >>> scene = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=(140, 140)), 2)
    >>> c, s = np.cos(0.1), np.sin(0.1)
    >>> matrix = np.array([[c, s], [-s, c]]) * 1.05
    >>> centre = np.array([49.5, 49.5])
    >>> back = np.linalg.inv(matrix)
    >>> second = ndimage.affine_transform(
    ...     scene, back, centre + 20 - back @ centre, (100, 100), order=5)
    >>> first = scene[20:120, 20:120]
    >>> motion = fg.register.align(first, second, motion="similarity")
    >>> round(motion.angle, 3), round(motion.scale, 3), motion.converged
    (0.1, 1.05, True)
    >>> motion.names
    ('dx', 'dy', 'angle', 'scale')
    >>> bool(np.all(motion.errors < 0.01))
    True

    The second image, moved onto the first, by `apply` or by scipy:

    >>> moved = motion.apply(second)
    >>> by_scipy = ndimage.affine_transform(second, motion.matrix, motion.offset, order=5)
    >>> bool(np.abs(moved - first)[20:-20, 20:-20].max() < 0.01)
    True
    >>> np.allclose(moved[20:-20, 20:-20], by_scipy[20:-20, 20:-20])
    True

    scikit-image takes `homogeneous`, whose order is (x, y):

    >>> from skimage import transform
    >>> to_second = transform.AffineTransform(motion.homogeneous)
    >>> by_skimage = transform.warp(second, to_second, order=5)
    >>> np.allclose(moved[20:-20, 20:-20], by_skimage[20:-20, 20:-20], atol=1e-6)
    True
    """

    kind: str
    matrix: np.ndarray
    displacement: np.ndarray
    covariance: np.ndarray
    status: int
    correlation: float
    noise: float
    pixels: int
    shape: tuple[int, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the parameters: dx, dy, then angle, or angle and scale, or yy, yx, xy, xx.

        The last four are the matrix, row by row.
        """
        return motions.NAMES[self.kind]

    @property
    def values(self) -> np.ndarray:
        """The parameters in the order of `names`, (k,)."""
        place = motions.Place(self.matrix, self.displacement)
        return np.array(motions.values_of(place, self.names))

    @property
    def errors(self) -> np.ndarray:
        """One standard error of each parameter in the order of `names`, (k,)."""
        return np.sqrt(np.diag(self.covariance))

    @property
    def dx(self) -> float:
        """Displacement of the centre along axis 1, in pixels."""
        return float(self.displacement[1])

    @property
    def dy(self) -> float:
        """Displacement of the centre along axis 0, in pixels."""
        return float(self.displacement[0])

    @property
    def angle(self) -> float:
        """Rotation in radians, positive from the axis x to the axis y.

        With y drawn downwards, a positive angle is clockwise. Of an affine motion it is that of the
        nearest rotation.
        """
        return motions.angle_of(self.matrix)

    @property
    def scale(self) -> float:
        """How much larger the scene is in the second image: the root of the area of 1 pixel."""
        return motions.scale_of(self.matrix)

    @property
    def angle_error(self) -> float:
        """One standard error of the angle, in radians."""
        return self._error("angle")

    @property
    def scale_error(self) -> float:
        """One standard error of the scale; 0 of a rigid motion."""
        return self._error("scale")

    def _error(self, name: str) -> float:
        if name in self.names:
            return float(self.errors[self.names.index(name)])
        if not np.isfinite(self.covariance).all():
            return math.nan if np.isnan(self.covariance).any() else math.inf
        slopes = motions.slopes_of(self.matrix, (name,))[0]
        along = [slopes[motions.ORDER.index(n)] if n in motions.ORDER else 0.0 for n in self.names]
        return math.sqrt(float(np.array(along) @ self.covariance @ along))

    @property
    def offset(self) -> np.ndarray:
        """``matrix @ p + offset`` is where p goes, (2,): what ``scipy.ndimage`` calls so."""
        centre = motions.centre(self.shape)
        return centre + self.displacement - self.matrix @ centre

    @property
    def homogeneous(self) -> np.ndarray:
        """Where (x, y, 1) of the first image goes, (3, 3): the matrix that scikit-image takes."""
        out = np.eye(3)
        out[:2, :2], out[:2, 2] = self.matrix[::-1, ::-1], self.offset[::-1]
        return out

    @property
    def converged(self) -> bool:
        """Whether status is ``Status.CONVERGED``."""
        return self.status == Status.CONVERGED

    def apply(
        self,
        image: ArrayLike,
        *,
        mask: ArrayLike | None = None,
        order: int = 5,
        cval: float = np.nan,
    ) -> np.ndarray:
        """Move the second image, or another channel of it, onto the first.

        Parameters
        ----------
        image : array_like (Y, X)
            Of any real dtype and of the shape of the images; NaN and infinity are missing.
        mask : array_like (Y, X) of bool, optional
            True where a pixel is missing.
        order : int, optional
            0 to 5, of the splines.
        cval : float, optional
            The value of pixels that come from outside or from missing pixels.

        Returns
        -------
        ndarray (Y, X) float64
            NaN without a solution.

        Raises
        ------
        TypeError, ValueError
            If an argument is not as described.
        """
        from scipy.ndimage import affine_transform

        from .shift import read_pixels, resample

        order = check.integer("order", order, at_least=0, at_most=5)
        cval = check.any_number("cval", cval)
        arranged, mask = lay_out("image", image, mask=mask)
        array, exists = read_pixels("image", arranged, mask, "spline")
        if array.shape != self.shape:
            raise ValueError(f"image must have shape {self.shape}, got {array.shape}")
        if not np.isfinite(self.matrix).all():
            return transposed_back(np.full(self.shape, np.nan), arranged, image)
        matrix, offset = self.matrix, self.offset
        moved = resample(
            array, exists, lambda pixels, **how: affine_transform(pixels, matrix, offset, **how),
            order, cval,
        )  # fmt: skip
        return transposed_back(moved, arranged, image)


def nothing(kind: str, shape: tuple[int, ...], status: int, pixels: int = 0) -> Motion:
    """The result where there is none."""
    count = len(motions.NAMES[kind])
    return Motion(
        kind, np.full((2, 2), np.nan), np.full(2, np.nan), np.full((count, count), np.nan),
        int(status), math.nan, math.nan, pixels, shape,
    )  # fmt: skip
