"""Calls of the methods and attributes of arrays, of things that Python does with arrays, and of SciPy's functions."""

# ruff: noqa: E731, UP031
from __future__ import annotations

import math
from importlib.util import find_spec

import numpy as np

MASK = np.arange(12).reshape(3, 4) % 3 == 0


def _changed(x, method, *args, **kwargs):
    made = x * 1.0
    assert getattr(made, method)(*args, **kwargs) is None
    return made


def _with_shape(x):
    made = x * 1.0
    made.shape = 2, 6
    return made


def _flat_changed(x, key, value):
    made = (x * 1.0).T
    made.flat[key] = value
    return made


def _flat_set(x, value):
    made = x * 1.0
    made.flat = value
    return made


def _extended(values):
    total, found = 0.0, []
    for k, value in enumerate(values):
        total += value * (k + 1)
        found.append(total)
    return found


def _unpacked(x):
    first, *rest = x
    (p, q), _ = rest[0][:2], first
    return first * p, rest[1] * q


def _chained(x):
    return sum(v if 0 < v < 1 else -2 * v for v in x)


#: By name: methods and attributes of ``numpy.ndarray``.
METHODS = {
    "sum": [lambda a: a.sum(), lambda a: a.sum(0), lambda a: a.sum(axis=1, keepdims=True), lambda a: (a > 0).sum() * a, lambda a: a.sum(where=MASK)], "mean": [lambda a: a.mean(), lambda a: a.mean(axis=0), lambda a: a.mean((0, 1), keepdims=True)],
    "max": [lambda a: a.max(), lambda a: a.max(1), lambda a: a.max(axis=0, initial=0.3)], "min": [lambda a: a.min(axis=1)], "prod": [lambda a: a.prod(0)], "std": [lambda a: a.std(axis=0), lambda a: a.std(ddof=1)], "var": [lambda a: a.var(1, keepdims=True)],
    "cumsum": [lambda a: a.cumsum(), lambda a: a.cumsum(axis=1)], "cumprod": [lambda v: v.cumprod()], "argmax": [lambda a: a[range(3), a.argmax(axis=1)]], "argmin": [lambda v: v[v.argmin()]], "argsort": [lambda v: v[v.argsort()[::-1]], lambda a: np.take_along_axis(a, a.argsort(0), 0)],
    "argpartition": [lambda v: v[v.argpartition(1)[:1]]], "any": [lambda a: (a > 0).any() * a, lambda a: (a > 1).any(axis=0) * a], "all": [lambda a: (a > -9).all() * a, lambda a: (a > -1).all(axis=1, keepdims=True) * a], "clip": [lambda a: a.clip(-1, 1), lambda a: a.clip(min=0), lambda a: a.clip(0)],
    "round": [lambda a: a.round(1) + a], "dot": [lambda a, m: a.dot(m), lambda v, w: v.dot(w), lambda a: a.dot([1.0, 2.0, 3.0, 4.0])], "squeeze": [lambda n: n.squeeze(), lambda n: n.squeeze(0)], "ravel": [lambda a: a.ravel(), lambda a: a.T.ravel(), lambda a: a.ravel("F")],
    "repeat": [lambda v: v.repeat(2), lambda a: a.repeat(2, axis=1)], "swapaxes": [lambda t: t.swapaxes(0, 1)], "take": [lambda a: a.take([0, 2], axis=1), lambda v: v.take(2)], "trace": [lambda q: q.trace()], "diagonal": [lambda q: q.diagonal(1)],
    "nonzero": [lambda a: a[(a > 0).nonzero()]], "compress": [lambda a: a.compress([True, False, True], axis=0)], "choose": [lambda v: (v > 0).astype(int).choose([v, 2 * v])], "searchsorted": [lambda v: v * np.sort(v).searchsorted(0.1)],
    "partition": [lambda a: _changed(a, "partition", 1, axis=0)[1]], "put": [lambda a: _changed(a, "put", [0, 5], [1.0, 2.0]), lambda a, s: _changed(a, "put", 3, s)], "sort": [lambda a: _changed(a, "sort"), lambda a: _changed(a, "sort", axis=0)],
    "fill": [lambda a, s: _changed(a, "fill", s), lambda a: _changed(a, "fill", 2.0) * a], "copy": [lambda a: a.copy() * a, lambda a: a.T.copy()], "astype": [lambda a: a.astype(float), lambda a: a.astype(np.float64, copy=False) * 2, lambda a: (a > 0).astype(int) * a, lambda a: a.astype(bool) * a],
    "reshape": [lambda a: a.reshape(4, 3), lambda a: a.reshape((2, -1)), lambda a: a.reshape(-1, order="F"), lambda a: a.T.reshape(12), lambda v: v.reshape(-1, 1), lambda a: a.reshape(len(a), -1), lambda s: s.reshape(1, 1)],
    "transpose": [lambda a: a.transpose(), lambda t: t.transpose(1, 2, 0), lambda t: t.transpose((2, 0, 1)), lambda t: t.transpose([0, 2, 1])], "view": [lambda a: a.view() * 2], "flatten": [lambda a: a.flatten(), lambda a: a.flatten(order="F")],
    "tolist": [lambda v: sum(v.tolist()), lambda a: a.tolist()[1][2] ** 2], "item": [lambda a: a.item(3), lambda a: a.item(1, 2), lambda a: a.sum().item(), lambda a: a.item((0, 1)), lambda a: a[:1, :1].item(), lambda a: a.T.item(-2)],
    "conj": [lambda a: a.conj() * 2], "conjugate": [lambda a: a.conjugate()], "setflags": [lambda a: a.setflags(write=True) or a], "T": [lambda a: a.T], "mT": [lambda t: t.mT if hasattr(np.ndarray, "mT") else t], "real": [lambda a: a.real], "imag": [lambda a: a.imag + a],
    "shape": [lambda a: a / a.shape[0], lambda a: _with_shape(a)], "size": [lambda a: a / a.size], "ndim": [lambda a: a * a.ndim], "dtype": [lambda a: np.zeros(3, a.dtype) + a[:, 0], lambda a: a * (a.dtype == np.float64)], "itemsize": [lambda a: a * a.itemsize], "nbytes": [lambda a: a * a.nbytes],
    "strides": [lambda a: np.lib.stride_tricks.as_strided(a, (2, 3), a.strides)], "flags": [lambda a: a * a.flags.c_contiguous, lambda a: a * a.T.flags["C_CONTIGUOUS"] + a], "base": [lambda a: a * (a.T.base is not None)],
    "flat": [lambda a: a.flat[3], lambda a: a.T.flat[2:5], lambda a: np.sum([x ** 2 for x in a.flat]), lambda a: len(a.flat) * a, lambda a: _flat_changed(a, 5, 0.0), lambda a, s: _flat_changed(a, slice(1, 4), s), lambda a, v: _flat_changed(a, [0, 2, 3, 9], v), lambda a, b: _flat_set(a, b), lambda a, v: _flat_set(a, v),
             lambda a, z: _flat_changed(a, slice(None), z), lambda a: next(a.flat) * a],
    "device": [lambda a: a * (getattr(np.zeros(1), "device", "cpu") == "cpu")], "ptp": [lambda a: np.ptp(a)], "resize": [lambda a: np.resize(a, (2, 2))],
}  # fmt: skip

