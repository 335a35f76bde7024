"""Results draw and explain themselves; figures show in notebooks without pyplot."""

import pickle

import numpy as np
import pytest

import fastgauss as fg
import fastgauss.plot
from fastgauss.base import figures
from fastgauss.models.field_terms import Extent
from fastgauss.models.model import get_model
from fastgauss.models.psf_field import psf_field
from fastgauss.results.rows import Rows

pytest.importorskip("matplotlib")

from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure

MODEL = get_model("symmetric", 2)


def result_of(params, status=0, absolute=True, model=MODEL, **others):
    """A result with these parameters that no fit has made."""
    params = np.atleast_2d(np.array(params, float))
    n, size = params.shape
    packed = np.tile(np.eye(size)[np.tril_indices(size)] * 0.04, (n, 1))
    codes, many = np.full(n, status, np.int32), np.full(n, 121, np.int32)
    rows = Rows(params, packed, np.full(n, 116.0), codes, many - 112, many, many - 5)
    return fg.FitResult(model, rows._replace(**others), absolute=absolute)


SPOTS = [[90.0, 12.2, 9.1, 1.3, 5.0], [60.0, 25.0, 20.4, 1.3, 5.0]]
IMAGE = 5.0 + fg.image([[a, x, y, s, 0] for a, x, y, s, _ in SPOTS], (30, 40), "symmetric").sum(0)


def titles(figure):
    return [axes.get_title() for axes in figure.axes]


def test_an_image_a_movie_and_rois_are_drawn():
    result = result_of(SPOTS)
    assert titles(result.plot(IMAGE)) == ["2 spots", "residual"]
    movie = np.stack([IMAGE * 0, IMAGE, IMAGE])
    of_movie = result_of(SPOTS * 2, frames=np.array([1, 1, 2, 2]))
    assert titles(of_movie.plot(movie))[0] == "frame 1: 2 spots"
    shown = of_movie[1:].plot(movie, frame=2, norm="linear")
    assert titles(shown)[0] == "frame 2: 2 spots"
    np.testing.assert_array_equal(shown.axes[0].images[0].get_array(), IMAGE)
    assert titles(of_movie.plot(movie, frame=0))[0] == "frame 0: 0 spots"
    rois = np.stack([IMAGE[4:15, 7:18]] * 2)
    assert titles(result.plot(rois, rows=[1]))[0].startswith("ROI 1")
    joint = fg.fit_joint(IMAGE, [[9, 12], [20, 25]], background="constant")
    assert "model" in titles(joint.plot(IMAGE))


def test_a_volume_is_drawn_by_its_largest_values():
    spots = [[90.0, 7.2, 9.1, 5.0, 1.3, 0.0], [70.0, 14.0, 4.2, 3.1, 1.3, 0.0]]
    volume = 5.0 + fg.image(spots, (10, 14, 20), "symmetric").sum(axis=0)
    result = fg.fit_spots(volume, [[5, 9, 7], [3, 4, 14]])
    volume[:, 0, 0] = np.nan
    figure = result.plot(volume)
    assert titles(figure) == ["2 spots", "residual"]
    left, right = (np.asarray(axes.images[0].get_array()) for axes in figure.axes)
    assert left[9, 7] == volume[5, 9, 7] and np.nanmax(right) < 6.0
    figure.draw_without_rendering()
    counts = np.rint(np.nan_to_num(volume)).astype(np.uint16)
    left, right = (np.asarray(axes.images[0].get_array()) for axes in result.plot(counts).axes)
    assert left[9, 7] == counts[5, 9, 7] and right.dtype.kind == "f"
    for axes in (-1, 4):
        with pytest.raises(ValueError, match="dimensions"):
            fastgauss.plot.plot_spots(np.ones((3,) * abs(axes)), result)
    with pytest.raises(ValueError, match="image must hold a finite pixel"):
        result.plot(np.full((4, 5, 6), np.nan))


