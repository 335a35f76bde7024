"""Fits of all frames of a file, as the options of the command tell."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Generator, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..base.thread_pool import resolve_threads
from ..find.options import DETECTORS
from ..io import axes
from ..io.frames import Frames
from ..kernels.fit.estimators import METHODS
from ..kernels.models.profiles import PIXELS
from ..models.model import MODELS
from ..movies.frame_fits import MovieError
from ..results.exchange import check_target
from ..results.fit_result import FitResult
from ..tools.first_fits import shared_fit
from . import camera, hints, options, psf, source, units
from .compilation import Time, at_first_kernel, timed
from .progress_bar import bar


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the part that is fitted, of the camera and of the fit."""
    parser.add_argument(
        "--roi", type=options.slices, metavar="RANGES", help="rows and columns: 100:200,50:150"
    )
    camera.add_options(parser)
    group = parser.add_argument_group("the fit")

    def add(name: str, **more: Any) -> None:
        group.add_argument(name, **more)

    add("--model", choices=MODELS, help="default: symmetric; of a volume: elliptic")
    add("--psf", metavar="measure|FILE", help="the model: of the first image, or of fastgauss psf")
    add("--free-width", action="store_true", help="with --psf: fit a factor of its widths, too")
    add("--free-weights", action="store_true", help="the same: fit the weights of its Gaussians")
    add("--source", choices=psf.SOURCES, help="with --psf: galaxies, fitted for their covariance")
    add("--method", choices=METHODS, default="lsq", help="mle: photons, maximum likelihood (lsq)")
    about = "the model's value at a pixel's centre, or its mean (as in --psf FILE, or sample)"
    add("--pixel", choices=PIXELS, help=about)
    many: dict[str, Any] = {"metavar": "NUMBERS"}
    add("--box", type=options.sides, help="side of a window, px (4 sigma either way)", **many)
    widths = "expected width, px (1.3); repeat it for spots of several widths"
    add("--sigma", type=options.lengths, default=1.3, action=options.Repeated, help=widths, **many)
    add("--false-alarms", type=float, help="false spots to expect in an image or frame (1)")
    about = "least height of a spot, in place of --false-alarms; searches by the Laplacian"
    add("--threshold", type=float, help=about)
    filters = "matched (the default), or laplacian: faster, misses faint spots"
    add("--detector", choices=DETECTORS, help=filters)
    about = "probability that a spot is left out because of its shape (0.01); 0 keeps all"
    add("--shape-level", type=float, help=about)
    add("--min-distance", type=options.lengths, help="of two spots, px (2 sigma)", **many)
    add("--fixed", type=options.fixed, metavar="VALUES", help="not fitted: sigma=1.3,offset=0")
    add("--bounds", type=options.bounds, metavar="RANGES", help="such as sigma=0.8:3,offset=0:")
    add("--shared", type=options.names, metavar="NAMES", help="one value for a frame: sigma")
    add("--joint", action="store_true", help="fit overlapping spots together")
    taken = "with --joint: test spots for being two; probability that one is taken as two"
    add("--split", type=float, metavar="LEVEL", help=taken)
    backgrounds = "of a spot: plane has slopes (constant); with --joint of the image (local)"
    add("--background", choices=("local", "constant", "plane"), help=backgrounds)
    add("--dark", action="store_true", help="dark spots on a bright background")
    add("--threads", type=int, help="default: one a core")


def check_options(
    args: argparse.Namespace, table: str | None, others: tuple[str | None, ...]
) -> None:
    """Raise before the work the errors of options and of targets that would come after it."""
    if table:
        check_target(table)
    resolve_threads(args.threads)
    camera.check_options(args)
    if args.background == "local" and not args.joint:
        raise ValueError("--background local is for --joint")
    if args.split is not None and not args.joint:
        raise ValueError("--split is for --joint")
    if args.psf == psf.MEASURED and isinstance(args.sigma, list):
        raise ValueError("--psf measure takes one --sigma")
    maps = args.offset, args.gain, args.variance
    source.keep_inputs((args.image, args.psf, args.camera, args.mask, *maps), (table, *others))


