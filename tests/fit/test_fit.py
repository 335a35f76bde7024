"""fit_rois: solutions, uncertainties, statuses, and what must not change them."""

import naive_fit
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from tolerances import TOLERANCE

import fastgauss as fg
from fastgauss.fit.chunks import rows_of
from fastgauss.kernels._compile import JIT_DISABLED

MODELS = ("symmetric", "elliptic", "rotated")
COUNT = 5 if JIT_DISABLED else 60


@pytest.mark.parametrize("size", [7, 11, 12])
@pytest.mark.parametrize("name", MODELS)
def test_solutions_are_those_of_scipy(name, size):
    rois, _ = naive_fit.spots(np.random.default_rng(size), COUNT, size, name)
    result = fg.fit_rois(rois, name)
    assert result.converged.all()
    for roi, params in zip(rois, result.params, strict=True):
        expected = naive_fit.fit(roi, params, name)
        assert_allclose(params, expected, rtol=TOLERANCE["fit, default tol"])


@pytest.mark.parametrize("name", MODELS)
def test_objective_and_covariance_are_those_of_the_definition(name):
    rois, _ = naive_fit.spots(np.random.default_rng(1), 9, 11, name)
    result = fg.fit_rois(rois, name)
    for k, roi in enumerate(rois):
        residual = roi - naive_fit.model(result.params[k], roi.shape, name)
        assert_allclose(result.objective[k], (residual**2).sum(), rtol=1e-10)
        expected = naive_fit.covariance(result.params[k], roi, name)
        scale = np.sqrt(np.diag(expected))
        assert_allclose(result.errors[k], scale, rtol=TOLERANCE["fit covariance"])
        assert_allclose(
            result.covariance[k] / np.outer(scale, scale),
            expected / np.outer(scale, scale),
            atol=TOLERANCE["fit covariance"],
        )


@pytest.mark.parametrize("size", [(9, 9), (8, 13), (21, 10)])
@pytest.mark.parametrize("name", MODELS)
def test_without_noise_the_truth_comes_back(name, size):
    rng = np.random.default_rng(5)
    _, truth = naive_fit.spots(rng, 16, min(size), name)
    truth[:, 1] += (size[1] - min(size)) / 2
    truth[:, 2] += (size[0] - min(size)) / 2
    rois = np.stack([naive_fit.model(p, size, name) for p in truth])
    result = fg.fit_rois(rois, name)
    assert result.converged.all()
    assert_allclose(result.params, truth, rtol=1e-10)


@pytest.mark.skipif(JIT_DISABLED, reason="a statistic over thousands of fits")
def test_reported_errors_are_the_scatter_of_the_fits():
    truth = np.array([200.0, 5.2, 4.9, 1.3, 1.8, 10.0])
    clean = naive_fit.model(truth, (11, 11), "elliptic")
    rois = clean + np.random.default_rng(2).normal(0, 5, (20000, 11, 11))
    result = fg.fit_rois(rois, "elliptic")
    assert result.converged.mean() > 0.999
    pull = (result.params - truth) / result.errors
    assert_allclose(pull.std(axis=0), 1.0, atol=0.03)
    assert_allclose(pull.mean(axis=0), 0.0, atol=0.1)


@pytest.mark.parametrize("tilt", np.linspace(-np.pi, np.pi, 13))
def test_rotated_results_are_canonical(tilt):
    truth = [100.0, 7.3, 6.8, 1.2, 2.4, tilt, 5.0]
    roi = naive_fit.model(truth, (15, 15), "rotated")
    result = fg.fit_rois(roi[np.newaxis], "rotated")
    assert result.sigma_x >= result.sigma_y > 0
    assert -np.pi / 2 < result.theta <= np.pi / 2
    rotated = (result.theta[0] - (tilt + np.pi / 2)) / np.pi  # long axis: sigma_y of the truth
    assert abs(rotated - round(rotated)) < 1e-9
    assert_allclose([result.sigma_x[0], result.sigma_y[0]], [2.4, 1.2], rtol=1e-9)


