"""Levels of x86-64: classes of processors, for which a wheel can contain compiled kernels.

Code for a level uses the instructions of the level and no others, so it runs on every processor
that has them. LLVM and the ABI of x86-64 define the levels: x86-64-v3 has AVX2 and FMA (all of
Intel's desktop processors since 2013, all of AMD's since 2017), x86-64-v4 has AVX-512 as well.

numba compiles for a level if ``NUMBA_CPU_NAME`` is the level's name and ``NUMBA_CPU_FEATURES`` is
empty.
"""

from __future__ import annotations

from functools import cache

from numba.core import config
from numba.core.codegen import get_host_cpu_features

_V3 = frozenset({
    "cx16", "popcnt", "sahf", "sse3", "ssse3", "sse4.1", "sse4.2", "avx", "avx2", "bmi", "bmi2",
    "f16c", "fma", "lzcnt", "movbe", "xsave",
})  # fmt: skip
LEVELS = {  # with LLVM's names of their instructions; the highest level first
    "x86-64-v4": _V3.union(["avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"]),
    "x86-64-v3": _V3,
}


def highest(features: str) -> str | None:
    """The highest level of a processor with these features, such as ``"+avx2,-avx512f"``."""
    has = {name[1:] for name in features.split(",") if name.startswith("+")}
    return next((level for level, needed in LEVELS.items() if needed <= has), None)


@cache
def host_level() -> str | None:
    """The level of this machine; None if it has none, or if numba compiles for a named processor.

    Who names a processor gets code that is compiled for it.
    """
    if config.CPU_NAME is not None or config.CPU_FEATURES is not None:
        return None
    return highest(get_host_cpu_features())
