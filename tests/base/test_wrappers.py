"""Arrays of other libraries in the places where what they say has a meaning of its own."""

import itertools
import warnings
from importlib.util import find_spec

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import fastgauss as fg
from fastgauss.base import check, image_data, named_axes, wrappers

TRUTH = [[200.0, 20.3, 12.7, 1.3, 10.0], [150.0, 8.1, 24.4, 1.3, 0.0]]
IMAGE = np.random.default_rng(0).poisson(fg.image(TRUTH, (32, 30), model="symmetric").sum(axis=0))
PLACES = np.array([[13.0, 20.0], [24.0, 8.0]])
BAD = np.zeros(IMAGE.shape, bool)
BAD[13, 21] = True
SPOILT = np.where(BAD, 60000.0, IMAGE)


def spots(image, positions=PLACES, **options):
    """Parameters of the spots at known positions."""
    return fg.fit_spots(image, positions, **options).params


# -- masks and uncertainties -------------------------------------------------------------------


def test_images_bring_their_mask_and_uncertainty():
    nddata = pytest.importorskip("astropy.nddata")
    units = pytest.importorskip("astropy.units")
    sigma = np.sqrt(IMAGE + 4.0)
    expected = fg.fit_spots(SPOILT, PLACES, mask=BAD, weights=1 / sigma**2)
    kinds = {
        nddata.StdDevUncertainty: sigma,
        nddata.VarianceUncertainty: sigma**2,
        nddata.InverseVariance: 1 / sigma**2,
    }
    for kind, array in kinds.items():
        given = nddata.CCDData(SPOILT, unit="adu", mask=BAD, uncertainty=kind(array))
        found = fg.fit_spots(given, PLACES)
        assert_allclose(found.params, expected.params, rtol=1e-12)
        assert_allclose(found.errors, expected.errors, rtol=1e-9)
    other = nddata.StdDevUncertainty(sigma / 1000, unit=units.Unit("1000 adu"))
    found = spots(nddata.CCDData(SPOILT, unit="adu", mask=BAD, uncertainty=other))
    assert_allclose(found, expected.params, rtol=1e-12)
    assert_array_equal(spots(given, weights=np.ones(IMAGE.shape)), spots(SPOILT, mask=BAD))
    with pytest.raises(ValueError, match="image must have no uncertainty with method='mle'"):
        fg.fit_spots(given, PLACES, method="mle")
    with pytest.raises(TypeError, match="uncertainty of type std, var or ivar"):
        fg.fit_spots(nddata.NDData(IMAGE, uncertainty=nddata.UnknownUncertainty(sigma)), PLACES)
    sigma[0, 0] = 0.0
    sigma[1, 1] = np.nan
    found = fg.fit_spots(nddata.NDData(IMAGE, uncertainty=nddata.StdDevUncertainty(sigma)), PLACES)
    assert np.isfinite(found.params).all()


def test_own_masks_are_joined_with_the_one_that_is_given():
    other = np.zeros(IMAGE.shape, bool)
    other[24, 9] = True
    found = spots(np.ma.array(SPOILT, mask=BAD), mask=other)
    assert_array_equal(found, spots(SPOILT, mask=BAD | other))
    rois = np.stack([SPOILT[8:19, 15:26]] * 2)
    hidden = np.zeros(rois.shape, bool)
    hidden[0] = BAD[8:19, 15:26]
    one = np.zeros((11, 11), bool)
    one[0] = True
    found = fg.fit_rois(np.ma.array(rois, mask=hidden), mask=one)
    assert_array_equal(found.params, fg.fit_rois(rois, mask=hidden | one).params)
    with pytest.raises(ValueError, match="mask must have shape"):
        fg.fit_rois(np.ma.array(rois, mask=hidden), mask=np.zeros((5, 5), bool))
    with pytest.raises(TypeError, match="mask must be boolean"):
        fg.fit_rois(np.ma.array(rois, mask=hidden), mask=np.zeros((11, 11)))


