"""What ``fastgauss fit`` says where it found no spot, or where most fits did not converge."""

import re
from argparse import Namespace

import numpy as np
import pytest

import fastgauss as fg
from fastgauss.cli import frame_fits, hints
from fastgauss.cli.command import main
from fastgauss.models.model import get_model
from fastgauss.results.rows import Rows


def hint_of(tmp_path, capsys, image, *options):
    """The hint that the command gives, or an empty text."""
    np.save(tmp_path / "a.npy", image)
    assert main(["fit", str(tmp_path / "a.npy"), *map(str, options)]) == 0
    out, err = capsys.readouterr()
    found = [line for line in err.splitlines() if line.startswith("fastgauss: hint: ")]
    assert len(found) <= 1 and "hint" not in out
    return found[0].removeprefix("fastgauss: hint: ") if found else ""


def faint(height, seed=0, sigma=1.3, shape=(60, 70)):
    """An image of noise 1 with one spot at row 33, column 21."""
    truth = [height, 21.0, 33.0, sigma, 100.0]
    noise = np.random.default_rng(seed).normal(0, 1, shape)
    return fg.image(truth, shape, model="symmetric") + noise


def numbers(text):
    return [float(word) for word in re.findall(r"-?\d+(?:\.\d+)?(?:e-?\d+)?", text)]


def test_no_spots_threshold_noise_and_candidate(tmp_path, capsys):
    hint = hint_of(tmp_path, capsys, faint(9.0), "--threshold", 30)
    assert hint.startswith("no spot was found: the threshold was 30; the noise of the filtered")
    noise, row, column, height, proposed, *_ = numbers(hint.partition("image is")[2])
    assert (row, column) == (33, 21)
    assert height == pytest.approx(9.0, abs=1.5) and noise == pytest.approx(0.5, abs=0.2)
    # the proposed threshold finds it
    assert hint_of(tmp_path, capsys, faint(9.0), "--threshold", proposed) == ""


def test_the_default_threshold_is_that_of_the_search(tmp_path, capsys):
    noise = faint(0.0, shape=(120, 130))
    hint = hint_of(tmp_path, capsys, noise, "--detector", "laplacian")
    assert "the threshold was about" in hint and "5 times the noise" in hint
    threshold = numbers(hint)[0]
    # a spot well above it is found, one well below it is not
    alone = fg.image([1.0, 60.0, 50.0, 1.3, 0.0], noise.shape, model="symmetric")
    rare = hint_of(tmp_path, capsys, noise, "--detector", "laplacian", "--false-alarms", 1e-4)
    assert "times the noise" in rare and "5 times" not in rare
    assert "in place of --false-alarms" in rare
    for height, number in ((1.5, 1), (0.3, 0)):
        image = noise + height * threshold * alone
        assert len(fg.find_spots(image, detector="laplacian")) == number


@pytest.mark.parametrize("sigma", [1.3, (1.1, 2.0)])
@pytest.mark.parametrize("sign", [1, -1])
def test_the_response_is_the_height_of_a_spot(sigma, sign):
    sy, sx = np.broadcast_to(sigma, 2)
    truth = [sign * 7.0, 20.0, 16.0, sx, sy, 0.0]
    image = fg.image(truth, (33, 41), model="elliptic").astype(np.float32)
    response = hints._response(image, (sy, sx))
    assert response[16, 20] == pytest.approx(sign * 7.0, rel=0.02)


def test_dark_spots_masks_and_saturation_in_the_search(tmp_path, capsys):
    hint = hint_of(tmp_path, capsys, faint(-9.0), "--dark", "--threshold", 30)
    _, row, column, height, *_ = numbers(hint.partition("image is")[2])
    assert (row, column) == (33, 21) and height == pytest.approx(9, abs=1.5)
    assert "--dark" not in hint
    image = faint(9.0)
    image[10, 10] = image[50:53, 50:53] = 5000.0
    mask = np.zeros(image.shape, np.uint8)
    mask[8:13, 8:13] = 1
    np.save(tmp_path / "mask.npy", mask)
    options = ("--mask", tmp_path / "mask.npy", "--saturation", 4000, "--threshold", 30)
    _, row, column, *_ = numbers(
        hint_of(tmp_path, capsys, image, *options).partition("image is")[2]
    )
    assert (row, column) == (33, 21)


