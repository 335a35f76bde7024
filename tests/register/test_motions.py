"""``align`` with rotations, scales and shears: exactness, errors that hold, what is no match."""

import pickle

import naive_register as naive
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import ndimage

import fastgauss as fg
from fastgauss.kernels._compile import JIT_DISABLED
from fastgauss.register import Status, align, inputs, low_pass, motion_fit, motions

compiled = pytest.mark.skipif(JIT_DISABLED, reason="many images")
KINDS = ("rigid", "similarity", "affine")


class Spots:
    """A scene of Gaussian spots, known everywhere."""

    def __init__(self, seed, reach=45, count=60, sigma=1.8):
        rng = np.random.default_rng(seed)
        self.places = rng.uniform(-reach, reach, (count, 2))
        self.heights = rng.uniform(0.5, 2.0, count)
        self.sigma = sigma

    def at(self, y, x):
        away = [np.subtract.outer(p, c) ** 2 for p, c in zip((y, x), self.places.T, strict=True)]
        return np.exp(-0.5 * sum(away) / self.sigma**2) @ self.heights


def moved(scene, place, shape=(64, 64)):
    """Two views: what is at p in the first is where the motion takes p in the second."""
    y, x = np.broadcast_arrays(*motions.axes_from_centre(shape))
    back = np.linalg.inv(place.matrix)
    p, q = y - place.displacement[0], x - place.displacement[1]
    return scene.at(y, x), scene.at(*(row[0] * p + row[1] * q for row in back))


def drawn(rng, kind, angle=10.0, scale=0.1, reach=3.0):
    """A motion of this kind."""
    angle, scale = np.radians(rng.uniform(-angle, angle)), 1 + rng.uniform(-scale, scale)
    matrix = motions.rotation(angle, 1.0 if kind == "rigid" else scale)
    if kind == "affine":
        matrix = matrix @ (np.eye(2) + rng.uniform(-0.03, 0.03, (2, 2)))
    return motions.Place(matrix, rng.uniform(-reach, reach, 2))


def place_of(motion):
    return motions.Place(motion.matrix, motion.displacement)


def bound(scene, place, noise, names, shape=(64, 64)):
    """Variances of the parameters of the least that a known scene allows, (k,)."""
    y, x = np.broadcast_arrays(*motions.axes_from_centre(shape))
    step = 1e-4
    slopes = [
        (scene.at(y + dy, x + dx) - scene.at(y - dy, x - dx)) / (2 * step)
        for dy, dx in ((step, 0), (0, step))
    ]
    steps, flow = motions.Steps(names, shape), motions.flow(place, shape)
    columns = np.array(steps.columns(slopes))
    half = motions.centre(shape)
    both = (np.abs(y + flow.dy) <= half[0]) & (np.abs(x + flow.dx) <= half[1])
    fisher = columns[:, both] @ columns[:, both].T
    variance = noise**2 * (1 + 1 / np.linalg.det(place.matrix))
    return np.diag(steps.covariance(place, variance * np.linalg.inv(fisher), names))


# -- the parameters ----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", motions.NAMES)
def test_columns_are_the_derivatives_by_the_parameters(kind):
    scene, shape, h = Spots(0), (14, 17), 1e-3
    names = motions.NAMES[kind]
    steps = motions.Steps(names, shape)
    y, x = np.broadcast_arrays(*motions.axes_from_centre(shape))
    slopes = [
        (scene.at(y + dy, x + dx) - scene.at(y - dy, x - dx)) / (2 * h)
        for dy, dx in ((h, 0), (0, h))
    ]
    for step, column in zip(np.eye(len(names)), steps.columns(slopes), strict=True):
        images, flows = [], []
        for sign in (1, -1):
            flow = motions.flow(steps.join(motions.STILL, sign * h * step), shape)
            images.append(scene.at(y + flow.dy, x + flow.dx))
            flows.append(flow)
        assert_allclose(column, (images[0] - images[1]) / (2 * h), rtol=0, atol=1e-4)
        power = (flows[0].dy ** 2 + flows[0].dx ** 2).mean()
        assert power == pytest.approx(h**2, rel=0.01)  # a step is a pixel, rms


