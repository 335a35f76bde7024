"""``align`` of volumes: exactness, errors that hold, what is missing, and what is no match."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import ndimage

from fastgauss.kernels._compile import JIT_DISABLED
from fastgauss.register import Status, align, inputs, long_taps, shift_image, spline_fields

compiled = pytest.mark.skipif(JIT_DISABLED, reason="many volumes")
NDIM = 3
SHAPE = (16, 17, 18) if JIT_DISABLED else (26, 28, 30)  # of views
WHOLE = 4e-3 if JIT_DISABLED else 2e-3  # error of whole pixels, which is less in larger volumes


def cloud(rng, n, power=2.0):
    """Spectrum of a periodic scene of variance 1, without the frequency of Nyquist."""
    k = np.fft.fftfreq(n)
    radius = n * np.sqrt(np.add.outer(np.add.outer(k**2, k**2), k**2))
    radius[0, 0, 0] = np.inf
    spectrum = np.fft.fftn(rng.normal(size=(n,) * NDIM)) * radius**-power
    for axis in range(NDIM):
        np.moveaxis(spectrum, axis, 0)[n // 2] = 0.0
    return spectrum / np.fft.ifftn(spectrum).real.std()


def along(n, axis, line):
    return line.reshape([n if i == axis else 1 for i in range(NDIM)])


def seen(spectrum, displacement=(0, 0, 0), slope=None):
    """The scene that has moved, or its derivative along an axis."""
    n = len(spectrum)
    k = 2 * np.pi * np.fft.fftfreq(n)
    for axis, d in enumerate(displacement):
        spectrum = spectrum * along(n, axis, np.exp(-1j * k * d))
    if slope is not None:
        spectrum = spectrum * along(n, slope, 1j * k)
    return np.fft.ifftn(spectrum).real


def views(rng, noise, n=24, big=32, reach=2.0, power=2.0):
    """Two noisy parts of a moving scene, its displacement, and the bound of a known scene."""
    spectrum, move = cloud(rng, big, power), rng.uniform(-reach, reach, NDIM)
    cut = (slice((big - n) // 2, (big + n) // 2),) * NDIM
    a, b = seen(spectrum)[cut], seen(spectrum, move)[cut]
    slopes = [seen(spectrum, slope=axis)[cut] for axis in range(NDIM)]
    fisher = np.array([[np.vdot(p, q) for q in slopes] for p in slopes])
    bound = 2 * noise**2 * np.diag(np.linalg.inv(fisher * np.prod(1 - np.abs(move) / n)))
    return *(v + rng.normal(0, noise, v.shape) for v in (a, b)), move, bound


@pytest.fixture(scope="module")
def scene():
    """A volume of blobs with room around."""
    return ndimage.gaussian_filter(np.random.default_rng(0).normal(size=(44, 46, 48)), 1.5)


def part(scene, move=(0, 0, 0)):
    """A view in which the scene is displaced by whole pixels."""
    return scene[tuple(slice(9 - d, 9 - d + n) for d, n in zip(move, SHAPE, strict=True))]


@pytest.mark.parametrize("dtype", ["u2"] if JIT_DISABLED else ["f8", "f4", "u2", ">i4"])
def test_whole_pixels_are_exact_in_any_unit(scene, dtype):
    scene = (3000 + 5000 * scene).astype(dtype)
    move = (2, -4, 3)
    one, other = part(scene), part(scene, move)
    shift = align(one, other)
    assert shift.converged and shift.covariance.shape == (3, 3)
    assert_allclose(shift.displacement, move, rtol=0, atol=WHOLE)
    assert (shift.dz, shift.dy, shift.dx) == tuple(shift.displacement)
    back = align(other, one, start=tuple(-shift.displacement[::-1]))
    assert_allclose(back.displacement, -np.array(move), rtol=0, atol=WHOLE)


def test_a_volume_has_no_displacement_to_itself(scene):
    shift = align(part(scene), part(scene))
    assert shift.status == Status.CONVERGED and not shift.displacement.any()
    assert shift.correlation == pytest.approx(1, abs=1e-5)


@compiled
@pytest.mark.parametrize(("noise", "known"), [(0.1, True), (0.3, False)])
def test_errors_hold_and_are_near_the_bound(noise, known):
    rng = np.random.default_rng(5)
    off, reported, bounds = [], [], []
    for _ in range(20):
        a, b, move, bound = views(rng, noise)
        shift = align(a, b, *(noise, noise) if known else ())
        assert shift.converged
        off.append(shift.displacement - move)
        reported.append(np.diag(shift.covariance)[::-1])
        bounds.append(bound)
    pulls = np.array(off) / np.sqrt(reported)
    chance = 3.9 / np.sqrt(pulls.size)  # 0.5 for 60 numbers
    assert np.mean(pulls**2) == pytest.approx(1, abs=chance)
    # a third of the pixels are next to a border, and the scene is not known
    most = (1.6 if noise < 0.2 else 2.1) ** 2 * (0.5 + chance)
    assert np.mean(np.square(off)) < most * np.mean(bounds)


def kriged(fraction, first, last):
    """Taps by the sums of their definition, on other frequencies, with Lagrange's multiplier."""
    k = (np.arange(3000) + 0.5) * (np.pi / 3000)
    power, form = 1 / k**2 + 0.02, np.exp(-0.5 * (k / (0.85 * np.pi)) ** 6)
    nodes = np.arange(first, last)
    wave = np.exp(1j * np.multiply.outer(nodes, k))
    matrix = np.ones((nodes.size + 1,) * 2)
    matrix[:-1, :-1] = (wave * power @ wave.conj().T).real / k.size
    matrix[-1, -1] = 0
    sides = [(wave.conj() * t * form * np.exp(1j * k * fraction) @ power).real for t in (1, 1j * k)]
    ends = [np.append(side / k.size, total) for side, total in zip(sides, (1, 0), strict=True)]
    value, slope = (np.linalg.solve(matrix, end)[:-1] for end in ends)
    return value, slope - value * (slope @ value) / (value @ value)


