"""Joint fits of crowded images beside theory, single fits and other packages.

Run ``python -m benchmarks.comparisons.joint`` from the repository; ``--quick`` takes a minute and
a half. Spots have sigma 1.3 in Poisson noise; starts are off by 0.3 px (standard deviation) an
axis, those of pairs by half of that.

*pairs*: two spots at a known distance, many pairs far apart in one image, fitted by maximum
likelihood with the width known or one for each spot, and an offset for the pair. *RMSE / bound*
is that of ``bounds.py``, with the Cramer-Rao bound of two spots on a common offset; *bias* is the
mean error over its standard error. Lists are amplitude, the place along the line from the other
spot, and across it.
*fields*: 10,000 spots on 1024 x 1024 pixels and five times as many, by the number of neighbours
within four pixels: RMSE of the place in pixels and of the flux in percent, over spots within 1 px
of the truth; *lost* are the others. Packages that are slow get a corner of the image; the last
column is their time by ours for the same pixels.
*cost*: time by the number of spots at constant density.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import math
import time
import warnings
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

import fastgauss as fg

from ..common.conditions import OFFSET
from ..common.tables import print_head, print_row
from .bounds import LEVELS

SIGMA = 1.3
JITTER = 0.3  # pixels, an axis
PAIR_JITTER = (
    0.15  # centres stay within half the starts' distance: 0.3 puts the truth of some outside
)
BOX = 11
TILE = 32  # pixels a side, of one pair
DISTANCES = (1.5, 2.0, 3.0, 4.0)  # sigmas
NEAR = 4.0  # pixels within which neighbours are counted
CLASSES = ((0, 0), (1, 2), (3, 5), (6, 999))  # neighbours
PARTS = {10_000: 192, 50_000: 48}  # pixels a side, of what slow packages get; half if quick
JOBS = ("pairs", "fields", "cost")


class Field(NamedTuple):
    """A crowded image."""

    image: np.ndarray
    places: np.ndarray  # (n, 2) rows and columns
    heights: np.ndarray
    starts: np.ndarray  # (n, 2)

    @property
    def flux(self) -> np.ndarray:
        """Integral of each spot."""
        return 2 * math.pi * SIGMA**2 * self.heights

    def part(self, side: int) -> Field:
        """The corner of so many pixels."""
        inside = (self.places < side).all(axis=1) & (self.starts < side).all(axis=1)
        return Field(self.image[:side, :side], *(each[inside] for each in self[1:]))


def make_field(side: int, count: int, seed: int = 0) -> Field:
    """Spots of heights 100 to 300 at random places."""
    rng = np.random.default_rng(seed)
    places = rng.uniform(4, side - 5, (count, 2))
    heights = rng.uniform(100, 300, count)
    light = fg.render((side, side), places, heights, SIGMA, tol=1e-7)
    image = rng.poisson(light + OFFSET).astype(np.float64)
    return Field(image, places, heights, places + rng.normal(0, JITTER, places.shape))


# -- pairs -------------------------------------------------------------------------------------


class Pairs(NamedTuple):
    """Pairs, one a tile of a square image; every second spot is of the same pair."""

    image: np.ndarray
    truth: np.ndarray  # (pairs, 2, 5)
    starts: np.ndarray  # (2 pairs, 2)
    along: np.ndarray  # (2 pairs, 2) unit vectors (x, y) away from the other spot


def make_pairs(count: int, distance: float, level: str, seed: int = 0) -> Pairs:
    """``count`` pairs, a square number, at a distance in sigmas and any angle."""
    rng = np.random.default_rng(seed)
    side = math.isqrt(count)
    amplitude, offset = LEVELS[level]
    corner = np.indices((side, side)).reshape(2, -1).T[:, ::-1] * float(TILE)
    middle = corner + TILE / 2 + rng.uniform(-0.5, 0.5, (count, 2))
    angle = rng.uniform(0, 2 * math.pi, count)
    along = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    apart = 0.5 * distance * SIGMA * along
    truth = np.empty((count, 2, 5))
    truth[..., 0], truth[..., 3], truth[..., 4] = amplitude, SIGMA, offset
    truth[:, 0, 1:3], truth[:, 1, 1:3] = middle + apart, middle - apart
    spots = truth.reshape(-1, 5)
    shape = (side * TILE, side * TILE)
    light = fg.render(shape, spots[:, 2:0:-1], spots[:, 0], SIGMA, tol=1e-8)
    starts = spots[:, 2:0:-1] + rng.normal(0, PAIR_JITTER, (2 * count, 2))
    image = rng.poisson(light + offset).astype(np.float64)
    return Pairs(image, truth, starts, np.stack([along, -along], axis=1).reshape(-1, 2))


def pair_bounds(pairs: Pairs, known: bool) -> np.ndarray:
    """Least variances of amplitude, place along and across, (2 pairs, 3)."""
    shift = TILE * np.floor(pairs.truth[:, :1, 1:3].mean(axis=1, keepdims=True) / TILE)
    local = pairs.truth.copy()
    local[..., 1:3] -= shift
    starts = np.rint(pairs.starts.reshape(-1, 2, 2)) - shift[..., ::-1]
    y, x = np.indices((TILE, TILE), dtype=float).reshape(2, -1)
    variances = np.empty((len(local), 2, 3))
    along = pairs.along.reshape(-1, 2, 2)
    for i, (spots, places) in enumerate(zip(local, starts, strict=True)):
        away = np.abs(np.stack([y, x])[:, np.newaxis] - places.T[..., np.newaxis]).max(axis=0)
        inside = (away <= BOX // 2).any(axis=0)
        at = x[inside], y[inside]
        slopes = fg.jacobian(at, spots[:, np.newaxis], "symmetric")[..., : 3 if known else 4]
        mu = fg.evaluate(at, spots[:, np.newaxis], "symmetric").sum(axis=0) - spots[0, -1]
        for k in range(2):  # along and across in place of x and y
            (cos, sin), (by_x, by_y) = along[i, k], slopes[k, :, 1:3].T.copy()
            slopes[k, :, 1], slopes[k, :, 2] = cos * by_x + sin * by_y, cos * by_y - sin * by_x
        columns = np.concatenate([*slopes, np.ones((len(mu), 1))], axis=1)
        inverse = np.linalg.inv(columns.T @ (columns / mu[:, np.newaxis]))
        size = slopes.shape[-1]
        variances[i] = np.diagonal(inverse)[:-1].reshape(2, size)[:, :3]
    return variances.reshape(-1, 3)


def pair_errors(pairs: Pairs, result: fg.FitResult) -> np.ndarray:
    """Errors of amplitude, place along and across, (2 pairs, 3)."""
    error = result.params[:, :3] - pairs.truth.reshape(-1, 5)[:, :3]
    cos, sin = pairs.along.T
    along, across = cos * error[:, 1] + sin * error[:, 2], cos * error[:, 2] - sin * error[:, 1]
    return np.stack([error[:, 0], along, across], axis=1)


def _joined(values: np.ndarray, form: str) -> str:
    return " ".join(form.format(value) for value in values)


def compare_pairs(quick: bool) -> None:
    """Bias and scatter of pairs, joint and single."""
    count = 45**2 if quick else 70**2
    print_head(
        ("distance", "level", "width", "fit", "excluded", "at a bound", "bias", "RMSE / bound")
    )
    levels = ("mid",) if quick else ("high", "mid")
    for level in levels:
        for distance in DISTANCES:
            pairs = make_pairs(count, distance, level)
            for known in (True,) if quick else (True, False):
                limit = pair_bounds(pairs, known)
                options = {"box": BOX, "method": "mle", "fixed": {"sigma": SIGMA} if known else {}}
                for name, fit in (("joint", fg.fit_joint), ("single", fg.fit_spots)):
                    result = fit(pairs.image, pairs.starts, "symmetric", **options)
                    good = result.converged.reshape(-1, 2).all(axis=1).repeat(2)
                    bound = (result.status == fg.Status.AT_BOUND).reshape(-1, 2).any(1).repeat(2)
                    error = pair_errors(pairs, result)[good]
                    each = error.std(axis=0) / math.sqrt(len(error))
                    ratio = np.sqrt((error**2).mean(axis=0) / limit[good].mean(axis=0))
                    print_row((
                        f"{distance:g} sigma", level, "known" if known else "free", name,
                        f"{(~good).sum() // 2} of {count}", f"{bound.sum() // 2}",
                        _joined(error.mean(axis=0) / each, "{:+.1f}"), _joined(ratio, "{:.3f}"),
                    ))  # fmt: skip


# -- fields ------------------------------------------------------------------------------------

Fit = Callable[[Field], tuple[np.ndarray, np.ndarray]]  # (n, 2) places, and fluxes


def joint(known: bool) -> Fit:
    """fit_joint on one thread."""

    def fit(field: Field) -> tuple[np.ndarray, np.ndarray]:
        result = fg.fit_joint(
            field.image, field.starts, method="mle", background="constant", tol=1e-2,
            fixed={"sigma": SIGMA} if known else None, threads=1,
        )  # fmt: skip
        return result.positions, result.flux

    return fit


def single(field: Field) -> tuple[np.ndarray, np.ndarray]:
    """fit_spots on one thread: each spot alone."""
    result = fg.fit_spots(
        field.image, field.starts, method="mle", fixed={"sigma": SIGMA}, threads=1
    )
    return result.positions, result.flux


def _photutils(iterative: bool) -> Fit:
    """Spots within 1.2 FWHM are a group; with 2, all of the dense field would be one."""
    from astropy.table import QTable
    from photutils.detection import DAOStarFinder
    from photutils.psf import (
        CircularGaussianPSF,
        IterativePSFPhotometry,
        PSFPhotometry,
        SourceGrouper,
    )

    fwhm = 2 * math.sqrt(2 * math.log(2)) * SIGMA
    common = {"fit_shape": (7, 7), "grouper": SourceGrouper(1.2 * fwhm), "aperture_radius": fwhm}

    def fit(field: Field) -> tuple[np.ndarray, np.ndarray]:
        psf = CircularGaussianPSF(fwhm=fwhm)
        psf.fwhm.fixed = True
        if iterative:
            finder = DAOStarFinder(threshold=50.0, fwhm=fwhm)
            call = IterativePSFPhotometry(psf, finder=finder, maxiters=2, **common)
        else:
            call = PSFPhotometry(psf, **common)
        begin = QTable({"x": field.starts[:, 1], "y": field.starts[:, 0]})
        begin["flux"] = field.flux  # its own first guess is the sum of all light around
        with contextlib.redirect_stderr(io.StringIO()):
            table = call(
                field.image - OFFSET, error=np.sqrt(np.maximum(field.image, 1.0)),
                init_params=begin,
            )  # fmt: skip
        table.sort("id")
        rows = table[: len(begin)]
        return np.column_stack([rows["y_fit"], rows["x_fit"]]), np.asarray(rows["flux_fit"])

    return fit


def grouped() -> Fit:
    """PSFPhotometry with SourceGrouper: width, background and first fluxes are given."""
    return _photutils(False)


def iterative() -> Fit:
    """IterativePSFPhotometry, which besides looks for spots in the residual."""
    return _photutils(True)


def picassosr() -> Fit:
    """The package's kernel on boxes of 7 pixels, each spot alone, its width fitted."""
    from ..common.conditions import Case
    from ..common.fitters import picassosr as prepare

    size, case = 7, Case("symmetric", 7, method="mle")
    with contextlib.redirect_stderr(io.StringIO()):
        from picasso.fitting import gaussfit
    prepare(case)

    import numba

    @numba.njit(nogil=True)
    def loop(pixels, variance, start, theta, chi, state, iterations):  # type: ignore[no-untyped-def]
        for i in range(len(pixels)):
            gaussfit._fit_gauss_spot(
                pixels, i, variance, False, 0, start, True, 1e-4, 20, theta, chi, state, iterations
            )

    def fit(field: Field) -> tuple[np.ndarray, np.ndarray]:
        wide = np.pad(field.image, size, mode="edge").astype(np.float32)
        corner = np.rint(field.starts).astype(int) - size // 2
        boxes = np.lib.stride_tricks.sliding_window_view(wide, (size, size))
        pixels = np.ascontiguousarray(boxes[tuple((corner + size).T)])
        start = np.empty((len(pixels), 5))
        start[:, 0] = pixels[:, size // 2, size // 2] - OFFSET
        start[:, 1:3] = (field.starts - corner)[:, ::-1]
        start[:, 3:] = SIGMA, OFFSET
        variance, _ = gaussfit.resolve_variance(None, pixels.shape, ndim=3)
        out = gaussfit.allocate_outputs(*start.shape)
        loop(pixels, variance, start, *out)
        flux = 2 * math.pi * out[0][:, 0] * out[0][:, 3] ** 2
        return out[0][:, 2:0:-1] + corner, flux

    return fit


WAYS: dict[str, tuple[Callable[[], Fit], bool]] = {  # and whether they get the whole image
    "fastgauss joint": (lambda: joint(True), True),
    "fastgauss joint, width free": (lambda: joint(False), True),
    "fastgauss single": (lambda: single, True),
    "picassosr": (picassosr, True),
    "photutils grouped": (grouped, False),
    "photutils iterative": (iterative, False),
}


def _by_density(field: Field, places: np.ndarray, flux: np.ndarray) -> list[str]:
    """Errors of place and flux, and what is lost, by neighbours."""
    from scipy.spatial import KDTree

    tree = KDTree(field.places)
    near = tree.query_ball_point(field.places, NEAR, return_length=True) - 1
    away = np.linalg.norm(places - field.places, axis=1)
    good = (away < 1.0) & np.isfinite(flux)
    cells = []
    for low, high in CLASSES:
        there = (near >= low) & (near <= high)
        these = good & there
        if not these.any():
            cells.append("-")
            continue
        place = math.sqrt((away[these] ** 2).mean() / 2)
        bright = math.sqrt(((flux[these] / field.flux[these] - 1) ** 2).mean())
        lost = 1 - these.sum() / there.sum()
        cells.append(f"{place:.3f} px, {100 * bright:.1f} %, {100 * lost:.1f} % lost")
    return cells


def _timed(fit: Fit, field: Field) -> tuple[float, tuple[np.ndarray, np.ndarray]]:
    begin = time.perf_counter()
    found = fit(field)
    return time.perf_counter() - begin, found


def compare_fields(quick: bool) -> None:
    """Errors by density, and times, beside other packages."""
    print_head((
        "spots", "package", "of them", "no neighbour", "1 or 2", "3 to 5", "more",
        "ms a spot", "joint is faster by",
    ))  # fmt: skip
    for count, share in PARTS.items():
        whole = make_field(1024, count)
        side = share // (2 if quick else 1)
        part = whole.part(side)
        ours = WAYS["fastgauss joint"][0]()
        ours(whole.part(64))
        base = {}
        for name, (prepare, all_of_it) in WAYS.items():
            try:
                fit = prepare()
            except ImportError:
                continue
            field = whole if all_of_it and not (quick and count > 10_000) else part
            fit(whole.part(48))
            size = len(field.image)
            if size not in base:
                base[size] = _timed(ours, field)[0]
            seconds, found = _timed(fit, field)
            print_row((
                f"{count:,}", name, f"{len(field.places):,}", *_by_density(field, *found),
                f"{1e3 * seconds / len(field.places):.3g}", f"{seconds / base[size]:.3g}",
            ))  # fmt: skip


# -- cost --------------------------------------------------------------------------------------


def compare_cost(quick: bool) -> None:
    """Time by the number of spots at constant density."""
    print_head(("spots", "side", "seconds", "microseconds a spot", "converged", "rounds"))
    for count in (1_000, 10_000) if quick else (1_000, 10_000, 100_000):
        field = make_field(round(1024 * math.sqrt(count / 10_000)), count)
        begin = time.perf_counter()
        result = fg.fit_joint(
            field.image, field.starts, method="mle", fixed={"sigma": SIGMA}, tol=1e-2, threads=1
        )
        seconds = time.perf_counter() - begin
        print_row((
            f"{count:,}", str(len(field.image)), f"{seconds:.3f}", f"{1e6 * seconds / count:.1f}",
            f"{result.converged.mean():.2%}", str(result.iterations.max()),
        ))  # fmt: skip


def main() -> None:
    """Read the options and print the tables as markdown."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer pairs, parts of the images")
    parser.add_argument("--jobs", nargs="+", choices=JOBS, default=JOBS)
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # the peers' own
    for name, job in (("pairs", compare_pairs), ("fields", compare_fields), ("cost", compare_cost)):
        if name in options.jobs:
            print(f"\n{name}\n")
            job(options.quick)


if __name__ == "__main__":
    main()
