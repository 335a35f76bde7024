"""What fit_joint takes, what it refuses, and what its result can do."""

import pickle

import numpy as np
import pytest
from naive_joint import BOX, cluster
from numpy.testing import assert_allclose, assert_array_equal

import fastgauss as fg
from fastgauss.joint.arguments import read_background, read_picture
from fastgauss.kernels._compile import JIT_DISABLED

compiled = pytest.mark.skipif(JIT_DISABLED, reason="too many pixels for plain Python")

IMAGE = np.ones((32, 32))
WRONG = [
    ({"image": np.zeros((5, 5), "O")}, TypeError, "image"),
    ({"image": np.zeros((5, 5), complex)}, TypeError, "image"),
    ({"image": np.zeros((5, 5, 5, 5))}, ValueError, "image"),
    ({"positions": [[1.0, np.nan]]}, ValueError, "positions"),
    ({"positions": [1.0, 2.0]}, ValueError, "positions"),
    ({"positions": [[1.0, 2.0, 3.0]]}, ValueError, "positions"),
    ({"positions": "here"}, TypeError, "positions"),
    ({"model": "gaussian"}, ValueError, "model"),
    ({"box": 0}, ValueError, "box"),
    ({"box": 5.5}, TypeError, "box"),
    ({"box": (3, 4, 5)}, ValueError, "box"),
    ({"frames": [0]}, ValueError, "positions"),  # an image is a stack of profiles
    ({"image": np.ones((2, 9, 9)), "frames": [2]}, ValueError, "frames"),
    ({"image": np.ones((2, 9, 9)), "frames": [-1]}, ValueError, "frames"),
    ({"image": np.ones((2, 9, 9)), "frames": [0, 1]}, ValueError, "frames"),
    ({"image": np.ones((2, 9, 9)), "frames": [0.0]}, TypeError, "frames"),
    ({"background": "none"}, ValueError, "background"),
    ({"background": np.ones(5)}, ValueError, "background"),
    ({"background": np.nan}, ValueError, "background"),
    ({"background": 1.0, "fixed": {"offset": 1.0}}, ValueError, "offset"),
    ({"method": "least"}, ValueError, "method"),
    ({"pixel": "mean"}, ValueError, "pixel"),
    ({"polarity": "grey"}, ValueError, "polarity"),
    ({"guess": np.ones(4)}, ValueError, "guess"),
    ({"guess": -np.ones(5)}, ValueError, "guess"),
    ({"weights": np.ones(5)}, ValueError, "weights"),
    ({"weights": -IMAGE}, ValueError, "weights"),
    ({"weights": IMAGE, "method": "mle"}, ValueError, "weights"),
    ({"variance": IMAGE}, ValueError, "variance"),
    ({"variance": np.ones(4), "method": "mle"}, ValueError, "variance"),
    ({"mask": IMAGE}, TypeError, "mask"),
    ({"mask": np.ones(4, bool)}, ValueError, "mask"),
    ({"fixed": {"width": 1.0}}, ValueError, "fixed"),
    ({"fixed": {"sigma": np.ones(3)}}, ValueError, "fixed"),
    ({"bounds": {"sigma": (2, 1)}}, ValueError, "bounds"),
    ({"bounds": {"offset": (0.0, 1.0)}, "background": "plane"}, ValueError, "offset"),
    ({"shared": "width"}, ValueError, "shared"),
    ({"shared": 3}, TypeError, "shared"),
    ({"covariance": "sandwich"}, ValueError, "covariance"),
    ({"covariance": "absolute"}, ValueError, "covariance"),
    ({"max_iter": 0}, ValueError, "max_iter"),
    ({"tol": 0.0}, ValueError, "tol"),
    ({"threads": 0}, ValueError, "threads"),
    ({"progress": 3}, TypeError, "progress"),
]


@pytest.mark.parametrize(("arguments", "error", "word"), WRONG)
def test_bad_input_is_named(arguments, error, word):
    arguments = {"image": IMAGE, "positions": [[9.0, 9.0]], **arguments}
    with pytest.raises(error, match=word):
        fg.fit_joint(**arguments)


@pytest.mark.parametrize("background", ["local", "constant", "plane", 3.0])
def test_no_spots_and_empty_images(background):
    result = fg.fit_joint(IMAGE, np.empty((0, 2)), background=background)
    assert len(result) == 0 and result.covariance.shape == (0, 5, 5)
    assert result.render(IMAGE.shape).shape == IMAGE.shape
    assert len(fg.fit_joint(np.empty((0, 5)), np.empty((0, 2)), background=background)) == 0
    lost = fg.fit_joint(np.empty((0, 5)), [[0.0, 0.0]], background=background)
    assert lost.status[0] == fg.Status.TOO_FEW_PIXELS


