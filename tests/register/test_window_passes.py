"""``displacement_field`` by passes over deformed images: vortices, masks, outliers, noise."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import ndimage
from scipy.interpolate import RectBivariateSpline

import fastgauss as fg
from fastgauss.kernels._compile import JIT_DISABLED
from fastgauss.kernels.register import deformation as kernel
from fastgauss.register import Status, displacement_field
from fastgauss.register.image_deformation import FlowSpline
from fastgauss.register.inputs import read
from fastgauss.register.match_weights import match_weights
from fastgauss.register.preparation import grow
from fastgauss.register.vector_validation import fill, neighbours_say, parabola_weights, smooth
from fastgauss.register.window_passes import Sizes, noise_of_passes

compiled = pytest.mark.skipif(JIT_DISABLED, reason="many windows")


def vortex(points, centre, core, slope):
    """(dy, dx) of Rankine's vortex: a solid body within the core."""
    away = points - centre
    turn = slope / np.maximum(np.hypot(*away.T) / core, 1.0) ** 2
    return turn[:, np.newaxis] * np.column_stack([away[:, 1], -away[:, 0]])


def particles(shape, move, density, noise, rng, loss=0.0, half=0.5):
    """Two images of particles whose displacement at their place is ``move``."""
    border = 12
    places = rng.uniform(
        -border, np.add(shape, border), (int(density * np.prod(np.add(shape, 2 * border))), 2)
    )
    heights = rng.uniform(0.3, 1.0, len(places))
    displacement = move(places)
    later = places + (1.0 - half) * displacement
    gone = rng.random(len(places)) < loss
    later[gone] = rng.uniform(-border, np.add(shape, border), (gone.sum(), 2))
    return [
        fg.render(shape, p, heights, sigma=1.0) + rng.normal(0, noise, shape)
        for p in (places - half * displacement, later)
    ]


def misses(field, move):
    """Errors (R, C, 2) of dx, dy."""
    y, x = np.meshgrid(field.y, field.x, indexing="ij")
    truth = move(np.column_stack([y.ravel(), x.ravel()])).reshape(*y.shape, 2)
    return np.stack([field.dx - truth[..., 1], field.dy - truth[..., 0]], axis=-1)


@compiled
@pytest.mark.parametrize(("deformation", "half"), [("symmetric", 0.5), ("second", 0.0)])
def test_a_vortex_with_strong_shear(deformation, half):
    rng = np.random.default_rng(4)

    def move(points):
        return vortex(points, np.array([80.0, 100.0]), 45.0, 0.1)

    a, b = particles((160, 192), move, 0.05, 0.02, rng, half=half)
    field = displacement_field(a, b, (64, 32, 16, 16), deformation=deformation)
    assert field.dx.shape == (19, 23)
    y, x = np.meshgrid(field.y, field.x, indexing="ij")
    smooth_flow = np.abs(np.hypot(y - 80, x - 100) - 45) > 16
    assert field.converged[smooth_flow].mean() > 0.98
    error, reported = misses(field, move)[smooth_flow], field.errors[smooth_flow]
    assert np.sqrt(np.mean(error**2)) < 0.025
    assert np.abs(error.mean(axis=0)).max() < 0.004
    assert 0.58 < np.mean(np.abs(error) < reported) < 0.75
    # a single pass sees the shear
    single = displacement_field(a, b, 16, 8)
    assert np.nanmedian(np.abs(misses(single, move)[smooth_flow])) > 2 * np.median(np.abs(error))
    other = {"symmetric": "second", "second": "symmetric"}[deformation]
    wrong = misses(displacement_field(a, b, (64, 32, 16), deformation=other), move)[smooth_flow]
    assert np.median(np.abs(wrong)) > 3 * np.median(np.abs(error))


@compiled
def test_noise_of_the_passes_before_is_in_the_errors():
    def move(points):
        return np.broadcast_to([1.63, -2.21], points.shape)

    a, b = particles((192, 192), move, 0.05, 0.06, np.random.default_rng(11))
    for windows, overlap in (((64, 32, 16, 16, 16), 0.5), ((32,) * 4, 0.75), ((32,) * 4, 0)):
        field = displacement_field(a, b, windows, overlap=overlap)
        assert field.converged.all()
        error = misses(field, move)[1:-1, 1:-1]
        ratio = np.sqrt(np.mean(error**2) / np.mean(field.errors[1:-1, 1:-1] ** 2))
        assert 0.8 < ratio < 1.2


