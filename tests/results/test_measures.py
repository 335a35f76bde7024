"""Columns computed from fits (flux errors, widths, p-values), and columns by name."""

import numpy as np
import pytest
from scipy import stats

import fastgauss as fg
from fastgauss.models.model import get_model
from fastgauss.results.rows import Rows

CURVES = (1.3, -250.0, 400.0), (1.4, 250.0, 400.0)
ASTIGMATIC = fg.astigmatic_model(*CURVES, (-500.0, 500.0))
TRUTH = {
    ("symmetric", 1): [90.0, 4.2, 1.5, 3.0],
    ("symmetric", 2): [90.0, 4.2, 5.1, 1.5, 3.0],
    ("elliptic", 2): [-40.0, 4.2, 5.1, 1.5, 2.5, 3.0],
    ("rotated", 2): [90.0, 4.2, 5.1, 2.5, 1.5, 0.3, 3.0],
    ("symmetric", 3): [90.0, 4.2, 5.1, 4.8, 1.5, 3.0],
    ("elliptic", 3): [90.0, 4.2, 5.1, 4.8, 1.5, 1.7, 3.5, 3.0],
    ("astigmatic", 2): [90.0, 4.2, 5.1, 120.0, 3.0],
}


def invented(name, ndim, n=1, seed=0, **others):
    """A result of this model with positive definite covariances that no fit has made."""
    model = ASTIGMATIC if name == "astigmatic" else get_model(name, ndim)
    rng = np.random.default_rng(seed)
    half = rng.normal(size=(n, model.size, model.size)) * 0.01
    rows, columns = np.tril_indices(model.size)
    packed = (half @ half.swapaxes(1, 2))[:, rows, columns]
    params = np.tile(TRUTH[name, ndim], (n, 1)) * rng.uniform(0.9, 1.1, (n, 1))
    codes, many = np.zeros(n, np.int32), np.full(n, 100, np.int32)
    table = Rows(params, packed, rng.uniform(50, 150, n), codes, codes + 9, many, many - 5)
    return fg.FitResult(model, table, **{"absolute": True} | others)


def with_params(result, params):
    return result.with_rows(result.rows._replace(params=params))


@pytest.mark.parametrize(("name", "ndim"), TRUTH)
def test_the_error_of_the_flux_is_that_of_propagation(name, ndim):
    result = invented(name, ndim, 3)
    gradient = np.empty((3, result.model.size))
    for k in range(result.model.size):
        step = np.zeros(result.model.size)
        step[k] = 1e-5 * max(1.0, abs(result.params[0, k]))
        high, low = (with_params(result, result.params + s * step).flux for s in (1, -1))
        gradient[:, k] = (high - low) / (2 * step[k])
    variance = np.einsum("ni,nij,nj->n", gradient, result.covariance, gradient)
    np.testing.assert_allclose(result.flux_error, np.sqrt(variance), rtol=1e-7)
    np.testing.assert_array_equal(result.snr, result.flux / result.flux_error)


def test_the_error_of_the_flux_in_any_unit():
    result = invented("symmetric", 2, 4)
    whole = result.flux_error
    for unit in (1e-140, 1e140):
        units = np.array([unit, 1.0, 1.0, 1.0, unit])
        rows, columns = np.tril_indices(5)
        scaled = result.rows._replace(
            params=result.params * units,
            packed=result.rows.packed * units[rows] * units[columns],
        )
        np.testing.assert_allclose(result.with_rows(scaled).flux_error / unit, whole, rtol=1e-12)
    lost = result.rows._replace(packed=result.rows.packed * 0, errors=result.errors)
    assert np.isnan(result.with_rows(lost).flux_error).all()


def test_parameters_that_are_held_add_no_error():
    result = invented("symmetric", 2)
    packed = np.zeros_like(result.rows.packed)
    packed[:, 0] = 4.0  # the amplitude alone
    held = result.with_rows(result.rows._replace(packed=packed))
    np.testing.assert_allclose(held.flux_error, 2.0 * held.flux / held.amplitude)
    packed[:, [1, 2]] = np.nan  # a position of unknown error
    again = result.with_rows(result.rows._replace(packed=packed))
    np.testing.assert_array_equal(again.flux_error, held.flux_error)