@pytest.mark.parametrize("background", ["local", "constant", "plane"])
def test_without_a_spot_the_background_is_that_of_all_pixels(background):
    y, x = np.mgrid[:20, :30]
    plane = 5.0 + (0.3 * x - 0.2 * y if background == "plane" else 0.0)
    image = np.where((x + y) % 7 == 0, np.nan, plane)
    spots = np.empty((0, 2))
    found = fg.fit_joint(image, spots, background=background)
    assert_allclose(found.render(image.shape), np.broadcast_to(plane, image.shape), rtol=1e-9)
    nothing = fg.fit_joint(np.full((9, 9), np.nan), spots, background=background)
    assert np.isnan(nothing.render((9, 9))).all()
    weights = np.where(x < 15, 1.0, 3.0)
    if background != "plane":
        steps = np.where(x < 15, 1.0, 2.0)
        found = fg.fit_joint(steps, spots, background=background, weights=weights)
        assert_allclose(found.render(steps.shape), 1.75, rtol=1e-12)
        held = {"offset": (None, 1.5)}
        found = fg.fit_joint(steps, spots, background=background, bounds=held)
        if background == "constant":
            assert_allclose(found.render(steps.shape), 1.5, rtol=1e-12)


@compiled
@pytest.mark.parametrize("background", ["constant", "plane"])
def test_a_frame_without_spots_has_its_own_background(background):
    image, _, start = cluster(count=2)
    stack = np.stack([np.full_like(image, 3.0), image])
    frames = np.ones(len(start), int)
    result = fg.fit_joint(stack, start[:, 2:0:-1], frames=frames, background=background, box=BOX)
    whole = result.render(stack.shape)
    assert_allclose(whole[0], 3.0, rtol=1e-9)
    assert np.isfinite(whole).all() and whole[1].max() > whole[0].max() + 5


@compiled
@pytest.mark.parametrize("method", ["lsq", "mle"])
def test_positions_off_the_image_keep_their_rows(method):
    image, _, start = cluster(count=2)
    places = start[:, 2:0:-1]
    inside = fg.fit_joint(image, places, method=method)
    outside = [[-100.0, 5.0], [1e300, 5.0], [5.0, -1e300], [60.0, 60.0]]
    result = fg.fit_joint(image, np.concatenate([places, outside]), method=method)
    assert_allclose(result.params[:2], inside.params, rtol=1e-5)
    assert (result.status[2:] == fg.Status.TOO_FEW_PIXELS).all()
    assert np.isnan(result.params[2:]).all()


@compiled
@pytest.mark.parametrize("value", [np.nan, 0.0, 7.0, 1e300])
@pytest.mark.parametrize("method", ["lsq", "mle"])
def test_images_without_a_spot_end_and_say_so(method, value):
    image = np.full((24, 24), value)
    result = fg.fit_joint(image, [[10.0, 10.0], [12.0, 11.0]], method=method)
    if np.isnan(value):
        assert (result.status == fg.Status.TOO_FEW_PIXELS).all()
        assert np.isnan(result.params).all()
    assert not (result.status == fg.Status.CONVERGED).any()


@compiled
@pytest.mark.parametrize("method", ["lsq", "mle"])
def test_two_spots_at_one_place_are_told(method):
    image, _, start = cluster(count=2)
    places = start[[0, 0, 1], 2:0:-1]
    result = fg.fit_joint(image, places, method=method, fixed={"sigma": 1.3})
    assert np.isfinite(result.params).all()
    good = result.status[:2] == fg.Status.CONVERGED
    assert (~good | (result.errors[:2, 0] > 20)).all()


@compiled
@pytest.mark.parametrize("dtype", ["u1", "u2", ">u2", "i4", "f4", ">f8", "f8"])
def test_any_dtype_and_layout_of_image(dtype):
    image, _, start = cluster()
    image = (image * (250.0 / image.max())).astype(dtype)  # one pixel is the largest
    kept = image.copy()
    places = start[:, 2:0:-1]
    expected = fg.fit_joint(image.astype(float), places, max_iter=5)
    image.flags.writeable = False
    strided = np.repeat(np.repeat(image, 2, axis=0), 3, axis=1)[::2, ::3]
    for same in (image, strided, np.asfortranarray(image)):
        assert_array_equal(fg.fit_joint(same, places, max_iter=5).params, expected.params)
    assert_array_equal(image, kept)


@compiled
def test_progress_ends_with_all_spots():
    image, _, start = cluster()
    calls = []
    fg.fit_joint(image, start[:, 2:0:-1], max_iter=3, progress=lambda *c: calls.append(c))
    assert calls[-1] == (4, 4) and calls == sorted(calls)


@compiled
def test_too_few_rounds_are_said():
    image, _, start = cluster()
    result = fg.fit_joint(image, start[:, 2:0:-1], max_iter=2)
    assert (result.status == fg.Status.MAX_ITERATIONS).all()
    assert np.isfinite(result.params).all()


