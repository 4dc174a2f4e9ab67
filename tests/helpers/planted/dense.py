"""Layers of products and activations, in functions: dicts, columns as samples, a flat vector, loops over samples."""

from __future__ import annotations

import numpy as np

from planted import records as say
from planted.records import distinct, drawn, plant


def two_layers(rng, mistake=""):
    """Parameters in a dict, tanh, softmax with cross-entropy, and an L2 penalty on the weights."""
    n, d, h, k = distinct(rng, 4)
    if mistake in ("weights-of-the-wrong-layer", "not-transposed", "biases-exchanged"):
        d = k = h
    X, y = rng.normal(size=(n, d)), rng.integers(0, k, n)
    params = drawn(rng, W1=(d, h), b1=(h,), W2=(h, k), b2=(k,))
    reg = round(rng.uniform(0.05, 0.2), 2)

    def forward(p):
        z1 = X.dot(p["W1"]) + p["b1"]
        a1 = np.tanh(z1)
        scores = a1.dot(p["W2"]) + p["b2"]
        exp = np.exp(scores - np.max(scores, axis=1, keepdims=True))
        probs = exp / np.sum(exp, axis=1, keepdims=True)
        return z1, a1, probs

    def loss(p):
        _, _, probs = forward(p)
        data_loss = -np.log(probs[np.arange(n), y]).mean()
        reg_loss = 0.5 * reg * (np.sum(p["W1"] ** 2) + np.sum(p["W2"] ** 2))
        return data_loss + reg_loss

    def gradient(p):
        z1, a1, probs = forward(p)
        dscores = probs.copy()
        dscores[np.arange(n), y] -= 1
        if mistake != "not-averaged":
            dscores /= n
        if mistake == "wrong-sign":
            dscores = -dscores
        dW2 = a1.T.dot(dscores)
        db2 = dscores[0] if mistake == "bias-first-row" else np.sum(dscores, axis=0)
        if mistake == "weights-of-the-wrong-layer":
            da1 = dscores.dot(p["W1"].T)
        elif mistake == "not-transposed":
            da1 = dscores.dot(p["W2"])
        else:
            da1 = dscores.dot(p["W2"].T)
        dz1 = da1 * {
            "derivative-left-out": 1.0,
            "derivative-at-z": 1 - z1**2,
            "derivative-of-sigmoid": a1 * (1 - a1),
            "derivative-twice": (1 - a1**2) ** 2,
            "derivative-one-minus-a": 1 - a1,
        }.get(mistake, 1 - a1**2)
        dW1 = X.T.dot(dz1)
        db1 = np.mean(dz1, axis=0) if mistake == "bias-averaged" else np.sum(dz1, axis=0)
        if mistake != "penalty-left-out":
            dW1 += reg * p["W1"] * (2 if mistake == "penalty-doubled" else 1)
            dW2 += reg * p["W2"] * (2 if mistake == "penalty-doubled" else 1)
        if mistake == "penalty-on-biases":
            db1, db2 = db1 + reg * p["b1"], db2 + reg * p["b2"]
        if mistake == "biases-exchanged":
            db1, db2 = db2, db1
        if mistake == "last-bias-forgotten":
            db2 = np.zeros_like(db2)
        return {"W1": dW1, "b1": db1, "W2": dW2, "b2": db2}

    return loss, gradient, params


TWO_LAYERS = plant(two_layers, {
    "derivative-left-out": (say.DERIVATIVE_LEFT_OUT, ["a1 = np.tanh"]),
    "derivative-at-z": (say.DERIVATIVE_AT_Z, ["a1 = np.tanh"]),
    "derivative-of-sigmoid": ([r"sigmoid", r"a ?\*? ?\(1 - a\)"], ["a1 = np.tanh"]),
    "derivative-twice": (say.DERIVATIVE_TWICE, ["a1 = np.tanh"]),
    "derivative-one-minus-a": ([r"1 - a\b"], ["a1 = np.tanh"]),
    "bias-averaged": (say.AVERAGED, ['z1 = X.dot(p["W1"])']),
    "bias-first-row": (say.FIRST_ONLY, ['scores = a1.dot(p["W2"])']),
    "penalty-left-out": (say.PENALTY_LEFT_OUT, ["reg_loss ="]),
    "penalty-doubled": (say.PENALTY_DOUBLED, ["reg_loss ="]),
    "penalty-on-biases": (say.PENALTY_ELSEWHERE, []),
    "not-averaged": (say.SUMMED, []),
    "wrong-sign": (say.WRONG_SIGN, []),
    "weights-of-the-wrong-layer": (say.OTHER_WEIGHTS, ["scores = a1.dot"]),
    "not-transposed": (say.NOT_TRANSPOSED, ["scores = a1.dot"]),
    "biases-exchanged": (say.EXCHANGED, []),
    "last-bias-forgotten": (say.FORGOTTEN, []),
})  # fmt: skip


