"""The kernels of a model in one number of dimensions."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from .spot_profiles import Light


class ModelKernels(NamedTuple):
    """A model  amplitude * f + offset,  or  flux * f + offset,  in one number of dimensions.

    ``profile(integrate, derivatives)`` makes the ``Shape`` of f at points (``points.py``), and
    ``blocks(pixel, estimator, bounded)`` the ``Blocks`` of a fit (``kernels/fit/blocks.py``).
    ``basis(pixel, bounded)`` makes the ``Basis`` of a fit on a plane (``kernels/fit/basis.py``).
    """

    axes: int
    shape: tuple[str, ...]  # the parameters between the centre and the offset
    widths: tuple[int, ...]  # positions of the widths along x, y, z; none if these are constants
    profile: Callable
    blocks: Callable
    volume: float  # integral of f where all widths are 1
    light: Light | None  # how joint fits compute f; None if they cannot
    gaussian: bool = True  # whether fields can draw f: a Gaussian, or a sum of them
    angle: int = 0  # position of the angle that turns the widths, if there is one
    constants: int = 0  # numbers that define the model and are not fitted
    columns: tuple[tuple[str, str, str], ...] = ()  # name, unit and meaning of own parameters
    factor: str = "amplitude"  # name of the factor of f
    basis: Callable | None = None  # None: no fit on a plane of background

    @property
    def parameters(self) -> tuple[str, ...]:
        """All parameters, in the order of arrays."""
        return (self.factor, *"xyz"[: self.axes], *self.shape, "offset")
