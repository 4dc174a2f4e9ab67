"""Fully connected networks and their costs, as functions of arrays."""
# ruff: noqa: B905, RUF059

import numpy as np

from handwritten.entry import Handwritten, by_torch, constant, drawn

ENTRIES = []


def entry(name, loss, params, reference):
    ENTRIES.append(Handwritten(name, loss, params, by_torch(reference)))


# ---- a two-layer classifier, as in a well-known course

draw = drawn(1)
X_spiral = draw(7, 4)
y_spiral = np.array([0, 2, 1, 1, 0, 2, 2])


def two_layer_net_loss(params, reg=0.05):
    W1, b1 = params["W1"], params["b1"]
    W2, b2 = params["W2"], params["b2"]
    N, D = X_spiral.shape
    hidden = np.maximum(0, X_spiral.dot(W1) + b1)
    scores = hidden.dot(W2) + b2
    scores -= np.max(scores, axis=1, keepdims=True)
    exp_scores = np.exp(scores)
    probs = exp_scores / np.sum(exp_scores, axis=1, keepdims=True)
    correct_logprobs = -np.log(probs[range(N), y_spiral])
    data_loss = np.sum(correct_logprobs) / N
    reg_loss = 0.5 * reg * np.sum(W1 * W1) + 0.5 * reg * np.sum(W2 * W2)
    return data_loss + reg_loss


def two_layer_net_torch(torch, p):
    X, y = constant(torch, X_spiral, y_spiral)
    scores = torch.relu(X @ p["W1"] + p["b1"]) @ p["W2"] + p["b2"]
    penalty = 0.025 * ((p["W1"] ** 2).sum() + (p["W2"] ** 2).sum())
    return torch.nn.functional.cross_entropy(scores, y) + penalty


entry("two_layer_softmax", two_layer_net_loss,
      {"W1": draw(4, 5), "b1": draw(5), "W2": draw(5, 3), "b2": draw(3)}, two_layer_net_torch)  # fmt: skip


# ---- columns are samples, and layers are numbered in the names of their parameters

X_cols = draw(3, 6)
Y_cols = np.array([[1, 0, 1, 1, 0, 0]])


def linear_activation_forward(A_prev, W, b, activation):
    Z = np.dot(W, A_prev) + b
    A = 1 / (1 + np.exp(-Z)) if activation == "sigmoid" else np.maximum(0, Z)
    assert A.shape == (W.shape[0], A_prev.shape[1])
    cache = ((A_prev, W, b), Z)
    return A, cache


def L_model_loss(parameters):
    caches = []
    A = X_cols
    L = len(parameters) // 2
    for l in range(1, L):
        A_prev = A
        A, cache = linear_activation_forward(A_prev, parameters["W" + str(l)], parameters["b" + str(l)], "relu")
        caches.append(cache)
    AL, cache = linear_activation_forward(A, parameters["W" + str(L)], parameters["b" + str(L)], "sigmoid")
    caches.append(cache)
    m = Y_cols.shape[1]
    cost = -1 / m * np.sum(np.multiply(Y_cols, np.log(AL)) + np.multiply(1 - Y_cols, np.log(1 - AL)), keepdims=True)
    cost = np.squeeze(cost)
    assert cost.shape == ()
    return cost


def L_model_torch(torch, p):
    A, Y = constant(torch, X_cols, Y_cols.astype(float))
    for l in (1, 2):
        A = torch.relu(p[f"W{l}"] @ A + p[f"b{l}"])
    return torch.nn.functional.binary_cross_entropy_with_logits(p["W3"] @ A + p["b3"], Y)


entry("columns_as_samples", L_model_loss,
      {"W1": draw(4, 3), "b1": draw(4, 1), "W2": draw(3, 4), "b2": draw(3, 1), "W3": draw(1, 3), "b3": draw(1, 1)},
      L_model_torch)  # fmt: skip


# ---- one vector of parameters, with a column of ones for the biases

X_digits = draw(6, 4)
y_digits = np.array([1, 3, 2, 3, 1, 2])


def sigmoid(z):
    return 1.0 / (1.0 + np.exp(-z))


