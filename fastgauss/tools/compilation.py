"""Compile ahead of use: by name of the job, the calls that compile what it needs.

Numba compiles for types: dtypes, numbers of axes, contiguity. So the smallest arrays do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from .. import register
from ..base import check
from ..base.progress import Progress, reporting
from ..density.estimation import kde
from ..fields.field import GaussianField
from ..fields.rendering import render
from ..filters.gaussian import (
    difference_of_gaussians,
    gaussian_filter,
    gaussian_gradient_magnitude,
    gaussian_laplace,
)
from ..find.detection import find_spots
from ..fit.chunks import READ_AS_IS
from ..fit.rois import fit_rois
from ..joint.joint_fits import fit_joint
from ..linear.line_fits import fit_lines, level
from ..linear.principal_components import pca
from ..models.evaluation import evaluate, image, jacobian
from ..models.model import MODELS, get_model
from ..spots.image_fits import fit_spots
from ..sums.binning import bin_statistics, histogram
from ..sums.healpix import healpix_add
from ..sums.particle_mesh import deposit, gather
from ..sums.scatter_add import add_at
from . import compile_processes
from .first_fits import AXIS, IMAGE, PLACES, PROFILE
from .job_names import chosen

METHODS = ("lsq", "weighted", "mle")


class _Choice(NamedTuple):
    """The variants that a job leaves open; None: the usual ones."""

    models: tuple[str, ...] | None
    dtypes: tuple[np.dtype, ...] | None
    methods: tuple[str, ...] | None


_Calls = Iterator[Callable[[], Any]]


def _images(choice: _Choice, usual: Iterable[Any] = (np.float64,)) -> Iterator[np.ndarray]:
    for dtype in choice.dtypes or usual:
        yield IMAGE.astype(dtype)


def _find(choice: _Choice) -> _Calls:
    for data in _images(choice):
        yield partial(find_spots, np.tile(data, 2))  # the distances of several spots are looked at


def _fit(choice: _Choice) -> _Calls:
    models, methods = choice.models or MODELS, choice.methods or ("lsq",)
    for model, method in product(models, methods):
        options: dict[str, Any] = {"method": "mle" if method == "mle" else "lsq"}
        weights = np.ones_like(IMAGE) if method == "weighted" else None
        yield partial(fit_spots, IMAGE, PLACES, model, weights=weights, **options)
        for data in _images(choice, READ_AS_IS):
            rois = np.ascontiguousarray(data[np.newaxis, 6:17, 6:17])  # else it becomes float64
            weights = np.ones(rois.shape) if method == "weighted" else None
            yield partial(fit_rois, rois, model, weights=weights, **options)
            rois = np.ascontiguousarray(data[np.newaxis, 20:31, 20:31])  # fitted from other starts
            yield partial(fit_rois, rois, model, weights=weights, **options)


def _joint(choice: _Choice) -> _Calls:
    models, methods = choice.models or ("symmetric",), choice.methods or ("lsq",)
    for model, method, data in product(models, methods, _images(choice)):
        weights = np.ones(data.shape) if method == "weighted" else None
        way = "mle" if method == "mle" else "lsq"
        yield partial(fit_joint, data, PLACES, model, weights=weights, method=way)
        if method == "lsq":
            yield partial(fit_spots, data, model=model, joint=True)


def _evaluate(choice: _Choice) -> _Calls:
    for model in choice.models or MODELS:
        params = np.ones(get_model(model, 2).size)
        for call in (evaluate, jacobian):
            yield partial(call, (AXIS, AXIS), params, model)
            yield partial(call, (AXIS, AXIS), np.tile(params, (len(AXIS), 1)), model)
        yield partial(image, params, (5, 5), model)


def _field(choice: _Choice) -> _Calls:
    solid = np.multiply.outer(PROFILE, IMAGE)
    for scene, places in ((IMAGE, np.array(PLACES)), (solid, np.full((2, 3), 11.0))):
        for dtype in choice.dtypes or (np.float32, np.float64):
            data = scene.astype(dtype)
            field = GaussianField(data.shape, places, 1.5)
            yield partial(render, data.shape, places, 1.0, 1.5, out=np.zeros_like(data))
            yield partial(field.loss_and_gradient, data, 100.0, ("amplitudes", "positions"))
            yield partial(field.adjoint, data)
        yield partial(field.fit_amplitudes, scene)
    small = IMAGE[:8, :8]
    crowd = GaussianField(small.shape, np.argwhere(small > -np.inf), 2.0)
    for nonnegative in (False, True):
        yield partial(_errors_of_fit, crowd, small, nonnegative)


def _errors_of_fit(field: GaussianField, volume: np.ndarray, nonnegative: bool) -> None:
    """Compile what fits of crowds need beyond other fits, and what their errors need."""
    assert len(field.fit_amplitudes(volume, nonnegative).errors) == len(field)


def _scatter(choice: _Choice) -> _Calls:
    """Sums by bin, on a grid and on the sphere, of the usual indices."""
    angles = np.full(4, 0.5)
    kinds: tuple[Any, ...] = choice.dtypes or (np.float64,)
    indices: tuple[Any, ...] = (np.int32, np.int64)
    for kind, index in product(kinds, indices):
        values, many = np.ones(4, kind), np.arange(1 << 17, dtype=index) % 4096
        for where in (many[:4], many, many - 1):  # some count from the end
            yield partial(add_at, np.zeros(4096, kind), where, np.ones(where.size, kind))
        yield partial(bin_statistics, many[:4], values, 4)
    for weights in (None, np.ones(4)):
        yield partial(histogram, (angles, angles), 4, (0.0, 1.0), weights)
    places = np.stack([angles] * 3, axis=1)
    for kernel in ("nearest", "linear"):
        yield partial(deposit, (4, 4, 4), places, np.ones(4), kernel)
        yield partial(gather, np.zeros((4, 4, 4)), places, kernel)
    for nest in (False, True):
        yield partial(healpix_add, np.zeros(12), angles, angles, np.ones(4), nest=nest)


def _filter(choice: _Choice) -> _Calls:
    for data in _images(choice, (np.float32, np.float64)):
        gaps = np.where(data > 50, np.nan, data) if data.dtype.kind == "f" else data
        for given in (data, gaps, np.stack([data] * 3)):
            yield partial(gaussian_filter, given, 2.0)
        yield partial(gaussian_filter, data, 2.0, order=1)
        yield partial(gaussian_laplace, data, 2.0)
        yield partial(gaussian_gradient_magnitude, data, 2.0)
        yield partial(difference_of_gaussians, data, 1.0, 2.0)


def _density(_: _Choice) -> _Calls:
    samples = np.sin(np.arange(6000.0)).reshape(-1, 2)
    for given in (samples[:, 0], samples):
        yield partial(kde, given, given)
        yield partial(kde, given[:50], given[:50])
    yield partial(kde, np.exp(samples[:, 0]), np.ones(3), bounds=(0.0, None))


def _linear(choice: _Choice) -> _Calls:
    for data in _images(choice):
        yield partial(fit_lines, data)
        yield partial(fit_lines, data, weights=np.ones(data.shape))
        yield partial(level, data)
    yield partial(pca, IMAGE[:, :3])


def _register(choice: _Choice) -> _Calls:
    for data in _images(choice):
        yield partial(register.align, data, data + 1)
        yield partial(register.displacement_field, data, data, 16, 8)
        yield partial(register.displacement_field, data, data, (16, 16, 8))
        yield partial(register.chi2_shift, data, data, 1.0)
        yield partial(register.cross_correlate, data, data)


JOBS: dict[str, Callable[[_Choice], _Calls]] = {
    "find": _find,
    "fit": _fit,
    "joint": _joint,
    "evaluate": _evaluate,
    "field": _field,
    "scatter": _scatter,
    "filter": _filter,
    "density": _density,
    "linear": _linear,
    "register": _register,
}


def _several(name: str, value: str | Iterable[str] | None, allowed: tuple) -> tuple | None:
    if value is None:
        return None
    given = (value,) if isinstance(value, str) else tuple(value)
    for one in given:
        check.choice(name, one, allowed)
    return given


def _dtypes(value: Any) -> tuple[np.dtype, ...] | None:
    if value is None:
        return None
    single = isinstance(value, (str, type, np.dtype))
    found = tuple(np.dtype(one) for one in ((value,) if single else value))
    for dtype in found:
        if dtype.kind not in "iuf":
            raise TypeError(f"dtypes must be of real numbers, got {dtype}")
    return found


def warmup(
    *jobs: str,
    models: str | Iterable[str] | None = None,
    dtypes: Any = None,
    methods: str | Iterable[str] | None = None,
    processes: int = 1,
    progress: bool | Progress = False,
) -> None:
    """Compile what jobs need, into the cache on disk, so that their first call takes no time.

    Run it once after an installation, in an image of a cluster node, or before a
    server forks. Later processes read the cache.

    Parameters
    ----------
    *jobs : str
        ========== ====================================================== =====
        find       `find_spots`                                             5 s
        fit        `fit_rois`, `fit_spots` of each model                   50 s
        joint      `fit_joint`, ``fit_spots(joint=True)``, symmetric       25 s
        evaluate   `evaluate`, `jacobian`, `image` in two dimensions       15 s
        field      `render`, `GaussianField` in two and three dimensions   30 s
        scatter    `add_at`, `bin_statistics`, `histogram`, `deposit`,     12 s
                   `gather`, `healpix_add`
        filter     `gaussian_filter` and its like                           5 s
        density    `kde` in one and two dimensions                          5 s
        linear     `fit_lines`, `level`, `pca`                              5 s
        register   `register.align`, `register.displacement_field`,        10 s
                   `register.chi2_shift`, `register.cross_correlate`
        ========== ====================================================== =====

        ``"all"`` means all of them; no name find, fit, evaluate, field, scatter
        and filter. The times are roughly those of an empty cache on an idle core.
    models : str or sequence of {"symmetric", "elliptic", "rotated"}, optional
        Of fit, evaluate (all by default) and joint (symmetric).
    dtypes : dtype or sequence, optional
        Of the images. By default float64; for filter, field and fit float32 as
        well. (A fit makes float64 of integers.)
    methods : str or sequence of {"lsq", "weighted", "mle"}, optional
        Of fit and joint; by default "lsq", without weights.
    processes : int, optional
        Processes that compile side by side: 2 take a little more than half the time.
        They are new processes of Python, and need a cache on disk that can be written.
    progress : bool or callable, optional
        True for a bar (tqdm), or what is called with the calls done and in all.

    Returns
    -------
    None

    Raises
    ------
    ValueError, TypeError
        If a name is none of these, a dtype not one of real numbers, or `processes` not a
        positive integer.

    Notes
    -----
    Other options (bounds, pixel="integrate", profiles, volumes) compile on their first
    call, in 2 to 6 s each. Takes about a second where everything is in the cache. With
    no writable cache (see `show_config`) it serves the calling process alone.

    Examples
    --------
    >>> import fastgauss as fg
    >>> fg.warmup("linear")
    >>> fg.warmup("fit", models="elliptic", methods="mle")  # doctest: +SKIP
    """
    choice = _choice(models, dtypes, methods)
    names = chosen(jobs)
    calls = _calls(names, choice)
    with shared(names, choice, processes), reporting(progress, len(calls), "call") as report:
        for done, call in enumerate(calls, start=1):
            call()
            if report is not None:
                report(done, len(calls))


def _choice(models: Any = None, dtypes: Any = None, methods: Any = None) -> _Choice:
    return _Choice(
        _several("models", models, MODELS), _dtypes(dtypes), _several("methods", methods, METHODS)
    )


def _calls(jobs: Iterable[str], choice: _Choice) -> list[Callable[[], Any]]:
    return [call for job in jobs for call in JOBS[job](choice)]


def shared(
    jobs: tuple[str, ...], choice: _Choice | None, processes: int
) -> AbstractContextManager[None]:
    """Further processes that compile what jobs need, while the block does so itself."""
    processes = check.integer("processes", processes, at_least=1)
    models, dtypes, methods = choice or _choice()
    kinds = dtypes and [dtype.str for dtype in dtypes]
    return compile_processes.started(
        f"{__name__}:share",
        [[process, processes, jobs, models, kinds, methods] for process in range(1, processes)],
    )


def share(process: int, processes: int, jobs: Iterable[str], *choice: Any) -> None:
    """Run the calls of jobs in the order of one of several processes."""
    calls = _calls(jobs, _choice(*choice))
    for call in compile_processes.order(len(calls), process, processes):
        calls[call]()
