"""Habits of Python code around the arithmetic: checks of types, copies, seeds, histories, error states."""
# ruff: noqa: B905, NPY002

import copy
import itertools
import operator
from collections import defaultdict, namedtuple
from functools import partial

import numpy as np

from handwritten.entry import Handwritten, by_torch, constant, drawn

ENTRIES = []


def entry(name, loss, params, reference):
    ENTRIES.append(Handwritten(name, loss, params, by_torch(reference)))


draw = drawn(13)

# ---- dropout and noise inside, which a seed makes the same in every call

x_seed = draw(6, 4)


def seeded_dropout(params):
    np.random.seed(42)
    h = np.tanh(x_seed @ params["W"] + 0.1 * np.random.randn(6, 5))
    rng = np.random.default_rng(0)
    mask = rng.random(h.shape) > 0.3
    h = h * mask / 0.7
    h[rng.permutation(6)[:2]] *= -1
    return np.mean((h @ params["v"] - rng.normal(size=6)) ** 2)


def seeded_dropout_torch(torch, p):
    noise = np.random.RandomState(42).randn(6, 5)
    rng = np.random.default_rng(0)
    mask = (rng.random((6, 5)) > 0.3) / 0.7
    mask[rng.permutation(6)[:2]] *= -1
    x, n, m, y = constant(torch, x_seed, noise, mask, rng.normal(size=6))
    return ((torch.tanh(x @ p["W"] + 0.1 * n) * m @ p["v"] - y) ** 2).mean()


entry("seeded_dropout", seeded_dropout, {"W": draw(4, 5), "v": draw(5)}, seeded_dropout_torch)


# ---- a history, the best parameters so far, and error states

history = defaultdict(list)
best = {"loss": float("inf"), "params": None}
x_h, y_h = draw(7, 3), draw(7)


def with_history(params):
    with np.errstate(over="ignore", divide="ignore"):
        pred = x_h @ params["w"] + params["b"]
        ratio = np.exp(np.clip(pred, -30, 30))
    loss = np.mean(np.log(np.cosh(pred - y_h))) + 1e-2 * ratio.mean()
    history["loss"].append(float(loss))
    history["norm"].append(np.linalg.norm(params["w"]))
    if loss < best["loss"]:
        best["loss"] = loss
        best["params"] = copy.deepcopy(params)
    if not np.isfinite(loss) or len(history["loss"]) > 10**9:
        raise RuntimeError(f"diverged: {history['loss'][-3:]}")
    return loss


def with_history_torch(torch, p):
    x, y = constant(torch, x_h, y_h)
    pred = x @ p["w"] + p["b"]
    return (pred - y).cosh().log().mean() + 0.01 * pred.exp().mean()


entry("history_and_best", with_history, {"w": draw(3), "b": np.array(0.2)}, with_history_torch)


# ---- types are looked at, and numbers converted when they are already right


def as_matrix(v):
    v = np.asarray(v, dtype=float)
    if isinstance(v, np.ndarray) and v.ndim == 1:
        v = v[:, np.newaxis]
    assert v.dtype == np.float64 and v.ndim == 2, (v.dtype, v.shape)
    return np.ascontiguousarray(v)


def activation(name):
    table = {
        "elu": lambda z: np.where(z > 0, z, np.expm1(np.minimum(z, 0))),
        "softplus": lambda z: np.log1p(np.exp(-np.abs(z))) + np.maximum(z, 0),
        "hard": lambda z: np.maximum(0, np.minimum(1, 0.2 * z + 0.5)),
        "swish": lambda z, beta=1.5: z / (1 + np.exp(-beta * z)),
    }
    return table[name]


x_t = draw(3, 5)


def types_looked_at(params):
    a = as_matrix(x_t)
    for k, name in enumerate(["elu", "softplus", "hard", "swish"]):
        W = as_matrix(params[k])
        a = activation(name)(W.astype(float) @ a.astype(np.float64, copy=False))
    if isinstance(a, (list, tuple)) or np.isscalar(a):
        raise TypeError(type(a).__name__)
    result = np.array(a.sum(axis=0), copy=True).mean()
    return result if isinstance(result, float) else float(result)


def types_looked_at_torch(torch, params):
    F = torch.nn.functional
    a = F.softplus(params[1] @ F.elu(params[0] @ constant(torch, x_t)))
    z = params[3][:, None] @ (0.2 * params[2][None] @ a + 0.5).clamp(0, 1)
    return (z * torch.sigmoid(1.5 * z)).sum(0).mean()


def types_params():
    return [draw(4, 3), draw(3, 4), draw(1, 3), draw(2)]