@pytest.mark.parametrize("kind", motions.NAMES)
def test_a_small_motion_joins_another(kind):
    rng = np.random.default_rng(1)
    names, shape = motions.NAMES[kind], (20, 30)
    steps = motions.Steps(names, shape)
    place = drawn(rng, kind) if kind != "translation" else motions.Place(np.eye(2), np.ones(2))
    step = rng.uniform(-1, 1, len(names))
    joined = steps.join(place, step)
    small = steps.join(motions.STILL, step)
    p = rng.uniform(-9, 9, (5, 2))
    first = p @ small.matrix.T + small.displacement
    assert_allclose(
        p @ joined.matrix.T + joined.displacement,
        first @ place.matrix.T + place.displacement, atol=1e-12,
    )  # fmt: skip
    own = np.cov(rng.normal(size=(len(names), 50)))
    slopes = np.empty((len(names), len(names)))
    for k, unit in enumerate(np.eye(len(names))):
        ends = [motions.values_of(steps.join(place, s * 1e-5 * unit), names) for s in (1, -1)]
        slopes[:, k] = np.subtract(*ends) / 2e-5
    assert_allclose(steps.covariance(place, own, names), slopes @ own @ slopes.T, atol=1e-7)


# -- the solution ------------------------------------------------------------------------------


@compiled
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("angle", [-10, 10])
@pytest.mark.parametrize("scale", [0.9, 1.1])
def test_motions_are_found_from_no_start(kind, angle, scale):
    scale = 1.0 if kind == "rigid" else scale
    place = motions.Place(motions.rotation(np.radians(angle), scale), np.array([3.0, -4.5]))
    a, b = moved(Spots(3), place)
    motion = align(a, 3 * b + 100, motion=kind)
    assert motion.converged and motion.kind == kind
    assert motions.reach_of(place_of(motion), place, a.shape) < 0.02
    assert motion.angle == pytest.approx(np.radians(angle), abs=3e-4)
    assert motion.scale == pytest.approx(scale, abs=3e-4)
    assert (motion.dy, motion.dx) == tuple(motion.displacement)
    values = dict(zip(motion.names, motion.values, strict=True))
    assert values["dx"] == motion.dx and motion.errors.shape == (len(values),)
    assert 0 < motion.angle_error < 1e-3
    assert (motion.scale_error == 0) == (kind == "rigid")


@compiled
@pytest.mark.parametrize("kind", KINDS)
def test_the_solution_is_that_of_the_slow_twin(kind):
    rng = np.random.default_rng(4)
    a, b = (v + rng.normal(0, 0.1, v.shape) for v in moved(Spots(4), drawn(rng, kind)))
    motion = align(a, b, motion=kind)
    one, two = (inputs.read(image, None, None) for image in (a, b))
    low = low_pass.choose(low_pass.measure(one, two), a.size, 16.0, steady=True).low
    step = naive.motion_step(
        a, b, low.taps, low.margin, motion.matrix, motion.displacement, motion.names
    )
    assert (np.abs(step) < 0.05 * motion.errors).all()
    off = motion.displacement + np.array([0.5, 0.0])
    step = naive.motion_step(a, b, low.taps, low.margin, motion.matrix, off, motion.names)
    assert np.abs(step).max() > 0.3  # the twin sees a motion that is wrong


@compiled
def test_a_translation_among_motions_is_that_of_align():
    rng = np.random.default_rng(9)
    place = motions.Place(np.eye(2), np.array([1.3, -2.4]))
    a, b = (v + rng.normal(0, 0.2, v.shape) for v in moved(Spots(9), place))
    shift = align(a, b)
    pair = [inputs.read(image, None, None) for image in (a, b)]
    motion = motion_fit.register(*pair, "translation", None, np.inf, "linear")
    assert_allclose(motion.displacement, shift.displacement, atol=0.5 * shift.errors.min())
    assert_allclose(motion.covariance, shift.covariance, atol=0.2 * shift.covariance.max())
    plain = align(a, b, motion="translation")
    assert plain[:2] == shift[:2] and np.array_equal(plain.covariance, shift.covariance)


@compiled
@pytest.mark.parametrize(("kind", "noise"), [("similarity", 0.1), ("affine", 0.4)])
def test_errors_hold_and_are_near_the_bound(kind, noise):
    rng = np.random.default_rng(6)
    off, told, least, noises = [], [], [], []
    for seed in range(16):
        scene, place = Spots(100 + seed), drawn(rng, kind)
        a, b = (v + rng.normal(0, noise, v.shape) for v in moved(scene, place))
        known = (noise, noise) if seed % 2 else ()
        motion = align(a, b, *known, motion=kind)
        assert motion.converged
        off.append(motion.values - motions.values_of(place, motion.names))
        told.append(np.diag(motion.covariance))
        least.append(bound(scene, place, noise, motion.names))
        noises += [motion.noise] if known else []
    assert np.mean(noises) == pytest.approx(1, abs=0.15)
    pulls = np.square(off) / told
    assert pulls.mean() == pytest.approx(1, abs=0.5)
    assert (np.square(off) / least).mean() < 1.5**2  # pixels next to a border do not count


