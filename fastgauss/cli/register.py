"""The command ``fastgauss register A B``: the displacement field of two images."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np

from ..base import wording
from ..base.thread_pool import resolve_threads
from ..io import files, tables
from ..register import DisplacementField, Status, displacement_field, plot_displacements
from ..register.results import COLUMNS
from . import source


def add_parser(commands: Any, parents: list[argparse.ArgumentParser]) -> None:
    """Add the command to those of the parser."""
    parser = commands.add_parser(
        "register",
        parents=parents,
        help="find the displacement of every window between two images",
        description="Find how the windows of image A are displaced in image B, with errors.",
    )
    parser.add_argument("first", metavar="A", help="TIFF, PNG, JPEG, NPY or FITS")
    parser.add_argument("second", metavar="B", help="an image of the same shape")
    parser.add_argument(
        "-o",
        "--output",
        metavar="FIELD",
        help="write arrays (.npz), or a row for each window (.csv, .parquet, .ecsv, .fits)",
    )
    parser.add_argument("--plot", metavar="FILE", help="draw arrows: .png, .pdf or .svg")
    parser.add_argument("--window", type=int, default=64, help="side of a window, px (64)")
    parser.add_argument("--step", type=int, default=32, help="distance of windows, px (32)")
    parser.add_argument("--search", type=float, help="largest displacement, px (window / 4)")
    parser.add_argument("--passes", type=int, default=1, help="passes, from larger windows (1)")
    parser.add_argument("--noise", type=float, help="standard deviation of both images' noise")
    source.add_part(parser)
    parser.add_argument("--threads", type=int, help="default: one a core")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    if args.output:
        tables.check_table(args.output)
    if args.plot:
        files.check_plot(args.plot)
    resolve_threads(args.threads)
    first, second = (_only_image(path, args) for path in (args.first, args.second))
    begin = time.perf_counter()
    field = displacement_field(
        first,
        second,
        args.window,
        args.step,
        args.noise,
        search=args.search,
        multipass=args.passes,
        threads=args.threads,
    )
    _print_summary(field, time.perf_counter() - begin)
    if args.output:
        _write(args.output, field)
        print("wrote", args.output)
    if args.plot:
        from ..plot import save_plot

        save_plot(args.plot, plot_displacements(first, field))
        print("wrote", args.plot)


def _write(path: str, field: DisplacementField) -> None:
    """Arrays of the shape of the field for numpy, and a row for each window for others."""
    if Path(path).suffix.lower() == ".npz":
        with files.replacing(path) as file:
            np.savez(file, **field.to_dict())  # type: ignore[arg-type]
    else:
        tables.write_table(path, field.to_columns(), columns=COLUMNS)


def _only_image(path: str, args: argparse.Namespace) -> np.ndarray:
    with source.open_pictures(path, False, args.channel, args.hdu) as arranged:
        count = len(arranged.pictures)
        if count != 1:
            raise ValueError(
                f"{path} must hold one image, got a stack of {count} frames: "
                "write the two frames to be compared to files of their own"
            )
        return arranged.pictures[0]


def _print_summary(field: DisplacementField, seconds: float) -> None:
    count = field.dx.size
    good = ~field.outlier
    codes, counts = np.unique(field.status[~field.converged], return_counts=True)
    others = "".join(
        f", {n} {Status(int(code)).name.lower().replace('_', ' ')}"
        for code, n in zip(codes, counts, strict=True)
    )
    doubtful = int((field.outlier & field.converged).sum())
    others += f", {doubtful} against their neighbours" if doubtful else ""
    print(f"{wording.plural(count, 'window')}, {int(good.sum())} good{others}, {seconds:.2f} s")
    if good.any():
        medians = [np.median(part[good]) for part in (field.dx, field.dy)]
        errors = np.median(field.errors[good], axis=0)
        print(
            f"median dx {medians[0]:.4g}, dy {medians[1]:.4g} px; "
            f"median errors {errors[0]:.2g}, {errors[1]:.2g} px"
        )
