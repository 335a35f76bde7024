"""Results as tables and files: what is saved comes back, to the bit."""

import pickle
import re
import sys
from html.parser import HTMLParser

import numpy as np
import pytest

import fastgauss as fg
from fastgauss.models.model import get_model
from fastgauss.results.background import Background
from fastgauss.results.rows import Rows

ASTIGMATIC = fg.astigmatic_model((1.3, -250.0, 400.0), (1.3, 250.0, 400.0), (-500.0, 500.0))
MODELS = [
    *(get_model(name, ndim) for name in ("symmetric", "elliptic") for ndim in (1, 2, 3)),
    get_model("rotated", 1),
    get_model("rotated", 2),
    ASTIGMATIC,
]
WHOLE = (".parquet", ".npz", ".ecsv", ".fits")  # keep everything
NEEDED = {".parquet": "pyarrow", ".ecsv": "astropy", ".fits": "astropy"}


def made(model=MODELS[1], n=7, seed=0, frames=None, **others):
    """A result that no fit has made."""
    rng = np.random.default_rng(seed)
    half = rng.normal(size=(n, model.size, model.size))
    rows, columns = np.tril_indices(model.size)
    packed = (half @ half.swapaxes(1, 2))[:, rows, columns]
    params = rng.normal(size=(n, model.size)) * 10.0 ** rng.integers(-50, 50, (n, model.size))
    params[:1], packed[:1] = np.nan, np.nan
    status = rng.integers(0, 9, n).astype(np.int32)
    pixels = rng.integers(0, 99, n).astype(np.int32)
    options = {"absolute": False, "pixel": "sample"} | others
    rows = Rows(params, packed, rng.uniform(size=n), status, pixels + 1, pixels, pixels - 5)
    return fg.FitResult(model, rows._replace(frames=frames), **options)


def assert_same(one, other, covariance=True):
    """Equal in every bit, and of the same kinds."""
    assert type(one.model) is type(other.model) and one.model == other.model
    assert (one.pixel, one.absolute) == (other.pixel, other.absolute)
    names = ["params", "errors", "objective", "status", "iterations", "pixels", "dof"]
    for name in [*names, *(["covariance"] if covariance else [])]:
        first, second = getattr(one, name), getattr(other, name)
        assert first.dtype == second.dtype, name
        np.testing.assert_array_equal(first, second, err_msg=name)
    assert (one.frames is None) == (other.frames is None)
    if one.frames is not None:
        np.testing.assert_array_equal(one.frames, other.frames)


def back(tmp_path, result, suffix):
    if suffix in NEEDED:
        pytest.importorskip(NEEDED[suffix])
    result.save(tmp_path / f"spots{suffix}")
    return fg.FitResult.load(tmp_path / f"spots{suffix}")


