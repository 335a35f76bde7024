"""How numba compiles building blocks and kernels: only what the kernels need.

numba optimises each function that it compiles together with all that it calls, makes machine code
of it, and does so again for each function that calls it. A building block is part of each kernel
that calls it, and nothing else calls the block. So LLVM only simplifies a block, and optimises a
kernel with its blocks once, as a whole. That takes a fifth to a quarter less time, and the kernels
get better: code that was prepared for the processor is harder to optimise inside of a kernel.

numba also prepares a function for Python that the kernels do not contain, such as comprehensions,
``with`` blocks and expressions of whole arrays. These passes are omitted.

numba counts how many variables refer to an array, by atomic additions, in loops too. Most kernels
make no array: their caller holds all that they use, so nothing is counted there.

numba compares the options of a compilation at each call whose types it looks for. Here they are
fixed before, which saves another few per cent.
"""

from __future__ import annotations

import weakref
from functools import cached_property
from typing import Any

import llvmlite.binding as llvm
from numba.core import ir, types
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import CompilerBase, DefaultPassBuilder, Flags
from numba.core.compiler_machinery import AnalysisPass, PassManager, register_pass

_ENVIRONMENT = "_ZN08NumbaEnv"  # numba's name of the pointer to a function's Python objects

_OMITTED = frozenset(  # numba's names of passes: what they look for is not in the kernels
    {
        "inline_closure_likes",
        "inline_inlinables",
        "inline_overloads",
        "nopython_rewrites",
        "with_lifting",
    }
)


class _InlinedCode(JITCodeLibrary):
    """A module that is linked into the modules that call it, and optimised there."""

    def _optimize_final_module(self) -> None:
        """Leave the module as it is."""

    def _finalize_final_module(self) -> None:
        self._finalize_dynamic_globals()
        self._add_environments()
        self._finalized = True

    def _add_environments(self) -> None:
        """Make the pointers to Python objects: numba writes to each after its compilation."""
        pointers = [
            str(variable)
            for variable in self._final_module.global_variables
            if variable.name.startswith(_ENVIRONMENT) and not variable.is_declaration
        ]
        module = llvm.parse_assembly("\n".join(pointers))
        module.data_layout = self._codegen._data_layout
        remove = self._codegen._add_module(module)
        if remove:
            weakref.finalize(self, remove)
        self._codegen._engine.finalize_object()

    def get_pointer_to_function(self, name: str) -> int:
        """No function of the module has an address."""
        self._ensure_finalized()
        return 0


@register_pass(mutates_CFG=False, analysis_only=True)
class _OmitCounting(AnalysisPass):
    """Count no references in a function that makes no array: its caller holds all of them."""

    _name = "omit_counting"

    def __init__(self) -> None:  # numba's is abstract
        super().__init__()

    def run_pass(self, state: Any) -> bool:
        if not _makes_counted(state):
            state.targetctx = state.targetctx.subtarget(enable_nrt=False)
        return False


# What numba's intermediate code does with arrays without making one that is counted: operations,
# functions (those of ``simd/stack_memory`` add themselves), and named tuples.
_BORROWING = frozenset(
    {"build_tuple", "cast", "exhaust_iter", "getattr", "getiter", "iternext", "pair_first", "phi"}
)
UNCOUNTED_VIEWS: set[Any] = {"array.reshape"}


def _makes_counted(state: Any) -> bool:
    """Whether a function makes or returns something that is counted: an array, an exception."""
    models, types_of = state.targetctx.data_model_manager, state.typemap

    def is_counted(kind: Any) -> bool:
        return models[kind].contains_nrt_meminfo()

    def is_borrowed(value: Any) -> bool:
        if not isinstance(value, ir.Expr) or value.op in _BORROWING:
            return True
        if value.op in ("getitem", "static_getitem"):  # by numbers and slices, not by an array
            index = value.index if value.op == "getitem" else value.index_var
            return index is None or not is_counted(types_of[index.name])
        return value.op == "call" and _borrows(types_of[value.func.name])

    blocks = list(state.func_ir.blocks.values())
    if is_counted(state.return_type):
        return True
    for block in blocks:
        if any(block.find_insts(ir.DynamicRaise)):
            return True
        for kind in (ir.SetItem, ir.StaticSetItem):  # a row into a row: numba may copy it before
            if any(is_counted(types_of[put.value.name]) for put in block.find_insts(kind)):
                return True
    return any(
        is_counted(types_of[assignment.target.name]) and not is_borrowed(assignment.value)
        for block in blocks
        for assignment in block.find_insts(ir.Assign)
    )


def _borrows(function: Any) -> bool:
    """Whether the arrays that a function returns are those it gets."""
    key = getattr(function, "typing_key", None)
    return isinstance(function, types.NamedTupleClass) or key in UNCOUNTED_VIEWS


class _FixedFlags(Flags):
    """Options of a compilation that has begun.

    numba compares them at each call that it finds the types of, all options each time.
    """

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return self is other or Flags.__eq__(self, other)

    def values(self) -> dict[str, Any]:
        return self._all

    @cached_property
    def _all(self) -> dict[str, Any]:
        return super().values()

    @cached_property
    def _hash(self) -> int:
        return super().__hash__()


class _OwnFlags(Flags):
    """Options that become fixed when a compilation begins: numba goes on with a copy."""

    def copy(self) -> Flags:
        return _FixedFlags(self)


class _Compiler(CompilerBase):
    """numba's compiler, which writes the code of a function to a library of the class ``code``."""

    code: type[JITCodeLibrary]
    omitted = _OMITTED

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.state.flags = _OwnFlags(self.state.flags)

    def define_pipelines(self) -> list[PassManager]:
        """numba's passes without those that are omitted."""
        state = self.state
        state.library = self.code(state.targetctx.codegen(), state.func_id.func_qualname)
        passes = DefaultPassBuilder.define_nopython_pipeline(state)
        needed = PassManager(passes.pipeline_name)
        for pass_, description in passes.passes:
            if pass_.name() == "native_lowering":
                needed.add_pass(_OmitCounting, "omit counting of references")
            if pass_.name() not in self.omitted:
                needed.add_pass(pass_, description)
        needed.finalize()
        return [needed]


class KernelCompiler(_Compiler):
    """numba's compiler of functions that Python calls, which are kept on disk."""

    code = JITCodeLibrary

    def define_pipelines(self) -> list[PassManager]:
        pipelines = super().define_pipelines()
        self.state.library.enable_object_caching()
        return pipelines


class BlockCompiler(_Compiler):
    """numba's compiler of functions without Python objects, which keeps the LLVM code only."""

    code = _InlinedCode


class CallersBlockCompiler(BlockCompiler):
    """The same for functions of the caller, which may contain all that numba knows."""

    omitted = frozenset()
