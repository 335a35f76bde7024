"""Their steps and reported covariance."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from .._compile import device
from ..numeric.packed_cholesky import scale_packed
from ..simd.lanes import load, store
from .variable_projection import limit_centre, limit_width, reciprocal


@device
def unit_rate(m, p, axis):
    """The symmetric model: all widths grow alike."""
    return 1.0


@cache
def make_unit(axes: int, sigma_of: Callable, width_unit: Callable) -> Callable:
    """How parameters follow the basis: d p_k = unit_k t_k / amplitude, without offset."""

    @device
    def unit(m, p, k):
        return sigma_of(m, p, k - 1, axes) if k <= axes else width_unit(m, p, k)

    return unit


@device
def sigma_unit(m, p, k):
    """For a width: itself."""
    return load(m, p + k)


@cache
def make_step(
    axes: int, size: int, unit: Callable, limit_shape: Callable, natural: bool
) -> Callable:
    """Steps of a model from coefficients of its basis, or of its parameters' own columns."""
    last = size - 1

    @device
    def step(m, p, t, q) -> None:
        """q = p moved by t."""
        scale = reciprocal(load(m, p))
        store(m, q, load(m, p) + load(m, t))
        for k in range(1, last):
            length = unit(m, p, k)
            old, change = load(m, p + k), load(m, t + k)
            if not natural:
                change = change * scale * length
            if k <= axes:
                store(m, q + k, limit_centre(old, change, length))
            else:
                store(m, q + k, limit_shape(m, old, old + change))
        store(m, q + last, load(m, p + last) + load(m, t + last))

    return step


@device
def limit_sigma(m, old, new):
    """A width stays positive."""
    return limit_width(old, new)


@cache
def make_evaluate(
    accumulate: Callable, settle: Callable, unit: Callable, size: int, natural: bool
) -> Callable:
    """Normal equations of the residuals, in the basis or in the parameters themselves."""

    @device
    def evaluate(m, pixels, nz, ny, nx, p, work, gram, gradient):
        """Gram matrix, gradient and objective at p; settles amplitude and offset there."""
        objective = accumulate(m, pixels, nz, ny, nx, p, work, gram, gradient)
        objective = settle(m, p, gram, gradient, objective)
        if natural:
            for k in range(1, size - 1):
                factor = load(m, p) / unit(m, p, k)
                scale_packed(m, gram, size, k, factor)
                store(m, gradient + k, load(m, gradient + k) * factor)
        return objective

    return evaluate


@cache
def make_shape(unit: Callable, size: int) -> Callable:
    """From the covariance of basis coefficients to that of the parameters."""

    @device
    def shape(m, p, cov, work) -> None:
        scale = 1.0 / load(m, p)
        for k in range(1, size - 1):
            scale_packed(m, cov, size, k, unit(m, p, k) * scale)

    return shape
