"""Files that are replaced: permissions, FIFOs, writers that are killed."""

import os
import stat
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from fastgauss.io import files, tables

TABLE = {"x": np.arange(5) / 4, "n": np.arange(5)}
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX")


@pytest.fixture(params=["nameless", "named"])
def way(request, monkeypatch):
    """Files without a name until they are whole, as on Linux, and files with one."""
    if request.param == "named":
        monkeypatch.delattr(os, "O_TMPFILE", raising=False)
    elif not hasattr(os, "O_TMPFILE"):
        pytest.skip("Linux's")
    return request.param


def _mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def _names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("suffix", [".csv", ".npz"])
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o666, 0o444, 0o755])
def test_a_replaced_file_keeps_its_mode(tmp_path, way, suffix, mode):
    path = tmp_path / f"t{suffix}"
    path.write_bytes(b"old")
    path.chmod(mode)
    tables.write_table(path, TABLE)
    assert _mode(path) == mode and path.stat().st_size > 10
    assert _names(tmp_path) == [path.name]


def test_a_new_file_has_the_mode_that_the_process_gives(tmp_path, way):
    before = os.umask(0o027)
    try:
        tables.write_table(tmp_path / "t.csv", TABLE)
    finally:
        os.umask(before)
    assert _mode(tmp_path / "t.csv") == 0o640


def test_a_link_leads_to_a_file_that_keeps_its_mode(tmp_path, way):
    target, link = tmp_path / "real.csv", tmp_path / "link.csv"
    target.write_text("old")
    target.chmod(0o600)
    link.symlink_to(target)
    tables.write_table(link, TABLE)
    assert link.is_symlink() and _mode(target) == 0o600 and target.read_text() != "old"


def test_content_is_readable_by_the_owner_alone_before_the_mode_is_set(tmp_path, way, monkeypatch):
    modes = []
    monkeypatch.setattr(
        files, "_copy_permissions", lambda old, new: modes.append(os.fstat(new.fileno()).st_mode)
    )
    path = tmp_path / "t.csv"
    path.write_text("old")
    tables.write_table(path, TABLE)
    assert stat.S_IMODE(modes[0]) == 0o600


def test_where_a_nameless_file_cannot_get_a_name_it_is_copied(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise OSError("no links here")

    monkeypatch.setattr(os, "link", refuse)
    path = tmp_path / "t.csv"
    path.write_text("old")
    path.chmod(0o640)
    tables.write_table(path, TABLE)
    assert path.read_text().startswith("x,n\n0.0,0\n") and _mode(path) == 0o640
    assert _names(tmp_path) == ["t.csv"]


def test_an_error_leaves_the_old_file_alone(tmp_path, way):
    path = tmp_path / "t.csv"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), files.replacing(path) as file:
        file.write(b"half")
        raise ZeroDivisionError
    with pytest.raises(OSError, match=r"cannot write .*t\.csv: full"), files.replacing(path):
        raise OSError("full")
    assert path.read_text() == "old" and _names(tmp_path) == ["t.csv"]


def test_writers_of_one_target_are_not_in_each_others_way(tmp_path, way):
    path = tmp_path / "t.bin"
    with files.replacing(path) as one, files.replacing(path) as other:
        one.write(b"one")
        other.write(b"other")
    assert path.read_bytes() == b"one"  # the outer block ends last
    assert _names(tmp_path) == ["t.bin"]


@pytest.mark.parametrize("suffix", [".csv", ".npz", ".parquet"])
def test_a_fifo_stays_a_fifo_and_brings_the_table(tmp_path, suffix):
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
    fifo, copy = tmp_path / f"fifo{suffix}", tmp_path / f"copy{suffix}"
    os.mkfifo(fifo)
    reader = threading.Thread(target=lambda: copy.write_bytes(fifo.read_bytes()))
    reader.start()
    tables.check_table(fifo)
    tables.write_table(fifo, TABLE)
    reader.join(60)
    assert stat.S_ISFIFO(fifo.stat().st_mode) and _names(tmp_path) == [copy.name, fifo.name]
    table, _ = tables.read_table(copy)
    np.testing.assert_array_equal(np.array(table["x"], float), TABLE["x"])


def test_a_device_is_written_to(tmp_path):
    link = tmp_path / "null.csv"
    link.symlink_to(os.devnull)
    tables.check_table(link)
    tables.write_table(link, TABLE)
    assert stat.S_ISCHR(link.stat().st_mode) and _names(tmp_path) == ["null.csv"]


_WRITE = """
import os, sys
if sys.argv[2] == "named" and hasattr(os, "O_TMPFILE"):
    del os.O_TMPFILE
from fastgauss.io import files
with files.replacing(sys.argv[1]) as file:
    file.write(b"half")
    file.flush()
    print("half", flush=True)
    sys.stdin.read()
"""


def test_a_killed_writer_leaves_nothing_for_good(tmp_path, way):
    path = tmp_path / "t.csv"
    path.write_text("old")
    command = [sys.executable, "-c", _WRITE, str(path), way]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, **pipes) as writer:
        assert writer.stdout.readline() == b"half\n"
        partial = tmp_path / ".t.csv.partial"
        if way == "named":  # as long as it lives nobody touches what it writes
            os.utime(partial, (1e9, 1e9))
            tables.write_table(path, TABLE)
            assert _names(tmp_path) == [partial.name, path.name]
        writer.kill()
    if way == "named":
        assert partial.exists()
        tables.write_table(path, TABLE)
    assert _names(tmp_path) == [path.name]


def test_a_partial_file_of_another_machine_is_left_until_it_is_old(tmp_path, monkeypatch):
    """Where there are no locks nobody knows whether its writer lives."""
    monkeypatch.delattr(os, "O_TMPFILE", raising=False)
    monkeypatch.setattr(files, "fcntl", None)
    path, partial = tmp_path / "t.csv", tmp_path / ".t.csv.partial"
    partial.write_text("half")
    os.utime(partial, (time.time() - 3600,) * 2)
    tables.write_table(path, TABLE)
    assert _names(tmp_path) == [partial.name, path.name]
    os.utime(partial, (1e9, 1e9))
    tables.write_table(path, TABLE)
    assert _names(tmp_path) == [path.name]
