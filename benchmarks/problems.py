"""The networks of the benchmarks, each as ours, in NumPy, in PyTorch and in JAX: the same cost of the same parameters.

A cost in PyTorch or JAX is a function of one flat vector.
"""

from itertools import pairwise

import numpy as np

import gradcheck_fast as gf


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


class DenseProblem:
    """A dense network: hidden sigmoid with squared error, or hidden ReLU with softmax cross-entropy."""

    def __init__(self, widths, samples, activation="sigmoid"):
        rng = np.random.default_rng(0)
        self.widths, self.samples, self.activation = widths, samples, activation
        self.squared = activation == "sigmoid"
        layers = [gf.Dense(n, m, activation) for n, m in pairwise(widths)]
        if not self.squared:
            layers[-1] = gf.Dense(widths[-2], widths[-1])
        cost = gf.SquaredError(reduction="batchmean") if self.squared else gf.CrossEntropy()
        self.net = gf.Network(layers, cost=cost)
        self.X = rng.random((samples, widths[0]))
        self.y = rng.random((samples, widths[-1])) if self.squared else rng.integers(widths[-1], size=samples)
        self.params = self.net.init(seed=0)
        self.loss = self.net.loss(self.X, self.y)
        self.name = f"{'-'.join(map(str, widths))} {activation}, N = {samples}"

    @property
    def size(self):
        return sum(array.size for array in self.params.values())

    def numpy_cost(self, params):
        a, last = self.X, len(self.widths) - 1
        for k in range(1, last + 1):
            z = a @ params[f"W{k}"] + params[f"b{k}"]
            a = sigmoid(z) if self.squared else (np.maximum(z, 0) if k < last else z)
        if self.squared:
            return np.sum((self.y - a) ** 2) / self.samples
        top = a.max(axis=1, keepdims=True)
        p = a - top - np.log(np.exp(a - top).sum(axis=1, keepdims=True))
        return -p[np.arange(self.samples), self.y].mean()

    def _flat_cost(self, flat, library, X, y):
        """Returns the loss for PyTorch and JAX, which agree in the names used here."""
        a, last, begin = X, len(self.widths) - 1, 0
        for k, (n, m) in enumerate(pairwise(self.widths), 1):
            W = flat[begin : begin + n * m].reshape(n, m)
            z = a @ W + flat[begin + n * m : begin + n * m + m]
            begin += n * m + m
            a = 1 / (1 + library.exp(-z)) if self.squared else (z * (z > 0) if k < last else z)
        if self.squared:
            return ((y - a) ** 2).sum() / self.samples
        return (library.log(library.exp(a).sum(1)) - (a * y).sum(1)).mean()

    def _targets(self):
        return self.y if self.squared else np.eye(self.widths[-1])[self.y]

    def torch_cost(self):
        import torch

        X, y = torch.from_numpy(self.X), torch.from_numpy(self._targets())
        return lambda flat: self._flat_cost(flat, torch, X, y)

    def torch_training_step(self):
        """A forward and a backward pass of the same network, made of PyTorch's own layers."""
        import torch
        from torch import nn

        activation = nn.Sigmoid if self.squared else nn.ReLU
        layers = [part for n, m in pairwise(self.widths) for part in (nn.Linear(n, m), activation())]
        model = nn.Sequential(*(layers if self.squared else layers[:-1])).double()
        X, y = torch.from_numpy(self.X), torch.from_numpy(self.y)

        def step():
            model.zero_grad()
            out = model(X)
            cost = ((out - y) ** 2).sum() / self.samples if self.squared else nn.functional.cross_entropy(out, y)
            cost.backward()

        return step

    def jax_cost(self):
        import jax.numpy as jnp

        X, y = jnp.asarray(self.X), jnp.asarray(self._targets())
        return lambda flat: self._flat_cost(flat, jnp, X, y)


class LSTMProblem:
    """An LSTM over sequences, a dense output at the end, softmax cross-entropy."""

    def __init__(self, inputs, hidden, times, samples, outputs=10):
        rng = np.random.default_rng(0)
        self.hidden, self.samples = hidden, samples
        self.net = gf.Network([gf.LSTM(inputs, hidden), gf.Dense(hidden, outputs)], cost=gf.CrossEntropy())
        self.X = rng.normal(size=(samples, times, inputs))
        self.y = rng.integers(outputs, size=samples)
        self.params = self.net.init(seed=0)
        self.loss = self.net.loss(self.X, self.y)
        self.name = f"LSTM D = {inputs}, H = {hidden}, T = {times}, N = {samples}"

    size = DenseProblem.size

    def numpy_cost(self, params):
        H = self.hidden
        h = c = np.zeros((self.samples, H))
        for x in self.X.swapaxes(0, 1):
            z = x @ params["Wx1"] + h @ params["Wh1"] + params["b1"]
            i, f, o = (sigmoid(z[:, k * H : (k + 1) * H]) for k in (0, 1, 3))
            c = f * c + i * np.tanh(z[:, 2 * H : 3 * H])
            h = o * np.tanh(c)
        a = h @ params["W2"] + params["b2"]
        top = a.max(axis=1, keepdims=True)
        p = a - top - np.log(np.exp(a - top).sum(axis=1, keepdims=True))
        return -p[np.arange(self.samples), self.y].mean()

    def jax_cost(self):
        import jax
        import jax.numpy as jnp

        X, y, H = jnp.asarray(self.X.swapaxes(0, 1)), jnp.eye(10)[self.y], self.hidden
        shapes = [array.shape for array in self.params.values()]
        ends = np.cumsum([np.prod(shape) for shape in shapes])

        def step(Wx, Wh, b, state, x):
            h, c = state
            z = x @ Wx + h @ Wh + b
            i, f, g, o = z[:, :H], z[:, H : 2 * H], z[:, 2 * H : 3 * H], z[:, 3 * H :]
            c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
            return (jax.nn.sigmoid(o) * jnp.tanh(c), c), None

        def cost(flat):
            arrays = [part.reshape(shape) for part, shape in zip(jnp.split(flat, ends[:-1]), shapes, strict=True)]
            Wx, Wh, b, W, c = arrays
            start = jnp.zeros((self.samples, H))
            (h, _), _ = jax.lax.scan(lambda state, x: step(Wx, Wh, b, state, x), (start, start), X)
            return (jax.nn.logsumexp(h @ W + c, axis=1) - ((h @ W + c) * y).sum(1)).mean()

        return cost
