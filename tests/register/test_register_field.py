"""``displacement_field``: windows, their errors and outliers, pictures, the command."""

import pickle

import naive_register as naive
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from fastgauss.cli.command import main
from fastgauss.kernels._compile import JIT_DISABLED
from fastgauss.register import Status, align, displacement_field
from fastgauss.register.vector_validation import median_test

compiled = pytest.mark.skipif(JIT_DISABLED, reason="many large windows")


def frames(n, noise, dx, dy, seed=0):
    """Two frames of a scene larger than they are."""
    rng = np.random.default_rng(seed)
    spectrum = naive.cloud(2 * n, rng)
    views = [naive.scene(spectrum, 2 * n, *d)[:n, :n] for d in ((0, 0), (dx, dy))]
    return [view + rng.normal(0, noise, view.shape) for view in views]


@compiled
@pytest.mark.parametrize("err", [0.05, None])
def test_errors_of_windows_are_honest(err):
    a, b = frames(512, 0.05, 3.3, -2.2)
    field = displacement_field(a, b, 64, 32, err)
    inner = (slice(1, -1), slice(1, -1))
    assert field.converged.all() and not field.outlier.any()
    error = np.stack([field.dx - 3.3, field.dy + 2.2], axis=-1)[inner]
    assert np.sqrt(np.mean(error**2)) < 0.05
    ratio = np.sqrt(np.mean(field.errors[inner] ** 2) / np.mean(error**2))
    assert ratio == pytest.approx(1, abs=0.15)
    assert 0.6 < np.mean(np.abs(error) < field.errors[inner]) < 0.76
    assert np.median(field.correlation) > 0.95
    assert np.median(field.noise) == pytest.approx(1 if err else 2 * 0.05**2, rel=0.1)


@compiled
def test_results_do_not_depend_on_threads_or_on_other_windows():
    a, b = frames(256, 0.05, -1.6, 0.7)
    first = displacement_field(a, b, 32, 16, 0.05, threads=1)
    for threads in (2, 3):
        again = displacement_field(a, b, 32, 16, 0.05, threads=threads)
        for name, value in first.to_dict().items():
            assert_array_equal(again.to_dict()[name], value)


@compiled
def test_windows_lie_where_they_should():
    a, b = frames(64, 0.02, 1.3, 0.4)
    field = displacement_field(a, b, (16, 32), (16, 8))
    assert_array_equal(field.y, [7.5, 23.5, 39.5, 55.5])
    assert_array_equal(field.x, [15.5, 23.5, 31.5, 39.5, 47.5])
    assert field.dx.shape == field.status.shape == (4, 5) and field.covariance.shape == (4, 5, 2, 2)
    inner = field.converged[1:-1, 1:-1]
    assert inner.all()
    assert np.median(np.abs(field.dx - 1.3)) < 0.2 and np.median(np.abs(field.dy - 0.4)) < 0.2
    again = pickle.loads(pickle.dumps(field))
    assert_array_equal(again.dx, field.dx)


def test_a_frame_has_no_displacement_to_itself():
    image = np.random.default_rng(3).normal(size=(70, 90)).cumsum(0).cumsum(1)
    field = displacement_field(image, image, 32, 16)
    assert field.converged.all()
    assert not field.dx.any() and not field.dy.any() and not field.covariance.any()


@compiled
def test_one_window_is_align():
    a, b = frames(40, 0.05, 1.2, -0.6)
    field = displacement_field(a, b, 40, 40, 0.05)
    shift = align(a, b, 0.05, 0.05)
    found = field.dx[0, 0], field.dy[0, 0]
    assert_allclose(found, shift[:2], rtol=0, atol=0.5 * shift.errors.min())
    assert_allclose(field.errors[0, 0], shift.errors, rtol=0.05)


