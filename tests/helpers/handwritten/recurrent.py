"""Networks and algorithms that go through time."""
# ruff: noqa: B905

import numpy as np

from handwritten.entry import Handwritten, by_torch, constant, drawn

ENTRIES = []


def entry(name, loss, params, reference):
    ENTRIES.append(Handwritten(name, loss, params, by_torch(reference)))


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


draw = drawn(4)

# ---- a character-level network of tanh cells, with dictionaries by time

vocab_size, hidden_size = 5, 4
inputs = [0, 3, 1, 4, 4, 2]
targets = [3, 1, 4, 4, 2, 0]
hprev = np.zeros((hidden_size, 1))


def min_char_rnn(params):
    Wxh, Whh, Why, bh, by = (params[k] for k in ("Wxh", "Whh", "Why", "bh", "by"))
    xs, hs, ys, ps = {}, {}, {}, {}
    hs[-1] = np.copy(hprev)
    loss = 0
    for t in range(len(inputs)):
        xs[t] = np.zeros((vocab_size, 1))
        xs[t][inputs[t]] = 1
        hs[t] = np.tanh(np.dot(Wxh, xs[t]) + np.dot(Whh, hs[t - 1]) + bh)
        ys[t] = np.dot(Why, hs[t]) + by
        ps[t] = np.exp(ys[t]) / np.sum(np.exp(ys[t]))
        loss += -np.log(ps[t][targets[t], 0])
    return loss


def min_char_rnn_torch(torch, p):
    h, total = torch.zeros(hidden_size, dtype=torch.float64), 0
    for x, y in zip(inputs, targets):
        h = torch.tanh(p["Wxh"][:, x] + p["Whh"] @ h + p["bh"][:, 0])
        total = total - torch.log_softmax(p["Why"] @ h + p["by"][:, 0], 0)[y]
    return total


entry("min_char_rnn", min_char_rnn,
      {"Wxh": draw(4, 5), "Whh": draw(4, 4, scale=0.5), "Why": draw(5, 4), "bh": draw(4, 1), "by": draw(5, 1)},
      min_char_rnn_torch)  # fmt: skip


# ---- an LSTM whose states and gates are buffers that are filled over time

X_seq = draw(5, 3, 2)
Y_seq = draw(5, 3, 3)


def lstm_buffers(WLSTM):
    n, b, input_size = X_seq.shape
    d = WLSTM.shape[1] // 4
    xphpb = WLSTM.shape[0]
    Hin = np.zeros((n, b, xphpb))
    Hout = np.zeros((n, b, d))
    IFOG = np.zeros((n, b, d * 4))
    IFOGf = np.zeros_like(IFOG)
    C = np.zeros((n, b, d))
    Ct = np.zeros((n, b, d))
    for t in range(n):
        prevh = Hout[t - 1] if t > 0 else np.zeros((b, d))
        Hin[t, :, 0] = 1
        Hin[t, :, 1 : input_size + 1] = X_seq[t]
        Hin[t, :, input_size + 1 :] = prevh
        IFOG[t] = Hin[t].dot(WLSTM)
        IFOGf[t, :, : 3 * d] = 1.0 / (1.0 + np.exp(-IFOG[t, :, : 3 * d]))
        IFOGf[t, :, 3 * d :] = np.tanh(IFOG[t, :, 3 * d :])
        prevc = C[t - 1] if t > 0 else np.zeros((b, d))
        C[t] = IFOGf[t, :, :d] * IFOGf[t, :, 3 * d :] + IFOGf[t, :, d : 2 * d] * prevc
        Ct[t] = np.tanh(C[t])
        Hout[t] = IFOGf[t, :, 2 * d : 3 * d] * Ct[t]
    return np.sum((Hout - Y_seq) ** 2) / 2


def lstm_buffers_torch(torch, W):
    x, y = constant(torch, X_seq, Y_seq)
    h = c = torch.zeros(3, 3, dtype=torch.float64)
    total = 0
    for t in range(5):
        i, f, o, g = (W[0] + x[t] @ W[1:3] + h @ W[3:]).chunk(4, dim=1)
        c = torch.sigmoid(i) * torch.tanh(g) + torch.sigmoid(f) * c
        h = torch.sigmoid(o) * torch.tanh(c)
        total = total + ((h - y[t]) ** 2).sum() / 2
    return total


entry("lstm_buffers", lstm_buffers, draw(6, 12, scale=0.6), lstm_buffers_torch)


# ---- an LSTM with four matrices, over columns that are stacked on top of each other

seq_cols = [draw(2, 1) for _ in range(4)]


def lstm_stacked(p):
    h = np.zeros((3, 1))
    c = np.zeros((3, 1))
    outs = []
    for x in seq_cols:
        z = np.vstack((h, x))
        f = sigmoid(np.dot(p["W_f"], z) + p["b_f"])
        i = sigmoid(np.dot(p["W_i"], z) + p["b_i"])
        c_bar = np.tanh(np.dot(p["W_c"], z) + p["b_c"])
        c *= f
        c += i * c_bar
        o = sigmoid(np.dot(p["W_o"], z) + p["b_o"])
        h = o * np.tanh(c)
        outs.append(h)
    out = np.array(outs)
    return (out[-1] ** 2).sum() + out.sum(axis=(1, 2)).dot([0.1, -0.2, 0.3, 0.4])


