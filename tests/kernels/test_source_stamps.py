"""Source stamps: an edit compiles anew what it may change, and nothing else."""

import ast
import importlib
import sys
from collections import namedtuple
from pathlib import Path

import pytest
from compile_policy import copy_policy
from numba import int64
from processes import python

import fastgauss.kernels
from fastgauss.kernels import _cache, _compile, _levels, _sources

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
    copy_policy(kernels)
    return tmp_path


def _edit(house, name, old, new):
    path = house.joinpath("house", "kernels", *name.split(".")).with_suffix(".py")
    text = path.read_text()
    assert old in text or not old
    path.write_text(text.replace(old, new) if old else text + new)


def _ask(house, code=_ASK):
    own = {"PYTHONPATH": str(house), "NUMBA_CACHE_DIR": ""}
    own |= {"PYTHONDONTWRITEBYTECODE": "1"}  # an edit within a second keeps a file's time and size
    told = python(code, folder=house, **own)
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

    text, other = "sample", "".join(["sam", "ple"])
    assert text is not other
    assert code(True, text) == code(True, other)
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


def _function(text):
    return _ours(eval(f"lambda x, *, y=None: {text}"))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("x + 1", "x + 2"),
        ("x + 1", "x + 1.0"),
        ("abs(x)", "bool(x)"),
        ("x.real", "x.imag"),
        ("x in {1, 2}", "x in {1, 3}"),
        ("x in (1, (2, 3))", "x in (1, (2, 4))"),
        ("(lambda z: z + 1)(x)", "(lambda z: z + 2)(x)"),
        ("x - y", "y - x"),
    ],
)
def test_functions_of_one_line_differ_by_constants_and_names_at_any_depth(one, other):
    first, second = (_sources.describe(_function(text)) for text in (one, other))
    assert first.closure == second.closure
    assert first.code is not None and first.code != second.code
    # and where a pickle tells the closure, the functions themselves are told as well
    first, second = (_cache.Identity(_function(text)).key("types", ()) for text in (one, other))
    assert first[-1][0] != second[-1][0]
    assert first == _cache.Identity(_function(one)).key("types", ())


@pytest.mark.skipif(_compile.JIT_DISABLED, reason="nothing is compiled")
def test_kernels_of_one_line_have_their_own_code(tmp_path, monkeypatch):
    monkeypatch.setattr(_cache.config, "CACHE_DIR", str(tmp_path))
    for _ in range(2):
        add, double = (_compile.kernel(f) for f in (lambda x: x + 10, lambda x: x + 20))
        assert (add(1), double(1)) == (11, 21)
    assert sum(kernel.stats.cache_hits[(int64,)] for kernel in (add, double)) == 2


def test_a_line_further_down_is_the_same_code():
    text = "def f(x):\n    return x + (lambda y: y in {3, 4})(x)\n"
    spaces = {}, {}
    exec(compile(text, "one.py", "exec"), spaces[0])
    exec(compile("\n\n" + text, "two.py", "exec"), spaces[1])
    first, second = (_sources.code_digest(space["f"].__code__) for space in spaces)
    assert first == second


_UNORDERED = """
    from fastgauss.kernels import _sources
    def make(names):
        def function(x):
            return x in {"a", "bc", "def", "g"} or x in names
        function.__module__ = "fastgauss.kernels.status"
        return function
    print(*_sources.describe(make({"h", "ij", "klm", "n"}))[1:])
"""


def test_the_order_of_sets_does_not_count():
    assert len({python(_UNORDERED, PYTHONHASHSEED=str(seed)) for seed in range(4)}) == 1


def _holding(value):
    return _ours(lambda x: (x, value))


def test_named_tuples_are_told_by_module_and_fields():
    def kind(module, fields):
        return namedtuple("Pair", fields, module=module)

    kinds = [kind("one", "x y"), kind("two", "x y"), kind("one", "y x")]
    names = [_sources.describe(_holding(kind(1, 2))).closure for kind in kinds]
    names += [_sources.describe(_holding(kind)).closure for kind in kinds]
    names.append(_sources.describe(_holding((1, 2))).closure)
    assert len(set(names)) == 7
    assert _sources.describe(_holding(kinds[0](1, 2))).closure == names[0]


def test_a_module_that_a_closure_holds_is_one_of_its_sources(tmp_path, monkeypatch):
    closure = _sources._Closure(_holding(_levels))
    assert (closure.modules, closure.code is None) == (
        {"fastgauss.kernels.status", "fastgauss.kernels._levels"}, False,
    )  # fmt: skip
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "held.py").write_text("VALUE = 1\n")
    held = importlib.import_module("held")
    before = _sources.describe(_holding(held))
    (tmp_path / "held.py").write_text("VALUE = 2\n")
    _sources._stamp.cache_clear()
    after = _sources.describe(_holding(held))
    assert after.stamp != before.stamp and after.closure == before.closure
    assert _cache.Identity(_holding(held)).key("types", ())
    monkeypatch.delitem(sys.modules, "held")
