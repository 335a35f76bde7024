"""Numba types of lanes and masks; operators."""

from __future__ import annotations

import operator
from typing import Any

from llvmlite import ir
from numba import types
from numba.core.imputils import lower_builtin
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import models, register_model

from .._registers import register_bits

REGISTER_BITS = register_bits()
WIDTH = REGISTER_BITS // 64  # lanes of a float64 value
ALL_LANES = (1 << WIDTH) - 1  # mask_bits of a mask that is true everywhere

FLAGS = ("contract",)
_INDEX = ir.IntType(32)


class LaneType(types.Type):
    """numba's type of a lane value: ``width`` numbers of ``dtype``."""

    def __init__(self, dtype: types.Float, width: int) -> None:
        self.dtype, self.width = dtype, width
        super().__init__(name=f"lanes({dtype}, {width})")


class MaskType(types.Type):
    """numba's type of a mask: one truth value for each lane."""

    def __init__(self, width: int) -> None:
        self.width = width
        super().__init__(name=f"mask({width})")


def lane_type(dtype: types.Float) -> LaneType:
    """The lane type of ``dtype`` that fills one register, for your own signatures.

    Examples
    --------
    >>> lane_type(types.float32).width == 2 * lane_type(types.float64).width
    True
    """
    return LaneType(dtype, REGISTER_BITS // dtype.bitwidth)


def _llvm_scalar(dtype: types.Float) -> ir.Type:
    return ir.DoubleType() if dtype == types.float64 else ir.FloatType()


def _llvm_bits(lane: LaneType) -> ir.Type:
    return ir.VectorType(ir.IntType(lane.dtype.bitwidth), lane.width)


@register_model(LaneType)
class _LaneModel(models.PrimitiveModel):
    def __init__(self, dmm: Any, fe_type: LaneType) -> None:
        vector = ir.VectorType(_llvm_scalar(fe_type.dtype), fe_type.width)
        super().__init__(dmm, fe_type, vector)


@register_model(MaskType)
class _MaskModel(models.PrimitiveModel):
    def __init__(self, dmm: Any, fe_type: MaskType) -> None:
        super().__init__(dmm, fe_type, ir.VectorType(ir.IntType(1), fe_type.width))


# -- operators ---------------------------------------------------------------------------------

# numba tries the rules of an operator in turn, those for a target before those for any. Its own are
# slow to refuse lanes: without this the type of a sum of lanes takes five times as long.
_TRIED_FIRST = {"target": "cpu"}


def _common(a: Any, b: Any) -> LaneType | None:
    """The lane type of a binary operation, None if no lane takes part."""
    lanes = [t for t in (a, b) if isinstance(t, LaneType)]
    if not lanes or any(t != lanes[0] for t in lanes):
        return None
    others = [t for t in (a, b) if not isinstance(t, LaneType)]
    return lanes[0] if all(isinstance(t, (types.Float, types.Integer)) for t in others) else None


def spread(builder: Any, vector: ir.VectorType, value: Any) -> Any:
    undefined = ir.Constant(vector, ir.Undefined)
    first = builder.insert_element(undefined, value, ir.Constant(_INDEX, 0))
    zeros = ir.Constant(ir.VectorType(_INDEX, vector.count), [0] * vector.count)
    return builder.shuffle_vector(first, undefined, zeros)


def as_lanes(context: Any, builder: Any, lane: LaneType, value: Any, kind: Any) -> Any:
    if isinstance(kind, LaneType):
        return value
    scalar = context.cast(builder, value, kind, lane.dtype)
    return spread(builder, context.get_value_type(lane), scalar)


def _binary(symbol: Any, emit: Any, masks: bool = False) -> None:
    @infer_global(symbol)
    class _Typing(AbstractTemplate):
        metadata = _TRIED_FIRST

        def generic(self, args: Any, kws: Any) -> Any:
            lane = _common(*args) if len(args) == 2 else None
            if lane is not None:
                return signature(MaskType(lane.width) if masks else lane, *args)
            return None

    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        lane = next(t for t in sig.args if isinstance(t, LaneType))
        both = [as_lanes(context, builder, lane, v, t) for v, t in zip(args, sig.args, strict=True)]
        return emit(builder, *both)

    for kinds in (
        (LaneType, LaneType),
        (LaneType, types.Number),
        (types.Number, LaneType),
    ):
        lower_builtin(symbol, *kinds)(lower)


_binary(operator.add, lambda b, x, y: b.fadd(x, y, flags=FLAGS))
_binary(operator.sub, lambda b, x, y: b.fsub(x, y, flags=FLAGS))
_binary(operator.mul, lambda b, x, y: b.fmul(x, y, flags=FLAGS))
_binary(operator.truediv, lambda b, x, y: b.fdiv(x, y, flags=FLAGS))
_binary(operator.ne, lambda b, x, y: b.fcmp_unordered("!=", x, y), masks=True)


def _simple(symbol: Any, kinds: tuple, result: Any, emit: Any) -> None:
    """Type ``symbol`` for operands of exactly these kinds and lower it by ``emit``."""

    @infer_global(symbol)
    class _Typing(AbstractTemplate):
        metadata = _TRIED_FIRST

        def generic(self, args: Any, kws: Any) -> Any:
            if len(args) == len(kinds) and all(map(isinstance, args, kinds)):
                kind = result(*args)
                return None if kind is None else signature(kind, *args)
            return None

    lower_builtin(symbol, *kinds)(emit)


def _same(a: Any, *others: Any) -> Any:
    return a if all(t == a for t in others) else None


_simple(operator.invert, (MaskType,), _same, lambda c, b, sig, args: b.not_(args[0]))
_simple(operator.neg, (LaneType,), _same, lambda c, b, sig, args: b.fneg(args[0], flags=FLAGS))
