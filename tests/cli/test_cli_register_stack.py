"""``fastgauss register STACK``: displacements of all frames, their table, picture and stack."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import ndimage

from fastgauss.cli.command import main
from fastgauss.io import images, tables
from fastgauss.kernels._compile import JIT_DISABLED
from fastgauss.register import align_stack

pytestmark = pytest.mark.skipif(JIT_DISABLED, reason="stacks are aligned by compiled code")
SHAPE = (40, 44)
MOVES = np.array([(0, 0), (1, -2), (3, -1), (-2, 2)])


@pytest.fixture(scope="module")
def stack():
    """Counts of frames that show one scene."""
    scene = ndimage.gaussian_filter(np.random.default_rng(4).normal(size=(60, 64)), 1.5)
    scene = 4000 + 2000 * scene
    corners = 8 - MOVES
    frames = [scene[y : y + SHAPE[0], x : x + SHAPE[1]] for y, x in corners.tolist()]
    return np.stack(frames).astype(np.uint16)


def register(capsys, *arguments):
    """Exit code, what was printed, and what was told on stderr."""
    code = main(["register", *map(str, arguments)])
    said = capsys.readouterr()
    return code, said.out, said.err


def save(path, stack):
    """A stack in a file of any of three kinds."""
    if path.suffix == ".tif":
        tifffile = pytest.importorskip("tifffile")
        told = {"axes": "TYX", "unit": "um"}
        tifffile.imwrite(path, stack, imagej=True, metadata=told, resolution=(4.0, 4.0))
    elif path.suffix == ".fits":
        fits = pytest.importorskip("astropy.io.fits")
        fits.PrimaryHDU(stack).writeto(path)
    else:
        np.save(path, stack)
    return path


@pytest.mark.parametrize("suffix", [".tif", ".fits", ".npy"])
def test_a_stack_becomes_a_table_a_picture_and_an_aligned_stack(suffix, stack, tmp_path, capsys):
    path = save(tmp_path / f"stack{suffix}", stack)
    table, plot, moved = (tmp_path / name for name in ("d.csv", "d.png", f"aligned{suffix}"))
    code, out, err = register(
        capsys, path, "-o", table, "--plot", plot, "--write", moved, "--reference", "first"
    )
    assert code == 0
    assert "4 images: a movie" in err or (suffix == ".tif" and "4 frames" in err)
    assert f"{SHAPE[0]} x {SHAPE[1]} pixels" in err
    assert "4 frames, 4 converged" in out and f"wrote {moved}" in out
    columns, _ = tables.read_table(table)
    places = np.column_stack([columns[name].astype(float) for name in ("dy", "dx")])
    assert_allclose(places, MOVES, rtol=0, atol=0.01)
    assert plot.read_bytes()[:4] == b"\x89PNG"
    with images.open_image(moved) as frames:
        assert len(frames) == 4 and frames[0].dtype == np.float32
        if suffix == ".tif":
            assert frames.facts.axes == "T"
            assert frames.facts.sizes["X"] == (pytest.approx(0.25), "um")
        written = np.stack(list(frames))
    expected = align_stack(stack, reference="first").apply(stack).astype(np.float32)
    assert_array_equal(written, expected)
    inner = (slice(None), slice(6, -6), slice(6, -6))
    assert_allclose(written[inner], np.stack([stack[0]] * 4)[inner], rtol=0, atol=25)


def test_what_is_masked_moves_nothing_and_stays_missing(stack, tmp_path, capsys):
    stuck = stack.copy()
    stuck[:, 10:30, 16:19] = 60000
    mask = np.zeros(SHAPE, np.uint8)
    mask[10:30, 16:19] = 1
    np.save(tmp_path / "stuck.npy", stuck)
    np.save(tmp_path / "mask.npy", mask)
    np.save(tmp_path / "like.npy", stack[1])
    code, _, _ = register(
        capsys, tmp_path / "stuck.npy", "--mask", tmp_path / "mask.npy", "--noise", 5,
        "--reference", tmp_path / "like.npy", "-o", tmp_path / "all.npz",
        "--write", tmp_path / "moved.npy",
    )  # fmt: skip
    assert code == 0
    with np.load(tmp_path / "all.npz") as file:
        found = dict(file)
    assert_allclose(found["displacements"], MOVES - MOVES[1], rtol=0, atol=0.05)
    assert found["frame_covariance"].shape == (4, 2, 2) and found["scene"].ndim == 2
    moved = np.load(tmp_path / "moved.npy")
    hole = np.roll(mask > 0, MOVES[1] - MOVES[2], (0, 1))
    assert np.isnan(moved[2][hole]).all()
    assert np.nanmax(moved) < 20000


def test_frames_that_show_something_else_are_counted(stack, tmp_path, capsys):
    other = np.random.default_rng(0).integers(0, 2000, SHAPE).astype(np.uint16)
    np.save(tmp_path / "stack.npy", np.concatenate([stack, other[np.newaxis]]))
    code, out, _ = register(capsys, tmp_path / "stack.npy", "--reference", 1)
    assert code == 0
    assert "5 frames, 4 converged, 1 " in out


def test_bad_calls_are_refused_before_the_work(stack, tmp_path, capsys):
    one, many, deep = (tmp_path / f"{name}.npy" for name in ("one", "many", "deep"))
    np.save(one, stack[0])
    np.save(many, stack)
    np.save(deep, np.stack([stack, stack]))
    for arguments, message in (
        ((one,), "holds one image: give a stack, or two images"),
        ((deep,), "frames along one axis"),
        ((many, "--window", 16), "--window is an option of two images A B"),
        ((one, one, "--write", tmp_path / "a.npy"), "--write is an option of a stack"),
        ((many, "--reference", "none.tif"), "must be mean, first, previous, the number"),
        ((many, "--reference", many), "must hold one image, got a stack of 4 frames"),
        ((many, "--reference", 4), "reference must be at most 3, got 4"),
        ((many, "--mask", one.with_name("no.npy")), "no such file"),
        ((many, "--write", tmp_path / "a.doc"), "must end in one of .tif"),
        ((many, "--write", many), "many.npy is read as well: choose another name"),
        ((many, "--mask", one, "--write", one), "one.npy is read as well"),
        ((many, "--reference", one, "--write", one), "one.npy is read as well"),
        ((many, "--write", tmp_path / "none" / "a.npy"), "there is no directory"),
    ):
        code, out, err = register(capsys, *arguments)
        assert (code, out) == (2, "") and message in err, (arguments, err)
    assert np.array_equal(np.load(many), stack)
