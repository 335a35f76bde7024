"""Results from files of any content: a result or a ValueError, and little memory."""

import base64
import io
import json
import tracemalloc
import zipfile
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastgauss as fg
from fastgauss.io import tables
from fastgauss.models.model import get_model
from fastgauss.results.background import Background
from fastgauss.results.rows import Rows

MEGABYTE = 1 << 20
ALL = (".csv", ".npz", ".parquet")


def made(n=3, frames=None, background=None, name="symmetric"):
    rng = np.random.default_rng(n)
    model = get_model(name, 2)
    width = model.size * (model.size + 1) // 2
    params, packed = rng.normal(size=(n, model.size)), rng.uniform(size=(n, width))
    counts = np.arange(n, dtype=np.int32)
    rows = Rows(params, packed, rng.uniform(size=n), counts % 9, counts, counts, counts, frames)
    return fg.FitResult(model, rows, absolute=True, background=background)


def background(known):
    return Background(known, np.zeros((1, 0)), np.ones(6))


def entries(tmp_path, result=None):
    """The arrays of a saved result and its facts."""
    path = tmp_path / "good.npz"
    (result or made()).save(path)
    with np.load(path) as file:
        arrays = dict(file)
    return arrays, json.loads(arrays.pop("metadata").item())


def put(path, arrays, facts, packed=False):
    text = facts if isinstance(facts, bytes) else json.dumps(facts).encode()
    save = np.savez_compressed if packed else np.savez
    save(path, **arrays, metadata=np.array(text))
    return path


def refused(path, reason=""):
    with pytest.raises(ValueError, match=rf"{path.name}.*{reason}") as caught:
        fg.FitResult.load(path)
    assert "\n" not in str(caught.value)


def peak(call):
    """Bytes that a call took at most."""
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


# -- any content -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """The bytes of a result in each format."""
    folder = tmp_path_factory.mktemp("good")
    result = made(5, np.arange(5), background(np.arange(12.0).reshape(3, 4)))
    contents = {}
    for suffix in ALL:
        if suffix == ".parquet":
            pytest.importorskip("pyarrow")
        result.save(folder / f"a{suffix}")
        contents[suffix] = (folder / f"a{suffix}").read_bytes()
    return folder, contents, entries(folder)


@pytest.mark.parametrize("suffix", ALL)
@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_a_damaged_file_is_a_result_or_a_value_error(good, suffix, data):
    folder, contents, _ = good
    whole = bytearray(contents[suffix])
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(whole) - 1))
        whole[place] = data.draw(st.integers(0, 255))
    path = folder / f"damaged{suffix}"
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole)))] if data.draw(
        st.booleans()) else whole)  # fmt: skip
    try:
        assert isinstance(fg.FitResult.load(path), fg.FitResult)
    except ValueError as error:
        assert path.name in str(error)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=8,
)


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_any_facts_are_a_result_or_a_value_error(good, data):
    folder, _, (arrays, good_facts) = good
    facts = dict(good_facts)
    name = data.draw(st.sampled_from([*facts, "other"]))
    background = st.lists(_JSON, min_size=3, max_size=3)
    facts[name] = data.draw(background if name == "background" else _JSON)
    path = put(folder / "facts.npz", arrays, facts)
    try:
        assert isinstance(fg.FitResult.load(path), fg.FitResult)
    except ValueError as error:
        assert path.name in str(error)


_DEEP = "[" * 40 + "1.0" + "]" * 40


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[" * 10**5, "nested too deeply"),
        ('{"columns": ' * 10**5, "nested too deeply"),
        (f'{{"columns": {{"x": {_DEEP}}}}}', "nested too deeply"),
        ('{"columns": {"x": [[[1, 2], [3, 4]]]}}', "nested too deeply"),
        (f'{{"columns": {{"x": [1, {10**400}]}}}}', "beyond the numbers of float64"),
        ('{"columns": {"x": [1]}, "metadata": [["format", 1]]}', "'metadata' is not a text"),
        ('{"columns": {"x": [1]}, "metadata": 7}', "'metadata' is not a text"),
        ('{"columns": [1, 2]}', "no entry 'columns'"),
    ],
)
def test_json_of_a_wrong_kind(tmp_path, text, reason):
    path = tmp_path / "a.json"
    path.write_text(text)
    refused(path, reason)


def test_many_small_things_in_json_take_memory_of_the_files_size(tmp_path):
    path = tmp_path / "a.json"
    path.write_text('{"columns": {"x": [' + ",".join(["[]", "{}"] * 200_000) + "]}}")
    assert peak(lambda: refused(path)) < 60 * path.stat().st_size


# -- memory ------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [b"[" * 10**6, b'{"a":' * 10**6, b"[" * 10**5 + b"]" * 10**5])
def test_deep_metadata(tmp_path, text):
    refused(put(tmp_path / "a.npz", entries(tmp_path)[0], text), "nested too deeply")


