"""Slow, obvious twins of fields: the truncated double sum, in any kind of number.

Everything is said in the caller's coordinates. Which nodes a particle covers is decided once, by
its real parameters. The sum over them can then be taken at other parameters too, also complex
ones or those of mpmath, so that derivatives of the same truncated sum have all digits.
"""

import functools
import itertools

import mpmath as mp
import numpy as np
from hypothesis import strategies as st
from scipy import special

import fastgauss as fg
from fastgauss.kernels._compile import JIT_DISABLED

DIGITS = 40  # of derivatives by mpmath
NODES, WEIGHTS = (0.5 * part for part in np.polynomial.legendre.leggauss(5))


def _each(function):
    """A function of mpmath for arrays of its numbers."""
    return np.frompyfunc(functools.cache(function), 1, 1)


def _kind(x):
    """exp, erf and sqrt for this array's numbers."""
    if np.asarray(x).dtype == object:
        return _each(mp.exp), _each(mp.erf), mp.sqrt
    return np.exp, special.erf, np.sqrt


def falling(square):
    """exp(-square / 2)."""
    return _kind(square)[0](-square / 2)


def profile(d, sigma, spacing, pixel):
    """A Gaussian of peak 1 at d from its centre, or its mean over the cell around d."""
    if pixel == "sample":
        return falling((d / sigma) ** 2)
    _, erf, sqrt = _kind(d + 0 * sigma)
    scale = sigma * sqrt(mp.mpf(2) if sqrt is mp.sqrt else 2.0)
    half_pi = mp.pi / 2 if sqrt is mp.sqrt else np.pi / 2
    difference = erf((d + spacing / 2) / scale) - erf((d - spacing / 2) / scale)
    return sigma * sqrt(half_pi) * difference / spacing


def inverse(matrix):
    """Inverse of a matrix of up to three rows, by cofactors, of any kind of number."""
    a = [list(row) for row in matrix]
    n = len(a)
    if n == 1:
        return np.array([[1 / a[0][0]]])

    def minor(i, j):
        rest = [[a[r][c] for c in range(n) if c != j] for r in range(n) if r != i]
        return rest[0][0] if n == 2 else rest[0][0] * rest[1][1] - rest[0][1] * rest[1][0]

    cofactors = [[(-1) ** (i + j) * minor(i, j) for i in range(n)] for j in range(n)]
    determinant = sum(a[0][j] * cofactors[j][0] for j in range(n))
    return np.array([[c / determinant for c in row] for row in cofactors])


