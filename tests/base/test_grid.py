"""Grids: indices, coordinates, and arguments that make no grid."""

import copy
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

import fastgauss as fg
from fastgauss.base.grid import as_grid


def test_one_number_serves_all_axes():
    assert fg.Grid((2, 3, 4), 0.5, -1.0, True) == fg.Grid(
        (2, 3, 4), (0.5, 0.5, 0.5), (-1.0, -1.0, -1.0), (True, True, True)
    )
    plain = fg.Grid([7, np.int32(8)])
    assert (plain.shape, plain.spacing, plain.origin, plain.periodic) == (
        (7, 8), (1.0, 1.0), (0.0, 0.0), (False, False),
    )  # fmt: skip
    assert (plain.ndim, plain.size) == (2, 56)
    assert fg.Grid((3, 0, 5)).size == 0


def test_each_axis_has_its_own_numbers_in_the_order_of_the_array():
    grid = fg.Grid((2, 3, 5), spacing=(1.0, 2.0, 4.0), origin=(10.0, 20.0, 30.0))
    assert_array_equal(grid.nodes(0), [10, 11])
    assert_array_equal(grid.nodes(1), [20, 22, 24])
    assert_array_equal(grid.nodes(-1), [30, 34, 38, 42, 46])
    assert_array_equal(grid.position([1, 2, 3]), [11, 24, 42])
    assert_array_equal(grid.index([11, 24, 42]), [1, 2, 3])
    corners = np.indices(grid.shape).reshape(3, -1).T
    every = np.stack(np.meshgrid(*map(grid.nodes, range(3)), indexing="ij"), axis=-1)
    assert_array_equal(grid.position(corners), every.reshape(-1, 3))


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 3), st.data())
def test_index_and_position_are_inverse(axes, data):
    number = st.floats(-1e3, 1e3)
    spacing = data.draw(st.lists(st.floats(1e-3, 1e3), min_size=axes, max_size=axes))
    origin = data.draw(st.lists(number, min_size=axes, max_size=axes))
    point = data.draw(st.lists(number, min_size=axes, max_size=axes))
    grid = fg.Grid((4,) * axes, tuple(spacing), tuple(origin))
    atol = 1e-15 * (np.abs(origin) / spacing + np.abs(point)).max() * 4
    assert_allclose(grid.index(grid.position(point)), point, rtol=0, atol=atol + 1e-300)
    stack = np.array([[point, point]])
    assert grid.index(stack).shape == grid.position(stack).shape == stack.shape


def test_coordinates_are_not_wrapped_or_clipped():
    grid = fg.Grid((4, 5), periodic=True)
    assert_array_equal(grid.index([[9, -7]]), [[9, -7]])


def test_integers_and_lists_are_read_as_they_are():
    grid = fg.Grid((9, 9), 0.5, 1.0)
    assert_array_equal(grid.index(np.array([[1, 2]], dtype=np.uint8)), [[0, 2]])
    assert_array_equal(grid.position([[True, False]]), [[1.5, 1.0]])


def test_a_grid_is_a_value():
    grid = fg.Grid((4, 5), (1.0, 0.5), 2.0, (True, False))
    for other in (pickle.loads(pickle.dumps(grid)), copy.deepcopy(grid)):
        assert other == grid and hash(other) == hash(grid)
    assert grid != fg.Grid((4, 5), (1.0, 0.5), 2.0)
    with pytest.raises(AttributeError):
        grid.shape = (3, 3)


def test_a_shape_or_a_length_stands_for_a_grid():
    assert as_grid((4, 5)) == as_grid([4, 5]) == as_grid(np.array([4, 5])) == fg.Grid((4, 5))
    assert as_grid(7) == as_grid(np.int64(7)) == fg.Grid((7,))
    grid = fg.Grid((3,), 2.0)
    assert as_grid(grid) is grid
    for bad, error in (
        (-1, ValueError), (2.5, TypeError), (True, TypeError), ("4", TypeError), (None, TypeError),
        ((), ValueError), ((1, 2, 3, 4), ValueError), ((3, -1), ValueError), ((3, 2.0), TypeError),
    ):  # fmt: skip
        with pytest.raises(error, match="grid"):
            as_grid(bad)


BAD = [
    ({"shape": 4.0}, TypeError, "shape"),
    ({"shape": ()}, ValueError, "shape"),
    ({"shape": (1, 2, 3, 4)}, ValueError, "shape"),
    ({"shape": (4, -1)}, ValueError, r"shape\[1\]"),
    ({"shape": (4.0, 1)}, TypeError, "shape"),
    ({"shape": (1 << 30, 1 << 31)}, ValueError, "shape"),
    ({"spacing": 0.0}, ValueError, "spacing"),
    ({"spacing": (1.0, -1.0)}, ValueError, r"spacing\[1\]"),
    ({"spacing": np.inf}, ValueError, "spacing"),
    ({"spacing": np.nan}, ValueError, "spacing"),
    ({"spacing": (1.0, 1.0, 1.0)}, ValueError, "spacing"),
    ({"spacing": "1"}, TypeError, "spacing"),
    ({"origin": np.nan}, ValueError, "origin"),
    ({"origin": (0.0,)}, ValueError, "origin"),
    ({"origin": (0.0, 1j)}, TypeError, r"origin\[1\]"),
    ({"periodic": 1}, TypeError, "periodic"),
    ({"periodic": (True, 0)}, TypeError, r"periodic\[1\]"),
    ({"periodic": (True,)}, ValueError, "periodic"),
]


@pytest.mark.parametrize(("bad", "error", "name"), BAD)
def test_a_bad_argument_of_a_grid_is_named(bad, error, name):
    with pytest.raises(error, match=name):
        fg.Grid(**{"shape": (4, 5), **bad})


@pytest.mark.parametrize("method", ["index", "position"])
def test_points_of_another_length_are_refused(method):
    call = getattr(fg.Grid((4, 5)), method)
    for bad in (1.0, [1.0], [[1.0, 2.0, 3.0]], np.zeros((0, 3))):
        with pytest.raises(ValueError, match="last axis of 2"):
            call(bad)
    with pytest.raises(TypeError, match="real"):
        call([[1j, 2j]])
    assert call(np.zeros((0, 2))).shape == (0, 2)


@pytest.mark.parametrize(("axis", "error"), [(2, ValueError), (-3, ValueError), (0.0, TypeError)])
def test_nodes_of_no_axis_are_refused(axis, error):
    with pytest.raises(error, match="axis"):
        fg.Grid((4, 5)).nodes(axis)
