"""asv: fits of many regions of interest, as a user calls them."""

from __future__ import annotations

import fastgauss as fg
from fastgauss.models.model import get_model

from ..common.conditions import JOBS, MAX_ITER, PLANAR, TOL, Case, make_image, make_rois
from ..common.fitters import estimator

COUNT = 20_000
MIDDLE = tuple(case for case in PLANAR if case.size == 11)
VARIANTS = (
    {"weighted": True},
    {"method": "mle"},
    {"pixel": "integrate"},
    {"method": "mle", "pixel": "integrate"},
)


def known_widths(case: Case) -> Case:
    """The same with the sigmas fixed, as where the optics are known."""
    names = get_model(case.model, case.ndim).names
    return case._replace(fixed=tuple(name for name in names if name.startswith("sigma")))


CASES = {
    f"{case.job} {case.extent}": case
    for case in (
        *PLANAR,
        *(case._replace(**variant) for variant in VARIANTS for case in MIDDLE),
        *map(known_widths, MIDDLE),
        *JOBS["1-D"],
        *JOBS["3-D"],
    )
}


class FitRois:
    """One thread; with a start as the peers get it, and from our own start."""

    params = tuple(CASES)
    param_names = ("case",)

    def setup(self, name: str) -> None:
        case = CASES[name]
        self.rois = make_rois(case.count(COUNT), case)
        self.options = estimator(case, self.rois) | {"threads": 1}
        self.time_fit_rois_guess(name)
        self.time_fit_rois(name)

    def time_fit_rois_guess(self, name: str) -> None:
        pixels, start, *_ = self.rois
        fg.fit_rois(pixels, guess=start, tol=TOL, max_iter=MAX_ITER, **self.options)

    def time_fit_rois(self, name: str) -> None:
        fg.fit_rois(self.rois.pixels, **self.options)


class FitThreads:
    """The same job on more threads."""

    params = (1, 2)
    param_names = ("threads",)

    def setup(self, threads: int) -> None:
        self.pixels = make_rois(5 * COUNT, Case("elliptic", 11)).pixels
        self.time_fit_rois(threads)

    def time_fit_rois(self, threads: int) -> None:
        fg.fit_rois(self.pixels, "elliptic", threads=threads)


class FitSmall:
    """What a call costs that has next to nothing to do."""

    def setup(self) -> None:
        self.one = make_rois(1, Case("symmetric", 7)).pixels
        self.time_fit_one_roi()

    def time_fit_one_roi(self) -> None:
        fg.fit_rois(self.one)


class FitSpots:
    """From an image to a table."""

    def setup(self) -> None:
        self.image, _ = make_image((1024, 1024), 1000)
        self.time_fit_spots()

    def time_fit_spots(self) -> None:
        fg.fit_spots(self.image, threads=1)


class FitMemory:
    """Peak of the whole process: the input (59 or 118 MB), the result (24 MB), no copy."""

    params = ("uint16", "float32")
    param_names = ("dtype",)

    def setup(self, dtype: str) -> None:
        rois = make_rois(10, Case("symmetric", 11)).pixels
        self.pixels = rois.astype(dtype).repeat(24_400, axis=0)

    def peakmem_fit_rois(self, dtype: str) -> None:
        fg.fit_rois(self.pixels, threads=1)
