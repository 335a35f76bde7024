"""Every option of fit_joint beside the twin that knows it, on symmetric spots."""

import naive_joint
import numpy as np
import pytest
from naive_joint import SHAPES, both, cluster
from numpy.testing import assert_allclose, assert_array_equal
from tolerances import TOLERANCE

import fastgauss as fg
from fastgauss.kernels._compile import JIT_DISABLED

pytestmark = pytest.mark.skipif(JIT_DISABLED, reason="too many pixels for plain Python")
SHAPE = SHAPES[2]


@pytest.mark.parametrize("method", ["lsq", "mle"])
@pytest.mark.parametrize("background", ["local", "constant", "plane", "array", "number"])
def test_backgrounds(background, method):
    image, truth, start = cluster(slope=0.2)
    ramp = 10.0 + np.tile(0.2 * np.arange(SHAPE[1]), (SHAPE[0], 1))
    known = {"array": ramp, "number": 13.0}
    result, _ = both(
        image, truth, start, method=method, background=known.get(background, background)
    )
    assert (result.errors[:, -1] == 0).all() == (background in known)
    spread = np.ptp(result.offset)
    assert (spread > 0.1) == (background in ("plane", "array"))


def test_a_fixed_offset_is_a_known_background():
    image, truth, start = cluster()
    result, _ = both(image, truth, start, background=9.5)
    other = fg.fit_joint(image, start[:, 2:0:-1], guess=start, box=naive_joint.BOX, tol=1e-7,
                         fixed={"offset": 9.5})  # fmt: skip
    assert_array_equal(result.params, other.params)
    assert_array_equal(result.errors, other.errors)
    assert_array_equal(other.dof, other.pixels - 4)


@pytest.mark.parametrize("covariance", ["auto", "residual", "absolute"])
def test_weights_and_pixels_of_no_weight(covariance):
    image, truth, start = cluster()
    rng = np.random.default_rng(5)
    weights = rng.uniform(0.5, 2, SHAPE) / 20
    weights[rng.random(SHAPE) < 0.05] = 0.0
    both(image, truth, start, weights=weights, covariance=covariance)


def test_variances_of_a_camera():
    image, truth, start = cluster()
    rng = np.random.default_rng(6)
    variance = rng.gamma(2.0, 3.0, SHAPE)
    image = image + rng.normal(0, np.sqrt(variance))
    both(image, truth, start, method="mle", variance=variance)


@pytest.mark.parametrize("method", ["lsq", "mle"])
def test_missing_pixels(method):
    image, truth, start = cluster()
    rng = np.random.default_rng(7)
    mask = rng.random(SHAPE) < 0.1
    image[mask] = 1e9
    image[rng.random(SHAPE) < 0.1] = np.nan
    image[15, 15], image[16, 14] = np.inf, -np.inf
    both(image, truth, start, method=method, mask=mask)


@pytest.mark.parametrize("name", ["symmetric", "rotated"])
def test_means_over_pixels(name):
    image, truth, start = cluster(name, pixel="integrate")
    both(image, truth, start, name, method="mle", pixel="integrate")


@pytest.mark.parametrize("method", ["lsq", "mle"])
@pytest.mark.parametrize(
    "fixed",
    [
        {"sigma": 1.3},
        {"sigma": np.array([1.3, 1.2, 1.4, 1.3])},
        {"x": np.array([13.6, 14.2, 17.3, 17.9]), "y": np.array([14.3, 17.4, 15.1, 18.2])},
        {"amplitude": 180.0, "sigma": 1.25},
    ],
    ids=["sigma", "sigmas", "places", "amplitude"],
)
def test_fixed_parameters(fixed, method):
    image, truth, start = cluster()
    result, _ = both(image, truth, start, fixed=fixed, method=method)
    for key, value in fixed.items():
        assert_array_equal(getattr(result, key), np.broadcast_to(value, 4))


@pytest.mark.parametrize("name", ["symmetric", "rotated"])
def test_fixed_widths_and_angles(name):
    image, truth, start = cluster(name)
    fixed = {"sigma": 1.3} if name == "symmetric" else {"theta": truth[:, 5]}
    start[:, 3:-1] = truth[:, 3:-1]
    both(image, truth, start, name, fixed=fixed)


@pytest.mark.parametrize("method", ["lsq", "mle"])
@pytest.mark.parametrize("shared", [("sigma",), ("sigma", "offset"), ("amplitude", "sigma")])
def test_shared_parameters(shared, method):
    image, truth, start = cluster()
    result, _ = both(image, truth, start, shared=shared, method=method)
    for key in shared:
        assert np.ptp(getattr(result, key)) == 0


