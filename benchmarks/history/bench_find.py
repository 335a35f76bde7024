"""asv: finding spots."""

from __future__ import annotations

import fastgauss as fg

from ..common.conditions import make_image


class FindSpots:
    """Spots of an image, one thread."""

    params = ((256, 1024, 2048), ("matched", "laplacian"))
    param_names = ("side (px)", "detector")

    def setup(self, side: int, detector: str) -> None:
        self.image, _ = make_image((side, side), side * side // 1000)
        self.time_find_spots(side, detector)

    def time_find_spots(self, side: int, detector: str) -> None:
        fg.find_spots(self.image, detector=detector, threads=1)

    def peakmem_find_spots(self, side: int, detector: str) -> None:
        fg.find_spots(self.image, detector=detector, threads=1)
