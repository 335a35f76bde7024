"""Registration in any unit, above any constant, of any brightness, with pixels of absurd values."""

from functools import cache

import naive_register as naive
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

import fastgauss as fg
from fastgauss.kernels._compile import JIT_DISABLED
from fastgauss.register import (
    Status,
    chi2_shift,
    cross_correlate,
    displacement_field,
    inputs,
    shift_from_correlation,
)

compiled = pytest.mark.skipif(JIT_DISABLED, reason="many images")
EXAMPLES = 2 if JIT_DISABLED else 25
N = 48


def align(*images, **options):
    """``align``; in plain Python the search, which takes most of the time, goes less far."""
    return fg.register.align(*images, **{"search": 4.0 if JIT_DISABLED else None, **options})


def views(n, dx, dy, noise, seed=0, power=1.5):
    """Two views of a scene larger than they are."""
    rng = np.random.default_rng(seed)
    spectrum = naive.cloud(2 * n, rng, power)
    images = [naive.scene(spectrum, 2 * n, *d)[:n, :n] for d in ((0, 0), (dx, dy))]
    return [image + rng.normal(0, noise, image.shape) for image in images]


A, B = views(N, -1.7, 2.3, 0.05)


@cache
def usual(boundary):
    return align(A, B, boundary=boundary)


@cache
def usual_of_known_noise():
    return align(A, B, 0.05, 0.05)


def same(shift, plain, tolerance=2e-4):
    """The same displacement, status and errors."""
    assert shift.status == plain.status
    assert_allclose(shift[:2], plain[:2], rtol=0, atol=tolerance)
    size = np.diag(plain.covariance).max()
    assert_allclose(shift.covariance, plain.covariance, rtol=0, atol=0.02 * size)
    assert shift.correlation == pytest.approx(plain.correlation, abs=1e-4)


@compiled
@settings(max_examples=EXAMPLES, deadline=None)
@given(st.integers(-30, 30), st.floats(-3000, 3000), st.sampled_from(["overlap", "wrap"]))
def test_unit_and_level_change_nothing(power, level, boundary):
    unit = 10.0**power
    one, two = ((image + level) * unit for image in (A, B))
    plain = usual(boundary)
    shift = align(one, two, boundary=boundary)
    same(shift, plain)
    assert shift.noise == pytest.approx(plain.noise * unit**2, rel=0.01)
    known = align(one, two, 0.05 * unit, np.full(A.shape, 0.05 * unit))
    same(known, usual_of_known_noise())
    assert known.noise == pytest.approx(usual_of_known_noise().noise, rel=1e-3)


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.integers(-90, 90))
def test_powers_of_two_change_no_bit(power):
    unit = 2.0**power
    for boundary in ("overlap", "wrap"):
        plain = usual(boundary)
        shift = align(unit * A, unit * B, boundary=boundary)
        assert shift[:2] == plain[:2] and shift.status == plain.status
        assert_array_equal(shift.covariance, plain.covariance)


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.sampled_from([-300, -200, -30, 30, 200, 300]))
def test_periodic_shifts_and_correlations_do_not_know_the_unit(power):
    unit = 10.0**power
    assert_allclose(chi2_shift(A * unit, B * unit), chi2_shift(A, B), rtol=1e-6)
    assert_allclose(cross_correlate(A * unit, B * unit), cross_correlate(A, B), atol=1e-9)


@compiled
def test_windows_do_not_know_the_unit():
    a, b = views(96, 2.4, -3.3, 0.05, 3)
    plain = displacement_field(a, b, 32, 16)
    for unit, level in ((1e4, 0.0), (1e-23, 7.0), (1e21, -400.0)):
        field = displacement_field((a + level) * unit, (b + level) * unit, 32, 16)
        assert_array_equal(field.status, plain.status)
        assert_allclose(field.dx, plain.dx, rtol=0, atol=1e-3)
        assert_allclose(field.errors, plain.errors, rtol=0.02)


@compiled
@pytest.mark.parametrize("start", [(3.0, -2.0), (1.4, -2.0), (1.4, -0.4)])
def test_a_far_start_in_any_unit(start):
    """A window that is cut anew on its way."""
    a, b = views(64, 3.0, -2.0, 0.02, 5, 2.0)
    for unit in (1e-6, 1.0, 1e4):
        shift = align(a * unit, b * unit, start=start)
        assert shift.converged
        assert_allclose(shift[:2], (3, -2), rtol=0, atol=0.1)


# -- brightness --------------------------------------------------------------------------------


@compiled
@settings(max_examples=EXAMPLES, deadline=None)
@given(
    st.floats(0.1, 10), st.floats(-100, 100), st.sampled_from(["linear", "offset"]),
    st.sampled_from(["overlap", "wrap"]),
)  # fmt: skip
def test_gain_and_constant_of_the_second_image(gain, constant, brightness, boundary):
    options = {"brightness": brightness, "boundary": boundary}
    shift, plain = align(A, gain * B + constant, **options), usual(boundary)
    same(shift, plain, 1e-3)
    assert shift.noise == pytest.approx(plain.noise, rel=0.02)
    if boundary == "overlap":
        known = align(A, gain * B + constant, 0.05, 0.05 * gain, **options)
        assert known.noise == pytest.approx(1, abs=0.15)
        assert_allclose(known.errors, usual_of_known_noise().errors, rtol=0.05)


