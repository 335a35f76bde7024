"""The command ``fastgauss fit IMAGE``: the spots of an image, a volume or a stack as a table."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..base import check, optional
from ..fit.windows import box_sides
from ..io import axes, files, images
from . import frame_fits, report, source, summary, units

_STDOUT = "-"


def add_parser(commands: Any, parents: list[argparse.ArgumentParser]) -> None:
    """Add the command to those of the parser."""
    fit = commands.add_parser(
        "fit",
        parents=parents,
        help="find and fit the spots of an image, a volume or a stack",
        description="Find the spots of an image, fit a Gaussian to each and write a table. "
        "All frames of a stack are fitted; the table then has a column frame. The first line "
        "says what the file was taken for. NUMBERS are one number, or one for each axis in the "
        "order of the array: (z,) y, x.",
    )
    fit.add_argument("image", metavar="IMAGE", nargs="?", help="TIFF, Zarr, PNG, JPEG, NPY or FITS")
    fit.add_argument("--example", action="store_true", help="fit a Hubble Deep Field, no IMAGE")
    fit.add_argument(
        "-o",
        "--output",
        metavar="TABLE",
        help="write .csv, .parquet, .npz, .ecsv, .fits, .json or .hdf5 (picasso); - prints a CSV",
    )
    fit.add_argument(
        "--plot",
        metavar="FILE",
        help="draw the spots of an image and the residual, or the spots of a volume on its largest "
        "values along z: .png, .pdf or .svg",
    )
    fit.add_argument(
        "--report", metavar="FILE", help="write .html: spots, histograms, statuses, versions"
    )
    source.add_options(fit)
    fit.add_argument(
        "--pixel-size",
        type=units.pixel_size,
        metavar="NUMBERS",
        help="0.3,0.1,0.1um: adds columns such as x_um (that of the file; um)",
    )
    fit.add_argument(
        "--zero-point",
        type=float,
        metavar="MAGNITUDE",
        help="of a flux of 1: adds the columns mag and mag_error",
    )
    frame_fits.add_options(fit)
    fit.set_defaults(run=run)


@contextmanager
def _open(args: argparse.Namespace) -> Iterator[axes.Arranged]:
    if not args.example:
        with source.open_pictures(args.image, source.Part.of(args, args.volume)) as arranged:
            yield arranged
        return
    data = optional.require("skimage.data", "--example", "example")
    image = images.luminance(data.hubble_deep_field())
    yield axes.Arranged(images.Frames(1, lambda _: image))


def _check(args: argparse.Namespace) -> None:
    """Raise before the work the errors that would come after it."""
    if bool(args.image) == args.example:
        raise ValueError("give either IMAGE or --example")
    if args.example and source.Part.of(args, args.volume) != source.Part(None):
        raise ValueError(
            "--example is one image: --axes, --channel, --hdu and --volume are of files"
        )
    if args.zero_point is not None:
        check.number("--zero-point", args.zero_point)
    output = None if args.output == _STDOUT else args.output
    frame_fits.check_options(args, output, (args.plot, args.report))
    if args.plot:
        files.check_plot(args.plot)
    if args.report:
        report.check_report(args.report)


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    _check(args)
    with _open(args) as arranged:
        job = frame_fits.fit_frames(arranged, args)
    told = summary.summary(_name(args), job.result, job.frames, job.took)
    if args.output == _STDOUT:
        summary.print_table(job.result)
    elif args.output:
        summary.write(job.result, args.output)
    _draw(args, job, told)
    targets = (args.output, args.plot, args.report)
    wrote = [f"wrote {target}" for target in targets if target not in (None, _STDOUT)]
    out = sys.stderr if args.output == _STDOUT else sys.stdout
    print(*told, *wrote, sep="\n", file=out, flush=True)
    if job.hint:
        print(f"fastgauss: hint: {job.hint}", file=sys.stderr, flush=True)
    if not args.output:
        summary.print_rows(job.result)
    if job.failed is not None:
        raise ValueError(f"{job.failed}; the frames before it were fitted") from job.failed


def _draw(args: argparse.Namespace, job: frame_fits.Job, told: list[str]) -> None:
    """Write the plot and the report."""
    if args.plot:
        from ..plot import save_plot

        save_plot(args.plot, _picture(args, job))
    if args.report:
        content = report.Content(
            title=f"Spots in {_name(args)}",
            call=args.call,
            summary="\n".join(told),
            taken_for=job.told,
            hint=job.hint,
            result=job.result,
            picture=_picture(args, job),
        )
        report.write_report(args.report, content)


def _picture(args: argparse.Namespace, job: frame_fits.Job) -> Any:
    """A figure of the first picture with its spots, and of an image's residual."""
    from ..plot import plot_joint, plot_spots

    if job.shown[0].ndim == 3:
        drawn = report.projection(*job.shown)
    elif args.joint:
        drawn = plot_joint(*job.shown)
    else:
        drawn = plot_spots(*job.shown, box=box_sides(args.box, 2, frame_fits.sigmas(args, 2))[0])
    if args.roi:
        rows, columns = frame_fits.part_of(args.roi, job.shown[0].shape)[-2:]
        for panel in drawn.axes:
            if panel.images:
                panel.set_xlim(columns.start - 0.5, columns.stop - 0.5)
                panel.set_ylim(rows.stop - 0.5, rows.start - 0.5)
    return drawn


def _name(args: argparse.Namespace) -> str:
    return "the example image" if args.example else Path(args.image).name
