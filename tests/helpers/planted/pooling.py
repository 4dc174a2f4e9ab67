"""A convolution over words with the maximum over time, and average pools between convolutions of images."""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from planted import records as say
from planted.records import distinct, drawn, plant


def text_conv(rng, mistake=""):
    """Embedded words, a convolution over time, and the largest value of each filter; softmax."""
    V, D, F, N, K = distinct(rng, 5, 3, 9)
    V += 9  # more words, of which windows seldom have the same
    T, width = N + 4, 3
    tokens, labels = rng.integers(0, V, size=(N, T)), rng.integers(0, K, N)
    params = drawn(rng, 2.0, E=(V, D), W=(F, width, D), b=(F,), V=(F, K), c=(K,))
    places = T - width + 1

    def forward(p):
        x = p["E"][tokens]
        z = np.zeros((N, places, F))
        for t in range(places):
            z[:, t] = np.tensordot(x[:, t : t + width], p["W"], axes=([1, 2], [1, 2])) + p["b"]
        a = np.maximum(z, 0.0)
        top = np.max(a, axis=1)
        logits = top @ p["V"] + p["c"]
        logits = logits - np.log(np.sum(np.exp(logits), axis=1, keepdims=True))
        return x, z, a, top, logits

    def loss(p):
        return -forward(p)[-1][range(N), labels].mean()

    def gradient(p):
        x, z, a, top, logs = forward(p)
        d = (np.exp(logs) - np.eye(K)[labels]) / N
        dtop = d @ p["V"].T
        da = np.zeros_like(a)
        winners = a.argmax(axis=1)
        if mistake == "max-to-the-last":
            winners = np.full_like(winners, places - 1)
        for n in range(N):
            for f in range(F):
                da[n, winners[n, f], f] = dtop[n, f]
        if mistake == "max-to-all":
            da = np.repeat(dtop[:, None], places, axis=1)
        dz = da if mistake == "relu-left-out" else da * (z > 0)
        dW, dx = np.zeros_like(p["W"]), np.zeros_like(x)
        for t in range(places):
            dW += np.tensordot(dz[:, t], x[:, t : t + width], axes=(0, 0))
            for k in range(width):
                kernel = p["W"][:, width - 1 - k if mistake == "kernel-flipped" else k]
                if mistake == "windows-overwritten":
                    dx[:, t + k] = dz[:, t] @ kernel
                else:
                    dx[:, t + k] += dz[:, t] @ kernel
        dE = np.zeros_like(p["E"])
        if mistake == "repeated-words-overwritten":
            dE[tokens] = dx
        elif mistake == "repeated-words-lost":
            dE[tokens] += dx
        else:
            np.add.at(dE, tokens, dx)
        return {"E": dE, "W": dW, "b": dz.sum(axis=(0, 1)), "V": top.T @ d, "c": d.sum(axis=0)}

    return loss, gradient, params


TEXT_CONV = plant(text_conv, {
    "repeated-words-overwritten": (say.REPEATED, ['x = p["E"][tokens]']),
    "repeated-words-lost": (say.REPEATED, ['x = p["E"][tokens]']),
    "max-to-the-last": (say.MAX_TO_OTHER, ["top = np.max(a, axis=1)"]),
    "max-to-all": (say.MAX_TO_ALL, ["top = np.max(a, axis=1)"]),
    "kernel-flipped": (say.FLIPPED, ["z[:, t] = np.tensordot("]),
    "windows-overwritten": ([r"overlap", *say.OVERWRITTEN], ["z[:, t] = np.tensordot("]),
})  # fmt: skip


