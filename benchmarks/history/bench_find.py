"""asv: finding spots."""

from __future__ import annotations

import fastgauss as fg

from ..common.conditions import make_image


class FindSpots:
    """Spots of an image, one thread."""

    params = (256, 1024, 2048)
    param_names = ("side (px)",)

    def setup(self, side: int) -> None:
        self.image, _ = make_image((side, side), side * side // 1000)
        self.time_find_spots(side)

    def time_find_spots(self, side: int) -> None:
        fg.find_spots(self.image, threads=1)

    def peakmem_find_spots(self, side: int) -> None:
        fg.find_spots(self.image, threads=1)
