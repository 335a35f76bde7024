"""Fits of peaks in profiles and spectra: `fit_profile`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..base import check, wording
from ..base.status import Status
from ..models.model import get_model
from ..results.profile_fit import ProfileFit
from ..results.rows import Rows
from .profile_limits import Limits, Scale, read_limits
from .profile_solver import Points, Solution, solve, solve_alike

BACKGROUNDS = ("constant", "linear")
POLARITIES = ("auto", "bright", "dark")
_LOW, _COLUMN = np.tril_indices(4)


def fit_profile(
    x: ArrayLike,
    y: ArrayLike | None = None,
    yerr: ArrayLike | None = None,
    *,
    peaks: int = 1,
    background: str = "constant",
    guess: ArrayLike | None = None,
    polarity: str = "auto",
    fixed: dict[str, Any] | None = None,
    bounds: dict[str, Any] | None = None,
    max_iter: int = 500,
) -> ProfileFit:
    """Fit one or several Gaussian peaks on a background to profiles, without starting values.

    It does what ``scipy.optimize.curve_fit`` does with a sum of Gaussians, and finds the starting
    values itself.

    Parameters
    ----------
    x : array (m,) or (n, m)
        Abscissae in any order, the same for all profiles or of each.
    y : array (m,) or (n, m)
        Values of one profile or of n. Values that are not finite are missing. They must be given;
        without them the error says how.
    yerr : float or array (m,) or (n, m), optional
        One standard deviation of each value; it may be NaN where y is missing. With it, errors are
        absolute (``absolute_sigma=True`` of curve_fit), and `p_value` is known; without it, they
        are scaled by the residual.
    peaks : int
        Number of peaks in each profile.
    background : {"constant", "linear"}
        The background of each profile: one value, or a line.
    guess : float or array (peaks,), (peaks, 3), (n, peaks) or (n, peaks, 3), optional
        Centres of the peaks (a number is that of one peak), or amplitude, centre and sigma of each.
        Amplitudes and the background are computed, so that starting values of these do not matter.
    polarity : {"auto", "bright", "dark"}
        Whether peaks are above the background, below it (absorption lines), or either.
    fixed : dict, optional
        Values of parameters that are not fitted, ``{"sigma": 1.3}``. The parameters of peaks are
        ``amplitude``, ``x`` and ``sigma``: a number, or (peaks,) or (n, peaks) for each peak. That
        of a constant background is ``offset``, and that of a line is ``slope``: a number or (n,).
    bounds : dict, optional
        Ranges of parameters, ``{"x": (650.0, 660.0)}``: each end is None, infinite, or as a value
        in `fixed`. Fitted parameters never leave their range.
    max_iter : int
        Largest number of evaluations of the model.

    Returns
    -------
    ProfileFit
        A `FitResult` with one row for each peak, by rising x, with ``offset`` the background at the
        centre of the peak. If `fixed` or `bounds` differ between peaks, the rows have the order of
        these. For y (n, m) the rows of a profile follow each other, and `frames` is
        the number of the profile. A failed fit keeps its rows, and its status says why it failed.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind, shape or value.

    See Also
    --------
    fit_rois : One peak on a constant background in each of millions of profiles.

    Notes
    -----
    A peak is searched for by all centres and widths that the points can show, where it lowers the
    sum of squares most. Further peaks are searched for in the residual, and by parting each peak in
    two; all are fitted together after each. With `fixed` or `bounds` a peak is searched for only
    within its ranges; the minimum is found by scipy's bounded least squares, and ``at_bound`` says
    which parameters are on a bound.

    Two peaks of opposite sign that overlap may be large and nearly cancel, with a sum of squares
    only a little below that of two peaks of one sign. Such a minimum is taken only where it lowers
    the sum of squares by more than 25 variances of the noise, or where peaks of one sign are not
    determined. All peaks have the sign of the main one otherwise. With `guess`, or with
    ``amplitude`` in `fixed` or `bounds`, also ``bounds={"amplitude": (None, None)}``, the lowest
    minimum is taken whatever the signs.

    A profile of 200 points takes some 5 ms with one peak
    and 50 ms with three.

    Examples
    --------
    >>> import numpy as np, fastgauss as fg
    >>> x = np.linspace(640, 672, 200)
    >>> y = 850 * np.exp(-((x - 656.28) ** 2) / 2 / 1.9**2) + 120 + 0.5 * x
    >>> y += 300 * np.exp(-((x - 650) ** 2) / 2)
    >>> fit = fg.fit_profile(x, y, peaks=2, background="linear")
    >>> fit.x.round(3), fit.sigma.round(3), fit.slope.round(3)
    (array([650.  , 656.28]), array([1. , 1.9]), array([0.5, 0.5]))
    """
    values = _values(x, y)
    single, shape = values.ndim == 1, values.shape
    if not shape[-1]:
        raise ValueError(f"y must have points, got none in shape {shape}")
    values = np.atleast_2d(values)
    n = len(values)
    places = _places(x, shape, values.shape)
    errors = None if yerr is None else _errors(yerr, values, shape)
    count = check.integer("peaks", peaks, at_least=1)
    terms = 1 + BACKGROUNDS.index(check.choice("background", background, BACKGROUNDS))
    sign = {"auto": 0, "bright": 1, "dark": -1}[check.choice("polarity", polarity, POLARITIES)]
    rounds = check.integer("max_iter", max_iter, at_least=1)
    starts = _read_guess(guess, n, count)
    limits = read_limits(fixed, bounds, (n, count, terms))
    alike = guess is None and "amplitude" not in {**(fixed or {}), **(bounds or {})}

    fits = []
    for k in range(n):
        error = None if errors is None else errors[k]
        start = None if starts is None else starts[k]
        with np.errstate(all="ignore"):  # of numbers at the ends of float64
            own = Limits(*limits[:, k])
            fits.append(
                _fit(places[k], values[k], error, start, own, (count, terms, sign, rounds, alike))
            )
    parts = list(zip(*fits, strict=True)) if n else []
    free = (limits[0] < limits[1]).sum(axis=1)
    rows = _rows(parts, n, count, free, None if single else np.repeat(np.arange(n), count))
    lines = np.stack(parts[-1]) if n else np.empty((0, 3))
    result = ProfileFit(get_model("symmetric", 1), rows, absolute=yerr is not None, length="coords")
    return result.with_profiles(places, values, errors, lines, single)


def _values(x: Any, y: Any) -> np.ndarray:
    """Values of profiles, (m,) or (n, m); without ``y`` the error says where they may be."""
    if y is not None:
        return np.asarray(check.real_array("y", y, (1, 2)), np.float64)
    array = check.real_array("x", x)
    told = ""
    if array.ndim == 2 and array.shape[1] in (2, 3) and len(array) not in (2, 3):
        told = ": give its columns, x[:, 0] and x[:, 1]"
    elif array.ndim == 2 and len(array) in (2, 3) and array.shape[1] not in (2, 3):
        told = ": give its rows, x[0] and x[1]"
    elif array.ndim:
        told = ": if these are values y, give fit_profile(np.arange(n), y)"
    raise TypeError(f"y must be given beside x, which has shape {array.shape}{told}")


def _like(name: str, value: Any, shape: tuple[int, ...], whole: tuple[int, ...]) -> np.ndarray:
    """Numbers of every point, (n, m), from those of one profile or of all."""
    array = np.asarray(check.real_array(name, value, (0, 1, 2)), np.float64)
    if array.shape not in ((), shape[-1:], shape) or (name == "x" and not array.ndim):
        raise ValueError(f"{name} must have shape {shape}, as y, got {array.shape}")
    return np.broadcast_to(array, whole)


def _places(x: Any, shape: tuple[int, ...], whole: tuple[int, ...]) -> np.ndarray:
    """Abscissae of all profiles, (n, m)."""
    array = check.real_array("x", x, (0, 1, 2))
    if array.shape == shape[:1] != shape[-1:]:
        raise ValueError(
            f"y must have shape {array.shape} or (n, {shape[0]}), as x, got {shape}: give its "
            "transpose, y.T"
        )
    places = _like("x", array, shape, whole)
    if not np.isfinite(places).all():
        raise ValueError(f"x must be finite, got {places[~np.isfinite(places)][0]}")
    return places


def _errors(yerr: Any, values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Standard deviations of all values, (n, m); NaN or infinite ones are of missing values."""
    errors = _like("yerr", yerr, shape, values.shape)
    wrong = ~(errors > 0) & ~(np.isnan(errors) & ~np.isfinite(values))
    if wrong.any():
        at = tuple(np.argwhere(wrong)[0].tolist())
        index = at[-len(shape) :]
        told = (
            "" if errors[at] <= 0 else f", where y is {values[at]:g}; make y NaN if it is missing"
        )
        raise ValueError(f"yerr must be positive, got {errors[at]} at index {index}{told}")
    return errors


