"""Source stamps: a hash of the source files that a kernel is made of.

A kernel is made of its own module, of the modules of all functions that it closes over, and of all
modules of this package that these import, directly or indirectly. A file that extends numba (by
types, operators or instructions) counts for every kernel, because its effect needs no import. So an
edit changes the stamps of the kernels that it can change, and no others.

Regular expressions find the imports. To parse all files with ``ast`` takes fifty times as long, and
every process that loads a kernel would wait for it. A test compares the two.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any, NamedTuple

import numpy as np

_ROOT = Path(__file__).resolve().parent
_PACKAGE = __package__ or ""

_IMPORT = re.compile(
    rb"^[ \t]*from[ \t]+([\w.]+)[ \t]+import[ \t]+(\((?:[^)#]|#.*)*\)|.*)"
    rb"|^[ \t]*import[ \t]+(.*)",
    re.MULTILINE,
)
_NAME = re.compile(rb"#.*|\bas\s+\w+|([\w.*]+)")
_EXTENDING = (b"numba.core", b"numba.extending")
_ANY = (b"_".join((b"import", b"module")), b"".join((b"__im", b"port__")))  # this file has neither


# -- files -------------------------------------------------------------------------------------


def _states() -> dict[str, tuple[int, int, int]]:
    """All source files with time, size and number, by which a replaced file is recognised."""
    found = {}
    for folder, folders, files in os.walk(_ROOT):
        folders[:] = [name for name in folders if name != "__pycache__"]
        for path in (f"{folder}/{name}" for name in files if name.endswith(".py")):
            state = os.stat(path)  # noqa: PTH116
            found[path] = state.st_mtime_ns, state.st_size, state.st_ino
    return found


_STATES = _states()  # at import


def changed() -> bool:
    """Whether files were replaced since this module was imported."""
    return _states() != _STATES


@cache
def _texts() -> dict[str, bytes]:
    """The sources by the names of their modules within this package; its own name is ""."""
    texts = {}
    for path in map(Path, _STATES):
        *folders, name = path.relative_to(_ROOT).with_suffix("").parts
        texts[".".join(folders if name == "__init__" else [*folders, name])] = path.read_bytes()
    if changed():
        raise OSError("the source files are not those that were imported")
    return texts


@cache
def _is_package(module: str) -> bool:
    return not module or any(other.startswith(f"{module}.") for other in _texts())


# -- imports -----------------------------------------------------------------------------------


def _within(name: str, module: str) -> str | None:
    """The name in this package of ``name`` as ``module`` imports it; None: another package."""
    bare = name.lstrip(".")
    up = len(name) - len(bare)
    if up:
        parts = module.split(".") if module else []
        left = len(parts) - up + _is_package(module)
        return None if left < 0 else ".".join([*parts[:left], *filter(None, [bare])])
    if name == _PACKAGE:
        return ""
    return name.removeprefix(f"{_PACKAGE}.") if name.startswith(f"{_PACKAGE}.") else None


def _names(text: bytes) -> Iterator[str]:
    yield from (name.decode() for name in _NAME.findall(text) if name)


@cache
def imports(module: str) -> frozenset[str]:
    """The modules of this package that a module imports, or from which it imports names."""
    texts = _texts()
    found: set[str | None] = set()
    code = b"".join(texts[module].split(b'"""')[::2])  # docstrings can hold imports
    for source, names, plain in _IMPORT.findall(code):
        found.update(_within(name, module) for name in _names(plain))
        place = _within(source.decode(), module) if source else None
        if place is None:
            continue
        for name in _names(names):
            inner = f"{place}.{name}" if place else name
            found.add(inner if inner in texts else place)
    return frozenset(name for name in found if name is not None and name in texts)


def _holds(text: bytes, words: tuple[bytes, ...]) -> bool:
    return any(word in text for word in words)


@cache
def reach(roots: frozenset[str]) -> frozenset[str]:
    """All modules that the roots import, directly or not, and all that extend numba."""
    texts = _texts()
    todo = {*roots, *(name for name, text in texts.items() if _holds(text, _EXTENDING))}
    reached: set[str] = set()
    while todo:
        module = todo.pop()
        if module in reached:
            continue
        reached.add(module)
        if _holds(texts[module], _ANY):  # it can import any module
            return frozenset(texts)
        todo |= imports(module)
        package = module.rpartition(".")[0]
        if package:  # Python imports it first; the top package only passes names on
            todo.add(package)
    return frozenset(reached)


# -- kernels -----------------------------------------------------------------------------------


_PLAIN = (str, bytes, int, float, complex, type(None))


class Description(NamedTuple):
    """What tells the code of a kernel from all other code."""

    stamp: str  # a hash of the sources that the kernel is made of
    closure: str  # a name of the kernel and of all that it closes over, which edits do not change
    code: str | None  # a hash of the functions in the closure; None if it contains other things


