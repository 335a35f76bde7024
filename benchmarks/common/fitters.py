"""How each package does the job: one table for peers.py and test_peers.py.

A fitter is prepared for a case and then takes ROIs with starts and gives the fitted x. All
get the same starts, tolerance and limit of iterations, as far as they take them. The table
says which cases a package covers; ``prepare`` raises ImportError where it is not installed.
"""

from __future__ import annotations

import contextlib
import functools
import io
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from .conditions import MAX_ITER, MODELS, TOL, Case, Rois, jacobian, profile

Fit = Callable[[Rois], np.ndarray]


class Fitter(NamedTuple):
    """A package, what it covers, and how it is called."""

    prepare: Callable[[Case], Fit]
    count: int  # two-dimensional ROIs of a timed call: a good part of a second
    models: tuple[str, ...] = MODELS
    dimensions: tuple[int, ...] = (2,)
    methods: tuple[str, ...] = ("lsq",)
    pixels: tuple[str, ...] = ("sample",)
    weights: bool = False

    def covers(self, case: Case) -> bool:
        """Whether the package is compared in this case."""
        return (
            case.model in self.models
            and case.ndim in self.dimensions
            and case.method in self.methods
            and case.pixel in self.pixels
            and (self.weights or not case.weighted)
        )


def _evaluations(rois: Rois) -> int:
    """Calls of the model that MAX_ITER iterations with numerical derivatives take."""
    return MAX_ITER * (rois.start.shape[1] + 1)


def estimator(case: Case, rois: Rois) -> dict[str, Any]:
    """The options of fit_rois that a case asks for."""
    from fastgauss.models.model import get_model

    names = get_model(case.model, case.ndim).names
    chosen: dict[str, Any] = {"model": case.model, "method": case.method, "pixel": case.pixel}
    if case.weighted:
        chosen["weights"] = rois.weights
    if case.fixed:
        chosen["fixed"] = {name: rois.truth[:, names.index(name)] for name in case.fixed}
    return chosen


def fastgauss(case: Case) -> Fit:
    """One call for all, one thread, with uncertainties and statuses."""
    import fastgauss as fg

    def fit(rois: Rois) -> np.ndarray:
        return fg.fit_rois(
            rois.pixels, **estimator(case, rois), guess=rois.start, tol=TOL,
            max_iter=MAX_ITER, threads=1,
        ).x  # fmt: skip

    return fit


def picassosr(case: Case) -> Fit:
    """The package's numba kernel in a loop of numba, one thread, without uncertainties.

    It knows no weights: beside a weighted fit stands its unweighted one. Its tolerance is
    a relative change of chi squared.
    """
    import numba

    with contextlib.redirect_stderr(io.StringIO()):  # it complains about missing audio
        from picasso.fitting import gaussfit

    @numba.njit(nogil=True)
    def loop(pixels, variance, kind, start, mle, tol, rounds, theta, chi, state, iterations):
        for i in range(len(pixels)):
            gaussfit._fit_gauss_spot(
                pixels, i, variance, False, kind, start, mle, tol, rounds,
                theta, chi, state, iterations,
            )  # fmt: skip

    kind, mle = MODELS.index(case.model), case.method == "mle"

    def fit(rois: Rois) -> np.ndarray:
        start = rois.start
        if case.model == "rotated":  # the angle comes last there, and turns the other way
            start = np.ascontiguousarray(start[:, [0, 1, 2, 3, 4, 6, 5]])
            start[:, 6] *= -1
        variance, _ = gaussfit.resolve_variance(None, rois.pixels.shape, ndim=3)
        out = gaussfit.allocate_outputs(*start.shape)
        loop(rois.pixels, variance, kind, start, mle, TOL, MAX_ITER, *out)
        return out[0][:, 1]

    return fit


def smappy(case: Case) -> Fit:
    """The package's C++ fit of integrated pixels, one thread, with its Cramer-Rao bounds.

    It starts from moments of its own and a width, the same for all spots, and stops by a
    tolerance of its own. Its parameters are x, y, photons, background, sigma.
    """
    from smappy import _fit3d

    call = {"symmetric": _fit3d.fit_gauss_free, "elliptic": _fit3d.fit_gauss_xy}[case.model]

    def fit(rois: Rois) -> np.ndarray:
        width = float(rois.start[:, 3:-1].mean())
        return call(rois.pixels, width, MAX_ITER, 1)[0][:, 0]

    return fit


