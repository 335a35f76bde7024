"""Where a fit starts: at the place it was told, or at the strongest peak of its pixels."""

import numpy as np
import pytest

import fastgauss as fg
from fastgauss.kernels._compile import JIT_DISABLED

COUNT = 6 if JIT_DISABLED else 300
compiled = pytest.mark.skipif(JIT_DISABLED, reason="hundreds of fits")
SIDE = 29  # of the image of each spot; no box reaches the next


def spots_beside_neighbours(ratio, distance, seed=0):
    """An image of many spots, each with a neighbour that nobody lists; positions and truth."""
    rng = np.random.default_rng(seed)
    angle, middle = rng.uniform(0, 2 * np.pi, COUNT), SIDE // 2
    own = middle + rng.uniform(-0.5, 0.5, (COUNT, 2))
    other = own + distance * np.column_stack([np.cos(angle), np.sin(angle)])

    def light(centres, height):
        width, background = np.full(COUNT, 1.3), np.zeros(COUNT)
        params = np.column_stack([np.full(COUNT, height), centres, width, background])
        return fg.image(params, (SIDE, SIDE), "symmetric")

    image = rng.poisson(light(own, 80.0) + light(other, 80.0 * ratio) + 12.0).astype(float)
    rows = np.arange(COUNT) * SIDE
    positions = np.column_stack([rows + middle, np.full(COUNT, middle)]).astype(float)
    own[:, 1] += rows
    return image.reshape(COUNT * SIDE, SIDE), positions, own


def share_on_the_spot(result, truth, within=1.0):
    return np.mean(np.hypot(result.x - truth[:, 0], result.y - truth[:, 1]) < within)


@pytest.mark.parametrize(("ratio", "distance"), [(1, 5), (1, 6), (2, 6), (4, 6)])
def test_a_brighter_neighbour_does_not_take_the_fit(ratio, distance):
    image, positions, truth = spots_beside_neighbours(ratio, distance)
    result = fg.fit_spots(image, positions)
    assert share_on_the_spot(result, truth) > 0.98


@pytest.mark.parametrize("where", [(1, 9), (0, 10), (10, 0), (10, 1)])
def test_a_hot_pixel_in_the_corner_is_not_the_spot(where):
    rng = np.random.default_rng(1)
    centres = rng.uniform(4.5, 5.5, (COUNT, 2))
    truth = np.column_stack([np.full(COUNT, 90.0), centres, np.full((COUNT, 2), [1.3, 8.0])])
    rois = rng.poisson(fg.image(truth, (11, 11), "symmetric")).astype(float)
    rois[(slice(None), *where)] += 900.0
    for method in ("lsq", "mle"):
        result = fg.fit_rois(rois, method=method)
        assert share_on_the_spot(result, centres, 0.3) > 0.95
        assert (result.status == fg.Status.OUTLIER).mean() > 0.95  # and it is told


@pytest.mark.parametrize("at", [0.0, 1.0, 2.6, 8.4])
@pytest.mark.parametrize("method", ["lsq", "mle"])
def test_a_spot_anywhere_in_its_roi_is_found_and_bright(at, method):
    rng = np.random.default_rng(2)
    centres = np.column_stack([np.full(COUNT, at), rng.uniform(3.0, 6.0, COUNT)])
    truth = np.column_stack([np.full(COUNT, 150.0), centres, np.full((COUNT, 2), [1.2, 15.0])])
    rois = rng.poisson(fg.image(truth, (10, 10), "symmetric"))
    result = fg.fit_rois(rois, method=method)
    assert share_on_the_spot(result, centres, 0.5) == 1.0
    assert result.converged.all() and (result.amplitude > 0).all()


@pytest.mark.parametrize("points", [30, 150, 700])
def test_a_line_is_found_anywhere_in_its_spectrum(points):
    rng = np.random.default_rng(3)
    x, centre = np.arange(float(points)), rng.uniform(0, points - 1, COUNT)
    lines = 4.0 * np.exp(-0.5 * ((x - centre[:, None]) / 2.5) ** 2)
    result = fg.fit_rois(lines + rng.normal(0.0, 0.24, lines.shape))
    assert np.mean(np.abs(result.x - centre) < 1.0) >= 0.99


def test_polarity_chooses_between_a_bright_and_a_dark_spot():
    bright = fg.image([60.0, 3.0, 7.5, 1.2, 100.0], (11, 11), "symmetric")
    rois = bright + fg.image([-45.0, 8.0, 2.5, 1.2, 0.0], (11, 11), "symmetric")
    rois = rois + np.random.default_rng(4).normal(0.0, 1.0, (5, 11, 11))
    assert (fg.fit_rois(rois).amplitude > 0).all()
    assert (fg.fit_rois(rois, polarity="bright").amplitude > 0).all()
    dark = fg.fit_rois(rois, polarity="dark")
    assert (dark.amplitude < 0).all() and (np.abs(dark.x - 8.0) < 0.5).all()
    with pytest.raises(ValueError, match="polarity"):
        fg.fit_rois(rois, polarity="red")