#: By what Python does.
PYTHON = {
    "iteration": [lambda a: [row.sum() for row in a], lambda v: sum(v), lambda v: sum(x * x for x in v), lambda v: _extended(v), lambda a: [x for row in a for x in row]], "unpacking": [lambda a: _unpacked(a), lambda v: v[0] + (lambda x, y, z, w: x * y - z * w)(*v)],
    "zip": [lambda v, w: sum(x * y for x, y in zip(v, w, strict=True))], "enumerate": [lambda v: sum(k * x for k, x in enumerate(v))], "reversed": [lambda v: list(reversed(v))], "len": [lambda a: a / len(a)], "in": [lambda v: v * (5.0 in v) + v], "sorted": [lambda v: sorted(v)],
    "chained comparison": [lambda v: _chained(v)], "max": [lambda v: max(v), lambda v: max(v[0], v[1]), lambda v: max(0, v[0]) + max(v[1], 0.0), lambda v: min(*v), lambda v: max(list(v), key=lambda x: x)], "abs": [lambda v: abs(v[0]) + abs(v)],
    "bool": [lambda v: v if v[0] > 5 else 2 * v, lambda v: v * bool(v[0] < 5), lambda a: a if (a > -9).all() and not (a > 9).any() else -a, lambda s: s or 1.0, lambda s: (s and 3.0) * s], "float": [lambda v: float(v[0]) * v, lambda v: np.float64(v[1]) ** 2, lambda v: float(np.sum(v)) + float(v[:1][0]), lambda s: float(s)],
    "slices": [lambda a: a[1:, ::2], lambda a: a[::-1, -1], lambda a: a[..., None, 0], lambda a: a[1][2], lambda a: a[np.newaxis] * 2, lambda a: a[:, 1:-1], lambda a: a[-1], lambda a: a[np.int64(1)], lambda a: a[0:0].sum() + a],
    "fancy": [lambda a: a[[0, 2]], lambda a: a[[0, 1], [2, 2]], lambda a: a[:, [1, 1, 3]], lambda a: a[np.arange(3), [0, 1, 3]], lambda a: a[np.array([[0], [2]]), [1, 2]], lambda t: t[:, [0, 1], 2], lambda t: t[[0, 1], :, [0, 1]], lambda a: a[np.ix_([0, 1], [1, 3])], lambda a: a[range(2)], lambda v: v[[True, False, True, True]], lambda a: a[()], lambda a: a[(0, 1)]],
    "masks": [lambda a: a[MASK], lambda a: a[a > 0], lambda a: a[a > 0].sum(), lambda a: a[(a > 0) & ~MASK], lambda a: (a > 0) * a, lambda a: (a > 0).sum(axis=0) * a, lambda a: ((a > 0) == MASK) * a, lambda a: a[:, a[0] > 0], lambda a: a[a[:, 0] > -9], lambda a: np.where((a > 0) & (a < 1), a, -a), lambda a: 1.0 - (a > 0) + a,
              lambda a: (1 - MASK) * a, lambda a: MASK.astype(float)[a > 0].sum() * a, lambda a: -(a > 0).astype(float) * a, lambda a: (a > 0) / (a.size), lambda a: a * np.arange(12).reshape(3, 4)[a > 0].sum(), lambda v: v[: (v > 0).sum()], lambda v: v[np.count_nonzero(v > 0) - 1]],
    "text": [lambda a: a * len(f"{(a > 0).sum():d}"), lambda s: s * len(f"{s:.3f}"), lambda s: s * len("%.2f %s" % (s, "x")), lambda v: v * len(f"{v[0]:8.3e}"), lambda a: a * len("%d" % (a > 0).sum())],
    "isinstance": [lambda a: a * isinstance(a, np.ndarray), lambda v: v * isinstance(v[0], float), lambda v: v * isinstance(v[0], np.floating), lambda a: a * (type(a) is np.ndarray), lambda v: v * (type(v[0]) is np.float64), lambda a: a * hasattr(a, "shape"), lambda a: a * (not hasattr(a, "nothing")), lambda a: a * hasattr(a, "tobytes"),
                   lambda v: v * np.isscalar(v[0]), lambda a: a * isinstance((a > 0)[0, 0], np.bool_)],
    "math": [lambda s: math.exp(s) + math.log(s) + math.sqrt(s), lambda s: math.pow(s, 3) + math.tanh(s), lambda v: math.fsum(v), lambda s: math.log(s, 2) + math.hypot(s, 2.0), lambda s: math.erf(s) + math.erfc(s) + math.lgamma(s)],
    "lists of arrays": [lambda a, b: [x * 2 for x in [a, b]], lambda a, b: sum([a, b]), lambda a, b: np.sum([a, b], axis=0), lambda a, b: np.mean([a, b]), lambda v: np.max([v[0], v[1], 0.0]), lambda v, w: np.array([v, w])[1, 2], lambda v, w: np.array([x for x in np.array([v, w, [1, 2, 3, 4]])]),
                        lambda a, m: [x.sum() for x in np.array([a, m], dtype=object)], lambda a, m: sum((np.array([a, m], dtype=object) * 2)[1].ravel())],
    "random numbers": [lambda a: a * np.random.RandomState(0).rand(3, 4), lambda a: a * (np.random.default_rng(0).random((3, 4)) > 0.5) / 0.5, lambda a: a + np.random.default_rng(1).normal(size=4)],
}  # fmt: skip