def test_an_image_has_no_motion_to_itself():
    a, _ = moved(Spots(7), motions.STILL, (24, 26))
    motion = align(a, a, motion="similarity")
    assert motion.status == Status.CONVERGED
    assert_array_equal(motion.matrix, np.eye(2))
    assert_array_equal(motion.displacement, 0)
    assert motion.correlation == pytest.approx(1, abs=1e-5)


@compiled
def test_a_start_may_be_given():
    place = motions.Place(motions.rotation(0.6, 1.3), np.array([1.0, -2.0]))  # beyond the search
    a, b = moved(Spots(8), place)
    assert not align(a, b, motion="similarity").converged
    near = align(a, b, motion="similarity")._replace(
        matrix=motions.rotation(0.59, 1.31), displacement=np.array([1.3, -1.8])
    )
    motion = align(a, b, motion="similarity", start=near)
    assert motion.converged and motions.reach_of(place_of(motion), place, a.shape) < 0.02
    small = motions.Place(motions.rotation(0.01, 1.0), np.array([3.0, 2.0]))
    a, b = moved(Spots(8), small)
    motion = align(a, b, motion="rigid", start=(2.5, 3.0))
    assert motion.converged and motions.reach_of(place_of(motion), small, a.shape) < 0.02
    assert align(a, b, motion="rigid", search=2).status == Status.LOST
    with_scale = motion._replace(matrix=motions.rotation(0.02, 1.02))
    again = align(a, b, motion="rigid", start=with_scale, search=1e200)
    assert again.converged and again.scale == pytest.approx(1.0, abs=1e-12)
    assert motions.reach_of(place_of(again), place_of(motion), a.shape) < 1e-3


def test_a_start_is_a_motion_of_these_images():
    motion = align(np.eye(20), np.eye(20), motion="rigid")
    mirror = motion._replace(matrix=np.diag([1.0, -1.0]), displacement=np.zeros(2))
    with pytest.raises(ValueError, match="start must be a Motion that mirrors nothing"):
        align(np.eye(20), np.eye(20), motion="affine", start=mirror)
    with pytest.raises(ValueError, match=r"start must be a Motion of images \(24, 24\), got one"):
        align(np.eye(24), np.eye(24), motion="rigid", start=mirror)


@compiled
def test_missing_and_noisy_pixels_count_little():
    rng = np.random.default_rng(9)
    place = drawn(rng, "similarity")
    a, b = (v + rng.normal(0, 0.05, v.shape) for v in moved(Spots(9), place))
    holes = np.zeros(a.shape, bool)
    holes[10:18, 30:40] = holes[50, 20] = True
    whole = align(a, b, motion="similarity")
    results = [
        align(np.where(holes, np.nan, a), b, motion="similarity"),
        align(np.where(holes, 50.0, a), b, mask=(holes, None), motion="similarity"),
        align(a, np.where(holes, np.nan, b), motion="similarity"),
    ]
    assert_array_equal(results[0].values, results[1].values)
    err = np.full(a.shape, 0.05)
    err[:20] = 1.0
    noisy = a + rng.normal(size=a.shape) * np.sqrt(err**2 - 0.05**2)
    results.append(align(noisy, b, err, 0.05, motion="similarity"))
    truth = motions.values_of(place, whole.names)
    for motion in results:
        assert motion.converged and (motion.pixels < whole.pixels or motion is results[-1])
        assert (np.abs(motion.values - truth) < 5 * motion.errors).all()
    rough = align(noisy, b, motion="similarity")
    assert results[-1].errors.max() < 0.7 * rough.errors.max()
    same = align(a, b, motion="similarity", brightness="same")
    assert (np.abs(same.values - truth) < 5 * same.errors).all()


@compiled
def test_long_images_and_results_of_any_threads():
    place = motions.Place(motions.rotation(0.03, 0.98), np.array([1.0, -3.0]))
    a, b = moved(Spots(10, 130, 500), place, (40, 220))
    results = []
    for threads in (1, 2):
        fg.set_num_threads(threads)
        try:
            results.append(align(a, b, motion="similarity"))
        finally:
            fg.set_num_threads(None)
    assert results[0].converged
    assert motions.reach_of(place_of(results[0]), place, a.shape) < 0.03
    assert pickle.dumps(results[0]) == pickle.dumps(results[1])
    kept = pickle.loads(pickle.dumps(results[0]))
    assert kept.names == results[0].names and kept.converged


# -- doubt -------------------------------------------------------------------------------------


