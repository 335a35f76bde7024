"""Fits of overlapping spots: a lane is a pixel."""
