"""A sigma of shape (d,) with d particles: one an axis, or one a particle?"""

import numpy as np
import pytest

import fastgauss as fg

PLACES = {2: [[2.0, 3.0], [6.0, 5.0]], 3: [[2.0, 3, 4], [3.0, 1, 5], [1.0, 4, 2]]}


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("make", [list, tuple, np.array])
def test_what_could_be_either_is_refused(ndim, make):
    places, grid = PLACES[ndim], (9, 9, 8)[:ndim]
    sigma = [0.8, 1.4, 1.1][:ndim]
    for draw in (fg.render, fg.GaussianField):
        with pytest.raises(
            ValueError, match=rf"sigma of shape \({ndim},\) could be one an axis or"
        ):
            draw(grid, places, sigma=make(sigma))
    by_axis = fg.render(grid, places, sigma=[sigma])
    np.testing.assert_array_equal(by_axis, fg.render(grid, places, sigma=[sigma] * ndim))
    alone = fg.render(grid, places[:1], sigma=make(sigma))  # one particle: one an axis
    np.testing.assert_array_equal(alone, fg.render(grid, places[:1], sigma=[sigma]))
    by_particle = fg.render(grid, places, sigma=np.reshape(sigma, (-1, 1)))
    assert not np.allclose(by_axis, by_particle)
    np.testing.assert_array_equal(fg.GaussianField(grid, places, [sigma]).render(), by_axis)


def test_on_one_axis_both_are_the_same():
    assert fg.render(9, [[4.0]], sigma=[1.2]).sum() == fg.render(9, [[4.0]], sigma=1.2).sum()


def test_chunks_of_particles_do_not_change_what_sigma_means():
    da = pytest.importorskip("dask.array")
    import fastgauss.dask

    places = np.random.default_rng(0).uniform(0, 9, (6, 2))
    expected = fg.render((10, 10), places, sigma=(0.8, 1.5))
    lazy = da.from_array(places, chunks=(2, 2))  # of two particles
    found = fastgauss.dask.render((10, 10), lazy, sigma=(0.8, 1.5), chunks=5)
    np.testing.assert_array_equal(found.compute(scheduler="sync"), expected)
    for given in (places[:2], lazy[:2]):
        with pytest.raises(ValueError, match="could be one an axis or one a particle"):
            fastgauss.dask.render((10, 10), given, sigma=(0.8, 1.5), chunks=5).compute()
