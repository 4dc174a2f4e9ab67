"""Calls of NumPy's functions that reduce axes, order entries, choose between arrays, or look at them."""

# ruff: noqa: E731
from __future__ import annotations

import numpy as np

MASK = np.arange(12).reshape(3, 4) % 3 != 1
HOLES = np.where(np.arange(12).reshape(3, 4) % 5 == 2, np.nan, 0.0)
WEIGHTS = np.array([0.2, 0.5, 0.1, 0.4])
LABELS = np.array([2, 0, 1])


def _into(shape, function):
    """What a function writes into `out`, and what it returns."""
    out = np.full(shape, 7.0)
    returned = function(out)
    return out * 2.0 + returned


def _with_aliases(out, function):
    view = out[1:]
    function(out)
    return view * 3.0, out


def _filled(x, function, *args):
    made = x * 1.0
    function(made, *args)
    return made


def _index_of(values, places):
    return values[np.arange(len(places)), places]


REDUCTIONS = {
    np.sum: [lambda a: np.sum(a), lambda a: np.sum(a, axis=0), lambda a: np.sum(a, -1, keepdims=True), lambda t: np.sum(t, axis=(0, 2)),
             lambda v: np.sum([v[0], v[1] * 2.0, 3.0]), lambda a: np.sum(a, axis=1, initial=2.0), lambda a: np.sum(a, where=MASK),
             lambda a: np.sum(a, axis=0, where=a > 0), lambda a: np.sum(a > 0) * a, lambda a: np.sum(a, dtype=np.float64),
             lambda a: _into((4,), lambda o: np.sum(a, axis=0, out=o)), lambda s: np.sum(s), lambda a: np.sum(a, axis=())],
    np.prod: [lambda a: np.prod(a, axis=1), lambda v: np.prod(v), lambda t: np.prod(t, axis=(1, 2), keepdims=True),
              lambda a: np.prod(a, axis=0, where=MASK, initial=2.0)],
    np.max: [lambda a: np.max(a), lambda a: np.max(a, axis=1, keepdims=True), lambda t: np.max(t, axis=(0, 1)),
             lambda a: np.max(a, initial=0.5), lambda a: np.max(a, axis=1, where=MASK, initial=-9.0), lambda a: np.max(a, 0)],
    np.min: [lambda a: np.min(a), lambda a: np.min(a, axis=0), lambda a: np.min(a, axis=-1, keepdims=True, initial=0.1)],
    np.amax: [lambda a: np.amax(a, axis=0)], np.amin: [lambda a: np.amin(a, axis=0)],
    np.mean: [lambda a: np.mean(a), lambda a: np.mean(a, axis=0), lambda a: np.mean(a, 1, keepdims=True), lambda t: np.mean(t, axis=(0, 2)),
              lambda a: np.mean(a, where=MASK), lambda a: np.mean(a, axis=1, where=a > -1), lambda a: np.mean(a > 0) * a,
              lambda a: _into((4,), lambda o: np.mean(a, axis=0, out=o)), lambda v: np.mean([v[0], v[1] ** 2])],
    np.var: [lambda a: np.var(a), lambda a: np.var(a, axis=0), lambda a: np.var(a, axis=1, ddof=1, keepdims=True),
             lambda a: np.var(a, axis=1, where=MASK), lambda a: _into((4,), lambda o: np.var(a, axis=0, out=o)),
             lambda t: np.var(t, axis=(0, 2)), lambda a: np.var(a, axis=0, mean=np.mean(a, axis=0, keepdims=True))],
    np.std: [lambda a: np.std(a), lambda a: np.std(a, axis=0, ddof=1), lambda a: np.std(a, 1, keepdims=True),
             lambda a: _into((4,), lambda o: np.std(a, axis=0, out=o)), lambda a: np.std(a, axis=1, where=MASK)],
    np.ptp: [lambda a: np.ptp(a), lambda a: np.ptp(a, axis=1, keepdims=True), lambda a: _into((4,), lambda o: np.ptp(a, axis=0, out=o))],
    np.average: [lambda a: np.average(a), lambda a: np.average(a, axis=0), lambda a: np.average(a, axis=1, weights=WEIGHTS),
                 lambda a, p: np.average(a, weights=p), lambda a, pv: np.average(a, 1, pv, returned=True),
                 lambda a, p: np.average(a, axis=(0, 1), weights=p, keepdims=True)],
    np.median: [lambda a: np.median(a), lambda a: np.median(a, axis=0), lambda a: np.median(a, axis=1, keepdims=True),
                lambda t: np.median(t, axis=(0, 1)), lambda a: _into((4,), lambda o: np.median(a, axis=0, out=o))],
    np.quantile: [lambda a: np.quantile(a, 0.3), lambda a: np.quantile(a, [0.1, 0.8], axis=1), lambda a: np.quantile(a, 0.5, axis=0, keepdims=True),
                  lambda a: np.quantile(a, 1.0, axis=0), lambda a: np.quantile(a, 0.4, axis=1, method="lower")],
    np.percentile: [lambda a: np.percentile(a, 30), lambda a: np.percentile(a, [25, 75], axis=0)],
    np.cumsum: [lambda a: np.cumsum(a), lambda a: np.cumsum(a, axis=1), lambda a: _into((3, 4), lambda o: np.cumsum(a, axis=0, out=o)),
                lambda a: np.cumsum(a > 0, axis=0) * a],
    np.cumprod: [lambda a: np.cumprod(a, axis=0), lambda v: np.cumprod(v)],
    np.nansum: [lambda a: np.nansum(a), lambda a: np.nansum(a + HOLES, axis=0), lambda a: np.nansum(a + HOLES, axis=1, keepdims=True)],
    np.nanprod: [lambda a: np.nanprod(a + HOLES, axis=0)], np.nanmean: [lambda a: np.nanmean(a + HOLES, axis=0), lambda a: np.nanmean(a)],
    np.nanvar: [lambda a: np.nanvar(a + HOLES, axis=0)], np.nanstd: [lambda a: np.nanstd(a + HOLES, axis=1, ddof=1), lambda a: np.nanstd(a)],
    np.nanmax: [lambda a: np.nanmax(a + HOLES, axis=0), lambda a: np.nanmax(a)], np.nanmin: [lambda a: np.nanmin(a + HOLES)],
    np.nanmedian: [lambda a: np.nanmedian(a + HOLES, axis=1), lambda a: np.nanmedian(a)],
    np.nanquantile: [lambda a: np.nanquantile(a + HOLES, 0.5), lambda a: np.nanquantile(a, 0.2, axis=0)],
    np.nanpercentile: [lambda a: np.nanpercentile(a + HOLES, 40, axis=1)],
    np.nancumsum: [lambda a: np.nancumsum(a + HOLES, axis=1)], np.nancumprod: [lambda a: np.nancumprod(a + HOLES, axis=0)],
    np.nanargmax: [lambda a: np.nanargmax(a + HOLES, axis=1) + 0 * a[:, 0]], np.nanargmin: [lambda a: np.nanargmin(a + HOLES) * a],
    np.any: [lambda a: np.any(a > 0) * a, lambda a: np.any(a > 1, axis=0) * a, lambda a: np.any(a > 0, axis=1, keepdims=True) * a,
             lambda a: np.any(a, axis=0) * a, lambda a: np.any(a > 1, axis=0, where=MASK) * a],
    np.all: [lambda a: np.all(a > -2) * a, lambda a: np.all(a > -1, axis=1)[:, None] * a, lambda a: np.all(a > -1, axis=0, where=MASK) * a],
    np.count_nonzero: [lambda a: np.count_nonzero(a > 0) * a, lambda a: a / np.count_nonzero(a, axis=0), lambda a: a.sum() / np.count_nonzero(MASK)],
    np.argmax: [lambda a: _index_of(a, np.argmax(a, axis=1)), lambda a: a.ravel()[np.argmax(a)], lambda a: np.argmax(a, axis=0, keepdims=True) * a],
    np.argmin: [lambda a: _index_of(a, np.argmin(a, axis=1)), lambda v: v[np.argmin(v)]],
    np.argsort: [lambda v: v[np.argsort(v)], lambda v: v[np.argsort(-v)[:2]], lambda a: np.take_along_axis(a, np.argsort(a, axis=0), axis=0),
                 lambda a: a.ravel()[np.argsort(a, axis=None)], lambda v: v[np.argsort(v)[::-1]]],
    np.argpartition: [lambda v: v[np.argpartition(v, 2)[:2]].sum() + 0 * v, lambda a: np.take_along_axis(a, np.argpartition(a, -2, axis=1)[:, -2:], 1).sum(1)],
    np.sort: [lambda a: np.sort(a), lambda a: np.sort(a, axis=0), lambda a: np.sort(a, axis=None), lambda v: np.sort(v)[::-1]],
    np.partition: [lambda v: np.partition(v, 2)[2], lambda a: np.partition(a, 1, axis=0)[1]],
    np.lexsort: [lambda v: v[np.lexsort((v, LABELS[[0, 1, 1, 2]]))]],
    np.searchsorted: [lambda v: np.searchsorted(np.array([-1.0, 0.0, 1.0]), v) * v, lambda v: np.searchsorted(np.sort(v), 0.1) * v],
    np.digitize: [lambda v: np.digitize(v, [-1.0, 0.0, 1.0]) * v],
    np.nonzero: [lambda a: a[np.nonzero(a > 0)], lambda v: v[np.nonzero(v > 0)[0]]],
    np.flatnonzero: [lambda v: v[np.flatnonzero(v > 0)]], np.argwhere: [lambda a: a[tuple(np.argwhere(a > 0)[0])]],
    np.take_along_axis: [lambda a: np.take_along_axis(a, LABELS[:, None], axis=1), lambda a: np.take_along_axis(a, LABELS[:2], axis=None)],
    np.put_along_axis: [lambda a, k: _filled(a, np.put_along_axis, LABELS[:, None], k, 1), lambda a: _filled(a, np.put_along_axis, LABELS[:, None], 0.0, 1)],
    np.unique: [lambda v: np.unique(v), lambda v: np.unique(v, return_inverse=True)[0], lambda a: np.unique(a, return_counts=True)],
    np.bincount: [lambda v: np.bincount([0, 2, 0, 1], weights=v), lambda v: np.bincount([0, 2, 0, 1], v, minlength=5)],
    np.histogram: [lambda z: np.histogram(z, bins=3, range=(-2, 2))[0] * z[:3], lambda z: np.histogram(np.arange(6), bins=3, weights=z)[0]],
    np.cov: [lambda a: np.cov(a), lambda a: np.cov(a.T), lambda a: np.cov(a, rowvar=False, ddof=0), lambda v, w: np.cov(v, w), lambda v: np.cov(v),
             lambda a: np.cov(a, bias=True)],
    np.corrcoef: [lambda a: np.corrcoef(a), lambda v, w: np.corrcoef(v, w), lambda v, w: np.corrcoef(v, w)[0, 1]],
    np.apply_over_axes: [lambda t: np.apply_over_axes(np.sum, t, [0, 2])],
    np.apply_along_axis: [lambda a: np.apply_along_axis(np.sum, 0, a), lambda a: np.apply_along_axis(lambda x: x / np.sum(x ** 2), 1, a),
                          lambda a: np.apply_along_axis(lambda x: x[:2] * x[1], 0, a)],
}  # fmt: skip
for _new, _of in (("cumulative_sum", np.cumsum), ("cumulative_prod", np.cumprod)):
    if hasattr(np, _new):
        REDUCTIONS[getattr(np, _new)] = [
            lambda a, f=getattr(np, _new): f(a, axis=1), lambda v, f=getattr(np, _new): f(v, include_initial=True),
        ]  # fmt: skip

