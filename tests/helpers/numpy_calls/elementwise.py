"""Calls of NumPy's ufuncs and operators, as people write them."""

# ruff: noqa: E731, B023
from __future__ import annotations

import copy
import operator

import numpy as np

#: A mask and plain numbers of the shape of `a`, as closures of users' functions have them.
MASK = np.arange(12).reshape(3, 4) % 3 == 0
DATA = np.linspace(-1.1, 1.4, 12).reshape(3, 4)
WHOLE = np.arange(12).reshape(3, 4) % 5 + 1

UFUNCS = {
    np.add: [lambda a, b: np.add(a, b), lambda a, s: np.add(s, a), lambda a, v: np.add(a, v), lambda v: np.add(v, [1, 2, 3, 4]),
             lambda a, b: np.add.reduce(a * b), lambda a: np.add.reduce(a, axis=(0, 1)), lambda a: np.add.accumulate(a, axis=1),
             lambda v, w: np.add.outer(v, w), lambda z: np.add.reduceat(z, [0, 2, 3]), lambda a: np.add.reduceat(a, [0, 2, 1], axis=1),
             lambda a: np.add.reduce(a, axis=1, keepdims=True, initial=3.0), lambda a: np.add(MASK, a)],
    np.subtract: [lambda a, b: np.subtract(a, b), lambda a: np.subtract(DATA, a), lambda a, k: np.subtract(a, k),
                  lambda v, w: np.subtract.outer(v, w), lambda v: np.subtract.reduce(v), lambda v: np.subtract.accumulate(v)],
    np.multiply: [lambda a, b: np.multiply(a, b), lambda a: np.multiply(a, MASK), lambda v: np.multiply.reduce(v),
                  lambda a: np.multiply.accumulate(a, axis=0), lambda v, w: np.multiply.outer(v, w), lambda s, r: np.multiply(s, r)],
    np.divide: [lambda a, p: np.divide(a, p), lambda p: np.divide(1, p), lambda a: np.divide(a, 3),
                lambda a, p: np.divide(a, p, out=np.zeros_like(a), where=p > 0.5)],
    np.power: [lambda p, a: np.power(p, a), lambda a: np.power(a, 3), lambda a: np.power(2.0, a), lambda p: np.power(p, 0.5),
               lambda p: np.power(p, -1.0), lambda a: np.power(a, 2), lambda a: np.power(a, 1.0), lambda p: np.power(p, -2),
               lambda a: np.power(a, 0), lambda p: np.power(p, 1.5)],
    np.float_power: [lambda p, a: np.float_power(p, a), lambda a: np.float_power(a, 2)],
    np.maximum: [lambda a, b: np.maximum(a, b), lambda a: np.maximum(0, a), lambda a: np.maximum(a, 0.1 * a),
                 lambda a: np.maximum.reduce(a, axis=1), lambda v: np.maximum.accumulate(v), lambda a, n: np.maximum(a, n)],
    np.minimum: [lambda a, b: np.minimum(a, b), lambda a: np.minimum(1, a), lambda a: np.minimum.reduce(a)],
    np.fmax: [lambda a, b: np.fmax(a, b), lambda a: np.fmax.reduce(a)], np.fmin: [lambda a, b: np.fmin(a, b)],
    np.arctan2: [lambda a, b: np.arctan2(a, b), lambda a: np.arctan2(a, 1.0)],
    np.hypot: [lambda a, b: np.hypot(a, b)],
    np.logaddexp: [lambda a, b: np.logaddexp(a, b), lambda a: np.logaddexp(0, a), lambda a: np.logaddexp.reduce(a, axis=1)],
    np.logaddexp2: [lambda a, b: np.logaddexp2(a, b)],
    np.negative: [lambda a: np.negative(a)], np.positive: [lambda a: np.positive(a)],
    np.exp: [lambda a: np.exp(a), lambda s: np.exp(s), lambda a: np.exp(a, out=np.empty((3, 4))), lambda a: np.exp(-a ** 2),
             lambda a: np.exp(a, where=MASK, out=np.ones((3, 4))), lambda a: np.exp(a, dtype=np.float64)],
    np.log: [lambda p: np.log(p), lambda p: np.log(p, out=p), lambda u: np.log(1 - u)],
    np.log1p: [lambda p: np.log1p(p)], np.expm1: [lambda a: np.expm1(a)], np.exp2: [lambda a: np.exp2(a)],
    np.log2: [lambda p: np.log2(p)], np.log10: [lambda p: np.log10(p)],
    np.sqrt: [lambda p: np.sqrt(p), lambda p: np.sqrt(p, p)], np.cbrt: [lambda a: np.cbrt(a)],
    np.square: [lambda a: np.square(a)], np.reciprocal: [lambda p: np.reciprocal(p)],
    np.absolute: [lambda a: np.absolute(a), lambda a: np.abs(a)], np.fabs: [lambda a: np.fabs(a)],
    np.sin: [lambda a: np.sin(a)], np.cos: [lambda a: np.cos(a)], np.tan: [lambda u: np.tan(u)],
    np.arcsin: [lambda u: np.arcsin(u)], np.arccos: [lambda u: np.arccos(u)], np.arctan: [lambda a: np.arctan(a)],
    np.sinh: [lambda a: np.sinh(a)], np.cosh: [lambda a: np.cosh(a)], np.tanh: [lambda a: np.tanh(a)],
    np.arcsinh: [lambda a: np.arcsinh(a)], np.arccosh: [lambda p: np.arccosh(p + 1)], np.arctanh: [lambda u: np.arctanh(u)],
    np.sign: [lambda a: np.sign(a) * a], np.floor: [lambda a: np.floor(a) + a], np.ceil: [lambda a: np.ceil(a) * a],
    np.rint: [lambda a: np.rint(a) * a], np.trunc: [lambda a: np.trunc(a) - a],
    np.greater: [lambda a, b: np.greater(a, b), lambda a, b: np.greater(a, 0) * b, lambda a: (a > 0).astype(float) * a],
    np.greater_equal: [lambda a, b: np.greater_equal(a, b) * b], np.less: [lambda a, b: np.less(a, b) * a],
    np.less_equal: [lambda a: np.less_equal(a, 0.2) * a], np.equal: [lambda a: np.equal(a, a) * a],
    np.not_equal: [lambda a, b: np.not_equal(a, b) * a],
    np.matmul: [lambda a, v: np.matmul(a, v), lambda a, m: np.matmul(a, m), lambda t, m: np.matmul(t, m),
                lambda a, m: np.matmul(a, m, out=np.empty((3, 3))), lambda a: np.matmul(MASK.T, a), lambda v, w: np.matmul(v, w)],
    np.remainder: [lambda a: np.remainder(a, 0.7), lambda a: np.mod(5.0, a + 4.0)], np.fmod: [lambda a: np.fmod(a, 0.7)],
    np.floor_divide: [lambda a: np.floor_divide(a, 0.1) + a, lambda p: np.floor_divide(1.0, p) + p,
                      lambda s: (0.0 * s + 1.0) // 0.1 + s],
    np.divmod: [lambda a: np.divmod(a, 0.7), lambda a: divmod(a, 0.4), lambda p: divmod(2.0, p)], np.modf: [lambda a: np.modf(a)],
    np.degrees: [lambda a: np.degrees(a)], np.rad2deg: [lambda a: np.rad2deg(a)], np.radians: [lambda a: np.radians(a)],
    np.deg2rad: [lambda a: np.deg2rad(a)], np.heaviside: [lambda a, b: np.heaviside(a, 0.5) * b],
    np.copysign: [lambda a, b: np.copysign(a, b), lambda a: np.copysign(2.0, a) * a], np.conjugate: [lambda a: np.conjugate(a)],
    np.ldexp: [lambda a: np.ldexp(a, 3), lambda a: np.ldexp(a, WHOLE)],
    np.logical_and: [lambda a, b: np.logical_and(a > 0, b > 0) * a, lambda a: np.logical_and.reduce(a > -5, axis=0)],
    np.logical_or: [lambda a, b: np.logical_or(a > 0, b > 0) * a], np.logical_not: [lambda a: np.logical_not(a > 0) * a],
    np.logical_xor: [lambda a, b: np.logical_xor(a > 0, b > 0) * a], np.bitwise_and: [lambda a: ((a > 0) & MASK) * a],
    np.bitwise_or: [lambda a: ((a > 0) | MASK) * a, lambda a: np.bitwise_or(MASK, a > 0) * a],
    np.bitwise_xor: [lambda a: ((a > 0) ^ MASK) * a, lambda a: (True ^ (a > 0)) * a], np.invert: [lambda a: ~(a > 0) * a],
    np.isnan: [lambda a: np.isnan(a) * a], np.isfinite: [lambda a: np.isfinite(a) * a], np.isinf: [lambda a: np.isinf(a) + a],
    np.signbit: [lambda a: np.signbit(a) * a], np.spacing: [lambda a: np.spacing(a) + a], np.nextafter: [lambda a: np.nextafter(a, 5.0)],
    np.frexp: [lambda a: np.frexp(a)[0] + a],
}  # fmt: skip
for _name, _calls in {
    "vecdot": [lambda a, b: np.vecdot(a, b), lambda m, b: np.vecdot(m, b, axis=0) if m.shape[0] == 3 else m],
    "matvec": [lambda t, v: np.matvec(t, v)], "vecmat": [lambda v, m: np.vecmat(v, m)],
}.items():  # fmt: skip
    if hasattr(np, _name):
        UFUNCS[getattr(np, _name)] = _calls


def _updated(update, *more):
    return lambda a, b: update(a.copy(), b, *more)


def _each(operation, *others):
    """An operator with a traced array on one side, and on the other what people have there."""
    return [
        call
        for other in others
        for call in (lambda p, o=other: operation(p, o), lambda p, o=other: operation(o, p))
    ]


_OTHERS = (2, 1.5, np.float64(0.7), np.float32(0.5), np.int64(3), np.array(0.4), np.abs(DATA) + 0.3, WHOLE, [0.5, 1.5, 2.5, 1.0],
           [[0.3], [1.4], [2.6]], True, MASK | True)  # fmt: skip
OPERATORS = {
    name: [*_each(getattr(operator, name), *_OTHERS), lambda p, u, o=getattr(operator, name): o(p, u),
           lambda p, n, o=getattr(operator, name): o(p, n * n + 0.3), lambda p, s, o=getattr(operator, name): o(s, p),
           lambda s, r, o=getattr(operator, name): o(s, r * r), lambda s, o=getattr(operator, name): o(s, 3)]
    for name in ("add", "sub", "mul", "truediv", "pow", "floordiv", "mod")
} | {
    name: [lambda a, b, o=getattr(operator, name): o(a, b) * b, lambda a, o=getattr(operator, name): o(a, 0.2) * a,
           lambda a, o=getattr(operator, name): o(DATA, a) * a, lambda s, o=getattr(operator, name): o(s, 0.2) * s,
           lambda a, v, o=getattr(operator, name): o(a, v) * a]
    for name in ("lt", "le", "gt", "ge", "eq", "ne")
} | {
    "matmul": [lambda a, m: a @ m, lambda a, v: a @ v, lambda v, m: v @ m, lambda a: DATA.T @ a, lambda a: a @ DATA.T,
               lambda v, w: v @ w, lambda t, m: t @ m, lambda v: [1.0, 2.0, 3.0, 4.0] @ v, lambda e, q: q @ e],
    "neg": [lambda a: -a, lambda s: -s], "pos": [lambda a: +a], "abs": [lambda a: abs(a), lambda s: abs(s)],
    "invert": [lambda a: (~(a > 0.1)) * a], "and": [lambda a, b: ((a > 0) & (b > 0)) * a, lambda a: (MASK & (a > 0)) * a],
    "or": [lambda a: (MASK | (a > 0)) * a, lambda a: ((a > 0) | False) * a], "xor": [lambda a: (MASK ^ (a > 0)) * a],
    "divmod": [lambda a: divmod(a, 0.7)], "round": [lambda s: round(s[()], 1) + s, lambda s: round(s[()] * 10, 0) + s],
    "isub": [lambda a, b: operator.isub(a.copy(), b)],
}  # fmt: skip
_IN_PLACE = {
    "iadd": [lambda a, b: operator.iadd(a * 1.0, b), lambda a: operator.iadd(a + 0, 2), lambda a, v: operator.iadd(a + 0, v)],
    "imul": [lambda a, b: operator.imul(a + 0, b), lambda a: operator.imul(a + 0, MASK), lambda s, r: operator.imul(s, r)],
    "itruediv": [lambda a, p: operator.itruediv(a + 0, p)], "ipow": [lambda a: operator.ipow(a + 0, 2)],
    "ifloordiv": [lambda a: operator.ifloordiv(a + 0, 0.3) + a], "imod": [lambda a: operator.imod(a + 0, 0.3)],
    "imatmul": [lambda a, q: operator.imatmul(q + 0, q)], "iand": [lambda a: operator.iand(a > 0, MASK) * a],
    "ior": [lambda a: operator.ior(a > 0, MASK) * a], "ixor": [lambda a: operator.ixor(a > 0, MASK) * a],
    "copy": [lambda a: copy.copy(a) + copy.deepcopy(a)],
}  # fmt: skip
OPERATORS |= _IN_PLACE
