"""Which of all combinations of model, pixel, estimator and bounds are tried by default.

Each combination is a kernel of its own, compiled in some five seconds where nothing is in
the cache. The kernels are composed of parts that do not know each other, so by default a
combination is left out if its parts are tried in others; with the environment variable
FASTGAUSS_EVERY_COMBINATION=1 none is.

Of a test with three or more ``parametrize`` marks, plain Python runs each pair of values once, and
not all combinations: it is there for the lines of the kernels, which depend on a value or two. The
compiled suite runs the combinations.
"""

import gc
import os
import sys
import warnings
from collections import Counter
from contextlib import nullcontext

import pytest
from pairs import params_of, repeat_pairs

from fastgauss.kernels._compile import JIT_DISABLED

collect_ignore = ["support/guarded.py"]  # a program of its own

gc.set_threshold(50_000, 20, 20)  # compiling leaves millions of objects: a tenth of its time

RARE = ("weights", "camera", "normal")


def _is_covered_field(item, params):
    """Kernels of fields differ in turned, support, combine and dtype; pixel is no other kernel."""
    if params.get("combine", "sum") == "sum" or "dtype" not in params:
        return False
    rotated = params.get("rotated", "covariance" in str(params.get("kind")))
    return (rotated or params["support"] == "sphere") != (params["dtype"] == "f")


def _is_covered_spot(item, params):
    """Kernels of fits differ in model, pixel, estimator and whether there are bounds.

    Where pixels are missing, others have weights: each estimator is then one of the rare.
    """
    split = "any_split" in item.name  # with bounds and missing pixels
    bounded = split or item.path.name == "test_constraints.py" or "constraint" in item.name
    gaps = split or ("name" in params and item.path.name == "test_missing.py")
    shape = params.get("shape", ())
    kind = params.get("kind", params.get("method", params.get("noise")))
    integrated = params.get("pixel") == "integrate"
    solid = isinstance(shape, tuple) and len(shape) == 3
    symmetric_solid = solid and params.get("name") == "symmetric"
    if "dtype" in params and shape != (9, 8):  # what is read knows no axes
        return kind in RARE or params["dtype"] in ("u2", "f4")
    rare = kind in RARE or gaps
    if integrated and (rare or solid or bounded):
        return shape != (8, 10)
    if bounded and shape != (8, 10):
        return kind in RARE or symmetric_solid or (kind == "mle" and (solid or gaps))
    return symmetric_solid and rare


RULES = {  # a file that is not here is left whole
    "test_render.py": _is_covered_field,
    "test_render_edges.py": _is_covered_field,
    "test_constraints.py": _is_covered_spot,
    "test_dimensions.py": _is_covered_spot,
    "test_estimators.py": _is_covered_spot,
    "test_extremes.py": _is_covered_spot,
    "test_missing.py": _is_covered_spot,
}


def _is_covered(item):
    """Whether other combinations try the same parts."""
    rule = RULES.get(item.path.name)
    return rule is not None and rule(item, params_of(item))


LONG = (  # files of few tests, which are processes that compile or thousands of calls
    "test_coming_from.py", "test_guard_pages.py", "test_hidden_crowds.py", "test_recipes.py",
    "test_torture.py",
)  # fmt: skip
_AS_MANY = 40  # tests of a usual file


def pytest_configure(config):
    """Keep the order of files where several processes share them: see ``order_files``."""
    config.option.loadscopereorder = False


def order_files(items):
    """Put files of many tests first, and long files of few tests before the last third.

    pytest-xdist hands files to processes in this order. The processes then end together: a long
    file that is the last one leaves the others idle.
    """
    counts = Counter(item.path for item in items)
    weight = {path: _AS_MANY if path.name in LONG else n for path, n in counts.items()}
    items.sort(key=lambda item: -weight[item.path])


def pytest_collection_modifyitems(config, items):
    """Leave out what is covered, and order the files for several processes."""
    if not os.environ.get("FASTGAUSS_EVERY_COMBINATION"):
        _leave_out(config, items)
    if hasattr(config, "workerinput"):  # of pytest-xdist
        order_files(items)


def _leave_out(config, items):
    """Leave out what other combinations cover."""
    left_out = {item for item in items if _is_covered(item)}
    if JIT_DISABLED:
        left_out.update(repeat_pairs([item for item in items if item not in left_out]))
    config.hook.pytest_deselected(items=[item for item in items if item in left_out])
    items[:] = [item for item in items if item not in left_out]


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_call(item):
    """Run tests marked ``untraced`` without coverage's trace function, which doubles their time.

    From Python 3.12 on there is no such function: coverage uses ``sys.monitoring``.
    """
    traced = type(sys.gettrace()).__module__.startswith("coverage")
    if not (traced and item.get_closest_marker("untraced")):
        yield
        return
    running = sys.modules["coverage"].Coverage.current()
    running.stop()
    yield
    with warnings.catch_warnings():  # of modules that are there already
        warnings.simplefilter("ignore")
        running.start()


@pytest.fixture(autouse=True)
def _no_word_of_compilation(request, monkeypatch):
    """What the command says on stderr does not depend on which kernels earlier tests compiled."""
    if request.node.path.parent.name == "cli" and "kernel" not in request.node.name:
        from fastgauss.cli import compilation

        monkeypatch.setattr(compilation, "telling", nullcontext)
