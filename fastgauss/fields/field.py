"""Sums of truncated Gaussians on a regular grid, their adjoint and their gradients.

With amplitudes a, centres c and profiles f of peak 1 the field is

    F(i) = sum over p of a_p f_p(i) [i in the support of p],

linear in a: F = A a. A particle's support is the nodes within ``radius`` sigmas of its centre
along each axis (box), or within that distance (sphere). What is left out is less than
``tol`` of a particle's amplitude at any node, so that

    |F(i) - untruncated sum| <= tol * sum of |a_p| over the particles that leave node i out

(on a periodic axis: over the images of particles, each of which is one more).

The adjoint A' and all derivatives are those of this truncated sum, to the last digit: the
gradient of a loss is the exact derivative of the loss that is computed. A node that enters or
leaves a support makes F jump by up to tol * |a_p|; the gradient knows nothing of these jumps.

Every sum runs in an order that depends on the particles and the grid alone, never on the
number of threads.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from ..base import check
from ..base.grid import Grid, as_grid
from ..base.progress import Progress, check_progress, reporting
from . import amplitudes as amplitudes_
from . import arguments, gradients, gram_matrix, sweeps
from .amplitudes import AmplitudeFit
from .plan import Plan, make_plan
from .refinement import Refinement, refine

if TYPE_CHECKING:
    import scipy.sparse


class GaussianField:
    """Particles on a grid, planned once and used often: render, adjoint, gradients, fits.

    Parameters
    ----------
    grid_or_shape, positions, sigma, covariance, tol, radius, support, pixel
        As in `render`. Positions and widths are copied.
    threads : int, optional
        Threads at most for all that the field does. Results do not depend on it.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind, shape or value.

    Notes
    -----
    Planning takes O(n) time, some 30 ns a particle, and in three dimensions 28 bytes a particle,
    52 with sigmas of their own, 100 with covariances of their own; some 2.5 times that while it
    lasts.

    Examples
    --------
    >>> import numpy as np, fastgauss as fg
    >>> field = fg.GaussianField((20, 20), [[5.2, 6.0], [7.0, 9.5]], sigma=1.5)
    >>> image = field.render([3.0, 2.0])
    >>> field.adjoint(image).shape
    (2,)
    >>> field.fit_amplitudes(image).amplitudes.round(6)
    array([3., 2.])
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
        self.grid = as_grid(grid_or_shape)
        self._plan: Plan = make_plan(
            self.grid, positions, sigma, covariance, tol, radius, support, pixel
        )
        if threads is not None:
            check.integer("threads", threads, at_least=1)
        self._threads = threads
        self._shapes = {
            "positions": np.shape(positions),
            self._width_name: np.shape(sigma if covariance is None else covariance),
        }

    @property
    def _width_name(self) -> str:
        return "covariance" if self._plan.turned else "sigmas"

    @property
    def positions(self) -> np.ndarray:
        """Centres (n, d) in the grid's coordinates, wrapped on periodic axes."""
        centres = gradients.sorted_back(self._plan, self._plan.particles.centres)
        return self.grid.position(centres)

    @property
    def widths(self) -> np.ndarray:
        """The sigma or the covariance, shaped as it was given."""
        rows = self._plan.particles.widths
        spacing = np.array(self.grid.spacing)
        unit = np.outer(spacing, spacing) if self._plan.turned else spacing
        full = gradients.sorted_back(self._plan, rows) if len(rows) > 1 else rows
        shape = self._shapes[self._width_name]
        alike = not self._plan.turned and (shape == () or shape[-1] == 1)
        return ((full * unit)[:, :1] if alike else full * unit).reshape(shape)

    def moved(self, positions: ArrayLike, widths: ArrayLike) -> GaussianField:
        """A field with other positions and widths, all else alike.

        Examples
        --------
        >>> import fastgauss as fg
        >>> field = fg.GaussianField((9,), [[4.0]], sigma=1.0)
        >>> field.moved(field.positions + 0.5, 2 * field.widths).positions
        array([[4.5]])
        """
        plan = self._plan
        return GaussianField(
            self.grid,
            positions,
            widths if not plan.turned else 1.0,
            covariance=widths if plan.turned else None,
            radius=plan.support.radius,
            support="sphere" if plan.sphere else "box",
            pixel="integrate" if plan.support.integrate else "sample",
            threads=self._threads,
        )

    def __len__(self) -> int:
        """Number of particles."""
        return self._plan.n

    def __repr__(self) -> str:
        kind = "covariances" if self._plan.turned else "sigmas"
        return f"<GaussianField of {len(self)} particles with {kind} on {self.grid}>"

    def render(self, amplitudes: ArrayLike = 1.0, out: np.ndarray | None = None) -> np.ndarray:
        """The field A a of these amplitudes, added to ``out`` if that is given.

        Examples
        --------
        >>> import fastgauss as fg
        >>> fg.GaussianField((5,), [[2.0]], 1.0).render(2.0).round(3)
        array([0.271, 1.213, 2.   , 1.213, 0.271])
        """
        target = arguments.target(out, self.grid)
        heights = arguments.amplitudes_of(amplitudes, len(self))
        sweeps.scatter(self._plan, target, heights, "sum", self._threads)
        return target if out is None else out

    def adjoint(self, volume: ArrayLike) -> np.ndarray:
        """A' v: the sum over each particle's support of its profile times the volume (n,).

        Examples
        --------
        >>> import numpy as np, fastgauss as fg
        >>> fg.GaussianField((5,), [[2.0]], 1.0).adjoint(np.ones(5)).round(3)
        array([2.484])
        """
        return sweeps.gather(self._plan, arguments.volume_of(volume, self.grid), self._threads)[
            :, 0
        ]

    def loss_and_gradient(
        self,
        volume: ArrayLike,
        amplitudes: ArrayLike,
        wrt: str | Sequence[str] = "amplitudes",
    ) -> tuple[float, Any]:
        """Half the squared distance to a volume, 0.5 ||A a - v||**2, and its gradient.

        Parameters
        ----------
        volume : array
            Real numbers, of the grid's shape; in float32 the residual is float32 too.
        amplitudes : float or array (n,)
            Peak heights.
        wrt : {"amplitudes", "positions", "sigmas", "covariance"} or a sequence of them
            What to differentiate by; "sigmas" of a field of sigmas, "covariance" of one of
            covariances.

        Returns
        -------
        loss : float
        gradient : array or dict of arrays
            For one name an array, for a sequence a dict by name. Each is shaped like the
            argument it belongs to; where one width serves many particles or axes it is
            the derivative to that one number. Every element of a covariance counts by itself,
            so that the gradient is symmetric.

        Raises
        ------
        TypeError, ValueError
            If an argument is of the wrong kind, shape or value.

        Notes
        -----
        The exact derivative of the truncated sum; jumps of a support are no part of it. Takes
        a copy of the volume for the residual, and a `render` and an `adjoint`; all parameters
        at once cost one and a half times the adjoint.

        Examples
        --------
        >>> import numpy as np, fastgauss as fg
        >>> field = fg.GaussianField((9,), [[4.25]], sigma=1.0)
        >>> data = fg.render((9,), [[4.0]], 2.0)
        >>> loss, gradient = field.loss_and_gradient(data, 2.0, wrt=("amplitudes", "positions"))
        >>> round(loss, 4), gradient["positions"].round(3)
        (0.1098, array([[0.872]]))
        """
        target = arguments.volume_of(volume, self.grid)
        heights = arguments.amplitudes_of(amplitudes, len(self))
        names = gradients.parameters(wrt, self._plan)
        kind = target.dtype if target.dtype in arguments.KINDS else np.float64
        residual = np.negative(target, order="C", dtype=kind)
        sweeps.scatter(self._plan, residual, heights, "sum", self._threads)
        loss = gradients.half_square(residual, self._plan, self._threads)
        shapes = {"amplitudes": (len(self),), **self._shapes}
        found = gradients.derivatives(self._plan, residual, heights, names, shapes, self._threads)
        return loss, found[wrt] if isinstance(wrt, str) else found

    def refine(
        self,
        volume: ArrayLike,
        amplitudes: ArrayLike | None = None,
        wrt: Sequence[str] | None = None,
        *,
        weights: ArrayLike | None = None,
        mask: ArrayLike | None = None,
        tol: float = 0.01,
        max_iter: int = 50,
        progress: bool | Progress = False,
    ) -> Refinement:
        """Fit positions, widths and amplitudes of all particles together to a volume.

        Parameters
        ----------
        volume : array
            Real numbers, of the grid's shape; NaN means no node.
        amplitudes : float or array (n,), optional
            Where to begin; by default what `fit_amplitudes` finds.
        wrt : sequence of str, optional
            Which of "amplitudes", "positions", "sigmas" (or "covariance") to fit; all by
            default. One width that serves many particles stays one.
        weights : array, optional
            Weight of each node, 1 / variance, of the grid's shape.
        mask : array of bool, optional
            True where there is no node.
        tol : float
            Stop within this many standard errors of the minimum, in root mean square over the
            parameters.
        max_iter : int
            Steps at most.
        progress : bool or callable
            As in `fit_amplitudes`.

        Returns
        -------
        Refinement
            The field where the particles are now, with amplitudes, positions and widths.

        Raises
        ------
        TypeError, ValueError
            If an argument is of the wrong kind, shape or value.

        Notes
        -----
        Levenberg-Marquardt over the truncated sum; each step is solved by conjugate gradients
        over the supports, preconditioned by each particle's own block, without a matrix. A
        step costs two sweeps over the particles and an inner one two more, so a fit some 20 to
        200 times a `render`. A centre moves by one sigma an axis and step at most. Particles may
        change places; where two coincide, the data decide no more than their sum.

        Examples
        --------
        >>> import fastgauss as fg
        >>> data = fg.render((30, 30), [[12.3, 9.8], [15.1, 11.9]], [5.0, 3.0], sigma=1.7)
        >>> start = fg.GaussianField((30, 30), [[12.0, 10.0], [15.0, 12.0]], sigma=1.5, tol=1e-6)
        >>> result = start.refine(data)
        >>> result.positions.round(2), round(float(result.sigmas), 2)
        (array([[12.3,  9.8],
               [15.1, 11.9]]), 1.7)
        """
        known = ("amplitudes", "positions", self._width_name)
        check_progress(progress)
        names = gradients.parameters(known if wrt is None else wrt, self._plan)
        data = arguments.measured(volume, weights, mask, self.grid)
        if amplitudes is None:
            found = self.fit_amplitudes(volume, weights=weights, mask=mask, tol=1e-3)
            amplitudes = found.amplitudes
        start = arguments.amplitudes_of(amplitudes, len(self))
        limit = check.number("tol", tol, above=0.0)
        most = check.integer("max_iter", max_iter, at_least=0)
        with reporting(progress, 100, "%") as report:
            return refine(self, data, start, names, limit, most, self._threads, report)

    def as_sparse(self) -> Any:
        """The matrix A (nodes, n) as scipy.sparse.csc_array, nodes in C order.

        Takes 12 to 16 bytes an entry; one particle has as many entries as nodes in its support.

        Examples
        --------
        >>> import fastgauss as fg
        >>> fg.GaussianField((5,), [[2.0]], 1.0, radius=1).as_sparse().toarray().round(3).ravel()
        array([0.   , 0.607, 1.   , 0.607, 0.   ])
        """
        return sweeps.sparse(self._plan)

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

        Analytic, a product of sums along the axes, for products of profiles on a box; some 25 ns
        an entry. For spheres and covariances from a list of all nodes. It takes 12 bytes an
        entry; a particle has some 184 neighbours where 1e5 of sigma 1 share 128**3 nodes.

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
        return gram_matrix.matrix(self._plan, self._threads)

    def fit_amplitudes(
        self,
        volume: ArrayLike,
        nonnegative: bool = False,
        weights: ArrayLike | None = None,
        mask: ArrayLike | None = None,
        *,
        regularization: float = 0.0,
        tol: float = 1e-8,
        max_iter: int = 1000,
        progress: bool | Progress = False,
    ) -> AmplitudeFit:
        """Amplitudes a that minimise ``||volume - A a||**2 + regularization ||a||**2``, weighted.

        Parameters
        ----------
        volume : array of the grid's shape
            NaN marks a missing node.
        nonnegative : bool
            Whether amplitudes must not be negative.
        weights : array of the grid's shape, optional
            Not negative; 1 / variance if errors are to mean something.
        mask : bool array of the grid's shape, optional
            True where a node is missing, as in `fit_rois`.
        regularization : float
            Weight of the squared norm of the amplitudes.
        tol : float
            ``AmplitudeFit.kkt_residual`` at which the fit ends.
        max_iter : int
            Iterations at most; the result says whether they sufficed.
        progress : bool or callable
            True shows a tqdm bar; a callable gets ``(done, 100)``.

        Returns
        -------
        AmplitudeFit
            Amplitudes, errors, residual norm, iterations, status.

        Raises
        ------
        TypeError, ValueError
            If an argument is of the wrong kind, shape or value.

        Notes
        -----
        The Gram matrix, 12 bytes an entry, and an approximate inverse of it take most of the time;
        then ten iterations or so do. A fit of 1e5 particles in 128**3 nodes, sigma 1, 184
        neighbours each, takes some 2 s on two cores, and one of 1e4 0.05 s. Beyond 3e8 entries
        products are sweeps over the grid, which need no memory and hundreds of iterations.

        Particles at the same place share their amplitude in some way. The result keeps
        the matrix until its errors are asked for.

        References
        ----------
        Kolotilina & Yeremin 1993, SIAM J. Matrix Anal. 14, 45 (approximate inverse);
        Dostal & Schoeberl 2005, Comput. Optim. Appl. 30, 23 (nonnegative).

        Examples
        --------
        >>> import fastgauss as fg
        >>> field = fg.GaussianField((20, 20), [[5.2, 6.0], [7.0, 9.5]], sigma=1.5)
        >>> image = field.render([3.0, -2.0])
        >>> field.fit_amplitudes(image).amplitudes.round(6)
        array([ 3., -2.])
        >>> field.fit_amplitudes(image, nonnegative=True).amplitudes.round(3)
        array([2.642, 0.   ])
        """
        data = arguments.measured(volume, weights, mask, self.grid)
        with reporting(progress, 100, "%") as report:
            return amplitudes_._fit(
                self._plan, data, nonnegative, regularization, tol, max_iter, self._threads, report
            )

    def multiplicative_update(
        self,
        volume: ArrayLike,
        amplitudes: ArrayLike,
        rule: str = "mlem",
        relaxation: float = 1.0,
        weights: ArrayLike | None = None,
    ) -> np.ndarray:
        """One step of MLEM or of simultaneous MART from amplitudes that are not negative.

        Parameters
        ----------
        volume : array of the grid's shape
            Not negative; NaN marks a missing node.
        amplitudes : float or (n,)
            Not negative. What is 0 stays 0.
        rule : {"mlem", "smart"}
            ``a (A'W(v / Aa) / A'W1)**relaxation``, which with relaxation 1 never lowers the Poisson
            likelihood of v and keeps its sum; or ``a exp(relaxation A'W log(v / Aa) / A'W1)``.
        relaxation : float
            Positive; more than 1 may overshoot.
        weights : array of the grid's shape, optional
            W, not negative; 1 without.

        Returns
        -------
        array (n,)
            New amplitudes. A node where A a is 0 tells nothing (0/0 counts as 0, its
            logarithm as 0); a particle that no node sees keeps its amplitude. With "smart"
            a node of value 0 puts out every particle that sees it.

        Raises
        ------
        TypeError, ValueError
            If an argument is of the wrong kind, shape or value.

        References
        ----------
        Shepp & Vardi 1982, IEEE Trans. Med. Imaging 1, 113 (MLEM); Byrne 1993, IEEE Trans.
        Image Process. 2, 96 (SMART).

        Examples
        --------
        >>> import fastgauss as fg
        >>> field = fg.GaussianField((20,), [[5.0], [12.0]], sigma=1.5)
        >>> image, a = field.render([3.0, 2.0]), [1.0, 1.0]
        >>> for _ in range(20):
        ...     a = field.multiplicative_update(image, a)
        >>> a.round(4)
        array([3., 2.])
        """
        data = arguments.measured(volume, weights, None, self.grid)
        heights = arguments.amplitudes_of(amplitudes, len(self))
        return amplitudes_._update(
            self._plan, data, heights, rule, relaxation, lambda: self._coverage, self._threads
        )

    @cached_property
    def _coverage(self) -> np.ndarray:
        """A'1: the sum of each particle's profile over its support."""
        return sweeps.gather(self._plan, np.ones(self.grid.shape), self._threads)[:, 0]
