"""Checks, threads, progress, the grid and status codes, used by all other rooms."""
