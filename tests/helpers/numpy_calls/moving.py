"""Calls of NumPy's functions that move entries, make arrays, or multiply them, of its methods, and of SciPy's."""

# ruff: noqa: E731
from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import as_strided, sliding_window_view

DATA = np.linspace(-1.1, 1.4, 12).reshape(3, 4)
SYMBOLIC = "ijkl"


def _into(shape, function):
    out = np.full(shape, 7.0)
    returned = function(out)
    return out * 2.0 + returned


def _filled(x, function, *args):
    made = x * 1.0
    function(made, *args)
    return made


def _sorted_in_place(x, method, *args):
    made = x * 1.0
    getattr(made, method)(*args)
    return made


MOVES = {
    np.reshape: [lambda a: np.reshape(a, (4, 3)), lambda a: np.reshape(a, -1), lambda a: np.reshape(a, (2, -1), order="F"), lambda m: np.reshape(m.T, (2, 6))],
    np.ravel: [lambda a: np.ravel(a), lambda a: np.ravel(a, order="F"), lambda a: np.ravel(a.T)], np.transpose: [lambda a: np.transpose(a), lambda t: np.transpose(t, (1, 0, 2))],
    np.swapaxes: [lambda t: np.swapaxes(t, 0, 2)], np.moveaxis: [lambda t: np.moveaxis(t, 0, -1), lambda t: np.moveaxis(t, [0, 1], [2, 0])], np.rollaxis: [lambda t: np.rollaxis(t, 2)],
    np.squeeze: [lambda n: np.squeeze(n), lambda k: np.squeeze(k, axis=1)], np.expand_dims: [lambda v: np.expand_dims(v, 0), lambda a: np.expand_dims(a, (0, -1))],
    np.broadcast_to: [lambda v: np.broadcast_to(v, (3, 4)), lambda s: np.broadcast_to(s, (2, 2))], np.broadcast_arrays: [lambda v, k: np.broadcast_arrays(v, k)],
    np.split: [lambda a: np.split(a, 2, axis=1), lambda z: np.split(z, [1, 4])], np.array_split: [lambda z: np.array_split(z, 4)], np.hsplit: [lambda a: np.hsplit(a, 2)],
    np.vsplit: [lambda m: np.vsplit(m, 2)], np.dsplit: [lambda t: np.dsplit(t, 2)], np.diagonal: [lambda q: np.diagonal(q), lambda t: np.diagonal(t, 1, 1, 2)],
    np.flip: [lambda a: np.flip(a), lambda a: np.flip(a, 0)], np.fliplr: [lambda a: np.fliplr(a)], np.flipud: [lambda a: np.flipud(a)], np.rot90: [lambda a: np.rot90(a), lambda a: np.rot90(a, 2)],
    np.roll: [lambda v: np.roll(v, 1), lambda a: np.roll(a, (1, -1), axis=(0, 1))], np.tile: [lambda v: np.tile(v, 2), lambda k: np.tile(k, (1, 4)), lambda v: np.tile(v, (3, 1))],
    np.repeat: [lambda v: np.repeat(v, 2), lambda a: np.repeat(a, [1, 0, 2], axis=0), lambda n: np.repeat(n, 3, axis=0)],
    np.take: [lambda v: np.take(v, [0, 3, 0]), lambda a: np.take(a, 1, axis=0), lambda a: np.take(a, [[5, 1]]), lambda v: np.take(v, [5], mode="wrap"),
              lambda a: _into((2, 4), lambda o: np.take(a, [0, 2], axis=0, out=o))],
    np.tril: [lambda q: np.tril(q), lambda q: np.tril(q, -1)], np.triu: [lambda q: np.triu(q, 1)], np.diag: [lambda v: np.diag(v), lambda q: np.diag(q), lambda q: np.diag(q, 1)],
    np.diagflat: [lambda v: np.diagflat(v, 1)], np.delete: [lambda v: np.delete(v, 1), lambda a: np.delete(a, [0, 2], axis=1)], np.resize: [lambda v: np.resize(v, (3, 3))],
    np.compress: [lambda a: np.compress([True, False, True], a, axis=0), lambda v: np.compress(v > 0, v)], np.extract: [lambda a: np.extract(a > 0, a), lambda a: np.extract(DATA > 0, a)],
    np.trim_zeros: [lambda v: np.trim_zeros(np.concatenate([[0.0], v, [0.0]])), lambda v: np.trim_zeros(v)], as_strided: [lambda z: as_strided(z, (3, 2), (16, 8)), lambda v: as_strided(v, (3, 4), (0, 8))],
    sliding_window_view: [lambda z: sliding_window_view(z, 3), lambda q: sliding_window_view(q, (2, 2)), lambda a: sliding_window_view(a, 2, axis=1)],
    np.concatenate: [lambda a, b: np.concatenate([a, b]), lambda a, k: np.concatenate((a, k), axis=1), lambda a, v: np.concatenate([a, v], axis=None), lambda v: np.concatenate([v, [1.0, 2.0]]),
                     lambda a, b: _into((6, 4), lambda o: np.concatenate([a, b], out=o)), lambda v: np.concatenate([v[None], np.zeros((1, 4))])],
    np.stack: [lambda v, w: np.stack([v, w]), lambda v, w: np.stack((v, w), axis=-1), lambda a: np.stack([row * 2 for row in a]), lambda v: np.stack([v[0], v[1]])],
    np.vstack: [lambda v, a: np.vstack([a, v])], np.hstack: [lambda a, k: np.hstack([a, k]), lambda v, s: np.hstack((v, s, 1.0))], np.dstack: [lambda a, b: np.dstack((a, b))],
    np.column_stack: [lambda v, w: np.column_stack((v, w)), lambda a, k: np.column_stack([k, a])], np.block: [lambda a, k, v, s: np.block([[a, k], [v, s]])],
    np.append: [lambda v, s: np.append(v, s), lambda a, b: np.append(a, b, axis=0), lambda v: np.append(v, [1.0, 2.0]), lambda v: np.append(1.0, v)],
    np.insert: [lambda v: np.insert(v, 1, 5.0), lambda a, v: np.insert(a, 1, v, axis=0), lambda v, s: np.insert(v, [0, 2], s)],
    np.pad: [lambda v: np.pad(v, 1), lambda a: np.pad(a, ((0, 0), (1, 2)), "constant"), lambda a: np.pad(a, 1, "constant", constant_values=2.0), lambda a: np.pad(a, 1, mode="edge"),
             lambda a: np.pad(a, ((1, 1), (2, 0)), mode="reflect"), lambda v: np.pad(v, 2, "wrap"), lambda v: np.pad(v, 1, "symmetric"), lambda v: np.pad(v, 1, "mean"), lambda v: np.pad(v, (1, 2), "linear_ramp"),
             lambda v: np.pad(v, (1, 2), constant_values=(3.0, 4.0)), lambda v, s: np.pad(v, 1, constant_values=s), lambda a: np.pad(a, [(1, 0), (0, 1)], "maximum")],
    np.atleast_1d: [lambda s: np.atleast_1d(s), lambda v: np.atleast_1d(v)], np.atleast_2d: [lambda v: np.atleast_2d(v), lambda v, s: np.atleast_2d(v, s)], np.atleast_3d: [lambda a: np.atleast_3d(a)],
    np.meshgrid: [lambda v, w: np.meshgrid(v, w), lambda v, w: np.meshgrid(v, w, indexing="ij", sparse=True)],
    np.zeros_like: [lambda a: np.zeros_like(a) + a, lambda a: _filled(np.zeros_like(a), lambda x: x.__setitem__(0, a[0]))], np.ones_like: [lambda a: np.ones_like(a) * a],
    np.empty_like: [lambda a: _filled(np.empty_like(a), lambda x: x.fill(2.0)) * a], np.full_like: [lambda a: np.full_like(a, 3.0) * a, lambda a, s: np.full_like(a, s), lambda a: np.full_like(a, fill_value=a[0, 0])],
    np.full: [lambda s: np.full((2, 3), s), lambda v: np.full((3, 4), v)], np.copy: [lambda a: np.copy(a) * 2],
    np.array: [lambda a: np.array(a) * 2, lambda v: np.array([v[0], 1.0, v[2] * v[1]]), lambda v: np.array([[v[0], 2.0], [3, v[1]]]), lambda v, w: np.array([v, w]), lambda v: np.array([list(v), [1, 2, 3, 4]]),
               lambda v: np.array(v, ndmin=2), lambda v: np.array([x ** 2 for x in v], dtype=float), lambda v: np.array((v, np.ones(4))), lambda v: np.array([v[:1], [2.0]]), lambda a: np.array(a > 0) * a],
    np.asarray: [lambda a: np.asarray(a) * 2, lambda v: np.asarray([v[0], v[1]]), lambda v: np.asarray(v, dtype=np.float32) * 2.0 + 0.0 * v if False else np.asarray(v, dtype=float)],
    np.asanyarray: [lambda a: np.asanyarray(a) * 2], np.ascontiguousarray: [lambda a: np.ascontiguousarray(a.T)], np.asfortranarray: [lambda a: np.asfortranarray(a) * 2], np.asarray_chkfinite: [lambda a: np.asarray_chkfinite(a) * 2],
    np.require: [lambda a: np.require(a, requirements="C") * 2], np.fromiter: [lambda v: np.fromiter((x * 2 for x in v), float), lambda v: np.fromiter((x for x in v), dtype=float, count=4)],
    np.linspace: [lambda s: np.linspace(0, s, 5), lambda s, r: np.linspace(r, s, 4, endpoint=False), lambda s: np.linspace(s, 2.0, num=3, retstep=True), lambda v, w: np.linspace(v, w, 3, axis=1)],
    np.logspace: [lambda s: np.logspace(0, s, 4), lambda s: np.logspace(s, 1.0, 3, base=2.0)], np.geomspace: [lambda s: np.geomspace(s, 2.0, 4)],
    np.real: [lambda a: np.real(a) * 2], np.imag: [lambda a: np.imag(a) + a], np.real_if_close: [lambda a: np.real_if_close(a) * 2], np.angle: [lambda a: np.angle(a) + a],
    np.vander: [lambda v: np.vander(v), lambda v: np.vander(v, 3, increasing=True)], np.polyval: [lambda v: np.polyval(v, 2.0), lambda v: np.polyval([1.0, -2.0, 3.0], v), lambda v, w: np.polyval(v, w)],
    np.polyadd: [lambda v, z: np.polyadd(v, z), lambda v: np.polyadd(v, [1.0, 2.0])], np.polysub: [lambda v, z: np.polysub(v, z)], np.polymul: [lambda v, w: np.polymul(v, w)],
    np.polyder: [lambda v: np.polyder(v), lambda z: np.polyder(z, 2)], np.polyint: [lambda v: np.polyint(v), lambda v: np.polyint(v, 2, [1.0, 2.0])],
    np.polyfit: [lambda z: np.polyfit(np.arange(6.0), z, 2)],
}  # fmt: skip
for _new, _calls in {
    "matrix_transpose": [lambda t: np.matrix_transpose(t)], "unstack": [lambda a: np.unstack(a, axis=1)], "permute_dims": [lambda t: np.permute_dims(t, (2, 0, 1))],
    "row_stack": [lambda v, a: np.row_stack([a, v])], "astype": [lambda a: np.astype(a > 0, np.float64) * a], "concat": [lambda a, b: np.concat([a, b], axis=1)],
}.items():  # fmt: skip
    if hasattr(np, _new):
        MOVES[getattr(np, _new)] = _calls

