"""Hand-written back-propagation through time with mistakes planted in it, and what should be said of each.

Written out in NumPy, with formulas for the derivatives: nothing here comes from what diagnoses.
"""

from __future__ import annotations

import numpy as np
from mistakes import Planted
from networks import sigmoid

import gradcheck_fast as gf

K = 2


def squared(outputs, y):
    """The slope of the mean squared error."""
    return 2 * (outputs - y) / y.size


def draw(rng, kind, layers, sequences):
    """Recurrent layers under a linear one, with small numbers of everything."""
    N, T, D, H = int(rng.integers(3, 6)), int(rng.integers(5, 7)), int(rng.integers(2, 4)), int(rng.integers(3, 5))
    cells = [kind(D if k == 0 else H, H, return_sequences=sequences or k < layers - 1) for k in range(layers)]
    net = gf.Network([*cells, gf.Dense(H, K)], cost=gf.SquaredError())
    params = {name: rng.normal(0, 0.7, shape) for name, shape in net.shapes.items()}
    X, y = rng.normal(size=(N, T, D)), rng.normal(size=(N, T, K) if sequences else (N, K))
    return net, params, X, y


# ---- simple recurrent layers, one over the other


def rnn_backprop(params, X, y, layers, sequences, mistake="", k=0):
    """Layers of tanh cells; `k` is a number that some mistakes need."""
    N, T, _ = X.shape
    xs, hs = [], []
    signal = X
    for layer in range(1, layers + 1):
        Wx, Wh, b = (params[f"{name}{layer}"] for name in ("Wx", "Wh", "b"))
        h = np.zeros((N, T + 1, Wh.shape[0]))  # h[:, 0] is the state before the first time
        for t in range(T):
            h[:, t + 1] = np.tanh(signal[:, t] @ Wx + h[:, t] @ Wh + b)
        xs.append(signal)
        hs.append(h)
        signal = h[:, 1:]
    W, c = params[f"W{layers + 1}"], params[f"b{layers + 1}"]
    gradient = {name: np.zeros_like(array) for name, array in params.items()}
    d_outputs = squared((signal if sequences else signal[:, -1]) @ W + c, y)
    if sequences:
        if mistake == "cost-of-last-time-left-out":
            d_outputs[:, -1] = 0
        if mistake == "cost-of-last-time-alone":
            d_outputs[:, :-1] = 0
        gradient[f"W{layers + 1}"] = np.einsum("nth,ntk->hk", signal, d_outputs)
        gradient[f"b{layers + 1}"] = d_outputs.sum(axis=(0, 1))
        d_signal = d_outputs @ W.T
    else:
        gradient[f"W{layers + 1}"], gradient[f"b{layers + 1}"] = signal[:, -1].T @ d_outputs, d_outputs.sum(axis=0)
        d_signal = np.zeros_like(signal)
        d_signal[:, -1] = d_outputs @ W.T
    if mistake == "truncated":  # every time's cost goes back k times, through all layers
        for t in range(T):
            alone = np.zeros_like(d_signal)
            alone[:, t] = d_signal[:, t]
            rnn_layers(params, gradient, xs, hs, alone, range(t, max(t - k, -1), -1), "", 0)
    else:
        rnn_layers(params, gradient, xs, hs, d_signal, range(T - 1, -1, -1), mistake, k)
    return gradient


