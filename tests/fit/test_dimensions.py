"""Profiles and volumes, and what must not depend on the split of the work."""

import naive_fit
import numpy as np
import pytest
from naive_fit import CASES
from numpy.testing import assert_allclose, assert_array_equal
from tolerances import TOLERANCE

import fastgauss as fg
from fastgauss.kernels._compile import JIT_DISABLED

COUNT = 1 if JIT_DISABLED else 4
FIELDS = ("params", "covariance", "objective", "status", "iterations", "pixels", "dof")
METHODS = {
    "lsq": {},
    "weights": {"weights": 0.05},
    "mle": {"method": "mle"},
    "camera": {"method": "mle", "variance": 5.0},
}


def _profiles(rng, coords, count):
    """Poisson profiles at any abscissae (count, x), and their parameters."""
    low, high = coords.min(axis=1), coords.max(axis=1)
    width = (high - low) / 10
    middle = (low + high) / 2 + width * rng.uniform(-0.5, 0.5, count)
    truth = np.stack([np.full(count, 400.0), middle, width, np.full(count, 20.0)], axis=1)
    return rng.poisson(fg.evaluate(coords, truth[:, np.newaxis])).astype(np.float64), truth


def _coords(rng, kind, count):
    """Abscissae as a call takes them, and one row of them for each profile."""
    given = {
        "spaced": np.linspace(-3.0, 4.0, 25),
        "far": np.arange(25.0) + 1000.0,
        "fine": 1e-6 * np.arange(25.0),
        "coarse": 1e6 * np.arange(25.0),
        "uneven": np.cumsum(rng.uniform(0.2, 2.0, 25)),
        "unsorted": rng.permutation(25) - 12.0,
        "descending": np.arange(25.0)[::-1],
        "repeated": np.repeat(np.arange(13.0), 2)[:25],
        "each": np.cumsum(rng.uniform(0.2, 2.0, (count, 25)), axis=1),
        "each, unsorted": rng.uniform(0, 20, (count, 25)),
        "integers": np.arange(25, dtype=np.int16) - 5,
    }[kind]
    return given, np.broadcast_to(given, (count, 25)).astype(np.float64)


KINDS = ["spaced", "far", "fine", "coarse", "uneven", "unsorted", "descending", "repeated",
         "each", "each, unsorted", "integers"]  # fmt: skip


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", KINDS)
def test_profiles_at_any_abscissae_are_those_of_the_twin(kind, method):
    rng = np.random.default_rng(1)
    coords, each = _coords(rng, kind, COUNT)
    rois, truth = _profiles(rng, each, COUNT)
    own = {k: v if isinstance(v, str) else np.full(25, v) for k, v in METHODS[method].items()}
    result = fg.fit_rois(rois, coords=coords, **own)
    naive_fit.assert_fits(result, rois, truth, "symmetric",
                          lambda k: {"coords": each[k], **own})  # fmt: skip


def test_the_order_of_the_points_does_not_matter():
    rng = np.random.default_rng(2)
    coords = np.linspace(-3, 4, 25)
    rois, _ = _profiles(rng, np.tile(coords, (4, 1)), 4)
    rois[1, 3] = np.nan
    order = np.stack([rng.permutation(25) for _ in range(4)])
    shuffled = np.take_along_axis(rois, order, axis=1)
    for own, rows in (({}, slice(None)), ({"method": "mle"}, slice(None)),
                      ({"fixed": {"sigma": 0.7}}, slice(2, None))):  # fmt: skip
        sorted_ = fg.fit_rois(rois[rows], coords=coords, **own)
        result = fg.fit_rois(shuffled[rows], coords=coords[order][rows], **own)
        assert (result.status == 0).all()
        assert_allclose(result.params, sorted_.params, rtol=1e-6)
        assert_allclose(result.errors, sorted_.errors, rtol=TOLERANCE["fit errors"])


def test_coords_are_pixels_unless_given():
    rng = np.random.default_rng(3)
    rois, _ = _profiles(rng, np.tile(np.arange(20.0), (4, 1)), 4)
    plain = fg.fit_rois(rois)
    assert plain.names == ("amplitude", "x", "sigma", "offset") and plain.converged.all()
    for coords in (np.arange(20), np.arange(20.0).tolist(), np.tile(np.arange(20.0), (4, 1))):
        given = fg.fit_rois(rois, coords=coords)
        assert_allclose(given.params, plain.params, rtol=TOLERANCE["fit, default tol"])
        assert_allclose(given.errors, plain.errors, rtol=TOLERANCE["fit errors"])
    for model in ("elliptic", "rotated"):
        with pytest.raises(ValueError, match="are profiles"):
            fg.fit_rois(rois, model)
    assert_allclose(plain.flux, plain.amplitude * plain.sigma * np.sqrt(2 * np.pi))
    assert plain.positions.shape == (4, 1)


