"""Kernels outside of frameworks: C through ctypes, numba, NumPy; and kernels of one precision."""

import ctypes
import subprocess
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
from compiled import COMPILER

import gradcheck_fast as gf

from .registry import operator

SOURCE = """
#include <stddef.h>
/* y[t] = sum over k of w[k] x[t - k], causal; shapes (n,), (m,) -> (n,) */
void causal(const double *x, const double *w, double *y, ptrdiff_t n, ptrdiff_t m) {
    for (ptrdiff_t t = 0; t < n; ++t) {
        y[t] = 0.0;
        for (ptrdiff_t k = 0; k < m && k <= t; ++k) y[t] += w[k] * x[t - k];
    }
}
/* dx[t - k] += w[k] v[t], dw[k] += x[t - k] v[t]; a mistake begins with the second tap */
void causal_back(const double *v, const double *x, const double *w, double *dx, double *dw, ptrdiff_t n, ptrdiff_t m,
                 int mistake) {
    for (ptrdiff_t t = 0; t < n; ++t) dx[t] = 0.0;
    for (ptrdiff_t k = 0; k < m; ++k) dw[k] = 0.0;
    for (ptrdiff_t t = 0; t < n; ++t)
        for (ptrdiff_t k = 0; k < m && k <= t; ++k) {
            if (k >= mistake) dx[t - k] += w[k] * v[t];
            dw[k] += x[t - k] * v[t];
        }
}
"""


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


@cache
def library():
    folder = Path(mkdtemp())
    (folder / "causal.c").write_text(SOURCE, encoding="utf-8")
    subprocess.run([COMPILER, "-O2", "-shared", "-fPIC", "causal.c", "-o", "causal.so"], cwd=folder, check=True)
    return ctypes.CDLL(str(folder / "causal.so"))


def pointer(array):
    return array.ctypes.data_as(ctypes.POINTER(ctypes.c_double))


@operator("", "the first tap is forgotten")
def causal_convolution_in_c(mistake):
    def forward(x, w):
        y = np.empty_like(x)
        sizes = ctypes.c_ssize_t(len(x)), ctypes.c_ssize_t(len(w))
        library().causal(pointer(x), pointer(w), pointer(y), *sizes)
        return y

    def backward(v, x, w):
        dx, dw = np.empty_like(x), np.empty_like(w)
        sizes = ctypes.c_ssize_t(len(x)), ctypes.c_ssize_t(len(w))
        given = [pointer(np.ascontiguousarray(a)) for a in (v, x, w, dx, dw)]
        library().causal_back(*given, *sizes, ctypes.c_int(bool(mistake)))
        return dx, dw

    return gf.check_vjp(forward, backward, (normal(9), normal(3, seed=1)))


@operator("numba", "the other end of each pair is forgotten")
def pair_energies_in_numba(mistake):
    import numba

    @numba.njit
    def energies(x):
        out = np.zeros(len(x))
        for i in range(len(x)):
            for j in range(i):
                d = x[i] - x[j]
                out[i] += np.exp(-(d @ d))
        return out

    @numba.njit
    def backward(v, x, both):
        found = np.zeros_like(x)
        for i in range(len(x)):
            for j in range(i):
                d = x[i] - x[j]
                part = -2.0 * v[i] * np.exp(-(d @ d)) * d
                found[i] += part
                if both:
                    found[j] -= part
        return found

    return gf.check_vjp(energies, lambda v, x: backward(v, x, mistake is None), normal(4, 3))


@operator("", "the groups are not summed")
def grouped_query_attention_in_numpy(mistake):
    """Two queries share a key and a value."""

    def weights(q, k):
        scores = np.einsum("hgqd,hkd->hgqk", q, k) / q.shape[-1] ** 0.5
        e = np.exp(scores - scores.max(-1, keepdims=True))
        return e / e.sum(-1, keepdims=True)

    def forward(q, k, v):
        return np.einsum("hgqk,hkd->hgqd", weights(q, k), v)

    def backward(g, q, k, v):
        p = weights(q, k)
        dp = np.einsum("hgqd,hkd->hgqk", g, v)
        ds = p * (dp - (p * dp).sum(-1, keepdims=True)) / q.shape[-1] ** 0.5
        dk = np.einsum("hgqk,hgqd->hgkd", ds, q)
        dv = np.einsum("hgqk,hgqd->hgkd", p, g)
        whole = (lambda x: x[:, 0]) if mistake else (lambda x: x.sum(1))
        return np.einsum("hgqk,hkd->hgqd", ds, k), whole(dk), whole(dv)

    return gf.check_vjp(forward, backward, (normal(2, 2, 3, 4), normal(2, 3, 4, seed=1), normal(2, 3, 4, seed=2)))


@operator("", "one column is off by 3 %")
def low_rank_linear_in_float32(mistake):
    """x W + (x A) B, in float32 alone."""

    def forward(x, w, a, b):
        if not all(array.dtype == np.float32 for array in (x, w, a, b)):
            raise TypeError("this kernel is one for float32")
        return x @ w + (x @ a) @ b

    def backward(v, x, w, a, b):
        db = (x @ a).T @ v
        if mistake:
            db[:, 1] *= np.float32(1.03)
        return v @ w.T + (v @ b.T) @ a.T, x.T @ v, x.T @ (v @ b.T), db

    arrays = normal(3, 4), normal(4, 5, seed=1), normal(4, 2, seed=2), normal(2, 5, seed=3)
    return gf.check_vjp(forward, backward, tuple(array.astype(np.float32) for array in arrays))


@operator("", "the decay is not in its gradient")
def decayed_sum_with_a_reference(mistake):
    """A running sum in float16, with a function in float64 that says what is right."""

    def reference(x, decay):
        out, total = [], 0.0
        for row in x:
            total = total * decay + row
            out.append(total)
        return np.stack(out)

    def forward(x, decay):
        if x.dtype != np.float16:
            raise TypeError("this kernel is one for float16")
        return reference(x.astype(np.float32), decay.astype(np.float32)).astype(np.float16)

    def backward(v, x, decay):
        v, x, decay = (a.astype(np.float32) for a in (v, x, decay))
        states = reference(x, decay)
        dx, d_decay, carried = np.zeros_like(x), np.zeros_like(decay), np.zeros_like(decay)
        for t in reversed(range(len(x))):
            carried = v[t] + (carried if mistake else carried * decay)
            dx[t] = carried
            if t:
                d_decay += carried * states[t - 1]
        return dx.astype(np.float16), d_decay.astype(np.float16)

    inputs = normal(5, 3).astype(np.float16), np.array([0.5, 0.75, 0.25], np.float16)
    return gf.check_vjp(forward, backward, inputs, reference=reference)
