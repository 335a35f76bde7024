"""Pictures of regions, errors and volumes: what is drawn is what is there, also of odd data."""

import numpy as np
import pytest

import fastgauss as fg
from fastgauss import plot
from fastgauss.models.model import get_model
from fastgauss.results.rows import Rows

pytest.importorskip("matplotlib")

from matplotlib.figure import Figure

MODEL = get_model("symmetric", 2)


def made(params, errors=0.1, status=0, model=MODEL):
    """A result with these parameters."""
    params = np.atleast_2d(np.asarray(params, float))
    n, size = params.shape
    packed = np.zeros((n, size * (size + 1) // 2))
    i = np.arange(size)
    packed[:, i * (i + 3) // 2] = np.square(errors)
    whole = np.zeros(n, int)
    rows = Rows(params, packed, whole, whole + status, whole, whole, whole)
    return fg.FitResult(model, rows, absolute=False)


def drawn(axes):
    return axes.images[0].get_array()


def titles(figure):
    return [axes.get_title() for axes in figure.axes if axes.images]


# -- regions of interest -----------------------------------------------------------------------


def test_data_model_and_residual_of_each_roi():
    params = [[100.0, 4.8, 5.3, 1.2, 10.0], [50.0, 5.1, 4.6, 1.5, 8.0]]
    rois = fg.image(params, (11, 13), model="symmetric") + 1.0
    figure = plot.plot_rois(rois, made(params))
    axes = np.reshape(figure.axes, (3, 2))
    for column, roi in enumerate(rois):
        data, model, residual = axes[:, column]
        np.testing.assert_array_equal(drawn(data), roi)
        np.testing.assert_allclose(drawn(model), roi - 1.0)
        np.testing.assert_allclose(drawn(residual), 1.0)
        assert data.images[0].get_clim() == model.images[0].get_clim()
        assert residual.images[0].get_clim() == pytest.approx((-1.0, 1.0))
        assert data.lines[0].get_xydata()[0].tolist() == params[column][1:3]
        assert residual.get_xlabel().startswith("x (px)")
    figure.draw_without_rendering()


@pytest.mark.parametrize(
    ("n", "rows", "shown"), [(40, None, 12), (40, range(40), 40), (1, [-1], 1)]
)
def test_how_many_are_shown(n, rows, shown):
    params = np.tile([100.0, 4.0, 4.0, 1.2, 10.0], (n, 1))
    rois = np.broadcast_to(np.eye(9), (n, 9, 9))
    figure = plot.plot_rois(rois, made(params), rows=rows)
    assert len(titles(figure)) == 3 * shown
    assert (figure.get_suptitle() == "12 of 40 ROIs") == (shown == 12)


def test_failures_missing_pixels_strips_and_volumes():
    roi = np.full((3, 9, 9), np.nan)
    roi[1, 2:] = 4.0
    params = [[np.nan] * 5, [1.0, 4.0, 4.0, 1.0, 4.0], [np.nan] * 5]
    figure = plot.plot_rois(roi, made(params, status=fg.Status.TOO_FEW_PIXELS))
    assert titles(figure)[0] == "ROI 0\ntoo few pixels"
    assert titles(figure)[1].startswith("ROI 1\ntoo few pixels\n4 to")
    figure.draw_without_rendering()
    strip = plot.plot_rois(np.ones((2, 9, 1)), made([[1.0, 0.0, 4.0, 1.0, 0.0]] * 2))
    strip.draw_without_rendering()
    sizes = [axes.get_window_extent().size / strip.dpi for axes in strip.axes]
    assert min(size.min() for size in sizes) > 0.3
    solid = get_model("symmetric", 3)
    spots = [[9.0, 5.0, 4.0, 6.2, 1.2, 1.0], [np.nan] * 6]
    volume = np.arange(8.0)[:, np.newaxis, np.newaxis] * np.ones((2, 8, 9, 11))
    figure = plot.plot_rois(volume, made(spots, model=solid))
    assert titles(figure)[0].startswith("ROI 0, z = 6")
    assert (drawn(figure.axes[0]) == 6.0).all() and (drawn(figure.axes[1]) == 4.0).all()
    assert plot.plot_rois(roi[:0], made(params)[:0]).get_suptitle() == "0 ROIs"


def test_rois_that_do_not_belong_to_the_result():
    result = made([[1.0, 4.0, 4.0, 1.0, 4.0]] * 3)
    for shape in ((2, 9, 9), (3, 9), (3, 4, 9, 9)):
        with pytest.raises(ValueError, match="rois must"):
            plot.plot_rois(np.ones(shape), result)
    with pytest.raises(ValueError, match="rows must be among 3 ROIs, got 3"):
        plot.plot_rois(np.ones((3, 9, 9)), result, rows=[3])


# -- errors ------------------------------------------------------------------------------------


def test_right_errors_lie_on_the_line_and_pulls_under_the_curve():
    rng = np.random.default_rng(0)
    truth = np.array([100.0, 4.8, 5.3, 1.2, 10.0])
    errors = rng.uniform(0.01, 0.1, (6000, 1)) * [1.0, 1.0, 1.0, 1.0, 0.0]
    result = made(truth + rng.normal(size=(6000, 5)) * errors, errors)
    figure = plot.plot_calibration(result, truth)
    above, below = np.reshape(figure.axes, (2, 4))  # the offset was held
    assert [axes.get_xlabel() for axes in above] == [
        f"pull of {name}" for name in ("amplitude", "x", "y", "sigma")
    ]
    for axes in above:
        heights = np.array([bar.get_height() for bar in axes.patches])
        assert heights.sum() == 6000
        at, density = axes.lines[0].get_data()
        middle = [bar.get_x() + bar.get_width() / 2 for bar in axes.patches]
        expected = np.interp(middle, at, density)
        assert (np.abs(heights - expected) < 5 * np.sqrt(expected) + 20).all()
    for axes in below:
        reported, found = axes.lines[0].get_data()
        np.testing.assert_allclose(found, reported, rtol=0.2)
    assert below[1].get_xlabel() == "reported error of x (px)"
    figure.draw_without_rendering()


def test_truth_by_name_and_angles():
    model = get_model("rotated", 2)
    spots = np.tile([100.0, 7.0, 7.0, 2.0, 1.0, np.pi / 2 - 0.05, 3.0], (4, 1))
    figure = plot.plot_calibration(made(spots, model=model), {"theta": np.full(4, -1.5)})
    pulls, errors = figure.axes
    miss = np.pi - 0.05 - np.pi / 2 - 1.5
    assert errors.lines[0].get_ydata()[0] == pytest.approx(abs(-np.pi / 2 - 0.05 + 1.5), abs=1e-9)
    assert abs(miss) < 0.1 and "rad" in errors.get_xlabel() and pulls.get_title()


@pytest.mark.parametrize("n", [0, 1, 3])
def test_few_spots_or_none(n):
    params = np.tile([100.0, 4.8, 5.3, 1.2, 10.0], (n, 1)).reshape(n, 5)
    for status in (fg.Status.CONVERGED, fg.Status.SINGULAR):
        figure = plot.plot_calibration(made(params, status=status), params + 0.01)
        good = n if status == fg.Status.CONVERGED else 0
        spots = "1 spot" if n == 1 else f"{n} spots"
        assert figure.get_suptitle() == f"{good} of {spots} converged"
        assert len(figure.axes) == (10 if good else 1)
        figure.draw_without_rendering()


def test_truth_that_does_not_fit():
    result = made([[1.0, 4.0, 4.0, 1.0, 4.0]] * 3)
    for truth, message in (
        (np.ones(4), r"truth must have shape \(5,\) or \(3, 5\)"),
        (np.ones((2, 5)), "truth must have shape"),
        ({"width": 1.0}, "truth must be one of"),
        ({"x": np.ones(2)}, r"truth\['x'\] must be a number or have shape \(3,\)"),
    ):
        with pytest.raises(ValueError, match=message):
            plot.plot_calibration(result, truth)


# -- slices ------------------------------------------------------------------------------------

GRID = fg.Grid((8, 10, 12), spacing=(0.5, 0.2, 0.1), origin=(-2.0, 0.0, 5.0))
VOLUME = np.arange(960.0).reshape(8, 10, 12)


def test_slices_meet_in_a_point():
    figure = plot.plot_slices(VOLUME, GRID, at=(-0.6, 1.0, 5.3), unit="mm", label="light")
    assert titles(figure)[:3] == ["z = -0.5 mm", "y = 1 mm", "x = 5.3 mm"]
    z, y, x = figure.axes[:3]
    np.testing.assert_array_equal(drawn(z), VOLUME[3])
    np.testing.assert_array_equal(drawn(y), VOLUME[:, 5])
    np.testing.assert_array_equal(drawn(x), VOLUME[:, :, 3])
    np.testing.assert_allclose(z.images[0].get_extent(), (4.95, 6.15, 1.9, -0.1), atol=1e-12)
    assert (y.get_xlabel(), y.get_ylabel()) == ("x (mm)", "z (mm)")
    assert len({axes.images[0].get_clim() for axes in (z, y, x)}) == 1
    assert z.lines[1].get_xdata()[0] == pytest.approx(5.3)
    assert figure.axes[3].get_ylabel() == "light"


def test_chosen_slices_across_an_axis():
    figure = plot.plot_slices(VOLUME, GRID, axis=1, at=[0.0, 0.5, 1.8])
    assert titles(figure)[:3] == ["y = 0", "y = 0.6", "y = 1.8"]  # of two as near the upper
    assert len(titles(plot.plot_slices(VOLUME, axis=2))) == 4
    assert titles(plot.plot_slices(VOLUME[:1], axis=0))[0] == "z = 0 voxels"
    assert len(titles(plot.plot_slices(VOLUME, axis=0, at=range(7)))) == 7


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0])
def test_odd_volumes(value):
    volume = np.full((2, 30, 3), value)
    for figure in (plot.plot_slices(volume), plot.plot_slices(volume, axis=0)):
        figure.draw_without_rendering()


def test_slices_that_do_not_exist():
    for arguments, error, message in (
        ({"volume": VOLUME[0]}, ValueError, "volume must have 3 dimensions"),
        ({"volume": VOLUME[:0]}, ValueError, "volume must have a node"),
        ({"grid": fg.Grid((8, 10, 11))}, ValueError, "the grid's shape"),
        ({"axis": 3}, ValueError, "axis must be 0, 1 or 2"),
        ({"axis": 0, "at": 9.0}, ValueError, "at must be within -2 and 1.5 on axis 0, got 9"),
        ({"axis": 0, "at": []}, ValueError, "at must hold a coordinate"),
        ({"at": 3.0}, ValueError, "at must be within"),
        ({"at": "middle"}, TypeError, "at"),
    ):
        with pytest.raises(error, match=message):
            plot.plot_slices(**({"volume": VOLUME, "grid": GRID} | arguments))


# -- all ---------------------------------------------------------------------------------------


def test_a_figure_may_be_given():
    result = made([[1.0, 4.0, 4.0, 1.0, 4.0]] * 3)
    for draw in (
        lambda figure: plot.plot_rois(np.ones((3, 9, 9)), result, figure=figure),
        lambda figure: plot.plot_calibration(result, np.ones(5), figure=figure),
        lambda figure: plot.plot_slices(VOLUME, figure=figure),
    ):
        part = Figure((8, 8)).subfigures(2, 1)[0]
        assert draw(part) is part and part.axes


def test_missing_matplotlib_is_named(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"pip install matplotlib, or fastgauss with .*\[plot\]"):
        plot.plot_slices(VOLUME)


def test_plots_know_astigmatic_spots_and_refuse_volumes():
    model = fg.astigmatic_model((1.3, -250.0, 400.0), (1.3, 250.0, 400.0), (-500.0, 500.0))
    spots = np.array([[900.0, 12.0, 14.0, 250.0, 5.0]])
    image = fg.image(spots[0], (24, 28), model=model)
    figure = plot.plot_spots(image, made(spots, model=model), box=17)
    assert np.abs(drawn(figure.axes[1]) - 5.0).max() < 9.0
    solid = made([[9.0, 5.0, 4.0, 6.2, 1.2, 1.0]], model=get_model("symmetric", 3))
    with pytest.raises(ValueError, match="result must be of an image, got one of 3 dimensions"):
        plot.plot_spots(image, solid)


def test_the_light_of_stars_is_subtracted_beyond_their_boxes():
    psf = fg.psf_model([0.6, 0.4], [1.2, 4.0])
    image = psf.image((41, 43), (20.0, 21.0), flux=1e5, offset=7.0)
    image[20, 21] = np.nan
    stars = made([1e5, 21.0, 20.0, 7.0], model=psf)
    figure = plot.plot_spots(image, stars, box=9)
    residual = figure.axes[1].images[0].get_array()
    assert np.nanmax(np.abs(residual - 7.0)) < 0.5  # 40 photons are 8 pixels away
    (text,) = figure.axes[0].get_legend().get_texts()
    assert text.get_text() == "masked or saturated"
    assert plot.plot_spots(np.nan_to_num(image), stars).axes[0].get_legend() is None