@compiled
@pytest.mark.parametrize("background", ["local", "constant", "plane", "array"])
def test_render_is_the_model_and_survives_pickling_and_choosing(background):
    image, _, start = cluster(slope=0.1)
    ramp = 10 + np.tile(0.1 * np.arange(image.shape[1]), (image.shape[0], 1))
    background = ramp if background == "array" else background
    result = fg.fit_joint(image, start[:, 2:0:-1], guess=start, background=background, box=BOX)
    made = result.render(image.shape, box=BOX)
    window = np.s_[10:22, 10:22]  # in the box of every spot
    light = fg.image(result.params * [1, 1, 1, 1, 0], image.shape, "symmetric").sum(axis=0)
    assert_allclose(result.render(image.shape, 0.0), light, atol=1e-4)
    own = (image - made)[window].std() / np.sqrt(made[window].mean())
    assert 0.8 < own < 1.2
    there = np.rint(result.positions).astype(int)
    under = (made - light)[tuple(there.T)]
    assert_allclose(under, result.offset, atol=0.2)
    other = pickle.loads(pickle.dumps(result))
    assert_array_equal(other.render(image.shape, box=BOX), made)
    assert_array_equal(other.covariance, result.covariance)
    half = result[result.y < 16]
    assert 0 < len(half) < 4 and len(half.render(image.shape)) == len(image)
    both = half.render(image.shape, 0.0) + result[result.y >= 16].render(image.shape, 0.0)
    assert_allclose(both, light, atol=1e-4)


@compiled
@pytest.mark.parametrize("background", ["local", "constant", "plane", "array"])
def test_frames_are_rendered_where_they_are(background):
    made = [cluster(seed=k) for k in range(2)]
    stack = np.stack([made[0][0], np.full_like(made[0][0], 10.0), made[1][0]])
    start = np.concatenate([m[2] for m in made])
    frames = np.repeat([0, 2], 4)
    background = np.full(stack.shape, 10.0) if background == "array" else background
    result = fg.fit_joint(
        stack, start[:, 2:0:-1], frames=frames, guess=start, background=background, box=BOX
    )
    whole = result.render(stack.shape, box=BOX)
    assert whole.shape == stack.shape
    residual = (stack - whole)[[0, 2], 10:22, 10:22]
    assert 0.7 < residual.std() / np.sqrt(whole[[0, 2], 10:22, 10:22].mean()) < 1.2
    lights = result.render(stack.shape, 0.0)
    assert not lights[1].any()
    assert_array_equal(result[frames == 2].render(stack.shape, 0.0)[2], lights[2])
    assert not result[frames == 2].render(stack.shape, 0.0)[0].any()


@compiled
@pytest.mark.parametrize("name", ["elliptic", "rotated"])
@pytest.mark.parametrize("pixel", ["sample", "integrate"])
def test_render_of_every_model(name, pixel):
    _, truth, start = cluster(name, pixel=pixel)
    shape = (31, 33)
    light = fg.image(truth * ([1] * (truth.shape[1] - 1) + [0]), shape, name, pixel).sum(axis=0)
    result = fg.fit_joint(light + 10.0, start[:, 2:0:-1], name, guess=start, box=BOX, pixel=pixel)
    assert_allclose(result.render(shape, box=BOX), light + 10.0, atol=2e-3)


def test_render_refuses_what_does_not_fit():
    result = fg.fit_joint(IMAGE, np.empty((0, 2)))
    for shape in [(7,), (7, 8, 9), 7]:
        with pytest.raises((TypeError, ValueError), match="shape"):
            result.render(shape)
    with pytest.raises(ValueError, match="background"):
        result.render((7, 8), np.ones(7))
    with pytest.raises(TypeError, match="background"):
        result.render((7, 8), "local")


def test_what_has_no_meaning_beside_a_known_background_is_refused():
    image = np.ones((24, 24))
    places = [[10.0, 10.0], [12.0, 11.0]]
    with pytest.raises(ValueError, match="bounds must not hold the offset"):
        fg.fit_joint(image, places, background=1.0, bounds={"offset": (0.0, 5.0)})
    with pytest.raises(ValueError, match=r"fixed\['offset'\] must be a number"):
        fg.fit_joint(image, places, fixed={"offset": [1.0, 2.0]})


@compiled
def test_progress_never_goes_back_and_ends_with_all():
    image, _, start = cluster(count=2)
    calls = []
    fg.fit_joint(image, start[:, 2:0:-1], progress=lambda done, total: calls.append((done, total)))
    done = [k for k, _ in calls]
    assert len(done) > 2 and done == sorted(done) and calls[-1] == (2, 2)
    assert {total for _, total in calls} == {2}


def test_kernels_get_arrays_of_one_kind():
    """numba compiles once more for arrays that cannot be written to."""
    given = {"image": IMAGE.copy(), "weights": IMAGE.copy(), "background": IMAGE.copy()}
    for array in given.values():
        array.flags.writeable = False
    image, weights, background = given.values()
    picture, _ = read_picture(image, [[5.0, 5.0]], None, "lsq", weights, None, None)
    for level in (background, 3.0):
        _, background = read_background(level, image.shape, None)
        for flat in (picture.data, picture.second, background):
            assert flat.flags.carray and flat.dtype == np.float64
    assert not np.shares_memory(picture.data, image)
    own = IMAGE.copy()
    picture, _ = read_picture(own, [[5.0, 5.0]], None, "lsq", None, None, None)
    assert np.shares_memory(picture.data, own)  # read in place
