"""The shape that stars share: its parameters, its profile on pixels, and the derivatives.

The profile is a sum of K Gaussians with one centre, weights w_k whose sum is 1, and sigmas

    s_k = exp(t_1) + ... + exp(t_k),      w_K = 1 - w_1 - ... - w_(K-1),

so that the parameters w_1 ... w_(K-1), t_1 ... t_K are free numbers. Elliptic components have the
covariances s_k**2 exp(E) with a common symmetric matrix E of trace 0, whose numbers are further
parameters:

    E = [[e, 0], [0, -e]]  along the axes,    E = [[e, d], [d, -e]]  turned  (x before y),

without a singularity where the star is round. Derivatives are formed by the *natural* parameters
w_k, s_k, e, d first; the matrix of ``chain`` takes them to the free ones.

Where the shape varies over an image, the differences of the sigmas, e and d are polynomials of the
position, and with them the sigmas: where exp(t_k) is the difference in the middle of the image, it
is exp(t_k) (1 + c_k1 y + c_k2 x + ...) elsewhere. Then the parameters are the weights, t_k, e and d
of the middle, and the coefficients c of each further term; ``local`` takes them to the free
parameters of each star, ``local_chain`` is its derivative.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from ..kernels.models.profiles import NODES, WEIGHTS
from ..models.field_terms import COUNTS, Extent, least, terms

_FURTHER = {"round": 0, "elliptic": 1, "rotated": 2}  # parameters of the ellipse
SHAPES = tuple(_FURTHER)
_LEAST_SIGMA, _MOST_TURN = 0.05, 2.0  # pixels; log of the squared axis ratio, at most
_LEAST_WEIGHT, _MOST_WEIGHT = -0.5, 1.5  # of a component: two that cancel each other are none
_LEAST_RATIO = 1.15  # of a sigma by the next smaller one
_DIP = 1e-3  # how far below 0 a profile may fall, relative to its peak
_FAR = 37.0  # sigmas beyond which a Gaussian is 0
_RADII = np.linspace(0.0, 1.0, 64)  # at which a profile is looked at, of 5 widest sigmas
_GRID = 5  # places a side at which a shape that varies is looked at
_ROOT = 1.0 / math.sqrt(2.0 * math.pi)


class Form(NamedTuple):
    """Which parameters the shape has."""

    components: int
    shape: str
    pixel: str
    order: int = 0  # of the polynomials
    extent: Extent = Extent(1.0, 1.0)  # of the image in which the shape varies

    @property
    def further(self) -> int:
        """The number of parameters of the ellipse."""
        return _FURTHER[self.shape]

    @property
    def rotated(self) -> bool:
        """Whether the ellipse has an angle."""
        return self.further == 2

    @property
    def size(self) -> int:
        """The number of free parameters of one place."""
        return 2 * self.components - 1 + self.further

    @property
    def natural(self) -> int:
        """The number of natural parameters of one place."""
        return 2 * self.components + self.further

    @property
    def varying(self) -> int:
        """The number of those that may vary over the image."""
        return self.components + self.further

    @property
    def whole(self) -> int:
        """The number of parameters of the shape at all places."""
        return self.size + (COUNTS[self.order] - 1) * self.varying


class Numbers(NamedTuple):
    """The natural parameters."""

    weights: np.ndarray  # (..., K)
    sigmas: np.ndarray  # (..., K), increasing
    ellipse: np.ndarray  # e and d, (..., 2)


class Spread(NamedTuple):
    """Profiles of flux 1 on the pixels of boxes, (S, y, x), and their derivatives."""

    values: np.ndarray
    by_x: np.ndarray
    by_y: np.ndarray
    by_natural: np.ndarray  # (S, 2 K + further, y, x)


def numbers_of(form: Form, q: np.ndarray) -> Numbers:
    """The natural parameters of free ones."""
    count = form.components
    first = q[..., : count - 1]
    ellipse = np.zeros((*q.shape[:-1], 2))
    ellipse[..., : form.further] = q[..., 2 * count - 1 :]
    sigmas = np.cumsum(np.exp(q[..., count - 1 : 2 * count - 1]), axis=-1)
    last = 1.0 - first.sum(axis=-1, keepdims=True)
    return Numbers(np.concatenate([first, last], axis=-1), sigmas, ellipse)


def free_of(form: Form, weights: np.ndarray, sigmas: np.ndarray, ellipse: np.ndarray) -> np.ndarray:
    """The free parameters of natural ones."""
    steps = np.log(np.diff(sigmas, prepend=0.0))
    return np.concatenate([weights[:-1], steps, ellipse[: form.further]])


def chain(form: Form, q: np.ndarray) -> np.ndarray:
    """Derivatives of the natural parameters (2 K + further) by the free ones, (..., 2 K + f, P)."""
    count, size = form.components, form.size
    matrix = np.zeros((*q.shape[:-1], size + 1, size))
    matrix[..., : count - 1, : count - 1] = np.eye(count - 1)
    matrix[..., count - 1, : count - 1] = -1.0
    steps = np.exp(q[..., np.newaxis, count - 1 : 2 * count - 1])
    matrix[..., count : 2 * count, count - 1 : 2 * count - 1] = steps * np.tri(count)
    matrix[..., 2 * count :, 2 * count - 1 :] = np.eye(form.further)
    return matrix


# -- shapes that vary over an image ------------------------------------------------------------


def local(form: Form, shape: np.ndarray, places: np.ndarray) -> np.ndarray:
    """The free parameters (S, P) at places ``x, y`` (S, 2)."""
    count = form.components
    columns = terms(form.order, *form.extent.scaled(places))
    table = shape[count - 1 :].reshape(-1, form.varying)
    steps = table[0, :count] + np.log(_growth(form, table, columns))
    ellipse = columns @ table[:, count:]
    weights = np.broadcast_to(shape[: count - 1], (len(places), count - 1))
    return np.concatenate([weights, steps, ellipse], axis=1)


def _growth(form: Form, table: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """The differences of the sigmas, relative to those in the middle of the image, (S, K)."""
    return 1.0 + columns[:, 1:] @ table[1:, : form.components]


def local_chain(form: Form, shape: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Derivatives of the natural parameters at places by those of the shape, (S, 2 K + f, Q)."""
    count, first = form.components, form.components - 1
    columns = terms(form.order, *form.extent.scaled(places))
    each = chain(form, local(form, shape, places))
    by = np.repeat(columns[:, :, np.newaxis], form.varying, axis=2)
    growth = _growth(form, shape[first:].reshape(-1, form.varying), columns)
    by[:, 1:, :count] /= growth[:, np.newaxis]
    varying = by[:, np.newaxis] * each[:, :, np.newaxis, first:]
    weights = each[:, :, :first]
    return np.concatenate([weights, varying.reshape(*each.shape[:2], -1)], axis=2)


