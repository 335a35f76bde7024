"""HEALPix pixels and maps against their definition, numpy's add.at and, where it is, healpy."""

import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from naive_sphere import distance, holding, ring_of_nest

import fastgauss as fg
from fastgauss.kernels._compile import JIT_DISABLED, kernel
from fastgauss.kernels.sums import healpix
from fastgauss.sums import healpix as sphere

RNG = np.random.default_rng(5)
COUNT = 200 if JIT_DISABLED else 20_000
SIDES = [1, 2, 3, 4, 7, 64, 100, 1024, 2**20, 2**24, 2**26 + 1, 2**29]
ORDERS = [(n, nest) for n in SIDES for nest in (False, True) if not (nest and n & (n - 1))]

thetas = st.one_of(
    st.floats(0, np.pi),
    st.sampled_from([0.0, np.pi, np.pi / 2, np.arccos(2 / 3), np.pi / 4, 1e-9]),
    st.floats(-300, -1).map(lambda e: 10.0**e),
)
phis = st.one_of(
    st.floats(-20, 20), st.integers(-16, 16).map(lambda k: k * np.pi / 8), st.just(-1e-17)
)


def random_directions(count=COUNT):
    return np.arccos(RNG.uniform(-1, 1, count)), RNG.uniform(-7, 14, count)


def hard_directions():
    """Multiples of pi / 48, a bit beside them, poles, the edges of the caps, far longitudes."""
    turns = np.arange(-96, 97, 7 if JIT_DISABLED else 1)
    grid = np.meshgrid(np.arange(49) * (np.pi / 48), turns * (np.pi / 48))
    theta, phi = (a.ravel() for a in grid)
    near = RNG.choice([1e-16, -1e-16, 1e-15, 1e-13, -1e-12, 1e-9], theta.size)
    pole = 10.0 ** RNG.uniform(-18, -1, COUNT)
    cap = np.arccos(RNG.choice([-2 / 3, 2 / 3], COUNT) + RNG.normal(0, 1e-16, COUNT))
    rotated = RNG.uniform(-10, 10, COUNT)
    far = RNG.choice([-1, 1], COUNT) * 10.0 ** RNG.uniform(-20, 300, COUNT)
    everywhere = RNG.uniform(0, np.pi, COUNT)
    pairs = [
        (theta, phi),
        (np.clip(theta + near, 0, np.pi), phi + near),
        (pole, rotated),
        (np.pi - pole, rotated),
        (cap, rotated),
        (everywhere, far),
        ([0, -0.0, np.pi, np.pi, 5e-324, np.pi / 2], [0, 6.3, 0, -1e-17, -5e-324, 2 * np.pi]),
    ]
    return tuple(np.concatenate(angles) for angles in zip(*pairs, strict=True))


# -- pixels ------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=60)
@given(thetas, phis, st.sampled_from([1, 2, 3, 4, 5]))
def test_the_pixel_is_the_one_that_holds_the_direction(theta, phi, nside):
    assert fg.healpix_pixel(theta, phi, nside) in holding(theta, phi, nside)


@settings(deadline=None, max_examples=60)
@given(thetas, phis, st.sampled_from([1, 2, 4]))
def test_nested_pixels_are_the_same_pixels(theta, phi, nside):
    found = fg.healpix_pixel(theta, phi, nside, nest=True)
    assert ring_of_nest(int(found), nside) in holding(theta, phi, nside)


@pytest.mark.parametrize(("nside", "nest"), ORDERS)
def test_pixels_hold_their_directions_at_any_resolution(nside, nest):
    theta, phi = random_directions(200)
    found = fg.healpix_pixel(theta, phi, nside, nest=nest)
    rings = [ring_of_nest(p, nside) if nest else p for p in found.tolist()]
    far = [distance(p, *at, nside) for p, *at in zip(rings, theta, phi, strict=True)]
    assert max(far) < 1 + 1e-14 * nside + 1e-12


