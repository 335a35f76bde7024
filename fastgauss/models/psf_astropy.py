"""Point spread functions as models of astropy, which photutils fits too."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from ..base.optional import require
from .evaluation import evaluate, jacobian

if TYPE_CHECKING:
    from .psf import PsfModel

_PARAMETERS = ("flux", "x_0", "y_0")


@cache
def star_model() -> type:
    """The class of models ``flux, x_0, y_0`` whose profile is a point spread function."""
    modeling = require("astropy.modeling", "to_astropy", "io")

    class StarModel(modeling.Fittable2DModel):  # type: ignore[name-defined]
        """A star whose profile is a sum of Gaussians."""

        flux = modeling.Parameter(default=1.0)
        x_0 = modeling.Parameter(default=0.0)
        y_0 = modeling.Parameter(default=0.0)
        input_units = None  # astropy would take the annotations of evaluate for units

        def __init__(self, psf: PsfModel, pixel: str, **options: Any) -> None:
            self.psf, self.pixel = psf, pixel
            super().__init__(**options)

        def evaluate(self, x: Any, y: Any, flux: Any, x_0: Any, y_0: Any) -> Any:
            """Values at points."""
            return flux * evaluate((x - x_0, y - y_0), _UNIT, self.psf, self.pixel)

        def fit_deriv(self, x: Any, y: Any, flux: Any, x_0: Any, y_0: Any) -> list[Any]:
            """Derivatives by flux, x_0 and y_0."""
            slopes = jacobian((x - x_0, y - y_0), _UNIT, self.psf, self.pixel)
            return [slopes[..., 0], flux * slopes[..., 1], flux * slopes[..., 2]]

        def __reduce__(self) -> tuple[Any, ...]:
            values = {name: getattr(self, name).value for name in _PARAMETERS}
            return _made, (self.psf, self.pixel, values)

    return StarModel


_UNIT = (1.0, 0.0, 0.0, 0.0)  # flux, x, y, offset


def _made(psf: PsfModel, pixel: str, values: dict[str, Any]) -> Any:
    return star_model()(psf, pixel, **values)
