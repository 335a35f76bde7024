"""``fastgauss fit --offset --gain --variance``: errors that hold for real cameras."""

import argparse

import numpy as np
import pytest

import fastgauss as fg
from fastgauss.cli import camera
from fastgauss.cli.command import main
from fastgauss.io.frames import Facts
from fastgauss.kernels._compile import JIT_DISABLED

fits = pytest.importorskip("astropy.io.fits")

SHAPE, STEP, SIGMA = (400, 400), 20, 1.25
PHOTONS, SKY = 90.0, 8.0


def scene(rng):
    """Places (row, column) of separate spots, and the mean photons of each pixel."""
    axis = np.arange(12, 396, STEP)
    grid = np.stack(np.meshgrid(axis, axis, indexing="ij"), -1).reshape(-1, 2)
    places = grid + rng.uniform(-1, 1, grid.shape)
    return places, fg.render(SHAPE, places, PHOTONS, SIGMA) + SKY


def command(tmp_path, counts, *options):
    """The spots that the command finds in a file of counts."""
    np.save(tmp_path / "counts.npy", counts)
    table = tmp_path / "spots.npz"
    fixed = ("--method", "mle", "--sigma", str(SIGMA), "--threads", "1", "-o", str(table))
    assert main(["fit", str(tmp_path / "counts.npy"), *map(str, options), *fixed]) == 0
    found = fg.FitResult.load(table)
    return found[found.converged]


def pulls(found, places):
    """Misses by errors of x, y and flux: robust standard deviations that should be 1."""
    near = np.abs(found.positions[:, None] - places).max(-1)
    which, close = near.argmin(axis=1), near.min(axis=1) < 1
    assert close.mean() > 0.98 and close.sum() > 300
    found, truth = found[close], places[which[close]]
    flux = 2 * np.pi * PHOTONS * SIGMA**2
    widths = found.covariance[:, [[0], [3]], [0, 3]]
    slopes = 2 * np.pi * np.column_stack([found.sigma**2, 2 * found.amplitude * found.sigma])
    errors = np.sqrt(np.einsum("ni,nij,nj->n", slopes, widths, slopes))
    misses = (
        (found.x - truth[:, 1]) / found.errors[:, 1],
        (found.y - truth[:, 0]) / found.errors[:, 2],
        (found.flux - flux) / errors,
    )
    assert abs(np.median(found.flux) / flux - 1) < 0.03
    return [1.4826 * np.median(np.abs(miss)) for miss in misses]


def check_pulls(each):
    """Pulls of 360 spots scatter by 0.06; those of x and y together by 0.04."""
    x, y, flux = each
    assert 0.9 < np.hypot(x, y) / np.sqrt(2) < 1.1
    assert 0.8 < flux < 1.2


@pytest.mark.skipif(JIT_DISABLED, reason="too many spots for plain Python")
@pytest.mark.parametrize(
    ("counts_a_photon", "offset", "variance"), [(2.2, 100.0, 6.0), (0.25, 300.0, 0.5)]
)
def test_errors_hold_for_cameras_by_numbers(tmp_path, counts_a_photon, offset, variance):
    rng = np.random.default_rng(3)
    places, photons = scene(rng)
    noise = rng.normal(0, np.sqrt(variance), SHAPE)
    counts = rng.poisson(photons) * counts_a_photon + offset + noise
    # a count that is rounded has a variance of 1/12 more
    options = ("--offset", offset, "--gain", 1 / counts_a_photon, "--variance", variance + 1 / 12)
    check_pulls(pulls(command(tmp_path, np.rint(counts).astype("u2"), *options), places))


@pytest.mark.skipif(JIT_DISABLED, reason="too many spots for plain Python")
def test_errors_hold_for_a_camera_by_maps(tmp_path):
    rng = np.random.default_rng(4)
    places, photons = scene(rng)
    offset, gain = rng.normal(100, 3, SHAPE), rng.normal(0.45, 0.02, SHAPE)
    variance = rng.lognormal(2.0, 0.7, SHAPE)
    counts = rng.poisson(photons) / gain + offset + rng.normal(0, np.sqrt(variance))
    options = []
    for name, values in (("offset", offset), ("gain", gain), ("variance", variance)):
        np.save(tmp_path / f"{name}.npy", values)
        options += [f"--{name}", tmp_path / f"{name}.npy"]
    found = command(tmp_path, counts, *options)
    check_pulls(pulls(found, places))
    frame = (counts - offset) * gain
    same = fg.fit_spots(frame, sigma=SIGMA, method="mle", variance=variance * gain**2)
    np.testing.assert_allclose(found.params, same[same.converged].params, rtol=1e-6)


