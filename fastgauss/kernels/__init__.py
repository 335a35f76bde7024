"""Compiled building blocks, for the caller's own ``@njit`` code.

The names below are public: each may be called from functions under ``numba.njit``, with
``cache=True`` and, unless its text excludes threads, from ``prange`` under
``parallel=True``. The guide is ``docs/guide/kernels.md``.

================  ==========================================================================
models            `make_evaluate`, `make_jacobian`, `make_image`
fits              `make_roi_fit`, `make_curve_fit`, `make_normal_equations`,
                  `make_damped_step`
fields            `window`, `images`, `make_paint`, `make_project`
scatter           `make_stencil`, `make_deposit`, `make_gather`, `make_add`,
                  `make_add_checked`, `find_bin`, `update_statistics`,
                  `ring_pixel`, `nest_pixel`
functions         `exp`, `exp_negative`, `exp_flushed`, `log`, `erf`, `erfc`, `erfcx`
lanes             `WIDTH`, `LaneType`, `MaskType`, `lane_type`, `lane_rows`, `load`, `store`,
                  `load_double`, `store_double`, `broadcast`, `ramp`, `lanes_within`,
                  `select`, `maximum`, `minimum`, `sqrt`, `absolute`, `floor`, `total`,
                  `mask_bits`, `lowest_bit`
================  ==========================================================================

Call a ``make_...`` once, when your module is imported, and keep its result in a global of that
module: its choices are then made when the code is compiled. The kernels check nothing and raise
nothing; the text of each kernel says what NaN and bad indices do.

**Promise.** Within a minor series (0.1.x, then 1.0.x) the names in ``fastgauss.kernels.__all__``
keep their name, the order and meaning of their arguments and what they return. Everything else in
this package is internal and may change at any time. numba keeps a caller's compiled code until the
caller's *own* file changes: after an upgrade of fastgauss clear the caches of code that calls its
kernels.

Nothing here imports the rooms above.
"""

from importlib import import_module
from typing import Any

_NAMES = {
    "sums.binning": ("find_bin", "update_statistics"),
    "fit.curve_fit": ("make_curve_fit",),
    "sums.healpix": ("nest_pixel", "ring_pixel"),
    "simd.lane_types": ("WIDTH", "LaneType", "MaskType", "lane_type"),
    "simd.lanes": (
        "absolute", "broadcast", "floor", "lane_rows", "load", "maximum", "minimum", "select",
        "sqrt", "store",
    ),
    "simd.mask_bits": ("lowest_bit", "mask_bits"),
    "simd.masked": ("lanes_within", "load_double", "ramp", "store_double", "total"),
    "fit.point_factories": ("make_evaluate", "make_image", "make_jacobian"),
    "fields.factories": ("make_paint", "make_project"),
    "sums.factories": ("make_deposit", "make_gather", "make_stencil"),
    "fit.factories": ("make_damped_step", "make_normal_equations", "make_roi_fit"),
    "sums.scatter_add": ("make_add", "make_add_checked"),
    "numeric.special": ("erf", "erfc", "erfcx", "exp", "exp_flushed", "exp_negative", "log"),
    "fields.windows": ("images", "window"),
}  # fmt: skip
_MODULE_OF = {name: module for module, names in _NAMES.items() for name in names}

__all__ = sorted(_MODULE_OF)  # noqa: PLE0605


def __getattr__(name: str) -> Any:
    """A public name, imported when it is first used."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f".{_MODULE_OF[name]}", __name__), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
