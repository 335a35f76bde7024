"""Slow, obvious twin of the joint fit: one dense model of all spots over the union of boxes.

Spots shine on all pixels, however far; scipy and Newton's method find the minimum
(``naive_fit``), and covariances are blocks of the inverse of one dense matrix.
"""

import naive_fit
import numpy as np
from numpy.testing import assert_allclose
from tolerances import TOLERANCE

import fastgauss as fg
from fastgauss.models.model import get_model

SHAPES = {2: (31, 33), 3: (15, 17, 16)}
PLACES = {  # (z), row, column; far enough to know them apart, near enough to overlap
    2: np.array([[14.3, 13.6], [17.4, 14.2], [15.1, 17.3], [18.2, 17.9]]),
    3: np.array([[6.3, 7.6, 7.2], [7.4, 10.2, 7.9], [8.2, 8.0, 10.4]]),
}
BOX = 23  # so wide that nothing of a spot is beyond its window
WIDTHS = {
    "sigma": (1.3, 1.2, 1.4, 1.3), "sigma_x": (1.6, 1.5, 1.6, 1.7),
    "sigma_y": (1.2, 1.1, 1.2, 1.1), "sigma_z": (1.3, 1.2, 1.4, 1.3),
    "theta": (0.4, -0.5, 1.2, 0.1), "offset": (10.0,) * 4, "width": (1.05, 0.95, 1.1, 1.0),
}  # fmt: skip
THREE = fg.psf_model([0.6, 0.3, 0.1], [1.1, 1.4, 1.7])  # stars within the box
ASIDE = fg.psf_model([0.7, 0.3], [1.1, 1.5], offsets=[[0.0, 0.0], [0.3, -0.2]]).with_width()
ROTATED = fg.psf_model([0.8, 0.2], [[1.1, 1.5], [1.6, 1.3]], theta=[0.6, -0.3])


