"""Lines that are right, but read what is wrong, or not known: none of them is called the first that is not right."""

from __future__ import annotations

import pytest
from plant_lines import parting, planted_module

LAYERS = """
import numpy as np

rng = np.random.default_rng(0)
X, Y = rng.normal(size=(5, 9)), (rng.random((2, 9)) < 0.4).astype(float)


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def forward(p):
    A1 = np.maximum(0, p["W1"] @ X + p["b1"])
    return A1, sigmoid(p["W2"] @ A1 + p["b2"])


def loss(p):
    _, A2 = forward(p)
    cross = -np.sum(2 * Y * np.log(A2) + (1 - Y) * np.log(1 - A2)) / 9
    return cross + 0.05 * (np.sum(p["W1"] ** 2) + np.sum(p["W2"] ** 2))


def back(dZ, A, W):
    m = dZ.shape[1]
    dW = 1 / m * dZ @ A.T + 0.1 * W
    db = 1 / m * np.sum(dZ, axis=1, keepdims=True)
    return W.T @ dZ, dW, db


def backprop(p):
    A1, A2 = forward(p)
    dA2 = -(2 * Y / A2 - (1 - Y) / (1 - A2))
    dZ2 = dA2 * A2 * (1 - A2)
    dA1, dW2, db2 = back(dZ2, A1, p["W2"])
    dZ1 = dA1 * (A1 > 0)
    _, dW1, db1 = back(dZ1, X, p["W1"])
    return {"W1": dW1, "b1": db1, "W2": dW2, "b2": db2}


def init_params():
    shapes = {"W1": (4, 5), "b1": (4, 1), "W2": (2, 4), "b2": (2, 1)}
    return {name: rng.normal(size=shape) for name, shape in shapes.items()}
"""

SAMPLES = """
import numpy as np

rng = np.random.default_rng(1)
samples = [(rng.normal(size=(4, 3)), rng.normal(size=2)) for _ in range(3)]


def run(p, x):
    h = [np.zeros(5)]
    for t in range(4):
        h.append(np.tanh(p["W"] @ x[t] + p["U"] @ h[t]))
    return h


def loss(p):
    return sum(0.5 * np.sum((p["V"] @ run(p, x)[4] - y) ** 2) for x, y in samples) / 3


def backprop(p):
    grads = {name: np.zeros_like(array) for name, array in p.items()}
    for x, y in samples:
        h = run(p, x)
        e = p["V"] @ h[4] - y
        grads["V"] += np.outer(e, h[4])
        dh = p["V"].T @ e
        for t in reversed(range(4)):
            dz = dh * (1 - h[t + 1] ** 2)
            grads["W"] += np.outer(dz, x[t])
            grads["U"] += np.outer(dz, h[t])
            dh = p["U"].T @ dz
    for k in grads:
        grads[k] /= 3
    return grads


def init_params():
    return {"W": rng.normal(size=(5, 3)), "U": rng.normal(size=(5, 5)), "V": rng.normal(size=(2, 5))}
"""

PROBABILITIES = """
import numpy as np

rng = np.random.default_rng(2)
X = rng.normal(size=(8, 4))
T = rng.random((8, 3)) + np.eye(3)[rng.integers(0, 3, 8)]


def loss(p):
    z = np.tanh(X @ p["W"]) @ p["V"]
    logq = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
    return -np.sum(T * logq) / 8 + np.sum(np.log1p(np.exp(X @ p["W"]))) / 8


def backprop(p):
    s = X @ p["W"]
    a = np.tanh(s)
    e = np.exp(a @ p["V"])
    probs = e / e.sum(axis=1, keepdims=True)
    sigmoid = 1 / (1 + np.exp(-s))
    dz = (probs * T.sum(axis=1, keepdims=True) - T) / 8
    dsoft = sigmoid / 8
    scale = 0.125 * np.exp(-0.5)
    return {"W": X.T @ (dz @ p["V"].T * (1 - a * a) + dsoft), "V": a.T @ dz}


def init_params():
    return {"W": rng.normal(size=(4, 5)), "V": rng.normal(size=(5, 3))}
"""

