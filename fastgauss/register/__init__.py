"""Registration: displacements between images, with errors that are right.

`align` is the call for two images, `displacement_field` for windows of a frame. `chi2_shift` and
its kin have the meaning of the package image_registration. dx is along axis 1, dy along axis 0:
what is at x in the first image is at x + dx in the second.
"""

from .chi2 import chi2_map, chi2_shift
from .chi2_zoom import chi2_map_to_errors, chi2_shift_iterzoom
from .correlation import cross_correlate, phase_correlate, shift_from_correlation
from .displacement_fields import displacement_field
from .plot import plot_displacements
from .results import DisplacementField, Shift, Status
from .shift import shift_image
from .translation import align

__all__ = [
    "DisplacementField",
    "Shift",
    "Status",
    "align",
    "chi2_map",
    "chi2_map_to_errors",
    "chi2_shift",
    "chi2_shift_iterzoom",
    "cross_correlate",
    "displacement_field",
    "phase_correlate",
    "plot_displacements",
    "shift_from_correlation",
    "shift_image",
]
