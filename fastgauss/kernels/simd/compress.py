"""Compress-store: of eight indices, those in a slice of the bins, stored one after the other.

Processors with AVX-512 compress the selected lanes of a register with one instruction. The whole
register is stored, and the next store overwrites the unused elements. `HAS_COMPRESSION` says
whether the compiler has this instruction for the processor that it compiles for.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.imputils import lower_builtin
from numba.extending import type_callable

from .._compile import JIT_DISABLED
from .._registers import has_compression, target
from .lane_types import spread

EIGHT = 8  # every store touches this number of elements, however many are selected
_WORD, _HALF, _BYTE = ir.IntType(64), ir.IntType(32), ir.IntType(8)


# Plain Python runs the functions below.
HAS_COMPRESSION = JIT_DISABLED or has_compression(*target())


def compress_bins(
    bins: np.ndarray, at: int, indices: np.ndarray, i: int, size: int, low: int, width: int
) -> int:
    """Write the bins of pairs [i, i + EIGHT) that are in [low, low + width), less ``low``.

    They are written from ``at`` on. Of ``size`` bins, negative ones count from the end. Bit j of
    the result says whether pair i + j was written.
    """
    k = indices[i : i + EIGHT].astype(np.int64)
    k = np.where(k < 0, k + size, k) - low
    own = (k >= 0) & (k < width)
    bins[at : at + own.sum()] = k[own]
    return int(np.packbits(own, bitorder="little")[0])


def compress_values(load: np.ndarray, at: int, values: np.ndarray, i: int, own: int) -> None:
    """Write the values that belong to the bins of ``own``."""
    chosen = (own >> np.arange(EIGHT)) & 1 == 1
    load[at : at + chosen.sum()] = values[i : i + EIGHT][chosen]


def compress_positions(load: np.ndarray, at: int, i: int, own: int) -> None:
    """Write the positions i + j that belong to the bins of ``own``."""
    chosen = (own >> np.arange(EIGHT)) & 1 == 1
    load[at : at + chosen.sum()] = (i + np.arange(EIGHT))[chosen]


def count_bits(bits: int) -> int:
    """Number of bits that are 1."""
    return bin(bits).count("1")


@type_callable(count_bits)
def _type_count_bits(context: Any) -> Any:
    return lambda bits: types.int64 if bits == types.int64 else None


@lower_builtin(count_bits, types.int64)
def _lower_count_bits(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    return builder.ctpop(args[0])


def _words(array: Any) -> bool:
    """Whether the array's items are moved as words of 4 or 8 bytes."""
    return (
        isinstance(array, types.Array)
        and (array.ndim, array.layout) == (1, "C")
        and getattr(array.dtype, "bitwidth", 0) in (32, 64)
    )


def _eight(context: Any, builder: Any, kind: Any, array: Any, index: Any) -> Any:
    """Pointer to eight items, as bits."""
    data = context.make_array(kind)(context, builder, array).data
    vector = ir.VectorType(ir.IntType(kind.dtype.bitwidth), EIGHT)
    return builder.bitcast(builder.gep(data, [index]), vector.as_pointer())


def _store(
    context: Any, builder: Any, kind: Any, array: Any, place: Any, items: Any, own: Any
) -> None:
    """Move the items of a mask together and store them all."""
    vector = items.type
    name = f"llvm.experimental.vector.compress.v{EIGHT}i{vector.element.width}"
    function = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(vector, [vector, own.type, vector]), name
    )
    together = builder.call(function, [items, own, ir.Constant(vector, ir.Undefined)])
    pointer = _eight(context, builder, kind, array, place)
    builder.store(together, pointer).align = kind.dtype.bitwidth // 8


def _integers(*kinds: Any) -> bool:
    return all(kind == types.int64 for kind in kinds)


@type_callable(compress_bins)
def _type_compress_bins(context: Any) -> Any:
    def typer(bins: Any, at: Any, indices: Any, i: Any, size: Any, low: Any, width: Any) -> Any:
        fits = _words(bins) and _words(indices) and isinstance(indices.dtype, types.Integer)
        return types.int64 if fits and _integers(at, i, size, low, width) else None

    return typer


@lower_builtin(compress_bins, types.Array, types.int64, types.Array, *[types.int64] * 4)
def _lower_compress_bins(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    bins, at, indices, i, size, low, width = args
    kind = sig.args[2]
    found = builder.load(_eight(context, builder, kind, indices, i))
    found.align = kind.dtype.bitwidth // 8
    wide = ir.VectorType(_WORD, EIGHT)
    if kind.dtype.bitwidth < 64:
        extend = builder.sext if kind.dtype.signed else builder.zext
        found = extend(found, wide)
    negative = builder.icmp_signed("<", found, ir.Constant(wide, [0] * EIGHT))
    found = builder.select(negative, builder.add(found, spread(builder, wide, size)), found)
    found = builder.sub(found, spread(builder, wide, low))
    own = builder.icmp_unsigned("<", found, spread(builder, wide, width))
    if sig.args[0].dtype.bitwidth < 64:
        found = builder.trunc(found, ir.VectorType(_HALF, EIGHT))
    _store(context, builder, sig.args[0], bins, at, found, own)
    return builder.zext(builder.bitcast(own, _BYTE), _WORD)


def _mask(builder: Any, own: Any) -> Any:
    return builder.bitcast(builder.trunc(own, _BYTE), ir.VectorType(ir.IntType(1), EIGHT))


@type_callable(compress_values)
def _type_compress_values(context: Any) -> Any:
    def typer(load: Any, at: Any, values: Any, i: Any, own: Any) -> Any:
        fits = _words(load) and _words(values) and load.dtype == values.dtype
        return types.none if fits and _integers(at, i, own) else None

    return typer


@lower_builtin(compress_values, types.Array, types.int64, types.Array, types.int64, types.int64)
def _lower_compress_values(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    load, at, values, i, own = args
    items = builder.load(_eight(context, builder, sig.args[2], values, i))
    items.align = sig.args[2].dtype.bitwidth // 8
    _store(context, builder, sig.args[0], load, at, items, _mask(builder, own))
    return context.get_dummy_value()


@type_callable(compress_positions)
def _type_compress_positions(context: Any) -> Any:
    def typer(load: Any, at: Any, i: Any, own: Any) -> Any:
        fits = _words(load) and load.dtype == types.int64
        return types.none if fits and _integers(at, i, own) else None

    return typer


@lower_builtin(compress_positions, types.Array, *[types.int64] * 3)
def _lower_compress_positions(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    load, at, i, own = args
    vector = ir.VectorType(_WORD, EIGHT)
    first = spread(builder, vector, i)
    items = builder.add(first, ir.Constant(vector, list(range(EIGHT))))
    _store(context, builder, sig.args[0], load, at, items, _mask(builder, own))
    return context.get_dummy_value()