@dataclass
class Job:
    """The results of all frames."""

    result: units.Located  # all spots, with their frames where there are several
    shown: tuple[np.ndarray, FitResult]  # the first frame with data, and its spots
    frames: int
    took: Time
    told: str  # what the file was taken for
    hint: str  # where there is no spot, or most did not converge
    failed: MovieError | None  # a frame that could not be read
    shape: tuple[int, ...]  # of a picture


class Fits:
    """Fits of the pictures of one file."""

    def __init__(self, args: argparse.Namespace, arranged: axes.Arranged) -> None:
        self.args, self.pictures = args, arranged.pictures
        self.first = self.pictures[0]
        self.where = part_of(args.roi, self.first.shape)
        facts = self.pictures.facts
        self.pixel = psf.pixel_of(args)
        self.known = camera.settings_of(args, facts, self.first.shape).part(self.where)
        self.told = _told(args, arranged, self.first, self.pixel)
        if self.told:
            print(f"fastgauss: {self.told}", file=sys.stderr, flush=True)
        picture = self.first[self.where]
        self.psf = psf.model_of(args, picture, self.known, self.where, self.pixel)
        self.shown: tuple[int, np.ndarray] | None = None  # the first picture with data
        self.searched = np.empty(0)  # the part of it that was fitted

    def read(self, number: int) -> np.ndarray:
        """The part of a picture that is fitted."""
        picture = self.first if number == 0 else self.pictures[number]
        part = picture[self.where]
        if self.shown is None and (picture.dtype.kind != "f" or np.isfinite(picture).any()):
            self.searched = self.known.photons(part)
            self.shown = number, _shown(self.searched, self.where, picture.shape)
        return part

    def results(self, progress: Any) -> Generator[FitResult, None, None]:
        """The results of all pictures, in coordinates and units of the fit."""
        from ..movies import iter_movie

        args, known, first = self.args, self.known, self._origin()
        yield from iter_movie(
            Frames(len(self.pictures), self.read),
            model=self.psf or _model(args, self.first.ndim),
            method=args.method,
            pixel=self.pixel,
            box=args.box,
            sigma=args.sigma,
            threshold=None if args.threshold is None else args.threshold / known.excess,
            false_alarms=args.false_alarms,
            detector=args.detector,
            shape_level=args.shape_level,
            min_distance=args.min_distance,
            fixed=camera.in_part(args.fixed, known.excess, first),
            bounds=camera.in_part(args.bounds, known.excess, first),
            shared=args.shared or (),
            joint=args.joint,
            split=args.split,
            background=args.background,
            polarity="dark" if args.dark else "bright",
            camera=known.camera,
            mask=known.mask,
            threads=args.threads,
            progress=progress,
        )

    def drawn(self) -> tuple[int, np.ndarray]:
        """The number of the first picture with data, and this picture."""
        if self.shown is None:
            raise ValueError("the image has no finite pixel")
        return self.shown

    def _origin(self) -> tuple[int, ...]:
        return tuple(each.start for each in self.where)

    def finished(self, result: FitResult, frames: bool) -> FitResult:
        """A result in the coordinates of the file, in photons, with or without its frames."""
        if not frames:
            result = result.with_rows(result.rows._replace(frames=None))
        return camera.moved(camera.multiplied(result, self.known.excess), self._origin())


def _model(args: argparse.Namespace, ndim: int) -> str:
    return args.model or ("symmetric" if ndim == 2 else "elliptic")


def part_of(roi: tuple[slice, ...] | None, shape: tuple[int, ...]) -> tuple[slice, ...]:
    """The ranges of a picture that are fitted; of a volume all planes if none are given."""
    given = roi or ()
    if given and len(given) not in (2, len(shape)):
        raise ValueError(f"--roi must have {len(shape)} ranges, got {len(given)}")
    whole = (slice(None),) * (len(shape) - len(given)) + given
    ranges = tuple(slice(*each.indices(n)) for each, n in zip(whole, shape, strict=True))
    if any(each.start >= each.stop for each in ranges):
        raise ValueError(f"--roi must hold pixels of the image, which has {axes.shape_text(shape)}")
    return ranges


