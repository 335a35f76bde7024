"""A slow, obvious twin of point spread functions: sums of Gaussians of complex numbers."""

import numpy as np
from scipy.special import erf

_STEP = 1e-30  # of the imaginary part: its square is nothing, so there is no cancellation


def _along(x, centre, sigma, pixel):
    """A normalised Gaussian at points, or its mean over the pixels around them."""
    if pixel == "sample":
        return np.exp(-0.5 * ((x - centre) / sigma) ** 2) / (np.sqrt(2 * np.pi) * sigma)
    low, high = ((x + side - centre) / (np.sqrt(2) * sigma) for side in (-0.5, 0.5))
    return 0.5 * (erf(high) - erf(low))


def _rotated(x, y, sigma_x, sigma_y, theta, pixel):
    """A rotated Gaussian at points, or its mean over 5 x 5 Gauss-Legendre points."""
    nodes, weights = np.polynomial.legendre.leggauss(5)
    nodes, weights = (nodes / 2, weights / 2) if pixel == "integrate" else ([0.0], [1.0])
    total = 0.0
    for to_y, weight_y in zip(nodes, weights, strict=True):
        for to_x, weight_x in zip(nodes, weights, strict=True):
            u = ((x + to_x) * np.cos(theta) + (y + to_y) * np.sin(theta)) / sigma_x
            v = ((y + to_y) * np.cos(theta) - (x + to_x) * np.sin(theta)) / sigma_y
            total = total + weight_x * weight_y * np.exp(-0.5 * (u * u + v * v))
    return total / (2 * np.pi * sigma_x * sigma_y)


def values(components, x, y, params, pixel="sample"):
    """flux f + offset; ``components`` are rows of weight, x, y, sigma_x, sigma_y.

    A width before the offset is the factor of all lengths.
    """
    flux, x0, y0, *width, offset = params
    total = 0.0
    for weight, *numbers in components:
        dx, dy, sigma_x, sigma_y = (length * np.prod(width) for length in numbers[:4])
        theta = numbers[4:]
        if any(theta):
            total = total + weight * _rotated(
                x - x0 - dx, y - y0 - dy, sigma_x, sigma_y, *theta, pixel
            )
            continue
        by_x = _along(x, x0 + dx, sigma_x, pixel)
        total = total + weight * by_x * _along(y, y0 + dy, sigma_y, pixel)
    return flux * total + offset


def weighted_values(components, x, y, params, pixel="sample"):
    """The same with the weights of all components but the first before the offset."""
    *star, offset = params
    count = len(components) - 1
    star, weights = star[:-count], star[-count:]
    every = [1.0 - sum(weights), *weights]
    parts = [(weight, *part[1:]) for weight, part in zip(every, components, strict=True)]
    return values(parts, x, y, [*star, offset], pixel)


def slopes(components, x, y, params, pixel="sample", function=None):
    """Derivatives by the parameters, (..., P), by complex steps."""
    found = []
    for k in range(len(params)):
        moved = np.array(params, dtype=complex)
        moved[k] += 1j * _STEP
        value = (function or values)(components, x, y, moved, pixel)
        found.append(np.imag(value) / _STEP + 0.0 * x * y)
    return np.stack(found, axis=-1)


def source_values(components, x, y, params, pixel="sample"):
    """flux f + offset of a Gaussian source of the covariance xx, yy, xy behind the components."""
    flux, x0, y0, xx, yy, xy, offset = params
    nodes, weights = np.polynomial.legendre.leggauss(5)
    nodes, weights = (nodes / 2, weights / 2) if pixel == "integrate" else ([0.0], [1.0])
    total = 0.0
    for weight, dx, dy, sigma_x, sigma_y, *theta in components:
        angle = theta[0] if theta else 0.0
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        own = turn @ np.diag([sigma_x**2, sigma_y**2]) @ turn.T
        a, b, c = own[0, 0] + xx, own[1, 1] + yy, own[0, 1] + xy
        for to_y, weight_y in zip(nodes, weights, strict=True):
            for to_x, weight_x in zip(nodes, weights, strict=True):
                u, v = x + to_x - x0 - dx, y + to_y - y0 - dy
                square = (b * u * u - 2 * c * u * v + a * v * v) / (a * b - c * c)
                part = weight * weight_x * weight_y * np.exp(-0.5 * square)
                total = total + part / (2 * np.pi * np.sqrt(a * b - c * c))
    return flux * total + offset
