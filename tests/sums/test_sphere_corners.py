"""HEALPix where pixels meet, an ulp off; maps of integers; directions that are none."""

import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from naive_sphere import distance, ring_of_nest

import fastgauss as fg
from fastgauss.kernels.sums import healpix

NEAR = st.integers(-4, 4)


def ulps(x, steps):
    return x + steps * math.ulp(x)


@st.composite
def corners(draw):
    """A resolution, and a direction some ulps beside a corner or a centre of its pixels."""
    nside = draw(st.sampled_from([1, 2, 3, 4, 5, 16, 100, 1024]))
    ring = draw(st.integers(nside, 3 * nside) | st.sampled_from([nside, 3 * nside]))
    z = 4 / 3 - 2 * ring / (3 * nside)
    t = draw(st.integers(0, 8 * nside)) / (2 * nside)
    theta, phi = math.acos(max(-1.0, min(1.0, z))), t * math.pi / 2
    return nside, ulps(theta, draw(NEAR)), ulps(phi, draw(NEAR))


@settings(deadline=None, max_examples=400)
@given(corners())
@example((1, math.nextafter(math.acos(-2 / 3), 0), math.nextafter(2 * math.pi, 0)))
@example((64, math.nextafter(math.acos(-2 / 3), 0), math.nextafter(2 * math.pi, 0)))
@example((1024, ulps(math.acos(-2 / 3), -2), math.nextafter(2 * math.pi, 0)))
@example((2, math.acos(2 / 3), 0.7853981633974481))
@example((2, math.acos(2 / 3), 2.3561944901923444))
@example((16, math.acos(2 / 3), math.nextafter(2 * math.pi, 0)))
def test_a_pixel_beside_a_corner_is_one_that_meets_it(case):
    nside, theta, phi = case
    ring = int(healpix.ring_pixel(theta, phi, nside))
    assert 0 <= ring < 12 * nside**2
    assert distance(ring, theta, phi, nside) < 1 + 1e-14 * nside
    if not nside & (nside - 1):
        nest = int(healpix.nest_pixel(theta, phi, nside))
        assert 0 <= nest < 12 * nside**2
        assert ring_of_nest(nest, nside) == ring


@pytest.mark.parametrize("nest", [False, True])
@pytest.mark.parametrize("nside", [1, 2, 8])
def test_nothing_is_written_beside_the_map(nside, nest):
    """Corners of the base pixels in whole registers, with memory of others behind the map."""
    theta = [ulps(math.acos(z), k) for z in (2 / 3, -2 / 3) for k in range(-3, 4)]
    phi = [ulps(k * math.pi / 2, -m) for k in (1, 2, 3, 4) for m in range(3)]
    theta, phi = np.meshgrid(theta, phi)
    n = 12 * nside**2
    memory = np.zeros(3 * n + 64)
    fg.healpix_add(memory[n : 2 * n], theta, phi, nest=nest)
    assert memory[n : 2 * n].sum() == theta.size
    assert memory.sum() == theta.size
    pixels = fg.healpix_pixel(theta, phi, nside, nest=nest)
    np.testing.assert_array_equal(memory[n : 2 * n], np.bincount(pixels.ravel(), minlength=n))


def test_centres_of_other_pixels_have_a_place_in_rings_of_two():
    """An nside of 3, whose pixels have centres where those of an nside of 2 have corners."""
    for ring, count in ((3, 12), (9, 12), (6, 12)):
        z = 4 / 3 - 2 * ring / 9
        for j in range(count):
            theta, phi = math.acos(z), (j + 0.5 * (ring % 2)) * math.pi / 6
            assert distance(int(fg.healpix_pixel(theta, phi, 2)), theta, phi, 2) < 1 + 1e-13


@pytest.mark.parametrize("dtype", ["i4", "i8"])
@pytest.mark.parametrize("values", [1, True, [3, -1, 4], np.array([1, 2, 250], "u1")])
def test_integers_are_counted_in_integers(dtype, values):
    theta, phi = [0.1, 1.5, 0.2], 0.3
    counts = np.full(48, 2**30 if dtype == "i4" else 2**60, dtype)
    expected = counts.copy()
    np.add.at(expected, fg.healpix_pixel(theta, np.full(3, phi), 2), values)
    assert fg.healpix_add(counts, theta, phi, values) is counts
    np.testing.assert_array_equal(counts, expected)
    with pytest.raises(TypeError, match="values must be integers for a map of integers"):
        fg.healpix_add(counts, theta, phi, 0.5)
    np.testing.assert_array_equal(counts, expected)


def test_without_values_a_map_of_either_kind_counts():
    for dtype in (int, float):
        assert fg.healpix_add(np.zeros(12, dtype), 0.1, np.zeros(5))[0] == 5


@pytest.mark.parametrize("team", [1, 3])
@pytest.mark.parametrize("lonlat", [False, True])
def test_directions_that_are_no_numbers_may_be_left_out(lonlat, team, monkeypatch):
    from fastgauss.sums import healpix as sphere

    monkeypatch.setattr(sphere, "_CHUNK", 16)
    monkeypatch.setattr(sphere, "_CACHED", 0)
    rng = np.random.default_rng(3)
    first, second = rng.uniform(0, 3.14, 200), rng.uniform(-1.5, 1.5, 200) + (not lonlat)
    first[rng.integers(0, 200, 30)] = np.nan
    second[rng.integers(0, 200, 30)] = rng.choice([np.nan, np.inf, -np.inf], 30)
    good = np.isfinite(first) & np.isfinite(second)
    pixels = fg.healpix_pixel(first, second, 4, lonlat=lonlat, nonfinite="drop", threads=team)
    assert (pixels[~good] == -1).all()
    alone = fg.healpix_pixel(first[good], second[good], 4, lonlat=lonlat)
    np.testing.assert_array_equal(pixels[good], alone)
    values = rng.normal(size=200)
    sums = fg.healpix_add(
        np.ones(192), first, second, values, lonlat=lonlat, nonfinite="drop", threads=team
    )
    expected = fg.healpix_add(np.ones(192), first[good], second[good], values[good], lonlat=lonlat)
    np.testing.assert_array_equal(sums, expected)
    with pytest.raises(ValueError, match="must be"):
        fg.healpix_pixel(first, second, 4, lonlat=lonlat)
    with pytest.raises(ValueError, match="must be"):
        fg.healpix_add(sums, first, second, lonlat=lonlat)
    np.testing.assert_array_equal(sums, expected)


def test_a_finite_angle_out_of_range_is_an_error_all_the_same():
    theta, sums = [0.5, np.nan, 3.5, 0.1], np.zeros(12)
    for call in (
        lambda: fg.healpix_pixel(theta, 0.0, 1, nonfinite="drop"),
        lambda: fg.healpix_add(sums, theta, 0.0, nonfinite="drop"),
    ):
        with pytest.raises(ValueError, match=r"theta must be within \[0, pi\], got 3.5 at .*2"):
            call()
    assert not sums.any()
    with pytest.raises(ValueError, match="nonfinite must be one of"):
        fg.healpix_pixel(0.1, 0.2, 1, nonfinite="ignore")