def test_a_peak_outside_the_points_says_so():
    x = np.linspace(100.0, 110.0, 41)
    rois = fg.evaluate(x, [[50.0, 105.0, 1.0, 3.0], [50.0, 111.5, 2.0, 3.0]][0])[np.newaxis]
    beyond = fg.evaluate(x, [50.0, 111.5, 2.0, 3.0])[np.newaxis]
    result = fg.fit_rois(np.concatenate([rois, beyond]), coords=x, max_iter=200)
    assert result.status.tolist() == [fg.Status.CONVERGED, fg.Status.OUTSIDE]
    assert_allclose(result.x, [105.0, 111.5], rtol=1e-6)


@pytest.mark.parametrize("method", ["lsq", "mle"])
@pytest.mark.parametrize("pixel", ["sample", "integrate"])
@pytest.mark.parametrize(("name", "shape"), CASES)
def test_without_noise_the_truth_comes_back(name, shape, pixel, method):
    _, truth = naive_fit.poisson_spots(np.random.default_rng(4), 2, shape, name)
    rois = fg.image(truth, shape, name, pixel)
    result = fg.fit_rois(rois, name, pixel=pixel, method=method, tol=1e-9, max_iter=200)
    assert_allclose(result.params, truth, rtol=1e-6)
    assert result.converged.all()
    guided = fg.fit_rois(rois, name, pixel=pixel, method=method, guess=truth)
    assert_allclose(guided.params, truth, rtol=1e-6)


def test_the_axes_of_a_volume_are_z_y_x():
    truth = np.array([[100.0, 7.3, 4.6, 2.8, 1.9, 1.5, 1.1, 5.0]])
    rois = fg.image(truth, (6, 9, 14), "elliptic")
    result = fg.fit_rois(rois, "elliptic")
    assert_allclose(result.params, truth, rtol=1e-7)
    assert_allclose(result.positions, [[2.8, 4.6, 7.3]], rtol=1e-7)
    assert_allclose(result.sigma_z, [1.1], rtol=1e-7)
    volume = (2 * np.pi) ** 1.5 * 1.9 * 1.5 * 1.1
    assert_allclose(result.flux, [100 * volume], rtol=1e-6)
    rotated = fg.fit_rois(rois.transpose(0, 3, 1, 2), "elliptic")
    assert_allclose(rotated.params[0, 1:7], truth[0, [2, 3, 1, 5, 6, 4]], rtol=1e-7)


@pytest.mark.parametrize("dtype", ["u2", "f4", ">f4", "i4", "u1", "?"])
@pytest.mark.parametrize("kind", ["weights", "mle", "camera"])
@pytest.mark.parametrize(("name", "shape"), CASES[:2] if JIT_DISABLED else (*CASES[:2], CASES[4]))
def test_any_dtype_and_layout_is_read(name, shape, kind, dtype):
    """What is read as it is, float32, is another kernel, which other tests share."""
    rois, _ = naive_fit.poisson_spots(np.random.default_rng(5), 3, shape, name)
    data = (rois > 60) if dtype == "?" else rois.astype(dtype)
    numbers = np.linspace(1, 2, rois[0].size, dtype=np.float32).reshape(shape)
    own = {k: v if isinstance(v, str) else numbers for k, v in METHODS[kind].items()}
    wide = {k: v if isinstance(v, str) else v.astype(np.float64) for k, v in own.items()}
    expected = fg.fit_rois(data.astype(np.float64), name, **wide)
    assert_array_equal(fg.fit_rois(data, name, **own).params, expected.params)
    strided = np.repeat(data, 2, axis=-1)[..., ::2]
    strided.flags.writeable = False
    assert_array_equal(fg.fit_rois(strided, name, **wide).params, expected.params)


