"""How each package finds spots: one table for peers.py and test_peers.py.

A finder takes an image and gives (row, column) of spots of about sigma 1.3. Thresholds are
set so that all see spots of height 100 and more over a background of 10.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

SIGMA = 1.3
HEIGHT = 50.0  # half the faintest spot

Find = Callable[[np.ndarray], np.ndarray]


def fastgauss() -> Find:
    """find_spots, one thread."""
    import fastgauss as fg

    return lambda image: fg.find_spots(image, SIGMA, threshold=HEIGHT, threads=1)


def scikit_image() -> Find:
    """peak_local_max of scipy's Laplacian of Gaussian; whole pixels."""
    from scipy.ndimage import gaussian_laplace
    from skimage.feature import peak_local_max

    scale = 2 * SIGMA**2  # a spot of height h then shows h

    def find(image: np.ndarray) -> np.ndarray:
        response = -scale * gaussian_laplace(image, SIGMA)
        return peak_local_max(response, min_distance=2, threshold_abs=HEIGHT)

    return find


def photutils() -> Find:
    """DAOStarFinder, whose threshold is the height."""
    from photutils.detection import DAOStarFinder

    finder = DAOStarFinder(threshold=HEIGHT, fwhm=2 * math.sqrt(2 * math.log(2)) * SIGMA)

    def find(image: np.ndarray) -> np.ndarray:
        table = finder(image)
        return np.column_stack([table["y_centroid"], table["x_centroid"]])

    return find


FINDERS = {"fastgauss": fastgauss, "scikit-image": scikit_image, "photutils": photutils}
