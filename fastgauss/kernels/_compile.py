"""The compile policy: the only file of the package that says ``njit``.

``kernel`` makes an entry point that Python calls: compiled on its first call,
kept on disk, and free of the GIL while it runs. ``device`` makes a building
block: a plain Python function that kernels (and the caller's own ``@njit``
code) may call, and that a kernel factory may close over. A closure over a
*dispatcher* would never be found in numba's cache again; a closure over a
plain function is. ``inner_kernel`` makes a building block as large as a kernel.

``kernels/_inlining.py`` compiles the building blocks, which need no machine code.
``kernels/_signatures.py`` remembers what numba would find out again at each call.
``kernels/_cache.py`` stores compiled code on disk, under a stamp of the sources that the
code is made of and of every option that changes it.

Floating point: products and sums may be contracted (``fma``), nothing else.
Sums are never reordered, so results do not depend on how work was split, and
NaN and infinity keep their meaning.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial, wraps
from typing import Any

import numpy as np
from numba import njit, types
from numba.core import config
from numba.core.compiler_lock import global_compiler_lock
from numba.core.registry import cpu_target
from numba.extending import overload, register_jitable

from ._cache import PackageCache, locks
from ._inlining import BlockCompiler, CallersBlockCompiler, KernelCompiler
from ._signatures import remembering

FASTMATH = frozenset({"contract"})

_OPTIONS: dict[str, Any] = {
    "fastmath": set(FASTMATH),
    "error_model": "numpy",
    "no_cfunc_wrapper": True,  # for calls from C
}

_BLOCK: dict[str, Any] = {"forceinline": True, "pipeline_class": BlockCompiler, **_OPTIONS}

_INNER_KERNEL: dict[str, Any] = {**_BLOCK, "forceinline": False}  # else that of the caller

_KERNEL: dict[str, Any] = {"nogil": True, "pipeline_class": KernelCompiler, **_OPTIONS}

_COLLECTIONS = (50_000, 20, 1 << 30)  # of garbage, while a kernel compiles: no full ones

JIT_DISABLED = bool(config.DISABLE_JIT)


def device(function: Callable) -> Callable:
    """Make a building block that compiled code calls; from Python it runs as it is."""
    return register_jitable(**_BLOCK)(function)


def callers_block(function: Callable) -> Callable:
    """Make a building block of a function that the caller wrote."""
    return register_jitable(**{**_BLOCK, "pipeline_class": CallersBlockCompiler})(function)


def inner_kernel(function: Callable) -> Callable:
    """Make a building block as large as a kernel, which is not inlined.

    So it is optimised as often as the kernel that is made of the same function, with the same that
    it calls, and compiled code that calls it gets the kernel's bits.
    """
    return register_jitable(**_INNER_KERNEL)(function)


def variants(function: Callable) -> Callable:
    """Let the decorated chooser name the building block that a call of ``function`` means.

    It gets numba's types of the arguments. From Python, ``function`` runs as it is.
    """
    return overload(function, jit_options=_BLOCK, strict=False)


def entry(function: Callable) -> Callable:
    """A building block that the caller's own compiled code enters by; quiet like a kernel."""
    return device(np.errstate(all="ignore")(function) if JIT_DISABLED else function)


def kernel(function: Callable) -> Callable:
    """Compile an entry point on its first call, without the GIL, cached for the package.

    Under ``NUMBA_DISABLE_JIT=1`` numpy runs it, as quiet about 1 / 0 as compiled code.
    """
    if JIT_DISABLED:
        return np.errstate(all="ignore")(function)
    dispatcher = njit(**_KERNEL)(function)
    dispatcher._cache = PackageCache(function)
    dispatcher.compile = _under_lock(dispatcher.compile)
    dispatcher.get_call_template = _without_literals(dispatcher.get_call_template)
    return dispatcher


def _without_literals(get_call_template: Callable) -> Callable:
    """A dispatcher's ``get_call_template``, which knows no constants: 50 is an integer.

    numba types a constant in the caller's code by its value, so it would compile the kernel once
    for each value, and once more for calls from Python.
    """

    @wraps(get_call_template)
    def get_call_template_of_types(args: tuple, kws: dict[str, Any]) -> Any:
        plain = {name: types.unliteral(type_) for name, type_ in kws.items()}
        return get_call_template(tuple(map(types.unliteral, args)), plain)

    return get_call_template_of_types


def _under_lock(compile_: Callable) -> Callable:
    """A dispatcher's ``compile``; every call from Python or numba holds the kernel's lock."""

    @wraps(compile_)
    def compile_under_lock(signature: Any) -> Any:
        if _noted is not None:
            _noted.setdefault((compile_, signature), partial(compile_under_lock, signature))
            return _write_ones
        with (
            global_compiler_lock,
            locks.compiling(),
            _few_collections(),
            remembering(cpu_target.typing_context),
        ):
            return compile_(signature)

    return compile_under_lock


@contextmanager
def _few_collections() -> Iterator[None]:
    """Let Python look for garbage seldom, unless the caller has turned that off.

    Most of what a compilation makes stays. Each full collection walks over all that numba has
    made; together they take a twentieth of the time.
    """
    thresholds = gc.get_threshold()
    if thresholds[0]:
        gc.set_threshold(*_COLLECTIONS)
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)


_Noted = dict[tuple[Callable, Any], Callable[[], Any]]  # by kernel and types
_noted: _Noted | None = None


@contextmanager
def noting() -> Iterator[_Noted]:
    """Note in the order of the first calls what compiles each kernel, and do not compile it.

    Such a kernel writes ones into its arrays, so that the block goes on to the next kernel. This
    is for a process that only compiles, in an order of its own: the results are no results.
    """
    global _noted
    noted = _noted = {}
    try:
        yield noted
    finally:
        _noted = None


def _write_ones(*arguments: Any) -> None:
    for argument in arguments:
        if isinstance(argument, tuple):
            _write_ones(*argument)
        elif isinstance(argument, np.ndarray) and argument.flags.writeable:
            argument.fill(1)


def cache_path(dispatcher: Any) -> str | None:
    """The folder that holds a kernel's compiled code; None where nothing can be kept."""
    return dispatcher._cache.cache_path
