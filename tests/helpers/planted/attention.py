"""Attention by hand, alone and in a block of a transformer."""

from __future__ import annotations

import numpy as np

from planted import records as say
from planted.records import distinct, drawn, plant


def softmax(x):
    e = np.exp(x - np.max(x, axis=-1, keepdims=True))
    return e / np.sum(e, axis=-1, keepdims=True)


def self_attention(rng, mistake=""):
    """One head with a causal mask; squared errors. A batch of sequences."""
    N, T, D, dk, dv = distinct(rng, 5, 2, 7)
    T = max(T, 3)
    if mistake == "queries-for-keys":
        dk = D
    X, Y = rng.normal(size=(N, T, D)), rng.normal(size=(N, T, D))
    params = drawn(rng, 1.5, Wq=(D, dk), Wk=(D, dk), Wv=(D, dv), Wo=(dv, D))
    causal = np.triu(np.ones((T, T), dtype=bool), k=1)

    def forward(p):
        Q = X @ p["Wq"]
        K = X @ p["Wk"]
        V = X @ p["Wv"]
        S = Q @ K.transpose(0, 2, 1)
        S = S / np.sqrt(dk)
        S = np.where(causal, -1e9, S)
        A = softmax(S)
        O = A @ V
        return Q, K, V, A, O, O @ p["Wo"]

    def loss(p):
        return 0.5 * np.sum((forward(p)[-1] - Y) ** 2) / N

    def gradient(p):
        Q, K, V, A, O, out = forward(p)
        dout = (out - Y) / N
        if mistake == "mask-forgotten":
            A = softmax(Q @ K.transpose(0, 2, 1) / np.sqrt(dk))
        dWo = np.einsum("ntv,ntd->vd", O, dout)
        dO = dout @ p["Wo"].T
        dA = dO @ V.transpose(0, 2, 1)
        dV = (A if mistake == "weights-not-transposed" else A.transpose(0, 2, 1)) @ dO
        if mistake == "softmax-left-out":
            dS = np.where(causal, 0, dA)
        elif mistake == "softmax-left-out-and-the-mask":
            dS = dA
        elif mistake == "softmax-diagonal-only":
            dS = dA * A * (1 - A)
        elif mistake == "softmax-over-the-wrong-axis":
            dS = A * (dA - np.sum(dA * A, axis=1, keepdims=True))
        else:
            dS = A * (dA - np.sum(dA * A, axis=-1, keepdims=True))
        if mistake != "scale-forgotten":
            dS = dS / np.sqrt(dk)
        if mistake == "scale-without-root":
            dS = dS / np.sqrt(dk)
        dQ = dS @ (Q if mistake == "queries-for-keys" else K)
        dK = (dS if mistake == "scores-not-transposed" else dS.transpose(0, 2, 1)) @ Q
        if mistake == "keys-constant":
            dK = np.zeros_like(K)
        g = {"Wq": np.tensordot(X, dQ, axes=([0, 1], [0, 1])), "Wk": np.tensordot(X, dK, axes=([0, 1], [0, 1])),
             "Wv": np.tensordot(X, dV, axes=([0, 1], [0, 1])), "Wo": dWo}  # fmt: skip
        if mistake == "queries-and-keys-exchanged":
            g["Wq"], g["Wk"] = g["Wk"], g["Wq"]
        if mistake == "first-sequence-only":
            g["Wq"] = X[0].T @ dQ[0]
        return g

    return loss, gradient, params


_SCORES = ["S = Q @ K.transpose"]
_SOFTMAX = ["A = softmax(S)", "e = np.exp(x - np.max", "return e / np.sum(e"]
SELF_ATTENTION = plant(self_attention, {
    "mask-forgotten": ([r"mask"], ["S = np.where(causal", *_SOFTMAX]),
    "weights-not-transposed": (say.NOT_TRANSPOSED, ["O = A @ V"]),
    "softmax-left-out": (say.JACOBIAN_LEFT_OUT, _SOFTMAX),
    "softmax-left-out-and-the-mask": (say.JACOBIAN_LEFT_OUT, _SOFTMAX),
    "softmax-diagonal-only": (say.JACOBIAN_DIAGONAL, _SOFTMAX),
    "softmax-over-the-wrong-axis": (say.JACOBIAN_AXIS, _SOFTMAX),
    "scale-forgotten": (say.FACTOR_LEFT_OUT, ["S = S / np.sqrt(dk)"]),
    "scale-without-root": ([r"twice|squared|again|once more|two times"], ["S = S / np.sqrt(dk)"]),
    "queries-for-keys": (say.OTHER_WEIGHTS, _SCORES),
    "scores-not-transposed": (say.NOT_TRANSPOSED, _SCORES),
    "keys-constant": ([*say.FORGOTTEN, *say.PATH_LEFT_OUT], []),
    "queries-and-keys-exchanged": (say.EXCHANGED, []),
    "first-sequence-only": ([*say.SAMPLE_FORGOTTEN, *say.FIRST_ONLY, *say.OVERWRITTEN], ['Q = X @ p["Wq"]']),
})  # fmt: skip


