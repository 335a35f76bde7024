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


@pytest.mark.skipif(JIT_DISABLED, reason="hundreds of evaluations")
def test_amplitudes_of_a_lattice_come_out_alike_in_three_ways():
    names = example("amplitude_fit.py")
    positions, truth, image = names["make"](1)
    loss, gradient = names["loss_and_gradient"](truth, positions, image)
    field = fg.GaussianField(image.shape, positions, names["SIGMA"])
    ours, our_gradient = field.loss_and_gradient(image, truth)
    assert ours == pytest.approx(loss, rel=1e-13)
    np.testing.assert_allclose(our_gradient, gradient, atol=1e-12 * np.abs(gradient).max())
    fit = field.fit_amplitudes(image)
    assert fit.converged
    np.testing.assert_allclose(
        names["fit_with_gradient"](positions, image), fit.amplitudes, atol=1e-4
    )
    pull = (fit.amplitudes - truth) / fit.errors
    assert 0.9 < pull.std() < 1.1
    assert names["evaluate_volume"](24, 50)[2] < 1e-12


@pytest.mark.skipif(JIT_DISABLED, reason="a thousand particles in a volume")
def test_particles_of_a_volume_are_found_and_refined():
    names = example("particle_volume.py")
    positions, truth, volume = names["make"](2)
    stages = names["run"](volume)
    field, amplitudes, _ = stages[names["MLEM"]]
    seen, ours, distance = names["match"](field, positions)
    assert len(seen) > 0.97 * len(positions)
    assert len(field) < 1.06 * len(positions)  # some bright ones are taken for two
    assert np.median(distance) < 0.1
    assert np.median(np.abs(amplitudes[ours] / truth[seen] - 1)) < 0.04
    assert field.widths == pytest.approx(names["SIGMA"], rel=0.02)


@pytest.mark.skipif(JIT_DISABLED, reason="rounds of many fits")
def test_spots_of_a_crowd_are_found_together():
    names = example("crowded_image.py")
    centres, amplitudes, image = names["make"](3, 250, (160, 160))
    part, false, room, misses = names["judge"](names["fit_together"](image), centres, amplitudes)
    alone = names["judge"](names["fit_alone"](image), centres, amplitudes)
    assert part > max(0.93, alone[0] + 0.1)
    assert false < 0.02
    assert np.median(np.abs(misses[room < 4])) < 0.05 < np.median(np.abs(alone[3][alone[2] < 4]))


@pytest.mark.skipif(JIT_DISABLED, reason="compiled work")
@pytest.mark.parametrize("name", ["amplitude_fit.py", "particle_volume.py", "crowded_image.py"])
def test_examples_of_fields_draw(name, tmp_path, monkeypatch, capsys):
    pytest.importorskip("matplotlib")
    path = tmp_path / "picture.png"
    monkeypatch.setattr("sys.argv", [name, str(path)])
    example(name)["main"]()
    assert path.stat().st_size > 10_000
    assert f"wrote {path}" in capsys.readouterr().out


@pytest.mark.skipif(JIT_DISABLED, reason="a thousand particles in a volume")
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