def window(place, box, shape):
    """The box around a position, cut by the image."""
    lows = [round(p) - b // 2 for p, b in zip(place, box, strict=True)]
    return tuple(
        slice(max(low, 0), min(max(low + b, 0), n))
        for low, b, n in zip(lows, box, shape, strict=True)
    )


class Twin:
    """The joint fit of one image; ``labels`` (n,) say whose local background is whose."""

    def __init__(
        self, image, places, name="symmetric", *, box=11, method="lsq", pixel="sample",
        weights=None, variance=None, mask=None, background="local", shared=(), labels=None,
    ):  # fmt: skip
        image = np.asarray(image, np.float64)
        self.method, self.name, self.pixel = method, name, pixel
        self.model = get_model(name, image.ndim)
        self.weighted = weights is not None
        n, boxes = len(places), np.broadcast_to(box, image.ndim)
        self.windows = [window(place, boxes, image.shape) for place in places]
        self.labels = np.zeros(n, int) if labels is None else np.asarray(labels)
        group = np.full(image.shape, -1)
        for label, cut in zip(self.labels, self.windows, strict=True):
            group[cut] = label
        gone = (group < 0) | (False if mask is None else np.asarray(mask))
        self.keep = ~gone & np.isfinite(image) & (True if weights is None else weights > 0)
        self.points, self.data, self.weight, self.variance = naive_fit.existing(
            image, weights, variance, ~self.keep
        )
        self.group = group[self.keep]
        self.known = np.zeros(len(self.data))
        self.background = None
        if not isinstance(background, str):
            self.background = np.broadcast_to(background, image.shape)
            self.known = self.background[self.keep]
        self.middle = (np.array(image.shape[::-1]) - 1) / 2
        slopes = image.ndim if self.background is None and background == "plane" else 0
        self.terms = 0 if self.background is not None else 1 + slopes
        names = self.model.names[:-1]
        self.tied = [k for k, key in enumerate(names) if key in shared]
        own = [k for k in range(len(names)) if k not in self.tied]
        self.columns = np.empty((n, len(names)), int)  # where a spot's parameters stand
        self.columns[:, own] = np.arange(n * len(own)).reshape(n, -1)
        self.columns[:, self.tied] = n * len(own) + np.arange(len(self.tied))
        self.size = n * len(own) + len(self.tied)  # where the background begins

    def phi(self, points):
        """The background's terms at points (x, y, z)."""
        slopes = [p - m for p, m in zip(points, self.middle, strict=True)]
        return np.stack([np.ones_like(points[0]), *slopes])[: self.terms]

    def parts(self, vector):
        """Data, model, weights and derivatives."""
        groups = self.labels.max(initial=0) + 1
        m = self.known + self.variance
        j = np.zeros((len(self.data), self.size + groups * self.terms))
        for c in self.columns:
            spot = np.append(vector[c], 0.0)
            m = m + fg.evaluate(self.points, spot, self.name, self.pixel)
            j[:, c] += fg.jacobian(self.points, spot, self.name, self.pixel)[:, :-1]
        for g in range(groups):
            at = self.size + g * self.terms
            j[:, at : at + self.terms] = (self.phi(self.points) * (self.group == g)).T
        m = m + j[:, self.size :] @ vector[self.size :]
        return self.data + self.variance, m, self.weight, j

    def vector(self, params):
        """All unknowns, from parameters (n, P)."""
        groups = self.labels.max(initial=0) + 1
        vector = np.zeros(self.size + groups * self.terms)
        vector[self.columns] = params[:, :-1]
        if self.terms:
            offsets = [params[self.labels == g, -1].mean() for g in range(groups)]
            vector[self.size :: self.terms] = offsets
        return vector

    def solve(self, start, held):
        """All unknowns at the minimum from parameters (n, P); ``held`` (n, P) stay."""
        vector = self.vector(start)
        still = np.zeros(len(vector), bool)
        still[self.columns[held[:, :-1]]] = True
        self.free = np.flatnonzero(~still)
        return naive_fit._minimise(self.parts, vector, self.free, self.method)

    def slope(self, vector):
        """Derivatives of half the objective."""
        d, m, w, j = self.parts(vector)
        return j.T @ (w * (m - d) if self.method == "lsq" else 1 - np.maximum(d, 0) / m)

    def report(self, vector, covariance="auto"):
        """Parameters (n, P) and their covariances (n, P, P)."""
        d, m, w, j = self.parts(vector)
        w = 1 / m if self.method == "mle" else w
        j, free = j[:, self.free], self.free
        joint = np.zeros((len(vector),) * 2)
        joint[np.ix_(free, free)] = naive_fit._inverse(j.T @ (w[:, np.newaxis] * j))
        unknown = self.method == "lsq" and not self.weighted
        residual = covariance == "residual" or (covariance == "auto" and unknown)
        params, spreads = [], []
        for c, label in zip(self.columns, self.labels, strict=True):
            take = np.zeros((len(c) + 1, len(vector)))
            take[np.arange(len(c)), c] = 1.0
            centre = vector[c[1 : 1 + len(self.middle)]]
            at = self.size + label * self.terms
            take[-1, at : at + self.terms] = self.phi(list(centre))
            spot = take @ vector
            if self.background is not None:
                spot[-1] = self.background[tuple(np.rint(centre[::-1]).astype(int))]
            noise = self._noise(label, d, m, w) if residual else 1.0
            params.append(spot)
            spreads.append(noise * take @ joint @ take.T)
        return np.array(params), np.array(spreads)

    def _noise(self, label, d, m, w):
        """Mean square of the weighted residuals of a group by its degrees of freedom."""
        mine = self.group == label
        unknowns = {*self.columns[self.labels == label].flat} & {*self.free}
        own = mine.sum() - len(unknowns) - self.terms
        return (w * (d - m) ** 2)[mine].sum() / own

    def objectives(self, vector):
        """What is minimised, in the box of each spot, and pixels there."""
        d, m, w, _ = self.parts(vector)
        each = w * (d - m) ** 2 if self.method == "lsq" else naive_fit._losses(d, m)
        image, number = np.zeros((2, *self.keep.shape))
        image[self.keep], number[self.keep] = each, 1
        sums = [(image[cut].sum(), number[cut].sum()) for cut in self.windows]
        return np.array(sums).T


def assert_joint(result, twin, start, fixed=(), covariance="auto"):
    """All that a result says is what the twin says, which starts at ``start`` (n, P).

    Parameters without an error are held by the twin; returned is which way it wants them (n, p).
    """
    assert result.converged.all(), result.status
    free = np.array([key not in fixed for key in twin.model.names])
    held = result.errors == 0
    vector = twin.solve(np.where(held, result.params, start), held)
    params, covariances = twin.report(vector, covariance)
    for k, expected in enumerate(covariances):
        naive_fit.assert_same(result.params[k], params[k], expected)
        scale = np.sqrt(np.diag(expected))
        atol = TOLERANCE["fit errors"]
        assert_allclose(result.errors[k], scale, rtol=atol)
        scale[scale == 0] = 1.0
        outer = np.outer(scale, scale)
        assert_allclose(result.covariance[k] / outer, expected / outer, atol=atol)
    objective, pixels = twin.objectives(vector)
    assert_allclose(result.objective, objective, rtol=TOLERANCE["joint objective"])
    assert (result.pixels == pixels).all()
    assert (result.dof == pixels - free.sum()).all()
    return -twin.slope(vector)[twin.columns]


def cluster(name="symmetric", ndim=2, pixel="sample", slope=0.0, seed=0, count=None):
    """A Poisson image of spots that overlap, their parameters, and a start off by a little."""
    rng = np.random.default_rng(seed)
    model = get_model(name, ndim)
    names, places = model.names, PLACES[ndim][:count]
    truth = np.empty((len(places), len(names)))
    truth[:, 0] = 200.0 / model.peak * np.linspace(0.8, 1.2, len(places))
    truth[:, 1 : 1 + ndim] = places[:, ::-1]
    for k, key in enumerate(names[1 + ndim :], 1 + ndim):
        truth[:, k] = WIDTHS[key][: len(places)]
    light = truth.copy()
    light[1:, -1] = 0.0
    image = fg.image(light, SHAPES[ndim], name, pixel).sum(axis=0)
    image = image + slope * np.arange(image.shape[-1])
    image = rng.poisson(image).astype(np.float64)
    start = truth * rng.uniform(0.95, 1.05, truth.shape)
    start[:, 1 : 1 + ndim] = truth[:, 1 : 1 + ndim] + rng.uniform(-0.3, 0.3, places.shape)
    return image, truth, start


def both(image, truth, start, name="symmetric", *, fixed=None, bounds=None, labels=None, **options):
    """Fit and compare; the result, and which way the twin wants what has no error."""
    places = start[:, 1 : 1 + np.ndim(image)][:, ::-1]
    box = options.setdefault("box", BOX)
    result = fg.fit_joint(
        image, places, name, guess=start, fixed=fixed, bounds=bounds, tol=1e-7, **options
    )
    covariance = options.pop("covariance", "auto")
    twin = Twin(image, places, name, labels=labels, **options | {"box": box})
    known = with_fixed(truth, twin, fixed)
    return result, assert_joint(result, twin, known, fixed or (), covariance)


def with_fixed(truth, twin, fixed):
    """Parameters with what is fixed put in."""
    truth = truth.copy()
    for key, value in (fixed or {}).items():
        truth[:, twin.model.names.index(key)] = value
    return truth
