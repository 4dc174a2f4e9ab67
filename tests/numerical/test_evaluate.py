"""How Python functions of trees are evaluated at flat vectors, and what is noticed of them on the way."""

from __future__ import annotations

import numpy as np
import pytest

from gradcheck_fast.inputs.trees import pack
from gradcheck_fast.numerical import evaluate
from gradcheck_fast.numerical.evaluate import (
    BatchCosts,
    PartCosts,
    PythonCosts,
    complex_number,
    cost_beside,
    real_number,
)

PARAMS = {"a": np.array([1.0, 2.0]), "b": 3.0}
PACKED = pack(PARAMS)
THETA = PACKED.flat.copy()
ENTRIES, VALUES = np.array([2, 0, 1]), np.array([5.0, -4.0, np.nan])


def function(params):
    return params["a"][0] ** 2 + params["a"][1] * params["b"]


def of_many(params):
    return params["a"][:, 0] ** 2 + params["a"][:, 1] * params["b"]


KINDS = {"one by one": (PythonCosts, function), "all at once": (BatchCosts, of_many)}


@pytest.fixture(params=KINDS.values(), ids=KINDS)
def kind(request):
    return request.param


# ---- costs


def test_the_cost_is_that_of_the_tree(kind):
    costs_of, of_tree = kind
    assert costs_of(of_tree, PACKED).cost(THETA) == 7.0


def test_each_cost_is_with_one_entry_at_another_value(kind):
    costs_of, of_tree = kind
    found = costs_of(of_tree, PACKED).costs(THETA, ENTRIES, VALUES, 1)
    np.testing.assert_array_equal(found, [11.0, 22.0, np.nan])
    assert THETA.tolist() == [1.0, 2.0, 3.0]


def test_no_entries_have_no_costs(kind):
    costs_of, of_tree = kind
    assert costs_of(of_tree, PACKED).costs(THETA, np.empty(0, np.intp), np.empty(0), 1).shape == (0,)


def test_a_batch_is_no_larger_than_what_fits_into_memory(monkeypatch):
    monkeypatch.setattr(evaluate, "BATCH_NUMBERS", 2 * len(THETA))
    seen = []
    costs = BatchCosts(lambda params: (seen.append(len(params["b"])), of_many(params))[1], PACKED)
    assert costs.costs(THETA, np.array([0, 1, 2, 2, 0]), np.arange(5.0), 1).tolist() == [6.0, 4.0, 5.0, 7.0, 22.0]
    assert seen == [2, 2, 1]


def raising(of_tree):
    """A function that is not defined where the first number is negative."""

    def raises(params):
        if np.any(params["a"].reshape(-1, 2)[:, 0] < 0.0):
            raise ArithmeticError("negative")
        return of_tree(params)

    return raises


def test_the_cost_is_nan_where_the_function_raises_and_only_there(kind):
    costs_of, of_tree = kind
    found = costs_of(raising(of_tree), PACKED).costs(THETA, np.array([2, 0, 1]), np.array([5.0, -4.0, 0.0]), 1)
    np.testing.assert_array_equal(found, [11.0, np.nan, 1.0])


def test_at_the_parameters_themselves_an_exception_gets_through(kind):
    costs_of, of_tree = kind
    with pytest.raises(ArithmeticError):
        costs_of(raising(of_tree), PACKED).cost(np.array([-1.0, 0.0, 0.0]))


def out_of_memory(params):
    raise MemoryError


def test_a_lack_of_memory_is_no_place_where_the_function_is_not_defined(kind):
    costs_of, _ = kind
    with pytest.raises(MemoryError):
        costs_of(out_of_memory, PACKED).costs(THETA, ENTRIES, VALUES, 1)
    with pytest.raises(MemoryError):
        cost_beside(out_of_memory, THETA)


def test_beside_the_parameters_a_cost_that_cannot_be_found_is_nan():
    assert np.isnan(cost_beside(lambda theta: 1 / 0, THETA))
    assert cost_beside(lambda theta: 2.0, THETA) == 2.0


