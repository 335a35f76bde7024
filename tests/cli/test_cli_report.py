"""``fastgauss fit --report``: one HTML file that holds all that it shows."""

import base64
import itertools
import re
from html.parser import HTMLParser

import numpy as np
import pytest

import fastgauss as fg
from fastgauss.cli import report
from fastgauss.cli.command import main

pytest.importorskip("matplotlib")

VOID = {"meta", "img", "br"}


class Page(HTMLParser):
    """Checks that tags are closed in order; what stands in which tag, and what is loaded."""

    def __init__(self, text):
        super().__init__()
        self.open, self.texts, self.loads = [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.loads += [value for name, value in attrs if name in ("src", "href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append((self.open[-1] if self.open else "", data))

    def inside(self, tag):
        return [text for where, text in self.texts if where == tag]


def page_of(tmp_path, image, *options):
    np.save(tmp_path / "a & b.npy", image)
    target = tmp_path / "report.html"
    assert main(["fit", str(tmp_path / "a & b.npy"), *options, "--report", str(target)]) == 0
    return Page(target.read_text(encoding="utf-8"))


def noisy(*spots, shape=(40, 50)):
    truth = [[height, x, y, 1.3, 0.0] for height, x, y in spots or [(0.0, 0.0, 0.0)]]
    light = 20.0 + fg.image(truth, shape, model="symmetric").sum(axis=0)
    return np.random.default_rng(1).poisson(light)


def test_a_report_is_complete_in_itself(tmp_path, capsys):
    image = noisy((300.0, 20.3, 14.6), (200.0, 38.1, 30.2))
    page = page_of(tmp_path, image, "--method", "mle")
    assert "wrote " in capsys.readouterr().out
    assert page.inside("h1") == ["Spots in a & b.npy"]
    call, summary = page.inside("pre")
    assert call.startswith("fastgauss fit '") and call.endswith("report.html")
    assert summary.startswith("2 spots in a & b.npy, 2 converged")
    assert page.inside("h2") == [
        "The spots", "Spots that converged", "Statuses", "The first spots", "Versions",
    ]  # fmt: skip
    assert "a & b.npy: an image of 40 x 50 pixels" in page.inside("p")
    cells = page.inside("td")
    assert fg.__version__ in cells and np.__version__ in cells
    assert len(page.loads) == 2  # two pictures, no file elsewhere
    for load in page.loads:
        assert load.startswith("data:image/png;base64,")
        assert base64.b64decode(load.partition(",")[2]).startswith(b"\x89PNG")


def test_reports_of_nothing_and_of_failures(tmp_path, capsys):
    page = page_of(tmp_path, noisy((300.0, 20.3, 14.6)), "--threshold", "9e9")
    assert any(
        "no spot was found: the threshold was 9000000000" in text for text in page.inside("p")
    )
    assert len(page.loads) == 1 and "Statuses" not in page.inside("h2")
    page = page_of(tmp_path, noisy((300.0, 20.3, 14.6)), "--box", "2")
    assert "too few pixels" in page.inside("td") and len(page.loads) == 1
    assert any("try a larger --box" in text for text in page.inside("p"))


def test_reports_of_stacks_regions_and_joint_fits(tmp_path):
    image = noisy((300.0, 20.3, 14.6), (200.0, 38.1, 30.2))
    page = page_of(tmp_path, np.stack([image, image]))
    assert "The first frame with its spots" in page.inside("h2")
    page = page_of(tmp_path, image, "--roi", "4:25,10:40", "--joint")
    assert page.inside("pre")[1].startswith("1 spot in a & b.npy, 1 converged")


def test_the_projection_of_a_volume():
    volume = np.zeros((3, 8, 9))
    volume[1, 2, 3], volume[2, 5, 6], volume[:, 0, 0] = 5.0, 7.0, np.nan
    spots = fg.image([9.0, 4.0, 5.0, 1.0, 1.2, 0.0, 1.0, 0.0], (3, 8, 9), model="elliptic")
    assert spots.shape == (3, 8, 9)
    result = fg.fit_rois(np.full((2, 3, 8, 9), np.nan))
    result.params[:] = [9.0, 6.0, 5.0, 1.0, 1.2, 0.0]
    result.status[0] = fg.Status.CONVERGED
    (axes,) = report.projection(volume, result).axes
    (shown,) = axes.images
    flat = np.zeros((8, 9))
    flat[2, 3], flat[5, 6], flat[0, 0] = 5.0, 7.0, np.nan
    np.testing.assert_array_equal(np.ma.filled(shown.get_array(), np.nan), flat)
    marks = {line.get_marker(): line.get_xydata().tolist() for line in axes.lines}
    assert marks == {"o": [[6.0, 5.0]], "x": [[6.0, 5.0]]}


@pytest.mark.parametrize("values", [[3.0], [2.0, 2.0], [1.0, 2.0, 1e300], [-5.0, 0.0, 5.0]])
def test_limits_of_a_histogram(values):
    low, high = report._limits(np.array(values))
    assert low < high and np.isfinite([low, high]).all()
    assert low <= np.median(values) <= high


def test_every_histogram_counts_all_spots():
    rng = np.random.default_rng(0)
    result = fg.fit_rois(np.full((200, 7, 7), np.nan))
    result.params[:] = np.column_stack([10 ** rng.uniform(0, 4, 200), *rng.uniform(1, 3, (4, 200))])
    result.status[:] = fg.Status.CONVERGED
    for axes in report.histograms(result).axes:
        if not axes.get_title():
            continue
        outside = re.search(r"(\d+) outside", axes.get_title())
        counted = sum(patch.get_height() for patch in axes.patches)
        assert counted + (int(outside[1]) if outside else 0) == 200
        assert (axes.get_xscale() == "log") == axes.get_title().startswith("flux")


@pytest.mark.parametrize("ratio", [31.0, 60.0, 990.0, 1e4, 1e9])
def test_numbers_of_a_logarithmic_axis_have_room(ratio):
    count = 60
    params = np.tile([50.0, 5.0, 5.0, 1.3, 2.0], (count, 1))
    result = fg.fit_rois(fg.image(params, (11, 11), "symmetric"))
    result.params[:, 0] = 3.0 * np.geomspace(1.0, ratio, count)
    figure = report.histograms(result)
    figure.draw_without_rendering()
    axes = next(each for each in figure.axes if each.get_title().startswith("flux"))
    low, high = axes.get_xlim()
    told = [
        label.get_window_extent()
        for tick in (*axes.xaxis.get_major_ticks(), *axes.xaxis.get_minor_ticks())
        for label in [tick.label1]
        if label.get_text() and label.get_visible() and low <= tick.get_loc() <= high
    ]
    ends = sorted((box.x0, box.x1) for box in told)
    assert len(ends) >= 2
    assert all(one[1] < other[0] for one, other in itertools.pairwise(ends))


def test_reports_that_cannot_be_written(tmp_path, capsys):
    np.save(tmp_path / "a.npy", noisy())
    for name, text in (
        ("r.pdf", "must end in one of .html"),
        ("no/r.html", "there is no directory"),
    ):
        assert main(["fit", str(tmp_path / "a.npy"), "--report", str(tmp_path / name)]) == 2
        assert text in capsys.readouterr().err
