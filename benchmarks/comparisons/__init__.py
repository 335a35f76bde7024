"""Comparisons with other packages, one job a file."""
