"""How each package finds spots of a known width above a threshold: one table for detection.py.

A detector takes an image, which may have a sloping background, and a threshold in any unit, and
gives (row, column) of spots. Each has the width of the spots and what its documentation advises for
an uneven background.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

Detect = Callable[[np.ndarray, float], np.ndarray]
FWHM = 2.3548  # in sigmas
_BOX = 32  # pixels of the meshes in which others measure the background


def fastgauss(sigma: float) -> Detect:
    """find_spots by likelihood ratio, which needs no more than the width."""
    import fastgauss as fg

    def detect(image: np.ndarray, threshold: float) -> np.ndarray:
        return fg.find_spots(image, sigma, significance=threshold, threads=1)

    return detect


def laplacian(sigma: float) -> Detect:
    """find_spots above a threshold in the image's units."""
    import fastgauss as fg

    def detect(image: np.ndarray, threshold: float) -> np.ndarray:
        return fg.find_spots(image, sigma, threshold=10.0 * threshold, threads=1)

    return detect


def trackpy(sigma: float) -> Detect:
    """Its band-pass, the diameter that holds a spot, and a least mass."""
    import trackpy as tp

    tp.quiet()
    warnings.filterwarnings("ignore", "No maxima survived")
    diameter = 2 * round(2.5 * sigma) + 1

    def detect(image: np.ndarray, threshold: float) -> np.ndarray:
        table = tp.locate(image.astype(np.uint16), diameter, minmass=20.0 * threshold)
        return table[["y", "x"]].to_numpy()

    return detect


def _star_finder(name: str, sigma: float, **shape: Any) -> Detect:
    """One of photutils' finders, on the image less its Background2D, above the local noise.

    A radius of three sigma, and limits of the shape that keep all spots, find more at an equal
    number of false ones than the defaults.
    """
    from astropy.stats import SigmaClip
    from photutils import detection
    from photutils.background import Background2D

    make: Any = getattr(detection, name)

    def detect(image: np.ndarray, threshold: float) -> np.ndarray:
        level = Background2D(image, _BOX, sigma_clip=SigmaClip(3.0))
        find = make(threshold * level.background_rms, FWHM * sigma, sigma_radius=3.0, **shape)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # no source
            found = find(image - level.background)
        if found is None:
            return np.empty((0, 2))
        return np.stack([np.asarray(found[f"{axis}_centroid"], float) for axis in "yx"], axis=1)

    return detect


def dao(sigma: float) -> Detect:
    """photutils' DAOStarFinder."""
    shape = {"sharpness_range": (0.0, 2.0), "roundness_range": (-2.0, 2.0)}
    return _star_finder("DAOStarFinder", sigma, **shape)


def iraf(sigma: float) -> Detect:
    """photutils' IRAFStarFinder."""
    shape = {"sharpness_range": (0.0, 3.0), "roundness_range": (0.0, 1.0)}
    return _star_finder("IRAFStarFinder", sigma, **shape)


def blob_log(sigma: float) -> Detect:
    """scikit-image's blob_log at one size."""
    from skimage.feature import blob_log as find

    def detect(image: np.ndarray, threshold: float) -> np.ndarray:
        scaled = image.astype(float) / float(np.median(image)) ** 0.5
        return find(scaled, sigma, sigma, 1, threshold=0.3 * threshold)[:, :2]

    return detect


def sep(sigma: float) -> Detect:
    """sep.extract with the spot as its filter, on the image less sep's background."""
    import sep as package

    reach = np.arange(-4, 5)
    profile = np.exp(-0.5 * (reach / sigma) ** 2)
    kernel = np.outer(profile, profile)

    def detect(image: np.ndarray, threshold: float) -> np.ndarray:
        data = image.astype(float)
        level = package.Background(data, bw=_BOX, bh=_BOX)
        found = package.extract(
            data - level, 0.3 * threshold, err=level.rms(), filter_kernel=kernel, minarea=3,
            filter_type="conv",
        )  # fmt: skip
        return np.stack([found["y"], found["x"]], axis=1)

    return detect


def difference(sigma: float) -> Detect:
    """Maxima of a difference of two Gaussian filters a quarter of an octave apart, as RS-FISH's."""
    from scipy.ndimage import gaussian_filter
    from skimage.feature import peak_local_max

    def detect(image: np.ndarray, threshold: float) -> np.ndarray:
        data = image.astype(float)
        response = gaussian_filter(data, sigma) - gaussian_filter(data, sigma * 2**0.25)
        return peak_local_max(response, min_distance=2, threshold_abs=0.05 * threshold)

    return detect


DETECTORS = {
    "fastgauss, likelihood ratio": fastgauss,
    "fastgauss, Laplacian": laplacian,
    "trackpy locate": trackpy,
    "photutils DAOStarFinder": dao,
    "photutils IRAFStarFinder": iraf,
    "scikit-image blob_log": blob_log,
    "sep extract": sep,
    "difference of Gaussians": difference,
}
