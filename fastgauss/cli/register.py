"""The command ``fastgauss register``: a displacement field or a motion, or those of a stack."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

import numpy as np

from ..base import wording
from ..base.thread_pool import resolve_threads
from ..io import files, tables
from . import source, summary
from .compilation import Time, timed

if TYPE_CHECKING:
    from ..register import DisplacementField

# options of one of both, and their defaults
_OF_PAIRS = {"window": 64, "step": 32, "passes": 1, "motion": None}
_OF_STACKS = {"reference": "mean", "write": None}
_OF_FIELDS = ("window", "step", "passes", "plot", "threads")  # but not of one motion
_STACK = ": give it alone, or write the two frames to be compared to files of their own"


def add_parser(commands: Any, parents: list[argparse.ArgumentParser]) -> None:
    """Add the command to those of the parser."""
    parser = commands.add_parser(
        "register",
        parents=parents,
        help="find the displacements of a stack's frames, or of windows between two images",
        description="Find how the frames of a STACK are displaced, or how the windows of image A "
        "are displaced in image B, or how all of A moves, with errors.",
    )
    parser.add_argument("first", metavar="STACK | A", help="TIFF, PNG, JPEG, NPY, FITS or Zarr")
    parser.add_argument("second", metavar="B", nargs="?", help="an image of the same shape as A")
    parser.add_argument(
        "-o",
        "--output",
        metavar="TABLE",
        help="write arrays (.npz), or a row for each frame or window (.csv, .parquet, .ecsv, "
        ".fits)",
    )
    parser.add_argument(
        "--plot", metavar="FILE", help="draw the drift or arrows: .png, .pdf or .svg"
    )
    parser.add_argument("--mask", metavar="FILE", help="an image; its pixels above 0 are missing")
    parser.add_argument("--noise", type=float, help="standard deviation of the images' noise")
    parser.add_argument(
        "--search", type=float, help="largest displacement, px (side of an image or window / 4)"
    )
    parser.add_argument("--threads", type=int, help="default: one a core")
    source.add_part(parser)
    stack = parser.add_argument_group("a stack")
    stack.add_argument(
        "--reference",
        help="mean, first, previous, the number of a frame from 0, or an image (mean)",
    )
    stack.add_argument(
        "--write", metavar="FILE", help="write the frames moved onto it: .tif, .fits or .npy"
    )
    pair = parser.add_argument_group("two images")
    pair.add_argument("--window", type=int, help="side of a window, px (64)")
    pair.add_argument("--step", type=int, help="distance of windows, px (32)")
    pair.add_argument("--passes", type=int, help="passes, from larger windows (1)")
    pair.add_argument(
        "--motion",
        choices=("translation", "rigid", "similarity", "affine"),
        help="one motion of the whole image instead of windows",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    from . import register_stack

    alone = args.second is None
    for name in _OF_PAIRS if alone else _OF_STACKS:
        if getattr(args, name) is not None:
            raise ValueError(f"--{name} is an option of {'two images A B' if alone else 'a stack'}")
    for name in _OF_FIELDS if args.motion else ():
        if getattr(args, name) is not None:
            raise ValueError(f"--{name} is no option with --motion, which has no windows")
    for name, value in (_OF_STACKS if alone else _OF_PAIRS).items():
        if getattr(args, name) is None:
            setattr(args, name, value)
    inputs = args.first, args.second, args.mask, args.reference
    source.keep_inputs(inputs, (args.output, args.plot, args.write))
    if args.output:
        tables.check_table(args.output)
    if args.plot:
        files.check_plot(args.plot)
    resolve_threads(args.threads)
    (register_stack.run if alone else _run_motion if args.motion else _run_pair)(args)


def _run_pair(args: argparse.Namespace) -> None:
    """Register two images."""
    from ..register import displacement_field, plot_displacements
    from ..register.results import COLUMNS

    first, second, mask = _pair(args)
    with timed() as took:
        field = displacement_field(
            first,
            second,
            args.window,
            args.step,
            args.noise,
            mask=mask,
            search=args.search,
            multipass=args.passes,
            threads=args.threads,
        )
    _print_summary(field, took())
    if args.output:
        summary.write_displacements(args.output, field, COLUMNS)
        print("wrote", args.output)
    if args.plot:
        from ..plot import save_plot

        save_plot(args.plot, plot_displacements(first, field))
        print("wrote", args.plot)


def _run_motion(args: argparse.Namespace) -> None:
    """Register two images as wholes."""
    from ..register import align
    from . import register_motion

    first, second, mask = _pair(args)
    with timed() as took:
        found = align(
            first, second, args.noise, args.noise, mask, motion=args.motion, search=args.search
        )
    print(*register_motion.summary(found, took()), sep="\n")
    if args.output:
        register_motion.write(args.output, found)
        print("wrote", args.output)


def _pair(args: argparse.Namespace) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Both images, and which pixels are missing."""
    first, second = (
        source.only_image(path, source.Part.of(args), _STACK)[0]
        for path in (args.first, args.second)
    )
    mask = source.read_map(args.mask, first.shape, "--mask") > 0 if args.mask else None
    return first, second, mask


def _print_summary(field: DisplacementField, took: Time) -> None:
    from . import register_stack

    count = field.dx.size
    good = ~field.outlier
    others = register_stack.status_counts(field.status[~field.converged])
    doubtful = int((field.outlier & field.converged).sum())
    others += f", {doubtful} against their neighbours" if doubtful else ""
    print(f"{wording.plural(count, 'window')}, {int(good.sum())} good{others}, {took}")
    if good.any():
        medians = [np.median(part[good]) for part in (field.dx, field.dy)]
        errors = np.median(field.errors[good], axis=0)
        print(
            f"median dx {medians[0]:.4g}, dy {medians[1]:.4g} px; "
            f"median errors {errors[0]:.2g}, {errors[1]:.2g} px"
        )
