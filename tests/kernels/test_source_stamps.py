"""Source stamps: an edit compiles anew what it may change, and nothing else."""

import ast
import shutil
from pathlib import Path

import pytest
from processes import python

import fastgauss.kernels
from fastgauss.kernels import (
    _cache,
    _cache_lock,
    _compile,
    _inlining,
    _levels,
    _registers,
    _sources,
)

ROOT = Path(fastgauss.kernels.__file__).parent
MODULES = sorted(_sources._texts())


def _parsed(module):
    """The modules of the package that a module imports, by its syntax tree."""
    texts = _sources._texts()
    found = set()
    for node in ast.walk(ast.parse(texts[module])):
        if isinstance(node, ast.Import):
            found.update(_sources._within(alias.name, module) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            place = _sources._within("." * node.level + (node.module or ""), module)
            for alias in node.names if place is not None else ():
                inner = f"{place}.{alias.name}" if place else alias.name
                found.add(inner if inner in texts else place)
    return {name for name in found if name in texts}


@pytest.mark.parametrize("module", MODULES, ids=lambda name: name or "kernels")
def test_imports_are_those_of_the_syntax_tree(module):
    assert _sources.imports(module) == _parsed(module)


def test_all_files_are_known_and_few_kernels_are_made_of_all():
    assert len(MODULES) == sum("__pycache__" not in p.parts for p in ROOT.rglob("*.py"))
    reached = {name: _sources.reach(frozenset([name])) for name in MODULES if name}
    assert all(len(modules) < len(MODULES) for modules in reached.values())
    assert all("_compile" in modules for modules in reached.values())
    assert _sources.reach(frozenset([""])) == frozenset(MODULES)  # it hands any name on


_FILES = {
    "__init__": """
        from importlib import import_module

        def __getattr__(name):
            if name != "SCALE":
                raise AttributeError(name)
            return getattr(import_module(".base.words", __name__), name)
    """,
    "base.__init__": "",
    "base.words": """
        from .._compile import device
        SCALE = 1

        @device
        def scaled(x):
            return x * SCALE
    """,
    "base.types": """
        from numba.extending import register_jitable
    """,
    "one.__init__": "",
    "one.callee": """
        from .._compile import device
        from ..base.words import scaled

        @device
        def answer(x):
            return scaled(x) + 10
    """,
    "one.caller": """
        from .._compile import kernel
        from . import callee as named

        @kernel
        def ask(x):
            return named.answer(x)
    """,
    "two.__init__": "",
    "two.caller": """
        from .._compile import kernel
        from ..base.words import (
            SCALE,  # a number (and no function) from another file
        )

        def make(function):
            @kernel
            def closed(x):
                return function(x) * 2 * SCALE
            return closed
    """,
    "three.__init__": "",
    "three.given": """
        from .._compile import device

        def make(value):
            @device
            def added(x):
                return x + value
            return added
    """,
    "three.caller": """
        from ..two.caller import make
        from .given import make as make_given

        def tabled(function):
            return make(function)

        closed = tabled(make_given(100))
    """,
    "four.__init__": "",
    "four.caller": """
        from house.kernels import SCALE

        from .._compile import kernel

        @kernel
        def scale(x):
            return x * SCALE
    """,
}

_ASK = """
from house.kernels.one.caller import ask
from house.kernels.three.caller import closed
from house.kernels.two.caller import make
from house.kernels.one.callee import answer
from house.kernels.four.caller import scale
two = make(answer)
for kernel in (ask, two, closed, scale):
    print(kernel(1), sum(kernel.stats.cache_hits.values()))
"""


def _dedent(text):
    return "\n".join(line.removeprefix(" " * 8) for line in text.splitlines())


@pytest.fixture
def house(tmp_path):
    """A package with our compile policy and rooms of kernels."""
    if _compile.JIT_DISABLED:
        pytest.skip("nothing is compiled")
    kernels = tmp_path / "house" / "kernels"
    for name, text in _FILES.items():
        path = kernels.joinpath(*name.split(".")).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(_dedent(text))
    (tmp_path / "house" / "__init__.py").write_text("")
    for policy in (_compile, _cache, _cache_lock, _inlining, _levels, _registers, _sources):
        shutil.copy(policy.__file__, kernels)
    return tmp_path


def _edit(house, name, old, new):
    path = house.joinpath("house", "kernels", *name.split(".")).with_suffix(".py")
    text = path.read_text()
    assert old in text or not old
    path.write_text(text.replace(old, new) if old else text + new)


def _ask(house, code=_ASK):
    told = python(code, folder=house, PYTHONPATH=str(house), NUMBA_CACHE_DIR="")
    return [tuple(map(int, line.split())) for line in told.splitlines()]


def test_an_edit_reaches_the_kernels_that_are_made_of_the_file(house):
    assert _ask(house) == [(11, 0), (22, 0), (202, 0), (1, 0)]
    assert _ask(house) == [(11, 1), (22, 1), (202, 1), (1, 1)]
    # a file of room one: its own kernel, and the one of room two that closes over its function
    _edit(house, "one.callee", "+ 10", "+ 20")
    assert _ask(house) == [(21, 0), (42, 0), (202, 1), (1, 0)]
    # a file that the module of the kernel does not import: the closure tells
    _edit(house, "three.given", "x + value", "x - value")
    assert _ask(house) == [(21, 1), (42, 1), (-198, 0), (1, 0)]
    # and back: the earlier versions are still there
    _edit(house, "three.given", "x - value", "x + value")
    _edit(house, "one.callee", "+ 20", "+ 10")
    assert _ask(house) == [(11, 1), (22, 1), (202, 1), (1, 1)]
    # a number that others import, and a file that nobody imports and that extends numba
    _edit(house, "base.words", "SCALE = 1", "SCALE = 3")
    assert _ask(house) == [(13, 0), (78, 0), (606, 0), (3, 0)]
    _edit(house, "base.types", "", "\n# what it registers holds for all\n")
    assert _ask(house) == [(13, 0), (78, 0), (606, 0), (3, 0)]
    # names that are handed on when asked for may come from any file; the others do not care
    _edit(house, "__init__", "", "\n# edited\n")
    assert _ask(house) == [(13, 1), (78, 1), (606, 1), (3, 0)]


_REPLACED = """
from pathlib import Path
from house.kernels.one.caller import ask
from house.kernels.one import callee
path = Path(callee.__file__)
text = path.read_text()
path.write_text(text.replace("+ 10", "+ 20"))
print(ask(1), 0)
assert ask._cache.cache_path is None
from house.kernels.four.caller import scale
print(scale(1), 0)
"""


def test_a_process_that_outlives_its_sources_keeps_nothing(house):
    assert _ask(house, _REPLACED) == [(11, 0), (1, 0)]
    assert not list(house.rglob("*.nbc"))
    assert _ask(house)[0] == (21, 0)


_LATER = """
from pathlib import Path
from house.kernels.four.caller import scale
from house.kernels.one.caller import ask
from house.kernels.one import callee
print(scale(1), 0)
path = Path(callee.__file__)
path.write_text(path.read_text().replace("+ 10", "+ 20"))
print(ask(1), 0)
"""


def test_code_compiled_after_its_sources_were_replaced_is_not_kept(house):
    assert _ask(house, _LATER) == [(1, 0), (11, 0)]
    assert len(list(house.rglob("*.nbc"))) == 1
    assert _ask(house)[0] == (21, 0)


def test_siblings_have_names_of_their_own():
    def make(value, other=None):
        def function(x):
            return x + value, other

        return function

    different = [1, 2, 1.0, "1", None, True, (1, 2), (2, 1), {"a": 1}, {"a": 2}, [make(1)],
                 [make(2)], (make(1), make(2)), (make(2), make(1))]  # fmt: skip
    names = [_sources._Closure(make(value)).name for value in different]
    assert len(set(names)) == len(names)
    assert names == [_sources._Closure(make(value)).name for value in different]


def _ours(function):
    function.__module__ = "fastgauss.kernels.status"
    return function


def _closed(first, text, value=1):
    inner = _ours(lambda x: x + value) if first else _ours(lambda x: x - value)
    return _ours(lambda x: (inner(x), text))


def test_closures_are_told_by_what_they_hold_and_not_by_which_object_holds_it():
    def code(*given):
        identity = _cache.Identity(_closed(*given))
        return identity.files("", None, None)._kind, identity.key("types", ("target",))

    text = "".join(["sam", "ple"])
    assert text is not "sample"  # noqa: F632
    assert code(True, text) == code(True, "sample")
    different = [(True, "sample"), (False, "sample"), (True, "other"), (True, "sample", 2)]
    assert len({str(code(*given)) for given in different}) == len(different)
    # what is neither a value nor a function is told by its pickle
    assert _sources.describe(_closed(True, "", slice(3))).code is None
    assert len({str(code(True, "", slice(n))) for n in range(4)}) == 4


def test_kernels_of_other_packages_are_made_of_their_own_file_too(tmp_path, monkeypatch):
    path = tmp_path / "stranger.py"
    monkeypatch.syspath_prepend(tmp_path)
    path.write_text("def function(x):\n    return x\n")
    import stranger

    before, *_ = _sources.describe(stranger.function)
    path.write_text("def function(x):\n    return x + 1\n")
    _sources._stamp.cache_clear()
    assert _sources.describe(stranger.function)[0] != before
    monkeypatch.delitem(__import__("sys").modules, "stranger")
