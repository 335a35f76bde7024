"""The command ``fastgauss movie STACK``: localisations, drift, groups, and what they form."""

from __future__ import annotations

import argparse
import math
import sys
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..base import check, wording
from ..io import axes, files, stacks
from ..io.frames import UNKNOWN
from ..results.fit_result import FitResult
from . import frame_fits, source, summary, units

if TYPE_CHECKING:
    from ..localisations import Drift

_FINE = 0.1  # pixels: a pixel of the picture
_FAR = 3.0 * math.sqrt(2.0)  # errors along an axis, beyond which 1 pair of a molecule in 100 is


def add_parser(commands: Any, parents: list[argparse.ArgumentParser]) -> None:
    """Add the command to those of the parser."""
    parser = commands.add_parser(
        "movie",
        parents=parents,
        help="localise the molecules of a movie, correct its drift, and draw their picture",
        description="Find and fit the spots of every frame. Those that converged are the "
        "localisations, which are corrected, joined, saved and drawn as the options say.",
    )
    parser.add_argument("image", metavar="STACK", help="TIFF, Zarr, NPY or FITS")
    parser.add_argument(
        "-o",
        "--output",
        metavar="TABLE",
        help="write .hdf5 (picasso), .csv, .parquet, .npz, .ecsv, .fits or .json",
    )
    parser.add_argument(
        "--render", metavar="FILE", help="write the localisations' picture: .tif, .fits or .npy"
    )
    parser.add_argument(
        "--plot",
        metavar="FILE",
        help="draw a report: spots of frames, picture, precision, drift; .png, .pdf or .svg",
    )
    parser.add_argument("--drift", action="store_true", help="estimate the drift and correct it")
    parser.add_argument(
        "--group", action="store_true", help="join the localisations of successive frames"
    )
    parser.add_argument(
        "--radius",
        type=float,
        help="of --group and --drift: the largest distance of two that are joined, px (4.2 errors)",
    )
    parser.add_argument(
        "--gap", type=int, help="of --group and --drift: dark frames that are bridged (1)"
    )
    parser.add_argument(
        "--pixel-size",
        type=partial(units.pixel_size, default="nm"),
        metavar="NUMBER",
        help="side of a pixel: 100, 0.1um: adds columns such as x_nm (that of the file; nm)",
    )
    parser.add_argument(
        "--render-pixel",
        type=float,
        metavar="NUMBER",
        help=f"of --render: side of a pixel of the picture, in pixels of the camera ({_FINE})",
    )
    source.add_part(parser.add_argument_group("which part of the file"))
    frame_fits.add_options(parser)
    parser.set_defaults(run=run, example=False, volume=False, zero_point=None)


@dataclass
class Localisations:
    """The localisations of a movie, and what was computed of them."""

    result: FitResult
    shape: tuple[int, ...]  # of a frame
    located: np.ndarray  # the frame of each localisation, before they are joined
    drift: Drift | None = None
    noun: str = "localisation"  # what a row of the result is
    told: list[str] = field(default_factory=list)
    hints: list[str] = field(default_factory=list)
    sizes: units.Sizes = field(default_factory=dict)  # of a pixel


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    _check(args)
    name = Path(args.image).name
    with source.open_pictures(args.image, source.Part.of(args)) as arranged:
        _check_frames(name, arranged)
        job = frame_fits.fit_frames(arranged, args)
    told = summary.summary(name, job.result, job.frames, job.took)
    found = _processed(job, args)
    if args.output:
        _save(found, args.output)
    if args.render:
        from ..localisations import render_localisations

        side = _FINE if args.render_pixel is None else args.render_pixel
        picture = render_localisations(found.result, side, shape=found.shape)
        size = found.result.pixel_size
        fine = {} if size is None else dict.fromkeys("XY", (size * side, "nm"))
        layout = stacks.Layout(picture.shape, np.dtype(np.float32), fine)
        stacks.write_stack(args.render, [picture], layout)
    if args.plot:
        from ..plot import save_plot
        from .movie_picture import draw

        save_plot(args.plot, draw(found, name, job.frames))
    wrote = [f"wrote {target}" for target in (args.output, args.render, args.plot) if target]
    print(*told, *found.told, *wrote, sep="\n", flush=True)
    for hint in filter(None, (job.hint, *found.hints)):
        print(f"fastgauss: hint: {hint}", file=sys.stderr, flush=True)
    if job.failed is not None:
        kept = (
            "the frame before it was"
            if job.frames == 1
            else f"the {job.frames} frames before it were"
        )
        raise ValueError(f"{name}: {job.failed}; {kept} fitted") from job.failed


