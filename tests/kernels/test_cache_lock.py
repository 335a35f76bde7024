"""Cold processes on one cache: each kernel is compiled once, and no lock is in anybody's way."""

import errno
import signal
import subprocess
import sys
import time

import pytest

from fastgauss.kernels import _cache, _cache_lock

fcntl = pytest.importorskip("fcntl")

_HOLD = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("_locks", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
locks = module.CompileLocks()
with locks.compiling():
    print(locks.wait(sys.argv[2], "name", lambda: None), flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def folder(tmp_path):
    return str(tmp_path)


@pytest.fixture
def holder(folder):
    """A process that holds the lock of "name"."""
    command = [sys.executable, "-c", _HOLD, _cache_lock.__file__, folder]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, **pipes) as process:
        assert process.stdout.readline() == b"None\n"
        yield process
        process.kill()


def _wait(folder, name="name", look=lambda: None):
    locks = _cache_lock.CompileLocks()
    with locks.compiling():
        begin = time.monotonic()
        return locks.wait(folder, name, look), time.monotonic() - begin


def test_who_waits_loads_what_the_other_keeps(folder, holder):
    answers = iter([None, None, None, "code"])
    assert _wait(folder, look=lambda: next(answers))[0] == "code"


def test_another_kernel_waits_for_nobody(folder, holder, monkeypatch):
    monkeypatch.setattr(_cache_lock.time, "sleep", lambda pause: pytest.fail("it waited"))
    assert _wait(folder, "another")[0] is None


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM, None])
def test_the_lock_ends_with_its_process_or_its_compilation(folder, holder, end):
    def look():
        holder.stdin.close() if end is None else holder.send_signal(end)

    assert _wait(folder, look=look)[1] < 30
    assert holder.wait(30) is not None


def test_an_error_frees_the_lock(folder):
    locks = _cache_lock.CompileLocks()
    with pytest.raises(ZeroDivisionError), locks.compiling():
        locks.wait(folder, "name", lambda: 1 / 0)
    command = [sys.executable, "-c", _HOLD, _cache_lock.__file__, folder]
    done = subprocess.run(command, capture_output=True, timeout=30, check=True, input=b"")
    assert done.stdout == b"None\n"


def test_nobody_waits_in_vain_twice(folder, holder, monkeypatch):
    monkeypatch.setattr(_cache_lock, "PATIENCE", 0.05)
    locks, looks = _cache_lock.CompileLocks(), []
    with locks.compiling():
        assert locks.wait(folder, "name", lambda: looks.append(1)) is None
        assert len(looks) >= 1
        looks.clear()
        assert locks.wait(folder, "name", lambda: looks.append(1)) is None
        assert not looks


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP, errno.EACCES])
def test_where_there_are_no_locks_everybody_compiles(folder, holder, monkeypatch, code):
    def refuse(*_):
        raise OSError(code, "no locks here")

    monkeypatch.setattr(_cache_lock.fcntl, "lockf", refuse)
    assert _wait(folder)[0] is None
    assert _wait("/dev/null/none")[0] is None
    monkeypatch.setattr(_cache_lock, "fcntl", None)
    assert _wait(folder)[0] is None


def _files(folder, stamp="stamp"):
    return _cache.CodeFiles(folder, "kernel.py311", "kind", stamp)


def _key(types):
    return types, ("triple", "cpu", ""), ("bytecode", "closure")


def test_code_for_different_types_is_never_exchanged(folder):
    one, other = _files(folder), _files(folder)
    one._load_index(), other._load_index()  # numba's own files are lost from here on
    one.save(_key("float32"), "code for float32")
    other.save(_key("float64"), "code for float64")
    for files in (one, other, _files(folder)):
        assert files.load(_key("float32")) == "code for float32"
        assert files.load(_key("float64")) == "code for float64"
        assert files.load(_key("int32")) is None


def test_code_that_numba_cannot_write_is_used_all_the_same():
    def fail(*_):
        raise RuntimeError("no compiled object yet")

    cache = _cache.PackageCache(test_who_waits_loads_what_the_other_keeps)
    cache.__dict__["_cache"] = type("Cache", (), {"save_overload": fail})()
    assert cache.save_overload(("types",), "code") is None
