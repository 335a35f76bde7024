"""Register width: the bits of one SIMD register of the processor that numba compiles for.

512 where the compiler adds eight float64 values by one instruction (AVX-512), else 256: AVX2 has
registers of 256 bits, and of the registers of 128 bits that NEON has two are used at a time. The
environment variable ``FASTGAUSS_REGISTER_BITS`` forces 256 or 512 on any processor: the compiler
splits what is wider than its registers.

Every lane does the same arithmetic at both widths. Sums over lanes (densities, for instance) have
other partial sums, and so another last digit.
"""

from __future__ import annotations

import os
from functools import cache

import llvmlite.binding as llvm
from numba.core import config
from numba.core.codegen import get_host_cpu_features

VARIABLE = "FASTGAUSS_REGISTER_BITS"
WIDTHS = (256, 512)

_COMPRESSING_LLVM = 20  # the first version that knows the intrinsic

_SUM_OF_EIGHT = """
define <8 x double> @sum(<8 x double> %a, <8 x double> %b) {
  %c = fadd <8 x double> %a, %b
  ret <8 x double> %c
}
"""
_COMPRESSED_EIGHT = """
declare <8 x i64> @llvm.experimental.vector.compress.v8i64(<8 x i64>, <8 x i1>, <8 x i64>)
define <8 x i64> @compress(<8 x i64> %a, <8 x i1> %own) {
  %c = call <8 x i64> @llvm.experimental.vector.compress.v8i64(
      <8 x i64> %a, <8 x i1> %own, <8 x i64> undef)
  ret <8 x i64> %c
}
"""


def target() -> tuple[str, str]:
    """Name and features of the processor that numba compiles for."""
    features = config.CPU_FEATURES
    return (
        config.CPU_NAME or llvm.get_host_cpu_name(),
        get_host_cpu_features() if features is None else features,
    )


def has_512_bits(name: str, features: str) -> bool:
    """Whether the compiler uses registers of 512 bits (their names begin with zmm)."""
    return "zmm" in _assembly(_SUM_OF_EIGHT, name, features)


def has_compression(name: str, features: str) -> bool:
    """Whether one instruction compresses the selected lanes of a register (AVX-512)."""
    if llvm.llvm_version_info[0] < _COMPRESSING_LLVM:
        return False
    return "vpcompressq" in _assembly(_COMPRESSED_EIGHT, name, features)


def _assembly(code: str, name: str, features: str) -> str:
    """What the compiler makes of LLVM's code for a processor."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    triple = llvm.Target.from_triple(llvm.get_process_triple())
    machine = triple.create_target_machine(cpu=name, features=features)
    return machine.emit_assembly(llvm.parse_assembly(code))


@cache
def register_bits() -> int:
    """The width of this process's registers, which is fixed at the first call.

    Raises
    ------
    ValueError
        If the environment variable is set and is neither 256 nor 512.
    """
    text = os.environ.get(VARIABLE)
    if not text:
        return 512 if has_512_bits(*target()) else 256
    if text.strip() not in map(str, WIDTHS):
        raise ValueError(f"{VARIABLE} must be 256 or 512, got {text!r}")
    return int(text)