def test_a_pixel_of_infinite_variance_does_not_exist():
    variance = np.where(BAD, np.inf, 2.0)
    plain = np.full(IMAGE.shape, 2.0)
    expected = spots(SPOILT, method="mle", variance=plain, mask=BAD)
    assert_array_equal(spots(SPOILT, method="mle", variance=variance), expected)
    found = fg.fit_joint(SPOILT, PLACES, method="mle", variance=variance)
    expected = fg.fit_joint(SPOILT, PLACES, method="mle", variance=plain, mask=BAD)
    assert_array_equal(found.params, expected.params)
    window = np.s_[np.newaxis, 8:19, 15:26]
    own = {"method": "mle", "variance": variance[window][0]}
    found = fg.fit_rois(SPOILT[window], **own)
    own = {"method": "mle", "variance": plain[window][0], "mask": BAD[window][0]}
    assert_array_equal(found.params, fg.fit_rois(SPOILT[window], **own).params)
    with pytest.raises(ValueError, match="variance must be finite and not negative"):
        spots(IMAGE, method="mle", variance=np.full(IMAGE.shape, np.nan))


# -- units -------------------------------------------------------------------------------------


def test_angles_and_sums_are_converted():
    units = pytest.importorskip("astropy.units")
    theta, phi = np.array([0.3, 1.2]), np.array([2.0, 5.0])
    expected = fg.healpix_pixel(theta, phi, 32)
    given = (theta * units.rad).to("arcmin"), (phi * units.rad).to("deg")
    assert_array_equal(fg.healpix_pixel(*given, 32), expected)
    lonlat = given[1], 90 * units.deg - given[0]
    assert_array_equal(fg.healpix_pixel(*lonlat, 32, lonlat=True), expected)
    with pytest.raises(TypeError, match=r"theta must be plain numbers or in rad, got .* in m"):
        fg.healpix_pixel(theta * units.m, phi, 32)
    sums = np.zeros(3) * units.m
    fg.add_at(sums, [0, 0], [1, 2] * units.km)
    assert_array_equal(sums.value, [3000.0, 0.0, 0.0])
    with pytest.raises(TypeError, match=r"values must be plain numbers, .* in km"):
        fg.add_at(np.zeros(3), [0, 0], [1, 2] * units.km)


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("samples", lambda km: fg.kde([1.0, 2.0, 3.0] * km)),
        ("bandwidth", lambda km: fg.kde([1.0, 2.0, 3.0], bandwidth=1 * km)),
        ("bounds", lambda km: fg.kde([1.0, 2.0], bandwidth=1.0, bounds=(0 * km, None))),
        ("coords", lambda km: fg.histogram([1.0, 2.0] * km, 2, (0, 2) * km)),
        ("range", lambda km: fg.histogram([1.0, 2.0], 2, (0, 2) * km)),
        ("image", lambda km: fg.fit_spots(IMAGE * km)),
        ("sigma", lambda km: fg.find_spots(IMAGE, sigma=1.3 * km)),
        ("box", lambda km: fg.fit_spots(IMAGE, PLACES, box=11 * km)),
        ("spacing", lambda km: fg.Grid((3, 4), spacing=(1, 2) * km)),
        ("shape", lambda km: fg.image([1.0, 2, 1, 0], np.array([5]) * km, model="symmetric")),
        ("fixed", lambda km: fg.fit_spots(IMAGE, PLACES, fixed={"sigma": 1.3 * km})),
    ],
)
def test_units_are_refused_by_the_name_of_the_argument(name, call):
    units = pytest.importorskip("astropy.units")
    with pytest.raises(TypeError, match=rf"^{name}.* in km"):
        call(units.km)


