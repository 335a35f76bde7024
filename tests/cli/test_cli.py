"""The command: tables, summaries, and every error as one line with exit code 2."""

import contextlib
import csv
import logging
import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
from numba.core import event
from processes import python

import fastgauss as fg
from fastgauss.cli import command as cli
from fastgauss.cli import compilation, frame_fits
from fastgauss.kernels._cache import WAITING, PackageCache
from fastgauss.kernels._compile import JIT_DISABLED
from fastgauss.kernels.simd.lane_types import WIDTH

tifffile = pytest.importorskip("tifffile")
pytest.importorskip("matplotlib")

X = np.array([15.3, 40.8, 22.1, 50.2])
Y = np.array([12.6, 20.1, 44.9, 51.5])


def scene(seed=0, amplitude=200.0, shift=0.0, shape=(64, 66)):
    """Four spots of sigma 1.4 on a tilted background with Poisson-like noise."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    image = 50.0 + 0.1 * x + np.random.default_rng(seed).normal(0, 3, shape)
    for x0, y0 in zip(X + shift, Y, strict=True):
        image += amplitude * np.exp(-((x - x0) ** 2 + (y - y0) ** 2) / (2 * 1.4**2))
    return image


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "image.npy"
    np.save(path, scene())
    return path


def run(capsys, *arguments):
    """Exit code and what was printed; argparse leaves by SystemExit."""
    try:
        code = cli.main([str(a) for a in arguments])
    except SystemExit as leave:
        code = leave.code
    out, err = capsys.readouterr()
    return code, out, err


def fails(capsys, *arguments):
    """The one line of an error; before it may stand what the file was taken for."""
    code, out, err = run(capsys, *arguments)
    assert code == 2
    assert out == ""
    assert err.endswith("\n")
    *told, error = err.splitlines()
    assert len(told) < 2 and all(" pixels" in line for line in told)
    assert error.startswith("fastgauss: error: ")
    return error.removeprefix("fastgauss: error: ")


def only_tells(err, name, what):
    """Whether stderr has one line, which says what the file was taken for."""
    return err.count("\n") == 1 and err.startswith(f"fastgauss: {name}: {what}")


def load(path):
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


# -- fit ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["symmetric", "elliptic", "rotated"])
def test_fit_writes_what_fit_spots_returns(tmp_path, capsys, image, model):
    table_file = tmp_path / "spots.csv"
    code, out, err = run(capsys, "fit", image, "-o", table_file, "--model", model, "--threads", 1)
    assert code == 0 and only_tells(err, "image.npy", "an image of 64 x 66 pixels\n")
    assert "4 spots in image.npy, 4 converged" in out
    assert f"wrote {table_file}" in out
    table = load(table_file)
    expected = fg.fit_spots(scene(), model=model).to_dict()
    assert list(table) == [*expected, "at_bound", "model", "pixel", "absolute"]
    np.testing.assert_array_equal(table["x"].astype(float), expected["x"])
    np.testing.assert_array_equal(table["flux"].astype(float), expected["flux"])
    order = np.argsort(table["x"].astype(float))
    np.testing.assert_allclose(table["x"].astype(float)[order], np.sort(X), atol=0.15)


def test_options_reach_the_fit(tmp_path, capsys, image):
    table_file = tmp_path / "spots.csv"
    options = ("--box", 9, "--sigma", 1.6, "--threshold", 60)
    assert run(capsys, "fit", image, "-o", table_file, *options)[0] == 0
    expected = fg.fit_spots(scene(), box=9, sigma=1.6, threshold=60.0)
    np.testing.assert_array_equal(load(table_file)["sigma"].astype(float), expected.sigma)


def test_photons_and_pixels_of_some_size(tmp_path, capsys, image):
    table_file = tmp_path / "spots.npz"
    options = ("--method", "mle", "--pixel", "integrate")
    assert run(capsys, "fit", image, "-o", table_file, *options)[0] == 0
    found = fg.FitResult.load(table_file)
    assert (found.pixel, found.absolute) == ("integrate", True)
    expected = fg.fit_spots(scene(), method="mle", pixel="integrate")
    np.testing.assert_array_equal(found.covariance, expected.covariance)


def test_joint_fits_and_draws_overlapping_spots_together(tmp_path, capsys, monkeypatch):
    from fastgauss import plot

    y, x = np.mgrid[:66, :66]
    picture = scene(shape=(66, 66)) + 150 * np.exp(-((x - 18.6) ** 2 + (y - 12.6) ** 2) / 3.92)
    np.save(tmp_path / "crowd.npy", picture)
    table_file, drawn = tmp_path / "spots.csv", []
    monkeypatch.setattr(plot, "save_plot", lambda path, figure: drawn.append(figure))
    code, out, err = run(
        capsys, "fit", tmp_path / "crowd.npy", "--joint", "-o", table_file, "--plot", "a.png"
    )
    assert code == 0 and only_tells(err, "crowd.npy", "an image of 66 x 66 pixels\n")
    assert "5 spots in crowd.npy" in out
    expected = fg.fit_spots(picture, joint=True)
    np.testing.assert_array_equal(load(table_file)["x"].astype(float), expected.x)
    assert [axes.get_title() for axes in drawn[0].axes][:2] == ["5 spots", "model"]


def test_without_output_the_first_rows_are_shown(capsys, tmp_path):
    rng = np.random.default_rng(5)
    big = 50.0 + rng.normal(0, 1, (100, 200))
    big[10:-10:20, 10:-10:20] += 300.0
    np.save(tmp_path / "many.npy", big)
    code, out, err = run(capsys, "fit", tmp_path / "many.npy", "--detector", "laplacian")
    told, hint = err.splitlines()
    assert code == 0 and told == "fastgauss: many.npy: an image of 100 x 200 pixels"
    assert hint.startswith("fastgauss: hint: ")  # spots of one pixel have no width
    lines = out.splitlines()
    assert lines[0].startswith("36 spots in many.npy, ")
    assert lines[1].startswith("medians: amplitude ")
    assert lines[3].split() == ["amplitude", "x", "y", "sigma", "offset", "flux", "status"]
    assert len(lines) == 3 + 1 + 10 + 1
    assert lines[-1].startswith("and 26 more; ")


def test_dark_spots(capsys, tmp_path):
    np.save(tmp_path / "dark.npy", scene(amplitude=-40.0))
    assert "4 spots" not in run(capsys, "fit", tmp_path / "dark.npy")[1].splitlines()[0]
    out = run(capsys, "fit", tmp_path / "dark.npy", "--dark")[1]
    assert out.startswith("4 spots in dark.npy, 4 converged")
    assert "medians: amplitude -4" in out or "medians: amplitude -3" in out


def test_a_stack_has_a_frame_column(tmp_path, capsys):
    stack = np.array([scene(seed, shift=0.2 * seed) for seed in range(3)])
    stack[1] = np.nan  # a lost frame does not stop the others
    tifffile.imwrite(tmp_path / "stack.tif", stack.astype(np.float32), photometric="minisblack")
    npz, plot = tmp_path / "spots.npz", tmp_path / "spots.png"
    code, out, err = run(capsys, "fit", tmp_path / "stack.tif", "-o", npz, "--plot", plot)
    told = "3 images: a movie of 64 x 66 pixels (--volume if they are the planes of a volume)\n"
    assert code == 0 and only_tells(err, "stack.tif", told)  # no bar: stderr is no terminal
    assert "8 spots in stack.tif, 3 frames, 8 converged" in out
    assert plot.read_bytes().startswith(b"\x89PNG")
    with np.load(npz) as table:
        assert next(iter(table)) == "frame"
        np.testing.assert_array_equal(table["frame"], np.repeat([0, 2], 4))
        np.testing.assert_allclose(np.sort(table["x"][4:]), np.sort(X + 0.4), atol=0.15)


def test_an_image_without_spots_gives_an_empty_table(tmp_path, capsys):
    np.save(tmp_path / "flat.npy", np.full((30, 30), 7, np.uint16))
    table_file, plot = tmp_path / "spots.csv", tmp_path / "spots.svg"
    code, out, err = run(
        capsys, "fit", tmp_path / "flat.npy", "-o", table_file, "--plot", plot, "--model", "rotated"
    )
    told, hint = err.splitlines()
    assert code == 0 and told == "fastgauss: flat.npy: an image of 30 x 30 pixels"
    assert hint.startswith("fastgauss: hint: no spot was found")
    assert out.startswith("0 spots in flat.npy, 0 converged")
    assert table_file.read_text().startswith("amplitude,x,y,sigma_x,sigma_y,theta,offset,")
    assert table_file.read_text().count("\n") == 1
    assert b"<svg" in plot.read_bytes()


@pytest.mark.skipif(JIT_DISABLED, reason="too many spots for plain Python")
def test_the_example_image(tmp_path, capsys):
    pytest.importorskip("skimage")
    parquet = pytest.importorskip("pyarrow.parquet")
    table_file = tmp_path / "spots.parquet"
    code, out, _ = run(capsys, "fit", "--example", "--threshold", 40, "-o", table_file)
    assert code == 0
    found = int(out.split()[0])
    assert found > 500
    assert parquet.read_table(table_file).num_rows == found


# -- errors ------------------------------------------------------------------------------------


def test_bad_options(capsys, image):
    for options, text in (
        ((), "COMMAND"),
        (("fly",), "invalid choice: 'fly'"),
        (("fit",), "give either IMAGE or --example"),
        (("fit", image, "--example"), "give either IMAGE or --example"),
        (("fit", image, "--box", "wide"), "'wide' in 'wide' is not an integer"),
        (("fit", image, "--box", "0"), "box must be at least"),
        (("fit", image, "--sigma", "nan"), "sigma must be"),
        (("fit", image, "--threshold", "-1"), "threshold must be"),
        (("fit", image, "--threads", "0"), "threads must be at least 1"),
        (("fit", image, "--model", "square"), "invalid choice: 'square'"),
        (("fit", image, "--no-such-option"), "unrecognized arguments"),
    ):
        assert text in fails(capsys, *options)


def test_bad_images(capsys, tmp_path):
    assert "no such file" in fails(capsys, "fit", tmp_path / "none.tif")
    assert "is a directory" in fails(capsys, "fit", tmp_path)
    (tmp_path / "notes.txt").write_text("hello")
    assert "must end in one of" in fails(capsys, "fit", tmp_path / "notes.txt")
    (tmp_path / "bad.tif").write_bytes(b"II*\0 and then nothing")
    assert "cannot read" in fails(capsys, "fit", tmp_path / "bad.tif")
    np.save(tmp_path / "nan.npy", np.full((20, 20), np.nan))
    assert "no finite pixel" in fails(capsys, "fit", tmp_path / "nan.npy")
    np.save(tmp_path / "line.npy", np.ones(20))
    assert "at least 2 dimensions" in fails(capsys, "fit", tmp_path / "line.npy")


def test_bad_outputs_are_refused_before_the_work(capsys, tmp_path, image, monkeypatch):
    monkeypatch.setattr(frame_fits, "fit_frames", None)  # would fail otherwise than expected
    assert "must end in one of" in fails(capsys, "fit", image, "-o", tmp_path / "spots.xlsx")
    assert "must end in one of" in fails(capsys, "fit", image, "--plot", tmp_path / "spots.bmp")
    assert "no directory" in fails(capsys, "fit", image, "-o", tmp_path / "no" / "spots.csv")
    (tmp_path / "d.csv").mkdir()
    assert "it is a directory" in fails(capsys, "fit", image, "-o", tmp_path / "d.csv")
    picture = tmp_path / "picture.png"
    picture.write_bytes(b"")
    assert "is read as well: choose another name" in fails(
        capsys, "fit", picture, "--plot", picture
    )
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert "pip install matplotlib, or" in fails(capsys, "fit", image, "--plot", picture)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    spots = tmp_path / "spots.parquet"
    assert "pip install pyarrow, or" in fails(capsys, "fit", image, "-o", spots)


def test_a_missing_reader_and_a_missing_bar(capsys, tmp_path, monkeypatch):
    path = tmp_path / "stack.npy"
    np.save(path, np.array([scene(), scene(1)]))
    monkeypatch.setitem(sys.modules, "tqdm", None)
    told = run(capsys, "fit", path, "--false-alarms", "0.01")[1]
    assert told.startswith("8 spots in stack.npy, 2 frames")
    tifffile.imwrite(tmp_path / "a.tif", scene())
    monkeypatch.setitem(sys.modules, "tifffile", None)
    assert "pip install tifffile, or" in fails(capsys, "fit", tmp_path / "a.tif")
    monkeypatch.setitem(sys.modules, "skimage", None)
    monkeypatch.setitem(sys.modules, "skimage.data", None)
    assert "pip install scikit-image, or fastgauss" in fails(capsys, "fit", "--example")


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (MemoryError("99 GiB"), 2, "fastgauss: error: not enough memory: 99 GiB\n"),
        (OSError("disk\nfull"), 2, "fastgauss: error: disk full\n"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_what_happens_on_the_way(capsys, image, monkeypatch, error, code, text):
    def fit_frames(*_):
        raise error

    monkeypatch.setattr(frame_fits, "fit_frames", fit_frames)
    assert run(capsys, "fit", image) == (code, "", text)


def test_warnings_are_one_line(capsys, image, monkeypatch):
    import warnings

    def info(_):
        warnings.warn("mind\nthis", UserWarning, stacklevel=1)

    monkeypatch.setattr(cli, "_info", info)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        assert run(capsys, "info") == (0, "", "fastgauss: warning: mind this\n")


# -- the other commands, and real processes ----------------------------------------------------


def test_info_names_versions_and_machine(capsys):
    code, out, _ = run(capsys, "info")
    assert code == 0
    facts = dict(line.split(maxsplit=1) for line in out.splitlines())
    assert facts["fastgauss"] == fg.__version__
    assert facts["numpy"] == np.__version__
    assert {"python", "numba", "scipy", "CPU", "lanes", "threads", "cache"} <= facts.keys()
    assert facts["lanes"].startswith(f"{WIDTH} of float64")


class Started(list):
    """What stands for a process; the class lists the commands."""

    commands: ClassVar[list] = []

    def __init__(self, command, **_):
        self.commands.append(command)

    def terminate(self):
        self.append("ended")

    def wait(self):
        assert self == ["ended"]


def test_warmup_tells_each_job(capsys, monkeypatch):
    called = []
    monkeypatch.setattr(fg, "warmup", called.append)
    monkeypatch.setattr(subprocess, "Popen", Started)
    code, out, _ = run(capsys, "warmup", "joint", "find", "joint")
    assert (code, called) == (0, ["joint", "find"])
    assert [line.split()[0] for line in out.splitlines()] == ["joint", "find", "ready"]
    assert run(capsys, "warmup")[0] == 0 and {"find", "fit", "field", "scatter"} <= set(called)
    code, _, err = run(capsys, "warmup", "find", "--processes", "0")
    assert code == 2 and "processes must be" in err
    code, _, err = run(capsys, "warmup", "sleep")
    assert code == 2 and "jobs must be one of" in err


@pytest.fixture
def silent_log():
    """The log tells of kernels, and these tests compile none."""
    logger = logging.getLogger("fastgauss")
    before = logger.level
    logger.setLevel(logging.WARNING)
    yield
    logger.setLevel(before)


def compile_one(cache):
    """What numba says when a kernel with this cache is compiled."""
    data = {"dispatcher": SimpleNamespace(_cache=cache)}
    return event.trigger_event("numba:compile", data=data)


def test_the_command_says_that_kernels_are_compiled_and_for_how_long(capsys, silent_log):
    def told():
        return capsys.readouterr().err.splitlines()

    ours, now = PackageCache(scene), 0.0
    with compilation.telling(clock=lambda: now):
        with compile_one(None):
            assert told() == []
        with compile_one(ours):
            [first] = told()
            assert first.startswith("fastgauss: compiling for the first time")
            with compile_one(ours):  # one that the first needs
                now = 59.0
        with compile_one(ours):
            now = 61.5
        now = 130.0  # nothing is compiled
        assert told() == ["fastgauss: compiled so far: 3 kernels in 62 s"]
        with compile_one(ours):
            assert told() == ["fastgauss: still compiling: 3 kernels in 62 s"]
            now = 140.0
    assert told() == ["fastgauss: compiled 4 kernels in 72 s"]
    with compilation.telling(clock=lambda: now):
        with compile_one(ours):
            with compile_one(ours):
                now += 90.0
            assert told()[1:] == ["fastgauss: compiled so far: 1 kernel in 90 s"]
            now += 70.0
        assert told() == ["fastgauss: compiled so far: 2 kernels in 160 s"]
    assert told() == ["fastgauss: compiled 2 kernels in 160 s"]
    with compilation.telling():
        pass
    assert told() == []


def test_the_time_of_compiling_is_told_apart_from_that_of_work(silent_log):
    ours, now = PackageCache(scene), 0.0
    with compilation.timed(clock=lambda: now) as took:
        now = 2.0
        assert took() == (2.0, 0.0) and str(took()) == "2.00 s"
        with compile_one(ours):
            now = 10.0
            with compile_one(ours):  # one that the first needs
                now = 12.0
        with compile_one(None):  # a function of somebody else is work
            now = 13.0
        with event.trigger_event(WAITING):  # for another process that compiles
            now = 15.0
            assert took() == (3.0, 12.0)
        now = 15.5
    assert str(took()) == "3.50 s and 12.00 s of compiling"


def test_kernels_of_the_fit_are_compiled_beside_the_search(monkeypatch, silent_log):
    beside = []
    monkeypatch.setattr(
        frame_fits, "shared_fit", lambda *given: beside.append(given) or contextlib.nullcontext()
    )
    options = {"model": "elliptic", "method": "mle"}
    for psf, background in ((None, None), ("measure", None), (None, "plane")):
        args = SimpleNamespace(**options, psf=psf, background=background)
        with frame_fits._compiled_beside(args, "sample", np.dtype("f4")):
            for cache in (None, PackageCache(scene), PackageCache(scene)):
                with compile_one(cache):
                    pass
    assert beside == [("elliptic", "mle", "sample", "<f4")]


_LOADED = """
import sys
from fastgauss.cli import main
try:
    main(["fit", "--help"])
