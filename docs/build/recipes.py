"""Recipes: pages that tell how to change the package, tried on a copy of it.

A block fenced as ``diff`` names a file and holds its changes, one after ``@@`` each; lines that a
change keeps or removes must stand in the file once. A ``code-block`` whose caption is a path is a
new file. The Python blocks of the page run in a process that imports the changed copy, and so do
the page's new tests.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_DIFF = re.compile(
    r"^```diff\n--- (?P<path>\S+)\n\+\+\+ (?P=path)\n(?P<changes>@@\n.*?)^```$", re.DOTALL | re.M
)
_FILE = re.compile(
    r"^```\{code-block\} python\n:caption: (?P<path>\S+)\n\n(?P<text>.*?)^```$", re.DOTALL | re.M
)


def is_recipe(page: Path) -> bool:
    """Whether a page changes the package."""
    return _DIFF.search(page.read_text(encoding="utf-8")) is not None


def _changed(text: str, changes: str, path: str) -> str:
    """The text of a file after the changes of a diff, whose line numbers are left out."""
    for change in changes.split("@@\n")[1:]:
        lines = change.splitlines(keepends=True)
        before = "".join(line[1:] or "\n" for line in lines if line[0] != "+")
        after = "".join(line[1:] or "\n" for line in lines if line[0] != "-")
        if text.count(before) != 1:
            raise ValueError(f"{path} must hold once, holds {text.count(before)} times:\n{before}")
        text = text.replace(before, after)
    return text


def make_copy(page: Path, folder: Path) -> list[Path]:
    """Copy the package into a folder and make the page's changes to it; the new test files."""
    text = page.read_text(encoding="utf-8")
    shutil.copytree(ROOT / "fastgauss", folder / "fastgauss")  # with what is compiled
    for diff in _DIFF.finditer(text):
        target = folder / diff["path"]
        source = target if target.exists() else ROOT / diff["path"]
        target.parent.mkdir(parents=True, exist_ok=True)
        new = _changed(source.read_text(encoding="utf-8"), diff["changes"], diff["path"])
        target.write_text(new, encoding="utf-8")
    tests = []
    for block in _FILE.finditer(text):
        target = folder / block["path"]
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(block["text"], encoding="utf-8")
        if target.name.startswith("test_"):
            tests.append(target)
    return tests


def run(page: Path, folder: Path) -> None:
    """Make the page's changes to a copy in the folder, and run its code and tests with it.

    Raises AssertionError with the output of the process that failed.
    """
    tests = make_copy(page, folder)
    paths = [
        folder,
        folder / "tests" / "naive",
        ROOT / "tests" / "naive",
        ROOT / "tests" / "support",
    ]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, paths))}
    environment.pop("NUMBA_CACHE_DIR", None)  # the copy has its own
    code = f"import runpy; runpy.run_path({str(ROOT / 'docs/build/pages.py')!r})['run'](page)"
    commands = [["-c", f"from pathlib import Path; page = Path({str(page)!r}); {code}"]]
    for test in tests:
        options = ["-q", "-W", "error", "--import-mode=importlib", "-p", "no:cacheprovider"]
        commands.append(["-m", "pytest", *options, "--rootdir", str(folder), str(test)])
    for command in commands:
        done = subprocess.run(
            [sys.executable, *command],
            cwd=folder, env=environment, text=True, capture_output=True, check=False,
        )  # fmt: skip
        assert not done.returncode, f"{page.name}:\n{done.stdout}\n{done.stderr}"
