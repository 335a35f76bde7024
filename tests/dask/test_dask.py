"""Jobs over dask arrays: the bits of the same job in memory, on every scheduler."""

import subprocess
import sys
import warnings

import numpy as np
import pytest

import fastgauss as fg
from fastgauss.kernels._compile import JIT_DISABLED

dask = pytest.importorskip("dask")
da = pytest.importorskip("dask.array")
pd = pytest.importorskip("pandas")
distributed = pytest.importorskip("distributed")
import fastgauss.dask as fd  # noqa: E402

SIDE, COUNT = (24, 4) if JIT_DISABLED else (48, 7)


@pytest.fixture(autouse=True)
def _synchronous():
    with dask.config.set(scheduler="synchronous"):
        yield


@pytest.fixture(scope="module")
def frames():
    """Photons of a few spots; frame 2 shows none."""
    rng = np.random.default_rng(5)
    stack = np.full((COUNT, SIDE, SIDE - 3), 5, np.uint16)
    for k in range(COUNT):
        if k != 2:
            spots = np.empty((3, 5))
            spots[:] = 300.0, 0.0, 0.0, 1.3, 1.0
            spots[:, 1:3] = rng.uniform(5, SIDE - 8, (3, 2))
            light = fg.image(spots, stack.shape[1:], model="symmetric").sum(axis=0)
            stack[k] = rng.poisson(light)
    return stack


@pytest.fixture(scope="module")
def table(frames):
    """What fits of one frame after the other give."""
    return one_by_one(frames, lambda k: {})


@pytest.fixture(scope="module")
def client():
    """Two processes of one thread each."""
    with warnings.catch_warnings():
        # sockets and event loops of distributed's own that it leaves to the garbage collector
        warnings.simplefilter("ignore", ResourceWarning)
        cluster = distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0"
        )
        with cluster, distributed.Client(cluster, set_as_default=False) as client:
            yield client


def one_by_one(frames, options, *positions):
    tables = []
    for k, frame in enumerate(frames):
        columns = fg.fit_spots(frame, *positions, **options(k)).to_dict()
        tables.append(pd.DataFrame({"frame": np.full(len(columns["x"]), k), **columns}))
    return pd.concat(tables, ignore_index=True)


def assert_same(found, expected):
    assert list(found.columns) == list(expected.columns)
    assert (found.dtypes == expected.dtypes).all()
    for name in expected:
        assert found[name].to_numpy().tobytes() == expected[name].to_numpy().tobytes(), name


@pytest.mark.parametrize("chunks", [(-1, -1, -1), (1, 20, 20), (3, -1, 9)])
@pytest.mark.parametrize("scheduler", ["synchronous", "threads"])
def test_spots_do_not_depend_on_chunks_and_scheduler(frames, table, chunks, scheduler):
    spots = fd.fit_spots(da.from_array(frames, chunks=chunks))
    assert_same(spots._meta, table[:0])
    assert_same(spots.compute(scheduler=scheduler), table)


def test_two_processes_give_the_same_tables_and_volumes(client, frames, table):
    spots = fd.fit_spots(da.from_array(frames, chunks=(2, -1, -1)))
    assert_same(client.compute(spots, sync=True), table)
    places = np.random.default_rng(2).uniform(0, 20, (60, 3))
    volume = fd.render((20, 20, 20), da.from_array(places, chunks=(25, 3)), 2.0, 1.5, chunks=8)
    found = client.compute(volume, sync=True)
    assert found.tobytes() == fg.render((20, 20, 20), places, 2.0, 1.5).tobytes()
    picture = frames[0].astype(float)
    lazy = da.from_array(picture, chunks=9)
    for function, options in ((fg.gaussian_filter, {"sigma": 1.5}), (fg.level, {})):
        found = client.compute(function(lazy, **options), sync=True)
        np.testing.assert_array_equal(found, function(picture, **options))
    found = client.compute(fg.evaluate(lazy[0], [1.0, 9.0, 2.0, 0.0]), sync=True)
    np.testing.assert_array_equal(found, fg.evaluate(picture[0], [1.0, 9.0, 2.0, 0.0]))
    assert len(client.run(fg.get_num_threads)) == 2


