"""Overlapping spots as one problem."""
