"""Cameras: counts to photons, parts, files, and what is refused."""

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastgauss as fg

SHAPE = (5, 7)


def maps(seed=0, shape=SHAPE):
    rng = np.random.default_rng(seed)
    offset, gain = rng.normal(100, 2, shape), rng.uniform(0.3, 0.6, shape)
    return offset, gain, rng.lognormal(1, 0.5, shape)


@settings(max_examples=30, deadline=None)
@given(
    st.sampled_from(["u1", "u2", ">u2", "i4", "f4", "f8", "?"]),
    st.sampled_from([SHAPE, (3, *SHAPE), (2, 3, *SHAPE)]),
    st.floats(-500, 500),
    st.floats(1e-3, 1e3),
)
def test_photons_are_those_of_the_formula(kind, shape, offset, gain):
    frame = np.random.default_rng(1).integers(0, 250, shape).astype(kind)
    photons = fg.Camera(offset, gain).to_photons(frame)
    assert photons.dtype == np.float64
    np.testing.assert_array_equal(photons, (frame.astype("f8") - offset) * gain)
    by_pixel = fg.Camera(np.full(SHAPE, offset), gain).to_photons(frame)
    np.testing.assert_array_equal(by_pixel, photons)


def test_saturated_and_useless_pixels_are_nan():
    offset, gain, variance = maps()
    gain[0, 0], gain[0, 1], gain[0, 2] = np.nan, 0.0, -1.0
    offset[1, 0], variance[1, 1], variance[1, 2] = np.inf, np.nan, np.inf
    limit = np.full(SHAPE, 300.0)
    limit[3] = 200.0
    camera = fg.Camera(offset, gain, variance, limit)
    frame = np.full(SHAPE, 250)
    expected = np.zeros(SHAPE, bool)
    expected[0, :3] = expected[1, :3] = expected[3] = True
    np.testing.assert_array_equal(np.isnan(camera.to_photons(frame)), expected)
    expected[3] = False
    np.testing.assert_array_equal(np.isinf(camera.photon_variance), expected)
    good = ~expected
    np.testing.assert_array_equal(camera.photon_variance[good], (variance * gain**2)[good])


def test_a_part_of_a_camera_reads_a_part_of_a_frame():
    camera = fg.Camera(*maps(), saturation=4000.0)
    frame = np.random.default_rng(3).integers(90, 5000, (4, *SHAPE))
    part = camera[1:4, ::2]
    np.testing.assert_array_equal(
        part.to_photons(frame[:, 1:4, ::2]), camera.to_photons(frame)[:, 1:4, ::2]
    )
    np.testing.assert_array_equal(camera[:, 1:4, ::2].offset, part.offset)  # planes have one map
    assert fg.Camera(3.0)[1:2].offset == 3.0
    with pytest.raises(TypeError, match="taken by slices, got 3"):
        camera[3]


def test_a_camera_comes_back_from_its_file(tmp_path):
    for camera in (fg.Camera(), fg.Camera(*maps(), saturation=999.0), fg.Camera(maps()[0])):
        camera.save(tmp_path / "camera.npz")
        for again in (fg.Camera.load(tmp_path / "camera.npz"), pickle.loads(pickle.dumps(camera))):
            assert repr(again) == repr(camera)
            for name in ("offset", "gain", "variance", "saturation"):
                np.testing.assert_array_equal(getattr(again, name), getattr(camera, name))
    np.savez(tmp_path / "own.npz", gain=np.full(SHAPE, 2.0))
    assert fg.Camera.load(tmp_path / "own.npz").shape == SHAPE
    for held, text in (({}, "it holds nothing"), ({"a": 1.0}, "it holds a"),
                       ({"gain": -1.0}, "gain must be above 0")):  # fmt: skip
        np.savez(tmp_path / "wrong.npz", **held)
        with pytest.raises(ValueError, match=f"holds no camera: .*{text}"):
            fg.Camera.load(tmp_path / "wrong.npz")
    (tmp_path / "cut.npz").write_bytes((tmp_path / "own.npz").read_bytes()[:100])
    with pytest.raises(ValueError, match="cannot read"):
        fg.Camera.load(tmp_path / "cut.npz")
    with pytest.raises(ValueError, match="must end in one of"):
        fg.Camera().save(tmp_path / "camera.csv")
    with pytest.raises(FileNotFoundError):
        fg.Camera.load(tmp_path / "none.npz")


