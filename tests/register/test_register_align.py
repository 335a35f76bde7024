"""``align``: exactness, honest errors in both settings, what is missing, what is refused."""

import pickle

import naive_register as naive
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from tolerances import TOLERANCE

import fastgauss as fg
from fastgauss.kernels._compile import JIT_DISABLED
from fastgauss.kernels.register import gauss_newton as kernel
from fastgauss.kernels.register import quintic_spline
from fastgauss.register import Status, align, inputs, low_pass

compiled = pytest.mark.skipif(JIT_DISABLED, reason="many large images")
N = 32 if JIT_DISABLED else 64


def crops(rng, n, noise, reach=6.0, power=1.5):
    """Two crops of a moving scene, their displacement, and its Cramer-Rao bound."""
    big = 2 * n
    spectrum = naive.cloud(big, rng, power)
    dx, dy = rng.uniform(-reach, reach, 2)
    views = [naive.scene(spectrum, big, *d)[:n, :n] for d in ((0, 0), (dx, dy))]
    gx, gy = (g[:n, :n] for g in naive.gradients(spectrum, big))
    share = (n - abs(dx)) * (n - abs(dy)) / n**2
    fisher = share * np.array([[np.vdot(p, q) for q in (gx, gy)] for p in (gx, gy)])
    bound = 2 * noise**2 * np.diag(np.linalg.inv(fisher)) if noise else np.zeros(2)
    noisy = [view + rng.normal(0, noise, view.shape) for view in views]
    return *noisy, np.array([dx, dy]), bound


def trials(count, make, register):
    """Errors, reported variances and bounds of many registrations, and their failures."""
    errors, reported, bounds = [], [], []
    for _ in range(count):
        a, b, truth, bound = make()
        shift = register(a, b)
        assert shift.converged
        errors.append([shift.dx, shift.dy] - truth)
        reported.append(np.diag(shift.covariance))
        bounds.append(bound)
    return np.array(errors), np.array(reported), np.array(bounds)


# -- exactness ---------------------------------------------------------------------------------


@pytest.mark.parametrize("f", [0.0, 0.2, 0.5, 0.99])
def test_weights_are_those_of_the_quintic_spline(f):
    exact = TOLERANCE["spline weights"]
    assert_allclose(quintic_spline.spline_weights(f), naive.quintic_weights(f), rtol=0, atol=exact)
    assert_allclose(
        quintic_spline.spline_slopes(f), naive.quintic_weights(f, 1), rtol=0, atol=exact
    )


@pytest.mark.parametrize("boundary", ["overlap", "wrap"])
@pytest.mark.parametrize("shape", [(24, 24), (25, 31), (40, 17)])
def test_an_image_has_no_displacement_to_itself(shape, boundary):
    image = np.random.default_rng(1).normal(size=shape).cumsum(0)
    shift = align(image, image, boundary=boundary)
    assert (shift.dx, shift.dy, shift.status) == (0, 0, Status.CONVERGED)
    assert shift.correlation == pytest.approx(1, abs=1e-5)
    assert align(image, image, 0.1, 0.1, boundary=boundary)[:2] == (0, 0)


@pytest.mark.parametrize(
    ("dx", "dy", "dtype"),
    [(-5, 4, "f8"), (0, 6, "f4"), *((3, -2, kind) for kind in ("f8", "i2", ">f8", "u1"))][
        : 2 if JIT_DISABLED else 6
    ],
)
def test_whole_pixels_are_exact(dx, dy, dtype):
    scene = np.random.default_rng(2).normal(size=(48, 48)).cumsum(0).cumsum(1)
    scene = (120 + 100 * scene / abs(scene).max()).astype(dtype)
    a, b = scene[8:40, 8:40], scene[8 - dy : 40 - dy, 8 - dx : 40 - dx]
    shift = align(a, b, brightness="same")
    assert_allclose(shift[:2], (dx, dy), rtol=0, atol=TOLERANCE["registration, crops"])
    flipped = align(a[::-1, ::-1], b[::-1, ::-1])
    assert_allclose(flipped[:2], (-dx, -dy), rtol=0, atol=TOLERANCE["registration, crops"])


@pytest.mark.parametrize("brightness", ["offset", "linear"])
def test_brightness_may_differ(brightness):
    rng = np.random.default_rng(4)
    a, b, truth, _ = crops(rng, N, 0.0, 3.0, power=2.5)
    changed = 3 * b + 100 if brightness == "linear" else b + 100
    shift = align(a, changed, brightness=brightness)
    plain = align(a, b, brightness=brightness)
    assert_allclose(shift[:2], plain[:2], rtol=0, atol=1e-3)
    assert_allclose(shift[:2], truth, rtol=0, atol=5e-3)


