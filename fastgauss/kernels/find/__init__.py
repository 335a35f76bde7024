"""Kernels of detection: local maxima of the response and its noise."""
