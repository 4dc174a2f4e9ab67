"""Layer objects with caches, softmax by its Jacobian, and weights that are used twice."""

from __future__ import annotations

import numpy as np

from planted import records as say
from planted.records import distinct, drawn, plant


class Dense:
    def __init__(self, W, b):
        self.W, self.b = W, b

    def forward(self, x):
        self.x = x
        return x @ self.W + self.b

    def backward(self, dout):
        self.dW = self.x.T @ dout
        self.db = dout.sum(axis=0)
        return dout @ self.W.T


class ELU:
    alpha = 0.7

    def __init__(self, mistake):
        self.mistake = mistake

    def forward(self, x):
        self.x = x
        self.out = np.where(x > 0, x, self.alpha * (np.exp(x) - 1))
        return self.out

    def backward(self, dout):
        if self.mistake == "elu-left-out":
            return dout
        if self.mistake == "elu-alpha-forgotten":
            return dout * np.where(self.x > 0, 1.0, self.out + 1.0)
        if self.mistake == "elu-as-relu":
            return dout * (self.x > 0)
        return dout * np.where(self.x > 0, 1.0, self.out + self.alpha)


class Softplus:
    def __init__(self, mistake):
        self.mistake = mistake

    def forward(self, x):
        self.out = np.log(1 + np.exp(x))
        self.x = x
        return self.out

    def backward(self, dout):
        if self.mistake == "softplus-left-out":
            return dout
        at = self.out if self.mistake == "softplus-at-its-value" else self.x
        return dout / (1 + np.exp(-at))


class Swish:
    def __init__(self, mistake):
        self.mistake = mistake

    def forward(self, x):
        self.s = 1 / (1 + np.exp(-x))
        self.x = x
        return x * self.s

    def backward(self, dout):
        if self.mistake == "swish-sigmoid-only":
            return dout * self.s
        return dout * (self.s + self.x * self.s * (1 - self.s))


def layer_objects(rng, mistake=""):
    """A list of layer objects that keep what they need in attributes; the mean squared error."""
    n, d, h1, h2, h3, k = distinct(rng, 6, 3, 10)
    X, T = rng.normal(size=(n, d)), rng.normal(size=(n, k))
    sizes = [d, h1, h2, h3, k]
    params = {}
    for i in range(4):
        params |= drawn(rng, 1.5, **{f"W{i}": (sizes[i], sizes[i + 1]), f"b{i}": (sizes[i + 1],)})
    layers = [Dense(None, None), ELU(mistake), Dense(None, None), Softplus(mistake), Dense(None, None),
              Swish(mistake), Dense(None, None)]  # fmt: skip

    def forward(p):
        for i, layer in enumerate(layers[::2]):
            layer.W, layer.b = p[f"W{i}"], p[f"b{i}"]
        out = X
        for layer in layers:
            out = layer.forward(out)
        return out

    def loss(p):
        return ((forward(p) - T) ** 2).mean()

    def gradient(p):
        dout = 2 * (forward(p) - T) / T.size
        if mistake == "square-without-its-2":
            dout = dout / 2
        if mistake == "averaged-over-samples-only":
            dout = dout * k
        for layer in layers[::-1]:
            dout = layer.backward(dout)
        grads = {}
        for i, layer in enumerate(layers[::2]):
            grads[f"W{i}"], grads[f"b{i}"] = layer.dW, layer.db
        if mistake == "bias-averaged":
            grads["b1"] = grads["b1"] / n
        return grads

    return loss, gradient, params


_ELU = ["self.out = np.where(x > 0"]
LAYER_OBJECTS = plant(layer_objects, {
    "elu-left-out": (say.DERIVATIVE_LEFT_OUT, _ELU),
    "elu-alpha-forgotten": ([r"(derivative|slope)", r"(factor|alpha|0\.7).*(left out|missing|forgotten)"], _ELU),
    "elu-as-relu": (
        [r"(derivative|slope).*(relu|rectif|zero|\b0\b|another|other|step)", *say.PATH_LEFT_OUT], _ELU
    ),
    "softplus-left-out": (say.DERIVATIVE_LEFT_OUT, ["self.out = np.log(1"]),
    "softplus-at-its-value": (
        [r"(derivative|slope).*(\ba\b|value|output|result|twice|wrong|point)"], ["self.out = np.log(1"]
    ),
    "swish-sigmoid-only": (
        [r"(derivative|slope).*(only|left out|that of|missing|constant)", *say.PATH_LEFT_OUT],
        ["self.s = 1 / (1 + np.exp(-x))", "return x * self.s"],
    ),
    "square-without-its-2": ([r"halve[sd]", r"half", r"factor 2"], []),
    "averaged-over-samples-only": ([*say.SUMMED, r"constant times"], []),
    "bias-averaged": (say.AVERAGED, ["return x @ self.W + self.b", "out = layer.forward(out)"]),
})  # fmt: skip


