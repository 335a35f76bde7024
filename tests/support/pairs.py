"""Pairwise testing: combinations of parameters whose pairs of values other combinations have."""

from itertools import combinations_with_replacement


def params_of(item):
    """The values of a test's parameters by name."""
    return getattr(getattr(item, "callspec", None), "params", {})


def _values(item):
    """What each ``parametrize`` mark of a test gives: a row of a mark is one value."""
    params, marks = dict(params_of(item)), []
    for mark in item.iter_markers("parametrize"):
        names = mark.args[0]
        names = names.replace(",", " ").split() if isinstance(names, str) else names
        marks.append(tuple((name, id(params.pop(name))) for name in names))
    return marks + [((name, id(value)),) for name, value in params.items()]  # of fixtures


def repeat_pairs(items):
    """Yield each test whose pairs of values all occur in earlier tests of the same function.

    A test that compiled code may skip is never yielded.
    """
    seen = set()
    for item in items:
        test = item.nodeid.partition("[")[0]
        pairs = {(test, *pair) for pair in combinations_with_replacement(_values(item), 2)}
        if pairs and pairs <= seen and not item.get_closest_marker("skipif"):
            yield item
        seen |= pairs
