"""Gaussian filters and windows."""

from .gaussian import (
    difference_of_gaussians,
    gaussian_filter,
    gaussian_gradient_magnitude,
    gaussian_kernel,
    gaussian_laplace,
)

__all__ = [
    "difference_of_gaussians",
    "gaussian_filter",
    "gaussian_gradient_magnitude",
    "gaussian_kernel",
    "gaussian_laplace",
]
