"""Models that add parameters to another model, and ask that one for what they share with it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from .model import Model


@dataclass(frozen=True)
class WrappedModel(Model):
    """A model with the constants of ``base``, which varies over an image as ``base`` does."""

    base: Any = field(kw_only=True)  # a Model; each class says which kind

    @property
    def known(self) -> np.ndarray:
        """The constants as the kernels of a fit take them."""
        return self.base.known

    @property
    def own_sigma(self) -> float | None:
        """That of ``base``."""
        return self.base.own_sigma

    def check_everywhere(self, what: str, whole: Model | None = None) -> None:
        """Refuse what the same model everywhere is needed for, if ``base`` is none."""
        self.base.check_everywhere(what, whole or self)

    def check_image(self, shape: tuple[int, ...]) -> None:
        """Refuse an image of which ``base`` is not defined everywhere."""
        self.base.check_image(shape)

    def placed(self, places: np.ndarray) -> Model:
        """The model of spots at places ``x, y`` (n, 2) of an image."""
        return self._with_base(self.base.placed(places))

    def rows(self, which: slice | np.ndarray) -> Model:
        """The model of some of the spots that were placed."""
        return self._with_base(self.base.rows(which))

    def shifted(self, row: float, column: float) -> Model:
        """The model in coordinates that count from another pixel of the image."""
        return self._with_base(self.base.shifted(row, column))

    def _with_base(self, base: Model) -> Model:
        return self if base is self.base else replace(self, constants=base.constants, base=base)