def test_noise_of_passes():
    sizes = Sizes((32, 32), (16, 16))
    assert noise_of_passes([sizes], [0.3]) == 1
    factors = [noise_of_passes([sizes] * n, [0.3] * n) for n in range(2, 9)]
    assert 1 < factors[0] < factors[1] and factors[-1] == pytest.approx(factors[-2], rel=1e-3)
    larger = Sizes((64, 64), (32, 32))
    assert noise_of_passes([larger, sizes], [1.0, 1.0]) < factors[0]
    assert noise_of_passes([sizes] * 2, [4.0, 1.0]) > factors[0]  # the pass before had more


@compiled
@pytest.mark.parametrize(("density", "loss", "noise"), [(0.04, 0.2, 0.02), (0.015, 0.1, 0.05)])
def test_particles_that_are_in_one_image_alone(density, loss, noise):
    """They hardly move the result, and the errors hold."""

    def move(points):
        return np.broadcast_to([-1.37, 3.21], points.shape)

    a, b = particles((224, 224), move, density, noise, np.random.default_rng(2), loss)
    field = displacement_field(a, b, (64, 32, 32))
    good = field.converged & ~field.outlier
    error, reported = misses(field, move)[good], field.errors[good]
    assert good.mean() > 0.97
    standard = np.sqrt(np.mean(error**2) / (0.25 * len(error)))  # a quarter share no pixels
    assert np.abs(error.mean(axis=0)).max() < 3 * standard
    assert 0.58 < np.mean(np.abs(error) < reported) < 0.78
    alone = displacement_field(a, b, 32, 16)
    assert np.median(np.abs(misses(alone, move)[good])) > 1.4 * np.median(np.abs(error))


def test_weights_of_what_matches():
    """A particle in one image alone, one in both, one in both that has moved by half a pixel."""
    shape = (40, 60)
    first = fg.render(shape, [[20, 10], [20, 30], [20, 50]], sigma=1.0)
    second = 3.0 * fg.render(shape, [[20, 30], [20, 50.5]], sigma=1.0)
    rng = np.random.default_rng(0)
    pixels = [
        read((image + rng.normal(0, noise, shape)).astype(np.float32), None, None)
        for image, noise in ((first, 0.02), (second, 0.06))
    ]
    noises = tuple((n * p.scale) ** 2 for n, p in zip((0.02, 0.06), pixels, strict=True))
    weights = match_weights(*pixels, noises, 32, 1)
    assert weights.shape == shape and weights.min() > 0 and weights.max() <= 1
    assert weights[20, 10] < 0.1 and weights[20, 30] > 0.8 and weights[20, 50] > 0.6
    assert np.median(weights) > 0.99


@compiled
def test_results_do_not_depend_on_threads_or_on_the_unit():
    def move(points):
        return vortex(points, np.array([40.0, 50.0]), 30.0, 0.06)

    a, b = particles((96, 112), move, 0.05, 0.02, np.random.default_rng(1))
    field = displacement_field(a, b, (32, 16, 16), threads=1)
    again = displacement_field(a, b, (32, 16, 16), threads=3)
    for name, value in field.to_dict().items():
        assert_array_equal(again.to_dict()[name], value)
    other = displacement_field(1e5 * a + 7e6, 1e5 * b + 7e6, (32, 16, 16))
    assert_allclose(other.dx, field.dx, atol=1e-4)
    assert_array_equal(other.status, field.status)


