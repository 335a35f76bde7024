"""Sums by index."""