@pytest.mark.skipif(JIT_DISABLED, reason="too many spots for plain Python")
def test_errors_hold_for_an_emccd(tmp_path):
    rng = np.random.default_rng(5)
    places, photons = scene(rng)
    electrons = rng.poisson(photons)
    multiplied = rng.gamma(np.maximum(electrons, 1e-9), 300.0)  # its variance is doubled
    counts = multiplied / 15.0 + 200.0 + rng.normal(0, 3.0, SHAPE)
    options = ("--offset", 200, "--gain", 15 / 300, "--variance", 9)
    check_pulls(pulls(command(tmp_path, counts, *options, "--excess-noise", 2), places))
    x, y, _ = pulls(command(tmp_path, counts, *options), places)
    assert x > 1.2 and y > 1.2  # without the factor errors are too small


def test_the_luminance_of_colours_is_no_count(tmp_path, capsys):
    """Three frames that tifffile wrote as a colour image had errors that did not hold."""
    tifffile = pytest.importorskip("tifffile")
    image, _ = small(tmp_path)
    frames, path = np.stack([image] * 3).astype("u2"), str(tmp_path / "a.tif")
    tifffile.imwrite(path, frames, photometric="rgb", planarconfig="separate")
    assert main(["fit", path, "--method", "mle"]) == 2
    told = capsys.readouterr().err
    assert "needs counts of photons, which the luminance of 3 colours" in told
    assert "give --axes TYX if the colours are frames" in told
    frames = result_of(tmp_path, path, "--method", "mle", "--axes", "TYX")
    assert frames.frames is not None and set(frames.frames.tolist()) == {0, 1, 2}
    found = result_of(tmp_path, path, "--method", "mle", "--channel", "blue")
    np.testing.assert_array_equal(found.params, fg.fit_spots(image, method="mle").params)


def small(tmp_path):
    image = np.random.default_rng(0).poisson(
        fg.image([150.0, 15.2, 14.1, 1.3, 20.0], (30, 32), model="symmetric")
    )
    return image, tmp_path / "a.npy"


def result_of(tmp_path, path, *options):
    table = tmp_path / "s.npz"
    assert main(["fit", str(path), *map(str, options), "-o", str(table)]) == 0
    return fg.FitResult.load(table)


def test_heights_have_one_unit_with_and_without_excess_noise(tmp_path):
    """Heights are multiplied by the factor, their errors by its root: the noise is larger."""
    image, path = small(tmp_path)
    np.save(path, np.floor(image))
    one = result_of(tmp_path, path, "--method", "mle")
    two = result_of(tmp_path, path, "--method", "mle", "--excess-noise", 2)
    np.testing.assert_allclose(two.params, one.params, rtol=1e-5)
    np.testing.assert_allclose(two.errors, one.errors * np.sqrt(2), rtol=1e-4)
    np.testing.assert_allclose(two.objective, one.objective / 2, rtol=1e-5)
    options = ("--method", "mle", "--excess-noise", 2, "--fixed", "offset=20")
    assert result_of(tmp_path, path, *options).offset == pytest.approx(20.0)
    options = ("--method", "mle", "--excess-noise", 2, "--bounds", "amplitude=10:100,x=:15")
    bound = result_of(tmp_path, path, *options)
    assert bound.amplitude == pytest.approx(100.0) and bound.x <= 15


def test_gain_and_saturation_of_a_header(tmp_path, capsys):
    image, _ = small(tmp_path)
    hdu = fits.PrimaryHDU(image.astype("i2"))
    hdu.header["GAIN"], hdu.header["SATURATE"] = 1.6, 165.0
    hdu.writeto(tmp_path / "a.fits")
    found = result_of(tmp_path, tmp_path / "a.fits", "--method", "mle")
    assert "its header says: saturation 165, gain 1.6" in capsys.readouterr().err
    expected = fg.fit_spots(1.6 * image, method="mle", mask=image >= 165)
    np.testing.assert_allclose(found.params, expected.params, rtol=1e-6)
    # least squares keep the numbers of the file, and options come before the header
    found = result_of(tmp_path, tmp_path / "a.fits", "--saturation", 1e6)
    np.testing.assert_allclose(found.params, fg.fit_spots(image).params, rtol=1e-6)
    found = result_of(tmp_path, tmp_path / "a.fits", "--gain", 2, "--saturation", 1e6)
    np.testing.assert_allclose(found.params, fg.fit_spots(2.0 * image).params, rtol=1e-6)


