"""What the library computes, once more and independently: plain formulas at 60 digits (mpmath).

Central differences here subtract two costs, as the textbooks do; at 60 digits nothing is lost by that.
"""

from mpmath import MPContext

import gradcheck_fast as gf

mp = MPContext()
mp.dps = 60
mpf = mp.mpf

LEAKY_SLOPE, GELU_CUBIC = mpf(0.01), mpf(0.044715)  # these two are defined by their doubles
SELU_ALPHA = mpf("1.6732632423543772848170429916717")
SELU_SCALE = mpf("1.0507009873554804934193349852946")
SQRT_HALF, TWO_SQRT_2_OVER_PI = mp.sqrt(mpf(1) / 2), 2 * mp.sqrt(2 / mp.pi)


def sigmoid(z):
    return 1 / (1 + mp.exp(-z))


def exponential_unit(z, alpha):
    return z if z > 0 else alpha * mp.expm1(z)


def softplus(z):
    return mp.log1p(mp.exp(-abs(z))) + max(z, mpf(0))


def normal_cdf(z):
    return mp.erfc(-z * SQRT_HALF) / 2


def gelu_gate(z):
    """1/2 (1 + tanh g), which cancels for z << 0, is sigmoid(2 g)."""
    return sigmoid(TWO_SQRT_2_OVER_PI * (z + GELU_CUBIC * z**3))


def clip(z, low, high):
    return min(max(z, mpf(low)), mpf(high))


ACTIVATIONS = {
    "identity": lambda z: z,
    "sigmoid": sigmoid,
    "tanh": mp.tanh,
    "relu": lambda z: max(z, mpf(0)),
    "leaky_relu": lambda z: z if z > 0 else LEAKY_SLOPE * z,
    "elu": lambda z: exponential_unit(z, 1),
    "selu": lambda z: SELU_SCALE * exponential_unit(z, SELU_ALPHA),
    "softplus": softplus,
    "softsign": lambda z: z / (1 + abs(z)),
    "silu": lambda z: z * sigmoid(z),
    "gelu": lambda z: z * normal_cdf(z),
    "gelu_tanh": lambda z: z * gelu_gate(z),
    "hardtanh": lambda z: clip(z, -1, 1),
    "relu6": lambda z: clip(z, 0, 6),
    "exp": mp.exp,
}


def softmax(z):
    e = [mp.exp(v - max(z)) for v in z]
    return [v / mp.fsum(e) for v in e]


def exact(tree):
    """Doubles (arrays, lists, dicts of them) as nested lists of mpf: the same numbers, not rounded."""
    if isinstance(tree, dict):
        return {name: exact(value) for name, value in tree.items()}
    if getattr(tree, "ndim", 0) or isinstance(tree, list):
        return [exact(value) for value in tree]
    return mpf(tree.item() if hasattr(tree, "item") else tree)


def affine(a, W, b=None):
    z = [mp.fdot(a, column) for column in zip(*W, strict=True)]
    return z if b is None else [v + shift for v, shift in zip(z, b, strict=True)]


def activate(name, z):
    return softmax(z) if name == "softmax" else [ACTIVATIONS[name](v) for v in z]


def forward(net, params, X_row, nudge=None):
    """What goes into each layer, and what comes out of the last; `nudge` (layer, unit, h) moves one pre-activation."""
    values = [X_row]
    for number, layer in enumerate(net.layers):
        z = affine(values[-1], params[f"W{number + 1}"], params.get(f"b{number + 1}"))
        if nudge is not None and nudge[0] == number:
            z[nudge[1]] += nudge[2]
        values.append(activate(layer.activation, z))
    return values


def sample_cost(cost, x, y):
    """The cost of one row of outputs, before the reduction; y is a row of targets, or a class."""
    if isinstance(cost, gf.CrossEntropy):
        if cost.from_logits:
            x = softmax(x)
        y = [mpf(k == y) for k in range(len(x))] if not isinstance(y, list) else y
        return -mp.fsum(t * mp.log(p) for t, p in zip(y, x, strict=True) if t)
    return mp.fsum(_cost_of_output(cost, *pair) for pair in zip(x, y, strict=True))


def _cost_of_output(cost, x, y):
    if isinstance(cost, gf.SquaredError):
        return mpf(cost.factor) * (y - x) ** 2
    if isinstance(cost, gf.AbsoluteError):
        return abs(y - x)
    if isinstance(cost, gf.Huber):
        delta, r = mpf(cost.delta), abs(x - y)
        return r**2 / 2 if r <= delta else delta * (r - delta / 2)
    assert isinstance(cost, gf.BinaryCrossEntropy)
    if cost.from_logits:
        return (1 - y) * softplus(x) + y * softplus(-x)
    return -sum(t * mp.log(p) for t, p in ((y, x), (1 - y, 1 - x)) if t)


def scale(net, samples):
    """What the reduction multiplies the sum over the samples by."""
    elements = 1 if isinstance(net.cost, gf.CrossEntropy) else net.outputs
    return {"sum": mpf(1), "batchmean": mpf(1) / samples, "mean": mpf(1) / (samples * elements)}[net.cost.reduction]


def penalty(net, params):
    if net.penalty is None:
        return mpf(0)
    weights = [row for name, W in params.items() if name.startswith("W") for row in W]
    biases = [b for name, b in params.items() if name.startswith("b")] if net.penalty.biases else []
    return mpf(net.penalty.strength) / 2 * mp.fsum(w**2 for row in weights + biases for w in row)


def cost(net, params, X, y):
    total = mp.fsum(sample_cost(net.cost, forward(net, params, x)[-1], t) for x, t in zip(X, y, strict=True))
    return scale(net, len(X)) * total + penalty(net, params)


def rows(array):
    """The rows of a matrix of mpf; a vector is one row. Writing into them writes into the matrix."""
    return array if isinstance(array[0], list) else [array]


def central_differences(function, params, h):
    """(function(p + h) - function(p - h)) / 2h for every entry p of the arrays `params`, a dict of (nested) lists."""
    h = mpf(h)
    gradient = {}
    for name, array in params.items():
        gradient[name] = []
        for row in rows(array):
            for k, p in enumerate(row):
                row[k] = p + h
                plus = function(params)
                row[k] = p - h
                gradient[name].append((plus - function(params)) / (2 * h))
                row[k] = p
    return gradient


def unit_differences(net, params, X, y, h):
    """The gradient a^T S, where S = (E+ - E-) / 2h is the central difference of each pre-activation."""
    h, strength = mpf(h), mpf(net.penalty.strength if net.penalty else 0)
    decays = {name: strength * (name[0] == "W" or (net.penalty is not None and net.penalty.biases)) for name in params}
    gradient = {name: [decays[name] * p for row in rows(array) for p in row] for name, array in params.items()}
    for x, t in zip(X, y, strict=True):
        values = forward(net, params, x)
        for number, layer in enumerate(net.layers):
            for j in range(layer.outputs):
                plus, minus = (
                    sample_cost(net.cost, forward(net, params, x, (number, j, shift))[-1], t) for shift in (h, -h)
                )
                S = scale(net, len(X)) * (plus - minus) / (2 * h)
                for i, a in enumerate(values[number]):
                    gradient[f"W{number + 1}"][i * layer.outputs + j] += a * S
                if layer.bias:
                    gradient[f"b{number + 1}"][j] += S
    return gradient
