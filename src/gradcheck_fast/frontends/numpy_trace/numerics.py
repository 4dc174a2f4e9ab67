"""Functions that are small algorithms: of polynomials, of samples along an axis, and of statistics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_fast.frontends.numpy_trace.looking import plain
from gradcheck_fast.frontends.numpy_trace.recording import has_traced
from gradcheck_fast.frontends.numpy_trace.reductions import axes_of, given
from gradcheck_fast.frontends.numpy_trace.registry import implements

if TYPE_CHECKING:
    from gradcheck_fast.frontends.numpy_trace.recording import Recording


# ---- samples along an axis


@implements(np.diff)
def diff(recording: Recording, a: Any, n: int = 1, axis: int = -1, prepend: Any = None, append: Any = None) -> Any:
    """``np.diff``."""
    x: Any = recording.traced(a)
    (place,) = axes_of(x, axis)
    beside = [1 if k == place else length for k, length in enumerate(x.shape)]
    ends = [
        np.broadcast_to(part, beside) if np.ndim(part) == 0 else part
        for part in (prepend, x, append)
        if part is x or given(part)
    ]
    if len(ends) > 1 and n:
        x = np.concatenate(ends, axis=place)
    for _ in range(n):
        count = x.shape[place]
        x = np.take(x, range(1, count), axis=place) - np.take(x, range(count - 1), axis=place)
    return x


@implements(np.ediff1d)
def ediff1d(recording: Recording, ary: Any, to_end: Any = None, to_begin: Any = None) -> Any:
    """``np.ediff1d``."""
    found = diff(recording, np.ravel(recording.traced(ary)))
    parts = [np.ravel(recording.traced(part)) for part in (to_begin, found, to_end) if part is not None]
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


@implements(np.gradient)
def gradient(recording: Recording, f: Any, *varargs: Any, axis: Any = None, edge_order: int = 1) -> Any:
    """``np.gradient`` with constant spacings, of first order at the edges; otherwise it is differenced as it is."""
    x = recording.traced(f)
    places = axes_of(x, axis)
    spacings = varargs if len(varargs) == len(places) else (varargs or (1.0,)) * len(places)
    if any(np.ndim(spacing) for spacing in spacings) or edge_order != 1:
        return recording.opaque(np.gradient, (f, *varargs), {"axis": axis, "edge_order": edge_order})
    found = []
    for place, step in zip(places, spacings, strict=True):
        a = np.moveaxis(x, place, -1)
        inner = (a[..., 2:] - a[..., :-2]) / (2.0 * step)
        ends = (a[..., 1:2] - a[..., :1]) / step, (a[..., -1:] - a[..., -2:-1]) / step
        found.append(np.moveaxis(np.concatenate([ends[0], inner, ends[1]], axis=-1), -1, place))
    return found[0] if len(found) == 1 else tuple(found)


@implements(getattr(np, "trapezoid", None), getattr(np, "trapz", None))
def trapezoid(recording: Recording, y: Any, x: Any = None, dx: float = 1.0, axis: int = -1) -> Any:
    """``np.trapezoid``."""
    a = np.moveaxis(recording.traced(y), axis, -1)
    width = dx if x is None else diff(recording, np.moveaxis(recording.traced(x), axis if np.ndim(x) > 1 else 0, -1))
    return np.sum(width * (a[..., 1:] + a[..., :-1]) * 0.5, axis=-1)


@implements(np.interp)
def interp(
    recording: Recording, x: Any, xp: Any, fp: Any, left: Any = None, right: Any = None, period: Any = None
) -> Any:
    """``np.interp``: a line between the two neighbours, of which the numbers do not change."""
    if period is not None:
        return recording.opaque(np.interp, (x, xp, fp, left, right, period), {})
    at, places, values = (recording.traced(part) for part in (x, xp, fp))
    _ = at.reshape((*at.shape, 1)) > places
    if len(places) < 2:
        return recording.opaque(np.interp, (x, xp, fp, left, right), {})
    k = np.clip(np.searchsorted(places._view, at._view, side="right") - 1, 0, len(places) - 2)
    found: Any = values[k] + (values[k + 1] - values[k]) / (places[k + 1] - places[k]) * (at - places[k])
    found = np.where(at._view < places._view[0], values[0] if left is None else left, found)
    return np.where(at._view > places._view[-1], values[-1] if right is None else right, found)


# ---- polynomials


@implements(np.polyval)
def polyval(recording: Recording, p: Any, x: Any) -> Any:
    """``np.polyval``, by Horner's rule."""
    result: Any = np.zeros(np.shape(x))
    for coefficient in p:
        result = result * x + coefficient
    return result


@implements(np.vander)
def vander(recording: Recording, x: Any, N: int | None = None, increasing: bool = False) -> Any:
    """``np.vander``: the powers of x as columns."""
    a = recording.traced(x)
    powers: list[Any] = [np.ones(a.shape)]
    for _ in range((len(a) if N is None else N) - 1):
        powers.append(powers[-1] * a)
    return np.stack(powers if increasing else powers[::-1], axis=1)


def _added(function: Any) -> Any:
    def add(recording: Recording, a1: Any, a2: Any) -> Any:
        first, second = (np.atleast_1d(recording.traced(a)) for a in (a1, a2))
        size = max(len(first), len(second))
        return function(*(np.concatenate([np.zeros(size - len(part)), part]) for part in (first, second)))

    return add


