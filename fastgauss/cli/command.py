"""The command ``fastgauss``: fit, movie, psf, register, info, warmup, bench.

``fastgauss fit IMAGE`` finds and fits the spots of an image, a volume or a stack, ``fastgauss
movie STACK`` localises the molecules of a movie and draws what they form, ``fastgauss psf IMAGE``
measures the point spread function of an image, ``fastgauss register STACK`` finds the displacements
of a stack's frames and ``fastgauss register A B`` those of windows between two images, ``fastgauss
info`` shows versions, processor and settings, ``fastgauss warmup JOB`` compiles what a job needs,
and ``fastgauss bench`` measures speeds beside other packages. An error is one line on stderr and
exit code 2.
"""

from __future__ import annotations

import argparse
import logging
import os
import re
import shlex
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from difflib import get_close_matches
from typing import Any, NoReturn

from ..base.thread_pool import available_cores
from ..base.version import __version__
from ..tools.info import show_config
from ..tools.job_names import EVERYDAY, JOBS, chosen
from . import compilation, fit, movie, psf, register

_FAILED, _INTERRUPTED, _NO_READER = 2, 130, 141


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, with the option that was probably meant."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        known, rest = super().parse_known_args(args, namespace)
        if rest:
            options = re.findall(r"--[\w-]+", self.format_help())
            near = get_close_matches(rest[0].partition("=")[0], options, 1)
            hint = f" (did you mean {near[0]}?)" if near else ""
            if not any(each.startswith("-") for each in rest):
                hint = ": the command takes no further name; run it once for each file"
            self.error(f"unrecognized arguments: {' '.join(rest)}{hint}")
        return known, rest

    def error(self, message: str) -> NoReturn:
        self.exit(_FAILED, f"fastgauss: error: {message}\n")


def _parser() -> _Parser:
    parser = _Parser(prog="fastgauss", description="Find and fit Gaussian spots in images.")
    parser.add_argument("--version", action="version", version=f"fastgauss {__version__}")
    verbose = _Parser(add_help=False)
    verbose.add_argument(
        "-v", "--verbose", action="store_true", help="tell each kernel that is compiled"
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    fit.add_parser(commands, [verbose])
    movie.add_parser(commands, [verbose])
    psf.add_parser(commands, [verbose])
    register.add_parser(commands, [verbose])
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


def _info(args: argparse.Namespace) -> None:
    show_config()


def _warmup(args: argparse.Namespace) -> None:
    from .. import warmup
    from ..tools.compilation import shared

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


@contextmanager
def _telling(verbose: bool | None) -> Iterator[None]:
    """Say on stderr that kernels are compiled, each of them where ``verbose``.

    None is for a command without that option, which says so itself.
    """
    if not verbose:
        with compilation.telling() if verbose is False else nullcontext():
            yield
        return
    logger, handler = logging.getLogger("fastgauss"), logging.StreamHandler()
    handler.setFormatter(logging.Formatter("fastgauss: %(message)s"))
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)


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
    args.call = shlex.join(["fastgauss", *(sys.argv[1:] if argv is None else argv)])
    logging.getLogger("tifffile").addHandler(logging.NullHandler())  # it logs what it raises
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _one_line_warning
            with _telling(getattr(args, "verbose", None)):
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