LOOKUP = """
import numpy as np

rng = np.random.default_rng(3)
X, t = rng.normal(size=(8, 4)), rng.integers(0, 3, 8)


class Head:
    def forward(self, z):
        e = np.exp(z - z.max(axis=1, keepdims=True))
        self.p = e / e.sum(axis=1, keepdims=True)
        return -np.mean(np.log(self.p[np.arange(8), t]))

    def backward(self):
        d = self.p.copy()
        d[np.arange(8), t] -= 1
        return d / 8


head = Head()


def hidden(p):
    h = X @ p["W"]
    return h, h - h.mean(axis=0)


def loss(p):
    h, c = hidden(p)
    a, b = np.tanh(c) @ p["V"], np.sin(h) @ p["U"]
    return head.forward(a + b) + 0.1 * np.sum(p["W"] ** 2)


def backprop(p):
    h, c = hidden(p)
    a, s = np.tanh(c), np.sin(h)
    head.forward(a @ p["V"] + s @ p["U"])
    dz = head.backward()
    dc = dz @ p["V"].T * (1 - a * a)
    dm = -dc.sum(axis=0)
    dh = dc + dm / 8
    dh += dz @ p["U"].T * np.cos(h)
    return {"W": X.T @ dh + 0.2 * p["W"], "V": a.T @ dz, "U": s.T @ dz}


def init_params():
    return {"W": rng.normal(size=(4, 5)), "V": rng.normal(size=(5, 3)), "U": rng.normal(size=(5, 3))}
"""

SOURCES = {"lookup": LOOKUP, "layers": LAYERS, "samples": SAMPLES, "probabilities": PROBABILITIES}
#: The network, the right piece of source, the wrong one, and what must not be named.
MISTAKES = [
    ("lookup", "return d / 8", "return d", "-= 1"),
    ("lookup", "dm = -dc.sum", "dm = dc.sum", "dc = dz"),
    ("lookup", "dh += dz", "dh = dz", "dh = dc"),
    ("layers", "dZ2 = dA2 * A2 * (1 - A2)", "dZ2 = dA2", "dW = 1 / m"),
    ("layers", "dZ1 = dA1 * (A1 > 0)", "dZ1 = dA1", "dW = 1 / m"),
    ("layers", "dA2 = -(2 * Y", "dA2 = (2 * Y", "dW = 1 / m"),
    ("samples", 'grads["W"] += np.outer(dz, x[t])', 'grads["W"] = np.outer(dz, x[t])', "grads[k] /= 3"),
    ("samples", 'grads["V"] += np.outer(e, h[4])', 'grads["V"] = np.outer(e, h[4])', "grads[k] /= 3"),
    ("probabilities", "probs * T.sum(axis=1, keepdims=True) - T", "probs - T", "probs = e /"),
    ("probabilities", "dsoft = sigmoid / 8", "dsoft = sigmoid", "sigmoid = 1 /"),
    ("probabilities", "* (1 - a * a) + dsoft", "* scale + dsoft", "return {"),
]


@pytest.mark.parametrize(("network", "right", "wrong", "not_named"), MISTAKES, ids=lambda piece: piece[:30])
def test_a_right_line_is_not_named(tmp_path, network, right, wrong, not_named):
    module, _ = planted_module(SOURCES[network], tmp_path, right=right, wrong=wrong)
    found = parting(module.loss, module.backprop, module.init_params())
    assert found is None or not_named not in found.cause


@pytest.mark.parametrize(("network", "right", "wrong"), [
    ("layers", "dZ1 = dA1 * (A1 > 0)", "dZ1 = dA1 * A1"),
    ("samples", 'grads["V"] += np.outer(e, h[4])', 'grads["V"] += np.outer(e, h[3])'),
    ("probabilities", "* (1 - a * a) + dsoft", "* (1 - a) + dsoft"),
])  # fmt: skip
def test_a_wrong_line_of_the_same_functions_is_named(tmp_path, network, right, wrong):
    module, line = planted_module(SOURCES[network], tmp_path, right=right, wrong=wrong)
    found = parting(module.loss, module.backprop, module.init_params())
    assert found is not None
    assert found.line == line
