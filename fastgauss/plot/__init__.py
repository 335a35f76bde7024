"""Pictures of fits, with matplotlib and without the global state of pyplot.

matplotlib is imported when a function here is called.
"""

from ..register.plot import plot_displacements
from .calibration import plot_calibration
from .files import save_plot
from .rois import plot_rois
from .slices import plot_slices
from .spots import plot_joint, plot_spots

__all__ = [
    "plot_calibration",
    "plot_displacements",
    "plot_joint",
    "plot_rois",
    "plot_slices",
    "plot_spots",
    "save_plot",
]
