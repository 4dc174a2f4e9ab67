"""Convolutions by im2col and by loops over the positions, with strides, overlaps and padding."""

from __future__ import annotations

import numpy as np

from planted import records as say
from planted.records import distinct, drawn, plant


def im2col(x, fh, fw, stride, pad):
    N, C, H, W = x.shape
    out_h, out_w = (H + 2 * pad - fh) // stride + 1, (W + 2 * pad - fw) // stride + 1
    img = np.pad(x, [(0, 0), (0, 0), (pad, pad), (pad, pad)])
    col = np.zeros((N, C, fh, fw, out_h, out_w))
    for a in range(fh):
        for b in range(fw):
            col[:, :, a, b] = img[:, :, a : a + stride * out_h : stride, b : b + stride * out_w : stride]
    return col.transpose(0, 4, 5, 1, 2, 3).reshape(N * out_h * out_w, -1)


def col2im(col, shape, fh, fw, stride, pad, mistake):
    N, C, H, W = shape
    out_h, out_w = (H + 2 * pad - fh) // stride + 1, (W + 2 * pad - fw) // stride + 1
    col = col.reshape(N, out_h, out_w, C, fh, fw).transpose(0, 3, 4, 5, 1, 2)
    img = np.zeros((N, C, H + 2 * pad + stride - 1, W + 2 * pad + stride - 1))
    apart = 1 if mistake == "stride-forgotten" else stride
    for a in range(fh):
        for b in range(fw):
            at = (slice(None), slice(None), slice(a, a + apart * out_h, apart), slice(b, b + apart * out_w, apart))
            if mistake == "windows-overwritten":
                img[at] = col[:, :, a, b]
            else:
                img[at] += col[:, :, a, b]
    if mistake == "border-cut-at-the-end-only":
        return img[:, :, :H, :W]
    return img[:, :, pad : H + pad, pad : W + pad]


class Convolution:
    def __init__(self, stride, pad, mistake):
        self.stride, self.pad, self.mistake = stride, pad, mistake

    def forward(self, x, W, b):
        FN, _, FH, FW = W.shape
        N, _, H, width = x.shape
        out_h = 1 + (H + 2 * self.pad - FH) // self.stride
        out_w = 1 + (width + 2 * self.pad - FW) // self.stride
        col = im2col(x, FH, FW, self.stride, self.pad)
        col_W = W.reshape(FN, -1).T
        out = np.dot(col, col_W) + b
        self.x, self.col, self.W = x, col, W
        return out.reshape(N, out_h, out_w, FN).transpose(0, 3, 1, 2)

    def backward(self, dout):
        FN, C, FH, FW = self.W.shape
        if self.mistake == "channels-not-moved-back":
            dout = dout.reshape(-1, FN)
        else:
            dout = dout.transpose(0, 2, 3, 1).reshape(-1, FN)
        self.db = dout.mean(axis=0) if self.mistake == "bias-averaged" else dout.sum(axis=0)
        self.dW = np.dot(self.col.T, dout).transpose(1, 0).reshape(FN, C, FH, FW)
        if self.mistake == "filters-transposed":
            self.dW = self.dW.transpose(0, 1, 3, 2)
        dcol = np.dot(dout, self.W.reshape(FN, -1))
        return col2im(dcol, self.x.shape, FH, FW, self.stride, self.pad, self.mistake)


