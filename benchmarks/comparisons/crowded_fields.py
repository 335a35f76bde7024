"""Crowded fields beside photutils, crowdsource, picasso and a fit that starts at the truth.

``python -m benchmarks.comparisons.crowded_fields`` from the repository, with photutils,
crowdsourcephoto and picassosr where they are installed. Equal spots of sigma 1.3 and 3,000 photons
lie at random places on 20 photons a pixel. *Jaccard* is the number of matches by the number of all
places and spots: each place is matched to one spot at most, nearest pairs first, within one pixel.
The table gives its mean over the seeds, and found spots, matched ones and places of all seeds.

Each package is told the width and is given what it can use of the true background: photutils and
crowdsource get the image without it, and fastgauss fits one constant. crowdsource looks for new
spots in at most 12 rounds, at its own threshold. photutils fits groups within 3.7 pixels, and as
many rounds as end without its error "Inconsistent data column lengths", at most 6. picasso gets
boxes of 5 pixels (7 find less) and a gradient that all spots exceed; its widths are fitted.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import math
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial import KDTree

if not __package__:  # run as a file
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import fastgauss as fg
from benchmarks.common.tables import print_head, print_row

SIDE, MARGIN = 100, 3  # pixels
SIGMA, PHOTONS, GROUND = 1.3, 3000.0, 20.0
FWHM = 2 * math.sqrt(2 * math.log(2)) * SIGMA
NEAR = 1.0  # pixels
LEAST = 0.1 * PHOTONS  # of spots that photutils found
DENSITIES = (0.01, 0.02, 0.05)
Find = Callable[[np.ndarray, np.ndarray], np.ndarray]  # of an image and the truth, places (n, 2)


def make_field(density: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Counts, and the places of their spots."""
    rng = np.random.default_rng(seed)
    places = rng.uniform(MARGIN, SIDE - MARGIN - 1, (round(density * SIDE**2), 2))
    peak = PHOTONS / (2 * math.pi * SIGMA**2)
    light = fg.render((SIDE, SIDE), places, peak, SIGMA, tol=1e-8, threads=1)
    return rng.poisson(light + GROUND).astype(float), places


def matches(found: np.ndarray, truth: np.ndarray) -> int:
    """How many places are matched."""
    if not len(found):
        return 0
    pairs = KDTree(found).sparse_distance_matrix(KDTree(truth), NEAR, output_type="coo_matrix")
    rows, places = set(), set()
    for k in np.argsort(pairs.data):
        i, j = int(pairs.row[k]), int(pairs.col[k])
        if i not in rows and j not in places:
            rows.add(i)
            places.add(j)
    return len(rows)


# -- ways to find --------------------------------------------------------------------------------


def oracle(**options: Any) -> Find:
    """fit_joint from the true places."""

    def find(image: np.ndarray, truth: np.ndarray) -> np.ndarray:
        return fg.fit_joint(
            image, truth, method="mle", background="constant", threads=1, **options
        ).positions

    return find


def fastgauss(**options: Any) -> Find:
    """fit_spots with joint=True."""

    def find(image: np.ndarray, truth: np.ndarray) -> np.ndarray:
        return fg.fit_spots(
            image, joint=True, sigma=SIGMA, method="mle", background="constant",
            exclude_border=False, threads=1, **options,
        ).positions  # fmt: skip

    return find


def photutils() -> Find:
    """IterativePSFPhotometry with all spots fitted anew in each round."""
    from photutils.detection import DAOStarFinder
    from photutils.psf import CircularGaussianPSF, IterativePSFPhotometry, SourceGrouper

    psf = CircularGaussianPSF(fwhm=FWHM)
    psf.fwhm.fixed = True
    finder = DAOStarFinder(5 * math.sqrt(GROUND), FWHM)

    def fit(image: np.ndarray, rounds: int) -> Any:
        call = IterativePSFPhotometry(
            psf, (7, 7), finder=finder, grouper=SourceGrouper(3.7), aperture_radius=3,
            maxiters=rounds, mode="all",
        )  # fmt: skip
        return call(image - GROUND, error=np.sqrt(np.maximum(image, 1.0)))

    def find(image: np.ndarray, truth: np.ndarray) -> np.ndarray:
        for rounds in (6, 4, 3, 2):
            with contextlib.suppress(ValueError):
                table = fit(image, rounds)
                break
        else:
            table = fit(image, 1)
        bright = np.asarray(table["flux_fit"]) > LEAST
        return np.column_stack([table["y_fit"], table["x_fit"]])[bright]

    return find