def test_missing_pixels_and_windows():
    a, b = frames(96, 0.02, 2.4, 1.1)
    mask = np.zeros(a.shape, bool)
    mask[:40, :40] = True
    field = displacement_field(np.where(mask, np.nan, a), b, 32, 32, mask=(mask, None))
    assert field.status[0, 0] == Status.TOO_FEW_PIXELS and field.outlier[0, 0]
    assert np.isnan(field.dx[0, 0])
    assert field.converged.sum() == 8
    assert np.abs(field.dx[1:, 1:] - 2.4).max() < 0.3


@compiled
def test_passes_find_what_is_farther_than_a_window_sees():
    a, b = frames(256, 0.02, 11.3, -9.4)
    one = displacement_field(a, b, 32, 32, search=4)
    two = displacement_field(a, b, 32, 32, multipass=3, search=16)
    inner = (slice(1, -1), slice(1, -1))
    near = np.hypot(two.dx - 11.3, two.dy + 9.4)[inner] < 0.5
    assert near.mean() > 0.95
    assert (np.hypot(one.dx - 11.3, one.dy + 9.4)[inner] < 0.5).mean() < 0.1


def test_median_test_is_the_twin():
    rng = np.random.default_rng(0)
    moves = rng.normal(0, 0.3, (7, 9, 2))
    moves[2, 3] += 4
    moves[5, 5] = np.nan
    outlier, median = median_test(moves)
    assert_array_equal(outlier, naive.median_test(moves))
    assert outlier[2, 3] and outlier[5, 5] and outlier.sum() < 40
    assert np.isfinite(median).all()
    assert not median_test(np.zeros((1, 1, 2)))[0].any()


BAD = [
    (ValueError, "window must be at least 8", {"window": 7}),
    (TypeError, "window must be an integer", {"window": 16.0}),
    (ValueError, "window must be one number or 2", {"window": (16, (16, 16, 16))}),
    (ValueError, "window must fit into images", {"window": (16, 99)}),
    (ValueError, "step must be at least 1", {"step": 0}),
    (ValueError, "multipass must be at least 1", {"multipass": 0}),
    (ValueError, "search must be finite", {"search": np.nan}),
    (ValueError, "err must be one value or a tuple of two", {"err": (1, 1, 1)}),
    (ValueError, "err must be finite and above 0", {"err": -1}),
    (ValueError, "b must have the shape of a", {"b": np.ones((40, 41))}),
    (ValueError, "threads must be at least 1", {"threads": 0}),
    (ValueError, "brightness must be one of", {"brightness": "none"}),
]


@pytest.mark.parametrize(("error", "message", "options"), BAD)
def test_bad_input(error, message, options):
    image = np.random.default_rng(0).normal(size=(40, 40))
    with pytest.raises(error, match=message):
        displacement_field(**{"a": image, "b": image, "window": 16, **options})


@compiled
def test_command_writes_field_and_picture(tmp_path, capsys):
    a, b = frames(96, 0.02, 2.4, 1.1)
    for name, frame in (("a", a), ("b", b)):
        np.save(tmp_path / f"{name}.npy", frame)
    arguments = ["register", str(tmp_path / "a.npy"), str(tmp_path / "b.npy"), "--window", "32"]
    out, picture = tmp_path / "field.npz", tmp_path / "field.png"
    code = main([*arguments, "--step", "16", "-o", str(out), "--plot", str(picture)])
    assert code == 0
    text = capsys.readouterr().out
    assert "25 windows" in text and "wrote" in text
    with np.load(out) as saved:
        expected = displacement_field(a, b, 32, 16)
        assert_array_equal(saved["dx"], expected.dx)
        assert_array_equal(saved["covariance"], expected.covariance)
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--window", "500"], "window must fit"),
        (["-o", "field.doc"], "must end in"),
        (["--plot", "field.txt"], "field.txt"),
    ],
)
def test_command_refuses_in_one_line(tmp_path, capsys, extra, message):
    path = tmp_path / "a.npy"
    np.save(path, np.random.default_rng(0).normal(size=(40, 40)))
    assert main(["register", str(path), str(path), "--window", "16", *extra]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
