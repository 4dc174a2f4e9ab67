"""Tests the key claim: what the library returns *is* (E(p + h) - E(p - h)) / 2h, at any h, to the last digits.

The numerical gradients of small random networks are compared with the same quotient at 60 digits, without any
derivative.
"""

from itertools import product
from zlib import crc32

import numpy as np
import pytest
from reference import central_differences, cost, exact, mpf, unit_differences

import gradcheck_fast as gf
from gradcheck_fast.frontends.network.layers import activations
from gradcheck_fast.kernels import _kernels

STEPS = (0.1, 1e-4, 1e-9)
#: The largest error that is allowed, relative to the largest entry of an array.
DIGITS = 1e-13
REDUCTIONS = ("sum", "batchmean", "mean")

#: For each cost by name: a function of the reduction that makes it, what the last layer must be, if anything, and what
#: targets look like.
COSTS = {
    "squared": (lambda r: gf.SquaredError(reduction=r), None, "real"),
    "half_squared": (lambda r: gf.SquaredError(factor=0.5, reduction=r), None, "real"),
    "absolute": (lambda r: gf.AbsoluteError(reduction=r), None, "real"),
    "huber": (lambda r: gf.Huber(delta=0.7, reduction=r), None, "real"),
    "binary_logits": (lambda r: gf.BinaryCrossEntropy(reduction=r), None, "share"),
    "binary_probabilities": (lambda r: gf.BinaryCrossEntropy(from_logits=False, reduction=r), "softmax", "share"),
    "binary_after_sigmoid": (lambda r: gf.BinaryCrossEntropy(from_logits=False, reduction=r), "sigmoid", "share"),
    "cross_entropy_logits": (lambda r: gf.CrossEntropy(reduction=r), None, "distribution"),
    "cross_entropy_logits_class": (lambda r: gf.CrossEntropy(reduction=r), None, "class"),
    "cross_entropy_probabilities": (
        lambda r: gf.CrossEntropy(from_logits=False, reduction=r), "sigmoid", "distribution",
    ),
    "cross_entropy_probabilities_class": (
        lambda r: gf.CrossEntropy(from_logits=False, reduction=r), "sigmoid", "class",
    ),
    "cross_entropy_after_softmax": (
        lambda r: gf.CrossEntropy(from_logits=False, reduction=r), "softmax", "distribution",
    ),
    "cross_entropy_after_softmax_class": (
        lambda r: gf.CrossEntropy(from_logits=False, reduction=r), "softmax", "class",
    ),
}  # fmt: skip


def draw_targets(random, kind, samples, outputs):
    if kind == "class":
        return random.integers(outputs, size=samples)
    if kind == "distribution":
        return random.dirichlet(np.ones(outputs), samples)
    if kind == "share":
        return random.choice([0.0, 1.0, 0.3], (samples, outputs))
    return random.normal(size=(samples, outputs))


def draw(activation, cost_name):
    """Returns a network with the activation in one layer and the cost at its end, with parameters and data.

    It is always the same for the same arguments.
    """
    seed = crc32(f"{activation} {cost_name}".encode())
    reduction = REDUCTIONS[(activations().index(activation) + list(COSTS).index(cost_name)) % 3]
    random = np.random.default_rng(seed)
    make_cost, last, targets = COSTS[cost_name]
    n_layers = 1 + seed % 4 if last is None else 2 + seed % 3
    layers = random.choice([name for name in activations() if name != "exp"], n_layers).tolist()  # exp of exp is huge
    layers[random.integers(n_layers - (last is not None))] = activation
    if last is not None:
        layers[-1] = last
    widths = random.integers(1, 5, n_layers + 1)
    for k, name in enumerate(layers):  # a softmax of one unit is the number 1
        widths[k + 1] = max(widths[k + 1], 2 if name == "softmax" else 1)
    if cost_name.startswith("cross_entropy"):
        widths[-1] = max(widths[-1], 2)
    net = gf.Network(
        [
            gf.Dense(int(inputs), int(outputs), name, bias=bool(random.integers(2)))
            for inputs, outputs, name in zip(widths, widths[1:], layers, strict=False)
        ],
        cost=make_cost(reduction),
        penalty=gf.L2(0.3, biases=bool(random.integers(2))) if random.integers(2) else None,
    )
    samples = int(random.integers(1, 4))
    params = net.init(seed)
    return net, params, random.normal(size=(samples, net.inputs)), draw_targets(random, targets, samples, net.outputs)


def errors(numerical, true):
    """Returns for each array the largest error of its entries, relative to its largest entry."""
    found = {}
    for name, array in numerical.items():
        largest = max(abs(x) for x in true[name])
        error = max(abs(mpf(x) - y) for x, y in zip(array.ravel().tolist(), true[name], strict=True))
        found[name] = float(error / largest) if largest else float(error)
    return found


def assert_is_central_difference(net, params, X, y, steps, monkeypatch):
    data, at = (exact(X), exact(y)), exact(params)
    for h in steps:
        true = {
            "incremental": central_differences(lambda p: cost(net, p, *data), at, h),
            "units": unit_differences(net, at, *data, h),
        }
        for isa, method in product(_kernels.instruction_sets(), true):
            monkeypatch.setenv("GRADCHECK_FAST_ISA", isa)
            numerical = gf.numerical_gradient(net.loss(X, y), params, method=method, step=h)
            for name, error in errors(numerical, true[method]).items():
                assert error <= DIGITS, f"{method}, h = {h}, {isa}: {name} of {net}"


