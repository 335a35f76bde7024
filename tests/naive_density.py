"""The slow obvious twins of ``fastgauss.density``: all pairs, no cells."""

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


def linear_fit(samples, h, low, high, point):
    """The local line at a point by solving its two equations, integrals by quadrature."""
    from scipy.integrate import quad

    u = (point - samples) / h
    ends = (point - high) / h, (point - low) / h
    m = [
        quad(lambda t, k=k: t**k * phi(t), max(ends[0], -12), min(ends[1], 12), epsabs=1e-13)[0]
        for k in range(3)
    ]
    f = [np.mean(u**k * phi(u)) / h for k in range(2)]
    line = np.linalg.solve([[m[0], m[1]], [m[1], m[2]]], f)[0]
    plain = f[0] / m[0]
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

    center = math.log(np.var(samples) * n**-0.4)
    return math.exp(0.5 * brentq(function, center - 3, center + 2))
