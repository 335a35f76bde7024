"""The Gaussian models: names, parameters, values and derivatives."""

from .astigmatic import AstigmaticModel, astigmatic_model
from .evaluation import evaluate, image, jacobian
from .model import get_model
from .psf import PsfModel, psf_model
from .psf_approximations import moffat_psf, psf_from_image
from .psf_field import PsfField

__all__ = [
    "AstigmaticModel",
    "PsfField",
    "PsfModel",
    "astigmatic_model",
    "evaluate",
    "get_model",
    "image",
    "jacobian",
    "moffat_psf",
    "psf_from_image",
    "psf_model",
]
