"""The image at a point in parameter space: light, residuals, normal equations."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ..base import thread_pool
from ..kernels.joint import curvature, normal_equations
from ..kernels.joint import image as kernels
from ..kernels.joint.arrays import BackgroundTerms, Equations, Fitted, Lights, Pixels
from ..kernels.numeric.packed_cholesky import packed_size
from ..kernels.simd.lane_types import WIDTH
from ..kernels.simd.lanes import lane_rows
from ..results.pixel_owners import each_slab
from .coordinates import Coordinates
from .neighbours import Crowd

_SPOTS = 256  # a task's spots
_BEND = 0.1  # part of a step over which second differences are taken

Call = Callable[[np.ndarray], None]  # a task on some spots or clusters


class Scene(NamedTuple):
    """The data of a joint fit, and how the model is compared with them."""

    pixels: Pixels
    boxes: np.ndarray  # (n, 6) the fitted pixels of each spot
    counts: bool  # Poisson likelihood
    integrate: bool


class State(NamedTuple):
    """A point in parameter space, and the sums of the image at this point."""

    u: np.ndarray  # (n, p)
    background: np.ndarray  # (g, t) terms of each group's background
    sums: np.ndarray  # (n, 2 + t (t + 3) / 2), see ``kernels/joint/image.py``


class JointImage:
    """The image of a crowd; arrays of the image's size are made once.

    ``fitted`` is the image at the point where the fit stands, ``trial`` that at another one.
    """

    def __init__(
        self, scene: Scene, crowd: Crowd, coordinates: Coordinates, threads: int | None
    ) -> None:
        self.scene, self.crowd, self.coordinates = scene, crowd, coordinates
        self.threads = threads
        extent, size = scene.pixels.extent, scene.pixels.data.size
        half = (np.maximum(extent, 2) - 1) / 2.0
        self.scale = np.concatenate([(extent - 1) / 2.0, 1.0 / half])
        self.fitted, self.trial = (Fitted(*np.zeros((3, size))) for _ in range(2))
        self._table = WIDTH * (int(crowd.windows[:, 3:].max(initial=1)) // WIDTH + 2)

    def _each(self, items: np.ndarray, make: Callable[[], Call], chunk: int = _SPOTS) -> None:
        """Run ``make()``'s task on chunks of these spots or clusters."""

        def make_task() -> Callable[[int, int], None]:
            call = make()
            return lambda first, last: call(items[first:last])

        thread_pool.run(make_task, len(items), chunk, self.threads)

    def _lights(self, u: np.ndarray) -> Lights:
        plain = np.ascontiguousarray(self.coordinates.plain(u))
        return Lights(plain, self.crowd.windows, self.scene.integrate)

    def _background_terms(self, terms: np.ndarray) -> BackgroundTerms:
        return BackgroundTerms(self.scale, terms, self.crowd.group_of)

    # -- light and residuals -------------------------------------------------------------------

    def paint(self, u: np.ndarray, spots: np.ndarray, model: np.ndarray) -> None:
        """The light at these parameters and the known background, where these spots shine."""
        pixels, lights = self.scene.pixels, self._lights(u)
        kernel, tables = kernels.make_paint(self.coordinates.light), self.coordinates.light.tables

        def work(near: np.ndarray, low: int, high: int) -> None:
            table = np.empty(tables * self._table)
            kernel(lights, near, pixels.known, pixels.extent, model, low, high, table)

        each_slab(self.crowd.windows, spots, pixels.extent, work, self.threads)

    def measure(
        self, fitted: Fitted, background: np.ndarray, spots: np.ndarray, own: bool = True
    ) -> np.ndarray:
        """Residuals and sums of the spots' own pixels; or sums over all of their boxes."""
        scene, at = self.scene, self._background_terms(background)
        terms = background.shape[1]
        sums = np.zeros((len(scene.boxes), kernels.TERMS + terms + packed_size(terms)))

        def make() -> Call:
            m = lane_rows(kernels.MEASURE_ROWS)
            return lambda some: kernels.measure(
                scene.boxes, some, own, scene.counts, scene.pixels, fitted, at, sums, m
            )

        self._each(spots, make)
        return sums

    def look(self, u: np.ndarray, background: np.ndarray, spots: np.ndarray) -> State:
        """The trial image at these parameters; sums of other spots are 0."""
        self.paint(u, spots, self.trial.model)
        return State(u, background, self.measure(self.trial, background, spots))

    def keep(self, spots: np.ndarray) -> None:
        """Take the trial image for the pixels of these spots."""
        pixels, boxes = self.scene.pixels, self.scene.boxes
        self._each(spots, lambda: lambda some: kernels.keep(
            boxes, some, pixels.owner, pixels.extent, self.trial, self.fitted
        ))  # fmt: skip

    def gains(self, before: np.ndarray, after: State, clusters: np.ndarray) -> np.ndarray:
        """By how much the objective would be larger if a cluster had not moved; 0 for others."""
        scene, crowd = self.scene, self.crowd
        old, new = self._lights(before), self._lights(after.u)
        background = self._background_terms(after.background)
        kernel = kernels.make_gain(self.coordinates.light)
        gains = np.zeros(len(crowd.boxes))
        where = crowd.members.cluster_spots, crowd.boxes
        room = int(crowd.boxes[clusters, 3:].prod(axis=1).max(initial=1)) + WIDTH

        def make() -> Call:
            box, table = np.empty(room), np.empty(self.coordinates.light.tables * self._table)
            scratch = box, table, lane_rows(kernels.MEASURE_ROWS)
            return lambda some: kernel(
                some, where, old, new, scene.counts, scene.pixels, self.trial.model, background,
                gains, scratch,
            )  # fmt: skip

        self._each(clusters, make)
        return gains

    def background(self, values: np.ndarray) -> np.ndarray:
        """The fitted background at every pixel that has an owner, flat; 0 elsewhere."""
        owner, extent = self.scene.pixels.owner, self.scene.pixels.extent
        image, terms = np.zeros(owner.size), values.shape[1]
        owned = np.flatnonzero(owner >= 0)
        at = values[self.crowd.group_of[owner[owned]]]
        if terms:
            image[owned] = at[:, 0]
        places = np.unravel_index(owned, tuple(extent)) if terms > 1 else ()
        for k in range(1, terms):  # x, then y, then z
            image[owned] += at[:, k] * (places[3 - k] - self.scale[3 - k]) * self.scale[6 - k]
        return image

    # -- equations -----------------------------------------------------------------------------

    def normal(
        self, u: np.ndarray, spots: np.ndarray, residual: np.ndarray, terms: int,
        equations: Equations, pairs: bool = True, weight: np.ndarray | None = None,
    ) -> None:  # fmt: skip
        """Gradients C'r and blocks of these spots, with those of pairs or without.

        ``weight`` takes the place of the weights of the fitted image.
        """
        scene, crowd = self.scene, self.crowd
        weight = self.fitted.weight if weight is None else weight
        lights, jacobian = self._lights(u), self.coordinates.jacobian(u)
        kernel = normal_equations.make_normal(self.coordinates.light)
        of = (
            crowd.pairs if pairs else crowd.pairs._replace(starts=np.zeros_like(crowd.pairs.starts))
        )

        def make() -> Call:
            m = lane_rows(normal_equations.SCRATCH_ROWS)
            table = np.zeros(2 * self.coordinates.light.tables * self._table)
            scratch = m, table, np.zeros(normal_equations.SUMS)
            return lambda some: kernel(
                lights, jacobian, some, scene.pixels.extent, residual, weight,
                self.scale, terms, of, equations, scratch,
            )  # fmt: skip

        self._each(spots, make)

    def observed_weight(self, spots: np.ndarray) -> np.ndarray:
        """Second derivatives of half the objective by the model, of the pixels of these spots.

        For squares these are the weights. For counts d at the model m they are d / m**2, while
        the weights are what is expected of them, 1 / m. Overwrites the trial.
        """
        if not self.scene.counts:
            return self.fitted.weight
        pixels, out = self.scene.pixels, self.trial.weight
        self._each(spots, lambda: lambda some: kernels.observe(
            self.scene.boxes, some, pixels.owner, pixels.extent, self.fitted, out
        ))  # fmt: skip
        return out

    def curvature(self, u: np.ndarray, spots: np.ndarray, out: np.ndarray) -> None:
        """Sums of the residual times second derivatives (n, p, p) of these spots."""
        parts = self.coordinates.separable(u)
        for k, (plain, jacobian) in enumerate(parts):
            target = np.zeros_like(out) if k else out
            self._curvature(plain, jacobian, spots, target)
            if k:
                out[spots] += target[spots]

    def _curvature(
        self, plain: np.ndarray, jacobian: np.ndarray, spots: np.ndarray, out: np.ndarray
    ) -> None:
        """The sums of separable Gaussians with these plain numbers and this Jacobian."""
        lights = Lights(np.ascontiguousarray(plain), self.crowd.windows, self.scene.integrate)
        kernel = curvature.make_curvature(max(self.coordinates.model.ndim, 2))

        def make() -> Call:
            m = lane_rows(curvature.CURVATURE_ROWS)
            table = np.zeros(curvature.TABLES * self._table)
            block = np.zeros((lights.plain.shape[1],) * 2)
            return lambda some: kernel(
                lights, jacobian, some, self.scene.pixels.extent, self.fitted.residual, out, table,
                block, m,
            )  # fmt: skip

        self._each(spots, make)

    def bend(self, u: np.ndarray, step: np.ndarray, spots: np.ndarray) -> np.ndarray:
        """Half the second derivative of the model along a step, weighted; overwrites the trial."""
        pixels, boxes = self.scene.pixels, self.scene.boxes
        plus, minus, out = self.trial.model, self.trial.residual, self.trial.weight
        self.paint(u + _BEND * step, spots, plus)
        self.paint(u - _BEND * step, spots, minus)
        given = plus, self.fitted.model, minus, self.fitted.weight, 0.5 / _BEND**2
        self._each(spots, lambda: lambda some: kernels.bend(
            boxes, some, pixels.owner, pixels.extent, given, out
        ))  # fmt: skip
        return out
