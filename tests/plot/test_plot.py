"""Plots: what is drawn is what was fitted, and pyplot is left alone."""

import subprocess
import sys

import numpy as np
import pytest

import fastgauss as fg
from fastgauss import plot
from fastgauss.kernels._compile import JIT_DISABLED
from fastgauss.models.model import get_model
from fastgauss.results.rows import Rows

pytest.importorskip("matplotlib")

from matplotlib.collections import EllipseCollection
from matplotlib.figure import Figure

SPOTS = np.array([
    [100.0, 20.3, 11.8, 2.2, 1.2, 0.5, 10.0],
    [80.0, 44.6, 20.1, 1.8, 1.3, -1.1, 10.0],
    [60.0, 30.2, 33.4, 1.6, 1.4, 1.4, 10.0],
])  # fmt: skip
SHAPE = (44, 60)


def scene():
    spots = SPOTS - [0, 0, 0, 0, 0, 0, 10.0]
    return 10.0 + fg.image(spots, SHAPE, model="rotated").sum(axis=0)


def fit(image, model="rotated", **options):
    return fg.fit_spots(image, np.rint(SPOTS[:, 2:0:-1]), model, **options)


def outlines(figure):
    """Data coordinates of points on the drawn ellipses, (n, points, 2)."""
    figure.draw_without_rendering()
    axes = figure.axes[0]
    (drawn,) = [c for c in axes.collections if isinstance(c, EllipseCollection)]
    turn = np.linspace(0, 2 * np.pi, 64)
    circle = np.column_stack((np.cos(turn), np.sin(turn)))
    points = []
    for matrix, offset in zip(drawn.get_transforms(), drawn.get_offsets(), strict=True):
        shape = drawn.get_transform().transform(circle @ matrix[:2, :2].T)
        centre = drawn.get_offset_transform().transform(offset)
        points.append(axes.transData.inverted().transform(shape + centre))
    return np.array(points)


def test_ellipses_follow_the_contour():
    image = scene()
    figure = plot.plot_spots(image, fit(image), n_sigma=2.0)
    assert [axes.get_title() for axes in figure.axes] == ["3 spots", "residual"]
    for spot, points in zip(SPOTS, outlines(figure), strict=True):
        height = fg.evaluate((points[:, 0], points[:, 1]), spot, model="rotated") - 10.0
        np.testing.assert_allclose(height, spot[0] * np.exp(-2.0), rtol=1e-3)


@pytest.mark.parametrize("model", ["symmetric", "elliptic"])
def test_unturned_models_are_drawn_too(model):
    image = scene()
    result = fit(image, model)
    wide = np.ptp(outlines(plot.plot_spots(image, result))[:, :, 0], axis=1)
    sigma = result.sigma if model == "symmetric" else result.sigma_x
    np.testing.assert_allclose(wide, 4 * sigma, rtol=2e-3)


def residual(figure):
    return figure.axes[1].images[0].get_array()


def test_a_good_fit_vanishes():
    image = scene()
    rest = residual(plot.plot_spots(image, fit(image), box=17))
    assert np.abs(rest - 10.0).max() < 0.5


def test_a_wide_dark_spot_leaves_no_step():
    image = fg.image([-50.0, 20.0, 20.0, 6.0, 100.0], (40, 40), model="symmetric")
    rest = residual(plot.plot_spots(image, fg.fit_spots(image, [[20, 20]])))
    before, after = np.abs(np.diff(image)).max(), np.abs(np.diff(rest)).max()
    assert after < 2 * before


def test_close_spots_are_not_subtracted_twice():
    image = fg.image([100.0, 20.0, 20.0, 1.5, 10.0], (40, 40), model="symmetric")
    result = fg.fit_spots(image, [[20, 20], [20, 21], [19, 20]])
    rest = residual(plot.plot_spots(image, result, box=17))
    np.testing.assert_allclose(rest, 10.0, atol=0.01)


def test_both_panels_have_one_scale():
    image = scene()
    left, right = (axes.images[0] for axes in plot.plot_spots(image, fit(image)).axes)
    assert left.get_clim() == right.get_clim()
    np.testing.assert_array_equal(left.get_array(), image)


def test_failures_missing_pixels_and_integers():
    image = scene()
    image[22:44, 20:42] = np.nan
    result = fit(image)
    assert result.converged.sum() == 2
    figure = plot.plot_spots(image, result)
    assert figure.axes[0].get_title() == "3 spots, 1 not converged (x)"
    assert len(outlines(figure)) == 2
    counts = np.nan_to_num(image).astype(np.uint8)
    assert residual(plot.plot_spots(counts, result)).dtype == np.float64


