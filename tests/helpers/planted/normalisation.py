"""Batch and layer normalisation, normalisation by moments, dropout with a fixed mask, and residual connections."""

from __future__ import annotations

import numpy as np

from planted import records as say
from planted.records import distinct, drawn, plant


def batchnorm_forward(x, gamma, beta, eps=1e-5):
    mu = np.mean(x, axis=0)
    var = np.mean((x - mu) ** 2, axis=0)
    std = np.sqrt(var + eps)
    xhat = (x - mu) / std
    out = gamma * xhat + beta
    return out, (x, mu, var, std, xhat, gamma)


def batchnorm_backward(dout, cache, mistake):
    x, mu, var, std, xhat, gamma = cache
    N = len(dout)
    dbeta = dout.mean(axis=0) if mistake == "beta-averaged" else dout.sum(axis=0)
    dgamma = np.sum(dout * (x if mistake == "gamma-with-x" else xhat), axis=0)
    if mistake == "gamma-summed-without-xhat":
        dgamma = np.sum(dout, axis=0)
    dxhat = dout if mistake == "gamma-forgotten" else dout * gamma
    if mistake == "epsilon-forgotten":
        std = np.sqrt(var)
        xhat = (x - mu) / std
    dx = dxhat / std
    if mistake not in ("variance-path-forgotten", "both-constant"):
        dvar = np.sum(dxhat * (x - mu), axis=0) * -0.5 * std**-3
        if mistake == "variance-without-its-half":
            dvar = np.sum(dxhat * (x - mu), axis=0) * -1.0 * std**-3
        dx = dx + dvar * 2 * (x - mu) / N
    if mistake not in ("mean-path-forgotten", "both-constant"):
        dmu = np.sum(-dxhat / std, axis=0)
        dx = dx + dmu / N
    return dx, dgamma, dbeta


def batch_norm(rng, mistake=""):
    """Functions with caches: affine, batch normalisation, rectifiers, affine, softmax."""
    n, d, h, k = distinct(rng, 4, 3, 10)
    X, y = 1 + 2 * rng.normal(size=(n, d)), rng.integers(0, k, n)
    params = drawn(rng, W1=(d, h), b1=(h,), beta=(h,), W2=(h, k), b2=(k,))
    params["gamma"] = rng.uniform(0.5, 2.0, h)
    del params["b1"]  # it would change nothing

    def forward(p):
        u = X.dot(p["W1"])
        out, cache = batchnorm_forward(u, p["gamma"], p["beta"])
        a = out * (out > 0)
        scores = a.dot(p["W2"]) + p["b2"]
        exp = np.exp(scores)
        return out, cache, a, exp / exp.sum(axis=1, keepdims=True)

    def loss(p):
        probs = forward(p)[-1]
        return -np.mean(np.log(probs[np.arange(n), y]))

    def gradient(p):
        out, cache, a, probs = forward(p)
        d = probs.copy()
        d[np.arange(n), y] -= 1.0
        d /= n
        dout = d.dot(p["W2"].T)
        dout[out <= 0] = 0
        du, dgamma, dbeta = batchnorm_backward(dout, cache, mistake)
        return {"W1": X.T.dot(du), "beta": dbeta, "W2": a.T.dot(d), "b2": d.sum(axis=0), "gamma": dgamma}

    return loss, gradient, params


_AFFINE = ["out = gamma * xhat + beta", "out, cache = batchnorm_forward(u"]
_MEAN = ["mu = np.mean(x, axis=0)", "xhat = (x - mu) / std"]
_VARIANCE = ["var = np.mean((x - mu)", "std = np.sqrt(var + eps)", "xhat = (x - mu) / std"]
BATCH_NORM = plant(batch_norm, {
    "mean-path-forgotten": (say.PATH_LEFT_OUT, _MEAN),
    "variance-path-forgotten": (say.PATH_LEFT_OUT, _VARIANCE),
    "both-constant": (say.PATH_LEFT_OUT, [*_MEAN, *_VARIANCE]),
    "variance-without-its-half": ([r"doubled|twice|factor|half|½|(derivative|slope).*(sqrt|root)"], _VARIANCE),
    "epsilon-forgotten": (say.EPSILON, ["std = np.sqrt(var + eps)"]),
    "gamma-forgotten": (say.FACTOR_LEFT_OUT, _AFFINE),
    "gamma-with-x": (say.BUILT_WITH, _AFFINE),
    "gamma-summed-without-xhat": (
        [*say.FACTOR_LEFT_OUT, r"(holds|is) (the gradient|that) of beta", *say.BUILT_WITH], []
    ),
    "beta-averaged": (say.AVERAGED, _AFFINE),
})  # fmt: skip


