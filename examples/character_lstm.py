"""A character model: an LSTM reads a line of verse and predicts each next character.

The back-propagation through time is written by hand in NumPy, for lines of different lengths; gradcheck_fast says
whether it is right, and finds a planted mistake. The text is Sonnet 18 by William Shakespeare (1609, public domain).
"""

from pathlib import Path

import numpy as np

import gradcheck_fast as gf

HIDDEN = 24


def read_lines():
    """Lines as one-hot characters X (lines, times, characters), the next characters y, and the lengths."""
    lines = (Path(__file__).parent / "sonnet.txt").read_text().splitlines()
    characters = sorted(set("".join(lines)) | {"\n"})
    lengths = np.array([len(line) for line in lines])
    X = np.zeros((len(lines), lengths.max(), len(characters)))
    y = np.zeros((len(lines), lengths.max()), dtype=int)
    for n, line in enumerate(lines):
        codes = [characters.index(character) for character in line + "\n"]
        X[n, range(len(line)), codes[:-1]] = 1
        y[n, : len(line)] = codes[1:]
    return X, y, lengths


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def backpropagate(params, X, y, lengths, mistake=False):
    """The gradient of the mean cross-entropy of all characters, through time; gates in the order i, f, g, o."""
    samples, times, _ = X.shape
    Wx, Wh, b, W, c_out = (params[name] for name in ("Wx1", "Wh1", "b1", "W2", "b2"))
    h, c = np.zeros((samples, HIDDEN)), np.zeros((samples, HIDDEN))
    tape = []
    for t in range(times):
        z = X[:, t] @ Wx + h @ Wh + b
        i, f, o = sigmoid(z[:, :HIDDEN]), sigmoid(z[:, HIDDEN : 2 * HIDDEN]), sigmoid(z[:, 3 * HIDDEN :])
        g = np.tanh(z[:, 2 * HIDDEN : 3 * HIDDEN])
        before = h, c
        c = f * c + i * g
        h = o * np.tanh(c)
        tape.append((before, i, f, g, o, h, c))

    gradient = {name: np.zeros_like(array) for name, array in params.items()}
    dh, dc = np.zeros((samples, HIDDEN)), np.zeros((samples, HIDDEN))
    for t in reversed(range(times)):
        (h_before, c_before), i, f, g, o, h, c = tape[t]
        logits = h @ W + c_out
        p = np.exp(logits - logits.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        there = (t < lengths)[:, np.newaxis]
        d_logits = np.where(there, p - np.eye(p.shape[1])[y[:, t]], 0) / lengths.sum()
        gradient["W2"] += h.T @ d_logits
        gradient["b2"] += d_logits.sum(axis=0)
        dh = dh + d_logits @ W.T
        dc = dc + dh * o * (1 - np.tanh(c) ** 2)
        dz = np.concatenate(
            [dc * g * i * (1 - i), dc * c_before * f * (1 - f), dc * i * (1 - g**2), dh * np.tanh(c) * o * (1 - o)],
            axis=1,
        )
        gradient["Wx1"] += X[:, t].T @ dz
        gradient["Wh1"] += h_before.T @ dz
        gradient["b1"] += dz.sum(axis=0)
        dh = dz @ Wh.T
        dc = dc * (i if mistake else f)
    return gradient


def main():
    X, y, lengths = read_lines()
    characters = X.shape[2]
    net = gf.Network(
        [gf.LSTM(characters, HIDDEN, return_sequences=True), gf.Dense(HIDDEN, characters)], cost=gf.CrossEntropy()
    )
    params = net.init(seed=0)
    loss = net.loss(X, y, lengths=lengths)
    print(f"{len(X)} lines of up to {X.shape[1]} characters, {characters} different ones.\n")
    right = gf.gradcheck(loss, backpropagate(params, X, y, lengths), params)
    print(right)
    print("\nNow with a mistake planted: the cell state's gradient goes back through i instead of f.\n")
    wrong = gf.gradcheck(loss, backpropagate(params, X, y, lengths, mistake=True), params)
    print(wrong)
    return right, wrong


if __name__ == "__main__":
    main()