@pytest.mark.parametrize(("nside", "nest"), ORDERS)
def test_lanes_and_the_scalar_text_agree_in_every_pixel(nside, nest):
    theta, phi = (
        np.append(*pair) for pair in zip(hard_directions(), random_directions(), strict=True)
    )
    if JIT_DISABLED:
        theta, phi = theta[::40].copy(), phi[::40].copy()
    scalar = healpix._nest_checked if nest else healpix._ring_checked

    @kernel
    def one_by_one(theta, phi, nside, out):
        for i in range(theta.size):
            out[i] = scalar(theta[i], phi[i], nside, healpix.RADIANS)

    expected = np.empty(theta.size, dtype=np.int64)
    one_by_one(theta, phi, nside, expected)
    np.testing.assert_array_equal(fg.healpix_pixel(theta, phi, nside, nest=nest), expected)


def test_every_pixel_has_its_share_of_the_sphere():
    count = 12 * 64 if JIT_DISABLED else 12 * 20_000
    theta, phi = np.arccos(RNG.uniform(-1, 1, count)), RNG.uniform(-np.pi, np.pi, count)
    for nest in (False, True):
        hits = np.bincount(fg.healpix_pixel(theta, phi, 2, nest))
        assert hits.size == 48
        assert abs(hits - count / 48).max() < 6 * np.sqrt(count / 48)


# fmt: off
RING_GRID = [
    [3, 3, 0, 0, 1, 1, 2], [10, 3, 4, 0, 6, 1, 8], [26, 27, 12, 21, 22, 23, 24],
    [42, 47, 36, 44, 38, 45, 40], [47, 47, 44, 44, 45, 45, 46],
]
NEST_GRID = [
    [15, 15, 3, 3, 7, 7, 11], [14, 15, 2, 3, 6, 7, 10], [29, 18, 19, 22, 21, 26, 25],
    [46, 44, 34, 32, 38, 36, 42], [44, 44, 32, 32, 36, 36, 40],
]
# fmt: on


def test_known_pixels():
    """From healpy's documentation, and what it gives for edges, corners and poles."""
    theta = [np.pi / 2, np.pi / 4, np.pi / 2, 0, np.pi]
    phi = [0.0, np.pi / 4, np.pi / 2 + 1e-15, 0, 0]
    assert fg.healpix_pixel(theta, phi, 16).tolist() == [1440, 427, 1520, 0, 3068]
    sides = [int(fg.healpix_pixel(0, 0, n, lonlat=True)) for n in (1, 2, 4, 8, 16)]
    assert sides == [4, 12, 72, 336, 1440]
    theta, phi = np.meshgrid(np.arange(5) * np.pi / 4, np.arange(-2, 5) * np.pi / 4, indexing="ij")
    assert fg.healpix_pixel(theta, phi, 2).tolist() == RING_GRID
    assert fg.healpix_pixel(theta, phi, 2, nest=True).tolist() == NEST_GRID


def _corners(hp, nside, nest):
    some, first = (30, 50) if JIT_DISABLED else (300, 100)
    pixels = RNG.integers(0, 12 * nside**2, some)
    pixels = np.append(pixels, np.arange(min(first, 12 * nside**2)))
    for step in (1, 4):
        points = np.moveaxis(hp.boundaries(nside, pixels, step=step, nest=nest), 1, 2)
        yield hp.vec2ang(points.reshape(-1, 3))


@pytest.mark.untraced  # the same lines as the test of lanes and the scalar text
@pytest.mark.parametrize(("nside", "nest"), ORDERS)
def test_all_pixels_are_those_of_healpy(nside, nest):
    hp = pytest.importorskip("healpy")
    cases = [random_directions(), hard_directions()]
    pixels = RNG.integers(0, 12 * nside**2, min(COUNT, 1000))
    cases.append(hp.pix2ang(nside, pixels, nest=nest))
    if not nside & (nside - 1):
        cases.extend(_corners(hp, nside, nest))
    for theta, phi in cases:
        for rotated in (phi, phi - 2 * np.pi):
            found = fg.healpix_pixel(theta, rotated, nside, nest=nest)
            np.testing.assert_array_equal(found, hp.ang2pix(nside, theta, rotated, nest=nest))
    np.testing.assert_array_equal(
        fg.healpix_pixel(*hp.pix2ang(nside, pixels, nest=nest), nside, nest=nest), pixels
    )
    lon, lat = RNG.integers(-720, 720, COUNT) / 2, RNG.integers(-180, 181, COUNT) / 2
    found = fg.healpix_pixel(lon, lat, nside, nest=nest, lonlat=True)
    np.testing.assert_array_equal(found, hp.ang2pix(nside, lon, lat, nest=nest, lonlat=True))


