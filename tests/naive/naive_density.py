"""The slow obvious twins of ``fastgauss.density``: all pairs, no cells."""

import itertools
import math

import numpy as np
from scipy.special import eval_hermitenorm, ndtr


def phi(t):
    return np.exp(-0.5 * t**2) / math.sqrt(2 * math.pi)


KERNELS = {"value": phi, "slope": lambda t: t * phi(t), "integral": ndtr}


def gauss_sum(sources, weights, points, what="value", axis=0):
    """sum_j w_j K(y - x_j) over all pairs."""
    t = points[:, np.newaxis] - sources[np.newaxis]
    factors = [
        KERNELS["value" if what == "slope" and k != axis else what](t[..., k])
        for k in range(t.shape[-1])
    ]
    return np.prod(factors, axis=0) @ np.broadcast_to(weights, len(sources))


def reflected(samples, h, low, high, points):
    """The mirrored density, by as many images as matter."""
    total = np.zeros(len(points))
    period = 2 * (high - low)
    for k in range(-9, 10):
        for place in (samples + k * period, 2 * low - samples + k * period):
            total += phi((points[:, np.newaxis] - place) / h).sum(axis=1)
    return total / (len(samples) * h)


def linear_fit(samples, weights, h, bounds, point):
    """The local plane at a point by solving its d + 1 equations, integrals by quadrature."""
    from scipy.integrate import quad

    axes = len(bounds)
    u = (point - samples) / h
    parts = np.empty((axes, 3))
    for a, (low, high) in enumerate(bounds):
        ends = max((point[a] - high) / h, -12), min((point[a] - low) / h, 12)
        parts[a] = [quad(lambda t, k=k: t**k * phi(t), *ends, epsabs=1e-13)[0] for k in range(3)]
    matrix = np.empty((axes + 1, axes + 1))
    for i in range(axes + 1):
        for j in range(axes + 1):
            orders = [(i == a + 1) + (j == a + 1) for a in range(axes)]
            matrix[i, j] = math.prod(parts[a, order] for a, order in enumerate(orders))
    kernel = weights * phi(u).prod(axis=1) / (weights.sum() * h**axes)
    f = np.array([kernel.sum(), *(u * kernel[:, np.newaxis]).sum(axis=0)])
    line = np.linalg.solve(matrix, f)[0]
    plain = f[0] / matrix[0, 0]
    return plain, plain * math.exp(line / plain - 1)


def sheather_jones(samples):
    """Botev's fixed point with the norms of derivatives by sums over pairs: no histogram."""
    from scipy.optimize import brentq

    n = len(samples)
    gaps = samples[:, np.newaxis] - samples

    def norm(s, t):
        z = gaps / math.sqrt(2 * t)
        return (-1) ** s * (eval_hermitenorm(2 * s, z) * phi(z)).mean() / (2 * t) ** (s + 0.5)

    def function(log_t):
        t = math.exp(log_t)
        f = norm(7, t)
        for s in range(6, 1, -1):
            odd = math.prod(range(1, 2 * s, 2)) / math.sqrt(2 * math.pi)
            f = norm(s, (2 * (1 + 0.5 ** (s + 0.5)) / 3 * odd / (n * f)) ** (2 / (3 + 2 * s)))
        return log_t - math.log((2 * n * math.sqrt(math.pi) * f) ** -0.4)

    times = np.log(np.var(samples) * n**-0.4) + np.arange(-4, 2, 0.1)
    rises = [a < 0 <= b for a, b in itertools.pairwise(map(function, times))]
    return math.exp(0.5 * brentq(function, *times[rises.index(True) :][:2]))
