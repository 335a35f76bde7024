"""The command ``fastgauss``."""

from .command import main

__all__ = [
    "main",
]
