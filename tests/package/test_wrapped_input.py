"""Arrays of other libraries: what they say beside their numbers is used, or refused by name.

By the table of all public functions; None of an argument's own words is dropped silently.
"""

import dataclasses
import inspect
import warnings

import numpy as np
import pytest
from answers import fresh_out, leaves, outcome, same
from left_out_calls import SLOW
from public_calls import CALLS, find

import fastgauss as fg
from fastgauss.kernels._compile import JIT_DISABLED

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")
QUICK = [call for call in CALLS if call.arrays and not (JIT_DISABLED and str(call) in SLOW)]
by_call = pytest.mark.parametrize("call", QUICK, ids=str)
ANGLES = ("theta", "phi")


class Duck:
    """Nothing but an array protocol."""

    def __init__(self, array):
        self._array = array

    def __array__(self, dtype=None, copy=None):
        return self._array if dtype is None else self._array.astype(dtype)


class Bearing(np.ndarray):
    """A subclass with something of its own."""

    def __array_finalize__(self, other):
        self.note = getattr(other, "note", "mine")


def _memmap(array, folder):
    target = np.memmap(folder / "numbers", array.dtype, "w+", shape=array.shape)
    target[...] = array
    return target


def _matrix(array):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PendingDeprecationWarning)
        return np.matrix(array)


def read_as_numbers(array, folder):
    """The same numbers in clothes that say nothing else."""
    yield "subclass", array.view(Bearing)
    yield "duck", Duck(array)
    yield "nothing masked", np.ma.array(array)
    yield "duck with nothing masked", Duck(np.ma.array(array, mask=np.zeros(array.shape, bool)))
    yield "list", array.tolist()
    if array.size and array.ndim:
        yield "memmap", _memmap(array, folder)
        yield "list of ducks", [Duck(np.asarray(row)) for row in array]
    if array.ndim == 2:
        yield "matrix", _matrix(array)
    yield from _of_libraries(array)


def _of_libraries(array):
    pd = pytest.importorskip("pandas")
    if array.ndim == 2:
        yield "data frame without names", pd.DataFrame(array)
    if array.ndim == 1:
        yield "series", pd.Series(array, index=np.arange(len(array))[::-1])
    nddata = pytest.importorskip("astropy.nddata")
    units = pytest.importorskip("astropy.units")
    yield "NDData", nddata.NDData(array, mask=np.zeros(array.shape, bool), unit="adu")
    if array.dtype.kind == "f":
        yield "dimensionless", units.Quantity(array)
        yield "quarters", units.Quantity(array * 4, units.Unit(0.25))


ITERATED = {  # arguments that may be iterators of frames
    "fit_movie": ("frames",), "iter_movie": ("frames",), "Camera().calibrate": ("dark", "bright"),
}  # fmt: skip


def message(call, **changes):
    """What an argument is refused with."""
    with pytest.raises((TypeError, ValueError)) as refusal:
        call(**{**fresh_out(call), **changes})
    return str(refusal.value)


OTHER_NAMES = {
    "grid_or_shape": "grid", "widths": "sigma", "curve_x": "curve", "curve_y": "curve",
    "low": "lower", "high": "upper",
}  # fmt: skip


def names_it(text, name):
    """Whether a message names an argument."""
    return name in text or OTHER_NAMES.get(name, name) in text


def takes_mask(call, name):
    """Whether a function has a mask for what this argument holds."""
    parameters = inspect.signature(call.function or find(call.name)).parameters
    return "mask" in parameters and name in ("image", "rois", "volume", "y", "a", "b", "im1", "im2")


@by_call
def test_clothes_that_say_nothing_do_not_matter(call, tmp_path):
    expected = outcome(call, **fresh_out(call))
    for name in call.arrays:
        if "shape" in name:
            continue  # any iterable of integers
        for word, array in read_as_numbers(np.asarray(call.good[name]), tmp_path):
            if (call.name, name, word) == ("add_at", "indices", "list of ducks"):
                continue  # numpy itself does not take them for indices
            found = outcome(call, **{name: array}, **fresh_out(call))
            assert not isinstance(found, type), f"{name} as {word}: {found}"
            same(found, expected, rtol=1e-12)


