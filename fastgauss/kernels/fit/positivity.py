"""How the model of a likelihood stays positive, and where it comes to rest.

A likelihood may be largest where the model is 0 at its darkest pixel, if nothing was counted there.
Near that edge Fisher's weight 1 / model of this pixel grows, and the step of the normal
equations leaves the pixel's value nearly as it is: the weight is an active constraint. What the
step needs is a limit. As in interior point methods (Nocedal & Wright 2006, section 19.2), a
step takes the model's lowest value down to ``_SHRINK`` of what it was at most, never to 0.

With f the profile at the darkest pixel, that value is amplitude f + offset. For a bright
spot the offset keeps to the limit, for a dark one, whose darkest pixel is in the middle,
the amplitude.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from .._compile import device
from ..simd.lanes import absolute, broadcast, load, maximum, select, store

_SHRINK = 1e-3  # of the model's lowest value, which one step leaves at least
_LOWEST = 1e-12  # of the mean, the same of all steps: a larger weight would drown the others
_ROUNDING = 1e-14  # of amplitude and offset, the same
_EDGE = 1e-7  # of the mean: a model that is lower at some pixel rests on the edge
_TINY = 1e-300


@cache
def make_positive(size: int, lowest: int, mean: int) -> tuple[Callable, Callable]:
    """``(keep, rests)`` of models with ``size`` parameters.

    The lane rows ``lowest`` and ``mean`` hold the lowest value of the accepted model, and the mean
    of the data.
    """
    last = size - 1

    @device
    def keep(m, q, gradient, profile, below):
        """Limit amplitude and offset of the trial q, whose profile at the darkest pixel this is.

        ``below`` is what the model may be below 0: the least variance that is added to it.
        Returns what that takes from the step's squared length.
        """
        amplitude, offset = load(m, q), load(m, q + last)
        profile = maximum(profile, broadcast(_TINY))
        rounding = (absolute(amplitude) * profile + absolute(offset)) * _ROUNDING
        least = maximum(load(m, lowest) * _SHRINK, load(m, mean) * _LOWEST) + rounding - below
        dark = amplitude < 0.0
        kept_offset = maximum(offset, least - select(dark, 0.0, amplitude) * profile)
        kept = select(dark, maximum(amplitude, (least - kept_offset) / profile), amplitude)
        store(m, q, kept)
        store(m, q + last, kept_offset)
        by_offset = (kept_offset - offset) * load(m, gradient + last)
        return by_offset + (kept - amplitude) * load(m, gradient)

    @device
    def rests(m, lane):
        """Whether the accepted model of one lane is next to 0 somewhere."""
        return m[lowest, lane] < _EDGE * m[mean, lane]

    return keep, rests
