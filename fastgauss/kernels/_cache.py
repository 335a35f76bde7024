"""The compile cache: files of compiled code, named by sources, options and types.

numba's own cache identifies a kernel by the bytecode of that one function. It sees neither an edit
in a callee of another file nor other compile options, and returns the old code. Here the name of a
file contains a hash of all sources that the kernel is made of (see ``kernels/_sources.py``) and of
every option that changes the code. So several versions of the package can use one folder. Of each
kernel, for the same types and options, the ``KEPT`` versions that were used last are kept; older
versions are removed when a new one is saved.

A wheel can contain files for a level of processors (see ``kernels/_levels.py``). They stand in the
folder ``precompiled`` beside this file, are made as a process makes them whose numba compiles for
the level, and are looked for before all others. So they are loaded where the package's sources,
Python, numba, the options and the width of the lanes agree and the processor has the level.

A file begins with a checksum. A file that cannot be loaded, for any reason, is compiled anew
and replaced. If no folder is writable, kernels are compiled in memory; that is never an error.
Processes that start with an empty cache compile each kernel once (see ``kernels/_cache_lock.py``).
"""

from __future__ import annotations

import hashlib
import inspect
import os
import pickle
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

from llvmlite import __version__ as llvmlite_version
from numba import __version__ as numba_version
from numba.core import config, event
from numba.core.caching import FunctionCache, IndexDataCacheFile, NullCache
from numba.core.compiler import CompileResult
from numba.core.serialize import dumps

from . import _levels, _sources
from ._cache_lock import CompileLocks
from ._registers import register_bits

KEPT = 4  # versions of each kernel; the package's sources and numba make a version
_ABANDONED = 3600.0  # s: age of a temporary file whose writer must have been killed
PRECOMPILED = Path(__file__).resolve().parent / "precompiled"  # filled when a wheel is built

locks = CompileLocks()
WAITING = "fastgauss:wait"  # the event that tells listeners of a wait for another process


def _hash(*things: Any) -> str:
    return hashlib.sha256(repr(things).encode()).hexdigest()[:16]


def _options(processor: str | None, features: str | None) -> tuple:
    """The settings that change compiled code and are not in numba's own key."""
    return (
        config.BOUNDSCHECK,
        config.OPT,
        config.LOOP_VECTORIZE,
        config.SLP_VECTORIZE,
        config.DEBUGINFO_DEFAULT,
        config.USING_SVML,  # code that calls this library cannot be loaded without it
        processor,
        features,
        os.environ.get("NUMBA_ENABLE_AVX"),
        register_bits(),
    )


class Identity:
    """What tells the code of a function from that of others and from other versions of it.

    Raises
    ------
    OSError
        If the sources cannot be read.
    """

    def __init__(self, function: Callable, stamp: str | None = None) -> None:
        self._sources = _sources.describe(function, stamp)
        module = Path(inspect.getfile(function)).stem
        name = f"{module}.{function.__qualname__}".replace("<", "").replace(">", "")
        python = f"py{sys.version_info[0]}{sys.version_info[1]}{getattr(sys, 'abiflags', '')}"
        self._name = f"{name}.{python}"
        closure = self._sources.code
        if closure is None:  # pickled, which differs for equal strings that are different objects
            cells = tuple(cell.cell_contents for cell in function.__closure__ or ())
            closure = hashlib.sha256(dumps(cells)).hexdigest()
        self._code = _sources.code_digest(function.__code__), closure

    def files(self, folder: str, processor: str | None, features: str | None) -> CodeFiles:
        """The function's files for numba's settings of a processor."""
        return CodeFiles(
            cache_path=folder,
            name=self._name,
            kind=(self._sources.closure, _options(processor, features)),
            version=(self._sources.stamp, numba_version, llvmlite_version),
        )

    def key(self, signature: Any, target: tuple) -> tuple:
        """The key of the code for types and for a target, as numba describes it."""
        return signature, target, self._code


