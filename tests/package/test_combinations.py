"""Which combinations of parameters plain Python leaves out (``tests/conftest.py``)."""

import runpy
from itertools import combinations, product
from pathlib import Path
from types import SimpleNamespace

RULES = runpy.run_path(str(Path(__file__).resolve().parents[1] / "conftest.py"))


def _items(*choices, skip=False):
    """A test for each combination, as pytest collects it."""
    for number, values in enumerate(product(*choices)):
        yield SimpleNamespace(
            nodeid=f"tests/test_a.py::test[{number}]",
            callspec=SimpleNamespace(params={f"p{k}": value for k, value in enumerate(values)}),
            get_closest_marker=lambda name: skip and name == "skipif",
        )


def _left_out(items):
    return list(RULES["_without_new_pairs"](items))


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
    assert not _left_out([SimpleNamespace(nodeid="tests/test_a.py::test") for _ in range(2)])


def test_what_compiled_code_may_skip_is_not_left_out():
    assert not _left_out(list(_items("abc", "de", "fgh", skip=True)))
