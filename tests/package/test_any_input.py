"""Anything may be given to a public function: it answers rightly, or says what is wrong.

Right means as for a clean copy of the same numbers. What is wrong is a ValueError or TypeError (of
what is larger than memory numpy's MemoryError), and then nothing has been written.
FASTGAUSS_ANY_INPUT=N tries N arrays a function, of more dtypes.
"""

from __future__ import annotations

import faulthandler
import inspect
import warnings
from operator import attrgetter

import numpy as np
import pytest
from answers import fresh_out, outcome, same
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from left_out_calls import EXEMPT, SLOW
from public_calls import CALLS, DEEP, OWNERS, find

import fastgauss as fg
import fastgauss.plot
from fastgauss.kernels._compile import JIT_DISABLED

EXAMPLES = DEEP or (8 if JIT_DISABLED else 15)
LONGEST = 400 + 10 * DEEP  # seconds that a test may take before it counts as hanging

NUMBERS = ["f8", "f8", ">f8"]
NUMBERS += ["f4", "i2", "?"] * (JIT_DISABLED or DEEP > 0)  # each is compiled anew
NUMBERS += ["f2", ">f4", "g", "i1", "u1", "u2", ">u2", "i4", "u4", "i8", ">i8", "u8"] * bool(DEEP)
OTHERS = ["c16", "O", "U4", "S3", "M8[s]", "m8[s]", [("a", "f8"), ("b", "i4")]]
SPECIAL = [np.nan, np.inf, -np.inf, 0.0, -1.0, -0.0, 5e-324, 1e-310, 1e300, -1e300, 3e38, 1e18]
ODD = [np.nan, np.inf, -np.inf, -1, 0, 1, 2.5, -1e300, 10**30, -(10**30), 10**400, 2**62]
ODD += [True, None, "nonsense", b"x", object(), [], (1,) * 7, np.array(5), {}, {"a"}, 1j]
ODD += [np.arange(3.0), np.float64(np.nan), np.ma.masked, [[1], [1, 2]], float, "é\0"]

pytestmark = [
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),  # infinities as input
    pytest.mark.filterwarnings("ignore:no spot was found:UserWarning"),
    pytest.mark.untraced,  # other tests run the lines; here more kinds of arrays come by
]


def by_call(needs="good"):
    """One test for each call that has this, in plain Python without the slow ones."""
    chosen = [call for call in CALLS if getattr(call, needs)]
    quick = [call for call in chosen if not (JIT_DISABLED and str(call) in SLOW)]
    return pytest.mark.parametrize("call", quick, ids=str)


