"""show_config names the place that holds the compiled code of all kernels."""

from pathlib import Path

import pytest
from numba.core import config

import fastgauss
from fastgauss.kernels import _cache, _compile
from fastgauss.kernels.filters.separable import correlate
from fastgauss.tools import info

pytestmark = pytest.mark.skipif(_compile.JIT_DISABLED, reason="nothing is compiled")


@pytest.fixture
def unopened(monkeypatch):
    monkeypatch.setattr(correlate, "_cache", _cache.PackageCache(correlate.py_func))
    return monkeypatch


def test_the_folder_that_the_environment_names(unopened, tmp_path):
    unopened.setattr(config, "CACHE_DIR", str(tmp_path))
    assert info.configuration()["cache"] == str(tmp_path)


def test_beside_the_sources(unopened):
    unopened.setattr(config, "CACHE_DIR", "")
    place = info.configuration()["cache"]
    kernels = Path(fastgauss.__file__).parent / "kernels"
    if str(kernels) not in place:
        pytest.skip("the installation cannot be written")
    folders = list(kernels.parent.glob(str(Path(place).relative_to(kernels.parent))))
    assert kernels / "filters" / "__pycache__" in folders


def test_nowhere(unopened):
    unopened.setattr(_compile, "cache_path", lambda _: None)
    assert info.configuration()["cache"] == "none, no place can be written"
