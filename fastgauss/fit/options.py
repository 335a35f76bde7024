"""The options of a fit, checked: those that `fit_rois` and `fit_spots` share."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..base import check, thread_pool, wording
from ..base.progress import Progress, check_progress
from ..kernels.fit.estimators import METHODS
from ..kernels.models.profiles import PIXELS
from ..models.model import Model

COVARIANCES = ("auto", "residual", "absolute", "sandwich")


class Options(NamedTuple):
    """The checked options of a fit of a given number of spots."""

    model: Model
    spots: int
    method: str
    pixel: str
    covariance: str  # "residual", "absolute" or "sandwich"
    absolute: bool  # the objective is chi-squared distributed
    guess: np.ndarray | None  # (n, P)
    bounds: np.ndarray | None  # (2, n or 1, P), lower and upper; equal where fixed
    polarity: int  # 1 bright, -1 dark, 0 decided for each spot from its pixels
    tol: float
    max_iter: int
    threads: int | None
    progress: Progress | None  # None until the job starts
    shared: list[int]  # columns of the parameters that have one value for all spots
    free: int | np.ndarray  # parameters that are not fixed, for all spots or (n,)
    local: Model  # that of each spot, where the model varies over the image


def _per_spot(name: str, value: Any, count: int, missing: float) -> np.ndarray:
    """One number for all spots, (1,), or one for each, (n,); None is ``missing``."""
    if value is None:
        return np.array([missing])
    array = np.asarray(check.real_array(name, value, (0, 1)), np.float64)
    if array.ndim == 1 and array.shape != (count,):
        raise ValueError(f"{name} must be a number or have shape ({count},), got {array.shape}")
    if np.isnan(array).any():
        raise ValueError(f"{name} must not be NaN")
    return np.atleast_1d(array)


def named_items(name: str, value: Any, names: tuple[str, ...]) -> dict[str, Any]:
    """The items of a dictionary by names of parameters, checked."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise TypeError(f"{name} must be a dict of parameter names, got {type(value).__name__}")
    for key in value:
        check.choice(name, key, names)
    return value


