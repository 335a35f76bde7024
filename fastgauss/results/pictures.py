"""Pictures of spots over their image, and of the residual of the fits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..base import check, image_data, wording
from ..base.figures import (
    FAILED,
    FITTED,
    MISSING,
    frame_image,
    grey_scale,
    new_figure,
    shown_image,
    style,
)
from ..models.evaluation import evaluate
from ..models.star_model import StarModel
from .roi_pictures import plot_rois

if TYPE_CHECKING:
    from .fit_result import FitResult

_PANEL = 5.0  # inches, the longer side of a panel
_NOISES = 5.0  # noise levels of the residual that are shown as black and white
_STRIP = 12  # ratio of the sides from which an image is drawn stretched
_SPOTS = 4096  # spots that are evaluated at a time


def _residual(image: np.ndarray, result: FitResult, box: int) -> np.ndarray:
    """The image minus, in each spot's box, the profile that was fitted there.

    A fit describes only its box, so where boxes overlap the profile of the nearest spot is
    subtracted. The offset stays in the residual, and so does the smallest value of the profile in
    the box, which for a spot wider than the box is background too.
    """
    height, width = image.shape
    residual = image.astype(np.float64).ravel()
    pixels = residual.copy()
    nearest = np.full(image.size, np.inf)
    params = result.params[result.converged]
    parts = [params[i : i + _SPOTS, None, None, :] for i in range(0, len(params), _SPOTS)]
    steps = np.arange(box) - box // 2
    for step in ("own", "subtract"):
        for part in parts:
            x = np.rint(part[..., 1]).astype(np.int64) + steps
            y = np.rint(part[..., 2]).astype(np.int64) + steps[:, None]
            distance = (x - part[..., 1]) ** 2 + (y - part[..., 2]) ** 2
            inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
            index = (y * width + x)[inside]
            if step == "own":
                np.minimum.at(nearest, index, distance[inside])
                continue
            profile = evaluate((x, y), part, result.model, result.pixel) - part[..., -1]
            profile -= np.sign(part[..., 0]) * np.abs(profile).min(axis=(1, 2), keepdims=True)
            own = distance[inside] == nearest[index]
            residual[index[own]] = pixels[index[own]] - profile[inside][own]
    return residual.reshape(image.shape)


def _without_stars(image: np.ndarray, result: FitResult) -> np.ndarray:
    """The image minus the light of all stars that converged, which shines beyond their boxes."""
    stars = result[result.converged]
    stars = stars.with_rows(stars.rows._replace(frames=None))
    return image - stars.render(image.shape, 0.0)


def _draw_ellipses(axes: Any, result: FitResult, n_sigma: float) -> None:
    """Draw ellipses around spots that converged, and crosses at the others."""
    from matplotlib.collections import EllipseCollection

    good = result.converged
    sigma_x, sigma_y = result.model.widths(result.params)[:, :2].T
    angle = np.degrees(result.theta) if "theta" in result.names else np.zeros(len(good))
    place = np.column_stack((result.x, result.y))
    axes.add_collection(
        EllipseCollection(
            2 * n_sigma * sigma_x[good],
            2 * n_sigma * sigma_y[good],
            angle[good],
            units="xy",
            offsets=place[good],
            offset_transform=axes.transData,
            facecolors="none",
            edgecolors=FITTED,
            linewidths=0.9 if good.sum() < 1000 else 0.6,
        ),
        autolim=False,
    )
    axes.plot(*place[~good].T, "x", color=FAILED, markersize=4, markeredgewidth=0.8)


def _count(result: FitResult) -> str:
    """How many spots there are, and how many failed."""
    failed = len(result) - int(np.sum(result.converged))
    return wording.plural(len(result), "spot") + (f", {failed} not converged (x)" if failed else "")


def _panels(figure: Any, shape: tuple[int, int], count: int) -> tuple[Any, Any]:
    """A figure and its axes, side by side or, for a wide image, one above the other."""
    height, width = shape
    across = height >= 0.6 * width
    if figure is None:
        scale = _PANEL / max(height, width)
        panel = max(2.0, scale * width), max(1.5, scale * height)
        size = (count * panel[0], panel[1]) if across else (panel[0] * 1.6, count * panel[1] * 1.6)
        figure = new_figure(size[0] + 0.8, size[1] + 0.6)
    panels = figure.subplots(
        *((1, count) if across else (count, 1)), sharex=True, sharey=True, squeeze=True
    )
    for k, axes in enumerate(panels):
        frame_image(axes, shape)
        axes.set_facecolor(MISSING)
        for axis in (axes.xaxis, axes.yaxis):
            axis.get_major_locator().set_params(integer=True)
        if across or k == count - 1:
            axes.set_xlabel("x (px)")
        if k == 0 or not across:
            axes.set_ylabel("y (px)")
        if across and k:
            axes.tick_params(labelleft=False)
    return figure, panels


def _explain_missing(axes: Any) -> None:
    """A legend of the colour of pixels without value."""
    from matplotlib.patches import Patch

    mark = Patch(facecolor=MISSING, edgecolor="0.5", label="masked or saturated")
    axes.legend(handles=[mark], loc="upper right", fontsize="small")


class _Drawing(NamedTuple):
    """A figure whose first panel shows the image with its spots."""

    image: np.ndarray
    figure: Any
    rest: list[Any]  # axes
    style: dict[str, Any]


def _begin(
    image: Any, result: FitResult, n_sigma: Any, norm: Any, count: int, figure: Any
) -> _Drawing:
    """Check the arguments of plots of an image, and draw the first of ``count`` panels."""
    image = shown_image(image)
    n_sigma = check.number("n_sigma", n_sigma, above=0)
    look = grey_scale(image, norm)
    figure, (first, *rest) = _panels(figure, image.shape, count)
    if max(image.shape) > _STRIP * min(image.shape):
        look["aspect"] = "auto"
    first.imshow(image, **look)
    _draw_ellipses(first, result, n_sigma)
    first.set_title(_count(result))
    if not np.isfinite(image).all():
        _explain_missing(first)
    return _Drawing(image, figure, rest, look)


def plot_spots(
    image: np.ndarray,
    result: FitResult,
    *,
    box: int = 11,
    n_sigma: float = 2.0,
    norm: Any = "asinh",
    figure: Any = None,
) -> Any:
    """Draw an image with its fitted spots, and the residual of the fits beside it.

    The left panel shows the image, with an ellipse around each spot that converged and a cross at
    each spot that did not. The right panel shows, in the same grey scale, the image minus the
    profile fitted in each box (where boxes overlap, that of the nearest spot). Of stars that were
    fitted with a point spread function, all light is subtracted, also beyond the boxes. The local
    background is not subtracted, so that a good fit leaves only background. Pixels without value
    have a colour of their own, which a legend tells.

    Parameters
    ----------
    image : array_like, shape (Y, X) or (Z, Y, X)
        The image that was fitted. Of a volume, and of its residual, the largest value along z is
        shown.
    result : FitResult
        The result of `fit_spots` for it.
    box : int, optional
        Side, in pixels, of the windows in which profiles are subtracted.
    n_sigma : float, optional
        Size of the ellipses, in sigmas.
    norm : {"asinh", "linear"} or matplotlib.colors.Normalize, optional
        The grey scale. "asinh" is nearly linear within five noise levels of the median and
        logarithmic beyond, so that faint and bright spots show; "linear" is linear. Both end at the
        percentiles 0.5 and 99.7.
    figure : matplotlib.figure.Figure or SubFigure, optional
        Where to draw; by default a new figure, not registered with pyplot.

    Returns
    -------
    matplotlib.figure.Figure or SubFigure
        The figure, with two axes.

    Raises
    ------
    TypeError, ValueError
        If `image` has no finite pixel or other dimensions than the result, or another argument is
        out of its range.
    ImportError
        If matplotlib is missing.

    Examples
    --------
    >>> import numpy as np
    >>> import fastgauss as fg
    >>> from fastgauss.plot import plot_spots
    >>> image = fg.image([50.0, 20.3, 11.8, 1.4, 10.0], (32, 40), model="symmetric")
    >>> figure = plot_spots(image, fg.fit_spots(image, [[12, 20]]))
    >>> [axes.get_title() for axes in figure.axes]
    ['1 spot', 'residual']
    """
    box = check.integer("box", box, at_least=1)
    ndim, shown = result.model.ndim, image_data.filled("image", image)
    if ndim == 1 or (ndim, shown.ndim) == (3, 2):
        raise ValueError(
            f"result must be of an image, got one of {wording.plural(ndim, 'dimension')}"
        )
    volume = check.real_array("image", shown, 3) if ndim == 3 else None
    if volume is not None:  # counts, too, are drawn as floats: NaN is the maximum of nothing
        volume = volume.astype(np.result_type(volume, np.float32), copy=False)
        shown = np.fmax.reduce(volume, axis=0, initial=np.nan)
    drawing = _begin(shown, result, n_sigma, norm, 2, figure)
    if volume is None:
        is_star = isinstance(result.model, StarModel)
        image = drawing.image
        residual = _without_stars(image, result) if is_star else _residual(image, result, box)
    else:
        residual = np.fmax.reduce(volume - result.render(volume.shape, 0.0), axis=0)
    (right,) = drawing.rest
    right.imshow(residual, **drawing.style)
    right.set_title("residual")
    return drawing.figure


def plot_joint(
    image: np.ndarray,
    result: FitResult,
    *,
    n_sigma: float = 2.0,
    norm: Any = "asinh",
    figure: Any = None,
) -> Any:
    """Draw an image with its spots, the model of all spots together, and the residual.

    The first panel shows the image, with an ellipse around each spot that converged and a cross at
    each spot that did not. The second panel shows, in the same grey scale, ``result.render``: all
    spots and the background. The third panel shows the difference, black to white from -5 to +5
    times its noise, which is in the title.

    Parameters
    ----------
    image : array_like, shape (Y, X)
        The image that was fitted.
    result : FitResult
        The result of `fit_joint`, or of `fit_spots` with ``joint=True``, for it.
    n_sigma : float, optional
        Size of the ellipses, in sigmas.
    norm : {"asinh", "linear"} or matplotlib.colors.Normalize, optional
        The grey scale. "asinh" is nearly linear within five noise levels of the median and
        logarithmic beyond, so that faint and bright spots show; "linear" is linear. Both end at the
        percentiles 0.5 and 99.7.
    figure : matplotlib.figure.Figure or SubFigure, optional
        Where to draw; by default a new figure, not registered with pyplot.

    Returns
    -------
    matplotlib.figure.Figure or SubFigure
        The figure, with three axes.

    Raises
    ------
    TypeError, ValueError
        If `image` is not a 2-D image with a finite pixel, or another argument is out of its range.
    ImportError
        If matplotlib is missing.

    Examples
    --------
    >>> import numpy as np
    >>> import fastgauss as fg
    >>> from fastgauss.plot import plot_joint
    >>> image = fg.image([50.0, 20.3, 11.8, 1.4, 10.0], (32, 40), model="symmetric")
    >>> figure = plot_joint(image, fg.fit_joint(image, [[12, 20]]))
    >>> [axes.get_title() for axes in figure.axes][:2]
    ['1 spot', 'model']
    """
    ndim = result.model.ndim
    if ndim != 2:
        raise ValueError(
            f"result must be of an image, got one of {wording.plural(ndim, 'dimension')}"
        )
    drawing = _begin(image, result, n_sigma, norm, 3, figure)
    middle, right = drawing.rest
    model = result.render(drawing.image.shape)
    middle.imshow(model, **drawing.style)
    middle.set_title("model")
    residual = drawing.image - model
    noise = 1.4826 * float(np.median(np.abs(residual[np.isfinite(residual)])))
    half = _NOISES * noise or 1.0
    look = {"aspect": drawing.style["aspect"]} if "aspect" in drawing.style else {}
    right.imshow(residual, **style(-half, half), **look)
    right.set_title(f"residual, noise {noise:.3g}")
    return drawing.figure


def plot(result: FitResult, data: Any, frame: Any, options: dict[str, Any]) -> Any:
    """See `FitResult.plot`."""
    ndim = result.model.ndim
    shown = image_data.filled("data", data, (ndim, ndim + 1))
    if frame is not None and (result.frames is None or shown.ndim == ndim):
        raise ValueError("frame must be None except for the movie of a result with frames")
    name, frames = "", result.frames
    if shown.ndim == ndim + 1 and frames is None:
        return plot_rois(data, result, **options)
    if shown.ndim == ndim + 1 and frames is not None:
        first = int(frames[0]) if len(result) else 0
        number = first if frame is None else check.integer("frame", frame, at_least=0)
        if number >= len(shown):
            raise ValueError(f"frame must be below {len(shown)}, got {number}")
        shown, result, name = shown[number], result[frames == number], f"frame {number}: "
    draw = plot_spots if result.background is None or ndim > 2 else plot_joint
    figure = draw(shown, result, **options)
    figure.axes[0].set_title(name + figure.axes[0].get_title())
    return figure
