"""Sums of many Gaussians on a grid, and fits of them."""
