"""Stacks that lie in files or are made as they are asked for: a chunk of frames at a time."""

import runpy
from pathlib import Path

import numpy as np
import pytest

import fastgauss as fg
from fastgauss.cli.command import main
from fastgauss.kernels._compile import JIT_DISABLED

dask = pytest.importorskip("dask")
pytest.importorskip("pandas")
tifffile = pytest.importorskip("tifffile")
zarr = pytest.importorskip("zarr")
import fastgauss.dask as fd  # noqa: E402
from fastgauss.io import images  # noqa: E402

SIDE, COUNT = 20, 7
EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "large_stack.py"


@pytest.fixture(scope="module")
def stack():
    rng = np.random.default_rng(1)
    light = fg.image([300.0, 9.2, 11.4, 1.3, 5.0], (SIDE, SIDE + 2), model="symmetric")
    return rng.poisson(light, (COUNT, *light.shape)).astype(np.uint16)


@pytest.fixture(params=[".tif", ".zarr", ".npy", "-packed.tif"])
def path(request, stack, tmp_path):
    """The stack in a file."""
    path = tmp_path / f"stack{request.param}"
    if path.suffix == ".zarr":
        zarr.open(str(path), mode="w", shape=stack.shape, chunks=(3, 20, 11), dtype="u2")[:] = stack
    elif path.suffix == ".npy":
        np.save(path, stack)
    else:
        tifffile.imwrite(path, stack, compression="zlib" if "packed" in path.name else None)
    return path


def test_frames_are_read_when_asked_for(path, stack):
    for frames in (None, 1, 4):
        lazy = fd.open_stack(path, frames=frames)
        assert (lazy.shape, lazy.dtype) == (stack.shape, stack.dtype)
        np.testing.assert_array_equal(lazy.compute(scheduler="synchronous"), stack)
    assert fd.open_stack(path, frames=4).chunks[0] == (4, 3)


def test_the_shell_and_dask_fit_a_file_alike(path, tmp_path, capsys):
    table = tmp_path / "spots.npz"
    assert main(["fit", str(path), "-o", str(table), "--threads", "1"]) == 0
    spots = fd.fit_spots(fd.open_stack(path, frames=4)).compute(scheduler="synchronous")
    columns = fg.FitResult.load(table).to_dict()
    assert list(columns) == list(spots.columns)
    for name in set(columns) - {"id"}:  # a task of dask knows no other frames
        assert columns[name].tobytes() == spots[name].to_numpy().tobytes(), name
    assert f"{len(spots)} spots in" in capsys.readouterr().out


def test_a_chunk_of_a_zarr_stack_is_unpacked_once(tmp_path, monkeypatch):
    path = tmp_path / "a.zarr"
    array = zarr.open(str(path), mode="w", shape=(2, 5, 6, 7), chunks=(1, 3, 6, 7), dtype="u2")
    array[:] = np.arange(420).reshape(array.shape)
    reads = []
    read = zarr.Array.__getitem__
    monkeypatch.setattr(zarr.Array, "__getitem__", lambda s, k: reads.append(k) or read(s, k))
    with images.open_image(path) as frames:
        found = np.array(list(frames))
    assert len(reads) == 4
    np.testing.assert_array_equal(found, np.arange(420).reshape(10, 6, 7))


def test_a_zarr_group_is_refused(tmp_path):
    zarr.open_group(str(tmp_path / "g.zarr"), mode="w")
    with pytest.raises(ValueError, match="group"), images.open_image(tmp_path / "g.zarr"):
        pass


def test_a_stack_cut_short_is_said_to_be(stack, tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, stack)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ValueError, match="cannot read"), images.open_image(path) as frames:
        frames[COUNT - 1]


@pytest.mark.skipif(JIT_DISABLED, reason="many pixels")
@pytest.mark.parametrize("source", ["made", "tiff", "zarr"])
def test_the_example_fits_what_is_there(source, monkeypatch, capsys):
    arguments = ["--gigabytes", "0.003", "--side", "256", "--chunk", "8", "--source", source]
    monkeypatch.setattr("sys.argv", [EXAMPLE.name, *arguments])
    runpy.run_path(str(EXAMPLE))["main"]()
    shown = capsys.readouterr().out
    assert "23 frames of 256 x 256" in shown
    spots = int(shown.splitlines()[1].split()[0])
    assert spots == 0 if source != "made" else 100 < spots < 23 * 40