def _check(args: argparse.Namespace) -> None:
    """Raise before the work the errors that would come after it."""
    frame_fits.check_options(args, args.output, (args.render, args.plot))
    if args.render:
        stacks.check_stack(args.render)
    if args.plot:
        files.check_plot(args.plot)
    if args.render_pixel is not None:
        check.number("--render-pixel", args.render_pixel, above=0.0)
        if not args.render:
            raise ValueError("--render-pixel is an option of --render")
    for name, value in (("radius", args.radius), ("gap", args.gap)):
        if value is not None and not (args.group or args.drift):
            raise ValueError(f"--{name} is an option of --group and --drift")
    if args.radius is not None:
        check.number("--radius", args.radius, above=0.0)
    if args.gap is not None:
        check.integer("--gap", args.gap, at_least=0)


def _check_frames(name: str, arranged: axes.Arranged) -> None:
    """Refuse images in no known order; say where they are perhaps no frames of a movie."""
    facts = arranged.pictures.facts
    along = [a for a, n in zip(facts.axes, facts.lengths, strict=True) if n != 1]
    if along.count(UNKNOWN) > 1:
        raise ValueError(
            f"{name} must have one axis of frames, got {along.count(UNKNOWN)} axes of images that "
            "the file does not name"
        )
    notes = []
    if len(arranged.pictures) == 1:
        notes.append("it holds one image, which is taken for a movie of one frame")
    if "Z" in along:
        notes.append(
            "the file says that its images are planes of a volume, and each is taken for a frame; "
            "fastgauss fit --volume fits volumes"
        )
    for note in notes:
        print(f"fastgauss: {name}: {note}", file=sys.stderr, flush=True)


def _processed(job: frame_fits.Job, args: argparse.Namespace) -> Localisations:
    """The localisations without their drift, joined."""
    from ..localisations import group
    from ..localisations.grouped_results import grouped_result

    whole: FitResult = job.result
    if whole.frames is None:  # a movie of one frame
        rows = whole.rows._replace(frames=np.zeros(len(whole), np.intp))
        whole = whole.with_rows(rows)
    errors = whole[["y_error", "x_error"]]
    placed = np.isfinite(whole.positions).all(axis=1) & (errors > 0).all(axis=1)
    good = whole[whole.converged & placed & np.isfinite(errors).all(axis=1)]
    assert good.frames is not None
    found = Localisations(good, job.shape, good.frames, sizes=job.result.sizes)
    if not len(good) or not (args.drift or args.group):
        return found
    typical = float(np.median(good[["y_error", "x_error"]]))
    radius = _FAR * typical if args.radius is None else args.radius
    gap = 1 if args.gap is None else args.gap
    if args.drift:
        _correct_drift(found, radius, gap, args.threads)
    if args.group:
        groups = group(found.result, radius, gap)
        found.result, found.noun = grouped_result(found.result, groups), "group"
        told = f"groups: {len(groups)} of {wording.plural(len(good), 'localisation')}"
        found.told.append(f"{told}, radius {radius:.3g} px, gap {gap}")
    return found


def _correct_drift(found: Localisations, radius: float, gap: int, threads: int | None) -> None:
    """Estimate the drift from groups, whose errors are independent; correct all for it."""
    from ..localisations import DriftStatus, estimate_drift, group

    try:
        drift = estimate_drift(group(found.result, radius, gap), threads=threads)
    except ValueError as error:  # too few frames or spots
        found.hints.append(f"no drift was estimated: {error}")
        return
    if drift.status == DriftStatus.NO_STRUCTURE:
        found.hints.append(f"the drift was not corrected: {drift.status.message}")
        return
    found.result, found.drift = drift.apply(found.result), drift
    ranges = zip(drift.axes, np.ptp(drift.positions, axis=0), strict=True)
    told = ", ".join(f"{axis} {size:.3g}" for axis, size in ranges)
    found.told.append(f"drift: range {told} px, {drift.status.message}")


def _save(found: Localisations, path: str) -> None:
    """Write the table; that of picasso tells the shape of frames, others have physical lengths."""
    if Path(path).suffix.lower() in (".hdf5", ".h5"):
        found.result.save(path, shape=found.shape)
    else:
        summary.write(units.Located(found.result, found.sizes), path)