@pytest.mark.parametrize("dtype", ["f8", ">f8", "f4", "f2", "i8", "u1", "?", ">i2", "longdouble"])
def test_angles_of_any_real_dtype_and_layout(dtype):
    theta = np.linspace(0, 3.14, 40).astype(dtype)
    phi = np.arange(-100, 101).astype(dtype)
    expected = np.empty((40, 201), dtype=np.int64)
    for i, j in np.ndindex(expected.shape):
        expected[i, j] = healpix.ring_pixel(float(theta[i]), float(phi[j]), 32)
    theta.flags.writeable = False
    np.testing.assert_array_equal(fg.healpix_pixel(theta[:, None], phi, 32), expected)
    wide = np.repeat(theta, 2)[::2], np.asfortranarray(np.broadcast_to(phi, (40, 201)))
    np.testing.assert_array_equal(fg.healpix_pixel(wide[0][:, None], wide[1], 32), expected)


def test_scalars_empty_arrays_and_the_pole_in_float32():
    one = fg.healpix_pixel(1.0, 2, 8)
    assert isinstance(one, np.int64)
    assert fg.healpix_pixel([], 2.0, 8).shape == (0,)
    assert fg.healpix_pixel(np.empty((0, 3)), np.zeros(3), 8).shape == (0, 3)
    assert fg.healpix_pixel(np.float32(np.pi), 0.0, 8) == fg.healpix_pixel(np.pi, 0.0, 8)


@pytest.mark.parametrize("threads", [2, 5])
def test_pixels_do_not_depend_on_threads(monkeypatch, threads):
    monkeypatch.setattr(sphere, "_CHUNK", 37)
    theta, phi = random_directions(500)
    expected = fg.healpix_pixel(theta, phi, 256, threads=1)
    np.testing.assert_array_equal(fg.healpix_pixel(theta, phi, 256, threads=threads), expected)
    narrow = fg.healpix_pixel(theta[::2], phi[::2].astype("f4").astype("f8"), 256, threads=threads)
    wide = fg.healpix_pixel(theta[::2], phi[::2].astype("f4"), 256, threads=1)
    np.testing.assert_array_equal(narrow, wide)


BAD = [
    ({"theta": -1e-9}, ValueError, r"theta must be within \[0, pi\], got -1e-09"),
    ({"theta": [[1.0, 2.0], [3.2, 9.0]]}, ValueError, r"theta must be .*3\.2 at index \(1, 0\)"),
    ({"theta": [1.0, np.nan]}, ValueError, r"theta must be .*nan at index \(1,\)"),
    ({"theta": [1.0] * 9 + [np.inf]}, ValueError, r"theta must be .*inf at index \(9,\)"),
    ({"phi": [0.0] * 8 + [np.inf, np.nan]}, ValueError, r"phi must be finite, .*index \(8,\)"),
    ({"phi": 90.1, "lonlat": True}, ValueError, r"phi must be a latitude within \[-90, 90\]"),
    ({"theta": np.nan, "lonlat": True}, ValueError, "theta must be finite, got nan"),
    ({"theta": 1j}, TypeError, "theta must hold real numbers"),
    ({"theta": np.ma.array([1.0], mask=True)}, TypeError, "theta must be"),
    ({"phi": "x"}, TypeError, "phi must hold real numbers"),
    ({"theta": [1, 2], "phi": [1, 2, 3]}, ValueError, "do not broadcast"),
    ({"nside": 0}, ValueError, "nside must be at least 1"),
    ({"nside": 2**29 + 1}, ValueError, r"nside must be at most 2\*\*29"),
    ({"nside": 2.0}, TypeError, "nside must be an integer"),
    ({"nside": 3, "nest": True}, ValueError, "nside must be a power of 2"),
    ({"nest": 1}, TypeError, "nest must be True or False"),
    ({"lonlat": None}, TypeError, "lonlat must be True or False"),
    ({"threads": 0}, ValueError, "threads must be at least 1"),
]


