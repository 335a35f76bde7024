"""Simulated data with known truth, for tests and for trying out settings."""

from .movies import SimulatedMovie, movie

__all__ = ["SimulatedMovie", "movie"]