def rnn_layers(params, gradient, xs, hs, d_signal, times, mistake, k):
    """Adds what these times, from the last to the first, give to the gradient."""
    T = d_signal.shape[1]
    if mistake == "first-time-left-out":
        times = times[:-1]
    for layer in range(len(xs), 0, -1):
        Wx, Wh, h, x = params[f"Wx{layer}"], params[f"Wh{layer}"], hs[layer - 1], xs[layer - 1]
        d_inputs = np.zeros_like(x)
        dh = np.zeros_like(h[:, 0])
        for t in times:
            dz = (d_signal[:, t] + dh) * (1 - h[:, t + 1] ** 2)
            if mistake == "slope-left-out":
                dz = d_signal[:, t] + dh
            if not (mistake == "last-time-adds-nothing" and t == T - 1):
                gradient[f"Wx{layer}"] += x[:, t].T @ dz
                gradient[f"Wh{layer}"] += h[:, t + 1 if mistake == "h-of-the-same-time" else t].T @ dz
                gradient[f"b{layer}"] += dz.sum(axis=0)
            d_inputs[:, t] = dz @ Wx.T
            dh = dz @ (Wh if mistake == "not-transposed" else Wh.T)
            stops = {"not-carried": True, "detached": t % max(k, 1) == 0, "stops": T - t == k}
            if stops.get(mistake, False):
                dh = 0 * dh
        if mistake == "joined-at-the-last-time-only":
            d_inputs[:, :-1] = 0
        d_signal = d_inputs


def rnn(mistake, says, layers=1, sequences=False, number=lambda rng, T: 0):
    def plant(rng):
        net, params, X, y = draw(rng, gf.RNN, layers, sequences)
        k = number(rng, X.shape[1])
        right = rnn_backprop(params, X, y, layers, sequences)
        wrong = rnn_backprop(params, X, y, layers, sequences, mistake, k)
        return Planted(net.loss(X, y), params, right, wrong, says.format(k=k))

    return plant


# ---- LSTM


def lstm_backprop(params, X, y, sequences, mistake=""):
    """One layer, gates in the order i, f, g, o."""
    N, T, _ = X.shape
    Wx, Wh, b, W, b2 = (params[name] for name in ("Wx1", "Wh1", "b1", "W2", "b2"))
    H = Wh.shape[0]
    h, c, tape = np.zeros((N, H)), np.zeros((N, H)), []
    for t in range(T):
        z = X[:, t] @ Wx + h @ Wh + b
        i, f, o = sigmoid(z[:, :H]), sigmoid(z[:, H : 2 * H]), sigmoid(z[:, 3 * H :])
        g = np.tanh(z[:, 2 * H : 3 * H])
        before = h, c
        c = f * c + i * g
        h = o * np.tanh(c)
        tape.append((*before, i, f, g, o, h, c))
    gradient = {name: np.zeros_like(array) for name, array in params.items()}
    dh, dc = np.zeros((N, H)), np.zeros((N, H))
    for t in reversed(range(T)):
        h_before, c_before, i, f, g, o, h, c = tape[t]
        if sequences or t == T - 1:
            # the mean of the squares over all outputs
            d_outputs = 2 * (h @ W + b2 - (y[:, t] if sequences else y)) / y.size
            gradient["W2"] += h.T @ d_outputs
            gradient["b2"] += d_outputs.sum(axis=0)
            dh = dh + d_outputs @ W.T
        squashed = np.tanh(c)
        through_h = dh * o * (1 - (c if mistake == "tanh-slope-by-c" else squashed) ** 2)
        if mistake == "tanh-slope-left-out":
            through_h = dh * o
        if mistake == "output-to-cell-dropped":
            through_h = 0
        dc = dc + through_h
        d_f = dc * c_before * f * (1 - f)
        if mistake == "forget-gate-dropped":
            d_f = 0 * d_f
        if mistake == "forget-gate-with-new-cell":
            d_f = dc * c * f * (1 - f)
        d_g = dc * i * (1 - g**2)
        if mistake == "candidate-with-sigmoid-slope":
            d_g = dc * i * g * (1 - g)
        d_o = dh * (1 if mistake == "output-gate-without-tanh" else squashed) * o * (1 - o)
        dz = np.concatenate([dc * g * i * (1 - i), d_f, d_g, d_o], axis=1)
        gradient["Wx1"] += X[:, t].T @ dz
        gradient["Wh1"] += (h if mistake == "h-of-the-same-time" else h_before).T @ dz
        gradient["b1"] += dz.sum(axis=0)
        dh = 0 if mistake == "h-not-carried" else dz @ Wh.T
        dc = dc * {"carried-through-i": i, "carried-without-f": 1, "cell-not-carried": 0}.get(mistake, f)
    return gradient


