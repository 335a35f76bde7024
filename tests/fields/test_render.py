"""``render`` is the truncated sum of particles, seen as a double sum and by its symmetries."""

import mpmath as mp
import naive_field
import numpy as np
import pytest
from field_cases import KINDS, RADIUS, compare, render_tolerance, scene_of
from hypothesis import given, settings
from numpy.testing import assert_allclose, assert_array_equal
from tolerances import TOLERANCE

import fastgauss as fg
from fastgauss.kernels._compile import JIT_DISABLED

KERNELS = [(t, s, c, d) for t, s in KINDS for c in ("sum", "max", "union") for d in ("d", "f")]


@pytest.mark.parametrize(("rotated", "support", "combine", "dtype"), KERNELS)
def test_render_is_the_truncated_sum(rotated, support, combine, dtype):
    @settings(max_examples=6 if JIT_DISABLED else 50, deadline=None)
    @given(naive_field.scenes(rotated, most=2 if rotated else 4))
    def check(scene):
        grid, positions, amplitudes, options = scene
        start = np.random.default_rng(1).uniform(-0.5, 0.5, grid.shape).astype(dtype)
        if combine == "union":  # of probabilities
            start, amplitudes = abs(start), abs(amplitudes) / 2
        out = start.copy()
        own = {"radius": RADIUS, "support": support, "combine": combine, **options}
        result = fg.render(grid, positions, amplitudes, out=out, **own)
        assert result is out
        compare(out, start, (grid, positions, amplitudes, options), combine, support)

    check()


@pytest.mark.parametrize(
    ("rule", "dtype"), [("sum", "d"), ("sum", "f"), ("max", "d"), ("union", "d")]
)
def test_rows_of_any_length_change_their_own_nodes_once(rule, dtype):
    """Registers may have nodes in common; each node is combined once, and no other is written."""
    nodes = np.arange(120.0)
    start = np.random.default_rng(3).uniform(0.0, 0.4, nodes.shape).astype(dtype)
    for count in range(1, 60):
        centre, radius = 50.0 + 0.5 * (count % 2 == 0), 0.5 * (count - 1) + 0.25
        out = start.copy()
        own = {"sigma": 30.0, "radius": radius / 30.0, "combine": rule}
        fg.render(nodes.shape, [[centre]], [0.7], out=out, **own)
        value = 0.7 * np.exp(-0.5 * ((nodes - centre) / 30.0) ** 2)
        within = abs(nodes - centre) <= radius
        assert within.sum() == count
        both = {"sum": start + value, "max": np.maximum(start, value)}
        both["union"] = 1.0 - (1.0 - start) * (1.0 - value)
        rounding = 8 * np.finfo(dtype).eps
        assert_allclose(out, np.where(within, both[rule], start), rtol=0, atol=rounding)
        assert_array_equal(out[~within], start[~within])


@pytest.mark.parametrize(("rotated", "support"), KINDS)
def test_what_is_left_out_is_within_the_stated_bound(rotated, support):
    @settings(max_examples=6 if JIT_DISABLED else 50, deadline=None)
    @given(naive_field.scenes(rotated, periodic=False, most=2 if rotated else 4))
    def check(scene):
        grid, positions, amplitudes, options = scene
        whole = naive_field.Field(grid, positions, radius=1e5, **options).render(amplitudes)
        for tol in (0.9, 0.1, 1e-3, 1e-7, 1e-300):
            out = fg.render(grid, positions, amplitudes, tol=tol, support=support, **options)
            radius = np.sqrt(-2 * np.log(tol))
            own = {"radius": radius, "support": support, **options}
            twin = naive_field.Field(grid, positions, **own)
            bound = tol * naive_field.left_out(twin, amplitudes)
            bound[twin.unsure] = tol * abs(amplitudes).sum()
            assert (abs(out - whole) <= bound + render_tolerance("d", amplitudes)).all()

    check()


