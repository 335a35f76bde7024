"""Sums of kernel densities."""
