"""What users say of arrays by their names: entries, bounds, constraints, steps."""

import numpy as np
import pytest

from gradcheck_fast.inputs.selection import named, read_entries, select
from gradcheck_fast.inputs.trees import pack

TREE = {"layer1": {"W": np.ones((2, 3)), "b": np.zeros(2)}, "layer2": {"W": np.ones((1, 2)), "b": np.zeros(1)}}
SHAPES = {"layer1.W": (2, 3), "layer1.b": (2,), "layer2.W": (1, 2), "layer2.b": (1,)}


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("layer1.W", ["layer1.W"]),
        ("layer1.*", ["layer1.W", "layer1.b"]),
        ("layer2", ["layer2.W", "layer2.b"]),  # a part of the tree
        ("*.b", ["layer1.b", "layer2.b"]),
        ("layer?.W", ["layer1.W", "layer2.W"]),
    ],
)
def test_names_and_patterns(pattern, expected):
    assert named("only", pattern, SHAPES) == expected


def test_brackets_in_names_are_no_patterns():
    shapes = {"['a'][0]": (1,), "['a'][1]": (1,), "inputs[0]": (2,)}
    assert named("only", "inputs[0]", shapes) == ["inputs[0]"]
    assert named("only", "['a']*", shapes) == ["['a'][0]", "['a'][1]"]


def test_an_unknown_name_lists_those_that_resemble_it():
    with pytest.raises(ValueError, match=r"only: no array is called 'W3', did you mean 'W[12]' or 'W[12]'.*known: W1"):
        named("only", "W3", {"W1": (1,), "W2": (1,), "bias": (1,)})


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        ("b", [0, 0, 0, 0, 1, 1]),
        (["W", "b"], [1] * 6),
        ({"W": np.array([[True, False], [False, True]])}, [1, 0, 0, 1, 0, 0]),
        ({"W": (0, 1), "b": True}, [0, 1, 0, 0, 1, 1]),
        ({"W": np.s_[:, 1:]}, [0, 1, 0, 1, 0, 0]),
        ({"b": [1]}, [0, 0, 0, 0, 0, 1]),
        ({"W": (0, 0), "*": False}, [1, 0, 0, 0, 0, 0]),
    ],
)
def test_entries(chosen, expected):
    mask = read_entries("only", chosen, {"W": (2, 2), "b": (2,)})
    assert mask.tolist() == [bool(each) for each in expected]


@pytest.mark.parametrize(
    ("chosen", "error", "message"),
    [
        ({"W": np.ones((3, 3), bool)}, ValueError, r"the mask of W has the shape \(3, 3\), the array \(2, 2\)"),
        ({"W": (5, 0)}, ValueError, r"W has the shape \(2, 2\) and no entries \(5, 0\)"),
        ({"W": np.ones((2, 2))}, TypeError, "expected a boolean mask or an index, got an array of float64"),
        (3, TypeError, "expected a name"),
        (np.ones((2, 2), bool), TypeError, "there are 2 arrays"),
    ],
)
def test_choices_that_do_not_fit(chosen, error, message):
    with pytest.raises(error, match=message):
        read_entries("fixed", chosen, {"W": (2, 2), "b": (2,)})


def test_what_is_not_checked_is_counted():
    found = select(pack(TREE), only=["layer1.W", "layer2.*"], fixed={"layer1.W": (0, 0)})
    assert found.notes == (
        "layer1.W: 1 of 6 entries is fixed, not checked",
        "layer1.b is fixed, not checked",
    )
    assert found.entries.tolist() == [1, 2, 3, 4, 5, 8, 9, 10]


def test_nothing_left_is_an_error():
    with pytest.raises(ValueError, match="fixed: nothing is left to be checked"):
        select(pack(TREE), fixed="*")


def test_bounds_of_single_entries_later_names_first():
    params = pack({"a": np.array([0.5, 0.5]), "b": np.array([2.0])})
    domain = select(params, bounds={"*": (0, None), "a": (None, np.array([1.0, 2.0]))}).params.domain
    assert domain.low.tolist() == [-np.inf, -np.inf, 0.0]
    assert domain.high.tolist() == [1.0, 2.0, np.inf]


@pytest.mark.parametrize(
    ("bounds", "error", "message"),
    [
        ({"b": (3, None)}, ValueError, r"params: b\[0\] = 2 is below its lower bound, 3"),
        ({"a": (0, np.array([1.0, 0.25]))}, ValueError, r"params: a\[1\] = 0.5 is above its upper bound, 0.25"),
        ({"a": (2, 1)}, ValueError, r"the lower bound of a\[0\] is above its upper bound"),
        ({"a": 3}, TypeError, r"expected a pair \(low, high\)"),
        ({"a": (0, np.ones(3))}, ValueError, r"array of the shape \(2,\), got the shape \(3,\)"),
        ({"a": (np.nan, 1)}, ValueError, "a bound is NaN"),
    ],
)
def test_bounds_that_do_not_fit(bounds, error, message):
    with pytest.raises(error, match=message):
        select(pack({"a": np.array([0.5, 0.5]), "b": np.array([2.0])}), bounds=bounds)


def test_an_entry_whose_bounds_are_equal_is_fixed():
    found = select(pack({"a": np.array([0.5, 1.0])}), bounds={"a": (0.5, np.array([1.0, 1.0]))})
    assert found.entries is None
    found = select(pack({"a": np.array([0.5, 1.0])}), bounds={"a": (np.array([0.5, 1.0]), 1.0)})
    assert found.entries.tolist() == [0]


@pytest.mark.parametrize(
    ("constraints", "message"),
    [
        ({"A": "symetric"}, "constraints: A: unknown name 'symetric', did you mean 'symmetric'"),
        ({"A": "symmetric"}, "params: A is not symmetric, but off by 1"),
        ({"v": "rotation"}, r"constraints: v cannot be rotation: it has the shape \(3,\)"),
        ({"B": "lower"}, "constraints: no array is called 'B'"),
    ],
)
def test_constraints_that_do_not_fit(constraints, message):
    with pytest.raises(ValueError, match=message):
        select(pack({"A": np.array([[1.0, 2.0], [3.0, 4.0]]), "v": np.ones(3)}), constraints=constraints)


def test_no_part_of_a_constrained_array_can_be_fixed():
    with pytest.raises(ValueError, match="no part of its entries can be fixed"):
        select(pack({"A": np.eye(2)}), fixed={"A": (0, 0)}, constraints={"A": "symmetric"})
