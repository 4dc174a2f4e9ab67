"""Recurrences of one state by hand: columns in dicts, buffers over time, and two directions."""

from __future__ import annotations

import numpy as np

from planted import records as say
from planted.records import distinct, drawn, plant


def char_rnn(rng, mistake=""):
    """A character model: columns, dicts by time, and a loop back in time."""
    V, H = distinct(rng, 2, 4, 8)
    T = int(rng.integers(5, 8))
    inputs, targets = rng.integers(0, V, T), rng.integers(0, V, T)
    hprev = rng.normal(size=(H, 1))
    params = drawn(rng, 1.2, Wxh=(H, V), Whh=(H, H), Why=(V, H), bh=(H, 1), by=(V, 1))

    def forward(p):
        xs, hs, ys, ps = {}, {}, {}, {}
        hs[-1] = np.copy(hprev)
        loss = 0
        for t in range(len(inputs)):
            xs[t] = np.zeros((V, 1))
            xs[t][inputs[t]] = 1
            hs[t] = np.tanh(np.dot(p["Wxh"], xs[t]) + np.dot(p["Whh"], hs[t - 1]) + p["bh"])
            ys[t] = np.dot(p["Why"], hs[t]) + p["by"]
            ps[t] = np.exp(ys[t]) / np.sum(np.exp(ys[t]))
            loss += -np.log(ps[t][targets[t], 0])
        return loss, xs, hs, ps

    def loss(p):
        return forward(p)[0]

    def backward(p):
        _, xs, hs, ps = forward(p)
        grads = {name: np.zeros_like(array) for name, array in p.items()}
        dhnext = np.zeros_like(hs[0])
        for t in reversed(range(len(inputs))):
            dy = np.copy(ps[t])
            dy[targets[t]] -= 1
            if mistake == "last-wins":
                grads["Why"] = np.dot(dy, hs[t].T)
            else:
                grads["Why"] += np.dot(dy, hs[t].T)
            grads["by"] += dy
            dh = np.dot(p["Why"].T, dy) + dhnext
            dhraw = dh if mistake == "derivative-left-out" else (1 - hs[t] * hs[t]) * dh
            if mistake == "derivative-of-sigmoid":
                dhraw = hs[t] * (1 - hs[t]) * dh
            if mistake != "bias-forgotten":
                grads["bh"] += dhraw
            grads["Wxh"] += np.dot(dhraw, xs[t].T)
            grads["Whh"] += np.dot(dhraw, hs[t if mistake == "state-of-the-same-time" else t - 1].T)
            if mistake == "not-transposed":
                dhnext = np.dot(p["Whh"], dhraw)
            elif mistake == "derivative-left-out-to-the-past":
                dhnext = np.dot(p["Whh"].T, dh)
            elif mistake != "state-not-carried-back":
                dhnext = np.dot(p["Whh"].T, dhraw)
        return grads

    def truncated(p):
        _, xs, hs, ps = forward(p)
        grads = {name: np.zeros_like(array) for name, array in p.items()}
        for t in reversed(range(len(inputs))):
            dy = np.copy(ps[t])
            dy[targets[t]] -= 1
            grads["Why"] += np.dot(dy, hs[t].T)
            grads["by"] += dy
            delta = np.dot(p["Why"].T, dy) * (1 - hs[t] ** 2)
            for step in range(t, max(-1, t - 3), -1):
                grads["bh"] += delta
                grads["Wxh"] += np.dot(delta, xs[step].T)
                grads["Whh"] += np.dot(delta, hs[step - 1].T)
                delta = np.dot(p["Whh"].T, delta) * (1 - hs[step - 1] ** 2)
        return grads

    sizes = np.sort(np.abs(np.concatenate([array.ravel() for array in backward(params).values()])))
    bound = round(float(sizes[-6:-4].mean()), 2)  # several entries are beyond

    def gradient(p):
        if mistake == "truncated":
            return truncated(p)
        grads = backward(p)
        if mistake == "clipped":
            for name in grads:
                np.clip(grads[name], -bound, bound, out=grads[name])
        return grads

    return loss, gradient, params


