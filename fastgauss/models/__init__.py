"""The Gaussian models: names, parameters, values and derivatives."""

from .astigmatic import AstigmaticModel, astigmatic_model
from .evaluation import evaluate, image, jacobian
from .model import get_model

__all__ = [
    "AstigmaticModel",
    "astigmatic_model",
    "evaluate",
    "get_model",
    "image",
    "jacobian",
]
