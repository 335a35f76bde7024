"""Particles to the grid and back."""
