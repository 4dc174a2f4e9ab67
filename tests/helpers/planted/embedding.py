"""Word vectors: skip-gram with negative samples, CBOW, and a neural language model."""

from __future__ import annotations

import numpy as np

from planted import records as say
from planted.records import distinct, drawn, plant


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def skip_gram(rng, mistake=""):
    """Negative sampling, pair by pair; words are drawn with repetition, so rows are met several times."""
    V, D, K = distinct(rng, 3, 4, 9)
    pairs = rng.integers(0, V, size=(V + 4, 2))
    negatives = rng.integers(0, V, size=(len(pairs), K))
    params = drawn(rng, 2.0, center=(V, D), outside=(V, D))

    def loss(p):
        total = 0.0
        for (c, o), ks in zip(pairs, negatives, strict=True):
            v = p["center"][c]
            total -= np.log(sigmoid(p["outside"][o].dot(v)))
            total -= np.sum(np.log(sigmoid(-p["outside"][ks].dot(v))))
        return total / len(pairs)

    def gradient(p):
        dcenter, doutside = np.zeros_like(p["center"]), np.zeros_like(p["outside"])
        for (c, o), ks in zip(pairs, negatives, strict=True):
            v, u, us = p["center"][c], p["outside"][o], p["outside"][ks]
            positive, negative = sigmoid(u.dot(v)), sigmoid(us.dot(v))
            dpositive, dnegative = positive - 1, negative
            if mistake == "negatives-with-the-wrong-sign":
                dnegative = -negative
            if mistake == "negatives-as-positives":
                dnegative = negative - 1
            if mistake == "sigmoid-twice":
                dpositive = dpositive * positive * (1 - positive)
                dnegative = dnegative * negative * (1 - negative)
            if mistake == "negatives-forgotten":
                dnegative = np.zeros_like(negative)
            dv = dpositive * u
            if mistake != "negatives-forgotten-in-center":
                dv = dv + dnegative.dot(us)
            if mistake == "center-overwritten":
                dcenter[c] = dv
            else:
                dcenter[c] += dv
            doutside[o] += dpositive * v
            if mistake == "repeated-negatives-lost":
                doutside[ks] += np.outer(dnegative, v)
            elif mistake == "first-negative-only":
                doutside[ks[0]] += dnegative[0] * v
            else:
                np.add.at(doutside, ks, np.outer(dnegative, v))
        if mistake == "exchanged":
            dcenter, doutside = doutside, dcenter
        scale = 1 if mistake == "not-averaged" else len(pairs)
        return {"center": dcenter / scale, "outside": doutside / scale}

    return loss, gradient, params


_NEGATIVES = ["total -= np.sum(np.log(sigmoid(-"]
SKIP_GRAM = plant(skip_gram, {
    "negatives-with-the-wrong-sign": (say.WRONG_SIGN, _NEGATIVES),
    "negatives-as-positives": ([*say.WRONG_SIGN, *say.OTHER_DERIVATIVE, *say.OTHER_WEIGHTS, r"1 - "], _NEGATIVES),
    "sigmoid-twice": (say.LINK_TWICE, ["total -= np.log(sigmoid(", *_NEGATIVES, "return 1 / (1 + np.exp(-x))"]),
    "negatives-forgotten": (say.without("penalty", say.PATH_LEFT_OUT), _NEGATIVES),
    "negatives-forgotten-in-center": (say.without("penalty", say.PATH_LEFT_OUT), [*_NEGATIVES, 'v = p["center"][c]']),
    "center-overwritten": (say.REPEATED, ['v = p["center"][c]']),
    "repeated-negatives-lost": (say.REPEATED, _NEGATIVES),
    "first-negative-only": ([*say.FIRST_ONLY, *say.OVERWRITTEN, *say.PATH_LEFT_OUT], _NEGATIVES),
    "exchanged": (say.EXCHANGED, []),
    "not-averaged": ([*say.SUMMED, r"constant times"], []),
})  # fmt: skip


def cbow(rng, mistake=""):
    """The mean of the words around predicts the word in between, by a softmax over all words."""
    V, D, N = distinct(rng, 3, 4, 9)
    C = 4
    contexts, targets = rng.integers(0, V, size=(N, C)), rng.integers(0, V, N)
    params = drawn(rng, 2.0, W_in=(V, D), W_out=(D, V))

    def forward(p):
        h = 0
        for j in range(C):
            h = h + p["W_in"][contexts[:, j]]
        h = h / C
        scores = np.dot(h, p["W_out"])
        scores = scores - np.max(scores, axis=1).reshape(-1, 1)
        y = np.exp(scores)
        y = y / np.sum(y, axis=1).reshape(-1, 1)
        return h, y

    def loss(p):
        _, y = forward(p)
        return -np.sum(np.log(y[np.arange(N), targets] + 1e-7)) / N

    def gradient(p):
        h, y = forward(p)
        dy = np.zeros_like(y)
        right = y[np.arange(N), targets]
        dy[np.arange(N), targets] = -1 / (right if mistake == "epsilon-forgotten" else right + 1e-7) / N
        if mistake == "jacobian-left-out":
            dscores = dy
        elif mistake == "jacobian-diagonal-only":
            dscores = y * (1 - y) * dy
        else:
            dscores = y * (dy - np.sum(dy * y, axis=1, keepdims=True))
        dh = np.dot(dscores, p["W_out"].T)
        if mistake != "mean-forgotten":
            dh = dh / C
        dW_in = np.zeros_like(p["W_in"])
        for j in range(C):
            if mistake == "first-word-only" and j > 0:
                break
            if mistake == "repeated-words-overwritten":
                dW_in[contexts[:, j]] = dh
            elif mistake == "repeated-words-lost":
                dW_in[contexts[:, j]] += dh
            elif mistake == "last-word-wins":
                dW_in = np.zeros_like(dW_in)
                np.add.at(dW_in, contexts[:, j], dh)
            else:
                np.add.at(dW_in, contexts[:, j], dh)
        return {"W_in": dW_in, "W_out": np.dot(h.T, dscores)}

    return loss, gradient, params


