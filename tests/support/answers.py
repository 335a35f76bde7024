"""What calls of `public_calls` answer: taken apart, compared, with errors that are allowed."""

from __future__ import annotations

import dataclasses
import warnings

import numpy as np
from public_calls import Call

import fastgauss as fg


def leaves(answer):
    """All arrays of numbers of an answer."""
    if answer is None or isinstance(answer, (str, np.random.Generator)):
        return
    if isinstance(answer, (np.ndarray, np.generic, int, float, bool)):
        yield np.asarray(answer)
    elif isinstance(answer, fg.FitResult):
        yield from leaves(answer.to_dict())
    elif isinstance(answer, fg.GaussianField):
        yield from leaves((answer.positions, answer.widths))
    elif isinstance(answer, fg.KernelDensity):
        yield answer.covariance
    elif isinstance(answer, fg.PCA):
        yield from leaves((answer.mean, answer.components, answer.scores))
    elif isinstance(answer, dict):
        yield from leaves(tuple(answer.values()))
    elif isinstance(answer, (tuple, list)):
        for part in answer:
            yield from leaves(part)
    elif dataclasses.is_dataclass(answer):
        fields = dataclasses.fields(answer)
        yield from leaves([getattr(answer, f.name) for f in fields if not f.name.startswith("_")])
    else:
        raise AssertionError(f"what is {answer!r}?")


def same(found, expected, rtol):
    """Whether two answers agree, relative to the largest finite number of each array."""
    found, expected = list(leaves(found)), list(leaves(expected))
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one.shape == other.shape
        if rtol and one.dtype.kind in "fc":
            largest = np.abs(other[np.isfinite(other)]).max(initial=0.0)
            np.testing.assert_allclose(one, other, rtol=rtol, atol=rtol * largest)
        else:
            np.testing.assert_array_equal(one, other)


def outcome(call: Call, **changes):
    """The answer, or the error; with what may not happen checked."""
    arguments = {**call.good, **changes}
    out = arguments.get(call.out) if call.out else None
    given = {k: v for k, v in arguments.items() if isinstance(v, np.ndarray)}
    before = {k: np.array(v) for k, v in given.items() if v is not np.ma.masked}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # numpy's, of odd dtypes
            answer = call(**changes)
    except (ValueError, TypeError, MemoryError, *call.errors) as error:
        assert str(error).strip(), "an error says something"
        answer = type(error)
        untouched = before
    else:
        untouched = {k: v for k, v in before.items() if arguments[k] is not out}
    for name, copy in untouched.items():
        assert np.asarray(arguments[name]).tobytes() == copy.tobytes(), f"{name} was changed"
    if isinstance(out, np.ndarray) and not isinstance(answer, type):
        answer = (answer, np.array(out))
    return answer


def fresh_out(call: Call):
    """An array that the good call can write to, or nothing to give."""
    if call.out is None:
        return {}
    if call.name == "add_at":
        return {call.out: np.full(3, 0.25)}
    if call.name == "healpix_add":
        return {call.out: np.full(12, 0.25)}
    answer = next(leaves(call()))
    return {call.out: np.full(answer.shape, 0.25, answer.dtype)}