def test_a_round_spot_has_no_angle_but_all_else():
    roi = naive_fit.model([100.0, 5.2, 4.9, 1.5, 8.0], (11, 11), "symmetric")
    roi += np.random.default_rng(0).normal(0, 0.1, roi.shape)
    result = fg.fit_rois(roi[np.newaxis], "rotated")
    assert result.converged.all() and np.isfinite(result.params).all()
    assert result.errors[0, 5] > 0.01 and (result.errors[0, :5] < 0.1).all()


def test_dark_spots_are_fitted_with_a_negative_amplitude():
    rois, _ = naive_fit.spots(np.random.default_rng(3), 8, 11, "symmetric")
    result = fg.fit_rois(300.0 - rois)
    upright = fg.fit_rois(rois)
    assert_allclose(result.amplitude, -upright.amplitude, rtol=1e-7)
    assert_allclose(result.x, upright.x, rtol=1e-7)


@pytest.mark.parametrize("name", MODELS)
def test_any_split_company_and_thread_count_gives_the_same_bits(name):
    rois, _ = naive_fit.spots(np.random.default_rng(4), 40 if JIT_DISABLED else 3000, 9, name)
    rois[7] = np.nan
    rois[11] = 3.0
    rois[17, 4, 4] = 1e5
    whole = fg.fit_rois(rois, name, threads=1)
    parts = [fg.fit_rois(rois[a:b], name) for a, b in ((0, 1), (1, 18), (18, len(rois)))]
    assert_array_equal(whole.params, np.concatenate([p.params for p in parts]))
    alone = [fg.fit_rois(rois[k : k + 1], name) for k in range(6, 20)]
    for field in ("params", "errors", "objective", "status", "iterations"):
        together = getattr(whole[6:20], field)
        assert_array_equal(together, np.concatenate([getattr(r, field) for r in alone]))
        for threads in (2, 3, 8):
            again = fg.fit_rois(rois, name, threads=threads)
            assert_array_equal(getattr(whole, field), getattr(again, field))


def test_statuses_tell_the_truth():
    rois, _ = naive_fit.spots(np.random.default_rng(6), 8, 9, "elliptic")
    rois[1] = np.nan
    rois[2, 0, 0] = np.inf
    rois[3] = 0.0
    rois[4] = 17.5
    rois[5] = naive_fit.model([100.0, 9.8, 4.0, 2.0, 2.0, 1.0], (9, 9), "elliptic")
    result = fg.fit_rois(rois, "elliptic")
    expected = ["CONVERGED", "TOO_FEW_PIXELS", "NOT_FINITE", "SINGULAR", "SINGULAR", "OUTSIDE"]
    assert [fg.Status(s).name for s in result.status[:6]] == expected
    assert result.converged.tolist() == [s == 0 for s in result.status]
    assert np.isnan(result.params[1:3]).all() and np.isnan(result.errors[1:5]).all()
    assert np.isfinite(result.params[3:6]).all()
    assert np.isnan(result.objective[1:3]).all()
    assert all(fg.Status(s).message for s in fg.Status)


def test_few_rounds_say_so_and_more_rounds_go_on():
    rois, _ = naive_fit.spots(np.random.default_rng(7), 8, 9, "rotated")
    result = fg.fit_rois(rois, "rotated", max_iter=2)
    assert (result.status == fg.Status.MAX_ITERATIONS).all() and (result.iterations == 2).all()
    assert np.isfinite(result.params).all()


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (3, 1), (2, 2), (0, 5), (3, 0)])
def test_too_few_pixels_are_a_status(shape):
    result = fg.fit_rois(np.ones((3, *shape)), "rotated")
    if shape[0] * shape[1] < 7:
        assert (result.status == fg.Status.TOO_FEW_PIXELS).all()
        assert np.isnan(result.params).all()
    assert len(result) == 3 and not result.converged.any()


