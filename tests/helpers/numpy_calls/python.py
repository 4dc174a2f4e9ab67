"""What Python itself does with arrays."""

# ruff: noqa: UP031
from __future__ import annotations

import math

import numpy as np

from numpy_calls.methods import MASK


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


#: By what Python does.
PYTHON = {
    "iteration": [
        lambda a: [row.sum() for row in a],
        lambda v: sum(v),
        lambda v: sum(x * x for x in v),
        lambda v: _extended(v),
        lambda a: [x for row in a for x in row],
    ],
    "unpacking": [lambda a: _unpacked(a), lambda v: v[0] + (lambda x, y, z, w: x * y - z * w)(*v)],
    "zip": [lambda v, w: sum(x * y for x, y in zip(v, w, strict=True))],
    "enumerate": [lambda v: sum(k * x for k, x in enumerate(v))],
    "reversed": [lambda v: list(reversed(v))],
    "len": [lambda a: a / len(a)],
    "in": [lambda v: v * (5.0 in v) + v],
    "sorted": [lambda v: sorted(v)],
    "chained comparison": [lambda v: _chained(v)],
    "max": [
        lambda v: max(v),
        lambda v: max(v[0], v[1]),
        lambda v: max(0, v[0]) + max(v[1], 0.0),
        lambda v: min(*v),
        lambda v: max(list(v), key=lambda x: x),
    ],
    "abs": [lambda v: abs(v[0]) + abs(v)],
    "bool": [
        lambda v: v if v[0] > 5 else 2 * v,
        lambda v: v * bool(v[0] < 5),
        lambda a: a if (a > -9).all() and not (a > 9).any() else -a,
        lambda s: s or 1.0,
        lambda s: (s and 3.0) * s,
    ],
    "float": [
        lambda v: float(v[0]) * v,
        lambda v: np.float64(v[1]) ** 2,
        lambda v: float(np.sum(v)) + float(v[:1][0]),
        lambda s: float(s),
    ],
    "slices": [
        lambda a: a[1:, ::2],
        lambda a: a[::-1, -1],
        lambda a: a[..., None, 0],
        lambda a: a[1][2],
        lambda a: a[np.newaxis] * 2,
        lambda a: a[:, 1:-1],
        lambda a: a[-1],
        lambda a: a[np.int64(1)],
        lambda a: a[0:0].sum() + a,
    ],
    "fancy": [
        lambda a: a[[0, 2]],
        lambda a: a[[0, 1], [2, 2]],
        lambda a: a[:, [1, 1, 3]],
        lambda a: a[np.arange(3), [0, 1, 3]],
        lambda a: a[np.array([[0], [2]]), [1, 2]],
        lambda t: t[:, [0, 1], 2],
        lambda t: t[[0, 1], :, [0, 1]],
        lambda a: a[np.ix_([0, 1], [1, 3])],
        lambda a: a[range(2)],
        lambda v: v[[True, False, True, True]],
        lambda a: a[()],
        lambda a: a[(0, 1)],
    ],
    "masks": [
        lambda a: a[MASK],
        lambda a: a[a > 0],
        lambda a: a[a > 0].sum(),
        lambda a: a[(a > 0) & ~MASK],
        lambda a: (a > 0) * a,
        lambda a: (a > 0).sum(axis=0) * a,
        lambda a: ((a > 0) == MASK) * a,
        lambda a: a[:, a[0] > 0],
        lambda a: a[a[:, 0] > -9],
        lambda a: np.where((a > 0) & (a < 1), a, -a),
        lambda a: 1.0 - (a > 0) + a,
        lambda a: (1 - MASK) * a,
        lambda a: MASK.astype(float)[a > 0].sum() * a,
        lambda a: -(a > 0).astype(float) * a,
        lambda a: (a > 0) / (a.size),
        lambda a: a * np.arange(12).reshape(3, 4)[a > 0].sum(),
        lambda v: v[: (v > 0).sum()],
        lambda v: v[np.count_nonzero(v > 0) - 1],
    ],
    "text": [
        lambda a: a * len(f"{(a > 0).sum():d}"),
        lambda s: s * len(f"{s:.3f}"),
        lambda s: s * len("%.2f %s" % (s, "x")),
        lambda v: v * len(f"{v[0]:8.3e}"),
        lambda a: a * len("%d" % (a > 0).sum()),
    ],
    "isinstance": [
        lambda a: a * isinstance(a, np.ndarray),
        lambda v: v * isinstance(v[0], float),
        lambda v: v * isinstance(v[0], np.floating),
        lambda a: a * (type(a) is np.ndarray),
        lambda v: v * (type(v[0]) is np.float64),
        lambda a: a * hasattr(a, "shape"),
        lambda a: a * (not hasattr(a, "nothing")),
        lambda a: a * hasattr(a, "tobytes"),
        lambda v: v * np.isscalar(v[0]),
        lambda a: a * isinstance((a > 0)[0, 0], np.bool_),
    ],
    "math": [
        lambda s: math.exp(s) + math.log(s) + math.sqrt(s),
        lambda s: math.pow(s, 3) + math.tanh(s),
        lambda v: math.fsum(v),
        lambda s: math.log(s, 2) + math.hypot(s, 2.0),
        lambda s: math.erf(s) + math.erfc(s) + math.lgamma(s),
    ],
    "numbers": [
        lambda a: np.float64(a) * a,
        lambda s: float(s) * np.float64(s),
        lambda a: a * len(list(filter(None, [1, 0, 2]))),
        lambda v: sum(filter(lambda x: x > 0.0, v)),
    ],
    "lists of arrays": [
        lambda a, b: [x * 2 for x in [a, b]],
        lambda a, b: sum([a, b]),
        lambda a, b: np.sum([a, b], axis=0),
        lambda a, b: np.mean([a, b]),
        lambda v: np.max([v[0], v[1], 0.0]),
        lambda v, w: np.array([v, w])[1, 2],
        lambda v, w: np.array(list(np.array([v, w, [1, 2, 3, 4]]))),
        lambda a, m: [x.sum() for x in np.array([a, m], dtype=object)],
        lambda a, m: sum((np.array([a, m], dtype=object) * 2)[1].ravel()),
    ],
    "random numbers": [
        lambda a: a * np.random.RandomState(0).rand(3, 4),
        lambda a: a * (np.random.default_rng(0).random((3, 4)) > 0.5) / 0.5,
        lambda a: a + np.random.default_rng(1).normal(size=4),
    ],
}
