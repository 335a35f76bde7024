"""The linear map from amplitudes to a grid, A: sums, adjoint, gradients, Gram matrix, operators.

With amplitudes a, centres c and profiles f of peak 1 the field is

    F(i) = sum over p of a_p f_p(i) [i in the support of p],

linear in a: F = A a. A particle's support is the nodes within ``radius`` sigmas of its centre along
each axis (box), or within that distance (sphere). The omitted part of a particle is less than
``tol`` times its amplitude at any node, so that

    |F(i) - untruncated sum| <= tol * sum of |a_p| over the particles that leave node i out

(on a periodic axis the images of a particle count as particles).

The adjoint A' and all derivatives are those of this truncated sum, except for rounding: the
gradient of a loss is the exact derivative of the computed loss. When a node enters or leaves a
support, F jumps by up to tol * |a_p|; the gradient does not contain these jumps. The order of every
sum depends only on the particles and the grid, not on the number of threads.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from ..base import check, wording
from ..base.grid import Grid, as_grid
from . import arguments, gradients, gram_matrix, node_memory, sweeps
from .plan import Plan, make_plan

if TYPE_CHECKING:
    import scipy.sparse

MapType = TypeVar("MapType", bound="LinearMap")


class LinearMap:
    """The map from amplitudes of particles to a grid, with its adjoint and its derivatives.

    Attributes
    ----------
    grid : Grid
    plan : Plan
        Particles in the order in which kernels process them.
    threads : int or None
        Largest number of threads; None for the default of the process.
    """

    def __init__(
        self,
        grid_or_shape: Grid | Sequence[int],
        positions: ArrayLike,
        sigma: ArrayLike = 1.0,
        *,
        covariance: ArrayLike | None = None,
        tol: float = 1e-4,
        radius: float | None = None,
        support: str = "box",
        pixel: str = "sample",
        threads: int | None = None,
    ) -> None:
        self.grid = as_grid(grid_or_shape, "grid_or_shape")
        self.plan: Plan = make_plan(
            self.grid, positions, sigma, covariance, tol, radius, support, pixel
        )
        if threads is not None:
            check.integer("threads", threads, at_least=1)
        self.threads = threads
        self._shapes = {
            "positions": np.shape(positions),
            self.width_name: np.shape(sigma if covariance is None else covariance),
        }

    @property
    def width_name(self) -> str:
        """The kind of the widths: "sigmas" or "covariance"."""
        return "covariance" if self.plan.rotated else "sigmas"

    @property
    def positions(self) -> np.ndarray:
        """Centres (n, d) in the grid's coordinates, wrapped on periodic axes."""
        centres = gradients.sorted_back(self.plan, self.plan.particles.centres)
        return self.grid.position(centres)

    @property
    def widths(self) -> np.ndarray:
        """The sigma or the covariance, shaped as it was given."""
        rows = self.plan.particles.widths
        spacing = np.array(self.grid.spacing)
        unit = np.outer(spacing, spacing) if self.plan.rotated else spacing
        full = gradients.sorted_back(self.plan, rows) if len(rows) > 1 else rows
        shape = self._shapes[self.width_name]
        alike = not self.plan.rotated and (shape == () or shape[-1] == 1)
        return ((full * unit)[:, :1] if alike else full * unit).reshape(shape)

    def moved(self: MapType, positions: ArrayLike, widths: ArrayLike) -> MapType:
        """A field with other positions and widths and the same options.

        Examples
        --------
        >>> import fastgauss as fg
        >>> field = fg.GaussianField((9,), [[4.0]], sigma=1.0)
        >>> field.moved(field.positions + 0.5, 2 * field.widths).positions
        array([[4.5]])
        """
        plan = self.plan
        return type(self)(
            self.grid,
            positions,
            widths if not plan.rotated else 1.0,
            covariance=widths if plan.rotated else None,
            radius=plan.support.radius,
            support="sphere" if plan.sphere else "box",
            pixel="integrate" if plan.support.integrate else "sample",
            threads=self.threads,
        )

    def __len__(self) -> int:
        """Number of particles."""
        return self.plan.n

    def __repr__(self) -> str:
        kind = "covariances" if self.plan.rotated else "sigmas"
        particles = wording.plural(len(self), "particle")
        return f"<{type(self).__name__} of {particles} with {kind} on {self.grid}>"

    def render(self, amplitudes: ArrayLike = 1.0, out: np.ndarray | None = None) -> np.ndarray:
        """The field A a of these amplitudes, added to ``out`` if that is given.

        Amplitudes (n, channels) give an image with a last axis of channels; one pass over the
        particles draws all of them.

        Examples
        --------
        >>> import fastgauss as fg
        >>> fg.GaussianField((5,), [[2.0]], 1.0).render(2.0).round(3)
        array([0.271, 1.213, 2.   , 1.213, 0.271])
        """
        drawing = arguments.drawing(amplitudes, len(self), out, self.grid)
        return sweeps.draw(self.plan, drawing, "sum", self.threads)

    def adjoint(self, volume: ArrayLike) -> np.ndarray:
        """A' v: the sum over each particle's support of its profile times the volume (n,).

        A volume with a last axis of channels gives (n, channels).

        Examples
        --------
        >>> import numpy as np, fastgauss as fg
        >>> fg.GaussianField((5,), [[2.0]], 1.0).adjoint(np.ones(5)).round(3)
        array([2.484])
        """
        planes = arguments.volume_of(volume, self.grid)
        sums = sweeps.gather(self.plan, planes, self.threads)
        return sums if planes.ndim > self.grid.ndim else sums[:, 0]

    def loss_and_gradient(
        self,
        volume: ArrayLike,
        amplitudes: ArrayLike,
        wrt: str | Sequence[str] = "amplitudes",
        *,
        weights: ArrayLike | None = None,
        mask: ArrayLike | None = None,
    ) -> tuple[float, Any]:
        """Half the squared distance to a volume, 0.5 (A a - v)'W(A a - v), and its gradient.

        Parameters
        ----------
        volume : array
            Real numbers, of the grid's shape, or with a last axis of channels; a NaN is a missing
            node. In float32 the residual is float32 too.
        amplitudes : float or array (n,) or (n, channels)
            Peak heights.
        wrt : str or a sequence of str
            The parameters of the derivatives: "amplitudes", "positions", and "sigmas" for a field
            of sigmas, "covariances" (or "covariance") and "cholesky" for a field of covariances.
        weights : array, optional
            W, a weight of each node, not negative, of the grid's shape or the volume's.
        mask : array of bool, optional
            True where a node is missing, of the grid's shape or the volume's.

        Returns
        -------
        loss : float
        gradient : array or dict of arrays
            For one name an array, for a sequence a dict by name. Each array has the shape of its
            argument; for one width of many particles or axes it is the derivative by that number.
            Every element of a covariance counts separately, so that the gradient is symmetric.
            "cholesky" is the derivative by the lower triangular factor L with positive diagonal of
            each covariance L L', ``np.linalg.cholesky(covariance)``, 0 above the diagonal.

        Raises
        ------
        TypeError, ValueError
            If an argument is of the wrong kind, shape or value.

        Notes
        -----
        This is the exact derivative of the truncated sum, without the jumps at the border of a
        support. It needs a copy of the volume for the residual, and the time of a `render` and an
        `adjoint`; all parameters together cost one and a half times the adjoint. Three channels
        cost 1.4 to 1.7 times one if the field has covariances, 2 to 3 times one with sigmas.

        A step along the gradient by a covariance may leave the positive definite matrices. Any
        lower triangular L with a positive diagonal gives a positive definite L L': optimise L by
        "cholesky", and the logarithm of its diagonal (derivative: that of "cholesky" times the
        diagonal) if steps are not bounded.

        Examples
        --------
        >>> import numpy as np, fastgauss as fg
        >>> field = fg.GaussianField((9,), [[4.25]], sigma=1.0)
        >>> data = fg.render((9,), [[4.0]], 2.0)
        >>> loss, gradient = field.loss_and_gradient(data, 2.0, wrt=("amplitudes", "positions"))
        >>> round(loss, 4), gradient["positions"].round(3)
        (0.1098, array([[0.872]]))
        """
        names = gradients.parameters(wrt, self.plan, ("cholesky",) * self.plan.rotated)
        data = arguments.measured(volume, weights, mask, self.grid)
        heights = arguments.amplitudes_of(amplitudes, len(self), data.channels)
        loss, found = self.misfit_and_slopes(data, heights, names)
        if isinstance(wrt, str):
            return loss, found[names[0]]
        return loss, {given: found[name] for given, name in zip(wrt, names, strict=True)}

    def misfit_and_slopes(
        self, data: arguments.Data, heights: np.ndarray, names: tuple[str, ...]
    ) -> tuple[float, dict[str, np.ndarray]]:
        """``loss_and_gradient`` of arguments that are checked.

        The residual here is v - A a: a copy of channels that are last takes half the time of their
        negation.
        """
        residual = node_memory.copied(data.volume)
        sweeps.scatter(self.plan, residual, -heights, "sum", self.threads)
        with np.errstate(over="ignore", invalid="ignore"):  # out of range they are infinite
            if data.weights is None:
                loss = gradients.half_square(residual, self.plan, self.threads)
            else:
                loss = gradients.weighted_half_square(
                    residual, data.weights, self.plan, self.threads
                )
                residual *= data.weights
            found = gradients.derivatives(
                self.plan, residual, heights, names, self._shapes, self.threads
            )
        return loss, {name: gradients.opposite(value) for name, value in found.items()}

    def as_sparse(self) -> Any:
        """The matrix A (nodes, n) as scipy.sparse.csc_array, nodes in C order.

        It needs 12 to 16 bytes for each entry; a particle has one entry for each node of its
        support.

        Examples
        --------
        >>> import fastgauss as fg
        >>> fg.GaussianField((5,), [[2.0]], 1.0, radius=1).as_sparse().toarray().round(3).ravel()
        array([0.   , 0.607, 1.   , 0.607, 0.   ])
        """
        return sweeps.sparse(self.plan)

    def as_linear_operator(self) -> Any:
        """The map A as scipy.sparse.linalg.LinearOperator (nodes, n), nodes in C order.

        Examples
        --------
        >>> import fastgauss as fg
        >>> operator = fg.GaussianField((5,), [[2.0]], 1.0).as_linear_operator()
        >>> (operator @ [2.0]).round(3)
        array([0.271, 1.213, 2.   , 1.213, 0.271])
        """
        from scipy.sparse.linalg import LinearOperator

        return LinearOperator(
            shape=(self.grid.size, len(self)),
            dtype=np.float64,
            matvec=lambda a: self.render(np.ravel(a)).ravel(),
            rmatvec=lambda v: self.adjoint(np.reshape(v, self.grid.shape)),
        )

    def gram(self) -> scipy.sparse.csr_matrix:
        """A'A (n, n): the sum over the nodes of the product of each two particles.

        For sigmas and boxes an entry is a product of sums along the axes and takes some 25 ns. For
        spheres and covariances the entries come from a list of all nodes. The matrix needs 12 bytes
        for each entry; a particle has some 184 neighbours if 1e5 particles of sigma 1 are in 128**3
        nodes.

        Returns
        -------
        scipy.sparse.csr_matrix
            Symmetric to the bit, with sorted columns, in the order of positions.

        Examples
        --------
        >>> import fastgauss as fg
        >>> field = fg.GaussianField((12,), [[3.0], [5.0], [40.0]], sigma=1.0)
        >>> field.gram().toarray().round(3)
        array([[1.773, 0.652, 0.   ],
               [0.652, 1.773, 0.   ],
               [0.   , 0.   , 0.   ]])
        """
        return gram_matrix.matrix(self.plan, self.threads)

    @cached_property
    def coverage(self) -> np.ndarray:
        """A'1 (n,): the sum of each particle's profile over its support.

        Examples
        --------
        >>> import fastgauss as fg
        >>> fg.GaussianField((5,), [[2.0]], 1.0).coverage.round(3)
        array([2.484])
        """
        return sweeps.gather(self.plan, np.ones(self.grid.shape), self.threads)[:, 0]
