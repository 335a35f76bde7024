"""Building blocks: LLVM code that is inlined, without machine code of its own."""

import sys

import numpy as np
import pytest
from numba import njit
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Flags
from numba.core.runtime import _nrt_python, rtsys

from fastgauss.kernels import _inlining
from fastgauss.kernels._compile import JIT_DISABLED, device, variants
from fastgauss.kernels.simd.stack_memory import flat_view

pytestmark = pytest.mark.skipif(JIT_DISABLED, reason="about compiled code")


@device
def halved(value):
    return 0.5 * value


@device
def root_of_half(value):
    if value < 0.0:
        raise ValueError("value must not be negative")
    return np.sqrt(halved(value))


@device
def entry_of(values, index):
    if index >= values.size:
        raise IndexError("no entry", index)
    return values[index]


@device
def told(value):
    print("a block got", value)
    return value


def doubled(value):
    return value + value


@variants(doubled)
def _(value):
    return lambda value: value + value


def test_a_block_has_no_machine_code_and_its_caller_has(monkeypatch):
    modules = []
    original = JITCodeLibrary._finalize_specific

    def finalize(library):
        modules.append(library.name)
        original(library)

    monkeypatch.setattr(JITCodeLibrary, "_finalize_specific", finalize)

    @njit
    def caller(value):
        return root_of_half(value) + doubled(value)

    assert caller(8.0) == 18.0
    assert [name for name in modules if "half" in name or "lambda" in name] == []
    assert [name for name in modules if "caller" in name]
    assembly = "".join(caller.inspect_asm().values())
    assert "root_of_half" not in "".join(x for x in assembly.splitlines() if "call" in x)


def test_exceptions_of_a_block_reach_its_caller():
    @njit
    def caller(values, index):
        return root_of_half(entry_of(values, index))

    assert caller(np.array([1.0, 8.0]), 1) == 2.0
    with pytest.raises(ValueError, match="value must not be negative"):
        caller(np.array([-1.0]), 0)
    with pytest.raises(IndexError) as caught:
        caller(np.array([-1.0]), 5)
    assert caught.value.args == ("no entry", 5)


def test_a_block_uses_python_objects(capfd):
    @njit
    def caller(value):
        return halved(told(value))

    assert caller(3) == 1.5
    assert capfd.readouterr().out == "a block got 3\n"


def test_fixed_options_are_those_that_they_were_made_of():
    flags, other = Flags(), Flags()
    flags.nrt = True
    fixed, same = (_inlining._OwnFlags(flags).copy() for _ in range(2))
    for each in (flags, fixed, same):
        assert fixed == each and each == fixed and hash(fixed) == hash(each)
    assert fixed != other and other != fixed and fixed != "flags"
    assert fixed.values() == flags.values()


@device
def sum_of_rows(pair):
    table, weights = pair
    flat, whole = flat_view(table), 0.0
    for k in range(table.shape[0]):
        if weights[k] > 0.0:
            row = table[k]
            whole += weights[k] * flat[k * row.size] + row[1:].sum()
    return whole


def counts_of(function):
    """How often compiled code counts a reference up or down."""
    code = "".join(function.inspect_llvm().values())
    return sum("call" in line and "NRT_" in line for line in code.splitlines())


def test_a_function_that_makes_no_array_counts_no_references():
    options = {"nogil": True, "pipeline_class": _inlining.KernelCompiler}

    @njit(**options)
    def fill(out, table, weights):
        for k in range(out.size):
            out[k] = sum_of_rows((table, weights)) if weights[k] < 2.0 else 0.0

    out, table, weights = np.empty(3), np.arange(12.0).reshape(3, 4), np.array([1.0, 0.0, 2.0])
    before = [sys.getrefcount(array) for array in (out, table, weights)]
    fill(out, table, weights)
    assert out[0] == out[1] == 0.0 + 6.0 + 2 * 8.0 + 30.0 and out[2] == 0.0
    assert [sys.getrefcount(array) for array in (out, table, weights)] == before
    assert counts_of(fill) == 0


PLACES = np.array([3, 5, 999])


def taken(values, places):
    part = values[places]
    return part.sum()


def taken_at_fixed_places(values, places):
    part = values[PLACES]
    return part.sum()


def taken_or_made(values, places):
    part = values if values.size < 9 else values[places] + 0.0
    return part.sum()


def of_one_and_another(values, places):
    pair = (values, values[places])
    return pair[1].sum() + 0.0 * pair[0][0]


def row_into_row(values, places):
    rows = values.reshape(2, -1)
    rows[1, :3] = rows[1, 497:]
    return rows[1, 2] + 8.0


def halves(values, places):
    made = np.empty(places.size)
    for k in range(places.size):
        made[k] = 2.0 * halved(values[places[k]])
    return made


@pytest.mark.parametrize(
    "function",
    [taken, taken_at_fixed_places, taken_or_made, of_one_and_another, row_into_row, halves],
)
def test_arrays_that_a_function_makes_are_counted_and_freed(function):
    expected = np.sum(function(np.arange(1000.0), PLACES))
    function = njit(pipeline_class=_inlining.KernelCompiler)(function)
    values, places = np.arange(1000.0), PLACES
    assert np.sum(function(values, places)) == expected == 1007.0
    _nrt_python.memsys_enable_stats()
    before = rtsys.get_allocation_stats()
    for _ in range(5):
        function(values, places)
    after = rtsys.get_allocation_stats()
    _nrt_python.memsys_disable_stats()
    assert after.alloc - before.alloc == after.free - before.free
    assert counts_of(function) > 0
