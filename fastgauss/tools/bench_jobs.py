"""The jobs of ``fastgauss bench``: how fastgauss and each other package do them.

A job is prepared for a fraction of its items and a number of threads. It returns the timed call of
fastgauss and, for each other package, a function that makes the timed call of that package. Only
this function imports the package, so that only its row is lost if the package is missing or broken.
The data are typical: photons in spots of sigma 1.3, noise, uniform points. Slow packages get fewer
items; speeds are in items a second.
"""

from __future__ import annotations

import math
from functools import partial

import numpy as np

from ..density.estimation import kde
from ..fields.rendering import render
from ..filters.gaussian import gaussian_filter
from ..linear.line_fits import fit_lines
from ..register import align
from ..sums.binning import histogram
from ..sums.healpix import healpix_add
from ..sums.scatter_add import add_at
from .bench_spots import find_jobs, fit_jobs, value_jobs
from .bench_types import Job, Timed

MODULES = {  # name of the module, where it differs from that of the package
    "OpenCV": "cv2",
    "boost-histogram": "boost_histogram",
    "fast-histogram": "fast_histogram",
    "numpy-groupies": "numpy_groupies",
    "picassosr": "picasso",
    "scikit-image": "skimage",
}


# -- grids -------------------------------------------------------------------------------------


def _numpy_stamps(shape: tuple, positions: np.ndarray, sigmas: np.ndarray, reach: float) -> Timed:
    """A plain loop that adds separable stamps."""
    image = np.zeros(shape)

    def call() -> None:
        for place, sigma in zip(positions, sigmas, strict=True):
            low = np.maximum(np.ceil(place - reach * sigma), 0).astype(int)
            high = np.minimum(np.floor(place + reach * sigma) + 1, shape).astype(int)
            nodes = [np.arange(i, j) for i, j in zip(low, high, strict=True)]
            axes = [
                np.exp(-0.5 * ((n - c) / sigma) ** 2) for n, c in zip(nodes, place, strict=True)
            ]
            stamp = axes[0]
            for axis in axes[1:]:
                stamp = stamp[..., None] * axis
            image[tuple(slice(i, j) for i, j in zip(low, high, strict=True))] += stamp

    return Timed(call, len(positions))