def test_pixels_without_a_gain_are_missing(tmp_path):
    image, path = small(tmp_path)
    np.save(path, image)
    gain = np.full(image.shape, 0.5)
    gain[14, 15] = 0.0
    gain[3, 3] = np.nan
    np.save(tmp_path / "gain.npy", gain)
    options = ("--gain", tmp_path / "gain.npy", "--method", "mle", "--variance", 2)
    found = result_of(tmp_path, path, *options)
    expected = fg.fit_spots(
        0.5 * image, method="mle", mask=~(gain > 0), variance=np.full(image.shape, 0.5)
    )
    np.testing.assert_allclose(found.params, expected.params, rtol=1e-6)
    np.testing.assert_array_equal(found.pixels, expected.pixels)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (("--variance", "2"), "--variance needs --method mle"),
        (("--excess-noise", "2"), "--excess-noise needs --method mle"),
        (("--excess-noise", "0.5", "--method", "mle"), "--excess-noise must be finite and at le"),
        (("--gain", "0"), "--gain must be finite and above 0"),
        (("--gain", "nan"), "--gain must be finite"),
        (("--offset", "dark.npy"), "--offset must be a number or a file, got dark.npy"),
        (("--variance", "-1", "--method", "mle"), "--variance must not be negative"),
        (("--saturation", "nan"), "--saturation must be finite"),
    ],
)  # fmt: skip
def test_cameras_that_make_no_sense(tmp_path, capsys, options, text):
    image, path = small(tmp_path)
    np.save(path, image)
    assert main(["fit", str(path), *options]) == 2
    assert text in capsys.readouterr().err


def test_maps_of_volumes_and_of_other_shapes(tmp_path):
    shape = (3, 8, 9)
    plane, solid = np.full(shape[1:], 2.0), np.arange(216.0).reshape(shape)
    given = dict.fromkeys(("camera", "gain", "variance", "mask", "saturation"))
    for values in (plane, solid):
        np.save(tmp_path / "offset.npy", values)
        args = argparse.Namespace(
            offset=str(tmp_path / "offset.npy"), excess_noise=1.0, method="mle", **given
        )
        known = camera.settings_of(args, Facts(), shape)
        np.testing.assert_array_equal(known.camera.offset, np.broadcast_to(values, shape))
    for wrong in ((7, 9), (2, 8, 9), (3, 8, 8)):
        np.save(tmp_path / "offset.npy", np.zeros(wrong))
        with pytest.raises(ValueError, match=r"--offset .*offset\.npy must have 3 x 8 x 9 pixels"):
            camera.settings_of(args, Facts(), shape)


def test_a_saved_camera_and_options_that_come_before_it(tmp_path, capsys):
    image, path = small(tmp_path)
    rng = np.random.default_rng(7)
    offset, gain = rng.normal(20, 1, image.shape), rng.normal(0.5, 0.02, image.shape)
    known = fg.Camera(offset, gain, variance=4.0, saturation=300.0)
    known.save(tmp_path / "camera.npz")
    np.save(path, np.rint(image / gain + offset).astype("u2"))
    found = result_of(tmp_path, path, "--method", "mle", "--camera", tmp_path / "camera.npz")
    expected = fg.fit_spots(np.load(path), method="mle", camera=known)
    np.testing.assert_array_equal(found.params, expected.params)
    options = ("--camera", tmp_path / "camera.npz", "--offset", 21, "--saturation", 9e9)
    found = result_of(tmp_path, path, *options)
    other = fg.Camera(21.0, gain, saturation=9e9)
    np.testing.assert_array_equal(found.params, fg.fit_spots(np.load(path), camera=other).params)
    found = result_of(tmp_path, path, *options, "--roi", "5:25,4:26")
    part = (slice(5, 25), slice(4, 26))
    inside = fg.fit_spots(np.load(path)[part], camera=other[part])
    np.testing.assert_allclose(found.positions, inside.positions + np.array([5, 4]), rtol=1e-14)
    known[:20].save(tmp_path / "other.npz")
    assert main(["fit", str(path), "--camera", str(tmp_path / "other.npz")]) == 2
    assert "other.npz: pictures must have the camera's shape (20, 32)" in capsys.readouterr().err
