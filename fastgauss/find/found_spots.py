"""FoundSpots: positions, significances and shapes, the detailed result of `find_spots`."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..base.data_frames import data_frame

if TYPE_CHECKING:
    import pandas as pd

_AXES = ("z", "y", "x")
_ABOUT = {
    "z": ("pixel", "position along the first axis of a volume"),
    "y": ("pixel", "row"),
    "x": ("pixel", "column"),
    "significance": ("", "standard deviations of a normal distribution with the same tail"),
    "amplitude": ("value", "height above the background, negative for dark spots"),
    "background": ("value", "local background"),
    "sharpness": ("", "height of the middle pixel divided by the amplitude"),
    "p_value": ("", "probability that a spot looks as unlike a spot"),
    "sigma": ("pixel", "size at which the spot was found"),
} | {f"sigma_{axis}": ("pixel", f"size along {axis} at which the spot was found") for axis in _AXES}


class FoundSpots(NamedTuple):
    """The result of `find_spots` with ``details=True``: one row for each spot.

    Attributes
    ----------
    positions : ndarray (n, D)
        As `find_spots` returns them without details.
    significance : ndarray (n,)
        Standard deviations of a normal distribution whose tail is that of the response. For a spot
        that only the Laplacian separates from its neighbour, the response is that of the Laplacian.
    amplitude, background : ndarray (n,)
        In units of the image: the height of a spot of this sigma above its local background, which
        is negative for dark spots, and that background. The amplitude of close neighbours is the
        response of the Laplacian, which is about a fifth too small. `fit_spots` measures both
        better.
    sharpness : ndarray (n,)
        Height of the middle pixel above the background, divided by the amplitude: about 1 for a
        spot of this sigma, more for narrower ones. A single pixel has the largest sharpness, which
        is the sum of the squares of the spot's profile (5.3 in an image at sigma 1.3).
    p_value : ndarray (n,)
        The largest probability with which a spot of 0.6 to three times the sigma looks as unlike a
        spot. Hot pixels, columns, tracks, lines and plateaus have small values.
    sigma : ndarray (n,) or (n, D)
        The `sigma` of `find_spots` at which the spot is most significant: one number if each
        `sigma` was one, else one for each axis.

    Examples
    --------
    >>> import numpy as np, fastgauss as fg
    >>> image = fg.render((40, 50), [[12.0, 30.0]], 200.0, sigma=1.3)
    >>> image[30, 20] = 900.0  # a hot pixel
    >>> image = np.random.default_rng(0).poisson(image + 50.0)
    >>> spots = fg.find_spots(image, false_alarms=0.01, details=True, shape_level=0)
    >>> spots.positions.round()
    array([[12., 30.],
           [30., 20.]])
    >>> spots.sharpness.round(), spots.p_value > 0.01
    (array([1., 5.]), array([ True, False]))
    """

    positions: np.ndarray
    significance: np.ndarray
    amplitude: np.ndarray
    background: np.ndarray
    sharpness: np.ndarray
    p_value: np.ndarray
    sigma: np.ndarray

    def to_dataframe(self) -> pd.DataFrame:
        """These columns as a pandas DataFrame, one row for each spot."""
        names = _AXES[len(_AXES) - self.positions.shape[1] :]
        places = dict(zip(names, self.positions.T, strict=True))
        columns = self._asdict()
        del columns["positions"]
        if self.sigma.ndim > 1:
            del columns["sigma"]
            columns |= {f"sigma_{name}": self.sigma[:, k] for k, name in enumerate(names)}
        return data_frame(places | columns, _ABOUT)
