"""One small good call of every public function, which `test_any_input` makes others of.

An argument named in ``arrays`` may be replaced by any array, and every option of the signature by
any object; what then comes is an answer, or a ValueError or TypeError.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

import fastgauss as fg
import fastgauss.plot
from fastgauss import register
from fastgauss.models import psf_field
from fastgauss.models.field_terms import Extent

# Examples of the longer search for inputs that break a function; 0: the short search.
DEEP = int(os.environ.get("FASTGAUSS_ANY_INPUT", "0"))
RNG = np.random.default_rng(12)
POINTS = np.array([[2.5, 3.25], [6.0, 5.5], [4.0, 7.75]])
ROWS, COLUMNS = np.mgrid[:14, :15]


def _spot(amplitude, x, y, sigma, shape=(14, 15)):
    rows, columns = np.indices(shape)
    return amplitude * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * sigma**2))


IMAGE = 10 + _spot(90, 4.3, 4.9, 1.3) + _spot(60, 9.2, 8.1, 1.3)
IMAGE = np.rint(IMAGE + RNG.normal(size=IMAGE.shape))
ROIS = np.rint([10 + _spot(80, 2.8, 3.2, 1.2, (6, 7)), 8 + _spot(50, 3.3, 2.7, 1.4, (6, 7))])
CENTRES = np.array([[4.9, 4.3], [8.1, 9.2]])
SCENE = np.rint(20 * RNG.normal(size=(30, 30)).cumsum(0).cumsum(1))
FIRST, SECOND = SCENE[3:23, 3:23].copy(), SCENE[4:24, 2:22].copy()
STACK = np.stack([FIRST, SECOND, FIRST + 1])
VOLUME = np.rint(20 * _spot(1, 3.0, 2.5, 1.5, (8, 9))) / 4
SPOT = np.array([8.0, 1.0, 1.5, 1.0, 0.5])
DARK = np.rint(20 + 2 * RNG.normal(size=(6, 4, 5)))
BRIGHT = np.rint(90 + 9 * RNG.normal(size=(6, 4, 5)))
STARS = np.rint(12 + 2 * RNG.normal(size=(17, 16)) + _spot(900, 7.3, 8.2, 1.2, (17, 16)))
ANGLES = np.array([0.25, 1.5, 3.0, 2.0])


@dataclasses.dataclass(frozen=True)
class Call:
    """A public function with arguments that are right."""

    name: str  # under which the function is public
    good: dict[str, Any]
    arrays: tuple[str, ...]
    function: Callable = None  # that is called, if not the one of this name
    out: str | None = None  # the array that is written to
    errors: tuple[type, ...] = ()  # that the docstring allows besides ValueError and TypeError
    label: str = ""

    def __str__(self) -> str:
        return f"{self.name}{self.label and ', '}{self.label}"

    def __call__(self, **changes: Any) -> Any:
        function = self.function or find(self.name)
        return function(**{**self.good, **changes})


def find(name: str) -> Callable:
    """The public function or method of a dotted name."""
    first, _, rest = name.rpartition(".")
    if first in OWNERS:
        return getattr(OWNERS[first](), rest)
    found: Any = fg
    for part in name.split("."):
        found = getattr(found, part)
    return found


@cache
def _field():
    return fg.GaussianField((8, 9), POINTS, 1.2)


@cache
def _image_fit():
    return fg.fit_image(VOLUME, 2, max_iter=1)


@cache
def _result():
    return fg.fit_rois(ROIS)


@cache
def _density():
    return fg.kde(np.array([1.0, 2.0, 2.5, 4.0]), bandwidth=0.5)


@cache
def _pca():
    return fg.pca(RNG.normal(size=(6, 2)))


@cache
def _model():
    return fg.astigmatic_model((1.3, -250.0, 400.0), (1.4, 250.0, 400.0), (-400.0, 400.0))


@cache
def _psf():
    return fg.psf_model([0.7, 0.3], [1.1, 2.0])


@cache
def _psf_field():
    coefficients = np.array([[1.1, 2.1], [0.0, 0.0], [0.1, 0.2]])
    return psf_field.psf_field(1, 0, Extent(17, 16), np.array([0.7, 0.3]), coefficients)


@cache
def _sources():
    model = _psf().with_source()
    light = fg.image([[900.0, 5.2, 4.9, 2.0, 1.0, 0.5, 10.0]], (11, 11), model)
    return fg.fit_rois(light + RNG.normal(size=light.shape), model)


@cache
def _measurement():
    return fg.measure_psf(STARS, components=1, box=9)


@cache
def _displacements():
    return register.displacement_field(FIRST, SECOND, 16, 4)


@cache
def _motion():
    return register.Motion(
        "rigid", np.eye(2), np.array([1.0, 0.25]), np.eye(3), 0, 1.0, 1.0, 9, FIRST.shape
    )


def _camera():
    return fg.Camera(np.full((8, 9), 2.0), 0.5, saturation=4.0)


def _properties(camera):
    return camera.offset, camera.gain, camera.photon_variance, camera.saturation


@cache
def _aligned_stack():
    return register.align_stack(STACK)


def _grid():
    return fg.Grid((8, 9), (0.5, 1.0))


@cache
def _lines():
    return fg.fit_lines(VOLUME)


def _render_localisations(frame, positions, errors, **options):
    return fg.render_localisations((frame, positions, errors), **options)


@cache
def _drift():
    return fg.estimate_drift((FRAMES, PLACES))


OWNERS = {
    "GaussianField()": _field,
    "ImageFit()": _image_fit,
    "FitResult()": _result,
    "KernelDensity()": _density,
    "PCA()": _pca,
    "AstigmaticModel()": _model,
    "Camera()": _camera,
    "PsfModel()": _psf,
    "PsfField()": _psf_field,
    "Grid()": _grid,
    "LineFit()": _lines,
    "Drift()": _drift,
    "register.Motion()": _motion,
}
FREE = ("amplitudes", "positions", "sigmas")
FRAMES = np.array([0, 0, 1, 1, 3])
PLACES = np.array([[2.5, 3.25], [6.0, 5.5], [2.75, 3.5], [6.25, 5.5], [2.5, 3.5]])
BEADS = np.array([_spot(90, 7.2, 6.8, s) for s in (2.0, 1.7, 1.4, 1.3, 1.4, 1.7, 2.0)]) + 10


def _group(frame, positions, errors, **options):
    return fg.group((frame, positions, errors), **options)


def _estimate_drift(frame, positions, errors, **options):
    return fg.estimate_drift((frame, positions, errors), **options)


def _on_plane(x, y, params):
    return fg.evaluate((x, y), params)


def _held(sigma, low, high):
    return fg.fit_rois(ROIS, fixed={"sigma": sigma}, bounds={"x": (low, high)})


def _plot(function, **arguments):
    from matplotlib.figure import Figure

    figure = Figure()
    function(figure=figure, **arguments)
    return len(figure.axes)


CALLS = (
    Call("evaluate", {"coords": np.arange(5.0), "params": np.array([1.0, 2.0, 1.0, 0.5])},
         ("coords", "params"), out="out"),
    Call("evaluate", {"x": np.arange(5.0), "y": np.arange(4.0)[:, None],
                      "params": np.array([1.0, 2.0, 2.5, 1.0, 1.5, 0.5, 0.5])},
         ("x", "y", "params"), _on_plane, label="two axes"),
    Call("jacobian", {"coords": np.arange(5.0), "params": np.array([1.0, 2.0, 1.0, 0.5])},
         ("coords", "params"), out="out"),
    Call("image", {"params": np.stack([SPOT, SPOT + 0.25]), "shape": (4, 5), "model": "symmetric"},
         ("params", "shape"), out="out"),
    Call("fit_rois", {"rois": ROIS, "guess": np.array([70.0, 3.0, 3.0, 1.2, 9.0]),
                      "weights": np.ones((6, 7)), "mask": np.zeros((6, 7), bool)},
         ("rois", "guess", "weights", "mask")),
    Call("fit_rois", {"rois": ROIS, "method": "mle", "variance": np.ones((6, 7))},
         ("rois", "variance"), label="mle"),
    Call("fit_rois", {"rois": ROIS[:, 3], "coords": np.arange(7.0)}, ("rois", "coords"),
         label="profiles"),
    Call("fit_rois", {"sigma": np.array([1.2, 1.4]), "low": np.array([2.0, 2.5]),
                      "high": np.array([4.0, 4.5])}, ("sigma", "low", "high"), _held,
         label="held"),
    Call("fit_spots", {"image": IMAGE, "positions": CENTRES, "box": 7,
                       "mask": np.zeros((14, 15), bool)}, ("image", "positions", "mask")),
    Call("fit_spots", {"image": IMAGE, "box": 7}, ("image",), label="found"),
    Call("fit_movie", {"frames": np.stack([IMAGE, IMAGE]), "positions": CENTRES, "threads": 2},
         ("frames", "positions"), errors=(FileNotFoundError,)),
    Call("iter_movie", {"frames": np.stack([IMAGE, IMAGE])}, ("frames",),
         lambda **options: list(fg.iter_movie(**options)), errors=(FileNotFoundError,)),
    Call("simulate.movie", {"shape": (8, 9), "frames": 3, "emitters": POINTS, "seed": 1,
                            "background": np.ones((8, 9)), "drift": np.ones((3, 2)) / 4,
                            "photons": np.array([90.0, 70.0, 80.0])},
         ("emitters", "background", "drift", "photons")),
    Call("Camera", {"offset": np.full((4, 5), 2.0), "gain": np.full((4, 5), 0.5), "variance": 3.0,
                    "saturation": np.full((4, 5), 90.0)}, ("offset", "gain", "saturation"),
         lambda **options: _properties(fg.Camera(**options))),
    Call("Camera().to_photons", {"frame": VOLUME}, ("frame",)),
    Call("Camera().calibrate", {"dark": DARK, "bright": BRIGHT, "saturation": None},
         ("dark", "bright"),
         lambda **options: _properties(fg.Camera.calibrate(**options)),
         errors=(FileNotFoundError,)),
    Call("fit_joint", {"image": IMAGE, "positions": CENTRES, "box": 7}, ("image", "positions")),
    Call("find_spots", {"image": IMAGE, "mask": np.zeros((14, 15), bool),
                        "variance": np.ones((14, 15))}, ("image", "mask", "variance")),
    Call("find_spots", {"image": IMAGE, "false_alarms": 1.0, "details": True}, ("image",),
         label="details"),
    Call("find_spots", {"image": IMAGE, "sigma": np.array([[1.0], [1.5]])}, ("image", "sigma"),
         label="sizes"),
    Call("astigmatic_model", {"curve_x": np.array([1.3, -250.0, 400.0]),
                              "curve_y": np.array([1.4, 250.0, 400.0, 0.0, 0.0]),
                              "z_range": (-400.0, 400.0)}, ("curve_x", "curve_y", "z_range")),
    Call("psf_model", {"weights": np.array([0.7, 0.3]), "sigmas": np.array([1.1, 2.0]),
                       "offsets": np.array([[0.0, 0.25], [0.5, 0.0]])},
         ("weights", "sigmas", "offsets")),
    Call("psf_model", {"weights": np.array([0.7, 0.3]), "theta": np.array([0.5, 0.0]),
                       "sigmas": np.array([[1.0, 1.5], [2.0, 2.5]])},
         ("weights", "sigmas", "theta"), label="rotated"),
    Call("psf_model", {"weights": np.array([0.7, 0.3]),
                       "covariances": np.array([np.eye(2), np.eye(2) + 0.5])},
         ("weights", "covariances"), label="covariances"),
    Call("moffat_psf", {"fwhm": 3.0, "beta": 4.5, "tol": 1e-2}, ()),
    Call("psf_from_image", {"array": np.exp(-0.1 * np.hypot(*np.indices((7, 8)) - 3.5) ** 2),
                            "oversampling": (2.0, 2.0), "components": 1, "tol": 1.0},
         ("array", "oversampling")),
    Call("measure_psf", {"image": STARS, "components": 1, "box": 9}, ("image",)),
    Call("measure_psf", {"image": STARS, "positions": np.array([[8.0, 7.0]]), "components": 1,
                         "box": 9, "error": np.full((17, 16), 2.0), "mask": STARS < 7},
         ("image", "positions", "error", "mask"), label="positions"),
    Call("calibrate_astigmatism", {"stack": BEADS, "z": np.arange(7.0), "box": 9,
                                   "positions": np.array([[6.8, 7.2]])},
         ("stack", "z", "positions")),
    Call("group", {"frame": FRAMES, "positions": PLACES, "errors": np.full((5, 2), 0.25),
                   "radius": 0.75, "gap": 1, "flux": np.arange(1.0, 6.0)},
         ("frame", "positions", "errors", "flux"), _group),
    Call("estimate_drift", {"frame": FRAMES, "positions": PLACES, "errors": np.full((5, 2), 0.25),
                            "segments": 2}, ("frame", "positions", "errors"), _estimate_drift),
    Call("render_localisations", {"frame": FRAMES, "positions": PLACES,
                                  "errors": np.full((5, 2), 0.25), "pixel": 0.5, "shape": (8, 9)},
         ("frame", "positions", "errors", "shape"), _render_localisations),
    Call("Drift().at", {"frame": FRAMES}, ("frame",)),
    Call("Drift().apply", {"frame": FRAMES, "positions": PLACES}, ("frame", "positions"),
         lambda frame, positions: _drift().apply((frame, positions))[1]),
    Call("render", {"grid_or_shape": (8, 9), "positions": POINTS, "amplitudes": np.arange(1.0, 4.0),
                    "sigma": np.array([1.5, 1.0])},
         ("grid_or_shape", "positions", "amplitudes", "sigma"), out="out"),
    Call("render", {"grid_or_shape": (8, 9), "positions": POINTS, "covariance": 2 * np.eye(2)},
         ("positions", "covariance"), label="covariance"),
    Call("GaussianField", {"grid_or_shape": (8, 9), "positions": POINTS, "sigma": 1.2},
         ("grid_or_shape", "positions", "sigma")),
    Call("GaussianField().render", {"amplitudes": np.arange(1.0, 4.0)}, ("amplitudes",), out="out"),
    Call("GaussianField().adjoint", {"volume": VOLUME}, ("volume",)),
    Call("GaussianField().loss_and_gradient",
         {"volume": VOLUME, "amplitudes": np.arange(1.0, 4.0), "wrt": FREE,
          "weights": np.ones((8, 9)), "mask": np.zeros((8, 9), bool)},
         ("volume", "amplitudes", "weights", "mask")),
    Call("GaussianField().refine", {"volume": VOLUME, "amplitudes": np.arange(1.0, 4.0),
                                    "weights": np.ones((8, 9)), "max_iter": 2},
         ("volume", "amplitudes", "weights")),
    Call("GaussianField().fit_amplitudes", {"volume": VOLUME, "weights": np.ones((8, 9)),
                                            "mask": np.zeros((8, 9), bool)},
         ("volume", "weights", "mask")),
    Call("GaussianField().multiplicative_update",
         {"volume": VOLUME, "amplitudes": np.arange(1.0, 4.0), "weights": np.ones((8, 9))},
         ("volume", "amplitudes", "weights")),
    Call("fit_image", {"image": VOLUME, "components": 2, "init": POINTS[:2], "max_iter": 2,
                       "weights": np.ones((8, 9)), "mask": np.zeros((8, 9), bool)},
         ("image", "init", "weights", "mask")),
    Call("ImageFit().render", {}, (), out="out"),
    Call("GaussianField().moved", {"positions": POINTS, "widths": np.array(1.25)},
         ("positions", "widths")),
    Call("Grid", {"shape": (4, 5), "spacing": (2.0, 0.5), "origin": (-1.0, 0.0)},
         ("shape", "spacing", "origin")),
    Call("Grid().index", {"positions": POINTS}, ("positions",)),
    Call("Grid().position", {"indices": POINTS}, ("indices",)),
    Call("Grid().nodes", {"axis": 1}, ()),
    Call("add_at", {"indices": np.array([0, 2, 2, -1]), "values": np.arange(4.0)},
         ("indices", "values"), out="out", errors=(IndexError, OverflowError)),  # numpy's own
    Call("bin_statistics", {"indices": np.array([0, 2, 2, 1]), "values": np.arange(4.0), "size": 3,
                            "weights": np.ones(4)}, ("indices", "values", "weights"),
         errors=(IndexError,)),
    Call("histogram", {"coords": POINTS, "bins": (3, 4), "range": ((0.0, 9.0), (0.0, 9.0)),
                       "weights": np.arange(1.0, 4.0)}, ("coords", "bins", "range", "weights"),
         out="out"),
    Call("deposit", {"grid_or_shape": (8, 9), "positions": POINTS, "values": np.arange(1.0, 4.0)},
         ("grid_or_shape", "positions", "values"), out="out"),
    Call("gather", {"field": VOLUME, "positions": POINTS}, ("field", "positions")),
    Call("healpix_pixel", {"theta": ANGLES, "phi": ANGLES + 0.5, "nside": 4}, ("theta", "phi")),
    Call("healpix_add", {"theta": ANGLES, "phi": ANGLES + 0.5, "values": np.arange(4.0)},
         ("theta", "phi", "values"), out="map"),
    Call("gaussian_filter", {"image": IMAGE, "sigma": (1.0, 1.5)}, ("image", "sigma"), out="out"),
    Call("gaussian_filter", {"image": IMAGE, "sigma": 1.0, "mask": np.zeros((14, 15), bool),
                             "nan_policy": "omit"}, ("image", "mask"), out="out", label="masked"),
    Call("gaussian_laplace", {"image": IMAGE, "sigma": (1.0, 1.5)}, ("image", "sigma"), out="out"),
    Call("gaussian_gradient_magnitude", {"image": IMAGE, "sigma": 1.0}, ("image", "sigma"),
         out="out"),
    Call("difference_of_gaussians", {"image": IMAGE, "low_sigma": 1.0}, ("image", "low_sigma"),
         out="out"),
    Call("gaussian_kernel", {"shape": (4, 5), "sigma": (1.0, 1.5)}, ("shape", "sigma")),
    Call("kde", {"samples": POINTS[:, 0], "points": np.arange(5.0), "weights": np.ones(3)},
         ("samples", "points", "weights")),
    Call("kde", {"samples": POINTS, "points": POINTS, "bandwidth": (1.0, 0.5),
                 "bounds": ((0.0, 9.0), (0.0, 9.0)), "boundary": "renormalize"},
         ("samples", "points", "bandwidth", "bounds"), label="two axes"),
    Call("KernelDensity().evaluate", {"points": np.arange(5.0)}, ("points",)),
    Call("KernelDensity().pdf", {"points": np.arange(5.0)}, ("points",)),
    Call("KernelDensity().logpdf", {"points": np.arange(5.0)}, ("points",)),
    Call("KernelDensity().cdf", {"points": np.arange(5.0)}, ("points",)),
    Call("KernelDensity().quantile", {"q": np.array([0.1, 0.5, 0.9])}, ("q",)),
    Call("KernelDensity().integrate", {"low": np.array([1.0]), "high": np.array([2.0])},
         ("low", "high")),
    Call("KernelDensity().sample", {"size": 3, "seed": 1}, ()),
    Call("KernelDensity().grid", {"shape": (5,)}, ("shape",)),
    Call("fit_lines", {"y": VOLUME, "x": np.arange(9.0), "weights": np.ones((8, 9)),
                       "mask": np.zeros((8, 9), bool)}, ("y", "x", "weights", "mask")),
    Call("LineFit().evaluate", {"x": np.arange(4.0)}, ("x",)),
    Call("level", {"image": VOLUME, "mask": np.zeros((8, 9), bool)}, ("image", "mask")),
    Call("pca", {"data": VOLUME[:, :3] + np.eye(8, 3), "weights": np.ones(8)},
         ("data", "weights")),
    Call("PCA().transform", {"data": POINTS}, ("data",)),
    Call("PCA().inverse_transform", {"scores": POINTS}, ("scores",)),
    Call("AstigmaticModel().sigmas_at", {"z": np.arange(3.0)}, ("z",)),
    Call("PsfField().at", {"position": (4.5, 2.25)}, ("position",)),
    Call("PsfField().shifted", {"row": 2.0, "column": 3.0}, ()),
    Call("PsfModel().to_astropy", {"pixel": "sample"}, ()),
    Call("PsfModel().image", {"shape": (4, 5), "position": (1.5, 2.25)}, ("shape", "position")),
    Call("fit_profile", {"x": np.arange(15.0), "y": IMAGE[5], "yerr": np.ones(15)},
         ("x", "y", "yerr")),
    Call("FitResult().render", {"shape": (6, 7), "background": np.zeros((6, 7))},
         ("shape", "background")),
    Call("FitResult().__getitem__", {"rows": np.array([True, False])}, ("rows",),
         lambda rows: _result()[rows], errors=(IndexError,)),
    Call("register.align", {"im1": FIRST, "im2": SECOND, "err1": np.ones((20, 20)),
                            "mask": np.zeros((20, 20), bool)}, ("im1", "im2", "err1", "mask")),
    Call("register.Motion().apply", {"image": FIRST, "mask": np.zeros(FIRST.shape, bool)},
         ("image", "mask")),
    Call("register.align_stack", {"frames": STACK, "err": np.ones((20, 20)),
                                  "mask": np.zeros((3, 20, 20), bool)}, ("frames", "err", "mask")),
    Call("register.shift_stack", {"frames": STACK, "displacements": np.full((3, 2), 0.25),
                                  "mask": np.zeros((3, 20, 20), bool)},
         ("frames", "displacements", "mask")),
    Call("register.plot_drift", {}, (),
         lambda **options: _plot(register.plot_drift, alignment=_aligned_stack(), **options)),
    Call("register.chi2_shift", {"im1": FIRST, "im2": SECOND, "err": np.ones((20, 20))},
         ("im1", "im2", "err")),
    Call("register.chi2_shift_iterzoom", {"im1": FIRST, "im2": SECOND, "rezoom_shape": (20, 20)},
         ("im1", "im2")),
    Call("register.chi2_map", {"im1": FIRST, "im2": SECOND}, ("im1", "im2")),
    Call("register.chi2_map_to_errors",
         {"chi2_values": (ROWS - 6.0) ** 2 / 4 + (COLUMNS - 7.0) ** 2 / 9}, ("chi2_values",)),
    Call("register.cross_correlate", {"a": FIRST, "b": SECOND, "mask": np.zeros((20, 20), bool)},
         ("a", "b", "mask")),
    Call("register.phase_correlate", {"a": FIRST, "b": SECOND}, ("a", "b")),
    Call("register.shift_from_correlation",
         {"correlation": -((ROWS - 6.0) ** 2) / 4 - (COLUMNS - 7.0) ** 2 / 9}, ("correlation",)),
    Call("register.shift_image", {"image": IMAGE, "displacement": (0.5, 1.25)},
         ("image", "displacement")),
    Call("register.displacement_field", {"a": FIRST, "b": SECOND, "window": 16, "step": 4},
         ("a", "b")),
    Call("register.plot_displacements", {"image": FIRST}, ("image",),
         lambda image, **options: _plot(
             register.plot_displacements, image=image, field=_displacements(), **options)),
    Call("plot.plot_spots", {"image": IMAGE}, ("image",),
         lambda image, **options: _plot(
             fastgauss.plot.plot_spots, image=image, result=_result(), **options)),
    Call("plot.plot_joint", {"image": IMAGE}, ("image",),
         lambda image, **options: _plot(
             fastgauss.plot.plot_joint, image=image, result=_result(), **options)),
    Call("plot.plot_rois", {"rois": ROIS}, ("rois",),
         lambda rois, **options: _plot(
             fastgauss.plot.plot_rois, rois=rois, result=_result(), **options)),
    Call("source_shapes", {"level": 0.9}, (),
         lambda **options: fg.source_shapes(_sources(), **options)),
    Call("plot.plot_psf", {}, (),
         lambda **options: _plot(fastgauss.plot.plot_psf, measurement=_measurement(), **options)),
    Call("plot.plot_slices", {"volume": np.stack([VOLUME] * 4)}, ("volume",),
         lambda volume, **options: _plot(fastgauss.plot.plot_slices, volume=volume, **options)),
    Call("plot.plot_calibration", {"truth": np.tile([80.0, 3, 3, 1.3, 9], (2, 1))}, ("truth",),
         lambda truth, **options: _plot(
             fastgauss.plot.plot_calibration, result=_result(), truth=truth, **options)),
    Call("set_num_threads", {"threads": None}, ()),
)  # fmt: skip