@compiled
def test_masks_and_outliers():
    def move(points):
        return np.broadcast_to([0.4, 2.7], points.shape)

    rng = np.random.default_rng(5)
    a, b = particles((128, 128), move, 0.04, 0.02, rng)
    mask = np.zeros(a.shape, bool)
    mask[:40, 80:] = True
    b[72:96, 24:48] = rng.permuted(b[72:96, 24:48].ravel()).reshape(24, 24)
    field = displacement_field(np.where(mask, 1e3, a), b, (32, 16, 16), mask=(mask, None))
    assert (field.status[:3, 11:] == Status.TOO_FEW_PIXELS).all()
    assert np.isnan(field.dx[:3, 11:]).all() and field.outlier[:3, 11:].all()
    replaced = field.replaced
    assert 1 <= replaced.sum() <= 16 and (field.status[replaced] == Status.REPLACED).all()
    y, x = np.meshgrid(field.y, field.x, indexing="ij")
    spoilt = (abs(y - 84) < 20) & (abs(x - 36) < 20)
    assert spoilt[replaced].mean() > 0.7 and field.outlier[replaced].all()
    assert np.abs(misses(field, move)[replaced]).max() < 0.3
    assert np.abs(misses(field, move)[field.converged & ~field.outlier & ~spoilt]).max() < 0.2
    table = field.to_dataframe()
    assert_array_equal(table["replaced"], replaced.ravel())
    assert not table["converged"][table["replaced"]].any()


@compiled
@pytest.mark.parametrize("kind", ["noise", "particles"])
def test_images_that_have_nothing_in_common(kind):
    converged = total = 0
    for seed in range(3):
        rng = np.random.default_rng(seed)
        if kind == "noise":
            a, b = rng.normal(size=(2, 128, 128))
        else:
            a, b = (particles((128, 128), np.zeros_like, 0.03, 0.03, rng)[0] for _ in range(2))
        field = displacement_field(a, b, (32, 16, 16))
        converged, total = converged + field.converged.sum(), total + field.dx.size
    assert converged <= total / 60


@compiled
def test_equal_images_have_not_moved():
    image = np.random.default_rng(3).normal(size=(40, 44)).cumsum(0).cumsum(1)
    field = displacement_field(image, image, ((20, 20), (12, 16)))
    assert field.converged.all()
    assert not field.dx.any() and not field.dy.any()


# -- the parts ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("columns", "steep"), [(11, 0.02), (45, 0.03), (45, 0.5), (45, 3.0)])
def test_deformed_images_are_scipys_splines(columns, steep):
    """Narrower than a register; registers of one step, of two, and of more."""
    rng = np.random.default_rng(0)
    image = rng.normal(size=(17, columns)).astype(np.float32)
    y, x = np.indices(image.shape)
    wave = np.sin(0.3 * x + 0.2 * y + np.array([0.0, 1.0])[:, np.newaxis, np.newaxis])
    dy, dx = (steep * (4.0 * wave + rng.uniform(-1, 1, wave.shape))).astype(np.float32)
    spline = ndimage.spline_filter(image.astype(float), 5, mode="reflect")
    padded = np.pad(spline, kernel.PAD, mode="symmetric").astype(np.float32)
    out = np.empty_like(image)
    kernel.deform(padded.ravel(), image.shape, dy.ravel(), dx.ravel(), 0.5, out.reshape(-1), 0, 17)
    places = [np.clip(y + 0.5 * dy, 0, 16), np.clip(x + 0.5 * dx, 0, columns - 1)]
    expected = ndimage.map_coordinates(image.astype(float), places, order=5, mode="reflect")
    assert_allclose(out, expected, atol=2e-5)


def test_holes_grow_along_all_axes():
    for shape in ((30, 41), (9, 8, 12), (5, 5)):
        holes = np.random.default_rng(3).random(shape) < 0.02
        for margin in (0, 1, 4, 7):
            expected = ndimage.maximum_filter(holes, size=2 * margin + 1)
            assert_array_equal(grow(holes, margin), expected)


def test_a_field_that_is_bent_once_is_not_smoothed():
    y, x = np.meshgrid(np.arange(9.0), np.arange(7.0), indexing="ij")
    parabola = np.stack([0.3 * y**2 - x * y, x**2 + 2 * y - 1], axis=-1)
    inner = slice(2, -2), slice(2, -2)
    assert_allclose(smooth(parabola, (2, 2))[inner], parabola[inner], atol=1e-12)
    plane = np.stack([2 * y - x, 3 * x + 1], axis=-1)
    assert_allclose(smooth(plane, (3, 2)), plane, atol=1e-12)
    assert_allclose(smooth(plane[:1], (3, 2)), plane[:1], atol=1e-12)
    assert parabola_weights(3) @ np.ones(7) == pytest.approx(1)