SCIPY = {}
if find_spec("scipy"):
    import scipy.special as sp

    SCIPY = {
        "expit": [lambda a: sp.expit(a)], "logit": [lambda u: sp.logit(u)], "log_expit": [lambda a: sp.log_expit(a)], "erf": [lambda a: sp.erf(a)], "erfc": [lambda a: sp.erfc(a)], "softmax": [lambda a: sp.softmax(a), lambda a: sp.softmax(a, axis=1)], "log_softmax": [lambda a: sp.log_softmax(a, axis=0)],
        "logsumexp": [lambda a: sp.logsumexp(a), lambda a: sp.logsumexp(a, axis=1, keepdims=True), lambda a, p: sp.logsumexp(a, axis=0, b=p), lambda a: sp.logsumexp(a, return_sign=True)[0]], "xlogy": [lambda a, p: sp.xlogy(a, p), lambda p: sp.xlogy(0, p) + p], "xlog1py": [lambda a, p: sp.xlog1py(a, p)],
        "gammaln": [lambda p: sp.gammaln(p)], "ndtr": [lambda a: sp.ndtr(a)], "entr": [lambda p: sp.entr(p)], "rel_entr": [lambda p, u: sp.rel_entr(p, u), lambda u: sp.rel_entr([0.0, 1.0, 0.0, 2.0], u)], "kl_div": [lambda p, u: sp.kl_div(p, u)], "huber": [lambda a: sp.huber(1.0, a), lambda a, s: sp.huber(s, a)],
        "pseudo_huber": [lambda a: sp.pseudo_huber(1.0, a)], "exp10": [lambda a: sp.exp10(a)], "betaln": [lambda p, u: sp.betaln(p, u)], "comb": [lambda a: sp.comb(5, 2) * a], "factorial": [lambda a: sp.factorial(4) * a], "digamma": [lambda p: sp.digamma(p)], "gamma": [lambda p: sp.gamma(p)], "i0e": [lambda a: sp.i0e(a)],
        "expm1": [lambda a: sp.expm1(a)], "cbrt": [lambda a: sp.cbrt(a)], "log1p": [lambda p: sp.log1p(p)],
    }  # fmt: skip
    if hasattr(sp, "softplus"):
        SCIPY["softplus"] = [lambda a: sp.softplus(a)]