def nnCostFunction(nn_params, input_layer_size=4, hidden_layer_size=3, num_labels=3, lambda_=0.7):
    Theta1 = np.reshape(nn_params[: hidden_layer_size * (input_layer_size + 1)],
                        (hidden_layer_size, input_layer_size + 1))  # fmt: skip
    Theta2 = np.reshape(nn_params[hidden_layer_size * (input_layer_size + 1) :], (num_labels, hidden_layer_size + 1))
    m = X_digits.shape[0]
    a1 = np.c_[np.ones(m), X_digits]
    a2 = sigmoid(a1.dot(Theta1.T))
    a2 = np.c_[np.ones((m, 1)), a2]
    h = sigmoid(a2 @ Theta2.T)
    Y = np.zeros((m, num_labels))
    for i in range(m):
        Y[i, y_digits[i] - 1] = 1
    J = 0
    for i in range(m):
        for k in range(num_labels):
            J += -Y[i, k] * np.log(h[i, k]) - (1 - Y[i, k]) * np.log(1 - h[i, k])
    J = J / m
    J += lambda_ / (2 * m) * (np.sum(Theta1[:, 1:] ** 2) + np.sum(np.square(Theta2[:, 1:])))
    return J


def nn_cost_torch(torch, theta):
    X = constant(torch, X_digits)
    T1, T2 = theta[:15].reshape(3, 5), theta[15:].reshape(3, 4)
    Y = torch.nn.functional.one_hot(constant(torch, y_digits) - 1).double()
    z = torch.sigmoid(X @ T1[:, 1:].T + T1[:, 0]) @ T2[:, 1:].T + T2[:, 0]
    data = torch.nn.functional.binary_cross_entropy_with_logits(z, Y, reduction="sum") / 6
    return data + 0.7 / 12 * ((T1[:, 1:] ** 2).sum() + (T2[:, 1:] ** 2).sum())


entry("flat_vector_with_ones", nnCostFunction, draw(27, scale=0.6), nn_cost_torch)


# ---- a deep autoencoder whose decoder has the transposed weights

images = np.abs(draw(5, 6))


def tied_autoencoder(params):
    *weights, b, c = params
    code = images
    for W in weights:
        code = np.tanh(np.dot(code, W) + (b if W is weights[0] else 0))
    out = code
    for W in weights[::-1]:
        out = out @ W.T
    out = out + c[np.newaxis, :]
    err = out - images
    sparsity = np.mean(np.abs(code))
    return (err**2).sum(axis=-1).mean() + 0.1 * sparsity


def tied_autoencoder_torch(torch, p):
    W1, W2, b, c = p
    x = constant(torch, images)
    code = torch.tanh(torch.tanh(x @ W1 + b) @ W2)
    return ((code @ W2.T @ W1.T + c - x) ** 2).sum(1).mean() + 0.1 * code.abs().mean()


entry("tied_autoencoder", tied_autoencoder, [draw(6, 4), draw(4, 3), draw(4), draw(6)], tied_autoencoder_torch)


# ---- highway layers; the gate's bias begins below zero

x_hw = draw(5, 4)
t_hw = draw(5, 1)


def highway(params):
    x = x_hw
    for layer in params["layers"]:
        H = np.tanh(x @ layer["W_H"] + layer["b_H"])
        T = 1 / (1 + np.exp(-(x @ layer["W_T"] + layer["b_T"])))
        x = H * T + x * (1 - T)
    pred = x @ params["out"]
    return 0.5 * np.linalg.norm(pred - t_hw) ** 2


def highway_torch(torch, p):
    x, t = constant(torch, x_hw, t_hw)
    for q in p["layers"]:
        T = torch.sigmoid(x @ q["W_T"] + q["b_T"])
        x = torch.tanh(x @ q["W_H"] + q["b_H"]) * T + x * (1 - T)
    return ((x @ p["out"] - t) ** 2).sum() / 2


entry("highway", highway,
      {"layers": [{"W_H": draw(4, 4), "b_H": draw(4), "W_T": draw(4, 4), "b_T": draw(4) - 1} for _ in range(2)],
       "out": draw(4, 1)}, highway_torch)  # fmt: skip


# ---- residual blocks; layer norm in place, leaky rectifier by where

x_res = draw(6, 4)
y_res = draw(6, 4)


def layernorm(x, gamma, beta, eps=1e-5):
    x = x - x.mean(axis=-1, keepdims=True)
    x /= np.sqrt(x.var(-1, keepdims=True) + eps)
    x *= gamma
    x += beta
    return x


def resnet_mlp(params):
    h = x_res.copy()
    for W1, W2, (gamma, beta) in zip(params["W1"], params["W2"], params["norm"]):
        z = layernorm(h, gamma, beta) @ W1
        a = np.where(z > 0, z, 0.1 * z)
        h += a @ W2
    return np.mean((h - y_res) ** 2)


