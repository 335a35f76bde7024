"""What numba has found out about the types of instructions and operators, remembered.

numba asks for the signature of each call several times, and tries all that an operator may mean
one after another, also for numbers. The answer for the same types is always the same, so it is
kept. Of functions that are compiled for their arguments nothing is kept: those depend on more.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from numba import types

_known: dict[tuple[int, tuple], tuple[Any, Any]] = {}  # the function, so that its id stays its own


@contextmanager
def remembering(context: Any) -> Iterator[None]:
    """Let numba's typing context remember signatures within the block; it may be nested."""
    if "resolve_function_type" in vars(context):
        yield
        return
    resolve = context.resolve_function_type

    def resolve_once(function: Any, args: tuple, kws: dict[str, Any]) -> Any:
        if kws or type(function) is not types.Function:
            return resolve(function, args, kws)
        key = id(function), tuple(args)
        if key in _known:
            return _known[key][1]
        signature = resolve(function, args, kws)
        if signature is not None and _is_instruction(function, signature):
            _known[key] = function, signature
        return signature

    context.resolve_function_type = resolve_once
    try:
        yield
    finally:
        del context.resolve_function_type


def _is_instruction(function: Any, signature: Any) -> bool:
    """Whether numba emits the code of a call itself, instead of compiling a function for it."""
    return function.get_impl_key(signature) is function.typing_key