def relu(Z):
    A = np.maximum(0, Z)
    return A, Z


def sigmoid(Z):
    A = 1 / (1 + np.exp(-Z))
    return A, Z


def deep_columns(rng, mistake=""):
    """Columns are samples; rectifiers, a sigmoid, binary cross-entropy; caches that are passed on."""
    m, d, h1, h2 = distinct(rng, 4, 4, 10)
    if mistake == "bias-over-the-wrong-axis":
        h1 = m
    if mistake in ("relu-of-another-layer", "own-output"):
        h1 = h2
    X, Y = rng.normal(size=(d, m)), rng.permutation(np.arange(m) % 2).reshape(1, m).astype(float)
    params = drawn(rng, W1=(h1, d), b1=(h1, 1), W2=(h2, h1), b2=(h2, 1), W3=(1, h2), b3=(1, 1))

    def model_forward(parameters):
        caches = []
        A = X
        for layer in (1, 2):
            W, b = parameters["W" + str(layer)], parameters["b" + str(layer)]
            Z = np.dot(W, A) + b  # hidden layers
            linear_cache = (A, W)
            A, activation_cache = relu(Z)
            caches.append((linear_cache, activation_cache))
        W, b = parameters["W3"], parameters["b3"]
        Z = np.dot(W, A) + b  # output layer
        linear_cache = (A, W)
        AL, activation_cache = sigmoid(Z)
        caches.append((linear_cache, activation_cache))
        return AL, caches

    def compute_cost(parameters):
        AL, _ = model_forward(parameters)
        cost = -np.sum(np.multiply(Y, np.log(AL)) + np.multiply(1 - Y, np.log(1 - AL))) / m
        return np.squeeze(cost)

    def model_backward(parameters):
        AL, caches = model_forward(parameters)
        grads = {}
        dZ = AL - Y
        if mistake == "sigmoid-twice":
            dZ = dZ * AL * (1 - AL)
        if mistake == "last-sample-forgotten":
            dZ[:, -1] = 0
        for layer in (3, 2, 1):
            (A_prev, W), Z = caches[layer - 1]
            W = W.copy()
            if layer == 2 and mistake == "pre-activation-as-input":
                A_prev = caches[0][1]
            if layer == 2 and mistake == "own-output":
                A_prev = caches[2][0][0]
            average = 1 if mistake == "not-averaged" else m
            grads["W" + str(layer)] = np.dot(dZ, A_prev.T) / average
            grads["b" + str(layer)] = np.sum(dZ, axis=1, keepdims=True) / average
            if layer == 2 and mistake == "bias-first-column":
                grads["b2"] = dZ[:, :1] / m
            if mistake == "biases-not-averaged":
                grads["b" + str(layer)] = np.sum(dZ, axis=1, keepdims=True)
            if layer == 1 and mistake == "bias-over-the-wrong-axis":
                grads["b1"] = np.sum(dZ, axis=0).reshape(-1, 1) / m
            if layer == 3 and mistake == "updated-before-used":
                W -= 0.1 * grads["W3"]
            if layer > 1:
                dA_prev = np.dot(W.T, dZ)
                Z_prev = caches[layer - 2][1]
                if layer == 2 and mistake == "relu-of-another-layer":
                    Z_prev = Z
                dZ = dA_prev if layer == 2 and mistake == "relu-left-out" else dA_prev * (Z_prev > 0)
        return grads

    return compute_cost, model_backward, params


