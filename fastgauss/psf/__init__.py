"""Point spread functions measured from the stars of an image."""

from .measurement import measure_psf
from .result import PsfMeasurement

__all__ = ["PsfMeasurement", "measure_psf"]