# -- files -------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [*WHOLE, ".csv"])
@pytest.mark.parametrize("model", MODELS, ids=lambda model: f"{model.name}-{model.ndim}")
def test_a_result_comes_back_to_the_bit(tmp_path, model, suffix):
    whole = suffix in WHOLE
    for options in (
        {},
        {"absolute": True, "pixel": "integrate", "frames": np.arange(7) // 2},
        {"n": 0, "frames": np.empty(0, np.intp)} if whole else {},
    ):
        result = made(model, **options)
        if model is ASTIGMATIC and not whole:
            with pytest.raises(ValueError, match="cannot hold the constants"):
                result.save(tmp_path / "spots.csv")
            continue
        assert_same(back(tmp_path, result, suffix), result, covariance=whole)
    assert_same(pickle.loads(pickle.dumps(result)), result)


def test_a_real_fit_comes_back(tmp_path):
    truth = [[50.0, 5.1, 4.6, 1.5, 8.0], [90.0, 4.8, 5.3, 1.2, 10.0]]
    rois = (
        np.random.default_rng(0).poisson(fg.image(truth, (11, 11), model="symmetric")).astype(float)
    )
    result = fg.fit_rois(rois)
    for suffix in WHOLE:
        again = back(tmp_path, result, suffix)
        assert_same(again, result)
        assert repr(again) == repr(result)


@pytest.mark.parametrize("suffix", WHOLE)
def test_the_background_of_a_joint_fit_comes_back(tmp_path, suffix):
    rng = np.random.default_rng(0)
    scale = rng.uniform(size=6)
    for known, terms in (
        (None, rng.normal(size=(3, 3))),
        (rng.normal(size=(30, 20)), np.zeros((1, 0))),
        (np.full((900, 900), 7.5), np.zeros((1, 0))),
    ):
        again = back(tmp_path, made(background=Background(known, terms, scale)), suffix).background
        np.testing.assert_array_equal(again.terms, terms)
        np.testing.assert_array_equal(again.scale, scale)
        if known is None:
            assert again.known is None
        else:
            np.testing.assert_array_equal(again.known, known)
    assert (tmp_path / f"spots{suffix}").stat().st_size < 60_000  # 6.5 MB of one number


def test_parquet_is_a_plain_table_with_units(tmp_path):
    parquet, pandas = pytest.importorskip("pyarrow.parquet"), pytest.importorskip("pandas")
    result = made(frames=np.arange(7))
    result.save(tmp_path / "a.parquet")
    schema = parquet.read_schema(tmp_path / "a.parquet")
    assert schema.field("sigma").metadata[b"unit"] == b"px"
    assert schema.field("amplitude_error").metadata[b"unit"] == b"value"
    table = pandas.read_parquet(tmp_path / "a.parquet")
    assert list(table.columns) == [*result.to_dict(), "covariance"]
    np.testing.assert_array_equal(table["x"], result.x)


def test_tables_of_others_are_read_as_far_as_they_go(tmp_path):
    pytest.importorskip("pyarrow")
    result = made()
    pytest.importorskip("pandas")
    result.to_dataframe().to_csv(tmp_path / "a.csv", index=False)
    result.to_dataframe().to_parquet(tmp_path / "a.parquet")
    for name in ("a.csv", "a.parquet"):
        again = fg.FitResult.load(tmp_path / name)
        assert_same(again, result, covariance=False)
        off = again.covariance[:, ~np.eye(5, dtype=bool)]
        assert np.isnan(off).all()


def edited(tmp_path, change):
    """A CSV after a change of its text."""
    made().save(tmp_path / "a.csv")
    text = (tmp_path / "a.csv").read_text()
    (tmp_path / "a.csv").write_text(change(text))
    return tmp_path / "a.csv"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.replace("sigma", "width"), "not the parameters of the model 'symmetric'"),
        (lambda t: t.replace("dof", "freedom"), "it has no 'dof'"),
        (lambda t: t.replace("x_error", "dx"), "it has no 'x_error'"),
        (lambda t: re.sub("(?m)^nan,", "many,", t), "column 'amplitude' is not of numbers"),
        (lambda t: t.replace("sample", "integrate", 1), "'pixel' has several words"),
        (lambda t: t.replace("sample", "middle"), "pixel must be one of"),
        (lambda t: t.replace("symmetric", "square"), "the model 'square'"),
        (lambda t: t[:-60], "cannot read .* line 8 has 16 cells, the header 26"),
        (lambda t: "", "cannot read"),
        (lambda t: "a\x00b", "(cannot read|holds no result)"),
    ],
)
def test_what_is_no_result_is_refused(tmp_path, change, message):
    with pytest.raises(ValueError, match=message) as caught:
        fg.FitResult.load(edited(tmp_path, change))
    assert "a.csv" in str(caught.value)


@pytest.mark.parametrize("suffix", [*WHOLE, ".csv"])
def test_files_that_hold_something_else(tmp_path, suffix):
    if suffix in NEEDED:
        pytest.importorskip(NEEDED[suffix])
    path = tmp_path / f"a{suffix}"
    with pytest.raises(FileNotFoundError, match="no such file"):
        fg.FitResult.load(path)
    path.write_bytes(b"\x93hello\xff\n" * 50)
    with pytest.raises(ValueError, match="cannot read"):
        fg.FitResult.load(path)
    with pytest.raises(ValueError, match="must end in one of"):
        made().save(tmp_path / "a.xlsx")