def test_a_map_belongs_to_its_camera():
    offset = np.zeros(SHAPE)
    camera = fg.Camera(offset)
    offset += 1
    assert not camera.offset.any()
    with pytest.raises(ValueError, match="read-only"):
        camera.offset[0, 0] = 1


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"gain": np.nan}, ValueError, "gain must be finite"),
        ({"gain": 0}, ValueError, "gain must be above 0, got 0"),
        ({"gain": np.full(SHAPE, np.nan)}, ValueError, "gain must be finite in some pixel"),
        ({"gain": -np.ones(SHAPE)}, ValueError, "gain must be above 0 in some pixel"),
        ({"offset": "dark.tif"}, TypeError, "offset must be a real number"),
        ({"offset": np.ones(4)}, ValueError, "offset must have 2 or 3 dimensions"),
        ({"variance": -1}, ValueError, "variance must not be negative, got -1"),
        ({"variance": [[1.0, -2.0]]}, ValueError, r"got -2.0 at index \(0, 1\)"),
        ({"saturation": np.inf}, ValueError, "saturation must be finite"),
        ({"offset": np.ones((3, 4)), "gain": np.ones((4, 3))}, ValueError,
         r"one shape, got offset \(3, 4\), gain \(4, 3\)"),
        ({"offset": [[np.nan, 1.0]], "gain": [[1.0, np.nan]]}, ValueError, "finite together"),
    ],
)  # fmt: skip
def test_cameras_that_cannot_be(options, error, text):
    with pytest.raises(error, match=text):
        fg.Camera(**options)


def test_frames_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"frame must have the camera's shape \(5, 7\), got \(7, "):
        fg.Camera(*maps()).to_photons(np.ones((7, 5)))


# -- fits --------------------------------------------------------------------------------------


def scene(camera, seed=0, shape=(40, 44), photons=2000.0):
    """A frame of counts with four spots."""
    rng = np.random.default_rng(seed)
    places = [[10.2, 9.1], [11.4, 30.3], [28.8, 12.7], [27.1, 31.9]]
    light = fg.render(shape, places, photons / (2 * np.pi * 1.69), 1.3) + 5
    noise = rng.normal(0, np.sqrt(np.asarray(camera.variance)), shape)
    return np.rint(rng.poisson(light) / camera.gain + camera.offset + noise).astype("u2")


@pytest.mark.parametrize("options", [{}, {"method": "mle"}, {"joint": True}])
def test_a_fit_by_a_camera_is_that_of_its_photons(options):
    shape = (40, 44)
    offset, gain, variance = maps(4, shape)
    gain[20, 30] = np.nan
    camera = fg.Camera(offset, gain, variance, saturation=500.0)
    sound = fg.Camera(offset, np.nan_to_num(gain, nan=0.5), variance)
    frame = scene(sound)
    assert (frame >= 500).any()
    found = fg.fit_spots(frame, camera=camera, **options)
    known = {"variance": camera.photon_variance} if options.get("method") == "mle" else {}
    photons = camera.to_photons(frame)
    lost = np.isnan(photons)
    expected = fg.fit_spots(photons, mask=lost, **options, **known)
    assert len(found) == len(expected) == 4
    np.testing.assert_array_equal(found.params, expected.params)
    np.testing.assert_array_equal(found.errors, expected.errors)
    hidden = np.zeros(shape, bool)
    hidden[9:12, 8:11] = True
    found = fg.fit_spots(np.ma.array(frame, mask=hidden), camera=camera, **options)
    expected = fg.fit_spots(photons, mask=hidden | lost, **options, **known)
    np.testing.assert_array_equal(found.params, expected.params)


def test_a_camera_of_plain_counts_changes_nothing():
    frame = scene(fg.Camera(20.0))
    for options in ({}, {"method": "mle", "false_alarms": 1.0}):
        plain = fg.fit_spots(frame, **options)
        np.testing.assert_array_equal(
            fg.fit_spots(frame, camera=fg.Camera(), **options).params, plain.params
        )


def test_a_plateau_of_counts_is_seen_behind_the_photons():
    camera = fg.Camera(100.0, 0.5)
    frame = np.minimum(scene(camera, photons=4000.0), 600)
    positions = fg.fit_spots(frame).positions
    plain = fg.fit_spots(frame, positions)
    found = fg.fit_spots(frame, positions, camera=camera)
    assert (plain.status == fg.Status.SATURATED).all()
    assert (found.status == fg.Status.SATURATED).all()


def test_what_a_camera_says_is_not_said_twice():
    frame, camera = scene(fg.Camera()), fg.Camera(variance=2.0)
    for name, value in (("variance", np.ones(frame.shape)), ("saturation", 9.0)):
        with pytest.raises(ValueError, match=f"{name} must be None with a camera"):
            fg.fit_spots(frame, camera=camera, **{"method": "mle", name: value})
    with pytest.raises(TypeError, match="camera must be a Camera, got 100"):
        fg.fit_spots(frame, camera=100)
    with pytest.raises(ValueError, match="image must have the camera's shape"):
        fg.fit_spots(frame, camera=fg.Camera(np.ones((4, 4))))