def test_quantities_of_other_libraries():
    pint = pytest.importorskip("pint")
    registry = pint.UnitRegistry()
    with pytest.raises(TypeError, match=r"samples must be .* in kilometer"):
        fg.kde(registry.Quantity(np.array([1.0, 2.0, 4.0]), "km"))
    plain = registry.Quantity(np.array([1.0, 2.0, 4.0]), "m/cm")
    assert fg.kde(plain).covariance == fg.kde([100.0, 200.0, 400.0]).covariance
    unyt = pytest.importorskip("unyt")
    with pytest.raises(TypeError, match=r"samples must be .* in km"):
        fg.kde(unyt.unyt_array([1.0, 2.0, 4.0], "km"))


# -- names -------------------------------------------------------------------------------------


def test_tables_of_positions_are_read_by_name():
    pd = pytest.importorskip("pandas")
    table = pytest.importorskip("astropy.table").Table
    columns = {"x": PLACES[:, 1], "mass": [1.0, 2.0], "y": PLACES[:, 0]}
    expected = spots(IMAGE)
    structured = np.zeros(2, [("y", "f8"), ("x", "f4")])
    structured["y"], structured["x"] = PLACES.T
    for given in (pd.DataFrame(columns), table(columns), structured):
        assert_array_equal(spots(IMAGE, given), expected)
        assert_array_equal(fg.render((32, 30), given), fg.render((32, 30), PLACES))
        assert_array_equal(fg.gather(IMAGE, given), fg.gather(IMAGE, PLACES))
        grid = fg.Grid((32, 30), spacing=0.5)
        assert_array_equal(grid.index(given), grid.index(PLACES))
    found = fg.fit_spots(IMAGE, PLACES)
    again = fg.fit_spots(IMAGE, found.to_dataframe(), guess=found.to_dataframe())
    assert_allclose(again.params, found.params, rtol=1e-6)
    assert_array_equal(spots(IMAGE, pd.DataFrame(PLACES)), expected)
    for names in (["a", "b"], ["row", "column"], ["x", "z"]):
        with pytest.raises(ValueError, match=r"^positions must have columns y, x, .* got columns"):
            fg.fit_spots(IMAGE, pd.DataFrame(PLACES, columns=names))
    with pytest.raises(ValueError, match="columns z, y, x"):
        fg.fit_spots(np.zeros((9, 32, 30)), pd.DataFrame(columns))


def test_tables_of_parameters_are_read_by_name():
    pd = pytest.importorskip("pandas")
    names = ["amplitude", "x", "y", "sigma", "offset"]
    rotated = pd.DataFrame(TRUTH, columns=names)[["sigma", "offset", "y", "x", "amplitude"]]
    expected = fg.image(TRUTH, (9, 8), model="symmetric")
    assert_array_equal(fg.image(rotated, (9, 8), model="symmetric"), expected)
    row = rotated.iloc[0]
    assert_array_equal(fg.image(row, (9, 8), model="symmetric"), expected[0])
    with pytest.raises(ValueError, match="params must have columns amplitude, x, y, sigma_x"):
        fg.image(rotated, (9, 8), model="elliptic")


def test_tables_of_samples_and_points_agree_by_name():
    pd = pytest.importorskip("pandas")
    cloud = np.random.default_rng(0).normal(size=(40, 2)) @ [[1.0, 2.0], [0.0, 0.3]]
    table = pd.DataFrame(cloud, columns=["x", "y"])
    density, axes = fg.kde(table), fg.pca(table)
    assert_array_equal(density(table[["y", "x"]]), fg.kde(cloud)(cloud))
    assert_allclose(axes.transform(table[["y", "x"]]), axes.scores, atol=1e-12)
    assert axes.columns == ("x", "y")
    assert axes.theta == pytest.approx(fg.pca(cloud[:, ::-1]).theta)
    with pytest.raises(ValueError, match="points must have columns x, y"):
        density(table.rename(columns={"x": "z"}))


