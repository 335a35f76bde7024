"""The command ``fastgauss register STACK``: the displacements of all frames of a file."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..base import wording
from ..io import axes, stacks
from ..io.frames import Frames
from ..register import StackAlignment, Status, align_stack, plot_drift, shift_stack
from ..register.stack_results import COLUMNS
from ..register.stacks import REFERENCES
from . import source, summary
from .compilation import Time, timed
from .progress_bar import bar

_TOGETHER = 16  # frames that are moved together


def run(args: argparse.Namespace) -> None:
    """Register the frames of a file."""
    if args.write:
        stacks.check_stack(args.write)
    with source.open_pictures(args.first, source.Part.of(args)) as arranged:
        pictures, first = arranged.pictures, arranged.pictures[0]
        _check(args.first, arranged)
        told = f"{Path(args.first).name}: {arranged.told(first.shape)}"
        print(f"fastgauss: {told}", file=sys.stderr, flush=True)
        mask = _mask(args.mask, (len(pictures), *first.shape))
        reference = _reference(args.reference)
        with timed() as took, bar(len(pictures)) as progress:
            alignment = align_stack(
                pictures, reference=reference, err=args.noise, mask=mask, search=args.search,
                threads=args.threads, progress=_of_frames(progress, len(pictures)),
            )  # fmt: skip
        print(*_summary(alignment, took()), sep="\n")
        if args.output:
            summary.write_displacements(args.output, alignment, COLUMNS)
            print("wrote", args.output)
        if args.plot:
            from ..plot import save_plot

            save_plot(args.plot, plot_drift(alignment))
            print("wrote", args.plot)
        if args.write:
            large = np.result_type(first.dtype, np.float32).itemsize > 4
            layout = stacks.Layout(
                (len(pictures), *first.shape), np.dtype(np.float64 if large else np.float32),
                pictures.facts.sizes,
            )  # fmt: skip
            moved = _moved(pictures, alignment, mask, args.threads)
            stacks.write_stack(args.write, moved, layout)
            print("wrote", args.write)


def _check(path: str, arranged: axes.Arranged) -> None:
    """Refuse what is no stack of images along one axis."""
    facts = arranged.pictures.facts
    many = [n for axis, n in zip(facts.axes, facts.lengths, strict=True) if n > 1 and axis != "C"]
    if not many:
        raise ValueError(f"{path} holds one image: give a stack, or two images A B")
    if len(many) > 1:
        raise ValueError(f"{path} must hold frames along one axis, got {arranged.what}")


def _mask(path: str | None, shape: tuple[int, ...]) -> np.ndarray | None:
    """The mask of all frames, or of each."""
    if path is None:
        return None
    found = source.read_map(path, shape, "--mask")
    return (found if found.strides[0] else found[0]) > 0


def _reference(text: str) -> Any:
    """A word, the number of a frame, or the image of a file."""
    if text in REFERENCES:
        return text
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return source.only_image(text)[0]
    except FileNotFoundError as error:
        words = ", ".join(REFERENCES)
        raise ValueError(
            f"--reference must be {words}, the number of a frame or a file, got {text}"
        ) from error


def _of_frames(progress: Any, count: int) -> Any:
    """Progress through all passes, told as frames of the file."""
    if progress is False:
        return False
    return lambda done, total: progress(done * count // total, count)


def _summary(alignment: StackAlignment, took: Time) -> Iterator[str]:
    """How many frames there are, what became of them, and how far they moved."""
    good = alignment.converged
    yield (
        f"{wording.plural(len(alignment), 'frame')}, {int(good.sum())} converged"
        f"{status_counts(alignment.status[~good])}, {took}"
    )
    if good.any():
        low, high = (f(alignment.displacements[good], axis=0) for f in (np.min, np.max))
        errors = np.median(alignment.errors[good], axis=0)
        yield (
            f"dx {low[1]:.4g} to {high[1]:.4g}, dy {low[0]:.4g} to {high[0]:.4g} px; "
            f"median errors {errors[1]:.2g}, {errors[0]:.2g} px"
        )


def status_counts(statuses: np.ndarray) -> str:
    """How often each status occurs, in words: ", 3 ambiguous, 1 lost"."""
    codes, counts = np.unique(statuses, return_counts=True)
    return "".join(
        f", {n} {Status(int(code)).name.lower().replace('_', ' ')}"
        for code, n in zip(codes, counts, strict=True)
    )


def _moved(
    pictures: Frames, alignment: StackAlignment, mask: np.ndarray | None, threads: int | None
) -> Iterator[np.ndarray]:
    """The frames, moved onto the reference."""
    for begin in range(0, len(pictures), _TOGETHER):
        some = slice(begin, min(begin + _TOGETHER, len(pictures)))
        frames = np.stack([pictures[k] for k in range(some.start, some.stop)])
        hidden = None
        if mask is not None:
            hidden = np.broadcast_to(mask if mask.ndim == 2 else mask[some], frames.shape)
        moves = -alignment.displacements[some]
        yield from shift_stack(frames, moves, mask=hidden, threads=threads)