@pytest.mark.parametrize("method", ["lsq", "mle"])
def test_bounds_are_kept_and_wanted(method):
    image, truth, start = cluster()
    bounds = {"sigma": (1.25, 1.35), "amplitude": (None, 195.0)}
    result, wants = both(image, truth, start, bounds=bounds, method=method)
    assert (result.status == fg.Status.AT_BOUND).any()
    at = [result.params[:, k][:, np.newaxis] == ends for k, ends in ((0, [195.0]), (3, [1.25]))]
    assert at[0].any()
    for k, low, high in ((0, 0.0, 195.0), (3, 1.25, 1.35)):
        values = result.params[:, k]
        assert (values >= low).all() and (values <= high).all()
        assert (wants[values == low, k] <= 0).all() and (wants[values == high, k] >= 0).all()
        assert_array_equal(result.errors[:, k] == 0, (values == low) | (values == high))


def test_a_bound_of_the_offset():
    image, _, start = cluster()
    result = fg.fit_joint(image, start[:, 2:0:-1], guess=start, bounds={"offset": (0, 9.0)})
    assert (result.offset == 9.0).all()
    held = fg.fit_joint(image, start[:, 2:0:-1], guess=start, fixed={"offset": 9.0})
    assert_allclose(result.params, held.params, rtol=1e-6)
    result = fg.fit_joint(image, start[:, 2:0:-1], guess=start, bounds={"offset": (0, 90.0)})
    free = fg.fit_joint(image, start[:, 2:0:-1], guess=start)
    assert_allclose(result.params, free.params, rtol=1e-6)


@pytest.mark.parametrize("kind", ["local", "constant"])
def test_groups_have_their_own_background_or_one(kind):
    left, truth, start = cluster()
    right, other, begin = cluster(seed=9)
    image = np.concatenate([left, np.full((SHAPE[0], 30), 10.0), right + 5], axis=1)
    places = np.array([0, SHAPE[1] + 30, 0, 0, 0])
    truth = np.concatenate([truth, other + places])
    start = np.concatenate([start, begin + places])
    labels = np.repeat([0, 1], 4) if kind == "local" else None
    result, _ = both(image, truth, start, background=kind, labels=labels, box=19)
    assert len(set(result.offset.tolist())) == (2 if kind == "local" else 1)


@pytest.mark.parametrize("background", ["local", "constant", "plane", "array"])
def test_a_frame_of_a_stack_is_fitted_for_itself(background):
    made = [cluster(seed=k, slope=0.1 * k) for k in range(3)]
    stack = np.stack([image for image, _, _ in made])
    start = made[0][2]
    frames = np.array([2, 0, 2, 0, 2, 0, 2, 0])
    starts = np.repeat(start, 2, axis=0)
    rng = np.random.default_rng(8)
    weights = rng.uniform(0.5, 1.5, stack.shape)
    mask = rng.random(stack.shape) < 0.05
    known = np.arange(3.0)[:, np.newaxis, np.newaxis] + np.full(stack.shape, 10.0)
    given = {"array": known}.get(background, background)
    options = {"box": 23, "tol": 1e-7}
    result = fg.fit_joint(
        stack, starts[:, 2:0:-1], frames=frames, guess=starts, weights=weights, mask=mask,
        background=given, **options,
    )  # fmt: skip
    assert_array_equal(result.frames, frames)
    for frame in (0, 2):
        rows = np.flatnonzero(frames == frame)
        alone = fg.fit_joint(
            stack[frame], starts[rows, 2:0:-1], guess=starts[rows], weights=weights[frame],
            mask=mask[frame], background=known[frame] if background == "array" else background,
            **options,
        )  # fmt: skip
        shift = (result.params[rows] - alone.params)[:, :4] / alone.errors[:, :4]
        assert_allclose(shift, 0, atol=TOLERANCE["fit, standard errors"])
        assert_allclose(result.offset[rows], alone.offset, rtol=1e-6)
        assert_allclose(result.errors[rows], alone.errors, rtol=TOLERANCE["fit errors"])
        assert_allclose(result.objective[rows], alone.objective, rtol=1e-6)
        assert_array_equal(result.dof[rows], alone.dof)


def test_dark_spots():
    image, _, start = cluster()
    bright = fg.fit_joint(image, start[:, 2:0:-1], tol=1e-7)
    dark = fg.fit_joint(500.0 - image, start[:, 2:0:-1], polarity="dark", tol=1e-7)
    assert_allclose(dark.amplitude, -bright.amplitude, rtol=1e-5)
    assert_allclose(dark.positions, bright.positions, rtol=1e-5)


def test_depth_from_the_shape_of_overlapping_spots():
    model = fg.astigmatic_model((1.3, -250.0, 400.0), (1.3, 250.0, 400.0), (-500.0, 500.0))
    truth = np.array([[400.0, 13.6, 14.3, 120.0, 10.0], [500.0, 16.9, 16.2, -200.0, 10.0]])
    light = fg.image(truth * [1, 1, 1, 1, 0], SHAPE, model).sum(axis=0) + 10.0
    image = np.random.default_rng(10).poisson(light).astype(float)
    both(image, truth, truth + np.array([9.0, 0.2, -0.1, 20.0, 0.5]), model, method="mle", box=29)
