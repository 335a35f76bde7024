"""Profile tables of one axis."""

from __future__ import annotations

from collections.abc import Callable

from .._compile import device, inner_kernel
from ..numeric.special import exp_flushed, exp_to_single
from ..simd.lane_types import WIDTH
from ..simd.lanes import broadcast
from ..simd.masked import ramp, store_rounded
from . import profiles


def make_fill(columns: int, sphere: bool) -> Callable:
    """Make tables of one axis: ``columns`` of value and derivatives; squares for a sphere.

    Sampled values are as accurate as float32 shows if they are ``single``.
    """

    @device
    def put(target, at, stride, u, f, slope, growth):
        """Nodes of each table from a distance in sigmas, a value and its derivatives."""
        store_rounded(target, at, f)
        if columns > 1:
            store_rounded(target, at + stride, slope)
            store_rounded(target, at + 2 * stride, growth)
        if sphere:
            store_rounded(target, at + 3 * stride, u * u)

    @inner_kernel
    def fill_integrated(target, at, stride, first, count, centre, sigma):
        """Means over pixels.

        This is not inlined: else the compiler takes what depends on sigma alone out of the loop
        to where particles without pixels pass too, and sampled tables take twice as long.
        """
        for k in range(0, count, WIDTH):
            x = ramp(float(first + k))
            f, slope, growth = profiles.integrated(x, broadcast(centre), broadcast(sigma))
            put(target, at + k, stride, (x - centre) * (1.0 / sigma), f, slope, growth)

    @device
    def fill_sampled(target, at, stride, first, count, centre, sigma, single):
        inverse = 1.0 / sigma
        for k in range(0, count, WIDTH):
            u = (ramp(float(first + k)) - centre) * inverse
            power = u * u * -0.5
            f = exp_to_single(power) if single else exp_flushed(power)
            slope = f * (u * inverse)
            put(target, at + k, stride, u, f, slope, slope * u)

    @device
    def fill(target, at, stride, first, count, centre, sigma, integrate, single=False):
        if integrate:
            fill_integrated(target, at, stride, first, count, centre, sigma)
        else:
            fill_sampled(target, at, stride, first, count, centre, sigma, single)

    return fill