DEEP_COLUMNS = plant(deep_columns, {
    "bias-first-column": (say.FIRST_ONLY, ["Z = np.dot(W, A) + b  # hidden"]),
    "biases-not-averaged": (say.SUMMED, []),
    "bias-over-the-wrong-axis": (say.WRONG_AXIS, ["Z = np.dot(W, A) + b  # hidden"]),
    "relu-left-out": (say.DERIVATIVE_LEFT_OUT, ["A = np.maximum(0, Z)", "A, activation_cache = relu(Z)"]),
    "relu-of-another-layer": (say.OTHER_DERIVATIVE, ["A = np.maximum(0, Z)", "A, activation_cache = relu(Z)"]),
    "sigmoid-twice": (say.LINK_TWICE, ["A = 1 / (1 + np.exp(-Z))", "AL, activation_cache = sigmoid", "cost = -np.sum"]),
    "updated-before-used": (say.UPDATED, ["Z = np.dot(W, A) + b  # output"]),
    "pre-activation-as-input": (say.BUILT_WITH, ["Z = np.dot(W, A) + b  # hidden", "A = np.maximum(0, Z)"]),
    "own-output": (say.BUILT_WITH, ["Z = np.dot(W, A) + b  # hidden"]),
    "not-averaged": (say.SUMMED, []),
    "last-sample-forgotten": (say.SAMPLE_FORGOTTEN, []),
})  # fmt: skip


def flat_logistic(rng, mistake=""):
    """Logistic regression of one flat vector, the first entry of which is the intercept and has no penalty."""
    m, d = distinct(rng, 2, 5, 12)
    X = np.hstack([np.ones((m, 1)), rng.normal(size=(m, d))])
    y = rng.permutation(np.arange(m) % 2).astype(float)
    lam = round(rng.uniform(0.5, 1.5), 2)
    theta0 = rng.normal(size=d + 1)

    def cost_function(theta):
        h = 1.0 / (1.0 + np.exp(-X.dot(theta)))
        J = -(y.dot(np.log(h)) + (1 - y).dot(np.log(1 - h))) / m
        J += lam / (2 * m) * np.sum(theta[1:] ** 2)
        return J

    def gradient(theta):
        h = 1.0 / (1.0 + np.exp(-X.dot(theta)))
        error = h - y
        if mistake == "wrong-sign":
            error = y - h
        if mistake == "sigmoid-twice":
            error = error * h * (1 - h)
        grad = X.T.dot(error) / m
        if mistake == "one-sample-forgotten":
            grad = sum(error[i] * X[i] for i in range(m - 1)) / m
        if mistake == "not-averaged":
            grad = X.T.dot(error)
        if mistake == "penalty-left-out":
            return grad
        if mistake == "penalty-on-intercept":
            return grad + lam / m * theta
        if mistake == "penalty-doubled":
            grad[1:] += 2 * lam / m * theta[1:]
            return grad
        grad[1:] += lam / m * theta[1:]
        return grad

    return cost_function, gradient, theta0


FLAT_LOGISTIC = plant(flat_logistic, {
    "wrong-sign": (say.WRONG_SIGN, []),
    "sigmoid-twice": (say.LINK_TWICE, ["h = 1.0 / (1.0 + np.exp", "J = -(y.dot"]),
    "one-sample-forgotten": (say.SAMPLE_FORGOTTEN, []),
    "not-averaged": (say.SUMMED, []),
    "penalty-left-out": (say.PENALTY_LEFT_OUT, ["J += lam / (2 * m)"]),
    "penalty-on-intercept": (say.PENALTY_ELSEWHERE, []),
    "penalty-doubled": (say.PENALTY_DOUBLED, ["J += lam / (2 * m)"]),
})  # fmt: skip


def softmax_loops(rng, mistake=""):
    """A softmax classifier in loops over the samples, with a small number in the logarithm."""
    n, d, k = distinct(rng, 3)
    X, y = rng.normal(size=(n, d)), rng.integers(0, k, n)
    params = [0.5 * rng.normal(size=(d, k)), 0.5 * rng.normal(size=k)]

    def softmax(scores):
        scores = scores - np.max(scores)
        return np.exp(scores) / np.sum(np.exp(scores))

    def loss(params):
        W, b = params
        total = 0.0
        for i in range(n):
            scores = X[i].dot(W) + b
            p = softmax(scores)
            total += -np.log(p[y[i]] + 1e-7)
        return total / n

    def gradient(params):
        W, b = params
        dW, db = np.zeros_like(W), np.zeros_like(b)
        for i in range(n):
            p = softmax(X[i].dot(W) + b)
            target = np.zeros(k)
            target[y[i]] = 1
            if mistake == "epsilon-forgotten":
                dscores = p - target
            elif mistake == "target-not-subtracted":
                dscores = p * p[y[i]] / (p[y[i]] + 1e-7)
            else:
                dscores = (p - target) * p[y[i]] / (p[y[i]] + 1e-7)
            if mistake == "last-sample-only":
                dW, db = np.outer(X[i], dscores), dscores
            else:
                dW += np.outer(X[i], dscores)
                db += dscores
        return [dW / n, db / n]

    return loss, gradient, params


