"""How each package finds spots: one table for peers.py and test_peers.py.

A finder takes an image and gives (row, column) of spots of about sigma 1.3. Thresholds are
set so that all see spots of height 100 and more over a background of 10. The other packages' are
those of ``fastgauss bench``.
"""

from __future__ import annotations

import numpy as np

from fastgauss.tools.bench_spots import HEIGHT, SIGMA, Find, photutils_finder, scikit_image_finder


def fastgauss() -> Find:
    """find_spots, one thread."""
    import fastgauss as fg

    def find(image: np.ndarray) -> np.ndarray:
        return fg.find_spots(image, SIGMA, threshold=HEIGHT, threads=1)

    return find


FINDERS = {
    "fastgauss": fastgauss,
    "scikit-image": scikit_image_finder,
    "photutils": photutils_finder,
}