class Field:
    """The truncated sum of particles on a grid, its supports fixed at these parameters.

    Nodes within ``edge`` times the half width of the edge of a support, where rounding may
    decide, are kept in ``unsure``.
    """

    def __init__(
        self, grid, positions, sigma=1.0, *, covariance=None, radius, support="box",
        pixel="sample", edge=1e-9,
    ):  # fmt: skip
        self.grid, self.pixel = grid, pixel
        positions = np.asarray(positions, dtype=float).reshape(-1, grid.ndim)
        n, axes = positions.shape
        self.given = {"positions": positions}
        if covariance is None:
            self.given["sigmas"] = np.asarray(sigma, dtype=float)
        else:
            self.given["covariance"] = np.asarray(covariance, dtype=float)
        spacing = np.array(grid.spacing)
        pad = spacing / 2 if pixel == "integrate" else 0 * spacing
        self.parts = []  # particle, shift of its image, node numbers (m, axes)
        self.unsure = np.zeros(grid.shape, dtype=bool)
        for p in range(n):
            _, precision = self._width(p, self.given)
            half = radius * np.sqrt(np.diagonal(np.linalg.inv(precision))) + pad
            limit = radius
            if pixel == "integrate":
                steps = np.outer(spacing, spacing)
                limit = radius + 0.5 * np.sqrt(axes * np.trace(precision * steps))
            for shift in itertools.product(*map(self._shifts, range(axes), positions[p], half)):
                centre = positions[p] + shift
                offsets = [grid.nodes(k) - centre[k] for k in range(axes)]
                near = [
                    np.flatnonzero(abs(offsets[k]) <= half[k] * (1 + edge)) for k in range(axes)
                ]
                nodes = np.stack(np.meshgrid(*near, indexing="ij"), axis=-1).reshape(-1, axes)
                d = np.stack([offsets[k][nodes[:, k]] for k in range(axes)], axis=-1)
                distance = (abs(d) / half).max(axis=1, initial=0.0)
                if support == "sphere":
                    square = np.einsum("mi,ij,mj->m", d, precision, d)
                    distance = np.maximum(distance, np.sqrt(square) / limit)
                self.unsure[tuple(nodes[(abs(distance - 1) < edge)].T)] = True
                self.parts.append((p, np.array(shift), nodes[distance <= 1]))

    def _shifts(self, axis, centre, half):
        """How far the images of a centre that may reach the grid are away along an axis."""
        n, spacing = self.grid.shape[axis], self.grid.spacing[axis]
        if not self.grid.periodic[axis] or n == 0:
            return [0.0]
        period, low = n * spacing, self.grid.origin[axis]
        first = int(np.floor((low - half - centre) / period)) - 1
        last = int(np.ceil((low + period + half - centre) / period)) + 1
        return [k * period for k in range(first, last + 1)]

    def _width(self, p, given):
        """Sigmas, None where a covariance is given, and the inverse covariance of a particle."""
        axes = self.grid.ndim
        n = len(given["positions"])
        if "covariance" in given:
            precision = inverse(np.broadcast_to(given["covariance"], (n, axes, axes))[p])
            return None, (precision + precision.T) / 2
        sigmas = np.broadcast_to(given["sigmas"], (n, axes))[p]
        return sigmas, np.diag([1 / s**2 for s in sigmas])

    def _values(self, d, sigmas, precision):
        """A particle of amplitude 1 at these distances (m, axes) from its centre."""
        spacing, last = self.grid.spacing, self.grid.ndim - 1
        if "sigmas" in self.given:
            values = 1
            for k in range(self.grid.ndim):
                values = values * profile(d[:, k], sigmas[k], spacing[k], self.pixel)
            return values
        if self.pixel == "sample":
            return falling((d * (d @ precision)).sum(axis=1))
        p_xx, p_xr, p_rr = precision[last, last], precision[:last, last], precision[:last, :last]
        p_rr = p_rr - np.outer(p_xr, p_xr) / p_xx
        sqrt = _kind(d + 0 * p_xx)[2]
        total = 0
        for points in itertools.product(range(len(NODES)), repeat=last):
            moved = d[:, :last] + np.array([NODES[i] * spacing[k] for k, i in enumerate(points)])
            weight = float(np.prod([WEIGHTS[i] for i in points]))
            mean = -(moved @ p_xr) / p_xx
            square = (moved * (moved @ p_rr)).sum(axis=1)
            row = profile(d[:, last] - mean, 1 / sqrt(p_xx), spacing[last], "integrate")
            total = total + weight * falling(square) * row
        return total

    def columns(self, **moved):
        """For each image of a particle (particle, flat node numbers, values)."""
        given = {**self.given, **moved}
        for p, shift, nodes in self.parts:
            if not len(nodes):
                continue
            where = np.stack(
                [self.grid.nodes(k)[nodes[:, k]] - shift[k] for k in range(self.grid.ndim)], axis=-1
            )
            d = where - given["positions"][p]
            flat = np.ravel_multi_index(tuple(nodes.T), self.grid.shape)
            yield p, flat, self._values(d, *self._width(p, given))

    def render(self, amplitudes=1.0, start=None, combine="sum", **moved):
        """The particles combined with ``start``, one image after the other."""
        heights = np.broadcast_to(amplitudes, len(self.given["positions"]))
        kinds = [heights, *{**self.given, **moved}.values()]
        out = np.zeros(self.grid.shape, dtype=np.result_type(float, *kinds))
        if start is not None:
            out[...] = start
        out = out.reshape(-1)
        for p, flat, values in self.columns(**moved):
            new, old = heights[p] * values, out[flat]
            if combine == "sum":
                out[flat] = old + new
            elif combine == "max":
                out[flat] = np.maximum(old, new)
            else:
                out[flat] = 1 - (1 - old) * (1 - new)
        return out.reshape(self.grid.shape)

    def matrix(self):
        """The operator as a dense matrix (nodes, particles)."""
        matrix = np.zeros((self.grid.size, len(self.given["positions"])))
        for p, flat, values in self.columns():
            matrix[flat, p] += values
        return matrix

    def loss(self, volume, amplitudes, weights=1.0, **moved):
        """0.5 |render - volume|**2 of the same truncated sum, weighted; over channels the sum.

        ``cholesky`` may be moved in place of the covariance.
        """
        if "cholesky" in moved:
            lower = moved.pop("cholesky")
            moved["covariance"] = lower @ lower.swapaxes(-1, -2)
        if np.ndim(amplitudes) == 2:
            each = np.broadcast_to(weights, volume.shape)
            return sum(
                self.loss(volume[..., c], amplitudes[:, c], each[..., c], **moved)
                for c in range(amplitudes.shape[1])
            )
        seen = np.where(np.isnan(volume), 0.0, weights)
        left = self.render(amplitudes, **moved) - np.nan_to_num(volume)
        return (seen * left**2).sum() / 2

    def gradient(self, volume, amplitudes, name, weights=1.0):
        """Derivative of the loss to each number of an argument.

        To an entry of a covariance as if its mirror image were another number. By a complex
        step where all functions are analytic in numpy, else by differences of 40 digits.
        """
        given = {**self.given, "amplitudes": np.asarray(amplitudes, dtype=float)}
        if name == "cholesky":
            given[name] = np.linalg.cholesky(given["covariance"])
        result = np.zeros(given[name].shape)
        for entry in np.ndindex(result.shape):
            if self.pixel == "sample":
                moved = {name: given[name].astype(complex)}
                moved[name][entry] += 1e-30j
                moved = {"amplitudes": given["amplitudes"], "weights": weights, **moved}
                loss = self.loss(volume, **moved)
                result[entry] = loss.imag / 1e-30
                continue
            with mp.workdps(DIGITS):
                step = mp.mpf(10) ** (-DIGITS // 3)
                sides = []
                for sign in (1, -1):
                    exact = np.frompyfunc(mp.mpf, 1, 1)(given[name]) + mp.mpf(0)
                    moved = {name: np.asarray(exact, dtype=object)}
                    moved[name][entry] += sign * step
                    sides.append(self.loss(volume, **{"amplitudes": given["amplitudes"], **moved}))
                result[entry] = float((sides[0] - sides[1]) / (2 * step))
        return result


def left_out(field, amplitudes):
    """At each node the sum of |amplitude| over the particles that leave it out."""
    heights = abs(np.broadcast_to(amplitudes, len(field.given["positions"])))
    left = np.full(field.grid.size, heights.sum())
    for p, _, nodes in field.parts:
        left[np.ravel_multi_index(tuple(nodes.T), field.grid.shape)] -= heights[p]
    return left.reshape(field.grid.shape)


SIGMAS = ("scalar", "axes", "own", "own axes")
COVARIANCES = ("covariance", "own covariance")


def widths(rng, n, grid, kind, low=0.6, high=1.6):
    """Random options ``sigma`` or ``covariance`` of a kind, some ``low`` to ``high`` spacings."""
    spacing, axes = np.array(grid.spacing), grid.ndim
    by_axis = (1, axes) if n == axes else (axes,)  # (n,) could be one a particle
    shapes = {"scalar": (), "axes": by_axis, "own": (n, 1), "own axes": (n, axes)}
    if kind in shapes:
        unit = spacing if "axes" in kind else spacing.min()
        return {"sigma": unit * rng.uniform(low, high, shapes[kind])}
    rows = n if kind == "own covariance" else 1
    rotated = np.linalg.qr(rng.normal(size=(rows, axes, axes)))[0]
    variances = rng.uniform(low, high, (rows, axes)) ** 2
    own = np.einsum("nij,nj,nkj->nik", rotated, variances, rotated) * np.outer(spacing, spacing)
    own = (own + own.swapaxes(1, 2)) / 2
    return {"covariance": own if kind == "own covariance" else own[0]}


@st.composite
def scenes(draw, rotated, periodic=None, most=4):
    """A grid, particles on and around it, and options; sizes that suit plain Python."""
    axes = draw(st.integers(1, 3))
    longest = {1: (70,), 2: (12, 30), 3: (6, 7, 20)}[axes]
    if JIT_DISABLED and rotated and axes == 3:
        longest = (3, 4, 9)
    shape = tuple(draw(st.integers(0 if draw(st.integers(0, 9)) == 0 else 1, n)) for n in longest)

    def each(values):
        return tuple(draw(values) for _ in range(axes))

    grid = fg.Grid(
        shape,
        each(st.sampled_from([1.0, 0.5, 3.0]) | st.floats(0.2, 4.0)),
        each(st.sampled_from([0.0, -1.5]) | st.floats(-30.0, 30.0)),
        each(st.booleans()) if periodic is None else periodic,
    )
    n = draw(st.integers(0, most))
    place = st.floats(-5.0, 5.0) | st.floats(0.0, 1.0) | st.sampled_from([0.0, 1.0])
    positions = np.array([each(place) for _ in range(n)]).reshape(n, axes)
    inside = (positions >= 0) & (positions <= 1)
    beyond = np.where(positions < 0, positions, positions - 1)
    last = np.maximum(np.array(shape) - 1, 0)
    indices = np.where(inside, positions * last, np.where(positions < 0, 0, last) + beyond)
    rng = np.random.default_rng(draw(st.integers(0, 1 << 20)))
    kind = draw(st.sampled_from(COVARIANCES if rotated else SIGMAS))
    options = widths(rng, n, grid, kind)
    options["pixel"] = draw(st.sampled_from(["sample", "integrate"]))
    amplitudes = np.array([draw(st.floats(-2.0, 2.0)) for _ in range(n)])
    return grid, grid.position(indices), amplitudes, options
