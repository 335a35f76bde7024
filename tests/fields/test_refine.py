"""All parameters of a field together, from a volume."""

import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from tolerances import TOLERANCE

import fastgauss as fg
from fastgauss.fields import arguments, conjugate_gradients, gradients, refinement, sweeps
from fastgauss.kernels._compile import JIT_DISABLED

RNG = np.random.default_rng
SHAPE = (16, 19)
PLACES = np.array([[4.3, 5.1], [6.2, 8.0], [10.6, 13.3]])


def _covariances(n, ndim, rng):
    root = 0.2 * rng.normal(size=(n, ndim, ndim)) + np.eye(ndim)
    return 1.8 * root @ root.swapaxes(1, 2)


def _columns(field):
    """The columns of every particle as matrices (nodes, n, K), from the tangent itself."""
    plan = field.plan
    size = sweeps.columns(plan)
    matrix = np.zeros((field.grid.size, plan.n, size))
    for p in range(plan.n):
        for k in range(size):
            unit = np.zeros((plan.n, size))
            unit[p, k] = 1.0
            out = np.zeros(field.grid.shape)
            sweeps.tangent(plan, out, unit, 1)
            matrix[:, p, k] = out.ravel()
    return matrix


@pytest.mark.parametrize("rotated", [False, True])
@pytest.mark.parametrize("pixel", ["sample", "integrate"])
@pytest.mark.parametrize("shape", [(11,), (7, 9), (5, 6, 7)])
def test_the_tangent_is_the_adjoint_of_the_derivatives(shape, pixel, rotated):
    if JIT_DISABLED and rotated and len(shape) == 3:
        pytest.skip("too many node updates for plain Python")
    rng, ndim = RNG(1), len(shape)
    places = rng.uniform(-1, np.array(shape), (3, ndim))
    widths = _covariances(3, ndim, rng) if rotated else rng.uniform(0.8, 1.4, (3, ndim))
    kind = {"covariance": widths} if rotated else {"sigma": widths}
    field = fg.GaussianField(shape, places, pixel=pixel, radius=3.0, **kind)
    volume = rng.normal(size=shape)
    sums = sweeps.gather(field.plan, volume, 1, derivatives=True)
    columns = _columns(field)
    expected = np.einsum("v,vnk->nk", volume.ravel(), columns)
    assert_allclose(sums, expected, atol=TOLERANCE["dot product"] * np.linalg.norm(volume))
    blocks = sweeps.blocks(field.plan, 1)
    assert_allclose(blocks, np.einsum("vni,vnj->nij", columns, columns), atol=1e-12)


@pytest.mark.skipif(JIT_DISABLED, reason="too many node updates for plain Python")
@pytest.mark.parametrize(
    "widths",
    [
        1.5,
        [1.5, 1.2],
        [[1.5], [1.3], [1.7]],
        [[1.5, 1.2], [1.3, 1.4], [1.7, 1.5]],
        [[2.2, 0.4], [0.4, 1.5]],
        _covariances(3, 2, RNG(2)).tolist(),
    ],
    ids=["scalar", "axis", "particle", "particle and axis", "covariance", "covariances"],
)
def test_the_truth_is_found_again_without_noise(widths):
    amplitudes = np.array([3.0, 2.0, 1.0])
    widths = np.array(widths)
    rotated = widths.shape in ((2, 2), (3, 2, 2))
    kind = "covariance" if rotated else "sigma"
    truth = fg.GaussianField(SHAPE, PLACES, tol=1e-12, **{kind: widths})
    away = 0.1 if rotated else 0.3  # wide ellipsoids that overlap know other minima
    start = truth.moved(PLACES + away, widths * (1.0 + 0.5 * away))
    found = start.refine(truth.render(amplitudes), max_iter=100, tol=1e-9)
    assert found.converged, found
    assert_allclose(found.positions, PLACES, atol=1e-7)
    assert_allclose(found.amplitudes, amplitudes, rtol=1e-6)
    assert_allclose(found.covariance if rotated else found.sigmas, widths, rtol=1e-6, atol=1e-6)
    assert (found.sigmas is None) == rotated


@pytest.mark.skipif(JIT_DISABLED, reason="too many node updates for plain Python")
def test_estimates_scatter_as_the_bound_of_neighbours_says():
    rng = RNG(3)
    amplitudes, sigma, noise = np.array([10.0, 7.0, 8.0]), 1.4, 0.5
    truth = fg.GaussianField(SHAPE, PLACES, sigma=np.full((3, 1), sigma), tol=1e-8)
    clean = truth.render(amplitudes)
    columns = _columns(truth)
    free = [columns[:, :, 0], columns[:, :, 2] * amplitudes, columns[:, :, 3] * amplitudes]
    free.append((columns[:, :, 5] + columns[:, :, 6]) * amplitudes)
    jacobian = np.concatenate(free, axis=1)
    bound = np.sqrt(np.diag(np.linalg.inv(jacobian.T @ jacobian))) * noise
    errors = []
    for _ in range(300):
        data = clean + noise * rng.normal(size=SHAPE)
        found = truth.refine(data, amplitudes)
        assert found.converged
        error = [found.amplitudes - amplitudes, *(found.positions - PLACES).T]
        errors.append(np.concatenate([*error, found.sigmas[:, 0] - sigma]))
    ratio = np.sqrt(np.mean(np.square(errors), axis=0)) / bound
    assert_allclose(ratio, 1.0, atol=0.17)  # four standard errors of 300