@pytest.fixture(autouse=True)
def no_hang():
    """What hangs ends the process, with the place where it was."""
    faulthandler.dump_traceback_later(LONGEST, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()
    fg.set_num_threads(None)


# -- arrays in other clothes -------------------------------------------------------------------


def _in_steps(a):
    wide = np.zeros(tuple(2 * n for n in a.shape), a.dtype)
    wide[(slice(None, None, 2),) * a.ndim] = a
    return wide[(slice(None, None, 2),) * a.ndim]


def _misaligned(a):
    if a.dtype.hasobject:
        return a
    raw = np.zeros(a.nbytes + 1, np.uint8)
    result = raw[1:].view(a.dtype).reshape(a.shape)
    result[...] = a
    return result


def _read_only(a):
    result = a.copy()
    result.flags.writeable = False
    return result


def _broadcast(a):
    """All alike along the first axis, without memory of its own."""
    return np.broadcast_to(a[:1], a.shape)


CLOTHES = {
    "as it is": np.copy,
    "Fortran": lambda a: a.copy(order="F"),
    "backward": lambda a: np.flip(np.flip(a).copy()),
    "in steps": _in_steps,
    "transposed": lambda a: a.T.copy().T,
    "misaligned": _misaligned,
    "read-only": _read_only,
    "broadcast": _broadcast,
    "memmap-like subclass": lambda a: a.view(type("Own", (np.ndarray,), {})),
    "recarray": lambda a: a.view(np.recarray),
}


# each way is compiled anew where kernels read arrays as they lie; plain Python tries all
TRIED = list(CLOTHES) if JIT_DISABLED or DEEP else ["as it is", "in steps"]


def dressed(a, word):
    """The same numbers lying in another way, if they have axes at all."""
    return CLOTHES[word](a) if np.ndim(a) else np.array(a)


def clean(a):
    """The same numbers as a plain array that lies in order."""
    plain = np.array(a, order="C", subok=False)
    return plain.astype(plain.dtype.newbyteorder("="))


@by_call("arrays")
def test_how_an_array_lies_does_not_matter(call):
    for name in call.arrays:
        good = np.asarray(call.good[name])
        answers = {}  # of clean copies, which are equal for nearly all ways
        for dtype in (good.dtype, good.dtype.newbyteorder()):
            for word in TRIED:
                array = dressed(good.astype(dtype), word)
                found = outcome(call, **{name: array}, **fresh_out(call))
                plain = clean(array)
                key = word
                if not plain.dtype.hasobject:
                    key = plain.tobytes(), plain.shape, plain.dtype
                if key not in answers:
                    answers[key] = outcome(call, **{name: plain}, **fresh_out(call))
                expected = answers[key]
                refused = isinstance(found, type) and word != "broadcast"
                assert not refused, f"{name}, {word}: {found}"
                if isinstance(expected, type):
                    assert found is expected
                else:
                    same(found, expected, rtol=1e-12)


@by_call("arrays")
def test_lists_and_matrices(call):
    """A list is an array; a matrix too."""
    expected = outcome(call, **fresh_out(call))
    for name in call.arrays:
        good = np.asarray(call.good[name])
        same(outcome(call, **{name: good.tolist()}, **fresh_out(call)), expected, rtol=1e-12)
        if good.ndim == 2:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", PendingDeprecationWarning)
                matrix = np.matrix(good)
            same(outcome(call, **{name: matrix}, **fresh_out(call)), expected, rtol=1e-12)


# -- any array ---------------------------------------------------------------------------------


def _cast(values, dtype):
    """Numbers as anything."""
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return values.astype(dtype)
        except (TypeError, ValueError):
            return values.astype("i8").astype(dtype)


@st.composite
def any_array(draw, good):
    """An array that has something of a good one, or nothing."""
    shapes = [st.just(good.shape)] * 3 + [st.lists(st.integers(0, 4), max_size=5).map(tuple)]
    if good.ndim:
        axis = draw(st.integers(0, good.ndim - 1))
        change = draw(st.sampled_from([-good.shape[axis], 1 - good.shape[axis], -1, 1]))
        near = [n + change * (k == axis) for k, n in enumerate(good.shape)]
        shapes.append(st.just(tuple(max(n, 0) for n in near)))
    shape = draw(st.one_of(shapes))
    numbers = _cast(good, "f8") if good.dtype.kind in "biuf" else np.ones(1)
    values = np.resize(numbers, shape)
    for at in draw(st.lists(st.integers(0, 100), max_size=2)):
        if values.size:
            values.flat[at % values.size] = draw(st.sampled_from(SPECIAL))
    dtypes = [good.dtype] * 4 + NUMBERS + (OTHERS if draw(st.booleans()) else [])
    array = _cast(values, draw(st.sampled_from(dtypes)))
    return dressed(array, draw(st.sampled_from(TRIED)))


def doubled(call, array):
    """The array as plain float64, where that is the same to a function."""
    return array.astype("f8") if array.dtype.kind == "f" else None


@by_call("arrays")
def test_any_array_is_read_or_refused(call):
    @settings(
        max_examples=EXAMPLES, deadline=None, derandomize=not DEEP, database=None,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(st.data())
    def check(data):
        name = data.draw(st.sampled_from(call.arrays))
        array = data.draw(any_array(np.asarray(call.good[name])))
        found = outcome(call, **{name: array}, **fresh_out(call))
        expected = outcome(call, **{name: clean(array)}, **fresh_out(call))
        if isinstance(expected, type) or isinstance(found, type):
            assert found is expected
        else:
            same(found, expected, rtol=1e-12)
        double = doubled(call, array)
        if double is not None and not isinstance(found, type) and array.itemsize != 8:
            assert not isinstance(outcome(call, **{name: double}, **fresh_out(call)), type)

    check()


@by_call("out")
def test_any_out_is_written_whole_or_left_alone(call):
    plain = fresh_out(call)[call.out]
    expected = outcome(call, **fresh_out(call))

    @settings(
        max_examples=EXAMPLES, deadline=None, derandomize=not DEEP, database=None,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(any_array(plain))
    def check(out):
        alike = out.shape == plain.shape and out.dtype == plain.dtype and out.dtype.isnative
        usable = alike and out.flags.writeable and (out == plain).all()
        found = outcome(call, **{call.out: out})
        if usable:
            assert not isinstance(found, type) or 0 in out.strides
            if not isinstance(found, type):
                same(found[-1], expected[-1], rtol=1e-12)

    check()
    for wrong in (plain.tolist(), "out", 3, _read_only(plain), np.ma.array(plain)):
        assert isinstance(outcome(call, **{call.out: wrong}), type)


# -- any option --------------------------------------------------------------------------------


def options_of(call):
    """Arguments of a call that are no arrays, with their defaults."""
    parameters = inspect.signature(call.function or find(call.name)).parameters.values()
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        parameters = inspect.signature(find(call.name)).parameters.values()
    known = {p.name: p for p in parameters if p.kind is not p.VAR_KEYWORD}
    return {k: p for k, p in known.items() if k not in ("figure", "result", "field", call.out)}


def must_refuse(parameter, odd):
    """Whether an option's annotation says that it does not take this."""
    kind, number = str(parameter.annotation), isinstance(odd, (int, float))
    if kind == "bool":
        return not isinstance(odd, bool)
    if kind in ("str", "str | Model"):
        return not (isinstance(odd, str) and parameter.name == "label")  # any words
    if kind in ("float", "int", "int | None", "float | None"):
        if isinstance(odd, bool) or not number:
            alike = isinstance(odd, np.ndarray) and odd.ndim == 0
            return not alike and not (odd is None and "None" in kind)
        return parameter.name != "cval" and (odd != odd or abs(odd) == np.inf)
    return False


@by_call()
def test_any_option_is_understood_or_refused(call):
    wrong = []
    for name, parameter in options_of(call).items():
        for odd in ODD:
            if name == "progress" and callable(odd):
                continue  # the caller's own code, which raises what it likes, when it likes
            try:
                found = outcome(call, **{name: odd}, **fresh_out(call))
            except Exception as error:  # all in one list
                wrong.append(f"{name}={odd!r}: {type(error).__name__} {error}")
                continue
            if must_refuse(parameter, odd) and not isinstance(found, type):
                wrong.append(f"{name}={odd!r}: taken")
    assert not wrong, "\n".join(wrong)


# -- nothing is forgotten ----------------------------------------------------------------------


def public_names():
    yield from fg.__all__
    yield from (f"register.{name}" for name in fg.register.__all__)
    yield from (f"simulate.{name}" for name in fg.simulate.__all__)
    yield from (f"plot.{name}" for name in fastgauss.plot.__all__)
    for owner in OWNERS:
        for name, value in vars(attrgetter(owner[:-2])(fg)).items():
            public = inspect.isfunction(value) and name[0] != "_"
            if public and len(inspect.signature(value).parameters) > 1:
                yield f"{owner}.{name}"


def test_every_public_name_is_here():
    called = {call.name for call in CALLS} | {owner[:-2] for owner in OWNERS}
    missing = [name for name in public_names() if name not in called and name not in EXEMPT]
    assert not missing, "public names without a call in public_calls.py, nor a reason for none"
