"""find_spots finds what was put in, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from naive_detect import spots
from scipy.spatial import cKDTree

from fastgauss.find import cells, laplacian, noise, response
from fastgauss.find.detection import find_spots
from fastgauss.kernels._compile import JIT_DISABLED

REPEATS = 1 if JIT_DISABLED else 10  # of tests with random images


def matches(found, truth, distance):
    """How many true spots have none found near them, and how many found have no true one."""
    missed = (
        np.count_nonzero(cKDTree(found).query(truth)[0] > distance) if len(found) else len(truth)
    )
    false = np.count_nonzero(cKDTree(truth).query(found)[0] > distance) if len(found) else 0
    return missed, false


def grid_positions(shape, step, rng):
    """Positions about ``step`` apart, off the pixel centres."""
    axes = [np.arange(step, n - step + 1, step) for n in shape]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(shape))
    return points + rng.uniform(-0.5, 0.5, points.shape)


# -- what is found -----------------------------------------------------------------------------


@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_all_spots_on_an_uneven_background_by_falling_amplitude(offset):
    rng = np.random.default_rng(8)
    shape = (60, 80)
    truth = grid_positions(shape, 12, rng)
    amplitudes = np.linspace(300.0, 60.0, len(truth))
    y, x = np.mgrid[:60, :80]
    image = offset + spots(shape, truth, amplitudes) + 3.0 * x + 40 * np.sin(y / 25.0)
    found = find_spots(image + rng.normal(0, 5, shape))
    assert matches(found, truth, 0.7) == (0, 0)
    nearest = cKDTree(truth).query(found)[1]
    assert np.corrcoef(nearest, np.arange(len(truth)))[0, 1] > 0.9


def test_positions_are_sub_pixel():
    truth = grid_positions((60, 60), 15, np.random.default_rng(9))
    found = find_spots(spots((60, 60), truth))
    assert np.abs(found[cKDTree(found).query(truth)[1]] - truth).max() < 0.05


def test_turned_ellipses_without_noise():
    for seed in range(REPEATS):
        truth = np.random.default_rng(seed).uniform(0, 200, (10, 2))
        image = spots((200, 200), truth, 100.0, (3.0, 9.0), 3.0)
        found = find_spots(image, detector="laplacian")
        alone = (cKDTree(truth).query(truth, k=2)[0][:, 1] > 27) & np.all(
            (truth > 3) & (truth < 196), axis=1
        )
        assert matches(found, truth[alone], 1.0)[0] == 0
        assert len(found) <= 11  # between overlapping ones there may be one more


@pytest.mark.skipif(JIT_DISABLED, reason="large images")
def test_wider_spots_in_noise():
    for seed in range(REPEATS):
        rng = np.random.default_rng(seed)
        truth = rng.uniform(0, 1, (50, 2)) * [200, 400]
        image = spots((200, 400), truth, 100.0, 2.0) + rng.normal(5, 5, (200, 400))
        found = find_spots(image, exclude_border=False)
        alone = cKDTree(truth).query(truth, k=2)[0][:, 1] > 8
        assert matches(found, truth[alone], 2.0)[0] == 0
        assert matches(found, truth, 3.0)[1] <= 1


@pytest.mark.parametrize("ndim", [1, 3])
def test_profiles_and_volumes(ndim):
    rng = np.random.default_rng(10)
    shape = {1: (400,), 3: (30, 32, 34)}[ndim]
    truth = grid_positions(shape, 10, rng)
    found = find_spots(spots(shape, truth) + rng.normal(100, 4, shape))
    assert found.shape == truth.shape
    assert matches(found, truth, 0.7) == (0, 0)


def test_dark_spots():
    rng = np.random.default_rng(11)
    truth = grid_positions((60, 60), 15, rng)
    image = rng.normal(500, 5, (60, 60)) - spots((60, 60), truth)
    assert matches(find_spots(image, polarity="dark"), truth, 0.7) == (0, 0)
    assert len(find_spots(image)) == 0


def test_no_dark_rings_around_bright_spots_and_none_the_other_way():
    image = spots((60, 60), [(20.3, 20.4), (40.0, 38.5), (41.0, 44.0)], 1000.0)
    image += np.random.default_rng(12).normal(0, 1, (60, 60))
    assert len(find_spots(image)) == 3
    assert len(find_spots(image, polarity="dark")) == 0
    assert len(find_spots(-image)) == 0


def test_straight_edges_are_no_spots():
    image = np.random.default_rng(13).normal(0, 3, (90, 90))
    image[:, 40:] += 200.0
    assert len(find_spots(image)) == 0
    assert len(find_spots(image, polarity="dark")) == 0


# -- thresholds --------------------------------------------------------------------------------


def test_threshold_is_an_amplitude():
    image = spots((30, 60), [(15, 15), (15, 45)], [50.0, 80.0])
    assert [len(find_spots(image, threshold=t)) for t in (0, 49.9, 50.1, 79.9, 80.1)] == [
        2,
        2,
        1,
        1,
        0,
    ]


def test_noise_has_few_spots():
    rng = np.random.default_rng(14)
    normal = rng.normal(size=(1, 100, 100) if JIT_DISABLED else (30, 256, 256))
    for images in (normal, rng.poisson(50.0, normal.shape).astype(np.uint16)):
        number = sum(len(find_spots(image)) for image in images)
        assert 0.5 * len(images) - 1 <= number <= 1.5 * len(images) + 3  # one in each is expected
        curved = sum(len(find_spots(image, detector="laplacian")) for image in images)
        assert curved <= 4


@pytest.mark.skipif(JIT_DISABLED, reason="large images")
def test_noise_is_measured_locally():
    rng = np.random.default_rng(15)
    y, x = np.mgrid[:512, :512]
    light = 20.0 + 1000.0 * np.exp(-((y - 256) ** 2 + (x - 256) ** 2) / (2 * 120.0**2))
    truth = grid_positions((512, 512), 64, rng)
    dim = light[tuple(np.rint(truth).astype(int).T)] < 60
    assert sum(len(find_spots(rng.poisson(light))) for _ in range(10)) <= 15
    found = find_spots(rng.poisson(light + spots((512, 512), truth, 50.0)))
    assert matches(found, truth[dim], 1.5)[0] == 0


@pytest.mark.parametrize("scale", [1.0, 1e-12, 1e12])
def test_ramps_domes_and_constants_have_none(scale):
    y, x = np.mgrid[:60, :60] * 1.0
    dome = np.exp(-((y - 30) ** 2 + (x - 25) ** 2) / 800)
    for image in (np.full((60, 60), 7.3), 3 * x - y, 100 * x * x, 1000 * dome):
        assert len(find_spots(scale * image, exclude_border=7)) == 0


@pytest.mark.parametrize("dtype", [np.uint8, np.int16])
def test_rounding_of_integers_is_no_spot(dtype):
    y, x = np.mgrid[:80, :80]
    assert len(find_spots((0.37 * x + 0.11 * y).astype(dtype))) == 0
    assert (
        len(find_spots(np.random.default_rng(16).normal(50, 0.2, (80, 80)).round().astype(dtype)))
        == 0
    )
    image = spots((80, 80), [(20, 20), (60, 50)], [100.0, 12.0])
    assert len(find_spots((image + 0.5).astype(dtype))) == 2
    image[50:70, 40:60] /= 3.0
    assert len(find_spots((image + 0.5).astype(dtype), detector="laplacian")) == 2


def test_no_spot_is_darker_than_its_surroundings():
    image = spots((120, 120), [(60.0, 50.0)], 50.0)  # without noise all is significant
    for level in (0.0, 10.0):
        found = find_spots(image + level, details=True)
        assert found.positions.round().tolist() == [[60, 50]]
        assert np.all(found.amplitude > 0)


def test_padding_does_not_lower_the_threshold():
    image = np.random.default_rng(17).normal(0, 5, (150, 150))
    y, x = np.mgrid[:150, :150]
    image[x + y < 130] = 0.0
    image[x - y > 60] = 0.0
    assert len(find_spots(image)) == 0


def test_cells_without_noise_take_that_of_the_others():
    rng = np.random.default_rng(18)
    volume = rng.normal(0, 1, (300, 1, 300)).astype(np.float32)
    volume[:150] = 0.0
    picture = response.Picture(volume, response._measure(volume, 1), None)
    division = cells.divide(volume.shape, (1.3, 0.0, 1.3))
    found = noise.cell_noise(picture, volume, division)
    assert (division.counts, found.shown) == ((2, 1, 2), 2)
    assert found.deviations == pytest.approx(np.ones(4), rel=0.1)
    centres, curved = laplacian.response_noise(picture, volume, division, 0.0)
    assert curved == pytest.approx(np.ones(4), rel=0.1)
    assert centres == pytest.approx(np.zeros(4), abs=0.2)
    volume[:] = 0.0
    assert not noise.cell_noise(picture, volume, division).deviations.any()
    assert not np.any(laplacian.response_noise(picture, volume, division, 0.0))


# -- plateaus, distances, borders --------------------------------------------------------------


@pytest.mark.parametrize("shift", [(0.0, 0.0), (0.5, 0.0), (0.5, 0.5)])
def test_saturated_spots_are_found_once(shift):
    centre = np.array([20.0, 20.0]) + shift
    image = np.minimum(spots((40, 40), [centre], 1000.0), 600.0)
    found = find_spots(image)
    assert found == pytest.approx(centre[None], abs=0.02)
    assert len(find_spots(np.minimum(image, 250).astype(np.uint8))) == 1


def test_a_line_is_one_plateau():
    image = np.zeros((30, 41))
    image[15] = 100.0
    found = find_spots(image, min_distance=0, detector="laplacian")
    assert found == pytest.approx(np.array([[15.0, 20.0]]))
    assert len(find_spots(image)) == 0


def test_min_distance_keeps_the_stronger():
    image = spots((30, 50), [(15, 15), (15, 20), (15, 36)], [80.0, 100.0, 60.0])
    assert len(find_spots(image)) == 3
    assert find_spots(image, min_distance=4.9).round().tolist() == [[15, 20], [15, 15], [15, 36]]
    assert find_spots(image, min_distance=5.5).round().tolist() == [[15, 20], [15, 36]]
    assert find_spots(image, min_distance=(1, 17)).round().tolist() == [[15, 20]]
    assert len(find_spots(image, min_distance=(17, 1))) == 3
    assert find_spots(image, min_distance=1e300).round().tolist() == [[15, 20]]


def test_borders():
    image = spots((40, 40), [(0, 20), (1, 8), (20, 39), (33, 5), (20, 20)])
    counts = [
        len(find_spots(image, exclude_border=b)) for b in (False, 0, True, 1, 2, 6, 7, 20, 10**30)
    ]
    assert counts == [5, 5, 3, 3, 2, 1, 1, 0, 0]


# -- missing pixels ----------------------------------------------------------------------------


@pytest.mark.parametrize("hole", [np.nan, np.inf, -np.inf, "mask"])
def test_holes_are_no_spots_and_hide_none(hole):
    rng = np.random.default_rng(19)
    truth = grid_positions((90, 90), 15, rng)
    image = 1000.0 + 2.0 * np.arange(90) + spots((90, 90), truth) + rng.normal(0, 4, (90, 90))
    gone = rng.random((90, 90)) < 0.03
    gone[tuple(np.rint(truth[4]).astype(int))] = True  # a spot without its centre
    gone[52:58, 60:68] = True
    gone[:, :9] = True
    mask = gone if hole == "mask" else None
    image[gone] = 1e7 if hole == "mask" else hole
    assert matches(find_spots(image, mask=mask), truth, 1.5) == (0, 0)


def test_a_masked_spot_is_not_found():
    image = spots((60, 60), [(20, 20), (40, 40)])
    image += np.random.default_rng(23).normal(0, 1, (60, 60))
    y, x = np.mgrid[:60, :60]
    found = find_spots(image, mask=(y - 20) ** 2 + (x - 20) ** 2 <= 25)
    assert found == pytest.approx(np.array([[40.0, 40.0]]), abs=0.05)


@pytest.mark.parametrize("fill", [np.nan, np.inf, -np.inf, 0.0, 1e300, -1e-300])
def test_images_of_one_value(fill):
    assert find_spots(np.full((20, 21), fill)).shape == (0, 2)


def test_everything_masked():
    image = np.random.default_rng(20).normal(size=(20, 20))
    assert find_spots(image, mask=np.ones((20, 20), bool)).shape == (0, 2)


# -- input and options -------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["u1", "i2", ">u2", "<i4", ">i8", "f2", ">f4", "f8", "g"])
def test_dtypes_give_the_same_spots(dtype):
    image = (20 + spots((40, 50), [(10.3, 12.2), (28.0, 33.4)], 90.0)).round()
    assert np.array_equal(
        find_spots(image.astype(dtype), threshold=5), find_spots(image, threshold=5)
    )


def test_boolean_image():
    image = np.zeros((30, 30), dtype=bool)
    image[9:12, 19:22] = True
    assert find_spots(image) == pytest.approx(np.array([[10.0, 20.0]]), abs=0.02)


def test_strides_order_and_read_only():
    image = np.random.default_rng(21).normal(size=(40, 50)) + spots((40, 50), [(10, 12), (28, 33)])
    expected = find_spots(image)
    spread = np.zeros((80, 150))
    spread[::2, ::-3] = image
    frozen = image.copy()
    frozen.flags.writeable = False
    for same in (spread[::2, ::-3], np.asfortranarray(image), frozen, image.tolist()):
        assert np.array_equal(find_spots(same), expected)
    assert find_spots(image.T) == pytest.approx(expected[:, ::-1], abs=1e-5)


@pytest.mark.parametrize("shape", [(300, 700), (9, 150, 140)])
def test_threads_do_not_change_a_bit(shape):
    if JIT_DISABLED:
        shape = tuple(n // 6 + 6 for n in shape)
    image = np.random.default_rng(22).normal(size=shape).astype(np.float32)
    image[tuple(n // 3 for n in shape)] = np.nan
    counts = (1, 3) if JIT_DISABLED else (1, 2, 5)
    results = [find_spots(image, threshold=0.5, threads=t) for t in counts]
    assert len(results[0]) > 10
    assert all(np.array_equal(results[0], r) for r in results[1:])


@settings(max_examples=15 if JIT_DISABLED else 80, deadline=None)
@given(st.data())
def test_any_shape_and_dtype(data):
    shape = tuple(data.draw(st.lists(st.integers(0, 8), min_size=1, max_size=3)))
    dtype = data.draw(st.sampled_from(["?", "u1", ">i2", "u4", "f2", "f4", ">f8"]))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    image = (rng.normal(20, 10, shape)).clip(0).astype(dtype)
    if "f" in dtype and data.draw(st.booleans()):
        image[rng.random(shape) < 0.3] = np.nan
    sigma = data.draw(st.floats(0.3, 4.0))
    found = find_spots(
        image,
        sigma,
        threshold=data.draw(st.sampled_from([None, 0.0, 2.0])),
        polarity=data.draw(st.sampled_from(["bright", "dark"])),
        exclude_border=data.draw(st.sampled_from([True, False, 2])),
    )
    assert found.dtype == np.float64
    assert found.shape[1:] == (len(shape),)
    assert np.all((found >= 0) & (found <= np.array(shape) - 1))


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"image": np.zeros((2, 2, 2, 2))}, ValueError, "image must have 1 or 2 or 3 dimensions"),
        ({"image": np.zeros((5, 5), complex)}, TypeError, "image must hold real numbers"),
        ({"image": [["a"]]}, TypeError, "image must hold real numbers"),
        ({"sigma": 0}, ValueError, "sigma must be finite and at least 0.3, got 0"),
        ({"sigma": -1.0}, ValueError, "sigma must be finite"),
        ({"sigma": np.nan}, ValueError, "sigma must be finite"),
        ({"sigma": np.inf}, ValueError, "sigma must be finite"),
        ({"sigma": "wide"}, TypeError, "sigma must be a real number"),
        ({"sigma": (1.0, 2.0, 3.0)}, ValueError, "sigma must be one number or 2"),
        ({"sigma": (1.0, -2.0)}, ValueError, r"sigma\[1\]"),
        ({"threshold": -1.0}, ValueError, "threshold must be finite and at least 0"),
        ({"threshold": np.nan}, ValueError, "threshold must be finite"),
        ({"threshold": "auto"}, TypeError, "threshold must be a real number"),
        ({"false_alarms": 0}, ValueError, "false_alarms must be finite and above 0"),
        ({"false_alarms": "few"}, TypeError, "false_alarms must be a real number"),
        ({"significance": -1}, ValueError, "significance must be finite and at least 0"),
        ({"false_alarms": 1, "threshold": 2}, ValueError, "false_alarms and threshold must not"),
        ({"significance": 5, "threshold": 2}, ValueError, "significance and threshold must not"),
        ({"min_distance": -1}, ValueError, "min_distance must be finite and at least 0"),
        ({"min_distance": (1, 2, 3)}, ValueError, "min_distance must be one number or 2"),
        ({"exclude_border": -1}, ValueError, "exclude_border must be at least 0"),
        ({"exclude_border": 1.5}, TypeError, "exclude_border must be an integer"),
        ({"polarity": "both"}, ValueError, "polarity must be one of"),
        ({"polarity": 1}, TypeError, "polarity must be a string"),
        ({"mask": np.zeros((5, 5))}, TypeError, "mask must be boolean"),
        ({"mask": np.zeros((5, 4), bool)}, ValueError, "mask must have the image's shape"),
        ({"threads": 0}, ValueError, "threads must be at least 1"),
    ],
)
def test_bad_input(options, error, text):
    with pytest.raises(error, match=text):
        find_spots(**{"image": np.zeros((5, 5)), **options})


def test_sigma_wider_than_the_image_finds_nothing():
    assert find_spots(np.eye(20), 1e9).shape == (0, 2)
