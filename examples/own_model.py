"""Your own model in the solver of fastgauss: a decay with two Gaussian peaks.

The model is that of the problems Gauss1 to Gauss3 of NIST's Statistical Reference Datasets. Run
``python examples/own_model.py`` for simulated data, or give the name of a JSON file that holds
those problems (x, y, start1, start2, certified, certified_sd of each) to see how many digits agree
with the certified values from both starts.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from numba import njit

from fastgauss.kernels.fit.curve_fit import make_curve_fit
from fastgauss.kernels.numeric.special import exp


def two_peaks(x, p):
    """b1 exp(-b2 x) + b3 exp(-((x - b4) / b5)**2) + b6 exp(-((x - b7) / b8)**2)."""
    b1, b2, b3, b4, b5, b6, b7, b8 = p
    decay = exp(-b2 * x)
    u = (x - b4) / b5
    v = (x - b7) / b8
    f = exp(-u * u)
    g = exp(-v * v)
    slope_f = 2.0 * b3 * f * u / b5
    slope_g = 2.0 * b6 * g * v / b8
    value = b1 * decay + b3 * f + b6 * g
    return value, (decay, -b1 * x * decay, f, slope_f, slope_f * u, g, slope_g, slope_g * v)


def three_decays(x, p):
    """b1 exp(-b2 x) + b3 exp(-b4 x) + b5 exp(-b6 x): Lanczos1 to Lanczos3."""
    b1, b2, b3, b4, b5, b6 = p
    e = exp(-b2 * x)
    f = exp(-b4 * x)
    g = exp(-b6 * x)
    return b1 * e + b3 * f + b5 * g, (e, -b1 * x * e, f, -b3 * x * f, g, -b5 * x * g)


fit_two_peaks = make_curve_fit(two_peaks, 8)
fit_three_decays = make_curve_fit(three_decays, 6)


@njit(cache=True)
def peaks(x, y, start):
    """Fits of many curves; ``fit_two_peaks`` is called like any compiled function."""
    return fit_two_peaks(x, y, np.ones_like(x), start, 1e-9, 1000)


@njit(cache=True)
def decays(x, y, start):
    """The same for the other model."""
    return fit_three_decays(x, y, np.ones_like(x), start, 1e-9, 1000)


def certified_digits(path: Path) -> None:
    """Print the digits that agree with NIST's values, from both starts."""
    problems = json.loads(path.read_text())
    for name, problem in problems.items():
        fit = {"Gauss": peaks, "Lancz": decays}.get(name[:5])
        if fit is None:
            continue
        x, y = (np.array([problem[key]], dtype=float) for key in "xy")
        certified = np.array(problem["certified"], dtype=float)
        for key in ("start1", "start2"):
            start = np.array([problem[key]], dtype=float)
            params, covariance, _, status, iterations = fit(x, y, start)
            digits = -np.log10(np.abs(params[0] / certified - 1.0).max())
            ratio = np.sqrt(np.diag(covariance[0])) / np.array(problem["certified_sd"], float)
            print(
                f"{name} {key}: {digits:.1f} digits, errors {ratio.min():.4f} to {ratio.max():.4f} "
                f"of the certified, status {status[0]}, {iterations[0]} rounds"
            )


def simulate() -> np.ndarray:
    """Fit eight thousand noisy curves at once; returns pulls of the parameters."""
    truth = np.array([98.0, 0.0105, 100.0, 67.0, 23.0, 72.0, 179.0, 18.0])
    x = np.arange(1.0, 251.0)[np.newaxis]
    clean = two_peaks(x, tuple(truth))[0]
    y = clean + np.random.default_rng(0).normal(0.0, 2.5, (8000, x.size))
    start = np.tile(truth * 1.05, (len(y), 1))
    params, covariance, *_ = peaks(x, y, start)
    return (params - truth) / np.sqrt(np.einsum("nii->ni", covariance))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        certified_digits(Path(sys.argv[1]))
    else:
        print("scatter by reported error:", simulate().std(axis=0).round(3))
