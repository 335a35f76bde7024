"""The command ``fastgauss``: fit, register, info, warmup, bench.

``fastgauss fit IMAGE`` finds and fits the spots of an image or a stack, ``fastgauss register A B``
finds the displacement of windows between two images, ``fastgauss info`` shows versions, processor
and settings, ``fastgauss warmup JOB`` compiles what a job needs, and ``fastgauss bench`` measures
speeds beside other packages. An error is one line on stderr and exit code 2.
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
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from ..base import optional
from ..base.thread_pool import available_cores, resolve_threads
from ..fit.windows import box_sides
from ..io import files, images, tables
from ..kernels.fit.estimators import METHODS
from ..kernels.models.profiles import PIXELS
from ..models.model import MODELS
from ..results import table
from ..results.fit_result import FitResult
from ..spots import frame_fits
from ..tools.compilation import EVERYDAY, JOBS, chosen, no_fit_is_compiled, shared, shared_fit
from ..tools.info import show_config
from . import register

_FAILED, _INTERRUPTED, _NO_READER = 2, 130, 141


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
    fit.add_argument("image", metavar="IMAGE", nargs="?", help="TIFF, Zarr, PNG, JPEG, NPY or FITS")
    fit.add_argument("--example", action="store_true", help="fit a Hubble Deep Field, no IMAGE")
    fit.add_argument("-o", "--output", metavar="TABLE", help="write .csv, .parquet or .npz")
    fit.add_argument("--plot", metavar="FILE", help="draw spots and residual: .png, .pdf or .svg")
    fit.add_argument("--model", choices=MODELS, default="symmetric", help="default: symmetric")
    fit.add_argument(
        "--method", choices=METHODS, default="lsq", help="mle: photons, maximum likelihood (lsq)"
    )
    fit.add_argument(
        "--pixel", choices=PIXELS, default="sample", help="a pixel's centre or mean (sample)"
    )
    fit.add_argument("--box", type=int, help="side of a spot's window, px (4 sigma either way)")
    fit.add_argument("--sigma", type=float, default=1.3, help="expected width, px (1.3)")
    fit.add_argument("--threshold", type=float, help="smallest height of a spot (5 noise sigmas)")
    fit.add_argument("--saturation", type=float, help="pixels of this value or more are missing")
    fit.add_argument("--joint", action="store_true", help="fit overlapping spots together")
    fit.add_argument("--dark", action="store_true", help="dark spots on a bright background")
    fit.add_argument("--threads", type=int, help="default: one a core")
    fit.set_defaults(run=_fit)

    register.add_parser(commands)
    info = commands.add_parser("info", help="print versions, CPU, threads, cache folder")
    info.set_defaults(run=_info)
    warmup = commands.add_parser("warmup", help="compile the kernels of jobs into the cache")
    names = f"{', '.join(JOBS)} or all; by default {', '.join(EVERYDAY)}"
    warmup.add_argument("jobs", metavar="JOB", nargs="*", help=names)
    warmup.add_argument("--processes", type=int, help="that compile side by side (one a core)")
    warmup.set_defaults(run=_warmup)
    bench = commands.add_parser(
        "bench",
        help="print speeds on this machine, beside other packages",
        description="Print one page of speeds on this machine, beside the packages that are "
        "installed. Takes half a minute once everything is compiled.",
    )
    bench.add_argument("--quick", action="store_true", help="a fifth of the time, less certain")
    bench.add_argument("--jobs", nargs="+", metavar="JOB", help="such as fit or kde (all)")
    bench.add_argument("--threads", type=int, default=1, help="of packages with threads (1)")
    bench.set_defaults(run=_bench)
    return parser


@contextmanager
def _open(args: argparse.Namespace) -> Iterator[images.Frames]:
    if not args.example:
        with images.open_image(args.image) as frames:
            yield frames
        return
    data = optional.require("skimage.data", "--example", "example")
    image = images.luminance(data.hubble_deep_field())
    yield images.Frames(1, lambda _: image)


def _check(args: argparse.Namespace) -> None:
    """Raise before the work the errors that would come after it."""
    if bool(args.image) == args.example:
        raise ValueError("give either IMAGE or --example")
    if args.output:
        tables.check_table(args.output)
    if args.plot:
        files.check_plot(args.plot)
    resolve_threads(args.threads)
    if args.image:
        for target in filter(None, (args.output, args.plot)):
            if Path(target).exists() and Path(target).samefile(args.image):
                raise ValueError(f"{target} is the image itself, choose another name")


@dataclass
class _Job:
    """The results of all frames."""

    result: FitResult  # all spots, with their frames where there are several
    shown: tuple[np.ndarray, FitResult]  # the first frame with data, and its spots
    seconds: float


def _fit_frames(frames: images.Frames, args: argparse.Namespace) -> _Job:
    from ..spots.image_fits import fit_spots

    def fit(_: int, frame: np.ndarray) -> FitResult:
        with _telling_of_compilation(args, frame.dtype):
            return found(frame)

    def found(frame: np.ndarray) -> FitResult:
        return fit_spots(
            frame,
            model=args.model,
            method=args.method,
            pixel=args.pixel,
            box=args.box,
            sigma=args.sigma,
            threshold=args.threshold,
            saturation=args.saturation,
            joint=args.joint,
            polarity="dark" if args.dark else "bright",
            threads=args.threads,
        )

    begin = time.perf_counter()
    numbers, results, shown = [], [], None
    for number, frame, spots in frame_fits.fit_frames(_with_bar(frames), fit):
        numbers.append(number)
        results.append(spots)
        shown = shown or (frame, spots)
    if shown is None:
        raise ValueError("the image has no finite pixel")
    seconds = time.perf_counter() - begin
    whole = results[0] if len(frames) == 1 else FitResult.concatenate(results, numbers)
    return _Job(whole, shown, seconds)


@contextmanager
def _telling_of_compilation(args: argparse.Namespace, dtype: np.dtype) -> Iterator[None]:
    """Before the first fit of all: say why it takes a while, and compile in two processes."""
    if not no_fit_is_compiled():
        yield
        return
    told = "compiling for the first time, half a minute or less; later runs start at once"
    print(f"fastgauss: {told}", file=sys.stderr, flush=True)
    with shared_fit(args.model, args.method, args.pixel, dtype.str):
        yield


def _with_bar(frames: images.Frames) -> Iterable[np.ndarray]:
    """The frames, with a progress bar if there are several, tqdm, and a terminal to show it."""
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
    if args.output:
        job.result.save(args.output)
    if args.plot:
        from ..plot import plot_joint, plot_spots, save_plot

        box = box_sides(args.box, 1, (args.sigma,))[0]
        drawn = plot_joint(*job.shown) if args.joint else plot_spots(*job.shown, box=box)
        save_plot(args.plot, drawn)
    _print_summary(args, job.result, count, job.seconds)
    if not args.output:
        _print_rows(job.result)


def _print_summary(args: argparse.Namespace, result: FitResult, count: int, seconds: float) -> None:
    where = "the example image" if args.example else Path(args.image).name
    frames = f", {count} frames" if count > 1 else ""
    spots, rest = table.summary(result).split(", ", 1)
    print(f"{spots} in {where}{frames}, {rest}, {seconds:.2f} s")
    good = result[result.converged]
    if len(good):
        names = [name for name in result.names if name not in "xy"]
        medians = (f"{name} {np.median(getattr(good, name)):.4g}" for name in (*names, "flux"))
        print("medians:", ", ".join(medians))
    for target in filter(None, (args.output, args.plot)):
        print("wrote", target)


def _print_rows(result: FitResult) -> None:
    """Print the first rows, without columns that only programs need."""
    if not len(result):
        return
    columns = [[name, *cells] for name, cells in table.preview(result.to_dict()).items()]
    widths = [max(map(len, column)) for column in columns]
    print()
    for row in zip(*columns, strict=True):
        print("  ".join(f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True)))
    more = len(result) - table.ROWS
    if more > 0:
        print(f"and {more} more; -o TABLE writes all, with errors and statuses")


def _info(args: argparse.Namespace) -> None:
    show_config()


def _warmup(args: argparse.Namespace) -> None:
    from .. import warmup

    begin = time.perf_counter()
    processes = available_cores() if args.processes is None else args.processes
    jobs = chosen(args.jobs)
    with shared(jobs, None, processes):
        for job in jobs:
            start = time.perf_counter()
            warmup(job)
            print(f"{job:<10} {time.perf_counter() - start:6.1f} s", flush=True)
    print(f"ready after {time.perf_counter() - begin:.1f} s; compiled code is kept, see info")


def _bench(args: argparse.Namespace) -> None:
    from ..tools.bench import bench

    bench(args.jobs, quick=args.quick, threads=args.threads)


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
        0; 2 after an error, which is one line on stderr; 130 after Ctrl-C; 141 if the program that
        reads the output has ended.

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
    logging.getLogger("tifffile").addHandler(logging.NullHandler())  # it logs what it raises
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