@pytest.mark.parametrize("kind", ["own axes", "own covariance"])
def test_the_default_radius_is_that_of_a_tol_of_1e_4(kind):
    grid, positions, amplitudes, options = scene_of(np.random.default_rng(0), (9, 20), kind=kind)
    default = fg.render(grid, positions, amplitudes, **options)
    for same in ({"tol": 1e-4}, {"radius": np.sqrt(-2 * np.log(1e-4)), "tol": 0.5}):
        assert_array_equal(fg.render(grid, positions, amplitudes, **options, **same), default)


@pytest.mark.parametrize("dtype", ["d", "f"])
@pytest.mark.parametrize("periodic", [False, True])
@pytest.mark.parametrize("pixel", ["sample", "integrate"])
@pytest.mark.parametrize("shape", [(40,), (7, 21), (5, 6, 18)])
def test_a_node_exactly_on_the_edge_of_a_window_is_inside(shape, pixel, periodic, dtype):
    """All numbers are small multiples of powers of two, so that nothing is rounded."""
    rng = np.random.default_rng(len(shape))
    axes = len(shape)
    grid = fg.Grid(shape, (0.5, 2.0, 4.0)[:axes], (-3.0, 8.0, 1.0)[:axes], periodic)
    positions = grid.position(rng.integers(-8, 2 * np.array(shape) + 8, (6, axes)) / 2)
    sigma = rng.integers(1, 4, (6, axes)) * np.array(grid.spacing) / 4
    scene = grid, positions, np.ones(6), {"sigma": sigma, "pixel": pixel}
    start = np.zeros(shape, dtype)
    out = fg.render(*scene[:3], sigma, pixel=pixel, radius=2.0, out=start.copy())
    compare(out, start, scene, radius=2.0, edge=0.0)
    twin = naive_field.Field(grid, positions, sigma, pixel=pixel, radius=2.0, edge=0.0)
    assert_array_equal(out != 0, twin.render() != 0)


@pytest.mark.parametrize("dtype", ["d", "f"])
@pytest.mark.parametrize("rotated", [False, True])
def test_a_node_exactly_on_the_sphere_is_inside(rotated, dtype):
    """3, 4, 5 and 2, 3, 6, 7 are the sides and diagonals of boxes."""
    for radius, shape in ((5.0, (13, 17)), (7.0, (16, 15, 17))):
        width = {"covariance": np.eye(len(shape))} if rotated else {"sigma": 1.0}
        centre = np.array(shape) // 2
        out = np.zeros(shape, dtype)
        fg.render(shape, [centre], radius=radius, support="sphere", out=out, **width)
        square = ((np.indices(shape).T - centre) ** 2).sum(axis=-1).T
        assert_array_equal(out > 0, square <= radius**2)


