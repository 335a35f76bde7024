"""Calibration of errors: a picture that compares reported errors with true ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from ..base import check, wording
from ..base.figures import FAILED, FITTED, new_figure
from ..results.columns import describe

if TYPE_CHECKING:
    from ..results.fit_result import FitResult

_WIDE = 4.5  # larger pulls are counted in the last bin
_BIN = 0.3
_GROUP = 50  # spots from which one empirical error is computed
_GROUPS = 12
_DECADES = 30.0  # ratio of the largest to the smallest error from which the axis is logarithmic
_SIDE = 2.6  # inches of a panel


def plot_calibration(
    result: FitResult, truth: ArrayLike | Mapping[str, ArrayLike], *, figure: Any = None
) -> Any:
    """Draw deviations of fits from the truth relative to the reported errors.

    The upper panels show, for each parameter, the histogram of pulls, (fitted - true) / reported
    error, with the unit normal distribution that they have if the errors are right; the title shows
    their mean and standard deviation. The lower panels show the root mean square of the deviations
    of spots with about the same reported error, over that error; it lies on the line if the errors
    are right.

    Parameters
    ----------
    result : FitResult
        Fits of n spots. Only fits that converged and parameters with errors are used.
    truth : array_like (P,) or (n, P), or dict of str to float or (n,)
        True values of all parameters, or of some of them by name.
    figure : matplotlib.figure.Figure or SubFigure, optional
        Where to draw; by default a new figure, not registered with pyplot.

    Returns
    -------
    matplotlib.figure.Figure or SubFigure
        The figure, with two axes for each parameter.

    Raises
    ------
    TypeError, ValueError
        If the truth and the result do not belong together.
    ImportError
        If matplotlib is missing.

    Examples
    --------
    >>> import numpy as np, fastgauss as fg
    >>> from fastgauss.plot import plot_calibration
    >>> truth = np.array([100.0, 4.8, 5.3, 1.2, 10.0])
    >>> light = np.repeat(fg.image([truth], (11, 11), model="symmetric"), 500, axis=0)
    >>> rois = light + np.random.default_rng(0).normal(0, 2, light.shape)
    >>> figure = plot_calibration(fg.fit_rois(rois), {"x": 4.8, "y": 5.3})
    >>> [axes.get_xlabel() for axes in figure.axes]
    ['pull of x', 'pull of y', 'reported error of x (px)', 'reported error of y (px)']
    """
    misses = _misses(result, _truth(result, truth))
    if figure is None:
        figure = new_figure(_SIDE * max(len(misses), 2) + 0.6, 2 * _SIDE + 0.9, "constrained")
    figure.suptitle(
        f"{int(result.converged.sum())} of {wording.plural(len(result), 'spot')} converged"
    )
    if not misses:
        axes = figure.subplots()
        axes.set_axis_off()
        axes.text(0.5, 0.5, "no parameter has errors", ha="center", va="center")
        return figure
    units = describe(result.model, result.absolute, result.length)
    above, below = figure.subplots(2, len(misses), squeeze=False)
    for column, (name, (miss, error)) in enumerate(misses.items()):
        _draw_pulls(above[column], name, miss / error)
        unit = units[name][0]
        _draw_errors(below[column], name, f" ({unit})" if unit else "", miss, error)
    above[0].set_ylabel("spots")
    below[0].set_ylabel("rms of fitted - true")
    return figure


def _truth(result: FitResult, truth: Any) -> dict[str, np.ndarray]:
    """True values by name, each for all spots."""
    count, names = len(result), result.names
    if isinstance(truth, Mapping):
        found = {}
        for name, value in truth.items():
            check.choice("truth", name, names)
            array = check.real_array(f"truth[{name!r}]", value, (0, 1))
            if array.ndim and array.shape != (count,):
                raise ValueError(
                    f"truth[{name!r}] must be a number or have shape ({count},), got {array.shape}"
                )
            found[name] = np.broadcast_to(array, count)
        return found
    array = check.real_array("truth", truth, (1, 2), columns=names)
    if array.shape not in ((len(names),), (count, len(names))):
        raise ValueError(
            f"truth must have shape ({len(names)},) or ({count}, {len(names)}) for the parameters "
            f"{names}, got {array.shape}"
        )
    return dict(zip(names, np.broadcast_to(array, (count, len(names))).T, strict=True))


def _misses(
    result: FitResult, truth: dict[str, np.ndarray]
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Fitted minus true value, and the reported error, for each parameter that has an error."""
    good, errors = result.converged, result.errors
    found = {}
    for name, values in truth.items():
        column = result.names.index(name)
        miss, error = (result.params[:, column] - values)[good], errors[good, column]
        if name == "theta":  # theta is the angle of an axis: it is the same after half a turn
            miss = (miss + np.pi / 2) % np.pi - np.pi / 2
        with np.errstate(invalid="ignore"):
            known = (error > 0) & np.isfinite(miss) & np.isfinite(error)
        if known.any():
            found[name] = miss[known], error[known]
    return found


def _draw_pulls(axes: Any, name: str, pulls: np.ndarray) -> None:
    edges = np.arange(-_WIDE, _WIDE + _BIN / 2, _BIN)
    inside = np.clip(pulls, edges[0] + 1e-9, edges[-1] - 1e-9)
    axes.hist(inside, edges, color=FITTED, alpha=0.75)
    at = np.linspace(-_WIDE, _WIDE, 201)
    density = np.exp(-0.5 * at**2) / np.sqrt(2 * np.pi)
    axes.plot(at, pulls.size * _BIN * density, color="black", linewidth=1.2)
    axes.set(xlabel=f"pull of {name}", xlim=(-_WIDE, _WIDE))
    spread = f", sd {pulls.std(ddof=1):.3f}" if pulls.size > 1 else ""
    axes.set_title(f"mean {pulls.mean():.3f}{spread}", fontsize="medium")


def _draw_errors(axes: Any, name: str, unit: str, miss: np.ndarray, error: np.ndarray) -> None:
    from matplotlib.ticker import NullFormatter

    order = np.argsort(error, kind="stable")
    groups = np.array_split(order, int(np.clip(error.size // _GROUP, 1, _GROUPS)))
    reported = np.array([np.sqrt(np.mean(error[g] ** 2)) for g in groups])
    found = np.array([np.sqrt(np.mean(miss[g] ** 2)) for g in groups])
    counts = np.array([len(g) for g in groups])
    axes.errorbar(
        reported, found, found / np.sqrt(2 * counts), fmt="o", color=FAILED, ecolor=FAILED,
        markersize=4, elinewidth=1,
    )  # fmt: skip
    both = np.concatenate([reported, found[found > 0]])
    low, high = both.min() / 1.4, both.max() * 1.4
    axes.plot([low, high], [low, high], color="black", linewidth=1)
    axes.set(xlim=(low, high), ylim=(low, high), xlabel=f"reported error of {name}{unit}")
    if high > _DECADES * low:  # within a decade, ticks of a logarithmic axis would overlap
        axes.set(xscale="log", yscale="log")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_minor_formatter(NullFormatter())
    else:
        axes.locator_params(nbins=4)