def lstm_stacked_torch(torch, p):
    h = c = torch.zeros(3, 1, dtype=torch.float64)
    total = 0
    for x, w in zip(seq_cols, (0.1, -0.2, 0.3, 0.4)):
        z = torch.cat([h, constant(torch, x)])
        f, i, g, o = (p[f"W_{k}"] @ z + p[f"b_{k}"] for k in "fico")
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
        total = total + w * h.sum()
    return total + (h**2).sum()


entry("lstm_stacked_columns", lstm_stacked,
      {f"{kind}_{gate}": draw(3, 5 if kind == "W" else 1) for gate in "fico" for kind in "Wb"},
      lstm_stacked_torch)  # fmt: skip


# ---- a gated recurrent unit over lines of different lengths, which a mask stops

X_gru = draw(4, 6, 2)
lengths = np.array([6, 3, 4, 1])
y_gru = np.array([1, 0, 1, 0])


def gru(params):
    W, U, b, v = params
    hdim = U.shape[0]
    h = np.zeros((4, hdim))
    states = []
    for t in range(X_gru.shape[1]):
        gates = X_gru[:, t] @ W[:, : 2 * hdim] + h @ U[:, : 2 * hdim] + b[: 2 * hdim]
        z, r = np.split(sigmoid(gates), 2, axis=1)
        n = np.tanh(X_gru[:, t].dot(W[:, 2 * hdim :]) + (r * h).dot(U[:, 2 * hdim :]) + b[2 * hdim :])
        new = (1 - z) * n + z * h
        alive = t < lengths
        h = h.copy()
        h[alive] = new[alive]
        states.append(h)
    last = np.stack(states)[-1]
    logit = last @ v
    return np.mean(np.log1p(np.exp(-np.abs(logit))) + np.maximum(logit, 0) - logit * y_gru)


def gru_torch(torch, params):
    W, U, b, v = params
    x, y = constant(torch, X_gru, y_gru.astype(float))
    h = torch.zeros(4, 3, dtype=torch.float64)
    for t in range(6):
        z, r = torch.sigmoid(x[:, t] @ W[:, :6] + h @ U[:, :6] + b[:6]).chunk(2, 1)
        n = torch.tanh(x[:, t] @ W[:, 6:] + (r * h) @ U[:, 6:] + b[6:])
        h = torch.where(constant(torch, t < lengths)[:, None], (1 - z) * n + z * h, h)
    return torch.nn.functional.binary_cross_entropy_with_logits(h @ v, y)


entry("gru_masked", gru, (draw(2, 9), draw(3, 9, scale=0.6), draw(9), draw(3)), gru_torch)


# ---- both directions, and a linear layer over what they give

X_bi = draw(7, 3)
tags = np.array([0, 1, 2, 1, 0, 0, 2])


def run_direction(x, Wx, Wh, b):
    T = len(x)
    h = np.empty((T + 1, Wh.shape[0]))
    h[-1] = 0.0
    for t in range(T):
        h[t] = np.tanh(x[t] @ Wx + h[t - 1] @ Wh + b)
    return h[:T]


def bidirectional(params):
    fwd = run_direction(X_bi, *params["fwd"])
    bwd = run_direction(X_bi[::-1], *params["bwd"])[::-1]
    both = np.concatenate([fwd, bwd], axis=-1)
    scores = both @ params["out"]
    log_z = np.log(np.sum(np.exp(scores - scores.max(-1, keepdims=True)), axis=-1)) + scores.max(-1)
    return (log_z - scores[np.arange(len(tags)), tags]).mean()


def bidirectional_torch(torch, p):
    x = constant(torch, X_bi)

    def run(x, Wx, Wh, b):
        h, states = torch.zeros(2, dtype=torch.float64), []
        for row in x:
            h = torch.tanh(row @ Wx + h @ Wh + b)
            states.append(h)
        return torch.stack(states)

    both = torch.cat([run(x, *p["fwd"]), run(x.flip(0), *p["bwd"]).flip(0)], 1)
    return torch.nn.functional.cross_entropy(both @ p["out"], constant(torch, tags))


entry("bidirectional", bidirectional,
      {"fwd": (draw(3, 2), draw(2, 2), draw(2)), "bwd": (draw(3, 2), draw(2, 2), draw(2)), "out": draw(4, 3)},
      bidirectional_torch)  # fmt: skip


# ---- an encoder and a decoder that is fed with its own output

source = draw(5, 2)
wanted = draw(3, 2)


