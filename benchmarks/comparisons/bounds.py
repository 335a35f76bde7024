"""The estimators of fastgauss beside theory: one table of scatter, bias and errors.

Run ``python -m benchmarks.comparisons.bounds`` from the repository; ``--quick`` fits a fifth of the
spots. Each row is a fit of many spots in Poisson noise, made as in ``conditions.py`` at
three brightnesses. Every spot has its own truth and its own bound: the Cramer-Rao bound
F^-1 = (J' diag(1/mu) J)^-1 for maximum likelihood, the sandwich
(J'J)^-1 J' diag(mu) J (J'J)^-1 for least squares, with the images mu and their derivatives J
at the truth. The starts are *given*, with the tolerance and rounds of the timed
comparisons, or the fit's *own* with its defaults.

Lists run over the parameters in their order. *RMSE / bound* is the root mean square of the
errors over that of the bounds; *bias* is the mean error over its standard error, so that
beyond +-4 it is no chance (few photons bias any estimator), and 1 is a shift by the scatter
over the root of the number of spots;
*error / scatter* is the root mean square of the reported errors over the standard deviation
of the estimates. All are of all converged spots, none trimmed; *excluded* counts the
others. *Swaps* are spots whose wide and narrow axes change places; *far* are those with a
parameter further than six bounds from the truth.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterable
from typing import Any

import numpy as np

import fastgauss as fg

from ..common.conditions import (
    MAX_ITER,
    MODELS,
    PLANAR,
    SIZES,
    TOL,
    Case,
    Rois,
    expected,
    make_rois,
)
from ..common.tables import print_head, print_row

COUNT = 10_000
LEVELS = {"high": (1000.0, 20.0), "mid": (200.0, 10.0), "low": (30.0, 5.0)}  # amplitude, offset
ESTIMATORS: dict[str, dict[str, Any]] = {
    "mle": {"method": "mle"},
    "lsq": {"method": "lsq"},
    "lsq, sandwich errors": {"method": "lsq", "covariance": "sandwich"},
}
STARTS = ("given", "own")
HEAD = (
    "estimator",
    "model",
    "pixel",
    "size",
    "level",
    "start",
    "converged",
    "excluded",
    "swaps",
    "far",
    "RMSE / bound",
    "bias",
    "error / scatter",
)


def bound(case: Case, truth: np.ndarray) -> np.ndarray:
    """The least variance of each parameter of each spot, (n, P), for the case's method."""
    coords = tuple(axis.ravel() for axis in np.indices(case.shape, dtype=float)[::-1])
    slopes = fg.jacobian(coords, truth[:, np.newaxis], model=case.model, pixel=case.pixel)
    mu = expected(case, truth).reshape(*slopes.shape[:2], 1)
    across = slopes.transpose(0, 2, 1)
    if case.method == "mle":
        covariance = np.linalg.inv(across @ (slopes / mu))
    else:
        inverse = np.linalg.inv(across @ slopes)
        covariance = inverse @ (across @ (slopes * mu)) @ inverse
    return np.diagonal(covariance, axis1=1, axis2=2)


def canonical(case: Case, params: np.ndarray) -> np.ndarray:
    """The same profiles as a fit reports them: rotated ones with the wide axis first."""
    if case.model != "rotated":
        return params
    wide_first = params[:, 3] >= params[:, 4]
    rotated = params[:, [0, 1, 2, 4, 3, 5, 6]]
    rotated[:, 5] -= np.pi / 2 * np.sign(rotated[:, 5])
    return np.where(wide_first[:, np.newaxis], params, rotated)


def deviations(case: Case, params: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Errors of the parameters; an angle's is within a quarter turn."""
    error = params - truth
    if case.model == "rotated":
        error[:, 5] = (error[:, 5] + np.pi / 2) % np.pi - np.pi / 2
    return error


def swapped(case: Case, params: np.ndarray, error: np.ndarray) -> np.ndarray:
    """Where the wide axis is closer to the true narrow one than to itself."""
    if case.model == "symmetric":
        return np.zeros(len(params), bool)
    if case.model == "rotated":
        return np.abs(error[:, 5]) > np.pi / 4
    truth = params - error
    return (params[:, 3] > params[:, 4]) != (truth[:, 3] > truth[:, 4])


def fit(case: Case, options: dict[str, Any], rois: Rois, start: str) -> fg.FitResult:
    """Fit as the comparisons with peers do, or as a user does who gives pixels only."""
    given = {"guess": rois.start, "tol": TOL, "max_iter": MAX_ITER} if start == "given" else {}
    return fg.fit_rois(rois.pixels, case.model, pixel=case.pixel, threads=1, **options, **given)


def _joined(values: Iterable[float], form: str) -> str:
    return " ".join(form.format(value) for value in values)


def measures(case: Case, result: fg.FitResult, truth: np.ndarray, limit: np.ndarray) -> list[str]:
    """The last columns of a row."""
    good = result.converged
    params, limit = result.params[good], limit[good]
    error = deviations(case, params, truth[good])
    scatter = error.std(axis=0)
    far = (np.abs(error) > 6 * np.sqrt(limit)).any(axis=1)
    reported = np.sqrt(np.mean(result.errors[good] ** 2, axis=0))
    return [
        f"{good.mean():.2%}",
        f"{np.sum(~good)}",
        f"{swapped(case, params, error).sum()}",
        f"{far.sum()}",
        _joined(np.sqrt(np.mean(error**2, axis=0) / np.mean(limit, axis=0)), "{:.3f}"),
        _joined(error.mean(axis=0) / (scatter / np.sqrt(len(error))), "{:+.1f}"),
        _joined(reported / scatter, "{:.3f}"),
    ]


def _compare(case: Case, estimators: list[str], level: str, count: int) -> None:
    """Print the rows of one model, size and brightness: the same spots for all of them."""
    amplitude, offset = LEVELS[level]
    rois = make_rois(count, case, amplitude=amplitude, offset=offset)
    truth = canonical(case, rois.truth)
    for name, start in itertools.product(estimators, STARTS):
        chosen = case._replace(method=ESTIMATORS[name]["method"])
        result = fit(chosen, ESTIMATORS[name], rois, start)
        cells = measures(chosen, result, truth, bound(chosen, truth))
        print_row([name, case.model, case.pixel, case.extent, level, start, *cells])


def main() -> None:
    """Read the options and print the table as markdown."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer spots")
    choices = {
        "estimators": ESTIMATORS, "models": MODELS, "levels": LEVELS,
        "pixels": ("sample", "integrate"),
    }  # fmt: skip
    for name, known in choices.items():
        default = ["sample"] if name == "pixels" else list(known)
        parser.add_argument(f"--{name}", nargs="+", choices=known, default=default)
    parser.add_argument("--sizes", nargs="+", type=int, choices=SIZES, default=SIZES)
    options = parser.parse_args()
    count = COUNT // 5 if options.quick else COUNT
    print(f"fastgauss {fg.__version__}, {count} spots a row.\n")
    print_head(HEAD)
    for case, pixel, level in itertools.product(PLANAR, options.pixels, options.levels):
        if case.model in options.models and case.size in options.sizes:
            _compare(case._replace(pixel=pixel), options.estimators, level, count)


if __name__ == "__main__":
    main()