def test_only_what_is_asked_for_moves():
    truth = fg.GaussianField((21,), [[5.2], [12.9]], sigma=1.5)
    data = truth.render([2.0, 3.0])
    start = truth.moved([[5.0], [13.0]], 1.5)
    found = start.refine(data, [2.0, 3.0], wrt=("positions",), tol=1e-6)
    assert_array_equal(found.amplitudes, [2.0, 3.0])
    assert found.sigmas == 1.5
    assert_allclose(found.positions, truth.positions, atol=1e-3)


def test_missing_nodes_take_no_part():
    rng = RNG(4)
    truth = fg.GaussianField((25,), [[7.2], [15.9]], sigma=1.5, tol=1e-8)
    data = truth.render([2.0, 3.0]) + 0.01 * rng.normal(size=25)
    hole = np.zeros(25, dtype=bool)
    hole[[3, 9, 16]] = True
    spoilt = np.where(hole, 1e6, data)
    masked = truth.refine(spoilt, [2.0, 3.0], mask=hole, tol=1e-6)
    absent = truth.refine(np.where(hole, np.nan, data), [2.0, 3.0], tol=1e-6)
    weighted = truth.refine(spoilt, [2.0, 3.0], weights=np.where(hole, 0.0, 1.0), tol=1e-6)
    assert_array_equal(masked.positions, absent.positions)
    assert_allclose(weighted.positions, absent.positions, atol=1e-4)
    assert_allclose(absent.positions, truth.positions, atol=0.05)


@pytest.mark.skipif(JIT_DISABLED, reason="threads have to take part")
def test_bits_do_not_depend_on_threads():
    rng = RNG(5)
    places = rng.uniform(3, 37, (800, 3))
    data = fg.render((40, 40, 40), places, 1.0, 1.2) + 0.05 * rng.normal(size=(40, 40, 40))
    start = places + 0.1 * rng.normal(size=places.shape)
    results = [
        fg.GaussianField((40, 40, 40), start, 1.1, threads=threads).refine(data, 1.0, max_iter=3)
        for threads in (1, 2, 3, 8)
    ]
    for other in results[1:]:
        assert_array_equal(other.positions, results[0].positions)
        assert_array_equal(other.amplitudes, results[0].amplitudes)


def test_particles_that_are_nowhere_stay_as_they_are():
    field = fg.GaussianField((20,), [[8.0], [-500.0]], sigma=1.5)
    data = fg.render((20,), [[8.3]], 2.0, 1.5)
    found = field.refine(data, [1.5, 4.0])
    assert found.positions[1] == -500.0
    assert found.amplitudes[1] == 4.0
    assert_allclose(found.positions[0], 8.3, atol=1e-3)


def test_no_particles_and_no_steps_are_no_trouble():
    none = fg.GaussianField((20,), np.empty((0, 1)), sigma=1.5).refine(np.ones(20), 1.0)
    assert none.converged and len(none.amplitudes) == 0
    assert repr(none).startswith("<Refinement of 0 particles, nothing to fit after 0 iterations,")
    assert_allclose(none.residual_norm, np.sqrt(20))
    still = fg.GaussianField((20,), [[8.0]], sigma=1.5).refine(np.ones(20), 1.0, max_iter=0)
    assert not still.converged and still.iterations == 0 and "max_iter" in still.status.message


def test_a_result_says_what_it_is_and_pickles():
    field = fg.GaussianField((20,), [[8.0]], sigma=1.5)
    found = field.refine(fg.render((20,), [[8.3]], 2.0, 1.5), 1.5)
    assert "1 particle," in repr(found)
    again = pickle.loads(pickle.dumps(found))
    assert isinstance(again, refinement.Refinement)
    assert_array_equal(again.field.positions, found.positions)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"wrt": ("amplitudes", "colour")}, ValueError, "wrt must be one of"),
        ({"wrt": ()}, ValueError, "wrt must name"),
        ({"wrt": ("covariance",)}, ValueError, "wrt must be one of"),
        ({"weights": np.full(20, -1.0)}, ValueError, "weights must not be negative"),
        ({"weights": np.ones(19)}, ValueError, "weights must have the grid's shape"),
        ({"mask": np.ones(20)}, TypeError, "mask must be boolean"),
        ({"tol": 0.0}, ValueError, "tol must be"),
        ({"max_iter": -1}, ValueError, "max_iter must be"),
    ],
)
def test_bad_options_are_named(options, error, words):
    field = fg.GaussianField((20,), [[8.0]], sigma=1.5)
    with pytest.raises(error, match=words):
        field.refine(np.ones(20), 1.0, **options)