class CodeFiles(IndexDataCacheFile):
    """One file for each set of types, options and sources, which the file's name contains.

    numba numbers its files and has an index of them. Two processes that save at the same time take
    the same number, and the index then returns the code of one for the types of the other.

    Parameters
    ----------
    cache_path : str
        The folder.
    name : str
        The begin of all names of the kernel's files.
    kind, version : object
        ``kind`` distinguishes kernels of this name, ``version`` versions of one kernel.
    """

    def __init__(self, cache_path: str, name: str, kind: Any, version: Any) -> None:
        super().__init__(cache_path, name, version)
        self._name, self._kind = name, kind

    def _names(self, key: Any) -> tuple[str, str]:
        """The begin of the names of all versions, and the name of this version."""
        signature, target, (code, closure) = key
        kind = _hash(self._kind, signature, target)
        version = _hash(self._source_stamp, code, closure)
        return f"{self._name}-{kind}.", f"{self._name}-{kind}.{version}.nbc"

    def path(self, key: Any) -> str:
        return os.path.join(self._cache_path, self._names(key)[1])  # noqa: PTH118

    def save(self, key: Any, data: Any) -> None:
        whole = self._dump((self._source_stamp, key, data))
        with self._open_for_write(self.path(key)) as file:
            file.write(hashlib.sha256(whole).digest())
            file.write(whole)
        self._remove_old(*self._names(key))

    def load(self, key: Any, used: bool = True) -> Any:
        """The saved object, or None if it cannot be loaded, for any reason.

        ``used`` says whether the time of the file becomes that of this use.
        """
        try:
            with Path(self.path(key)).open("rb") as file:
                digest, whole = file.read(32), file.read()
                if hashlib.sha256(whole).digest() != digest:
                    return None
                stamp, own, data = pickle.loads(whole)
                if stamp != self._source_stamp or own != key:
                    return None
            if used:
                with suppress(OSError):
                    os.utime(self.path(key))
            return data
        except Exception:  # unpickling can raise any exception
            return None

    def _files(self, start: str) -> Iterator[tuple[os.DirEntry, float]]:
        """The files whose names begin with ``start``, with the times of their last use."""
        with os.scandir(self._cache_path) as entries:
            for entry in entries:
                if entry.name.startswith(start):
                    with suppress(OSError):
                        yield entry, entry.stat().st_mtime

    def _remove_old(self, start: str, new: str) -> None:
        """Remove versions beyond ``KEPT``, oldest use first, and abandoned temporary files."""
        with suppress(OSError):
            kept, now = [], time.time()
            for entry, used in self._files(start):
                if entry.name.endswith(".nbc"):
                    kept.append((entry.name == new, used, entry.path))
                elif now - used > _ABANDONED:
                    Path(entry.path).unlink(missing_ok=True)
            for *_, path in sorted(kept, reverse=True)[KEPT:]:
                Path(path).unlink(missing_ok=True)

    def flush(self) -> None:
        for entry, _ in self._files(f"{self._name}-"):
            Path(entry.path).unlink(missing_ok=True)


class _StampedCache(FunctionCache):
    """numba's file cache, with `CodeFiles` as its files."""

    def __init__(self, function: Callable, identity: Identity | None) -> None:
        super().__init__(function)
        if identity is None:  # a frozen program: the stamp is that of the whole program
            identity = Identity(function, self._impl.locator.get_source_stamp())
        self._identity = identity
        self._cache_file = identity.files(self._cache_path, config.CPU_NAME, config.CPU_FEATURES)

    def _index_key(self, sig: Any, codegen: Any) -> tuple:
        return self._identity.key(sig, codegen.magic_tuple())

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            return super().load_overload(sig, target_context)
        except Exception:  # the checksum is right, but numba cannot use the content
            return None

    def load_under_lock(self, signature: Any, target_context: Any) -> Any:
        """The stored code, which another process may store meanwhile; None: compile it."""

        def look() -> Any:
            return self.load_overload(signature, target_context)

        found = look()
        if found is not None:
            return found
        path = self._cache_file.path(self._index_key(signature, target_context.codegen()))
        with event.trigger_event(WAITING):
            return locks.wait(self._cache_path, path, look)


class PackageCache:
    """The cache of one dispatcher; it opens at its first use, so that an import costs nothing.

    Nothing is stored if no folder is writable (numba then raises RuntimeError), or if the source
    files were replaced after this process imported them: it compiles the old sources.
    A kernel whose cache is flushed is compiled anew in this process, also where the wheel has it.
    """

    def __init__(self, function: Callable) -> None:
        self._function = function
        self._is_enabled = True
        self._is_flushed = False

    @cached_property
    def _identity(self) -> Identity | None:
        try:
            return Identity(self._function)
        except OSError:
            return None

    @cached_property
    def _cache(self) -> Any:
        try:
            if self._identity is None and not getattr(sys, "frozen", False):
                return NullCache()
            return _StampedCache(self._function, self._identity)
        except (RuntimeError, OSError):
            return NullCache()

    @property
    def cache_path(self) -> str | None:
        return self._cache.cache_path

    def _precompiled(self, signature: Any, target_context: Any) -> Any:
        """The code that the wheel contains for this machine's level, if any."""
        level = _levels.host_level() if PRECOMPILED.is_dir() else None
        if level is None or self._identity is None or self._is_flushed:
            return None
        target_context.refresh()
        triple, *_ = target_context.codegen().magic_tuple()
        files = self._identity.files(str(PRECOMPILED), level, "")
        data = files.load(self._identity.key(signature, (triple, level, "")), used=False)
        try:
            return data and CompileResult._rebuild(target_context, *data)
        except Exception:  # numba cannot use the content
            return None

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        if not self._is_enabled:
            return None
        found = self._precompiled(sig, target_context)
        if found is None and not isinstance(self._cache, NullCache):
            found = self._cache.load_under_lock(sig, target_context)
        return found

    def save_overload(self, sig: Any, data: Any) -> None:
        try:
            if self._is_enabled and not _sources.changed():
                self._cache.save_overload(sig, data)
        except OSError:
            self._cache = NullCache()
        except RuntimeError:  # after a Ctrl-C while a callee compiled: numba runs this, no more
            pass

    def enable(self) -> None:
        self._is_enabled = True

    def disable(self) -> None:
        self._is_enabled = False

    def flush(self) -> None:
        self._is_flushed = True
        self._cache.flush()
