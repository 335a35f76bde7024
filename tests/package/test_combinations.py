"""Which combinations of parameters plain Python leaves out (``tests/conftest.py``)."""

from itertools import combinations, product
from types import SimpleNamespace

from pairs import repeat_pairs


def _items(*choices, skip=False, one_mark=False):
    """A test for each combination, as pytest collects it."""
    names = [f"p{k}" for k in range(len(choices))]
    marks = [SimpleNamespace(args=(name,)) for name in names]
    if one_mark:
        marks = [SimpleNamespace(args=(", ".join(names),))]
    for number, values in enumerate(product(*choices)):
        yield SimpleNamespace(
            nodeid=f"tests/test_a.py::test[{number}]",
            callspec=SimpleNamespace(params=dict(zip(names, values, strict=True))),
            get_closest_marker=lambda name: skip and name == "skipif",
            iter_markers=lambda name: iter(marks),
        )


def _left_out(items):
    return list(repeat_pairs(items))


def test_every_pair_of_values_is_tried():
    choices = ["abc", "de", "fgh", "ij"]
    items = list(_items(*choices))
    left_out = _left_out(items)
    tried = [tuple(item.callspec.params.values()) for item in items if item not in left_out]
    for one, other in combinations(range(len(choices)), 2):
        pairs = {(values[one], values[other]) for values in tried}
        assert pairs == set(product(choices[one], choices[other]))
    assert len(tried) < 0.6 * len(items)


def test_two_parameters_are_tried_in_all_combinations():
    assert not _left_out(list(_items("abc", "de")))
    assert not _left_out(list(_items("abc")))
    plain = {"nodeid": "tests/test_a.py::test", "iter_markers": lambda name: iter(())}
    assert not _left_out([SimpleNamespace(**plain) for _ in range(2)])


def test_rows_of_one_mark_are_all_tried():
    assert not _left_out(list(_items("abc", "de", "fgh", one_mark=True)))


def test_what_compiled_code_may_skip_is_not_left_out():
    assert not _left_out(list(_items("abc", "de", "fgh", skip=True)))