PRODUCTS = {
    np.dot: [lambda a, m: np.dot(a, m), lambda v, w: np.dot(v, w), lambda a, v: np.dot(a, v), lambda v, m: np.dot(v, m), lambda a, s: np.dot(s, a), lambda t, m: np.dot(t, m), lambda a, e: np.dot(e[0], e),
             lambda m: np.dot(DATA, m), lambda a, m: _into((3, 3), lambda o: np.dot(a, m, out=o)), lambda v: np.dot([1.0, 2.0, 3.0, 4.0], v), lambda a: np.dot(a > 0, a.T)],
    np.inner: [lambda a, b: np.inner(a, b), lambda v, w: np.inner(v, w), lambda a, v: np.inner(a, v), lambda a, s: np.inner(a, s)], np.vdot: [lambda a, b: np.vdot(a, b)],
    np.outer: [lambda v, w: np.outer(v, w), lambda a, v: np.outer(a, v), lambda v, w: _into((4, 4), lambda o: np.outer(v, w, out=o))],
    np.tensordot: [lambda a, m: np.tensordot(a, m, 1), lambda t, m: np.tensordot(t, m, axes=([2], [0])), lambda t, a: np.tensordot(t, a, axes=2), lambda a, b: np.tensordot(a, b, axes=([0, 1], [0, 1])), lambda v, w: np.tensordot(v, w, 0), lambda t, m: np.tensordot(t, m, (2, 0))],
    np.kron: [lambda a, v: np.kron(a, v), lambda q, a: np.kron(q, a)], np.cross: [lambda m: np.cross(m[0], m[1]), lambda m: np.cross(m, m[::-1]), lambda q: np.cross(q, q[::-1], axis=0)],
    np.trace: [lambda q: np.trace(q), lambda t: np.trace(t, 1, 1, 2)],
    np.einsum: [lambda a, m: np.einsum("ij,jk->ik", a, m), lambda a, m: np.einsum("ij,jk", a, m), lambda a: np.einsum("ij->j", a), lambda q: np.einsum("ii", q), lambda q: np.einsum("ii->i", q),
                lambda t, m: np.einsum("bij,jk->bik", t, m), lambda a, b: np.einsum("ij,ij->i", a, b), lambda v, w: np.einsum("i,j->ij", v, w), lambda t, v: np.einsum("...j,j->...", t, v),
                lambda e, q: np.einsum("bij,jk,kl->bil", e, q, q, optimize=True), lambda a, b, v: np.einsum("ij,ij,j->", a, b, v), lambda a: np.einsum("ij->ji", a), lambda t: np.einsum("...ij->...ji", t),
                lambda a, m: np.einsum(a, [0, 1], m, [1, 2], [0, 2]), lambda a, m: _into((3, 3), lambda o: np.einsum("ij,jk->ik", a, m, out=o)), lambda n, a: np.einsum("ij,ij->i", np.broadcast_to(n, (3, 4)), a),
                lambda a, s: np.einsum(",ij->ij", s, a), lambda a, m: np.einsum("ij , jk -> ki", a, m)],
    np.convolve: [lambda v, z: np.convolve(v, z), lambda v, z: np.convolve(z, v, "same"), lambda v, z: np.convolve(z, v, mode="valid"), lambda z: np.convolve(z, [0.5, 0.25, 0.25], "same"), lambda v, z: np.convolve(v, z, "same")],
    np.correlate: [lambda v, z: np.correlate(z, v), lambda v, z: np.correlate(z, v, "full"), lambda v, z: np.correlate(z, v, "same"), lambda v, z: np.correlate(v, z, "full")],
    np.linalg.norm: [lambda a: np.linalg.norm(a), lambda v: np.linalg.norm(v), lambda a: np.linalg.norm(a, axis=1), lambda a: np.linalg.norm(a, axis=1, keepdims=True), lambda v: np.linalg.norm(v, 1),
                     lambda v: np.linalg.norm(v, np.inf), lambda a: np.linalg.norm(a, "fro"), lambda v: np.linalg.norm(v, 3), lambda a: np.linalg.norm(a, 1), lambda a: np.linalg.norm(a, 2), lambda a: np.linalg.norm(a, "nuc"),
                     lambda a: np.linalg.norm(a, np.inf), lambda t: np.linalg.norm(t, axis=(1, 2)), lambda v: np.linalg.norm(v, 0) * v, lambda v: np.linalg.norm(v, -np.inf), lambda v: np.linalg.norm(v, ord=2)],
    np.linalg.solve: [lambda d, q: np.linalg.solve(d, q), lambda d, v: np.linalg.solve(d, v[:3]), lambda e, k: np.linalg.solve(e + 3 * np.eye(3), k)], np.linalg.inv: [lambda q: np.linalg.inv(q), lambda e: np.linalg.inv(e + 4 * np.eye(3))],
    np.linalg.det: [lambda q: np.linalg.det(q)], np.linalg.cholesky: [lambda d: np.linalg.cholesky(d @ d.T)], np.linalg.slogdet: [lambda d: np.linalg.slogdet(d)[1], lambda d: np.linalg.slogdet(d)],
    np.linalg.matrix_power: [lambda q: np.linalg.matrix_power(q, 3), lambda q: np.linalg.matrix_power(q, -1), lambda q: np.linalg.matrix_power(q, 0) + q], np.linalg.multi_dot: [lambda a, m, b: np.linalg.multi_dot([a, m, b])],
    np.linalg.pinv: [lambda m: np.linalg.pinv(m), lambda a: np.linalg.pinv(a)], np.linalg.eigvalsh: [lambda d: np.linalg.eigvalsh(d + d.T)], np.linalg.svd: [lambda a: np.linalg.svd(a, compute_uv=False)],
}  # fmt: skip
for _new, _calls in {
    "vecdot": [lambda a, b: np.linalg.vecdot(a, b), lambda m, q: np.linalg.vecdot(q, q.T, axis=0)], "outer": [lambda v, w: np.linalg.outer(v, w)], "trace": [lambda e: np.linalg.trace(e)], "diagonal": [lambda e: np.linalg.diagonal(e, offset=1)],
    "matmul": [lambda a, m: np.linalg.matmul(a, m)], "matrix_transpose": [lambda e: np.linalg.matrix_transpose(e)], "tensordot": [lambda a, m: np.linalg.tensordot(a, m, axes=1)], "cross": [lambda m: np.linalg.cross(m, m[::-1])],
    "vector_norm": [lambda a: np.linalg.vector_norm(a), lambda a: np.linalg.vector_norm(a, axis=0, keepdims=True)], "matrix_norm": [lambda e: np.linalg.matrix_norm(e), lambda e: np.linalg.matrix_norm(e, ord=1)],
}.items():  # fmt: skip
    if hasattr(np.linalg, _new):
        PRODUCTS[getattr(np.linalg, _new)] = _calls

FUNCTIONS = MOVES | PRODUCTS
