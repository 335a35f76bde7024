"""`show_config`: versions, processor, threads and the cache of compiled code."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from numba.core import config

from ..base.thread_pool import available_cores, get_num_threads
from ..kernels import _compile
from ..kernels.filters.separable import correlate
from ..kernels.simd import lane_types

_CORE = ("numba", "llvmlite", "numpy", "scipy")
_EXTRAS = ("tifffile", "imageio", "astropy", "tqdm", "matplotlib", "pandas", "pyarrow")


def _version(package: str) -> str:
    from importlib import metadata  # slow to import

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    for line in lines:
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            return value.strip()
    return platform.processor() or platform.machine()


def _llvm_target() -> str:
    from llvmlite import binding

    return config.CPU_NAME or binding.get_host_cpu_name()


def _cache_place() -> str:
    if _compile.JIT_DISABLED:
        return "none, NUMBA_DISABLE_JIT is set"
    folder = _compile.cache_path(correlate)  # each room of kernels has a folder of its own
    if folder is None:
        return "none, no place can be written"
    place = Path(folder)
    if place.name == "__pycache__":
        return f"{place.parent.parent}{os.sep}*{os.sep}__pycache__"
    return str(place.parent)


def configuration() -> dict[str, str]:
    """Versions, machine and settings, by name."""
    from ..base.version import __version__

    return {
        "fastgauss": __version__,
        "python": f"{platform.python_version()} ({platform.system()} {platform.machine()})",
        **{name: _version(name) for name in _CORE},
        **{name: _version(name) for name in _EXTRAS},
        "CPU": f"{_cpu_name()} (LLVM: {_llvm_target()})",
        "lanes": f"{lane_types.WIDTH} of float64, {lane_types.REGISTER_BITS} bits",
        "threads": f"{get_num_threads()} of {available_cores()} cores",
        "cache": _cache_place(),
    }


def show_config() -> None:
    """Print versions, CPU, lane width, threads and the place of compiled code.

    Returns
    -------
    None

    Examples
    --------
    >>> import fastgauss as fg
    >>> fg.show_config()  # doctest: +ELLIPSIS
    fastgauss   ...
    """
    facts = configuration()
    width = max(map(len, facts))
    for name, value in facts.items():
        print(f"{name:<{width}}  {value}")
