"""Fits of separate ROIs."""
