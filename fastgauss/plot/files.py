"""Figures written to files: `save_plot`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ..io.files import check_plot, replacing

_DPI = 160


def save_plot(path: str | os.PathLike, figure: Any, *, dpi: float = _DPI) -> None:
    """Write a figure as PNG, PDF or SVG, completely or not at all.

    Parameters
    ----------
    path : path-like
        File to write, whose ending selects the format; its directory must exist.
    figure : matplotlib.figure.Figure
        What to write.
    dpi : float, optional
        Pixels per inch.

    Returns
    -------
    None

    Raises
    ------
    ValueError
        If the name's ending is unknown.
    OSError
        If the file cannot be written.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> from matplotlib.figure import Figure
    >>> from fastgauss.plot import save_plot
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_plot(pathlib.Path(folder, "empty.png"), Figure((1, 1)))
    """
    check_plot(path)
    figure.draw_without_rendering()  # so that the layout knows how wide labels are
    with replacing(path) as file:
        figure.savefig(file, format=Path(path).suffix[1:].lower(), dpi=dpi)