class LayerNorm:
    def __init__(self, mistake, eps=1e-5):
        self.mistake, self.eps = mistake, eps

    def __call__(self, x, g, b):
        self.mean = x.mean(axis=-1, keepdims=True)
        self.inv = 1.0 / np.sqrt(x.var(axis=-1, keepdims=True) + self.eps)
        self.xhat = (x - self.mean) * self.inv
        self.g, self.var = g, x.var(axis=-1, keepdims=True)
        return self.xhat * g + b

    def backward(self, dy):
        axis = 0 if self.mistake == "normalised-over-the-wrong-axis" else -1
        d = dy if self.mistake == "gamma-forgotten" else dy * self.g
        inv = 1 / np.sqrt(self.var) if self.mistake == "epsilon-forgotten" else self.inv
        mean_path = d.mean(axis=axis, keepdims=True)
        variance_path = self.xhat * (d * self.xhat).mean(axis=axis, keepdims=True)
        if self.mistake == "mean-path-forgotten":
            mean_path = 0.0
        if self.mistake == "variance-path-forgotten":
            variance_path = 0.0
        self.dg, self.db = np.sum(dy * self.xhat, axis=0), np.sum(dy, axis=0)
        if self.mistake == "bias-over-the-wrong-axis":
            self.db = np.sum(dy, axis=1)
        return inv * (d - mean_path - variance_path)


def layer_norm(rng, mistake=""):
    """A layer object for the normalisation over features, between two layers; absolute errors, softened."""
    n, d, h, k = distinct(rng, 4, 3, 10)
    if mistake == "bias-over-the-wrong-axis":
        n = h
    X, Y = rng.normal(size=(n, d)), rng.normal(size=(n, k))
    params = drawn(rng, 1.5, W1=(d, h), b1=(h,), bias=(h,), W2=(h, k))
    params["gain"] = rng.uniform(0.5, 2.0, h)
    norm = LayerNorm(mistake)

    def forward(p):
        h1 = X @ p["W1"] + p["b1"]
        normed = norm(h1, p["gain"], p["bias"])
        a = np.arctan(normed)
        return normed, a, a @ p["W2"] - Y

    def loss(p):
        e = forward(p)[-1]
        return np.sum(np.sqrt(1 + e**2)) / n

    def gradient(p):
        normed, a, e = forward(p)
        de = e / np.sqrt(1 + e**2) / n
        if mistake == "root-left-out":
            de = e / n
        dnormed = de @ p["W2"].T / (1 + normed**2)
        if mistake == "arctan-left-out":
            dnormed = de @ p["W2"].T
        dh1 = norm.backward(dnormed)
        return {"W1": X.T @ dh1, "b1": dh1.sum(0), "bias": norm.db, "W2": a.T @ de, "gain": norm.dg}

    return loss, gradient, params


_NORM = ["self.mean = x.mean(", "self.inv = 1.0 /", "self.xhat = (x - self.mean)", "normed = norm("]
LAYER_NORM = plant(layer_norm, {
    "mean-path-forgotten": (say.PATH_LEFT_OUT, _NORM),
    "variance-path-forgotten": (say.PATH_LEFT_OUT, _NORM),
    "normalised-over-the-wrong-axis": ([r"\baxis\b", r"(rows|columns|samples|batch)"], _NORM),
    "gamma-forgotten": (say.FACTOR_LEFT_OUT, ["return self.xhat * g + b", "normed = norm("]),
    "epsilon-forgotten": (say.EPSILON, ["self.inv = 1.0 /", "normed = norm("]),
    "bias-over-the-wrong-axis": (say.WRONG_AXIS, ["return self.xhat * g + b", "normed = norm("]),
    "root-left-out": ([*say.DERIVATIVE_LEFT_OUT, r"(squares?|sqrt|root)"], ["return np.sum(np.sqrt("]),
    "arctan-left-out": (say.DERIVATIVE_LEFT_OUT, ["a = np.arctan(normed)"]),
})  # fmt: skip


