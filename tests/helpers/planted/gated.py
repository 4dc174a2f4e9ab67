"""GRU and LSTM by hand."""

from __future__ import annotations

import numpy as np

from planted import records as say
from planted.records import distinct, drawn, plant


def sigmoid(x):
    return 1.0 / (1.0 + np.exp(-x))


class GRU:
    """A GRU for one sequence at a time; its states fill buffers."""

    def __init__(self, params, mistake):
        self.set(params)
        self.mistake = mistake

    def set(self, params):
        for name, array in params.items():
            setattr(self, name, array)

    def predict(self, x):
        T, H = len(x), len(self.bz)
        self.h, self.z, self.r, self.c = np.zeros((T + 1, H)), np.zeros((T, H)), np.zeros((T, H)), np.zeros((T, H))
        for t in range(T):
            h = self.h[t]
            self.z[t] = sigmoid(np.dot(self.Wz, x[t]) + np.dot(self.Uz, h) + self.bz)
            self.r[t] = sigmoid(np.dot(self.Wr, x[t]) + np.dot(self.Ur, h) + self.br)
            self.c[t] = np.tanh(np.dot(self.Wc, x[t]) + np.dot(self.Uc, self.r[t] * h) + self.bc)
            self.h[t + 1] = self.z[t] * h + (1 - self.z[t]) * self.c[t]
        return self.h[1:].dot(self.v)

    def backward(self, x, dout):
        g = {name: np.zeros_like(getattr(self, name)) for name in self.names}
        g["v"] = self.h[1:].T.dot(dout)
        dh = np.zeros_like(self.bz)
        for t in reversed(range(len(x))):
            h, z, r, c = self.h[t], self.z[t], self.r[t], self.c[t]
            dh = dh + dout[t] * self.v
            dz, dc = dh * (h - c), dh * (1 - z)
            dprev = dh * z
            if self.mistake == "shares-exchanged":
                dc, dprev = dh * z, dh * (1 - z)
            if self.mistake == "direct-path-forgotten":
                dprev = np.zeros_like(dprev)
            if self.mistake == "candidate-not-subtracted":
                dz = dh * h
            da = dc * (1 if self.mistake == "candidate-derivative-left-out" else 1 - c**2)
            drh = np.dot(self.Uc.T, da)
            dr = drh * h
            dprev = dprev + (drh if self.mistake == "reset-factor-forgotten" else drh * r)
            db = dz * z * (1 - z)
            de = dr * (1 - r**2 if self.mistake == "reset-derivative-of-tanh" else r * (1 - r))
            if self.mistake != "gates-not-carried-back":
                dprev = dprev + np.dot(self.Uz.T, db) + np.dot(self.Ur.T, de)
            for gate, delta, state in (("z", db, h), ("r", de, h), ("c", da, r * h)):
                if gate == "c" and self.mistake == "candidate-without-reset":
                    state = h
                g["W" + gate] += np.outer(delta, x[t])
                g["U" + gate] += np.outer(delta, state)
                g["b" + gate] += delta
            dh = np.zeros_like(dprev) if self.mistake == "state-not-carried-back" else dprev
        if self.mistake == "gates-exchanged":
            for letter in "WUb":
                g[letter + "z"], g[letter + "r"] = g[letter + "r"], g[letter + "z"]
        return g

    @property
    def names(self):
        return [letter + gate for gate in "zrc" for letter in "WUb"] + ["v"]


def gru(rng, mistake=""):
    """A class that keeps its weights and states in attributes; squared errors at every time of a few sequences."""
    D, H = distinct(rng, 2, 3, 7)
    sequences = [(rng.normal(size=(T, D)), rng.normal(size=T)) for T in rng.integers(3, 7, size=3)]
    shapes = {}
    for gate in "zrc":
        shapes |= {"W" + gate: (H, D), "U" + gate: (H, H), "b" + gate: (H,)}
    params = drawn(rng, 1.5, **shapes, v=(H,))
    model = GRU(params, mistake)

    def loss(p):
        model.set(p)
        return sum(np.mean((model.predict(x) - y) ** 2) for x, y in sequences)

    def gradient(p):
        model.set(p)
        total = {name: np.zeros_like(array) for name, array in p.items()}
        for x, y in sequences:
            dout = 2 * (model.predict(x) - y) / len(y)
            for name, array in model.backward(x, dout).items():
                if mistake == "last-sequence-only":
                    total[name] = array
                else:
                    total[name] += array
        return total

    return loss, gradient, params


_MIXED = ["self.h[t + 1] = self.z[t] * h"]
_CANDIDATE = ["self.c[t] = np.tanh("]
GRU_NETWORK = plant(gru, {
    "shares-exchanged": ([r"exchang", r"swapped", r"1 - "], _MIXED),
    "direct-path-forgotten": (say.PATH_LEFT_OUT, _MIXED),
    "candidate-not-subtracted": (say.PATH_LEFT_OUT, _MIXED),
    "candidate-derivative-left-out": (say.DERIVATIVE_LEFT_OUT, _CANDIDATE),
    "reset-factor-forgotten": (say.FACTOR_LEFT_OUT, _CANDIDATE),
    "reset-derivative-of-tanh": (
        [r"tanh", r"1 - a(²|\*\*2|\^2)"], ["self.r[t] = sigmoid(", "return 1.0 / (1.0 + np.exp"]
    ),
    "gates-not-carried-back": (say.PATH_LEFT_OUT, ["self.z[t] = sigmoid(", "self.r[t] = sigmoid("]),
    "candidate-without-reset": ([*say.BUILT_WITH, *say.FACTOR_LEFT_OUT], _CANDIDATE),
    "state-not-carried-back": (say.STATE_NOT_CARRIED, [*_MIXED, "h = self.h[t]"]),
    "gates-exchanged": (say.EXCHANGED, []),
    "last-sequence-only": ([*say.OVERWRITTEN, *say.SAMPLE_FORGOTTEN, *say.PATH_LEFT_OUT], []),
})  # fmt: skip


