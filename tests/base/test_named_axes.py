"""Axes of xarray in another order: registration, fields, filters, sums, cameras, astigmatism."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import fastgauss as fg
from fastgauss import register
from fastgauss.base import named_axes

xr = pytest.importorskip("xarray")

RNG = np.random.default_rng(4)
SCENE = RNG.normal(size=(26, 30)).cumsum(0).cumsum(1)
FIRST, SECOND = SCENE[2:22, 3:27], SCENE[3:23, 1:25]
BAD = np.zeros(FIRST.shape, bool)
BAD[4:6, 7:12] = True
PLACES = np.array([[5.2, 7.5], [14.0, 11.0]])
COLOURS = RNG.normal(size=(14, 12, 2))


def named(array, axes="yx"):
    """An array of xarray whose axes lie in the order of the alphabet."""
    return xr.DataArray(array, dims=list(axes)).transpose(*sorted(axes))


def test_pairs_of_images_are_turned_by_name():
    rotated = named(FIRST), named(SECOND)
    assert rotated[0].dims == ("x", "y")
    for options in ({}, {"mask": BAD}, {"err1": 1.0 + BAD, "err2": 2.0}):
        expected = register.align(FIRST, SECOND, **options)
        own = {name: named(v) if np.ndim(v) else v for name, v in options.items()}
        found = register.align(*rotated, **own)
        assert (found.dx, found.dy) == (expected.dx, expected.dy)
    assert (round(found.dx), round(found.dy)) == (2, -1)
    assert register.chi2_shift(*rotated) == register.chi2_shift(FIRST, SECOND)
    for correlate in (register.cross_correlate, register.phase_correlate):
        expected = correlate(FIRST, SECOND)
        assert_array_equal(correlate(*rotated), expected)
        at = register.shift_from_correlation
        assert_array_equal(at(named(expected)), at(expected))
    with pytest.raises(ValueError, match=r"^mask must have axes with names .* axes x, y"):
        register.align(*rotated, mask=BAD)
    with pytest.raises(ValueError, match=r"^err1 must have axes with names where im1 has"):
        register.align(*rotated, err1=1.0 + BAD)
    frames = xr.DataArray(np.stack([FIRST] * 12), dims=("time", "y", "x"))
    with pytest.raises(ValueError, match=r"^im1 must be one image .* axes time, y, x"):
        register.align(frames, frames)


def test_windows_of_images_are_turned_by_name():
    options = {"window": 12, "step": 6, "mask": BAD}
    expected = register.displacement_field(FIRST, SECOND, **options)
    options["mask"] = named(BAD)
    found = register.displacement_field(named(FIRST), named(SECOND), **options)
    assert_array_equal(found.dx, expected.dx)
    assert_array_equal(found.dy, expected.dy)


@pytest.mark.parametrize("method", ["spline", "fourier"])
def test_a_moved_image_has_the_axes_of_the_one_that_was_given(method):
    moved = register.shift_image(FIRST, (1, 2.5), method)
    assert_array_equal(register.shift_image(named(FIRST), (1, 2.5), method), moved.T)
    frames = np.stack([FIRST, SECOND])
    steps = [(1.0, 2.5), (0.0, -1.0)]
    moved = register.shift_stack(frames, steps, method)
    found = register.shift_stack(named(frames, "tyx"), steps, method)  # as t, x, y
    assert_array_equal(found, moved.transpose(0, 2, 1))
    found = register.shift_stack([named(frame) for frame in frames], steps, method)
    assert_array_equal(found, moved)


def test_a_motion_moves_an_image_whose_axes_are_turned():
    turn = register.align(FIRST, SECOND, motion="rigid")
    moved = turn.apply(SECOND, mask=BAD)
    assert_array_equal(turn.apply(named(SECOND), mask=named(BAD)), moved.T)


def test_a_stack_is_turned_by_name():
    frames = np.stack([FIRST, SECOND, SCENE[1:21, 2:26]])
    expected = register.align_stack(frames, mask=BAD)
    held = xr.DataArray(frames.transpose(2, 0, 1), dims=("x", "t", "y"))
    for given in (held, [named(frame) for frame in frames]):
        found = register.align_stack(given, mask=named(BAD))
        assert_array_equal(found.displacements, expected.displacements)
        with pytest.raises(ValueError, match="mask must have axes with names where frames"):
            register.align_stack(given, mask=BAD)
    assert_array_equal(found.apply(held), expected.apply(frames).transpose(2, 0, 1))
    expected = register.align_stack(frames, reference=FIRST)
    found = register.align_stack(held, reference=named(FIRST))
    assert_array_equal(found.displacements, expected.displacements)


@pytest.mark.parametrize(
    "function",
    [
        fg.gaussian_filter,
        fg.gaussian_laplace,
        fg.gaussian_gradient_magnitude,
        fg.difference_of_gaussians,
    ],
)
def test_filters_give_back_the_axes_of_their_image(function):
    expected = function(FIRST, (1.0, 1.5))
    found = function(named(FIRST), (1.0, 1.5))
    assert found.dims == ("x", "y")
    assert_array_equal(found, expected.T)
    alike = function(xr.DataArray(FIRST, dims=("y", "x"), attrs={"unit": "e"}), (1.0, 1.5))
    assert (alike.dims, alike.attrs) == (("y", "x"), {"unit": "e"})
    assert_array_equal(alike, expected)
    one = function(named(FIRST), 1.0, axes=0)  # the first axis of what was given
    assert_array_equal(one, function(FIRST, 1.0, axes=1).T)


def test_a_mask_of_a_filter_or_of_lines_lies_as_the_image():
    expected = fg.gaussian_filter(FIRST, 1.0, mask=BAD)
    for mask in (named(BAD), xr.DataArray(BAD, dims=("y", "x"))):
        assert_array_equal(fg.gaussian_filter(named(FIRST), 1.0, mask=mask), expected.T)
        assert_array_equal(fg.level(named(FIRST), axis=0, mask=mask), fg.level(FIRST, mask=BAD).T)
        lines = fg.fit_lines(named(FIRST), axis=0, mask=mask)
        assert_array_equal(lines.slope, fg.fit_lines(FIRST, mask=BAD).slope)
    with pytest.raises(ValueError, match="mask must have axes with names"):
        fg.gaussian_filter(named(FIRST), 1.0, mask=BAD)
    with pytest.raises(ValueError, match="axis must be at most 1, got 2"):
        fg.level(named(FIRST), axis=2)
    square = xr.DataArray(FIRST[:, :20], dims=("row", "column"))
    mask = xr.DataArray(BAD[:, :20].T, dims=("column", "row"))
    found = fg.gaussian_filter(square, 1.0, mask=mask)
    assert_array_equal(found, fg.gaussian_filter(FIRST[:, :20], 1.0, mask=BAD[:, :20]))


def test_volumes_of_fields_are_turned_with_channels_last():
    field = fg.GaussianField(FIRST.shape, PLACES, sigma=2.0)
    heavy = 1.0 + BAD
    expected = field.fit_amplitudes(FIRST, weights=heavy, mask=BAD)
    found = field.fit_amplitudes(named(FIRST), weights=named(heavy), mask=named(BAD))
    assert_array_equal(found.amplitudes, expected.amplitudes)
    with pytest.raises(ValueError, match="weights must have axes with names where volume"):
        field.fit_amplitudes(named(FIRST), weights=heavy)
    assert_array_equal(field.adjoint(named(FIRST)), field.adjoint(FIRST))
    assert_array_equal(fg.gather(named(FIRST), PLACES), fg.gather(FIRST, PLACES))
    colours = named(COLOURS, "yxc")
    assert colours.dims == ("c", "x", "y")
    field = fg.GaussianField(COLOURS.shape[:2], PLACES, sigma=2.0)
    assert_array_equal(field.adjoint(colours), field.adjoint(COLOURS))
    with pytest.raises(ValueError, match="another order than z, y, x before all others"):
        field.fit_amplitudes(colours, mask=np.zeros((14, 12), bool))


@pytest.mark.parametrize("channel_axis", ["auto", 0, -3])
def test_the_channels_of_an_image_are_the_axis_that_is_not_of_space(channel_axis):
    expected = fg.fit_image(COLOURS, 1, max_iter=3, channel_axis=-1)
    found = fg.fit_image(named(COLOURS, "yxc"), 1, max_iter=3, channel_axis=channel_axis)
    assert_array_equal(found.amplitudes, expected.amplitudes)
    assert found.render().shape == COLOURS.shape


def test_cameras_read_the_names_of_axes():
    expected = fg.Camera(offset=SCENE**2, gain=2.0)
    camera = fg.Camera(offset=named(SCENE**2), gain=2.0)
    assert_array_equal(camera.offset, expected.offset)
    assert_array_equal(camera.to_photons(named(SCENE)), expected.to_photons(SCENE).T)
    spot = fg.image([150.0, 15.2, 14.1, 1.3, 20.0], SCENE.shape, model="symmetric")
    found = fg.fit_spots(named(spot), [[14, 15]], camera=camera)
    assert_array_equal(found.params, fg.fit_spots(spot, [[14, 15]], camera=expected).params)


def test_a_stack_of_beads_is_turned_by_name():
    lens = fg.astigmatic_model((1.3, -250.0, 400.0), (1.4, 250.0, 400.0), (-400.0, 400.0))
    z = np.linspace(-400.0, 400.0, 9)
    frames = fg.image([[900.0, 12.2, 9.1, k, 10.0] for k in z], (20, 24), model=lens)
    expected = fg.calibrate_astigmatism(frames, z, [[9, 12]]).curves
    stack = named(frames, "nyx")
    assert stack.dims == ("n", "x", "y")
    assert_array_equal(fg.calibrate_astigmatism(stack, z, [[9, 12]]).curves, expected)
    gap = np.zeros((20, 24), bool)
    gap[7, 13] = True
    expected = fg.calibrate_astigmatism(frames, z, [[9, 12]], mask=gap).curves
    found = fg.calibrate_astigmatism(stack, z, [[9, 12]], mask=named(gap)).curves
    assert_array_equal(found, expected)
    with pytest.raises(ValueError, match="mask must have axes with names where stack has"):
        fg.calibrate_astigmatism(stack, z, [[9, 12]], mask=gap)


def test_an_array_is_given_back_with_later_axes_in_their_places():
    given = named(COLOURS[..., 0])
    rotated = named_axes.in_order("image", given)
    assert rotated.dims == ("y", "x")
    assert named_axes.transposed_back(COLOURS, rotated, given).shape == (12, 14, 2)
    assert named_axes.transposed_back(COLOURS, given, given) is COLOURS
