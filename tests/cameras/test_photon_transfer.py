"""`Camera.calibrate`: offset, gain and variance of simulated cameras."""

import numpy as np
import pytest

import fastgauss as fg

SHAPE = (24, 30)


def frames(rng, light, count, gain, offset, variance, flicker=0.0):
    """Counts of a camera; ``gain`` in photons for each count."""
    lamp = 1 + flicker * rng.normal(size=(count, 1, 1))
    photons = rng.poisson(np.maximum(light * lamp, 0), (count, *SHAPE))
    noise = rng.normal(size=photons.shape) * np.sqrt(variance)
    return np.rint(photons / gain + offset + noise).astype("i4")


@pytest.mark.parametrize("flicker", [0.0, 0.05])
@pytest.mark.parametrize("maps", [True, False])
def test_the_camera_is_found(maps, flicker):
    rng = np.random.default_rng(5)
    gain, offset, variance = 0.45, 100.0, 6.0
    if maps:
        gain, offset = rng.normal(0.45, 0.05, SHAPE), rng.normal(100, 3, SHAPE)
        variance = rng.lognormal(1.5, 0.6, SHAPE)
    true = gain, offset, variance
    profile = np.linspace(0.7, 1.3, SHAPE[1])  # the light need not be even
    dark = frames(rng, 0.0, 800, *true)
    bright = [frames(rng, level * profile, 800, *true, flicker) for level in (20.0, 200.0)]
    camera = fg.Camera.calibrate(dark, bright, maps=maps)
    assert camera.shape == (SHAPE if maps else None)
    # a count that is rounded has a variance of 1/12 more
    misses = (
        (camera.offset - offset) / np.sqrt(variance / 800),
        (camera.variance / (variance + 1 / 12) - 1) / np.sqrt(2 / 799),
        (camera.gain / gain - 1) / np.sqrt(2 / 1600),
    )
    for miss in misses:
        if maps:
            assert abs(miss.mean()) < 0.2
            assert 0.85 < miss.std() < (1.35 if miss is misses[2] else 1.15)
        else:
            assert abs(miss) < 0.4  # 720 pixels: 27 times more certain than one


def test_stacks_may_be_iterators_files_and_of_one_level(tmp_path):
    rng = np.random.default_rng(6)
    dark, bright = (frames(rng, light, 40, 0.5, 90.0, 4.0) for light in (0.0, 60.0))
    expected = fg.Camera.calibrate(dark, bright)
    np.save(tmp_path / "dark.npy", dark)
    seen = []
    found = fg.Camera.calibrate(
        tmp_path / "dark.npy", iter(bright), progress=lambda *told: seen.append(told)
    )
    assert seen == [(k + 1, 40) for k in range(40)] + [(k + 1, 0) for k in range(40)]
    for again in (found, fg.Camera.calibrate(list(dark), [bright])):
        for name in ("offset", "gain", "variance"):
            np.testing.assert_array_equal(getattr(again, name), getattr(expected, name))
    np.testing.assert_allclose(expected.offset, dark.mean(axis=0), rtol=1e-13)
    np.testing.assert_allclose(expected.variance, dark.var(axis=0, ddof=1), rtol=1e-12)


def test_a_level_that_saturates_a_pixel_does_not_count_there():
    rng = np.random.default_rng(7)
    dark = frames(rng, 0.0, 300, 0.5, 90.0, 4.0)
    low, high = (frames(rng, light, 300, 0.5, 90.0, 4.0) for light in (50.0, 500.0))
    full = high.copy()
    full[:, 3:6] = 4095
    np.minimum(full, 4095, out=full)
    camera = fg.Camera.calibrate(dark, [low, full], saturation=4095)
    alone = fg.Camera.calibrate(dark, low)
    np.testing.assert_allclose(camera.gain[3:6], alone.gain[3:6], rtol=1e-3)
    both = fg.Camera.calibrate(dark, [low, high])
    np.testing.assert_allclose(np.median(camera.gain), np.median(both.gain), rtol=1e-2)
    assert camera.saturation == 4095
    lost = fg.Camera.calibrate(dark, full, saturation=4095)
    assert np.isnan(lost.gain[3:6]).all() and np.isfinite(lost.gain[6:]).all()


@pytest.mark.parametrize(
    ("dark", "bright", "text"),
    [
        (np.ones((1, 4, 5)), np.ones((3, 4, 5)), "dark must hold at least 2 frames, got 1 frame"),
        (np.ones((2, 4, 5)), [], "bright must hold at least 2 frames, got 0 frames"),
        (np.ones((2, 4, 5)), np.ones((2, 4, 5)), "bright must be brighter than dark"),
        (np.ones((2, 4, 5)), [np.ones((2, 4, 5)), np.ones((2, 5, 4))], "brighter than dark"),
        (np.zeros((2, 4, 5)), [np.ones((2, 4, 5)), np.ones((2, 5, 4))], r"bright\[1\] must have"),
        (np.ones((4, 5)), np.ones((2, 4, 5)), "dark must have 3 or 4 dimensions"),
        ([np.ones((4, 5)), np.ones((5, 4))], np.ones((2, 4, 5)), r"dark\[1\] must have the shape"),
        (np.full((2, 4, 5), np.nan), np.ones((2, 4, 5)), "dark must be finite"),
    ],
)  # fmt: skip
def test_stacks_that_cannot_be(dark, bright, text):
    with pytest.raises(ValueError, match=text):
        fg.Camera.calibrate(dark, bright)


def test_noise_that_does_not_grow_with_light():
    rng = np.random.default_rng(8)
    dark = rng.normal(0, 3, (50, *SHAPE))
    with pytest.raises(ValueError, match="more noise than dark"):
        fg.Camera.calibrate(dark, rng.normal(50, 1, dark.shape), maps=False)
