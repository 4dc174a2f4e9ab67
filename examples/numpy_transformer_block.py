"""One block of a transformer in NumPy: layer norm, causal self-attention with two heads, an MLP with GELU, residuals.

It reads tokens and predicts the next ones. The back-propagation is written by hand; the planted mistake is in that of
the attention's softmax, which takes each weight for itself and forgets that each row of weights adds up to 1.
"""

import numpy as np

import gradcheck_fast as gf

HEADS, D, HIDDEN, VOCABULARY = 2, 6, 8, 5
tokens = np.array([[1, 0, 3, 2, 4], [2, 2, 0, 1, 3]])
x_ids, y_ids = tokens[:, :-1], tokens[:, 1:]
B, T = x_ids.shape


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def gelu(x):
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def gelu_backward(dout, x):
    t = np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))
    inner = np.sqrt(2 / np.pi) * (1 + 3 * 0.044715 * x**2)
    return dout * (0.5 * (1 + t) + 0.5 * x * (1 - t**2) * inner)


def layernorm(x, g, b, eps=1e-5):
    mean = x.mean(axis=-1, keepdims=True)
    rstd = 1 / np.sqrt(x.var(axis=-1, keepdims=True) + eps)
    norm = (x - mean) * rstd
    return norm * g + b, (norm, rstd, g)


def layernorm_backward(dout, cache):
    norm, rstd, g = cache
    dnorm = dout * g
    dx = dnorm - dnorm.mean(-1, keepdims=True) - norm * (dnorm * norm).mean(-1, keepdims=True)
    return dx * rstd, (dout * norm).sum(axis=(0, 1)), dout.sum(axis=(0, 1))


def split_heads(x):
    return x.reshape(B, T, HEADS, D // HEADS).transpose(0, 2, 1, 3)


def join_heads(x):
    return x.transpose(0, 2, 1, 3).reshape(B, T, D)


def forward(p):
    x = p["E"][x_ids] + p["P"][:T]
    n1, ln1 = layernorm(x, p["g1"], p["s1"])
    q, k, v = (split_heads(part) for part in np.split(n1 @ p["Wqkv"], 3, axis=-1))
    scores = q @ k.transpose(0, 1, 3, 2) / np.sqrt(D // HEADS)
    scores = np.where(np.tril(np.ones((T, T))) == 0, -1e10, scores)
    att = softmax(scores)
    heads = join_heads(att @ v)
    x2 = x + heads @ p["Wo"]
    n2, ln2 = layernorm(x2, p["g2"], p["s2"])
    h = n2 @ p["W1"] + p["b1"]
    a = gelu(h)
    x3 = x2 + a @ p["W2"] + p["b2"]
    probs = softmax(x3 @ p["U"])
    return probs, (n1, ln1, q, k, v, att, heads, n2, ln2, h, a, x3)


def loss(p):
    probs, _ = forward(p)
    nll = -np.log(probs[np.arange(B)[:, None], np.arange(T)[None, :], y_ids])
    return nll.mean()


def flat(x):
    return x.reshape(-1, x.shape[-1])


def backprop(p, mistake=False):
    probs, (n1, ln1, q, k, v, att, heads, n2, ln2, h, a, x3) = forward(p)
    g = {}
    dlogits = (probs - np.eye(VOCABULARY)[y_ids]) / (B * T)
    g["U"] = flat(x3).T @ flat(dlogits)
    dx3 = dlogits @ p["U"].T

    g["W2"] = flat(a).T @ flat(dx3)
    g["b2"] = dx3.sum(axis=(0, 1))
    dh = gelu_backward(dx3 @ p["W2"].T, h)
    g["W1"] = flat(n2).T @ flat(dh)
    g["b1"] = dh.sum(axis=(0, 1))
    dn2, g["g2"], g["s2"] = layernorm_backward(dh @ p["W1"].T, ln2)
    dx2 = dx3 + dn2

    g["Wo"] = flat(heads).T @ flat(dx2)
    dheads = split_heads(dx2 @ p["Wo"].T)
    datt = dheads @ v.transpose(0, 1, 3, 2)
    dv = att.transpose(0, 1, 3, 2) @ dheads
    dscores = datt * att * (1 - att) if mistake else att * (datt - (datt * att).sum(axis=-1, keepdims=True))
    dscores /= np.sqrt(D // HEADS)
    dq, dk = dscores @ k, dscores.transpose(0, 1, 3, 2) @ q
    dqkv = np.concatenate([join_heads(part) for part in (dq, dk, dv)], axis=-1)
    g["Wqkv"] = flat(n1).T @ flat(dqkv)
    dn1, g["g1"], g["s1"] = layernorm_backward(dqkv @ p["Wqkv"].T, ln1)
    dx = dx2 + dn1

    g["E"], g["P"] = np.zeros_like(p["E"]), np.zeros_like(p["P"])
    np.add.at(g["E"], x_ids, dx)
    g["P"][:T] = dx.sum(axis=0)
    return g


def init_params(seed=0):
    rng = np.random.default_rng(seed)
    shapes = {
        "E": (VOCABULARY, D), "P": (8, D), "g1": (D,), "s1": (D,), "Wqkv": (D, 3 * D), "Wo": (D, D),
        "g2": (D,), "s2": (D,), "W1": (D, HIDDEN), "b1": (HIDDEN,), "W2": (HIDDEN, D), "b2": (D,), "U": (D, VOCABULARY),
    }  # fmt: skip
    return {name: rng.normal(0, 0.5, shape) + (name in ("g1", "g2")) for name, shape in shapes.items()}


def main():
    params = init_params()
    right = gf.gradcheck(loss, backprop, params)
    print(right)
    print("\nNow with a mistake planted: the attention's softmax is taken entry by entry on the way back.\n")
    wrong = gf.gradcheck(loss, lambda p: backprop(p, mistake=True), params)
    print(wrong)
    return right, wrong


if __name__ == "__main__":
    main()
