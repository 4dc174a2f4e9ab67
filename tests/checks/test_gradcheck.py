"""gradcheck(): it finds every mistake where it is, and never finds one where there is none."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from networks import COSTS, backprop, four_layers, make, random_network, wrong_arrays

import gradcheck_fast as gf

METHODS = ("units", "incremental", "chain")
ARRAYS = [f"{kind}{k}" for k in range(1, 5) for kind in "Wb"]
WEIGHTS, BIASES = ARRAYS[::2], ARRAYS[1::2]
networks = pytest.mark.parametrize("case", ["regression", "classification", "penalised"], indirect=True)
methods = pytest.mark.parametrize("method", METHODS)


@pytest.fixture
def case(request):
    return four_layers(request.param)


def assert_caught(report, correct, wrong, arrays, index=None):
    """FAIL in exactly these arrays; the worst entry is one of theirs, and was changed."""
    assert report.verdict == "FAIL"
    assert wrong_arrays(report) == arrays
    worst = report.worst(1)[0]
    assert worst.array in arrays
    assert wrong[worst.array][worst.index] != correct[worst.array][worst.index]
    assert worst.analytic == wrong[worst.array][worst.index]
    if index is not None:
        assert worst.index == index
        assert report.wrong == 1


# ---- mistakes in one array


def smallest(array):
    """Where the smallest entry of the array lies that is not zero."""
    return min((index for index in np.ndindex(array.shape) if array[index]), key=lambda index: abs(array[index]))


def any_entry(array):
    """Where an entry of the array lies that is not zero, drawn at random."""
    return tuple(np.random.default_rng(0).permutation(np.argwhere(array))[0])


def assert_entry_caught(case, method, array, index, spoil):
    wrong = copy.deepcopy(case.gradient)
    wrong[array][index] = spoil(wrong[array][index])
    report = gf.gradcheck(case.loss, wrong, case.params, method=method)
    assert_caught(report, case.gradient, wrong, [array], index)


@methods
@networks
@pytest.mark.parametrize("array", ARRAYS)
@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda g: g * (1 + 1e-6), id="one-millionth-more"),
        pytest.param(lambda g: -g, id="other-sign", marks=pytest.mark.long),
        pytest.param(lambda g: 0.0, id="zero", marks=pytest.mark.long),
    ],
)
def test_the_smallest_entry_if_wrong_is_the_worst(case, method, array, spoil):
    assert_entry_caught(case, method, array, smallest(case.gradient[array]), spoil)


@pytest.mark.long
@methods
@networks
@pytest.mark.parametrize("array", ARRAYS)
def test_any_entry_that_is_one_millionth_more_is_the_worst(case, method, array):
    assert_entry_caught(case, method, array, any_entry(case.gradient[array]), lambda g: g * (1 + 1e-6))


@methods
@networks
@pytest.mark.parametrize("array", ARRAYS)
@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda g: -g, id="other-sign"),
        pytest.param(lambda g: 2 * g, id="factor-2", marks=pytest.mark.long),
        pytest.param(lambda g: 0.5 * g, id="factor-half", marks=pytest.mark.long),
        pytest.param(lambda g: 7 * g, id="missing-1-over-N", marks=pytest.mark.long),
        pytest.param(lambda g: g + 1e-3, id="offset"),
        pytest.param(lambda g: 0 * g, id="zero", marks=pytest.mark.long),
    ],
)
def test_one_wrong_array(case, method, array, spoil):
    correct = case.gradient
    wrong = {**correct, array: spoil(correct[array])}
    assert_caught(gf.gradcheck(case.loss, wrong, case.params, method=method), correct, wrong, [array])


@methods
@networks
@pytest.mark.parametrize("array", WEIGHTS)
def test_transposed_square_matrix(case, method, array):
    correct = case.gradient
    wrong = {**correct, array: correct[array].T}
    report = gf.gradcheck(case.loss, wrong, case.params, method=method)
    assert_caught(report, correct, wrong, [array])
    size = case.params[array].size
    assert report.wrong <= size - size**0.5  # its diagonal is right


@methods
@networks
@pytest.mark.parametrize("array", BIASES)
@pytest.mark.parametrize("forgotten", ["all-but-the-first", pytest.param("the-last", marks=pytest.mark.long)])
def test_bias_gradient_that_misses_samples(case, method, array, forgotten):
    kept = slice(1) if forgotten == "all-but-the-first" else slice(-1)
    part = case._replace(X=case.X[kept], y=case.y[kept])
    scale = len(part.X) / len(case.X)  # both costs are means over the samples
    correct = case.gradient
    wrong = {**correct, array: scale * part.gradient[array]}
    assert_caught(gf.gradcheck(case.loss, wrong, case.params, method=method), correct, wrong, [array])


# ---- mistakes in the derivation: wrong from some layer down


@methods
@networks
@pytest.mark.parametrize("layer", [1, 2, 3, 4])
def test_forgotten_derivative_of_an_activation(case, method, layer):
    correct = case.gradient
    wrong = backprop(*case, forget_slope_of=layer)
    report = gf.gradcheck(case.loss, wrong, case.params, method=method)
    if case.net.layers[layer - 1].activation == "identity":
        assert report.ok
    else:
        assert_caught(report, correct, wrong, ARRAYS[: 2 * layer])


@methods
def test_missing_one_over_n(method):
    case = four_layers("regression")
    with_sum = gf.Network(case.net.layers, cost=gf.SquaredError(reduction="sum"))
    wrong = backprop(with_sum, case.params, case.X, case.y)
    assert_caught(gf.gradcheck(case.loss, wrong, case.params, method=method), case.gradient, wrong, ARRAYS)


@methods
@pytest.mark.parametrize("penalty", [None, gf.L2(0.1, biases=True)], ids=["forgotten", "of-biases-too"])
def test_wrong_penalty(method, penalty):
    case = four_layers("penalised")
    other = gf.Network(case.net.layers, cost=case.net.cost, penalty=penalty)
    wrong = backprop(other, case.params, case.X, case.y)
    arrays = WEIGHTS if penalty is None else BIASES
    assert_caught(gf.gradcheck(case.loss, wrong, case.params, method=method), case.gradient, wrong, arrays)


@methods
def test_gradient_of_the_parameters_before_the_update(method):
    case = four_layers("classification")
    updated = {name: array - 1e-5 * case.gradient[name] for name, array in case.params.items()}
    report = gf.gradcheck(case.loss, case.gradient, updated, method=method)
    assert wrong_arrays(report) == ARRAYS


def test_two_mistakes_are_both_found():
    case = four_layers("regression")
    wrong = copy.deepcopy(case.gradient)
    wrong["W2"][3, 1] *= 1.01
    wrong["b4"][2] *= -1
    report = gf.gradcheck(case.loss, wrong, case.params)
    assert wrong_arrays(report) == ["W2", "b4"]
    assert [(entry.array, entry.index) for entry in report.worst(2)] == [("b4", (2,)), ("W2", (3, 1))]


@networks
def test_methods_of_plain_arithmetic_find_coarser_mistakes(case):
    """A part in a thousand; two million times what they are usually off by."""
    wrong = copy.deepcopy(case.gradient)
    index = np.unravel_index(np.argmax(np.abs(wrong["W3"])), wrong["W3"].shape)
    assert gf.gradcheck(case.loss, wrong, case.params, method="direct")
    wrong["W3"][index] *= 1.001
    report = gf.gradcheck(case.loss, wrong, case.params, method="direct")
    assert_caught(report, case.gradient, wrong, ["W3"], index)
    report = gf.gradcheck(lambda params: case.loss(params), wrong, case.params)
    assert_caught(report, case.gradient, wrong, ["W3"], index)


# ---- no false alarms


@methods
def test_200_correct_networks_pass(method):
    rng = np.random.default_rng(2024)
    for k in range(200):
        case = random_network(rng)
        report = gf.gradcheck(case.loss, case.gradient, case.params, method=method)
        assert report.ok, f"network {k}: {case.net}\n{report}"


@pytest.mark.parametrize(
    ("method", "networks"), [("chain", 50), *(pytest.param(m, 80, marks=pytest.mark.long) for m in METHODS)]
)
def test_networks_with_one_wrong_entry_fail(method, networks):
    rng = np.random.default_rng(2025)
    for k in range(networks):
        case = random_network(rng)
        wrong = case.gradient
        array = str(rng.choice(list(wrong)))
        index = np.unravel_index(np.argmax(np.abs(wrong[array])), wrong[array].shape)
        wrong[array][index] = wrong[array][index] * (1 - 1e-5) if wrong[array][index] else 1.0
        report = gf.gradcheck(case.loss, wrong, case.params, method=method)
        assert wrong_arrays(report) == [array], f"network {k}: {case.net}\n{report}"
        assert report.worst(1)[0][:2] == (array, index)


def in_float32(case):
    return case._replace(params={name: array.astype(np.float32) for name, array in case.params.items()})


#: Without those whose gradient divides by p (1 - p), of which float32 keeps nothing where p is nearly 1.
FLOAT32_COSTS = tuple(name for name in COSTS if "probabilities" not in name)


def test_100_correct_float32_gradients_pass():
    rng = np.random.default_rng(32)
    for k in range(100):
        case = in_float32(random_network(rng, FLOAT32_COSTS))
        gradient = case.gradient
        assert all(array.dtype == np.float32 for array in gradient.values())
        report = gf.gradcheck(case.loss, gradient, case.params)
        assert report.wrong == 0, f"network {k}: {case.net}\n{report}"


@pytest.mark.parametrize("array", ARRAYS)
def test_one_percent_in_a_float32_gradient_fails(array):
    case = in_float32(four_layers("classification"))
    assert_entry_caught(case, "auto", array, any_entry(case.gradient[array]), lambda g: g * np.float32(1.01))


def test_tolerance_follows_the_dtype_of_each_array():
    case = four_layers("regression")
    off = {name: array * (1 + 1e-7) for name, array in case.gradient.items()}
    off["W2"] = off["W2"].astype(np.float32)
    report = gf.gradcheck(case.loss, off, case.params)
    assert wrong_arrays(report) == [name for name in ARRAYS if name != "W2"]


def test_float16_gradient():
    case = four_layers("regression")
    half = {name: array.astype(np.float16) for name, array in case.gradient.items()}
    assert gf.gradcheck(case.loss, half, case.params)
    assert not gf.gradcheck(case.loss, {**half, "b1": -half["b1"]}, case.params)


def test_network_whose_gradient_is_zero_everywhere():
    """One class: its probability is always 1."""
    net = gf.Network([gf.Dense(2, 3, "tanh"), gf.Dense(3, 1)], cost=gf.CrossEntropy())
    params = net.init(0)
    zero = {name: np.zeros(shape) for name, shape in net.shapes.items()}
    for method in METHODS:
        report = gf.gradcheck(net.loss(np.ones((4, 2)), np.zeros(4, int)), zero, params, method=method)
        assert (report.ok, report.wrong, report.verdict) == (False, 0, "INCONCLUSIVE")
        assert {array.status for array in report.arrays} == {"nothing to check"}


# ---- NaN and infinity


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf], ids=["nan", "inf", "minus-inf"])
@pytest.mark.parametrize("method", [*METHODS, "direct"])
def test_non_finite_analytic_entry_fails(method, bad):
    case = four_layers("regression")
    wrong = case.gradient
    wrong["W3"][1, 4] = bad
    report = gf.gradcheck(case.loss, wrong, case.params, method=method)
    assert not report.ok
    assert wrong_arrays(report) == ["W3"]
    assert report.worst(1)[0][:2] == ("W3", (1, 4))
    assert not gf.gradcheck(case.loss, wrong, case.params, method=method, rtol=1e300, atol=1e300)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf], ids=["nan", "inf", "minus-inf"])
def test_a_loss_that_is_not_finite_has_no_gradient(value):
    with pytest.raises(ValueError, match=f"loss: it is {value} at these parameters"):
        gf.gradcheck(lambda x: value if x == 1.0 else x**2, 2.0, 1.0)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf], ids=["nan", "inf", "minus-inf"])
def test_a_loss_that_is_finite_at_the_parameters_alone_does_not_pass(value):
    report = gf.gradcheck(lambda x: 1.0 if x == 1.0 else value, 2.0, 1.0)
    assert report.verdict == "INCONCLUSIVE"
    assert "the loss is finite here, but its differences are not" in str(report)


@pytest.mark.parametrize("method", [*METHODS, "direct"])
@pytest.mark.parametrize("penalty", [None, gf.L2(0.1)], ids=["plain", "with-penalty"])
def test_network_that_overflows_fails_without_warning(method, penalty):
    case = make(np.random.default_rng(0), [2, 3, 1], ["identity", "identity"], penalty=penalty)
    huge = {name: 1e160 * array for name, array in case.params.items()}
    report = gf.gradcheck(case.loss, {name: np.ones_like(array) for name, array in huge.items()}, huge, method=method)
    assert not report.ok


def test_large_cost_does_not_excuse_a_wrong_gradient():
    """Rounding two costs of 1e12 leaves nothing of their difference: that is no agreement."""
    assert not gf.gradcheck(lambda x: 1e12 + x @ x, np.array([20.0, 40.0]), np.array([1.0, 2.0]))


# ---- nothing checked


@pytest.mark.parametrize(
    "nothing",
    [{}, [], (), np.empty(0), np.empty((0, 3)), {"W": np.empty((2, 0)), "b": np.empty(0)}],
    ids=["dict", "list", "tuple", "vector", "matrix", "arrays"],
)
def test_nothing_checked_is_no_success(nothing):
    report = gf.gradcheck(lambda params: 1.0, nothing, nothing)
    assert report.verdict == "INCONCLUSIVE"
    assert not report.ok
    assert report.checked == 0
    assert "nothing was checked" in str(report)
    with pytest.raises(gf.GradientError, match="nothing was checked"):
        report.raise_if_failed()


def test_an_empty_array_among_others_is_fine():
    params = {"W": np.ones(3), "b": np.empty(0)}
    gradient = {"W": np.full(3, 2.0), "b": np.empty(0)}
    assert gf.gradcheck(lambda p: (p["W"] ** 2).sum(), gradient, params)


# ---- gradients that vanish


def deep_sigmoid(layers):
    net = gf.Network([gf.Dense(4, 4, "sigmoid") for _ in range(layers)], cost=gf.SquaredError())
    random = np.random.default_rng(3)
    return net.loss(random.normal(size=(5, 4)), random.uniform(size=(5, 4))), net.init(3)


@pytest.mark.parametrize("method", ["units", "incremental", "chain"])
def test_a_layer_whose_gradient_vanishes_beside_the_others_is_still_checked(method):
    loss, params = deep_sigmoid(12)
    gradient = gf.numerical_gradient(loss, params)
    assert np.abs(gradient["W1"]).max() < 1e-6 * np.abs(gradient["W12"]).max()
    assert gf.gradcheck(loss, gradient, params, method=method).ok
    gradient["W1"] *= -2
    report = gf.gradcheck(loss, gradient, params, method=method)
    assert [array.wrong for array in report.arrays if array.name == "W1"] == [16]


@pytest.mark.parametrize("method", ["units", "incremental", "chain", "direct"])
def test_a_perfect_fit_has_a_gradient_of_zero(method):
    net = gf.Network([gf.Dense(3, 4, "tanh"), gf.Dense(4, 2)], cost=gf.SquaredError())
    params, X = net.init(1), np.random.default_rng(1).normal(size=(6, 3))
    zeros = {name: np.zeros(shape) for name, shape in net.shapes.items()}
    report = gf.gradcheck(net.loss(X, net.predict(params, X)), zeros, params, method=method)
    assert (report.wrong, report.verdict) == (0, "INCONCLUSIVE")


def test_a_nested_gradient_goes_by_the_names_of_the_parameters():
    net = gf.Network([gf.Dense(2, 2, "tanh", bias=False), gf.Dense(2, 2, bias=False)], cost=gf.SquaredError())
    first, second = net.init(0).values()
    params = {"encoder": {"W": first}, "decoder": {"W": second}}
    loss = net.loss(np.eye(2), np.ones((2, 2)))
    gradient = gf.numerical_gradient(loss, params)
    assert gf.gradcheck(loss, {"decoder": gradient["decoder"], "encoder": gradient["encoder"]}, params).ok


def test_a_small_gradient_in_half_precision_may_not_be_wrong():
    x = np.full(3, 1e-3)
    right = (2 * x).astype(np.float16)
    loss = lambda p: float(p @ p)
    assert gf.gradcheck(loss, right, x)
    assert gf.gradcheck(loss, 1.1 * right, x).wrong == 3
