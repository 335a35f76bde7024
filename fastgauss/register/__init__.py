"""Registration: displacements between images, with errors that are right.

`align` is the call for two images, `align_stack` for a stack, `displacement_field` for windows of a
frame. `chi2_shift` and related functions have the meaning of those of the package
image_registration. dx is along axis 1, dy along axis 0: what is at x in the first image is at
x + dx in the second.
"""

from .chi2 import chi2_map, chi2_shift
from .chi2_zoom import chi2_map_to_errors, chi2_shift_iterzoom
from .correlation import cross_correlate, phase_correlate, shift_from_correlation
from .displacement_fields import displacement_field
from .motion_results import Motion
from .plot import plot_displacements, plot_drift
from .results import DisplacementField, Shift, Status
from .shift import shift_image, shift_stack
from .stack_results import ChainAlignment, StackAlignment
from .stacks import align_stack
from .translation import align

__all__ = [
    "ChainAlignment",
    "DisplacementField",
    "Motion",
    "Shift",
    "StackAlignment",
    "Status",
    "align",
    "align_stack",
    "chi2_map",
    "chi2_map_to_errors",
    "chi2_shift",
    "chi2_shift_iterzoom",
    "cross_correlate",
    "displacement_field",
    "phase_correlate",
    "plot_displacements",
    "plot_drift",
    "shift_from_correlation",
    "shift_image",
    "shift_stack",
]