@pytest.mark.parametrize("nodes", [(-16, 18), (-1, 18), (-16, 2), (-3, 4)])
@pytest.mark.parametrize("fraction", [0.0, 0.3, 0.5])
def test_long_taps_are_those_of_least_error(nodes, fraction):
    taps = long_taps.taps(fraction, (0.85 * np.pi, 6.0), *nodes)
    for got, expected in zip(taps, kriged(fraction, *nodes), strict=True):
        assert_allclose(got, expected, rtol=0, atol=2e-3)


def test_long_taps_move_a_volume():
    shape, place = (20, 70, 24), np.array([0.3, -1.4, 2.0])
    z, y, x = np.indices(shape).astype(np.float32)
    waves = 1.3, 0.9, 1.7  # radians a pixel
    low, high = np.array([0, 2, 0]), np.array([19, 70, 22])

    def at(order):
        rotated = [w * (v + p) for w, v, p in zip(waves, (z, y, x), place, strict=True)]
        parts = [np.cos(t) if i != order else -waves[i] * np.sin(t) for i, t in enumerate(rotated)]
        return np.prod(parts, axis=0)[tuple(slice(*pair) for pair in zip(low, high, strict=True))]

    values = np.prod([np.cos(w * v) for w, v in zip(waves, (z, y, x), strict=True)], axis=0)
    sample = long_taps.Sampler((0.95 * np.pi, 8.0))
    moved, slopes = sample(values.astype(np.float32), low, high, place)
    inner = (slice(5, -5),) * 3
    assert_allclose(moved[inner], at(None)[inner], rtol=0, atol=0.02)
    for axis, slope in enumerate(slopes):
        assert_allclose(slope[inner], at(axis)[inner], rtol=0, atol=0.1)


