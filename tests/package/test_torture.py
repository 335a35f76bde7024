"""Other people's programs: threads, forks, pools, prange, Ctrl-C, no place to write.

Each runs in a process of its own: no crash, no hang, same bits.
"""

import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from processes import python

import fastgauss
from fastgauss.kernels._compile import JIT_DISABLED

pytestmark = pytest.mark.skipif(JIT_DISABLED, reason="about compiled code, which frees the GIL")

RACERS = int(os.environ.get("FASTGAUSS_RACERS", "8"))

JOBS = """
import numpy as np, fastgauss as fg
rng = np.random.default_rng(0)
axis = np.arange(9)
spot = np.exp(-0.5 * (axis - 4.2) ** 2)[:, None] * np.exp(-0.5 * (axis - 3.8) ** 2)
rois = rng.poisson(100 * spot + 10, (3000, 9, 9))
at = rng.uniform(0, 200, (2000, 2))
image = rng.normal(100.0, 9.0, (300, 300))
where = rng.integers(0, 4096, 200_000)
values = rng.normal(size=200_000)
samples = rng.normal(size=3000)

def fit():
    return fg.fit_rois(rois, threads=2, max_iter=8).params

def draw():
    return fg.render((200, 200), at, 100.0, 1.5, threads=2)

def add():
    sums = np.zeros(4096)
    fg.add_at(sums, where, values)
    return sums

def smooth():
    return fg.gaussian_filter(image, 2.0, threads=2)

def density():
    return fg.kde(samples, samples, threads=2)

jobs = (fit, draw, add, smooth, density)

def answer(k):
    return jobs[k % len(jobs)]().tobytes()
"""