def _everything(rng, kind, rois, truth, names, bounded):
    """Options of all sorts, one number or map a ROI, as functions of the rows."""
    n = len(rois)
    width = next(k for k, key in enumerate(names) if key.startswith("sigma"))
    fixed = truth[:, -1] * 1.02
    low, high = truth[:, width] * 0.97, truth[:, width] * rng.uniform(0.98, 1.2, n)
    mask = rng.random(rois.shape) < 0.05
    guess = truth * rng.uniform(0.97, 1.03, truth.shape)
    maps = rng.uniform(1, 5, rois.shape)

    def options(rows):
        own = {"mask": mask[rows], "guess": guess[rows]}
        if bounded:
            own["fixed"] = {"offset": fixed[rows]}
            own["bounds"] = {names[width]: (low[rows], high[rows]), "x": (None, 1e3)}
        return (
            own
            | {
                "lsq": {},
                "weights": {"weights": maps[rows], "covariance": "residual"},
                "mle": {"method": "mle"},
                "camera": {"method": "mle", "variance": maps[rows]},
            }[kind]
        )

    return options


@pytest.mark.parametrize("pixel", ["sample", "integrate"])
@pytest.mark.parametrize("kind", METHODS)
@pytest.mark.parametrize(("name", "shape"), CASES[1:2] if JIT_DISABLED else CASES)
def test_any_split_and_thread_count_gives_the_same_bits(name, shape, kind, pixel):
    rng = np.random.default_rng(6)
    n = 20 if JIT_DISABLED else 2500
    rois, truth = naive_fit.poisson_spots(rng, n, shape, name, pixel)
    names = fg.models.get_model(name, len(shape)).names
    bounded = shape in ((9, 8), (8, 10))  # other tests compile the bounded fits of these
    options = _everything(rng, kind, rois, truth, names, bounded)
    corner = (0,) * len(shape)
    rois[3] = np.nan
    rois[5][corner] = np.inf
    rois[9][corner] = 1e6
    rois[11] = 7.0

    def fit(rows, threads=None):
        return fg.fit_rois(rois[rows], name, pixel=pixel, threads=threads, **options(rows))

    whole = fit(slice(None), 1)
    assert {0, int(fg.Status.AT_BOUND if bounded else fg.Status.NOT_FINITE)} <= set(whole.status)
    last = n - 3
    for field in FIELDS:
        expected = getattr(whole, field)
        for a, b in ((0, 1), (1, 14), (last, n)):
            assert_array_equal(getattr(fit(slice(a, b)), field), expected[a:b], field)
        for k in (2, 4, 10, last):
            assert_array_equal(getattr(fit(slice(k, k + 1)), field), expected[k : k + 1], field)
    for threads in (2,) if JIT_DISABLED else (2, 5):
        again = fit(slice(None), threads)
        for field in FIELDS:
            assert_array_equal(getattr(again, field), getattr(whole, field), field)


def test_coords_of_each_profile_stay_with_it():
    rng = np.random.default_rng(7)
    n = 30 if JIT_DISABLED else 5000
    coords = np.cumsum(rng.uniform(0.5, 1.5, (n, 17)), axis=1)
    rois, _ = _profiles(rng, coords, n)
    whole = fg.fit_rois(rois, coords=coords, threads=1)
    threaded = fg.fit_rois(rois, coords=coords, threads=3)
    assert whole.converged.mean() > 0.99
    for field in FIELDS:
        assert_array_equal(getattr(threaded, field), getattr(whole, field))
        for k in (0, 7, 8, n - 1):
            alone = fg.fit_rois(rois[k : k + 1], coords=coords[k])
            assert_array_equal(getattr(alone, field)[0], getattr(whole, field)[k])


def test_spots_of_a_volume():
    rng = np.random.default_rng(8)
    centres = np.array([[5.2, 12.3, 8.6], [1.1, 6.8, 24.9], [8.8, 25.1, 17.4]])
    truth = [[300.0, x, y, z, 1.2, 0.0] for z, y, x in centres]
    clean = 10 + fg.image(truth, (12, 30, 32), "symmetric").sum(axis=0)
    exact = fg.fit_spots(clean, centres.round(), box=7)
    assert_allclose(exact.positions, centres, rtol=1e-6)
    image = rng.poisson(clean).astype(np.float64)
    for own in ({}, {"method": "mle"}, {"method": "mle", "pixel": "integrate"}):
        for box in (7, (5, 7, 9)):
            result = fg.fit_spots(image, centres, "elliptic", box=box, **own)
            assert result.converged.all()
            pull = (result.positions - centres) / result.errors[:, 3:0:-1]
            assert (abs(pull) < 5).all()
    image = image.astype(np.uint32)
    found = fg.fit_spots(image, box=7, sigma=1.2)
    expected = fg.fit_spots(image, fg.find_spots(image, 1.2), box=7, sigma=1.2)
    assert_array_equal(found.params, expected.params)
    assert sorted(found.x[:3].round().tolist()) == [9.0, 17.0, 25.0]
    ends = fg.fit_spots(image, [[5.2, 12.3, 8.6], [-40.0, 0.0, 0.0]], box=7)
    assert ends.status.tolist() == [0, fg.Status.TOO_FEW_PIXELS]
    assert_array_equal(ends.params[0], fg.fit_spots(image, centres[:1], box=7).params[0])