SOFTMAX_LOOPS = plant(softmax_loops, {
    "epsilon-forgotten": (say.EPSILON, ["total += -np.log("]),
    "target-not-subtracted": (
        [r"(p - y|target|label|one.hot|class|numerator).*(left out|missing|not subtracted)", *say.PATH_LEFT_OUT],
        ["total += -np.log(", "return np.exp(scores) / np.sum", "p = softmax(scores)"],
    ),
    "last-sample-only": ([*say.OVERWRITTEN, *say.SAMPLE_FORGOTTEN, r"samples? "], []),
})  # fmt: skip


def flat_network(rng, mistake=""):
    """Two sigmoid layers of one flat vector, from which the weights are cut; a bias column; one-hot labels."""
    m, d, h, k = distinct(rng, 4)
    X, Y = np.c_[np.ones(m), rng.normal(size=(m, d))], np.eye(k)[rng.integers(0, k, m)]
    lam = round(rng.uniform(0.2, 0.8), 1)
    theta0 = 0.7 * rng.normal(size=h * (d + 1) + k * (h + 1))

    def unroll(theta):
        return theta[: h * (d + 1)].reshape(h, d + 1), theta[h * (d + 1) :].reshape(k, h + 1)

    def forward(theta):
        Theta1, Theta2 = unroll(theta)
        a2 = 1 / (1 + np.exp(-X.dot(Theta1.T)))
        a2 = np.column_stack([np.ones(m), a2])
        a3 = 1 / (1 + np.exp(-a2.dot(Theta2.T)))
        return Theta1, Theta2, a2, a3

    def cost(theta):
        Theta1, Theta2, _, a3 = forward(theta)
        J = np.sum(-Y * np.log(a3) - (1 - Y) * np.log(1 - a3)) / m
        J += lam / (2 * m) * (np.sum(Theta1[:, 1:] ** 2) + np.sum(Theta2[:, 1:] ** 2))
        return J

    def gradient(theta):
        Theta1, Theta2, a2, a3 = forward(theta)
        delta3 = a3 - Y
        back = delta3.dot(Theta2)[:, 1:]
        if mistake == "bias-not-cut-off":
            back = delta3.dot(Theta2)[:, :-1]
        delta2 = back if mistake == "sigmoid-left-out" else back * a2[:, 1:] * (1 - a2[:, 1:])
        grad1, grad2 = delta2.T.dot(X) / m, delta3.T.dot(a2) / m
        if mistake == "second-layer-not-averaged":
            grad2 = delta3.T.dot(a2)
        first = 0 if mistake == "penalty-on-biases" else 1
        if mistake != "first-penalty-forgotten":
            grad1[:, first:] += lam / m * Theta1[:, first:]
        grad2[:, first:] += lam / m * Theta2[:, first:]
        if mistake == "unrolled-in-another-order":
            return np.concatenate([grad2.ravel(), grad1.ravel()])
        if mistake == "unrolled-by-columns":
            return np.concatenate([grad1.ravel("F"), grad2.ravel("F")])
        return np.concatenate([grad1.ravel(), grad2.ravel()])

    return cost, gradient, theta0


FLAT_NETWORK = plant(flat_network, {
    "bias-not-cut-off": (
        [r"shift|wrong (part|place|columns)|\border|cut|slice|column"], ["a2 = np.column_stack", "a3 = 1 / (1 + np.exp"]
    ),
    "sigmoid-left-out": (say.DERIVATIVE_LEFT_OUT, ["a2 = 1 / (1 + np.exp"]),
    "second-layer-not-averaged": (
        [*say.SUMMED, *say.FACTOR_LEFT_OUT], ["a3 = 1 / (1 + np.exp", "J = np.sum(-Y", "return theta[: h"]
    ),
    "penalty-on-biases": (say.PENALTY_ELSEWHERE, []),
    "first-penalty-forgotten": (say.PENALTY_LEFT_OUT, ["J += lam / (2 * m)"]),
    "unrolled-in-another-order": (say.OTHER_ORDER, []),
    "unrolled-by-columns": ([*say.OTHER_ORDER, r"column"], []),
})  # fmt: skip

NETWORKS = (TWO_LAYERS, DEEP_COLUMNS, FLAT_LOGISTIC, SOFTMAX_LOOPS, FLAT_NETWORK)