def test_missing_pixels_around_the_peak_are_no_obstacle():
    roi = fg.image([80.0, 5.3, 4.8, 1.6, 9.0], (11, 11), "symmetric")
    rois = roi + np.random.default_rng(5).normal(0.0, 0.5, (8, 11, 11))
    rois[:, 4:6, 5:7] = np.nan
    rois[:, 9] = np.nan
    result = fg.fit_rois(rois)
    assert result.converged.all()
    assert np.hypot(result.x - 5.3, result.y - 4.8).max() < 0.1


# -- narrow ellipses ------------------------------------------------------------------------------


def sharp_rois(count, seed=4, reach=0.5):
    """Ellipses of which few pixels see anything, and hot pixels, in noise of 1."""
    rng = np.random.default_rng(seed)
    truth = np.column_stack(
        [rng.uniform(20, 100, count), *rng.uniform(5 - reach, 5 + reach, (2, count)),
         rng.uniform(0.4, 0.6, count), rng.uniform(0.2, 0.35, count),
         rng.uniform(-1.5, 1.5, count), np.full(count, 20.0)]
    )  # fmt: skip
    rois = fg.image(truth, (11, 11), "rotated") + rng.normal(0, 1, (count, 11, 11))
    rois[::2] = 20.0 + rng.normal(0, 1, rois[::2].shape)
    rois[::2, 5, 5] += rng.uniform(20, 100, len(rois[::2]))
    return rois


def other_ellipses(rois, first, fixed=None):
    """The least objective from 36 other ellipses through the brightest pixel."""
    least = first.objective.copy()
    for angle in np.arange(12) * np.pi / 12:
        for along, across in [(0.8, 0.3), (1.5, 0.2), (2.5, 0.12)]:
            guess = np.array([rois.max() / 2, 5, 5, along, across, angle, 20.0])
            again = fg.fit_rois(rois, "rotated", guess=guess, fixed=fixed, threads=1)
            inside = ((again.params[:, 1:3] > -0.5) & (again.params[:, 1:3] < 10.5)).all(axis=1)
            least = np.minimum(least, np.where(inside, again.objective, np.inf))
    return least


@compiled
@pytest.mark.parametrize(("fixed", "share"), [(None, 0.04), ({"x": 5.0, "y": 5.0}, 0.1)])
def test_hardly_any_other_ellipse_fits_a_narrow_spot_better(fixed, share):
    rois = sharp_rois(1000, reach=0.0 if fixed else 0.5)
    result = fg.fit_rois(rois, "rotated", fixed=fixed, threads=1)
    good = result.converged | (result.status == fg.Status.TOO_NARROW)
    assert good.sum() > 100
    better = other_ellipses(rois, result, fixed) < 0.999 * result.objective
    assert (better & good).sum() <= share * good.sum()  # 0.28 without second fits


def test_fits_of_narrow_spots_do_not_depend_on_the_batch():
    rois = sharp_rois(4 if JIT_DISABLED else 60)
    whole = fg.fit_rois(rois, "rotated", threads=1)
    rotated = fg.fit_rois(rois[::-1], "rotated", threads=2)
    for name in ("params", "objective", "status", "iterations"):
        np.testing.assert_array_equal(getattr(rotated, name)[::-1], getattr(whole, name))
    for row in range(0, len(rois), 7):
        alone = fg.fit_rois(rois[row : row + 1], "rotated", threads=1)
        np.testing.assert_array_equal(alone.params[0], whole.params[row])


@compiled
@pytest.mark.parametrize("model", ["symmetric", "rotated"])
def test_of_two_spots_in_a_roi_the_likelihood_takes_the_better(model):
    """Of the symmetric fits that converged, 0.06 had been better at the other spot."""
    count, side = 5 * COUNT, 13
    rng = np.random.default_rng(11)
    first = (side - 1) / 2 + rng.uniform(-0.7, 0.7, (count, 2))
    turn, apart = rng.uniform(0.0, 2.0 * np.pi, count), rng.uniform(2.0, 7.0, (count, 1))
    second = first + apart * np.column_stack([np.cos(turn), np.sin(turn)])
    height, sigma = 10 ** rng.uniform(1.0, 4.0, count), rng.uniform(0.8, 2.0, count)
    other, level = height * rng.uniform(0.3, 2.0, count), np.full(count, 2.5)
    both = [np.column_stack([h, c, sigma, level]) for h, c in ((height, first), (other, second))]
    expected = sum(fg.image(spots, (side, side), "symmetric") for spots in both)
    rois = rng.poisson(expected)
    result = fg.fit_rois(rois, model, method="mle")
    best = result.objective.copy()
    for spots in both:
        guess = spots
        if model == "rotated":
            guess = np.column_stack([spots[:, :4], 0.9 * sigma, 0.3 + 0.0 * sigma, level])
        again = fg.fit_rois(rois, model, method="mle", guess=guess, max_iter=100)
        inside = (np.abs(again.params[:, 1:3] - (side - 1) / 2) < side / 2).all(axis=1)
        good = again.converged & inside
        best[good] = np.fmin(best, again.objective)[good]
    worse = result.converged & (best < result.objective * (1.0 - 1e-3))
    assert result.converged.mean() > 0.8
    assert worse.mean() < 0.02