def resnet_mlp_torch(torch, p):
    h, y = constant(torch, x_res, y_res)
    for W1, W2, (gamma, beta) in zip(p["W1"], p["W2"], p["norm"]):
        z = torch.nn.functional.layer_norm(h, (4,), gamma, beta, 1e-5) @ W1
        h = h + torch.nn.functional.leaky_relu(z, 0.1) @ W2
    return torch.mean((h - y) ** 2)


entry("residual_mlp", resnet_mlp,
      {"W1": [draw(4, 5), draw(4, 5)], "W2": [draw(5, 4), draw(5, 4)],
       "norm": [(1 + 0.1 * draw(4), draw(4)), (1 + 0.1 * draw(4), draw(4))]}, resnet_mlp_torch)  # fmt: skip


# ---- dropout with masks that are drawn beforehand, written into preallocated arrays

rs = np.random.default_rng(3)
keep = 0.75
mask1 = (rs.random((8, 6)) < keep) / keep
mask2 = (rs.random((8, 5)) < keep) / keep
x_drop = rs.normal(size=(8, 3))
labels_drop = rs.integers(0, 4, 8)
onehot_drop = np.eye(4)[labels_drop]


def mlp_dropout(w):
    z1 = np.empty((8, 6))
    np.dot(x_drop, w[0], out=z1)
    np.add(z1, w[1], out=z1)
    a1 = np.tanh(z1)
    a1 *= mask1
    z2 = a1 @ w[2] + w[3]
    a2 = np.multiply(z2, 1 / (1 + np.exp(-z2)))
    a2 = a2 * mask2
    o = a2 @ w[4]
    o -= o.max(axis=1)[:, None]
    logp = o - np.log(np.exp(o).sum(axis=1, keepdims=True))
    return -(onehot_drop * logp).sum() / len(x_drop)


def mlp_dropout_torch(torch, w):
    x, m1, m2, y = constant(torch, x_drop, mask1, mask2, labels_drop)
    a = torch.nn.functional.silu((torch.tanh(x @ w[0] + w[1]) * m1) @ w[2] + w[3]) * m2
    return torch.nn.functional.cross_entropy(a @ w[4], y)


entry("dropout_given_masks", mlp_dropout, (draw(3, 6), draw(6), draw(6, 5), draw(5), draw(5, 4)), mlp_dropout_torch)


# ---- maxout units and a Huber cost

x_max = draw(9, 3)
y_max = 3 * draw(9)


def maxout_huber(params, k=2, delta=1.0):
    z = np.tensordot(x_max, params["W"], axes=([1], [0])) + params["b"]
    h = np.max(z, axis=2)
    pred = np.dot(h, params["v"]).ravel()
    r = pred - y_max
    quad = np.minimum(np.abs(r), delta)
    lin = np.abs(r) - quad
    return np.average(0.5 * quad**2 + delta * lin)


def maxout_huber_torch(torch, p):
    x, y = constant(torch, x_max, y_max)
    h = (torch.einsum("nd,dhk->nhk", x, p["W"]) + p["b"]).amax(2)
    return torch.nn.functional.huber_loss((h @ p["v"]).ravel(), y)


entry("maxout_huber", maxout_huber, {"W": draw(3, 4, 2), "b": draw(4, 2), "v": draw(4, 1)}, maxout_huber_torch)


# ---- a mixture of experts

x_moe = draw(6, 3)
y_moe = draw(6, 2)


def moe_nll(p, sigma=0.8):
    logits = np.einsum("nd,de->ne", x_moe, p["gate"])
    g = np.exp(logits - logits.max(1, keepdims=True))
    g = g / g.sum(1, keepdims=True)
    experts = np.einsum("nd,edk->nek", x_moe, p["experts"]) + p["bias"]
    sq = np.sum((experts - y_moe[:, None, :]) ** 2, axis=2)
    like = g * np.exp(-sq / (2 * sigma**2))
    return -np.log(like.sum(axis=1)).mean()


def moe_torch(torch, p):
    x, y = constant(torch, x_moe, y_moe)
    out = torch.einsum("nd,edk->nek", x, p["experts"]) + p["bias"]
    sq = ((out - y[:, None]) ** 2).sum(2)
    return -torch.logsumexp(torch.log_softmax(x @ p["gate"], 1) - sq / 1.28, 1).mean()


entry("mixture_of_experts", moe_nll,
      {"gate": draw(3, 4), "experts": draw(4, 3, 2, scale=0.7), "bias": draw(4, 2, scale=0.5)}, moe_torch)  # fmt: skip