def lstm(mistake, says, sequences=False):
    def plant(rng):
        net, params, X, y = draw(rng, gf.LSTM, 1, sequences)
        right, wrong = lstm_backprop(params, X, y, sequences), lstm_backprop(params, X, y, sequences, mistake)
        return Planted(net.loss(X, y), params, right, wrong, says)

    return plant


def gates(order, only=()):
    """The columns of the gates in another order, in some arrays or all of the layer."""

    def plant(rng):
        net, params, X, y = draw(rng, gf.LSTM, 1, False)
        right = lstm_backprop(params, X, y, False)
        wrong = dict(right)
        for name in only or ("Wx1", "Wh1", "b1"):
            parts = dict(zip("ifgo", np.split(right[name], 4, axis=-1), strict=True))
            wrong[name] = np.concatenate([parts[letter] for letter in order], axis=-1)
        return Planted(net.loss(X, y), params, right, wrong, f"are in the order {order}, the layer has ifgo")

    return plant


# ---- GRU


def gru_backprop(params, X, y, mistake=""):
    """One layer, gates in the order r, z, n: n = tanh(x Wx + b + r (h Wh)), h' = (1 - z) n + z h; the last state."""
    N, T, _ = X.shape
    Wx, Wh, b, W, b2 = (params[name] for name in ("Wx1", "Wh1", "b1", "W2", "b2"))
    H = Wh.shape[0]
    h, tape = np.zeros((N, H)), []
    for t in range(T):
        x, s = X[:, t] @ Wx + b, h @ Wh
        r, z = sigmoid(x[:, :H] + s[:, :H]), sigmoid(x[:, H : 2 * H] + s[:, H : 2 * H])
        n = np.tanh(x[:, 2 * H :] + r * s[:, 2 * H :])
        tape.append((h, s[:, 2 * H :], r, z, n))
        h = (1 - z) * n + z * h
    gradient = {name: np.zeros_like(array) for name, array in params.items()}
    d_outputs = squared(h @ W + b2, y)
    gradient["W2"], gradient["b2"] = h.T @ d_outputs, d_outputs.sum(axis=0)
    dh = d_outputs @ W.T
    for t in reversed(range(T)):
        before, s_n, r, z, n = tape[t]
        keep, new = (1 - z, z) if mistake == "z-exchanged" else (z, 1 - z)
        d_n = dh * new * (1 - n**2)
        d_z = dh * (before - n) * z * (1 - z)
        d_r = d_n * s_n * r * (1 - r)
        if mistake == "reset-gate-dropped":
            d_r = 0 * d_r
        d_x = np.concatenate([d_r, d_z, d_n], axis=1)
        d_s = np.concatenate([d_r, d_z, d_n if mistake == "without-r" else d_n * r], axis=1)
        gradient["Wx1"] += X[:, t].T @ d_x
        gradient["b1"] += d_x.sum(axis=0)
        after = (1 - z) * n + z * before
        gradient["Wh1"] += (after if mistake == "h-of-the-same-time" else before).T @ d_s
        dh = d_s @ Wh.T + (0 if mistake == "direct-path-dropped" else dh * keep)
    return gradient


def gru(mistake, says):
    def plant(rng):
        net, params, X, y = draw(rng, gf.GRU, 1, False)
        right, wrong = gru_backprop(params, X, y), gru_backprop(params, X, y, mistake)
        return Planted(net.loss(X, y), params, right, wrong, says)

    return plant


def short(rng, T):
    return int(rng.integers(2, T - 1))


