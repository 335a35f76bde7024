"""What the README and the examples say is so."""

import importlib.util
import re
import runpy
from pathlib import Path

import numpy as np
import pytest

import fastgauss as fg
from fastgauss.kernels._compile import JIT_DISABLED

ROOT = Path(__file__).resolve().parent.parent


def example(name):
    return runpy.run_path(str(ROOT / "examples" / name))


@pytest.mark.parametrize("seed", range(4))
def test_isolated_turned_spots_come_back_to_a_millionth(seed):
    names = example("ten_turned_spots.py")
    truth, each = names["make"](seed)
    image = each.sum(axis=0)
    others = [
        (image - own)[names["window"](spot[2:0:-1])].max()
        for own, spot in zip(each, truth, strict=True)
    ]
    isolated = np.array(others) < 1e-5
    assert isolated.sum() >= 2
    misses = names["fit_with_fastgauss"](image)[:, None] - truth[isolated]
    assert np.nanmin(np.abs(misses).max(axis=2), axis=0).max() < 1e-6


@pytest.mark.skipif(JIT_DISABLED, reason="a hundred images")
def test_spots_in_noise_are_found_and_their_errors_are_true():
    names = example("fifty_noisy_spots.py")
    isolated, found, within, _ = names["check"](names["fit_with_fastgauss"], 100)
    assert isolated > 4000
    assert found == isolated
    assert within > 0.99


def test_the_code_of_the_readme_runs():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    code = "\n".join(re.findall(r"```python\n(.*?)```", readme, flags=re.DOTALL))
    pytest.importorskip("pandas")
    names = {}
    exec(code, names)
    assert names["good"].converged.all()
    assert len(names["good"]) == 3
    np.testing.assert_allclose(np.sort(names["good"].x), [20.3, 44.1, 50.6], atol=0.1)
    assert isinstance(names["result"], fg.FitResult)
    assert names["value"].shape == (1,)


def test_the_spectrum_of_random_sources_is_flat_as_shot_noise(tmp_path):
    names = example("sky_map.py")
    count = 2_000 if JIT_DISABLED else 200_000
    theta, phi = names["make"](count)
    overdensity = names["density"](theta, phi, 16)
    assert abs(overdensity.var() * count / overdensity.size - 1.0) < 0.15
    image = names["mollweide"](overdensity, 60)
    assert np.isfinite(image).mean() == pytest.approx(np.pi / 4, abs=0.03)
    assert np.isin(image[np.isfinite(image)], overdensity).all()
    spectra = {}
    if importlib.util.find_spec("healpy"):
        spectra[16] = names["spectrum"](overdensity, 16)
        mean, errors = names["flatness"](*spectra[16][1:], 4 * np.pi / count)
        assert abs(errors) < 4
        assert abs(mean - 1) < 0.15
    pytest.importorskip("matplotlib")
    names["draw"](tmp_path / "sky.png", overdensity, spectra, 4 * np.pi / count)
    assert (tmp_path / "sky.png").stat().st_size > 10_000