def _limits(name: str, pair: Any, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper end of the range of a parameter."""
    if isinstance(pair, str) or not hasattr(pair, "__len__") or len(pair) != 2:
        raise ValueError(f"{name} must be a pair (lower, upper), got {wording.shown(pair)}")
    low = _per_spot(f"{name} lower", pair[0], count, -np.inf)
    high = _per_spot(f"{name} upper", pair[1], count, np.inf)
    if not (low < high).all():
        raise ValueError(f"{name} must have lower < upper for every spot; use fixed= for one value")
    return low, high


def bounds_of(model: Model, count: int, fixed: Any, bounds: Any) -> np.ndarray | None:
    """Lower and upper bounds (2, n or 1, P) from ``fixed`` and ``bounds``; None without either."""
    fixed = named_items("fixed", fixed, model.names)
    bounds = named_items("bounds", bounds, model.names)
    for name in fixed:
        if name in bounds:
            raise ValueError(f"{name!r} must not be in both fixed and bounds")
    ranges = {name: _limits(f"bounds[{name!r}]", pair, count) for name, pair in bounds.items()}
    for name, value in fixed.items():
        if value is None:
            raise TypeError(f"fixed[{name!r}] must be a number or an array, got None")
        held = _per_spot(f"fixed[{name!r}]", value, count, np.nan)
        if not np.isfinite(held).all():
            raise ValueError(f"fixed[{name!r}] must be finite, got {wording.shown(value)}")
        ranges[name] = held, held
    if not ranges:
        return None
    rows = 1 if all(len(end) == 1 for ends in ranges.values() for end in ends) else count
    limits = np.empty((2, rows, model.size))
    limits[0], limits[1] = -np.inf, np.inf
    for name, ends in ranges.items():
        column = model.names.index(name)
        if column in model.sigmas and not (ends[1] > 0).all():
            raise ValueError(f"{name} must be allowed to be positive by fixed and bounds")
        for limit, end in zip(limits, ends, strict=True):
            limit[:, column] = end
    return limits


def _free(model: Model, limits: np.ndarray | None) -> int | np.ndarray:
    """Number of parameters that are not fixed."""
    if limits is None:
        return model.size
    free = (limits[0] < limits[1]).sum(axis=1)
    return int(free[0]) if len(free) == 1 else free


def shared_columns(
    model: Model, shared: Any, fixed: Any, bounds: Any, covariance: Any
) -> list[int]:
    """Columns of the parameters that have one value for all spots."""
    if not isinstance(shared, (str, tuple, list)):
        raise TypeError(f"shared must be a name or a tuple of names, got {wording.shown(shared)}")
    names = (shared,) if isinstance(shared, str) else tuple(shared)
    if len(set(names)) < len(names):
        raise ValueError(f"shared must name a parameter once, got {wording.shown(shared)}")
    for name in names:
        check.choice("shared", name, model.names)
        if fixed and name in fixed:
            raise ValueError(f"{name!r} must not be in both fixed and shared")
        if bounds and name in bounds and any(np.ndim(end) for end in bounds[name]):
            raise ValueError(f"bounds[{name!r}] must be numbers for a shared parameter")
    if names and covariance == "sandwich":
        raise ValueError("covariance must not be 'sandwich' with shared parameters")
    return sorted({model.names.index(name) for name in names})


def _guess(model: Model, count: int, guess: Any) -> np.ndarray | None:
    """Starting values, (n, P)."""
    if guess is None:
        return None
    guess = check.finite_array("guess", guess, (1, 2), columns=model.names)
    if guess.shape not in ((model.size,), (count, model.size)):
        raise ValueError(
            f"guess must have shape ({model.size},) or ({count}, {model.size}) for the "
            f"parameters {model.names}, got {guess.shape}"
        )
    for k in sorted(set(model.sigmas)):
        if not (guess[..., k] > 0).all():
            raise ValueError(f"guess must have a positive {model.names[k]}")
    return np.broadcast_to(guess, (count, model.size))


def _covariance(covariance: Any, method: str, weighted: bool) -> str:
    """The kind of covariance that "auto" means; raises for combinations without a meaning."""
    check.choice("covariance", covariance, COVARIANCES)
    if method == "mle":
        if covariance not in ("auto", "absolute"):
            raise ValueError(
                f"covariance must be 'auto' with method='mle' (it is the inverse Fisher "
                f"information), got {covariance!r}"
            )
        return "absolute"
    if covariance == "absolute" and not weighted:
        raise ValueError("covariance='absolute' needs weights: the inverse variances")
    if covariance == "auto":
        return "absolute" if weighted else "residual"
    return covariance


def options(
    model: Model,
    count: int,
    *,
    method: Any = "lsq",
    pixel: Any = "sample",
    polarity: int = 1,
    guess: Any = None,
    fixed: Any = None,
    bounds: Any = None,
    shared: Any = (),
    weighted: bool = False,
    camera: bool = False,
    covariance: Any = "auto",
    max_iter: Any = 50,
    tol: Any = 1e-6,
    threads: Any = None,
    progress: Any = False,
) -> Options:
    """Check the options of a fit; ``weighted``, ``camera``: weights or variances are given."""
    check.choice("method", method, METHODS)
    check.choice("pixel", pixel, PIXELS)
    if weighted and method != "lsq":
        raise ValueError(
            f"weights belong to method='lsq'; those of method={method!r} follow from the model"
        )
    if camera and method != "mle":
        raise ValueError("variance needs method='mle'; least squares takes weights=1/variance")
    thread_pool.resolve_threads(threads)
    check_progress(progress)
    limits = bounds_of(model, count, fixed, bounds)
    columns = shared_columns(model, shared, fixed, bounds, covariance)
    if columns and limits is None:
        limits = np.stack([np.full((1, model.size), limit) for limit in (-np.inf, np.inf)])
    return Options(
        model=model,
        spots=count,
        method=method,
        pixel=pixel,
        covariance=_covariance(covariance, method, weighted),
        absolute=method == "mle" or weighted,
        guess=_guess(model, count, guess),
        bounds=limits,
        polarity=polarity,
        tol=check.number("tol", tol, above=0.0),
        max_iter=check.integer("max_iter", max_iter, at_least=1),
        threads=threads,
        progress=None,
        free=_free(model, limits),
        shared=columns,
        local=model,
    )
