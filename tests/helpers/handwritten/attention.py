"""Attention, and what is built around it."""
# ruff: noqa: B905

import numpy as np

from handwritten.entry import Handwritten, by_torch, constant, drawn

ENTRIES = []


def entry(name, loss, params, reference):
    ENTRIES.append(Handwritten(name, loss, params, by_torch(reference)))


def softmax(x, axis=-1):
    e_x = np.exp(x - np.max(x, axis=axis, keepdims=True))
    return e_x / np.sum(e_x, axis=axis, keepdims=True)


draw = drawn(6)

# ---- one head, query by query

tokens = draw(4, 3)


def attention_by_loops(params):
    Q, K, V = tokens @ params["Wq"], tokens @ params["Wk"], tokens @ params["Wv"]
    T, d = Q.shape
    out = np.zeros_like(V)
    for i in range(T):
        scores = np.zeros(i + 1)
        for j in range(i + 1):
            scores[j] = Q[i].dot(K[j]) / np.sqrt(d)
        w = np.exp(scores - scores.max())
        w /= w.sum()
        for j in range(i + 1):
            out[i] += w[j] * V[j]
    return np.sum(out**2) / 2


def attention_by_loops_torch(torch, p):
    x = constant(torch, tokens)[None]
    out = torch.nn.functional.scaled_dot_product_attention(x @ p["Wq"], x @ p["Wk"], x @ p["Wv"], is_causal=True)
    return (out**2).sum() / 2


entry("attention_by_loops", attention_by_loops, {"Wq": draw(3, 2), "Wk": draw(3, 2), "Wv": draw(3, 4)},
      attention_by_loops_torch)  # fmt: skip


# ---- several heads in one product, and padding that is masked out

B, T, E, H = 2, 5, 4, 2
x_mha = draw(B, T, E)
pad = np.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]])
goal_mha = draw(B, T, E)