def test_axes_that_are_named_lie_in_their_order():
    xr = pytest.importorskip("xarray")
    expected = fg.find_spots(IMAGE)
    assert_array_equal(fg.find_spots(xr.DataArray(IMAGE, dims=("y", "x"))), expected)
    assert_array_equal(fg.find_spots(xr.DataArray(IMAGE, dims=("row", "column"))), expected)
    movie = xr.DataArray(np.stack([IMAGE] * 9), dims=("time", "y", "x"))
    for call in (fg.find_spots, fg.fit_spots):
        with pytest.raises(ValueError, match=r"image must be one image .*once for each time"):
            call(movie)
    assert len(fg.fit_joint(movie, PLACES, frames=[0, 5])) == 2


def test_axes_that_are_named_may_lie_in_another_order():
    xr = pytest.importorskip("xarray")
    named = lambda array: xr.DataArray(array.T, dims=("X", "Y"))  # noqa: E731
    rotated, sigma = named(SPOILT), np.linspace(1.0, 3.0, 32)[:, np.newaxis] * np.ones((32, 30))
    assert_array_equal(fg.find_spots(rotated, mask=named(BAD)), fg.find_spots(SPOILT, mask=BAD))
    for fit in (fg.fit_spots, fg.fit_joint):
        found = fit(rotated, PLACES, mask=named(BAD), error=named(sigma))
        expected = fit(SPOILT, PLACES, mask=BAD, error=sigma)
        assert_array_equal(found.params, expected.params)
        with pytest.raises(ValueError, match=r"mask must have axes with names .* axes X, Y"):
            fit(rotated, PLACES, mask=BAD.T)
    # a map's names count beside an image that lies in the order
    found = fg.fit_spots(SPOILT, PLACES, mask=named(BAD))
    assert_array_equal(found.params, spots(SPOILT, mask=BAD))
    stack = xr.DataArray(np.stack([IMAGE.T] * 3), dims=("time", "x", "y"))
    for movie in (stack, list(stack)):
        assert_array_equal(fg.fit_movie(movie).params[::3], fg.fit_spots(IMAGE).params)
    rois = IMAGE[7:20, 14:29][np.newaxis]
    found = fg.fit_rois(
        xr.DataArray(rois.transpose(2, 0, 1), dims=("x", "roi", "y")).transpose("roi", "x", "y")
    )
    assert_array_equal(found.params, fg.fit_rois(rois).params)
    volume = np.arange(24.0).reshape(2, 3, 4)
    held = xr.DataArray(volume.transpose(2, 0, 1), dims=("x", "z", "y"))
    assert_array_equal(named_axes.in_order("image", held), volume)
    assert named_axes.in_order("image", stack[0].T).dims == ("y", "x")


@pytest.mark.parametrize("axes", ["nyx", "yxn", "xny"])
def test_the_axis_that_is_not_of_space_counts_the_images(axes):
    xr = pytest.importorskip("xarray")
    rois = np.stack([IMAGE[7:20, 14:29], IMAGE[18:31, 2:17], IMAGE[6:19, 13:28]])
    named = lambda array: xr.DataArray(array, dims=list("nyx")).transpose(*axes)  # noqa: E731
    bad = np.zeros(rois.shape, bool)
    bad[:, 2, 3] = True
    found = fg.fit_rois(named(rois), mask=named(bad))
    assert_array_equal(found.params, fg.fit_rois(rois, mask=bad).params)
    if axes != "nyx":
        with pytest.raises(ValueError, match="mask must have axes with names where rois has"):
            fg.fit_rois(named(rois), mask=bad)
    movie = np.stack([IMAGE, np.roll(IMAGE, 2, 0)])
    lazy = named(movie).chunk({"n": 1}) if find_spec("dask") else named(movie)
    expected = fg.fit_movie(movie, PLACES, mask=BAD)
    for frames in (named(movie), lazy):
        found = fg.fit_movie(frames, PLACES, mask=xr.DataArray(BAD.T, dims=("x", "y")))
        assert_array_equal(found.params, expected.params)
        assert_array_equal(found.frames, [0, 0, 1, 1])
    expected = fg.Camera.calibrate(movie[:, :9], movie[:, 5:14] * 9.0)
    camera = fg.Camera.calibrate(named(movie[:, :9]), named(movie[:, 5:14] * 9.0))
    assert_array_equal(camera.offset, expected.offset)
    expected = fg.fit_movie(movie, PLACES, mask=BAD)
    if axes == "xny":  # each frame lies as x, y
        with pytest.raises(ValueError, match="mask must have axes with names where image has"):
            fg.fit_movie(lazy, PLACES, mask=BAD)
    else:
        assert_array_equal(fg.fit_movie(lazy, PLACES, mask=BAD).params, expected.params)


