"""The logger: silent unless asked, and then it tells what is compiled and what is worked on."""

import logging
import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest

import fastgauss as fg
from fastgauss.kernels._compile import JIT_DISABLED


def python(code, **environment):
    """Standard output and error of a new process."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=120,
        env={**os.environ, **environment}, check=True,
    )  # fmt: skip
    return done.stdout + done.stderr


@pytest.mark.skipif(JIT_DISABLED, reason="about what is compiled")
def test_silent_by_default_and_telling_when_asked(tmp_path):
    code = """
        import logging, sys, numpy as np, fastgauss as fg
        if sys.argv[1:]: logging.basicConfig(level=sys.argv[1])
        fg.evaluate(np.zeros(3), [1.0, 0.0, 1.0, 0.0], "symmetric")
    """
    ask = "import sys; sys.argv[1:] = {!r}\n"
    cold = {"NUMBA_CACHE_DIR": str(tmp_path)}
    told = python(ask.format(["INFO"]) + textwrap.dedent(code), **cold)
    lines = [line for line in told.splitlines() if line.startswith("INFO:fastgauss:compiled ")]
    assert lines and all(f"kept in {tmp_path}" in line for line in lines)
    assert "fastgauss.kernels." in lines[0] and " s, " in lines[0]
    assert python(ask.format([]) + textwrap.dedent(code), **cold) == ""
    warm = python(ask.format(["DEBUG"]) + textwrap.dedent(code), **cold)
    assert "INFO:fastgauss:" not in warm  # nothing to compile
    assert "DEBUG:fastgauss:fastgauss.models.evaluation" in warm and "3 items" in warm


def test_jobs_are_told_at_debug(caplog):
    rois = np.full((10, 7, 7), np.nan)
    with caplog.at_level(logging.INFO, "fastgauss"):
        fg.fit_rois(rois)
    assert not any("items" in record.getMessage() for record in caplog.records)
    with caplog.at_level(logging.DEBUG, "fastgauss"):
        fg.fit_rois(rois, threads=1)
    texts = [record.getMessage() for record in caplog.records]
    assert "fastgauss.fit.batch.Job.run: 10 items in chunks of 4096, 1 threads" in texts


def test_the_logger_has_a_handler_that_does_nothing():
    handlers = logging.getLogger("fastgauss").handlers
    assert any(isinstance(handler, logging.NullHandler) for handler in handlers)
