"""The shape of the stars of a scene, fitted in rounds with more and more components."""

from __future__ import annotations

import math

import numpy as np

from ..base.progress import Steps
from ..models.field_terms import COUNTS, Extent, terms
from .late_stars import add_stars
from .profiles import Form, Numbers, free_of, numbers_of, with_component, with_order
from .scene import Scene
from .shared_shape import Solution, Stack
from .star_choice import UNLIKE

_LADDER = (0.85, 1.8)  # sigmas from which two components start, relative to one Gaussian's
_ROUNDS, _LAST_ROUNDS = 2, 2
_WIDER, _SHARE = 2.0, 0.1  # of a further component: its sigma and weight by those of another
_AUTO = 6  # components at most
_EACH, _SPREAD = 2, 0.05  # stars for a term of the polynomial; how much they must tell of each
LEAST_COMPONENTS = len(_LADDER)  # of a shape whose number of components is free


def count_steps(form: Form, automatic: bool) -> int:
    """The steps of `measure`: the start, each round, and each component that may be added."""
    return 1 + _ROUNDS + max(_most(form.components, automatic) - LEAST_COMPONENTS, 0) + _LAST_ROUNDS


def _most(components: int, automatic: bool) -> int:
    """How many components there may be."""
    return _AUTO if automatic else components


def measure(
    scene: Scene, form: Form, automatic: bool, refused: dict[int, str], steps: Steps,
    threads: int | None,
) -> np.ndarray:  # fmt: skip
    """Fit in rounds, with as many components as are asked for; the rows of stars found late."""
    scene.level()
    stack = scene.boxes(scene.own, scene.chosen, scene.half, scene.drawn())
    scene.fit(stack)
    first = float(numbers_of(scene.form, scene.shape).sigmas[0])
    ladder = (
        np.array(_LADDER[: form.components]) * first if form.components > 1 else np.array([first])
    )
    scene.form = form._replace(components=min(form.components, len(_LADDER)), order=0)
    scene.shape = free_of(scene.form, _start_weights(len(ladder)), ladder, np.zeros(2))
    _settle(scene)
    steps.advance()
    if form.order:
        check_stars(scene, form.order)
        extent = Extent(*map(float, scene.picture.shape))
        scene.form, scene.shape = with_order(scene.form, scene.shape, form.order, extent)
    _rounds(scene, _ROUNDS, refused, steps)
    _grow(scene, form.components, automatic, steps)
    late = add_stars(scene, refused, threads)
    _rounds(scene, _LAST_ROUNDS, refused, steps)
    if form.order:
        check_stars(scene, form.order)
    return late


def check_stars(scene: Scene, order: int) -> None:
    """Refuse stars that do not tell how the shape varies."""
    places, least = scene.known.places[scene.chosen], _EACH * COUNTS[order]
    if len(places) < least:
        raise ValueError(
            f"order={order} needs {least} stars that show the point spread function, got "
            f"{len(places)}"
        )
    columns = terms(order, *Extent(*map(float, scene.picture.shape)).scaled(places))
    if np.linalg.svd(columns, compute_uv=False)[-1] < _SPREAD * math.sqrt(len(places)):
        raise ValueError(f"order={order} needs stars that are spread over the image in y and x")


def _settle(scene: Scene) -> None:
    """A first round, after which neighbours have the shape of stars."""
    total = scene.drawn()
    stack = scene.stack(total)
    scene.fit(stack)
    scene.judge(stack, total)
    scene.wild[:] = False
    scene.fit_others(total)


def _start_weights(count: int) -> np.ndarray:
    weights = np.array([0.75, 0.25])[:count]
    return weights / weights.sum()


def _rounds(scene: Scene, count: int, refused: dict[int, str], steps: Steps) -> None:
    for _ in range(count):
        total = scene.drawn()
        stack = scene.stack(total)
        scene.fit(stack)
        scene.judge(stack, total)
        scene.fit_others(total)
        scene.look_at_sky(scene.drawn())
        refused |= dict.fromkeys(map(int, scene.refuse(stack)), UNLIKE)
        steps.advance()


def _grow(scene: Scene, count: int, automatic: bool, steps: Steps) -> None:
    """Add components: as many as asked for, or as the pixels show."""
    stack = scene.stack(scene.drawn())
    pixels = int((stack.weights > 0).sum())
    best = scene.fit(stack)
    most = _most(count, automatic)
    if automatic and _is_one(scene, stack, best, pixels):
        steps.advance(most - LEAST_COMPONENTS)
        return
    while scene.form.components < most:
        form, shape, own = scene.form, scene.shape, scene.own
        at, numbers = _with_another(numbers_of(form, shape[: form.size]), scene.widest)
        scene.form = form._replace(components=form.components + 1)
        scene.shape = with_component(form, shape, at, numbers)
        found = scene.fit(stack)
        cost = (scene.form.whole - form.whole) * math.log(max(pixels, 2))
        if automatic and best.objective - found.objective < cost:
            scene.form, scene.shape, scene.own = form, shape, own
            steps.advance(most - form.components)  # none of these will be added
            return
        best = found
        steps.advance()


def _is_one(scene: Scene, stack: Stack, best: Solution, pixels: int) -> bool:
    """Make the shape one Gaussian, if the pixels do not show that it is more.

    Weights and sigmas of two components of nearly the same width are not determined.
    """
    form, shape, own = scene.form, scene.shape, scene.own
    if form.order or form.components != LEAST_COMPONENTS:
        return False
    weights, sigmas, ellipse = numbers_of(form, shape)
    middle = math.exp(float(weights @ np.log(sigmas)))
    scene.form = form._replace(components=1)
    scene.shape = free_of(scene.form, np.ones(1), np.array([middle]), ellipse)
    found = scene.fit(stack)
    cost = (form.whole - scene.form.whole) * math.log(max(pixels, 2))
    if found.objective - best.objective < cost:
        return True
    scene.form, scene.shape, scene.own = form, shape, own
    return False


def _with_another(numbers: Numbers, widest: float) -> tuple[int, Numbers]:
    """The place of one component more, and all: a wider one, or one in the largest gap."""
    weights, sigmas, ellipse = numbers
    at, sigma = len(sigmas), _WIDER * sigmas[-1]
    if sigma > widest:
        steps = sigmas / np.append(sigmas[0] / _WIDER, sigmas[:-1])
        at = int(steps.argmax())
        sigma = sigmas[at] / math.sqrt(steps[at])
    other = min(at, len(sigmas) - 1)
    part = _SHARE * abs(weights[other])
    less = weights.copy()
    less[other] -= part
    return at, Numbers(np.insert(less, at, part), np.insert(sigmas, at, sigma), ellipse)
