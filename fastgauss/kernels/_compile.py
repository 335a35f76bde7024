"""The compile policy: the only file of the package that says ``njit``.

``kernel`` makes an entry point that Python calls: compiled on its first call,
kept on disk, and free of the GIL while it runs. ``device`` makes a building
block: a plain Python function that kernels (and the caller's own ``@njit``
code) may call, and that a kernel factory may close over. A closure over a
*dispatcher* would never be found in numba's cache again; a closure over a
plain function is.

numba's cache knows a kernel by the bytecode of that one function. It sees
neither an edit in a callee of another file nor other compile options, and
returns the old answer. Here the stamp of every cache file covers all sources
of the kernels and every option that changes the code. A place that cannot be
written means compilation in memory, never an error. Processes that start cold
on one cache compile each kernel once (see ``kernels/_cache_lock.py``).

Floating point: products and sums may be contracted (``fma``), nothing else.
Sums are never reordered, so results do not depend on how work was split, and
NaN and infinity keep their meaning.
"""

from __future__ import annotations

import hashlib
import os
import pickle
from collections.abc import Callable
from contextlib import suppress
from functools import cache, cached_property, wraps
from pathlib import Path
from typing import Any

import numpy as np
from numba import __version__ as numba_version
from numba import njit
from numba.core import config
from numba.core.caching import FunctionCache, IndexDataCacheFile, NullCache
from numba.core.compiler_lock import global_compiler_lock
from numba.extending import overload, register_jitable

from ._cache_lock import Turns

FASTMATH = frozenset({"contract"})

_OPTIONS: dict[str, Any] = {"fastmath": set(FASTMATH), "error_model": "numpy"}

JIT_DISABLED = bool(config.DISABLE_JIT)


def device(function: Callable) -> Callable:
    """Make a building block that compiled code calls; from Python it runs as it is."""
    return register_jitable(forceinline=True, **_OPTIONS)(function)


def variants(function: Callable) -> Callable:
    """Let the decorated chooser name the building block that a call of ``function`` means.

    It gets numba's types of the arguments. From Python, ``function`` runs as it is.
    """
    return overload(function, jit_options={"forceinline": True, **_OPTIONS}, strict=False)


def entry(function: Callable) -> Callable:
    """A building block that the caller's own compiled code enters by; quiet like a kernel."""
    return device(np.errstate(all="ignore")(function) if JIT_DISABLED else function)


def kernel(function: Callable) -> Callable:
    """Compile an entry point on its first call, without the GIL, cached for the package.

    Under ``NUMBA_DISABLE_JIT=1`` numpy runs it, as quiet about 1 / 0 as compiled code.
    """
    if JIT_DISABLED:
        return np.errstate(all="ignore")(function)
    dispatcher = njit(nogil=True, **_OPTIONS)(function)
    dispatcher._cache = _PackageCache(function)
    dispatcher.compile = _in_turn(dispatcher.compile)
    return dispatcher


_turns = Turns()


def _in_turn(compile_: Callable) -> Callable:
    """A dispatcher's ``compile``, of which every call from Python or numba is one turn."""

    @wraps(compile_)
    def compile_in_turn(signature: Any) -> Any:
        with global_compiler_lock, _turns.compiling():
            return compile_(signature)

    return compile_in_turn


def cache_path(dispatcher: Any) -> str | None:
    """The folder that holds a kernel's compiled code; None where nothing can be kept."""
    return dispatcher._cache.cache_path


@cache
def _source_stamp() -> str:
    """Hash of all sources that compiled code is made of: an edit makes every kernel new."""
    root = Path(__file__).resolve().parent
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _option_stamp() -> str:
    """Hash of what changes the compiled code and is not in numba's own key."""
    settings = (
        numba_version,
        sorted(FASTMATH),
        config.BOUNDSCHECK,
        config.OPT,
        config.LOOP_VECTORIZE,
        config.SLP_VECTORIZE,
        config.DEBUGINFO_DEFAULT,
        config.CPU_NAME,
        config.CPU_FEATURES,
        os.environ.get("NUMBA_ENABLE_AVX"),
    )
    return hashlib.sha256(repr(settings).encode()).hexdigest()


class _NamedFiles(IndexDataCacheFile):
    """One file for each set of types, named by them.

    numba numbers the files, and an index tells which is whose: two processes that save at
    the same time take the same number, and the index then gives one's code for the other's types.
    """

    def path(self, key: Any) -> str:
        signature, target, (_, closure) = key
        name = hashlib.sha256(repr((signature, target, closure)).encode()).hexdigest()[:16]
        return self._index_path.replace(".nbi", f".{name}.nbc")

    def save(self, key: Any, data: Any) -> None:
        with self._open_for_write(self.path(key)) as file:
            for part in (self._source_stamp, key, data):
                file.write(self._dump(part))

    def load(self, key: Any) -> Any:
        try:
            with Path(self.path(key)).open("rb") as file:
                if pickle.load(file) == self._source_stamp and pickle.load(file) == key:
                    return pickle.load(file)
        except (FileNotFoundError, EOFError, pickle.UnpicklingError):  # also one cut short
            pass
        return None

    def flush(self) -> None:
        index = Path(self._index_path)
        for path in index.parent.glob(index.name.replace(".nbi", ".*.nbc")):
            path.unlink(missing_ok=True)


class _StampedCache(FunctionCache):
    """numba's file cache under a stamp that covers all sources of kernels.

    Each set of options has files of its own, so that a run with bounds checks
    and one without do not drive out each other's code.
    """

    def __init__(self, function: Callable) -> None:
        super().__init__(function)
        stamp = _option_stamp()
        self._cache_file = _NamedFiles(
            cache_path=self._cache_path,
            filename_base=f"{self._impl.filename_base}-{stamp[:8]}",
            source_stamp=(_source_stamp(), stamp),
        )

    def load_in_turn(self, signature: Any, target_context: Any) -> Any:
        """What is kept, or what another process keeps meanwhile; None: compile it."""

        def look() -> Any:
            with suppress(OSError):
                return self.load_overload(signature, target_context)

        found = look()
        if found is not None:
            return found
        path = self._cache_file.path(self._index_key(signature, target_context.codegen()))
        return _turns.wait(self._cache_path, path, look)


class _PackageCache:
    """What a dispatcher holds as its cache: opened when first asked, so imports stay free.

    With no writable place numba raises RuntimeError; then nothing is kept.
    """

    def __init__(self, function: Callable) -> None:
        self._function = function

    @cached_property
    def _cache(self) -> Any:
        try:
            return _StampedCache(self._function)
        except (RuntimeError, OSError):
            return NullCache()

    @property
    def cache_path(self) -> str | None:
        return self._cache.cache_path

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        if isinstance(self._cache, NullCache):
            return None
        return self._cache.load_in_turn(sig, target_context)

    def save_overload(self, sig: Any, data: Any) -> None:
        try:
            self._cache.save_overload(sig, data)
        except OSError:
            self._cache = NullCache()
        except RuntimeError:  # after a Ctrl-C while a callee compiled: numba runs this, no more
            pass

    def enable(self) -> None:
        self._cache.enable()

    def disable(self) -> None:
        self._cache.disable()

    def flush(self) -> None:
        self._cache.flush()
