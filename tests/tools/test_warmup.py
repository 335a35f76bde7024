"""After warmup(job) the first call in a new process compiles nothing."""

import numpy as np
import pytest
from processes import python

import fastgauss as fg
from fastgauss.kernels._compile import JIT_DISABLED
from fastgauss.tools import compilation

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
    "find": lambda: fg.find_spots(image),
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
    assert compilation.chosen(()) == compilation.EVERYDAY
    assert compilation.chosen(("find", "all")) == tuple(compilation.JOBS)
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
