"""Small networks with hand-written gradients in the idioms of courses, books and libraries; `mistake` plants one."""

from __future__ import annotations

import numpy as np

RNG = np.random.default_rng(15)
X = RNG.normal(size=(6, 4))
LABELS = RNG.integers(0, 3, 6)
ONE_HOT = np.eye(3)[LABELS]


def softmax(scores, axis):
    shifted = np.exp(scores - scores.max(axis=axis, keepdims=True))
    return shifted / shifted.sum(axis=axis, keepdims=True)


# ---- samples are rows; the model keeps its parameters in a dict


class TwoLayerNet:
    """``loss(X, y)`` returns the loss and a dict of gradients, which have the names of the parameters."""

    def __init__(self, mistake):
        self.mistake, self.reg = mistake, 0.05
        rng = np.random.default_rng(1)
        self.params = {"W1": rng.normal(size=(4, 5)), "b1": rng.normal(size=5)}
        self.params |= {"W2": rng.normal(size=(5, 3)), "b2": rng.normal(size=3)}

    def loss(self, X, y):
        W1, b1, W2, b2 = (self.params[name] for name in ("W1", "b1", "W2", "b2"))
        n = len(X)
        h = np.maximum(0, X @ W1 + b1)
        p = softmax(h @ W2 + b2, 1)
        data_loss = -np.log(p[np.arange(n), y]).mean()
        loss = data_loss + self.reg * (np.sum(W1 * W1) + np.sum(W2 * W2))
        dscores = p.copy()
        dscores[np.arange(n), y] -= 1
        dscores /= n
        grads = {"W2": h.T @ dscores + 2 * self.reg * W2, "b2": dscores.sum(axis=0)}
        dh = dscores @ W2.T
        if not self.mistake:
            dh[h <= 0] = 0
        grads["W1"] = X.T @ dh + 2 * self.reg * W1
        grads["b1"] = dh.sum(axis=0)
        return loss, grads


def svm_loss(W, X, y, mistake):
    """Loops over samples and classes; returns the loss and dW."""
    loss, dW = 0.0, np.zeros(W.shape)
    for i in range(len(X)):
        scores = X[i].dot(W)
        for j in range(W.shape[1]):
            margin = scores[j] - scores[y[i]] + 1
            if j != y[i] and margin > 0:
                loss += margin
                dW[:, j] += X[i]
                dW[:, y[i]] -= 0 if mistake else X[i]
    return loss / len(X), dW / len(X)


# ---- samples are columns; parameters in a dict, gradients as dW1, db1 beside dA and dZ


def initialize(sizes):
    rng = np.random.default_rng(2)
    parameters = {}
    for l in range(1, len(sizes)):
        parameters[f"W{l}"] = rng.normal(size=(sizes[l], sizes[l - 1]))
        parameters[f"b{l}"] = rng.normal(size=(sizes[l], 1))
    return parameters


def l_model_forward(X, parameters):
    A, caches = X, []
    layers = len(parameters) // 2
    for l in range(1, layers + 1):
        Z = np.dot(parameters[f"W{l}"], A) + parameters[f"b{l}"]
        caches.append((A, Z))
        A = np.tanh(Z) if l < layers else 1 / (1 + np.exp(-Z))
    return A, caches


def compute_cost(AL, Y):
    cost = -np.sum(Y * np.log(AL) + (1 - Y) * np.log(1 - AL)) / Y.shape[1]
    return np.squeeze(cost)


def l_model_backward(AL, Y, caches, parameters, mistake):
    grads, m = {}, Y.shape[1]
    for l in range(len(caches), 0, -1):
        A_prev, Z = caches[l - 1]
        grads[f"dZ{l}"] = AL - Y if l == len(caches) else grads[f"dA{l}"] * (1 - np.tanh(Z) ** 2)
        grads[f"dW{l}"] = np.dot(grads[f"dZ{l}"], A_prev.T) / m
        grads[f"db{l}"] = np.sum(grads[f"dZ{l}"], axis=1, keepdims=True) / (1 if mistake else m)
        grads[f"dA{l - 1}"] = np.dot(parameters[f"W{l}"].T, grads[f"dZ{l}"])
    return grads


# ---- one flat vector