@pytest.mark.parametrize("cost_name", COSTS)
@pytest.mark.parametrize("activation", activations())
def test_it_is_the_central_difference(activation, cost_name, monkeypatch):
    """With one of the steps for each pair: all of them for each activation, and for each cost."""
    step = STEPS[(activations().index(activation) + list(COSTS).index(cost_name)) % len(STEPS)]
    assert_is_central_difference(*draw(activation, cost_name), [step], monkeypatch)


def test_layers_wider_than_a_panel(monkeypatch):
    """Matrices are cut into panels of 16 columns, so that those of these layers have two."""
    random = np.random.default_rng(1)
    net = gf.Network([gf.Dense(2, 17, "tanh"), gf.Dense(17, 18, "sigmoid"), gf.Dense(18, 1)], cost=gf.SquaredError())
    X, y = random.normal(size=(1, 2)), random.normal(size=(1, 1))
    assert_is_central_difference(net, net.init(1), X, y, [0.1], monkeypatch)


@pytest.mark.parametrize(
    ("activation", "kink"),
    [("relu", 0), ("leaky_relu", 0), ("selu", 0), ("hardtanh", -1), ("hardtanh", 1), ("relu6", 0), ("relu6", 6)],
)
@pytest.mark.parametrize("side", [-0.03, 0.03], ids=["below", "above"])
def test_a_kink_of_an_activation_within_the_step(activation, kink, side, monkeypatch):
    net = gf.Network([gf.Dense(1, 1, activation), gf.Dense(1, 1, "tanh")], cost=gf.SquaredError())
    params = {"W1": [[0.5]], "b1": [kink + side - 0.35], "W2": [[0.4]], "b2": [0.1]}
    params = {name: np.array(value) for name, value in params.items()}
    X, y = np.array([[0.7]]), np.array([[2.0]])
    assert_is_central_difference(net, params, X, y, STEPS, monkeypatch)
    assert relative_error_of_derivative(net, params, X, y, 0.1)["b1"] > 1e-3


@pytest.mark.parametrize("side", [-0.03, 0.03], ids=["below", "above"])
@pytest.mark.parametrize(
    ("cost_function", "kink"),
    [(gf.AbsoluteError(), 0.0), (gf.Huber(delta=0.7), 0.7), (gf.Huber(delta=0.7), -0.7)],
    ids=["absolute", "huber+", "huber-"],
)
def test_a_kink_of_a_cost_within_the_step(cost_function, kink, side, monkeypatch):
    net = gf.Network([gf.Dense(1, 1, "sigmoid"), gf.Dense(1, 1)], cost=cost_function)
    params = {"W1": np.array([[0.5]]), "b1": np.array([0.2]), "W2": np.array([[1.5]]), "b2": np.array([0.3])}
    X = np.array([[0.7]])
    y = net.predict(params, X) - kink - side
    assert_is_central_difference(net, params, X, y, STEPS, monkeypatch)
    assert relative_error_of_derivative(net, params, X, y, 0.1)["b2"] > 0.01


CONFIDENT = {
    "class": (gf.CrossEntropy(), np.array([0, 1, 2])),
    "one_hot": (gf.CrossEntropy(), np.eye(3)),
    "smoothed": (gf.CrossEntropy(), np.array([[0.8, 0.15, 0.05], [0.2, 0.7, 0.1], [0.1, 0.3, 0.6]])),
    "binary": (gf.BinaryCrossEntropy(), np.eye(3)),
}


@pytest.mark.parametrize("right", [True, False], ids=["right", "wrong"])
@pytest.mark.parametrize("name", CONFIDENT)
def test_logits_so_large_that_the_probability_rounds_to_one(name, right, monkeypatch):
    cost_function, y = CONFIDENT[name]
    net = gf.Network([gf.Dense(3, 3, "tanh"), gf.Dense(3, 3)], cost=cost_function)
    sharp = 50.0 * (2 * np.eye(3) - 1)
    params = {**net.init(3), "W1": 3 * np.eye(3) + 0.1, "W2": sharp if right else -sharp}
    assert_is_central_difference(net, params, np.eye(3), y, STEPS, monkeypatch)


def relative_error_of_derivative(net, params, X, y, h):
    numerical = gf.numerical_gradient(net.loss(X, y), params, method="incremental", step=h)
    data = exact(X), exact(y)
    return errors(numerical, central_differences(lambda p: cost(net, p, *data), exact(params), 1e-20))


def test_a_large_step_truncates_and_the_default_step_does_not():
    """At h = 0.1 the quotient is not the derivative, so to agree with it at 60 digits means something."""
    random = np.random.default_rng(0)
    net = gf.Network([gf.Dense(3, 4, "tanh"), gf.Dense(4, 2, "sigmoid")], cost=gf.SquaredError())
    params, X, y = net.init(0), random.normal(size=(3, 3)), random.normal(size=(3, 2))
    assert min(relative_error_of_derivative(net, params, X, y, 0.1).values()) > 1e-4
    assert max(relative_error_of_derivative(net, params, X, y, None).values()) < DIGITS
