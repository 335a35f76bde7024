"""The result of `fit_image`, and its file."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..base import check, wording
from ..base.grid import Grid
from ..base.status import Status
from .field import GaussianField

HISTORY = np.dtype(
    [
        ("iteration", np.int64),
        ("components", np.int64),
        ("square", np.float64),
        ("psnr", np.float64),
    ]
)
_FORMAT = "fastgauss.ImageFit 1"
_KEYS = (
    "format", "shape", "positions", "covariance", "amplitudes", "radius", "history", "status",
    "peak", "nodes",
)  # fmt: skip


def decibels(square: float, nodes: float, peak: float) -> float:
    """The PSNR of a sum of squared residuals over ``nodes`` numbers, or of these weights."""
    if not nodes or not peak > 0.0:
        return math.nan
    return math.inf if square <= 0.0 else 10.0 * math.log10(peak * peak * nodes / square)


@dataclass(frozen=True, eq=False)
class ImageFit:
    """An image as a sum of Gaussians: the result of `fit_image`.

    Attributes
    ----------
    field : GaussianField
        The Gaussians, with ``field.positions`` (n, d) and ``field.widths``, their covariances
        (n, d, d). n is at most the number of components that was asked for, since Gaussians that
        do nothing are left out.
    amplitudes : array (n,) or (n, channels)
    history : structured array
        For each iteration its number, ``iteration``; the number of Gaussians, ``components``; the
        (weighted) sum of squared residuals, ``square``; and ``psnr``. The first line is that of the
        image itself, the last of the result.
    status : Status
        ``CONVERGED`` or ``MAX_ITERATIONS``.
    peak : float
        The range of the image: the largest integer of its dtype for integers of 8 or 16 bits, else
        the largest value less the smallest.
    nodes : int
        Number of valid numbers of the image.

    Examples
    --------
    >>> import fastgauss as fg
    >>> image = fg.render((16, 16), [[7.0, 8.0]], 3.0, sigma=2.0)
    >>> fit = fg.fit_image(image, 1, init=[[8.0, 8.0]])
    >>> fit.field.positions.round(2), fit.converged
    (array([[7., 8.]]), True)
    """

    field: GaussianField
    amplitudes: np.ndarray
    history: np.ndarray
    status: Status
    peak: float
    nodes: int

    @property
    def converged(self) -> bool:
        """Whether the tolerance was met."""
        return self.status == Status.CONVERGED

    @property
    def psnr(self) -> float:
        """Peak signal-to-noise ratio in dB: 10 log10(peak**2 / mean squared residual).

        With weights the mean is the weighted one.
        """
        return float(self.history["psnr"][-1])

    @property
    def residual_norm(self) -> float:
        """Square root of the (weighted) sum of squared residuals."""
        return math.sqrt(float(self.history["square"][-1]))

    def __len__(self) -> int:
        """Number of Gaussians."""
        return len(self.amplitudes)

    def render(self, out: np.ndarray | None = None) -> np.ndarray:
        """The image of the sum, with channels last, added to ``out`` if that is given.

        Examples
        --------
        >>> import fastgauss as fg
        >>> image = fg.render((9, 9), [[4.0, 4.0]], 3.0, sigma=2.0)
        >>> fg.fit_image(image, 1).render().shape
        (9, 9)
        """
        return self.field.render(self.amplitudes, out=out)

    def save(self, path: str | os.PathLike) -> None:
        """Write the Gaussians and the history to an NPZ file, which numpy can read as well.

        Examples
        --------
        >>> import os, tempfile, fastgauss as fg
        >>> fit = fg.fit_image(fg.render((9, 9), [[4.0, 4.0]], 3.0, sigma=2.0), 1)
        >>> path = os.path.join(tempfile.mkdtemp(), "image.npz")
        >>> fit.save(path)
        >>> len(fg.ImageFit.load(path))
        1
        """
        contents: dict[str, Any] = {
            "format": np.array(_FORMAT),
            "shape": np.array(self.field.grid.shape),
            "positions": self.field.positions,
            "covariance": self.field.widths,
            "amplitudes": self.amplitudes,
            "radius": np.array(self.field.plan.support.radius),
            "history": self.history,
            "status": np.array(int(self.status)),
            "peak": np.array(self.peak),
            "nodes": np.array(self.nodes),
        }
        with Path(path).open("wb") as file:
            np.savez_compressed(file, **contents)

    @classmethod
    def load(cls, path: str | os.PathLike, threads: int | None = None) -> ImageFit:
        """Read what `save` wrote.

        Parameters
        ----------
        path : path
        threads : int, optional
            Largest number of threads of the field.

        Raises
        ------
        FileNotFoundError, ValueError
            If there is no such file, or the file holds no fit of an image.

        Examples
        --------
        See `save`.
        """
        known = f"path must name a file that ImageFit.save wrote, got {os.fspath(path)!r}"
        try:
            with np.load(path, allow_pickle=False) as file:
                missing = [key for key in _KEYS if key not in file]
                told = {} if missing else {key: file[key] for key in _KEYS}
        except (ValueError, OSError, EOFError) as error:
            if isinstance(error, FileNotFoundError):
                raise
            raise ValueError(known) from error
        if not told or str(told["format"]) != _FORMAT:
            raise ValueError(known)
        field = GaussianField(
            Grid(tuple(told["shape"].tolist())),
            told["positions"],
            covariance=told["covariance"],
            radius=float(told["radius"]),
            threads=threads,
        )
        return cls(
            field,
            check.finite_array("amplitudes", told["amplitudes"]),
            told["history"],
            Status(int(told["status"])),
            float(told["peak"]),
            int(told["nodes"]),
        )

    def __repr__(self) -> str:
        shape = self.field.grid.shape
        return (
            f"<ImageFit of {wording.plural(len(self), 'Gaussian')} on {shape}, "
            f"{wording.ended(len(self), self.status.message)}, PSNR {self.psnr:.2f} dB>"
        )
