"""asv: fits of many regions of interest, as a user calls them."""

from __future__ import annotations

import fastgauss as fg

from .conditions import MAX_ITER, MODELS, SIZES, TOL, make_image, make_rois

COUNT = 20_000


class FitRois:
    """One thread; with a start as the peers get it, and from our own start."""

    params = (MODELS, SIZES)
    param_names = ("model", "size")

    def setup(self, model: str, size: int) -> None:
        self.rois = make_rois(COUNT, size, model)
        self.time_fit_rois_guess(model, size)
        self.time_fit_rois(model, size)

    def time_fit_rois_guess(self, model: str, size: int) -> None:
        pixels, start, _ = self.rois
        fg.fit_rois(pixels, model, guess=start, tol=TOL, max_iter=MAX_ITER, threads=1)

    def time_fit_rois(self, model: str, size: int) -> None:
        fg.fit_rois(self.rois.pixels, model, threads=1)


class FitThreads:
    """The same job on more threads."""

    params = (1, 2)
    param_names = ("threads",)

    def setup(self, threads: int) -> None:
        self.pixels = make_rois(5 * COUNT, 11, "elliptic").pixels
        self.time_fit_rois(threads)

    def time_fit_rois(self, threads: int) -> None:
        fg.fit_rois(self.pixels, "elliptic", threads=threads)


class FitSmall:
    """What a call costs that has next to nothing to do."""

    def setup(self) -> None:
        self.one = make_rois(1, 7, "symmetric").pixels
        self.time_fit_one_roi()

    def time_fit_one_roi(self) -> None:
        fg.fit_rois(self.one)


class FitImage:
    """From an image to a table."""

    def setup(self) -> None:
        self.image, _ = make_image((1024, 1024), 1000)
        self.time_fit_spots()

    def time_fit_spots(self) -> None:
        fg.fit_spots(self.image, threads=1)


class FitMemory:
    """Peak of the whole process, most of it the input (49 MB) and the result (24 MB)."""

    def setup(self) -> None:
        self.pixels = make_rois(10, 7, "symmetric").pixels.repeat(25_000, axis=0)

    def peakmem_fit_rois(self) -> None:
        fg.fit_rois(self.pixels, threads=1)
