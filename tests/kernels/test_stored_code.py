"""Stored code: what cannot be loaded is compiled anew, and versions stand beside each other."""

import hashlib
import os
import pickle
import random
import time
from pathlib import Path

import numpy as np
import pytest
from numba.core import config

from fastgauss.kernels import _cache, _compile

_DATA = {"code": b"machine code" * 3}


def _files(folder, version="version", kind="kind"):
    return _cache.CodeFiles(str(folder), "room.kernel.py311", kind, version)


def _key(types="float64", code="bytecode", closure="closure"):
    return types, ("triple", "cpu", ""), (code, closure)


def _checked(whole):
    return hashlib.sha256(whole).digest() + whole


def _names(folder):
    return sorted(path.name for path in Path(folder).iterdir())


@pytest.fixture
def saved(tmp_path):
    files = _files(tmp_path)
    files.save(_key(), _DATA)
    assert files.load(_key()) == _DATA
    return files, Path(files.path(_key()))


def test_a_flipped_bit_anywhere_is_seen(saved):
    files, path = saved
    whole = path.read_bytes()
    for place in range(len(whole)):
        broken = bytearray(whole)
        broken[place] ^= 1 << place % 8
        path.write_bytes(broken)
        assert files.load(_key()) is None, place
    path.write_bytes(whole)
    assert files.load(_key()) == _DATA


def test_a_file_cut_short_or_lengthened_is_not_loaded(saved):
    files, path = saved
    whole = path.read_bytes()
    for broken in (*(whole[:n] for n in range(0, len(whole), 7)), whole + b"\0", bytes(len(whole))):
        path.write_bytes(broken)
        assert files.load(_key()) is None
    path.unlink()
    path.mkdir()
    assert files.load(_key()) is None


@pytest.mark.parametrize(
    "whole",
    [
        b"",
        b"\x80\xc8.",
        b"cno_such_module\nname\n.",
        b"cos\nno_such_attribute\n.",
        b"cbuiltins\nint\n(S'text'\ntR.",
        pickle.dumps(5),
        pickle.dumps((1, 2)),
        pickle.dumps(("version", _key("int8"), _DATA)),
        pickle.dumps(("other version", _key(), _DATA)),
        pickle.dumps(("version", np.arange(3), _DATA)),
    ],
    ids=lambda whole: repr(whole[:20]),
)
def test_what_is_whole_and_yet_not_ours_is_not_loaded(saved, whole):
    files, path = saved
    path.write_bytes(_checked(whole))
    assert files.load(_key()) is None
    files.save(_key(), _DATA)
    assert files.load(_key()) == _DATA


def test_versions_stand_beside_each_other(tmp_path):
    first, second = _files(tmp_path, "first"), _files(tmp_path, "second")
    first.save(_key(), "code of the first")
    second.save(_key(), "code of the second")
    second.save(_key(code="of another line"), "the same sources, another function")
    for _ in range(3):
        assert first.load(_key()) == "code of the first"
        assert second.load(_key()) == "code of the second"
    assert len(_names(tmp_path)) == 3


def test_the_versions_used_last_are_kept(tmp_path):
    versions = [_files(tmp_path, number) for number in range(_cache.KEPT + 2)]
    others = _files(tmp_path, 0, "another kind"), _files(tmp_path / "..", 0)
    others[0].save(_key(), "other")
    long_ago = time.time() - 1e6
    for number, files in enumerate(versions[: _cache.KEPT]):
        files.save(_key(), number)
        files.save(_key("float32"), number)
        os.utime(files.path(_key()), (long_ago + number, long_ago + number))
    assert versions[0].load(_key()) == 0  # the oldest is used again
    for number, files in enumerate(versions[_cache.KEPT :], _cache.KEPT):
        files.save(_key(), number)
    kept = [number for number, files in enumerate(versions) if files.load(_key()) is not None]
    assert kept == [0, *range(3, _cache.KEPT + 2)]
    assert all(files.load(_key("float32")) is not None for files in versions[: _cache.KEPT])
    assert others[0].load(_key()) == "other"


def test_a_look_that_is_no_use_leaves_the_file_as_it_is(saved):
    files, path = saved
    os.utime(path, (1e9, 1e9))
    assert files.load(_key(), used=False) == _DATA
    assert path.stat().st_mtime == 1e9
    files.load(_key())
    assert path.stat().st_mtime > 1e9


def test_what_a_killed_process_left_goes_with_the_next_save(saved):
    files, path = saved
    old, new = (Path(f"{path}.tmp.{number}") for number in "12")
    for left in (old, new):
        left.write_bytes(b"half")
    os.utime(old, (1e9, 1e9))
    files.save(_key(), _DATA)
    assert not old.exists() and new.exists()  # somebody may still write the new one


def test_flush_removes_the_files_of_this_kernel_alone(saved, tmp_path):
    files, _ = saved
    stranger = _cache.CodeFiles(str(tmp_path), "room.kernel_of_another.py311", "kind", "version")
    stranger.save(_key(), _DATA)
    _files(tmp_path, "another version").save(_key("int8"), _DATA)
    files.flush()
    assert files.load(_key()) is None and stranger.load(_key()) == _DATA
    assert len(_names(tmp_path)) == 1


# -- a kernel ----------------------------------------------------------------------------------


def _add(x):
    return x + 10


def _call(value):
    """The answer in a new dispatcher, and whether its code came from a file."""
    kernel = _compile.kernel(_add)
    return kernel(value), sum(kernel.stats.cache_hits.values())


@pytest.fixture
def stored(tmp_path, monkeypatch):
    """The file of a kernel that was compiled."""
    if _compile.JIT_DISABLED:
        pytest.skip("nothing is compiled")
    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path))
    assert _call(1) == (11, 0)
    assert _call(1) == (11, 1)
    (path,) = tmp_path.rglob("*.nbc")
    return path


def test_a_cache_that_is_off_neither_loads_nor_stores(stored):
    kernel = _compile.kernel(_add)
    kernel._cache.disable()
    stored.unlink()
    assert kernel(1) == 11 and not stored.exists()
    kernel._cache.enable()
    assert kernel(1.0) == 11 and len(list(stored.parent.glob("*.nbc"))) == 1


def test_damage_means_compiling_anew(stored):
    whole = stored.read_bytes()
    rng = random.Random(5)
    damaged = []
    for _ in range(4):
        broken = bytearray(whole)
        for _ in range(3):
            broken[rng.randrange(len(broken))] ^= 1 << rng.randrange(8)
        damaged.append(bytes(broken))
    middle = len(whole) // 2
    for broken in (*damaged, whole[:middle] + bytes(64) + whole[middle + 64 :], whole[:middle]):
        stored.write_bytes(broken)
        assert _call(1) == (11, 0)
        assert _call(1) == (11, 1)
    assert list(stored.parent.glob("*.nbc")) == [stored]


@pytest.mark.parametrize("data", [5, (), (1, 2, 3), ("code",) * 9], ids=repr)
def test_what_numba_does_not_take_means_compiling_anew(stored, data):
    stamp, key, _ = pickle.loads(stored.read_bytes()[32:])
    stored.write_bytes(_checked(pickle.dumps((stamp, key, data))))
    assert _call(2) == (12, 0)
    assert _call(2) == (12, 1)