except SystemExit:
    print(sorted(name for name in sys.modules if name.startswith("fastgauss.")
                 and name.split(".")[1] in ("density", "register", "dask", "localisations")))
    print(sorted({"pandas", "matplotlib", "astropy", "dask", "skimage", "tifffile", "scipy.stats",
                  "scipy.ndimage"} & set(sys.modules)))
"""


def test_the_command_loads_no_room_that_it_does_not_use():
    assert python(_LOADED).splitlines()[-2:] == ["[]", "[]"]


def command(*arguments):
    return [sys.executable, "-m", "fastgauss", *map(str, arguments)]


def test_python_m_fastgauss(tmp_path, image):
    table_file = tmp_path / "spots.csv"
    done = subprocess.run(
        command("fit", image, "-o", table_file), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0 and only_tells(done.stderr, "image.npy", "an image of")
    assert len(load(table_file)["x"]) == 4
    done = subprocess.run(
        command("fit", tmp_path / "none.npy"), capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr == f"fastgauss: error: no such file: {tmp_path / 'none.npy'}\n"


@pytest.mark.skipif(os.name != "posix", reason="signals and pipes of POSIX")
def test_nobody_reads_and_ctrl_c(tmp_path):
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(command("info"), stdout=writer, stderr=subprocess.PIPE, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")

    fifo = tmp_path / "slow.npy"
    os.mkfifo(fifo)
    code = (  # a shell may have told its background jobs to ignore Ctrl-C
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler);"
        f"from fastgauss.cli import main; sys.exit(main(['fit', {str(fifo)!r}]))"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        writer = wait_for_reader(fifo, seconds=120)  # now it waits for the image
        for _ in range(30):  # one may come where Python drops it
            child.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                out, err = child.communicate(timeout=2)
                break
        os.close(writer)
    finally:
        child.kill()
    assert (child.returncode, out, err) == (130, b"", b"")


def wait_for_reader(fifo, seconds):
    """The writing end of a pipe, once somebody has opened the other."""
    for _ in range(20 * seconds):
        try:
            return os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:
            time.sleep(0.05)
    raise TimeoutError(f"nobody opened {fifo}")
