"""Whole images: found, fitted, searched again; calibration; stacks."""
