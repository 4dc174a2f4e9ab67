"""The operators of Python between traced arrays and what people have beside them, in both orders and in place."""

from __future__ import annotations

import copy
import operator

import numpy as np

from numpy_calls.elementwise import DATA, MASK, WHOLE


def _each(operation, *others):
    """An operator with a traced array on one side, and on the other what people have there."""
    return [
        call for other in others for call in (lambda p, o=other: operation(p, o), lambda p, o=other: operation(o, p))
    ]


_OTHERS = (
    2,
    1.5,
    np.float64(0.7),
    np.float32(0.5),
    np.int64(3),
    np.array(0.4),
    np.abs(DATA) + 0.3,
    WHOLE,
    [0.5, 1.5, 2.5, 1.0],
    [[0.3], [1.4], [2.6]],
    True,
    MASK | True,
)


def _arithmetic(o):
    traced = [lambda p, u: o(p, u), lambda p, n: o(p, n * n + 0.3), lambda p, s: o(s, p)]
    return [*_each(o, *_OTHERS), *traced, lambda s, r: o(s, r * r), lambda s: o(s, 3)]


def _comparison(o):
    traced = [lambda a, b: o(a, b) * b, lambda a, v: o(a, v) * a]
    return [*traced, lambda a: o(a, 0.2) * a, lambda a: o(DATA, a) * a, lambda s: o(s, 0.2) * s]


_ARITHMETIC = ("add", "sub", "mul", "truediv", "pow", "floordiv", "mod")
_COMPARISONS = ("lt", "le", "gt", "ge", "eq", "ne")
OPERATORS = (
    {name: _arithmetic(getattr(operator, name)) for name in _ARITHMETIC}
    | {name: _comparison(getattr(operator, name)) for name in _COMPARISONS}
    | {
        "matmul": [
            lambda a, m: a @ m,
            lambda a, v: a @ v,
            lambda v, m: v @ m,
            lambda a: DATA.T @ a,
            lambda a: a @ DATA.T,
            lambda v, w: v @ w,
            lambda t, m: t @ m,
            lambda v: [1.0, 2.0, 3.0, 4.0] @ v,
            lambda e, q: q @ e,
        ],
        "neg": [lambda a: -a, lambda s: -s],
        "pos": [lambda a: +a],
        "abs": [lambda a: abs(a), lambda s: abs(s)],
        "invert": [lambda a: (~(a > 0.1)) * a],
        "and": [lambda a, b: ((a > 0) & (b > 0)) * a, lambda a: (MASK & (a > 0)) * a],
        "or": [lambda a: (MASK | (a > 0)) * a, lambda a: ((a > 0) | False) * a],
        "xor": [lambda a: (MASK ^ (a > 0)) * a],
        "divmod": [lambda a: divmod(a, 0.7)],
        "round": [lambda s: round(s[()], 1) + s, lambda s: round(s[()] * 10, 0) + s],
        "isub": [lambda a, b: operator.isub(a.copy(), b)],
    }
)
_IN_PLACE = {
    "iadd": [
        lambda a, b: operator.iadd(a * 1.0, b),
        lambda a: operator.iadd(a + 0, 2),
        lambda a, v: operator.iadd(a + 0, v),
    ],
    "imul": [
        lambda a, b: operator.imul(a + 0, b),
        lambda a: operator.imul(a + 0, MASK),
        lambda s, r: operator.imul(s, r),
    ],
    "itruediv": [lambda a, p: operator.itruediv(a + 0, p)],
    "ipow": [lambda a: operator.ipow(a + 0, 2)],
    "ifloordiv": [lambda a: operator.ifloordiv(a + 0, 0.3) + a],
    "imod": [lambda a: operator.imod(a + 0, 0.3)],
    "imatmul": [lambda a, q: operator.imatmul(q + 0, q)],
    "iand": [lambda a: operator.iand(a > 0, MASK) * a],
    "ior": [lambda a: operator.ior(a > 0, MASK) * a],
    "ixor": [lambda a: operator.ixor(a > 0, MASK) * a],
    "copy": [lambda a: copy.copy(a) + copy.deepcopy(a)],
}
OPERATORS |= _IN_PLACE