CHOICES = {
    np.where: [lambda a: np.where(a > 0, a, 0.1 * a), lambda a, b: np.where(MASK, a, b), lambda a: np.where(a > 0, 1.0, -1.0) * a,
               lambda a: a[np.where(a > 0)], lambda a, s: np.where(a < 0, s, a), lambda a: np.where(a, a, 1.0), lambda s: np.where(s > 0, s, 0),
               lambda v, k: np.where(v > 0, k, v), lambda a: np.where(a > 0, True, a > -1) * a, lambda p: np.where(p > 0.5, np.log(p), p)],
    np.clip: [lambda a: np.clip(a, -1, 1), lambda a: np.clip(a, 0, None), lambda a: np.clip(a, None, 0.5), lambda a, n: np.clip(a, -1.0, n),
              lambda a: np.clip(a, a_min=-0.5, a_max=np.inf), lambda a: _into((3, 4), lambda o: np.clip(a, -1, 1, out=o)), lambda u: np.clip(u, 1e-7, 1 - 1e-7),
              lambda a: _filled(a, lambda x: np.clip(x, -1, 1, out=x)), lambda s: np.clip(s, 0, 0.5) + s],
    np.select: [lambda a: np.select([a < -0.5, a < 0.5], [a, a ** 2], a ** 3), lambda a: np.select([MASK], [a]), lambda a: np.select([a > 1, a > 0], [1.0, a], default=-1)],
    np.piecewise: [lambda a: np.piecewise(a, [a < 0, a >= 0], [lambda x: -x, lambda x: x ** 2]), lambda a: np.piecewise(a, [a > 0], [lambda x: np.log(x), 2.0]),
                   lambda v: np.piecewise(v, [v < 0], [-1.0, lambda x: x])],
    np.choose: [lambda a, n: np.choose(LABELS, [a[:, 0], a[:, 1], a[:, 2]]), lambda v: np.choose([0, 1, 0, 5], [v, 2 * v], mode="clip"), lambda v: np.choose((v > 0).astype(int), [v, v ** 2])],
    np.round: [lambda a: np.round(a, 1) + a, lambda a: np.round(a) * a, lambda a: np.round(100 * a, -1) * a, lambda a: _into((3, 4), lambda o: np.round(a, 1, out=o)) + a],
    np.around: [lambda a: np.around(a, 2) * a], np.fix: [lambda a: np.fix(a) * a], np.nan_to_num: [lambda a: np.nan_to_num(a), lambda a: np.nan_to_num(a + HOLES, nan=2.0)],
    np.sinc: [lambda a: np.sinc(a)], np.i0: [lambda a: np.i0(a)], np.unwrap: [lambda v: np.unwrap(2 * v)],
    np.diff: [lambda a: np.diff(a), lambda a: np.diff(a, axis=0), lambda v: np.diff(v, n=2), lambda v: np.diff(v, prepend=0.0), lambda a, k: np.diff(a, prepend=k, append=1.0),
              lambda a: np.diff(a, n=0)],
    np.ediff1d: [lambda a: np.ediff1d(a), lambda v: np.ediff1d(v, to_begin=0.0, to_end=[1.0, 2.0])],
    np.gradient: [lambda v: np.gradient(v), lambda v: np.gradient(v, 0.5), lambda a: np.gradient(a), lambda a: np.gradient(a, 0.1, axis=1), lambda a: np.gradient(a, 0.1, 0.2),
                  lambda z: np.gradient(z, np.array([0.0, 1.0, 2.5, 3.0, 4.0, 5.0])), lambda v: np.gradient(v, edge_order=2)],
    np.trapezoid if hasattr(np, "trapezoid") else np.trapz: [
        lambda v: getattr(np, "trapezoid", getattr(np, "trapz", None))(v), lambda v, z: getattr(np, "trapezoid", getattr(np, "trapz", None))(v, dx=0.5) * z,
        lambda a: getattr(np, "trapezoid", getattr(np, "trapz", None))(a, [0.0, 1.0, 3.0], axis=0), lambda a, v: getattr(np, "trapezoid", getattr(np, "trapz", None))(a, v)],
    np.interp: [lambda v: np.interp(v, [-2.0, 0.05, 2.0], [1.0, 3.0, -1.0]), lambda v: np.interp([-5.0, 0.3, 2.2, 9.0], [0.0, 1.0, 2.0, 3.0], v)],
    np.copyto: [lambda a, b: _filled(a, np.copyto, b), lambda a, n: _filled(a, np.copyto, n), lambda a, b: _filled(a, lambda x: np.copyto(x, b, where=MASK)),
                lambda a: _filled(a, lambda x: np.copyto(x, 0.0, where=x < 0)), lambda v: _with_aliases(np.ones(4), lambda o: np.copyto(o, v))],
    np.putmask: [lambda a: _filled(a, lambda x: np.putmask(x, x < 0, 0.0)), lambda a, b: _filled(a, np.putmask, MASK, b), lambda a, v: _filled(a, np.putmask, MASK, v)],
    np.place: [lambda a, v: _filled(a, np.place, MASK, v), lambda a: _filled(a, lambda x: np.place(x, x < 0, [1.0, 2.0]))],
    np.put: [lambda a, v: _filled(a, np.put, [0, 5, -1], v), lambda a, s: _filled(a, np.put, [1, 1, 2], s), lambda a, w: _filled(a, np.put, [1, 3, 1, 2], w),
             lambda a, s: _filled(a, lambda x: np.put(x, [40, 2], s, mode="clip"))],
    np.fill_diagonal: [lambda q: _filled(q, np.fill_diagonal, 0.0), lambda a, v: _filled(a, np.fill_diagonal, v[:3]), lambda q, s: _filled(q, np.fill_diagonal, s),
                       lambda m: _filled(np.tile(m, (3, 1)), lambda x: np.fill_diagonal(x, 2.0, wrap=True)), lambda q, z: _filled(q, np.fill_diagonal, z[:2])],
}  # fmt: skip