def _images(scale: float, threads: int) -> tuple:
    rng, shape, count = np.random.default_rng(0), (1024, 1024), int(20_000 * scale)
    places, sigmas = rng.uniform(0, 1024, (count, 2)), rng.uniform(1.5, 3.0, count)
    out, few = np.zeros(shape), max(20, count // 400)

    def photutils() -> Timed:
        from astropy.modeling.models import Gaussian2D
        from astropy.table import QTable
        from photutils.datasets import make_model_image

        table = QTable({"amplitude": np.ones(few)})
        table["y_mean"], table["x_mean"] = places[:few].T
        table["x_stddev"] = table["y_stddev"] = sigmas[:few]
        names = {"x_name": "x_mean", "y_name": "y_mean", "model_shape": (19, 19)}
        return Timed(lambda: make_model_image(shape, Gaussian2D(), table, **names), few)

    return Timed(
        lambda: render(shape, places, 1.0, sigmas[:, None], radius=4.0, out=out, threads=threads),
        count,
    ), {
        "numpy, loop over stamps": lambda: _numpy_stamps(shape, places[:few], sigmas[:few], 4.0),
        "photutils, make_model_image": photutils,
    }


def _volumes(scale: float, threads: int) -> tuple:
    side, count, tol = 96, int(20_000 * scale), 1e-4
    places = np.random.default_rng(0).uniform(6, side - 7, (count, 3))
    out, few = np.zeros((side,) * 3), max(20, count // 40)
    reach = math.sqrt(-2 * math.log(tol))

    def finufft() -> Timed:
        import finufft

        angles = [np.ascontiguousarray(axis) for axis in places.T * (2 * np.pi / side) - np.pi]
        plan = finufft.Plan(
            1, out.shape, eps=1e-8, spreadinterponly=1, upsampfac=2.0, nthreads=threads
        )  # a kernel 9 nodes wide, like that of fastgauss
        strengths, grid = np.ones(count, complex), np.zeros(out.shape, complex)

        def call() -> None:
            plan.setpts(*angles)
            plan.execute(strengths, grid)

        return Timed(call, count)

    return Timed(
        lambda: render(out.shape, places, 1.0, 1.0, tol=tol, out=out, threads=threads), count
    ), {
        "numpy, loop over stamps": lambda: _numpy_stamps(
            out.shape, places[:few], np.ones(few), reach
        ),
        "finufft, spreading alone": finufft,
    }


# -- bins --------------------------------------------------------------------------------------


def _sums(scale: float, threads: int) -> tuple:
    rng, n, bins = np.random.default_rng(0), int(2_000_000 * scale), 49_152
    indices, values, out = rng.integers(0, bins, n), rng.random(n), np.zeros(bins)

    def groupies() -> Timed:
        import numpy_groupies

        return Timed(lambda: numpy_groupies.aggregate(indices, values, size=bins), n)

    return Timed(lambda: add_at(out, indices, values, threads=threads), n), {
        "numpy, add.at": lambda: Timed(lambda: np.add.at(out, indices, values), n),
        "numpy, bincount": lambda: Timed(lambda: np.bincount(indices, values, bins), n),
        "numpy-groupies": groupies,
    }


def _histograms(scale: float, threads: int) -> tuple:
    n, side, ends = int(1_000_000 * scale), 256, ((0.0, 1.0), (0.0, 1.0))
    y, x, w = np.random.default_rng(0).random((3, n))
    few = n // 8

    def fast_histogram() -> Timed:
        from fast_histogram import histogram2d

        return Timed(lambda: histogram2d(y, x, side, ends, weights=w), n)

    def boost() -> Timed:
        import boost_histogram

        axis = boost_histogram.axis.Regular(side, 0.0, 1.0)
        filled = boost_histogram.Histogram(axis, axis)
        return Timed(lambda: filled.fill(y, x, weight=w, threads=threads), n)

    return Timed(lambda: histogram((y, x), side, ends, w, threads=threads), n), {
        "numpy, histogram2d": lambda: Timed(
            lambda: np.histogram2d(y[:few], x[:few], side, ends, weights=w[:few]), few
        ),
        "fast-histogram": fast_histogram,
        "boost-histogram": boost,
    }


def _sky(scale: float, threads: int) -> tuple:
    rng, n, nside = np.random.default_rng(0), int(1_000_000 * scale), 256
    theta, phi = np.arccos(rng.uniform(-1, 1, n)), rng.uniform(0, 2 * np.pi, n)
    sums, values = np.zeros(12 * nside**2), rng.random(n)

    def healpy() -> Timed:
        import healpy

        return Timed(lambda: np.add.at(sums, healpy.ang2pix(nside, theta, phi), values), n)

    def ducc0() -> Timed:
        import ducc0

        base = ducc0.healpix.Healpix_Base(nside, "RING")
        angles = np.stack([theta, phi], axis=1)

        def call() -> np.ndarray:
            return np.bincount(base.ang2pix(angles, nthreads=threads), values, sums.size)

        return Timed(call, n)

    return Timed(lambda: healpix_add(sums, theta, phi, values, threads=threads), n), {
        "healpy, ang2pix + add.at": healpy,
        "ducc0, ang2pix + bincount": ducc0,
    }


# -- images and tables -------------------------------------------------------------------------


def _filters(dtype: str, scale: float, threads: int) -> tuple:
    side, sigma = int(1024 * math.sqrt(scale)), 2.0
    image = np.random.default_rng(0).normal(size=(side, side)).astype(dtype)

    def opencv() -> Timed:
        import cv2

        cv2.setNumThreads(threads)
        size = 2 * int(4 * sigma + 0.5) + 1  # that of scipy
        border = cv2.BORDER_REFLECT
        return Timed(
            lambda: cv2.GaussianBlur(image, (size, size), sigma, borderType=border), image.size
        )

    def scipy() -> Timed:
        from scipy.ndimage import gaussian_filter as theirs

        return Timed(lambda: theirs(image, sigma), image.size)

    return Timed(lambda: gaussian_filter(image, sigma, threads=threads), image.size), {
        "scipy, ndimage": scipy,
        "OpenCV": opencv,
    }


def _densities(scale: float, threads: int) -> tuple:
    samples = np.random.default_rng(0).normal(size=(100_000, 2))
    points = np.random.default_rng(1).normal(size=(int(10_000 * scale), 2))

    def scipy() -> Timed:
        from scipy.stats import gaussian_kde

        estimate = gaussian_kde(samples.T)
        return Timed(lambda: estimate(points[:20].T), 20)

    def kdepy() -> Timed:
        from KDEpy import FFTKDE

        axes = [np.linspace(c.min() - 1, c.max() + 1, 100) for c in samples.T]
        nodes = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)
        width = len(samples) ** (-1 / 6)
        return Timed(lambda: FFTKDE(bw=width).fit(samples).evaluate(nodes), len(nodes))

    return Timed(lambda: kde(samples, points, threads=threads), len(points)), {
        "scipy, gaussian_kde": scipy,
        "KDEpy, FFTKDE on a grid": kdepy,
    }


def _lines(scale: float, threads: int) -> tuple:
    rows = np.random.default_rng(0).normal(size=(int(1000 * scale), 1000))

    def scipy() -> Timed:
        from scipy.signal import detrend

        return Timed(lambda: detrend(rows), len(rows))

    return Timed(lambda: fit_lines(rows, threads=threads), len(rows)), {
        "scipy, signal.detrend": scipy,
        "numpy, polyfit": lambda: Timed(
            lambda: np.polyfit(np.arange(rows.shape[1]), rows.T, 1), len(rows)
        ),
    }


def _pairs(scale: float, threads: int) -> tuple:
    """Two windows of a larger cloud, 2.3 and -1.7 pixels apart."""
    rng, n = np.random.default_rng(0), 128
    k = np.hypot(np.fft.fftfreq(2 * n)[:, None], np.fft.rfftfreq(2 * n))
    k[0, 0] = np.inf
    spectrum = np.fft.rfft2(rng.normal(size=(2 * n, 2 * n))) * k**-1.5
    phase = np.fft.fftfreq(2 * n)[:, None] * 2.3 - np.fft.rfftfreq(2 * n) * 1.7
    first = np.fft.irfft2(spectrum)[:n, :n]
    second = np.fft.irfft2(spectrum * np.exp(-2j * np.pi * phase))[:n, :n]

    def scikit_image() -> Timed:
        from skimage.registration import phase_cross_correlation

        options = {"upsample_factor": 100, "normalization": None}
        return Timed(lambda: phase_cross_correlation(first, second, **options), 1)

    def opencv() -> Timed:
        import cv2

        window = cv2.createHanningWindow((n, n), cv2.CV_64F)
        # it multiplies its arguments by the window, in place
        return Timed(lambda: cv2.phaseCorrelate(first.copy(), second.copy(), window), 1)

    return Timed(lambda: align(first, second), 1), {
        "scikit-image": scikit_image,
        "OpenCV, phaseCorrelate": opencv,
    }


JOBS = {
    "fit": Job("fit_rois, symmetric 7x7", "spots", partial(fit_jobs, "symmetric", 7, "lsq")),
    "fit-11": Job("fit_rois, elliptic 11x11", "spots", partial(fit_jobs, "elliptic", 11, "lsq")),
    "fit-mle": Job(
        "fit_rois, symmetric 11x11, mle", "spots", partial(fit_jobs, "symmetric", 11, "mle")
    ),
    "find": Job("find_spots, 1 in 1000 pixels", "pixels", find_jobs),
    "evaluate": Job("evaluate, elliptic", "points", value_jobs),
    "render": Job("render, 2-D, sigma 1.5 to 3", "spots", _images),
    "render-3d": Job("render, 3-D, sigma 1, tol 1e-4", "spots", _volumes),
    "add_at": Job("add_at, 49,152 bins", "values", _sums),
    "histogram": Job("histogram, 2-D, 256x256, weights", "points", _histograms),
    "healpix": Job("healpix_add, nside 256", "points", _sky),
    "filter": Job("gaussian_filter, f4, sigma 2", "pixels", partial(_filters, "f4")),
    "filter-f8": Job("gaussian_filter, f8, sigma 2", "pixels", partial(_filters, "f8")),
    "kde": Job("kde, 2-D, 1e5 samples", "points", _densities),
    "lines": Job("fit_lines, rows of 1000", "rows", _lines),
    "align": Job("register.align, 128x128", "pairs", _pairs),
}
