"""asv: values and derivatives of the models."""

from __future__ import annotations

import numpy as np

import fastgauss as fg

from ..common.conditions import MODELS, Case, make_rois


class Evaluate:
    """A hundred thousand points of one spot, and the images of a thousand."""

    params = (MODELS, ("sample", "integrate"))
    param_names = ("model", "pixel")

    def setup(self, model: str, pixel: str) -> None:
        self.params = make_rois(1000, Case(model, 11)).truth
        self.points = tuple(np.random.default_rng(1).uniform(0, 10, (2, 100_000)))
        self.time_evaluate(model, pixel)
        self.time_jacobian(model, pixel)
        self.time_image(model, pixel)

    def time_evaluate(self, model: str, pixel: str) -> None:
        fg.evaluate(self.points, self.params[0], model=model, pixel=pixel)

    def time_jacobian(self, model: str, pixel: str) -> None:
        fg.jacobian(self.points, self.params[0], model=model, pixel=pixel)

    def time_image(self, model: str, pixel: str) -> None:
        fg.image(self.params, (11, 11), model=model, pixel=pixel)


class EvaluateSmall:
    """What a call costs that has next to nothing to do."""

    def setup(self) -> None:
        self.params = make_rois(1, Case("rotated", 11)).truth[0]
        self.points = np.linspace(0, 10, 100), np.linspace(0, 10, 100)
        self.time_evaluate_100_points()

    def time_evaluate_100_points(self) -> None:
        fg.evaluate(self.points, self.params, model="rotated")
