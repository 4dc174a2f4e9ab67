"""A function at one point: what it is asked there, whoever does the work."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from gradcheck_fast.inputs.trees import pack
from gradcheck_fast.numerical.evaluate import PythonCosts
from gradcheck_fast.numerical.point import Point
from gradcheck_fast.running.progress import Meter
from gradcheck_fast.running.runner import Runner

PARAMS = {"a": np.array([1.0, -2.0, 3.0]), "b": 0.5}
EVERY = np.arange(4)


def function(params):
    return np.sum(params["a"] ** 3) * params["b"]


def expected(*moves):
    """The cost with some entries of the flat vector at other values."""
    flat = pack(PARAMS).flat
    for entry, value in moves:
        flat[entry] = value
    return float(np.sum(flat[:3] ** 3) * flat[3])


def point(function=function, runner=None):
    packed = pack(PARAMS)
    return Point.at(PythonCosts(function, packed), packed.flat, runner or Runner(1))


def only_positive(params):
    if params["b"] <= 0.0:
        raise ArithmeticError("b is too small")
    return function(params)


def test_a_point_knows_the_value_of_the_function_there():
    assert point().value == expected()


def test_without_parameters_nothing_is_evaluated():
    packed = pack({})
    fails = PythonCosts(lambda params: pytest.fail("it was called"), packed)
    assert Point.at(fails, packed.flat, Runner(1)).value == 0.0


@pytest.mark.parametrize("executor", [None, ThreadPoolExecutor], ids=["here", "threads"])
def test_each_entry_is_moved_by_itself_to_each_of_its_places(executor):
    places = np.array([[9.0, 8.0, 7.0], [0.0, -1.0, 2.0]])
    with Runner(executor=executor) as runner:
        costs = point(runner=runner).moved(np.array([3, 0, 2]), places)
    for found, row in zip(costs.tolist(), places.tolist(), strict=True):
        assert found == [expected((3, row[0])), expected((0, row[1])), expected((2, row[2]))]


def test_pairs_are_the_costs_to_both_sides_and_their_distance():
    plus, minus, width = point().pairs(np.array([1, 3]), np.array([0.5, 0.25]))
    assert plus.tolist() == [expected((1, -1.5)), expected((3, 0.75))]
    assert minus.tolist() == [expected((1, -2.5)), expected((3, 0.25))]
    assert width.tolist() == [1.0, 0.5]


def test_a_pair_at_the_end_of_the_domain_is_the_difference_to_the_other_side():
    plus, minus, width = point(only_positive).pairs(np.array([3]), np.array([1.0]))
    assert (plus[0], minus[0], width[0]) == (expected((3, 1.5)), expected(), 1.0)


def test_a_point_of_some_parameters_keeps_the_others():
    some = point().of(np.array([3, 1]))
    assert some.theta.tolist() == [0.5, -2.0]
    assert some.cost_beside(np.array([2.0, 1.0])) == expected((3, 2.0), (1, 1.0))
    assert some.moved(np.array([1]), np.array([[4.0]])).tolist() == [[expected((1, 4.0))]]
    assert [some.costs.name(k) for k in some.entries] == ["b", "a[1]"]


def test_a_point_that_is_moved_has_the_value_there():
    moved = point().moved_to(np.array([1.0, 1.0, 1.0, 2.0]))
    assert moved.value == 6.0
    assert np.isnan(point(only_positive).moved_to(-np.ones(4)).value)


def test_the_error_at_a_place_says_where_it_was_raised():
    error = point(only_positive).error_at(3, -1.0)
    assert isinstance(error, ArithmeticError)
    notes = getattr(error, "__notes__", ["gradcheck_fast: raised by the loss while b was -1.0 instead of 0.5"])
    assert notes == ["gradcheck_fast: raised by the loss while b was -1.0 instead of 0.5"]
    assert point(only_positive).error_at(3, 1.0) is None


def test_complex_steps_are_the_derivatives_of_an_analytic_function():
    found = point().complex_steps(EVERY, np.full(4, 1e-20))
    np.testing.assert_allclose(found, [1.5, 6.0, 13.5, 20.0], rtol=1e-15)


def test_a_function_that_takes_no_complex_number_at_one_entry_is_asked_for_the_others():
    def refuses_a_complex_b(params):
        if np.imag(params["b"]):
            raise TypeError("b is not real")
        return function(params)

    steps, costs = point(refuses_a_complex_b).steps_and_costs(EVERY, np.full(4, 1e-20), np.full(4, 2.0))
    np.testing.assert_allclose(steps[:3], [1.5, 6.0, 13.5], rtol=1e-15)
    assert np.isnan(steps[3])
    assert costs[:3].tolist() == [expected((k, 2.0)) for k in range(3)]


def test_a_point_asked_quietly_reports_no_progress():
    seen = []
    loud = point(runner=Runner(1, Meter(seen.append)))
    loud.quietly().moved(EVERY, np.ones((1, 4)))
    assert seen == []
    loud.moved(EVERY, np.ones((1, 4)))
    assert seen[-1] == 1.0