def multi_head(params):
    def split_heads(x):
        return x.reshape(B, T, H, E // H).transpose(0, 2, 1, 3)

    q, k, v = (split_heads(x_mha @ params[name] + params["b" + name]) for name in ("q", "k", "v"))
    att = (q @ k.swapaxes(-1, -2)) / np.sqrt(E // H)
    att = np.where(pad[:, None, None, :] == 0, -1e9, att)
    att = softmax(att)
    y = np.matmul(att, v).transpose(0, 2, 1, 3).reshape(B, T, E)
    y = y @ params["proj"]
    err = (y - goal_mha) * pad[..., np.newaxis]
    return np.sum(err**2) / pad.sum()


def multi_head_torch(torch, p):
    x, m, goal = constant(torch, x_mha, pad, goal_mha)
    q, k, v = ((x @ p[n] + p["b" + n]).reshape(B, T, H, E // H).transpose(1, 2) for n in "qkv")
    y = torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=m[:, None, None].bool())
    y = y.transpose(1, 2).reshape(B, T, E) @ p["proj"]
    return (((y - goal) * m[..., None]) ** 2).sum() / m.sum()


entry("multi_head_masked", multi_head,
      {**{n: draw(4, 4) for n in ("q", "k", "v", "proj")}, **{n: draw(4) for n in ("bq", "bk", "bv")}},
      multi_head_torch)  # fmt: skip


# ---- a small GPT in the functional style, with parameters as keyword arguments

ids = [3, 0, 5, 2, 2, 6]


def gelu(x):
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def layer_norm(x, g, b, eps: float = 1e-5):
    mean = np.mean(x, axis=-1, keepdims=True)
    variance = np.var(x, axis=-1, keepdims=True)
    return g * (x - mean) / np.sqrt(variance + eps) + b


def linear(x, w, b):
    return x @ w + b


def ffn(x, c_fc, c_proj):
    return linear(gelu(linear(x, **c_fc)), **c_proj)


def attend(q, k, v, mask):
    return softmax(q @ k.T / np.sqrt(q.shape[-1]) + mask) @ v


def mha(x, c_attn, c_proj, n_head):
    x = linear(x, **c_attn)
    qkv = np.split(x, 3, axis=-1)
    qkv_heads = list(map(lambda x: np.split(x, n_head, axis=-1), qkv))  # noqa: C417
    causal_mask = (1 - np.tri(x.shape[0], dtype=x.dtype)) * -1e10
    out_heads = [attend(q, k, v, causal_mask) for q, k, v in zip(*qkv_heads)]
    return linear(np.hstack(out_heads), **c_proj)


def transformer_block(x, mlp, attn, ln_1, ln_2, n_head):
    x = x + mha(layer_norm(x, **ln_1), **attn, n_head=n_head)
    return x + ffn(layer_norm(x, **ln_2), **mlp)


def gpt2(inputs, wte, wpe, blocks, ln_f, n_head):
    x = wte[inputs] + wpe[range(len(inputs))]
    for block in blocks:
        x = transformer_block(x, **block, n_head=n_head)
    return layer_norm(x, **ln_f) @ wte.T


def gpt_loss(params):
    x, y = ids[:-1], ids[1:]
    logits = gpt2(x, **params, n_head=2)
    probs = softmax(logits)
    return -np.mean(np.log(probs[np.arange(len(y)), y]))


def gpt_torch(torch, p):
    F = torch.nn.functional
    norm = lambda x, q: F.layer_norm(x, (4,), q["g"], q["b"], 1e-5)
    x = p["wte"][ids[:-1]] + p["wpe"][:5]
    for q in p["blocks"]:
        a = norm(x, q["ln_1"]) @ q["attn"]["c_attn"]["w"] + q["attn"]["c_attn"]["b"]
        heads = [part.reshape(5, 2, 2).transpose(0, 1)[None] for part in a.chunk(3, 1)]
        a = F.scaled_dot_product_attention(*heads, is_causal=True)[0].transpose(0, 1).reshape(5, 4)
        x = x + a @ q["attn"]["c_proj"]["w"] + q["attn"]["c_proj"]["b"]
        m = F.gelu(norm(x, q["ln_2"]) @ q["mlp"]["c_fc"]["w"] + q["mlp"]["c_fc"]["b"], approximate="tanh")
        x = x + m @ q["mlp"]["c_proj"]["w"] + q["mlp"]["c_proj"]["b"]
    return F.cross_entropy(norm(x, p["ln_f"]) @ p["wte"].T, torch.tensor(ids[1:]))


def dense_params(n_in, n_out):
    return {"w": draw(n_in, n_out, scale=0.5), "b": draw(n_out, scale=0.1)}


def norm_params():
    return {"g": 1 + draw(4, scale=0.1), "b": draw(4, scale=0.1)}


entry("gpt_functional", gpt_loss,
      {"wte": draw(7, 4), "wpe": draw(6, 4), "ln_f": norm_params(),
       "blocks": [{"mlp": {"c_fc": dense_params(4, 6), "c_proj": dense_params(6, 4)},
                   "attn": {"c_attn": dense_params(4, 12), "c_proj": dense_params(4, 4)},
                   "ln_1": norm_params(), "ln_2": norm_params()}]}, gpt_torch)  # fmt: skip


# ---- additive attention of a decoder's state over an encoder's

enc_states = draw(6, 3)
dec_states = draw(4, 3)


def bahdanau(params):
    W, U, v = params
    context = []
    for s in dec_states:
        e = np.array([np.dot(v, np.tanh(W.dot(s) + U.dot(h))) for h in enc_states])
        a = np.exp(e) / sum(np.exp(e))
        context.append(sum(a[i] * enc_states[i] for i in range(len(a))))
    context = np.asarray(context)
    return np.mean(np.sum((context - dec_states) ** 2, axis=1))


def bahdanau_torch(torch, params):
    W, U, v = params
    h, s = constant(torch, enc_states, dec_states)
    a = torch.softmax(torch.tanh((s @ W.T)[:, None] + h @ U.T) @ v, 1)
    return ((a @ h - s) ** 2).sum(1).mean()


entry("additive_attention", bahdanau, [draw(4, 3), draw(4, 3), draw(4)], bahdanau_torch)


# ---- linear attention: cumulative sums take the place of the softmax

x_lin = draw(2, 6, 3)


def linear_attention(params):
    phi = lambda u: np.where(u > 0, u + 1, np.exp(np.minimum(u, 0)))
    q = phi(x_lin @ params["q"])
    k = phi(x_lin @ params["k"])
    v = x_lin @ params["v"]
    kv = np.cumsum(np.einsum("btd,bte->btde", k, v), axis=1)
    z = 1 / np.einsum("btd,btd->bt", q, k.cumsum(1))
    out = np.einsum("btd,btde,bt->bte", q, kv, z)
    return np.abs(out).sum(-1).mean()


def linear_attention_torch(torch, p):
    x = constant(torch, x_lin)
    q, k = (torch.nn.functional.elu(x @ p[n]) + 1 for n in "qk")
    w = torch.tril(q @ k.mT)
    return ((w / w.sum(-1, keepdim=True)) @ (x @ p["v"])).abs().sum(-1).mean()


entry("linear_attention", linear_attention, {"q": draw(3, 4), "k": draw(3, 4), "v": draw(3, 2)}, linear_attention_torch)


# ---- rotary positions, written into an empty array; a bias by relative position

x_rot = draw(5, 6)
angles = np.arange(5)[:, None] / (10.0 ** (np.arange(3) / 3))


def rotate(x):
    out = np.empty_like(x)
    x1, x2 = x[..., ::2], x[..., 1::2]
    out[..., 0::2] = x1 * np.cos(angles) - x2 * np.sin(angles)
    out[..., 1::2] = x1 * np.sin(angles) + x2 * np.cos(angles)
    return out


def rotary(params):
    q, k = rotate(x_rot @ params["q"]), rotate(x_rot @ params["k"])
    T = len(q)
    rel = np.arange(T)[:, None] - np.arange(T)[None, :] + T - 1
    scores = q @ k.T + params["rel_bias"][rel]
    p = softmax(scores)
    entropy = -np.sum(p * np.log(p), axis=1)
    return entropy.mean() + 0.1 * (p @ x_rot).std()


def rotary_torch(torch, p):
    x, turn = constant(torch, x_rot, angles)
    turned = lambda z: torch.view_as_real(
        torch.view_as_complex(z.reshape(5, 3, 2)) * torch.polar(torch.ones_like(turn), turn)
    )
    q, k = turned(x @ p["q"]).reshape(5, 6), turned(x @ p["k"]).reshape(5, 6)
    index = torch.arange(5)[:, None] - torch.arange(5) + 4
    logp = torch.log_softmax(q @ k.T + p["rel_bias"][index], 1)
    return -(logp.exp() * logp).sum(1).mean() + 0.1 * (logp.exp() @ x).std(unbiased=False)


entry("rotary_relative", rotary, {"q": draw(6, 6, scale=0.4), "k": draw(6, 6, scale=0.4), "rel_bias": draw(9)},
      rotary_torch)  # fmt: skip


# ---- patches of images as tokens, a class token in front

imgs = draw(2, 1, 4, 4)
digit = np.array([2, 0])


def vit(params):
    n = len(imgs)
    patches = imgs.reshape(n, 1, 2, 2, 2, 2)
    patches = np.rollaxis(patches, 4, 3).reshape(n, 4, 4)
    emb = patches @ params["embed"]
    cls = np.tile(params["cls"], (n, 1, 1))
    x = np.concatenate((cls, emb), axis=1) + np.expand_dims(params["pos"], 0)
    att = softmax(np.einsum("nid,njd->nij", x @ params["Wq"], x @ params["Wk"]))
    x = x + att @ x
    first = np.squeeze(np.take(x, [0], axis=1), axis=1)
    logits = first @ params["head"]
    lse = np.log(np.exp(logits).sum(axis=1))
    return np.mean(lse - np.take_along_axis(logits, digit[:, None], axis=1)[:, 0])


def vit_torch(torch, p):
    x, y = constant(torch, imgs, digit)
    patches = x.unfold(2, 2, 2).unfold(3, 2, 2).reshape(2, 4, 4)
    x = torch.cat([p["cls"].expand(2, 1, 3), patches @ p["embed"]], 1) + p["pos"]
    x = x + torch.softmax(x @ p["Wq"] @ (x @ p["Wk"]).mT, -1) @ x
    return torch.nn.functional.cross_entropy(x[:, 0] @ p["head"], y)


entry("vision_transformer", vit,
      {"embed": draw(4, 3), "cls": draw(1, 1, 3), "pos": draw(5, 3), "Wq": draw(3, 3), "Wk": draw(3, 3),
       "head": draw(3, 4)}, vit_torch)  # fmt: skip


# ---- memory of associations with an energy, retrieved by a few steps

patterns = draw(6, 4)
cue = draw(3, 4)


def modern_hopfield(params, steps=3):
    beta = np.exp(params["log_beta"])
    M = patterns * params["gain"]
    state = cue
    for _ in range(steps):
        state = softmax(beta * state @ M.T, axis=1) @ M
    sim = beta * state.dot(M.T)
    top = sim.max(1)
    lse = np.log(np.exp(sim - top[:, None]).sum(1)) + top
    energy = -lse / beta + 0.5 * np.sum(state * state, axis=1)
    return energy.sum()


def modern_hopfield_torch(torch, p):
    M, s = constant(torch, patterns, cue)
    M, beta = M * p["gain"], p["log_beta"].exp()
    for _ in range(3):
        s = torch.softmax(beta * s @ M.T, 1) @ M
    return (-torch.logsumexp(beta * s @ M.T, 1) / beta + 0.5 * (s * s).sum(1)).sum()


entry("modern_hopfield", modern_hopfield, {"log_beta": 0.1, "gain": 1 + 0.2 * draw(4)}, modern_hopfield_torch)
