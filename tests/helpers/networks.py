"""Networks for the tests, written out by hand in NumPy: forward pass, back-propagation, and random draws of them.

Only the description of a network (layers, cost, penalty) is taken from the library; every number is computed here,
in the precision of the parameters.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

import gradcheck_fast as gf

# ---- activations: the value, and its slope given z and the value a


def sigmoid(z):
    e = np.exp(-np.abs(z))
    return np.where(z >= 0, 1, e) / (1 + e)


def softplus(z):
    return np.maximum(z, 0) + np.log1p(np.exp(-np.abs(z)))


def softmax(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def normal_cdf(z):
    return np.array([0.5 * math.erfc(-value / math.sqrt(2)) for value in z.ravel()], z.dtype).reshape(z.shape)


def normal_density(z):
    return np.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)


def gelu_gate(z):
    return sigmoid(2 * math.sqrt(2 / math.pi) * (z + 0.044715 * z**3))


def gelu_tanh_slope(z, a):
    gate = gelu_gate(z)
    return gate + z * gate * (1 - gate) * 2 * math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * z * z)


def exponential_unit(z, alpha):
    return np.where(z > 0, z, alpha * np.expm1(np.minimum(z, 0)))


def exponential_unit_slope(z, alpha):
    return np.where(z > 0, 1, alpha * np.exp(np.minimum(z, 0)))


SELU_ALPHA, SELU_SCALE = 1.6732632423543772, 1.0507009873554805

ELEMENTWISE = {
    "identity": (lambda z: z, lambda z, a: np.ones_like(z)),
    "sigmoid": (sigmoid, lambda z, a: a * (1 - a)),
    "tanh": (np.tanh, lambda z, a: 1 - a * a),
    "relu": (lambda z: np.maximum(z, 0), lambda z, a: (z > 0).astype(z.dtype)),
    "leaky_relu": (lambda z: np.where(z > 0, z, 0.01 * z), lambda z, a: np.where(z > 0, 1, 0.01)),
    "elu": (lambda z: exponential_unit(z, 1), lambda z, a: exponential_unit_slope(z, 1)),
    "selu": (
        lambda z: SELU_SCALE * exponential_unit(z, SELU_ALPHA),
        lambda z, a: SELU_SCALE * exponential_unit_slope(z, SELU_ALPHA),
    ),
    "softplus": (softplus, lambda z, a: sigmoid(z)),
    "softsign": (lambda z: z / (1 + np.abs(z)), lambda z, a: (1 + np.abs(z)) ** -2),
    "silu": (lambda z: z * sigmoid(z), lambda z, a: sigmoid(z) * (1 + z * (1 - sigmoid(z)))),
    "gelu": (lambda z: z * normal_cdf(z), lambda z, a: normal_cdf(z) + z * normal_density(z)),
    "gelu_tanh": (lambda z: z * gelu_gate(z), gelu_tanh_slope),
    "hardtanh": (lambda z: np.clip(z, -1, 1), lambda z, a: (np.abs(z) < 1).astype(z.dtype)),
    "relu6": (lambda z: np.clip(z, 0, 6), lambda z, a: ((z > 0) & (z < 6)).astype(z.dtype)),
    "exp": (np.exp, lambda z, a: a),
}
ACTIVATIONS = (*ELEMENTWISE, "softmax")
SMOOTH = ("identity", "sigmoid", "tanh", "softplus", "silu", "gelu", "gelu_tanh", "softmax")


def activate(name, z):
    return softmax(z) if name == "softmax" else ELEMENTWISE[name][0](z).astype(z.dtype)


def through_activation(name, z, a, upstream):
    """The derivative by z, given that by a."""
    if name == "softmax":
        return a * (upstream - (a * upstream).sum(axis=1, keepdims=True))
    return (upstream * ELEMENTWISE[name][1](z, a)).astype(z.dtype)


# ---- costs: the sum over all elements, and its derivative by the outputs x


def target_rows(cost, y, x):
    y = np.asarray(y)
    if isinstance(cost, gf.CrossEntropy) and y.ndim == 1:
        return np.eye(x.shape[1], dtype=x.dtype)[y]
    return y.reshape(x.shape).astype(x.dtype)


def total_and_slope(cost, x, y):
    y = target_rows(cost, y, x)
    if isinstance(cost, gf.SquaredError):
        return cost.factor * ((y - x) ** 2).sum(), 2 * cost.factor * (x - y)
    if isinstance(cost, gf.AbsoluteError):
        return np.abs(x - y).sum(), np.sign(x - y)
    if isinstance(cost, gf.Huber):
        r, delta = x - y, cost.delta
        inside = np.abs(r) <= delta
        return np.where(inside, r * r / 2, delta * (np.abs(r) - delta / 2)).sum(), np.clip(r, -delta, delta)
    if isinstance(cost, gf.BinaryCrossEntropy) and cost.from_logits:
        return (softplus(x) - y * x).sum(), sigmoid(x) - y
    if isinstance(cost, gf.BinaryCrossEntropy):
        return -(y * np.log(x) + (1 - y) * np.log1p(-x)).sum(), (x - y) / (x * (1 - x))
    if cost.from_logits:
        top = x.max(axis=1, keepdims=True)
        log_sum = top + np.log(np.exp(x - top).sum(axis=1, keepdims=True))
        return (y * (log_sum - x)).sum(), softmax(x) - y
    return -(y * np.log(x)).sum(), -y / x


def reduction_factor(cost, shape):
    samples, outputs = shape
    elements = samples if isinstance(cost, gf.CrossEntropy) else samples * outputs
    return {"sum": 1.0, "batchmean": 1.0 / samples, "mean": 1.0 / elements}[cost.reduction]


# ---- networks


def array_names(net):
    """The names of the weights and of the biases (None: there are none), layer by layer."""
    return [(f"W{k}", f"b{k}" if layer.bias else None) for k, layer in enumerate(net.layers, 1)]


def forward(net, params, X):
    """The input of every layer, followed by the network's output; and every layer's z."""
    values, sums = [np.asarray(X).astype(params["W1"].dtype)], []
    for layer, (weights, biases) in zip(net.layers, array_names(net), strict=True):
        z = values[-1] @ params[weights]
        if biases:
            z = z + params[biases]
        sums.append(z)
        values.append(activate(layer.activation, z))
    return values, sums


def predict(net, params, X):
    return forward(net, params, X)[0][-1]


def penalised(net):
    if net.penalty is None:
        return []
    return [name for names in array_names(net) for name in names if name and (name[0] == "W" or net.penalty.biases)]


def loss(net, params, X, y):
    x = predict(net, params, X)
    data = total_and_slope(net.cost, x, y)[0] * reduction_factor(net.cost, x.shape)
    return float(data + sum(0.5 * net.penalty.strength * (params[name] ** 2).sum() for name in penalised(net)))


def backprop(net, params, X, y, *, forget_slope_of=None):
    """The gradient by back-propagation; `forget_slope_of` is the layer (1, 2, …) whose activation is left out."""
    values, sums = forward(net, params, X)
    upstream = total_and_slope(net.cost, values[-1], y)[1] * reduction_factor(net.cost, values[-1].shape)
    gradient = {}
    for k in range(len(net.layers), 0, -1):
        weights, biases = array_names(net)[k - 1]
        delta = upstream
        if k != forget_slope_of:
            delta = through_activation(net.layers[k - 1].activation, sums[k - 1], values[k], upstream)
        gradient[weights] = values[k - 1].T @ delta
        if biases:
            gradient[biases] = delta.sum(axis=0)
        upstream = delta @ params[weights].T
    for name in penalised(net):
        gradient[name] = gradient[name] + net.penalty.strength * params[name]
    return {name: gradient[name].astype(params[name].dtype) for name in net.shapes}


class Case(NamedTuple):
    """A network with parameters and data."""

    net: gf.Network
    params: dict[str, np.ndarray]
    X: np.ndarray
    y: np.ndarray

    @property
    def loss(self) -> Any:
        return self.net.loss(self.X, self.y)

    @property
    def gradient(self) -> dict[str, np.ndarray]:
        return backprop(*self)


class CostKind(NamedTuple):
    """A cost, the activation its network ends with (None: any), and what its targets are."""

    make: Any
    output: str | None
    targets: str


COSTS = {
    "squared": CostKind(gf.SquaredError, None, "values"),
    "half_squared": CostKind(lambda **kw: gf.SquaredError(factor=0.5, **kw), None, "values"),
    "absolute": CostKind(gf.AbsoluteError, None, "values"),
    "huber": CostKind(lambda **kw: gf.Huber(delta=0.7, **kw), None, "values"),
    "binary_logits": CostKind(gf.BinaryCrossEntropy, "identity", "fractions"),
    "binary_probabilities": CostKind(lambda **kw: gf.BinaryCrossEntropy(from_logits=False, **kw), "sigmoid", "bits"),
    "class_logits": CostKind(gf.CrossEntropy, "identity", "classes"),
    "row_logits": CostKind(gf.CrossEntropy, "identity", "rows"),
    "class_probabilities": CostKind(lambda **kw: gf.CrossEntropy(from_logits=False, **kw), "softmax", "classes"),
    "row_probabilities": CostKind(lambda **kw: gf.CrossEntropy(from_logits=False, **kw), "softmax", "rows"),
}
REDUCTIONS = ("sum", "batchmean", "mean")


def draw_targets(rng, kind, samples, outputs):
    if kind == "values":
        return rng.normal(size=(samples, outputs))
    if kind == "fractions":
        return rng.uniform(size=(samples, outputs))
    if kind == "bits":
        return rng.integers(0, 2, size=(samples, outputs))
    if kind == "classes":
        return rng.integers(0, outputs, size=samples)
    return rng.dirichlet(np.ones(outputs), size=samples)


def make(
    rng, widths, activations, cost="squared", reduction="mean", *, samples=7, bias=True, penalty=None, scale=1.0
) -> Case:
    """A network of these widths (one more than there are layers), with random parameters and data."""
    kind = COSTS[cost]
    activations = list(activations)
    if kind.output is not None:
        activations[-1] = kind.output
    biases = [bias] * len(activations) if isinstance(bias, bool) else bias
    layers = [gf.Dense(*row) for row in zip(widths[:-1], widths[1:], activations, biases, strict=True)]
    net = gf.Network(layers, cost=kind.make(reduction=reduction), penalty=penalty)
    params = {
        name: scale * rng.normal(0.0, shape[0] ** -0.5 if len(shape) == 2 else 0.5, shape)
        for name, shape in net.shapes.items()
    }
    X = rng.normal(size=(samples, widths[0]))
    return Case(net, params, X, draw_targets(rng, kind.targets, samples, widths[-1]))


def random_network(rng, costs=tuple(COSTS), deepest=4) -> Case:
    """Some layers of 1 to 20 units, any activations, any cost, sometimes without biases, with zeros in the data."""
    depth = int(rng.integers(1, deepest + 1))
    widths = [int(width) for width in rng.integers(1, 21, depth + 1)]
    activations = [str(name) for name in rng.choice(ACTIVATIONS, depth)]
    for k in [k for k, name in enumerate(activations) if name == "exp"][1:]:
        activations[k] = "tanh"  # exp of exp overflows
    cost = str(rng.choice(costs))
    if COSTS[cost].targets in ("classes", "rows"):
        widths[-1] = max(widths[-1], 2)
    case = make(
        rng, widths, activations, cost, str(rng.choice(REDUCTIONS)),
        samples=int(rng.integers(1, 40)), bias=[bool(b) for b in rng.random(depth) < 0.8],
        penalty=gf.L2(0.1, biases=bool(rng.random() < 0.5)) if rng.random() < 0.3 else None,
    )  # fmt: skip
    case.X[rng.random(case.X.shape) < 0.2] = 0.0
    return case


def flat(tree) -> np.ndarray:
    return np.concatenate([np.ravel(array) for array in tree.values()])


def distance(gradient, right) -> float:
    """‖gradient − right‖ / ‖right‖, of trees of the same form; 0 if they are equal."""
    off = np.linalg.norm(flat(gradient) - flat(right))
    return float(off / np.linalg.norm(flat(right))) if off else 0.0


def four_layers(name):
    """Square matrices only, so that each can be transposed."""
    return {
        "regression": lambda: make(
            np.random.default_rng(1), [5] * 5, ["tanh", "softplus", "sigmoid", "identity"], "squared", "batchmean"
        ),
        "classification": lambda: make(
            np.random.default_rng(2), [5] * 5, ["relu", "tanh", "silu", "identity"], "class_logits", "batchmean"
        ),
        "penalised": lambda: make(
            np.random.default_rng(3), [5] * 5, ["sigmoid", "tanh", "elu", "tanh"], "huber", penalty=gf.L2(0.1)
        ),
    }[name]()


def wrong_arrays(report):
    return [array.name for array in report.arrays if array.wrong]


def statuses(report):
    return {array.name: array.status for array in report.arrays}


def small_lstm(sequences=True, **options):
    """An LSTM and a dense layer for classes, with data of 4 samples and 5 times, and parameters."""
    net = gf.Network([gf.LSTM(2, 3, return_sequences=sequences, **options), gf.Dense(3, 2)], cost=gf.CrossEntropy())
    random = np.random.default_rng(0)
    X, y = random.normal(size=(4, 5, 2)), random.integers(2, size=(4, 5) if sequences else 4)
    return net, X, y, net.init(0)
