"""Stars that the first search did not find: in the residual, in units of its noise.

Faint stars in the wings of bright ones are no maxima of the image, or are hidden by its uneven
light. As long as they are not found, their light counts as part of the wings, and the sky between
the stars is estimated too low. Once the shape is known, all known stars are subtracted, and the
residual is divided by its noise, photons of the stars included; the Laplacian searches it for
further stars.
"""

from __future__ import annotations

import numpy as np

from ..find.detection import find_spots
from .scene import Scene
from .star_choice import NEAR, NEAR_SHARE, NEIGHBOUR

_SAME = 2.0  # sigmas within which a maximum of the residual is no other star
_SHARE = 0.05  # of the light of the known stars: less is what their shape misses


def add_stars(scene: Scene, refused: dict[int, str], threads: int | None) -> np.ndarray:
    """Give the scene the stars of its residual; their rows in the catalogue.

    Chosen stars beside which they are too bright are refused.
    """
    from scipy.spatial import KDTree

    places = _search(scene, threads)
    known = KDTree(scene.known.places)
    rows = scene.add(places[known.query(places)[0] > _SAME * scene.sigma])
    if not len(rows):
        return rows
    scene.fit_others(scene.drawn())
    own, flux = scene.known.places[scene.chosen], scene.others[:, 0]
    near = KDTree(scene.known.places[rows]).query_ball_point(own, NEAR * scene.sigma)
    brightest = np.array([flux[rows[beside]].max(initial=0.0) for beside in near])
    for row in scene.leave_out(brightest > NEAR_SHARE * scene.own[:, 0]):
        refused[int(row)] = NEIGHBOUR
    return rows


def _search(scene: Scene, threads: int | None) -> np.ndarray:
    """Places ``x, y`` of the stars in the residual."""
    picture, total = scene.picture, scene.drawn()
    cut = tuple(slice(picture.margin, picture.margin + n) for n in picture.shape)
    rest = np.where(picture.good, picture.values - total, np.nan)[cut]
    spread, light = scene.spreads(total)[cut], total[cut]
    found = find_spots(
        rest / spread, scene.sigma, detector="laplacian", details=True, threads=threads
    )
    at = tuple(np.rint(found.positions).astype(np.intp).T)
    return found.positions[found.amplitude * spread[at] > _SHARE * light[at], ::-1]
