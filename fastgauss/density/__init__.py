"""Kernel densities: `kde` and the `KernelDensity` that it returns."""

from .estimation import kde
from .kernel_density import KernelDensity

__all__ = [
    "KernelDensity",
    "kde",
]