def test_solution_is_a_root_of_the_twin():
    a, b, _, _ = crops(np.random.default_rng(5), N, 0.1, 2.0)
    shift = align(a, b, 0.1, 0.1)
    first, second = (inputs.read(image, 0.1, None) for image in (a, b))
    low = low_pass.choose(low_pass.measure(first, second), a.size, 0.25 * N).low
    move = np.rint([shift.dy, shift.dx]).astype(int)
    low_edge = np.maximum(low.margin, np.maximum(low.margin + 1, 4) - move)
    high_edge = np.minimum(N - low.margin, N - np.maximum(low.margin + 1, 5) - move)
    box = tuple(slice(i, j) for i, j in zip(low_edge, high_edge, strict=True))
    assert shift.pixels == a[box].size
    right, slope = naive.score(a, b, low.taps, box, shift.dx, shift.dy)
    assert_allclose(np.linalg.solve(slope, right), 0, rtol=0, atol=TOLERANCE["registration"])


# -- honest errors -----------------------------------------------------------------------------


@compiled
@pytest.mark.parametrize(
    ("n", "noise", "known"), [(64, 0.1, True), (64, 0.5, True), (64, 0.5, False), (128, 0.1, False)]
)
def test_crops_of_a_moving_scene(n, noise, known):
    rng = np.random.default_rng(n)
    err = noise if known else None
    error, reported, bound = trials(
        400 if n < 128 else 200,
        lambda: crops(rng, n, noise),
        lambda a, b: align(a, b, err, err),
    )
    assert np.abs(error).max() < 1
    assert np.mean(error**2) < 2.5**2 * bound.mean()
    assert np.mean(reported) / np.mean(error**2) == pytest.approx(1, abs=0.3)
    assert 0.62 < np.mean(error**2 < reported) < 0.74  # of 800 numbers


@compiled
@pytest.mark.parametrize("both", [True, False])
@pytest.mark.parametrize("noise", [0.1, 0.5])
def test_periodic_shifts_reach_the_bound(noise, both):
    n = 64
    rng = np.random.default_rng(8)
    k2 = (2 * np.pi * np.fft.fftfreq(n)) ** 2
    radius = np.hypot(np.fft.fftfreq(n)[:, None], np.fft.fftfreq(n)) * n
    radius[0, 0] = np.inf

    def make():
        spectrum = naive.cloud(n, rng)
        truth = rng.uniform(-6, 6, 2)
        a, b = naive.scene(spectrum, n), naive.scene(spectrum, n, *truth)
        a = a + both * rng.normal(0, noise, a.shape)
        power = radius**-3.0
        power *= n * n / power.sum()
        v1, v2 = both * noise**2, noise**2
        # the scene is not known either: Knapp and Carter's bound
        known = power**2 / (power * (v1 + v2) + v1 * v2) if both else power / v2
        bound = 1 / (k2[None] * known).sum()
        return a, b + rng.normal(0, noise, a.shape), truth, np.array([bound, bound])

    error, reported, bound = trials(400, make, lambda a, b: align(a, b, boundary="wrap"))
    assert np.mean(error**2) < 1.1**2 * 1.15 * bound.mean()  # the scatter of 400 numbers
    assert np.mean(reported) / np.mean(error**2) == pytest.approx(1, abs=0.3)
    assert 0.62 < np.mean(error**2 < reported) < 0.74


@compiled
def test_two_noises_have_two_residuals():
    rng = np.random.default_rng(3)
    a, b, _, _ = crops(rng, N, 0.2, 2.0)
    assert align(a, b, 0.2, 0.2).noise == pytest.approx(1, abs=0.15)
    assert align(a, b, 0.1, 0.1).noise == pytest.approx(4, rel=0.2)
    assert align(a, b).noise == pytest.approx(2 * 0.2**2, rel=0.2)
    twice = align(a, b, 0.2, 0.2).errors / align(2 * a, 2 * b, 0.4, 0.4).errors
    assert_allclose(twice, 1, rtol=1e-3)


# -- what is missing ---------------------------------------------------------------------------


@compiled
def test_missing_pixels_do_not_count():
    rng = np.random.default_rng(6)
    a, b, truth, _ = crops(rng, N, 0.02, 2.0)
    holes = np.zeros(a.shape, bool)
    holes[5:14, 8:20] = True
    whole = align(a, b)
    results = []
    for value in (np.nan, 1e6, -np.inf):
        bad = np.where(holes, value, a)
        results.append(align(bad, b, mask=(holes, None)))
    assert results[0][:2] == results[1][:2] == results[2][:2]
    assert results[0].pixels < whole.pixels
    assert_allclose(results[0][:2], truth, rtol=0, atol=6 * results[0].errors.max())
    errors = np.where(holes, 0, 0.02)
    by_error = align(np.where(holes, 7, a), b, errors, np.full(a.shape, 0.02))
    assert by_error.pixels == results[0].pixels
    assert_allclose(by_error[:2], results[0][:2], rtol=0, atol=0.3 * by_error.errors.max())


