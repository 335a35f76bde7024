"""Progress: told by what may take long, never a part of the result, and always closed."""

import sys

import numpy as np
import pytest

import fastgauss as fg
from fastgauss.base.progress import report_descent, report_part

RNG = np.random.default_rng(0)
IMAGE = 10.0 + fg.image([[90.0, 12.3, 11.8, 1.4, 0.0]], (24, 26), model="symmetric")[0]
PLACES = RNG.uniform(2, 10, (6, 2))
FIELD = fg.GaussianField((12, 13), PLACES, 1.2, tol=1e-2)
DATA = FIELD.render(RNG.uniform(1, 3, 6)) + RNG.normal(0, 0.05, (12, 13))
SCENE = RNG.normal(size=(80, 80)).cumsum(0).cumsum(1)
SAMPLES = RNG.exponential(size=(3000, 1))
MANY = np.linspace(0.01, 4, 9000)
SPHERE = RNG.uniform(0, 3, (2, 500))
GAPS = RNG.uniform(size=(24, 26)) < 0.1

JOBS = {
    "fit_rois": lambda p: fg.fit_rois(IMAGE[np.newaxis], progress=p).params,
    "fit_spots": lambda p: fg.fit_spots(IMAGE, [[12, 12]], progress=p).params,
    "fit_spots, shared": lambda p: (
        fg.fit_spots(IMAGE, [[12, 12]] * 3, shared="sigma", progress=p).params
    ),
    "fit_joint": lambda p: fg.fit_joint(IMAGE, [[12, 12]], progress=p).params,
    "fit_spots, joint": lambda p: fg.fit_spots(IMAGE, joint=True, progress=p).params,
    "find_spots": lambda p: fg.find_spots(IMAGE, progress=p),
    "render": lambda p: fg.render((24, 26), PLACES, progress=p),
    "render nothing": lambda p: fg.render((24, 26), np.empty((0, 2)), progress=p),
    "fit_amplitudes": lambda p: FIELD.fit_amplitudes(DATA, progress=p).amplitudes,
    "fit_amplitudes, nonnegative": lambda p: (
        FIELD.fit_amplitudes(DATA - 1.0, nonnegative=True, progress=p).amplitudes
    ),
    "refine": lambda p: FIELD.refine(DATA, max_iter=1, progress=p).positions,
    "healpix_add": lambda p: fg.healpix_add(np.zeros(48), *SPHERE, progress=p),
    "displacement_field": lambda p: (
        fg.register.displacement_field(
            SCENE[5:37, 5:37], SCENE[7:39, 2:34], 16, 16, multipass=2, progress=p
        ).dx
    ),
    "align_stack": lambda p: (
        fg.register.align_stack([SCENE[k : 32 + k, 5:37] for k in range(3)], progress=p).dx
    ),
    "kde": lambda p: fg.kde(SAMPLES[:, 0], MANY, progress=p),
    "kde, few": lambda p: fg.kde(SAMPLES[:, 0]).evaluate([0.5, np.nan], progress=p),
    "kde, linear": lambda p: fg.kde(SAMPLES, bounds=(0, None), boundary="linear")(
        MANY[:, np.newaxis], progress=p
    ),
    "gaussian_filter": lambda p: fg.gaussian_filter(IMAGE, 1.2, progress=p),
    "gaussian_filter, fft": lambda p: fg.gaussian_filter(IMAGE, 1.2, method="fft", progress=p),
    "gaussian_filter, masked": lambda p: fg.gaussian_filter(IMAGE, 1.2, mask=GAPS, progress=p),
    "gaussian_filter, 4-D": lambda p: fg.gaussian_filter(
        IMAGE.reshape(4, 6, 13, 2), 0.7, progress=p
    ),
    "gaussian_laplace": lambda p: fg.gaussian_laplace(IMAGE, 1.2, progress=p),
    "gaussian_laplace, 4-D": lambda p: fg.gaussian_laplace(
        IMAGE.reshape(4, 6, 13, 2), 0.7, progress=p
    ),
    "gradient_magnitude": lambda p: fg.gaussian_gradient_magnitude(IMAGE, 1.2, progress=p),
    "difference_of_gaussians": lambda p: fg.difference_of_gaussians(IMAGE, 1.2, progress=p),
}
every = pytest.mark.parametrize("job", JOBS.values(), ids=JOBS)


class Bar:
    """What stands for a bar of tqdm."""

    made = []  # noqa: RUF012

    def __init__(self, total, unit):
        self.total, self.n, self.open, self.unit = total, 0, True, unit
        self.made.append(self)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.open = False

    def update(self, step):
        assert self.open and step >= 0
        self.n += step


@pytest.fixture
def bars(monkeypatch):
    tqdm = pytest.importorskip("tqdm.auto")
    monkeypatch.setattr(Bar, "made", [])
    monkeypatch.setattr(tqdm, "tqdm", Bar)
    return Bar.made


@every
def test_progress_grows_to_the_total_and_changes_nothing(job):
    told = []
    found = job(lambda done, total: told.append((done, total)))
    np.testing.assert_array_equal(found, job(False))
    assert told and told[-1][0] == told[-1][1] == max(told)[0]
    assert told == sorted(told) and len({total for _, total in told}) == 1
    assert all(isinstance(done, int) for done, _ in told)


@every
def test_a_bar_is_filled_and_closed(job, bars):
    job(True)
    (bar,) = bars
    assert (not bar.open and bar.n == bar.total) or bar.unit == "spot"


@every
def test_a_bar_is_closed_when_the_job_is_interrupted(job, bars, monkeypatch):
    def interrupt(self, step):
        raise KeyboardInterrupt

    monkeypatch.setattr(Bar, "update", interrupt)
    with pytest.raises(KeyboardInterrupt):
        job(True)
    (bar,) = bars
    assert not bar.open


@every
def test_progress_is_a_flag_or_a_callable(job, monkeypatch):
    with pytest.raises(TypeError, match="progress must be True, False or a callable, got 3"):
        job(3)
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    with pytest.raises(ImportError, match="progress=True needs tqdm"):
        job(True)
    job(lambda *_: None)


def test_parts_of_a_job():
    told = []
    whole = report_part(lambda *call: told.append(call), 100, 20, 60)
    for done, total in ((0, 8), (3, 8), (8, 8), (0, 0)):
        whole(done, total)
    assert told == [(20, 100), (35, 100), (60, 100), (60, 100)]
    assert report_part(None, 100, 20, 60) is None


def test_a_falling_residual_is_told_in_hundredths():
    told = []
    tell = report_descent(lambda *call: told.append(call), 1e-4)
    for residual in (1.0, 0.1, 0.5, 0.0, np.nan, 1e-2, 1e-9):
        tell(residual)
    assert told == [(k, 100) for k in (0, 25, 25, 50, 99)]
    report_descent(None, 1e-4)(1.0)
