"""Hand-written convolutions, in the ways in which they are written, and their back-propagation with mistakes."""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view


def by_positions(x, w, b, stride, pad):
    """A loop over all positions of the output."""
    x = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    high, wide = w.shape[2:]
    out = np.zeros((len(x), len(w), (x.shape[2] - high) // stride + 1, (x.shape[3] - wide) // stride + 1))
    for i in range(out.shape[2]):
        for j in range(out.shape[3]):
            window = x[:, :, i * stride : i * stride + high, j * stride : j * stride + wide]
            for f in range(len(w)):
                out[:, f, i, j] = np.sum(window * w[f], axis=(1, 2, 3)) + b[f]
    return out


def by_columns(x, w, b, stride, pad):
    """All windows in one matrix, which is filled in a loop over the entries of the kernel."""
    n, c = x.shape[:2]
    filters, _, high, wide = w.shape
    rows, columns = (x.shape[2] + 2 * pad - high) // stride + 1, (x.shape[3] + 2 * pad - wide) // stride + 1
    padded = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    col = np.zeros((n, c, high, wide, rows, columns))
    for a in range(high):
        for d in range(wide):
            col[:, :, a, d] = padded[:, :, a : a + stride * rows : stride, d : d + stride * columns : stride]
    col = col.transpose(0, 4, 5, 1, 2, 3).reshape(n * rows * columns, -1)
    out = col @ w.reshape(filters, -1).T + b
    return out.reshape(n, rows, columns, filters).transpose(0, 3, 1, 2)


def by_index(x, w, b, stride, pad):
    """All windows in one matrix, taken by arrays of indices."""
    filters, c, high, wide = w.shape
    rows, columns = (x.shape[2] + 2 * pad - high) // stride + 1, (x.shape[3] + 2 * pad - wide) // stride + 1
    padded = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    k = np.repeat(np.arange(c), high * wide).reshape(-1, 1)
    i = np.tile(np.repeat(np.arange(high), wide), c).reshape(-1, 1) + stride * np.repeat(np.arange(rows), columns)
    j = np.tile(np.arange(wide), high * c).reshape(-1, 1) + stride * np.tile(np.arange(columns), rows)
    cols = padded[:, k, i, j].transpose(1, 2, 0).reshape(c * high * wide, -1)
    out = w.reshape(filters, -1) @ cols + b[:, None]
    return out.reshape(filters, rows, columns, len(x)).transpose(3, 0, 1, 2)


def by_strides(x, w, b, stride, pad):
    """A view of all windows, and einsum."""
    padded = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    windows = sliding_window_view(padded, w.shape[2:], axis=(2, 3))[:, :, ::stride, ::stride]
    return np.einsum("ncijyx,fcyx->nfij", windows, w) + b[None, :, None, None]


#: By name, and with a piece of the line that reads the windows.
WAYS = {
    "positions": (by_positions, "window = x[:, :, i * stride"),
    "columns": (by_columns, "col[:, :, a, d] = padded"),
    "index": (by_index, "cols = padded[:, k, i, j]"),
    "strides": (by_strides, "windows = sliding_window_view("),
}


def back(d, x, w, stride, pad, mistake):
    """The gradients by the input, the kernels and the biases, position by position."""
    rows, columns = x.shape[2:]
    padded = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    high, wide = w.shape[2:]
    dx, dw = np.zeros_like(padded), np.zeros_like(w)
    sent = {"flipped": w[:, :, ::-1, ::-1], "channels": w.transpose(1, 0, 2, 3)}.get(mistake, w)
    places = [(i, j) for i in range(d.shape[2]) for j in range(d.shape[3])]
    if mistake == "first":
        places = places[::-1]
    for i, j in places:
        at = (slice(None), slice(None), slice(i * stride, i * stride + high), slice(j * stride, j * stride + wide))
        near = (slice(None), slice(None), slice(i, i + high), slice(j, j + wide))
        window = padded[near if mistake == "stride of the kernel" else at]
        if mistake == "kernel's gradient flipped":
            window = window[:, :, ::-1, ::-1]
        dw += np.einsum("nf,ncyx->fcyx", d[:, :, i, j], window)
        goes_back = np.einsum("nf,fcyx->ncyx", d[:, :, i, j], sent)
        if mistake in ("last", "first"):
            dx[at] = goes_back
        else:
            dx[near if mistake == "stride" else at] += goes_back
    corner = {"border at the end": 0, "border at the beginning": 2 * pad}.get(mistake, pad)
    return dx[:, :, corner : corner + rows, corner : corner + columns], dw, d.sum(axis=(0, 2, 3))
