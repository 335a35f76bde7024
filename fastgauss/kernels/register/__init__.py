"""Displacements of windows of images."""
