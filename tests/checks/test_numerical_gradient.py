"""numerical_gradient(): whatever the loss is, and whatever tree it takes."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from networks import flat, loss, make

import gradcheck_fast as gf

# ---- Python functions


def test_a_number_gives_a_number():
    slope = gf.numerical_gradient(lambda x: x**2, 1.5, step=1e-4)
    assert isinstance(slope, float)
    assert slope == 2.9999999999996696


@pytest.mark.parametrize("kind", [int, float, np.float64, np.float32, np.int8, np.array])
def test_any_kind_of_number(kind):
    x = kind(3)
    assert gf.numerical_gradient(lambda x: x**2, x) == pytest.approx(6.0, rel=1e-9)


def test_an_array_gives_an_array_of_its_shape():
    A = np.arange(6.0).reshape(2, 3)
    gradient = gf.numerical_gradient(lambda x: (A * x**2).sum(), np.ones((2, 3)))
    assert gradient.dtype == np.float64
    np.testing.assert_allclose(gradient, 2 * A, atol=1e-8)


def test_a_tree_gives_a_tree():
    params = {"a": [np.ones(2), (2.0, np.full((1, 2), 3.0))], "b": 4.0}
    gradient = gf.numerical_gradient(
        lambda p: (p["a"][0] ** 2).sum() + p["a"][1][0] ** 2 + (p["a"][1][1] ** 2).sum() + 10 * p["b"], params
    )
    assert list(gradient) == ["a", "b"]
    assert isinstance(gradient["a"][1], tuple)
    np.testing.assert_allclose(gradient["a"][0], [2.0, 2.0], rtol=1e-9)
    assert gradient["a"][1][0] == pytest.approx(4.0, rel=1e-9)
    np.testing.assert_allclose(gradient["a"][1][1], [[6.0, 6.0]], rtol=1e-9)
    assert gradient["b"] == pytest.approx(10.0, rel=1e-9)


def test_nothing_gives_nothing():
    assert gf.numerical_gradient(lambda p: 1.0, {}) == {}
    assert gf.numerical_gradient(lambda p: 1.0, np.empty((0, 2))).shape == (0, 2)


@pytest.mark.parametrize("method", ["auto", "direct"])
@pytest.mark.parametrize("dtype", ["f2", "f4", "i4", "u1"])
def test_functions_are_given_float64(dtype, method):
    seen = set()

    def function(p):
        seen.add(p["a"].dtype)
        return (p["a"] ** 2).sum()

    gradient = gf.numerical_gradient(function, {"a": np.array([1, 2], dtype)}, method=method)
    assert seen == {np.dtype(np.float64)}
    assert gf.gradcheck(function, gradient, {"a": np.array([1, 2], dtype)}, method=method)
    assert seen == {np.dtype(np.float64)}
    np.testing.assert_allclose(gradient["a"], [2.0, 4.0], rtol=1e-9)


@pytest.mark.parametrize(
    "wrap", [float, np.float64, np.float32, np.array, lambda v: np.array([[v]]), int],
    ids=["float", "float64", "float32", "0-d", "1x1", "int"],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:the loss gives float32")
def test_what_counts_as_one_number(wrap):
    assert gf.numerical_gradient(lambda x: wrap(4 * x), 1.0, step=0.5) == 4.0


@pytest.mark.parametrize("step", [1e-20, 1e-160, 1e200])
def test_a_step_that_is_lost_or_overflows_is_an_error(step):
    with pytest.raises(ValueError, match="step: "):
        gf.numerical_gradient(lambda x: x**2, 1.5, step=step)


def test_an_error_while_reading_what_the_loss_returned_names_the_loss():
    class Stubborn:
        def __array__(self, *args, **options):
            raise RuntimeError("requires grad")

    with pytest.raises(TypeError, match="loss: expected it to return one real number"):
        gf.numerical_gradient(lambda x: Stubborn(), 1.5)


@pytest.mark.parametrize("function", [lambda x: x**3, lambda x: x**3 + 1, lambda x: np.exp(x) - x], ids=range(3))
def test_a_derivative_of_zero_is_not_wrong_though_truncation_and_rounding_leave_something(function):
    assert gf.gradcheck(function, 0.0, 0.0).verdict == "INCONCLUSIVE"


def test_calls_are_made_at_p_plus_and_minus_step_for_each_entry():
    calls = []

    def function(p):
        calls.append(p.copy())
        return 0.0

    gf.numerical_gradient(function, np.array([1.0, -2.0, 3.0]), step=0.125)
    theta = np.array([1.0, -2.0, 3.0])
    shifts = {tuple(call - theta) for call in calls}
    assert {tuple(s * e) for e in 0.125 * np.eye(3) for s in (1, -1)} <= shifts
    assert shifts <= {tuple(s * e) for e in 0.125 * np.eye(3) for s in (1, 0, -1)}
    assert len(calls) <= 8


@pytest.mark.parametrize("step", [0.5, 0.1, 1e-2, 1e-4, 1e-6])
def test_given_step_is_the_textbook_formula(step):
    f = lambda x: np.exp(x)
    assert gf.numerical_gradient(f, 0.7, step=step) == (f(0.7 + step) - f(0.7 - step)) / (2 * step)


@pytest.mark.parametrize("x", [0.0, 1e-8, 1.0, -3.7, 1e3, -1e6, 1e100])
def test_default_step_suits_the_size_of_the_parameter(x):
    scale = max(1.0, abs(x))
    slope = gf.numerical_gradient(lambda p: np.sin(p / scale), x)
    assert slope == pytest.approx(np.cos(x / scale) / scale, rel=1e-9)


def test_linear_functions_are_exact_to_rounding():
    """The step is the distance of the two points as rounded."""
    assert gf.numerical_gradient(lambda x: 3.0 * x, 0.1) == pytest.approx(3.0, rel=1e-15 * 2**18)
    assert gf.numerical_gradient(lambda x: x, 1e10 / 3) == 1.0


@pytest.mark.parametrize("method", ["auto", "direct"])
def test_methods_for_functions(method):
    assert gf.numerical_gradient(lambda x: x**2, 3.0, method=method) == gf.numerical_gradient(lambda x: x**2, 3.0)


def test_function_that_writes_into_its_argument():
    def function(p):
        value = (p["a"] ** 2).sum() + p["b"][0].prod()
        p["a"][...] = -1e9
        p["b"][0] += 1e9
        p["b"].append(7)
        del p["a"]
        return value

    a, b = np.array([1.0, 2.0]), np.array([[3.0, 4.0]])
    params = {"a": a, "b": [b]}
    with pytest.warns(UserWarning, match="the loss writes into its argument"):
        gradient = gf.numerical_gradient(function, params)
    assert "the loss writes into its argument" in str(gf.gradcheck(function, gradient, params))
    np.testing.assert_allclose(gradient["a"], [2.0, 4.0], rtol=1e-9)
    np.testing.assert_allclose(gradient["b"][0], [[4.0, 3.0]], rtol=1e-9)
    assert params["a"] is a
    assert len(params["b"]) == 1
    np.testing.assert_array_equal(a, [1.0, 2.0])
    np.testing.assert_array_equal(b, [[3.0, 4.0]])


def test_function_that_keeps_its_argument():
    kept = []

    def function(p):
        kept.append(p)
        return p.sum()

    gf.numerical_gradient(function, np.zeros(3))
    assert len({id(p) for p in kept}) == len(kept)
    assert not any(np.shares_memory(p, q) for p, q in pairwise(kept))


def test_exception_of_the_function_comes_through():
    class Mine(Exception):
        pass

    def function(p):
        raise Mine("boom")

    with pytest.raises(Mine, match="boom"):
        gf.numerical_gradient(function, np.zeros(3))


class UserNetwork:
    """As the second tutorial writes it."""

    def __init__(self, case):
        self.case, self.params = case, case.params

    def getParams(self):
        return flat(self.params)

    def setParams(self, theta):
        begin = 0
        self.params = {}
        for name, array in self.case.params.items():
            self.params[name] = theta[begin : begin + array.size].reshape(array.shape)
            begin += array.size

    def costFunction(self, X, y):
        return loss(self.case.net, self.params, X, y)


def test_class_with_get_and_set_params():
    """Two lines adapt it; afterwards it holds its old parameters, to the last bit."""
    case = make(np.random.default_rng(0), [3, 4, 2], ["sigmoid", "identity"])
    user = UserNetwork(case)
    before = user.getParams().copy()

    def function(theta):
        user.setParams(theta)
        return user.costFunction(case.X, case.y)

    numerical = gf.numerical_gradient(function, user.getParams())
    assert gf.relative_error(numerical, flat(case.gradient)) < 1e-9
    assert gf.gradcheck(function, flat(case.gradient), user.getParams())
    np.testing.assert_array_equal(user.getParams(), before)


def test_python_function_agrees_with_the_compiled_loss():
    case = make(np.random.default_rng(1), [4, 6, 3], ["tanh", "identity"], "class_logits", penalty=gf.L2(0.2))
    compiled = gf.numerical_gradient(case.loss, case.params)
    python = lambda p: loss(case.net, p, case.X, case.y)
    assert gf.relative_error(gf.numerical_gradient(python, case.params), compiled) < 1e-14
    for function in (python, lambda p: case.loss(p)):
        assert gf.relative_error(gf.numerical_gradient(function, case.params, trace=False), compiled) < 1e-9


def test_a_function_that_cannot_be_traced_is_differenced_as_it_is_with_one_warning():
    case = make(np.random.default_rng(1), [4, 6, 3], ["tanh", "identity"], "class_logits")
    with pytest.warns(UserWarning, match="could not be traced: .*Plain differences of it are used$") as warned:
        found = gf.numerical_gradient(lambda p: case.loss(p), case.params)
    assert len(warned) == 1
    np.testing.assert_equal(found, gf.numerical_gradient(lambda p: case.loss(p), case.params, trace=False))


# ---- networks


@pytest.mark.parametrize("method", ["units", "incremental", "chain", "direct", "auto"])
@pytest.mark.parametrize("form", ["dict", "reversed", "list", "nested", "flat", "float32", "fortran"])
def test_network_gradient_is_a_tree_like_the_params(method, form):
    case = make(np.random.default_rng(2), [3, 4, 2], ["tanh", "identity"])
    rounded = {name: array.astype(np.float32).astype(np.float64) for name, array in case.params.items()}
    reference = gf.numerical_gradient(case.loss, rounded, method=method)
    assert list(reference) == ["W1", "b1", "W2", "b2"]
    params = {
        "dict": rounded,
        "reversed": dict(reversed(rounded.items())),
        "list": list(rounded.values()),
        "nested": [(rounded["W1"], rounded["b1"]), {"W": rounded["W2"], "b": rounded["b2"]}],
        "flat": flat(rounded),
        "float32": {name: array.astype(np.float32) for name, array in rounded.items()},
        "fortran": {name: np.asfortranarray(array) for name, array in rounded.items()},
    }[form]
    gradient = gf.numerical_gradient(case.loss, params, method=method)
    found = {
        "dict": lambda: gradient,
        "reversed": lambda: gradient,
        "list": lambda: dict(zip(reference, gradient, strict=True)),
        "nested": lambda: {
            "W1": gradient[0][0], "b1": gradient[0][1], "W2": gradient[1]["W"], "b2": gradient[1]["b"]
        },
        "flat": lambda: gradient,
        "float32": lambda: gradient,
        "fortran": lambda: gradient,
    }[form]()  # fmt: skip
    if form == "flat":
        np.testing.assert_array_equal(gradient, flat(reference))
        return
    assert type(gradient) is type(params)
    if isinstance(params, dict):
        assert list(gradient) == list(params)
    for name, array in reference.items():
        assert found[name].dtype == np.float64
        np.testing.assert_array_equal(found[name], array)


@pytest.mark.parametrize("method", ["units", "incremental", "chain", "direct"])
def test_network_step_is_the_textbook_quotient(method):
    case = make(np.random.default_rng(3), [2, 3, 1], ["sigmoid", "tanh"], penalty=gf.L2(0.5))
    step = 1e-2
    gradient = gf.numerical_gradient(case.loss, flat(case.params), method=method, step=step)
    theta = flat(case.params)
    for k, e in enumerate(step * np.eye(len(theta))):
        quotient = (case.loss(theta + e) - case.loss(theta - e)) / (2 * step)
        if method in ("units", "chain"):  # a unit, or the value of a step, is moved by the step there, not a weight
            assert gradient[k] == pytest.approx(quotient, abs=1e-3)
        else:
            assert gradient[k] == pytest.approx(quotient, rel=1e-11, abs=1e-14)


def test_network_results_are_the_same_again():
    case = make(np.random.default_rng(4), [20, 30, 5], ["gelu", "softmax"], "class_probabilities", samples=60)
    compiled = case.loss
    for method in ("units", "incremental", "chain", "direct"):
        first = flat(gf.numerical_gradient(compiled, case.params, method=method))
        gf.numerical_gradient(compiled, {name: array + 1 for name, array in case.params.items()}, method=method)
        np.testing.assert_array_equal(first, flat(gf.numerical_gradient(compiled, case.params, method=method)))


def test_params_are_not_modified():
    case = make(np.random.default_rng(5), [3, 4, 2], ["relu", "identity"])
    before = {name: array.copy() for name, array in case.params.items()}
    for method in ("units", "incremental", "chain", "direct"):
        gf.numerical_gradient(case.loss, case.params, method=method)
    np.testing.assert_equal(case.params, before)


def test_returned_arrays_are_the_callers():
    case = make(np.random.default_rng(6), [3, 4, 2], ["relu", "identity"])
    compiled = case.loss
    first = gf.numerical_gradient(compiled, case.params)
    kept = {name: array.copy() for name, array in first.items()}
    for array in gf.numerical_gradient(compiled, case.params).values():
        array[...] = 0.0
    np.testing.assert_equal(first, kept)


def test_a_step_that_is_lost_in_a_network():
    net = gf.Network(gf.Dense(2, 1), cost=gf.SquaredError())
    params = net.init(0)
    params["W1"][1, 0] = 1e20
    with pytest.raises(ValueError, match=r"step: 0.001 is lost in W1\[1, 0\] = 1e\+20"):
        gf.numerical_gradient(net.loss(np.ones((3, 2)), np.ones((3, 1))), params, method="direct", step=1e-3)