def test_nothing_at_all_gives_an_empty_result():
    for ndim, size in ((1, 4), (2, 5), (3, 6)):
        shape = (0, *(7,) * ndim)
        result = fg.fit_rois(np.empty(shape), method="mle", variance=np.ones(shape[1:]),
                             fixed={"sigma": np.empty(0)}, bounds={"x": (0.0, None)})  # fmt: skip
        assert result.params.shape == (0, size) and len(result.p_value) == 0
        assert result.pixels.dtype.kind == "i" and "(symmetric, 0 " in repr(result)
    assert len(fg.fit_rois(np.empty((0, 9)), coords=np.empty((0, 9)))) == 0


def test_new_columns_are_in_the_tables():
    rois, _ = naive_fit.poisson_spots(np.random.default_rng(9), 3, (15,), "symmetric")
    result = fg.fit_rois(rois, method="mle")
    assert {"pixels", "dof"} <= set(result.to_dict())
    assert_array_equal(result.to_structured()["dof"], result.dof)


@pytest.mark.parametrize(
    ("rois", "arguments", "error", "word"),
    [
        (np.ones((2, 9)), {"coords": np.arange(8.0)}, ValueError, "coords"),
        (np.ones((2, 9)), {"coords": np.ones((3, 9))}, ValueError, "coords"),
        (np.ones((2, 9)), {"coords": np.ones((2, 1, 9))}, ValueError, "coords"),
        (np.ones((2, 9)), {"coords": 3.0}, ValueError, "coords"),
        (np.ones((2, 9)), {"coords": np.full(9, np.nan)}, ValueError, "coords"),
        (np.ones((2, 9)), {"coords": [np.inf, *range(8)]}, ValueError, "coords"),
        (np.ones((2, 9)), {"coords": "x"}, TypeError, "coords"),
        (np.ones((2, 9)), {"coords": np.arange(9.0), "pixel": "integrate"}, ValueError, "coords"),
        (np.ones((2, 9, 9)), {"coords": np.arange(9.0)}, ValueError, "coords"),
        (np.ones((2, 9, 9, 9)), {"coords": np.arange(9.0)}, ValueError, "coords"),
        (np.ones((2, 9, 9, 9)), {"model": "rotated"}, ValueError, "model"),
        (np.ones((2, 9)), {"model": "round"}, ValueError, "model"),
        (np.ones((2, 9)), {"guess": np.ones(5)}, ValueError, "guess"),
        (np.ones((2, 9)), {"fixed": {"y": 1.0}}, ValueError, "fixed"),
        (np.ones((2, 9)), {"fixed": {"sigma_x": 1.0}}, ValueError, "fixed"),
        (np.ones((2, 9)), {"weights": np.ones(2)}, ValueError, "weights"),
        (np.ones((2, 9, 9, 9)), {"weights": np.ones((9, 9))}, ValueError, "weights"),
        (np.ones(9), {}, ValueError, "rois"),
        (np.ones((2, 3, 4, 5, 6)), {}, ValueError, "rois"),
    ],
)
def test_bad_input_is_named(rois, arguments, error, word):
    with pytest.raises(error, match=word):
        fg.fit_rois(rois, **arguments)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"positions": [[9.0, 9.0]]}, "positions"),
        ({"model": "rotated"}, "model"),
        ({"box": (3, 4)}, "box"),
        ({"image": np.ones((3, 3, 3, 3))}, "image"),
    ],
)
def test_bad_input_of_volumes_is_named(arguments, word):
    arguments = {"image": np.ones((12, 12, 12)), "positions": [[5.0, 5.0, 5.0]], **arguments}
    with pytest.raises(ValueError, match=word):
        fg.fit_spots(**arguments)
