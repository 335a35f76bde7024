"""The picture of a measured point spread function."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

import fastgauss as fg
from fastgauss.kernels._compile import JIT_DISABLED

figures = pytest.importorskip("matplotlib.figure")
pytestmark = pytest.mark.skipif(JIT_DISABLED, reason="the search of spots is slow")


@pytest.fixture(scope="module")
def measurement():
    star = np.exp(-0.5 * np.hypot(*(np.indices((41, 43)) - 20.3)) ** 2 / 1.4**2)
    image = np.random.default_rng(0).poisson(5e3 * star + 20.0)
    return fg.measure_psf(image, components=1, box=21)


def test_the_panels_show_the_curves(measurement):
    from fastgauss.plot import plot_psf

    figure = plot_psf(measurement)
    profile, growth, residual, picture = figure.axes[:4]
    assert "1 Gaussian" in figure.get_suptitle() and "1 star" in figure.get_suptitle()
    data, model = growth.lines
    assert_allclose(data.get_ydata(), measurement.growth["data"])
    assert_allclose(model.get_ydata(), measurement.growth["model"])
    assert profile.get_yscale() == "log" and residual.get_yscale() == "linear"
    assert picture.images[0].get_array().shape == (21, 21)
    low, high = picture.images[0].get_clim()
    assert low == -high < 0
    figure.draw_without_rendering()


def test_a_given_figure_is_drawn_on(measurement):
    from fastgauss.plot import plot_psf

    figure = figures.Figure()
    assert plot_psf(measurement, figure=figure) is figure
    assert len(figure.axes) == 5  # one is the scale of colours