def dropout_residual(rng, mistake=""):
    """Two hidden layers, the second beside a direct connection, with dropout by fixed masks; the hinge loss."""
    n, d, h = distinct(rng, 3, 4, 10)
    X, y = rng.normal(size=(n, d)), np.where(rng.random(n) < 0.5, -1.0, 1.0)
    params = drawn(rng, W1=(d, h), b1=(h,), W2=(h, h), b2=(h,), w3=(h,))
    keep = 0.7
    M1, M2 = rng.random((n, h)) < keep, rng.random((n, h)) < keep

    def forward(p):
        H1 = np.tanh(X @ p["W1"] + p["b1"])
        D1 = H1 * M1
        D1 = D1 / keep
        H2 = np.tanh(D1 @ p["W2"] + p["b2"])
        H2 = H2 * M2 / keep
        R = D1 + H2
        return H1, D1, np.tanh(D1 @ p["W2"] + p["b2"]), R, R @ p["w3"]

    strongest = np.abs(forward(params)[-1]).argmax()  # beyond the margin, so that there is one
    params["w3"] *= 1.5 / np.abs(forward(params)[-1][strongest])
    y[strongest] = np.sign(forward(params)[-1][strongest])

    def loss(p):
        scores = forward(p)[-1]
        return np.maximum(0, 1 - y * scores).mean()

    def gradient(p):
        H1, D1, T2, R, scores = forward(p)
        dscores = -y * (1 - y * scores > 0) / n
        if mistake == "margin-forgotten":
            dscores = -y / n
        dR = np.outer(dscores, p["w3"])
        dH2 = dR if mistake == "second-mask-forgotten" else dR * M2 / keep
        dZ2 = dH2 * (1 - T2**2)
        dD1 = dZ2 @ p["W2"].T
        if mistake == "branch-not-carried-back":
            dD1 = dR
        elif mistake != "direct-path-forgotten":
            dD1 = dD1 + dR
        dH1 = dD1 * M1 / keep
        if mistake == "first-mask-forgotten":
            dH1 = dD1 / keep
        if mistake == "scale-forgotten":
            dH1 = dD1 * M1
        if mistake == "mask-and-scale-forgotten":
            dH1 = dD1
        if mistake == "scale-twice":
            dH1 = dD1 * M1 / keep**2
        if mistake == "masks-exchanged":
            dH1 = dD1 * M2 / keep
        dZ1 = dH1 * (1 - H1**2)
        return {"W1": X.T @ dZ1, "b1": dZ1.sum(0), "W2": D1.T @ dZ2, "b2": dZ2.sum(0), "w3": R.T @ dscores}

    return loss, gradient, params


_FIRST = ["D1 = H1 * M1", "D1 = D1 / keep"]
DROPOUT_RESIDUAL = plant(dropout_residual, {
    "margin-forgotten": ([*say.DERIVATIVE_LEFT_OUT, r"max"], ["return np.maximum(0, 1 - y"]),
    "second-mask-forgotten": (say.FACTOR_LEFT_OUT, ["H2 = H2 * M2 / keep"]),
    "branch-not-carried-back": (say.PATH_LEFT_OUT, ['H2 = np.tanh(D1 @ p["W2"]', "R = D1 + H2"]),
    "direct-path-forgotten": (say.PATH_LEFT_OUT, ["R = D1 + H2"]),
    "first-mask-forgotten": (say.FACTOR_LEFT_OUT, ["D1 = H1 * M1"]),
    "scale-forgotten": (say.FACTOR_LEFT_OUT, ["D1 = D1 / keep"]),
    "mask-and-scale-forgotten": (say.FACTOR_LEFT_OUT, _FIRST),
    "scale-twice": ([r"twice|squared|again|two times|once more"], ["D1 = D1 / keep"]),
    "masks-exchanged": ([*say.OTHER_WEIGHTS, *say.EXCHANGED, r"multiplied (with|by)"], ["D1 = H1 * M1"]),
})  # fmt: skip