class Block:
    """A block of a transformer before which each part is normalised; it keeps what the way back needs."""

    def __init__(self, heads, mistake):
        self.heads, self.mistake = heads, mistake

    def split(self, x):
        n, t, d = x.shape
        return x.reshape(n, t, self.heads, d // self.heads).transpose(0, 2, 1, 3)

    def merge(self, x):
        n, h, t, size = x.shape
        return x.transpose(0, 2, 1, 3).reshape(n, t, h * size)

    def norm(self, x, g):
        centred = x - x.mean(axis=-1, keepdims=True)
        scale = 1 / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-5)
        return centred * scale * g, (centred * scale, scale, g)

    def norm_back(self, dout, cache):
        xhat, scale, g = cache
        dg = np.sum(dout * xhat, axis=(0, 1))
        d = dout * g
        variance = xhat * (d * xhat).mean(axis=-1, keepdims=True)
        if self.mistake == "variance-path-forgotten":
            variance = 0
        return scale * (d - d.mean(axis=-1, keepdims=True) - variance), dg

    def forward(self, x, p):
        self.p, self.x = p, x
        self.n1, self.cache1 = self.norm(x, p["g1"])
        self.q, self.k, self.v = (self.split(self.n1 @ p[name]) for name in ("Wq", "Wk", "Wv"))
        scores = self.q @ self.k.transpose(0, 1, 3, 2) * self.q.shape[-1] ** -0.5
        self.a = softmax(scores)
        self.mixed = self.merge(self.a @ self.v)
        self.y = x + self.mixed @ p["Wo"]
        self.n2, self.cache2 = self.norm(self.y, p["g2"])
        self.z = self.n2 @ p["W1"] + p["b1"]
        self.u = np.maximum(self.z, 0) ** 2
        return self.y + self.u @ p["W2"] + p["b2"]

    def backward(self, dout):
        p, m, g = self.p, self.mistake, {}
        g["W2"] = np.einsum("ntf,ntd->fd", self.u, dout)
        g["b2"] = dout.sum(axis=1)[0] if m == "bias-of-the-first-sequence" else dout.sum(axis=(0, 1))
        du = dout @ p["W2"].T
        dz = du * (np.maximum(self.z, 0) if m == "square-without-its-2" else 2 * np.maximum(self.z, 0))
        if m == "relu-of-the-square-only":
            dz = du * (self.z > 0)
        g["W1"], g["b1"] = np.einsum("ntd,ntf->df", self.n2, dz), dz.sum(axis=(0, 1))
        dn2, g["g2"] = self.norm_back(dz @ p["W1"].T, self.cache2)
        dy = dn2 if m == "second-residual-forgotten" else dout + dn2
        g["Wo"] = np.einsum("nte,ntd->ed", self.mixed, dy)
        dmixed = dy @ p["Wo"].T
        if m == "heads-not-moved-back":
            n, h, t, size = self.q.shape
            dmixed = dmixed.reshape(n, h, t, size)
        else:
            dmixed = self.split(dmixed)
        da = dmixed @ self.v.transpose(0, 1, 3, 2)
        dv = self.a.transpose(0, 1, 3, 2) @ dmixed
        ds = self.a * (da - (da * self.a).sum(axis=-1, keepdims=True))
        ds = ds * (1 if m == "scale-forgotten" else self.q.shape[-1] ** -0.5)
        dq, dk = ds @ self.k, ds.transpose(0, 1, 3, 2) @ self.q
        if m == "queries-and-keys-exchanged":
            dq, dk = dk, dq
        dn1 = 0
        for name, d in (("Wq", dq), ("Wk", dk), ("Wv", dv)):
            d = self.merge(d)
            g[name] = np.einsum("ntd,nte->de", self.n1, d)
            if not (m == "values-not-carried-back" and name == "Wv"):
                dn1 = dn1 + d @ p[name].T
        dx, g["g1"] = self.norm_back(dn1, self.cache1)
        return (dx if m == "first-residual-forgotten" else dx + dy), g


