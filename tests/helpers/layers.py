"""Layers written by hand, as two functions each; `wrong` plants a mistake in the backward pass."""

import numpy as np


def affine_forward(x, w, b):
    out = x.reshape(len(x), -1) @ w + b
    return out, (x, w, b)


def affine_backward(dout, cache, wrong=""):
    x, w, _ = cache
    dx = (dout @ w.T).reshape(x.shape)
    dw = x.reshape(len(x), -1).T @ dout
    db = dout.mean(axis=0) if wrong == "b" else dout.sum(axis=0)
    return (2.0 * dx if wrong == "x" else dx), (dw + 1e-6 if wrong == "w" else dw), db


def conv_forward(x, w, b, conv_param):
    stride, pad = conv_param["stride"], conv_param["pad"]
    (n, _, h, width), (f, _, hh, ww) = x.shape, w.shape
    padded = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    out = np.zeros((n, f, 1 + (h + 2 * pad - hh) // stride, 1 + (width + 2 * pad - ww) // stride))
    for i in range(out.shape[2]):
        for j in range(out.shape[3]):
            window = padded[:, :, i * stride : i * stride + hh, j * stride : j * stride + ww]
            out[:, :, i, j] = np.tensordot(window, w, axes=([1, 2, 3], [1, 2, 3])) + b
    return out, (x, w, b, conv_param)


def conv_backward(dout, cache, wrong=""):
    x, w, _, conv_param = cache
    stride, pad = conv_param["stride"], conv_param["pad"]
    hh, ww = w.shape[2:]
    padded = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    dpadded, dw = np.zeros_like(padded), np.zeros_like(w)
    step = 1 if wrong == "stride" else stride
    for i in range(dout.shape[2]):
        for j in range(dout.shape[3]):
            rows, columns = slice(i * step, i * step + hh), slice(j * step, j * step + ww)
            dw += np.einsum("nf,nchw->fchw", dout[:, :, i, j], padded[:, :, rows, columns])
            back = np.einsum("nf,fchw->nchw", dout[:, :, i, j], w)
            if wrong == "overlap":
                dpadded[:, :, rows, columns] = back
            else:
                dpadded[:, :, rows, columns] += back
    dx = dpadded[:, :, pad : pad + x.shape[2], pad : pad + x.shape[3]]
    return dx, dw, dout.sum(axis=(0, 2, 3))


def batchnorm_forward(x, gamma, beta, bn_param):
    eps, momentum = bn_param.get("eps", 1e-5), bn_param.get("momentum", 0.9)
    mean, var = x.mean(axis=0), x.var(axis=0)
    bn_param["running_mean"] = momentum * bn_param.get("running_mean", np.zeros(x.shape[1])) + (1 - momentum) * mean
    std = np.sqrt(var + eps)
    normed = (x - mean) / std
    return gamma * normed + beta, (normed, gamma, std)


def batchnorm_backward(dout, cache, wrong=""):
    normed, gamma, std = cache
    dgamma, dbeta, dnormed = (dout * normed).sum(axis=0), dout.sum(axis=0), dout * gamma
    variance = 0.0 if wrong == "variance" else normed * (dnormed * normed).mean(axis=0)
    return (dnormed - dnormed.mean(axis=0) - variance) / std, dgamma, dbeta


def max_pool_forward(x, pool_param):
    size, stride = pool_param["pool_height"], pool_param["stride"]
    n, c, h, w = x.shape
    out = np.zeros((n, c, 1 + (h - size) // stride, 1 + (w - size) // stride))
    for i in range(out.shape[2]):
        for j in range(out.shape[3]):
            window = x[:, :, i * stride : i * stride + size, j * stride : j * stride + size]
            out[:, :, i, j] = window.max(axis=(2, 3))
    return out, (x, pool_param)


def max_pool_backward(dout, cache, wrong=""):
    x, pool_param = cache
    size, stride = pool_param["pool_height"], pool_param["stride"]
    dx = np.zeros_like(x)
    for n, c, i, j in np.ndindex(dout.shape):
        window = (n, c, slice(i * stride, i * stride + size), slice(j * stride, j * stride + size))
        if wrong == "all":
            dx[window] += dout[n, c, i, j]
        elif wrong == "overlap":
            dx[window] = np.where(x[window] == x[window].max(), dout[n, c, i, j], dx[window])
        else:
            dx[window] += (x[window] == x[window].max()) * dout[n, c, i, j]
    return dx


def lstm_step_forward(x, prev_h, prev_c, Wx, Wh, b):
    gates = x @ Wx + prev_h @ Wh + b
    i, f, o, g = np.split(gates, 4, axis=1)
    i, f, o, g = 1 / (1 + np.exp(-i)), 1 / (1 + np.exp(-f)), 1 / (1 + np.exp(-o)), np.tanh(g)
    next_c = f * prev_c + i * g
    next_h = o * np.tanh(next_c)
    return next_h, next_c, (x, prev_h, prev_c, Wx, Wh, i, f, o, g, next_c)


def lstm_step_backward(dnext_h, dnext_c, cache, wrong=""):
    x, prev_h, prev_c, Wx, Wh, i, f, o, g, next_c = cache
    tanh = np.tanh(next_c)
    dc = (0.0 if wrong == "cell" else dnext_c) + dnext_h * o * (1 - tanh**2)
    dgates = np.hstack(
        [dc * g * i * (1 - i), dc * prev_c * f * (1 - f), dnext_h * tanh * o * (1 - o), dc * i * (1 - g**2)]
    )
    return dgates @ Wx.T, dgates @ Wh.T, dc * f, x.T @ dgates, prev_h.T @ dgates, dgates.sum(axis=0)


def embedding_forward(rows, W):
    return W[rows], (rows, W)


def embedding_backward(dout, cache, wrong=""):
    rows, W = cache
    dW = np.zeros_like(W)
    if wrong == "repeated":
        dW[rows] = dout
    else:
        np.add.at(dW, rows, dout)
    return dW


def dropout_forward(x, dropout_param):
    keep = 1.0 - dropout_param["p"]
    mask = (np.random.rand(*x.shape) < keep) / keep  # noqa: NPY002
    return x * mask, (dropout_param, mask)


def dropout_backward(dout, cache, wrong=""):
    return dout * (cache[1] > 0 if wrong == "scale" else cache[1])
