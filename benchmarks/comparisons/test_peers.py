"""Comparisons under pytest-benchmark: ``pytest benchmarks --benchmark-only -n 0``.

The packages and data of peers.py with pytest-benchmark's statistics, groups and histories.
Every package gets the same few spots, so that times compare as they stand; in a batch that
small a good part of our time is the call itself, and peers.py has the larger ones. Each
result is checked too: nobody is timed for being wrong.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from ..common.conditions import JOBS, make_image, make_rois
from ..common.finders import FINDERS
from ..common.fitters import FITTERS

SPOTS = 500

pytestmark = pytest.mark.filterwarnings("ignore")  # the packages' own


@pytest.mark.parametrize(
    ("case", "name"),
    [
        pytest.param(case, name, id=f"{case.job} {case.extent} {name}")
        for case in itertools.chain.from_iterable(JOBS.values())
        for name, fitter in FITTERS.items()
        if fitter.covers(case)
    ],
)
def test_fit(benchmark, case, name):
    """Time for 500 spots."""
    try:
        fit = FITTERS[name].prepare(case)
    except ImportError as error:
        pytest.skip(f"not installed: {error}")
    rois = make_rois(SPOTS, case)
    fit(rois.first(5))
    benchmark.group = f"{case.job} {case.extent}, {SPOTS} spots"
    x = benchmark.pedantic(fit, args=(rois,), rounds=3)
    error = np.abs(x - rois.truth[:, 1])
    assert np.nanmedian(error) < 0.05
    assert np.mean(error < 1.0) > 0.95


@pytest.mark.parametrize("name", FINDERS)
@pytest.mark.parametrize("side", [512, 1024])
def test_find(benchmark, side, name):
    """Time of finding the spots of an image."""
    try:
        find = FINDERS[name]()
    except ImportError as error:
        pytest.skip(f"not installed: {error}")
    image, places = make_image((side, side), side * side // 1000)
    find(image)
    benchmark.group = f"find {side} x {side}"
    found = benchmark.pedantic(find, args=(image,), rounds=3)
    assert 0.85 < len(found) / len(places) < 1.05
