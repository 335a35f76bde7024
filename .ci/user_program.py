"""A user's typed program: mypy reads it against the installed wheel, so py.typed is true."""

from typing import Any

import numpy as np

import fastgauss as fg


def brightest(image: np.ndarray) -> np.ndarray:
    """Fit the spots of an image and give the widths of the good ones."""
    positions: np.ndarray = fg.find_spots(image, 1.3)
    result: fg.FitResult = fg.fit_spots(image, positions, "elliptic", threads=1)
    good = result[result.converged]
    table: dict[str, np.ndarray] = good.to_dict()
    field = fg.GaussianField(image.shape, positions, 1.3)
    amplitudes: fg.AmplitudeFit = field.fit_amplitudes(image)
    drawn: np.ndarray = fg.render(image.shape, positions, amplitudes.amplitudes, 1.3)
    density: Any = fg.kde(drawn[0])
    shift: fg.register.Shift = fg.register.align(image, drawn)
    psf: fg.PsfModel = fg.psf_model([0.8, 0.2], [1.2, 2.5])
    stars: fg.FitResult = fg.fit_rois(image[np.newaxis], psf)
    print(len(good), shift.dx, density, psf.fwhm, stars.flux)
    return table["sigma_x"]


fg.fit_rois(np.zeros((1, 7, 7)), method=3)  # type: ignore[arg-type]  # not a word