@pytest.mark.parametrize("support", ["box", "sphere"])
@pytest.mark.parametrize("pixel", ["sample", "integrate"])
@pytest.mark.parametrize("shape", [(40,), (17, 19), (13, 12, 14)])
@pytest.mark.parametrize("rotated", [False, True])
def test_the_nodes_of_a_support_are_those_of_its_definition(rotated, shape, pixel, support):
    """Also of one that is long and turned: no node more, no node less."""
    rng, axes = np.random.default_rng(16), len(shape)
    grid = fg.Grid(shape, (0.7, 1.3, 1.0)[:axes], 2.0)
    for _ in range(4 if JIT_DISABLED else 10):
        centre = grid.position(rng.uniform(4, 8, (1, axes)))
        width = {"sigma": rng.uniform(0.5, 2.0, axes)}
        if rotated:
            factor = np.eye(axes) + np.tril(rng.uniform(0.5, 1.5, (axes, axes)), -1)
            width = {"covariance": factor @ factor.T}
        own = {"radius": 1.5, "support": support, "pixel": pixel, **width}
        out = fg.render(grid, centre, **own)
        twin = naive_field.Field(grid, centre, **own)
        expected = np.zeros(shape, bool)
        expected[tuple(twin.parts[0][2].T)] = True
        assert not twin.unsure.any() and expected.any() and not expected.all()
        assert_array_equal(out != 0, expected)


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("ratio", [1e1, 1e3, 1e5])
def test_very_long_ellipsoids_are_as_exact_as_their_covariance(axes, ratio):
    """Rounding of a covariance moves its smallest variance by the square of the ratio of sigmas."""
    rng = np.random.default_rng(17)
    grid = fg.Grid((9, 10, 8)[:axes])
    turn = np.linalg.qr(rng.normal(size=(axes, axes)))[0]
    sigmas = np.array([1.0, ratio, np.sqrt(ratio)])[:axes]
    covariance = turn @ np.diag(sigmas**2) @ turn.T
    covariance = (covariance + covariance.T) / 2
    centre = rng.uniform(2, 6, (1, axes))
    out = fg.render(grid, centre, covariance=covariance, radius=30.0)
    twin = naive_field.Field(grid, centre, covariance=covariance, radius=30.0)
    with mp.workdps(40):
        exact = np.asarray(np.frompyfunc(mp.mpf, 1, 1)(covariance), dtype=object)
        expected = twin.render(1.0, covariance=exact).astype(float)
    atol = np.finfo(float).eps * ratio**2
    assert_allclose(out, expected, rtol=0, atol=atol)
    assert expected.max() > 0.5 and expected.min() < 0.1


@pytest.mark.parametrize("support", ["box", "sphere"])
@pytest.mark.parametrize("pixel", ["sample", "integrate"])
@pytest.mark.parametrize("axes", [1, 2, 3])
def test_a_diagonal_covariance_is_the_squares_of_sigmas(axes, pixel, support):
    if JIT_DISABLED and axes == 3 and pixel == "integrate":
        pytest.skip("slow as plain Python")
    shape = (30, 11, 9)[-axes:]
    grid, positions, amplitudes, options = scene_of(
        np.random.default_rng(axes), shape, 3, spacing=0.7, origin=2.0, periodic=axes == 2
    )
    sigma = 1.5 * options["sigma"]
    covariance = sigma[:, :, np.newaxis] ** 2 * np.eye(axes)
    own = {"pixel": pixel, "support": support, "radius": RADIUS}
    out = fg.render(grid, positions, amplitudes, sigma, **own)
    again = fg.render(grid, positions, amplitudes, covariance=covariance, **own)
    atol = 1e-13 if pixel == "sample" else TOLERANCE["5-point quadrature"]
    assert_allclose(again, out, rtol=0, atol=atol)
    assert np.abs(out).max() > 0.1


@pytest.mark.parametrize("kind", [*naive_field.SIGMAS, *naive_field.COVARIANCES])
@pytest.mark.parametrize("shape", [(25,), (6, 9), (4, 5, 6)])
def test_a_mean_over_pixels_is_the_mean_of_samples(shape, kind):
    """Of samples at 6 Gauss-Legendre points along each axis."""
    rng = np.random.default_rng(2)
    n, axes = 2, len(shape)
    grid, positions, amplitudes, _ = scene_of(rng, shape, n, spacing=(1.0, 1.2, 1.1)[:axes])
    width = naive_field.widths(rng, n, grid, kind, 1.0, 1.6)
    out = fg.render(grid, positions, amplitudes, radius=9.0, pixel="integrate", **width)
    nodes, weights = np.polynomial.legendre.leggauss(3 if JIT_DISABLED and axes == 3 else 6)
    mean = np.zeros(shape)
    for index in np.ndindex((len(nodes),) * axes):
        steps = nodes[list(index)] / 2 * np.array(grid.spacing)
        moved = fg.Grid(shape, grid.spacing, tuple(np.array(grid.origin) + steps))
        weight = np.prod(weights[list(index)] / 2)
        mean += weight * fg.render(moved, positions, amplitudes, radius=9.0, **width)
    rough = JIT_DISABLED and axes == 3
    assert_allclose(out, mean, rtol=0, atol=1e-4 if rough else TOLERANCE["5-point quadrature"])