def code_digest(code: CodeType) -> str:
    """A hash of a function's bytecode, constants and names, and of the functions inside it.

    Lines and paths do not count, and equal code has one hash in every process.
    """
    counts = code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags
    names = code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars
    handlers = getattr(code, "co_exceptiontable", b"")
    whole = code.co_code, handlers, counts, names, _constant(code.co_consts)
    return hashlib.sha256(repr(whole).encode()).hexdigest()


def _constant(value: Any) -> str:
    if isinstance(value, CodeType):
        return code_digest(value)
    if isinstance(value, tuple):
        return f"({','.join(map(_constant, value))})"
    if isinstance(value, frozenset):  # of `x in {1, 2}`; its order differs between processes
        return f"{{{','.join(sorted(map(_constant, value)))}}}"
    return repr(value)


class _Closure:
    """A function with all that it closes over: their modules, and a name of the whole."""

    def __init__(self, function: Callable) -> None:
        self.modules: set[str] = set()
        self.is_told = True  # whether name and code tell it from every other closure
        self._code = hashlib.sha256()
        self._known: dict[int, tuple[Any, str]] = {}  # with the object: its id stays unique
        self.name = self._name(function)

    @property
    def code(self) -> str | None:
        return self._code.hexdigest() if self.is_told else None

    def _name(self, thing: Any) -> str:
        """A name that edits do not change and that differs for kernels of one factory."""
        if isinstance(thing, FunctionType):
            # functions of one name can stand side by side in a file, and in a line
            self._code.update(f"{thing.__module__} {code_digest(thing.__code__)} ".encode())
        if id(thing) not in self._known:
            self._known[id(thing)] = thing, "itself"
            self._known[id(thing)] = thing, self._describe(thing)
        return self._known[id(thing)][1]

    def _describe(self, thing: Any) -> str:
        kind = type(thing).__name__
        if isinstance(thing, np.generic):
            return f"{kind}({thing})"
        if isinstance(thing, _PLAIN):
            return repr(thing)
        if isinstance(thing, np.ndarray):
            text = f"{thing.dtype} {thing.shape} ".encode()
            return hashlib.sha256(text + thing.tobytes()).hexdigest()
        if isinstance(thing, tuple | list | set | frozenset):
            inside = [self._name(item) for item in thing]
            if isinstance(thing, set | frozenset):
                inside.sort()
            if hasattr(thing, "_fields"):  # a named tuple
                kind = self._describe(type(thing))
            return f"{kind}({','.join(inside)})"
        if isinstance(thing, dict):
            return self._describe([*thing, *thing.values()])
        if isinstance(thing, ModuleType):
            self.modules.add(thing.__name__)
            self.is_told &= _within(thing.__name__, "") is not None
            return f"module {thing.__name__}"
        inner: list[Any] = []
        if isinstance(thing, FunctionType):
            inner += filter(None, (thing.__defaults__, thing.__kwdefaults__))
            # the functions of another package can be others without a change of its file
            self.is_told &= _within(thing.__module__, "") is not None
        elif not isinstance(thing, type):
            self.is_told = False
        elif hasattr(thing, "_fields"):
            inner.append(tuple(thing._fields))
        if not hasattr(thing, "__qualname__"):
            thing = type(thing)
        if hasattr(thing, "__code__") or _within(thing.__module__, "") is not None:
            self.modules.add(thing.__module__)
        inner += [cell.cell_contents for cell in getattr(thing, "__closure__", None) or ()]
        return f"{thing.__module__}.{thing.__qualname__}({','.join(map(self._name, inner))})"


@cache
def _stamp(modules: frozenset[str]) -> str:
    texts = _texts()
    within = {name: _within(name, "") for name in modules}
    others = sorted(name for name, inner in within.items() if inner is None)
    own = frozenset(inner for inner in within.values() if inner is not None)
    if not own <= texts.keys():
        raise FileNotFoundError(f"no source files of {', '.join(sorted(modules))}")
    digest = hashlib.sha256()
    for name in sorted(texts if others else reach(own)):
        digest.update(f"{name} {len(texts[name])}\n".encode())
        digest.update(texts[name])
    for name in others:
        file = getattr(sys.modules.get(name), "__file__", None)
        digest.update(Path(file).read_bytes() if file and Path(file).is_file() else b"")
    return digest.hexdigest()


def describe(function: Callable, stamp: str | None = None) -> Description:
    """The sources that a kernel is made of, and what it closes over.

    A kernel that contains code of another package is made of all sources here and of that file.

    Parameters
    ----------
    function : callable
        The function that is compiled.
    stamp : str, optional
        In place of the hash of the sources, where there are none.

    Raises
    ------
    OSError
        If the sources cannot be read.
    """
    closure = _Closure(function)
    stamp = stamp or _stamp(frozenset(closure.modules))
    return Description(stamp, closure.name, closure.code)