def moments(rng, mistake=""):
    """Columns are samples; the variance is the mean of the squares less the square of the mean; an RMS norm before."""
    m, d, h = distinct(rng, 3, 5, 10)
    X, Y = rng.normal(size=(d, m)), rng.normal(size=(1, m))
    params = drawn(rng, 1.5, W=(h, d), scale=(d, 1), beta=(h, 1), v=(1, h))
    params["gamma"] = rng.uniform(0.5, 2.0, (h, 1))

    def forward(p):
        rms = np.sqrt(np.mean((X * p["scale"]) ** 2, axis=0, keepdims=True) + 0.1)
        N = X * p["scale"] / rms
        Z = p["W"] @ N
        mean = np.sum(Z, axis=1, keepdims=True) / m
        var = np.sum(Z**2, axis=1, keepdims=True) / m - mean**2
        hat = (Z - mean) / np.sqrt(var + 0.01)
        A = np.maximum(0.2 * (p["gamma"] * hat + p["beta"]), p["gamma"] * hat + p["beta"])
        return rms, N, Z, mean, var, hat, A

    def loss(p):
        A = forward(p)[-1]
        return np.sum((p["v"] @ A - Y) ** 2) / (2 * m)

    def gradient(p):
        rms, N, Z, mean, var, hat, A = forward(p)
        dout = (p["v"] @ A - Y) / m
        dA = p["v"].T @ dout
        dB = dA * np.where(A > 0, 1.0, 0.2)
        dhat = dB * p["gamma"]
        dvar = np.sum(dhat * (Z - mean), axis=1, keepdims=True) * -0.5 * (var + 0.01) ** -1.5
        dmean = -np.sum(dhat, axis=1, keepdims=True) / np.sqrt(var + 0.01)
        if mistake == "mean-path-forgotten":
            dmean = 0
        if mistake != "mean-in-the-variance-forgotten":
            dmean = dmean - 2 * mean * dvar
        dZ = dhat / np.sqrt(var + 0.01) + dmean / m
        if mistake != "squares-path-forgotten":
            dZ = dZ + dvar * 2 * Z / m
        if mistake == "squares-without-their-2":
            dZ = dZ - dvar * Z / m
        dN = p["W"].T @ dZ
        dS = dN / rms
        if mistake != "root-mean-square-constant":
            dS = dS - N * np.mean(dN * N, axis=0, keepdims=True) / rms
        dgamma, dbeta = np.sum(dB * hat, axis=1, keepdims=True), np.sum(dB, axis=1, keepdims=True)
        if mistake == "gamma-averaged":
            dgamma = np.mean(dB * hat, axis=1, keepdims=True)
        g = {"W": dZ @ N.T, "scale": np.sum(dS * X, axis=1, keepdims=True), "beta": dbeta, "v": dout @ A.T}
        return g | {"gamma": dgamma}

    return loss, gradient, params


_SECOND = ["var = np.sum(Z**2"]
MOMENTS = plant(moments, {
    "mean-path-forgotten": (say.PATH_LEFT_OUT, ["hat = (Z - mean)"]),
    "mean-in-the-variance-forgotten": (say.PATH_LEFT_OUT, ["mean = np.sum(Z", *_SECOND]),
    "squares-path-forgotten": (say.PATH_LEFT_OUT, _SECOND),
    "squares-without-their-2": ([r"halved|half|\b2\b|factor|power|square"], _SECOND),
    "root-mean-square-constant": (say.PATH_LEFT_OUT, ["rms = np.sqrt(", 'N = X * p["scale"] / rms']),
    "gamma-averaged": (say.AVERAGED, ["A = np.maximum(0.2"]),
})  # fmt: skip

NETWORKS = (BATCH_NORM, LAYER_NORM, DROPOUT_RESIDUAL, MOMENTS)
