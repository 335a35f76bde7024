"""Profile tables of one axis."""

from __future__ import annotations

from collections.abc import Callable

from .._compile import device
from ..numeric.special import exp_flushed
from ..simd.lane_types import WIDTH
from ..simd.lanes import broadcast
from ..simd.masked import ramp, store_rounded
from . import profiles


def make_fill(columns: int, sphere: bool) -> Callable:
    """Make tables of one axis: ``columns`` of value and derivatives; squares for a sphere."""

    @device
    def fill(target, at, stride, first, count, centre, sigma, integrate):
        inverse = 1.0 / sigma
        for k in range(0, count, WIDTH):
            x = ramp(float(first + k))
            u = (x - centre) * inverse
            if integrate:
                f, slope, growth = profiles.integrated(x, broadcast(centre), broadcast(sigma))
            else:
                f = exp_flushed(u * u * -0.5)
                slope = f * (u * inverse)
                growth = slope * u
            store_rounded(target, at + k, f)
            if columns > 1:
                store_rounded(target, at + stride + k, slope)
                store_rounded(target, at + 2 * stride + k, growth)
            if sphere:
                store_rounded(target, at + 3 * stride + k, u * u)

    return fill