def test_noisy_pixels_count_less():
    rng = np.random.default_rng(7)
    a, b, truth, _ = crops(rng, N, 0.05, 2.0)
    err = np.full(a.shape, 0.05)
    err[:, : N // 2] = 1.0
    a = a + rng.normal(size=a.shape) * np.sqrt(err**2 - 0.05**2)
    weighted = align(a, b, err, 0.05)
    assert_allclose(weighted[:2], truth, rtol=0, atol=5 * weighted.errors.max())
    assert weighted.errors.max() < 0.6 * align(a, b).errors.max()


@pytest.mark.parametrize(
    ("image", "status"),
    [
        (np.ones((30, 30)), Status.NO_TEXTURE),
        (np.full((30, 30), np.nan), Status.TOO_FEW_PIXELS),
    ],
)
def test_what_cannot_be_registered_has_a_status(image, status):
    shift = align(image, image)
    assert shift.status == status and not shift.converged
    assert np.isnan(shift.dx) and np.isnan(shift.covariance).all()
    assert Status(shift.status).message


def test_pure_noise_is_ambiguous_where_the_likelihood_is_known():
    rng = np.random.default_rng(0)
    shift = align(*rng.normal(size=(2, 40, 40)), 1.0, 1.0, boundary="wrap")
    assert shift.status != Status.CONVERGED
    assert not shift.errors.min() < 3


# -- use ---------------------------------------------------------------------------------------


@compiled
def test_start_search_and_pickle():
    scene = np.random.default_rng(2).normal(size=(90, 90)).cumsum(0).cumsum(1)
    a, b = scene[20:68, 20:68], scene[8:56, 20:68]
    found = align(a, b)
    assert_allclose(found[:2], (0, 12), rtol=0, atol=TOLERANCE["registration, crops"])
    near = align(a, b, start=(0.4, 11.7))
    assert_allclose(near[:2], found[:2], rtol=0, atol=TOLERANCE["registration, crops"])
    assert not abs(align(a, b, search=3).dy - 12) < 0.1
    again = pickle.loads(pickle.dumps(found))
    assert again[:2] == found[:2] and again.converged
    assert_array_equal(again.errors, found.errors)
    assert fg.register.align is align


BAD = [
    (ValueError, "im1 must have 2 or 3 dimensions", {"im1": np.ones(30)}),
    (ValueError, "im1 must have 12 rows and columns or more", {"im1": np.ones((5, 30))}),
    (ValueError, "im2 must have the shape of im1", {"im2": np.ones((30, 31))}),
    (TypeError, "im1 must hold real numbers", {"im1": np.ones((30, 30), complex)}),
    (TypeError, "im2 must hold real numbers", {"im2": np.full((30, 30), None)}),
    (ValueError, "im1 must have 12 rows", {"im1": np.ones((0, 0))}),
    (ValueError, "err1 must be finite and above 0", {"err1": 0.0}),
    (ValueError, "err2 must be one number or have shape", {"err2": np.ones(3)}),
    (TypeError, "mask must hold booleans", {"mask": np.zeros((30, 30))}),
    (ValueError, "mask must have shape", {"mask": np.zeros((30, 31), bool)}),
    (ValueError, "mask must be one array or a tuple of two", {"mask": (None, None, None)}),
    (ValueError, "model must be one of", {"model": "affine"}),
    (ValueError, "start must be one of", {"start": "phase"}),
    (ValueError, "start must be one number or 2 numbers", {"start": (1, 2, 3)}),
    (ValueError, "boundary must be one of", {"boundary": "fill"}),
    (ValueError, "brightness must be one of", {"brightness": "gamma"}),
    (ValueError, "search must be finite and above 0", {"search": -1}),
    (ValueError, "err1 must be one number", {"err1": np.ones((30, 30)), "boundary": "wrap"}),
    (ValueError, "im2 must be whole", {"im2": np.full((30, 30), np.nan), "boundary": "wrap"}),
]


@pytest.mark.parametrize(("error", "message", "options"), BAD)
def test_bad_input(error, message, options):
    image = np.random.default_rng(0).normal(size=(30, 30))
    with pytest.raises(error, match=message):
        align(**{"im1": image, "im2": image, **options})


def test_status_codes_are_the_kernels():
    names = ("CONVERGED", "MAX_ITERATIONS", "NO_TEXTURE", "TOO_FEW_PIXELS", "LOST")
    assert [getattr(kernel, name) for name in names] == [Status[name] for name in names]
    assert len({status.message for status in Status}) == len(Status)


@pytest.mark.parametrize("shape", [(26, 28), (16,) * 3] if JIT_DISABLED else [(40, 44), (20,) * 3])
def test_a_pure_ramp_has_no_displacement_but_a_change_of_brightness(shape):
    rng = np.random.default_rng(12)
    axes = np.indices(shape, dtype=float)
    for slopes in ((1.0, 0.5, 0.0), (0.0, 1.0, 0.0)):
        ramp = sum(s * axis for s, axis in zip(slopes[: len(shape)], axes, strict=True))
        for noise in (0.0, 1e-4):
            a, b = (v + noise * rng.normal(size=shape) for v in (ramp, ramp - 1.0))
            shift = align(a, b)
            assert shift.status == Status.NO_TEXTURE and np.isnan(shift.displacement).all()
        # of known brightness, it is known across the ramp
        same = align(ramp, ramp - 1.0, brightness="same")
        assert same.status in (Status.ONE_DIRECTION, Status.AMBIGUOUS)
        assert np.isfinite(same.displacement).all() and same.displacement.any()