@compiled
@pytest.mark.parametrize("gain", [0.1, 0.5, 2.0])
def test_errors_hold_at_any_gain(gain):
    pulls = []
    for seed in range(40):
        truth = np.random.default_rng(seed).uniform(-3, 3, 2)
        a, b = views(48, *truth, 0.05, seed)
        shift = align(a, gain * b)
        assert shift.converged
        pulls += list((shift[:2] - truth) / shift.errors)
    assert 0.8 < np.sqrt(np.mean(np.square(pulls))) < 1.25


@compiled
def test_same_means_the_same():
    shift = align(A, B, brightness="same")
    assert_allclose(shift[:2], usual("overlap")[:2], atol=4 * shift.errors.max())
    assert align(A, B + 0.3, brightness="same").noise > 3 * shift.noise


# -- pixels of absurd values -------------------------------------------------------------------

WILD = (1e20, -1e9, 1e6, 9.96921e36, -1e200, np.inf)[: 2 if JIT_DISABLED else 6]


@pytest.mark.parametrize("value", WILD)
def test_wild_pixels_are_missing(value):
    places = (5, 5), (20, 31), (20, 32), (40, 3)
    bad, holes = A.copy(), np.zeros(A.shape, bool)
    for place in places:
        bad[place], holes[place] = value, True
    shift, expected = align(bad, B), align(A, B, mask=(holes, None))
    same(shift, expected)
    assert shift.pixels == expected.pixels
    assert_allclose(shift[:2], (-1.7, 2.3), rtol=0, atol=0.1)


@compiled
@pytest.mark.parametrize("value", WILD)
def test_wild_pixels_spoil_no_window(value):
    a, b = views(96, 1.3, -2.1, 0.02, 7)
    plain = displacement_field(a, b, 32, 16)
    assert plain.converged.all()
    bad = a.copy()
    bad[4, 4] = bad[60, 50] = value
    field = displacement_field(bad, b, 32, 16)
    assert field.converged.all()
    assert_allclose(field.dx, plain.dx, rtol=0, atol=0.1)
    bad[70:80, 70:85] = value if abs(value) > 1e8 else np.nan
    field = displacement_field(bad, b, 32, 16)
    assert field.converged.mean() > 0.9 and np.median(field.dx) == pytest.approx(1.3, abs=0.02)


def test_bright_stars_are_not_wild():
    y, x = np.indices((48, 48))
    rng = np.random.default_rng(2)

    def sky(dx, dy, sigma):
        star = 1e6 * np.exp(-((x - 20.3 - dx) ** 2 + (y - 25.1 - dy) ** 2) / (2 * sigma**2))
        return star + rng.normal(0, 1, x.shape)

    for sigma in (1.0,) if JIT_DISABLED else (0.6, 1.0, 3.0):
        one, two = sky(0, 0, sigma), sky(1.2, -0.7, sigma)
        assert inputs.read(one, None, None).whole
        shift = align(one, two)
        assert shift.status in (Status.CONVERGED, Status.MAX_ITERATIONS)
        assert_allclose(shift[:2], (1.2, -0.7), rtol=0, atol=0.15)


def test_a_hard_edge_is_not_wild():
    rng = np.random.default_rng(3)
    for noise in (0.0, 1e-9, 1e-2):
        image = rng.normal(0, noise, (40, 40)) if noise else np.zeros((40, 40))
        image[12:24, 14:27] += 1.0
        assert inputs.read(image, None, None).whole


# -- small things ------------------------------------------------------------------------------


def test_negative_errors_are_refused():
    err = np.full(A.shape, 0.1)
    err[3, 4] = -0.1
    for call in (lambda: align(A, B, err, 0.1), lambda: chi2_shift(A, B, err)):
        with pytest.raises(ValueError, match=r"err1? must be 0 or above in every pixel, got -0\.1"):
            call()


@pytest.mark.parametrize("size", [1e300] if JIT_DISABLED else [1e-300, 1e-100, 1e100, 1e300])
def test_errors_of_any_size_are_read(size):
    for err in (size, np.full(A.shape, size)):
        for boundary in ("overlap", "wrap") if isinstance(err, float) else ("overlap",):
            align(A, B, err, err, boundary=boundary)  # warnings are errors
        assert np.isfinite(chi2_shift(A, B, err)[:2]).all()


@pytest.mark.parametrize("n", [14, 17])
def test_small_images(n):
    a, b = views(n, 0.4, -0.7, 0.0, n)
    assert align(a, b).status not in (Status.TOO_FEW_PIXELS, Status.NO_TEXTURE)
    assert align(a[:12, :12], b[:12, :12]).status == Status.TOO_FEW_PIXELS


def test_peak_of_a_map_of_views_in_other_units():
    plain = shift_from_correlation(cross_correlate(A, B, boundary="overlap"))
    other = shift_from_correlation(cross_correlate(A * 1e25 + 1e27, B * 1e-25, boundary="overlap"))
    assert_allclose(other, plain, rtol=0, atol=1e-6)
    assert_allclose(plain, (2.3, -1.7), rtol=0, atol=0.1)


@pytest.mark.parametrize("unit", [1e200] if JIT_DISABLED else [1e-200, 1e200])
def test_noise_beyond_float64_is_no_error(unit):
    rng = np.random.default_rng(4)
    scene = fg.gaussian_filter(rng.normal(size=(40, 42)), 1.5)
    one, other = scene[2:, 2:] * unit, scene[:-2, :-2] * unit
    for options in ({}, {"boundary": "wrap"}):
        shift = align(one, other, **options)
        assert np.isfinite([shift.dx, shift.dy]).all()
        assert shift.noise in (0.0, np.inf)
    field = displacement_field(one, other, 16, 8)
    assert np.isin(field.noise, (0.0, np.inf)).all()
