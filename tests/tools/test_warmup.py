"""After warmup(job) the first call in a new process compiles nothing."""

import contextlib
import sys

import numpy as np
import pytest
from processes import python

import fastgauss as fg
from fastgauss.kernels._compile import JIT_DISABLED
from fastgauss.spots import image_fits
from fastgauss.tools import compilation, compile_processes, first_fits, job_names

_FIRST_CALL = """
import sys, numpy as np, fastgauss as fg
from numba.core import event
rng = np.random.default_rng(0)
y, x = np.mgrid[:60, :70]
image = rng.normal(100.0 * np.exp(-((x - 30.4) ** 2 + (y - 21.3) ** 2) / 4.5) + 10, 1.0)
at = np.array([[21.0, 30.0], [24.0, 33.0]])
solid = np.stack([image[:20, :20]] * 20)
samples = rng.normal(size=300)
sums, where = np.zeros(100), rng.integers(0, 100, 500)
crowd = fg.GaussianField((12, 12), rng.uniform(0, 11, (60, 2)), 2.5)
def crowded():
    return [crowd.fit_amplitudes(image[:12, :12], choice).errors for choice in (False, True)]
calls = {
    "find": lambda: fg.find_spots(np.tile(image, 2)),
    "fit": lambda: [fg.fit_spots(image), fg.fit_rois(solid.astype("u2"))],
    "joint": lambda: fg.fit_joint(image, at),
    "evaluate": lambda: fg.evaluate((x, y), [9.0, 3.0, 4.0, 1.5, 10.0], "symmetric"),
    "field": lambda: [fg.GaussianField(image.shape, at, 2.0).fit_amplitudes(image), crowded()],
    "scatter": lambda: fg.add_at(sums, where, np.ones(500)),
    "filter": lambda: fg.gaussian_filter(image.astype("f4"), 1.0),
    "density": lambda: fg.kde(samples, np.linspace(-3, 3, 50)),
    "linear": lambda: [fg.fit_lines(image), fg.pca(rng.normal(size=(40, 4)))],
    "register": lambda: fg.register.align(image, image[::-1]),
}
assert sorted(calls) == sorted(sys.argv[1:])
for name, call in calls.items():
    with event.install_recorder("numba:compile") as recorder:
        call()
    compiled = [e.data["dispatcher"] for _, e in recorder.buffer if e.is_start]
    kernels = [d for d in compiled if type(d._cache).__module__.startswith("fastgauss")]
    print(name, *(f"{d.__module__}.{d.__name__}" for d in kernels))
"""


@pytest.mark.skipif(JIT_DISABLED, reason="nothing is compiled")
def test_a_first_call_of_each_job_in_a_new_process_compiles_nothing():
    fg.warmup("all", models="symmetric")
    told = python(_FIRST_CALL, *compilation.JOBS, timeout=300)
    assert sorted(told.split()) == sorted(compilation.JOBS), told


def test_jobs_and_progress(monkeypatch):
    assert job_names.chosen(()) == job_names.EVERYDAY
    assert job_names.chosen(("find", "all")) == job_names.JOBS == tuple(compilation.JOBS)
    told, seen = [], []
    for name in ("evaluate", "joint"):
        monkeypatch.setitem(
            compilation.JOBS, name, lambda choice: iter([lambda: seen.append(choice)])
        )
    fg.warmup(
        "evaluate", "joint", models="rotated", dtypes=("f4", np.uint16), methods="mle",
        progress=lambda *numbers: told.append(numbers),
    )  # fmt: skip
    assert told == [(1, 2), (2, 2)]
    assert seen[0] == (("rotated",), (np.dtype("f4"), np.dtype("u2")), ("mle",))


@pytest.mark.parametrize(
    ("jobs", "options", "error"),
    [
        (("sleep",), {}, "jobs must be one of"),
        ((3,), {}, "jobs must be a string"),
        ((), {"models": "round"}, "models must be one of"),
        ((), {"methods": ("lsq", "guess")}, "methods must be one of"),
        ((), {"dtypes": "S3"}, "dtypes must be of real numbers"),
        (("linear",), {"progress": 3}, "progress must be"),
    ],
)
def test_names_that_are_none(jobs, options, error):
    with pytest.raises((ValueError, TypeError), match=error):
        fg.warmup(*jobs, **options)


