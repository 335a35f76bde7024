"""Trajectories that trackpy and laptrack make of the table of a movie."""

import numpy as np
import pytest

import fastgauss as fg

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


@pytest.fixture(scope="module")
def table():
    """Four molecules that wander for eight frames, the third one dark in one of them."""
    pytest.importorskip("pandas")
    rng = np.random.default_rng(4)
    places = np.array([[8.0, 9.0], [9.0, 30.0], [28.0, 11.0], [30.0, 31.0]])
    movie = []
    for k in range(8):
        shine = np.arange(4) != (2 if k == 3 else -1)
        image = fg.render((40, 42), places[shine], 120.0, 1.3)
        movie.append(rng.poisson(image + 5.0))
        places = places + rng.normal(0, 0.4, places.shape)
    found = fg.fit_movie(movie, threads=1)
    bright = found[found.converged & (found.flux > 500)]
    assert len(bright) == 31
    return bright.to_dataframe()


def assert_followed(particle, table):
    """Each quarter of the image has one number."""
    quarter = 2 * (table["y"].to_numpy() > 20) + (table["x"].to_numpy() > 20)
    assert len(set(zip(particle, quarter, strict=True))) == len(set(particle)) == 4


def test_trackpy_links_the_table(table):
    trackpy = pytest.importorskip("trackpy")
    trackpy.quiet()
    tracks = trackpy.link(table, search_range=3.0, memory=1)
    assert_followed(tracks["particle"], tracks)


def test_laptrack_links_the_table(table):
    laptrack = pytest.importorskip("laptrack")
    follow = laptrack.LapTrack(
        cutoff=3.0**2, gap_closing_cutoff=4.0**2, gap_closing_max_frame_count=2
    )
    tracks, _, _ = follow.predict_dataframe(
        table, ["y", "x"], frame_col="frame", only_coordinate_cols=False
    )
    assert_followed(tracks["track_id"], tracks)
