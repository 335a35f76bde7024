"""Fixed patterns, which do not move with the scene: second looks at a pair of images.

Hot pixels, a bad column, dark borders, a beam stop or the shade of a lens are the same in both
images and have the displacement 0. Where they are strong, the best match of all pixels is theirs,
or lies between theirs and the scene's. So the pair is registered again, in ways that count such
structure less:

1. Each pixel's gradient counts by its direction alone (A. Fitch et al., "Orientation correlation",
   British Machine Vision Conference 2002), so that the larger area decides. Pixels that do not
   match there are left out.
2. The same, after the local mean has been taken away from both images: no shade is left.
3. Places with the steepest gradients are left out.

Hot pixels and bad lines are left out before. If the first two agree with each other and not with
the match of all pixels, the first is the displacement, provided that most pixels that do not match
there rest: they are alike in both images at the displacement 0. If a look that converged disagrees
with this displacement, or with that of all pixels where it stands, or if parts of the images still
want another one (``register/score_balance.py``), the pair is ambiguous.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from ..filters import gaussian_filter
from ..kernels.register import window_columns as kernel
from . import fourier_series, inputs, preparation, significance, whole_images, window_matching
from .hot_pixels import hot_pixels
from .inputs import Pixels
from .results import Status
from .score_balance import imbalance, share_at_rest
from .window_matching import Pair

_RESTS = 0.75  # of the pixels that do not match are alike where nothing moves
_TYPICAL = 1.4826  # of the median deviation: the standard deviation
_FAR = 5.0  # standard deviations of the residual of a pixel that does not match
_LOOSE, _TIGHT = 0.5, 0.15  # pixels that a match may be off, before and after it is refined
_BESIDE = 1  # pixels beside a hot one that it may spill into
_GROW = 2  # pixels around one that does not match
_STEEP = 4.0  # times the median of the squared gradients, which are means
_MEAN = 5  # pixels of a side of those means
_LOCAL = 8.0  # pixels: sigma of the local mean
_BORDER = 12  # pixels in which the local mean is one-sided
_MORE = 1.3  # ratio of residual and noise from which a pattern may explain the residual
_CHANCE = 4.0  # standard deviations by which parts may differ that move together
_CHANGES = 9.0  # the same, so many that a scene which changes does not make them
_NEAR_REST = 1.25  # pixels: a displacement that what rests may have drawn there
_SOME = 0.05  # of the blocks match better where nothing moves
_SIDE = 64  # pixels, the shortest side of images of which local means are taken
_TOL = 1e-7  # pixels
_APART, _ERRORS = 0.07, 4.0  # pixels and standard errors between displacements that disagree
_FEWEST = 0.1  # of the pixels

_FOUND = (Status.CONVERGED, Status.ONE_DIRECTION)
_MAY_BE_DRAWN = (*_FOUND, Status.AMBIGUOUS, Status.LOST, Status.MAX_ITERATIONS)


class Look(NamedTuple):
    """The result of one way of registering a pair."""

    row: np.ndarray  # columns of the kernel
    status: int
    pair: Pair

    @property
    def place(self) -> np.ndarray:
        return self.row[[kernel.DX, kernel.DY]]

    @property
    def variance(self) -> np.ndarray:
        return self.row[[kernel.VAR_X, kernel.VAR_Y]]


def _overlap(
    shape: tuple[int, ...], move: np.ndarray
) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """The part of the first image that is in both, and that of the second."""
    low, high = np.maximum(0, -move), np.minimum(shape, shape - move)
    here, there = (
        tuple(slice(int(i), int(j)) for i, j in zip(low + m, high + m, strict=True))
        for m in (0, move)
    )
    return here, there


def _image(flat: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    return flat[: shape[0] * shape[1]].reshape(shape)


def _directions(both: Pair) -> list[tuple[np.ndarray, np.ndarray]]:
    """Unit gradients of both images as complex numbers, 0 where there is none; what exists."""
    out = []
    for coefficients, precision in (
        (both.views.a, both.views.precision_a), (both.views.b, both.views.precision_b),
    ):  # fmt: skip
        _, x, y = preparation.sample(coefficients, both.shape, (0.0, 0.0))
        slope = _image(x, both.shape) + 1j * _image(y, both.shape)
        size, known = np.abs(slope), _image(precision, both.shape) > 0
        unit = np.zeros(both.shape, dtype=np.complex64)
        np.divide(slope, size, out=unit, where=known & (size > 0))
        out.append((unit, known))
    return out


def _by_direction(both: Pair, reach: float) -> np.ndarray:
    """The displacement (dy, dx) at which most gradients have the same direction."""
    (one, known_one), (two, known_two) = _directions(both)
    steps = [min(math.ceil(reach), n - 2) for n in both.shape]
    size = tuple(n + s for n, s in zip(both.shape, steps, strict=True))

    def correlation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        parts = [fourier_series.transform(np.ascontiguousarray(v), size) for v in (a, b)]
        return fourier_series.inverse(fourier_series.cross(*parts), size)

    score = correlation(one.real, two.real) + correlation(one.imag, two.imag)
    many = correlation(known_one.astype(np.float32), known_two.astype(np.float32))
    near = np.ix_(*(np.arange(-s, s + 1) for s in steps))
    score = score[near] / np.sqrt(np.maximum(many[near], 1.0))
    at = [int(i) for i in np.unravel_index(int(score.argmax()), score.shape)]
    lines = score[:, at[1]], score[at[0]]
    inner = [fourier_series.vertex(line, i) for line, i in zip(lines, at, strict=True)]
    return np.array(at) - np.array(steps) + np.array(inner)


def _different(both: Pair, place: np.ndarray, loose: float) -> tuple[np.ndarray, np.ndarray] | None:
    """Where the first image differs from the second, moved, and the places in the second.

    ``loose`` are the pixels by which the displacement (dy, dx) may be off.
    """
    shape = both.shape
    first, slope_x, slope_y = (
        _image(v, shape) for v in (both.views.value, both.views.slope_x, both.views.slope_y)
    )
    second = _image(preparation.sample(both.views.b, shape, (place[0], place[1]))[0], shape)
    here, there = _overlap(shape, np.rint(place).astype(np.int64))
    known = np.zeros(shape, dtype=bool)
    precisions = _image(both.views.precision_a, shape), _image(both.views.precision_b, shape)
    known[here] = (precisions[0][here] > 0) & (precisions[1][there] > 0)
    if np.count_nonzero(known) < _FEWEST * known.size:
        return None
    (level, size), (other, other_size) = (_spread(v[known]) for v in (first, second))
    rest = np.abs(first - level - (second - other) * (size / max(other_size, 1e-30)))
    allowed = _FAR * _TYPICAL * float(np.median(rest[known])) + loose * np.hypot(slope_x, slope_y)
    bad = known & (rest > allowed)
    moved = np.zeros(shape, dtype=bool)
    moved[there] = bad[here]
    return bad, moved


def _spread(values: np.ndarray) -> tuple[float, float]:
    """The median and the median deviation from it."""
    level = float(np.median(values))
    return level, float(np.median(np.abs(values - level)))


def _without(pixels: Pixels, holes: np.ndarray, grown: int = _GROW) -> Pixels:
    """An image of which more pixels are missing."""
    if grown:
        holes = preparation.grow(holes, grown)
    known = pixels.valid & ~holes
    if pixels.guessed is not None:
        known &= ~pixels.guessed
    values = np.where(known, pixels.values, np.float32(0.0))
    valid, guessed, doubt = inputs.fill(values, known)
    return replace(
        pixels, values=values, valid=valid, guessed=guessed if guessed.any() else None, doubt=doubt
    )


def _less_local_mean(pixels: Pixels) -> Pixels:
    """An image from which the local mean is taken away; its border is missing."""
    weight = gaussian_filter(pixels.valid.astype(np.float32), _LOCAL, threads=1)
    known = np.where(pixels.valid, pixels.values, np.float32(0.0))
    mean = gaussian_filter(known, _LOCAL, threads=1)
    values = pixels.values - mean / np.maximum(weight, np.float32(1e-6))
    border = np.ones(values.shape, dtype=bool)
    border[_BORDER:-_BORDER, _BORDER:-_BORDER] = False
    return _without(replace(pixels, values=values), border, 0)


def _refined(
    first: Pixels, second: Pixels, place: np.ndarray | None, reach: float, brightness: str,
    threads: int,
) -> Look:  # fmt: skip
    """A pair registered from a place (dy, dx), or from the best match of gradients."""
    both = window_matching.pair(first, second, first.values.size, reach, threads)
    if place is None:
        start = whole_images.search(both, reach, threads, bounded=True)
    else:
        start = place[np.newaxis, ::-1].copy()
    fewest = _FEWEST * first.values.size
    found = whole_images.refine(both, start, reach, brightness, _TOL, fewest, threads)
    return Look(found.out[0], int(found.status[0]), both)


def _by_area(
    first: Pixels, second: Pixels, both: Pair, place: np.ndarray, reach: float, brightness: str,
    threads: int,
) -> list[Look]:  # fmt: skip
    """Pixels that do not match at a place (dy, dx) left out; then without the local mean, too."""
    look, pair = None, (first, second)
    for loose in (_LOOSE, _TIGHT):
        holes = _different(both, place, loose)
        if holes is None:
            break
        pair = _without(first, holes[0]), _without(second, holes[1])
        look = _refined(*pair, place, reach, brightness, threads)
        if look.status not in (*_FOUND, Status.AMBIGUOUS):
            break
        place = look.place[::-1]
    looks = [] if look is None else [look]
    if min(first.values.shape) >= _SIDE:
        one, two = (_less_local_mean(p) for p in pair)
        looks.append(_refined(one, two, place, reach, brightness, threads))
    return looks


def _less_steep(both: Pair) -> tuple[Pixels, Pixels]:
    """Both images without their steepest pixels."""
    from scipy.ndimage import uniform_filter

    out = []
    for pixels, coefficients, precision in (
        (both.first, both.views.a, both.views.precision_a),
        (both.second, both.views.b, both.views.precision_b),
    ):
        _, x, y = preparation.sample(coefficients, both.shape, (0.0, 0.0))
        known = _image(precision, both.shape) > 0
        slope = np.where(known, np.hypot(_image(x, both.shape), _image(y, both.shape)), 0.0)
        power = uniform_filter(slope**2, _MEAN)
        limit = _STEEP * float(np.median(power[known])) if known.any() else 0.0
        out.append(_without(pixels, known & (power > limit), 0))
    return out[0], out[1]


def _rest(both: Pair, place: np.ndarray) -> bool:
    """Whether most pixels that do not match at a place (dy, dx) match where nothing moves."""
    moving = _different(both, place, _LOOSE)
    resting = _different(both, np.zeros(2), 0.0)
    if moving is None or resting is None:
        return True
    rest = np.count_nonzero(moving[0] & ~resting[0])
    return bool(rest >= _RESTS * np.count_nonzero(moving[0]))


def shows_fixed_pattern(both: Pair, out: np.ndarray, status: np.ndarray) -> bool:
    """Whether a part of the images has not moved by the displacement that was found.

    Then they differ by more than their noise, or their parts want different displacements.
    """
    if status[0] != Status.CONVERGED or out[0, kernel.RESIDUAL] == 0:
        return False
    first, second = both.spectra.noises
    noise = first + second * max(1.0, out[0, kernel.GAIN] ** 2)
    return bool(out[0, kernel.RESIDUAL] > _MORE * noise or imbalance(both, out[0]) > _CHANCE)


def look_again(
    both: Pair, out: np.ndarray, status: np.ndarray, reach: float, brightness: str, threads: int
) -> None:
    """Correct or doubt the displacement of a pair that a fixed pattern may have drawn; in place.

    ``out`` and ``status`` are those of one window, which is the whole image, looked for within
    ``reach`` of 0.
    """
    if out[0, kernel.RESIDUAL] == 0 or status[0] not in _MAY_BE_DRAWN:
        return
    plain = Look(out[0].copy(), int(status[0]), both)
    hot = hot_pixels(both.first, both.second)
    if hot.any():
        first, second = (_without(p, hot, _BESIDE) for p in (both.first, both.second))
        look = _refined(first, second, None, reach, brightness, threads)
        if look.status in _FOUND:
            plain = look
            if _is_balanced(plain):
                out[0], status[0] = plain.row, plain.status
                return
    chosen, doubtful = _looked_at(plain, reach, brightness, threads)
    if doubtful and status[0] not in _FOUND:
        return
    out[0], status[0] = chosen.row, chosen.status
    if doubtful:
        significance.mark_ambiguous(out, status, np.array([0]), reach)


def _is_balanced(look: Look) -> bool:
    return not shows_fixed_pattern(look.pair, look.row[np.newaxis], np.array([look.status]))


def _looked_at(plain: Look, reach: float, brightness: str, threads: int) -> tuple[Look, bool]:
    """The look that counts among all, and whether another may be right."""
    both = plain.pair
    place = _by_direction(both, reach)
    looks = _by_area(both.first, both.second, both, place, reach, brightness, threads)
    if looks and looks[0].status == Status.CONVERGED:
        place = looks[0].place[::-1]
    if not np.isfinite(place).all():
        return plain, False
    looks.append(_refined(*_less_steep(both), None, reach, brightness, threads))
    if _rest(both, place):
        chosen, doubtful = _verdict(plain, looks)
    else:
        chosen, doubtful = plain, any(_disagree(plain, k) for k in _firm(looks))
    if not doubtful and chosen.status == Status.CONVERGED:
        doubtful = _is_drawn(chosen)
    return chosen, doubtful


def _is_drawn(look: Look) -> bool:
    """Whether what rests draws a displacement still.

    Parts of a scene that turns or changes have different displacements, too: where nothing rests,
    and the displacement is not near that of what does, the difference must be larger.
    """
    left = imbalance(look.pair, look.row)
    if left > _CHANGES:
        return True
    if left <= _CHANCE:
        return False
    near = bool(np.abs(look.place).max() < _NEAR_REST)
    return near or share_at_rest(look.pair, look.row) > _SOME


def _verdict(plain: Look, second: list[Look]) -> tuple[Look, bool]:
    """The look that counts, and whether another may be right."""
    chosen = plain
    both_firm = len(second) > 1 and all(k.status == Status.CONVERGED for k in second[:2])
    if both_firm and not _disagree(*second[:2]) and _disagree(plain, second[0]):
        chosen = second[0]
    return chosen, any(_disagree(chosen, look) for look in _firm(second))


def _firm(looks: list[Look]) -> list[Look]:
    return [look for look in looks if look.status == Status.CONVERGED]


def _disagree(one: Look, other: Look) -> bool:
    """Whether two looks have different displacements; the errors of the second count."""
    limit = np.maximum(_APART, _ERRORS * np.sqrt(other.variance))
    return not bool((np.abs(one.place - other.place) <= limit).all())
