"""A fit does not depend on the spots beside it: same bits in any company and any order."""

import numpy as np
import pytest

import fastgauss as fg

BOUNDS = {"sigma": (0.5, 3.0)}


def nasty_rois(n, side=9, seed=3):
    """Spots among windows of noise, of nothing, of slopes and of one hot pixel."""
    rng = np.random.default_rng(seed)
    truth = np.column_stack(
        [rng.uniform(10, 300, n), *rng.uniform(1, side - 2, (2, n)), rng.uniform(0.4, 4.0, n)]
    )
    rois = rng.poisson(
        fg.image(np.column_stack([truth, np.full(n, 5.0)]), (side, side), "symmetric")
    )
    rois[::5] = rng.poisson(6.0, rois[::5].shape)
    rois[1::7] = np.arange(side)
    rois[2::11] = 0
    rois[3::11, 0, 0] = 5000
    return rois.astype(float)


@pytest.mark.parametrize("method", ["lsq", "mle"])
@pytest.mark.parametrize("bounds", [None, BOUNDS])
def test_a_row_is_the_same_in_any_company(method, bounds):
    rois = nasty_rois(120)
    options = {"method": method, "bounds": bounds, "threads": 1}
    whole = fg.fit_rois(rois, **options)
    order = np.random.default_rng(0).permutation(len(rois))
    shuffled = fg.fit_rois(rois[order], **options)
    back = np.argsort(order)
    for name in ("params", "errors", "objective", "status", "iterations"):
        expected = getattr(whole, name)
        np.testing.assert_array_equal(getattr(shuffled, name)[back], expected, err_msg=name)
    for row in range(0, len(rois), 13):
        alone = fg.fit_rois(rois[row : row + 1], **options)
        np.testing.assert_array_equal(alone.params[0], whole.params[row])
        assert alone.status[0] == whole.status[row]
