"""`simulate.movie`: light, times, noise and drift are those that were asked for."""

import numpy as np
import pytest

import fastgauss as fg
from fastgauss.kernels._compile import JIT_DISABLED
from fastgauss.simulate.blinking import blink

compiled = pytest.mark.skipif(JIT_DISABLED, reason="many pixels")


@pytest.mark.parametrize(("on_time", "off_time"), [(2.0, 20.0), (0.2, 3.0), (30.0, 5.0)])
def test_times_on_and_off_are_exponential(on_time, off_time):
    rng = np.random.default_rng(1)
    frame, emitter, part = blink(400, 500, on_time, off_time, rng)
    assert (np.diff(frame * 400 + emitter) > 0).all()
    assert frame.min() >= 0 and frame.max() < 500 and emitter.max() < 400
    assert part.min() > 0 and part.max() <= 1 + 1e-12
    share = on_time / (on_time + off_time)
    # the mean over a time T of a process that forgets after 1 / (1 / on + 1 / off)
    memory = 1 / (1 / on_time + 1 / off_time)
    error = np.sqrt(2 * memory * share * (1 - share) / 500 / 400)
    assert abs(part.sum() / (400 * 500) - share) < 4 * error
    first = np.bincount(emitter[frame == 0], part[frame == 0], 400)  # in equilibrium from the start
    assert abs(first.mean() - share) < 4 * np.sqrt(share * (1 - share) / 400)


def test_emitters_that_never_rest_and_none_at_all():
    _, truth, drift = fg.simulate.movie((20, 20), 3, emitters=4, off_time=0, seed=1)
    assert truth["frame"].tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert (truth["photons"] == 1000).all() and not drift.any()
    for emitters in (0, np.empty((0, 2))):
        frames, truth, _ = fg.simulate.movie((20, 20), 3, emitters=emitters, seed=1)
        assert len(truth) == 0 and abs(frames.mean() - 10) < 0.5


@compiled
def test_light_and_noise_of_a_camera_by_maps():
    rng = np.random.default_rng(2)
    shape = (12, 14)
    offset, gain = rng.uniform(80, 120, shape), rng.uniform(0.3, 0.7, shape)
    variance = rng.uniform(1, 9, shape)
    gain[3, 4] = np.nan
    camera = fg.Camera(offset, gain, variance)
    frames, _, _ = fg.simulate.movie(
        shape, 4000, emitters=[[5.2, 6.1]], off_time=0, photons=300.0, background=4.0,
        sigma=(1.1, 1.6), camera=camera, seed=3,
    )  # fmt: skip
    light = fg.image([300 / (2 * np.pi * 1.1 * 1.6), 6.1, 5.2, 1.6, 1.1, 4.0], shape,
                     model="elliptic", pixel="integrate")  # fmt: skip
    assert (frames[:, 3, 4] == 0).all()
    good = np.isfinite(gain)
    mean, spread = light / gain + offset, light / gain**2 + variance + 1 / 12
    pulls = (frames.mean(axis=0) - mean)[good] / np.sqrt(spread[good] / 4000)
    assert abs(pulls.mean()) < 0.3 and 0.85 < pulls.std() < 1.15
    ratio = frames.var(axis=0)[good] / spread[good]
    assert abs(ratio.mean() - 1) < 0.01
    photons = camera.to_photons(frames)
    assert np.isnan(photons[:, 3, 4]).all()
    np.testing.assert_allclose(photons.mean(axis=0)[good], light[good], atol=0.8)


def test_saturation_cuts_counts_off():
    for camera, top in ((fg.Camera(saturation=900.0), 900), (None, 65535)):
        frames, _, _ = fg.simulate.movie(
            (9, 9), 2, emitters=[[4, 4]], photons=1e7, off_time=0, camera=camera, seed=1
        )
        assert frames.max() == top