@pytest.mark.parametrize(("count", "processes"), [(1, 1), (1, 3), (7, 2), (10, 4), (0, 2)])
def test_every_process_runs_all_calls_from_a_place_of_its_own(count, processes):
    orders = [compile_processes.order(count, process, processes) for process in range(processes)]
    assert all(sorted(order) == list(range(count)) for order in orders)
    assert orders[0] == list(range(count))
    if processes > 1:
        assert orders[-1] == list(range(count))[::-1]
    if count >= processes:
        assert len({order[0] for order in orders}) == processes


_SIDE_BY_SIDE = """
import threading, time
import fastgauss as fg
from fastgauss.tools import compile_processes
from numba.core import event

class Compiled(event.Listener):
    count = 0
    def on_start(self, event):
        cache = event.data["dispatcher"]._cache
        Compiled.count += type(cache).__module__.startswith("fastgauss")
    def on_end(self, event):
        pass

with event.install_listener("numba:compile", Compiled()):
    fg.warmup("linear", "filter", dtypes="f8", processes={processes})
print(Compiled.count)
"""


@pytest.mark.skipif(JIT_DISABLED, reason="nothing is compiled")
def test_processes_share_the_work(tmp_path):
    alone, shared, after = (
        int(
            python(
                _SIDE_BY_SIDE.replace("{processes}", str(processes)),
                timeout=300,
                NUMBA_CACHE_DIR=str(tmp_path / folder),
            )
        )
        for folder, processes in (("one", 1), ("two", 2), ("two", 1))
    )
    assert alone > shared > 0
    assert after == 0


def test_a_process_that_cannot_start_leaves_the_work_to_the_caller(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/no/python")
    with compile_processes.started("fastgauss.tools.compilation:share", [[1, 2, ["find"]]]):
        pass
    with pytest.raises(ValueError, match="processes must be"):
        fg.warmup("find", processes=0)


def test_the_process_beside_the_first_fit_fits_as_the_command(monkeypatch):
    started, fitted = [], []
    monkeypatch.setattr(compile_processes, "started", lambda *given: started.append(given))
    monkeypatch.setattr(first_fits.thread_pool, "available_cores", lambda: 2)
    first_fits.shared_fit("elliptic", "mle", "integrate", "<f4")
    [(function, [given])] = started
    assert function == "fastgauss.tools.first_fits:share_fit"
    monkeypatch.setattr(
        image_fits, "fit_spots", lambda *given, **options: fitted.append((*given, options))
    )
    first_fits.share_fit(*given)
    [(image, _, model, options)] = fitted
    assert (image.dtype, model) == (np.float32, "elliptic")
    assert options == {"method": "mle", "pixel": "integrate"}
    monkeypatch.setattr(first_fits.thread_pool, "available_cores", lambda: 1)
    first_fits.shared_fit("elliptic", "mle", "integrate", "<f4")
    assert started[-1][1] == []


_FIRST_CALLS = """
from fastgauss.kernels._compile import noting
from fastgauss.spots.image_fits import fit_spots
from fastgauss.tools.first_fits import IMAGE, PLACES

with noting() as kernels:
    fit_spots(IMAGE.copy(), PLACES)
print(*(dispatched.__self__.py_func.__name__ for dispatched, _ in kernels))
print(all(not dispatched.__self__.signatures for dispatched, _ in kernels))
"""


@pytest.mark.skipif(JIT_DISABLED, reason="nothing is compiled")
def test_kernels_are_noted_in_the_order_of_their_calls():
    names, nothing_is_compiled = python(_FIRST_CALLS).splitlines()
    assert names.split() == ["start_values", "fit", "finish", "verdicts", "second_starts"]
    assert nothing_is_compiled == "True"


def test_the_process_beside_the_first_fit_begins_with_the_last_kernel(monkeypatch):
    compiled = []
    calls = {name: lambda name=name: compiled.append(name) for name in ("start", "fit", "finish")}
    monkeypatch.setattr(first_fits, "noting", lambda: contextlib.nullcontext(calls))
    monkeypatch.setattr(image_fits, "fit_spots", lambda *given, **options: None)
    first_fits.share_fit("symmetric", "lsq", "sample", "<f8")
    assert compiled == ["finish", "fit", "start"]