def _read_guess(guess: Any, n: int, count: int) -> np.ndarray | None:
    """Starting values of all profiles, (n, k, 3), with sigma NaN where only centres are given."""
    if guess is None:
        return None
    array = check.finite_array("guess", guess, (0, 1, 2, 3))
    array = array.reshape(array.shape or (1,))  # a number is the centre of one peak
    if array.shape in ((count, 3), (n, count, 3)) and array.shape != (n, count):
        if not (array[..., 2] > 0).all():
            raise ValueError("guess must have positive sigmas")
        return np.broadcast_to(array, (n, count, 3))
    if array.shape not in ((count,), (n, count)):
        raise ValueError(
            f"guess must have shape ({count},) or ({count}, 3) for "
            f"{wording.plural(count, 'peak')}, got {array.shape}"
        )
    whole = np.full((n, count, 3), np.nan)
    whole[..., 1] = array
    return whole


def _fit(
    x: np.ndarray, y: np.ndarray, error: np.ndarray | None, start: Any, limits: Limits,
    how: tuple[int, ...],
) -> tuple[Any, ...]:  # fmt: skip
    """The fit of one profile.

    Parameters (k, 4), covariances, what is on a bound (k, 4), statuses (k,), objective, rounds,
    points, and the line of the background.
    """
    count, terms, sign, rounds, alike = how
    good = np.isfinite(y) if error is None else np.isfinite(y) & np.isfinite(error)
    x, y = x[good], y[good]
    points, size = len(x), int(limits.free.sum())
    held = np.zeros((count, 4), bool)
    nothing = np.full((count, 4), np.nan), np.full((count, 10), np.nan), held
    if points < max(size, 1):
        status = np.full(count, Status.TOO_FEW_PIXELS)
        return *nothing, status, np.nan, 0, points, np.full(3, np.nan)
    middle, half = 0.5 * x.max() + 0.5 * x.min(), 0.5 * x.max() - 0.5 * x.min()
    level = float(np.median(y))
    height = np.abs(y - level).max() or np.float64(1.0)  # numpy's: what overflows is infinite
    scale = Scale(middle, half, level, height)
    u = (x - middle) / half
    root = np.ones(points) if error is None else height / error[good]
    unit = root.max()
    own = Points(u, (y - level) / height, root / unit, np.vander(u, terms, increasing=True))
    if not all(np.isfinite(each).all() for each in (own.u, own.v, own.root, unit)):
        status = np.full(count, Status.SINGULAR if half == 0 else Status.NOT_FINITE)
        return *nothing, status, np.nan, 0, points, np.full(3, np.nan)
    if start is not None:
        start = np.column_stack([start[:, 0], (start[:, 1] - middle) / half, start[:, 2] / half])
        start[:, 2] = np.where(np.isnan(start[:, 2]), _typical_width(start[:, 1]), start[:, 2])
        start[:, 0] = 1.0
    narrowed = limits.scaled(count, scale)
    if start is not None:
        peaks = slice(None, 3 * count)
        start = np.clip(start.ravel(), narrowed.lower[peaks], narrowed.upper[peaks])
        start = start.reshape(count, 3)
    found = solve(own, start, sign, rounds, narrowed)
    if alike and count > 1:
        noise = 1.0 / unit**2 if error is not None else found.objective / max(points - size, 1)
        found = solve_alike(own, found, sign, rounds, narrowed, noise)
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        chi2 = found.objective * unit**2
        spread = 1.0 / unit**2
        if error is None:
            chi2 = found.objective * height**2
            spread = found.objective / (points - size) if points > size else np.nan
        params, packed = _in_units(found, spread, scale)
    slope = found.background[1] * height / half if terms > 1 else 0.0
    slope, known = _put_limits(params, slope, limits, narrowed, found)
    line = np.array([middle, found.background[0] * height + level, slope])
    held[:, :3] = (found.held & known)[: 3 * count].reshape(count, 3)
    held[:, 3] = (found.held & known)[-1]
    status = np.full(count, found.status)
    if found.status == Status.CONVERGED:
        status[held.any(axis=1)] = Status.AT_BOUND
    if (found.held & ~known).any():  # a peak narrower than all distances of points
        status[:] = Status.SINGULAR
    return params, packed, held, status, chi2, found.rounds, points, line


