"""DataFrames of what is not a table of spots: fields, displacements, bins."""

import sys

import numpy as np
import pytest

import fastgauss as fg
from fastgauss.base.status import Status
from fastgauss.fields import Refinement
from fastgauss.register.results import DisplacementField

pd = pytest.importorskip("pandas")
RNG = np.random.default_rng(8)


def refined(ndim, sigmas=None, covariance=None, n=4):
    """What a refinement of n particles returns."""
    places, heights = RNG.normal(size=(n, ndim)), RNG.uniform(1, 2, n)
    return Refinement(None, heights, places, sigmas, covariance, 0.5, 3, Status.CONVERGED)


def displaced(rows=2, columns=3):
    shape = rows, columns
    half = RNG.normal(size=(*shape, 2, 2))
    return DisplacementField(
        np.arange(columns) * 8.0, np.arange(rows) * 16.0 + 4, RNG.normal(size=shape),
        RNG.normal(size=shape), half @ half.swapaxes(-1, -2), RNG.integers(0, 3, shape),
        RNG.uniform(size=shape), RNG.uniform(size=shape), RNG.uniform(size=shape) < 0.5,
    )  # fmt: skip


def assert_told(table):
    """Every column has a unit and a meaning."""
    assert list(table.attrs["units"]) == list(table.attrs["meanings"]) == list(table.columns)
    assert all(table.attrs["meanings"].values())


def test_fitted_amplitudes():
    field = fg.GaussianField((20, 20), [[5.2, 6.0], [7.0, 9.5]], sigma=1.5)
    fit = field.fit_amplitudes(field.render([3.0, 2.0]), weights=np.ones((20, 20)))
    table = fit.to_dataframe()
    assert_told(table)
    np.testing.assert_array_equal(table["amplitude"], fit.amplitudes)
    np.testing.assert_array_equal(table["amplitude_error"], fit.errors)


@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_refined_particles(ndim):
    axes = "xyz"[:ndim]
    by_axis = [f"sigma_{axis}" for axis in axes] if ndim > 1 else ["sigma"]
    common = RNG.uniform(1, 2, ndim)
    for sigmas, columns in (
        (np.array(1.5), {"sigma": [1.5] * 4}),
        (np.array([[1.0], [2.0], [3.0], [4.0]]), {"sigma": [1, 2, 3, 4]}),
        (common, {name: [common[ndim - 1 - k]] * 4 for k, name in enumerate(by_axis)}),
    ):
        found = refined(ndim, sigmas)
        table = found.to_dataframe()
        assert_told(table)
        assert list(table.columns) == ["amplitude", *axes, *columns]
        np.testing.assert_array_equal(table[list(axes)], found.positions[:, ::-1])
        np.testing.assert_array_equal(table[list(columns)], np.transpose(list(columns.values())))


@pytest.mark.parametrize("own", [False, True])
def test_refined_covariances(own):
    half = RNG.normal(size=(4, 3, 3) if own else (3, 3))
    covariance = half @ half.swapaxes(-1, -2)
    table = refined(3, covariance=covariance).to_dataframe()
    assert_told(table)
    order = "zyx"
    for name in ("xx", "xy", "xz", "yy", "yz", "zz"):
        i, k = map(order.index, name)
        np.testing.assert_array_equal(
            table[f"covariance_{name}"], covariance[..., i, k] * np.ones(4)
        )


def test_a_real_refinement():
    start = fg.GaussianField((30, 20), [[12.0, 8.0]], sigma=1.5, tol=1e-6)
    table = start.refine(fg.render((30, 20), [[12.3, 7.9]], 5.0, sigma=1.7)).to_dataframe()
    np.testing.assert_allclose(table[["y", "x", "amplitude"]], [[12.3, 7.9, 5.0]], atol=0.02)
    assert list(table.columns) == ["amplitude", "x", "y", "sigma"]


def test_windows_of_a_displacement_field():
    field = displaced()
    table = field.to_dataframe()
    assert_told(table)
    assert len(table) == 6
    for k in range(2):
        for j in range(3):
            row = table[(table.x == field.x[j]) & (table.y == field.y[k])].iloc[0]
            assert (row.dx, row.dy) == (field.dx[k, j], field.dy[k, j])
            assert row.dy_error == np.sqrt(field.covariance[k, j, 1, 1])
            assert row.dx_dy_covariance == field.covariance[k, j, 1, 0]
            assert row.converged == (field.status[k, j] == 0) and row.outlier == field.outlier[k, j]
    assert len(displaced(0, 3).to_dataframe()) == 0


@pytest.mark.parametrize("dtype", [np.float64, np.int64])
def test_bins(dtype):
    found = fg.bin_statistics([0, 2, 2], np.array([5, 1, 4], dtype), 3)
    table = found.to_dataframe()
    assert_told(table)
    assert list(table.columns) == list(found._fields) and table["count"].tolist() == [1, 0, 2]
    for name in found._fields:
        np.testing.assert_array_equal(table[name], getattr(found, name))
        assert table[name].dtype == getattr(found, name).dtype


def test_pandas_is_named_where_it_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    spots = fg.fit_rois(np.full((1, 7, 7), np.nan))
    for value in (displaced(), refined(2, np.array(1.0)), fg.bin_statistics([0], [1.0], 1), spots):
        with pytest.raises(ImportError, match=r"to_dataframe needs pandas: pip install"):
            value.to_dataframe()
