"""Comparisons under pytest-benchmark: ``pytest benchmarks --benchmark-only``.

The packages and data of peers.py with pytest-benchmark's statistics, groups and histories.
Every package gets the same few spots, so that times compare as they stand; in a batch that
small a good part of our time is the call itself, and peers.py has the larger ones. Each
result is checked too: nobody is timed for being wrong.
"""

from __future__ import annotations

import numpy as np
import pytest

from .conditions import MODELS, SIZES, Rois, make_image, make_rois
from .finders import FINDERS
from .fitters import FITTERS

SPOTS = 500

pytestmark = pytest.mark.filterwarnings("ignore")  # the packages' own


@pytest.mark.parametrize("name", FITTERS)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("model", MODELS)
def test_fit(benchmark, model, size, name):
    """Time for 500 spots."""
    try:
        fit = FITTERS[name].prepare(model, size)
    except ImportError as error:
        pytest.skip(f"not installed: {error}")
    if fit is None:
        pytest.skip(f"{name} has no {model} model")
    rois = make_rois(SPOTS, size, model)
    fit(Rois(*(array[:5] for array in rois)))
    benchmark.group = f"fit {SPOTS} {model} {size} x {size}"
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
