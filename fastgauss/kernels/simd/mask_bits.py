"""Masks as integers; the lowest set bit."""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core.imputils import lower_builtin
from numba.extending import type_callable

from .lane_types import WIDTH, MaskType


def mask_bits(mask: np.ndarray) -> int:
    """The mask as an integer, lane 0 in the lowest bit.

    Examples
    --------
    >>> from fastgauss.kernels import load
    >>> mask_bits(load(np.arange(8.0), 0) < 2.0)
    3
    """
    return int(np.packbits(mask, bitorder="little")[0])


def mask_from_bits(bits: int) -> np.ndarray:
    """The mask whose lane k is bit k of the integer."""
    return (bits >> np.arange(WIDTH)) & 1 == 1


def lowest_bit(bits: int) -> int:
    """Position of the lowest set bit; 64 if there is none.

    Examples
    --------
    >>> lowest_bit(12)
    2
    """
    return (bits & -bits).bit_length() - 1 if bits else 64


@type_callable(lowest_bit)
def _type_lowest_bit(context: Any) -> Any:
    return lambda bits: types.int64 if bits == types.int64 else None


@lower_builtin(lowest_bit, types.int64)
def _lower_lowest_bit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    return builder.cttz(args[0], ir.Constant(ir.IntType(1), 0))


@type_callable(mask_bits)
def _type_mask_bits(context: Any) -> Any:
    return lambda mask: types.int64 if isinstance(mask, MaskType) else None


@lower_builtin(mask_bits, MaskType)
def _lower_mask_bits(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    word = builder.bitcast(args[0], ir.IntType(sig.args[0].width))
    return builder.zext(word, ir.IntType(64))


@type_callable(mask_from_bits)
def _type_mask_from_bits(context: Any) -> Any:
    return lambda bits: MaskType(WIDTH) if isinstance(bits, types.Integer) else None


@lower_builtin(mask_from_bits, types.Integer)
def _lower_mask_from_bits(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    word = context.cast(builder, args[0], sig.args[0], types.int64)
    narrow = builder.trunc(word, ir.IntType(sig.return_type.width))
    return builder.bitcast(narrow, ir.VectorType(ir.IntType(1), sig.return_type.width))
