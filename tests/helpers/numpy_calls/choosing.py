"""Calls of NumPy's functions that choose between arrays, write into them, or only look at them."""

from __future__ import annotations

import numpy as np

from numpy_calls.reducing import HOLES, LABELS, MASK, filled, into, with_aliases

TRAPEZOID = getattr(np, "trapezoid", None) or getattr(np, "trapz")  # noqa: B009
IN1D = getattr(np, "in1d", None)
CHOICES = {
    np.where: [
        lambda a: np.where(a > 0, a, 0.1 * a),
        lambda a, b: np.where(MASK, a, b),
        lambda a: np.where(a > 0, 1.0, -1.0) * a,
        lambda a: a[np.where(a > 0)],
        lambda a, s: np.where(a < 0, s, a),
        lambda a: np.where(a, a, 1.0),
        lambda s: np.where(s > 0, s, 0),
        lambda v, k: np.where(v > 0, k, v),
        lambda a: np.where(a > 0, True, a > -1) * a,
        lambda p: np.where(p > 0.5, np.log(p), p),
    ],
    np.clip: [
        lambda a: np.clip(a, -1, 1),
        lambda a: np.clip(a, 0, None),
        lambda a: np.clip(a, None, 0.5),
        lambda a, n: np.clip(a, -1.0, n),
        lambda a: np.clip(a, a_min=-0.5, a_max=np.inf),
        lambda a: into((3, 4), lambda o: np.clip(a, -1, 1, out=o)),
        lambda u: np.clip(u, 1e-7, 1 - 1e-7),
        lambda a: filled(a, lambda x: np.clip(x, -1, 1, out=x)),
        lambda s: np.clip(s, 0, 0.5) + s,
    ],
    np.select: [
        lambda a: np.select([a < -0.5, a < 0.5], [a, a**2], a**3),
        lambda a: np.select([MASK], [a]),
        lambda a: np.select([a > 1, a > 0], [1.0, a], default=-1),
    ],
    np.piecewise: [
        lambda a: np.piecewise(a, [a < 0, a >= 0], [lambda x: -x, lambda x: x**2]),
        lambda a: np.piecewise(a, [a > 0], [lambda x: np.log(x), 2.0]),
        lambda v: np.piecewise(v, [v < 0], [-1.0, lambda x: x]),
    ],
    np.choose: [
        lambda a, n: np.choose(LABELS, [a[:, 0], a[:, 1], a[:, 2]]),
        lambda v: np.choose([0, 1, 0, 5], [v, 2 * v], mode="clip"),
        lambda v: np.choose((v > 0).astype(int), [v, v**2]),
    ],
    np.round: [
        lambda a: np.round(a, 1) + a,
        lambda a: np.round(a) * a,
        lambda a: np.round(100 * a, -1) * a,
        lambda a: into((3, 4), lambda o: np.round(a, 1, out=o)) + a,
    ],
    np.around: [lambda a: np.around(a, 2) * a],
    np.fix: [lambda a: np.fix(a) * a],
    np.nan_to_num: [lambda a: np.nan_to_num(a), lambda a: np.nan_to_num(a + HOLES, nan=2.0)],
    np.sinc: [lambda a: np.sinc(a)],
    np.i0: [lambda a: np.i0(a)],
    np.unwrap: [lambda v: np.unwrap(2 * v)],
    np.diff: [
        lambda a: np.diff(a),
        lambda a: np.diff(a, axis=0),
        lambda v: np.diff(v, n=2),
        lambda v: np.diff(v, prepend=0.0),
        lambda a, k: np.diff(a, prepend=k, append=1.0),
        lambda a: np.diff(a, n=0),
    ],
    np.ediff1d: [lambda a: np.ediff1d(a), lambda v: np.ediff1d(v, to_begin=0.0, to_end=[1.0, 2.0])],
    np.gradient: [
        lambda v: np.gradient(v),
        lambda v: np.gradient(v, 0.5),
        lambda a: np.gradient(a),
        lambda a: np.gradient(a, 0.1, axis=1),
        lambda a: np.gradient(a, 0.1, 0.2),
        lambda z: np.gradient(z, np.array([0.0, 1.0, 2.5, 3.0, 4.0, 5.0])),
        lambda v: np.gradient(v, edge_order=2),
    ],
    TRAPEZOID: [
        lambda v: TRAPEZOID(v),
        lambda v, z: TRAPEZOID(v, dx=0.5) * z,
        lambda a: TRAPEZOID(a, [0.0, 1.0, 3.0], axis=0),
        lambda a, v: TRAPEZOID(a, v),
    ],
    np.interp: [
        lambda v: np.interp(v, [-2.0, 0.05, 2.0], [1.0, 3.0, -1.0]),
        lambda v: np.interp([-5.0, 0.3, 2.2, 9.0], [0.0, 1.0, 2.0, 3.0], v),
    ],
    np.copyto: [
        lambda a, b: filled(a, np.copyto, b),
        lambda a, n: filled(a, np.copyto, n),
        lambda a, b: filled(a, lambda x: np.copyto(x, b, where=MASK)),
        lambda a: filled(a, lambda x: np.copyto(x, 0.0, where=x < 0)),
        lambda v: with_aliases(np.ones(4), lambda o: np.copyto(o, v)),
    ],
    np.putmask: [
        lambda a: filled(a, lambda x: np.putmask(x, x < 0, 0.0)),
        lambda a, b: filled(a, np.putmask, MASK, b),
        lambda a, v: filled(a, np.putmask, MASK, v),
    ],
    np.place: [
        lambda a, v: filled(a, np.place, MASK, v),
        lambda a: filled(a, lambda x: np.place(x, x < 0, [1.0, 2.0])),
    ],
    np.put: [
        lambda a, v: filled(a, np.put, [0, 5, -1], v),
        lambda a, s: filled(a, np.put, [1, 1, 2], s),
        lambda a, w: filled(a, np.put, [1, 3, 1, 2], w),
        lambda a, s: filled(a, lambda x: np.put(x, [40, 2], s, mode="clip")),
    ],
    np.fill_diagonal: [
        lambda q: filled(q, np.fill_diagonal, 0.0),
        lambda a, v: filled(a, np.fill_diagonal, v[:3]),
        lambda q, s: filled(q, np.fill_diagonal, s),
        lambda m: filled(np.tile(m, (3, 1)), lambda x: np.fill_diagonal(x, 2.0, wrap=True)),
        lambda q, z: filled(q, np.fill_diagonal, z[:2]),
    ],
}

