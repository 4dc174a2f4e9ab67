"""Convolutions and pooling, written in each of the usual ways."""
# ruff: noqa: RUF059

import numpy as np
from numpy.lib.stride_tricks import as_strided, sliding_window_view

from handwritten.entry import Handwritten, by_torch, constant, drawn

ENTRIES = []


def entry(name, loss, params, reference):
    ENTRIES.append(Handwritten(name, loss, params, by_torch(reference)))


draw = drawn(5)

# ---- nested loops over samples, filters and positions

x_naive = draw(2, 2, 5, 5)
labels = np.array([1, 0])


def conv_forward_naive(x, w, b, stride, pad):
    N, C, H, W = x.shape
    F, _, HH, WW = w.shape
    H_out = 1 + (H + 2 * pad - HH) // stride
    W_out = 1 + (W + 2 * pad - WW) // stride
    x_pad = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)), mode="constant")
    out = np.zeros((N, F, H_out, W_out))
    for n in range(N):
        for f in range(F):
            for i in range(H_out):
                for j in range(W_out):
                    window = x_pad[n, :, i * stride : i * stride + HH, j * stride : j * stride + WW]
                    out[n, f, i, j] = np.sum(window * w[f]) + b[f]
    return out


def max_pool_naive(x, size):
    N, C, H, W = x.shape
    out = np.zeros((N, C, H // size, W // size))
    for i in range(H // size):
        for j in range(W // size):
            patch = x[:, :, i * size : (i + 1) * size, j * size : (j + 1) * size]
            out[:, :, i, j] = np.max(patch, axis=(2, 3))
    return out


def cnn_naive(params):
    a = conv_forward_naive(x_naive, params["W1"], params["b1"], stride=1, pad=1)
    a[a < 0] = 0
    p = max_pool_naive(a, 2)
    scores = p.reshape(p.shape[0], -1).dot(params["W2"]) + params["b2"]
    probs = np.exp(scores - np.max(scores, axis=1, keepdims=True))
    probs /= np.sum(probs, axis=1, keepdims=True)
    return -np.sum(np.log(probs[np.arange(2), labels])) / 2


def cnn_torch(torch, p):
    F = torch.nn.functional
    x, y = constant(torch, x_naive, labels)
    a = F.max_pool2d(torch.relu(F.conv2d(x, p["W1"], p["b1"], padding=1)), 2)
    return F.cross_entropy(a.reshape(2, -1) @ p["W2"] + p["b2"], y)


entry("cnn_naive_loops", cnn_naive,
      {"W1": draw(2, 2, 3, 3, scale=0.5), "b1": draw(2), "W2": draw(8, 3, scale=0.5), "b2": draw(3)},
      cnn_torch)  # fmt: skip


# ---- columns by index arrays, with stride and padding

x_idx = draw(3, 2, 6, 6)
y_idx = draw(3, 2)


def get_im2col_indices(x_shape, field_height, field_width, padding=1, stride=1):
    N, C, H, W = x_shape
    out_height = (H + 2 * padding - field_height) // stride + 1
    out_width = (W + 2 * padding - field_width) // stride + 1
    i0 = np.repeat(np.arange(field_height), field_width)
    i0 = np.tile(i0, C)
    i1 = stride * np.repeat(np.arange(out_height), out_width)
    j0 = np.tile(np.arange(field_width), field_height * C)
    j1 = stride * np.tile(np.arange(out_width), out_height)
    i = i0.reshape(-1, 1) + i1.reshape(1, -1)
    j = j0.reshape(-1, 1) + j1.reshape(1, -1)
    k = np.repeat(np.arange(C), field_height * field_width).reshape(-1, 1)
    return (k, i, j)


def im2col_indices(x, field_height, field_width, padding=1, stride=1):
    p = padding
    x_padded = np.pad(x, ((0, 0), (0, 0), (p, p), (p, p)), mode="constant")
    k, i, j = get_im2col_indices(x.shape, field_height, field_width, padding, stride)
    cols = x_padded[:, k, i, j]
    C = x.shape[1]
    return cols.transpose(1, 2, 0).reshape(field_height * field_width * C, -1)


def conv_im2col_indices(params):
    h = x_idx
    for layer in ("conv1", "conv2"):
        W, b = params[layer]
        n_filters = W.shape[0]
        X_col = im2col_indices(h, 3, 3, padding=1, stride=2)
        out = W.reshape(n_filters, -1) @ X_col + b
        side = (h.shape[2] + 2 - 3) // 2 + 1
        h = np.tanh(out.reshape(n_filters, side, side, h.shape[0]).transpose(3, 0, 1, 2))
    pooled = h.mean(axis=(2, 3))
    return np.square(pooled - y_idx).mean()


def conv_strided_torch(torch, p):
    h, y = constant(torch, x_idx, y_idx)
    for layer in ("conv1", "conv2"):
        W, b = p[layer]
        h = torch.tanh(torch.nn.functional.conv2d(h, W, b[:, 0], stride=2, padding=1))
    return ((h.mean((2, 3)) - y) ** 2).mean()


entry("im2col_by_indices", conv_im2col_indices,
      {"conv1": [draw(3, 2, 3, 3, scale=0.4), draw(3, 1)], "conv2": [draw(2, 3, 3, 3, scale=0.4), draw(2, 1)]},
      conv_strided_torch)  # fmt: skip


# ---- columns by a buffer that is filled for each position of the filter

x_scratch = draw(2, 1, 6, 6)
t_scratch = np.array([[0, 1, 0], [1, 0, 0]])


def im2col(input_data, filter_h, filter_w, stride=1, pad=0):
    N, C, H, W = input_data.shape
    out_h = (H + 2 * pad - filter_h) // stride + 1
    out_w = (W + 2 * pad - filter_w) // stride + 1
    img = np.pad(input_data, [(0, 0), (0, 0), (pad, pad), (pad, pad)], "constant")
    col = np.zeros((N, C, filter_h, filter_w, out_h, out_w))
    for y in range(filter_h):
        y_max = y + stride * out_h
        for x in range(filter_w):
            x_max = x + stride * out_w
            col[:, :, y, x, :, :] = img[:, :, y:y_max:stride, x:x_max:stride]
    return col.transpose(0, 4, 5, 1, 2, 3).reshape(N * out_h * out_w, -1)


def simple_conv_net(params):
    FN = params["W1"].shape[0]
    col = im2col(x_scratch, 3, 3, 1, 0)
    out = np.dot(col, params["W1"].reshape(FN, -1).T) + params["b1"]
    out = out.reshape(2, 4, 4, -1).transpose(0, 3, 1, 2)
    mask = out <= 0
    out = out.copy()
    out[mask] = 0
    pool = im2col(out, 2, 2, 2, 0).reshape(-1, 4)
    arg_max = np.argmax(pool, axis=1)
    assert arg_max.shape == (2 * FN * 4,)
    pooled = np.max(pool, axis=1).reshape(2, 2, 2, FN).transpose(0, 3, 1, 2)
    y = np.dot(pooled.reshape(2, -1), params["W2"]) + params["b2"]
    y = y.T
    y = y - np.max(y, axis=0)
    y = (np.exp(y) / np.sum(np.exp(y), axis=0)).T
    return -np.sum(t_scratch * np.log(y + 1e-7)) / y.shape[0]


def simple_conv_torch(torch, p):
    F = torch.nn.functional
    x, t = constant(torch, x_scratch, t_scratch)
    h = F.max_pool2d(torch.relu(F.conv2d(x, p["W1"], p["b1"])), 2).reshape(2, -1)
    return -(t * torch.log(torch.softmax(h @ p["W2"] + p["b2"], 1) + 1e-7)).sum() / 2


entry("im2col_by_buffer", simple_conv_net,
      {"W1": draw(2, 1, 3, 3, scale=0.5), "b1": draw(2), "W2": draw(8, 3, scale=0.4), "b2": draw(3)},
      simple_conv_torch)  # fmt: skip


# ---- windows as views with strides, and tensordot; channels last

x_last = draw(2, 6, 6, 2)


def conv_as_strided(params):
    K = params["K"]
    n, h, w, c = x_last.shape
    act = np.tanh(x_last * params["scale"])
    s = act.strides
    windows = as_strided(act, shape=(n, h - 2, w - 2, 3, 3, c), strides=(s[0], s[1], s[2], s[1], s[2], s[3]))
    out = np.tensordot(windows, K, axes=3)
    pooled = out.reshape(n, 2, 2, 2, 2, -1).max(axis=2).max(axis=3)
    return np.sum(pooled * params["readout"]) ** 2 / n


def conv_as_strided_torch(torch, p):
    x = torch.tanh(constant(torch, x_last) * p["scale"]).permute(0, 3, 1, 2)
    out = torch.nn.functional.max_pool2d(torch.nn.functional.conv2d(x, p["K"].permute(3, 2, 0, 1)), 2)
    return (out.permute(0, 2, 3, 1) * p["readout"]).sum() ** 2 / 2


entry("conv_as_strided", conv_as_strided, {"K": draw(3, 3, 2, 3), "scale": 1 + 0.1 * draw(2), "readout": draw(2, 2, 3)},
      conv_as_strided_torch)  # fmt: skip


# ---- windows by sliding_window_view, one filter for each channel, then a mix of the channels

x_dw = draw(2, 3, 5, 5)


def depthwise_separable(params):
    padded = np.pad(x_dw, ((0, 0), (0, 0), (1, 1), (1, 1)), mode="reflect")
    win = sliding_window_view(padded, (3, 3), axis=(2, 3))
    depth = np.einsum("nchwij,cij->nchw", win, params["depth"])
    mu = depth.mean(axis=(0, 2, 3), keepdims=True)
    var = np.var(depth, axis=(0, 2, 3), keepdims=True)
    norm = (depth - mu) / np.sqrt(var + 1e-5)
    relu6 = np.clip(params["gamma"][:, None, None] * norm + params["beta"][:, None, None], 0, 6)
    mixed = np.moveaxis(np.tensordot(relu6, params["point"], axes=([1], [1])), -1, 1)
    return np.sqrt(np.mean(mixed**2, axis=(1, 2, 3))).sum()


def depthwise_torch(torch, p):
    F = torch.nn.functional
    x = F.pad(constant(torch, x_dw), (1, 1, 1, 1), mode="reflect")
    d = F.conv2d(x, p["depth"][:, None], groups=3)
    d = F.relu6(F.batch_norm(d, None, None, p["gamma"], p["beta"], training=True, eps=1e-5))
    out = torch.einsum("nchw,oc->nohw", d, p["point"])
    return (out**2).mean((1, 2, 3)).sqrt().sum()


entry("depthwise_separable", depthwise_separable,
      {"depth": draw(3, 3, 3), "gamma": 1 + 0.2 * draw(3), "beta": draw(3), "point": draw(2, 3)},
      depthwise_torch)  # fmt: skip


# ---- a text classifier: filters of several widths, and the maximum over time

sentence = draw(2, 7, 3)
sentiment = np.array([1.0, -1.0])


def text_cnn(params):
    feats = []
    for W in params["filters"]:
        width = W.shape[0]
        conv = np.stack([np.tensordot(sentence[:, t : t + width], W, axes=2) for t in range(7 - width + 1)], axis=1)
        feats.append(np.amax(conv, axis=1))
    h = np.hstack(feats)
    return np.mean(np.log(1 + np.exp(-sentiment * (h @ params["w"] + params["b"]))))


def text_cnn_torch(torch, p):
    F = torch.nn.functional
    x, s = constant(torch, sentence, sentiment)
    h = torch.cat([F.conv1d(x.mT, W.permute(2, 1, 0)).amax(2) for W in p["filters"]], 1)
    return F.softplus(-s * (h @ p["w"] + p["b"])).mean()


entry("text_cnn", text_cnn, {"filters": [draw(2, 3, 2), draw(3, 3, 2)], "w": draw(4), "b": np.float64(0.2)},
      text_cnn_torch)  # fmt: skip


# ---- a decoder: transposed convolution that adds to overlapping places

code = draw(2, 2, 3, 3)
picture = draw(2, 1, 7, 7)


def deconv(params):
    K, bias = params
    out = np.zeros((2, 1, 7, 7))
    out += bias
    for i in range(3):
        for j in range(3):
            patch = np.tensordot(code[:, :, i, j], K, axes=(1, 0))
            out[:, :, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3] += patch
    img = 1 / (1 + np.exp(-out))
    return np.abs(img - picture).mean() + 0.5 * ((img - picture) ** 2).mean()


def deconv_torch(torch, params):
    z, goal = constant(torch, code, picture)
    img = torch.sigmoid(torch.nn.functional.conv_transpose2d(z, params[0], params[1].reshape(1), stride=2))
    return (img - goal).abs().mean() + 0.5 * ((img - goal) ** 2).mean()


entry("transposed_convolution", deconv, [draw(2, 1, 3, 3), np.array(-0.4)], deconv_torch)


# ---- down, up again by repeating, and the skip connection

signal = draw(2, 8)
clean = draw(2, 8)


def conv1d_same(x, k):
    padded = np.concatenate([np.zeros((x.shape[0], 1)), x, np.zeros((x.shape[0], 1))], axis=1)
    out = np.zeros_like(x)
    for tap in range(3):
        out += k[tap] * padded[:, tap : tap + x.shape[1]]
    return out


def unet_1d(p):
    enc = np.tanh(conv1d_same(signal, p["enc"]))
    down = (enc[:, 0::2] + enc[:, 1::2]) / 2
    mid = np.tanh(conv1d_same(down, p["mid"]))
    up = np.repeat(mid, 2, axis=1)
    both = np.dstack((up, enc)) @ p["merge"]
    out = conv1d_same(np.fliplr(both), p["dec"])[..., ::-1]
    return np.sum((out - clean) ** 2) / out.size


def unet_torch(torch, p):
    F = torch.nn.functional
    x, y = constant(torch, signal, clean)
    same = lambda v, k: F.conv1d(v[:, None], k[None, None], padding=1)[:, 0]
    enc = torch.tanh(same(x, p["enc"]))
    up = torch.tanh(same(F.avg_pool1d(enc[:, None], 2)[:, 0], p["mid"])).repeat_interleave(2, 1)
    both = torch.stack([up, enc], 2) @ p["merge"]
    return ((same(both.flip(1), p["dec"]).flip(1) - y) ** 2).mean()


entry("unet_1d", unet_1d, {"enc": draw(3), "mid": draw(3), "merge": draw(2), "dec": draw(3)}, unet_torch)
