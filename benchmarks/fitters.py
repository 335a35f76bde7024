"""How each package does the job: one table for peers.py and test_peers.py.

A fitter is prepared for a model and a size and then takes ROIs with starts and gives the
fitted x. All get the same starts, tolerance and limit of iterations. ``prepare`` gives None
where a package has no such model, and raises ImportError where it is not installed.
"""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from .conditions import MAX_ITER, TOL, Rois, jacobian, profile

Fit = Callable[[Rois], np.ndarray]


class Fitter(NamedTuple):
    """A package, by the job it is asked for."""

    prepare: Callable[[str, int], Fit | None]
    count: int  # ROIs of a timed call: a good part of a second


def _evaluations(rois: Rois) -> int:
    """Calls of the model that MAX_ITER iterations with numerical derivatives take."""
    return MAX_ITER * (rois.start.shape[1] + 1)


def fastgauss(model: str, size: int) -> Fit:
    """One call for all, one thread, with uncertainties and statuses."""
    import fastgauss as fg

    def fit(rois: Rois) -> np.ndarray:
        return fg.fit_rois(
            rois.pixels, model, guess=rois.start, tol=TOL, max_iter=MAX_ITER, threads=1
        ).x

    return fit


def picassosr(model: str, size: int) -> Fit:
    """The package's numba kernel in a loop of numba, one thread, without uncertainties."""
    import numba

    with contextlib.redirect_stderr(io.StringIO()):  # it complains about missing audio
        from picasso.fitting import gaussfit

    @numba.njit(nogil=True)
    def loop(pixels, variance, kind, start, tol, rounds, theta, chi, state, iterations):
        for i in range(len(pixels)):
            gaussfit._fit_gauss_spot(
                pixels, i, variance, False, kind, start, False, tol, rounds,
                theta, chi, state, iterations,
            )  # fmt: skip

    kind = ("symmetric", "elliptic", "rotated").index(model)

    def fit(rois: Rois) -> np.ndarray:
        start = rois.start
        if model == "rotated":  # the angle comes last there, and turns the other way
            start = np.ascontiguousarray(start[:, [0, 1, 2, 3, 4, 6, 5]])
            start[:, 6] *= -1
        variance, _ = gaussfit.resolve_variance(None, rois.pixels.shape, ndim=3)
        out = gaussfit.allocate_outputs(*start.shape)
        loop(rois.pixels, variance, kind, start, TOL, MAX_ITER, *out)
        return out[0][:, 1]

    return fit


def scipy_leastsq(model: str, size: int) -> Fit:
    """MINPACK with an analytic Jacobian, in a loop."""
    from scipy.optimize import leastsq

    y, x = np.mgrid[:size, :size]

    def fit(rois: Rois) -> np.ndarray:
        return np.array([
            leastsq(
                lambda p, roi=roi: (profile(model, p, x, y) - roi).ravel(), start,
                Dfun=lambda p: jacobian(model, p, x, y),
                ftol=TOL, xtol=TOL, maxfev=MAX_ITER,
            )[0][1]
            for roi, start in zip(rois.pixels.astype(np.float64), rois.start, strict=True)
        ])  # fmt: skip

    return fit


def scipy_curve_fit(model: str, size: int) -> Fit:
    """The loop that people write."""
    from scipy.optimize import curve_fit

    y, x = (axis.ravel() for axis in np.mgrid[:size, :size])

    def function(_, *params):
        return profile(model, params, x, y)

    def fit(rois: Rois) -> np.ndarray:
        found = np.full(len(rois.pixels), np.nan)
        for i, roi in enumerate(rois.pixels):
            with contextlib.suppress(RuntimeError):  # too many iterations
                found[i] = curve_fit(
                    function, x, roi.ravel(), p0=rois.start[i], ftol=TOL, xtol=TOL,
                    maxfev=_evaluations(rois),
                )[0][1]  # fmt: skip
        return found

    return fit


def lmfit(model: str, size: int) -> Fit:
    """lmfit.Model.fit in a loop."""
    import lmfit

    y, x = (axis.ravel() for axis in np.mgrid[:size, :size])
    function = {
        "symmetric": lambda grid, a, x0, y0, s, b: profile(model, [a, x0, y0, s, b], *grid),
        "elliptic": lambda grid, a, x0, y0, sx, sy, b: profile(
            model, [a, x0, y0, sx, sy, b], *grid
        ),
        "rotated": lambda grid, a, x0, y0, sx, sy, t, b: profile(
            model, [a, x0, y0, sx, sy, t, b], *grid
        ),
    }[model]
    description = lmfit.Model(function, independent_vars=["grid"])
    names = description.param_names

    def fit(rois: Rois) -> np.ndarray:
        return np.array([
            description.fit(
                roi.ravel(), grid=(x, y), max_nfev=_evaluations(rois),
                fit_kws={"ftol": TOL, "xtol": TOL}, **dict(zip(names, start, strict=True)),
            ).best_values["x0"]
            for roi, start in zip(rois.pixels, rois.start, strict=True)
        ])  # fmt: skip

    return fit


def astropy(model: str, size: int) -> Fit:
    """Gaussian2D + Const2D with LevMarLSQFitter in a loop."""
    from astropy.modeling import fitting, models

    y, x = np.mgrid[:size, :size]
    fitter = fitting.LevMarLSQFitter()

    def fit(rois: Rois) -> np.ndarray:
        found = np.empty(len(rois.pixels))
        for i, (a, x0, y0, *widths, b) in enumerate(rois.start):
            spot = models.Gaussian2D(a, x0, y0, widths[0], widths[min(1, len(widths) - 1)], theta=0)
            if model == "rotated":
                spot.theta = widths[2]
            else:
                spot.theta.fixed = True
            if model == "symmetric":
                spot.y_stddev.tied = lambda m: m.x_stddev_0
            result = fitter(
                spot + models.Const2D(b), x, y, rois.pixels[i], acc=TOL, maxiter=_evaluations(rois)
            )
            found[i] = result.x_mean_0.value
        return found

    return fit


def photutils(model: str, size: int) -> Fit | None:
    """PSFPhotometry with a free width on a mosaic of the ROIs, the true offset subtracted."""
    if model != "symmetric":
        return None
    from astropy.table import QTable
    from photutils.psf import CircularGaussianPSF, PSFPhotometry

    to_fwhm = 2 * math.sqrt(2 * math.log(2))

    def fit(rois: Rois) -> np.ndarray:
        mosaic = np.hstack(rois.pixels - rois.truth[:, -1, None, None])
        corner = size * np.arange(len(rois.pixels))
        a, x0, y0, sigma, _ = rois.start.T
        psf = CircularGaussianPSF(fwhm=1.3 * to_fwhm)
        psf.fwhm.fixed = False
        photometry = PSFPhotometry(psf, size, fitter_maxiters=_evaluations(rois))
        table = photometry(mosaic, init_params=QTable({
            "x": x0 + corner, "y": y0, "flux": 2 * math.pi * a * sigma**2, "fwhm": to_fwhm * sigma,
        }))  # fmt: skip
        return np.asarray(table["x_fit"]) - corner

    return fit


FITTERS = {
    "fastgauss": Fitter(fastgauss, 50_000),
    "picassosr": Fitter(picassosr, 10_000),
    "scipy leastsq": Fitter(scipy_leastsq, 400),
    "scipy curve_fit": Fitter(scipy_curve_fit, 200),
    "lmfit": Fitter(lmfit, 40),
    "astropy": Fitter(astropy, 40),
    "photutils": Fitter(photutils, 40),
}