@compiled
@pytest.mark.parametrize("power", [1.5, 2.0])
def test_fine_structure_tells(power):
    """Of splines alone the error is twice the bound, with a scene as rough as the first."""
    rng, off, bounds = np.random.default_rng(15), [], []
    for _ in range(6):
        a, b, move, bound = views(rng, 0.1, 40, 48, power=power)
        off.append(align(a, b).displacement - move)
        bounds.append(bound)
    assert np.mean(np.square(off)) < 1.6**2 * np.mean(bounds)


@compiled
def test_the_error_of_the_splines_is_taken_away():
    rng, left, errors = np.random.default_rng(10), [], []
    cut = (slice(2, 30),) * NDIM
    for signs in ((1, 1, -1), (-1, 1, 1), (1, -1, 1), (-1, -1, -1)):
        spectrum, move = cloud(rng, 32, 1.5), 0.25 * np.array(signs)  # rough: up to Nyquist
        a, b = (
            seen(spectrum, d)[cut] + rng.normal(0, 0.01, (28,) * NDIM) for d in (move * 0, move)
        )
        filter_ = spline_fields.choose(*(inputs.read(v, None, None) for v in (a, b)))
        errors.append(np.abs(filter_.bias).mean())
        left.append((align(a, b).displacement - move) * signs)
    # untouched, it is the whole error
    assert np.mean(errors) > 5e-4
    assert abs(np.mean(left)) < 0.5 * np.mean(errors)


@compiled
def test_brightness_may_differ_and_noise_is_told():
    a, b, move, _ = views(np.random.default_rng(6), 0.1)
    plain, changed = align(a, b, 0.1, 0.1), align(a, 3 * b + 100, 0.1, 0.3)
    assert_allclose(changed.displacement, plain.displacement, rtol=0, atol=1e-3)
    assert changed.noise == pytest.approx(1, abs=0.15)
    assert align(a, b).noise == pytest.approx(2 * 0.1**2, rel=0.15)
    same = align(a, b, brightness="same")
    assert_allclose(same.displacement, move, rtol=0, atol=5 * same.errors.max())


@compiled
def test_missing_pixels_do_not_count():
    a, b, move, _ = views(np.random.default_rng(7), 0.05)
    holes = np.zeros(a.shape, bool)
    holes[3:9, 10:18, 12:20] = holes[20, 20, 5] = True
    whole = align(a, b)
    results = [
        align(np.where(holes, np.nan, a), b),
        align(np.where(holes, 1e7, a), b, mask=(holes, None)),
        align(np.ma.array(a, mask=holes), b),
    ]
    for shift in results:
        assert shift.converged and shift.pixels < whole.pixels
        assert_allclose(shift.displacement, move, rtol=0, atol=6 * shift.errors.max())
        assert_allclose(shift.displacement, results[0].displacement, rtol=0, atol=1e-6)
    errors = np.where(holes, 0.0, 0.05)
    by_error = align(np.where(holes, 9.0, a), b, errors, np.full(a.shape, 0.05))
    assert_allclose(by_error.displacement, move, rtol=0, atol=6 * by_error.errors.max())
    wild = a.copy()
    wild[12, 12, 12] = 1e9
    assert_allclose(align(wild, b).displacement, whole.displacement, rtol=0, atol=0.01)


@compiled
def test_noisy_pixels_count_less():
    rng = np.random.default_rng(8)
    a, b, move, _ = views(rng, 0.05)
    err = np.full(a.shape, 0.05)
    err[:14] = 1.0
    a = a + rng.normal(size=a.shape) * np.sqrt(err**2 - 0.05**2)
    weighted = align(a, b, err, 0.05)
    assert_allclose(weighted.displacement, move, rtol=0, atol=5 * weighted.errors.max())
    assert weighted.errors.max() < 0.7 * align(a, b).errors.max()