def test_the_significance_that_false_alarms_need(tmp_path, capsys):
    image = faint(3.2, seed=3)
    hint = hint_of(tmp_path, capsys, image, "--false-alarms", 1e-9)
    assert hint.startswith("no spot was found: --false-alarms 1e-09 needs a significance of ")
    needed, row, column, best, proposed = numbers(hint.partition("needs")[2])
    assert (row, column) == (33, 21) and 4.0 < best < needed
    # the proposed number finds it
    assert hint_of(tmp_path, capsys, image, "--false-alarms", proposed) == ""
    hot = faint(0.0)
    hot[20, 30] += 40.0
    hint = hint_of(tmp_path, capsys, hot, "--false-alarms", 1e-4)
    assert (
        "at row 20, column 30," in hint and "not the shape of a spot. Try --shape-level 0" in hint
    )
    hint = hint_of(tmp_path, capsys, np.full((20, 30), 7, "u2"), "--false-alarms", 1)
    assert hint.endswith("and nothing in the image stands out")


def test_images_in_which_nothing_stands_out(tmp_path, capsys):
    hint = hint_of(tmp_path, capsys, np.full((20, 30), 7, "u2"), "--detector", "laplacian")
    assert hint.endswith("the noise of the filtered image is 0, and nothing in it stands out")
    hint = hint_of(tmp_path, capsys, faint(50.0), "--sigma", 1e9)
    assert hint == "no spot was found: the image is narrower than --sigma 1e+09"


def test_no_spot_of_any_of_several_widths(tmp_path, capsys):
    flat = np.full((40, 30), 5.0)
    hint = hint_of(tmp_path, capsys, flat, "--sigma", 1.3, "--sigma", 2.6, "--threshold", 10)
    assert hint.startswith("no spot was found with any --sigma. Try --threshold or --false-alarms")


@pytest.mark.parametrize(
    ("sigma", "ndim", "expected"),
    [
        (1.3, 2, (1.3, 1.3)),
        ((1.1, 2.0), 2, (1.1, 2.0)),
        ([(1.3,), (2.6,)], 3, (2.6, 2.6, 2.6)),
        ([(1.0, 3.0), (2.0, 1.5)], 2, (2.0, 3.0)),
    ],
)
def test_the_largest_width_along_each_axis(sigma, ndim, expected):
    assert frame_fits.sigmas(Namespace(sigma=sigma), ndim) == expected


def test_most_fits_failed_and_what_to_try(tmp_path, capsys):
    image = faint(60.0)
    bright = "--false-alarms", 0.001
    assert hint_of(tmp_path, capsys, image, *bright) == ""
    hint = hint_of(tmp_path, capsys, image, *bright, "--box", 2)
    assert hint == (
        "the only fit did not converge: 1 too few pixels (there are fewer pixels than free "
        "parameters), try a larger --box; without this option it is 4 sigma to either side"
    )


def test_every_status_has_something_to_try():
    good = {fg.Status.CONVERGED, fg.Status.AT_BOUND}
    assert set(hints._WHAT_TO_TRY) == set(fg.Status) - good
    result = fg.fit_rois(np.full((6, 7, 7), np.nan))
    assert hints.of_statuses(result[:0]) == ""
    for code in set(fg.Status) - good:
        result.status[:4] = code
        result.status[4:] = fg.Status.CONVERGED
        hint = hints.of_statuses(result)
        assert hint.startswith("4 of 6 fits did not converge: 4 ") and code.message in hint
        result.status[2:] = fg.Status.CONVERGED
        assert hints.of_statuses(result) == ""


def test_pixels_below_zero_photons_are_told():
    values = np.random.default_rng(1).normal(-5.0, 1.0, (20, 20))
    assert "100 % of the pixels are below 0 photons" in hints.of_negative(values)
    assert hints.of_negative(values + 5.0) == "" == hints.of_negative(np.full((2, 2), np.nan))


def test_mle_of_negative_pixels_has_a_hint_of_its_own(tmp_path, capsys):
    np.save(tmp_path / "dark.npy", np.full((20, 20), -25.0))
    main(["fit", str(tmp_path / "dark.npy"), "--method", "mle"])
    assert "--method mle needs photons: try a smaller --offset" in capsys.readouterr().err


