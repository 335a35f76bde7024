"""``fastgauss bench``: a page of ratios, whatever is wrong with other people's packages."""

import re
import sys
import types

import numpy as np
import pytest

import fastgauss as fg
from fastgauss.cli import command
from fastgauss.kernels._compile import JIT_DISABLED
from fastgauss.tools import bench, bench_jobs, bench_types

compiled = pytest.mark.skipif(JIT_DISABLED, reason="it is refused")


@compiled
def test_the_page_tells_the_machine_and_a_row_for_each_package(capsys):
    assert command.main(["bench", "--quick", "--jobs", "add_at", "lines"]) == 0
    page = capsys.readouterr().out
    for word in (" of float64", "numba", "one thread each", "add_at, 49,152 bins", "fit_lines"):
        assert word in page
    rows = re.findall(
        r"^.{33}(\S.{28}) +[\d.]+ [kMG]? ?\w+/s +([\d.,]+)$", page, flags=re.MULTILINE
    )
    ratios = {name.strip(): float(ratio.replace(",", "")) for name, ratio in rows}
    assert {"numpy, add.at", "numpy, bincount", "scipy, signal.detrend"} <= set(ratios)
    assert min(ratios.values()) > 0
    assert re.search(r"^beside: .*scipy \d", page, flags=re.MULTILINE)


@compiled
def test_a_package_that_is_missing_or_broken_is_left_out_with_its_reason(monkeypatch, capsys):
    broken = types.ModuleType("numpy_groupies")

    def aggregate(*_, **__):
        raise RuntimeError("built for\nanother machine")

    broken.aggregate = aggregate
    monkeypatch.setitem(sys.modules, "numpy_groupies", broken)
    monkeypatch.setitem(bench_jobs.MODULES, "gone", "no_such_module")
    job = bench_jobs.JOBS["add_at"]

    def prepare(scale, threads):
        ours, peers = job.prepare(scale, threads)

        def gone():
            import no_such_module  # noqa: F401

        return ours, peers | {"gone, in any way": gone}

    monkeypatch.setitem(bench_jobs.JOBS, "add_at", job._replace(prepare=prepare))
    bench.bench(["add_at"], quick=True)
    page = capsys.readouterr().out
    assert "left out: numpy-groupies (RuntimeError: built for another machine)" in page
    assert "left out: gone (not installed)" in page
    assert "numpy, bincount" in page


@compiled
def test_a_function_without_an_option_for_threads_has_those_of_the_benchmark(monkeypatch, capsys):
    seen = []
    call = bench_types.Timed(lambda: seen.append(fg.get_num_threads()), 1)
    job = bench_types.Job("a job", "items", lambda scale, threads: (call, {}))
    monkeypatch.setitem(bench_jobs.JOBS, "add_at", job)
    before = fg.get_num_threads()
    bench.bench(["add_at"], quick=True, threads=before + 1)
    assert set(seen) == {before + 1}
    assert fg.get_num_threads() == before


def test_turns_are_taken_and_end_in_time():
    order = []
    calls = {name: lambda name=name: order.append(name) for name in "abc"}
    times = bench.take_turns(calls, most=5, seconds=60.0)
    assert order == list("abc") * 5
    assert all(len(each) == 5 and np.all(each >= 0) for each in times.values())
    order.clear()
    bench.take_turns(calls, seconds=0.0)
    assert order == list("abc") * 3  # a median wants some


@pytest.mark.parametrize(
    ("speed", "text"),
    [(1.28e6, "1.28 M x/s"), (999.0, "999 x/s"), (3.5e9, "3.5 G x/s"), (0.25, "0.25 x/s")],
)
def test_figures_read_well(speed, text):
    assert bench._figure(speed, "x") == text


def test_a_job_that_is_none_is_refused(capsys):
    assert command.main(["bench", "--jobs", "sorting"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert ("NUMBA_DISABLE_JIT" if JIT_DISABLED else "jobs must be one of") in error


@pytest.mark.skipif(not JIT_DISABLED, reason="compiled")
def test_plain_python_is_no_benchmark():
    with pytest.raises(ValueError, match="NUMBA_DISABLE_JIT"):
        bench.bench()
