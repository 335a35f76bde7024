"""Kernels of sums by index."""