def _shown(data: np.ndarray, where: tuple[slice, ...], shape: tuple[int, ...]) -> np.ndarray:
    """A picture in the coordinates of the file; NaN outside the part that was fitted."""
    if data.shape == shape:
        return data
    whole = np.full(shape, np.nan)
    whole[where] = data
    return whole


def _told(
    args: argparse.Namespace, arranged: axes.Arranged, picture: np.ndarray, pixel: str
) -> str:
    """A clause that says what the file was taken for."""
    if args.example:
        return ""
    told = arranged.told(picture.shape) + camera.told(args, arranged.pictures.facts)
    if pixel != (args.pixel or PIXELS[0]):
        told += f", fitted with --pixel {pixel} as {Path(args.psf).name} was measured"
    return f"{Path(args.image).name}: {told}"


def fit_frames(arranged: axes.Arranged, args: argparse.Namespace) -> Job:
    """The spots of all frames, and where one cannot be read, of those before it."""
    with timed() as took:
        fits = Fits(args, arranged)
        sizes = units.sizes_of(args.pixel_size, arranged.pictures.facts, arranged.ndim)
        results, failed = _run(fits)
        spent = took()
    pictures, (number, picture) = arranged.pictures, fits.drawn()
    whole = fits.finished(FitResult.concatenate(results), frames=len(pictures) > 1)
    shown = fits.finished(results[number], frames=False) if number < len(results) else whole[:0]
    whole.pixel_size = units.nanometres(sizes)
    located = units.Located(whole, sizes, pictures.facts.wcs, args.zero_point)
    hint = _hint(args, whole, fits)
    if hint and not len(whole):
        hint += hints.of_channels(pictures.facts, args.channel)
    return Job(
        located, (picture, shown), len(results), spent, fits.told, hint, failed, picture.shape
    )


def _run(fits: Fits) -> tuple[list[FitResult], MovieError | None]:
    """The results of all pictures, and the error of one that cannot be read."""
    results, failed = [], None
    with bar(len(fits.pictures)) as progress, closing(fits.results(progress)) as found:
        try:
            with _compiled_beside(fits.args, fits.pixel, fits.first.dtype):
                results.append(next(found))
            for result in found:
                results.append(result)
        except MovieError as error:
            failed = error
    return results, failed


def _hint(args: argparse.Namespace, result: FitResult, fits: Fits) -> str:
    """What to try where no spot was found, in the first picture, or where fits are not right."""
    negative = hints.of_negative(fits.searched) if args.method == "mle" else ""
    if negative and not 2 * result.converged.sum() > len(result):
        return negative
    if len(result):
        scattered = hints.of_scatter(result) if args.method == "mle" else ""
        crowded = "" if args.joint else hints.of_overlap(result)
        return hints.of_statuses(result) or scattered or crowded
    if isinstance(args.sigma, list):
        return hints.NO_SPOT_OF_ANY_SIGMA
    data = fits.searched
    return hints.of_no_spots(
        data,
        sigmas(args, data.ndim),
        threshold=args.threshold,
        false_alarms=args.false_alarms,
        curved=args.joint or args.detector == DETECTORS[1],
        dark=args.dark,
        mask=fits.known.mask,
    )


@contextmanager
def _compiled_beside(args: argparse.Namespace, pixel: str, dtype: np.dtype) -> Iterator[None]:
    """If kernels have to be compiled, another process compiles the fit during the search."""
    fit = _model(args, 2), args.method, pixel, dtype.str
    if args.psf or args.background == "plane":
        yield
        return
    with ExitStack() as beside, at_first_kernel(lambda: beside.enter_context(shared_fit(*fit))):
        yield


def sigmas(args: argparse.Namespace, ndim: int) -> tuple[float, ...]:
    """The expected width along each axis, the largest where several are given."""
    sigma = np.max(args.sigma, axis=0) if isinstance(args.sigma, list) else args.sigma
    return tuple(np.broadcast_to(sigma, ndim).tolist())