_STATE = ["hs[t] = np.tanh("]
CHAR_RNN = plant(char_rnn, {
    "last-wins": ([*say.OVERWRITTEN, r"(last|first|only).*time"], ['ys[t] = np.dot(p["Why"]']),
    "derivative-left-out": (say.DERIVATIVE_LEFT_OUT, _STATE),
    "derivative-of-sigmoid": ([r"sigmoid", r"a ?\*? ?\(1 - a\)"], _STATE),
    "bias-forgotten": (say.FORGOTTEN, []),
    "state-of-the-same-time": (say.BUILT_WITH, _STATE),
    "not-transposed": (say.NOT_TRANSPOSED, _STATE),
    "derivative-left-out-to-the-past": (say.DERIVATIVE_LEFT_OUT, _STATE),
    "state-not-carried-back": (say.STATE_NOT_CARRIED, _STATE),
    "truncated": ([r"truncat", r"steps"], _STATE),
    "clipped": (say.CLIPPED, []),
})  # fmt: skip


def rnn_buffers(rng, mistake=""):
    """States of a batch in one buffer, positions flattened for the output layer, an initial state that is learned."""
    N, T, D, H, K = distinct(rng, 5, 3, 8)
    X, Y = rng.normal(size=(N, T, D)), rng.normal(size=(N * T, K))
    params = drawn(rng, 1.2, W_xh=(D, H), W_hh=(H, H), b_h=(H,), W_hy=(H, K), b_y=(K,), h0=(H,))

    def forward(p):
        h = np.zeros((N, T + 1, H))
        h[:, 0] = p["h0"]
        for t in range(T):
            h[:, t + 1] = np.tanh(X[:, t] @ p["W_xh"] + h[:, t] @ p["W_hh"] + p["b_h"])
        flat = h[:, 1:].reshape(N * T, H)
        return h, flat, flat @ p["W_hy"] + p["b_y"]

    def loss(p):
        _, _, out = forward(p)
        return np.sum((out - Y) ** 2) / (N * T)

    def gradient(p):
        h, flat, out = forward(p)
        dout = 2 * (out - Y) / (N * T)
        g = {name: np.zeros_like(array) for name, array in p.items()}
        g["W_hy"] = flat.T @ dout
        if mistake == "output-from-the-state-before":
            g["W_hy"] = h[:, :-1].reshape(N * T, H).T @ dout
        g["b_y"] = dout.sum(axis=0)
        dflat = dout @ p["W_hy"].T
        if mistake == "flattened-in-another-order":
            dstates = dflat.reshape(T, N, H).transpose(1, 0, 2)
        else:
            dstates = dflat.reshape(N, T, H)
        dh_next = np.zeros((N, H))
        for t in reversed(range(T)):
            dh = dstates[:, t] + dh_next
            if mistake == "own-cost-not-added" and t < T - 1:
                dh = dh_next
            if mistake == "next-state-not-added":
                dh = dstates[:, t]
            dz = dh * (1 - h[:, t + 1] ** 2)
            if mistake == "derivative-of-the-state-before":
                dz = dh * (1 - h[:, t] ** 2)
            g["W_xh"] += X[:, t].T @ dz
            g["W_hh"] += h[:, t].T @ dz
            if mistake == "bias-last-wins":
                g["b_h"] = dz.sum(axis=0)
            else:
                g["b_h"] += dz.sum(axis=0)
            dh_next = dz @ (p["W_hh"] if mistake == "not-transposed" else p["W_hh"].T)
        g["h0"] = dh_next[0] if mistake == "initial-state-of-the-first-sample" else dh_next.sum(axis=0)
        return g

    return loss, gradient, params


