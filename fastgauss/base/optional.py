"""Import of an optional library, or one line how to get it."""

from __future__ import annotations

import importlib
from typing import Any


def require(module: str, purpose: str, extra: str) -> Any:
    """Import an optional library, or say in one line how to get it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise ImportError(
            f"{purpose} needs {package}: pip install 'fastgauss[{extra}]' ({error})"
        ) from error
