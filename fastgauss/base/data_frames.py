"""Tables of columns as pandas DataFrames, with the unit and the meaning of each column."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from .optional import require

if TYPE_CHECKING:
    import pandas as pd

About = Mapping[str, tuple[str, str]]  # unit and meaning of columns


def data_frame(columns: Mapping[str, np.ndarray], about: About) -> pd.DataFrame:
    """Columns (n,) as a DataFrame whose ``attrs`` hold their units and meanings, by name."""
    table = require("pandas", "to_dataframe", "pandas").DataFrame(dict(columns))
    known = {name: about[name] for name in table if name in about}
    table.attrs["units"] = {name: unit for name, (unit, _) in known.items()}
    table.attrs["meanings"] = {name: meaning for name, (_, meaning) in known.items()}
    return table
