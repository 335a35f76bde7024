"""Overlapping spots fitted as one problem: `fit_joint`."""

from .joint_fits import fit_joint

__all__ = [
    "fit_joint",
]
