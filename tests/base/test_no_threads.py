"""Where no thread is to be had, the caller's thread does the job, with the same bits."""

import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from processes import python

from fastgauss.base import thread_pool

_JOB = """
    import atexit, threading
    import numpy as np, fastgauss as fg

    indices = np.random.default_rng(0).integers(0, 1000, 300_000)
    values = np.random.default_rng(1).normal(size=300_000)
    image = np.random.default_rng(2).normal(size=(400, 500))

    def job(threads):
        fg.set_num_threads(threads)
        sums = fg.bin_statistics(indices, values, 1000).sum
        return fg.gaussian_filter(image, 2.0).tobytes() + sums.tobytes()

    right = job(1)

    def tell(when, threads=4):
        print(when, job(threads) == right, flush=True)
"""


@pytest.fixture
def new_pool(monkeypatch):
    monkeypatch.setattr(thread_pool, "_pool", None)


def _sums(threads, items=1000, chunk=7):
    seen = np.zeros(items)

    def task(start, stop):
        seen[start:stop] += np.arange(start, stop)

    thread_pool.run(lambda: task, items, chunk, threads)
    return seen


class _NoThread(threading.Thread):
    def start(self):
        raise RuntimeError("can't start new thread")


def test_no_thread_at_all(new_pool, monkeypatch):
    monkeypatch.setattr(threading, "Thread", _NoThread)
    for _ in range(3):
        np.testing.assert_array_equal(_sums(4), np.arange(1000))
    assert thread_pool._pool is None  # no queue that nobody empties
    monkeypatch.undo()
    np.testing.assert_array_equal(_sums(4), np.arange(1000))


def test_fewer_threads_than_asked_for(new_pool, monkeypatch):
    left = [2]

    class Few(threading.Thread):
        def start(self):
            if not left[0]:
                raise RuntimeError("can't start new thread")
            left[0] -= 1
            super().start()

    monkeypatch.setattr(threading, "Thread", Few)
    for _ in range(20):
        np.testing.assert_array_equal(_sums(6), np.arange(1000))


def test_work_that_was_queued_before_the_thread_failed_is_never_done_late(new_pool, monkeypatch):
    """A pool puts work into its queue and then raises; a thread may find it any time later."""
    late = []

    class Pool(ThreadPoolExecutor):
        def submit(self, work):
            late.append(work)
            raise RuntimeError("can't start new thread")

    monkeypatch.setattr(thread_pool, "ThreadPoolExecutor", Pool)
    seen = []
    thread_pool.run(lambda: lambda a, b: seen.append(a), 40, 4, 3)
    assert seen == list(range(0, 40, 4)) and len(late) == 1
    late[0]()
    assert len(seen) == 10


def test_an_error_without_threads_is_the_tasks_own(new_pool, monkeypatch):
    monkeypatch.setattr(threading, "Thread", _NoThread)
    with pytest.raises(ZeroDivisionError):
        thread_pool.run(lambda: lambda a, b: 1 / 0, 40, 4, 3)


def test_after_the_main_thread_has_ended():
    code = """
    atexit.register(tell, "atexit")

    class Kept:
        def __del__(self):
            tell("deleted")

    kept = Kept()
    main = threading.main_thread()

    def work():
        tell("before")
        ended.wait()
        main.join()
        tell("after")
        tell("again", 2)

    ended = threading.Event()
    threading.Thread(target=work).start()
    ended.set()
    """
    told = python(_JOB + code).split("\n")[:-1]
    assert sorted(told) == [
        "after True",
        "again True",
        "atexit True",
        "before True",
        "deleted True",
    ]


@pytest.mark.skipif(sys.platform != "linux", reason="limits of processes are Linux's here")
def test_with_a_limit_on_processes():
    """In a process that may not start threads, as another user, since root has no limits."""
    code = """
    import os, resource
    fg.register.cross_correlate(image, image[::-1])  # the other user may not read the modules
    resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))
    if os.getuid() == 0:
        os.setresuid(54321, 54321, 54321)
    try:
        threading.Thread(target=int).start()
        print("there are threads all the same")
    except RuntimeError:
        tell("limited")
        tell("again", 2)
        fg.register.cross_correlate(image, image[::-1])  # its transforms have threads of scipy's
    """
    told = python(_JOB + code, OPENBLAS_NUM_THREADS="1")
    if "all the same" in told:
        pytest.skip("this system sets no limit")
    assert told.split("\n")[:-1] == ["limited True", "again True"]