def test_small_rois_are_fitted():
    truth = [100.0, 1.1, 0.9, 0.8, 10.0]
    result = fg.fit_rois(naive_fit.model(truth, (3, 3), "symmetric")[np.newaxis])
    assert_allclose(result.params[0], truth, rtol=1e-6)


@pytest.mark.parametrize("scale", [1e-30, 1e-8, 1e8, 1e30])
def test_the_unit_of_the_data_does_not_matter(scale):
    rois, _ = naive_fit.spots(np.random.default_rng(8), 8, 9, "elliptic")
    plain, scaled = fg.fit_rois(rois, "elliptic"), fg.fit_rois(rois * scale, "elliptic")
    assert scaled.converged.all()
    assert_allclose(scaled.params[:, 1:5], plain.params[:, 1:5], rtol=1e-7)
    assert_allclose(scaled.amplitude, plain.amplitude * scale, rtol=1e-7)
    assert_allclose(scaled.errors[:, 0], plain.errors[:, 0] * scale, rtol=1e-6)


def test_a_pedestal_does_not_matter():
    rois, _ = naive_fit.spots(np.random.default_rng(9), 8, 9, "symmetric")
    plain, raised = fg.fit_rois(rois), fg.fit_rois(rois + 1e6)
    assert raised.converged.all()
    assert_allclose(raised.params[:, :4], plain.params[:, :4], rtol=1e-6)


def test_extreme_widths_end_with_a_true_status():
    spike = np.full((9, 9), 10.0)
    spike[4, 4] = 1000.0
    slope = np.mgrid[:9, :9].sum(axis=0) * 1.0
    wide = naive_fit.model([100.0, 4.0, 4.0, 80.0, 0.0], (9, 9), "symmetric")
    for name in MODELS:
        result = fg.fit_rois(np.stack([spike, slope, wide]), name, max_iter=200)
        assert np.isfinite(result.params).all() and np.isfinite(result.objective).all()
        assert (result.params[:, 3] > 0).all()
    assert_allclose(fg.fit_rois(wide[np.newaxis]).sigma, 80.0, rtol=5e-2)  # to rounding, SINGULAR
    broad = naive_fit.model([100.0, 4.0, 4.0, 20.0, 0.0], (9, 9), "symmetric")
    assert_allclose(fg.fit_rois(broad[np.newaxis]).sigma, 20.0, rtol=1e-4)


@pytest.mark.parametrize(
    "dtype", ["f8", "f4", "f2", "u2", "i2", "u1", "i8", "u8", ">f4", ">u2", "?"]
)
def test_any_real_dtype_is_read(dtype):
    rois, _ = naive_fit.spots(np.random.default_rng(10), 4, 9, "symmetric")
    data = (rois > 60).astype(dtype) if dtype == "?" else rois.astype(dtype)
    expected = fg.fit_rois(data.astype(np.float64))
    assert_array_equal(fg.fit_rois(data).params, expected.params)


@pytest.mark.parametrize("dtype", ["f8", "f4", "i4", ">f8"])
def test_maps_of_pixels_are_arrays_of_one_kind(dtype):
    """numba compiles once more for arrays that cannot be written to, or of another dtype."""
    maps = np.ones((3, 5, 4), dtype)
    rows = rows_of(maps)
    assert np.shares_memory(rows, maps) == (dtype == "f8")  # read in place
    maps.flags.writeable = False
    for array in (
        rows,
        rows_of(maps),
        rows_of(maps[::2]),
        rows_of(np.broadcast_to(maps[:1], (7, 5, 4))),
    ):
        assert array.flags.carray and array.dtype == np.float64 and (array == 1.0).all()
    assert array.shape == (1, 20)  # what is the same for all stays one row


