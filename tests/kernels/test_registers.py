"""The width of registers: what the compiler has, what the environment forces, the same answers."""

import os
import subprocess
import sys

import llvmlite.binding
import numpy as np
import pytest

from fastgauss.kernels import _registers as registers
from fastgauss.kernels._compile import JIT_DISABLED
from fastgauss.kernels.simd.lane_types import REGISTER_BITS, WIDTH

_FIT = """
import numpy as np, fastgauss as fg
from fastgauss.kernels.simd.lane_types import REGISTER_BITS
rng = np.random.default_rng(1)
truth = np.column_stack([rng.uniform(80, 300, 13), rng.uniform(2.6, 4.4, (13, 2)),
                         rng.uniform(1.0, 1.4, 13), rng.uniform(5, 20, 13)])
data = rng.poisson(fg.image(truth, (8, 8), "symmetric")).astype(float)
found = [fg.fit_rois(data, method=method, threads=1) for method in ("lsq", "mle")]
whole = [each.params.tobytes() + each.status.tobytes() for each in found]
print(REGISTER_BITS, b"".join(whole).hex())
"""


def _run(code, **variables):
    environment = {**os.environ, **variables}
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env=environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "wide"),
    [("znver3", False), ("haswell", False), ("alderlake", False), ("znver4", True),
     ("skylake-avx512", True), ("sapphirerapids", True)],
)  # fmt: skip
def test_the_compiler_says_which_processors_have_registers_of_512_bits(name, wide):
    assert registers.has_512_bits(name, "") == wide


def test_features_count_beside_the_name():
    assert not registers.has_512_bits("znver4", "-avx512f")
    assert not registers.has_compression("znver4", "-avx512f")


@pytest.mark.parametrize(("name", "has"), [("x86-64-v3", False), ("x86-64-v4", True)])
def test_lanes_are_compressed_where_the_processor_compiled_for_can(name, has):
    known = llvmlite.binding.llvm_version_info[0] >= 20
    assert registers.has_compression(name, "") == (has and known)
    if not JIT_DISABLED:
        done = _run(
            "from fastgauss.kernels.simd.compress import HAS_COMPRESSION; print(HAS_COMPRESSION)",
            NUMBA_CPU_NAME=name, NUMBA_CPU_FEATURES="",
        )  # fmt: skip
        assert done.stdout.strip() == str(has and known), done.stderr


def test_the_width_is_that_of_the_target_or_the_forced_one(monkeypatch):
    assert WIDTH == REGISTER_BITS // 64
    monkeypatch.delenv(registers.VARIABLE, raising=False)
    asked = registers.register_bits.__wrapped__
    assert asked() == (512 if registers.has_512_bits(*registers.target()) else 256)
    for bits in registers.WIDTHS:
        monkeypatch.setenv(registers.VARIABLE, str(bits))
        assert asked() == bits


@pytest.mark.parametrize("text", ["128", "wide", "256.0"])
def test_another_width_is_refused_by_name(monkeypatch, text):
    monkeypatch.setenv(registers.VARIABLE, text)
    with pytest.raises(ValueError, match=f"{registers.VARIABLE} must be 256 or 512, got '{text}'"):
        registers.register_bits.__wrapped__()


@pytest.mark.skipif(JIT_DISABLED, reason="it compiles at another width")
def test_fits_have_the_same_bits_at_both_widths():
    lines = []
    for bits in registers.WIDTHS:
        done = _run(_FIT, **{registers.VARIABLE: str(bits)})
        assert done.returncode == 0, done.stderr
        lines.append(done.stdout.split())
    assert [line[0] for line in lines] == ["256", "512"]
    assert lines[0][1] == lines[1][1]
    params = np.frombuffer(bytes.fromhex(lines[0][1])[: 13 * 5 * 8])
    assert np.isfinite(params).all()