def unrolled_cost(theta, X, Y, mistake):
    """The cost and the gradient of a network whose weights are rolled into one vector, biases in column 0."""
    Theta1, Theta2 = theta[:20].reshape(4, 5), theta[20:].reshape(3, 5)
    m = len(X)
    a1 = np.hstack([np.ones((m, 1)), X])
    z2 = a1 @ Theta1.T
    a2 = np.hstack([np.ones((m, 1)), 1 / (1 + np.exp(-z2))])
    h = 1 / (1 + np.exp(-a2 @ Theta2.T))
    J = np.sum(-Y * np.log(h) - (1 - Y) * np.log(1 - h)) / m
    delta3 = h - Y
    delta2 = (delta3 @ Theta2)[:, 1:] * (a2 * (1 - a2))[:, 1:]
    if mistake:
        delta2 = delta2 * 2
    return J, np.concatenate([(delta2.T @ a1 / m).ravel(), (delta3.T @ a2 / m).ravel()])


def rosenbrock(x, mistake):
    """``(f, g)``, as for an optimiser that is told that the function gives its gradient."""
    f = np.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)
    g = np.zeros_like(x)
    g[:-1] = -400 * x[:-1] * (x[1:] - x[:-1] ** 2) - 2 * (1 - x[:-1])
    g[1:] += (100 if mistake else 200) * (x[1:] - x[:-1] ** 2)
    return f, g


def logistic_regression(theta, X, y, mistake):
    """theta is a column, and so is y; the gradient comes out flat."""
    h = 1 / (1 + np.exp(-X @ theta))
    cost = float(np.mean(-y * np.log(h) - (1 - y) * np.log(1 - h)))
    return cost, (X.T @ (h - y) / (1 if mistake else len(X))).ravel()


# ---- models as objects


class TwoLayerNetwork:
    """``loss(x, t)`` and ``gradient(x, t)`` read ``self.params``."""

    def __init__(self, mistake):
        self.mistake = mistake
        rng = np.random.default_rng(3)
        self.params = {
            "W1": rng.normal(size=(4, 5)),
            "b1": np.zeros(5),
            "W2": rng.normal(size=(5, 3)),
            "b2": np.zeros(3),
        }

    def predict(self, x):
        z = 1 / (1 + np.exp(-(np.dot(x, self.params["W1"]) + self.params["b1"])))
        return softmax(np.dot(z, self.params["W2"]) + self.params["b2"], 1)

    def loss(self, x, t):
        y = self.predict(x)
        return -np.sum(t * np.log(y)) / x.shape[0]

    def gradient(self, x, t):
        grads = {}
        z = 1 / (1 + np.exp(-(np.dot(x, self.params["W1"]) + self.params["b1"])))
        dy = (self.predict(x) - t) / x.shape[0]
        grads["W2"], grads["b2"] = np.dot(z.T, dy), np.sum(dy, axis=0)
        dz = np.dot(dy, self.params["W2"].T) * (z if self.mistake else z * (1 - z))
        grads["W1"], grads["b1"] = np.dot(x.T, dz), np.sum(dz, axis=0)
        return grads


class ListNetwork:
    """Lists of weights and biases; ``backprop(x, y)`` is of one sample, a column, and gives (nabla_b, nabla_w)."""

    def __init__(self, mistake):
        self.mistake = mistake
        rng = np.random.default_rng(4)
        self.biases = [rng.normal(size=(y, 1)) for y in (5, 3)]
        self.weights = [rng.normal(size=(y, x)) for x, y in ((4, 5), (5, 3))]

    def feedforward(self, a):
        for b, w in zip(self.biases, self.weights, strict=True):
            a = 1 / (1 + np.exp(-(np.dot(w, a) + b)))
        return a

    def total_cost(self, data):
        return sum(0.5 * np.linalg.norm(self.feedforward(x) - y) ** 2 for x, y in data) / len(data)

    def backprop(self, x, y):
        nabla_b, nabla_w = [np.zeros(b.shape) for b in self.biases], [np.zeros(w.shape) for w in self.weights]
        activations = [x]
        for b, w in zip(self.biases, self.weights, strict=True):
            activations.append(1 / (1 + np.exp(-(np.dot(w, activations[-1]) + b))))
        delta = (activations[-1] - y) * activations[-1] * (1 - activations[-1])
        nabla_b[-1], nabla_w[-1] = delta, np.dot(delta, activations[-2].T)
        back = self.weights[-1].T @ delta
        delta = back if self.mistake else back * activations[1] * (1 - activations[1])
        nabla_b[-2], nabla_w[-2] = delta, np.dot(delta, activations[0].T)
        return nabla_b, nabla_w

    def total_gradient(self, data):
        """The mean of the gradients of all samples."""
        found = [self.backprop(x, y) for x, y in data]
        nabla_b = [np.mean([b[k] for b, _ in found], axis=0) for k in range(2)]
        nabla_w = [np.mean([w[k] for _, w in found], axis=0) for k in range(2)]
        return nabla_b, nabla_w