def test_an_archive_that_was_changed(tmp_path):
    made().save(tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz") as entries:
        good = dict(entries)
    for entry, value, message in (
        ("metadata", np.array(b"{}"), "it has no 'format'"),
        ("metadata", np.array(b"[1]"), "another version"),
        ("metadata", np.array(b"{"), "holds no result"),
        ("x", good["x"][:3], "holds no result"),
        ("dof", good["dof"][:3], "differ in length"),
        ("x", np.arange(7) * 1j, "'x' is of dtype complex"),
        ("status", good["status"] + 99, "'status' has unknown codes"),
        ("covariance", good["covariance"][:, 1:], "not of 15 numbers"),
    ):
        np.savez(tmp_path / "b.npz", **{**good, entry: value})
        with pytest.raises(ValueError, match=message):
            fg.FitResult.load(tmp_path / "b.npz")
    objects = np.array([{}] * 7, dtype=object)
    np.savez(tmp_path / "b.npz", allow_pickle=True, **{**good, "x": objects})
    with pytest.raises(ValueError, match="cannot read"):
        fg.FitResult.load(tmp_path / "b.npz")


@pytest.mark.parametrize("suffix", [".ecsv", ".fits"])
def test_astropy_is_named_where_it_is_missing(tmp_path, monkeypatch, suffix):
    for name in ("ascii", "fits"):
        monkeypatch.setitem(sys.modules, f"astropy.io.{name}", None)
    with pytest.raises(ImportError, match="needs astropy: pip install"):
        made().save(tmp_path / f"a{suffix}")
    assert not [*tmp_path.iterdir()]
    (tmp_path / f"a{suffix}").write_bytes(b"")
    with pytest.raises(ImportError, match=r"reading .* needs astropy"):
        fg.FitResult.load(tmp_path / f"a{suffix}")
    monkeypatch.setitem(sys.modules, "astropy.table", None)
    monkeypatch.setitem(sys.modules, "astropy.units", None)
    with pytest.raises(ImportError, match="to_table needs astropy"):
        made().to_table()


def test_a_missing_library_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(ImportError, match="pyarrow"):
        made().save(tmp_path / "a.parquet")
    (tmp_path / "a.parquet").write_bytes(b"")
    with pytest.raises(ImportError, match="reading Parquet needs pyarrow"):
        fg.FitResult.load(tmp_path / "a.parquet")


# -- rows and columns --------------------------------------------------------------------------


def test_frames_are_the_first_column_and_units_go_along():
    pytest.importorskip("pandas")
    result = made(ASTIGMATIC, frames=np.arange(7))
    table = result.to_dataframe()
    assert next(iter(result.to_dict())) == table.columns[0] == "frame"
    assert result.to_structured().dtype.names[0] == "frame"
    assert set(table.attrs["units"]) == set(table.attrs["meanings"]) == set(table.columns)
    assert table.attrs["units"]["z"] == "as calibrated"
    assert table.attrs["units"]["objective"] == "value^2"
    for model in MODELS:
        units = made(model, absolute=True).to_dataframe().attrs["units"]
        assert units["objective"] == "" and units["flux"] == f"value px^{model.ndim}"


def test_every_column_is_told_in_the_docstring():
    for model in MODELS:
        for name in made(model).to_dict():
            assert name.endswith("_error") or f"\n{' ' * 8}{name} " in fg.FitResult.to_dict.__doc__


def test_results_are_joined():
    parts = [made(seed=k, n=k + 2) for k in range(3)]
    whole = fg.FitResult.concatenate(parts, frames=[4, 0, 9])
    np.testing.assert_array_equal(whole.frames, np.repeat([4, 0, 9], [2, 3, 4]))
    for frame, part in zip((4, 0, 9), parts, strict=True):
        own = whole[whole.frames == frame]
        own.frames = None
        assert_same(own, part)
    assert fg.FitResult.concatenate(iter(parts)).frames is None
    again = fg.FitResult.concatenate([whole[:4], whole[4:]])
    assert_same(again, whole)


def test_a_common_background_is_kept():
    one, other = (Background(None, np.full((1, 1), k), np.ones(6)) for k in (1.0, 2.0))
    same = Background(None, np.full((1, 1), 1.0), np.ones(6))
    join = fg.FitResult.concatenate
    assert join([made(background=one), made(background=same)]).background is one
    assert join([made(background=one), made(background=other)]).background is None
    assert join([made(background=one), made()]).background is None


@pytest.mark.parametrize(
    ("others", "frames", "error", "message"),
    [
        ([made(MODELS[0])], None, ValueError, "must have one model"),
        ([made(pixel="integrate")], None, ValueError, "must have one pixel"),
        ([made(absolute=True)], None, ValueError, "must have one absolute"),
        ([made(frames=np.arange(7))], None, ValueError, "must all have frames"),
        ([made()], [1], ValueError, "frames must have 2 numbers"),
        ([made()], [1.0, 2.0], TypeError, "frames must be integers"),
        (["spots"], None, TypeError, r"results\[1\] must be a FitResult"),
    ],
)
def test_what_does_not_join(others, frames, error, message):
    with pytest.raises(error, match=message):
        fg.FitResult.concatenate([made(), *others], frames)


def test_of_nothing_there_is_no_result():
    with pytest.raises(ValueError, match="at least one"):
        fg.FitResult.concatenate([])


def test_sorting_is_stable_and_nan_comes_last():
    result = made(n=40)
    result.params[5, 1] = np.nan
    for name, descending in (("x", False), ("x", True), ("status", True), ("converged", False)):
        column = result.sort(name, descending=descending).to_dict()[name]
        known = column[~np.isnan(column)]
        assert np.isnan(column[len(known) :]).all()
        rotated = known[::-1] if descending else known
        assert (rotated[1:] >= rotated[:-1]).all()
    result.objective[:] = np.arange(40)
    for descending in (False, True):
        found = result.sort(["status", "pixels"], descending=descending)
        keys = list(zip(found.status, found.pixels, strict=True))
        assert keys == sorted(keys, reverse=descending)
        same = found.sort("converged").objective[:3]  # equal ones stay in their order
        np.testing.assert_array_equal(same, found[~found.converged].objective[:3])
    with pytest.raises(ValueError, match="by must be one of"):
        result.sort("size")
    with pytest.raises(ValueError, match="by must name a column"):
        result.sort([])
    with pytest.raises(TypeError, match="descending"):
        result.sort("x", descending=1)
    assert len(made(n=0).sort("x")) == 0


def test_statuses_are_counted():
    result = made(n=200)
    counts = result.status_counts()
    assert sum(counts.values()) == 200 and list(counts.values()) == sorted(
        counts.values(), reverse=True
    )
    for status, count in counts.items():
        assert isinstance(status, fg.Status) and (result.status == status).sum() == count
    assert made(n=0).status_counts() == {}


class _Cells(HTMLParser):
    """Tags that are open, and the rows of cells."""

    def __init__(self):
        super().__init__()
        self.open, self.rows = [], []

    def handle_starttag(self, tag, attrs):
        if tag == "br":
            return
        self.open.append(tag)
        if tag == "tr":
            self.rows.append([])

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1] in ("td", "th"):
            self.rows[-1].append(data)


