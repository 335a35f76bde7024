"""No kernel touches memory beside its arrays: bounds checks do not see the pointers of lanes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from public_calls import DEEP

from fastgauss.kernels._compile import JIT_DISABLED

TESTS = Path(__file__).resolve().parents[1]
FOLDERS = (TESTS.parent, TESTS / "support", TESTS / "naive")
pytestmark = [
    pytest.mark.skipif(JIT_DISABLED, reason="numpy's twins are checked by numpy"),
    pytest.mark.skipif(sys.platform != "linux", reason="asks the C library for pages"),
]


@pytest.mark.parametrize("side", ["end", "start"] if DEEP else ["end"])
def test_nothing_beyond_an_array_is_touched(side):
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", TESTS / "support" / "guarded.py", side],
        capture_output=True, text=True, timeout=400, check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, FOLDERS))},
    )  # fmt: skip
    last = done.stdout.splitlines()[-1:]
    assert done.returncode == 0 and last[0].startswith("done"), (last, done.stderr[-3000:])


def test_the_guard_stops_a_kernel_that_reads_on():
    code = """
import sys; sys.argv = ["guarded", "end"]
import guarded, numpy as np
from fastgauss.kernels.simd import lane_types, lanes, mask_bits
from fastgauss.kernels._compile import kernel

@kernel
def first(a, i):
    return mask_bits.mask_bits(lanes.load(a, i) > 0.0)

first(np.ones(16), 0)
guarded.install()
a = np.ones(16)
last = 16 - lane_types.WIDTH
assert first(a, last) == lane_types.ALL_LANES
print("inside", flush=True)
first(a, last + 1)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=200, check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, FOLDERS))},
    )  # fmt: skip
    assert done.stdout.strip() == "inside", done.stderr[-3000:]
    assert done.returncode < 0