DATA_IN_COLUMNS = [(x.reshape(-1, 1), y.reshape(-1, 1)) for x, y in zip(X, ONE_HOT, strict=True)]


class Parameter:
    """An array with a gradient beside it."""

    def __init__(self, data):
        self.data, self.grad = data, np.zeros_like(data)


class ModelOfParameters:
    """``forward`` returns the loss, ``backward`` adds to the ``grad`` of each parameter."""

    def __init__(self, mistake):
        self.mistake = mistake
        rng = np.random.default_rng(5)
        self.parameters = {"weight": Parameter(rng.normal(size=(4, 3))), "bias": Parameter(np.zeros(3))}

    def forward(self, x, t):
        self.x, self.t = x, t
        self.y = np.tanh(x @ self.parameters["weight"].data + self.parameters["bias"].data)
        return 0.5 * np.sum((self.y - t) ** 2)

    def backward(self):
        dz = (self.y - self.t) * (1 - self.y**2)
        self.parameters["weight"].grad += self.x.T @ dz
        self.parameters["bias"].grad += (dz[:1] if self.mistake else dz).sum(axis=0)


# ---- recurrent networks


def char_rnn(Wxh, Whh, Why, bh, by, inputs, targets, hprev, mistake):
    """Returns the loss, the gradients one after another, and the last state."""
    xs, hs, ps = {}, {-1: np.copy(hprev)}, {}
    loss = 0
    for t in range(len(inputs)):
        xs[t] = np.zeros((4, 1))
        xs[t][inputs[t]] = 1
        hs[t] = np.tanh(np.dot(Wxh, xs[t]) + np.dot(Whh, hs[t - 1]) + bh)
        ps[t] = softmax(np.dot(Why, hs[t]) + by, 0)
        loss += -np.log(ps[t][targets[t], 0])
    dWxh, dWhh, dWhy = np.zeros_like(Wxh), np.zeros_like(Whh), np.zeros_like(Why)
    dbh, dby, dhnext = np.zeros_like(bh), np.zeros_like(by), np.zeros_like(hs[0])
    for t in reversed(range(len(inputs))):
        dy = np.copy(ps[t])
        dy[targets[t]] -= 1
        dWhy += np.dot(dy, hs[t].T)
        dby += dy
        dhraw = (1 - hs[t] * hs[t]) * (np.dot(Why.T, dy) + dhnext)
        dbh += dhraw
        dWxh += np.dot(dhraw, xs[t].T)
        dWhh += np.dot(dhraw, hs[t - 1].T)
        dhnext = np.dot(Whh if mistake else Whh.T, dhraw)
    return loss, dWxh, dWhh, dWhy, dbh, dby, hs[len(inputs) - 1]


CHAR_PARAMS = [np.random.default_rng(6).normal(size=shape) for shape in ((5, 4), (5, 5), (4, 5), (5, 1), (4, 1))]


# ---- one network in other spellings


def spelled(form):
    """A function ``(params, mistake) -> (loss, cache, gradients)``, whose gradients are named by ``form(name)``."""

    def network(params, mistake):
        h = np.tanh(X @ params["W"] + params["b"])
        loss = np.mean((h @ params["v"]) ** 2)
        ds = 2 * h @ params["v"] / len(X)
        dh = np.outer(ds, params["v"])
        dz = dh if mistake else dh * (1 - h * h)
        found = {"W": X.T @ dz, "b": dz.sum(axis=0), "v": h.T @ ds}
        return loss, (h, dz), {form(name): array for name, array in found.items()}

    return network


SPELLED_PARAMS = {"W": RNG.normal(size=(4, 5)), "b": RNG.normal(size=(1, 5)), "v": RNG.normal(size=5)}


# ---- layers that return what they need on the way back


def affine_forward(x, w, b):
    return x @ w + b, (x, w, b)


def affine_backward(dout, cache):
    x, w, _ = cache
    return dout @ w.T, x.T @ dout, dout.sum(axis=0)


def dropout_forward(x, dropout_param):
    mask = np.ones_like(x)
    return x * mask, (dropout_param, mask)