def test_named_axes_are_turned_as_fits_turn_them():
    xr = pytest.importorskip("xarray")
    result = result_of(SPOTS)
    image = xr.DataArray(IMAGE.T, dims=("x", "y"))
    joint = fg.fit_joint(IMAGE, [[9, 12], [20, 25]], background="constant")
    rois = np.stack([IMAGE[4:15, 7:18]] * 2)
    rotated = xr.DataArray(rois, dims=list("nyx")).transpose("x", "n", "y")
    movie, of_movie = np.stack([IMAGE * 0, IMAGE]), result_of(SPOTS, frames=np.array([1, 1]))
    frames = xr.DataArray(movie, dims=list("tyx")).transpose("y", "x", "t")
    for found, expected in (
        (result.plot(image), result.plot(IMAGE)),
        (fastgauss.plot.plot_spots(image, result), result.plot(IMAGE)),
        (joint.plot(image), joint.plot(IMAGE)),
        (result.plot(rotated), result.plot(rois)),
        (of_movie.plot(frames), of_movie.plot(movie)),
        (result.explain(1, image).figure, result.explain(1, IMAGE).figure),
        (of_movie.explain(1, frames).figure, of_movie.explain(1, movie).figure),
    ):
        assert titles(found) == titles(expected)
        for one, other in zip(found.axes, expected.axes, strict=True):
            np.testing.assert_array_equal(one.images[0].get_array(), other.images[0].get_array())


@pytest.mark.parametrize(
    ("data", "options", "reason"),
    [
        (IMAGE, {"frame": 0}, "frame must be None"),
        (IMAGE[np.newaxis], {"frame": 1}, "frame must be below 1, got 1"),
        (IMAGE[0], {}, "data must have 2 or 3 dimensions"),
    ],
)
def test_data_that_do_not_belong_to_the_result(data, options, reason):
    with pytest.raises(ValueError, match=reason):
        result_of(SPOTS, frames=np.array([0, 0])).plot(data, **options)


def test_figures_show_themselves():
    drawn = [
        fastgauss.plot.plot_spots(IMAGE, result_of(SPOTS)),
        fastgauss.plot.plot_slices(np.ones((4, 5, 6)) * np.arange(6.0)),
    ]
    for figure in drawn:
        assert isinstance(figure, Figure)
        assert figure._repr_png_().startswith(b"\x89PNG")
        again = pickle.loads(pickle.dumps(figure))
        assert type(again) is type(figure) is figures.ShownFigure
        assert again._repr_png_().startswith(b"\x89PNG")
    with pytest.raises(AttributeError, match="no attribute 'Other'"):
        _ = figures.Other


def test_the_grey_scale_shows_faint_and_bright_spots():
    rng = np.random.default_rng(2)
    sky = rng.normal(100.0, 3.0, (80, 80))
    sky[20:25, 20:25] += 20_000.0
    sky[60:63, 60:63] += 30.0
    (first, second) = (axes.images[0] for axes in result_of(SPOTS).plot(sky).axes)
    assert first.norm is second.norm and first.norm.vmin < 100 < first.norm.vmax
    faint, background = (float(first.norm(value)) for value in (130.0, 100.0))
    linear = result_of(SPOTS).plot(sky, norm="linear").axes[0].images[0].norm
    assert faint - background > 5 * (linear(130.0) - linear(100.0))
    values = np.linspace(first.norm.vmin, first.norm.vmax, 50)
    np.testing.assert_allclose(first.norm.inverse(first.norm(values)), values, rtol=1e-9)
    assert (np.diff(first.norm(values)) > 0).all()
    own = Normalize(0.0, 50.0)
    for norm in (own, LogNorm(1.0, 500.0)):
        assert result_of(SPOTS).plot(sky, norm=norm).axes[0].images[0].norm is norm
    for norm, error in (("log", ValueError), (3, TypeError), (None, TypeError)):
        with pytest.raises(error, match="norm must be"):
            result_of(SPOTS).plot(sky, norm=norm)


# -- explanations ------------------------------------------------------------------------------


@pytest.mark.parametrize("status", list(fg.Status))
def test_every_status_is_explained(status):
    text = result_of(SPOTS, status).explain(1).text
    assert text.startswith(f"Spot 1: {status.name}, {status.message}.")
    assert ("What to change" in text) == (status != fg.Status.CONVERGED)
    assert "x         25 +- 0.2" in text and "121 pixels, 5 free parameters, 9 rounds" in text


