"""Kernels compiled for a level of processors are loaded where all agrees, and else compiled."""

import os
import pickle
import shutil
from itertools import pairwise
from pathlib import Path

import pytest
from compile_policy import copy_policy
from processes import python

from fastgauss.kernels import _compile, _levels, _registers
from fastgauss.kernels._levels import LEVELS, highest
from fastgauss.tools import precompilation

compiled = pytest.mark.skipif(_compile.JIT_DISABLED, reason="nothing is compiled")

_ZEN3 = "+avx2,+fma,+bmi,+bmi2,+f16c,+lzcnt,+movbe,+avx,+xsave,+sse4.2,+sse4.1,+ssse3,+sse3"
_ZEN3 += ",+popcnt,+cx16,+sahf,-avx512f"
_ZEN4 = _ZEN3.replace("-", "+") + ",+avx512bw,+avx512cd,+avx512dq,+avx512vl,+avx512vnni"


@pytest.mark.parametrize(
    ("features", "level"),
    [
        ("", None),
        ("+neon,+fp-armv8", None),
        ("+sse3,+ssse3,+sse4.1,+sse4.2,+popcnt,+cx16,+sahf", None),
        (_ZEN3, "x86-64-v3"),
        (_ZEN3.replace("+fma", "-fma"), None),
        (_ZEN4, "x86-64-v4"),
        (_ZEN4.replace("+avx512vl", "-avx512vl"), "x86-64-v3"),
        (_ZEN4.replace("+avx2", "-avx2"), None),
    ],
)
def test_the_level_of_a_processor_is_the_highest_whose_instructions_it_has(features, level):
    assert highest(features) == level


def test_levels_are_processors_that_the_compiler_knows_and_have_widths():
    assert [_registers.has_512_bits(level, "") for level in LEVELS] == [True, False]
    ordered = list(LEVELS.values())
    assert all(above > below for above, below in pairwise(ordered))


# -- a package with a kernel -------------------------------------------------------------------

_KERNELS = """
from ._compile import device, kernel

@device
def step(x, y):
    return x * y + 0.1

def make(function):
    @kernel
    def chain(values):
        found = 0.3
        for value in values:
            found = function(found, value)
        return found
    return chain

chain = make(step)
"""
_ASK = """
import sys, numpy as np, numba
numba.__version__ += {other_numba!r}
from house.kernels.made import chain
{before}
values = np.random.default_rng(1).uniform(-1.0, 1.0, 1001)
print(chain(values).hex(), sum(chain.stats.cache_hits.values()))
"""


def _ask(house, cache, other_numba="", before="", **environment):
    """The answer, and how many kernels were loaded."""
    environment |= {"PYTHONPATH": str(house), "NUMBA_CACHE_DIR": str(house / cache)}
    code = _ASK.format(other_numba=other_numba, before=before)
    told = python(code, folder=house, **environment)
    answer, hits = told.split()
    return answer, int(hits)


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    """A package that contains code for this machine's level, and the answer of this code."""
    level = None if _compile.JIT_DISABLED else _levels.host_level()
    if level is None:
        pytest.skip("no code for a level of this processor")
    house = tmp_path_factory.mktemp("house")
    kernels = house / "house" / "kernels"
    kernels.mkdir(parents=True)
    for folder in (kernels.parent, kernels):
        (folder / "__init__.py").write_text("")
    copy_policy(kernels)
    (kernels / "made.py").write_text(_KERNELS)
    answer, hits = _ask(house, "for_level", NUMBA_CPU_NAME=level, NUMBA_CPU_FEATURES="")
    assert hits == 0
    (kernels / "precompiled").mkdir()
    for path in (house / "for_level").rglob("*.nbc"):
        shutil.copy(path, kernels / "precompiled")
    return house, answer


@compiled
def test_code_of_the_level_is_loaded_wherever_the_package_lies_and_stores_nothing(house):
    place, answer = house
    moved = place / "moved"
    shutil.copytree(place / "house", moved / "house")
    [path] = (moved / "house/kernels/precompiled").iterdir()
    os.utime(path, (1e9, 1e9))
    assert _ask(moved, "empty") == (answer, 1)
    assert not list(moved.glob("empty/**/*.nbc"))
    assert path.stat().st_mtime == 1e9  # an installation stays as it is


@compiled
@pytest.mark.parametrize("before", ["chain._cache.disable()", "chain._cache.flush()"])
def test_a_cache_that_is_off_or_flushed_loads_no_code_of_the_level(house, before):
    place, answer = house
    assert _ask(place, "off", before=before) == (answer, 0)
    assert list((place / "house/kernels/precompiled").iterdir())


@compiled
@pytest.mark.parametrize(
    ("other_numba", "environment"),
    [
        ("", {"NUMBA_CPU_NAME": "znver1", "NUMBA_CPU_FEATURES": ""}),
        (".1", {}),
    ],
    ids=["znver1", "numba"],
)
def test_for_another_processor_or_numba_it_is_compiled(house, other_numba, environment):
    place, answer = house
    assert _ask(place, "fallback", other_numba, **environment) == (answer, 0)


@compiled
def test_a_damaged_object_is_compiled(house):
    place, answer = house
    [path] = (place / "house/kernels/precompiled").iterdir()
    whole = path.read_bytes()
    try:
        path.write_bytes(whole[: len(whole) // 2])
        assert _ask(place, "damaged") == (answer, 0)
    finally:
        path.write_bytes(whole)


# -- the build ---------------------------------------------------------------------------------


@pytest.mark.parametrize("triple", ["aarch64-unknown-linux-gnu", "i686-pc-windows-msvc"])
def test_levels_are_those_of_x86_64(tmp_path, monkeypatch, triple):
    with pytest.raises(ValueError, match="level must be one of"):
        precompilation.precompile(tmp_path / "new", levels=["x86-64-v9"])
    monkeypatch.setattr(precompilation, "get_process_triple", lambda: triple)
    with pytest.raises(ValueError, match=f"levels of x86_64, this Python is {triple}"):
        precompilation.precompile(tmp_path / "new")
    assert not (tmp_path / "new").exists()


@compiled
def test_a_machine_compiles_for_a_level_above_its_own(tmp_path):
    if _levels.host_level() is None:
        pytest.skip("no level of x86-64")
    precompilation.precompile(tmp_path, ["linear"], ["x86-64-v4"])
    keys = [pickle.loads(path.read_bytes()[32:])[1] for path in Path(tmp_path).iterdir()]
    assert keys and {target[1:] for _, target, _ in keys} == {("x86-64-v4", "")}