@by_call
def test_what_is_no_array_is_refused_by_name(call):
    for name in call.arrays:
        good = np.asarray(call.good[name])
        if "shape" in name or not good.ndim or (call.name, name) == ("add_at", "indices"):
            continue
        rows = () if name in ITERATED.get(call.name, ()) else (iter(good), (row for row in good))
        for array in (*rows, map(float, [1]), {1.0}, {"x": good}):
            text = message(call, **{name: array})
            assert names_it(text, name), text


@by_call
def test_units_are_not_dropped(call):
    units = pytest.importorskip("astropy.units")
    for name in call.arrays:
        good = np.asarray(call.good[name])
        if good.dtype.kind == "b" or (name in ANGLES and call.name.startswith("healpix")):
            continue
        if (call.name, name) == ("add_at", "indices"):
            continue  # numpy's own error
        row = [units.Quantity(1.0, "km")] * 2
        for array in (units.Quantity(good, "km"), np.ma.array(good) * units.km, row):
            text = message(call, **{name: array})
            assert names_it(text, name), text
            assert "km" in text or isinstance(array, list), text


@by_call
def test_a_mask_is_used_or_refused(call):
    units = pytest.importorskip("astropy.units")
    nddata = pytest.importorskip("astropy.nddata")
    masked = pytest.importorskip("astropy.utils.masked").Masked
    for name in call.arrays:
        good = np.asarray(call.good[name])
        if good.dtype.kind != "f" or not good.ndim:
            continue
        mask = np.zeros(good.shape, bool)
        mask[(-1,) * good.ndim] = True
        clothes = [
            np.ma.array(good, mask=mask),
            Duck(np.ma.array(good, mask=mask)),
            masked(good, mask=mask),
            masked(good * units.dimensionless_unscaled, mask=mask),
            nddata.NDData(good, mask=mask),
            nddata.CCDData(good, mask=mask, unit="adu"),
        ]
        if takes_mask(call, name):
            expected = _with_mask(call, name, mask)
        for array in clothes:
            found = outcome(call, **{name: array}, **fresh_out(call))
            if takes_mask(call, name):
                same(found, expected, rtol=1e-12)
            elif found is TypeError:
                assert names_it(message(call, **{name: array}), name)
            else:  # NaN is missing there
                same(found, outcome(call, **{name: np.where(mask, np.nan, good)}), rtol=1e-12)


def _with_mask(call, name, mask):
    """What comes of the same mask as an argument."""
    given = call.good.get("mask")
    if name in ("a", "im1"):
        mask = (mask, given)
    elif name in ("b", "im2"):
        mask = (given, mask)
    elif given is not None:
        mask = mask | given
    return outcome(call, mask=mask, **fresh_out(call))


@by_call
def test_labels_of_xarray_do_not_matter(call):
    xr = pytest.importorskip("xarray")
    for name in call.arrays:
        good = np.asarray(call.good[name])
        if not good.ndim:
            continue
        needed = fresh_out(call) if call.name in ("add_at", "healpix_add") else {}
        given = xr.DataArray(good, dims=[f"axis {k}" for k in range(good.ndim)])
        found = outcome(call, **{name: given.assign_attrs(units="km")}, **needed)
        if found is TypeError:  # of functions that broadcast by name
            with pytest.raises(TypeError, match="DataArray"):
                call(**{name: given})
            continue
        found = found.values if isinstance(found, xr.DataArray) else found
        same(found, outcome(call, **fresh_out(call) if needed else {}), rtol=1e-12)


def test_a_call_of_the_table_is_in_every_light():
    assert {call.name for call in CALLS if call.arrays} >= {
        "kde",
        "pca",
        "histogram",
        "fit_spots",
        "gather",
    }
    assert all(dataclasses.is_dataclass(call) for call in CALLS)
    assert list(leaves(fg.kde([1.0, 2.0])))
