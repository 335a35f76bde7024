"""asv: what chunks cost beside the same job in memory, one thread."""

from __future__ import annotations

import dask.array as da
import numpy as np

import fastgauss as fg
import fastgauss.dask


class Chunks:
    """A stack, a volume and an image, each in eight chunks, in the caller's thread."""

    def setup(self) -> None:
        rng = np.random.default_rng(0)
        light = fg.render((512, 512), rng.uniform(0, 512, (60, 2)), 300.0, 1.3) + 10.0
        self.frames = rng.poisson(light, (16, 512, 512)).astype(np.uint16)
        self.positions = rng.uniform(0, 128, (20_000, 3))
        self.image = rng.normal(size=(2048, 2048)).astype(np.float32)
        for name in dir(self):
            if name.startswith("time_"):
                getattr(self, name)()

    def time_spots_in_memory(self) -> None:
        for frame in self.frames:
            fg.fit_spots(frame, threads=1)

    def time_spots_in_chunks(self) -> None:
        stack = da.from_array(self.frames, chunks=(2, 512, 512))
        fg.dask.fit_spots(stack).compute(scheduler="synchronous")

    def time_volume_in_memory(self) -> None:
        fg.render((128, 128, 128), self.positions, threads=1)

    def time_volume_in_chunks(self) -> None:
        volume = fg.dask.render((128, 128, 128), self.positions, chunks=64)
        volume.compute(scheduler="synchronous")

    def time_filter_in_memory(self) -> None:
        fg.gaussian_filter(self.image, 3.0, threads=1)

    def time_filter_in_chunks(self) -> None:
        image = da.from_array(self.image, chunks=(1024, 512))
        fg.gaussian_filter(image, 3.0).compute(scheduler="synchronous")
