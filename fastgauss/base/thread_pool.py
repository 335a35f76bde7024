"""Thread pool and chunked jobs: how a job of many items runs on a few cores.

A kernel is serial, works on a range of items and runs without the GIL. ``run``
deals out ranges of a fixed size to a few threads: the caller's and those of one
small pool. The ranges depend on the number of items alone, never on the number
of threads, so the result has the same bits for any number of threads.

No OpenMP and no numba threading layer takes part: both end the process in
situations that other people's programs get into (a fork after a parallel call,
two Python threads at once). The pool is made when first needed and made anew in
a forked child. The caller's thread always works too, so that a job started from
inside a job proceeds even when the pool is busy, and Ctrl-C ends a job after the
chunks in hand. If no thread can be started (the system has no more, or Python is
about to end), the caller's thread does the whole job.
"""

from __future__ import annotations

import logging
import os
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import count
from typing import Any, TypeVar

from . import check
from .log import logger
from .progress import Progress

Task = Callable[[int, int], None]
Item = TypeVar("Item")
Result = TypeVar("Result")
_AHEAD = 3  # items in work for each thread, at most, in ``ordered``


_pool: ThreadPoolExecutor | None = None
_lock = threading.Lock()
_own = threading.local()  # .stop: the event of the job that the thread works on
_num_threads: int | None = None


def available_cores() -> int:
    """Cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS and Windows
        return os.cpu_count() or 1


def get_num_threads() -> int:
    """Number of threads that a call uses unless told by ``threads=``.

    Returns
    -------
    int
        What `set_num_threads` set, else the environment variable
        ``FASTGAUSS_NUM_THREADS``, else the number of cores of this process.

    Raises
    ------
    ValueError
        If the environment variable is not a positive integer.

    Examples
    --------
    >>> import fastgauss as fg
    >>> fg.get_num_threads() >= 1
    True
    """
    if _num_threads is not None:
        return _num_threads
    text = os.environ.get("FASTGAUSS_NUM_THREADS")
    if text is None or not text.strip():
        return available_cores()
    try:
        value = int(text)
    except ValueError:
        raise ValueError(f"FASTGAUSS_NUM_THREADS must be an integer, got {text!r}") from None
    return check.integer("FASTGAUSS_NUM_THREADS", value, at_least=1)


def set_num_threads(threads: int | None) -> None:
    """Set the number of threads that calls of this process use by default.

    Results do not depend on it, to the bit.

    Parameters
    ----------
    threads : int or None
        A positive number; None returns to the environment's choice.

    Returns
    -------
    None

    Raises
    ------
    TypeError, ValueError
        If `threads` is not a positive integer.

    Examples
    --------
    >>> import fastgauss as fg
    >>> fg.set_num_threads(2)
    >>> fg.get_num_threads()
    2
    >>> fg.set_num_threads(None)
    """
    global _num_threads
    _num_threads = None if threads is None else check.integer("threads", threads, at_least=1)


def resolve_threads(threads: int | None) -> int:
    """The number of threads that the option ``threads=`` means."""
    if threads is None:
        return get_num_threads()
    return check.integer("threads", threads, at_least=1)


def _forget_pool() -> None:
    """In a forked child: the parent's threads are not there, nor may its lock be free."""
    global _pool, _lock
    _pool, _lock = None, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_pool)


class _Helper:
    """Work for one thread of the pool. It begins at most once, and never after `finish`."""

    def __init__(self, work: Callable[[], None]) -> None:
        self._work = work
        self._begun = threading.Lock()
        self._ended = threading.Event()
        self._error: BaseException | None = None

    def __call__(self) -> None:
        if not self._begun.acquire(blocking=False):
            return
        try:
            self._work()
        except BaseException as error:
            self._error = error
        finally:
            self._ended.set()

    def finish(self) -> BaseException | None:
        """Wait for the work if a thread has begun it, else prevent that; the error of the work."""
        if not self._begun.acquire(blocking=False):
            self._ended.wait()
        return self._error


def _submit(helper: _Helper) -> bool:
    """Give work to the pool, whose threads live as long as the process. False: no thread starts.

    The pool can have queued the work before it finds that no thread starts.
    """
    global _pool
    with _lock:
        pool = _pool
        if pool is None:
            workers = max(32, 2 * available_cores())  # idle ones cost nothing: made on demand
            pool = ThreadPoolExecutor(workers, thread_name_prefix="fastgauss")
        try:
            pool.submit(helper)
        except RuntimeError:
            return False
        _pool = pool  # only now: the queue of a pool without threads would grow
        return True


def stopped() -> bool:
    """Whether the job of this thread's task is to end; long tasks ask between their steps."""
    stop = getattr(_own, "stop", None)
    return stop is not None and stop.is_set()


