"""Rectifier networks as people write them: a Python loss, its gradient by hand, and random parameters."""

from __future__ import annotations

import numpy as np


def rectifier_network(seed, depth=None, widths=None, samples=None, zero_biases=None, tied=False):
    """A loss of a dict of arrays, its gradient, and parameters.

    `tied`: some samples are zeros, and with biases of zero whole layers lie on their kinks.
    """
    rng = np.random.default_rng(seed)
    depth = depth or int(rng.integers(2, 6))
    widths = widths or [*rng.integers(4, 40, depth).tolist(), int(rng.integers(1, 11))]
    N = samples or int(rng.integers(4, 64))
    X = rng.normal(size=(N, widths[0]))
    X = [X, np.maximum(X, 0.0), np.abs(X)][rng.integers(3)]
    if tied:
        X[0] = 0.0
    zero_biases = rng.random() < 0.5 if zero_biases is None else zero_biases
    params = {}
    for k in range(depth):
        params[f"W{k + 1}"] = rng.normal(size=(widths[k], widths[k + 1])) * np.sqrt(2.0 / widths[k])
        params[f"b{k + 1}"] = np.zeros(widths[k + 1]) if zero_biases else 0.1 * rng.normal(size=widths[k + 1])
    outputs = widths[depth]
    classes = rng.integers(outputs, size=N) if outputs > 1 and rng.random() < 0.6 else None
    targets = rng.normal(size=(N, outputs))
    scale = 1.0 / N if rng.random() < 0.7 else 1.0

    def forward(p):
        layers = [X]
        for k in range(depth):
            z = layers[-1] @ p[f"W{k + 1}"] + p[f"b{k + 1}"]
            layers.append(np.maximum(z, 0.0) if k < depth - 1 else z)
        return layers

    def loss(p):
        z = forward(p)[-1]
        if classes is None:
            return scale * 0.5 * np.sum((z - targets) ** 2)
        z = z - z.max(axis=1, keepdims=True)
        return scale * np.sum(np.log(np.exp(z).sum(axis=1)) - z[np.arange(N), classes])

    def gradient(p):
        layers = forward(p)
        if classes is None:
            d = layers[-1] - targets
        else:
            d = np.exp(layers[-1] - layers[-1].max(axis=1, keepdims=True))
            d /= d.sum(axis=1, keepdims=True)
            d[np.arange(N), classes] -= 1.0
        d, found = d * scale, {}
        for k in reversed(range(depth)):
            found[f"W{k + 1}"], found[f"b{k + 1}"] = layers[k].T @ d, d.sum(axis=0)
            d = (d @ p[f"W{k + 1}"].T) * (layers[k] > 0.0)
        return {name: found[name] for name in p}

    return loss, gradient, params
