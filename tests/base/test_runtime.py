"""The thread pool: chunks, forks, nesting, errors, progress."""

import pickle
import threading
import time

import numpy as np
import pytest

import fastgauss as fg
from fastgauss.base import thread_pool


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
@pytest.mark.parametrize(("items", "chunk"), [(0, 4), (1, 4), (4, 4), (1001, 10)])
def test_every_item_is_done_once(threads, items, chunk):
    seen = np.zeros(items, int)

    def task(start, stop):
        assert stop - start <= chunk and start % chunk == 0
        seen[start:stop] += 1

    thread_pool.run(lambda: task, items, chunk, threads)
    assert (seen == 1).all()


def test_one_chunk_stays_in_the_callers_thread():
    names = []
    thread_pool.run(lambda: lambda *_: names.append(threading.current_thread()), 5, 8, 4)
    assert names == [threading.current_thread()]


def test_the_first_error_is_raised_and_the_pool_goes_on():
    def task(start, stop):
        if start == 30:
            raise ZeroDivisionError("chunk 30")
        time.sleep(0.001)

    for threads in (1, 4):
        with pytest.raises(ZeroDivisionError, match="chunk 30"):
            thread_pool.run(lambda: task, 1000, 10, threads)
    done = []
    thread_pool.run(lambda: lambda a, b: done.append(b - a), 100, 10, 4)
    assert sum(done) == 100


def test_an_error_of_the_progress_callback_ends_the_job():
    def stop(done, total):
        raise KeyboardInterrupt

    for threads in (1, 3):
        begun = []
        with pytest.raises(KeyboardInterrupt):
            thread_pool.run(
                lambda begun=begun: lambda a, b: begun.append(time.sleep(0.002)),
                10000, 1, threads, stop,
            )  # fmt: skip
        assert len(begun) < 1000


def test_jobs_inside_jobs_and_from_many_threads_end():
    total = []

    def inner(start, stop):
        total.append(stop - start)

    def outer(start, stop):
        thread_pool.run(lambda: inner, 40, 4, 4)

    callers = [
        threading.Thread(target=thread_pool.run, args=(lambda: outer, 60, 2, 4)) for _ in range(8)
    ]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(60)
    assert sum(total) == 8 * 30 * 40


def test_progress_only_grows_and_ends_at_the_total():
    calls = []
    thread_pool.run(lambda: lambda a, b: None, 95, 10, 3, lambda *told: calls.append(told))
    assert calls[-1] == (95, 95) and calls == sorted(calls)


def test_number_of_threads_comes_from_call_environment_or_cores(monkeypatch):
    monkeypatch.setenv("FASTGAUSS_NUM_THREADS", "3")
    assert fg.get_num_threads() == 3
    fg.set_num_threads(5)
    try:
        assert fg.get_num_threads() == 5 and thread_pool.resolve_threads(2) == 2
    finally:
        fg.set_num_threads(None)
    monkeypatch.setenv("FASTGAUSS_NUM_THREADS", "many")
    with pytest.raises(ValueError, match="FASTGAUSS_NUM_THREADS"):
        fg.get_num_threads()
    monkeypatch.delenv("FASTGAUSS_NUM_THREADS")
    assert fg.get_num_threads() == thread_pool.available_cores()
    for bad, error in ((0, ValueError), (1.5, TypeError), (True, TypeError)):
        with pytest.raises(error, match="threads"):
            fg.set_num_threads(bad)


def test_a_tqdm_bar_is_made_on_request(capsys):
    pytest.importorskip("tqdm")
    fg.fit_rois(np.ones((30, 7, 7)), progress=True)
    assert "30" in capsys.readouterr().err


def test_results_can_be_pickled_and_selected():
    rng = np.random.default_rng(0)
    result = fg.fit_rois(rng.normal(100, 1, (6, 7, 7)), "elliptic")
    copy = pickle.loads(pickle.dumps(result))
    np.testing.assert_array_equal(copy.covariance, result.covariance)
    assert copy.names == result.names and repr(copy) == repr(result)
    mask = np.array([True, False, True, True, False, False])
    for rows in (mask, slice(1, 4), [0, 5], -1, np.int64(2)):
        part = result[rows]
        np.testing.assert_array_equal(part.params, np.atleast_2d(result.params[rows]))
    assert len(list(result)) == 6 and len(result[mask]) == 3
    with pytest.raises(IndexError, match="row 6"):
        result[6]
    with pytest.raises(AttributeError, match="sigma"):
        _ = result.sigma
    assert {"sigma_x", "flux"} <= set(dir(result))


def test_tables_have_a_column_for_everything():
    result = fg.fit_rois(np.random.default_rng(0).normal(100, 1, (4, 7, 7)), "rotated")
    columns = result.to_dict()
    expected = [*result.names, *(f"{n}_error" for n in result.names)]
    assert list(columns) == [
        *expected, "flux", "flux_error", "snr", "fwhm", "objective", "reduced_chi2", "p_value",
        "status", "converged", "iterations", "pixels", "dof", "id",
    ]  # fmt: skip
    table = result.to_structured()
    assert table.dtype.names == tuple(columns)
    for name, column in columns.items():
        np.testing.assert_array_equal(table[name], column)
    np.testing.assert_allclose(
        columns["flux"], 2 * np.pi * result.amplitude * result.sigma_x * result.sigma_y
    )
    frame = pytest.importorskip("pandas") and result.to_dataframe()
    assert list(frame.columns) == [*columns, "model", "pixel", "absolute"] and len(frame) == 4
