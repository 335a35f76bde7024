"""evaluate, jacobian, image, gaussian_filter and level take dask's and xarray's arrays."""

import numpy as np
import pytest

import fastgauss as fg

dask = pytest.importorskip("dask")
da = pytest.importorskip("dask.array")
xr = pytest.importorskip("xarray")

ONE = np.array([100.0, 3.0, 4.0, 1.5, 1.0, 0.3, 10.0])
MANY = np.tile(ONE, (5, 1)) + 0.1 * np.arange(5)[:, np.newaxis]
RNG = np.random.default_rng(0)
X, Y = RNG.uniform(0, 8, (2, 7, 9))
PICTURE = RNG.normal(size=(20, 23)).astype(np.float32)


@pytest.fixture(autouse=True)
def _synchronous():
    with dask.config.set(scheduler="synchronous"):
        yield


@pytest.mark.parametrize("function", [fg.evaluate, fg.jacobian])
@pytest.mark.parametrize("params", [ONE, MANY[:, None, None, :]])
def test_points_of_dask_have_lazy_values(function, params):
    expected = function((X, Y), params)
    lazy_x, lazy_y = da.from_array(X, chunks=3), da.from_array(Y, chunks=(7, 4))
    for coords in ((lazy_x, lazy_y), (X, lazy_y)):
        found = function(coords, params)
        assert isinstance(found, da.Array)
        assert found.shape == expected.shape
        np.testing.assert_array_equal(found.compute(), expected)
    found = function((X, Y), da.from_array(params, chunks=2))
    np.testing.assert_array_equal(found.compute(), expected)


def test_points_on_a_line_may_be_lazy_too():
    x = np.arange(9.0)
    found = fg.evaluate(da.from_array(x, chunks=4), [1.0, 2.0, 1.0, 0.0])
    np.testing.assert_array_equal(found.compute(), fg.evaluate(x, [1.0, 2.0, 1.0, 0.0]))


def test_images_of_lazy_parameters_are_lazy():
    found = fg.image(da.from_array(MANY, chunks=2), (8, 9))
    assert found.chunks == ((2, 2, 1), (8,), (9,))
    np.testing.assert_array_equal(found.compute(), fg.image(MANY, (8, 9)))


def test_named_dimensions_broadcast_by_name():
    x = xr.DataArray(np.arange(6.0), dims="x", coords={"x": np.arange(6) / 2})
    y = xr.DataArray(np.arange(4.0), dims="y")
    expected = fg.evaluate((x.values[:, None], y.values), ONE)
    for each in ((x, y), (x.chunk(2), y)):
        found = fg.evaluate(each, ONE)
        assert found.dims == ("x", "y")
        assert found.x.values.tolist() == x.x.values.tolist()
        np.testing.assert_array_equal(found.values, expected)
        assert fg.jacobian(each, ONE).dims == ("x", "y", "parameter")
    spots = xr.DataArray(MANY, dims=("spot", "p"), coords={"spot": list("abcde")})
    values = fg.evaluate((x, y), spots)
    assert values.dims == ("x", "y", "spot")
    np.testing.assert_array_equal(values.values[..., 2], fg.evaluate((x, y), MANY[2]).values)
    images = fg.image(spots, (8, 9))
    assert images.dims == ("spot", "y", "x")
    np.testing.assert_array_equal(images.values, fg.image(MANY, (8, 9)))
    assert fg.jacobian((x, y), spots).dims == ("x", "y", "spot", "p")


@pytest.mark.parametrize("chunk", [False, True])
def test_a_labelled_picture_keeps_its_labels(chunk):
    picture = xr.DataArray(
        PICTURE, dims=("y", "x"), coords={"x": np.arange(23)}, name="sky", attrs={"unit": "e"}
    )
    mask = PICTURE > 1
    given = picture.chunk({"y": 6, "x": 9}) if chunk else picture
    for function, options in (
        (fg.gaussian_filter, {"sigma": 1.5, "mask": mask}),
        (fg.level, {"axis": 0, "mask": mask}),
    ):
        found = function(given, **options)
        assert (found.dims, found.name, found.attrs) == (("y", "x"), "sky", {"unit": "e"})
        assert (type(found.data) is da.Array) == chunk
        np.testing.assert_array_equal(found.values, function(PICTURE, **options))
    found = fg.level(given, mask=picture > 1)
    np.testing.assert_array_equal(found.values, fg.level(PICTURE, mask=mask))


def test_rows_of_a_lazy_picture_are_levelled():
    found = fg.level(da.from_array(PICTURE, chunks=9), axis=0, order=2)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found.compute(), fg.level(PICTURE, axis=0, order=2))


@pytest.mark.parametrize(
    "call",
    [
        lambda: fg.evaluate(da.ones(3), ONE[:3]),
        lambda: fg.evaluate(da.ones(3), np.ones(4), pixel="round"),
        lambda: fg.evaluate((da.ones(3), Y), ONE),
        lambda: fg.evaluate(da.ones(3), np.ones(4), out=np.ones(3)),
        lambda: fg.evaluate((xr.DataArray(X), Y), ONE),
        lambda: fg.evaluate((xr.DataArray(X), 1.0), MANY),
        lambda: fg.evaluate(xr.Dataset({"a": ("x", X[0])}), np.ones(4)),
        lambda: fg.level(xr.Variable("x", X[0])),
        lambda: fg.evaluate((), da.ones(4)),
        lambda: fg.image(da.ones((3, 7)), (4, -4)),
        lambda: fg.image(da.ones(()), (4, 4)),
        lambda: fg.level(da.ones((3, 3)), axis=7),
        lambda: fg.level(da.ones((3, 3)), mask=np.zeros((2, 3), bool)),
        lambda: fg.gaussian_filter(da.ones((3, 3)), 1.0, out=np.ones((3, 3))),
    ],
)
def test_what_is_wrong_is_said_at_once(call):
    with pytest.raises((TypeError, ValueError)):
        call()