def test_a_measured_function_is_turned_by_the_names_of_its_axes():
    xr = pytest.importorskip("xarray")
    array = fg.image([1.0, 5.0, 5.0, 1.4, 1.0, 0.0], (11, 11), "elliptic")
    expected = fg.psf_from_image(array, components=1)
    rotated = xr.DataArray(array.T, dims=("x", "y"))
    assert_array_equal(fg.psf_from_image(rotated, components=1).components, expected.components)
    assert fg.psf_from_image(array.T, components=1) != expected


def test_names_of_axes_that_say_too_little_or_too_much():
    xr = pytest.importorskip("xarray")
    twice = xr.DataArray(IMAGE, dims=("x", "X"))
    for call in (fg.find_spots, fg.fit_spots, fg.fit_joint, fg.measure_psf):
        with pytest.raises(ValueError, match=r"image must have at most one axis .*x, X"):
            call(twice, PLACES) if call is not fg.find_spots else call(twice)
    volume = np.arange(4 * 9 * 12.0).reshape(4, 9, 12)
    for order in itertools.permutations("zyx"):
        image_data.refuse_colours("image", xr.DataArray(volume, dims=list("zyx")).transpose(*order))
    for dims in ("yxc", ("y", "x", "colour"), ("row", "column", "colour")):
        with pytest.raises(ValueError, match=r"colour image|one image"):
            image_data.refuse_colours(
                "image", xr.DataArray(volume.transpose(1, 2, 0), dims=list(dims))
            )
    planes = xr.DataArray(volume, dims=list("zyx")).transpose("x", "z", "y")
    assert named_axes.frames_first("frames", planes).dims == ("z", "x", "y")
    assert named_axes.frames_first("frames", volume) is volume


def test_a_known_background_is_turned_with_its_image():
    xr = pytest.importorskip("xarray")
    named = lambda array: xr.DataArray(array.T, dims=("x", "y"))  # noqa: E731
    background = 10.0 + np.arange(32.0)[:, np.newaxis] * np.ones(30)
    expected = fg.fit_joint(IMAGE, PLACES, background=background).params
    found = fg.fit_joint(named(IMAGE), PLACES, background=named(background))
    assert_array_equal(found.params, expected)
    with pytest.raises(ValueError, match="background must have axes with names"):
        fg.fit_spots(named(IMAGE), PLACES, joint=True, background=background)
    np.testing.assert_array_equal(
        found.render(IMAGE.shape, named(background)), found.render(IMAGE.shape, background)
    )


# -- what looks like something else ------------------------------------------------------------


@pytest.mark.parametrize("colours", [3, 4])
def test_colour_images_are_no_volumes(colours):
    image = np.stack([IMAGE] * colours, axis=-1)
    for call in (fg.find_spots, fg.fit_spots, lambda a: fg.fit_joint(a, np.zeros((1, 3)))):
        with pytest.raises(ValueError, match=r"image must be .* that of a colour image"):
            call(image)
    assert fg.find_spots(np.moveaxis(image, -1, 0), sigma=(0.4, 1.3, 1.3)).shape[1] == 3