@pytest.mark.parametrize("n", [0, 1, 10, 5000])
def test_a_notebook_shows_the_first_rows(n):
    text = made(MODELS[-2], n=n, frames=np.arange(n))._repr_html_()
    cells = _Cells()
    cells.feed(text)
    assert not cells.open
    assert len(cells.rows) == 1 + min(n, 10) and len(text) < 12_000
    assert all(row and len(row) == len(cells.rows[0]) for row in cells.rows[1:])
    assert "theta" in cells.rows[0] and "rad" in text
    assert ("more</p>" in text) == (n > 10)


def test_a_models_name_cannot_break_the_page():
    model = type(ASTIGMATIC)("<b>&", 2, ASTIGMATIC.names, ASTIGMATIC.constants)
    text = made(model)._repr_html_()
    assert "<b>" not in text and "&lt;b&gt;&amp;" in text


def test_other_results_say_what_they_are_in_a_line():
    lines = fg.fit_lines([[1.0, 3.0, 5.0], [1.0, np.nan, np.nan]])
    assert repr(lines) == "<LineFit of 2 rows, order 1, 1 good>"
    assert list(lines.to_dict())[:2] == ["coefficients", "errors"]
    nothing = np.zeros((2, 3))
    field = fg.register.DisplacementField(*[nothing] * 8, nothing == 0)
    assert repr(field) == "<DisplacementField of 2 x 3 windows, 6 doubtful>"
