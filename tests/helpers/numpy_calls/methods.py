"""Calls of the methods and attributes of arrays."""

from __future__ import annotations

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


#: By name: methods and attributes of ``numpy.ndarray``.
METHODS = {
    "sum": [
        lambda a: a.sum(),
        lambda a: a.sum(0),
        lambda a: a.sum(axis=1, keepdims=True),
        lambda a: (a > 0).sum() * a,
        lambda a: a.sum(where=MASK),
    ],
    "mean": [lambda a: a.mean(), lambda a: a.mean(axis=0), lambda a: a.mean((0, 1), keepdims=True)],
    "max": [lambda a: a.max(), lambda a: a.max(1), lambda a: a.max(axis=0, initial=0.3)],
    "min": [lambda a: a.min(axis=1)],
    "prod": [lambda a: a.prod(0)],
    "std": [lambda a: a.std(axis=0), lambda a: a.std(ddof=1)],
    "var": [lambda a: a.var(1, keepdims=True)],
    "cumsum": [lambda a: a.cumsum(), lambda a: a.cumsum(axis=1)],
    "cumprod": [lambda v: v.cumprod()],
    "argmax": [lambda a: a[range(3), a.argmax(axis=1)]],
    "argmin": [lambda v: v[v.argmin()]],
    "argsort": [lambda v: v[v.argsort()[::-1]], lambda a: np.take_along_axis(a, a.argsort(0), 0)],
    "argpartition": [lambda v: v[v.argpartition(1)[:1]]],
    "any": [lambda a: (a > 0).any() * a, lambda a: (a > 1).any(axis=0) * a],
    "all": [lambda a: (a > -9).all() * a, lambda a: (a > -1).all(axis=1, keepdims=True) * a],
    "clip": [lambda a: a.clip(-1, 1), lambda a: a.clip(min=0), lambda a: a.clip(0)],
    "round": [lambda a: a.round(1) + a],
    "dot": [lambda a, m: a.dot(m), lambda v, w: v.dot(w), lambda a: a.dot([1.0, 2.0, 3.0, 4.0])],
    "squeeze": [lambda n: n.squeeze(), lambda n: n.squeeze(0)],
    "ravel": [lambda a: a.ravel(), lambda a: a.T.ravel(), lambda a: a.ravel("F")],
    "repeat": [lambda v: v.repeat(2), lambda a: a.repeat(2, axis=1)],
    "swapaxes": [lambda t: t.swapaxes(0, 1)],
    "take": [lambda a: a.take([0, 2], axis=1), lambda v: v.take(2)],
    "trace": [lambda q: q.trace()],
    "diagonal": [lambda q: q.diagonal(1)],
    "nonzero": [lambda a: a[(a > 0).nonzero()]],
    "compress": [lambda a: a.compress([True, False, True], axis=0)],
    "choose": [lambda v: (v > 0).astype(int).choose([v, 2 * v])],
    "searchsorted": [lambda v: v * np.sort(v).searchsorted(0.1)],
    "partition": [lambda a: _changed(a, "partition", 1, axis=0)[1]],
    "put": [lambda a: _changed(a, "put", [0, 5], [1.0, 2.0]), lambda a, s: _changed(a, "put", 3, s)],
    "sort": [lambda a: _changed(a, "sort"), lambda a: _changed(a, "sort", axis=0)],
    "fill": [lambda a, s: _changed(a, "fill", s), lambda a: _changed(a, "fill", 2.0) * a],
    "copy": [lambda a: a.copy() * a, lambda a: a.T.copy()],
    "astype": [
        lambda a: a.astype(float),
        lambda a: a.astype(np.float64, copy=False) * 2,
        lambda a: (a > 0).astype(int) * a,
        lambda a: a.astype(bool) * a,
    ],
    "reshape": [
        lambda a: a.reshape(4, 3),
        lambda a: a.reshape((2, -1)),
        lambda a: a.reshape(-1, order="F"),
        lambda a: a.T.reshape(12),
        lambda v: v.reshape(-1, 1),
        lambda a: a.reshape(len(a), -1),
        lambda s: s.reshape(1, 1),
    ],
    "transpose": [
        lambda a: a.transpose(),
        lambda t: t.transpose(1, 2, 0),
        lambda t: t.transpose((2, 0, 1)),
        lambda t: t.transpose([0, 2, 1]),
    ],
    "view": [lambda a: a.view() * 2],
    "flatten": [lambda a: a.flatten(), lambda a: a.flatten(order="F")],
    "tolist": [lambda v: sum(v.tolist()), lambda a: a.tolist()[1][2] ** 2],
    "item": [
        lambda a: a.item(3),
        lambda a: a.item(1, 2),
        lambda a: a.sum().item(),
        lambda a: a.item((0, 1)),
        lambda a: a[:1, :1].item(),
        lambda a: a.T.item(-2),
    ],
    "conj": [lambda a: a.conj() * 2],
    "conjugate": [lambda a: a.conjugate()],
    "setflags": [lambda a: a.setflags(write=True) or a],
    "T": [lambda a: a.T],
    "mT": [lambda t: t.mT if hasattr(np.ndarray, "mT") else t],
    "real": [lambda a: a.real],
    "imag": [lambda a: a.imag + a],
    "shape": [lambda a: a / a.shape[0], lambda a: _with_shape(a)],
    "size": [lambda a: a / a.size],
    "ndim": [lambda a: a * a.ndim],
    "dtype": [lambda a: np.zeros(3, a.dtype) + a[:, 0], lambda a: a * (a.dtype == np.float64)],
    "itemsize": [lambda a: a * a.itemsize],
    "nbytes": [lambda a: a * a.nbytes],
    "strides": [lambda a: np.lib.stride_tricks.as_strided(a, (2, 3), a.strides)],
    "flags": [lambda a: a * a.flags.c_contiguous, lambda a: a * a.T.flags["C_CONTIGUOUS"] + a],
    "base": [lambda a: a * (a.T.base is not None)],
    "flat": [
        lambda a: a.flat[3],
        lambda a: a.T.flat[2:5],
        lambda a: np.sum([x**2 for x in a.flat]),
        lambda a: len(a.flat) * a,
        lambda a: _flat_changed(a, 5, 0.0),
        lambda a, s: _flat_changed(a, slice(1, 4), s),
        lambda a, v: _flat_changed(a, [0, 2, 3, 9], v),
        lambda a, b: _flat_set(a, b),
        lambda a, v: _flat_set(a, v),
        lambda a, z: _flat_changed(a, slice(None), z),
        lambda a: next(a.flat) * a,
    ],
    "device": [lambda a: a * (getattr(np.zeros(1), "device", "cpu") == "cpu")],
    "ptp": [lambda a: np.ptp(a)],
    "resize": [lambda a: np.resize(a, (2, 2))],
}
