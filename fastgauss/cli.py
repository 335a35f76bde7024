"""The command ``fastgauss``: the main job from the shell.

``fastgauss fit IMAGE`` finds and fits the spots of an image or a stack,
``fastgauss register A B`` finds how windows move between two images,
``fastgauss info`` tells what runs here, and ``fastgauss warmup JOB`` compiles
what a job needs. An error is one line on stderr and exit code 2.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from . import _io
from ._info import show_config
from ._runtime import resolve_threads
from ._warmup import EVERYDAY, JOBS, chosen
from .models import MODELS, get_model
from .register import command
from .results import Status

_ROWS = 10  # shown without --output
_FAILED, _INTERRUPTED, _NO_READER = 2, 130, 141
_COLUMNS_NOT_SHOWN = ("objective", "converged", "iterations", "pixels", "dof")


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(_FAILED, f"fastgauss: error: {message}\n")


def _parser() -> _Parser:
    parser = _Parser(prog="fastgauss", description="Find and fit Gaussian spots in images.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    fit = commands.add_parser(
        "fit",
        help="find and fit the spots of an image or a stack",
        description="Find the spots of an image, fit a Gaussian to each and write a table. "
        "Every frame of a stack is done alike; its table has a frame column.",
    )
    fit.add_argument("image", metavar="IMAGE", nargs="?", help="TIFF, PNG, JPEG, NPY or FITS")
    fit.add_argument("--example", action="store_true", help="fit a Hubble Deep Field, no IMAGE")
    fit.add_argument("-o", "--output", metavar="TABLE", help="write .csv, .parquet or .npz")
    fit.add_argument("--plot", metavar="FILE", help="draw spots and residual: .png, .pdf or .svg")
    fit.add_argument("--model", choices=MODELS, default="symmetric", help="default: symmetric")
    fit.add_argument("--box", type=int, default=11, help="side of a spot's window, px (11)")
    fit.add_argument("--sigma", type=float, default=1.3, help="expected width, px (1.3)")
    fit.add_argument("--threshold", type=float, help="least height of a spot (5 noise sigmas)")
    fit.add_argument("--joint", action="store_true", help="crowded image: overlapping spots as one")
    fit.add_argument("--dark", action="store_true", help="dark spots on a bright background")
    fit.add_argument("--threads", type=int, help="default: one a core")
    fit.set_defaults(run=_fit)

    command.add_parser(commands)
    info = commands.add_parser("info", help="print versions, CPU, threads and cache place")
    info.set_defaults(run=_info)
    warmup = commands.add_parser("warmup", help="compile what jobs need, into the cache")
    names = f"{', '.join(JOBS)} or all; by default {', '.join(EVERYDAY)}"
    warmup.add_argument("jobs", metavar="JOB", nargs="*", help=names)
    warmup.set_defaults(run=_warmup)
    return parser


@contextmanager
def _open(args: argparse.Namespace) -> Iterator[_io.Frames]:
    if not args.example:
        with _io.open_image(args.image) as frames:
            yield frames
        return
    data = _io.require("skimage.data", "--example", "example")
    image = _io.luminance(data.hubble_deep_field())
    yield _io.Frames(1, lambda _: image)


def _check(args: argparse.Namespace) -> None:
    """Refuse before the work what would fail after it."""
    if bool(args.image) == args.example:
        raise ValueError("give either IMAGE or --example")
    if args.output:
        _io.check_table(args.output)
    if args.plot:
        _io.check_plot(args.plot)
    resolve_threads(args.threads)
    if args.image:
        for target in filter(None, (args.output, args.plot)):
            if Path(target).exists() and Path(target).samefile(args.image):
                raise ValueError(f"{target} is the image itself, choose another name")


@dataclass
class _Job:
    """What came of the frames."""

    tables: list[dict[str, np.ndarray]] = field(default_factory=list)
    shown: tuple[np.ndarray, Any] | None = None  # the first frame with data, and its spots
    seconds: float = 0.0

    def table(self, frames: int) -> dict[str, np.ndarray]:
        """All spots, with a frame column where there are several frames."""
        joined = {name: np.concatenate([t[name] for t in self.tables]) for name in self.tables[0]}
        return joined if frames > 1 else {k: v for k, v in joined.items() if k != "frame"}


def _fit_frames(frames: _io.Frames, args: argparse.Namespace) -> _Job:
    from .fit import fit_spots

    job = _Job()
    begin = time.perf_counter()
    for index, frame in enumerate(_with_bar(frames)):
        if not np.isfinite(frame).any():
            continue
        result = fit_spots(
            frame,
            model=args.model,
            box=args.box,
            sigma=args.sigma,
            threshold=args.threshold,
            joint=args.joint,
            polarity="dark" if args.dark else "bright",
            threads=args.threads,
        )
        job.tables.append({"frame": np.full(len(result), index), **result.to_dict()})
        job.shown = job.shown or (frame, result)
    job.seconds = time.perf_counter() - begin
    if not job.tables:
        raise ValueError("the image has no finite pixel")
    return job


def _with_bar(frames: _io.Frames) -> Iterable[np.ndarray]:
    """The frames; with a progress bar if there are several, tqdm, and somebody to see it."""
    if len(frames) < 2:
        return frames
    try:
        from tqdm import tqdm
    except ImportError:
        return frames
    return tqdm(frames, unit="frame", disable=None)


def _fit(args: argparse.Namespace) -> None:
    _check(args)
    with _open(args) as frames:
        count = len(frames)
        job = _fit_frames(frames, args)
    table = job.table(count)
    if args.output:
        _io.write_table(args.output, table)
    if args.plot and job.shown:
        from .plot import plot_joint, plot_spots, save_plot

        drawn = plot_joint(*job.shown) if args.joint else plot_spots(*job.shown, box=args.box)
        save_plot(args.plot, drawn)
    _print_summary(args, table, count, job.seconds)
    if not args.output:
        _print_rows(table)


def _print_summary(
    args: argparse.Namespace, table: dict[str, np.ndarray], count: int, seconds: float
) -> None:
    good = table["converged"].astype(bool)
    where = "the example image" if args.example else Path(args.image).name
    frames = f", {count} frames" if count > 1 else ""
    spots = f"{len(good)} spot{'' if len(good) == 1 else 's'}"
    codes, counts = np.unique(table["status"][~good], return_counts=True)
    others = "".join(
        f", {count} {_status(code)}" for code, count in zip(codes, counts, strict=True)
    )
    print(f"{spots} in {where}{frames}, {good.sum()} converged{others}, {seconds:.2f} s")
    if good.any():
        names = [name for name in get_model(args.model, 2).names if name not in "xy"]
        medians = (f"{name} {np.median(table[name][good]):.4g}" for name in (*names, "flux"))
        print("medians:", ", ".join(medians))
    for target in filter(None, (args.output, args.plot)):
        print("wrote", target)


def _status(code: float) -> str:
    return Status(int(code)).name.lower().replace("_", " ")


def _cell(name: str, value: float) -> str:
    return _status(value) if name == "status" else f"{value:.6g}"


def _print_rows(table: dict[str, np.ndarray]) -> None:
    """The first rows, without the columns that only a program wants."""
    names = [n for n in table if n not in _COLUMNS_NOT_SHOWN and not n.endswith("_error")]
    total = len(table["x"])
    if not total:
        return
    columns = [[name, *(_cell(name, v) for v in table[name][:_ROWS])] for name in names]
    widths = [max(map(len, column)) for column in columns]
    print()
    for row in zip(*columns, strict=True):
        print("  ".join(f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True)))
    if total > _ROWS:
        print(f"and {total - _ROWS} more; -o TABLE writes all, with errors and statuses")


def _info(args: argparse.Namespace) -> None:
    show_config()


def _warmup(args: argparse.Namespace) -> None:
    from . import warmup

    begin = time.perf_counter()
    for job in chosen(args.jobs):
        start = time.perf_counter()
        warmup(job)
        print(f"{job:<10} {time.perf_counter() - start:6.1f} s", flush=True)
    print(f"ready after {time.perf_counter() - begin:.1f} s; compiled code is kept, see info")


def _one_line_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    print("fastgauss: warning:", " ".join(str(message).split()), file=sys.stderr)


def _complain(error: BaseException) -> int:
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, MemoryError):
        text = f"not enough memory: {text}"
    print("fastgauss: error:", text, file=sys.stderr)
    return _FAILED


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code.

    Parameters
    ----------
    argv : sequence of str, optional
        The arguments; those of the process by default.

    Returns
    -------
    int
        0; 2 after an error, which is told in one line on stderr; 130 after Ctrl-C;
        141 if whoever read the output has left.

    Raises
    ------
    SystemExit
        From the parser, after --help (code 0) or a bad option (code 2).

    Examples
    --------
    >>> from fastgauss.cli import main
    >>> main(["info"])  # doctest: +ELLIPSIS
    fastgauss   ...
    0
    """
    args = _parser().parse_args(argv)
    logging.getLogger("tifffile").addHandler(logging.NullHandler())  # it raises as well
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _one_line_warning
            args.run(args)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the flush at exit
        return _NO_READER
    except (OSError, ValueError, TypeError, ImportError, MemoryError) as error:
        return _complain(error)
    return 0
