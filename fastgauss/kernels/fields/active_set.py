"""The minimum over x >= 0 of a quadratic whose matrix has no negative entries: an active set.

The method of Lawson & Hanson (1974, Solving Least Squares Problems, chapter 23) for

    g0'(x - x0) + (x - x0)'(K + delta)(x - x0) / 2,

K by sparse rows with a diagonal of 1. Some numbers are *free*, the others 0. The minimum over the
free ones is approached along a straight line; where a number would pass 0 on the way it leaves the
free ones, and the line is drawn anew. At the minimum the numbers at 0 whose gradient points
inwards enter: those with the steepest gradient, no two of them closely coupled. Each step lowers
the quadratic, for all that enter come from 0 with gradients that point inwards.

The Cholesky factor of the free rows of K + delta grows by a row for each number that enters, and
for one that leaves loses a row, whereupon rotations make it triangular again. As long as
``delta`` is above rounding no pivot vanishes, whatever the condition of K.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .._compile import device, kernel
from ..numeric.dense_cholesky import factor_row, solve_lower, solve_upper
from ..numeric.packed_cholesky import packed

_STEEP = 0.3  # of the steepest gradient: what enters along with it
_COUPLED = 0.5  # entries of K above which two numbers do not enter together

FREE, CHANGES, PRODUCTS, FULL = range(4)  # what ``Face.counts`` counts; FULL: no row is left


class Quadratic(NamedTuple):
    """K by rows, the gradient g0 at the point x0, and delta."""

    starts: np.ndarray
    columns: np.ndarray
    values: np.ndarray
    gradient: np.ndarray
    origin: np.ndarray
    delta: float


class Face(NamedTuple):
    """A point, which of its numbers are free, and the factor of their rows."""

    x: np.ndarray
    gradient: np.ndarray
    members: np.ndarray  # the free numbers, in the order of the factor's rows
    place: np.ndarray  # (n,) row of each number, -1 if it is not free
    factor: np.ndarray
    counts: np.ndarray
    before: np.ndarray  # scratch, (n,) each
    slope: np.ndarray
    step: np.ndarray
    cosine: np.ndarray
    sine: np.ndarray
    passed: np.ndarray  # bool


@device
def _add_row(q, i, amount, out):
    """out += amount times row i of K + delta."""
    begin, stop = q.starts[i], q.starts[i + 1]
    shift = np.int64(q.columns[begin]) - begin
    if np.int64(q.columns[stop - 1]) - shift == stop - 1:  # its columns lie side by side
        for k in range(begin, stop):
            out[k + shift] += amount * q.values[k]
    else:
        for k in range(begin, stop):
            out[q.columns[k]] += amount * q.values[k]
    out[i] += amount * q.delta


@device
def _enter(q, face, i):
    """Set a number free."""
    size = face.counts[FREE]
    at = packed(size, 0)
    for k in range(size):
        face.factor[at + k] = 0.0
    face.factor[at + size] = q.delta
    face.members[size], face.place[i] = i, size
    for k in range(q.starts[i], q.starts[i + 1]):
        a = face.place[q.columns[k]]
        if a >= 0:
            face.factor[at + a] += q.values[k]
    factor_row(face.factor, size, 0, size + 1, 0.5 * q.delta)
    face.counts[FREE] = size + 1
    face.counts[CHANGES] += 1


@device
def _leave(face, p):
    """Take the number of row p out of the free ones: the rows below move up and are rotated."""
    m, members, place = face.factor, face.members, face.place
    cosine, sine = face.cosine, face.sine
    size = face.counts[FREE]
    place[members[p]] = -1
    for a in range(p + 1, size):
        members[a - 1] = members[a]
        place[members[a - 1]] = a - 1
        at, to = packed(a, 0), packed(a - 1, 0)
        for k in range(p):
            m[to + k] = m[at + k]
        carried = m[at + p]
        for k in range(p, a - 1):
            after = m[at + k + 1]
            m[to + k] = cosine[k] * carried + sine[k] * after
            carried = cosine[k] * after - sine[k] * carried
        after = m[at + a]
        length = np.sqrt(carried * carried + after * after)
        cosine[a - 1], sine[a - 1] = carried / length, after / length
        m[to + a - 1] = length
    face.counts[FREE] = size - 1
    face.counts[CHANGES] += 1


@device
def _settle(face, tol):
    """Go to the minimum over the free numbers, which some leave on the way.

    Returns whether the point moved; it stays where no slope is above ``tol``. The gradient is left
    as it was.
    """
    x, members, slope, step = face.x, face.members, face.slope, face.step
    steepest = 0.0
    for a in range(face.counts[FREE]):
        i = members[a]
        slope[i] = face.gradient[i]
        steepest = max(steepest, abs(slope[i]))
    if not steepest > tol:
        return False
    moved = False
    while True:
        size = face.counts[FREE]
        begin = size
        for a in range(size - 1, -1, -1):
            step[a] = -slope[members[a]]
            if step[a] != 0.0:
                begin = a
        solve_lower(face.factor, begin, size, step)
        solve_upper(face.factor, size, step)
        length, first = 1.0, -1
        for a in range(size):
            here = x[members[a]]
            if step[a] < 0.0 and here < -length * step[a]:
                length, first = here / -step[a], a
        for a in range(size):
            i = members[a]
            after = max(x[i] + length * step[a], 0.0)
            moved = moved or after != x[i]
            x[i] = after
            slope[i] *= 1.0 - length
        if first < 0:
            return moved
        x[members[first]] = 0.0
        _leave(face, first)


@device
def _enter_steepest(q, face, tol):
    """Set numbers at 0 free whose gradient points inwards; how many."""
    passed, gradient = face.passed, face.gradient
    n = face.x.size
    # ``before`` is at hand: which numbers may still enter in this round
    for i in range(n):
        face.before[i] = 0.0 if face.place[i] >= 0 or passed[i] else -gradient[i]
    steepest, entered = 0.0, 0
    while True:
        who = 0
        for i in range(n):
            if face.before[i] > face.before[who]:
                who = i
        if not face.before[who] > max(tol, _STEEP * steepest):
            return entered
        if packed(face.counts[FREE] + 1, 0) > face.factor.size:
            face.counts[FULL] = 1
            return entered
        steepest = max(steepest, face.before[who])
        face.before[who] = 0.0
        for k in range(q.starts[who], q.starts[who + 1]):
            if q.values[k] > _COUPLED:
                face.before[q.columns[k]] = 0.0
        _enter(q, face, who)
        passed[who] = True
        entered += 1


@kernel
def exchange(q, face, tol, most, max_products):
    """Exchange numbers until no gradient points inwards by more than ``tol``.

    It ends after ``most`` changes, and where all products with K are ``max_products``, as well.

    Returns whether the point moved: where it did not, it is the minimum. Numbers of the point that
    are above 0 are set free first.
    """
    x, gradient, n = face.x, face.gradient, face.x.size
    for i in range(n):
        gradient[i] = q.gradient[i]
        face.passed[i] = False
    for i in range(n):
        if x[i] != q.origin[i]:
            _add_row(q, i, x[i] - q.origin[i], gradient)
        if x[i] > 0.0 and face.place[i] < 0:
            _enter(q, face, i)
    face.counts[PRODUCTS] += 1
    end = face.counts[CHANGES] + most
    any_ = False
    while True:
        for i in range(n):
            face.before[i] = x[i]
        moved = _settle(face, tol)
        if moved:
            for i in range(n):
                if x[i] != face.before[i]:
                    _add_row(q, i, x[i] - face.before[i], gradient)
                face.passed[i] = False
            for a in range(face.counts[FREE]):
                gradient[face.members[a]] = 0.0
            face.counts[PRODUCTS] += 1
        any_ = any_ or moved
        if face.counts[CHANGES] >= end or face.counts[PRODUCTS] >= max_products:
            return any_
        if _enter_steepest(q, face, tol) == 0:
            return any_
