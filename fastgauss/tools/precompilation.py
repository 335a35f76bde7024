"""Compile the kernels of everyday jobs for levels of processors, for a wheel that contains them.

``python -m fastgauss.tools.precompilation FOLDER`` does so where the hook of the build runs it
(``hatch_build.py``). A process compiles for a level if numba is told so by environment variables;
it does what `warmup` does, and the compiled code is copied into the folder.

A machine cannot run code for a level above its own. Kernels for such a level are first compiled
for this machine, with lanes as wide as those of the level. The process that compiles for the level
then calls that code in the place of its own.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from llvmlite.binding import get_process_triple
from numba.core import config, typing
from numba.core.caching import CompileResultCacheImpl
from numba.core.codegen import get_host_cpu_features
from numba.core.compiler import CompileResult
from numba.core.cpu import CPUContext
from numba.core.dispatcher import _FunctionCompiler  # type: ignore[attr-defined]

from ..base import check
from ..kernels import _cache, _levels, _registers
from . import compilation
from .job_names import chosen

_TARGET = "x86_64"
_METHODS = ("lsq", "mle")
_kernels = _cache.__package__ or ""
_CODE = "import sys; from fastgauss.tools.precompilation import run; run(*sys.argv[1:])"


def precompile(
    folder: str | os.PathLike, jobs: Iterable[str] = (), levels: Iterable[str] = _levels.LEVELS
) -> None:
    """Compile what jobs need for each level, into a folder.

    Parameters
    ----------
    folder : path
        Where the files go; it is made if it does not exist.
    jobs : sequence of str, optional
        Names as `warmup` takes them; none: the everyday jobs.
    levels : sequence of str, optional
        By default all levels.

    Raises
    ------
    ValueError
        If this Python is not one of x86-64, or a level is unknown; before anything is written.
    subprocess.CalledProcessError
        If a process that compiles ends with an error.
    """
    triple = get_process_triple()
    if not triple.startswith(_TARGET):
        raise ValueError(f"kernels are compiled for levels of {_TARGET}, this Python is {triple}")
    levels = [check.choice("level", level, _levels.LEVELS) for level in levels]
    Path(folder).mkdir(parents=True, exist_ok=True)
    own = _levels.highest(get_host_cpu_features())
    order = list(_levels.LEVELS)
    for level in levels:
        with tempfile.TemporaryDirectory() as place:
            native = Path(place) / "native"
            if own is None or order.index(level) < order.index(own):
                wide = "512" if _registers.has_512_bits(level, "") else "256"
                _process(native, jobs, {_registers.VARIABLE: wide})
            settings = {"NUMBA_CPU_NAME": level, "NUMBA_CPU_FEATURES": ""}
            _process(Path(folder), jobs, settings, native)


def _process(
    folder: Path, jobs: Iterable[str], settings: dict[str, str], native: Path | None = None
) -> None:
    """Compile in a process with these environment variables; copy the code to a folder."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("NUMBA_", "FASTGAUSS"))}
    with tempfile.TemporaryDirectory() as cache:
        environment |= {"NUMBA_CACHE_DIR": cache, **settings}
        elsewhere = str(native) if native is not None and native.is_dir() else ""
        command = [sys.executable, "-c", _CODE, elsewhere, *jobs]
        subprocess.run(command, env=environment, check=True)
        folder.mkdir(exist_ok=True)
        for path in Path(cache).rglob("*.nbc"):
            shutil.copy(path, folder)


def run(native: str, *jobs: str) -> None:
    """Compile in this process; call the code in the folder ``native``, if there is one."""
    if native:
        _call_elsewhere(native)
    _omit_annotations()
    names = chosen(jobs)
    compilation.warmup(*names, methods=_METHODS if "fit" in names else None)


def _omit_annotations() -> None:
    """Store kernels without the listing of their types, a tenth of a file that is for people."""
    reduce = CompileResultCacheImpl.reduce

    def reduce_without(self: Any, compiled: Any) -> Any:
        return reduce(self, compiled._replace(type_annotation=""))

    CompileResultCacheImpl.reduce = reduce_without


def _call_elsewhere(native: str) -> None:
    """Let all kernels be compiled for numba's target, and call code of this machine instead."""
    name, features = config.CPU_NAME, config.CPU_FEATURES
    config.CPU_NAME = config.CPU_FEATURES = None
    context = CPUContext(typing.Context())
    target = context.codegen().magic_tuple()
    config.CPU_NAME, config.CPU_FEATURES = name, features
    compile_ = _FunctionCompiler.compile

    def compile_and_replace(self: Any, args: Any, return_type: Any) -> Any:
        compiled, data = compile_(self, args, return_type), None
        if self.py_func.__module__.startswith(_kernels):
            identity = _cache.Identity(self.py_func)
            data = identity.files(native, None, None).load(identity.key(tuple(args), target))
        if data is None:  # a building block: no process calls it
            return compiled
        context.refresh()
        entry_point = CompileResult._rebuild(context, *data).entry_point
        return compiled._replace(entry_point=entry_point)

    _FunctionCompiler.compile = compile_and_replace


if __name__ == "__main__":
    precompile(sys.argv[1], jobs=sys.argv[2:])
