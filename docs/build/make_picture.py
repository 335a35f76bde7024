"""Make the picture of the README: a part of the Hubble Deep Field, fitted.

Run ``python docs/build/make_picture.py`` with the extra ``example`` installed; it writes
``docs/hubble.png``. The image comes with scikit-image.
"""

from pathlib import Path

from skimage.color import rgb2gray
from skimage.data import hubble_deep_field

import fastgauss as fg
from fastgauss.plot import plot_spots, save_plot

PART = slice(565, 825), slice(120, 400)


def main() -> None:
    """Fit with the options of the README's command."""
    image = 255 * rgb2gray(hubble_deep_field())[PART]
    result = fg.fit_spots(image, model="rotated", sigma=2.0, threshold=40.0, box=15)
    save_plot(Path(__file__).parents[1] / "hubble.png", plot_spots(image, result, box=15), dpi=120)


if __name__ == "__main__":
    main()