def cnn_im2col(rng, mistake=""):
    """Two convolutions by im2col, the second with stride 2, overlap and padding, and a softmax layer."""
    N, C, F1, F2 = distinct(rng, 4, 2, 6)
    H, W = distinct(rng, 2, 7, 10)
    K = 3
    side = 3 if mistake == "filters-transposed" else 2
    X, t = rng.normal(size=(N, C, H, W)), rng.integers(0, K, N)
    h1, w1 = H - 2, W - 1 if side == 2 else W - 2
    outputs = F2 * ((h1 - 1) // 2 + 1) * ((w1 - 1) // 2 + 1)
    params = drawn(rng, K1=(F1, C, 3, side), c1=(F1,), K2=(F2, F1, 3, 3), c2=(F2,), W3=(outputs, K), b3=(K,))
    conv1, conv2 = Convolution(1, 0, ""), Convolution(2, 1, mistake)
    if mistake in ("bias-averaged", "filters-transposed"):
        conv1, conv2 = Convolution(1, 0, mistake), Convolution(2, 1, "")

    def forward(p):
        z1 = conv1.forward(X, p["K1"], p["c1"])
        a1 = np.maximum(z1, 0)
        z2 = conv2.forward(a1, p["K2"], p["c2"])
        a2 = np.tanh(z2).reshape(N, -1)
        scores = a2 @ p["W3"] + p["b3"]
        scores = scores - scores.max(axis=1, keepdims=True)
        return z1, z2, a2, np.exp(scores) / np.sum(np.exp(scores), axis=1, keepdims=True)

    def loss(p):
        probs = forward(p)[-1]
        return -np.sum(np.log(probs[np.arange(N), t])) / N

    def gradient(p):
        z1, z2, a2, probs = forward(p)
        d = (probs - np.eye(K)[t]) / N
        dW3, db3 = a2.T @ d, d.sum(axis=0)
        da2 = (d @ p["W3"].T) * (1 - a2**2)
        da1 = conv2.backward(da2.reshape(z2.shape))
        conv1.backward(da1 if mistake == "relu-left-out" else da1 * (z1 > 0))
        return {"K1": conv1.dW, "c1": conv1.db, "K2": conv2.dW, "c2": conv2.db, "W3": dW3, "b3": db3}

    return loss, gradient, params


_WINDOWS = ["col[:, :, a, b] = img[", "col = im2col(x, FH", "z2 = conv2.forward("]
CNN_IM2COL = plant(cnn_im2col, {
    "windows-overwritten": ([r"overlap", *say.OVERWRITTEN], _WINDOWS),
    "stride-forgotten": (say.STRIDE, _WINDOWS),
    "border-cut-at-the-end-only": (say.PADDING, ["img = np.pad(x", *_WINDOWS]),
    "channels-not-moved-back": (say.OTHER_ORDER, ["return out.reshape(N, out_h, out_w, FN).transpose", _WINDOWS[-1]]),
    "bias-averaged": (say.AVERAGED, ["out = np.dot(col, col_W) + b", "z1 = conv1.forward("]),
    "filters-transposed": (say.OTHER_ORDER, []),
    "relu-left-out": (say.DERIVATIVE_LEFT_OUT, ["a1 = np.maximum(z1, 0)"]),
})  # fmt: skip


def conv_forward_naive(x, w, b, stride):
    N, _, H, W = x.shape
    F, _, HH, WW = w.shape
    out = np.zeros((N, F, 1 + (H - HH) // stride, 1 + (W - WW) // stride))
    for n in range(N):
        for f in range(F):
            for i in range(out.shape[2]):
                for j in range(out.shape[3]):
                    window = x[n, :, i * stride : i * stride + HH, j * stride : j * stride + WW]
                    out[n, f, i, j] = np.sum(window * w[f]) + b[f]
    return out, (x, w, stride)


def conv_backward_naive(dout, cache, mistake):
    x, w, stride = cache
    F, _, HH, WW = w.shape
    dx, dw, db = np.zeros_like(x), np.zeros_like(w), np.zeros(F)
    for n in range(dout.shape[0]):
        for f in range(F):
            for i in range(dout.shape[2]):
                for j in range(dout.shape[3]):
                    step = 1 if mistake == "stride-forgotten-in-dw" else stride
                    window = x[n, :, i * step : i * step + HH, j * step : j * step + WW]
                    if mistake == "kernel-flipped":
                        window = window[:, ::-1, ::-1]
                    if mistake == "kernel-overwritten-by-each-sample" and i == j == 0:
                        dw[f] = 0
                    dw[f] += window * dout[n, f, i, j]
                    db[f] += dout[n, f, i, j]
                    dx[n, :, i * stride : i * stride + HH, j * stride : j * stride + WW] += w[f] * dout[n, f, i, j]
    return dx, dw, db


def max_pool_forward_naive(x, size, stride):
    N, C, H, W = x.shape
    out = np.zeros((N, C, 1 + (H - size) // stride, 1 + (W - size) // stride))
    for n in range(N):
        for c in range(C):
            for i in range(out.shape[2]):
                for j in range(out.shape[3]):
                    pooled = x[n, c, i * stride : i * stride + size, j * stride : j * stride + size]
                    out[n, c, i, j] = np.max(pooled)
    return out, (x, size, stride)


def max_pool_backward_naive(dout, cache, mistake):
    x, size, stride = cache
    dx = np.zeros_like(x)
    for n in range(dout.shape[0]):
        for c in range(dout.shape[1]):
            for i in range(dout.shape[2]):
                for j in range(dout.shape[3]):
                    rows = slice(i * stride, i * stride + size)
                    columns = slice(j * stride, j * stride + size)
                    window = x[n, c, rows, columns]
                    mask = window == np.max(window)
                    if mistake == "pool-to-all":
                        mask = np.ones_like(window)
                    if mistake == "pool-shared-evenly":
                        mask = np.ones_like(window) / window.size
                    if mistake == "pool-to-the-first":
                        mask = np.arange(window.size).reshape(window.shape) == 0
                    if mistake == "pool-to-the-smallest":
                        mask = window == np.min(window)
                    if mistake == "pool-overwritten":
                        dx[n, c, rows, columns] = mask * dout[n, c, i, j]
                    else:
                        dx[n, c, rows, columns] += mask * dout[n, c, i, j]
    return dx


def cnn_naive(rng, mistake=""):
    """Functions with caches and loops over all positions: stride 2, tanh, overlapping max pools, squared errors."""
    N, C, F = distinct(rng, 3, 1, 4)
    N += 1
    H, W = distinct(rng, 2, 8, 11)
    K = int(rng.integers(2, 4))
    X, Y = rng.normal(size=(N, C, H, W)), rng.normal(size=(N, K))
    features = F * ((H - 3) // 2) * ((W - 3) // 2)
    params = drawn(rng, 2.0, w1=(F, C, 3, 3), b1=(F,), w2=(features, K), b2=(K,))

    def forward(p):
        conv, conv_cache = conv_forward_naive(X, p["w1"], p["b1"], 2)
        act = np.tanh(conv)
        pool, pool_cache = max_pool_forward_naive(act, 2, 1)
        flat = pool.reshape(pool.shape[0], -1)
        return conv_cache, act, pool_cache, pool, flat, flat.dot(p["w2"]) + p["b2"]

    def loss(p):
        return np.mean(np.sum((forward(p)[-1] - Y) ** 2, axis=1))

    def gradient(p):
        conv_cache, act, pool_cache, pool, flat, out = forward(p)
        dout = 2 * (out - Y) / N
        dw2, db2 = flat.T.dot(dout), dout.sum(axis=0)
        dpool = dout.dot(p["w2"].T).reshape(pool.shape)
        if mistake == "flattened-columns-first":
            dpool = dout.dot(p["w2"].T).reshape(pool.shape, order="F")
        dact = max_pool_backward_naive(dpool, pool_cache, mistake)
        dconv = dact if mistake == "tanh-left-out" else dact * (1 - act**2)
        _, dw1, db1 = conv_backward_naive(dconv, conv_cache, mistake)
        return {"w1": dw1, "b1": db1, "w2": dw2, "b2": db2}

    return loss, gradient, params


_CONV = ["window = x[n, :, i * stride", "out[n, f, i, j] = np.sum(window", "conv, conv_cache = conv_forward"]
_POOL = ["pooled = x[n, c, i", "out[n, c, i, j] = np.max(pooled)", "pool, pool_cache = max_pool"]
CNN_NAIVE = plant(cnn_naive, {
    "stride-forgotten-in-dw": (say.STRIDE, _CONV),
    "kernel-flipped": (say.FLIPPED, []),
    "kernel-overwritten-by-each-sample": ([*say.OVERWRITTEN, *say.SAMPLE_FORGOTTEN], _CONV),
    "pool-to-all": (say.MAX_TO_ALL, _POOL),
    "pool-shared-evenly": (say.MAX_TO_ALL, _POOL),
    "pool-to-the-first": (say.MAX_TO_OTHER, _POOL),
    "pool-to-the-smallest": ([r"smallest|min\b|minimum", *say.MAX_TO_OTHER], _POOL),
    "pool-overwritten": ([r"overlap", *say.OVERWRITTEN], _POOL),
    "flattened-columns-first": ([*say.OTHER_ORDER, "column"], ["flat = pool.reshape("]),
    "tanh-left-out": (say.DERIVATIVE_LEFT_OUT, ["act = np.tanh(conv)"]),
})  # fmt: skip

NETWORKS = (CNN_IM2COL, CNN_NAIVE)