def with_order(
    form: Form, shape: np.ndarray, order: int, extent: Extent
) -> tuple[Form, np.ndarray]:
    """A shape that is the same everywhere, as one that may vary."""
    wider = form._replace(order=order, extent=extent)
    return wider, np.concatenate([shape, np.zeros(wider.whole - form.whole)])


def with_component(form: Form, shape: np.ndarray, at: int, numbers: Numbers) -> np.ndarray:
    """A shape with these numbers in the middle of the image, of which ``at`` is new.

    It varies over the image as the component beside it.
    """
    count = form.components
    free = free_of(form, *numbers)
    varying = shape[count - 1 :].reshape(-1, form.varying)
    varying = np.insert(varying, at, varying[:, min(at, count - 1)], axis=1)
    varying[0] = free[count:]
    return np.concatenate([free[:count], varying.ravel()])


def is_sound_everywhere(form: Form, shape: np.ndarray, widest: float) -> bool:
    """Whether a star can have this shape at each place of a grid over the image."""
    if not form.order:
        return is_sound(form, shape, widest)
    count, table = form.components, shape[form.components - 1 :].reshape(-1, form.varying)
    growth = np.concatenate([np.ones((1, count)), table[1:, :count]])
    if not least(form.order, growth).min() > 0.0:  # a sigma would be below the next smaller one
        return False
    high, wide, row, column = form.extent
    along = np.linspace(0.0, 1.0, _GRID)
    y, x = np.meshgrid(row - 0.5 + high * along, column - 0.5 + wide * along)
    places = np.stack([x.ravel(), y.ravel()], axis=1)
    return is_sound(form, local(form, shape, places), widest)