def test_one_region_of_interest_is_no_batch_of_profiles():
    roi = IMAGE[7:20, 14:27]
    for model in ("elliptic", "rotated"):
        with pytest.raises(ValueError, match=r"one ROI \(y, x\) is rois\[np.newaxis\]"):
            fg.fit_rois(roi, model)
    with pytest.warns(UserWarning, match="13 profiles of 13 points; one ROI"):
        result = fg.fit_rois(roi)
    assert "13 profiles" in repr(result)
    assert "2 spots," in repr(fg.fit_spots(IMAGE, PLACES))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fg.fit_rois(roi, coords=np.arange(13.0))
        fg.fit_rois(roi[:7])


def test_lengths_have_the_unit_of_abscissae(tmp_path):
    pytest.importorskip("pandas")
    nm = np.linspace(640, 672, 80)
    line = fg.fit_rois(850 * np.exp(-((nm[np.newaxis] - 656.3) ** 2) / 7), coords=nm)
    units = line.to_dataframe().attrs["units"]
    assert {units[name] for name in ("x", "sigma", "x_error", "sigma_error")} == {"coords"}
    assert units["flux"] == "value coords^1"
    for name in ("line.npz", "line.csv"):
        line.save(tmp_path / name)
        assert fg.FitResult.load(tmp_path / name).length == "coords"
    assert line[:1].length == fg.FitResult.concatenate([line, line]).length == "coords"
    other = fg.fit_rois(np.ones((1, 9)))
    assert other.length == "px"
    with pytest.raises(ValueError, match="one length"):
        fg.FitResult.concatenate([line, other])


@pytest.mark.parametrize("nothing", [[], np.empty(0), np.empty((0, 2)), ()])
def test_no_positions_are_no_spots(nothing):
    assert fg.fit_spots(IMAGE, nothing).params.shape == (0, 5)
    assert len(fg.fit_joint(IMAGE, nothing)) == 0
    assert not fg.render((4, 5), nothing).any()
    assert not fg.deposit((4, 5), nothing).any()
    assert fg.gather(IMAGE, nothing, grid=(32, 30)).shape == (0,)
    assert not fg.GaussianField((4, 5), nothing, 1.0).render([]).any()


def test_iterators_are_refused():
    with pytest.raises(TypeError, match=r"positions must be an array or a list .* got a generator"):
        fg.fit_spots(IMAGE, (place for place in PLACES))
    with pytest.raises(TypeError, match=r"samples must be an array or a list .* got a set"):
        fg.kde({1.0, 2.0})
    assert_array_equal(fg.kde(range(9)).covariance, fg.kde(np.arange(9)).covariance)


# -- the parts ---------------------------------------------------------------------------------


def test_lists_of_arrays_are_opened():
    masked = np.ma.array([1.0, 2.0], mask=[False, True])
    with pytest.raises(TypeError, match=r"a\[1\] must be a plain array, got one with 1 masked"):
        check.plain_array("a", [[1.0, 2.0], masked])
    with pytest.raises(ValueError, match="a must hold arrays of one shape"):
        check.plain_array("a", [np.ma.array([1.0]), np.ma.array([1.0, 2.0])])
    with pytest.raises(TypeError, match=r"a\[0\]\[1\] must be a plain array"):
        check.plain_array("a", [[1.0, np.ma.masked]])
    given = [[np.float32(1), 2], [3, np.ma.array(4.0)]]
    assert_array_equal(check.plain_array("a", given), [[1, 2], [3, 4]])


def test_what_an_array_protocol_raises_is_told_by_name():
    class Broken:
        def __array__(self, dtype=None, copy=None):
            raise RuntimeError("only on the other machine")

    with pytest.raises(TypeError, match=r"a must be an array .*only on the other machine"):
        check.plain_array("a", Broken())


def test_plain_arrays_are_not_touched():
    array = np.arange(3.0)
    assert wrappers.open_array("a", array).values is array
    assert check.entries("a", 2.0) is None
    assert check.entries("a", "word") is None
    assert check.entries("a", np.array(2.0)) is None