implements(np.polyadd)(_added(np.add))
implements(np.polysub)(_added(np.subtract))


@implements(np.polymul)
def polymul(recording: Recording, a1: Any, a2: Any) -> Any:
    """``np.polymul``."""
    return np.convolve(recording.traced(a1), recording.traced(a2))


@implements(np.polyder)
def polyder(recording: Recording, p: Any, m: int = 1) -> Any:
    """``np.polyder``."""
    found: Any = recording.traced(p)
    for _ in range(m):
        found = found[:-1] * np.arange(len(found) - 1, 0, -1)
    return found


@implements(np.polyint)
def polyint(recording: Recording, p: Any, m: int = 1, k: Any = None) -> Any:
    """``np.polyint``."""
    found: Any = recording.traced(p)
    constants = np.zeros(m) if k is None else k if np.ndim(k) else np.full(m, k)
    for order in range(m):
        integral = found / np.arange(len(found), 0, -1)
        found = np.concatenate([integral, np.reshape(constants[order], (1,))])
    return found


@implements(np.polyfit)
def polyfit(recording: Recording, x: Any, y: Any, deg: int, *args: Any, **kwargs: Any) -> Any:
    """``np.polyfit`` of given places: a linear function of y."""
    if has_traced(x) or args or kwargs:
        return recording.opaque(np.polyfit, (x, y, deg, *args), kwargs)
    powers = np.vander(np.asarray(x, np.float64), deg + 1)
    scale = np.sqrt((powers * powers).sum(axis=0))
    found = np.linalg.pinv(powers / scale) @ recording.traced(y)
    return (found.T / scale).T


# ---- statistics


@implements(np.cov)
def cov(
    recording: Recording, m: Any, y: Any = None, rowvar: bool = True, bias: bool = False, ddof: int | None = None,
    **weights: Any,
) -> Any:  # fmt: skip
    """``np.cov`` without weights."""
    if any(weight is not None for weight in weights.values()):
        return recording.opaque(np.cov, (m, y, rowvar, bias, ddof), weights)
    parts = [np.atleast_2d(recording.traced(part)) for part in (m, y) if part is not None]
    parts = [part if rowvar or part.shape[0] == 1 else part.T for part in parts]
    x = parts[0] if len(parts) == 1 else np.concatenate(parts)
    centred = x - np.mean(x, axis=1, keepdims=True)
    return np.squeeze(centred @ centred.T / (x.shape[1] - (ddof if ddof is not None else 0 if bias else 1)))


@implements(np.corrcoef)
def corrcoef(recording: Recording, x: Any, y: Any = None, rowvar: bool = True, **_: Any) -> Any:
    """``np.corrcoef``."""
    covariance = np.atleast_2d(cov(recording, x, y, rowvar=rowvar))
    scale = np.sqrt(np.diagonal(covariance))
    return np.squeeze(covariance / scale[:, np.newaxis] / scale)


@implements(np.bincount)
def bincount(recording: Recording, x: Any, /, weights: Any = None, minlength: int = 0) -> Any:
    """``np.bincount``: weights of the same number are added up."""
    places = np.asarray(plain(x))
    if weights is None:
        return np.bincount(places, minlength=minlength)
    w = recording.as_numbers(recording.traced(weights))
    value = np.bincount(places, w._view, minlength)
    return recording.step("scatter_add", [w], value, index=places.astype(np.int64), shape=value.shape)


@implements(np.histogram)
def histogram(
    recording: Recording, a: Any, bins: Any = 10, range: Any = None, density: Any = None, weights: Any = None
) -> Any:
    """``np.histogram``: counts, which do not change as long as no entry crosses an edge, or sums of weights."""
    if has_traced((a, bins)) and np.ndim(plain(bins)) == 0:
        recording.leak("where the bins of np.histogram lie", "an array of edges as its bins")
    x, bins = np.ravel(plain(recording.traced(a))), plain(bins)
    if not has_traced(weights):
        return np.histogram(x, bins, range, density, weights)
    w = np.ravel(recording.traced(weights))
    edges = np.histogram_bin_edges(x, bins, range, plain(w))
    place = np.where(x == edges[-1], len(edges) - 2, np.searchsorted(edges, x, side="right") - 1)
    inside = np.flatnonzero((place >= 0) & (place < len(edges) - 1))
    found = bincount(recording, place[inside], w[inside], len(edges) - 1)
    return (found / np.diff(edges) / np.sum(found) if density else found), edges


@implements(np.convolve)
def convolve(recording: Recording, a: Any, v: Any, mode: str = "full") -> Any:
    """``np.convolve``: a product of windows."""
    x, w = (np.ravel(recording.traced(part)) for part in (a, v))
    if w.size > x.size:
        x, w = w, x
    return _windows(x, np.flip(w), mode, w.size // 2)


@implements(np.correlate)
def correlate(recording: Recording, a: Any, v: Any, mode: str = "valid") -> Any:
    """``np.correlate``."""
    x, w = (np.ravel(recording.traced(part)) for part in (a, v))
    if w.size > x.size:
        return np.flip(_windows(w, x, mode, (x.size - 1) // 2))
    return _windows(x, w, mode, w.size // 2)


def _windows(x: Any, w: Any, mode: str, before: int) -> Any:
    more = {"valid": (0, 0), "full": (w.size - 1, w.size - 1), "same": (before, w.size - 1 - before)}[mode]
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(x, more), w.size)
    return windows @ w