IN_TIME = {
    "rnn-not-carried": rnn("not-carried", "in layer 1 no state is carried back in time"),
    "rnn-not-carried-sequences": rnn("not-carried", "no state is carried|truncated to 1 step", sequences=True),
    "rnn-truncated": rnn("truncated", "is truncated to {k} steps", sequences=True, number=short),
    "rnn-truncated-two-layers": rnn("truncated", "is truncated to {k} steps", layers=2, sequences=True, number=short),
    "rnn-stops": rnn("stops", "stops {k} steps before the end", number=short),
    "rnn-detached": rnn("detached", "the state is detached every {k} steps", sequences=True, number=lambda *_: 2),
    "rnn-first-time-left-out": rnn("first-time-left-out", "the first time adds nothing", sequences=True),
    "rnn-first-time-left-out-two-layers": rnn(
        "first-time-left-out", "in every recurrent layer the first time", 2, True
    ),
    "rnn-last-time-adds-nothing": rnn("last-time-adds-nothing", "in layer 1 the last time adds nothing"),
    "rnn-cost-of-last-time": rnn("cost-of-last-time-left-out", "the cost of the last time is left out", sequences=True),
    "rnn-cost-of-last-time-alone": rnn(
        "cost-of-last-time-alone", "only the cost of the last time counts", sequences=True
    ),
    "rnn-h-of-the-same-time": rnn("h-of-the-same-time", r"gradient of Wh1 is built with h\[t\] where h\[t-1\] belongs"),
    "rnn-not-transposed": rnn("not-transposed", "Wh1 is not transposed"),
    "rnn-slope-left-out": rnn("slope-left-out", "in layer 1 the derivative of tanh is left out"),
    "rnn-layers-not-joined": rnn("joined-at-the-last-time-only", "passes .* below at the last time only", 2),
    "lstm-forget-gate-dropped": lstm("forget-gate-dropped", "nothing goes back from f|the derivative of sigmoid, of f"),
    "lstm-forget-gate-with-new-cell": lstm("forget-gate-with-new-cell", r"from f \* c\[t-1\] to f is multiplied by c$"),
    "lstm-carried-through-i": lstm("carried-through-i", r"from f \* c\[t-1\] to c\[t-1\] is multiplied by i"),
    "lstm-carried-without-f": lstm("carried-without-f", r"from f \* c\[t-1\] to c\[t-1\] is not multiplied"),
    "lstm-cell-not-carried": lstm("cell-not-carried", "c is not carried back in time", sequences=True),
    "lstm-h-not-carried": lstm("h-not-carried", "h is not carried back in time"),
    "lstm-output-to-cell-dropped": lstm(
        "output-to-cell-dropped", r"nothing goes back from (h to tanh\(c\)|tanh\(c\) to c)", sequences=True
    ),
    "lstm-tanh-slope-left-out": lstm("tanh-slope-left-out", r"derivative of tanh, of tanh\(c\), is left out"),
    "lstm-tanh-slope-by-c": lstm("tanh-slope-by-c", r"derivative of tanh, of tanh\(c\), is taken at z instead of at a"),
    "lstm-candidate-with-sigmoid-slope": lstm(
        "candidate-with-sigmoid-slope", r"derivative of tanh, of g, is a \(1 - a\)"
    ),
    "lstm-output-gate-without-tanh": lstm("output-gate-without-tanh", "from h to o is not multiplied"),
    "lstm-h-of-the-same-time": lstm(
        "h-of-the-same-time", r"gradient of Wh1 is built with h\[t\] where", sequences=True
    ),
    "lstm-gates": gates("fiog"),
    "lstm-gates-of-one-array": gates("gifo", ("Wh1",)),
    "gru-z-exchanged": gru("z-exchanged", "z and 1 - z are exchanged"),
    "gru-reset-gate-dropped": gru("reset-gate-dropped", r"nothing goes back from r"),
    "gru-without-r": gru("without-r", r"from r \* z_n to z_n is not multiplied"),
    "gru-direct-path-dropped": gru("direct-path-dropped", r"nothing goes back from .* to h\[t-1\]"),
    "gru-h-of-the-same-time": gru("h-of-the-same-time", r"gradient of Wh1 is built with h\[t\] where"),
}
