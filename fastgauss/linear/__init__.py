"""Lines through rows, and principal components."""

from .line_fits import LineFit, LineStatus, fit_lines, level
from .principal_components import PCA, pca

__all__ = [
    "PCA",
    "LineFit",
    "LineStatus",
    "fit_lines",
    "level",
    "pca",
]