def test_a_result_that_is_no_number_is_an_error_that_says_which_entry_was_moved():
    costs = PythonCosts(lambda params: None if params["b"] == 5.0 else 1.0, PACKED)
    with pytest.raises(TypeError, match="expected it to return one real number") as raised:
        costs.costs(THETA, ENTRIES, VALUES, 1)
    notes = getattr(raised.value, "__notes__", ["gradcheck_fast: raised by the loss while b was 5.0 instead of 3.0"])
    assert notes == ["gradcheck_fast: raised by the loss while b was 5.0 instead of 3.0"]


# ---- what is noticed


def test_a_function_that_leaves_its_argument_alone_is_not_mentioned(kind):
    costs_of, of_tree = kind
    costs = costs_of(of_tree, PACKED)
    costs.cost(THETA)
    costs.costs(THETA, ENTRIES, VALUES, 1)
    assert costs.notes == ()


def test_a_function_that_writes_into_its_argument_is_mentioned_and_harms_nothing(kind):
    costs_of, of_tree = kind

    def writes(params):
        value = of_tree(params)
        params["a"][...] = 0.0
        return value

    costs = costs_of(writes, PACKED)
    assert costs.cost(THETA) == 7.0
    assert THETA.tolist() == [1.0, 2.0, 3.0]
    assert len(costs.notes) == 1
    assert costs.notes[0].startswith("the loss writes into its argument")


def test_a_function_that_writes_only_beside_the_parameters_is_mentioned_too(kind):
    costs_of, of_tree = kind

    def clips(params):
        np.minimum(params["a"], 2.0, out=params["a"])
        return of_tree(params)

    costs = costs_of(clips, PACKED)
    costs.cost(THETA)
    assert costs.notes == ()
    assert costs.costs(THETA, np.array([0]), np.array([9.0]), 1).tolist() == [10.0]
    assert len(costs.notes) == 1


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_a_cost_in_a_coarse_dtype_is_mentioned(dtype):
    costs = PythonCosts(lambda params: np.dtype(dtype).type(function(params)), PACKED)
    costs.cost(THETA)
    assert costs.notes == (
        f"the loss gives {dtype}, though it was given float64: hardly any digits are left in differences",
    )


# ---- a part of the parameters


def test_a_part_of_the_parameters_is_moved_and_named_as_in_the_whole():
    part = PartCosts(PythonCosts(function, PACKED), THETA, np.array([2, 0]))
    assert part.cost(np.array([1.0, 5.0])) == 27.0
    assert part.costs(np.array([1.0, 5.0]), np.array([1]), np.array([0.0]), 1).tolist() == [2.0]
    assert [part.name(0), part.name(1)] == ["b", "a[0]"]
    np.testing.assert_allclose(part.complex_steps(np.array([3.0, 1.0]), np.arange(2), np.full(2, 1e-20)), [2.0, 2.0])
    assert THETA.tolist() == [1.0, 2.0, 3.0]


# ---- numbers


@pytest.mark.parametrize("value", [2, 2.0, np.float32(2.0), np.array([[2.0]]), np.int8(2)])
def test_one_real_number_is_read_whatever_it_is_in(value):
    found = real_number(value)
    assert (found, type(found)) == (2.0, float)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "got None; did it forget to return it?"),
        (
            1j,
            "got 1j; is the real part meant? The imaginary part, 1.0e+00, is more than rounding: return loss.real",
        ),
        ("2", "got '2'"),
        (True, "got True"),
        (np.zeros(3), "got array([0., 0., 0.])"),
        (np.zeros((2, 3)), "got an array of shape (2, 3)"),
    ],
)
def test_anything_else_is_shown_in_the_error_unless_it_is_large(value, said):
    with pytest.raises(TypeError) as raised:
        real_number(value)
    assert str(raised.value) == f"loss: expected it to return one real number, {said}"


def test_a_complex_number_is_read_as_one_and_nothing_else_is():
    assert complex_number(np.array([2.0 + 1.0j])) == 2.0 + 1.0j
    assert complex_number(3) == 3.0
    with pytest.raises(TypeError, match="expected it to return one number"):
        complex_number(np.zeros(2))


def test_a_vectorised_function_must_return_a_number_for_each_tree():
    with pytest.raises(TypeError, match=r"return 3 real numbers, one for each .*, shape \(3,\); got \(3, 2\)$"):
        BatchCosts(lambda params: params["a"], PACKED).costs(THETA, ENTRIES, VALUES, 1)