def lstm(rng, mistake=""):
    """Columns are samples, the four gates stand in one matrix, and caches are lists of tuples."""
    D, H, N, K = distinct(rng, 4, 3, 8)
    T = int(rng.integers(3, 6))
    xs, targets = rng.normal(size=(T, D, N)), rng.integers(0, K, size=(T, N))
    params = drawn(rng, 1.5, W=(4 * H, D + H), b=(4 * H, 1), Wy=(K, H), by=(K, 1))

    def step_forward(p, x, h_prev, c_prev):
        hx = np.vstack((h_prev, x))
        gates = p["W"] @ hx + p["b"]
        i = sigmoid(gates[:H])
        f = sigmoid(gates[H : 2 * H])
        o = sigmoid(gates[2 * H : 3 * H])
        g = np.tanh(gates[3 * H :])
        c = f * c_prev + i * g
        tc = np.tanh(c)
        h = o * tc
        return h, c, (hx, i, f, o, g, c_prev, c, tc)

    def forward(p):
        h, c, cost = np.zeros((H, N)), np.zeros((H, N)), 0.0
        caches = []
        for t in range(T):
            h, c, cache = step_forward(p, xs[t], h, c)
            y = p["Wy"] @ h + p["by"]
            prob = np.exp(y) / np.exp(y).sum(axis=0)
            cost = cost - np.log(prob[targets[t], np.arange(N)]).sum() / N
            caches.append((cache, h, prob))
        return cost, caches

    def loss(p):
        return forward(p)[0]

    def gradient(p):
        _, caches = forward(p)
        dW, db, dWy, dby = (np.zeros_like(p[name]) for name in ("W", "b", "Wy", "by"))
        dh_next, dc_next = np.zeros((H, N)), np.zeros((H, N))
        for t in range(T - 1, -1, -1):
            (hx, i, f, o, g, c_prev, c, tc), h, prob = caches[t]
            dy = prob.copy()
            dy[targets[t], np.arange(N)] -= 1
            dy /= N
            dWy += dy @ h.T
            dby += dy.sum(axis=1, keepdims=True)
            dh = p["Wy"].T @ dy + dh_next
            if mistake == "state-not-added":
                dh = p["Wy"].T @ dy
            do = dh * tc
            through_tanh = dh * o * (1 if mistake == "cell-tanh-left-out" else 1 - tc**2)
            if mistake == "cell-tanh-at-cell":
                through_tanh = dh * o * (1 - c**2)
            dc = through_tanh if mistake == "cell-not-carried-back" else dc_next + through_tanh
            di, df, dg = dc * g, dc * c_prev, dc * i
            if mistake == "forget-gate-with-own-cell":
                df = dc * c
            dc_next = dc * (i if mistake == "forget-factor-of-input-gate" else f)
            if mistake == "forget-factor-forgotten":
                dc_next = dc
            di, df, do = di * i * (1 - i), df * f * (1 - f), do * o * (1 - o)
            if mistake == "output-gate-derivative-left-out":
                do = dh * tc
            dg = dg * (g * (1 - g) if mistake == "candidate-derivative-of-sigmoid" else 1 - g**2)
            if mistake == "gates-exchanged":
                di, df = df, di
            dgates = np.vstack((di, df, do, dg))
            dW += dgates @ hx.T
            db += dgates.sum(axis=1, keepdims=True)
            dhx = p["W"].T @ dgates
            dh_next = dhx[:H]
        return {"W": dW, "b": db, "Wy": dWy, "by": dby}

    return loss, gradient, params


_CELL = ["c = f * c_prev + i * g"]
LSTM = plant(lstm, {
    "state-not-added": (say.STATE_NOT_CARRIED, ["hx = np.vstack(", "h, c, cache = step_forward", "gates = p["]),
    "cell-tanh-left-out": (say.DERIVATIVE_LEFT_OUT, ["tc = np.tanh(c)"]),
    "cell-tanh-at-cell": (say.DERIVATIVE_AT_Z, ["tc = np.tanh(c)"]),
    "cell-not-carried-back": (say.STATE_NOT_CARRIED, _CELL),
    "forget-gate-with-own-cell": (say.BUILT_WITH, _CELL),
    "forget-factor-of-input-gate": ([r"multiplied (with|by)", *say.OTHER_WEIGHTS], _CELL),
    "forget-factor-forgotten": (say.FACTOR_LEFT_OUT, _CELL),
    "output-gate-derivative-left-out": (say.DERIVATIVE_LEFT_OUT, ["o = sigmoid(", "return 1.0 / (1.0 + np.exp"]),
    "candidate-derivative-of-sigmoid": ([r"sigmoid", r"a ?\*? ?\(1 - a\)"], ["g = np.tanh("]),
    "gates-exchanged": ([*say.EXCHANGED, r"order"], ["i = sigmoid(", "f = sigmoid(", *_CELL]),
})  # fmt: skip

NETWORKS = (GRU_NETWORK, LSTM)
