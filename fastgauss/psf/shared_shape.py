"""Many stars and one shape: least squares whose equations of single stars are eliminated.

Each star has six parameters of its own: flux, centre, and a plane below it. In the normal equations

    [ A_1            B_1 ] [ star 1 ]   [ g_1 ]
    [      A_2       B_2 ] [ star 2 ] = [ g_2 ]
    [ B_1^T  B_2^T    C  ] [ shape  ]   [  g  ]

the blocks A_i of six rows are solved alone, and what is left for the shape is the Schur complement
C - sum B_i^T A_i^-1 B_i. Steps are damped (Levenberg and Marquardt) in units of the diagonal.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from .profiles import Form, is_sound_everywhere, local, local_chain, spread, values
from .sky import Sky, no_sky

OWN = 6  # flux, x, y, and the plane: its value in the middle, its rise to the edge along y and x
_STEPS, _TRIALS = 60, 12
GAIN = 1e-2  # of chi2 below which the search ends
ROUGH_GAIN = 0.5  # as much, where the search goes on from there: half of what is noise
_GROUP = 8  # stars whose derivatives are in the processor's cache at a time
_LEAST, _MOST = 1e-9, 1e9  # damping
_ONE_THREAD = 1 << 17  # products of numbers that one call of BLAS may form
_PLACE = 0.3  # pixels: how far a neighbour's found place is off


class Stack(NamedTuple):
    """Boxes of pixels around stars."""

    data: np.ndarray  # (S, y, x), without the light of neighbours
    weights: np.ndarray  # inverse variances, 0 where a pixel does not exist
    first: np.ndarray  # (S, 2): row and column of the first pixel
    sky: Sky | None = None  # what is known of the planes, if it is

    def distances(self, own: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Distances of rows and columns from the centres."""
        side = np.arange(self.data.shape[1])
        dy = (self.first[:, :1] - own[:, 2:3]) + side
        return dy, (self.first[:, 1:] - own[:, 1:2]) + side

    def middles(self) -> np.ndarray:
        """The places ``x, y`` (S, 2) of the boxes, whose shapes their stars have."""
        return middles(self.first, self.data.shape[1])

    def take(self, rows: np.ndarray | slice) -> Stack:
        """The boxes of some of the stars."""
        sky = None if self.sky is None else self.sky.take(rows)
        return Stack(self.data[rows], self.weights[rows], self.first[rows], sky)


