"""What an array without spots was taken for: a warning where its shape may mean something else."""

import warnings

import numpy as np
import pytest

import fastgauss as fg

QUIET = {"false_alarms": 1e-6}


def noise(*shape):
    return np.random.default_rng(8).normal(50.0, 3.0, shape)


@pytest.mark.parametrize("joint", [False, True])
@pytest.mark.parametrize("frames", [1, 14])
def test_a_volume_without_spots_may_be_a_movie(joint, frames):
    plural = "" if frames == 1 else "s"
    told = rf"shape \({frames}, 31, 40\), .* a volume of {frames} plane{plural}; .* fit_movie"
    with pytest.warns(UserWarning, match=told) as caught:
        result = fg.fit_spots(noise(frames, 31, 40), joint=joint, **QUIET)
    assert len(result) == 0 and result.model.ndim == 3
    assert caught[0].filename == __file__


@pytest.mark.parametrize("shape", [(1, 70), (70, 1)])
def test_an_image_of_one_row_may_be_a_profile(shape):
    peak = 300.0 * np.exp(-((np.arange(70.0) - 33.0) ** 2) / 18.0).reshape(shape)
    with pytest.warns(UserWarning, match=r"all border; .* profile are for an array \(x,\)"):
        assert len(fg.fit_spots(noise(*shape) + peak, sigma=3.0, **QUIET)) == 0
    assert fg.fit_spots((noise(*shape) + peak).ravel(), sigma=3.0, **QUIET).x[0] == pytest.approx(
        33.0, abs=0.1
    )


def spots_3d():
    return noise(9, 31, 40) + 400.0 * fg.image(
        [1.0, 20.0, 15.0, 4.0, 1.3, 0.0], (9, 31, 40), model="symmetric"
    )


def test_nothing_is_said_where_there_is_no_doubt():
    xarray = pytest.importorskip("xarray")
    empty = noise(6, 31, 40)
    named = xarray.DataArray(empty, dims=("z", "y", "x"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(fg.fit_spots(spots_3d(), **QUIET)) == 1  # of a volume, as its repr says
        assert len(fg.fit_spots(named, **QUIET)) == 0
        assert len(fg.fit_spots(empty, sigma=(2.0, 1.3, 1.3), **QUIET)) == 0
        assert len(fg.fit_spots(empty, box=(7, 9, 9), **QUIET)) == 0
        assert len(fg.fit_spots(noise(31, 40), **QUIET)) == 0
        assert len(fg.fit_spots(noise(40), **QUIET)) == 0
        assert len(fg.fit_spots(empty, np.empty((0, 3)))) == 0
        assert len(fg.fit_movie(empty, **QUIET)) == 0
        assert len(fg.fit_movie(noise(3, 6, 31, 40), shared="sigma", **QUIET)) == 0  # volumes


def test_volumes_of_a_dask_array_are_volumes():
    da = pytest.importorskip("dask.array")
    pytest.importorskip("dask.dataframe")
    import fastgauss.dask as fd

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        stack = da.from_array(noise(2, 6, 31, 40), chunks=(1, -1, -1, -1))
        assert len(fd.fit_spots(stack, **QUIET).compute(scheduler="sync")) == 0