def test_infinite_data_are_refused():
    field = fg.GaussianField((20,), [[8.0]], sigma=1.5)
    with pytest.raises(ValueError, match="volume must not be infinite"):
        field.refine(np.full(20, np.inf), 1.0)


def test_measured_data_keep_what_counts():
    data = arguments.measured(np.arange(4), None, None, fg.Grid((4,)))
    assert data.weights is None and data.nodes == 4 and data.volume.dtype == np.float64
    single = arguments.measured(np.ones(4, dtype=np.float32), None, None, fg.Grid((4,)))
    assert single.volume.dtype == np.float32


def test_conjugate_gradients_solve_what_is_positive():
    rng = RNG(6)
    root = rng.normal(size=(12, 12))
    matrix = root @ root.T + np.eye(12)
    right = rng.normal(size=12)
    scale = np.diag(matrix)
    found = conjugate_gradients.conjugate_gradients(
        lambda x: matrix @ x, lambda r: r / scale, right, lambda _, slope: slope < 1e-24, 99
    )
    assert_allclose(found.x, np.linalg.solve(matrix, right), rtol=1e-9)


def test_packed_columns_are_those_of_the_axes():
    assert_array_equal(gradients.packed(1), [[9]])
    assert_array_equal(gradients.packed(2), [[7, 8], [8, 9]])


@pytest.mark.skipif(JIT_DISABLED, reason="too many node updates for plain Python")
def test_a_step_to_where_no_field_can_be_is_refused_not_raised():
    field = fg.GaussianField(fg.Grid((20,), periodic=True), [[10.0]], 80.0, radius=8)
    found = field.refine(np.ones(20), 0.05, max_iter=300, tol=1e-12)
    assert np.isfinite(found.residual_norm)


def test_one_covariance_in_a_row_of_one_stays_one():
    field = fg.GaussianField((14, 14), [[4.0, 4.0], [9.0, 9.0]], covariance=2.0 * np.eye(2)[None])
    start = field.moved(field.positions, 1.1 * field.widths)
    found = start.refine(field.render(1.0), 1.0, tol=1e-6)
    assert_allclose(found.covariance, field.widths, atol=1e-4)


@pytest.mark.parametrize("case", ["plain", "weights and missing nodes", "covariances"])
def test_a_background_is_fitted_where_it_is_named(case):
    rng, shape, level = RNG(12), (15, 17), 40.0
    truth = np.array([[5.2, 6.1], [8.4, 9.0]])
    widths = {"covariance": [[2.0, 0.5], [0.5, 3.0]]} if case == "covariances" else {"sigma": 1.7}
    data = fg.render(shape, truth, [9.0, 6.0], tol=1e-9, **widths) + level
    data += 0.01 * rng.normal(size=shape)
    options = {}
    if "weights" in case:
        options["weights"] = rng.uniform(0.5, 2.0, shape)
        data[3, 4], options["mask"] = np.nan, rng.random(shape) < 0.05
    start = fg.GaussianField(shape, np.rint(truth), tol=1e-9, **widths)
    names = ("amplitudes", "positions", start.width_name, "background")
    found = start.refine(data, wrt=names, tol=1e-4, **options)
    assert found.converged and abs(found.background - level) < 0.02
    assert_allclose(found.positions, truth, atol=0.02)
    assert_allclose(found.amplitudes, [9.0, 6.0], atol=0.1)
    own = found.sigmas if found.covariance is None else found.covariance
    assert_allclose(own, next(iter(widths.values())), atol=0.1)
    weights = np.where(np.isnan(data) | options.get("mask", False), 0.0, 1.0)
    weights *= options.get("weights", 1.0)
    left = np.nan_to_num(data) - found.background - found.field.render(found.amplitudes)
    assert_allclose(found.residual_norm, np.sqrt((weights * left**2).sum()), rtol=1e-9)
    for shift in (-1e-3, 1e-3):  # the square is the smallest
        assert (weights * (left + shift) ** 2).sum() > found.residual_norm**2


def test_without_its_name_there_is_no_background():
    data = fg.render((12,), [[5.2]], 3.0, sigma=1.5) + 1.0
    start = fg.GaussianField((12,), [[5.0]], sigma=1.5)
    found = start.refine(data)
    assert found.background == 0.0 and found.sigmas > 2.0
    with pytest.raises(ValueError, match="wrt"):
        start.loss_and_gradient(data, 1.0, "background")
    only = start.moved([[5.2]], 1.5).refine(data, [3.0], ["background"], tol=1e-6)
    assert abs(only.background - 1.0) < 1e-6 and only.amplitudes == 3.0