def softmax_jacobian(rng, mistake=""):
    """A sigmoid layer, softmax and squared errors; the softmax's Jacobian is a matrix for each sample."""
    n, d, h, k = distinct(rng, 4)
    X, Y = rng.normal(size=(n, d)), np.eye(k)[rng.integers(0, k, n)]
    params = drawn(rng, 1.5, W=(d, h), b=(h,), V=(h, k), c=(k,))

    def forward(p):
        a = 1.0 / (1.0 + np.exp(-(np.dot(X, p["W"]) + p["b"])))
        z = np.dot(a, p["V"]) + p["c"]
        e = np.exp(z - z.max(axis=1, keepdims=True))
        probs = e / e.sum(axis=1, keepdims=True)
        return a, probs

    def loss(p):
        _, probs = forward(p)
        return 0.5 * np.sum((probs - Y) ** 2) / n

    def gradient(p):
        a, probs = forward(p)
        dprobs = (probs - Y) / n
        dz = np.zeros_like(probs)
        for i in range(n):
            jacobian = np.diag(probs[i]) - np.outer(probs[i], probs[i])
            if mistake == "jacobian-diagonal-only":
                jacobian = np.diag(probs[i] * (1 - probs[i]))
            if mistake == "jacobian-without-outer-product":
                jacobian = np.diag(probs[i])
            if mistake == "jacobian-twice":
                jacobian = jacobian @ jacobian
            dz[i] = jacobian @ dprobs[i]
        if mistake == "jacobian-left-out":
            dz = dprobs
        if mistake == "jacobian-wrong-axis":
            dz = probs * (dprobs - np.sum(dprobs * probs, axis=0, keepdims=True))
        da = dz @ p["V"].T
        if mistake == "sigmoid-left-out":
            dh = da
        elif mistake == "sigmoid-as-tanh":
            dh = da * (1 - a**2)
        elif mistake == "sigmoid-one-minus-a-only":
            dh = da * (1 - a)
        else:
            dh = da * a * (1 - a)
        return {"W": X.T @ dh, "b": dh.sum(0), "V": a.T @ dz, "c": dz.sum(0)}

    return loss, gradient, params


_SOFTMAX = ["e = np.exp(z - z.max", "probs = e / e.sum(axis=1"]
SOFTMAX_JACOBIAN = plant(softmax_jacobian, {
    "jacobian-diagonal-only": (say.JACOBIAN_DIAGONAL, _SOFTMAX),
    "jacobian-without-outer-product": (
        [*say.JACOBIAN_DIAGONAL, r"(sum|denominator|divisor).*(constant|left out|missing)", *say.PATH_LEFT_OUT],
        _SOFTMAX,
    ),
    "jacobian-left-out": (say.JACOBIAN_LEFT_OUT, _SOFTMAX),
    "jacobian-twice": (say.JACOBIAN_TWICE, _SOFTMAX),
    "jacobian-wrong-axis": (say.JACOBIAN_AXIS, _SOFTMAX),
    "sigmoid-left-out": (say.DERIVATIVE_LEFT_OUT, ["a = 1.0 / (1.0 + np.exp"]),
    "sigmoid-as-tanh": ([r"tanh", r"1 - a(²|\*\*2|\^2)"], ["a = 1.0 / (1.0 + np.exp"]),
    "sigmoid-one-minus-a-only": ([r"1 - a\b"], ["a = 1.0 / (1.0 + np.exp"]),
})  # fmt: skip


def gelu(z):
    return 0.5 * z * (1 + np.tanh(np.sqrt(2 / np.pi) * (z + 0.044715 * z**3)))


def gelu_derivative(z):
    t = np.tanh(np.sqrt(2 / np.pi) * (z + 0.044715 * z**3))
    return 0.5 * (1 + t) + 0.5 * z * (1 - t**2) * np.sqrt(2 / np.pi) * (1 + 3 * 0.044715 * z**2)


def tied_autoencoder(rng, mistake=""):
    """An autoencoder whose decoder has the encoder's weights, transposed; GELU."""
    n, d, h = distinct(rng, 3, 4, 9)
    if mistake == "decoder-part-transposed":
        d = h
    X = rng.normal(size=(n, d))
    params = drawn(rng, W=(d, h), b=(h,), c=(d,))

    def reconstruct(p):
        z = X @ p["W"] + p["b"]
        code = gelu(z)
        return z, code, code @ p["W"].T + p["c"]

    def loss(p):
        _, _, r = reconstruct(p)
        return np.sum((r - X) ** 2) / (2 * n)

    def gradient(p):
        z, code, r = reconstruct(p)
        dr = (r - X) / n
        dcode = dr @ p["W"]
        slope = gelu_derivative(z)
        if mistake == "gelu-left-out":
            slope = 1.0
        if mistake == "gelu-first-part-only":
            slope = 0.5 * (1 + np.tanh(np.sqrt(2 / np.pi) * (z + 0.044715 * z**3)))
        dz = dcode * slope
        encoder, decoder = X.T @ dz, dr.T @ code
        if mistake == "decoder-part-transposed":
            decoder = code.T @ dr
        if mistake == "decoder-use-forgotten":
            decoder = 0
        if mistake == "encoder-use-forgotten":
            encoder = 0
        return {"W": encoder + decoder, "b": dz.sum(axis=0), "c": dr.sum(axis=0)}

    return loss, gradient, params


