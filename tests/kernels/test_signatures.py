"""Signatures that numba has found once are remembered while a kernel compiles, and only then."""

import operator

import pytest
from numba import njit, types
from numba.core.registry import cpu_target
from numba.extending import overload

from fastgauss.kernels import _signatures
from fastgauss.kernels._compile import JIT_DISABLED, kernel

pytestmark = pytest.mark.skipif(JIT_DISABLED, reason="about compiled code")


def chosen(value):
    return 0


@overload(chosen)
def _(value):
    return (lambda value: 1) if isinstance(value, types.Integer) else (lambda value: 2)


@kernel
def mixed(number, real):
    return number + 1, real + 1.0, number + real, chosen(number), chosen(real), number < real


def test_answers_are_those_of_plain_numba_for_each_type():
    plain = njit(mixed.py_func)
    for arguments in ((3, 0.5), (3.0, 2), (True, 1j.real), (3, 0.5)):
        told, expected = mixed(*arguments), plain(*arguments)
        assert told == expected and list(map(type, told)) == list(map(type, expected))


@pytest.fixture
def asked(monkeypatch):
    """numba's typing context, and the operators that it looks for."""
    context, asked = cpu_target.typing_context, []
    resolve = type(context).resolve_function_type

    def resolve_function_type(self, function, args, kws):
        asked.append(getattr(function, "typing_key", None))
        return resolve(self, function, args, kws)

    monkeypatch.setattr(type(context), "resolve_function_type", resolve_function_type)
    monkeypatch.setattr(_signatures, "_known", {})
    return context, asked


def test_an_operator_is_looked_for_once_and_what_is_compiled_each_time(asked):
    context, calls = asked
    add, choose = (context.resolve_value_type(name) for name in (operator.add, chosen))
    with _signatures.remembering(context):
        for args in ((types.int64, types.float64), (types.int64, types.int64)) * 3:
            found = context.resolve_function_type(add, args, {})
            assert found.return_type == args[1]
            one = context.resolve_function_type(choose, args[:1], {}).return_type
            assert types.unliteral(one) == types.int64
    assert calls.count(operator.add) == 2
    assert calls.count(chosen) == 6


def test_what_has_no_signature_stays_an_error(asked):
    context, calls = asked
    add = context.resolve_value_type(operator.add)
    with _signatures.remembering(context):
        for _ in range(2):
            with pytest.raises(Exception, match="No implementation"):
                context.resolve_function_type(add, (types.int64, types.none), {})
    assert calls.count(operator.add) == 2


def test_numba_is_left_as_it_was(asked):
    context, _ = asked
    with _signatures.remembering(context):
        with pytest.raises(ZeroDivisionError), _signatures.remembering(context):
            1 / 0
        assert "resolve_function_type" in vars(context)
    assert "resolve_function_type" not in vars(context)
