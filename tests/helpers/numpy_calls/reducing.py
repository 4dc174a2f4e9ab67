"""Calls of NumPy's functions that reduce axes, or bring entries into an order."""

from __future__ import annotations

import numpy as np

MASK = np.arange(12).reshape(3, 4) % 3 != 1
HOLES = np.where(np.arange(12).reshape(3, 4) % 5 == 2, np.nan, 0.0)
WEIGHTS = np.array([0.2, 0.5, 0.1, 0.4])
LABELS = np.array([2, 0, 1])


def into(shape, function):
    """What a function writes into `out`, and what it returns."""
    out = np.full(shape, 7.0)
    returned = function(out)
    return out * 2.0 + returned


def with_aliases(out, function):
    view = out[1:]
    function(out)
    return view * 3.0, out


def filled(x, function, *args):
    made = x * 1.0
    function(made, *args)
    return made


def _index_of(values, places):
    return values[np.arange(len(places)), places]


REDUCTIONS = {
    np.sum: [
        lambda a: np.sum(a),
        lambda a: np.sum(a, axis=0),
        lambda a: np.sum(a, -1, keepdims=True),
        lambda t: np.sum(t, axis=(0, 2)),
        lambda v: np.sum([v[0], v[1] * 2.0, 3.0]),
        lambda a: np.sum(a, axis=1, initial=2.0),
        lambda a: np.sum(a, where=MASK),
        lambda a: np.sum(a, axis=0, where=a > 0),
        lambda a: np.sum(a > 0) * a,
        lambda a: np.sum(a, dtype=np.float64),
        lambda a: into((4,), lambda o: np.sum(a, axis=0, out=o)),
        lambda s: np.sum(s),
        lambda a: np.sum(a, axis=()),
    ],
    np.prod: [
        lambda a: np.prod(a, axis=1),
        lambda v: np.prod(v),
        lambda t: np.prod(t, axis=(1, 2), keepdims=True),
        lambda a: np.prod(a, axis=0, where=MASK, initial=2.0),
    ],
    np.max: [
        lambda a: np.max(a),
        lambda a: np.max(a, axis=1, keepdims=True),
        lambda t: np.max(t, axis=(0, 1)),
        lambda a: np.max(a, initial=0.5),
        lambda a: np.max(a, axis=1, where=MASK, initial=-9.0),
        lambda a: np.max(a, 0),
    ],
    np.min: [
        lambda a: np.min(a),
        lambda a: np.min(a, axis=0),
        lambda a: np.min(a, axis=-1, keepdims=True, initial=0.1),
    ],
    np.amax: [lambda a: np.amax(a, axis=0)],
    np.amin: [lambda a: np.amin(a, axis=0)],
    np.mean: [
        lambda a: np.mean(a),
        lambda a: np.mean(a, axis=0),
        lambda a: np.mean(a, 1, keepdims=True),
        lambda t: np.mean(t, axis=(0, 2)),
        lambda a: np.mean(a, where=MASK),
        lambda a: np.mean(a, axis=1, where=a > -1),
        lambda a: np.mean(a > 0) * a,
        lambda a: into((4,), lambda o: np.mean(a, axis=0, out=o)),
        lambda v: np.mean([v[0], v[1] ** 2]),
    ],
    np.var: [
        lambda a: np.var(a),
        lambda a: np.var(a, axis=0),
        lambda a: np.var(a, axis=1, ddof=1, keepdims=True),
        lambda a: np.var(a, axis=1, where=MASK),
        lambda a: into((4,), lambda o: np.var(a, axis=0, out=o)),
        lambda t: np.var(t, axis=(0, 2)),
        lambda a: np.var(a, axis=0, mean=np.mean(a, axis=0, keepdims=True)),
    ],
    np.std: [
        lambda a: np.std(a),
        lambda a: np.std(a, axis=0, ddof=1),
        lambda a: np.std(a, 1, keepdims=True),
        lambda a: into((4,), lambda o: np.std(a, axis=0, out=o)),
        lambda a: np.std(a, axis=1, where=MASK),
    ],
    np.ptp: [
        lambda a: np.ptp(a),
        lambda a: np.ptp(a, axis=1, keepdims=True),
        lambda a: into((4,), lambda o: np.ptp(a, axis=0, out=o)),
    ],
    np.average: [
        lambda a: np.average(a),
        lambda a: np.average(a, axis=0),
        lambda a: np.average(a, axis=1, weights=WEIGHTS),
        lambda a, p: np.average(a, weights=p),
        lambda a, pv: np.average(a, 1, pv, returned=True),
        lambda a, p: np.average(a, axis=(0, 1), weights=p, keepdims=True),
    ],
    np.median: [
        lambda a: np.median(a),
        lambda a: np.median(a, axis=0),
        lambda a: np.median(a, axis=1, keepdims=True),
        lambda t: np.median(t, axis=(0, 1)),
        lambda a: into((4,), lambda o: np.median(a, axis=0, out=o)),
    ],
    np.quantile: [
        lambda a: np.quantile(a, 0.3),
        lambda a: np.quantile(a, [0.1, 0.8], axis=1),
        lambda a: np.quantile(a, 0.5, axis=0, keepdims=True),
        lambda a: np.quantile(a, 1.0, axis=0),
        lambda a: np.quantile(a, 0.4, axis=1, method="lower"),
    ],
    np.percentile: [lambda a: np.percentile(a, 30), lambda a: np.percentile(a, [25, 75], axis=0)],
    np.cumsum: [
        lambda a: np.cumsum(a),
        lambda a: np.cumsum(a, axis=1),
        lambda a: into((3, 4), lambda o: np.cumsum(a, axis=0, out=o)),
        lambda a: np.cumsum(a > 0, axis=0) * a,
    ],
    np.cumprod: [lambda a: np.cumprod(a, axis=0), lambda v: np.cumprod(v)],
    np.nansum: [
        lambda a: np.nansum(a),
        lambda a: np.nansum(a + HOLES, axis=0),
        lambda a: np.nansum(a + HOLES, axis=1, keepdims=True),
    ],
    np.nanprod: [lambda a: np.nanprod(a + HOLES, axis=0)],
    np.nanmean: [lambda a: np.nanmean(a + HOLES, axis=0), lambda a: np.nanmean(a)],
    np.nanvar: [lambda a: np.nanvar(a + HOLES, axis=0)],
    np.nanstd: [lambda a: np.nanstd(a + HOLES, axis=1, ddof=1), lambda a: np.nanstd(a)],
    np.nanmax: [lambda a: np.nanmax(a + HOLES, axis=0), lambda a: np.nanmax(a)],
    np.nanmin: [lambda a: np.nanmin(a + HOLES)],
    np.nanmedian: [lambda a: np.nanmedian(a + HOLES, axis=1), lambda a: np.nanmedian(a)],
    np.nanquantile: [lambda a: np.nanquantile(a + HOLES, 0.5), lambda a: np.nanquantile(a, 0.2, axis=0)],
    np.nanpercentile: [lambda a: np.nanpercentile(a + HOLES, 40, axis=1)],
    np.nancumsum: [lambda a: np.nancumsum(a + HOLES, axis=1)],
    np.nancumprod: [lambda a: np.nancumprod(a + HOLES, axis=0)],
    np.nanargmax: [lambda a: np.nanargmax(a + HOLES, axis=1) + 0 * a[:, 0]],
    np.nanargmin: [lambda a: np.nanargmin(a + HOLES) * a],
    np.any: [
        lambda a: np.any(a > 0) * a,
        lambda a: np.any(a > 1, axis=0) * a,
        lambda a: np.any(a > 0, axis=1, keepdims=True) * a,
        lambda a: np.any(a, axis=0) * a,
        lambda a: np.any(a > 1, axis=0, where=MASK) * a,
    ],
    np.all: [
        lambda a: np.all(a > -2) * a,
        lambda a: np.all(a > -1, axis=1)[:, None] * a,
        lambda a: np.all(a > -1, axis=0, where=MASK) * a,
    ],
    np.count_nonzero: [
        lambda a: np.count_nonzero(a > 0) * a,
        lambda a: a / np.count_nonzero(a, axis=0),
        lambda a: a.sum() / np.count_nonzero(MASK),
    ],
    np.argmax: [
        lambda a: _index_of(a, np.argmax(a, axis=1)),
        lambda a: a.ravel()[np.argmax(a)],
        lambda a: np.argmax(a, axis=0, keepdims=True) * a,
    ],
    np.argmin: [lambda a: _index_of(a, np.argmin(a, axis=1)), lambda v: v[np.argmin(v)]],
    np.argsort: [
        lambda v: v[np.argsort(v)],
        lambda v: v[np.argsort(-v)[:2]],
        lambda a: np.take_along_axis(a, np.argsort(a, axis=0), axis=0),
        lambda a: a.ravel()[np.argsort(a, axis=None)],
        lambda v: v[np.argsort(v)[::-1]],
    ],
    np.argpartition: [
        lambda v: v[np.argpartition(v, 2)[:2]].sum() + 0 * v,
        lambda a: np.take_along_axis(a, np.argpartition(a, -2, axis=1)[:, -2:], 1).sum(1),
    ],
    np.sort: [
        lambda a: np.sort(a),
        lambda a: np.sort(a, axis=0),
        lambda a: np.sort(a, axis=None),
        lambda v: np.sort(v)[::-1],
    ],
    np.partition: [lambda v: np.partition(v, 2)[2], lambda a: np.partition(a, 1, axis=0)[1]],
    np.lexsort: [lambda v: v[np.lexsort((v, LABELS[[0, 1, 1, 2]]))]],
    np.searchsorted: [
        lambda v: np.searchsorted(np.array([-1.0, 0.0, 1.0]), v) * v,
        lambda v: np.searchsorted(np.sort(v), 0.1) * v,
    ],
    np.digitize: [lambda v: np.digitize(v, [-1.0, 0.0, 1.0]) * v],
    np.nonzero: [lambda a: a[np.nonzero(a > 0)], lambda v: v[np.nonzero(v > 0)[0]]],
    np.flatnonzero: [lambda v: v[np.flatnonzero(v > 0)]],
    np.argwhere: [lambda a: a[tuple(np.argwhere(a > 0)[0])]],
    np.take_along_axis: [
        lambda a: np.take_along_axis(a, LABELS[:, None], axis=1),
        lambda a: np.take_along_axis(a, LABELS[:2], axis=None),
    ],
    np.put_along_axis: [
        lambda a, k: filled(a, np.put_along_axis, LABELS[:, None], k, 1),
        lambda a: filled(a, np.put_along_axis, LABELS[:, None], 0.0, 1),
    ],
    np.unique: [
        lambda v: np.unique(v),
        lambda v: np.unique(v, return_inverse=True)[0],
        lambda a: np.unique(a, return_counts=True),
    ],
    np.bincount: [lambda v: np.bincount([0, 2, 0, 1], weights=v), lambda v: np.bincount([0, 2, 0, 1], v, minlength=5)],
    np.histogram: [
        lambda z: np.histogram(z, bins=3, range=(-2, 2))[0] * z[:3],
        lambda z: np.histogram(np.arange(6), bins=3, weights=z)[0],
    ],
    np.cov: [
        lambda a: np.cov(a),
        lambda a: np.cov(a.T),
        lambda a: np.cov(a, rowvar=False, ddof=0),
        lambda v, w: np.cov(v, w),
        lambda v: np.cov(v),
        lambda a: np.cov(a, bias=True),
    ],
    np.corrcoef: [lambda a: np.corrcoef(a), lambda v, w: np.corrcoef(v, w), lambda v, w: np.corrcoef(v, w)[0, 1]],
    np.apply_over_axes: [lambda t: np.apply_over_axes(np.sum, t, [0, 2])],
    np.apply_along_axis: [
        lambda a: np.apply_along_axis(np.sum, 0, a),
        lambda a: np.apply_along_axis(lambda x: x / np.sum(x**2), 1, a),
        lambda a: np.apply_along_axis(lambda x: x[:2] * x[1], 0, a),
    ],
}


def _cumulative(function):
    return [lambda a: function(a, axis=1), lambda v: function(v, include_initial=True)]


for _new in ("cumulative_sum", "cumulative_prod"):
    if hasattr(np, _new):
        REDUCTIONS[getattr(np, _new)] = _cumulative(getattr(np, _new))