_STATES = ["h[:, t + 1] = np.tanh("]
RNN_BUFFERS = plant(rnn_buffers, {
    "output-from-the-state-before": (say.BUILT_WITH, ["return h, flat, flat @", "flat = h[:, 1:]"]),
    "flattened-in-another-order": (say.OTHER_ORDER, ["flat = h[:, 1:].reshape"]),
    "own-cost-not-added": (
        [*say.PATH_LEFT_OUT, r"only.*last"], ["flat = h[:, 1:]", "return h, flat, flat @", *_STATES]
    ),
    "next-state-not-added": (say.STATE_NOT_CARRIED, _STATES),
    "derivative-of-the-state-before": (
        [r"(derivative|slope).*(before|previous|another|other|t ?- ?1|h\[)", *say.OTHER_DERIVATIVE], _STATES
    ),
    "bias-last-wins": ([*say.OVERWRITTEN, r"(last|first|only).*time"], _STATES),
    "not-transposed": (say.NOT_TRANSPOSED, _STATES),
    "initial-state-of-the-first-sample": (say.FIRST_ONLY, ['h[:, 0] = p["h0"]', *_STATES]),
})  # fmt: skip


def bidirectional(rng, mistake=""):
    """Two recurrences, one from the end to the beginning, side by side, in lists; one sample, logistic outputs."""
    T, D, H = distinct(rng, 3, 4, 8)
    xs, ys = rng.normal(size=(T, D)), rng.permutation(np.arange(T) % 2).astype(float)
    params = drawn(rng, 1.2, Wf=(D, H), Uf=(H, H), Wb=(D, H), Ub=(H, H), V=(2 * H,))

    def run(W, U, inputs):
        h = np.zeros(H)
        states = []
        for x in inputs:
            h = np.tanh(x.dot(W) + h.dot(U))
            states.append(h)
        return states

    def forward(p):
        ahead = run(p["Wf"], p["Uf"], xs)
        behind = run(p["Wb"], p["Ub"], xs[::-1])[::-1]
        both = np.array([np.concatenate([a, b]) for a, b in zip(ahead, behind, strict=True)])
        return ahead, behind, both, 1 / (1 + np.exp(-both.dot(p["V"])))

    def loss(p):
        q = forward(p)[-1]
        return -np.mean(ys * np.log(q) + (1 - ys) * np.log(1 - q))

    def run_back(W, U, inputs, states, deltas):
        dW, dU, dh = np.zeros_like(W), np.zeros_like(U), np.zeros(H)
        for t in range(len(states) - 1, -1, -1):
            dz = (deltas[t] + dh) * (1 - states[t] ** 2)
            dW += np.outer(inputs[t], dz)
            if t > 0:
                dU += np.outer(states[t - 1], dz)
            dh = U.dot(dz) if mistake != "not-transposed" else U.T.dot(dz)
        return dW, dU

    def gradient(p):
        ahead, behind, both, q = forward(p)
        dscores = (q - ys) / T
        dboth = np.outer(dscores, p["V"])
        da, db = dboth[:, :H], dboth[:, H:]
        if mistake == "halves-exchanged":
            da, db = db, da
        dWf, dUf = run_back(p["Wf"], p["Uf"], xs, ahead, da)
        if mistake == "not-reversed":
            dWb, dUb = run_back(p["Wb"], p["Ub"], xs[::-1], behind[::-1], db)
        else:
            dWb, dUb = run_back(p["Wb"], p["Ub"], xs[::-1], behind[::-1], db[::-1])
        if mistake == "second-direction-forgotten":
            dWb, dUb = np.zeros_like(dWb), np.zeros_like(dUb)
        if mistake == "directions-exchanged":
            dWf, dWb, dUf, dUb = dWb, dWf, dUb, dUf
        return {"Wf": dWf, "Uf": dUf, "Wb": dWb, "Ub": dUb, "V": both.T.dot(dscores)}

    return loss, gradient, params


BIDIRECTIONAL = plant(bidirectional, {
    "not-transposed": (say.NOT_TRANSPOSED, ["h = np.tanh(x.dot(W)", "ahead = run(", "behind = run("]),
    "halves-exchanged": ([*say.EXCHANGED, r"halves|parts|wrong (part|place|slice)|order"], ["both = np.array("]),
    "not-reversed": (say.FLIPPED, ["behind = run("]),
    "second-direction-forgotten": ([*say.FORGOTTEN, *say.PATH_LEFT_OUT], []),
    "directions-exchanged": (say.EXCHANGED, []),
})  # fmt: skip

NETWORKS = (CHAR_RNN, RNN_BUFFERS, BIDIRECTIONAL)