@pytest.fixture
def script(tmp_path):
    """Run code as a file, which processes that are not forks can import; its output."""

    def run(code, **environment):
        path = tmp_path / "program.py"
        path.write_text(JOBS + textwrap.dedent(code))
        done = subprocess.run(
            [sys.executable, path],
            capture_output=True, text=True, timeout=240, check=False,
            env={**os.environ, **environment},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout.split()

    return run


@pytest.mark.parametrize("layer", ["default", "workqueue"])
def test_eight_threads_at_once_beside_a_parallel_kernel_of_the_caller(script, layer):
    told = script(
        """
        from concurrent.futures import ThreadPoolExecutor
        from numba import njit, prange
        from fastgauss.kernels.sums.healpix import make_pixels
        from fastgauss.kernels.sums.scatter_add import make_add

        ADD = make_add("raise", "value")

        @njit(parallel=True)
        def nested(sums, where, values):  # our kernel in every turn of the caller's own loop
            for k in prange(len(sums)):
                ADD(sums[k], where, values, 0, where.size)

        first = [answer(k) for k in range(len(jobs))]
        ones = np.empty((16, 4096))
        with ThreadPoolExecutor(8) as pool:
            told = pool.map(lambda k: answer(k) == first[k % len(jobs)], range(40))
            for _ in range(10):
                ones[:] = 0.0
                nested(ones, where, values)
            print(all(told), all(row.tobytes() == first[2] for row in ones))
        """,
        NUMBA_THREADING_LAYER=layer,
    )
    assert told == ["True", "True"]


def test_processes_forked_and_spawned_after_a_parallel_call(script):
    told = script(
        """
        import multiprocessing, warnings

        def tell(k):
            return hash_of(answer(k))

        def hash_of(data):
            import hashlib
            return hashlib.sha256(data).hexdigest()

        if __name__ == "__main__":
            warnings.simplefilter("ignore", DeprecationWarning)  # fork beside threads
            first = [tell(k) for k in range(len(jobs))]
            for method in multiprocessing.get_all_start_methods():
                with multiprocessing.get_context(method).Pool(2) as pool:
                    print(method, pool.map(tell, range(len(jobs))) == first)
            print("again", [tell(k) for k in range(len(jobs))] == first)
        """
    )
    assert "spawn" in told and set(told[1::2]) == {"True"}


def test_joblib_in_threads_and_processes(script):
    pytest.importorskip("joblib")
    told = script(
        """
        from joblib import Parallel, delayed

        if __name__ == "__main__":
            first = [answer(k) for k in range(len(jobs))]
            for backend in ("threading", "loky"):
                with Parallel(2, backend=backend) as pool:
                    results = pool(delayed(job)() for job in jobs)
                print([result.tobytes() for result in results] == first)
        """
    )
    assert told == ["True", "True"]


_INTERRUPTED = """
import os, signal, sys, threading, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's & would ignore it
crowd = rng.uniform(5, 395, (4000, 2))
scene = fg.render((400, 400), crowd, 100.0, 1.5) + rng.normal(10.0, 1.0, (400, 400))
many = np.broadcast_to(rois[:1], (9_000_000, 9, 9))
large = np.broadcast_to(rois[0, 0, 0] + 0.0, (20_000, 200, 200))
plane = rng.normal(100.0, 9.0, (2500, 2500))
places = rng.uniform(5, 295, (300_000, 3))
normal = rng.normal(size=(1_000_000, 2))

where_all = np.arange(5_000_000) * 7919 % (1 << 22)
ones = np.ones(5_000_000)

def repeat(rounds, call, *arguments, **options):
    for _ in range(rounds):
        call(*arguments, **options)

jobs_of = {  # items and rounds
    "fit_rois": lambda n, _: fg.fit_rois(many[:n], "rotated", max_iter=1000),
    "fit_rois_large": lambda n, _: fg.fit_rois(large[: n // 10], max_iter=200),
    "fit_joint": lambda n, r: repeat(r, fg.fit_joint, scene, crowd[:n]),
    "find_spots": lambda n, r: repeat(r, fg.find_spots, plane[:n]),
    "gaussian_filter": lambda n, r: repeat(r, fg.gaussian_filter, plane[:n], 30.0),
    "render": lambda n, r: repeat(r, fg.render, (300, 300, 300), places[:n], 1.0, 3.0),
    "kde": lambda n, r: repeat(r, fg.kde, normal[:n], normal[:n], 0.5),
    "add_at": lambda n, r: repeat(r, fg.add_at, np.zeros(1 << 22), where_all[:n], ones[:n]),
}
def lateness(job):  # in seconds of every core, which other programs on the machine do not take
    sent = []

    def interrupt():
        sent.append(time.process_time())
        os.kill(os.getpid(), signal.SIGINT)

    timer = threading.Timer(0.5, interrupt)
    timer.start()
    try:
        job(20_000_000, 1000)
    except KeyboardInterrupt:
        return (time.process_time() - sent[0]) / fg.get_num_threads()
    finally:
        timer.join()

first = answer(0)
for name in jobs_of:
    jobs_of[name](400, 1)  # compiles, so that it is the work which is interrupted
    late = lateness(jobs_of[name])
    print(name, f"{late:.2f}", answer(0) == first, flush=True)
"""


def test_ctrl_c_ends_a_long_job_within_a_second_and_leaves_the_pool_usable(script):
    told = script(_INTERRUPTED)
    assert len(told) == 3 * 8 and set(told[2::3]) == {"True"}, told
    assert max(map(float, told[1::3])) < 1.0, told


_WITHOUT_PRIVILEGE = """
import ctypes, os
if os.geteuid() == 0:  # the superuser writes where nobody may, unless told not to
    head, none = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    assert ctypes.CDLL(None).capset(head, none) == 0
import numpy as np, fastgauss as fg
from fastgauss.kernels import _compile, make_add
assert not os.access(os.path.dirname(fg.__file__), os.W_OK)
sums = np.zeros(4)
fg.add_at(sums, np.array([0, 1, 1, 3]), np.ones(4))
print(sums.tolist(), _compile.cache_path(make_add("raise", "value")))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="modes and capabilities of Linux")
def test_an_installation_that_cannot_be_written_to(tmp_path):
    site, home = tmp_path / "site", tmp_path / "home"
    shutil.copytree(Path(fastgauss.__file__).parent, site / "fastgauss",
                    ignore=shutil.ignore_patterns("__pycache__"))  # fmt: skip
    home.mkdir()
    folders = [site, *(path for path in site.rglob("*") if path.is_dir())]
    environment = {"PYTHONPATH": str(site), "PYTHONDONTWRITEBYTECODE": "1", "NUMBA_CACHE_DIR": "",
                   "HOME": str(home), "XDG_CACHE_HOME": str(home / ".cache")}  # fmt: skip
    for folder in folders:
        folder.chmod(0o555)
    try:
        sums, kept = python(_WITHOUT_PRIVILEGE, folder=tmp_path, **environment).rsplit(maxsplit=1)
        assert sums == "[1.0, 2.0, 0.0, 1.0]" and Path(kept).is_relative_to(home)
        shutil.rmtree(home)
        home.mkdir(0o555)
        assert python(_WITHOUT_PRIVILEGE, folder=tmp_path, **environment).split()[-1] == "None"
    finally:
        for folder in folders:
            folder.chmod(0o755)


_COLD = """
import gc, sys
from numba.core.dispatcher import Dispatcher
print("ready", flush=True)
sys.stdin.readline()
result = [answer(3).hex()[:64], fg.fit_lines(image).coefficients.tobytes().hex()[:64]]
kernels = [d for d in gc.get_objects() if isinstance(d, Dispatcher)]
own = [d for d in kernels if type(d._cache).__module__.startswith("fastgauss")]
compiled = sum(sum(d.stats.cache_misses.values()) for d in own)
print(*result, compiled)
"""


def test_cold_processes_that_race_on_one_cache_compile_each_kernel_once(tmp_path):
    kind = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    command = [sys.executable, "-W", "error", "-c", JOBS + _COLD]
    racers = [subprocess.Popen(command, env=kind, text=True, **pipes) for _ in range(RACERS)]
    try:
        assert all(racer.stdout.readline() == "ready\n" for racer in racers)
        for racer in racers:
            racer.stdin.write("\n")
            racer.stdin.flush()
        told = [racer.communicate(timeout=300) for racer in racers]
    finally:
        for racer in racers:
            racer.kill()
    assert not any(racer.returncode for racer in racers), told
    answers = [out.split() for out, _ in told]
    assert len({tuple(answer[:2]) for answer in answers}) == 1
    compiled = [int(answer[2]) for answer in answers]
    files = len(list(tmp_path.rglob("*.nbc")))
    if os.name == "posix":
        assert sum(compiled) == files, (compiled, files)
