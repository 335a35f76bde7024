"""Errors beside a spot that became wide after its neighbours were looked for."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

import fastgauss as fg
from fastgauss.joint import covariances, neighbours, outcome
from fastgauss.kernels._compile import JIT_DISABLED

SIDE = 36


def ended(apart, monkeypatch):
    """The solver and the state of a fit of a grid of narrow spots, of which one is wide now."""
    kept = []
    real = outcome.covariances
    monkeypatch.setattr(outcome, "covariances", lambda *a: (kept.append(a[:2]), real(*a))[1])
    places = np.stack(np.meshgrid(*[np.arange(8.0, 28.0, apart)] * 2), -1).reshape(-1, 2)
    image = fg.render((SIDE, SIDE), places, 100.0, sigma=1.1) + 5.0
    image = np.random.default_rng(1).poisson(image).astype(float)
    fg.fit_joint(image, places, background="constant", fixed={"sigma": 1.1}, box=21, threads=1)
    solver, state = kept[0]
    u = state.u.copy()
    middle = np.argmin(((u[:, 1:3] - 18.0) ** 2).sum(axis=1))
    u[middle, 3] = 4.5
    solver.limits.upper[:, 3] = np.inf
    solver.limits.lower[:, 3] = 0.1
    return solver, state._replace(u=u)


def columns(solver, u):
    """Derivatives of the image (pixels, 4 n + 1), the light of each spot within its window."""
    y, x = (a.ravel().astype(float) for a in np.mgrid[:SIDE, :SIDE])
    out = np.zeros((SIDE**2, 4 * len(u) + 1))
    out[:, -1] = 1.0
    for i, (spot, window) in enumerate(zip(u, solver.crowd.windows, strict=True)):
        _, y0, x0, _, height, width = window
        inside = (y >= y0) & (y < y0 + height) & (x >= x0) & (x < x0 + width)
        here = x[inside], y[inside]
        out[inside, 4 * i : 4 * i + 4] = fg.jacobian(here, np.append(spot, 0.0), "symmetric")[:, :4]
    owned = solver.image.scene.pixels.owner >= 0
    return out[owned]


@pytest.mark.skipif(JIT_DISABLED, reason="images of many pixels")
@pytest.mark.parametrize(("apart", "near"), [(5.0, 0.06), (4.0, 0.2)])
def test_errors_beside_a_spot_that_became_wide_are_those_of_the_whole_matrix(
    apart, near, monkeypatch
):
    solver, state = ended(apart, monkeypatch)
    n = len(state.u)
    j = columns(solver, state.u)
    expected = np.linalg.inv(j.T @ j)
    found, sound = covariances.covariances(solver, state, np.ones((n, 1)))
    assert sound.all()
    assert_allclose(found[:, 4, 4], expected[-1, -1], rtol=1e-6)
    errors = np.sqrt(np.einsum("nii->ni", found)[:, :4])
    whole = np.sqrt(np.diag(expected)[:-1].reshape(n, 4))
    assert_allclose(errors, whole, rtol=near)


def test_windows_that_meet_are_pairs_and_links_are_those_that_overlap_now():
    places = np.array([[0.0, 5.0, 5.0 + 8.0 * k] for k in range(3)])
    windows = np.array([[0, 0, 8 * k, 1, 11, 11] for k in range(3)])
    widths = np.full((3, 3), 0.5)
    order, crowd = neighbours.gather(places, widths, windows, None)
    assert crowd.pairs.others.size == crowd.links.others.size == 0
    widths[order == 0] = 3.0
    whole, near, many = neighbours.meet_again(crowd, places[order], widths)
    assert whole.pairs.others.tolist() == [1, 2]
    assert whole.links.others.tolist() == [1, 0, 2, 1]
    assert many.tolist() == [1, 1, 0]
    assert near.others.tolist() == [1, 0]
    assert near.places.tolist() == [0, -1]
    assert whole.windows is crowd.windows and whole.members is crowd.members
