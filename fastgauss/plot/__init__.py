"""Pictures of fits, with matplotlib and without the global state of pyplot.

matplotlib is imported when a function here is called.
"""

from ..psf.pictures import plot_psf
from ..register.plot import plot_displacements
from ..results.pictures import plot_joint, plot_spots
from ..results.roi_pictures import plot_rois
from .calibration import plot_calibration
from .files import save_plot
from .slices import plot_slices

__all__ = [
    "plot_calibration",
    "plot_displacements",
    "plot_joint",
    "plot_psf",
    "plot_rois",
    "plot_slices",
    "plot_spots",
    "save_plot",
]
