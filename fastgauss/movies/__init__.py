"""Movies: the spots of all frames, from arrays, files and live cameras."""

from .fitting import fit_movie, iter_movie
from .frame_fits import MovieError

__all__ = ["MovieError", "fit_movie", "iter_movie"]
