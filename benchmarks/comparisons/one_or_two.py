"""One spot or two: the level of the tests of joint fits, what they find, crowds and an oracle.

Run ``python -m benchmarks.comparisons.one_or_two`` from the repository (``--jobs`` for some).

*null*: the tail of the test statistic for single spots by that of the chi-squared distribution with
as many degrees of freedom as the second spot has parameters; simulated as the largest square over
all places of the second spot within so many sigmas, and the limits at the first, for unit noise
of pixels and for photons.
*pairs*: parts of single spots and of equal pairs of 2,000 photons that end as two.
*crowds*: Jaccard index (spots within one sigma of the truth, each once, by all spots and places) of
the search with and without tests, beside a fit that starts at the truth.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.spatial import KDTree
from scipy.special import chdtrc

import fastgauss as fg

SIGMA, GROUND = 1.3, 10.0
LEVELS = (6.0, 9.0, 12.0, 14.0, 16.3)
KNOWN: dict[str, Any] = {"fixed": {"sigma": SIGMA}, "background": "constant"}
SHARED: dict[str, Any] = {"shared": "sigma", "background": "constant"}
SETTINGS = [
    ("mle, sigma fixed", {"method": "mle"} | KNOWN), ("lsq, sigma fixed", KNOWN),
    ("mle, sigma shared", {"method": "mle"} | SHARED), ("lsq, sigma shared", SHARED),
    ("mle, sigma free", {"method": "mle", "background": "constant"}),
]  # fmt: skip
JOBS = ("null", "pairs", "crowds")


def largest_squares(ndim: int, background: float | None, reach: float, count: int) -> np.ndarray:
    """The statistic (count,) of single spots; ``background`` photons a pixel, None: equal noise."""
    rng, axis = np.random.default_rng(1), np.arange(-6.0, 7.0)
    grid = np.stack(np.meshgrid(*[axis] * ndim, indexing="ij"), -1).reshape(-1, ndim)
    middle = np.full(ndim, 0.23)
    light = np.exp(-0.5 * ((grid - middle) ** 2).sum(axis=1) / SIGMA**2)
    away = (grid - middle) / SIGMA
    weight = np.ones(len(grid)) if background is None else 1 / np.sqrt(377 * light + background)
    known = np.column_stack([light, light[:, None] * away, np.ones(len(grid))]) * weight[:, None]
    step = 0.35 if ndim == 2 else 0.45
    ticks = step * np.arange(-int(reach / step), int(reach / step) + 1)
    places = np.stack(np.meshgrid(*[ticks] * ndim, indexing="ij"), -1).reshape(-1, ndim)
    far = np.sqrt((places**2).sum(axis=1))
    places = places[(far <= reach) & (far > 0.3)]
    axes = rng.normal(size=(150, ndim))
    axes /= np.linalg.norm(axes, axis=1)[:, None]
    second = [np.exp(-0.5 * ((away - place) ** 2).sum(axis=1)) for place in places]
    second += [((away @ each) ** 2 - 1) * light for each in axes]
    columns = np.array(second).T * weight[:, None]
    basis = np.linalg.qr(known)[0]
    columns -= basis @ (basis.T @ columns)
    columns /= np.linalg.norm(columns, axis=0)
    _, sizes, rotated = np.linalg.svd(columns, full_matrices=False)
    factor = (sizes[:, None] * rotated)[sizes > 1e-4 * sizes[0]]
    parts = [rng.normal(size=(10_000, len(factor))) @ factor for _ in range(count // 10_000)]
    return np.concatenate([np.maximum(part.max(axis=1), 0.0) ** 2 for part in parts])


def null() -> None:
    """Tails by those of chi-squared."""
    for ndim, background in ((2, None), (2, 20.0), (2, 0.3), (3, None), (3, 20.0)):
        for reach in (0.5, 1.5, 2.5):
            found = largest_squares(ndim, background, reach, 100_000)
            tails = (np.mean(found > t) / chdtrc(ndim + 1, t) for t in LEVELS)
            noise = "equal noise" if background is None else f"photons on {background:g}"
            print(f"{ndim}-D, {noise}, within {reach} sigmas:", *(f"{t:.2f}" for t in tails))


def pairs_beside_singles(apart: float, part: float, seed: int) -> tuple[np.ndarray, ...]:
    """An image, the places of its spots, and which of them are two."""
    rng, count, pitch = np.random.default_rng(seed), 8, 16
    at = (np.arange(count) + 0.5) * pitch
    places = np.stack(np.meshgrid(at, at, indexing="ij"), -1).reshape(-1, 2)
    places += rng.uniform(-0.5, 0.5, places.shape)
    angle = rng.uniform(0, 2 * np.pi, len(places))
    half = 0.5 * apart * SIGMA * np.column_stack([np.sin(angle), np.cos(angle)])
    two = np.arange(len(places)) < part * len(places)
    truth = np.concatenate([np.where(two[:, None], places - half, places), (places + half)[two]])
    light = fg.render((count * pitch,) * 2, truth, 2000 / (2 * np.pi * SIGMA**2), SIGMA, tol=1e-7)
    return rng.poisson(light + GROUND).astype(float), places, two


def pairs() -> None:
    """What ends as two."""
    for apart, part in ((1.0, 0.5), (1.0, 1.0), (1.3, 0.5), (1.3, 1.0)):
        image, places, two = pairs_beside_singles(apart, part, 1)
        for name, options in SETTINGS:
            found = fg.fit_spots(image, joint=True, sigma=SIGMA, **options)
            near = KDTree(found.positions).query_ball_point(places, 4.0, return_length=True)
            singles = f"{np.mean(near[~two] > 1):.3f}" if part < 1 else "-"
            rate = np.mean(near[two] == 2)
            print(f"{apart} sigma apart, {part:.0%} pairs, {name}: pairs {rate:.3f},",
                  f"singles {singles}, converged {found.converged.mean():.2f}")  # fmt: skip


def jaccard(found: np.ndarray, truth: np.ndarray) -> float:
    """Matches within a sigma by all spots and places."""
    found = found[np.isfinite(found).all(axis=1)]
    away = np.sqrt(((found[:, None] - truth[None]) ** 2).sum(axis=2))
    i, j = linear_sum_assignment(np.where(away < SIGMA, away - 1e3, 0.0))
    hits = (away[i, j] < SIGMA).sum()
    return hits / (len(found) + len(truth) - hits)


def crowds() -> None:
    """Spots of 1,000 to 3,000 photons at random places."""
    side = 96
    for density in (0.01, 0.02, 0.05):
        rng = np.random.default_rng(1)
        truth = rng.uniform(0, side - 1, (int(density * side**2), 2))
        heights = rng.uniform(1000, 3000, len(truth)) / (2 * np.pi * SIGMA**2)
        image = fg.render((side, side), truth, heights, SIGMA, tol=1e-7) + GROUND
        image = rng.poisson(image).astype(float)
        for name, options in SETTINGS:
            oracle = fg.fit_joint(image, truth, **options)
            line = f"{density} spots a pixel, {name}: oracle {jaccard(oracle.positions, truth):.3f}"
            for split in (None, 1e-3):
                found = fg.fit_spots(
                    image, joint=True, sigma=SIGMA, split=split, exclude_border=False, **options
                )
                line += f", split={split} {jaccard(found.positions, truth):.3f}"
            print(line)


def main() -> None:
    """Print what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", nargs="+", choices=JOBS, default=JOBS)
    for job in parser.parse_args().jobs:
        {"null": null, "pairs": pairs, "crowds": crowds}[job]()


if __name__ == "__main__":
    main()