_LOOKED_UP = ['h = h + p["W_in"][contexts']
_PROBABILITIES = ["y = np.exp(scores)", "y = y / np.sum(y"]
CBOW = plant(cbow, {
    "epsilon-forgotten": (say.EPSILON, ["return -np.sum(np.log(y[np.arange(N)"]),
    "jacobian-left-out": (say.JACOBIAN_LEFT_OUT, _PROBABILITIES),
    "jacobian-diagonal-only": (say.JACOBIAN_DIAGONAL, _PROBABILITIES),
    "mean-forgotten": ([*say.FACTOR_LEFT_OUT, *say.SUMMED], ["h = h / C", *_LOOKED_UP]),
    "first-word-only": ([*say.FIRST_ONLY, *say.OVERWRITTEN, *say.PATH_LEFT_OUT], _LOOKED_UP),
    "repeated-words-overwritten": (say.REPEATED, _LOOKED_UP),
    "repeated-words-lost": (say.REPEATED, _LOOKED_UP),
    "last-word-wins": (say.OVERWRITTEN, _LOOKED_UP),
})  # fmt: skip


def language_model(rng, mistake=""):
    """Three words before, side by side, through tanh and directly, to a softmax; parameters in a list."""
    V, D, H, N = distinct(rng, 4, 4, 9)
    C = 3
    before, word = rng.integers(0, V, size=(N, C)), rng.integers(0, V, N)
    E, W, b, U = (drawn(rng, 1.5, a=shape)["a"] for shape in ((V, D), (C * D, H), (H,), (H, V)))
    direct, c = drawn(rng, 1.5, a=(C * D, V))["a"], 0.3 * rng.normal(size=V)

    def forward(params):
        E, W, b, U, direct, c = params
        emb = E[before]
        x = emb.reshape(N, C * D)
        h = np.tanh(x @ W + b)
        logits = h @ U + x @ direct + c
        logsumexp = np.log(np.exp(logits).sum(axis=1))
        return x, h, logits, logsumexp

    def loss(params):
        _, _, logits, logsumexp = forward(params)
        return np.mean(logsumexp - logits[np.arange(N), word])

    def gradient(params):
        E, W, _, U, direct, _ = params
        x, h, logits, logsumexp = forward(params)
        d = np.exp(logits - logsumexp[:, None])
        if mistake != "target-forgotten":
            d[np.arange(N), word] -= 1
        d = d / N
        dU, ddirect, dc = h.T @ d, x.T @ d, d.sum(axis=0)
        dh = d @ U.T
        dz = dh if mistake == "tanh-left-out" else dh * (1 - h**2)
        dx = dz @ W.T
        if mistake == "through-tanh-forgotten":
            dx = d @ direct.T
        elif mistake != "direct-connection-forgotten":
            dx = dx + d @ direct.T
        demb = dx.reshape(N, C, D)
        if mistake == "words-in-another-order":
            demb = dx.reshape(C, N, D).transpose(1, 0, 2)
        dE = np.zeros_like(E)
        for i in range(N):
            for j in range(C):
                if mistake == "repeated-words-overwritten":
                    dE[before[i, j]] = demb[i, j]
                else:
                    dE[before[i, j]] += demb[i, j]
        db = dz.mean(axis=0) if mistake == "bias-averaged" else dz.sum(axis=0)
        return [dE, x.T @ dz, db, dU, ddirect, dc]

    return loss, gradient, [E, W, b, U, direct, c]


_LOGITS = ["logits = h @ U + x @ direct + c"]
LANGUAGE_MODEL = plant(language_model, {
    "target-forgotten": (say.PATH_LEFT_OUT, ["return np.mean(logsumexp - logits"]),
    "tanh-left-out": (say.DERIVATIVE_LEFT_OUT, ["h = np.tanh(x @ W + b)"]),
    "through-tanh-forgotten": (say.PATH_LEFT_OUT, ["h = np.tanh(x @ W + b)"]),
    "direct-connection-forgotten": (say.PATH_LEFT_OUT, _LOGITS),
    "words-in-another-order": (say.OTHER_ORDER, ["x = emb.reshape(N, C * D)"]),
    "repeated-words-overwritten": (say.REPEATED, ["emb = E[before]"]),
    "bias-averaged": (say.AVERAGED, ["h = np.tanh(x @ W + b)"]),
})  # fmt: skip

NETWORKS = (SKIP_GRAM, CBOW, LANGUAGE_MODEL)
