"""GaussianField: particles on a grid, their sum, adjoint, gradients and fits."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from ..base import check
from ..base.progress import Progress, check_progress, reporting
from . import arguments, gradients
from .amplitudes import AmplitudeFit, fit, update
from .linear_map import LinearMap
from .refinement import refine, start_of
from .refinement_result import Refinement


class GaussianField(LinearMap):
    """Particles on a grid, prepared once and used often: render, adjoint, gradients, fits.

    Parameters
    ----------
    grid_or_shape, positions, sigma, covariance, tol, radius, support, pixel
        As in `render`. Positions and widths are copied.
    threads : int, optional
        Largest number of threads for all methods. Results do not depend on it.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind, shape or value.

    Notes
    -----
    Preparation takes O(n) time, some 30 ns for each particle. In three dimensions a field needs 28
    bytes for each particle, 52 with individual sigmas, 100 with individual covariances, and some
    2.5 times as much during preparation.

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
    ) -> Refinement[GaussianField]:
        """Fit positions, widths and amplitudes of all particles together to a volume.

        Parameters
        ----------
        volume : array
            Real numbers, of the grid's shape; a NaN is a missing node.
        amplitudes : float or array (n,), optional
            Starting values; by default the result of `fit_amplitudes`.
        wrt : sequence of str, optional
            Which of "amplitudes", "positions", "sigmas" (or "covariance") to fit; by default these.
            One width for many particles stays one width. "background" is a constant beneath all
            particles, which begins at the median of the volume; it is 0 unless it is named. Without
            it, data with a background give amplitudes and widths that are too large.
        weights : array, optional
            Weight of each node, 1 / variance, of the grid's shape.
        mask : array of bool, optional
            True where a node is missing.
        tol : float
            The fit stops within this many standard errors of the minimum, in root mean square over
            the parameters.
        max_iter : int
            Largest number of steps.
        progress : bool or callable
            As in `fit_amplitudes`.

        Returns
        -------
        Refinement
            The field with the fitted particles, and their amplitudes, positions and widths.

        Raises
        ------
        TypeError, ValueError
            If an argument is of the wrong kind, shape or value.

        Notes
        -----
        The method is Levenberg-Marquardt over the truncated sum. Each step is solved by conjugate
        gradients over the supports, preconditioned by the block of each particle, without a matrix.
        A step costs two sweeps over the particles and each inner step two more, so that a fit costs
        some 20 to 200 times as much as `render`. In each step a centre moves by at most one sigma
        along each axis. Particles may exchange places; if two coincide, the data determine only
        their sum.

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
        known = ("amplitudes", "positions", self.width_name)
        check_progress(progress)
        names = gradients.parameters(
            known if wrt is None else wrt, self.plan, further=("background",)
        )
        data = arguments.measured(volume, weights, mask, self.grid)
        arguments.refuse_channels(data)
        if amplitudes is not None:
            amplitudes = arguments.amplitudes_of(amplitudes, len(self))
        limit = check.number("tol", tol, above=0.0)
        most = check.integer("max_iter", max_iter, at_least=0)
        start = start_of(self, data, names, amplitudes)
        with reporting(progress, 100, "%") as report:
            return refine(self, data, start, names, limit, most, report)

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
            NaN marks a missing node. A last axis of channels gives amplitudes (n, channels), from
            one matrix if the same nodes of all channels are valid.
        nonnegative : bool
            True: no amplitude may be negative.
        weights : array of the grid's shape, optional
            Not negative; use 1 / variance if the errors are needed.
        mask : bool array of the grid's shape, optional
            True where a node is missing, as in `fit_rois`.
        regularization : float
            Weight of the squared norm of the amplitudes.
        tol : float
            Value of ``AmplitudeFit.kkt_residual`` at which the fit stops.
        max_iter : int
            Largest number of products with the matrix. The status says whether they were enough.
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
        The Gram matrix, with 12 bytes for each entry, and an approximate inverse of it take most of
        the time; then about ten iterations are enough. A fit of 1e5 particles in 128**3 nodes
        (sigma 1, 184 neighbours each) takes some 2 s on two cores, and one of 1e4 particles 0.05 s.
        With more than 3e8 entries, products are sweeps over the grid, which need no memory and
        hundreds of iterations.

        In crowded fields, from about one particle per sigma**d on, the normal equations are so ill
        conditioned that iterations do not converge. For up to 4096 particles a dense factor of the
        matrix is then used, and if that is not accurate enough, one of the field itself, provided
        that the number of nodes times the square of the number of particles is below 4e9.
        Nonnegative amplitudes of up to 20000 particles are found by an active set, if at most 4096
        of them are above 0; 3000 particles, 1000 of them above 0, take some seconds. With more
        particles, projected steps reduce the residual until ``max_iter``, and ``kkt_residual``
        shows how far the minimum is; in crowds more products never fit worse. Nonnegative
        amplitudes never fit worse than amplitudes of 0.

        Of particles at the same position only the sum of the amplitudes is determined. The result
        keeps the matrix until its errors are computed.

        References
        ----------
        Kolotilina & Yeremin 1993, SIAM J. Matrix Anal. 14, 45 (approximate inverse);
        Lawson & Hanson 1974, Solving Least Squares Problems, chapter 23 (active set);
        Dostal & Schoeberl 2005, Comput. Optim. Appl. 30, 23 (projected steps).

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
            return fit(self, data, nonnegative, regularization, tol, max_iter, report)

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
            Not negative. An amplitude of 0 stays 0.
        rule : {"mlem", "smart"}
            ``a (A'W(v / Aa) / A'W1)**relaxation``, which with relaxation 1 never lowers the Poisson
            likelihood of v and keeps its sum; or ``a exp(relaxation A'W log(v / Aa) / A'W1)``.
        relaxation : float
            Positive; a value above 1 may overshoot.
        weights : array of the grid's shape, optional
            W, not negative; by default 1.

        Returns
        -------
        array (n,)
            New amplitudes. A node where A a is 0 has no effect (0/0 counts as 0, and so does its
            logarithm); a particle without valid nodes keeps its amplitude. With "smart" a node of
            value 0 sets every particle whose support contains it to 0.

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
        arguments.refuse_channels(data)
        heights = arguments.amplitudes_of(amplitudes, len(self))
        return update(self, data, heights, rule, relaxation)
