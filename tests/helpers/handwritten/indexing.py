"""Embeddings, graphs, orders, and other losses that pick entries out."""

import numpy as np

from handwritten.entry import Handwritten, by_torch, constant, drawn

ENTRIES = []


def entry(name, loss, params, reference):
    ENTRIES.append(Handwritten(name, loss, params, by_torch(reference)))


draw = drawn(8)

# ---- word2vec: skip-gram with negative samples

pairs = [(0, 2), (1, 2), (0, 4), (3, 3), (2, 0)]
negative = np.array([[1, 3, 3], [0, 4, 1], [2, 2, 2], [0, 1, 4], [3, 4, 0]])


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def skipgram_negative_sampling(params):
    centerWordVectors, outsideVectors = params
    loss = 0.0
    for n, (center, outside) in enumerate(pairs):
        v_c = centerWordVectors[center]
        u_o = outsideVectors[outside]
        loss -= np.log(sigmoid(u_o.dot(v_c)))
        u_k = outsideVectors[negative[n]]
        loss -= np.sum(np.log(sigmoid(-u_k.dot(v_c))))
    return loss / len(pairs)


def skipgram_torch(torch, params):
    V, U = params
    c, o = constant(torch, np.array(pairs)).T
    logsig = torch.nn.functional.logsigmoid
    positive = logsig((V[c] * U[o]).sum(1)).sum()
    return -(positive + logsig(-torch.einsum("nkd,nd->nk", U[constant(torch, negative)], V[c])).sum()) / 5


entry("word2vec_negative_sampling", skipgram_negative_sampling, [draw(5, 3), draw(5, 3)], skipgram_torch)


# ---- a bag of words: the contexts of different lengths are added up by index

context = np.array([0, 1, 1, 4, 2, 5, 5, 0, 3])
owner = np.array([0, 0, 0, 1, 1, 2, 2, 2, 2])
middle = np.array([3, 0, 4])


def cbow(params):
    emb, out = params["emb"], params["out"]
    bag = np.zeros((3, emb.shape[1]))
    np.add.at(bag, owner, emb[context])
    counts = np.bincount(owner)
    bag /= counts[:, None]
    scores = bag @ out
    scores = scores - scores.max(axis=1).reshape(-1, 1)
    log_probs = scores - np.log(np.exp(scores).sum(axis=1)).reshape((-1, 1))
    return -log_probs[range(3), middle].mean()


def cbow_torch(torch, p):
    c, offsets, y = constant(torch, context, [0, 3, 5], middle)
    bags = torch.nn.functional.embedding_bag(c, p["emb"], offsets, mode="mean")
    return torch.nn.functional.cross_entropy(bags @ p["out"], y)


entry("cbow_add_at", cbow, {"emb": draw(6, 3), "out": draw(3, 6)}, cbow_torch)


# ---- GloVe over the pairs that occur

cooc = np.array([[0, 3, 1, 0], [3, 0, 0, 8], [1, 0, 2, 5], [0, 8, 5, 0]], dtype=float)


def glove(params):
    W, Wt, b, bt = (params[key] for key in ["W", "W_tilde", "b", "b_tilde"])
    ii, jj = np.nonzero(cooc)
    x = cooc[ii, jj]
    weight = np.where(x < 6, (x / 6) ** 0.75, 1.0)
    diff = np.sum(W[ii] * Wt[jj], axis=1) + b[ii] + bt[jj] - np.log(x)
    return 0.5 * np.sum(weight * diff**2)


def glove_torch(torch, p):
    x = constant(torch, cooc)
    weight = torch.where(x > 0, (x / 6).clamp(max=1) ** 0.75, 0.0)
    diff = p["W"] @ p["W_tilde"].T + p["b"][:, None] + p["b_tilde"] - torch.log(torch.where(x > 0, x, 1.0))
    return 0.5 * (weight * diff**2).sum()


entry("glove", glove, {"W": draw(4, 2), "W_tilde": draw(4, 2), "b": draw(4), "b_tilde": draw(4)}, glove_torch)


# ---- ratings that are known for some pairs only

R = np.array([[5, 3, 0, 1], [4, 0, 0, 1], [1, 1, 0, 5], [0, 1, 5, 4]], float)


def matrix_factorization(p, lam=0.02):
    P, Q = p["P"], p["Q"]
    pred = np.dot(P, Q.T) + p["bu"][:, np.newaxis] + p["bi"][np.newaxis, :] + R[R > 0].mean()
    known = R > 0
    error = (R - pred)[known]
    return np.sum(error**2) + lam * (np.linalg.norm(P) ** 2 + np.linalg.norm(Q, "fro") ** 2)