def test_the_width_at_half_maximum():
    one = invented("symmetric", 2)[0]
    half = fg.evaluate((one.x + one.fwhm / 2, one.y), one.params, model="symmetric")
    np.testing.assert_allclose(half, one.offset + one.amplitude / 2)
    other = invented("rotated", 2, 5)
    mean = np.sqrt((other.sigma_x**2 + other.sigma_y**2) / 2)
    np.testing.assert_allclose(other.fwhm, 2 * np.sqrt(2 * np.log(2)) * mean)
    assert invented("astigmatic", 2)["fwhm"].shape == (1,)


@pytest.mark.parametrize("method", ["lsq", "mle"])
def test_p_values_are_uniform_and_flux_errors_hold(method):
    rng = np.random.default_rng(3)
    n = 600
    truth = np.array([500.0, 5.2, 4.9, 1.4, 60.0])
    light = fg.image(truth, (11, 11), model="symmetric")
    if method == "mle":
        result = fg.fit_rois(rng.poisson(light, (n, 11, 11)), method="mle")
    else:
        sigma = rng.uniform(5.0, 20.0, (11, 11))
        data = light + rng.normal(size=(n, 11, 11)) * sigma
        result = fg.fit_rois(data, weights=sigma**-2)
    assert stats.kstest(result.p_value, "uniform").pvalue > 1e-3
    pulls = (result.flux - truth[0] * 2 * np.pi * truth[3] ** 2) / result.flux_error
    assert 0.9 < pulls.std() < 1.1
    wrong = fg.fit_rois(
        light[np.newaxis] + 40 * np.sin(np.arange(121.0)).reshape(11, 11), weights=np.ones((11, 11))
    )
    assert wrong.p_value[0] < 1e-9 and wrong.reduced_chi2[0] > 100


def test_p_values_need_a_known_noise_and_degrees_of_freedom():
    result = invented("symmetric", 2, 3, absolute=False)
    assert np.isnan(result.p_value).all() and (result.reduced_chi2 > 0).all()
    rows = result.rows._replace(dof=np.array([0, -1, 95], np.int32))
    exact = invented("symmetric", 2, 3).with_rows(rows)
    assert np.isnan(exact.p_value).tolist() == [True, True, False]
    assert exact.p_value[2] == stats.chi2.sf(exact.objective[2], 95)


# -- columns by name ---------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "ndim"), TRUTH)
def test_columns_by_name(name, ndim):
    result = invented(name, ndim, 4)
    table = result.to_dict()
    assert tuple(table) == result.columns
    for column, values in table.items():
        np.testing.assert_array_equal(result[column], values)
        np.testing.assert_array_equal(getattr(result, column), values)
        assert column in dir(result)
    np.testing.assert_array_equal(result.x_error, result.errors[:, 1])
    both = result[["x", "flux"]]
    assert both.shape == (4, 2) and both.dtype == np.float64
    np.testing.assert_array_equal(both, np.stack([result.x, result.flux], axis=1))
    assert isinstance(result[1:], fg.FitResult) and isinstance(result[[]], fg.FitResult)


def test_a_frame_is_a_column_where_frames_are_known():
    result = fg.FitResult.concatenate([invented("symmetric", 2, 2)] * 2, frames=[3, 8])
    assert result["frame"].tolist() == [3, 3, 8, 8]
    with pytest.raises(KeyError, match="no column 'frame'; it has amplitude, x"):
        invented("symmetric", 2)["frame"]


@pytest.mark.parametrize("key", ["nope", "", ["x", "nope"], ("sigma_x", "y")])
def test_unknown_columns_are_refused_by_name(key):
    for error in (KeyError, ValueError):
        with pytest.raises(error, match=r"^the result has no column '.*'; it has amplitude"):
            invented("symmetric", 2)[key]
    with pytest.raises(AttributeError, match="sigma_x_error"):
        _ = invented("symmetric", 2).sigma_x_error


