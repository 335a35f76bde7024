"""The slow obvious twins of ``fastgauss.linear``: numpy.polyfit row by row, in loops."""

import numpy as np


def fit_line(y, x, weights, order, absolute):
    """Coefficients (lowest first), covariance, rms and count of one row; NaN where hopeless."""
    keep = ~np.isnan(y) & (weights > 0)
    y, x, w = y[keep], x[keep], weights[keep]
    terms = order + 1
    if len(np.unique(x)) < terms:
        return np.full(terms, np.nan), np.full((terms, terms), np.nan), np.nan, len(y)
    middle, half = (x.max() + x.min()) / 2, (np.ptp(x) / 2) or 1.0
    u = (x - middle) / half
    powers = np.vander(u, terms, increasing=True)
    root = np.sqrt(w)[:, np.newaxis]
    c = np.linalg.lstsq(powers * root, y * root[:, 0], rcond=None)[0]
    covariance = np.linalg.inv((powers * w[:, np.newaxis]).T @ powers)
    squares = w @ (y - powers @ c) ** 2
    if not absolute:
        covariance = covariance * squares / max(1, len(y) - terms)
    shift = np.array(
        [
            np.polynomial.Polynomial([-middle / half, 1 / half]).__pow__(j).coef.tolist()
            + [0.0] * (order - j)
            for j in range(terms)
        ]
    )
    with np.errstate(invalid="ignore"):
        covariance = shift.T @ covariance @ shift
        if len(y) == terms and not absolute:
            covariance[:] = np.inf
        return c @ shift, covariance, np.sqrt(squares / w.sum()), len(y)
