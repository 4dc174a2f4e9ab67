"""Small networks of operators: their exact differences are those of plain formulas at 60 digits (mpmath).

The formulas are written with arrays of numbers of 60 digits, and loops over the entries of kernels, without any window,
matrix of weights, or primitive of the library.
"""

import itertools

import numpy as np
import pytest
from operator_peer import distance, numbers, traced
from reference import ACTIVATIONS, mp, mpf

import gradcheck_fast as gf
from gradcheck_fast.frontends.operators import (
    activations,
    attention,
    convolution,
    costs,
    normalisation,
    pooling,
    recurrent,
    resampling,
)  # fmt: skip
from gradcheck_fast.frontends.operators.ctc import ctc

to_digits = np.frompyfunc(mpf, 1, 1)
exp, log, sqrt, tanh = (np.frompyfunc(function, 1, 1) for function in (mp.exp, mp.log, mp.sqrt, mp.tanh))
sigmoid, gelu, relu = (np.frompyfunc(ACTIVATIONS[name], 1, 1) for name in ("sigmoid", "gelu", "relu"))


# ---- plain formulas


def cross_entropy(logits, targets):
    rows = np.arange(len(targets))
    return np.sum(log(np.sum(exp(logits), axis=1)) - logits[rows, targets]) / len(targets)


def padded(x, padding):
    found = to_digits(np.zeros((*x.shape[:2], *(n + 2 * padding for n in x.shape[2:]))))
    found[:, :, padding : padding + x.shape[2], padding : padding + x.shape[3]] = x
    return found