def test_values_that_do_not_scatter_as_photons_are_told(tmp_path, capsys):
    places = np.stack(np.meshgrid(*[np.arange(12.0, 70.0, 18.0)] * 2), -1).reshape(-1, 2)
    photons = np.random.default_rng(2).poisson(fg.render((78, 78), places, 90.0, 1.3) + 30.0)
    options = "--method", "mle", "--gain"
    assert hint_of(tmp_path, capsys, 4.0 * photons, *options, 0.25) == ""
    hint = hint_of(tmp_path, capsys, 4.0 * photons, *options, 1)
    assert hint.startswith("the median reduced_chi2 is 4") and "too small. Check --offset" in hint
    assert "(--joint)" in hint
    hint = hint_of(tmp_path, capsys, 4.0 * photons, *options, 0.01)
    assert hint.startswith("the median reduced_chi2 is 0.04, and of photons it is 1: the errors")
    assert "too large" in hint and "--joint" not in hint
    few = np.random.default_rng(3).poisson(fg.render((78, 78), places, 40.0, 1.3) + 0.01)
    assert hint_of(tmp_path, capsys, few, "--method", "mle", "--box", "15") == ""
    assert hint_of(tmp_path, capsys, 4.0 * photons) == ""  # least squares scales its errors


def test_all_endings_of_tables_are_told(tmp_path, capsys):
    np.save(tmp_path / "dark.npy", np.zeros((20, 20)))
    assert main(["fit", str(tmp_path / "dark.npy"), "-o", str(tmp_path / "x.foo")]) == 2
    assert ".ecsv, .fits, .json, .hdf5" in capsys.readouterr().err


# -- neighbours and channels -------------------------------------------------------------------


def at(places, frames=None, model="symmetric", ndim=2):
    """A result with spots of sigma 1.3 at these places."""
    known = get_model(model, ndim)
    params = np.full((len(places), known.size), 1.3)
    params[:, ndim:0:-1] = places
    packed = np.ones((len(places), known.size * (known.size + 1) // 2))
    codes = np.zeros(len(places), np.int32)
    rows = Rows(params, packed, params[:, 0], codes, codes, codes, codes, frames)
    return fg.FitResult(known, rows, absolute=True)


@pytest.mark.parametrize(("model", "ndim"), [("symmetric", 2), ("elliptic", 3)])
def test_overlapping_spots_lead_to_the_joint_fit(model, ndim):
    alone = np.array([[20.0 * k, 20.0 * (k % 7), 20.0 * (k % 3)][:ndim] for k in range(40)])
    assert hints.of_overlap(at(alone, None, model, ndim)) == ""
    near = alone[:14] + 3.0  # 28 of 54 have a neighbour
    both = np.concatenate([alone, near])
    told = hints.of_overlap(at(both, None, model, ndim))
    assert told.startswith("28 of 54 spots overlap with another one") and "--joint" in told
    few = np.concatenate([alone, near[:5]])
    assert hints.of_overlap(at(few, None, model, ndim)) == ""
    # those of another frame are no neighbours
    frames = np.repeat([0, 1], [40, 14])
    assert hints.of_overlap(at(both, frames, model, ndim)) == ""
    assert hints.of_overlap(at(both[:0], None, model, ndim)) == ""


def test_merged_molecules_of_a_volume_are_told(tmp_path, capsys):
    rng = np.random.default_rng(3)
    truth = rng.uniform((4, 8, 8), (10, 40, 40), (20, 3))
    stack = rng.poisson(fg.render((14, 48, 48), truth, 120.0, sigma=(1.7, 1.3, 1.3)) + 10)
    assert "--joint fits them together" in hint_of(tmp_path, capsys, stack, "--volume")
    assert hint_of(tmp_path, capsys, stack, "--volume", "--joint") == ""


def test_without_spots_other_channels_are_told(tmp_path, capsys):
    image = np.stack([faint(0.0, shape=(40, 40)), faint(30.0, shape=(40, 40))])
    few = "--false-alarms", 0.01
    told = hint_of(tmp_path, capsys, image, "--axes", "CYX", *few)
    assert told.endswith("This is channel 0 of 2: --channel selects another")
    told = hint_of(tmp_path, capsys, image, "--axes", "CYX", "--channel", 0, *few)
    assert told.startswith("no spot was found") and "channel" not in told
    assert hint_of(tmp_path, capsys, image[0], *few).startswith("no spot was found")
