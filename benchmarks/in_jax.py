"""The modules of `modules.py` in JAX: the cost as a function of the module's arrays, in its order.

Each function takes the arrays and the data, which are an input and the classes that are right.
"""

import jax
from jax import lax
from jax import numpy as jnp

relu = jax.nn.relu


def cross_entropy(logits, y):
    return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(logits), y[..., None], -1))


def convolution(x, kernel, stride=1, padding=0):
    return lax.conv_general_dilated(x, kernel, (stride, stride), [(padding, padding)] * 2)


def lenet(arrays, X, y):
    k1, b1, k2, b2, w3, b3, w4, b4, w5, b5 = arrays

    def stage(x, kernel, bias):
        z = convolution(x, kernel) + bias[:, None, None]
        return lax.reduce_window(relu(z), -jnp.inf, lax.max, (1, 1, 2, 2), (1, 1, 2, 2), "VALID")

    x = stage(stage(X, k1, b1), k2, b2).reshape(len(X), -1)
    return cross_entropy(relu(relu(x @ w3.T + b3) @ w4.T + b4) @ w5.T + b5, y)


def resnet20(arrays, X, y):
    rest = iter(arrays)

    def normalised(x, stride=1):
        """A convolution, and the normalisation over samples and places after it."""
        z = convolution(x, next(rest), stride, 1)
        mean, var = z.mean((0, 2, 3), keepdims=True), z.var((0, 2, 3), keepdims=True)
        weight, bias = next(rest), next(rest)
        return (z - mean) / jnp.sqrt(var + 1e-5) * weight[:, None, None] + bias[:, None, None]

    x = relu(normalised(X))
    for stride in (1, 1, 1, 2, 1, 1, 2, 1, 1):
        z = normalised(relu(normalised(x, stride)))
        more = (z.shape[1] - x.shape[1]) // 2
        x = relu(z + jnp.pad(x[:, :, ::stride, ::stride], ((0, 0), (more, more), (0, 0), (0, 0))))
    return cross_entropy(x.mean((2, 3)) @ next(rest).T + next(rest), y)


def gpt(arrays, X, y, heads=4):
    position, token, *rest = arrays
    x, rest = token[X] + position, iter(rest)
    causal = jnp.where(jnp.tri(len(position)), 0.0, -jnp.inf)

    def affine(x, w, b):
        return x @ w.T + b

    def normalised(x, weight, bias):
        return (x - x.mean(-1, keepdims=True)) / jnp.sqrt(x.var(-1, keepdims=True) + 1e-5) * weight + bias

    for _ in range(2):
        wx, bx, wo, bo, w1, b1, w2, b2, g1, c1, g2, c2 = (next(rest) for _ in range(12))
        q, k, v = jnp.split(affine(normalised(x, g1, c1), wx, bx), 3, -1)
        q, k, v = (jnp.moveaxis(each.reshape(*each.shape[:2], heads, -1), 2, 1) for each in (q, k, v))
        p = jax.nn.softmax(q @ jnp.swapaxes(k, -1, -2) / q.shape[-1] ** 0.5 + causal)
        x = x + affine(jnp.moveaxis(p @ v, 1, 2).reshape(x.shape), wo, bo)
        x = x + affine(jax.nn.gelu(affine(normalised(x, g2, c2), w1, b1), approximate=False), w2, b2)
    x = normalised(x, next(rest), next(rest))
    return cross_entropy(affine(x, next(rest), next(rest)), y)


def lstm(arrays, X, y):
    """Without the dropout between the layers."""
    *layers, w, b = arrays
    x = jnp.swapaxes(X, 0, 1)
    for begin in range(0, len(layers), 4):
        wx, wh, bx, bh = layers[begin : begin + 4]

        def step(state, x, wx=wx, wh=wh, bias=bx + bh):
            h, c = state
            i, f, g, o = jnp.split(x @ wx.T + h @ wh.T + bias, 4, -1)
            c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
            h = jax.nn.sigmoid(o) * jnp.tanh(c)
            return (h, c), h

        zeros = jnp.zeros((x.shape[1], wh.shape[1]))
        _, x = lax.scan(step, (zeros, zeros), x)
    return cross_entropy(x[-1] @ w.T + b, y)