def test_each_frame_has_its_own_mask_or_that_of_all(frames):
    frames = frames.astype(np.float64)
    masks = np.random.default_rng(1).random(frames.shape) < 0.05
    weights = np.full(frames.shape[1:], 0.5)
    places = [[10.0, 10.0], [15.0, 17.5]]
    expected = one_by_one(frames, lambda k: {"mask": masks[k], "weights": weights}, places)
    for mask in (masks, da.from_array(masks, chunks=(3, 9, 9))):
        stack = da.from_array(frames, chunks=(2, -1, -1))
        found = fd.fit_spots(stack, places, mask=mask, weights=da.from_array(weights, chunks=9))
        assert_same(found.compute(), expected)


def test_errors_go_with_their_frames(frames):
    errors = np.random.default_rng(2).uniform(1.0, 3.0, frames.shape)
    places = [[10.0, 10.0], [15.0, 14.5]]
    expected = one_by_one(frames, lambda k: {"error": errors[k]}, places)
    stack = da.from_array(frames, chunks=(2, -1, -1))
    assert_same(fd.fit_spots(stack, places, error=errors).compute(), expected)
    rois = frames[:4, 4:15, 4:15]
    found = fd.fit_rois(da.from_array(rois, chunks=(3, -1, -1)), error=errors[:4, :11, :11])
    whole = fg.fit_rois(rois, error=errors[:4, :11, :11])
    assert_same(found.compute(), pd.DataFrame(whole.to_dict()))


@pytest.mark.skipif(JIT_DISABLED, reason="rounds of many fits")
def test_crowded_frames_are_fitted_jointly(frames):
    expected = one_by_one(frames, lambda k: {"joint": True})
    spots = fd.fit_spots(da.from_array(frames, chunks=(4, -1, -1)), joint=True)
    assert_same(spots.compute(), expected)


def test_stacks_and_options_may_be_labelled(frames, table):
    xr = pytest.importorskip("xarray")
    labelled = xr.DataArray(frames, dims=("t", "y", "x"))
    none = xr.zeros_like(labelled, dtype=bool)
    for stack, mask in ((labelled, none[0]), (labelled.chunk({"t": 3}), none.chunk({"t": 2}))):
        found = fd.fit_spots(stack, mask=mask).compute()
        pd.testing.assert_frame_equal(found.reset_index(drop=True), table)
    rotated, hidden = labelled.transpose("x", "y", "t"), none[0].transpose("x", "y")
    found = fd.fit_spots(rotated, mask=hidden).compute()
    pd.testing.assert_frame_equal(found.reset_index(drop=True), table)
    with pytest.raises(ValueError, match="mask must have axes with names where stack has"):
        fd.fit_spots(rotated, mask=none[0].values)


def test_frames_without_data_have_no_rows(table):
    for stack in (da.full((4, 20, 20), np.nan, chunks=2), da.zeros((0, 20, 20))):
        assert_same(fd.fit_spots(stack).compute(), table[:0])


def test_rois_are_fitted_with_options_of_their_own():
    rng = np.random.default_rng(3)
    n = 9 if JIT_DISABLED else 50
    truth = np.column_stack([np.full(n, 90.0), rng.uniform(4, 6, (n, 2)), np.full((n, 2), 1.5)])
    rois = fg.image(truth, (11, 11), model="symmetric") + rng.normal(size=(n, 11, 11))
    weights = rng.uniform(0.5, 2.0, rois.shape)
    low = np.full(n, 0.5)
    fixed = {"offset": truth[:, 4]}
    expected = fg.fit_rois(
        rois, guess=truth, weights=weights, fixed=fixed, bounds={"sigma": (low, 3.0)}
    )
    spots = fd.fit_rois(
        da.from_array(rois, chunks=(4, 5, 11)), guess=da.from_array(truth, chunks=7),
        weights=weights, fixed=fixed, bounds={"sigma": (da.from_array(low, chunks=3), 3.0)},
    )  # fmt: skip
    found = spots.compute()
    assert spots.known_divisions
    assert_same(found, pd.DataFrame(expected.to_dict()))
    assert found.index.tolist() == list(range(n))


RNG = np.random.default_rng(4)
INDICES, AMOUNTS = RNG.integers(0, 20, 500), RNG.integers(-9, 9, 500)