def average_pools(rng, mistake=""):
    """Two convolutions without loops, each followed by an average pool; back-propagation turns the kernels round."""
    N, C1, C2 = distinct(rng, 3, 2, 5)
    k1, k2 = 3, 2
    X, Y = rng.normal(size=(N, 1, 12, 10)), rng.normal(size=N)
    if mistake == "channels-not-exchanged":
        C2 = C1
    params = drawn(rng, 2.0, K1=(C1, 1, k1, k1), b1=(C1,), K2=(C2, C1, k2, k2), b2=(C2,), w=(C2 * 2 * 1,))
    params["w"] = rng.normal(size=C2 * 2)

    def conv(x, K):
        windows = sliding_window_view(x, K.shape[2:], axis=(2, 3))
        return np.einsum("nchwij,fcij->nfhw", windows, K)

    def average_pool(x):
        n, c, h, w = x.shape
        return x.reshape(n, c, h // 2, 2, w // 2, 2).mean(axis=(3, 5))

    def softsign(x):
        return x / (1 + np.abs(x))

    def forward(p):
        z1 = conv(X, p["K1"]) + p["b1"].reshape(1, -1, 1, 1)
        a1 = softsign(z1)
        m1 = average_pool(a1)
        z2 = conv(m1, p["K2"]) + p["b2"].reshape(1, -1, 1, 1)
        m2 = average_pool(z2[:, :, :, :2])
        return z1, a1, m1, z2, m2

    def loss(p):
        *_, m2 = forward(p)
        return 0.5 * np.mean((m2.reshape(N, -1) @ p["w"] - Y) ** 2)

    def spread(d):
        d = np.repeat(np.repeat(d, 2, axis=2), 2, axis=3)
        if mistake == "area-forgotten":
            return d
        if mistake == "pool-to-the-first":
            first = np.zeros_like(d)
            first[:, :, ::2, ::2] = d[:, :, ::2, ::2]
            return first
        return d / 4

    def gradient(p):
        z1, _, m1, z2, m2 = forward(p)
        error = (m2.reshape(N, -1) @ p["w"] - Y) / N
        dw = m2.reshape(N, -1).T @ error
        dz2 = np.zeros_like(z2)
        dz2[:, :, :, :2] = spread(np.outer(error, p["w"]).reshape(m2.shape))
        dK2 = np.einsum("nchwij,nfhw->fcij", sliding_window_view(m1, (k2, k2), axis=(2, 3)), dz2)
        padded = np.pad(dz2, [(0, 0), (0, 0), (k2 - 1, k2 - 1), (k2 - 1, k2 - 1)])
        turned = p["K2"] if mistake == "kernel-not-flipped" else p["K2"][:, :, ::-1, ::-1]
        if mistake != "channels-not-exchanged":
            turned = turned.transpose(1, 0, 2, 3)
        dm1 = conv(padded, turned)
        da1 = spread(dm1)
        if mistake == "softsign-left-out":
            dz1 = da1
        elif mistake == "softsign-not-squared":
            dz1 = da1 / (1 + np.abs(z1))
        else:
            dz1 = da1 / (1 + np.abs(z1)) ** 2
        dK1 = np.einsum("nchwij,nfhw->fcij", sliding_window_view(X, (k1, k1), axis=(2, 3)), dz1)
        db1 = dz1[:, :, 0, 0].sum(axis=0) if mistake == "bias-of-one-position" else dz1.sum(axis=(0, 2, 3))
        return {"K1": dK1, "b1": db1, "K2": dK2, "b2": dz2.sum(axis=(0, 2, 3)), "w": dw}

    return loss, gradient, params


_POOLS = [".mean(axis=(3, 5))", "m1 = average_pool(a1)", "m2 = average_pool(z2"]
_CONV2 = ['return np.einsum("nchwij,fcij', "z2 = conv(m1"]
AVERAGE_POOLS = plant(average_pools, {
    "area-forgotten": ([r"multiplied|averag|mean|area|divi|factor|scale|summed"], _POOLS),
    "pool-to-the-first": ([r"first|one (entry|position)|corner|not (all|every)|only"], _POOLS),
    "kernel-not-flipped": (say.FLIPPED, _CONV2),
    "channels-not-exchanged": ([*say.OTHER_ORDER, r"channel"], _CONV2),
    "softsign-left-out": (say.DERIVATIVE_LEFT_OUT, ["return x / (1 + np.abs(x))", "a1 = softsign(z1)"]),
    "softsign-not-squared": (
        [r"(derivative|slope)", *say.PATH_LEFT_OUT], ["return x / (1 + np.abs(x))", "a1 = softsign(z1)"]
    ),
    "bias-of-one-position": (say.FIRST_ONLY, ["z1 = conv(X"]),
})  # fmt: skip

NETWORKS = (TEXT_CONV, AVERAGE_POOLS)