#: What returns no numbers that depend on the parameters smoothly; here they are multiplied by some that do.
LOOKS = {
    np.shape: [lambda a: np.shape(a)[0] * a],
    np.ndim: [lambda a: np.ndim(a) * a],
    np.size: [lambda a: np.size(a, 1) * a],
    np.isclose: [lambda a, b: np.isclose(a, b) * a],
    np.allclose: [lambda a, b: np.allclose(a, b) * a],
    np.array_equal: [lambda a, b: np.array_equal(a, b) * a],
    np.array_equiv: [lambda a: np.array_equiv(a, a) * a],
    np.may_share_memory: [lambda a: np.may_share_memory(a, a.T) * a],
    np.shares_memory: [lambda a: np.shares_memory(a, a + 1) * a],
    np.array2string: [lambda a: len(np.array2string(a > 9)) * a],
    np.array_repr: [lambda a: len(np.array_repr(a > 9)) * a],
    np.array_str: [lambda a: len(np.array_str(a > 9)) * a],
    np.result_type: [lambda a: np.result_type(a, 1).itemsize * a],
    np.can_cast: [lambda a: np.can_cast(a.dtype, complex) * a],
    np.isrealobj: [lambda a: np.isrealobj(a) * a],
    np.iscomplexobj: [lambda a: np.iscomplexobj(a) + a],
    np.isreal: [lambda a: np.isreal(a) * a],
    np.iscomplex: [lambda a: np.iscomplex(a) + a],
    np.min_scalar_type: [lambda a: np.min_scalar_type(a).itemsize * a],
    np.common_type: [lambda a: np.common_type(a)(2.0) * a],
    np.isposinf: [lambda a: np.isposinf(a) + a],
    np.isneginf: [lambda a: np.isneginf(a) + a],
    np.isin: [lambda a: np.isin(a, [1.0]) + a],
    np.histogram_bin_edges: [lambda a: len(np.histogram_bin_edges(a)) * a],
    np.tril_indices_from: [lambda q: q[np.tril_indices_from(q)]],
    np.triu_indices_from: [lambda q: q[np.triu_indices_from(q, 1)]],
    np.diag_indices_from: [lambda q: q[np.diag_indices_from(q)]],
    np.ix_: [lambda q: q[np.ix_([0, 2], [1, 2])], lambda q, v: q[np.ix_(v[:3] > 0, [0, 1])]],
    np.isscalar: [lambda a: np.isscalar(a.sum()) * a],
    np.iterable: [lambda a: np.iterable(a) * a],
}
if IN1D is not None:
    LOOKS[IN1D] = [lambda v: IN1D(v, [1.0]) + v]
