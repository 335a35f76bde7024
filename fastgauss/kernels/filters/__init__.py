"""Kernels of separable filters."""
