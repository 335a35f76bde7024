"""Building blocks: LLVM code that is inlined, without machine code of its own."""

import numpy as np
import pytest
from numba import njit
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Flags

from fastgauss.kernels import _inlining
from fastgauss.kernels._compile import JIT_DISABLED, device, variants

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
