"""The compile policy of the kernels, copied into a package that a test makes."""

import shutil
from pathlib import Path

import fastgauss.kernels


def copy_policy(folder: Path) -> None:
    """Copy the private files of ``fastgauss.kernels``: how kernels are compiled and stored."""
    for path in Path(fastgauss.kernels.__file__).parent.glob("_[a-z]*.py"):
        shutil.copy(path, folder)
