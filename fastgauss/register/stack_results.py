"""StackAlignment: the result of the registration of a stack."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from ..base.data_frames import data_frame
from .results import Status

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, repr=False)
class StackAlignment:
    """Displacements of the n frames of a stack, and the scene that they show.

    Attributes
    ----------
    displacements : ndarray (n, 2)
        **In array-axis order**, (dy, dx), in pixels: what is at x in the reference is at x + d in
        the frame. NaN without a solution.
    status : ndarray (n,) of int
        Codes of `Status`.
    scene : ndarray (Y, X)
        The mean of all frames that were found, moved back to the reference and in its brightness;
        NaN where no frame shows it.
    origin : ndarray (2,)
        Where the pixel [0, 0] of the scene is in the reference, (y, x).
    gain, offset : ndarray (n,)
        The scene has the brightness ``gain * frame + offset``.
    correlation : ndarray (n,)
        Of the frame and the mean of the others, -1 to 1.
    noise : ndarray (n,)
        With errors: the variance of the residual in units of the expected one. Otherwise the
        variance of the noise of the frame's pixels.
    frame_covariance : ndarray (n, 2, 2)
        Of the displacement of each frame against the true scene, (dy, dx), in square pixels.
    anchor : ndarray (n,)
        Weights of the frames in the reference: 1 for the frame that is the reference, or alike for
        all frames that were found, or 0 where the reference is an image of its own.
    anchor_covariance : ndarray (2, 2)
        Of the reference against the true scene.

    Examples
    --------
    >>> import numpy as np, fastgauss as fg
    >>> scene = np.random.default_rng(0).normal(size=(80, 80)).cumsum(0).cumsum(1)
    >>> frames = [scene[5 + k : 69 + k, 5:69] for k in range(4)]
    >>> drift = fg.register.align_stack(frames, reference="first")
    >>> drift
    <StackAlignment of 4 frames, 4 converged>
    >>> drift.dy.round(2) + 0.0, bool(drift.converged.all())
    (array([ 0., -1., -2., -3.]), True)
    """

    displacements: np.ndarray
    status: np.ndarray
    scene: np.ndarray
    origin: np.ndarray
    gain: np.ndarray
    offset: np.ndarray
    correlation: np.ndarray
    noise: np.ndarray
    frame_covariance: np.ndarray
    anchor: np.ndarray
    anchor_covariance: np.ndarray

    @property
    def dy(self) -> np.ndarray:
        """Displacements along axis 0, (n,)."""
        return self.displacements[:, 0]

    @property
    def dx(self) -> np.ndarray:
        """Displacements along axis 1, (n,)."""
        return self.displacements[:, 1]

    @property
    def converged(self) -> np.ndarray:
        """Where status is ``Status.CONVERGED``, (n,)."""
        return self.status == Status.CONVERGED

    @property
    def covariance(self) -> np.ndarray:
        """Of all displacements: entry [k, i, l, j] of axis i of frame k and axis j of frame l.

        The error of frame k is e_k less that of the reference, sum_m anchor_m e_m. The e_k of
        different frames, whose covariances are `frame_covariance`, are independent. The array of
        (2 n)^2 numbers is made anew by each access.
        """
        endless = np.isinf(self.frame_covariance)
        own = np.where(endless, 0.0, self.frame_covariance)
        shared = self.anchor[:, np.newaxis, np.newaxis] * own
        table = self.anchor_covariance - shared[:, np.newaxis] - shared
        diagonal = np.arange(len(own))
        block = table[diagonal, diagonal] + own
        table[diagonal, diagonal] = np.where(endless, self.frame_covariance, block)
        return table.transpose(0, 2, 1, 3)

    @property
    def errors(self) -> np.ndarray:
        """One standard error of each displacement, (n, 2), in pixels."""
        variance = np.diagonal(self.frame_covariance, axis1=1, axis2=2)
        endless = np.isinf(variance)
        own = np.where(endless, 0.0, variance) * (1.0 - 2.0 * self.anchor)[:, np.newaxis]
        both = np.maximum(own + np.diag(self.anchor_covariance), 0.0)
        return np.sqrt(np.where(endless, np.inf, both))

    def __len__(self) -> int:
        return len(self.status)

    def __repr__(self) -> str:
        count = int(np.count_nonzero(self.converged))
        return f"<{type(self).__name__} of {len(self)} frames, {count} converged>"

    def apply(self, frames: Any, *, mask: Any = None, cval: float = np.nan) -> np.ndarray:
        """Move the frames of a stack, another channel for example, onto the reference.

        Parameters
        ----------
        frames : array_like (n, Y, X)
            As many frames as were registered; NaN and infinity are missing.
        mask : array_like (Y, X) or (n, Y, X) of bool, optional
            True where a pixel is missing.
        cval : float, optional
            The value of pixels that come from outside or from missing pixels.

        Returns
        -------
        ndarray (n, Y, X) float64
            NaN in frames without a displacement.

        Raises
        ------
        TypeError, ValueError
            If the frames are not as described.

        Examples
        --------
        >>> import numpy as np, fastgauss as fg
        >>> scene = np.random.default_rng(0).normal(size=(80, 80)).cumsum(0).cumsum(1)
        >>> frames = np.array([scene[5:69, 5 - k : 69 - k] for k in range(3)])
        >>> aligned = fg.register.align_stack(frames, reference=0).apply(frames)
        >>> bool(np.allclose(aligned[2, 1:-1, :60], frames[0, 1:-1, :60], atol=0.1))
        True
        """
        from .shift import shift_stack

        return shift_stack(frames, -self.displacements, mask=mask, cval=cval)

    def to_dict(self) -> dict[str, np.ndarray]:
        """The arrays by name, as the command line writes them to .npz."""
        return {entry.name: getattr(self, entry.name) for entry in fields(self)}

    def to_columns(self) -> dict[str, np.ndarray]:
        """One number for each frame: displacement, errors, brightness, verdict."""
        errors = self.errors
        return {
            "frame": np.arange(len(self)),
            "dx": self.dx,
            "dy": self.dy,
            "dx_error": errors[:, 1],
            "dy_error": errors[:, 0],
            "status": self.status,
            "converged": self.converged,
            "correlation": self.correlation,
            "noise": self.noise,
            "gain": self.gain,
            "offset": self.offset,
        }

    def to_dataframe(self) -> pd.DataFrame:
        """The columns of `to_columns` as a pandas DataFrame, one row for each frame."""
        return data_frame(self.to_columns(), COLUMNS)


@dataclass(frozen=True, repr=False)
class ChainAlignment(StackAlignment):
    """Displacements of the n frames of a stack, each found from the frame before it.

    What ``align_stack(reference="previous")`` returns: a `StackAlignment` of which
    ``frame_covariance`` is that of a frame against the one in ``previous``. The errors of a frame
    are those of all steps that lead to it.

    Attributes
    ----------
    correlation : ndarray (n,)
        Of the frame and the one in ``previous``.
    noise : ndarray (n,)
        Of this pair: without errors of the pixels, half of the variance of its residual, in units
        of the frame's pixels.
    previous : ndarray (n,) of int
        The number of the frame that each was compared with; -1 for the first frame of the chain,
        whose displacement is 0, and for frames before it.

    Examples
    --------
    >>> import numpy as np, fastgauss as fg
    >>> scene = np.random.default_rng(0).normal(size=(80, 80)).cumsum(0).cumsum(1)
    >>> drift = fg.register.align_stack([scene[k : 64 + k] for k in range(3)], reference="previous")
    >>> drift
    <ChainAlignment of 3 frames, 3 converged>
    >>> drift.dy.round(1) + 0.0, drift.previous
    (array([ 0., -1., -2.]), array([-1,  0,  1]))
    """

    previous: np.ndarray

    def _sums(self) -> np.ndarray:
        """Covariance of each frame against the first of the chain, (n, 2, 2)."""
        sums = self.frame_covariance.copy()
        for k in np.flatnonzero(self.previous >= 0).tolist():
            sums[k] += sums[self.previous[k]]
        return sums

    @property
    def covariance(self) -> np.ndarray:
        """Of all displacements: entry [k, i, l, j] of axis i of frame k and axis j of frame l.

        Two frames have the errors of those steps in common that lead to both. Steps count as
        independent. The array of (2 n)^2 numbers is made anew by each access.
        """
        sums, n = self._sums(), len(self)
        inner = np.isin(np.arange(n), self.previous)  # frames that others were compared with
        trunk = np.where(inner | (self.previous < 0), np.arange(n), self.previous)
        table = sums[np.minimum(trunk[:, np.newaxis], trunk)]
        unknown = np.isnan(sums).any(axis=(1, 2))
        table[unknown[:, np.newaxis] | unknown] = np.nan
        diagonal = np.arange(n)
        table[diagonal, diagonal] = sums
        return table.transpose(0, 2, 1, 3)

    @property
    def errors(self) -> np.ndarray:
        """One standard error of each displacement, (n, 2), in pixels."""
        return np.sqrt(np.diagonal(self._sums(), axis1=1, axis2=2))


COLUMNS = {  # of a table: unit and meaning
    "frame": ("", "number of the frame, from 0"),
    "dx": ("px", "displacement along axis 1"),
    "dy": ("px", "displacement along axis 0"),
    "dx_error": ("px", "standard error of dx"),
    "dy_error": ("px", "standard error of dy"),
    "status": ("", "code of `Status`"),
    "converged": ("", "whether the registration converged"),
    "correlation": ("", "of the frame and what it was compared with, -1 to 1"),
    "noise": ("", "see `StackAlignment`"),
    "gain": ("", "the scene has the brightness gain * frame + offset"),
    "offset": ("", "the scene has the brightness gain * frame + offset"),
}