def scipy_leastsq(case: Case) -> Fit:
    """MINPACK with an analytic Jacobian, in a loop."""
    from scipy.optimize import leastsq

    coords = np.indices(case.shape)[::-1]

    def residuals(params, roi, root):
        difference = (profile(case.model, params, *coords) - roi).ravel()
        return root * difference if case.weighted else difference

    def derivatives(params, _, root):
        columns = jacobian(case.model, params, *coords)
        return root[:, np.newaxis] * columns if case.weighted else columns

    def fit(rois: Rois) -> np.ndarray:
        pixels = rois.pixels.astype(np.float64)
        roots = np.sqrt(rois.weights.reshape(len(pixels), -1))
        return np.array([
            leastsq(
                residuals, start, (roi, root), derivatives, ftol=TOL, xtol=TOL, maxfev=MAX_ITER
            )[0][1]
            for start, roi, root in zip(rois.start, pixels, roots, strict=True)
        ])  # fmt: skip

    return fit


def scipy_curve_fit(case: Case) -> Fit:
    """The loop that people write."""
    from scipy.optimize import curve_fit

    y, x = (axis.ravel() for axis in np.indices(case.shape))

    def function(_, *params):
        return profile(case.model, params, x, y)

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


def lmfit(case: Case) -> Fit:
    """lmfit.Model.fit in a loop."""
    import lmfit

    value = functools.partial(profile, case.model)
    y, x = (axis.ravel() for axis in np.indices(case.shape))
    function = {
        "symmetric": lambda grid, a, x0, y0, s, b: value([a, x0, y0, s, b], *grid),
        "elliptic": lambda grid, a, x0, y0, sx, sy, b: value([a, x0, y0, sx, sy, b], *grid),
        "rotated": lambda grid, a, x0, y0, sx, sy, t, b: value([a, x0, y0, sx, sy, t, b], *grid),
    }[case.model]
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


def astropy(case: Case) -> Fit:
    """Gaussian2D + Const2D with LevMarLSQFitter in a loop."""
    from astropy.modeling import fitting, models

    y, x = np.indices(case.shape)
    fitter = fitting.LevMarLSQFitter()

    def fit(rois: Rois) -> np.ndarray:
        found = np.empty(len(rois.pixels))
        for i, (a, x0, y0, *widths, b) in enumerate(rois.start):
            spot = models.Gaussian2D(a, x0, y0, widths[0], widths[min(1, len(widths) - 1)], theta=0)
            if case.model == "rotated":
                spot.theta = widths[2]
            else:
                spot.theta.fixed = True
            if case.model == "symmetric":
                spot.y_stddev.tied = lambda m: m.x_stddev_0
            result = fitter(
                spot + models.Const2D(b), x, y, rois.pixels[i], acc=TOL, maxiter=_evaluations(rois)
            )
            found[i] = result.x_mean_0.value
        return found

    return fit


def photutils(case: Case) -> Fit:
    """PSFPhotometry with a free width on a mosaic of the ROIs, the true offset subtracted."""
    from astropy.table import QTable
    from photutils.psf import CircularGaussianPSF, PSFPhotometry

    to_fwhm = 2 * math.sqrt(2 * math.log(2))

    def fit(rois: Rois) -> np.ndarray:
        mosaic = np.hstack(rois.pixels - rois.truth[:, -1, None, None])
        corner = case.size * np.arange(len(rois.pixels))
        a, x0, y0, sigma, _ = rois.start.T
        psf = CircularGaussianPSF(fwhm=1.3 * to_fwhm)
        psf.fwhm.fixed = False
        photometry = PSFPhotometry(psf, case.size, fitter_maxiters=_evaluations(rois))
        table = photometry(mosaic, init_params=QTable({
            "x": x0 + corner, "y": y0, "flux": 2 * math.pi * a * sigma**2, "fwhm": to_fwhm * sigma,
        }))  # fmt: skip
        return np.asarray(table["x_fit"]) - corner

    return fit


FITTERS = {
    "fastgauss": Fitter(
        fastgauss, 50_000, dimensions=(1, 2, 3), methods=("lsq", "mle"),
        pixels=("sample", "integrate"), weights=True,
    ),
    "picassosr": Fitter(picassosr, 10_000, methods=("lsq", "mle"), weights=True),
    "smappy-smlm": Fitter(
        smappy, 5_000, models=("symmetric", "elliptic"), methods=("mle",), pixels=("integrate",)
    ),
    "scipy leastsq": Fitter(scipy_leastsq, 400, dimensions=(1, 2, 3), weights=True),
    "scipy curve_fit": Fitter(scipy_curve_fit, 200),
    "lmfit": Fitter(lmfit, 40),
    "astropy": Fitter(astropy, 40),
    "photutils": Fitter(photutils, 40, models=("symmetric",)),
}  # fmt: skip