@compiled
def test_what_has_nothing_in_common_does_not_converge(scene):
    rng = np.random.default_rng(9)
    side = 24
    noise = rng.normal(size=(2, side, side, side))
    assert align(*noise).status != Status.CONVERGED
    for power in (1.5, 2.5):
        a, b = (seen(cloud(rng, side + 2, power)) for _ in range(2))
        shift = align(a, b)
        assert shift.status != Status.CONVERGED and not shift.errors.max() < 1.0
    z, y, x = np.indices((side // 6 * 6 + 6,) * 3) * (2 * np.pi / 6)
    lattice = np.cos(z) + np.cos(y) + np.cos(x)
    assert align(lattice, np.roll(lattice, 1, 0)).status == Status.AMBIGUOUS
    flat = np.ones((side - 4,) * 3)
    assert align(flat, flat).status == Status.NO_TEXTURE
    assert align(flat * np.nan, flat).status == Status.TOO_FEW_PIXELS
    far = align(part(scene), part(scene, (0, 6, 0)), search=3)
    assert not abs(far.dy - 6) < 0.1 and not far.converged


def pair_of(layer):
    """Two views of equal planes, of which the second is displaced by (2, -1)."""
    return (layer[:, y : y + 28, x : x + 28] for y, x in ((9, 9), (7, 10)))


def test_what_is_alike_along_an_axis_tells_nothing_of_it(scene):
    layer = np.broadcast_to(scene[10], (20, *scene.shape[1:]))
    a, b = pair_of(layer)
    shift = align(a, b)
    assert shift.status == Status.ONE_DIRECTION
    assert_allclose(shift.displacement, (0, 2, -1), rtol=0, atol=2e-3)
    assert np.isinf(shift.errors[2]) and shift.errors[:2].max() < 0.1


@compiled
@pytest.mark.parametrize("noise", [0.01, 0.05, 0.3])
def test_noise_tells_nothing_of_that_axis_either(scene, noise):
    rng, pulls = np.random.default_rng(12), []
    for k in range(8):
        layer = np.broadcast_to(scene[10 + k] / scene.std(), (20, *scene.shape[1:]))
        a, b = (v + rng.normal(0, noise, v.shape) for v in pair_of(layer))
        shift = align(a, b, *(noise, noise) if k % 2 else ())
        assert shift.status == Status.ONE_DIRECTION
        assert shift.dz == 0.0 and np.isinf(shift.errors[2])
        pulls.append((shift.displacement[1:] - (2, -1)) / shift.errors[1::-1])
    assert np.mean(np.square(pulls)) < 3.0  # 16 numbers


def test_a_shift_moves_the_second_volume_onto_the_first(scene):
    a = part(scene)
    b = part(shift_image(scene, (0.4, -0.7, 1.3)))
    shift = align(a, b)
    back = shift_image(b, tuple(-shift.displacement), "spline")
    inner = (slice(5, -5),) * 3
    assert_allclose(back[inner], a[inner], rtol=0, atol=0.1 * a.std())


BAD = [
    (
        ValueError,
        "im1 must have 12 planes, rows and columns or more",
        {"im1": np.ones((5, 30, 30))},
    ),
    (ValueError, "im2 must have the shape of im1", {"im2": np.ones((30, 30))}),
    (ValueError, "start must be one number or 3 numbers", {"start": (1, 2)}),
    (ValueError, "boundary must be 'overlap' for volumes", {"boundary": "wrap"}),
    (ValueError, "mask must have shape", {"mask": np.zeros((14, 15), bool)}),
    (ValueError, "err1 must be one number or have shape", {"err1": np.ones((14, 15))}),
]


@pytest.mark.parametrize(("error", "message", "options"), BAD)
def test_bad_input(error, message, options):
    volume = np.random.default_rng(0).normal(size=(14, 15, 16))
    with pytest.raises(error, match=message):
        align(**{"im1": volume, "im2": volume, **options})