def test_the_field_between_and_beyond_its_nodes():
    nodes = np.arange(7.5, 60, 8), np.arange(11.5, 70, 12)
    y, x = np.meshgrid(*nodes, indexing="ij")
    moves = np.stack([0.1 * y + 1, 0.05 * x - 0.02 * y], axis=-1)
    spline = FlowSpline(*nodes, moves, (64, 80))
    flow = spline.everywhere((64, 80))
    rows, columns = np.indices((64, 80))
    assert_allclose(flow.dx, 0.1 * rows + 1, atol=1e-9)
    assert_allclose(flow.dy, 0.05 * columns - 0.02 * rows, atol=1e-9)
    assert_allclose(spline.at(*nodes), moves, atol=1e-9)
    bent = np.sin(0.07 * y + 0.05 * x)[..., np.newaxis] * [1.0, -2.0]
    bent_spline = FlowSpline(*nodes, bent, (64, 80))
    assert_allclose(bent_spline.at(*nodes), bent, atol=1e-9)
    between = RectBivariateSpline(*nodes, bent[..., 0])(np.arange(24.0, 40), np.arange(30.0, 50))
    assert_allclose(bent_spline.everywhere((64, 80)).dx[24:40, 30:50], between, atol=0.01)
    one = FlowSpline(np.array([20.0]), np.array([30.0]), np.full((1, 1, 2), 1.5), (41, 61))
    assert_allclose(one.everywhere((41, 61)).dx, 1.5)


def test_gaps_and_neighbours():
    moves = np.zeros((4, 5, 2))
    moves[..., 0] = np.arange(5.0)
    moves[1, 2] = np.nan
    filled = fill(moves)
    assert np.isfinite(filled).all() and filled[1, 2, 0] in (1, 2, 3)
    assert not fill(np.full((2, 3, 2), np.nan)).any()
    median, variance, enough = neighbours_say(moves)
    assert enough.all() and median[1, 2, 0] == 2 and variance[1, 2, 1] == 0
    moves[:, 2:] = np.nan
    assert not neighbours_say(moves)[2][:, 3:].any()


BAD = [
    (ValueError, "window must be one number, 2 numbers, or one of these a pass", {"window": ()}),
    (ValueError, "window must be at least 8", {"window": (16, 8, 4)}),
    (ValueError, "window must fit into images", {"window": (64, 16, 16)}),
    (TypeError, "window must be an integer", {"window": (16, 16, 8.5)}),
    (ValueError, "step and overlap exclude", {"step": 8, "overlap": 0.5}),
    (ValueError, "overlap must be finite and at least 0", {"overlap": -0.1}),
    (
        ValueError,
        "overlap must leave a step of 1 pixel or more, got 16 of a window",
        {"overlap": 16},
    ),
    (ValueError, "overlap must leave a step of 1 pixel or more, got 0.999", {"overlap": 0.999}),
    (ValueError, "overlap must be a share below 1 or whole pixels", {"overlap": 2.5}),
    (
        ValueError,
        "overlap must be one number or one a pass, 3",
        {"window": (16,) * 3, "overlap": (1, 2)},
    ),
    (ValueError, "deformation must be one of", {"deformation": "first"}),
]


@pytest.mark.parametrize(("error", "message", "options"), BAD)
def test_bad_input(error, message, options):
    image = np.random.default_rng(0).normal(size=(40, 40))
    with pytest.raises(error, match=message):
        displacement_field(**{"a": image, "b": image, "window": 16, **options})


@compiled
def test_windows_of_passes():
    image = np.random.default_rng(0).normal(size=(48, 56))
    for options, shape in (
        ({"window": (16, 16, 16)}, (5, 6)),
        ({"window": ((32, 16), (16, 8))}, (5, 13)),
        ({"window": [[16, 16], [16, 16]], "step": (16, 20)}, (3, 3)),
        ({"window": 16, "overlap": 8}, (5, 6)),
        ({"window": (32, 16), "overlap": (0.5, 0)}, (2, 3)),
        ({"window": np.array([16, 16, 8]), "overlap": (8, 0.5, 0)}, (6, 7)),
    ):
        field = displacement_field(image, image, **options)
        assert field.dx.shape == shape and field.converged[1:-1, 1:-1].all()
        assert not np.nan_to_num(field.dx).any()
