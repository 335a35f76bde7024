"""Kernels of results: the owner of each pixel."""
