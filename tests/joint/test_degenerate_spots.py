"""One spot that the image does not determine leaves the others of its group as they are."""

import numpy as np
import pytest

import fastgauss as fg
from fastgauss.kernels._compile import JIT_DISABLED

pytestmark = pytest.mark.skipif(JIT_DISABLED, reason="images of many pixels")
PLACES = np.array([[20.2, 18.1], [22.9, 24.3], [28.4, 19.6], [30.1, 26.2], [24.8, 31.0]])


def scene(halo=False, seed=0):
    image = fg.render((48, 48), PLACES, 300.0, sigma=1.4) + 20.0
    if halo:  # a star with the wings of an atmosphere
        y, x = np.mgrid[:48, :48]
        image += 4000.0 / (1 + ((y - 14) ** 2 + (x - 33) ** 2) / 4.0) ** 2
    return np.random.default_rng(seed).poisson(image).astype(float)


@pytest.mark.parametrize("shared", [(), "sigma"])
@pytest.mark.parametrize("method", ["lsq", "mle"])
def test_two_positions_at_one_place_have_no_errors_and_their_neighbours_do(method, shared):
    places = np.concatenate([PLACES, PLACES[-1:]])
    options = {"method": method, "background": "constant", "shared": shared}
    alone = fg.fit_joint(scene(), PLACES, **options)
    result = fg.fit_joint(scene(), places, **options)
    assert result.converged[:4].all()
    assert np.isfinite(result.errors[:4]).all()
    np.testing.assert_allclose(result.errors[:4, 0], alone.errors[:4, 0], rtol=0.1)
    pull = (result.params[:4] - alone.params[:4]) / alone.errors[:4]
    assert np.abs(pull[:, :3]).max() < 0.5
    assert result.iterations.max() <= 50


@pytest.mark.parametrize("options", [{}, {"shared": "sigma"}, {"method": "mle"}])
def test_stars_beside_one_with_a_halo_have_errors(options):
    result = fg.fit_spots(scene(halo=True), sigma=1.4, joint=True, **options)
    away = np.linalg.norm(result.positions[:, None] - PLACES, axis=2)
    assert (away.min(axis=0) < 0.5).all()
    stars = away.argmin(axis=0)
    assert result.converged[stars].all()
    assert np.isfinite(result.errors[stars, 0]).all()
    assert result.iterations.max() <= 50
    bright = np.argmax(result.amplitude)
    assert np.isfinite(result.errors[bright, 0])


def test_too_few_rounds_leave_only_those_unconverged_that_need_more():
    rng = np.random.default_rng(3)
    apart = np.stack(np.meshgrid(*[np.arange(10, 90, 13.0)] * 2), -1).reshape(-1, 2)
    places = np.concatenate([apart, apart[[0, 7]] + 0.5])
    image = rng.poisson(fg.render((96, 96), places, 250.0, sigma=1.3) + 15.0)
    result = fg.fit_joint(image, places, background="constant", method="mle", max_iter=14)
    assert result.converged.mean() > 0.9
    assert result.iterations.max() <= 14