def middles(first: np.ndarray, side: int) -> np.ndarray:
    """Places ``x, y`` of the middle pixels of boxes that begin at rows and columns."""
    return first[:, ::-1] + float(side // 2)


class Solution(NamedTuple):
    """The best parameters, and chi2 of each star."""

    shape: np.ndarray  # parameters of the shape (P,)
    own: np.ndarray  # (S, 6)
    objective: float  # the sum of chi2, and of what the planes miss of the sky
    chi2: np.ndarray  # (S,)


def planes(own: np.ndarray, side: int) -> np.ndarray:
    """The planes below stars, (S, side, side)."""
    rise = np.linspace(-1.0, 1.0, side)
    level, up, along = own.T[3:, :, np.newaxis, np.newaxis]
    return level + up * rise[:, np.newaxis] + along * rise


def models(form: Form, shape: np.ndarray, own: np.ndarray, stack: Stack) -> np.ndarray:
    """Stars on their planes, (S, y, x)."""
    star = values(form, local(form, shape, stack.middles()), *stack.distances(own))
    return star * own[:, :1, np.newaxis] + planes(own, stack.data.shape[1])


def _groups(count: int) -> Iterator[slice]:
    """So many stars, a few at a time."""
    return (slice(start, start + _GROUP) for start in range(0, count, _GROUP))


def chi2_of(form: Form, shape: np.ndarray, own: np.ndarray, stack: Stack) -> np.ndarray:
    """chi2 of each star (S,)."""
    chi2 = np.empty(len(own))
    for rows in _groups(len(own)):
        part = stack.take(rows)
        residual = part.data - models(form, shape, own[rows], part)
        chi2[rows] = np.einsum("syx,syx,syx->s", part.weights, residual, residual)
    return chi2


def _objective(form: Form, shape: np.ndarray, own: np.ndarray, stack: Stack) -> float:
    """chi2 of all stars, and of their planes by what is known of these."""
    sky = stack.sky or no_sky(len(own))
    known = (sky.precisions * (own[:, 3:] - sky.planes) ** 2).sum()
    return float(chi2_of(form, shape, own, stack).sum() + known)


def _columns(form: Form, shape: np.ndarray, own: np.ndarray, stack: Stack) -> np.ndarray:
    """What a star's model is made of, and the residuals, by standard deviations.

    (S, 6 + N + 1, pixels): the star of flux 1 and its derivatives by x and y, the plane's three
    terms, the derivatives by the N natural parameters of the shape, and the residuals.
    """
    count, side = stack.data.shape[:2]
    found = spread(form, local(form, shape, stack.middles()), *stack.distances(own))
    columns = np.empty((count, OWN + form.natural + 1, side, side))
    columns[:, 0], columns[:, 1], columns[:, 2] = found.values, found.by_x, found.by_y
    columns[:, 3], rise = 1.0, np.linspace(-1.0, 1.0, side)
    columns[:, 4], columns[:, 5] = rise[:, np.newaxis], rise
    columns[:, OWN:-1] = found.by_natural
    star = found.values * own[:, :1, np.newaxis]
    columns[:, -1] = stack.data - star - planes(own, side)
    columns *= np.sqrt(stack.weights)[:, np.newaxis]
    return columns.reshape(count, -1, side * side)


def _chains(form: Form, shape: np.ndarray, own: np.ndarray, stack: Stack) -> np.ndarray:
    """The model's derivatives by all parameters as sums of `_columns`, (S, 6 + N, 6 + P)."""
    flux = own[:, 0]
    matrix = np.zeros((len(own), OWN + form.natural, OWN + form.whole))
    np.einsum("sii->si", matrix[:, :OWN, :OWN])[:] = 1.0
    matrix[:, 1, 1] = matrix[:, 2, 2] = flux
    chains = local_chain(form, shape, stack.middles())
    matrix[:, OWN:, OWN:] = flux[:, np.newaxis, np.newaxis] * chains
    return matrix


def _pieces(columns: np.ndarray) -> Iterator[np.ndarray]:
    """Columns of matrices (S, n, pixels), so few at a time that BLAS takes one thread.

    Its threads wait for each other longer than such a product takes, and are as many as all
    processors, which others may use.
    """
    many, pixels = columns.shape[1:]
    step = max(_ONE_THREAD // (many * (many + 1)), 8)
    return (columns[:, :, start : start + step] for start in range(0, pixels, step))


def _products(columns: np.ndarray) -> np.ndarray:
    """The products of the rows of matrices (S, n, pixels), (S, n, n)."""
    total = np.zeros((len(columns), columns.shape[1], columns.shape[1]))
    for piece in _pieces(columns):
        total += np.matmul(piece, piece.transpose(0, 2, 1))
    return total


def _equations(
    form: Form, shape: np.ndarray, own: np.ndarray, stack: Stack
) -> tuple[np.ndarray, np.ndarray]:
    """The normal matrix of each star, (S, 6 + P, 6 + P), and the right sides.

    The products are those of natural parameters, which are few for any order of the shape.
    """
    count = OWN + form.natural
    products = np.empty((len(own), count + 1, count + 1))
    for rows in _groups(len(own)):
        products[rows] = _products(_columns(form, shape, own[rows], stack.take(rows)))
    chains = _chains(form, shape, own, stack)
    back = chains.transpose(0, 2, 1)
    matrix = np.matmul(np.matmul(back, products[:, :count, :count]), chains)
    right = np.einsum("sij,si->sj", chains, products[:, :count, count])
    if stack.sky is not None:
        np.einsum("sii->si", matrix)[:, 3:OWN] += stack.sky.precisions
        right[:, 3:OWN] += stack.sky.precisions * (stack.sky.planes - own[:, 3:])
    return matrix, right


def leverages(form: Form, shape: np.ndarray, own: np.ndarray, stack: Stack) -> np.ndarray:
    """The part of each pixel's noise that its star's six parameters follow, (S, y, x)."""
    found = np.empty((len(own), stack.data[0].size))
    for rows in _groups(len(own)):
        columns = _columns(form, shape, own[rows], stack.take(rows))[:, :OWN]
        matrix = _products(columns)
        unit = 1.0 / np.sqrt(np.maximum(np.einsum("sii->si", matrix), 1e-300))
        unit = unit[:, :, np.newaxis] * unit[:, np.newaxis, :]
        inverse = np.linalg.inv(matrix * unit + 1e-9 * np.eye(OWN)) * unit
        parts = [(np.matmul(inverse, each) * each).sum(axis=1) for each in _pieces(columns)]
        found[rows] = np.concatenate(parts, axis=1)
    return found.reshape(stack.data.shape)


class _Reduced(NamedTuple):
    """The equations with the stars eliminated, in units of the diagonal."""

    left: np.ndarray  # A^-1 B, (S, 6, P)
    right: np.ndarray  # A^-1 g, (S, 6)
    inverse: np.ndarray  # A^-1, (S, 6, 6)
    matrix: np.ndarray  # the Schur complement, (P, P)
    rest: np.ndarray  # (P,)
    units: tuple[np.ndarray, np.ndarray]  # of the stars' parameters (S, 6), of the shape's (P,)


def _reduce(matrix: np.ndarray, right: np.ndarray, damping: float) -> _Reduced:
    diagonal = np.einsum("sii->si", matrix)
    own = 1.0 / np.sqrt(np.where(diagonal[:, :OWN] > 0, diagonal[:, :OWN], 1.0))
    whole = diagonal[:, OWN:].sum(axis=0)
    common = 1.0 / np.sqrt(np.where(whole > 0, whole, 1.0))
    a = matrix[:, :OWN, :OWN] * own[:, :, np.newaxis] * own[:, np.newaxis, :]
    a = a + damping * np.eye(OWN)
    b = matrix[:, :OWN, OWN:] * own[:, :, np.newaxis] * common
    inverse = np.linalg.inv(a)
    left = np.matmul(inverse, b)
    g = right[:, :OWN] * own
    solved = np.einsum("sij,sj->si", inverse, g)
    c = matrix[:, OWN:, OWN:].sum(axis=0) * np.outer(common, common)
    c = c + damping * np.eye(len(c)) - np.einsum("sij,sik->jk", b, left)
    rest = right[:, OWN:].sum(axis=0) * common - np.einsum("sij,si->j", b, solved)
    return _Reduced(left, solved, inverse, c, rest, (own, common))


def _step(
    matrix: np.ndarray, right: np.ndarray, damping: float
) -> tuple[np.ndarray, np.ndarray] | None:
    """The step of the shape and those of the stars; None where the equations have no solution."""
    try:
        reduced = _reduce(matrix, right, damping)
        by = np.linalg.solve(reduced.matrix, reduced.rest)
    except np.linalg.LinAlgError:
        return None
    own, common = reduced.units
    return by * common, (reduced.right - reduced.left @ by) * own


def solve(
    form: Form,
    shape: np.ndarray,
    own: np.ndarray,
    stack: Stack,
    reach: float,
    widest: float,
    least_gain: float = GAIN,
) -> Solution:
    """The least chi2, from a start.

    Centres stay within ``reach`` of where they start, and no sigma is above ``widest``. The search
    ends where a step gains less than ``least_gain``.
    """
    start, damping = own[:, 1:3], 1e-3
    least = _objective(form, shape, own, stack)
    for _ in range(_STEPS):
        matrix, right = _equations(form, shape, own, stack)
        before = least
        for trial in range(_TRIALS):
            step = _step(matrix, right, damping)
            damping *= 6.0
            if step is None:
                continue
            tried, moved = shape + step[0], own + step[1]
            moved[:, 1:3] = np.clip(moved[:, 1:3], start - reach, start + reach)
            if not is_sound_everywhere(form, tried, widest):
                continue
            found = _objective(form, tried, moved, stack)
            if found <= before:
                shape, own, least = tried, moved, found
                damping = max(damping / (6.0 if trial else 60.0), _LEAST)
                break
        gain = before - least
        if not gain > max(least_gain, 1e-10 * before) or damping > _MOST:
            break
    return Solution(shape, own, least, chi2_of(form, shape, own, stack))


class Covariances(NamedTuple):
    """The covariances of the parameters."""

    shape: np.ndarray  # of the free parameters (P, P)
    own: np.ndarray  # of each star's (S, 6, 6)


def covariances(form: Form, solution: Solution, stack: Stack) -> Covariances:
    """The inverse of the normal matrix: the block of the shape, and those of the stars."""
    matrix, right = _equations(form, solution.shape, solution.own, stack)
    reduced = _reduce(matrix, right, _LEAST * 1e-3)
    own, common = reduced.units
    shared = np.linalg.pinv(reduced.matrix, rcond=1e-12, hermitian=True)
    each = reduced.inverse + np.einsum("sij,jk,slk->sil", reduced.left, shared, reduced.left)
    each = each * own[:, :, np.newaxis] * own[:, np.newaxis, :]
    return Covariances(shared * np.outer(common, common), each)


# -- stars of known shape ----------------------------------------------------------------------


def fit_stars(
    form: Form, shape: np.ndarray, own: np.ndarray, stack: Stack, steps: int
) -> np.ndarray:
    """Flux, place and level of stars of a known shape, near the places where they were found.

    The place is known to some tenths of a pixel; it counts as a measurement, which holds faint
    stars where they are.
    """
    found, side = own.copy(), stack.data.shape[1]
    prior = np.array([0.0, _PLACE**-2, _PLACE**-2, 0.0])
    q = local(form, shape, stack.middles())
    for _ in range(steps):
        each = spread(form, q, *stack.distances(found))
        flux = found[:, 0][:, np.newaxis, np.newaxis]
        model = each.values * flux + found[:, 3][:, np.newaxis, np.newaxis]
        columns = np.stack(
            [each.values, flux * each.by_x, flux * each.by_y, np.ones_like(each.values)], axis=1
        ).reshape(len(own), 4, side * side)
        weighted = columns * stack.weights.reshape(len(own), 1, -1)
        matrix = np.matmul(weighted, columns.transpose(0, 2, 1)) + np.diag(prior)
        right = np.einsum("sip,sp->si", weighted, (stack.data - model).reshape(len(own), -1))
        right[:, 1:3] += (own[:, 1:3] - found[:, 1:3]) * _PLACE**-2
        unit = 1.0 / np.sqrt(np.maximum(np.einsum("sii->si", matrix), 1e-300))
        matrix = matrix * unit[:, :, np.newaxis] * unit[:, np.newaxis, :] + 1e-6 * np.eye(4)
        step = np.linalg.solve(matrix, (right * unit)[:, :, np.newaxis])[:, :, 0] * unit
        step[:, 1:3] = np.clip(step[:, 1:3], -_PLACE, _PLACE)
        found[:, :4] += step
        found[:, 1:3] = np.clip(found[:, 1:3], own[:, 1:3] - 1.0, own[:, 1:3] + 1.0)
        found[:, 0] = np.maximum(found[:, 0], 0.0)
    return found
