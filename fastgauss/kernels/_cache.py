"""The compile cache: files of compiled code, named by sources, options and types.

numba's own cache identifies a kernel by the bytecode of that one function. It sees neither an edit
in a callee of another file nor other compile options, and returns the old code. Here the name of a
file contains a hash of all sources that the kernel is made of (see ``kernels/_sources.py``) and of
every option that changes the code. So several versions of the package can use one folder. Of each
kernel, for the same types and options, the ``KEPT`` versions that were used last are kept; older
versions are removed when a new one is saved.

A file begins with a checksum. A file that cannot be loaded, for whatever reason, is compiled anew
and replaced. If no folder is writable, kernels are compiled in memory; that is never an error.
Processes that start with an empty cache compile each kernel once (see ``kernels/_cache_lock.py``).
"""

from __future__ import annotations

import hashlib
import os
import pickle
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

from numba import __version__ as numba_version
from numba.core import config
from numba.core.caching import FunctionCache, IndexDataCacheFile, NullCache

from . import _sources
from ._cache_lock import Turns

KEPT = 4  # versions of each kernel; the package's sources and numba make a version
_ABANDONED = 3600.0  # s: age of a temporary file whose writer must have been killed

turns = Turns()


def _hash(*things: Any) -> str:
    return hashlib.sha256(repr(things).encode()).hexdigest()[:16]


def _options() -> tuple:
    """The settings that change compiled code and are not in numba's own key."""
    return (
        config.BOUNDSCHECK,
        config.OPT,
        config.LOOP_VECTORIZE,
        config.SLP_VECTORIZE,
        config.DEBUGINFO_DEFAULT,
        config.CPU_NAME,
        config.CPU_FEATURES,
        os.environ.get("NUMBA_ENABLE_AVX"),
        os.environ.get("FASTGAUSS_REGISTER_BITS") or None,
    )


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

    def load(self, key: Any) -> Any:
        """The saved object, or None if it cannot be loaded, for whatever reason."""
        try:
            with Path(self.path(key)).open("rb") as file:
                digest, whole = file.read(32), file.read()
                if hashlib.sha256(whole).digest() != digest:
                    return None
                stamp, own, data = pickle.loads(whole)
                if stamp != self._source_stamp or own != key:
                    return None
            with suppress(OSError):
                os.utime(self.path(key))  # used now
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

    def __init__(self, function: Callable) -> None:
        super().__init__(function)
        locator = self._impl.locator
        line = locator.get_disambiguator()
        name, _, python = self._impl.filename_base.rpartition(f"-{line}.")
        try:
            stamp, closure = _sources.stamp(function)
        except OSError:
            if not getattr(sys, "frozen", False):
                raise
            stamp, closure = locator.get_source_stamp(), ""  # of the whole program
        self._cache_file = CodeFiles(
            cache_path=self._cache_path,
            name=f"{name}.{python}",
            kind=(closure, _options()),
            version=(stamp, numba_version, line),
        )

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            return super().load_overload(sig, target_context)
        except Exception:  # the checksum is right, but numba cannot use the content
            return None

    def load_in_turn(self, signature: Any, target_context: Any) -> Any:
        """The stored code, which another process may store meanwhile; None: compile it."""

        def look() -> Any:
            return self.load_overload(signature, target_context)

        found = look()
        if found is not None:
            return found
        path = self._cache_file.path(self._index_key(signature, target_context.codegen()))
        return turns.wait(self._cache_path, path, look)


class PackageCache:
    """The cache of one dispatcher; it opens at its first use, so that an import costs nothing.

    Nothing is stored if no folder is writable (numba then raises RuntimeError), or if the source
    files were replaced after this process imported them: it compiles the old sources.
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
            if not _sources.changed():
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