def transformer_block(rng, mistake=""):
    """Embedded tokens with positions, one block with two heads, and a softmax layer on every position."""
    V, T, N, F = distinct(rng, 4, 3, 8)
    D = 4
    tokens, targets = rng.integers(0, V, size=(N, T)), rng.integers(0, V, size=(N, T))
    names = dict.fromkeys(("Wq", "Wk", "Wv", "Wo"), (D, D))
    params = drawn(rng, 1.5, E=(V, D), P=(T, D), **names, W1=(D, F), b1=(F,), W2=(F, D), b2=(D,), Wout=(D, V))
    params |= {"g1": rng.uniform(0.5, 1.5, D), "g2": rng.uniform(0.5, 1.5, D)}
    block = Block(2, mistake)

    def forward(p):
        x = p["E"][tokens] + p["P"]
        y = block.forward(x, p)
        return y, softmax(y @ p["Wout"])

    def loss(p):
        _, probs = forward(p)
        return -np.mean(np.log(probs[np.arange(N)[:, None], np.arange(T), targets]))

    def gradient(p):
        y, probs = forward(p)
        dlogits = probs.copy()
        dlogits[np.arange(N)[:, None], np.arange(T), targets] -= 1
        dlogits /= N if mistake == "averaged-over-sequences-only" else N * T
        dx, g = block.backward(dlogits @ p["Wout"].T)
        g["Wout"] = np.einsum("ntd,ntv->dv", y, dlogits)
        g["E"] = np.zeros_like(p["E"])
        if mistake == "repeated-tokens-lost":
            g["E"][tokens] += dx
        else:
            np.add.at(g["E"], tokens, dx)
        g["P"] = dx[0] if mistake == "positions-of-the-first-sequence" else dx.sum(axis=0)
        return {name: g[name] for name in p}

    return loss, gradient, params


_ATTEND = ["scores = self.q @ self.k", "y = block.forward("]
TRANSFORMER_BLOCK = plant(transformer_block, {
    "variance-path-forgotten": (
        say.PATH_LEFT_OUT, ["scale = 1 / np.sqrt(", "return centred * scale * g", "self.n1, self.cache1 =", "self.n2, "]
    ),
    "bias-of-the-first-sequence": (
        [*say.FIRST_ONLY, *say.SAMPLE_FORGOTTEN], ['return self.y + self.u @ p["W2"]', "y = block.forward("]
    ),
    "square-without-its-2": ([r"halved|half|\b2\b|factor|power|square"], ["self.u = np.maximum(self.z, 0) ** 2"]),
    "relu-of-the-square-only": (
        [*say.DERIVATIVE_LEFT_OUT, r"(square|power|\*\* ?2).*(left out|missing)"],
        ["self.u = np.maximum(self.z, 0) ** 2"],
    ),
    "second-residual-forgotten": (say.PATH_LEFT_OUT, ['return self.y + self.u @ p["W2"]', "y = block.forward("]),
    "heads-not-moved-back": (say.OTHER_ORDER, ["self.mixed = self.merge(", "return x.transpose(0, 2, 1, 3).reshape"]),
    "scale-forgotten": (say.FACTOR_LEFT_OUT, _ATTEND),
    "queries-and-keys-exchanged": ([*say.EXCHANGED, *say.OTHER_WEIGHTS], _ATTEND),
    "values-not-carried-back": (
        say.PATH_LEFT_OUT, ["self.q, self.k, self.v = (", "self.mixed = self.merge(", "y = block.forward("]
    ),
    "first-residual-forgotten": (say.PATH_LEFT_OUT, ["self.y = x + self.mixed", "y = block.forward("]),
    "averaged-over-sequences-only": ([*say.SUMMED, r"constant times"], []),
    "repeated-tokens-lost": (say.REPEATED, ['x = p["E"][tokens] + p["P"]']),
    "positions-of-the-first-sequence": (say.FIRST_ONLY, ['x = p["E"][tokens] + p["P"]']),
})  # fmt: skip

NETWORKS = (SELF_ATTENTION, TRANSFORMER_BLOCK)