def convolved(x, w, stride=1, padding=0):
    x = padded(x, padding)
    count = [(n - k) // stride + 1 for n, k in zip(x.shape[2:], w.shape[2:], strict=True)]
    total = 0
    for i, j in itertools.product(*map(range, w.shape[2:])):
        part = x[:, :, i : i + stride * count[0] : stride, j : j + stride * count[1] : stride][
            :, :, : count[0], : count[1]
        ]
        total = total + np.tensordot(part, w[:, :, i, j], ([1], [1]))
    return np.moveaxis(total, -1, 1)


def spread_out(x, w, stride):
    """The transposed convolution, without padding."""
    size = [(n - 1) * stride + k for n, k in zip(x.shape[2:], w.shape[2:], strict=True)]
    found = to_digits(np.zeros((len(x), w.shape[1], *size)))
    for k, m in itertools.product(*map(range, x.shape[2:])):
        own = np.tensordot(x[:, :, k, m], w, ([1], [0]))
        found[:, :, k * stride : k * stride + w.shape[2], m * stride : m * stride + w.shape[3]] += own
    return found


def pooled(x, function):
    """Windows of two by two."""
    parts = [x[:, :, i : x.shape[2] // 2 * 2 : 2, j : x.shape[3] // 2 * 2 : 2] for i in (0, 1) for j in (0, 1)]
    return function(np.stack(parts), axis=0)


def normalised(x, axes):
    count = int(np.prod([x.shape[axis] for axis in axes]))
    centred = x - np.sum(x, axis=axes, keepdims=True) / count
    return centred / sqrt(np.sum(centred * centred, axis=axes, keepdims=True) / count + mpf(1e-5))


# ---- networks: ours, the plain formula, and the parameters

TARGETS = np.array([1, 0, 2])


def convolutional(of):
    x = convolution.convolution(
        of["x"], of["w"], of["b"], stride=(2, 2), padding=((1, 1),) * 2, dilation=(1, 1)
    )  # fmt: skip
    x = pooling.max_pool(np.tanh(x), (2, 2), stride=(2, 2), padding=((0, 0),) * 2, dilation=(1, 1))[0]
    return costs.cross_entropy(x.reshape(3, -1) @ of["v"], TARGETS)


def convolutional_plainly(of):
    x = tanh(convolved(of["x"], of["w"], 2, 1) + of["b"][:, np.newaxis, np.newaxis])
    return cross_entropy(pooled(x, np.max).reshape(3, -1) @ of["v"], TARGETS)


def rectified(of):
    x = convolution.convolution(of["x"], of["w"], stride=(1, 1), padding=((0, 0),) * 2, dilation=(1, 1))
    x = activations.relu(normalisation.batch_norm(x, of["g"], of["b"]))
    x = normalisation.group_norm(x + activations.leaky_relu(x - 0.3), 2)
    return costs.mse(pooling.adaptive_average_pool(x, (1, 1)).reshape(3, 4), np.ones((3, 4)))


def rectified_plainly(of):
    x = normalised(convolved(of["x"], of["w"]), (0, 2, 3))
    x = relu(x * of["g"][:, np.newaxis, np.newaxis] + of["b"][:, np.newaxis, np.newaxis])
    z = x - mpf(0.3)
    x = x + relu(z) - mpf(0.01) * relu(-z)
    x = normalised(x.reshape(3, 2, -1), (2,)).reshape(x.shape)
    means = np.sum(x, axis=(2, 3)) / (x.shape[2] * x.shape[3])
    return np.sum((means - 1) ** 2) / 12


def u_shaped(of):
    down = pooling.average_pool(of["x"], (2, 2), stride=(2, 2), padding=((0, 0),) * 2)
    up = convolution.transposed_convolution(
        activations.silu(down), of["w"], stride=(2, 2), padding=((0, 0),) * 2, output_padding=(0, 0), dilation=(1, 1)
    )
    wide = resampling.upsample(down, (4, 4), "bilinear", align_corners=True)
    joined = np.concatenate([up, wide, of["x"]], axis=1)
    return np.sum(activations.sigmoid(np.sum(joined * of["v"], axis=(1, 2, 3))))


def u_shaped_plainly(of):
    down = pooled(of["x"], np.sum) / 4
    up = spread_out(down * sigmoid(down), of["w"], 2)
    line = np.array([[mpf(1), 0], [mpf(2) / 3, mpf(1) / 3], [mpf(1) / 3, mpf(2) / 3], [0, mpf(1)]])
    wide = np.moveaxis(np.tensordot(np.tensordot(down, line, ([3], [1])), line, ([2], [1])), -1, 2)
    return np.sum(sigmoid(np.sum(np.concatenate([up, wide, of["x"]], axis=1) * of["v"], axis=(1, 2, 3))))


def transformer(of):
    x = normalisation.layer_norm(of["x"], (-1,), of["g"])
    weights = attention.HeadWeights(of["w"], of["o"])
    x = x + attention.multi_head_attention(x, x, x, 2, weights, causal=True)[0]
    x = x + activations.gelu(x @ of["v"])
    return costs.cross_entropy(np.mean(x, axis=1), TARGETS)


def transformer_plainly(of):
    x = normalised(of["x"], (2,)) * of["g"]
    q, k, v = (np.moveaxis((x @ w.T).reshape(3, 4, 2, 2), 2, 1) for w in np.split(of["w"], 3))
    heads = to_digits(np.zeros(q.shape))
    for n, head, t in itertools.product(range(3), range(2), range(4)):
        seen = exp(k[n, head, : t + 1] @ q[n, head, t] / mp.sqrt(2))
        heads[n, head, t] = seen / np.sum(seen) @ v[n, head, : t + 1]
    x = x + np.moveaxis(heads, 1, 2).reshape(3, 4, 4) @ of["o"].T
    x = x + gelu(x @ of["v"])
    return cross_entropy(np.sum(x, axis=1) / 4, TARGETS)


def recurrent_layers(of):
    first = recurrent.CellWeights(of["w"], of["u"], of["b"])
    y, h, c = recurrent.lstm(of["x"], np.zeros((3, 2)), np.zeros((3, 2)), first)
    y, h2 = recurrent.gru(y, h, recurrent.CellWeights(of["w2"], of["u2"], None, of["b2"]))
    return costs.cross_entropy(np.concatenate([c, h2], axis=1) @ of["v"], TARGETS)


def recurrent_layers_plainly(of):
    h = c = to_digits(np.zeros((3, 2)))
    outputs = []
    for x in of["x"]:
        i, f, g, o = np.split(x @ of["w"].T + h @ of["u"].T + of["b"], 4, axis=1)
        c = sigmoid(f) * c + sigmoid(i) * tanh(g)
        h = sigmoid(o) * tanh(c)
        outputs.append(h)
    for x in outputs:
        r, z, n = np.split(x @ of["w2"].T, 3, axis=1)
        r2, z2, n2 = np.split(h @ of["u2"].T + of["b2"], 3, axis=1)
        n, z = tanh(n + sigmoid(r + r2) * n2), sigmoid(z + z2)
        h = (1 - z) * n + z * h
    return cross_entropy(np.concatenate([c, h], axis=1) @ of["v"], TARGETS)


def labelled(of):
    log_p = activations.log_softmax(of["x"] @ of["w"])
    return ctc(log_p, np.array([[1, 1], [2, 0]]), [4, 3], [2, 1])


def labelled_plainly(of):
    """The sum of the probabilities of all ways in which the classes can follow each other."""
    total = mpf(0)
    for n, (times, target) in enumerate([(4, [1, 1]), (3, [2])]):
        e = exp(of["x"][:times, n] @ of["w"])
        p = e / np.sum(e, axis=1, keepdims=True)
        probability = mpf(0)
        for way in itertools.product(range(3), repeat=times):
            if [c for c, before in zip(way, (None, *way), strict=False) if c != before and c != 0] == target:
                probability += np.prod(p[np.arange(times), way])
        total -= mp.log(probability) / len(target)
    return total / 2


def embedded(of):
    x, y, z = of["x"] @ of["w"], of["y"] @ of["w"], of["z"] @ of["w"]
    return (
        costs.triplet_margin(x, y, z)
        + costs.cosine_embedding(x, y, np.array([1.0, -1.0, 1.0]))
        + costs.kl_div(activations.log_softmax(x), np.full((3, 2), 0.5), reduction="batchmean")
        + costs.huber(y, np.zeros((3, 2)), delta=0.5)
    )


def embedded_plainly(of):
    x, y, z = of["x"] @ of["w"], of["y"] @ of["w"], of["z"] @ of["w"]
    near, far = (sqrt(np.sum((x - other + mpf(1e-6)) ** 2, axis=1)) for other in (y, z))
    triplets = np.sum(relu(1 + near - far)) / 3
    sizes = [np.sum(one**2, axis=1) + mpf(1e-12) for one in (x, y)]
    cos = np.sum(x * y, axis=1) / sqrt(sizes[0] * sizes[1])
    cosines = (1 - cos[0] + max(cos[1], 0) + 1 - cos[2]) / 3
    log_q = x - log(np.sum(exp(x), axis=1, keepdims=True))
    divergence = np.sum((log(to_digits(np.full((3, 2), 0.5))) - log_q) / 2) / 3
    sizes_of_y = np.abs(y)
    huber = np.where((sizes_of_y <= 0.5).astype(bool), y * y / 2, (sizes_of_y - mpf(0.25)) / 2)
    return triplets + cosines + divergence + np.sum(huber) / 6


NETWORKS = {
    "convolution and maximum": (
        convolutional, convolutional_plainly,
        {"x": numbers(3, 2, 7, 7), "w": numbers(3, 2, 3, 3), "b": numbers(3), "v": numbers(12, 3)},
    ),
    "batch and group normalisation": (
        rectified, rectified_plainly,
        {"x": numbers(3, 2, 4, 4), "w": numbers(4, 2, 2, 2), "g": numbers(4), "b": numbers(4, seed=1)},
    ),
    "transposed convolution and interpolation": (
        u_shaped, u_shaped_plainly, {"x": numbers(2, 2, 4, 4), "w": numbers(2, 1, 2, 2), "v": numbers(5, 4, 4)},
    ),
    "attention": (
        transformer, transformer_plainly,
        {"x": numbers(3, 4, 4), "g": numbers(4), "w": numbers(12, 4), "o": numbers(4, 4), "v": numbers(4, 4, seed=1)},
    ),
    "recurrent layers": (
        recurrent_layers, recurrent_layers_plainly,
        {"x": numbers(3, 3, 2), "w": numbers(8, 2), "u": numbers(8, 2, seed=1), "b": numbers(8), "w2": numbers(6, 2),
         "u2": numbers(6, 2, seed=1), "b2": numbers(6), "v": numbers(4, 3)},
    ),
    "connectionist temporal classification": (labelled, labelled_plainly, {"x": numbers(4, 2, 3), "w": numbers(3, 3)}),
    "costs of embeddings": (
        embedded, embedded_plainly,
        {"x": numbers(3, 3), "y": numbers(3, 3, seed=1), "z": numbers(3, 3, seed=2), "w": numbers(3, 2)},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", NETWORKS)
def test_differences_are_those_of_60_digits(name):
    ours, plainly, arrays = NETWORKS[name]
    problem = traced(ours, arrays)
    theta = np.concatenate([array.ravel() for array in arrays.values()])
    ends = np.cumsum([array.size for array in arrays.values()])[:-1]

    def cost(at):
        parts = np.split(at, ends)
        return plainly({key: part.reshape(arrays[key].shape) for key, part in zip(arrays, parts, strict=True)})

    base = cost(to_digits(theta))
    assert float(ours(arrays)) == pytest.approx(float(base), rel=1e-13)
    direction = np.random.default_rng(5).normal(size=theta.size)
    for step in (0.1, -0.1, 1e-6, -1e-6):
        exact = cost(to_digits(theta) + mpf(step) * to_digits(direction)) - base
        assert float(abs(mpf(problem.change(theta, direction, step)) - exact) / abs(exact)) <= 1e-12, step


@pytest.mark.parametrize("name", NETWORKS)
def test_entries_that_are_moved_one_by_one_give_the_chained_gradient(name):
    ours, _, arrays = NETWORKS[name]
    problem = traced(ours, arrays)
    chained, single = (gf.numerical_gradient(problem, arrays, method=method) for method in ("chain", "incremental"))
    for key in arrays:
        assert distance(single[key], chained[key]) <= 1e-12