def matrix_factorization_torch(torch, p):
    r = constant(torch, R)
    pred = p["P"] @ p["Q"].T + p["bu"][:, None] + p["bi"] + r[r > 0].mean()
    return ((r > 0) * (r - pred) ** 2).sum() + 0.02 * ((p["P"] ** 2).sum() + (p["Q"] ** 2).sum())


entry("matrix_factorisation", matrix_factorization,
      {"P": draw(4, 2), "Q": draw(4, 2), "bu": draw(4), "bi": draw(4)}, matrix_factorization_torch)  # fmt: skip


# ---- radial basis functions

x_rbf, y_rbf = draw(9, 2), draw(9)


def rbf_net(params):
    centers, log_width, w = params["centers"], params["log_width"], params["w"]
    d2 = ((x_rbf[:, None, :] - centers[None, :, :]) ** 2).sum(axis=2)
    phi = np.exp(-d2 / (2 * np.exp(log_width) ** 2))
    phi = phi / phi.sum(1, keepdims=True)
    return np.mean((phi @ w[:-1] + w[-1] - y_rbf) ** 2)


def rbf_torch(torch, p):
    x, y = constant(torch, x_rbf, y_rbf)
    logits = -((x[:, None] - p["centers"]) ** 2).sum(2) / (2 * torch.exp(2 * p["log_width"]))
    return ((torch.softmax(logits, 1) @ p["w"][:-1] + p["w"][-1] - y) ** 2).mean()


entry("rbf_network", rbf_net, {"centers": draw(4, 2), "log_width": draw(4, scale=0.3), "w": draw(5)}, rbf_torch)


# ---- messages along the edges of a graph, and an average over it

edges = np.array([[0, 1], [1, 2], [2, 0], [3, 1], [4, 3], [1, 4], [2, 4]])
feats = draw(5, 3)


def message_passing(params):
    src, dst = edges.T
    h = feats
    for W_msg, W_self in params["layers"]:
        agg = np.zeros((5, W_msg.shape[1]))
        for s, d in zip(src, dst, strict=True):
            agg[d] += h[s] @ W_msg
        deg = np.maximum(np.bincount(dst, minlength=5), 1)
        agg /= deg[:, None]
        h = np.tanh(h @ W_self + agg)
    return np.sum(h.mean(axis=0) * params["readout"])


def message_passing_torch(torch, p):
    A = np.zeros((5, 5))
    A[edges[:, 1], edges[:, 0]] = 1
    h, A = constant(torch, feats, A / np.maximum(A.sum(1, keepdims=True), 1))
    for W_msg, W_self in p["layers"]:
        h = torch.tanh(h @ W_self + A @ h @ W_msg)
    return (h.mean(0) * p["readout"]).sum()


entry("graph_messages", message_passing,
      {"layers": [[draw(3, 4), draw(3, 4)], [draw(4, 2), draw(4, 2)]], "readout": draw(2)},
      message_passing_torch)  # fmt: skip


# ---- translations between entities

triples = [(0, 1, 2), (2, 0, 3), (1, 1, 0)]
corrupted = [(0, 1, 3), (1, 0, 3), (1, 1, 2)]


def transe(params, margin=4.0):
    E, Rl = params["entities"], params["relations"]
    E = E / np.sqrt((E**2).sum(-1, keepdims=True))
    loss = 0.0
    for (h, r, t), (h_, r_, t_) in zip(triples, corrupted, strict=True):
        pos = np.abs(E[h] + Rl[r] - E[t]).sum()
        neg = np.linalg.norm(E[h_] + Rl[r_] - E[t_], ord=1)
        loss += max(0.0, margin + pos - neg)
    return loss


def transe_torch(torch, p):
    E = torch.nn.functional.normalize(p["entities"])
    total = 0
    for good, bad in zip(triples, corrupted, strict=True):
        d = [(E[h] + p["relations"][r] - E[t]).abs().sum() for h, r, t in (good, bad)]
        total = total + torch.relu(4 + d[0] - d[1])
    return total


entry("trans_e", transe, {"entities": draw(4, 3), "relations": draw(2, 3)}, transe_torch)


# ---- the worst samples only, and a trimmed mean

x_top, y_top = draw(9, 3), draw(9)


def hardest_examples(w, k=4):
    per_sample = (x_top @ w - y_top) ** 2
    worst = np.sort(per_sample)[::-1][:k]
    ranks = np.argsort(per_sample)
    trimmed = per_sample[ranks[1:-1]]
    return worst.mean() + 0.3 * np.median(per_sample) + 0.1 * trimmed.mean() + 0.05 * np.ptp(w)