def run(
    make_task: Callable[[], Task],
    items: int,
    chunk: int,
    threads: int | None = None,
    progress: Progress | None = None,
) -> None:
    """Call a task on each chunk ``[start, stop)`` of the items, each chunk once.

    Parameters
    ----------
    make_task : callable
        Called once by each thread that takes part; returns that thread's task,
        which may own scratch memory. A task must write its own items alone.
    items, chunk : int
        Number of items, and items in a chunk.
    threads : int or None
        Largest number of threads; None for the default.
    progress : callable or None
        Called in the caller's thread with the items done and the total.

    Raises
    ------
    Exception
        The first error of a task or of `progress`; other chunks may have run.
    """
    chunks = -(-items // chunk)
    # to ask how many threads there are takes a tenth of what a small call does
    team = 1 if threads is None and chunks <= 1 else min(resolve_threads(threads), chunks)
    if logger.isEnabledFor(logging.DEBUG):
        job = f"{make_task.__module__}.{make_task.__qualname__.partition('.<locals>')[0]}"
        logger.debug("%s: %d items in chunks of %d, %d threads", job, items, chunk, max(team, 1))
    if team <= 1:
        _run_alone(make_task, items, chunk, progress)
    else:
        _run_together(make_task, items, chunk, team, progress)
    if progress is not None:
        progress(items, items)


def _run_alone(
    make_task: Callable[[], Task], items: int, chunk: int, progress: Progress | None
) -> None:
    """All chunks in the caller's thread: a small job pays for no locks."""
    if not items:
        return
    task = make_task()
    for start in range(0, items, chunk):
        end = min(start + chunk, items)
        task(start, end)
        if progress is not None and end < items:
            progress(end, items)


def _run_together(
    make_task: Callable[[], Task],
    items: int,
    chunk: int,
    team: int,
    progress: Progress | None,
) -> None:
    """Chunks dealt out to the caller's thread and ``team - 1`` others."""
    chunks = -(-items // chunk)
    tickets = count()  # next() on it is atomic
    stop = threading.Event()
    done = 0
    done_lock = threading.Lock()

    def work(report: Progress | None = None) -> None:
        nonlocal done
        task: Task | None = None
        outer, _own.stop = getattr(_own, "stop", None), stop
        try:
            while not stop.is_set():
                ticket = next(tickets)
                if ticket >= chunks:
                    return
                start = ticket * chunk
                end = min(start + chunk, items)
                task = task or make_task()
                task(start, end)
                with done_lock:
                    done += end - start
                if report is not None and done < items:
                    report(done, items)
        except BaseException:  # a helper's, which the caller sees when it ends
            stop.set()
            raise
        finally:
            _own.stop = outer

    helpers: list[_Helper] = []
    try:
        for _ in range(team - 1):
            helpers.append(_Helper(work))
            if not _submit(helpers[-1]):
                break
        work(progress)
    except BaseException:  # of the caller's task or of progress, Ctrl-C included
        stop.set()
        raise
    finally:
        errors = [helper.finish() for helper in helpers]
    for error in errors:
        if error is not None:
            raise error


# -- items that arrive one after the other -----------------------------------------------------


def ordered(
    work: Callable[[Item], Result], items: Iterable[Item], threads: int
) -> Generator[Result, None, None]:
    """``work(item)`` of each item, in their order, several at a time.

    Items are read in the caller's thread, a few ahead of the result that is given: there may be any
    number of them. One thread reads no item ahead. An error of an item, or of reading, comes after
    the results of all items before.
    """
    if threads == 1:
        yield from map(work, items)
        return
    stop = threading.Event()

    def task(item: Item) -> Result:
        outer, _own.stop = getattr(_own, "stop", None), stop
        try:
            return work(item)
        finally:
            _own.stop = outer

    pool = ThreadPoolExecutor(threads, thread_name_prefix="fastgauss-items")
    waiting: deque[Future[Result]] = deque()
    failed: Exception | None = None
    source = iter(items)
    try:
        while True:
            try:
                item = next(source)
            except StopIteration:
                break
            except Exception as error:
                failed = error
                break
            waiting.append(_begin(pool, task, item))
            while waiting and (waiting[0].done() or len(waiting) >= _AHEAD * threads):
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
        if failed is not None:
            raise failed
    finally:
        stop.set()
        pool.shutdown(cancel_futures=True)


def _begin(pool: ThreadPoolExecutor, task: Callable[[Any], Result], item: Any) -> Future[Result]:
    """Work given to a thread, or done in the caller's where none can be started."""
    try:
        return pool.submit(task, item)
    except RuntimeError:
        done: Future[Result] = Future()
        try:
            done.set_result(task(item))
        except Exception as error:
            done.set_exception(error)
        return done