@pytest.mark.parametrize(("change", "error", "message"), BAD)
def test_bad_directions_are_named(change, error, message):
    arguments = {"theta": 1.0, "phi": 2.0, "nside": 4, **change}
    with pytest.raises(error, match=message):
        fg.healpix_pixel(**arguments)
    if arguments["nside"] == 4:
        sums = np.zeros(192)
        with pytest.raises(error, match=message):
            fg.healpix_add(sums, **arguments)
        assert not sums.any()


# -- maps --------------------------------------------------------------------------------------


@st.composite
def additions(draw):
    shape = draw(st.sampled_from([(), (0,), (1,), (7,), (150,), (3, 40), (2, 1, 33)]))
    dtype = draw(st.sampled_from(["f8", "f4", ">f8", "i4", "u2", "?", "f2"]))
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    spread = draw(st.sampled_from([0.01, 1.0]))  # few pixels, or many
    theta, phi = np.arccos(1 - 2 * spread * rng.uniform(size=shape)), rng.uniform(-9, 9, shape)
    kept = draw(st.integers(0, len(shape)))
    values = rng.normal(size=shape[kept:]) * 10.0 ** rng.integers(-3, 3, shape[kept:])
    if np.dtype(dtype).kind in "u?":
        values = np.abs(values)
    return theta, phi, np.asarray(values).astype(dtype)


@settings(deadline=None, max_examples=80)
@given(additions(), st.sampled_from("fd"), st.booleans(), st.integers(1, 6), *[st.booleans()] * 2)
def test_sums_have_the_bits_of_add_at(case, kind, nest, threads, strided, parted):
    theta, phi, values = case
    start = np.random.default_rng(1).normal(size=96)[::2] if strided else np.full(48, 0.1)
    expected = start.astype(kind)
    each = np.broadcast_to(values, theta.shape).astype("f8")  # numpy misreads a broadcast
    np.add.at(expected, fg.healpix_pixel(theta, phi, 2, nest), each)
    room = np.zeros(96, kind)
    sums = room[::2] if strided else room[:48]
    sums[:] = start
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sphere, "_CHUNK", 16)
        patch.setattr(sphere, "_WAITING", 2)
        patch.setattr(sphere, "_CACHED", 0 if parted else 1 << 22)
        result = fg.healpix_add(sums, theta, phi, values, nest=nest, threads=threads)
    assert result is sums
    np.testing.assert_array_equal(sums, expected)


@pytest.mark.skipif(JIT_DISABLED, reason="a million directions")
@pytest.mark.parametrize(("threads", "cached"), [(1, 0), (2, 0), (8, 0), (2, 1 << 22)])
def test_large_jobs_have_the_bits_of_add_at(monkeypatch, threads, cached):
    monkeypatch.setattr(sphere, "_CACHED", cached)
    theta, phi = random_directions(1_000_000)
    values = RNG.normal(size=theta.size)
    for weights in (values, values.astype("f4"), values[:1], 0.1):
        sums, expected = np.zeros((2, 12 * 8**2))
        np.add.at(expected, fg.healpix_pixel(theta, phi, 8), np.float64(weights))
        fg.healpix_add(sums, theta, phi, weights, threads=threads)
        np.testing.assert_array_equal(sums, expected)


def test_degrees_and_a_given_nside():
    lon, lat = RNG.uniform(-180, 360, 99), RNG.uniform(-90, 90, 99)
    sums = fg.healpix_add(np.zeros(12 * 9), lon, lat, nside=3, lonlat=True)
    expected = np.bincount(fg.healpix_pixel(lon, lat, 3, lonlat=True), minlength=108)
    np.testing.assert_array_equal(sums, expected)