@compiled
@pytest.mark.parametrize("kind", KINDS)
def test_what_has_nothing_in_common_does_not_converge(kind):
    rng = np.random.default_rng(11)
    noise = rng.normal(size=(2, 64, 64))
    pairs = [noise, ndimage.gaussian_filter(noise, (0, 2, 2))]
    pairs += [[moved(Spots(s), motions.STILL)[0] for s in seeds] for seeds in ((20, 21), (22, 23))]
    for a, b in pairs:
        motion = align(a, b, motion=kind)
        assert motion.status != Status.CONVERGED and not motion.errors.max() < 1.0
    flat = align(np.ones((30, 30)), np.ones((30, 30)), motion=kind)
    assert flat.status == Status.NO_TEXTURE and np.isnan(flat.values).all()
    assert np.isnan(flat.apply(np.ones((30, 30)))).all()


@compiled
def test_what_the_pixels_do_not_determine_has_an_infinite_error():
    y, x = np.indices((48, 48)) - 23.5
    rng = np.random.default_rng(12)
    disc = np.exp(-0.5 * ((y - 1) ** 2 + (x + 0.5) ** 2) / 6.0**2)
    other = np.exp(-0.5 * ((y + 1) ** 2 + (x - 1.5) ** 2) / 6.0**2)
    for noise in (0.0, 0.01):
        a, b = (v + rng.normal(0, noise, v.shape) for v in (disc, other))
        motion = align(a, b, motion="rigid")
        assert motion.status == Status.ONE_DIRECTION
        assert motion.angle_error == np.inf and (motion.errors[:2] < 1).all()
    stripes = np.sin(x / 3) + np.sin(x / 5.5)
    motion = align(stripes, stripes + rng.normal(0, 0.01, x.shape), motion="rigid")
    assert motion.status == Status.ONE_DIRECTION
    assert motion.errors[1] == np.inf and motion.errors[0] < 0.1 and motion.angle_error < 0.01


@compiled
def test_another_angle_that_fits_as_well_is_told():
    y, x = np.indices((64, 64)) - 31.5
    radius, turn = np.hypot(y, x), np.arctan2(y, x)
    wheel = [
        np.cos(24 * (turn - shift)) * np.exp(-0.5 * ((radius - 24) / 4) ** 2)
        for shift in (0, np.radians(4))
    ]
    motion = align(*wheel, motion="rigid")
    assert motion.status == Status.AMBIGUOUS
    assert motion.angle_error > np.radians(7)


# -- what is refused, and the picture ----------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"motion": "shear"}, "motion must be"),
        ({"motion": "rigid", "boundary": "wrap"}, "boundary must be 'overlap' with motion='rigid'"),
        ({"motion": "rigid", "start": (1, 2, 3)}, "start must"),
        ({"motion": "rigid", "start": "middle"}, "start must"),
    ],
)
def test_what_does_not_go_together_is_refused(options, told):
    with pytest.raises(ValueError, match=told):
        align(np.eye(20), np.eye(20), **options)


def test_volumes_have_translations_alone():
    with pytest.raises(ValueError, match="motion must be 'translation' for volumes, got 'rigid'"):
        align(np.ones((12, 12, 12)), np.ones((12, 12, 12)), motion="rigid")


@compiled
def test_the_second_image_is_moved_onto_the_first():
    place = motions.Place(motions.rotation(-0.1, 1.05), np.array([2.0, 1.0]))
    a, b = moved(Spots(13), place)
    motion = align(a, b, motion="affine")
    inner = np.s_[10:-10, 10:-10]
    assert_allclose(motion.apply(b)[inner], a[inner], atol=0.01)
    whole = np.rint(100.0 * (b - b.min())).astype(np.uint16)
    assert_array_equal(motion.apply(whole), motion.apply(whole.astype(float)))
    assert motion.apply(whole).dtype == float and np.isnan(motion.apply(whole)).any()
    holes = np.zeros(b.shape, bool)
    holes[30, 33] = True
    gone = np.isnan(motion.apply(np.where(holes, np.nan, b)))
    assert 1 <= gone[inner].sum() <= 9
    assert_array_equal(gone, np.isnan(motion.apply(b, mask=holes)))
    p = np.array([20.0, 30.0])
    there = motion.matrix @ p + motion.offset
    assert_allclose(there, 31.5 + motion.matrix @ (p - 31.5) + motion.displacement)
    assert_allclose(motion.homogeneous @ (*p[::-1], 1), (*there[::-1], 1))
    with pytest.raises(ValueError, match="image must have shape"):
        motion.apply(np.ones((3, 3)))
    with pytest.raises(TypeError, match="got a Motion"):
        align(a, b, start=motion)