def crowdsource() -> Find:
    """fit_im with the true point spread function and no fit of it."""
    from crowdsource import crowdsource_base, psf

    axis = np.arange(-29, 30)
    profile = np.exp(-0.5 * (axis / SIGMA) ** 2)
    stamp = np.outer(profile, profile) / profile.sum() ** 2

    def find(image: np.ndarray, truth: np.ndarray) -> np.ndarray:
        stars = crowdsource_base.fit_im(
            image - GROUND, psf.SimplePSF(stamp.copy()), refit_psf=False, fewstars=1, maxiter=12,
            weight=1 / np.sqrt(np.maximum(image, 1.0)),
        )[0]  # fmt: skip
        return np.column_stack([stars["x"], stars["y"]]).astype(float)  # x is the row

    return find


def picasso(method: str) -> Find:
    """localize on a movie of one frame, in photons."""
    with contextlib.redirect_stdout(io.StringIO()):
        from picasso import localize

    camera = {"Baseline": 0, "Sensitivity": 1.0, "Gain": 1, "Qe": 1.0, "Pixelsize": 100}
    about = [{"Frames": 1, "Height": SIDE, "Width": SIDE}]

    def find(image: np.ndarray, truth: np.ndarray) -> np.ndarray:
        with tempfile.NamedTemporaryFile() as file:
            movie = np.memmap(file, np.uint16, "w+", shape=(1, *image.shape))
            movie[0] = image
            table, _ = localize.localize(
                movie, camera_info=camera, fitting_method=method, movie_info=about,
                identification_parameters={"Min. Net Gradient": 500, "Box Size": 5},
                threaded=False,
            )  # fmt: skip
        return table[["y", "x"]].to_numpy(float)

    return find


KNOWN, SHARED = {"fixed": {"sigma": SIGMA}}, {"shared": "sigma"}
WAYS: dict[str, Callable[[], Find]] = {
    "fit from the truth, width known": lambda: oracle(**KNOWN),
    "fit from the truth, width of each spot": oracle,
    "fastgauss, width known": lambda: fastgauss(**KNOWN),
    "fastgauss, width known, split=1e-3": lambda: fastgauss(split=1e-3, **KNOWN),
    "fastgauss, width shared, split=1e-3": lambda: fastgauss(split=1e-3, **SHARED),
    "fastgauss, width of each spot": fastgauss,
    "fastgauss, width of each spot, split=1e-3": lambda: fastgauss(split=1e-3),
    "crowdsource": crowdsource,
    "photutils iterative": photutils,
    "picasso, least squares": lambda: picasso("gausslq-spherical"),
    "picasso, maximum likelihood": lambda: picasso("gaussmle-spherical"),
}


def main() -> None:
    """Print the table of each density."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--densities", nargs="+", type=float, default=DENSITIES)
    parser.add_argument("--seeds", type=int, default=3, help="fields of each density")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    chosen = parser.parse_args()
    warnings.simplefilter("ignore")  # the packages' own
    for density in chosen.densities:
        fields = [make_field(density, seed) for seed in range(chosen.seeds)]
        print(f"\n### {density:g} spots a pixel\n")
        print_head(["package", "Jaccard", "found", "matched", "places", "CPU s a field"])
        for name in chosen.ways:
            try:
                find = WAYS[name]()
            except ImportError as error:
                print_row([name, f"not installed: {error}"])
                continue
            find(*make_field(density, chosen.seeds))  # compiles
            scores, counts = [], np.zeros(3, int)
            begin = time.process_time()
            for image, truth in fields:
                found = find(image, truth)
                found = found[np.isfinite(found).all(axis=1)]
                hits = matches(found, truth)
                scores.append(hits / (len(found) + len(truth) - hits))
                counts += len(found), hits, len(truth)
            used = (time.process_time() - begin) / len(fields)
            print_row([name, f"{np.mean(scores):.3f}", *map(str, counts), f"{used:.1f}"])


if __name__ == "__main__":
    main()