def test_nothing_is_written_where_a_direction_is_bad():
    theta, phi = random_directions(1000)
    theta[-1] = np.nan
    sums = np.ones(48)
    with pytest.raises(ValueError, match=r"theta must be within .* at index \(999,\)"):
        fg.healpix_add(sums, theta, phi)
    np.testing.assert_array_equal(sums, 1.0)


def test_values_that_are_the_map_itself():
    sums = np.arange(12.0)
    expected = sums.copy()
    np.add.at(expected, np.zeros(12, int), sums.copy())
    fg.healpix_add(sums, 0.0, np.zeros(12), sums)
    np.testing.assert_array_equal(sums, expected)


def test_nan_goes_to_its_pixel_and_maps_may_lie_on_disk(tmp_path):
    sums = np.memmap(tmp_path / "map", np.float32, "w+", shape=(12,))
    assert fg.healpix_add(sums, [0.1, 3.0], 0.3, [np.nan, 2.0]) is sums
    assert np.isnan(sums[0])
    assert sums[8] == 2.0


def _read_only():
    sums = np.zeros(12)
    sums.flags.writeable = False
    return sums


@pytest.mark.parametrize(
    ("sums", "change", "error", "message"),
    [
        (_read_only(), {}, ValueError, "map must be writable"),
        (np.zeros(12, "u1"), {}, TypeError, "map must be of dtype float32 or float64 or int32"),
        (np.zeros(12, ">f8"), {}, TypeError, "map must be of dtype float32 or float64"),
        ([0.0] * 12, {}, TypeError, "map must be a numpy array"),
        (np.ma.zeros(12), {}, TypeError, "map must be a plain array"),
        (np.zeros((2, 6)), {}, ValueError, r"map must have 1 dimension, got 2 \(shape \(2, 6\)\)"),
        (np.zeros(13), {}, ValueError, r"map must have 12 nside\*\*2 pixels, got 13"),
        (np.zeros(0), {}, ValueError, r"map must have 12 nside\*\*2 pixels, got 0"),
        (np.zeros(12), {"nside": 2}, ValueError, r"map must have 12 \* 2\*\*2 = 48 pixels, got 12"),
        (np.zeros(108), {"nest": True}, ValueError, "nside must be a power of 2"),
        (np.zeros(12), {"values": 1j}, TypeError, "values must hold real numbers"),
        (
            np.zeros(12),
            {"values": [1.0, 2.0]},
            ValueError,
            r"values must broadcast to shape \(3,\)",
        ),
        (np.zeros(12), {"values": np.ones((2, 3))}, ValueError, "values must broadcast"),
    ],
)
def test_bad_maps_and_values_are_named(sums, change, error, message):
    with pytest.raises(error, match=message):
        fg.healpix_add(sums, [1.0, 2.0, 3.0], 0.5, **change)
    assert not np.any(sums)


# -- parts -------------------------------------------------------------------------------------


def test_pixels_in_compiled_code_of_the_caller():
    @kernel
    def count(theta, phi, hits):
        for i in range(theta.size):
            hits[healpix.ring_pixel(theta[i], phi[i], 4)] += 1
            hits[healpix.nest_pixel(theta[i], phi[i], 4)] += 1

    theta, phi = random_directions(100)
    hits = np.zeros(192, dtype=np.int64)
    count(theta, phi, hits)
    expected = [fg.healpix_pixel(theta, phi, 4, nest) for nest in (False, True)]
    np.testing.assert_array_equal(hits, np.bincount(np.concatenate(expected), minlength=192))
    assert healpix.ring_pixel(-1.0, 0.0, 4) == healpix.nest_pixel(1.0, np.nan, 4) == -1


def test_calls_are_made_in_order_by_any_number_of_threads():
    made = []
    calls = sphere._InOrder(made.append)
    numbers = iter(RNG.permutation(200).tolist())
    lock = threading.Lock()

    def bring():
        while True:
            with lock:
                number = next(numbers, None)
            if number is None:
                return
            calls.put(number, (number,))

    team = [threading.Thread(target=bring) for _ in range(8)]
    for thread in team:
        thread.start()
    for thread in team:
        thread.join()
    assert made == list(range(200))