@pytest.mark.parametrize("dtype", ["i1", "i8", "f8"])
@pytest.mark.parametrize("split_every", [2, 8])
def test_sums_of_whole_numbers_are_exact(dtype, split_every):
    expected = np.arange(20).astype(dtype)
    fg.add_at(expected, INDICES, AMOUNTS.astype("i1"))
    start = da.arange(20, chunks=7).astype(dtype)
    amounts = da.from_array(AMOUNTS.astype("i1"), chunks=50)
    bins = da.from_array(INDICES, chunks=90)
    found = fd.add_at(start, bins, amounts, split_every=split_every)
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found.compute(), expected)


def test_values_go_to_rows_and_to_pairs_of_indices():
    bins = da.from_array(INDICES, chunks=90)
    rows = np.column_stack([AMOUNTS, AMOUNTS[::-1]])
    for values in (rows, np.array([1, 2]), 3):
        expected = np.zeros((20, 2), int)
        fg.add_at(expected, INDICES, values)
        found = fd.add_at(np.zeros((20, 2), int), bins, values)
        np.testing.assert_array_equal(found.compute(), expected)
    expected = np.zeros((20, 20), int)
    fg.add_at(expected, (INDICES, INDICES[::-1]), AMOUNTS)
    found = fd.add_at(np.zeros((20, 20), int), (bins, INDICES[::-1]), AMOUNTS)
    np.testing.assert_array_equal(found.compute(), expected)


@pytest.mark.parametrize("split_every", [2, 5])
def test_mass_deposited_in_chunks_is_that_of_one_call(split_every):
    places = RNG.uniform(-3, 30, (300, 2))
    values = RNG.normal(size=(300, 2))
    expected = fg.deposit((20, 25), places, values)
    lazy = da.from_array(places, chunks=(70, 1))
    found = fd.deposit((20, 25), lazy, values, split_every=split_every).compute()
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-13 * np.abs(values).sum())
    whole = fd.deposit((20, 25), lazy.rechunk(-1), values)
    assert whole.compute().tobytes() == expected.tobytes()


@pytest.mark.parametrize(
    "call",
    [
        lambda: fd.fit_spots(da.ones((3, 4))),
        lambda: fd.fit_spots(da.ones((3, 9, 9)), model="round"),
        lambda: fd.fit_spots(da.ones((3, 9, 9)), sigma=-1.0),
        lambda: fd.fit_spots(da.ones((3, 9, 9)), box=0),
        lambda: fd.fit_spots(da.ones((3, 9, 9)), width=3),
        lambda: fd.fit_spots(da.ones((3, 9, 9)), progress=True),
        lambda: fd.fit_spots(da.ones((3, 9, 9)), mask=np.zeros((2, 9, 9), bool)),
        lambda: fd.fit_spots(da.ones((3, 9, 9), dtype=complex)),
        lambda: fd.fit_spots(da.ones((9, 9, 9))[da.ones(9) > 0]),
        lambda: fd.fit_rois(da.ones((3, 9, 9)), shared="sigma"),
        lambda: fd.fit_rois(da.ones((3, 9, 9)), fixed=3),
        lambda: fd.fit_rois(da.ones((3, 9, 9)), guess=np.ones((2, 5))),
        lambda: fd.add_at(np.zeros(3), da.zeros((2, 2), dtype=int), 1),
        lambda: fd.add_at(np.zeros(3), da.zeros(2, dtype=int), 1, split_every=1),
        lambda: fd.add_at(np.zeros(3), da.zeros(2, dtype=int), 1, mode="loop"),
        lambda: fd.deposit((3, 3), da.zeros((2, 3))),
        lambda: fd.deposit((3, 3), da.zeros((2, 2)), kernel="round"),
        lambda: fd.render((9, 9), [[1.0, np.nan]]),
        lambda: fd.render((9, 9), da.ones((3, 3))),
        lambda: fd.render((9, 9), da.ones((3, 2)), amplitudes=[1.0, 2.0]),
        lambda: fd.render((9, 9), da.ones((3, 2)), sigma=-1.0),
        lambda: fd.render((9, 9), [[1.0, 2.0]], combine="add"),
        lambda: fd.render((9, 9), [[1.0, 2.0]], out=np.zeros((9, 9))),
        lambda: fd.gaussian_filter(da.ones((9, 9)), -1.0),
        lambda: fd.gaussian_filter(da.ones((9, 9)), 1.0, method="fft"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_computed(call):
    with pytest.raises((TypeError, ValueError)):
        call()


def test_the_package_alone_imports_neither_dask_nor_xarray():
    code = "import sys, fastgauss; print({'dask', 'xarray', 'pandas'} & set(sys.modules))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "set()"
