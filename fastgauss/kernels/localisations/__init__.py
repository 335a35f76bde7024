"""Kernels of localisations: links from frame to frame."""