def is_sound(form: Form, q: np.ndarray, widest: float) -> bool:
    """Whether stars can have these profiles: in range, components apart, no dark ring.

    ``q`` are the free parameters of one or several places, (..., P).
    """
    if not np.isfinite(q).all() or np.abs(q).max() > 50.0:
        return False
    weights, sigmas, ellipse = numbers_of(form, q)
    if sigmas.min() < _LEAST_SIGMA or sigmas.max() > widest:
        return False
    if np.hypot(*np.moveaxis(ellipse, -1, 0)).max() > _MOST_TURN:
        return False
    if weights.min() < _LEAST_WEIGHT or weights.max() > _MOST_WEIGHT:
        return False
    if (sigmas[..., 1:] < _LEAST_RATIO * sigmas[..., :-1]).any():
        return False
    radii = 5.0 * sigmas[..., np.newaxis, -1:] * _RADII[:, np.newaxis]
    parts = np.exp(-0.5 * np.minimum(radii / sigmas[..., np.newaxis, :], _FAR) ** 2)
    profile = np.einsum("...rk,...k->...r", parts, weights / sigmas**2)
    peak = profile[..., 0]
    lit = (peak > 0.0) & (profile.min(axis=-1) >= -_DIP * peak)
    return bool((lit & (weights[..., -1] >= 0.0)).all())


# -- along the axes ----------------------------------------------------------------------------