#: What returns no numbers that depend on the parameters smoothly; here they are multiplied by some that do.
LOOKS = {
    np.shape: [lambda a: np.shape(a)[0] * a], np.ndim: [lambda a: np.ndim(a) * a], np.size: [lambda a: np.size(a, 1) * a],
    np.isclose: [lambda a, b: np.isclose(a, b) * a], np.allclose: [lambda a, b: np.allclose(a, b) * a], np.array_equal: [lambda a, b: np.array_equal(a, b) * a],
    np.array_equiv: [lambda a: np.array_equiv(a, a) * a], np.may_share_memory: [lambda a: np.may_share_memory(a, a.T) * a], np.shares_memory: [lambda a: np.shares_memory(a, a + 1) * a],
    np.array2string: [lambda a: len(np.array2string(a > 9)) * a], np.array_repr: [lambda a: len(np.array_repr(a > 9)) * a], np.array_str: [lambda a: len(np.array_str(a > 9)) * a],
    np.result_type: [lambda a: np.result_type(a, 1).itemsize * a], np.can_cast: [lambda a: np.can_cast(a.dtype, complex) * a], np.isrealobj: [lambda a: np.isrealobj(a) * a],
    np.iscomplexobj: [lambda a: np.iscomplexobj(a) + a], np.isreal: [lambda a: np.isreal(a) * a], np.iscomplex: [lambda a: np.iscomplex(a) + a],
    np.min_scalar_type: [lambda a: np.min_scalar_type(a).itemsize * a], np.common_type: [lambda a: np.common_type(a)(2.0) * a], np.isposinf: [lambda a: np.isposinf(a) + a],
    np.isneginf: [lambda a: np.isneginf(a) + a], np.isin: [lambda a: np.isin(a, [1.0]) + a], np.histogram_bin_edges: [lambda a: len(np.histogram_bin_edges(a)) * a],
    np.tril_indices_from: [lambda q: q[np.tril_indices_from(q)]], np.triu_indices_from: [lambda q: q[np.triu_indices_from(q, 1)]], np.diag_indices_from: [lambda q: q[np.diag_indices_from(q)]],
    np.ix_: [lambda q: q[np.ix_([0, 2], [1, 2])], lambda q, v: q[np.ix_(v[:3] > 0, [0, 1])]], np.isscalar: [lambda a: np.isscalar(a.sum()) * a], np.iterable: [lambda a: np.iterable(a) * a],
}  # fmt: skip
if hasattr(np, "in1d"):
    LOOKS[np.in1d] = [lambda v: np.in1d(v, [1.0]) + v]
FUNCTIONS = REDUCTIONS | CHOICES | LOOKS
