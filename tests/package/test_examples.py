"""What the examples say is so."""

import importlib.util
import runpy
from pathlib import Path

import numpy as np
import pytest

import fastgauss as fg
from fastgauss.kernels._compile import JIT_DISABLED

ROOT = Path(__file__).resolve().parents[2]


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


@pytest.mark.skipif(JIT_DISABLED, reason="many pixels")
def test_a_heat_map_is_what_the_loop_over_pixels_makes():
    names = example("heat_map.py")
    some = range(0, names["SIDE"], 37)
    drawn = names["draw"]((names["SIDE"],) * 2, names["TWO"])[::37, ::37]
    looped = names["pixel_loop"](some, some, names["TWO"])
    np.testing.assert_allclose(drawn, looped, rtol=0, atol=2 * names["TOL"])
    spots = names["scatter"](50, 100)
    drawn = names["draw"]((100, 100), spots)
    np.testing.assert_allclose(
        drawn, names["pixel_loop"](range(100), range(100), spots), rtol=0, atol=20 * names["TOL"]
    )
    assert drawn.max() < 1.0


@pytest.mark.skipif(JIT_DISABLED, reason="rounds of many fits")
def test_spots_of_a_crowd_are_found_together():
    names = example("crowded_image.py")
    centres, amplitudes, image = names["make"](3, 250, (160, 160))
    part, false, room, misses = names["judge"](names["fit_together"](image), centres, amplitudes)
    alone = names["judge"](names["fit_alone"](image), centres, amplitudes)
    assert part > max(0.93, alone[0] + 0.1)
    assert false < 0.02
    ours, theirs = (np.median(np.abs(m[r < 4])) for r, m in ((room, misses), alone[2:4]))
    assert ours < 0.05 and ours < 0.8 * theirs


@pytest.mark.skipif(JIT_DISABLED, reason="compiled work")
@pytest.mark.parametrize(
    "name", ["amplitude_fit.py", "particle_volume.py", "heat_map.py", "crowded_image.py"]
)
def test_examples_of_fields_draw(name, tmp_path, monkeypatch, capsys):
    pytest.importorskip("matplotlib")
    path = tmp_path / "picture.png"
    monkeypatch.setattr("sys.argv", [name, str(path)])
    example(name)["main"]()
    assert path.stat().st_size > 10_000
    assert f"wrote {path}" in capsys.readouterr().out


@pytest.mark.skipif(JIT_DISABLED, reason="hundreds of windows")
def test_a_photograph_moved_as_it_was_told(tmp_path, monkeypatch, capsys):
    names = example("cloud_motion.py")
    first, second = names["make"](1.0)
    field = fg.register.displacement_field(first, second, 32, 16)
    rms, reported, within = names["compare"](field)
    assert field.outlier.mean() < 0.05
    assert rms < 0.05
    assert reported == pytest.approx(rms, rel=0.4)
    assert 0.6 < within < 0.85
    pytest.importorskip("matplotlib")
    path = tmp_path / "moved.png"
    monkeypatch.setattr("sys.argv", ["cloud_motion.py", "--picture", str(path)])
    names["main"]()
    assert path.stat().st_size > 10_000
    assert "0 doubtful" in capsys.readouterr().out


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


def test_chunks_of_a_file_give_the_bits_of_one_call(tmp_path):
    names = example("out_of_core.py")
    count = 500 if JIT_DISABLED else 100_000
    path = tmp_path / "rows.bin"
    names["write"](path, count, count // 3)
    whole = names["empty"]()
    rows = np.fromfile(path, names["ROW"])
    names["add"](rows, *whole)
    np.testing.assert_array_equal(
        whole[0], np.bincount(rows["number"], rows["weight"], names["NUMBERS"])
    )
    for chunk in (count // 7, 1 + count // 2, count):
        for found, expected in zip(names["reduce_file"](path, chunk), whole, strict=True):
            assert found.tobytes() == expected.tobytes()
    for total in whole[::2]:
        assert total.sum() == pytest.approx(rows["weight"].sum(), rel=1e-12)
