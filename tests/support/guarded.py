"""A child process of tests: every array between pages that may not be touched.

numpy asks the allocator below for the memory of all arrays: each ends (or, with the word "start",
begins) at a page without rights, and its pages are gone once it is freed. So whatever a kernel
reads or writes outside an array that Python made ends the process, bounds checks or not. Then all
good calls of `public_calls` run, with the arrays in several dtypes. Linux.

The allocator is compiled: numpy frees arrays while exceptions are under way, when no Python code
may run. Reference: NEP 49, data allocation strategies of numpy.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import sys
import warnings

import numpy as np
from answers import fresh_out
from llvmlite import ir
from numba import cfunc, types
from numba.extending import intrinsic
from public_calls import CALLS, DEEP

AT_END = sys.argv[1:] != ["start"]
DTYPES = ("f8", "f4", "i2") if DEEP else ("f8",)  # each is compiled anew
PAGE = mmap.PAGESIZE
_RIGHTS = mmap.PROT_READ | mmap.PROT_WRITE
_PRIVATE = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
_SET_HANDLER = 304  # place of PyDataMem_SetHandler in numpy's table

_long, _int = types.intp, types.int32
_map = types.ExternalFunction("mmap", _long(_long, _long, _int, _int, _int, _long))
_unmap = types.ExternalFunction("munmap", _int(_long, _long))
_protect = types.ExternalFunction("mprotect", _int(_long, _long, _int))
_fill = types.ExternalFunction("memset", _long(_long, _int, _long))
_move = types.ExternalFunction("memmove", _long(_long, _long, _long))
_WORD = ir.IntType(64)


@intrinsic
def _peek(typing, address):
    """The word at an address."""

    def emit(context, builder, sig, args):
        return builder.load(builder.inttoptr(args[0], _WORD.as_pointer()))

    return _long(_long), emit


@intrinsic
def _poke(typing, address, word):
    """Write a word to an address."""

    def emit(context, builder, sig, args):
        builder.store(args[1], builder.inttoptr(args[0], _WORD.as_pointer()))
        return args[1]

    return _long(_long, _long), emit


@cfunc(_long(_long, _long))
def _zeroed(context, size):
    """Memory between two pages without rights, the first of which knows how much it is."""
    pages = max(1, -(-size // PAGE)) * PAGE
    first = _map(0, pages + 2 * PAGE, _RIGHTS, _PRIVATE, -1, 0)
    _poke(first, size)
    _protect(first, PAGE, 0)
    _protect(first + PAGE + pages, PAGE, 0)
    return first + PAGE + (pages - max(size, 1) if AT_END else 0)


@cfunc(_long(_long, _long))
def _malloc(context, size):
    """The same full of NaN, so that it shows what was not written."""
    address = _zeroed(context, size)
    _fill(address, 255, size)
    return address


@cfunc(_long(_long, _long, _long))
def _calloc(context, count, size):
    return _zeroed(context, count * size)


@cfunc(types.void(_long, _long, _long))
def _free(context, address, size):
    if address:
        first = address // PAGE * PAGE - PAGE
        _protect(first, PAGE, _RIGHTS)
        _unmap(first, max(1, -(-_peek(first) // PAGE)) * PAGE + 2 * PAGE)


@cfunc(_long(_long, _long, _long))
def _realloc(context, address, size):
    fresh = _malloc(context, size)
    if address:
        first = address // PAGE * PAGE - PAGE
        _protect(first, PAGE, _RIGHTS)
        _move(fresh, address, min(_peek(first), size))
        _free(context, address, size)
    return fresh


class _Handler(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char * 127),
        ("version", ctypes.c_uint8),
        ("context", ctypes.c_void_p),
        *((word, ctypes.c_void_p) for word in ("malloc", "calloc", "realloc", "free")),
    )


_HANDLER = _Handler(
    b"guarded", 1, None, _malloc.address, _calloc.address, _realloc.address, _free.address
)


def install():
    """Let numpy take the memory of arrays of this thread from here."""
    umath = sys.modules.get("numpy._core._multiarray_umath")
    umath = umath or sys.modules["numpy.core._multiarray_umath"]
    python = ctypes.pythonapi
    python.PyCapsule_GetPointer.restype = ctypes.c_void_p
    python.PyCapsule_GetPointer.argtypes = (ctypes.py_object, ctypes.c_char_p)
    python.PyCapsule_New.restype = ctypes.py_object
    python.PyCapsule_New.argtypes = (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)
    table = python.PyCapsule_GetPointer(umath._ARRAY_API, None)
    place = ctypes.cast(table, ctypes.POINTER(ctypes.c_void_p))[_SET_HANDLER]
    capsule = python.PyCapsule_New(ctypes.addressof(_HANDLER), b"mem_handler", None)
    ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.py_object)(place)(capsule)


def variants(value):
    """An array again in other dtypes, in memory of this allocator."""
    array = np.asarray(value)
    if array.dtype != np.float64 or not array.ndim:
        return [np.array(array)] if isinstance(value, np.ndarray) else [value]
    return [array.astype(dtype) for dtype in DTYPES]


def run(call):
    """The call with its arrays, one after the other, in guarded memory."""
    for name in call.arrays:
        for array in variants(call.good[name]):
            rest = {k: v.copy() for k, v in call.good.items() if isinstance(v, np.ndarray)}
            try:
                call(**rest | {name: array}, **fresh_out(call))
            except (TypeError, ValueError, IndexError):
                assert array.dtype != np.float64, f"{call}, {name}"


def main():
    """All calls; the parent sees the exit status, and the name of the last call."""
    warnings.simplefilter("ignore")
    import fastgauss as fg

    fg.set_num_threads(1)
    chosen = [call for call in CALLS if call.name.split(".")[0] != "plot" and call.arrays]
    install()
    assert (np.empty(3).ctypes.data % PAGE == 0) != AT_END, "this allocator is at work"
    for call in chosen:
        print(call, flush=True)
        run(call)
    print("done", len(chosen), flush=True)
    os._exit(0)  # nothing is freed any more


if __name__ == "__main__":
    main()
