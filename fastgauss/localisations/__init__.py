"""Localisations after the fit of a movie: their drift, their groups, and their picture."""

from .drift import Drift, DriftStatus, estimate_drift
from .grouping import group
from .groups import Groups
from .rendering import render_localisations

__all__ = ["Drift", "DriftStatus", "Groups", "estimate_drift", "group", "render_localisations"]