@compiled
def test_drift_moves_everything():
    way = np.array([[0.0, 0.0], [1.5, -2.0], [3.0, -4.0]])
    frames, truth, drift = fg.simulate.movie(
        (30, 30), 3, emitters=[[10.0, 20.0]], off_time=0, drift=way, photons=1e5, seed=1
    )
    np.testing.assert_array_equal(drift, way)
    np.testing.assert_array_equal(
        np.stack([truth["y"], truth["x"]], 1), np.array([10.0, 20.0]) + way
    )
    found = fg.fit_movie(frames, pixel="integrate", method="mle", false_alarms=0.001)
    np.testing.assert_allclose(found.positions, np.array([10.0, 20.0]) + way, atol=0.05)
    _, _, walk = fg.simulate.movie((4, 4), 5000, emitters=0, drift=0.1, seed=2)
    assert walk.shape == (5000, 2) and not walk[0].any()
    assert abs(np.diff(walk, axis=0).std() / 0.1 - 1) < 0.05


@compiled
def test_astigmatic_emitters_have_a_z():
    lens = fg.astigmatic_model((1.3, -250, 400), (1.3, 250, 400), (-500, 500))
    frames, truth, drift = fg.simulate.movie(
        (40, 40), 4, emitters=[[-150.0, 12.0, 11.0], [200.0, 27.0, 25.0]], model=lens, off_time=0,
        photons=5e4, drift=np.arange(12.0).reshape(4, 3) / 8, seed=1,
    )  # fmt: skip
    assert truth.dtype.names == ("frame", "emitter", "z", "y", "x", "photons")
    expected = np.stack([truth[name] for name in ("x", "y", "z")], axis=1)
    found = fg.fit_movie(frames, [[12, 11], [27, 25]], lens, method="mle", pixel="integrate")
    misses = (found.params[:, 1:4] - expected) / found.errors[:, 1:4]
    assert np.abs(misses).max() < 4.5 and drift.shape == (4, 3)
    _, truth, _ = fg.simulate.movie((8, 8), 2, emitters=200, model=lens, off_time=0, seed=4)
    assert truth["z"].min() < -450 and truth["z"].max() > 450


def test_a_seed_decides_all():
    options = {"emitters": 20, "drift": 0.1, "camera": fg.Camera(100, 0.5, 4)}
    one, two, other = (fg.simulate.movie((16, 16), 5, seed=k, **options) for k in (1, 1, 2))
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a, b)
    assert (one.frames != other.frames).any()


def test_a_table_of_emitters():
    _, truth, _ = fg.simulate.movie((20, 20), 1, emitters=5, off_time=0, seed=1)
    frames, again, _ = fg.simulate.movie((20, 20), 1, emitters=truth, off_time=0, seed=2)
    np.testing.assert_array_equal(again["x"], truth["x"])
    assert frames.shape == (1, 20, 20)


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"emitters": [[1.0, 2.0, 3.0]]}, ValueError, r"emitters must have shape \(n, 2\)"),
        ({"emitters": -1}, ValueError, "emitters must be at least 0"),
        ({"photons": [1.0, 2.0]}, ValueError, r"photons must be a number or have shape \(3,\)"),
        ({"background": -1.0}, ValueError, "background must be finite and not negative"),
        ({"on_time": 0}, ValueError, "on_time must be"),
        ({"drift": np.zeros((3, 2))}, ValueError, r"number or have shape \(2, 2\), got \(3, 2\)"),
        ({"drift": -1.0}, ValueError, "drift must be"),
        ({"model": "astigmatic"}, TypeError, "model must be an AstigmaticModel"),
        ({"camera": fg.Camera(np.ones((3, 3)))}, ValueError, "camera's shape"),
        ({"sigma": 0}, ValueError, "sigma must be"),
        ({"pixel": "middle"}, ValueError, "pixel must be one of"),
        ({"shape": (4, 4, 4)}, ValueError, "shape must have 2 axes"),
        ({"frames": 0}, ValueError, "frames must be at least 1"),
    ],
)
def test_what_cannot_be_simulated(options, error, text):
    with pytest.raises(error, match=text):
        fg.simulate.movie(**{"shape": (8, 8), "frames": 2, "emitters": 3, **options})