def _zeros(megabytes, header=None):
    """Letters of many zeros, deflated."""
    file = io.BytesIO()
    if header is not None:
        np.lib.format.write_array_header_1_0(
            file, {"descr": "<f8", "fortran_order": False, "shape": header}
        )
    packer = zlib.compressobj(9)
    parts = [packer.compress(file.getvalue())]
    parts += [packer.compress(bytes(MEGABYTE)) for _ in range(megabytes)]
    return base64.b64encode(b"".join(parts) + packer.flush()).decode()


@pytest.mark.parametrize("header", [None, (10**12,), (100 * MEGABYTE // 8,), (3,), (0, 10**9)])
def test_a_background_that_unpacks_to_much(tmp_path, header):
    arrays, facts = entries(tmp_path)
    facts["background"] = [_zeros(100, header), None, None]
    path = put(tmp_path / "a.npz", arrays, facts)
    assert peak(lambda: refused(path)) < 20 * MEGABYTE


def test_entries_that_unpack_to_much(tmp_path):
    arrays, facts = entries(tmp_path)
    many = {name: np.zeros((MEGABYTE, *array.shape[1:])) for name, array in arrays.items()}
    path = put(tmp_path / "a.npz", many, facts, packed=True)
    assert peak(lambda: refused(path, "more than tables compress")) < 20 * MEGABYTE


def test_an_entry_whose_header_tells_of_more(tmp_path):
    arrays, facts = entries(tmp_path)
    path = put(tmp_path / "a.npz", arrays, facts)
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        file, {"descr": "<f8", "fortran_order": False, "shape": (10**12,)}
    )
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("x.npy", file.getvalue() + bytes(24))
    assert peak(lambda: refused(path, "its header declares 8000000000000 bytes")) < 20 * MEGABYTE


def test_parquet_that_unpacks_to_much(tmp_path):
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    zeros = arrow.array(np.zeros(3 * MEGABYTE))
    names = [*made().to_dict()]
    parquet.write_table(arrow.table({name: zeros for name in names}), tmp_path / "a.parquet")
    assert (tmp_path / "a.parquet").stat().st_size < MEGABYTE
    arrow_before = arrow.default_memory_pool().max_memory()
    assert peak(lambda: refused(tmp_path / "a.parquet", "tables compress")) < 20 * MEGABYTE
    assert arrow.default_memory_pool().max_memory() - arrow_before < 20 * MEGABYTE


@pytest.mark.parametrize("suffix", [".npz", ".parquet"])
def test_what_is_saved_can_be_loaded_however_well_it_compresses(tmp_path, suffix, monkeypatch):
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
    monkeypatch.setattr(tables, "_ROOM", 0)
    n = 20_000
    rows = Rows(
        np.full((n, 5), np.nan), np.full((n, 15), np.nan), np.full(n, np.nan),
        *(np.full(n, k, np.int32) for k in (4, 1, 121, 116)), np.zeros(n, np.intp),
    )  # fmt: skip
    slope = np.tile(np.arange(700.0), (400, 1))
    for known in (slope, np.full((3000, 2000), 7.25), np.zeros((2, 3)), np.arange(6.0), None):
        result = fg.FitResult(
            get_model("symmetric", 2), rows, absolute=True, background=background(known)
        )
        result.save(tmp_path / f"a{suffix}")
        again = fg.FitResult.load(tmp_path / f"a{suffix}")
        np.testing.assert_array_equal(again.params, result.params)
        np.testing.assert_array_equal(again.background.known, known)
        assert again.background.terms.shape == (1, 0)


# -- wrong kinds -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "column", "reason"),
    [
        ("status", np.array([0, 2**32, 0]), "'status' has numbers beyond"),
        ("status", np.array([0, 99, 0], np.int32), "unknown codes"),
        ("pixels", np.array([1, 2, 2**63], np.uint64), "'pixels' has numbers beyond"),
        ("frame", np.array([1, 2, 2**63], np.uint64), "'frame' has numbers beyond"),
        ("x", np.zeros((3, 2)), r"'x' has the shape \(3, 2\)"),
        ("x", np.float64(1.0), r"'x' has the shape \(\)"),
        ("x", np.array(["1", "2", "b"]), "'x' is not of numbers"),
        ("x", np.array([1j, 2, 3]), "'x' is of dtype complex128"),
        ("dof", np.array(["1", "9" * 30, "1"]), "'dof' is not of numbers"),
        ("covariance", np.zeros((3, 4)), "not of 15 numbers"),
        ("covariance", np.zeros((2, 15)), "differ in length"),
    ],
)
def test_columns_of_a_wrong_kind(tmp_path, name, column, reason):
    arrays, facts = entries(tmp_path)
    refused(put(tmp_path / "a.npz", {**arrays, name: column}, facts), reason)


@pytest.mark.parametrize("constants", [[1.0], [1.0] * 13, ["1"] * 12, [[1.0]] * 12, "twelve chars"])
def test_constants_of_a_wrong_kind(tmp_path, constants):
    arrays, facts = entries(tmp_path)
    facts |= {"model": "astigmatic", "constants": constants}
    refused(put(tmp_path / "a.npz", arrays, facts), "12 numbers")


def test_a_function_that_varies_by_logarithms_of_sigmas_is_not_taken_for_one_of_sigmas(tmp_path):
    arrays, facts = entries(tmp_path)
    facts |= {"format": 1, "model": "psf_field", "constants": [1.0] * 20}
    refused(put(tmp_path / "a.npz", arrays, facts), "another version of fastgauss")


@pytest.mark.parametrize("parts", [[None] * 3, [None] * 2, [{"shape": [2, 3], "value": 1.0}] * 3])
def test_a_background_of_a_wrong_kind(tmp_path, parts):
    arrays, facts = entries(tmp_path)
    facts["background"] = parts
    refused(put(tmp_path / "a.npz", arrays, facts))


def test_a_constant_background_takes_no_memory(tmp_path):
    arrays, facts = entries(tmp_path, made(background=background(np.full((4, 5), 3.0))))
    assert facts["background"][0] == {"shape": [4, 5], "value": 3.0}
    facts["background"][0]["shape"] = [10**6, 10**6]
    path = put(tmp_path / "a.npz", arrays, facts)
    assert peak(lambda: fg.FitResult.load(path)) < 20 * MEGABYTE
    facts["background"][0]["shape"] = [10**12] * 3
    refused(put(path, arrays, facts))


# -- CSV as others write it --------------------------------------------------------------------


def _csv(tmp_path, change):
    path = tmp_path / "a.csv"
    made(4).save(path)
    path.write_bytes(change(path.read_bytes()))
    return path


@pytest.mark.parametrize(
    "change",
    [
        lambda t: b"\xef\xbb\xbf" + t,
        lambda t: t + b"\n",
        lambda t: t + b"\r\n\r\n",
        lambda t: t.replace(b"\n", b"\r\n"),
        lambda t: t.replace(b"\n", b"\r"),
        lambda t: t.rstrip(b"\n"),
        lambda t: t.replace(b"\n", b"\n\n", 2),
        lambda t: t + b"," * t.split(b"\n")[0].count(b",") + b"\n",
        lambda t: t + b"  \n",
        lambda t: b"\n".join(line + b",note" for line in t.splitlines()),
        lambda t: b"\n".join(line + b",\xe2\x82\xac" * 9 for line in t.splitlines()),
    ],
    ids=range(11),
)
def test_a_csv_that_went_through_other_programs(tmp_path, change):
    again = fg.FitResult.load(_csv(tmp_path, change))
    np.testing.assert_array_equal(again.params, made(4).params)
    assert again.absolute and again.pixel == "sample"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda t: b"", "no header line"),
        (lambda t: b"\n\n", "no header line"),
        (lambda t: t.replace(b"\n", b"\n1,2\n", 1), "line 2 has 2 cells, the header 26"),
        (lambda t: t.decode().encode("utf-16"), "utf-8"),
        (lambda t: t + b'"x', "line 6 has 1 cells"),
    ],
    ids=range(5),
)
def test_a_csv_that_is_refused(tmp_path, change, reason):
    refused(_csv(tmp_path, change), reason)


def test_long_notes_in_a_csv_take_their_own_memory(tmp_path):
    def noted(text):
        head, row, *_ = text.splitlines()
        return b"\n".join([head + b",note", *[row + b",ok"] * 2000, row + b"," + b"x" * 120_000])

    path = _csv(tmp_path, noted)
    assert peak(lambda: fg.FitResult.load(path)) < 60 * path.stat().st_size
    assert len(fg.FitResult.load(path)) == 2001


@pytest.mark.parametrize("category", [False, True])
def test_a_csv_that_pandas_made_parquet_of(tmp_path, category):
    pandas, _ = pytest.importorskip("pandas"), pytest.importorskip("pyarrow")
    made(4).save(tmp_path / "a.csv")
    table = pandas.read_csv(tmp_path / "a.csv")
    table["pixel"] = "integrate"
    if category:
        table["pixel"] = table["pixel"].astype("category")
    table["when"] = pandas.Timestamp("2020-01-01")
    table.to_parquet(tmp_path / "b.parquet")
    again = fg.FitResult.load(tmp_path / "b.parquet")
    np.testing.assert_array_equal(again.params, made(4).params)
    assert again.pixel == "integrate" and again.absolute