_GELU = ["return 0.5 * z * (1 + np.tanh", "code = gelu(z)"]
TIED_AUTOENCODER = plant(tied_autoencoder, {
    "gelu-left-out": (say.DERIVATIVE_LEFT_OUT, _GELU),
    "gelu-first-part-only": (
        [r"(derivative|slope).*(only|left out|that of|missing|constant)", *say.PATH_LEFT_OUT], _GELU
    ),
    "decoder-part-transposed": (say.OTHER_ORDER, ['return z, code, code @ p["W"].T']),
    "decoder-use-forgotten": (say.PATH_LEFT_OUT, ['return z, code, code @ p["W"].T']),
    "encoder-use-forgotten": (say.PATH_LEFT_OUT, ['z = X @ p["W"] + p["b"]']),
})  # fmt: skip


def siamese(rng, mistake=""):
    """Two inputs go through the same leaky rectifiers; pairs of the same class shall be near to each other."""
    n, d, h = distinct(rng, 3, 4, 10)
    A, B, same = rng.normal(size=(n, d)), rng.normal(size=(n, d)), (rng.random(n) < 0.5).astype(float)
    params = drawn(rng, W=(d, h), b=(h,), V=(h, 3), c=(3,))
    params["s"] = rng.normal(size=h)

    def loss(p):
        z1 = A @ p["W"] + p["b"]
        z2 = B @ p["W"] + p["b"]
        e1 = np.where(z1 > 0, z1, 0.1 * z1)
        e2 = np.where(z2 > 0, z2, 0.1 * z2)
        apart = (e1 - e2) @ p["V"]
        distance = np.sum(apart**2, axis=1) + (e1 * e2) @ p["s"] + p["c"].sum()
        return np.mean(same * distance + (1 - same) * np.log(1 + np.exp(1 - distance)))

    def gradient(p):
        z1, z2 = A @ p["W"] + p["b"], B @ p["W"] + p["b"]
        e1, e2 = np.where(z1 > 0, z1, 0.1 * z1), np.where(z2 > 0, z2, 0.1 * z2)
        apart = (e1 - e2) @ p["V"]
        distance = np.sum(apart**2, axis=1) + (e1 * e2) @ p["s"] + p["c"].sum()
        ddistance = (same - (1 - same) / (1 + np.exp(distance - 1))) / n
        dapart = 2 * apart * ddistance[:, None]
        dV = (e1 - e2).T @ dapart
        de1 = dapart @ p["V"].T + ddistance[:, None] * e2 * p["s"]
        de2 = -dapart @ p["V"].T + ddistance[:, None] * e1 * p["s"]
        if mistake == "difference-without-its-sign":
            de2 = dapart @ p["V"].T + ddistance[:, None] * e1 * p["s"]
        if mistake == "product-part-forgotten":
            de1, de2 = dapart @ p["V"].T, -dapart @ p["V"].T
        leak = {"leak-forgotten": 0.0, "leaky-relu-left-out": 1.0}.get(mistake, 0.1)
        dz1, dz2 = de1 * np.where(z1 > 0, 1, leak), de2 * np.where(z2 > 0, 1, leak)
        if mistake == "inputs-exchanged":
            dW = B.T @ dz1 + A.T @ dz2
        elif mistake == "second-branch-forgotten":
            dW, dz2 = A.T @ dz1, np.zeros_like(dz2)
        else:
            dW = A.T @ dz1 + B.T @ dz2
        dc = np.full(3, ddistance.sum())
        return {"W": dW, "b": dz1.sum(0) + dz2.sum(0), "V": dV, "c": dc, "s": (e1 * e2).T @ ddistance}

    return loss, gradient, params


SIAMESE = plant(siamese, {
    "difference-without-its-sign": (say.WRONG_SIGN, ["apart = (e1 - e2)"]),
    "product-part-forgotten": (say.PATH_LEFT_OUT, ["distance = np.sum(apart**2"]),
    "leak-forgotten": (
        [r"(derivative|slope).*(relu|rectif|zero|\b0\b|another|other|leak|step)", *say.PATH_LEFT_OUT],
        ["e1 = np.where(z1", "e2 = np.where(z2"],
    ),
    "leaky-relu-left-out": (say.DERIVATIVE_LEFT_OUT, ["e1 = np.where(z1", "e2 = np.where(z2"]),
    "inputs-exchanged": ([*say.BUILT_WITH, *say.EXCHANGED], ['z1 = A @ p["W"]', 'z2 = B @ p["W"]']),
    "second-branch-forgotten": (
        say.PATH_LEFT_OUT, ['z2 = B @ p["W"]', "e2 = np.where(z2", "apart = (e1 - e2)", "distance = np.sum(apart**2"]
    ),
})  # fmt: skip

NETWORKS = (LAYER_OBJECTS, SOFTMAX_JACOBIAN, TIED_AUTOENCODER, SIAMESE)
