"""The command ``fastgauss psf IMAGE``: the point spread function of an image from its stars."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from ..base import wording
from ..base.thread_pool import resolve_threads
from ..io import files
from ..kernels.models.profiles import PIXELS
from ..models import PsfField, PsfModel, psf_files
from ..models.model import Model
from ..psf import PsfMeasurement, measure_psf
from ..psf.profiles import SHAPES
from . import camera, source
from .compilation import Time, timed
from .progress_bar import bar

_SUFFIXES = dict.fromkeys((".json",))
MEASURED = "measure"
_TIME = "a hundred stars take some five seconds"
SOURCES = {"gaussian": lambda stars: stars.with_source()}


def add_parser(commands: Any, parents: list[argparse.ArgumentParser]) -> None:
    """Add the command to those of the parser."""
    parser = commands.add_parser(
        "psf",
        parents=parents,
        help="measure the point spread function of an image from its stars",
        description="Find the stars of an image and fit one sum of Gaussians to those that are "
        "bright and alone.",
    )
    parser.add_argument("image", metavar="IMAGE", help="TIFF, Zarr, PNG, JPEG, NPY or FITS")
    parser.add_argument("-o", "--output", metavar="FILE", help="write the model, .json")
    parser.add_argument(
        "--plot", metavar="FILE", help="draw profile, residual, growth: .png, .pdf or .svg"
    )
    parser.add_argument("--components", default="auto", help="number of Gaussians (auto)")
    parser.add_argument(
        "--shape", choices=SHAPES, default="round", help="shape of the Gaussians (round)"
    )
    parser.add_argument(
        "--order", type=int, default=0, help="of the polynomial by which widths vary (0)"
    )
    parser.add_argument(
        "--pixel", choices=PIXELS, default="sample", help="a pixel's centre, or its mean (sample)"
    )
    parser.add_argument("--box", type=int, help="side of the box of a star, px (40 sigma)")
    parser.add_argument("--sigma", type=float, default=1.3, help="expected width, px (1.3)")
    parser.add_argument(
        "--saturation", type=float, help="pixels of this value or more are missing (FITS: SATURATE)"
    )
    parser.add_argument("--mask", metavar="FILE", help="an image; its pixels above 0 are missing")
    parser.add_argument("--threads", type=int, help="default: one a core")
    source.add_part(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    source.keep_inputs((args.image, args.mask), (args.output, args.plot))
    if args.output:
        files.by_suffix(Path(args.output), _SUFFIXES, "model")
        files.check_place(Path(args.output))
    if args.plot:
        files.check_plot(args.plot)
    resolve_threads(args.threads)
    with source.open_image(args.image, source.Part.of(args)) as arranged:
        image, facts = arranged.pictures[0], arranged.pictures.facts
        saturation = facts.saturation if args.saturation is None else None
        told = arranged.told(image.shape) + camera.of_header(saturation=saturation)
    print(f"fastgauss: {Path(args.image).name}: {told}; {_TIME}", file=sys.stderr, flush=True)
    with timed() as took, bar(None, "step") as progress:
        found = measure_psf(
            image,
            components=components(args.components),
            shape=args.shape,
            order=args.order,
            pixel=args.pixel,
            box=args.box,
            sigma=args.sigma,
            mask=source.read_map(args.mask, image.shape, "--mask") > 0 if args.mask else None,
            saturation=facts.saturation if args.saturation is None else args.saturation,
            threads=args.threads,
            progress=progress,
        )
    _print(found, took())
    if args.output:
        found.model.save(args.output, pixel=found.pixel)
        print("wrote", args.output)
    if args.plot:
        from ..plot import plot_psf, save_plot

        save_plot(args.plot, plot_psf(found))
        print("wrote", args.plot)


def components(text: str) -> int | str:
    """The number of components, or a word."""
    try:
        return int(text)
    except ValueError:
        return text


def _print(found: PsfMeasurement, took: Time) -> None:
    many = wording.plural(len(found.model.components), "Gaussian")
    used = wording.plural(len(found.stars), "star")
    print(f"{many}, FWHM {found.model.fwhm:.4g} px, from {used}, {took}")
    for name, value, error in zip(found.names, found.params, found.errors, strict=True):
        print(f"{name:>10} {value:9.4f} +- {error:.4f}")
    for reason, count in Counter(found.refused["reason"].tolist()).most_common():
        print(f"refused: {count} {reason}")


# -- as the model of a fit ---------------------------------------------------------------------


def model_of(
    args: argparse.Namespace,
    picture: np.ndarray,
    known: camera.Settings,
    where: tuple[slice, ...],
    pixel: str,
) -> Model | None:
    """The model of ``fit --psf``: that of a file, or measured from a picture.

    The picture is the part ``where`` of an image, whose places a file counts; ``pixel`` is the mode
    of the fit.
    """
    found: Any = _known_model(args, picture, known, where, pixel)
    if found is None:
        options = ("--free-width", args.free_width), ("--free-weights", args.free_weights)
        for option, given in (*options, ("--source", args.source)):
            if given:
                raise ValueError(f"{option} is of a point spread function: give it with --psf")
        return None
    found = found.with_width() if args.free_width else found
    found = found.with_weights() if args.free_weights else found
    return SOURCES[args.source](found) if args.source else found


def pixel_of(args: argparse.Namespace) -> str:
    """The mode of pixels of a fit: that of ``--pixel``, else of the file of ``--psf``.

    A point spread function that was measured in one mode gives wrong fluxes in the other.
    """
    own = psf_files.pixel_of(args.psf) if args.psf not in (None, MEASURED) else None
    if own is not None and args.pixel not in (None, own):
        raise ValueError(
            f"--pixel must be that with which {args.psf} was measured, {own}, got {args.pixel}; "
            "without --pixel the fit follows the file"
        )
    return args.pixel or own or PIXELS[0]


def _known_model(
    args: argparse.Namespace,
    picture: np.ndarray,
    known: camera.Settings,
    where: tuple[slice, ...],
    pixel: str,
) -> PsfModel | PsfField | None:
    """The same of stars, with its own width."""
    if args.psf is None:
        return None
    if args.model is not None:
        raise ValueError("--psf is a model: give it without --model")
    if picture.ndim != 2:
        raise ValueError("--psf is of images: a volume has none")
    if args.psf == MEASURED:
        stars = known.photons(picture)
        options = {"pixel": pixel, "sigma": args.sigma, "threads": args.threads}
        with bar(None, "step") as progress:
            return measure_psf(stars, mask=known.mask, progress=progress, **options).model
    if not psf_files.varies(args.psf):
        return PsfModel.load(args.psf)
    return PsfField.load(args.psf).shifted(*(float(each.start) for each in where))