def test_an_explanation_names_the_largest_residual():
    image = IMAGE.copy()
    image[8, 14] += 500.0
    found = result_of(SPOTS).explain(0, image, box=9)
    assert "largest 500 at y = 8, x = 14" in found.text
    assert len(found.figure.axes) == 3
    np.testing.assert_array_equal(found.figure.axes[0].images[0].get_array(), image[5:14, 8:17])
    page = found._repr_html_()
    assert page.startswith("<pre>Spot 0: CONVERGED") and "data:image/png;base64,iVBOR" in page
    assert repr(found) == str(found) == found.text
    edge = result_of([[90.0, 1.0, 0.4, 1.3, 5.0]]).explain(0, image)
    assert edge.figure.axes[0].images[0].get_array().shape == (6, 7)


@pytest.mark.parametrize("kind", ["plain", "with_width", "with_source"])
def test_the_function_of_a_place_is_explained_at_that_place(kind):
    terms = np.array([[0.3], [0.2], [0.4]])  # the width grows along both axes
    field = psf_field(1, 0, Extent(60, 80), np.ones(1), terms)
    model = field if kind == "plain" else getattr(field, kind)()
    own = {"plain": [], "with_width": [1.1], "with_source": [1.0, 2.0, 0.5]}[kind]
    params = [[5e3, 14.2, 45.7, *own, 5.0], [4e3, 70.4, 47.1, *own, 5.0]]
    result, image = result_of(params, model=model), np.random.default_rng(1).random((60, 80))
    image += fg.image(params, (60, 80), model).sum(axis=0) - 5.0
    for row, (x, y) in enumerate([(14, 46), (70, 47)]):
        found = result.explain(row, image, box=15)
        shown = found.figure.axes[2].images[0].get_array()
        box = np.s_[y - 7 : y + 8, x - 7 : x + 8]
        expected = (image - fg.image(params[row], (60, 80), model))[box]
        np.testing.assert_allclose(shown, expected, atol=1e-9)
        assert f"residual: rms {np.sqrt((expected**2).mean()):.4g}" in found.text


def test_rois_and_frames_are_found_by_their_number():
    rois = np.stack([np.zeros((11, 11)), IMAGE[4:15, 7:18]])
    local = result_of([[90.0, 5.2, 5.1, 1.3, 5.0]] * 2)[[1]]
    text = local.explain(-1, rois).text
    assert text.startswith("Spot 0 (id 1): CONVERGED")
    rms = float(text.split("rms ")[1].split(",")[0])
    assert rms < 1e-3
    movie = np.stack([IMAGE * 0, IMAGE])
    of_movie = result_of(SPOTS, frames=np.array([1, 1]))
    assert "Spot 0 (frame 1)" in of_movie.explain(0, movie).text
    with pytest.raises(ValueError, match="data must have a ROI or frame 1, got 1"):
        local.explain(0, rois[:1])
    profile = fg.fit_rois(np.full((1, 9), np.nan))
    words = profile.explain(0, np.full((1, 9), np.nan))
    assert "no pixel of the spot is finite" in words.text and words.figure is None
    assert words._repr_html_().startswith("<pre>")


def test_numbers_give_advice_too():
    text = result_of([[1e-3, 12.2, 9.1, 1.3, 5.0]]).explain(0).text
    assert "faint" in text
    rows = result_of(SPOTS).rows._replace(objective=np.array([400.0, 110.0]))
    worse = result_of(SPOTS).with_rows(rows)
    assert "larger than the noise allows" in worse.explain(0).text
    assert "What to change" not in worse.explain(1).text
    held = rows.packed.copy()
    held[:, 9] = 0.0
    assert "sigma     1.3 (held)" in worse.with_rows(rows._replace(packed=held)).explain(0).text


def test_rows_and_data_that_are_wrong():
    result = result_of(SPOTS)
    with pytest.raises(IndexError, match="row 2 is out of range for 2 spots"):
        result.explain(2)
    with pytest.raises(TypeError, match="row must be an integer"):
        result.explain("0")
    with pytest.raises(ValueError, match="data must have 2 or 3 dimensions"):
        result.explain(0, IMAGE[0])
    lost = result_of([[np.nan] * 5], fg.Status.NOT_FINITE)
    with pytest.raises(ValueError, match="data must be None for a spot that was not fitted"):
        lost.explain(0, IMAGE)
    assert "nothing was fitted" in lost.explain(0).text