def _sampled(d: np.ndarray, s: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A normal density at distances, and its derivatives by the centre and by sigma."""
    z = np.clip(d / s, -_FAR, _FAR)
    f = np.exp(-0.5 * z * z) * (_ROOT / s)
    return f, f * z / s, f * (z * z - 1.0) / s


def _integrated(d: np.ndarray, s: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The same, integrated over pixels: differences of error functions."""
    from scipy.special import ndtr

    away = np.abs(d)
    f = ndtr((0.5 - away) / s) - ndtr((-0.5 - away) / s)
    a, b = (np.clip((d + edge) / s, -_FAR, _FAR) for edge in (-0.5, 0.5))
    at_a, at_b = (np.exp(-0.5 * z * z) * _ROOT for z in (a, b))
    return f, (at_a - at_b) / s, (a * at_a - b * at_b) / s


_TABLES = {"sample": _sampled, "integrate": _integrated}


def _outer(y: np.ndarray, x: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """Products of tables (S, side, K): (S, K, y, x)."""
    rows, columns = y.transpose(0, 2, 1)[:, :, :, np.newaxis], x.transpose(0, 2, 1)
    return np.multiply(rows, columns[:, :, np.newaxis, :], out=out)


def _along(form: Form, numbers: Numbers, dy: np.ndarray, dx: np.ndarray) -> Spread:
    """Profiles whose axes are those of the image."""
    weights, sigmas, ellipse = (each[:, np.newaxis] for each in numbers)
    long, short = np.exp(0.5 * ellipse[..., :1]), np.exp(-0.5 * ellipse[..., :1])
    table, count = _TABLES[form.pixel], form.components
    x, x_by, x_wide = table(dx[:, :, np.newaxis], sigmas * long)
    y, y_by, y_wide = table(dy[:, :, np.newaxis], sigmas * short)
    across = y * weights
    by = np.empty((len(dx), form.natural, dy.shape[1], dx.shape[1]))
    _outer(y, x, out=by[:, :count])
    wide = _outer(across, x_wide * long, out=by[:, count : 2 * count])
    wide_y = _outer(y_wide * (short * weights), x)
    if form.further:
        by[:, -1] = np.einsum("sk,skyx->syx", 0.5 * sigmas[:, 0], wide - wide_y)
    wide += wide_y
    right = x.transpose(0, 2, 1)
    return Spread(
        np.matmul(across, right),
        np.matmul(across, x_by.transpose(0, 2, 1)),
        np.matmul(y_by * weights, right),
        by,
    )


# -- turned ------------------------------------------------------------------------------------


def _rotated(form: Form, numbers: Numbers, dy: np.ndarray, dx: np.ndarray) -> Spread:
    """Profiles with any axes: means over 5 x 5 points of a pixel, or values at its centre."""
    points = [(0.0, 0.0, 1.0)]
    if form.pixel == "integrate":
        points = [
            (v, u, wv * wu)
            for v, wv in zip(NODES, WEIGHTS, strict=True)
            for u, wu in zip(NODES, WEIGHTS, strict=True)
        ]
    shape = (len(dx), 2 * form.components + 2, dy.shape[1], dx.shape[1])
    by = np.zeros(shape)
    total, by_x, by_y = (np.zeros((shape[0], *shape[2:])) for _ in range(3))
    weights, sigmas = (each.T[..., np.newaxis, np.newaxis] for each in numbers[:2])
    e, d = numbers.ellipse.T[..., np.newaxis, np.newaxis]
    h = np.hypot(e, d)
    c, small = np.cosh(h), h <= 1e-4
    safe = np.where(small, 1.0, h)
    t = np.where(small, 1.0 + h * h / 6.0, np.sinh(h) / safe)
    r = np.where(small, 1.0 / 3.0 + h * h / 30.0, (c - t) / safe**2)  # of the derivatives of t
    for v, u, share in points:
        y, x = dy[:, :, np.newaxis] + v, dx[:, np.newaxis, :] + u
        xx, yy, xy = x * x, y * y, 2.0 * x * y
        form_of = xx * (c - t * e) + yy * (c + t * e) - xy * (t * d)
        along, up = x * (c - t * e) - y * (t * d), y * (c + t * e) - x * (t * d)
        q_e = xx * (t * e - t - r * e * e) + yy * (t * e + t + r * e * e) - xy * (r * d * e)
        q_d = (xx + yy) * (t * d) + (yy - xx) * (r * d * e) - xy * (t + r * d * d)
        for k, (w, s) in enumerate(zip(weights, sigmas, strict=True)):
            q = form_of / (s * s)
            f = np.exp(-0.5 * np.minimum(q, _FAR * _FAR)) * (share / (2.0 * math.pi * s * s))
            wf = w * f
            total += wf
            by_x += wf * along / (s * s)
            by_y += wf * up / (s * s)
            by[:, k] += f
            by[:, form.components + k] += wf * (q - 2.0) / s
            by[:, -2] -= 0.5 * wf * q_e / (s * s)
            by[:, -1] -= 0.5 * wf * q_d / (s * s)
    return Spread(total, by_x, by_y, by)


def spread(form: Form, q: np.ndarray, dy: np.ndarray, dx: np.ndarray) -> Spread:
    """Profiles at the distances of rows (S, y) and columns (S, x) from the centres of stars.

    The free parameters ``q`` are (P,), or (S, P) for stars of several shapes.
    """
    by_shape = _rotated if form.rotated else _along
    return by_shape(form, numbers_of(form, _each(q, dx)), dy, dx)


def _each(q: np.ndarray, dx: np.ndarray) -> np.ndarray:
    """The parameters of each star."""
    return np.broadcast_to(q, (len(dx), q.shape[-1]))


def values(form: Form, q: np.ndarray, dy: np.ndarray, dx: np.ndarray) -> np.ndarray:
    """The profiles alone, (S, y, x)."""
    if form.rotated:
        return spread(form, q, dy, dx).values
    weights, sigmas, ellipse = (each[:, np.newaxis] for each in numbers_of(form, _each(q, dx)))
    table, e = _TABLES[form.pixel], ellipse[..., :1]
    x = table(dx[:, :, np.newaxis], sigmas * np.exp(0.5 * e))[0]
    y = table(dy[:, :, np.newaxis], sigmas * np.exp(-0.5 * e))[0]
    return np.matmul(y * weights, x.transpose(0, 2, 1))