def _put_limits(
    params: np.ndarray, slope: float, limits: Limits, narrowed: Limits, found: Solution
) -> tuple[float, np.ndarray]:
    """Write the caller's limits where the fit is on them; the slope, and where they are."""
    values = np.concatenate([found.peaks.ravel(), found.background])
    count, known = len(found.peaks), np.zeros(values.size, bool)
    for ends, own in zip(limits, narrowed, strict=True):
        at = (values == own) & np.isfinite(ends)
        at[2 : 3 * count : 3] &= ends[2 : 3 * count : 3] > 0
        for column in range(3):
            part = slice(column, 3 * count, 3)
            np.copyto(params[:, column], ends[part], where=at[part])
        if at[-1] and len(found.background) > 1:
            slope = float(ends[-1])
        elif at[-1]:
            params[:, 3] = ends[-1]
        known |= at
    return slope, known


def _typical_width(centres: np.ndarray) -> float:
    """A width to start from: a quarter of the least distance of the peaks, or of the range."""
    apart = np.diff(np.sort(centres))
    return float(max(0.25 * min(apart.min(initial=0.8), 0.8), 1e-3))


def _in_units(found: Solution, spread: float, scale: Scale) -> tuple[np.ndarray, np.ndarray]:
    """Parameters (k, 4) and packed covariances (k, 10) in the units of x and y."""
    middle, half, level, height = scale
    count, terms = len(found.peaks), len(found.background)
    size = 3 * count + terms
    params, packed = np.empty((count, 4)), np.empty((count, 10))
    for k, (amplitude, centre, sigma) in enumerate(found.peaks):
        under = found.background[0] + (found.background[1] * centre if terms > 1 else 0.0)
        params[k] = amplitude * height, middle + half * centre, sigma * half, under * height + level
        change = np.zeros((4, size))
        change[:3, 3 * k : 3 * k + 3] = np.diag([height, half, half])
        change[3, 3 * count] = height
        if terms > 1:
            change[3, 3 * count + 1] = height * centre
            change[3, 3 * k + 1] = height * found.background[1]
        whole = change @ found.covariance @ change.T * spread
        packed[k] = whole[_LOW, _COLUMN]
    return params, packed


def _rows(
    parts: list[Any], n: int, count: int, free: np.ndarray, frames: np.ndarray | None
) -> Rows:
    """One row for each of ``count`` peaks of each profile, which has ``free`` (n,) parameters."""
    if not n:
        none, whole = np.empty(0), np.empty(0, np.int32)
        return Rows(np.empty((0, 4)), np.empty((0, 10)), none, whole, whole, whole, whole, frames)
    params, packed, held, status, chi2, *integers, _ = parts
    rounds, points = (np.repeat(np.array(each, np.int32), count) for each in integers)
    return Rows(
        np.concatenate(params), np.concatenate(packed), np.repeat(np.array(chi2), count),
        np.concatenate(status).astype(np.int32), rounds, points,
        points - np.repeat(free, count).astype(np.int32), frames, at_bound=np.concatenate(held),
    )  # fmt: skip
