"""Fits of separate spots: a lane is a spot."""