def test_numbers_of_spots_are_kept():
    result = invented("symmetric", 2, 6)
    assert result.id.tolist() == [0, 1, 2, 3, 4, 5]
    assert result[-2].id == [4] and result[4:0:-2].id.tolist() == [4, 2]
    assert result[[5, -6, 1]].id.tolist() == [5, 0, 1]
    some = result[result.id > 2]
    assert some.id.tolist() == [3, 4, 5] and some[[True, False, True]].id.tolist() == [3, 5]
    order = result.sort("objective")
    np.testing.assert_array_equal(order.objective, result.objective[order.id])
    join = fg.FitResult.concatenate
    assert join([some, result[:3]]).id.tolist() == [3, 4, 5, 0, 1, 2]
    assert join([some, result]).id.tolist() == list(range(9))
    assert join([result, result], frames=[0, 1]).id.tolist() == list(range(12))
    assert [row.id[0] for row in result] == [0, 1, 2, 3, 4, 5]


def test_arrays_are_the_parameters():
    result = invented("symmetric", 2, 3)
    np.testing.assert_array_equal(np.asarray(result), result.params)
    assert np.asarray(result, np.float32).dtype == np.float32
    copy = np.array(result)
    copy[:] = 0
    assert result.params.all()
    pandas = pytest.importorskip("pandas")
    plain = pandas.DataFrame(result, columns=result.names)
    assert plain.equals(pandas.DataFrame({name: result[name] for name in result.names}))


def test_spots_are_places_and_starting_values():
    image = fg.image([90.0, 9.2, 7.1, 1.4, 5.0], (17, 19), model="symmetric")
    first = fg.fit_spots(image, [[7, 9]])
    again = fg.fit_spots(image, first, guess=first)
    np.testing.assert_allclose(again.params, first.params, rtol=1e-6)


# -- through other programs --------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize("absolute", [False, True])
@pytest.mark.parametrize("pixel", ["sample", "integrate"])
def test_a_dataframe_says_how_spots_were_fitted(tmp_path, kind, absolute, pixel):
    pytest.importorskip("pandas")
    if kind == "parquet":
        pytest.importorskip("pyarrow")
    for name, ndim in (("rotated", 2), ("symmetric", 1), ("elliptic", 3)):
        result = invented(name, ndim, 5, absolute=absolute, pixel=pixel)[[4, 0, 2]]
        table, path = result.to_dataframe(), tmp_path / f"a.{kind}"
        assert (table.model == name).all() and table.attrs["units"]["fwhm"] == "px"
        if kind == "csv":
            table.to_csv(path, index=False)
        else:
            table.to_parquet(path)
        again = fg.FitResult.load(path)
        assert (again.model, again.pixel, again.absolute) == (result.model, pixel, absolute)
        for column, values in result.to_dict().items():
            np.testing.assert_array_equal(again[column], values, err_msg=column)
        joined = fg.FitResult.concatenate([again, result])  # one has covariances, the other not
        np.testing.assert_array_equal(joined.flux_error, np.tile(result.flux_error, 2))


def test_an_id_that_others_wrote_may_be_anything(tmp_path):
    result = invented("symmetric", 2, 3)
    for name in ("npz", "csv"):
        result[1:].save(tmp_path / f"a.{name}")
        assert fg.FitResult.load(tmp_path / f"a.{name}").id.tolist() == [1, 2]
    text = (tmp_path / "a.csv").read_text().splitlines()
    words = text[0].split(",")
    for k, word in enumerate(("spot A", "1.0")):
        cells = text[k + 1].split(",")
        cells[words.index("id")] = word
        text[k + 1] = ",".join(cells)
    (tmp_path / "a.csv").write_text("\n".join(text))
    assert fg.FitResult.load(tmp_path / "a.csv").id.tolist() == [0, 1]
