"""The built wheel and sdist hold what they should, and say it in valid metadata.

python .ci/check_distribution.py DIST, with packaging installed, from anywhere.
"""

import sys
import tarfile
import zipfile
from email.parser import BytesParser
from pathlib import Path

from packaging.metadata import Metadata

IN_SDIST = (
    "CHANGELOG.md", "CITATION.cff", "CONTRIBUTING.md", "LICENSE", "README.md", "asv.conf.json",
    "pyproject.toml", "hatch_build.py",
    "benchmarks/", "docs/", "examples/", "fastgauss/py.typed", "tests/conftest.py",
)  # fmt: skip
BUILT = (".pyc", ".nbi", ".nbc", ".so")


def check_metadata(text: bytes) -> None:
    """Valid, and the classifiers name the Pythons."""
    told = Metadata.from_email(text, validate=True)
    assert (told.name, told.license_expression) == ("fastgauss", "BSD-3-Clause")
    assert str(told.requires_python) == ">=3.10"
    pythons = {c.rpartition(" ")[2] for c in told.classifiers or () if " :: Python :: 3." in c}
    assert "3.10" in pythons, pythons
    needed = {r.name for r in told.requires_dist or () if r.marker is None}
    assert needed == {"numba", "numpy", "scipy"}, needed
    body = BytesParser().parsebytes(text).get_payload()
    assert told.description_content_type == "text/markdown" and len(body) > 1000


def check_wheel(path: Path) -> None:
    """The package, its marker of types, and nothing that a machine made."""
    with zipfile.ZipFile(path) as wheel:
        names = wheel.namelist()
        check_metadata(wheel.read(next(n for n in names if n.endswith("/METADATA"))))
        entry = wheel.read(next(n for n in names if n.endswith("/entry_points.txt")))
    assert path.name.endswith("-py3-none-any.whl"), path
    assert "fastgauss/py.typed" in names
    assert {n.partition("/")[0].partition("-")[0] for n in names} == {"fastgauss"}
    assert not [n for n in names if n.endswith(BUILT)]
    assert b"fastgauss = fastgauss.cli:main" in entry


def check_sdist(path: Path) -> None:
    """The whole checkout, without what a machine made."""
    with tarfile.open(path) as archive:
        names = [n.partition("/")[2] for n in archive.getnames()]
    missing = [part for part in IN_SDIST if not any(n.startswith(part) for n in names)]
    assert not missing, missing
    assert not [n for n in names if n.endswith(BUILT) or "__pycache__" in n]


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    (wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    check_wheel(wheel)
    check_sdist(sdist)
    print(f"{wheel.name} and {sdist.name} are in order")
