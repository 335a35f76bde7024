"""Pictures of regions without a pixel: drawn, and without a warning."""

import numpy as np
import pytest

import fastgauss as fg
import fastgauss.plot

pytest.importorskip("matplotlib")


@pytest.mark.parametrize(
    "shape", [(2, 0, 0), (2, 0, 5), (3, 5, 0), (0, 0, 4), (2, 0, 4, 4), (2, 3, 0, 4), (2, 3, 4, 0)]
)
def test_regions_without_a_pixel_are_drawn(shape):
    rois = np.zeros(shape)
    figure = fg.plot.plot_rois(rois, fg.fit_rois(rois))
    figure.draw_without_rendering()
    assert len(figure.axes) == 3 * max(shape[0], 1)
    if shape[0]:
        assert figure.axes[0].get_title().startswith("ROI 0")
        assert "too few pixels" in figure.axes[0].get_title()