def test_image_model_and_residual_of_a_joint_fit():
    image = fg.image([100.0, 20.0, 20.0, 1.5, 10.0], (40, 40), model="symmetric")
    image += fg.image([80.0, 23.0, 20.0, 1.5, 0.0], (40, 40), model="symmetric")
    result = fg.fit_joint(image, [[20, 20], [20, 23]])
    figure = plot.plot_joint(image, result)
    titles = [axes.get_title() for axes in figure.axes]
    assert titles[:2] == ["2 spots", "model"]
    assert titles[2].startswith("residual, noise ")
    left, model, rest = (axes.images[0] for axes in figure.axes)
    assert left.get_clim() == model.get_clim()
    np.testing.assert_allclose(model.get_array(), image, atol=1e-3)
    np.testing.assert_allclose(rest.get_array(), image - model.get_array(), atol=1e-12)
    assert rest.get_clim()[0] == -rest.get_clim()[1]
    assert len(outlines(figure)) == 2


def test_a_joint_plot_of_no_spots_and_of_no_noise():
    flat = np.full((20, 60), 3)  # wide: one panel above the other
    figure = plot.plot_joint(flat, fg.fit_joint(flat, np.empty((0, 2))))
    assert [axes.get_title() for axes in figure.axes] == ["0 spots", "model", "residual, noise 0"]
    np.testing.assert_array_equal(figure.axes[2].images[0].get_array(), 0)
    with pytest.raises(ValueError, match="image must have 2 dimensions"):
        plot.plot_joint(flat[0], fg.fit_joint(flat, np.empty((0, 2))))


def test_no_spots_and_a_flat_image():
    flat = np.full((20, 30), 3)
    figure = plot.plot_spots(flat, fg.fit_spots(flat, np.empty((0, 2))))
    assert figure.axes[0].get_title() == "0 spots"
    np.testing.assert_array_equal(residual(figure), flat)


def test_spots_at_the_border():
    image = fg.image([100.0, 1.2, 0.7, 1.5, 10.0], (30, 30), model="symmetric")
    rest = residual(plot.plot_spots(image, fg.fit_spots(image, [[1, 1]]), box=17))
    np.testing.assert_allclose(rest, 10.0, atol=0.01)


@pytest.mark.parametrize("shape", [(30, 300), (300, 30), (100, 100)])
def test_panels_fill_the_figure(shape):
    image = np.random.default_rng(0).normal(size=shape)
    figure = plot.plot_spots(image, fg.fit_spots(image, np.empty((0, 2))))
    figure.draw_without_rendering()
    inches = [axes.get_window_extent().size / figure.dpi for axes in figure.axes]
    assert all(size.max() > 3.5 for size in inches)
    assert figure.axes[0].get_window_extent().y1 < figure.bbox.y1  # room for the title


def test_a_figure_may_be_given():
    image = scene()
    outer = Figure((8, 8))
    part = outer.subfigures(2, 1)[0]
    assert plot.plot_spots(image, fit(image), figure=part) is part
    assert len(outer.axes) == 2


@pytest.mark.skipif(JIT_DISABLED, reason="too many spots for plain Python")
def test_thousands_of_spots():
    row, column = np.mgrid[5:1200:12, 5:1500:12]
    params = np.full((row.size, 5), 1.5)
    params[:, 1], params[:, 2] = column.ravel(), row.ravel()
    nothing = np.zeros((row.size, 15))
    whole = np.zeros(row.size, int)
    rows = Rows(params, nothing, whole, whole, whole, whole, whole)
    result = fg.FitResult(get_model("symmetric", 2), rows, absolute=False)
    figure = plot.plot_spots(np.zeros((1200, 1500)), result)
    assert len(outlines(figure)) == 12_500
    assert residual(figure)[5::12, 5::12].max() < -1.49


def test_bad_arguments():
    image = scene()
    result = fit(image)
    with pytest.raises(ValueError, match="image must have 2 dimensions"):
        plot.plot_spots(image[0], result)
    with pytest.raises(ValueError, match="image must hold a finite pixel"):
        plot.plot_spots(np.full((4, 4), np.nan), result)
    with pytest.raises(ValueError, match="box must be at least 1"):
        plot.plot_spots(image, result, box=0)
    with pytest.raises(ValueError, match="n_sigma must be"):
        plot.plot_spots(image, result, n_sigma=-1)


def test_saving(tmp_path):
    figure = plot.plot_spots(scene(), fit(scene()))
    for name, start in (("a.png", b"\x89PNG"), ("b.pdf", b"%PDF"), ("c.SVG", b"<?xml")):
        plot.save_plot(tmp_path / name, figure)
        assert (tmp_path / name).read_bytes().startswith(start)
    with pytest.raises(ValueError, match="must end in one of"):
        plot.save_plot(tmp_path / "d.doc", figure)
    assert len(list(tmp_path.iterdir())) == 3


def test_pyplot_is_never_imported(tmp_path):
    code = (
        "import sys, numpy as np, fastgauss as fg; from fastgauss.plot import *;"
        "image = np.eye(20); result = fg.fit_spots(image, [[9, 9]]);"
        f"save_plot({str(tmp_path / 'a.png')!r}, plot_spots(image, result));"
        "assert 'matplotlib' in sys.modules; assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
