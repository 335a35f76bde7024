"""The compile policy: the cache sees every edit, and no cache is no error."""

import ast
import gc
import subprocess
import sys
from pathlib import Path

import pytest
from compile_policy import copy_policy
from numba import njit
from numba.core import config
from processes import python

import fastgauss
from fastgauss.kernels import _compile

pytestmark = pytest.mark.skipif(_compile.JIT_DISABLED, reason="nothing is compiled")

_CALLEE = """
from ._compile import device

@device
def answer(x):
    return x + {value}
"""

_CALLER = """
from ._compile import kernel
from .callee import answer

@kernel
def ask(x):
    return answer(x)

def make(function):
    @kernel
    def closed(x):
        return function(x) * 2
    return closed

closed = make(answer)
"""

_ASK = """
from house.kernels.caller import ask, closed
print(ask(1), closed(1), sum(ask.stats.cache_hits.values()), sum(closed.stats.cache_hits.values()))
"""


def _ask(place, code=_ASK, **environment):
    environment |= {"PYTHONPATH": str(place), "PYTHONDONTWRITEBYTECODE": "1"}  # edits are seen
    told = python(code, folder=place, **environment)
    return [int(word) for word in told.split()]


@pytest.fixture
def house(tmp_path):
    """A package with our compile policy, a kernel, and its callee in another file."""
    kernels = tmp_path / "house" / "kernels"
    kernels.mkdir(parents=True)
    for folder in (kernels.parent, kernels):
        (folder / "__init__.py").write_text("")
    copy_policy(kernels)
    (kernels / "callee.py").write_text(_CALLEE.format(value=10))
    (kernels / "caller.py").write_text(_CALLER)
    return tmp_path


def _edit(house, value):
    (house / "house/kernels/callee.py").write_text(_CALLEE.format(value=value))


def test_an_edit_in_a_callee_of_another_file_is_seen(house):
    assert _ask(house) == [11, 22, 0, 0]
    assert _ask(house) == [11, 22, 1, 1]  # closures over plain functions hit as well
    _edit(house, 20)
    assert _ask(house) == [21, 42, 0, 0]
    assert _ask(house) == [21, 42, 1, 1]


def test_options_that_change_the_code_have_code_of_their_own(house):
    assert _ask(house, NUMBA_BOUNDSCHECK="0") == [11, 22, 0, 0]
    assert _ask(house, NUMBA_BOUNDSCHECK="1") == [11, 22, 0, 0]
    assert _ask(house, NUMBA_BOUNDSCHECK="0") == [11, 22, 1, 1]
    assert _ask(house, NUMBA_BOUNDSCHECK="1") == [11, 22, 1, 1]
    assert _ask(house, NUMBA_OPT="1") == [11, 22, 0, 0]


@pytest.mark.skipif(
    not hasattr(config, "CACHE_LOCATOR_CLASSES"), reason="this numba always finds a place"
)
def test_without_a_writable_place_it_compiles_in_memory(house):
    nowhere = {
        "NUMBA_CACHE_DIR": "/dev/null/none",
        "NUMBA_CACHE_LOCATOR_CLASSES": "UserProvidedCacheLocator",
    }
    assert _ask(house, **nowhere) == [11, 22, 0, 0]
    assert _ask(house, **nowhere) == [11, 22, 0, 0]


def test_a_cache_that_fills_its_disk_is_given_up(house):
    assert _ask(house) == [11, 22, 0, 0]
    caches = list((house / "house/kernels/__pycache__").glob("*.nb?"))
    assert caches
    for path in caches:
        path.unlink()
        path.mkdir()  # where a file must go there is a folder
    assert _ask(house)[:2] == [11, 22]


_FAIL = """
import pytest
from numba.core.errors import TypingError
from house.kernels import caller, _cache
with pytest.raises(TypingError):
    caller.ask("no number")
assert not _cache.locks._files and not _cache.locks._depth
print(caller.ask(1))
"""


def test_a_compilation_that_fails_holds_nobody_up(house):
    assert _ask(house, _FAIL) == [11]


def test_constants_of_the_callers_code_compile_nothing_of_their_own():
    @_compile.kernel
    def total(pair, factor, summand):
        return (pair[0] + pair[1]) * factor + summand

    @njit
    def own():
        return total((1, 2), 10, summand=3) + total((4, 5), 20, 6)

    assert total((0, 1), 2, 3) == 5
    assert own() == 33 + 186
    assert len(total.signatures) == 1


def test_a_compilation_collects_little_garbage_and_keeps_the_callers_setting():
    before = gc.get_threshold()
    try:
        for first in (700, 0):
            gc.set_threshold(first, 10, 10)
            own = gc.get_threshold()
            used = _compile._under_lock(lambda signature: gc.get_threshold())(())
            assert used[:2] == (_compile._COLLECTIONS[:2] if first else own[:2])
            with pytest.raises(ZeroDivisionError):
                _compile._under_lock(lambda signature: 1 // 0)(())
            assert gc.get_threshold() == own
    finally:
        gc.set_threshold(*before)


def test_importing_compiles_nothing_and_needs_the_core_alone():
    code = (
        "import sys, fastgauss;"
        "from fastgauss.kernels.filters.separable import correlate;"
        "[getattr(fastgauss, name) for name in fastgauss.__all__];"
        "extras = {'scipy.spatial', 'scipy.ndimage', 'scipy.optimize', 'matplotlib',"
        " 'pandas', 'tqdm', 'tifffile', 'imageio', 'astropy', 'skimage', 'dask', 'mpmath'};"
        "print(sorted(extras & set(sys.modules)), correlate.nopython_signatures)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.split() == ["[]", "[]"]


def _imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        yield from (alias.name for alias in getattr(node, "names", []) if hasattr(alias, "name"))


def test_no_other_file_compiles():
    root = Path(fastgauss.__file__).parent
    for path in root.rglob("*.py"):
        if path.name != "_compile.py":
            assert not {"njit", "jit", "register_jitable"} & set(_imported(path)), path


def test_all_that_is_compiled_lies_where_the_stamp_looks():
    root = Path(fastgauss.__file__).parent
    for path in root.rglob("*.py"):
        if "kernels" not in path.relative_to(root).parts:
            assert not {"kernel", "device", "entry", "variants"} & set(_imported(path)), path
