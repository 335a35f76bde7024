"""Files: paths, atomic replacement, name endings.

The ending of a file's name selects its format. Every image becomes a sequence of two-dimensional
frames ``[y, x]`` in the machine's byte order. A stack is read frame by frame, never whole. All axes
before the last two count frames, in file order; ``io/axes.py`` says which of them are the planes of
a volume. Colours become luminance, 0.2125 R + 0.7154 G + 0.0721 B, on the scale of the file; an
alpha channel is ignored.

A table or a plot is written to a new file beside the target, which then takes the target's name,
owner and mode: no reader ever sees an incomplete file. On Linux the new file has no name until it
is complete, so nothing remains of it if the process is killed. On other systems the next writer of
the same target removes the remains. A target that is not a regular file (a FIFO, a device) is not
replaced: the complete content is copied into it.

Each function imports the optional library that it needs.
"""

from __future__ import annotations

import os
import secrets
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from ..base.optional import require

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_YOUNG, _OLD = 60.0, 86_400.0  # s: least age of an abandoned partial file, with and without locks


def existing(path: str | os.PathLike, what: str, folders: tuple[str, ...] = ()) -> Path:
    """A path to a file, or to a folder whose name has one of these endings."""
    path = Path(path)
    if path.is_dir() and path.suffix.lower() not in folders:
        raise IsADirectoryError(f"{path} is a directory, not {what}")
    if not path.exists():
        raise FileNotFoundError(f"no such file: {path}")
    return path


def by_suffix(path: Path, known: Mapping[str, Any], what: str) -> Any:
    for suffix, value in known.items():
        if path.name.lower().endswith(suffix):
            return value
    raise ValueError(f"the name of {what} {path} must end in one of {', '.join(known)}")


PLOT_SUFFIXES = dict.fromkeys((".png", ".pdf", ".svg"))


# -- writing -----------------------------------------------------------------------------------


@contextmanager
def replacing(path: str | os.PathLike) -> Iterator[IO[bytes]]:
    """A file that takes the place of ``path`` if the block ends without an error.

    After an error the new file is removed and ``path`` stays as it was.
    """
    try:
        write = _write_through if _is_special(Path(path)) else _write_beside
        with write(Path(os.path.realpath(path) if write is _write_beside else path)) as file:
            yield file
    except OSError as error:
        raise OSError(f"cannot write {path}: {error.strerror or error}") from error


def _is_special(path: Path) -> bool:
    """Whether the path exists and is neither a regular file nor a directory."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


@contextmanager
def _write_through(path: Path) -> Iterator[IO[bytes]]:
    """A temporary file whose complete content is copied to ``path`` at the end of the block."""
    with tempfile.TemporaryFile() as file:
        yield file
        file.seek(0)
        with path.open("wb") as target:
            shutil.copyfileobj(file, target)


@contextmanager
def _write_beside(target: Path) -> Iterator[IO[bytes]]:
    mode = 0o600 if target.exists() else 0o666  # the process's umask is subtracted
    file, partial = _open_nameless(target.parent, mode), None
    if file is None:
        file, partial = _open_partial(target, mode)
    try:
        with file:
            _lock(file)
            _copy_permissions(target, file)
            yield file
            file.flush()
            if partial is None:
                partial = _unused_name(target)
                _give_name(file, partial)
            partial.replace(target)
    except BaseException:
        if partial is not None:
            partial.unlink(missing_ok=True)
        raise


def _unused_name(target: Path) -> Path:
    return target.with_name(f".{target.name}.{secrets.token_hex(4)}.partial")


def _open_partial(target: Path, mode: int) -> tuple[IO[bytes], Path]:
    """A new file, and its path: a fixed name beside the target, or another if that is in use.

    Under the fixed name the remains of a killed process are found and removed.
    """
    partial = target.with_name(f".{target.name}.partial")
    with suppress(FileNotFoundError), partial.open("rb") as file:
        state, locked = os.fstat(file.fileno()), _lock(file)
        left = time.time() - state.st_mtime > (_YOUNG if locked else _OLD)
        if left and locked is not False and partial.stat().st_ino == state.st_ino:
            partial.unlink()
    with suppress(FileExistsError):
        return _open_new(partial, mode), partial
    partial = _unused_name(target)
    return _open_new(partial, mode), partial


def _open_new(path: Path, mode: int) -> IO[bytes]:
    return os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, mode), "w+b")


def _open_nameless(folder: Path, mode: int) -> IO[bytes] | None:
    """A file without a name in this folder; None if the system cannot name it later."""
    if not hasattr(os, "O_TMPFILE"):
        return None
    try:
        descriptor = os.open(folder, os.O_TMPFILE | os.O_RDWR, mode)
    except OSError:
        return None
    file = os.fdopen(descriptor, "w+b")
    if Path(_link_to(file)).exists():
        return file
    file.close()
    return None


def _link_to(file: IO[bytes]) -> str:
    return f"/proc/self/fd/{file.fileno()}"


def _give_name(file: IO[bytes], path: Path) -> None:
    folder = os.open(path.parent, os.O_RDONLY)
    try:  # Python follows the symbolic link only if it is given a folder
        os.link(_link_to(file), path, src_dir_fd=folder, follow_symlinks=True)
    except OSError:  # some layered file systems cannot link a nameless file
        file.seek(0)
        with _open_new(path, 0o600) as copy:
            shutil.copyfileobj(file, copy)
        shutil.copymode(_link_to(file), path)
    finally:
        os.close(folder)


def _lock(file: IO[bytes]) -> bool | None:
    """Lock a file until it is closed. False: another process holds it; None: there are no locks."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except (OSError, AttributeError):
        return None
    return True


def _copy_permissions(old: Path, new: IO[bytes]) -> None:
    """Give a new file the owner, group and mode of the old file, as far as this process may."""
    if not hasattr(os, "fchmod"):  # Windows
        return
    with suppress(FileNotFoundError):
        state = old.stat()
        for owner, group in ((state.st_uid, -1), (-1, state.st_gid)):
            with suppress(OSError):
                os.fchown(new.fileno(), owner, group)
        os.fchmod(new.fileno(), stat.S_IMODE(state.st_mode))


def check_place(path: Path) -> None:
    """Raise before the work the errors that writing to ``path`` would raise after it."""
    if path.is_dir():
        raise IsADirectoryError(f"cannot write {path}: it is a directory")
    if _is_special(path):
        if not os.access(path, os.W_OK):
            raise PermissionError(f"cannot write {path}: it is not writable")
        return
    parent = Path(os.path.realpath(path)).parent
    if not parent.is_dir():
        raise FileNotFoundError(f"cannot write {path}: there is no directory {parent}")
    if not os.access(parent, os.W_OK):
        raise PermissionError(f"cannot write {path}: directory {parent} is not writable")


def check_plot(path: str | os.PathLike) -> None:
    """Raise unless a plot can be written there."""
    by_suffix(Path(path), PLOT_SUFFIXES, "plot")
    require("matplotlib", "plotting", "plot")
    check_place(Path(path))