@pytest.mark.parametrize("kind", ["strided", "fortran", "read-only", "reversed", "list"])
def test_any_layout_is_read(kind):
    rois, _ = naive_fit.spots(np.random.default_rng(11), 6, 9, "symmetric")
    expected = fg.fit_rois(rois).params
    if kind == "strided":
        room = np.full((12, 18, 27), np.nan)
        room[::2, ::2, ::3] = rois
        rois = room[::2, ::2, ::3]
    elif kind == "fortran":
        rois = np.asfortranarray(rois)
    elif kind == "read-only":
        rois.flags.writeable = False
    elif kind == "reversed":
        rois = rois[:, ::-1].copy()[:, ::-1]
    else:
        rois = rois.tolist()
    assert_array_equal(fg.fit_rois(rois).params, expected)


@pytest.mark.parametrize("name", MODELS)
def test_a_guess_is_taken(name):
    rois, truth = naive_fit.spots(np.random.default_rng(12), 6, 11, name)
    own = fg.fit_rois(rois, name)
    guided = fg.fit_rois(rois, name, guess=truth)
    assert_allclose(guided.params, own.params, rtol=1e-6)
    assert (guided.iterations <= own.iterations + 1).all()
    shared = fg.fit_rois(rois, name, guess=truth.mean(axis=0))
    assert_allclose(shared.params, own.params, rtol=1e-6)


def test_no_spots_give_an_empty_result():
    result = fg.fit_rois(np.empty((0, 7, 7)), "elliptic")
    assert result.params.shape == (0, 6) and result.covariance.shape == (0, 6, 6)
    assert len(result.to_structured()) == 0 and "0 spots" in repr(result)


@pytest.mark.parametrize(
    ("arguments", "error", "word"),
    [
        ({"rois": np.zeros((2, 7, 7), complex)}, TypeError, "rois"),
        ({"rois": np.array([[["a"]]])}, TypeError, "rois"),
        ({"rois": np.array([None])}, TypeError, "rois"),
        ({"rois": [[[1.0], [2.0, 3.0]]]}, ValueError, "rois"),
        ({"rois": 3.0}, ValueError, "rois"),
        ({"rois": np.zeros(7)}, ValueError, "rois"),
        ({"model": "round"}, ValueError, "model"),
        ({"model": 2}, TypeError, "model"),
        ({"method": "magic"}, ValueError, "method"),
        ({"pixel": "round"}, ValueError, "pixel"),
        ({"tol": 0.0}, ValueError, "tol"),
        ({"tol": np.nan}, ValueError, "tol"),
        ({"tol": "small"}, TypeError, "tol"),
        ({"max_iter": 0}, ValueError, "max_iter"),
        ({"max_iter": 2.5}, TypeError, "max_iter"),
        ({"threads": 0}, ValueError, "threads"),
        ({"threads": True}, TypeError, "threads"),
        ({"progress": 3}, TypeError, "progress"),
        ({"guess": np.zeros(4)}, ValueError, "guess"),
        ({"guess": np.zeros((3, 5))}, ValueError, "guess"),
        ({"guess": [1.0, 3.0, 3.0, -1.0, 0.0]}, ValueError, "guess"),
        ({"guess": [1.0, np.nan, 3.0, 1.0, 0.0]}, ValueError, "guess"),
    ],
)
def test_bad_input_is_named(arguments, error, word):
    arguments = {"rois": np.ones((2, 7, 7)), **arguments}
    with pytest.raises(error, match=word):
        fg.fit_rois(**arguments)


def test_progress_is_told_and_ends_at_the_total():
    rois, _ = naive_fit.spots(np.random.default_rng(13), 20, 7, "symmetric")
    rois = np.tile(rois, (1 if JIT_DISABLED else 400, 1, 1))
    calls = []
    fg.fit_rois(rois, progress=lambda done, total: calls.append((done, total)))
    assert calls[-1] == (len(rois), len(rois))
    assert calls == sorted(calls)
