"""The astigmatic model: values, z at the Cramer-Rao bound, calibration."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

import fastgauss as fg
from fastgauss.kernels._compile import JIT_DISABLED

LENS = fg.astigmatic_model(
    (1.3, -250.0, 400.0, 0.1, 0.05), (1.4, 250.0, 420.0, -0.1, 0.03), (-500.0, 500.0)
)


def _spots(count):
    rng = np.random.default_rng(0)
    columns = [(500, 900), (5.5, 6.5), (5.5, 6.5), (-400, 400), (8, 12)]
    return np.stack([rng.uniform(*ends, count) for ends in columns], axis=1)


def test_derivatives_are_those_of_differences():
    y, x = (axis.ravel().astype(float) for axis in np.indices((13, 13)))
    for p in _spots(3):
        exact = fg.jacobian((x, y), p, model=LENS)
        for k, step in enumerate((1e-3, 1e-5, 1e-5, 1e-3, 1e-3)):
            d = step * (np.arange(5) == k)
            high, low = (fg.evaluate((x, y), p + s * d, model=LENS) for s in (1, -1))
            assert_allclose(exact[:, k], (high - low) / (2 * step), atol=1e-5)


@pytest.mark.parametrize(
    ("pixel", "options"),
    [
        ("sample", {}),
        ("sample", {"method": "mle"}),
        ("sample", {"bounds": {"z": (-500, 500)}}),
        ("integrate", {}),  # how pixels are filled is no matter of estimators or bounds
    ],
)
def test_z_comes_back(pixel, options):
    truth = _spots(8 if JIT_DISABLED else 200)
    rois = fg.image(truth, (13, 13), model=LENS, pixel=pixel)
    result = fg.fit_rois(rois, LENS, pixel=pixel, tol=1e-9, **options)
    assert result.converged.all()
    assert_allclose(result.params, truth, rtol=1e-7)
    widths = LENS.sigmas_at(truth[:, 3]).prod(axis=1)
    assert_allclose(result.flux, 2 * np.pi * truth[:, 0] * widths, rtol=1e-6)


@pytest.mark.skipif(JIT_DISABLED, reason="a statistic over thousands of fits")
def test_errors_of_z_are_true():
    truth = _spots(6000)
    rois = np.random.default_rng(1).poisson(fg.image(truth, (13, 13), model=LENS))
    result = fg.fit_rois(rois, LENS, method="mle")
    assert result.converged.mean() > 0.999
    pull = ((result.params - truth) / result.errors)[result.converged]
    assert_allclose(pull.std(axis=0), 1.0, atol=0.04)


def test_a_stack_of_beads_gives_the_curves():
    z = np.linspace(-450, 450, 13 if JIT_DISABLED else 37)
    beads = [[2000.0, 22.3, 15.8, k, 5.0] for k in z]
    clean = fg.image(beads, (40, 44), model=LENS)
    frames = np.random.default_rng(2).poisson(clean)
    found = fg.calibrate_astigmatism(frames, z, [[15.8, 22.3]], method="mle")
    assert_allclose(found.sigmas_at(z), LENS.sigmas_at(z), rtol=0.03)
    assert found.z_range == (-450.0, 450.0)
    with pytest.raises(ValueError, match="z must have"):
        fg.calibrate_astigmatism(frames, z[1:])
    for few in (0, 4):
        with pytest.raises(ValueError, match=f"stack must hold 6 frames or more, got {few}"):
            fg.calibrate_astigmatism(frames[:few], z[:few])
    with pytest.raises(ValueError, match="can be fitted at 6 places z or more, got 3"):
        fg.calibrate_astigmatism(frames[:6], [1, 1, 2, 2, 3, 3], [[15.8, 22.3]])


@pytest.mark.parametrize(
    ("curve", "ends"),
    [((1.3, 0.0), (0, 1)), ((0.0, 0.0, 1.0), (0, 1)), ((1.0, 0.0, 1.0), (1, 0)),
     ((1.0, np.nan, 1.0), (0, 1)), ((1.0, 0.0, -1.0), (0, 1))],
)  # fmt: skip
def test_bad_curves_are_named(curve, ends):
    with pytest.raises(ValueError, match=r"curve|z_range"):
        fg.astigmatic_model(curve, (1.0, 0.0, 1.0), ends)
