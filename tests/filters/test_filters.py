"""Filters and windows against scipy, their twins, and what may be given."""

import naive_filters as naive
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy import ndimage, signal
from tolerances import TOLERANCE

import fastgauss as fg
from fastgauss.filters import fft, separable, taps
from fastgauss.kernels._compile import JIT_DISABLED

MODES = ("reflect", "constant", "nearest", "mirror", "wrap")
ALIASES = {"grid-mirror": "reflect", "grid-constant": "constant", "grid-wrap": "wrap"}
compiled = pytest.mark.skipif(JIT_DISABLED, reason="many elements")


def noise(shape, dtype="d", seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def close(result, expected, array, gains, cval=0.0, kind="filter"):
    """Within the table's units of the last place of the largest that could come out."""
    units = TOLERANCE["ulp of gain"][kind]
    largest, peak = naive.bound(np.asarray(array, float), cval, gains)
    eps = np.finfo(result.dtype).eps
    bound = units * eps * max(largest, gains[-1] * peak if len(gains) > 1 else largest)
    assert_allclose(result, expected, rtol=0, atol=bound)


# -- against scipy -----------------------------------------------------------------------------


@st.composite
def jobs(draw):
    """An array, and arguments that scipy understands too."""
    ndim = draw(st.integers(1, 4))
    most = {1: 90, 2: 40, 3: 20, 4: 6}[ndim] // (3 if JIT_DISABLED else 1)
    shape = tuple(draw(st.lists(st.integers(1, max(most, 3)), min_size=ndim, max_size=ndim)))
    many = st.booleans()
    sigma = st.sampled_from([0.0, 0.4, 1.0, 2.3, 5.0])
    order, mode = st.integers(0, 3), st.sampled_from(MODES + tuple(ALIASES))

    def one_or_each(values):
        return draw(st.lists(values, min_size=ndim, max_size=ndim) if draw(many) else values)

    options = {
        "sigma": one_or_each(sigma),
        "order": one_or_each(order),
        "mode": one_or_each(mode),
        "cval": draw(st.sampled_from([0.0, -1.5])),
        "truncate": draw(st.sampled_from([4.0, 2.5])),
    }
    return noise(shape, draw(st.sampled_from("fd")), draw(st.integers(0, 2**32))), options


def gains_of(array, sigma, order, truncate=4.0, **_):
    """One an axis, of the axes that are filtered."""
    pairs = zip(*(np.broadcast_to(v, array.ndim) for v in (sigma, order)), strict=True)
    return [naive.gain(s, m, truncate) if s > 0 else 1.0 for s, m in pairs]


@settings(max_examples=20 if JIT_DISABLED else 250, deadline=None)
@given(jobs(), st.sampled_from(["direct", "fft"]))
def test_filter_is_scipys(job, method):
    array, options = job
    expected = ndimage.gaussian_filter(array.astype("d"), **options)
    result = fg.gaussian_filter(array, **options, method=method)
    assert result.dtype == array.dtype
    gains = gains_of(array, **options)
    close(result, expected, array, gains, options["cval"], method)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", ["f", "d"])
@pytest.mark.parametrize(
    ("name", "order"), [("gaussian_laplace", 2), ("gaussian_gradient_magnitude", 1)]
)
def test_derivatives_are_scipys(name, order, dtype, mode):
    for shape in [(30,), (17, 21), (7, 9, 8), (3, 4, 3, 4)][: 2 if JIT_DISABLED else 4]:
        array = noise(shape, dtype)
        for sigma in (1.0, 1.7):
            expected = getattr(ndimage, name)(array.astype("d"), sigma, mode=mode, cval=0.5)
            result = getattr(fg, name)(array, sigma, mode=mode, cval=0.5)
            gains = [naive.gain(sigma, order), *[1.0] * (len(shape) - 1), len(shape)]
            close(result, expected, array, gains, 0.5)


@pytest.mark.parametrize("dtype", ["f", "d"])
def test_difference_of_gaussians(dtype):
    for shape in [(40,), (20, 23), (5, 9, 12), (2, 3, 4, 5)][: 2 if JIT_DISABLED else 4]:
        array = noise(shape, dtype)
        double = array.astype("d")
        expected = ndimage.gaussian_filter(double, 1.0) - ndimage.gaussian_filter(double, 1.6)
        close(fg.difference_of_gaussians(array, 1.0), expected, array, [2.0])
        expected = ndimage.gaussian_filter(double, 1.0, mode="wrap") - ndimage.gaussian_filter(
            double, 2.0, mode="wrap"
        )
        result = fg.difference_of_gaussians(array, 1.0, 2.0, mode="wrap")
        close(result, expected, array, [2.0])


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("order", [0, 1, 2])
def test_filter_is_its_twin(mode, order):
    array = noise((6, 9))
    for sigma in (0.7, 1.2, 3.0):
        expected = naive.gaussian_filter(array, sigma, order, mode, 0.3)
        gains = [naive.gain(sigma, order)] * 2
        for method in ("direct", "fft"):
            result = fg.gaussian_filter(array, sigma, order, mode, 0.3, method=method)
            close(result, expected, array, gains, 0.3, method)


def test_axes_radius_and_sequences_mean_what_they_mean_in_scipy():
    array = noise((7, 8, 9))
    for options in (
        {"sigma": 1.1, "axes": 1},
        {"sigma": 1.1, "axes": (0, -1)},
        {"sigma": (1.1, 0.6), "axes": (2, 0), "order": (1, 0), "mode": ("wrap", "constant")},
        {"sigma": 2.0, "radius": 3},
        {"sigma": (2.0, 1.0, 0.5), "radius": (3, 0, 9)},
        {"sigma": 1.0, "axes": ()},
    ):
        theirs = options | {"axes": (1,)} if options.get("axes") == 1 else options
        expected = ndimage.gaussian_filter(array, **theirs)
        assert_allclose(fg.gaussian_filter(array, **options), expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("reach", [0, 1, 5, 20])
def test_maps_are_numpys_padding(mode, reach):
    for n in (1, 2, 3, 7):
        expected = np.pad(np.arange(n), reach, mode=naive.PADS[mode], **(
            {"constant_values": -1} if mode == "constant" else {}
        ))  # fmt: skip
        assert_array_equal(taps.axis_map(n, reach, mode), expected)


@pytest.mark.parametrize("mode", ["reflect", "mirror", "wrap"])
def test_transforms_need_no_period(mode, monkeypatch):
    array = noise((7, 12))
    monkeypatch.setattr(fft, "_PERIODS", {})  # as for a mode that is not periodic: it is padded
    for sigma in (0.7, 2.0, 9.0):
        expected = naive.gaussian_filter(array, sigma, 1, mode)
        result = fg.gaussian_filter(array, sigma, 1, mode, method="fft")
        close(result, expected, array, [naive.gain(sigma, 1)] * 2, 0.0, "fft")


# -- how it is computed ------------------------------------------------------------------------


@compiled
@pytest.mark.parametrize("dtype", ["f", "d"])
def test_bits_do_not_depend_on_threads_or_pieces(dtype, monkeypatch):
    for shape in ((400, 333), (20, 90, 101), (3, 40_000), (3, 4, 50, 60)):
        array = noise(shape, dtype)
        expected = fg.gaussian_filter(array, 2.0, threads=1)
        for small, lines, longest in ((1, 1 << 14, 1 << 14), (1, 300, 50), (1e9, 2000, 1 << 20)):
            monkeypatch.setattr(separable, "_SMALL", small)
            monkeypatch.setattr(separable, "_LINES", lines)
            monkeypatch.setattr(separable, "_LONGEST", longest)
            for threads in (1, 2, 5):
                assert_array_equal(fg.gaussian_filter(array, 2.0, threads=threads), expected)
        swapped = array.astype(array.dtype.newbyteorder())
        assert_array_equal(fg.gaussian_filter(swapped, 2.0), expected)
        monkeypatch.undo()


@pytest.mark.parametrize(("shape", "dtype"), [((19, 45), "f"), ((3, 9, 37), "d")])
def test_all_ways_of_a_filter_have_the_same_bits(shape, dtype, monkeypatch):
    """Rows are transposed or filtered as they lie, by the kernel for planes or that for all."""
    array = noise(shape, dtype)
    jobs = [
        lambda: fg.gaussian_filter(array, [0.0, 1.2, 0.8][-array.ndim :], threads=1),
        lambda: fg.gaussian_filter(array, 1.0, order=1, mode="constant", cval=2.5, threads=1),
        lambda: fg.gaussian_filter(array, 1.0, mode="wrap", mask=array > 1, threads=1),
        lambda: fg.gaussian_laplace(array, 1.3, threads=1),
        lambda: fg.gaussian_gradient_magnitude(array, 1.3, mode="mirror", threads=1),
    ]
    results = []
    for reach, planes in (
        (0, None),
        (1000, separable.kernels.correlate_planes),
        (1000, separable.kernels.correlate),
    ):
        monkeypatch.setattr(separable, "_DIRECT_REACH", reach)
        monkeypatch.setattr(separable.kernels, "correlate_planes", planes)
        separable._divide_again.cache_clear()
        results.append([job() for job in jobs])
    separable._divide_again.cache_clear()
    for transposed, direct, by_other_kernel in zip(*results, strict=True):
        assert_array_equal(direct, transposed)
        assert_array_equal(by_other_kernel, transposed)
        assert np.isfinite(direct).all()


@compiled
def test_long_filters_are_transformed_and_stay_scipys():
    array = noise((300, 2))
    for mode in MODES:
        expected = ndimage.gaussian_filter1d(array, 200.0, axis=0, mode=mode, cval=0.2)
        result = fg.gaussian_filter(array, (200.0, 0.0), mode=mode, cval=0.2)
        assert_array_equal(
            result, fg.gaussian_filter(array, (200.0, 0.0), mode=mode, cval=0.2, method="fft")
        )
        close(result, expected, array, [1.0], 0.2, "fft")
    array[7] = np.inf  # which transforms would spread over everything
    result = fg.gaussian_filter(array, (200.0, 0.0), radius=760, mode="constant")
    assert np.all(result == np.inf)
    array[7] = np.nan
    direct = fg.gaussian_filter(array, (2.0, 0.0), method="direct")
    assert_array_equal(np.isnan(direct[:, 0]), np.abs(np.arange(300) - 7) <= 8)


@compiled
def test_a_filter_of_astronomic_width_takes_no_time():
    array = noise((20, 30))
    result = fg.gaussian_filter(array, 1e5)
    assert_allclose(result, array.mean(), rtol=0, atol=1e-5)


# -- missing elements --------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["f", "d", "i4"])
@pytest.mark.parametrize("mode", MODES)
def test_missing_elements_do_not_count(dtype, mode):
    for shape in [(40,), (12, 19), (5, 6, 7), (3, 2, 4, 5)][: 2 if JIT_DISABLED else 4]:
        array = (100 * noise(shape)).astype(dtype)
        missing = noise(shape, seed=1) > 0.3
        missing.reshape(-1)[: missing.size // 2] = True
        expected = naive.mean_of_existing(array, missing, 0.8, mode)
        result = fg.gaussian_filter(array, 0.8, mode=mode, mask=missing)
        assert result.dtype == (np.float32 if dtype == "f" else np.float64)
        atol = 20 * np.finfo(result.dtype).eps * np.abs(array).max()
        assert_allclose(result, expected, rtol=0, atol=atol)
        if dtype != "i4":
            array[missing] = np.nan
            again = fg.gaussian_filter(array, 0.8, mode=mode, nan_policy="omit")
            assert_array_equal(again, result)
            assert np.isnan(fg.gaussian_filter(array, 0.8, mode=mode)).any()


def test_a_constant_stays_one_around_what_is_missing():
    array = np.full((30, 30), 7.0)
    mask = np.zeros((30, 30), bool)
    mask[10:22, 8:25] = True
    array[mask] = 1e300
    result = fg.gaussian_filter(array, 1.5, mask=mask)
    assert_allclose(result[np.isfinite(result)], 7.0, rtol=1e-14)
    assert np.isnan(result).sum() == 0  # twelve rows: all within six of something
    assert np.isnan(fg.gaussian_filter(array, 0.5, mask=mask)).any()


# -- what may be given -------------------------------------------------------------------------

READINGS = {
    "float16": lambda a: a.astype(np.float16),
    "longdouble": lambda a: a.astype(np.longdouble),
    "swapped": lambda a: a.astype(">f8"),
    "int16": lambda a: a.astype("i2"),
    "uint64": lambda a: abs(a).astype("u8"),
    "bool": lambda a: a > 2,
    "Fortran": np.asfortranarray,
    "reversed": lambda a: a[::-1, ::-1],
    "strided": lambda a: np.repeat(a, 2, axis=1)[:, ::2],
    "broadcast": lambda a: np.broadcast_to(a[0], a.shape),
    "unaligned": lambda a: np.frombuffer(b"x" + a.tobytes(), "u1")[1:].view("f8").reshape(a.shape),
    "list": lambda a: a.tolist(),
}


@pytest.mark.parametrize("reading", READINGS)
def test_arrays_of_any_real_dtype_and_layout(reading):
    given = READINGS[reading](10 * noise((12, 14)))
    before = np.array(given)
    plain = np.array(given, dtype="d")
    result = fg.gaussian_filter(given, 1.0)
    assert result.dtype == (np.float32 if reading == "float16" else np.float64)
    eps = np.finfo(result.dtype).eps
    expected = ndimage.gaussian_filter(plain, 1.0)
    assert_allclose(result, expected, rtol=0, atol=4 * eps * abs(plain).max())
    assert_array_equal(np.array(given), before)


def test_read_only_images_are_read():
    array = noise((9, 9))
    array.flags.writeable = False
    expected = ndimage.gaussian_filter(array, 1.0)
    assert_allclose(fg.gaussian_filter(array, 1.0), expected, rtol=0, atol=1e-15 * 4)


def test_out_may_be_any_array_or_a_dtype():
    array = noise((11, 13))
    expected = fg.gaussian_filter(array, 1.0)
    for out in (
        np.empty((11, 13)),
        np.empty((13, 11)).T,
        np.empty((11, 26))[:, ::2],
        array.copy(),
    ):
        assert fg.gaussian_filter(array, 1.0, out=out) is out
        assert_array_equal(out, expected)
    own = array.copy()
    assert_array_equal(fg.gaussian_filter(own, 1.0, out=own), expected)
    assert fg.gaussian_filter(array, 1.0, out=np.float32).dtype == np.float32
    narrow = fg.gaussian_filter(array.astype("f"), 1.0, out="float64")
    assert_allclose(narrow, expected, rtol=0, atol=1e-6)
    own = array.astype("f")
    fg.gaussian_filter(own, 1.0, nan_policy="omit", out=own)
    assert_allclose(own, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("shape", [(0,), (0, 5), (5, 0), (3, 0, 2), (0, 2, 3, 4)])
def test_empty_arrays(shape):
    for name in ("gaussian_filter", "gaussian_laplace", "gaussian_gradient_magnitude"):
        assert getattr(fg, name)(np.empty(shape), 1.0).shape == shape
    assert fg.gaussian_filter(np.empty(shape), 1.0, mask=np.zeros(shape, bool)).shape == shape


BAD = [
    ({"image": 3.0}, ValueError, "image must have one dimension"),
    ({"image": [1j]}, TypeError, "image must hold real numbers"),
    ({"image": np.array([object()])}, TypeError, "image must hold real numbers"),
    ({"sigma": -1.0}, ValueError, "sigma must be"),
    ({"sigma": np.nan}, ValueError, "sigma must be"),
    ({"sigma": (1.0, 2.0, 3.0)}, ValueError, "sigma must be one or a sequence of 2"),
    ({"sigma": "a"}, TypeError, "sigma must be a real number"),
    ({"sigma": 1e30}, ValueError, "radius must be at most"),
    ({"order": -1}, ValueError, "order must be at least 0"),
    ({"order": 1.5}, TypeError, "order must be an integer"),
    ({"mode": "symmetric"}, ValueError, "mode must be one of"),
    ({"mode": ("wrap",)}, ValueError, "mode must be one or a sequence"),
    ({"cval": "0"}, TypeError, "cval must be a real number"),
    ({"truncate": -1}, ValueError, "truncate must be"),
    ({"radius": -1}, ValueError, "radius must be at least 0"),
    ({"radius": 1 << 40}, ValueError, "radius must be at most"),
    ({"axes": 2}, ValueError, "axes must be between"),
    ({"axes": (0, -2)}, ValueError, "axes must differ"),
    ({"out": np.empty((3, 3))}, ValueError, "out must have shape"),
    ({"out": np.int32}, TypeError, "out must be of dtype"),
    ({"out": "nonsense"}, TypeError, "out must be an array or a dtype"),
    ({"out": np.empty((4, 5), int)}, TypeError, "out must be of dtype"),
    ({"mask": np.zeros((4, 5))}, TypeError, "mask must be boolean, True where there are no data"),
    ({"mask": np.zeros((3, 5), bool)}, ValueError, "mask must have the image's shape"),
    ({"mask": np.zeros((4, 5), bool), "order": 1}, ValueError, "order must be 0"),
    ({"nan_policy": "omit", "order": 2}, ValueError, "order must be 0"),
    ({"mask": np.zeros((4, 5), bool), "method": "fft"}, ValueError, "method must be"),
    ({"nan_policy": "raise"}, ValueError, "nan_policy must be one of"),
    ({"method": "recursive"}, ValueError, "method must be one of"),
    ({"threads": 0}, ValueError, "threads must be at least 1"),
]


@pytest.mark.parametrize(("bad", "error", "message"), BAD)
def test_bad_input_is_named(bad, error, message):
    out = np.full((4, 5), 9.0)
    arguments = {"image": np.zeros((4, 5)), "sigma": 1.0, "out": out} | bad
    with pytest.raises(error, match=message):
        fg.gaussian_filter(**arguments)
    assert np.all(out == 9.0)


def test_a_constant_beyond_the_ends_may_be_nan():
    result = fg.gaussian_filter(np.ones(30), 1.0, mode="constant", cval=np.nan)
    assert_array_equal(np.isnan(result), [True] * 4 + [False] * 22 + [True] * 4)


# -- windows -----------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 7, 50])
@pytest.mark.parametrize("sigma", [0.3, 1.0, 20.0])
def test_window_is_scipys(n, sigma):
    expected = signal.windows.gaussian(n, sigma)
    window = fg.gaussian_kernel(n, sigma, normalize=False)
    assert_allclose(window, expected, rtol=TOLERANCE["profile"] * 50, atol=1e-300)
    normal = fg.gaussian_kernel((n,), sigma)
    assert_allclose(normal, expected / expected.sum(), rtol=TOLERANCE["profile"] * 50, atol=1e-300)


def test_windows_of_more_axes_are_outer_products():
    one, two = fg.gaussian_kernel(5, 1.0), fg.gaussian_kernel(4, 2.0)
    assert_array_equal(fg.gaussian_kernel((5, 4), (1.0, 2.0)), np.multiply.outer(one, two))
    assert fg.gaussian_kernel((2, 3, 4, 5), 1.0).sum() == pytest.approx(1.0, rel=1e-14)


def test_integrated_window_is_the_mean_over_elements():
    from scipy.special import ndtr

    edges = np.arange(10) - 4.5
    expected = np.diff(ndtr(edges / 0.8)) * np.sqrt(2 * np.pi) * 0.8
    window = fg.gaussian_kernel(9, 0.8, pixel="integrate", normalize=False)
    assert_allclose(window, expected, rtol=0, atol=1e-15)
    normal = fg.gaussian_kernel(9, 0.8, pixel="integrate")
    assert normal.sum() == pytest.approx(1.0, rel=1e-14)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ((0, 1.0), ValueError),
        ((3.5, 1.0), TypeError),
        ((3, 0.0), ValueError),
        (((3, 3), (1.0, 2.0, 3.0)), ValueError),
        ((3, 1.0, "mean"), ValueError),
        ((3, 1.0, "sample", 1), TypeError),
    ],
)
def test_bad_windows_are_refused(arguments, error):
    with pytest.raises(error):
        fg.gaussian_kernel(*arguments)
