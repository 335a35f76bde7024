"""Import of an optional library, with an error that says how to install it."""

from __future__ import annotations

import importlib
from typing import Any

_NAMES = {"skimage": "scikit-image", "PIL": "pillow", "yaml": "pyyaml"}  # where pip has another


class MissingLibraryError(ImportError):
    """An optional library is not installed."""


def require(module: str, purpose: str, extra: str) -> Any:
    """Import an optional library, or raise an error that says how to install it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise MissingLibraryError(
            f"{purpose} needs {package}: pip install {_NAMES.get(package, package)}, or fastgauss "
            f"with its extra [{extra}] ({error})"
        ) from error
