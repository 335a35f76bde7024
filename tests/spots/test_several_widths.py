"""fit_spots(joint=True) where spots have several widths, or most of them are two."""

import numpy as np
import pytest
from scipy.spatial import KDTree

import fastgauss as fg
from fastgauss.kernels._compile import JIT_DISABLED

pytestmark = pytest.mark.skipif(JIT_DISABLED, reason="rounds of many fits")


def grid(count, pitch, seed):
    rng = np.random.default_rng(seed)
    at = (np.arange(count) + 0.5) * pitch
    return np.stack(np.meshgrid(at, at, indexing="ij"), -1).reshape(-1, 2) + rng.uniform(
        -1.5, 1.5, (count**2, 2)
    )


@pytest.mark.parametrize("method", ["lsq", "mle"])
@pytest.mark.parametrize("part", [0.1, 0.5])
def test_spots_of_two_widths_are_each_one_row(method, part):
    places = grid(5, 20, 4)
    rng = np.random.default_rng(5)
    large = np.arange(25) < 25 * part
    rng.shuffle(large)
    sigma, height = np.where(large, 3.2, 1.2), np.where(large, 220.0, 350.0)
    image = rng.poisson(fg.render((100, 100), places, height, sigma=sigma[:, None]) + 25.0)
    found = fg.fit_spots(image, sigma=1.2, box=15, joint=True, method=method)
    assert len(found) == len(places)
    assert found.converged.all()
    away, nearest = KDTree(places).query(found.positions)
    assert away.max() < 0.5
    assert np.abs(found.sigma / sigma[nearest] - 1).max() < 0.15


@pytest.mark.parametrize("options", [{}, {"method": "mle"}])
def test_pairs_are_parted_where_most_spots_are_pairs(options):
    sigma, rng = 1.3, np.random.default_rng(8)
    places = grid(5, 24, 6)
    angle = rng.uniform(0, 2 * np.pi, 25)
    half = 0.5 * 2.0 * sigma * np.column_stack([np.sin(angle), np.cos(angle)])
    two = np.arange(25) < 22
    truth = np.concatenate([np.where(two[:, None], places - half, places), (places + half)[two]])
    image = rng.poisson(fg.render((120, 120), truth, 300.0, sigma=sigma) + 20.0)
    found = fg.fit_spots(image, sigma=sigma, joint=True, **options)
    assert len(found) == len(truth)
    assert KDTree(found.positions).query(truth)[0].max() < 0.6
    assert abs(np.median(found.sigma) - sigma) < 0.05


@pytest.mark.parametrize("options", [{}, {"method": "mle", "background": "plane"}])
def test_given_positions_keep_their_rows_however_many_rounds_drop_spots(options):
    rng = np.random.default_rng(1)
    y, x = np.mgrid[:120, :120]
    glow = 90 * (1.2 + np.sin(x / 9.0) * np.cos(y / 11.0))
    places = grid(6, 20, 2)
    image = rng.poisson(fg.render((120, 120), places, 60.0, sigma=1.3) + glow)
    ghosts = rng.uniform(5, 115, (30, 2))
    result = fg.fit_spots(image, np.concatenate([places, ghosts]), joint=True, **options)
    assert len(result) == len(places) + len(ghosts)
    gone = result.status == fg.Status.DROPPED
    assert np.isnan(result.params[gone]).all()
    assert np.isfinite(result.params[~gone]).all()


def test_a_volume_of_molecules_in_glowing_cells_converges():
    rng = np.random.default_rng(3)
    shape, widths = (16, 48, 48), (1.6, 1.3, 1.3)
    places = rng.uniform([3, 5, 5], [13, 43, 43], (25, 3))
    y, x = np.mgrid[:48, :48]
    glow = 25 * np.exp(-((y - 24) ** 2 + (x - 24) ** 2) / 800.0)
    image = rng.poisson(fg.render(shape, places, 120.0, sigma=widths) + glow + 12)
    options = {"model": "elliptic", "box": (9, 9, 9), "method": "mle", "joint": True}
    shared = ("sigma_x", "sigma_y", "sigma_z")
    for more in ({"shared": shared}, {"shared": shared, "background": "plane"}, {}):
        found = fg.fit_spots(image, sigma=widths, **options, **more)
        assert found.converged.mean() > 0.95
        near = KDTree(found.positions).query(places)[0] < 1
        assert near.mean() > 0.85
