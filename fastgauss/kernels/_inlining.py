"""How numba compiles a building block: LLVM code for its callers, without machine code.

numba makes machine code of every function that it compiles. A building block is part of each
kernel that calls it, and the block's own machine code is never called. To omit it saves about a
sixth of the time of a compilation. The kernels get better, too: LLVM prepares a module for the
processor in place, and a module that was prepared is harder to optimise inside of a kernel
(AVX2: a tenth fewer instructions in the kernels of the fits and filters).

numba compares the options of a compilation at each call whose types it looks for. Here they are
fixed before, which saves another few per cent.
"""

from __future__ import annotations

import weakref
from functools import cached_property
from typing import Any

import llvmlite.binding as llvm
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler, CompilerBase, DefaultPassBuilder, Flags

_ENVIRONMENT = "_ZN08NumbaEnv"  # numba's name of the pointer to a function's Python objects


class _InlinedCode(JITCodeLibrary):
    """A module that is optimised, and linked into the modules that call it."""

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
    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.state.flags = _OwnFlags(self.state.flags)


class KernelCompiler(_Compiler, Compiler):
    """numba's compiler."""


class BlockCompiler(_Compiler):
    """numba's compiler of functions without Python objects, which keeps the LLVM code only."""

    def define_pipelines(self) -> list[Any]:
        state = self.state
        state.library = _InlinedCode(state.targetctx.codegen(), state.func_id.func_qualname)
        return [DefaultPassBuilder.define_nopython_pipeline(state)]
