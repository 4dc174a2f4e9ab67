"""Functions of trees: which arguments are parameters, what is noticed, and products with their outputs."""

from __future__ import annotations

import numpy as np
import pytest

from gradcheck_fast.losses.tree_function import Products, TreeFunction


def test_integers_and_strings_stay_fixed():
    function = TreeFunction(lambda x, k, name: x[k] * 2.0, (np.array([1.0, 2.0]), 1, "a"))
    assert list(function.params) == ["inputs[0]"]
    assert function.flat(function.in_double).tolist() == [4.0]


def test_nothing_to_perturb_is_an_error():
    with pytest.raises(ValueError, match="inputs: none is an array of floating-point numbers"):
        TreeFunction(lambda k: float(k), (3,))


def test_what_is_no_function():
    with pytest.raises(TypeError, match="f"):
        TreeFunction(3.0, np.ones(2))


def test_outputs_are_a_tree_of_which_each_array_has_a_name():
    function = TreeFunction(lambda x: {"a": x.sum(), "b": [x, x[:1]]}, np.array([1.0, 2.0]))
    assert list(function.outputs.shapes.values()) == [(), (2,), (1,)]
    assert function.outputs.flat.tolist() == [3.0, 1.0, 2.0, 1.0]


def test_a_function_that_writes_into_its_argument_is_noticed():
    def f(x):
        x += 1.0
        return x * 2.0

    given = np.array([1.0, 2.0])
    function = TreeFunction(f, given)
    assert function.writers == ["f"]
    assert given.tolist() == [1.0, 2.0], "what was given is not changed"


def test_last_bits_that_differ_are_noted_and_more_is_refused():
    shaky = iter(range(1000))
    noisy = TreeFunction(lambda x: x * (1.0 + 1e-12 * next(shaky)), np.array([1.0, 2.0]))
    assert len(noisy.notes) == 1
    with pytest.raises(ValueError, match="f"):
        TreeFunction(lambda x: x * next(shaky), np.array([1.0, 2.0]))


def test_all_products_are_found_by_one_call():
    calls = []

    def f(x):
        calls.append(1)
        return (x, x**2)

    function = TreeFunction(f, np.array([1.0, 2.0, 3.0]))
    cotangent = np.arange(1.0, 7.0)
    products = Products(function, cotangent)
    calls.clear()
    names = list(function.outputs.shapes)
    params = {"inputs": np.array([2.0, 0.0, 1.0])}
    first = products.loss(names[0])(params)
    second = products.loss(names[1])(params)
    assert (first, second) == (1 * 2 + 3 * 1, 4 * 4 + 6 * 1)
    assert products.loss("")(params) == first + second
    assert len(calls) == 1


class Doubled:
    """Twice what a function of the user's gives."""

    def __init__(self, function):
        self.users_function = function

    def __call__(self, x):
        return 2.0 * self.users_function(x)

    def with_function(self, function):
        return Doubled(function)


def test_a_function_around_another_is_put_around_versions_of_that():
    function = TreeFunction(Doubled(np.square), (np.array([1.0, 3.0]),), ["x"], "forward")
    assert list(function.params) == ["x"]
    assert function.users_function is np.square
    assert function.outputs.flat.tolist() == [2.0, 18.0]
    loss = Products(function, np.array([1.0, 1.0])).loss("")
    assert loss(function.in_double) == 20.0
    assert loss.with_function(np.abs)(function.in_double) == 8.0


def test_errors_call_the_function_what_it_is_called():
    with pytest.raises(TypeError, match="forward: output"):
        TreeFunction(lambda x: "text", (np.ones(2),), ["x"], "forward")