# the third layer has one unit and is given as a matrix, the fourth as a vector, which becomes a column
types = types_params()
types[2] = 0.3 * types[2]
entry("types_looked_at", types_looked_at, types,
      lambda torch, p: types_looked_at_torch(torch, [p[0], p[1], p[2][0], p[3]]))  # fmt: skip


# ---- a few steps of training inside of the loss, as in learning to learn

x_in, y_in = draw(6, 2), draw(6)
x_out, y_out = draw(4, 2), draw(4)


def maml(meta, inner_steps=3):
    w = meta["w"].copy()
    velocity = np.zeros_like(w)
    lr = np.exp(meta["log_lr"])
    step = 0
    while step < inner_steps:
        grad = 2 * x_in.T @ (x_in @ w - y_in) / len(x_in)
        velocity *= meta["momentum"]
        velocity -= lr * grad
        w += velocity
        step += 1
    return ((x_out @ w - y_out) ** 2).mean()


def maml_torch(torch, meta):
    x, y, x2, y2 = constant(torch, x_in, y_in, x_out, y_out)
    w, v = meta["w"], 0
    for _ in range(3):
        (grad,) = torch.autograd.grad(((x @ w - y) ** 2).mean(), w, create_graph=True)
        v = meta["momentum"] * v - meta["log_lr"].exp() * grad
        w = w + v
    return ((x2 @ w - y2) ** 2).mean()


entry("learning_to_learn", maml, {"w": draw(2), "log_lr": -1.2, "momentum": 0.5}, maml_torch)


# ---- operators by name, products of choices, partial functions, unpacking of all kinds

Layer = namedtuple("Layer", "weight bias gain")
x_op = draw(5, 3)


def functional_style(params):
    layers = [Layer(*p) for p in params]
    step = lambda h, layer: np.sin(layer.gain * (h @ layer.weight) + layer.bias)
    *_, h = itertools.accumulate(layers, step, initial=x_op)
    inner = partial(np.einsum, "i,i->")
    total = 0
    for a, b in itertools.combinations(h, 2):
        total = operator.add(total, operator.mul(inner(a, b), 0.1))
    (first, *_), last = h[0], h[-1]
    nonzero = [v for v in last if v != 0]
    return total + operator.truediv(first, 1 + abs(nonzero[0])) + sum(map(operator.neg, last)) + np.prod(h[1])


def functional_style_torch(torch, params):
    h = constant(torch, x_op)
    for W, b, g in params:
        h = torch.sin(g * (h @ W) + b)
    K = h @ h.T
    pairs = (K.sum() - K.trace()) / 2
    return 0.1 * pairs + h[0, 0] / (1 + h[-1, 0].abs()) - h[-1].sum() + h[1].prod()


entry("functional_style", functional_style, [(draw(3, 4), draw(4), np.array(0.9)), (draw(4, 3), draw(3), draw(3))],
      functional_style_torch)  # fmt: skip


# ---- optional parts, defaults, early returns, nonlocal totals

x_e, y_e = draw(6, 4), np.array([1, -1, 1, 1, -1, -1])


def early_returns(params):
    penalty = 0.0

    def add_penalty(array, kind="l2", strength=0.01):
        nonlocal penalty
        if kind is None or not array.any():
            return
        penalty += strength * (np.sum(array**2) if kind == "l2" else np.abs(array).sum())

    def score(x, bias=None):
        s = x @ params["w"]
        return s if bias is None else s + bias

    add_penalty(params["w"])
    add_penalty(params["u"], kind="l1")
    add_penalty(np.zeros(3))
    total = 0
    for xi, yi in zip(x_e, y_e):
        margin = yi * score(xi, params.get("bias"))
        if margin > 1:
            continue
        if (left := 1 - margin) > 0.9:
            total += 2 * left - 0.9
        elif 0 < left <= 0.9:
            total += left**2 / 0.9
    return total / len(x_e) + penalty + np.maximum(params["u"], 0) @ params["u"]


def early_returns_torch(torch, p):
    x, y = constant(torch, x_e, y_e)
    left = 1 - y * (x @ p["w"] + p["bias"])
    cost = torch.where(left > 0.9, 2 * left - 0.9, torch.where(left > 0, left**2 / 0.9, 0.0))
    return cost.sum() / 6 + 0.01 * ((p["w"] ** 2).sum() + p["u"].abs().sum()) + (torch.relu(p["u"]) ** 2).sum()


entry("early_returns", early_returns, {"w": draw(4, scale=0.5), "u": draw(3), "bias": 0.1}, early_returns_torch)