def seq2seq(params):
    h = np.zeros(4)
    for x in source:
        h = np.tanh(params["enc_W"] @ np.r_[x, h, 1.0])
    y_hat = np.zeros(2)
    loss = 0.0
    outputs = []
    for step in range(3):
        h = np.tanh(params["dec_W"] @ np.concatenate((y_hat, h, [1.0])))
        y_hat = params["out_W"] @ h
        outputs.append(y_hat)
        loss += np.linalg.norm(y_hat - wanted[step]) / (step + 1)
    smooth = np.sum(np.diff(np.vstack(outputs), axis=0) ** 2)
    return loss + 0.1 * smooth


def seq2seq_torch(torch, p):
    one = torch.ones(1, dtype=torch.float64)
    h = torch.zeros(4, dtype=torch.float64)
    for x in constant(torch, source):
        h = torch.tanh(p["enc_W"] @ torch.cat([x, h, one]))
    out, total, outs = torch.zeros(2, dtype=torch.float64), 0, []
    for k, goal in enumerate(constant(torch, wanted)):
        h = torch.tanh(p["dec_W"] @ torch.cat([out, h, one]))
        out = p["out_W"] @ h
        outs.append(out)
        total = total + (out - goal).norm() / (k + 1)
    return total + 0.1 * (torch.stack(outs).diff(dim=0) ** 2).sum()


entry("seq2seq", seq2seq, {"enc_W": draw(4, 7, scale=0.5), "dec_W": draw(4, 7, scale=0.5), "out_W": draw(2, 4)},
      seq2seq_torch)  # fmt: skip


# ---- connectionist temporal classification: the forward recursion, scaled at each time

frames = draw(3, 8)
sequence = np.array([2, 1, 1])


def ctc(params, blank=0):
    logits = params["W"] @ frames + params["b"][:, None]
    logits = logits - np.max(logits, axis=0)
    probs = np.exp(logits)
    probs = probs / np.sum(probs, axis=0)
    L = 2 * sequence.shape[0] + 1
    T = probs.shape[1]
    alphas = np.zeros((L, T))
    alphas[0, 0] = probs[blank, 0]
    alphas[1, 0] = probs[sequence[0], 0]
    c = np.sum(alphas[:, 0])
    alphas[:, 0] = alphas[:, 0] / c
    llForward = np.log(c)
    for t in range(1, T):
        start = max(0, L - 2 * (T - t))
        end = min(2 * t + 2, L)
        for s in range(start, L):
            l = (s - 1) // 2
            if s % 2 == 0:
                if s == 0:
                    alphas[s, t] = alphas[s, t - 1] * probs[blank, t]
                else:
                    alphas[s, t] = (alphas[s, t - 1] + alphas[s - 1, t - 1]) * probs[blank, t]
            elif s == 1 or sequence[l] == sequence[l - 1]:
                alphas[s, t] = (alphas[s, t - 1] + alphas[s - 1, t - 1]) * probs[sequence[l], t]
            else:
                alphas[s, t] = (alphas[s, t - 1] + alphas[s - 1, t - 1] + alphas[s - 2, t - 1]) * probs[sequence[l], t]
        c = np.sum(alphas[start:end, t])
        alphas[start:end, t] = alphas[start:end, t] / c
        llForward += np.log(c)
    return -llForward


def ctc_torch(torch, p):
    logp = torch.log_softmax(p["W"] @ constant(torch, frames) + p["b"][:, None], 0).T[:, None]
    return torch.nn.functional.ctc_loss(logp, constant(torch, sequence)[None], (8,), (3,), reduction="sum")


entry("ctc_scaled", ctc, {"W": draw(4, 3), "b": draw(4)}, ctc_torch)


# ---- a chain of labels: the log of the sum over all paths, by loops

emissions_x = draw(5, 3)
gold = [1, 0, 2, 2, 1]


def log_sum_exp(vec):
    m = np.max(vec)
    return m + np.log(np.sum(np.exp(vec - m)))


def crf_neg_log_likelihood(params):
    feats = emissions_x @ params["W"]
    trans = params["transitions"]
    forward_var = feats[0].copy()
    for feat in feats[1:]:
        alphas_t = []
        for next_tag in range(3):
            next_tag_var = forward_var + trans[next_tag] + feat[next_tag]
            alphas_t.append(log_sum_exp(next_tag_var))
        forward_var = np.array(alphas_t)
    partition = log_sum_exp(forward_var)
    score = feats[0, gold[0]]
    for i in range(1, len(gold)):
        score = score + trans[gold[i], gold[i - 1]] + feats[i][gold[i]]
    return partition - score


def crf_torch(torch, p):
    feats = constant(torch, emissions_x) @ p["W"]
    a, score = feats[0], feats[0, gold[0]]
    for i in range(1, 5):
        a = torch.logsumexp(a[None] + p["transitions"] + feats[i][:, None], 1)
        score = score + p["transitions"][gold[i], gold[i - 1]] + feats[i, gold[i]]
    return torch.logsumexp(a, 0) - score


entry("crf_forward", crf_neg_log_likelihood, {"W": draw(3, 3), "transitions": draw(3, 3)}, crf_torch)