def hardest_torch(torch, w):
    x, y = constant(torch, x_top, y_top)
    s = torch.sort((x @ w - y) ** 2).values
    return s[-4:].mean() + 0.3 * s[4] + 0.1 * s[1:-1].mean() + 0.05 * (w.max() - w.min())


entry("hardest_examples", hardest_examples, draw(3), hardest_torch)


# ---- a distance between histograms, and sticks that are broken

bins = np.array([[0.1, 0.2, 0.3, 0.25, 0.15], [0.4, 0.3, 0.1, 0.1, 0.1]])


def stick_breaking_emd(params):
    v = 1 / (1 + np.exp(-params))
    remaining = np.cumprod(1 - v, axis=1)
    sticks = np.ones((2, 5))
    sticks[:, :4] = v
    sticks[:, 1:] *= remaining
    emd = np.abs(np.cumsum(sticks - bins, axis=1)).sum(axis=1)
    return emd.mean() - 0.01 * np.log(np.prod(sticks, axis=1)).sum()


def stick_torch(torch, v):
    b = constant(torch, bins)
    one = torch.ones(2, 1, dtype=torch.float64)
    s = torch.sigmoid(v)
    p = torch.cat([s, one], 1) * torch.cat([one, torch.cumprod(1 - s, 1)], 1)
    return torch.cumsum(p - b, 1).abs().sum(1).mean() - 0.01 * p.log().sum()


entry("stick_breaking", stick_breaking_emd, draw(2, 4), stick_torch)


# ---- a symmetric matrix from its upper triangle: the energy of an Ising-like net, and a volume

spins = np.sign(draw(5, 4))
iu = np.triu_indices(4, k=1)


def pseudo_likelihood(theta):
    J = np.zeros((4, 4))
    J[iu] = theta[:6]
    J = J + J.T
    h = theta[6:]
    field = spins @ J + h
    nll = np.log(1 + np.exp(-2 * spins * field)).sum() / len(spins)
    G = np.eye(4) + J @ J / 4
    return nll + 0.1 * np.log(np.linalg.det(G)) + 0.01 * np.trace(np.linalg.inv(G))


def pseudo_likelihood_torch(torch, theta):
    s = constant(torch, spins)
    J = torch.zeros(4, 4, dtype=torch.float64)
    J = J.index_put(tuple(torch.tensor(i) for i in iu), theta[:6])
    J = J + J.T
    G = torch.eye(4, dtype=torch.float64) + J @ J / 4
    nll = torch.nn.functional.softplus(-2 * s * (s @ J + theta[6:])).sum() / 5
    return nll + 0.1 * torch.logdet(G) + 0.01 * torch.linalg.inv(G).trace()


entry("ising_pseudo_likelihood", pseudo_likelihood, draw(10, scale=0.6), pseudo_likelihood_torch)


# ---- in-place everything

x_ip = draw(6, 5, scale=0.9)


def in_place(p):
    z = x_ip @ p["W"]
    z += p["b"]
    neg = z < 0
    z[neg] *= 0.2
    z[:, 1:3] += z[:, 0:2] ** 2
    z[::2, -1] -= 1.5
    z[[0, 3, 5], [1, 0, 2]] = 0.5
    z[1] /= 2.0
    block = z[2:5, 1:]
    block *= p["scale"]
    z[..., 0] **= 2
    a, b = z[:, :2], z[:, 2:]
    z[:, :2] = np.tanh(a)
    b[b > 3] = 3
    return z.sum(0) @ np.linspace(-1, 1, 4)


def in_place_torch(torch, p):
    z = torch.nn.functional.leaky_relu(constant(torch, x_ip) @ p["W"] + p["b"], 0.2)
    c = [z[:, 0], z[:, 1] + z[:, 0] ** 2, z[:, 2] + z[:, 1] ** 2, z[:, 3]]
    c[3] = c[3] - 1.5 * torch.tensor([1.0, 0, 1, 0, 1, 0])
    z = torch.stack(c, 1)
    z = z.index_put((torch.tensor([0, 3, 5]), torch.tensor([1, 0, 2])), torch.tensor(0.5, dtype=torch.float64))
    z = torch.cat([z[:1], z[1:2] / 2, z[2:]])
    z = torch.cat([z[:2], torch.cat([z[2:5, :1], z[2:5, 1:] * p["scale"]], 1), z[5:]])
    z = torch.cat([torch.tanh(torch.cat([z[:, :1] ** 2, z[:, 1:2]], 1)), z[:, 2:].clamp(max=3)], 1)
    return (z.sum(0) * torch.linspace(-1, 1, 4, dtype=torch.float64)).sum()


entry("in_place_everything", in_place, {"W": draw(5, 4), "b": draw(4), "scale": draw(3)}, in_place_torch)
