"""Hand-written back-propagation with mistakes planted in it, and what should be said of each.

Written out in NumPy, with formulas for the derivatives: nothing here comes from what diagnoses.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from networks import (  # fmt: skip
    Case,
    activate,
    forward,
    make,
    penalised,
    reduction_factor,
    sigmoid,
    softmax,
    target_rows,
    through_activation,
    total_and_slope,
)

import gradcheck_fast as gf

# ---- networks

SMOOTH = ("sigmoid", "tanh", "softplus", "silu", "gelu_tanh")


def dense(rng, *, square=False, last=None, cost="squared", penalty=None, activations=SMOOTH, samples=None) -> Case:
    """Two to four layers of 3 to 6 units."""
    depth = int(rng.integers(2, 5))
    widths = [int(width) for width in rng.integers(3, 7, depth + 1)]
    if square:
        widths = [int(rng.integers(4, 6))] * (depth + 1)
    chosen = [str(name) for name in rng.choice(activations, depth)]
    chosen[-1] = last or chosen[-1]
    reduction = str(rng.choice(["sum", "batchmean", "mean"]))
    return make(rng, widths, chosen, cost, reduction, samples=samples or int(rng.integers(3, 12)), penalty=penalty)


# ---- mistakes in going back through dense layers


def backprop(case: Case, mistake: str, layer: int) -> dict[str, np.ndarray]:
    """The gradient with a mistake in a layer (1, 2, ...; 0: in every layer)."""
    net, params, X, y = case
    values, sums = forward(net, params, X)
    upstream = total_and_slope(net.cost, values[-1], y)[1] * reduction_factor(net.cost, values[-1].shape)
    depth, gradient, above = len(net.layers), {}, None
    if mistake == "samples-first-left-out":
        upstream[0] = 0
    if mistake == "samples-last-left-out":
        upstream[-1] = 0
    if mistake == "samples-last-alone":
        upstream[:-1] = 0
    if mistake == "samples-some-left-out":
        upstream[[1, 3]] = 0
    if mistake == "samples-weighted":
        upstream *= np.array([0.5, 1.5, 1.0, 2.0, 0.25])[:, np.newaxis]
    updated = {name: array.copy() for name, array in params.items()}
    for k in range(depth, 0, -1):
        wrong = mistake if layer in (0, k) else ""
        activation, z, a, x, W = net.layers[k - 1].activation, sums[k - 1], values[k], values[k - 1], params[f"W{k}"]
        delta = through_activation(activation, z, a, upstream)
        if wrong == "slope-left-out":
            delta = upstream
        elif wrong == "slope-of-value":
            delta = through_activation(activation, a, activate(activation, a), upstream)
        elif wrong == "slope-by-z":  # a (1 - a), or 1 - a², with z where a belongs
            delta = upstream * (z * (1 - z) if activation == "sigmoid" else 1 - z * z)
        elif wrong == "slope-one-minus-a":
            delta = upstream * (1 - a)
        elif wrong == "slope-twice":
            delta = through_activation(activation, z, a, delta)
        elif wrong == "slope-of-sigmoid":
            delta = upstream * sigmoid(z) * (1 - sigmoid(z))
        elif wrong == "softmax-diagonal":
            delta = upstream * a * (1 - a)
        elif wrong == "delta-of-layer-above" and above is not None:
            delta, above = above, delta
        gradient[f"W{k}"] = x.T @ delta
        gradient[f"b{k}"] = delta.sum(axis=0)
        if wrong == "delta-of-layer-above" and above is not None:
            delta = above
        if wrong == "slope-left-out-in-own":
            gradient[f"W{k}"], gradient[f"b{k}"] = x.T @ upstream, upstream.sum(axis=0)
        elif wrong == "slope-left-out-in-bias":
            gradient[f"b{k}"] = upstream.sum(axis=0)
        elif wrong == "bias-averaged":
            gradient[f"b{k}"] = delta.mean(axis=0)
        elif wrong == "bias-wrong-axis":
            gradient[f"b{k}"] = delta.sum(axis=1)
        elif wrong == "bias-first-sample":
            gradient[f"b{k}"] = delta[0]
        elif wrong == "built-with-z":
            gradient[f"W{k}"] = sums[k - 2].T @ delta
        elif wrong == "built-with-own-output":
            gradient[f"W{k}"] = a.T @ delta
        if mistake == "updated-too-early":
            updated[f"W{k}"] = W - 0.05 * gradient[f"W{k}"]
            W = updated[f"W{k}"]
        if wrong == "not-transposed":
            upstream = delta @ W
        elif wrong == "weights-of-layer-below":
            upstream = delta @ params[f"W{k - 1}"].T
        elif wrong == "slope-left-out-below":
            upstream = upstream @ W.T
        else:
            upstream = delta @ W.T
        above = delta
    for name in penalised(net):
        gradient[name] = gradient[name] + net.penalty.strength * params[name]
    return {name: gradient[name] for name in net.shapes}


def any_layer(rng, case):
    return int(rng.integers(1, len(case.net.layers) + 1))


def any_inner_layer(rng, case):
    return int(rng.integers(2, len(case.net.layers) + 1))


class Planted(NamedTuple):
    """A loss, its parameters, its right gradient, a wrong one, and a pattern of what should be said first."""

    loss: Any
    params: dict[str, np.ndarray]
    right: dict[str, np.ndarray]
    wrong: dict[str, np.ndarray]
    says: str


def in_layers(mistake, says, network=dense, layer=any_layer, **options):
    def plant(rng):
        case = network(rng, **options)
        at = layer(rng, case)
        return Planted(case.loss, case.params, case.gradient, backprop(case, mistake, at), says.format(layer=at))

    return plant


MISSING = r"in layer {layer} the derivative of \w+ is left out"

IN_LAYERS = {
    "slope-left-out": in_layers("slope-left-out", MISSING),
    "slope-left-out-everywhere": in_layers(
        "slope-left-out", r"in every layer the derivative of .* is left out", layer=lambda rng, case: 0
    ),
    "slope-of-value": in_layers("slope-of-value", r"in layer {layer} .* taken at the value a instead of at z"),
    "slope-by-z": in_layers(
        "slope-by-z", r"in layer {layer} .* taken at z instead of at a", activations=("sigmoid", "tanh")
    ),
    "slope-one-minus-a": in_layers("slope-one-minus-a", r"in layer {layer} the derivative of \w+ is 1 - a"),
    "slope-twice": in_layers("slope-twice", r"in layer {layer} the derivative of \w+ is applied twice"),
    "slope-of-another": in_layers(
        "slope-of-sigmoid",
        r"in layer {layer} .* (that of sigmoid|of (tanh|softplus|silu) is a \(1 - a\))",
        activations=("tanh", "silu", "gelu_tanh"),
    ),
    "slope-left-out-in-own": in_layers(
        "slope-left-out-in-own", "in layer {layer} .* left out in its own arrays only", layer=any_inner_layer
    ),
    "slope-left-out-in-bias": in_layers("slope-left-out-in-bias", "in layer {layer} .* left out in its bias only"),
    "slope-left-out-below": in_layers(
        "slope-left-out-below", "in layer {layer} .* left out in what goes to the layer below", layer=any_inner_layer
    ),
    "softmax-left-out": in_layers(
        "slope-left-out",
        "the Jacobian of softmax is left out",
        last="softmax",
        layer=lambda rng, case: len(case.net.layers),
    ),
    "softmax-diagonal": in_layers(
        "softmax-diagonal", r"only its diagonal", last="softmax", layer=lambda rng, case: len(case.net.layers)
    ),
    "bias-averaged": in_layers("bias-averaged", r"the gradient of b{layer} is divided by the number of samples N"),
    "bias-first-sample": in_layers("bias-first-sample", "the gradient of b{layer} is that of the first sample alone"),
    "bias-wrong-axis": in_layers(
        "bias-wrong-axis",
        "the gradient of b{layer} is summed over the wrong axis",
        network=lambda rng: make(rng, [5] * 4, ["tanh", "sigmoid", "silu"], "squared", samples=5),
    ),
    "built-with-z": in_layers(
        "built-with-z", r"the gradient of W{layer} is built with the pre-act", layer=any_inner_layer
    ),
    "built-with-own-output": in_layers(
        "built-with-own-output", "the gradient of W{layer} is built with the output of layer {layer}", square=True
    ),
    "not-transposed": in_layers("not-transposed", "W{layer} is not transposed", square=True, layer=any_inner_layer),
    "weights-of-layer-below": in_layers(
        "weights-of-layer-below", "in the place of W{layer}", square=True, layer=any_inner_layer
    ),
    "delta-of-layer-above": in_layers(
        "delta-of-layer-above",
        "the gradient of layer {layer} is built with the sensitivities of layer",
        square=True,
        layer=lambda rng, case: int(rng.integers(1, len(case.net.layers))),
    ),
    "samples-first-left-out": in_layers("samples-first-left-out", "the first sample is left out", layer=lambda *_: 0),
    "samples-last-left-out": in_layers("samples-last-left-out", "the last sample is left out", layer=lambda *_: 0),
    "samples-last-alone": in_layers("samples-last-alone", "only the last sample counts", layer=lambda *_: 0),
    "samples-some-left-out": in_layers(
        "samples-some-left-out", "of the 5 samples, 1, 3 do not count", layer=lambda *_: 0, samples=5
    ),
    "samples-weighted": in_layers(
        "samples-weighted", r"with different weights: 0\.5, 1\.5, 1, 2, 0\.25", layer=lambda *_: 0, samples=5
    ),
    "updated-too-early": in_layers(
        "updated-too-early", r"the weights were updated \(learning rate 0\.05\)", layer=lambda *_: 0
    ),
}


def cross_entropy(rng, twice):
    """Softmax and cross-entropy, with p - y once more through softmax; or with the slope by p taken for that by z."""
    case = dense(rng, cost=str(rng.choice(["class_logits", "class_probabilities", "row_logits"])))
    net, params, X, y = case
    values, sums = forward(net, params, X)
    p, x = softmax(sums[-1]), sums[-1]
    scale = reduction_factor(net.cost, x.shape)
    rows = target_rows(net.cost, y, x)
    delta = through_activation("softmax", x, p, p - rows) if twice else -rows / p
    upstream = delta * scale
    gradient = {}
    for k in range(len(net.layers), 0, -1):
        delta = upstream if k == len(net.layers) else through_activation(
            net.layers[k - 1].activation, sums[k - 1], values[k], upstream)  # fmt: skip
        gradient[f"W{k}"], gradient[f"b{k}"] = values[k - 1].T @ delta, delta.sum(axis=0)
        upstream = delta @ params[f"W{k}"].T
    says = "the derivative of softmax is " + ("applied twice" if twice else "left out")
    return Planted(case.loss, params, case.gradient, {name: gradient[name] for name in net.shapes}, says)


# ---- mistakes in the arrays


def in_arrays(says, change, **options):
    """`change(rng, case, gradient, name)` changes one array, or several, in place or by returning a new dict."""

    def plant(rng):
        case = dense(rng, **options)
        name = str(rng.choice([name for name in case.params if name[0] == options.get("kind", "W")]))
        gradient = {own: array.copy() for own, array in case.gradient.items()}
        wrong = change(rng, case, gradient, name)
        return Planted(case.loss, case.params, case.gradient, wrong or gradient, says.format(name=name, **case.params))

    options.pop("kind", None)
    return plant


def scaled(factor):
    def change(rng, case, gradient, name):
        gradient[name] *= factor(case)

    return change


def all_scaled(factor):
    return lambda rng, case, gradient, name: {own: array * factor(case) for own, array in gradient.items()}


def samples(case):
    return float(len(case.X))


def outputs(case):
    return float(case.net.outputs)


def put(function):
    def change(rng, case, gradient, name):
        gradient[name] = function(gradient[name], case, name)

    return change


def exchange(rng, case, gradient, name):
    gradient["W1"], gradient["W2"] = gradient["W2"], gradient["W1"]


def copy_of_another(rng, case, gradient, name):
    gradient["W1"] = gradient["W2"].copy()


def lower_layers_zero(rng, case, gradient, name):
    for own in gradient:
        if int(own[1:]) < len(case.net.layers):
            gradient[own][...] = 0


def matrices_first(rng, case, gradient, name):
    ordered = sorted(gradient, key=lambda own: (own[0] == "b", own))
    flat = np.concatenate([gradient[own].ravel() for own in ordered])
    ends = np.cumsum([array.size for array in gradient.values()])[:-1]
    return {own: part.reshape(gradient[own].shape) for own, part in zip(gradient, np.split(flat, ends), strict=True)}


IN_ARRAYS = {
    "everything-doubled": in_arrays("the whole gradient is .*doubled", all_scaled(lambda case: 2.0)),
    "everything-halved": in_arrays("the whole gradient is .*halved", all_scaled(lambda case: 0.5)),
    "everything-negative": in_arrays("the whole gradient is of the wrong sign", all_scaled(lambda case: -1.0)),
    "everything-times-N": in_arrays("the whole gradient is .*number of samples N", all_scaled(samples)),
    "everything-by-N": in_arrays(
        "the whole gradient is .*number of samples N", all_scaled(lambda case: 1 / samples(case)), samples=7
    ),
    "everything-times-K": in_arrays("the whole gradient is .*number of outputs K", all_scaled(outputs), samples=7),
    "everything-by-NK": in_arrays(
        "the whole gradient is .*N K", all_scaled(lambda c: 1 / samples(c) / outputs(c)), samples=13
    ),
    "cost-by-N-not-the-penalty": in_arrays(
        "all but the penalty's part is .*number of samples N",
        lambda rng, case, g, name: {
            own: (array - 0.1 * case.params[own] * (own[0] == "W")) / len(case.X)
            + 0.1 * case.params[own] * (own[0] == "W")
            for own, array in g.items()
        },
        penalty=gf.L2(0.1),
        samples=11,
    ),
    "array-doubled": in_arrays("the gradient of {name} is doubled", scaled(lambda case: 2.0), samples=7),
    "array-negative": in_arrays("the gradient of {name} is of the wrong sign", scaled(lambda case: -1.0)),
    "array-by-N": in_arrays(
        "the gradient of {name} is divided by the number of samples N", scaled(lambda case: 1 / 9), samples=9
    ),
    "array-by-something": in_arrays(
        "the gradient of {name} is a constant times the right one", scaled(lambda case: 0.123)
    ),
    "exchanged": in_arrays("the gradients of W1 and W2 are exchanged", exchange, square=True),
    "copied": in_arrays("W1 holds the gradient of W2", copy_of_another, square=True),
    "transposed": in_arrays("the gradient of {name} is transposed", put(lambda g, *_: g.T), square=True),
    "transposed-and-reshaped": in_arrays(
        "the gradient of {name} is (its transpose, reshaped|filled|transposed)", put(lambda g, *_: g.T.reshape(g.shape))
    ),
    "wrong-order": in_arrays(
        "the gradient of {name} is (filled in column|its transpose|transposed)",
        put(lambda g, *_: g.ravel().reshape(g.shape, order="F")),
    ),
    "flat-in-another-order": in_arrays("the arrays follow each other in another order: all matrices", matrices_first),
    "forgotten": in_arrays("the gradient of {name} was forgotten", put(lambda g, *_: 0 * g)),
    "nothing-propagated": in_arrays(
        "(nothing is propagated to layer|the gradient of W1, b1 was forgotten)", lower_layers_zero
    ),
    "penalty-missing": in_arrays(
        "the penalty's term is missing in {name}",
        put(lambda g, case, name: g - 0.3 * case.params[name]),
        penalty=gf.L2(0.3),
    ),
    "penalty-doubled": in_arrays(
        "the penalty's term is doubled .* in {name}",
        put(lambda g, case, name: g + 0.3 * case.params[name]),
        penalty=gf.L2(0.3),
    ),
    "penalty-that-is-none": in_arrays(
        "the gradient has a penalty's term, 0.02 \\* {name}", put(lambda g, case, name: g + 0.02 * case.params[name])
    ),
    "last-row-left-out": in_arrays(
        "the last row of {name} is left out", put(lambda g, *_: np.concatenate([g[:-1], 0 * g[-1:]]))
    ),
    "first-column-left-out": in_arrays(
        "the first column of {name} is left out", put(lambda g, *_: np.concatenate([0 * g[:, :1], g[:, 1:]], axis=1))
    ),
    "penalty-by-N": in_arrays(
        "the penalty's term has the strength 0.05 in {name}, not 0.3: it is divided by the number of samples N = 6",
        put(lambda g, case, name: g - 0.25 * case.params[name]),
        penalty=gf.L2(0.3),
        samples=6,
    ),
    "middle-rows-wrong": in_arrays(
        "only row 1 of {name} is wrong",
        put(lambda g, *_: g + 0.1 * np.outer(np.arange(g.shape[0]) == 1, np.arange(g.shape[1]) ** 2 + 1.0)),
        square=True,
    ),
    "rows-reversed": in_arrays("the rows of {name} are back to front", put(lambda g, *_: g[::-1])),
}