@pytest.mark.parametrize("kind", ["own axes", "own covariance"])
@pytest.mark.parametrize("pixel", ["sample", "integrate"])
@pytest.mark.parametrize("shape", [(25,), (6, 9), (4, 5, 6)])
def test_particles_a_period_away_are_the_same(shape, pixel, kind):
    axes = len(shape)
    if JIT_DISABLED and (axes, pixel, kind) == (3, "integrate", "own covariance"):
        pytest.skip("slow as plain Python")
    own = {"spacing": (0.5, 2.0, 0.25)[:axes], "origin": 1.0, "periodic": True}
    n = 2 if JIT_DISABLED else 4
    grid, positions, amplitudes, options = scene_of(
        np.random.default_rng(4), shape, n, kind, pixel, **own
    )
    period = np.array(shape) * grid.spacing
    out = fg.render(grid, positions, amplitudes, **options)
    for shift in (1, -3, 1000):
        moved = fg.render(grid, positions + shift * period, amplitudes, **options)
        assert_allclose(moved, out, rtol=0, atol=1e-11)
    coarse = np.round(positions * 64) / 64  # no rounding where nothing has to be rounded
    out = fg.render(grid, coarse, amplitudes, **options)
    assert_array_equal(fg.render(grid, coarse - 7 * period, amplitudes, **options), out)


@pytest.mark.parametrize("kind", [*naive_field.SIGMAS, *naive_field.COVARIANCES])
def test_what_is_drawn_does_not_depend_on_the_order_of_axes_units_or_particles(kind):
    rng = np.random.default_rng(5)
    shape = (5, 9, 12)
    own = {"spacing": (0.5, 2.0, 1.25), "origin": (1.0, -2.0, 0.5), "periodic": (False, True, True)}
    grid, positions, amplitudes, options = scene_of(rng, shape, 6, kind, **own)
    out = fg.render(grid, positions, amplitudes, **options)
    (name, width), *_ = options.items()
    n = len(positions)
    full = (n, 3) if name == "sigma" else (n, 3, 3)
    every = np.ascontiguousarray(np.broadcast_to(width, full))
    assert_array_equal(fg.render(grid, positions, amplitudes, **{name: every}), out)

    order = rng.permutation(n)
    again = fg.render(grid, positions[order], amplitudes[order], **{name: every[order]})
    assert_allclose(again, out, rtol=0, atol=1e-14)

    unit = 0.25
    scaled = fg.Grid(shape, *(tuple(unit * np.array(g)) for g in (grid.spacing, grid.origin)),
                     grid.periodic)  # fmt: skip
    power = 1 if name == "sigma" else 2
    again = fg.render(scaled, unit * positions, amplitudes, **{name: unit**power * every})
    assert_array_equal(again, out)

    for turn in ((2, 0, 1), (1, 0, 2), (0, 2, 1)):
        axes = list(turn)
        sides = (
            np.array(g)[axes].tolist() for g in (shape, grid.spacing, grid.origin, grid.periodic)
        )
        moved = every[:, axes] if name == "sigma" else every[:, axes][:, :, axes]
        again = fg.render(fg.Grid(*sides), positions[:, axes], amplitudes, **{name: moved})
        assert_allclose(again, out.transpose(turn), rtol=0, atol=1e-14)

    flat = fg.render(fg.Grid((1, 1, 40)), [[0.0, 0, 17.3]], 2.0, 1.4)
    assert_array_equal(flat[0, 0], fg.render(40, [17.3], 2.0, 1.4))
    assert_array_equal(flat[0], fg.render((1, 40), [[0.0, 17.3]], 2.0, 1.4))
