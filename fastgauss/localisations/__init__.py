"""What follows the fit of a movie: drift estimated, localisations of one molecule joined."""

from .drift import Drift, DriftStatus, estimate_drift
from .grouping import Groups, group

__all__ = ["Drift", "DriftStatus", "Groups", "estimate_drift", "group"]
