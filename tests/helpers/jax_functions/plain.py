"""Losses in plain JAX: dicts, lists and named tuples of arrays, with jit, scan, cond, while_loop, vmap and remat."""

from functools import partial
from itertools import pairwise
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from .registry import example


@example()
def mlp(rng, key):
    sizes = (4, 6, 5, 3)
    params = [{"w": rng.normal(size=(m, n)) / m**0.5, "b": 0.1 * rng.normal(size=n)} for m, n in pairwise(sizes)]
    X, y = rng.normal(size=(7, 4)), jax.nn.one_hot(rng.integers(0, 3, 7), 3)

    def predict(params, x):
        *hidden, last = params
        for layer in hidden:
            x = jax.nn.relu(x @ layer["w"] + layer["b"])
        return x @ last["w"] + last["b"]

    @jax.jit
    def loss(params):
        logits = jax.vmap(partial(predict, params))(X)
        return -jnp.mean(jnp.sum(jax.nn.log_softmax(logits) * y, axis=-1))

    return loss, params


@example()
def convolutional(rng, key):
    params = {
        "conv": rng.normal(size=(3, 3, 2, 4)), "bias": rng.normal(size=4), "out": rng.normal(size=(4 * 3 * 3, 3))
    }  # fmt: skip
    X, y = rng.normal(size=(2, 7, 7, 2)), rng.integers(0, 3, 2)

    def loss(p):
        z = lax.conv_general_dilated(X, p["conv"], (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
        h = jax.nn.gelu(z + p["bias"])
        h = lax.reduce_window(h, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
        logits = h.reshape(len(h), -1) @ p["out"]
        return -jax.nn.log_softmax(logits)[jnp.arange(2), y].mean()

    return loss, params


@example()
def depthwise_and_strided(rng, key):
    params = {"depth": rng.normal(size=(6, 1, 3)), "down": rng.normal(size=(4, 6, 3))}
    X = rng.normal(size=(2, 3, 11))

    def loss(p):
        z = lax.conv_general_dilated(
            X, p["depth"], (2,), [(1, 1)], dimension_numbers=("NCH", "OIH", "NCH"), feature_group_count=3
        )
        z = lax.conv_general_dilated(jnp.tanh(z), p["down"], (1,), [(2, 0)], rhs_dilation=(2,))
        return jnp.sum(jax.nn.swish(z) ** 2)

    return loss, params


@example()
def attention(rng, key):
    width, heads = 8, 2
    params = {name: rng.normal(size=(width, width)) / 3 for name in ("q", "k", "v", "o")}
    params |= {"scale": rng.normal(size=width), "shift": rng.normal(size=width)}
    X = rng.normal(size=(2, 5, width))

    def norm(x, p):
        mean, var = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
        return (x - mean) * lax.rsqrt(var + 1e-5) * p["scale"] + p["shift"]

    def loss(p):
        x = norm(X, p)
        q, k, v = (jnp.reshape(x @ p[name], (2, 5, heads, -1)) for name in "qkv")
        scores = jnp.einsum("bqhd,bkhd->bhqk", q, k) / jnp.sqrt(q.shape[-1])
        scores = jnp.where(jnp.tril(jnp.ones((5, 5), bool)), scores, -jnp.inf)
        y = jnp.einsum("bhqk,bkhd->bqhd", jax.nn.softmax(scores), v).reshape(2, 5, width)
        return jnp.mean((X + y @ p["o"]) ** 2)

    return loss, params


class LSTMParams(NamedTuple):
    Wx: jax.Array
    Wh: jax.Array
    b: jax.Array
    out: jax.Array


@example()
def lstm_by_scan(rng, key):
    params = LSTMParams(
        rng.normal(size=(3, 16)), rng.normal(size=(4, 16)), rng.normal(size=16), rng.normal(size=(4, 2))
    )
    X, Y = rng.normal(size=(6, 2, 3)), rng.normal(size=(6, 2, 2))

    def step(p, carry, x):
        h, c = carry
        i, f, g, o = jnp.split(x @ p.Wx + h @ p.Wh + p.b, 4, axis=-1)
        c = jax.nn.sigmoid(f + 1.0) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return (h, c), h

    def loss(p):
        zeros = jnp.zeros((2, 4))
        _, hs = lax.scan(partial(step, p), (zeros, zeros), X)
        return jnp.mean((hs @ p.out - Y) ** 2)

    return loss, params


@example()
def gru_with_remat(rng, key):
    params = {"gates": rng.normal(size=(7, 8)), "new": rng.normal(size=(7, 4))}
    X = jnp.asarray(rng.normal(size=(5, 3)))

    @jax.checkpoint
    def cell(p, h, x):
        z, r = jnp.split(jax.nn.sigmoid(jnp.concatenate([x, h]) @ p["gates"]), 2)
        return (1 - z) * h + z * jnp.tanh(jnp.concatenate([x, r * h]) @ p["new"])

    def loss(p):
        h = lax.fori_loop(0, 5, lambda t, h: cell(p, h, X[t]), jnp.zeros(4))
        return jnp.sum(h**2)

    return loss, params


@example()
def fixed_point(rng, key):
    """Newton's iteration, whose turns are many but fixed."""
    params = rng.uniform(1.0, 2.0, size=3)

    def loss(a):
        def turn(n, state):
            x, total = state
            x = 0.5 * (x + a / x)
            return x, total + jnp.where(n % 2 == 0, x, -x)

        root, total = lax.fori_loop(0, 6, turn, (jnp.ones(3), jnp.zeros(3)))
        return jnp.sum(root**3) + jnp.sum(total**2)

    return loss, params


@example()
def switch_and_cond(rng, key):
    params = {"a": rng.normal(size=4), "b": rng.normal(size=4)}

    def loss(p):
        x = lax.switch(2, [jnp.sin, jnp.cos, jnp.tanh], p["a"])
        y = lax.cond(jnp.sum(p["b"]) > -100.0, lambda v: v**2, lambda v: -v, p["b"])
        return jnp.dot(x, y) + jnp.sum(lax.select(p["a"] > 0, p["a"], 2 * p["b"]))

    return loss, params


@example()
def normalised_embedding(rng, key):
    params = {"table": rng.normal(size=(9, 5)), "bias": rng.normal(size=9)}
    words, targets = rng.integers(0, 9, (4, 3)), rng.integers(0, 9, 4)

    def loss(p):
        vectors = p["table"][words].mean(axis=1)
        vectors = vectors / jnp.linalg.norm(vectors, axis=-1, keepdims=True)
        logits = vectors @ p["table"].T + p["bias"]
        picked = jnp.take_along_axis(logits, targets[:, None], axis=1)[:, 0]
        return jnp.mean(jax.scipy.special.logsumexp(logits, axis=1) - picked)

    return loss, params


@example()
def graph_network(rng, key):
    params = {"edge": rng.normal(size=(6, 4)), "node": rng.normal(size=(7, 2))}
    nodes, senders, receivers = rng.normal(size=(5, 3)), rng.integers(0, 5, 9), rng.integers(0, 5, 9)

    def loss(p):
        messages = jnp.tanh(jnp.concatenate([nodes[senders], nodes[receivers]], 1) @ p["edge"])
        total = jax.ops.segment_sum(messages, receivers, num_segments=5)
        return jnp.sum(jax.nn.softplus(jnp.concatenate([nodes, total], 1) @ p["node"]))

    return loss, params


@example()
def dropout_with_a_key(rng, key):
    params = {"w1": rng.normal(size=(4, 8)), "w2": rng.normal(size=(8, 1))}
    X, y = rng.normal(size=(6, 4)), rng.normal(size=(6, 1))

    def loss(p):
        h = jax.nn.elu(X @ p["w1"])
        kept = jax.random.bernoulli(key, 0.7, h.shape)
        return jnp.mean((jnp.where(kept, h / 0.7, 0.0) @ p["w2"] - y) ** 2)

    return loss, params


@example()
def variational(rng, key):
    params = {"mu": rng.normal(size=3), "log_sigma": rng.normal(size=3)}

    def loss(p):
        noise = jax.random.normal(key, (8, 3), jnp.float64)
        z = p["mu"] + jnp.exp(p["log_sigma"]) * noise
        log_q = jax.scipy.stats.norm.logpdf(z, p["mu"], jnp.exp(p["log_sigma"])).sum(1)
        log_p = -jnp.sum(jnp.log1p(z**2 / 3.0), 1)
        return jnp.mean(log_q - log_p)

    return loss, params


@jax.custom_vjp
def clipped_log(x):
    return jnp.log(jnp.maximum(x, 1e-3))


clipped_log.defvjp(lambda x: (clipped_log(x), x), lambda x, g: (jnp.where(x > 1e-3, g / x, 0.0),))


@jax.custom_jvp
def log1pexp(x):
    return jnp.logaddexp(0.0, x)


@log1pexp.defjvp
def _(primals, tangents):
    (x,), (dx,) = primals, tangents
    return log1pexp(x), jax.nn.sigmoid(x) * dx


@example()
def own_rules(rng, key):
    params = rng.uniform(0.5, 2.0, size=(2, 5))
    return lambda p: jnp.sum(clipped_log(p[0]) * log1pexp(p[1])), params


@example()
def solves(rng, key):
    params = {"A": 3.0 * jnp.eye(4) + rng.normal(size=(4, 4)) / 2, "b": rng.normal(size=4)}

    def loss(p):
        spd = p["A"] @ p["A"].T + jnp.eye(4)
        L = jnp.linalg.cholesky(spd)
        y = jax.scipy.linalg.solve_triangular(L, p["b"], lower=True)
        return jnp.sum(y**2) + 2 * jnp.sum(jnp.log(jnp.diag(L))) + jnp.sum(jnp.linalg.solve(p["A"], p["b"]))

    return loss, params


@example()
def hamiltonian(rng, key):
    """The loss of derivatives: jax.grad inside of the loss."""
    params = [rng.normal(size=(2, 6)), rng.normal(size=(6, 1))]
    q, p_ = rng.normal(size=5), rng.normal(size=5)

    def energy(w, q, p):
        return (jnp.tanh(jnp.stack([q, p]) @ w[0]) @ w[1])[0]

    def loss(w):
        dq, dp = jax.vmap(jax.grad(energy, argnums=(1, 2)), in_axes=(None, 0, 0))(w, q, p_)
        return jnp.mean((dp - p_) ** 2 + (dq - jnp.sin(q)) ** 2)

    return loss, params


@example()
def sorts_and_windows(rng, key):
    params = rng.normal(size=(3, 6))

    def loss(x):
        ordered = jnp.sort(x, axis=1)
        top, _ = lax.top_k(x, 2)
        running = jnp.cumsum(ordered, axis=1)
        part = lax.dynamic_slice(running, (0, 2), (3, 3))
        written = lax.dynamic_update_slice(x, part**2, (0, 1))
        return jnp.sum(written * jnp.flip(x)) + jnp.prod(top) + jnp.sum(jnp.clip(x, -1, 1))

    return loss, params


@example()
def neural_ode(rng, key):
    params = {"w": rng.normal(size=(2, 8)), "v": rng.normal(size=(8, 2))}
    y0 = rng.normal(size=(3, 2))

    def loss(p):
        f = lambda y: jnp.tanh(y**3 @ p["w"]) @ p["v"]

        def rk4(y, _):
            k1 = f(y)
            k2 = f(y + 0.05 * k1)
            k3 = f(y + 0.05 * k2)
            k4 = f(y + 0.1 * k3)
            return y + 0.1 / 6 * (k1 + 2 * k2 + 2 * k3 + k4), y

        last, path = lax.scan(rk4, y0, None, length=6)
        return jnp.mean(last**2) + jnp.mean(jnp.abs(path))

    return loss, params


@example()
def mixture(rng, key):
    params = {"logits": rng.normal(size=3), "mean": rng.normal(size=(3, 2)), "raw": rng.normal(size=(3, 2))}
    X = rng.normal(size=(7, 2))

    def loss(p):
        scale = jax.nn.softplus(p["raw"])
        z = (X[:, None] - p["mean"]) / scale
        each = -0.5 * jnp.sum(z**2, -1) - jnp.sum(jnp.log(scale), -1)
        return -jnp.mean(jax.nn.logsumexp(each + jax.nn.log_softmax(p["logits"]), axis=1))

    return loss, params
