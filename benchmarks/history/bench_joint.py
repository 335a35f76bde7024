"""asv: joint fits of crowded images."""

from __future__ import annotations

import fastgauss as fg

from ..comparisons.joint import SIGMA, make_field


class FitJoint:
    """A thousand spots in one image, sparse and crowded."""

    params = (("lsq", "mle"), (1000, 324), (1, 2))
    param_names = ("method", "side (px)", "threads")

    def setup(self, method: str, side: int, threads: int) -> None:
        self.field = make_field(side, 1000)
        self.time_fit_joint(method, side, threads)

    def time_fit_joint(self, method: str, side: int, threads: int) -> None:
        fg.fit_joint(
            self.field.image, self.field.starts, method=method, fixed={"sigma": SIGMA},
            tol=1e-2, threads=threads,
        )  # fmt: skip

    def peakmem_fit_joint(self, method: str, side: int, threads: int) -> None:
        self.time_fit_joint(method, side, threads)


class JointRender:
    """The image of ten thousand fitted spots."""

    def setup(self) -> None:
        field = make_field(1024, 10_000)
        self.result = fg.fit_spots(field.image, field.starts, fixed={"sigma": SIGMA})
        self.time_render()

    def time_render(self) -> None:
        self.result.render((1024, 1024), 0.0, threads=1)
