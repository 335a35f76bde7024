"""What follows the fit of a movie: the localisations of one molecule joined."""

from .grouping import Groups, group

__all__ = ["Groups", "group"]
