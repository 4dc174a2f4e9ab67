"""Arrays in another resolution: nearest neighbours, and linear and cubic interpolation, in any number of dimensions.

Interpolation is linear in the entries, and acts along one axis after the other: along each it is a product with a
matrix of which each row has the weights of one place. Where places lie, and their names, are PyTorch's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from gradcheck_fast.frontends.operators.activations import relu
from gradcheck_fast.frontends.operators.elementary import is_traced, reshaped, values_of
from gradcheck_fast.frontends.operators.pooling import adaptive_average_pool
from gradcheck_fast.frontends.operators.windows import Numbers

#: The parameter of cubic convolution (Keys, 1981) in PyTorch, and by default in ONNX.
CUBIC = -0.75
#: How each axis is interpolated, by PyTorch's names.
LINEAR, CUBICAL = ("linear", "bilinear", "trilinear"), ("bicubic", "cubic")


def source_places(size: int, count: int, align_corners: bool, scale: float | None = None) -> Any:
    """Returns where the entries of an axis of another length lie, in entries of the old one.

    Parameters
    ----------
    size, count : int
        The old and the new length.
    align_corners : bool
        Whether the centres of the first and the last entries lie upon each other, or the ends of the axes do.
    scale : float, optional
        The factor of the length, if it is given; by default that of the lengths.
    """
    k = np.arange(count, dtype=np.float64)
    if align_corners:
        return k * ((size - 1) / (count - 1) if count > 1 else 0.0)
    return (k + 0.5) * (1.0 / scale if scale else size / count) - 0.5


def interpolation_matrix(
    size: int, places: Any, mode: str, a: float = CUBIC, *, factor: float = 1.0, inside: bool = False
) -> Any:
    """Returns the weights of the entries of an axis at some places: an array of shape (places, size).

    Parameters
    ----------
    size : int
    places : array of float64
        In entries. Entries before the first and after the last one are like these.
    mode : {"linear", "cubic"}
    a : float
        The parameter of cubic convolution.
    factor : float
        That of the length, if it is less than 1 and all entries are to count, those between places, too (antialias).
    inside : bool
        Whether entries before the first and after the last one do not count.
    """
    places, factor = np.asarray(places, np.float64), min(factor, 1.0)
    half = int(np.ceil((1.0 if mode == "linear" else 2.0) / factor))
    taps = np.floor(places).astype(np.int64)[:, np.newaxis] + np.arange(1 - half, 1 + half)
    distance = np.abs(places[:, np.newaxis] - taps) * factor
    weights = np.maximum(1.0 - distance, 0.0) if mode == "linear" else _cubic(distance, a)
    if inside:
        weights = np.where((taps >= 0) & (taps < size), weights, 0.0)
    if inside or factor < 1.0:
        weights = weights / weights.sum(axis=1, keepdims=True)
    found = np.zeros((len(places), size))
    np.add.at(found, (np.arange(len(places))[:, np.newaxis], np.clip(taps, 0, size - 1)), weights)
    return found


def _cubic(distance: Any, a: float) -> Any:
    """Returns the weight of an entry at some distance (Keys, Cubic convolution interpolation, 1981)."""
    near = ((a + 2.0) * distance - (a + 3.0)) * distance * distance + 1.0
    far = ((distance - 5.0) * distance + 8.0) * distance * a - 4.0 * a
    return np.where(distance <= 1.0, near, np.where(distance < 2.0, far, 0.0))


def along_axis(x: Any, matrix: Any, axis: int) -> Any:
    """Returns an array multiplied along one axis by a matrix of the shape (new length, length)."""
    axis %= x.ndim
    before, after = x.shape[:axis], x.shape[axis + 1 :]
    if not after or math.prod(after) == 1:
        found = reshaped(x, (*before, x.shape[axis])) @ matrix.T
    else:
        found = matrix @ reshaped(x, (*before, x.shape[axis], math.prod(after)))
    return found.reshape((*before, matrix.shape[0], *after))


def nearest_places(size: int, count: int, exact: bool = False, scale: float | None = None) -> Any:
    """Returns the entry that each of a new length comes from, as PyTorch finds it: in single precision.

    With `exact`, it is the one whose centre is nearest (``nearest-exact``).
    """
    step = np.float32(1.0 / scale) if scale else np.float32(size) / np.float32(count)
    k = np.arange(count, dtype=np.float32)
    return np.minimum(np.floor((k + np.float32(0.5 if exact else 0.0)) * step).astype(np.int64), size - 1)


def taken(x: Any, places: Any, axis: int) -> Any:
    """Returns the entries at some places along an axis; a whole number of times each, in order, is a broadcast."""
    size, count = x.shape[axis], len(places)
    if count % size == 0 and np.array_equal(places, np.repeat(np.arange(size), count // size)):
        if count == size:
            return x
        shape = list(x.shape)
        wide = np.broadcast_to(np.expand_dims(x, axis + 1), (*shape[: axis + 1], count // size, *shape[axis + 1 :]))
        return reshaped(wide, (*shape[:axis], count, *shape[axis + 1 :]))
    return np.take(x, places, axis=axis)


def upsample(
    x: Any, size: Numbers, mode: str = "nearest", *, align_corners: bool = False,
    scales: Sequence[float | None] | None = None,
) -> Any:  # fmt: skip
    """Returns an array with other spatial lengths, shorter ones, too.

    Parameters
    ----------
    x : ndarray or TracedArray, shape (samples, channels, *spatial)
    size : sequence of int
        The new spatial lengths.
    mode : str
        "nearest", "nearest-exact", "linear", "bilinear", "trilinear", "bicubic" or "area".
    align_corners : bool
        See `source_places`.
    scales : sequence of float or None, optional
        The factors of the lengths, if they are used to find places (``recompute_scale_factor=False``).

    Raises
    ------
    ValueError
        If the mode has another name.
    """
    if mode == "area":
        return adaptive_average_pool(x, size)
    scales = scales or [None] * len(size)
    for axis, (count, scale) in enumerate(zip(size, scales, strict=True), start=2):
        length = x.shape[axis]
        if mode in ("nearest", "nearest-exact"):
            x = taken(x, nearest_places(length, count, mode == "nearest-exact", scale), axis)
        elif mode in LINEAR or mode in CUBICAL:
            places = source_places(length, count, align_corners, scale)
            x = along_axis(x, interpolation_matrix(length, places, "linear" if mode in LINEAR else "cubic"), axis)
        else:
            raise ValueError(f"mode: expected nearest, nearest-exact, linear, bicubic or area, got {mode!r}")
    return x


def grid_sample(
    x: Any, grid: Any, mode: str = "bilinear", padding_mode: str = "zeros", align_corners: bool = False
) -> Any:
    """Returns the entries of an image at places between them, which may depend on parameters.

    Parameters
    ----------
    x : ndarray or TracedArray, shape (samples, channels, *spatial)
    grid : ndarray or TracedArray, shape (samples, *places, number of spatial axes)
        The places, from -1 to 1 along each axis; the last axis of the image comes first.
    mode : {"bilinear", "nearest", "bicubic"}
    padding_mode : {"zeros", "border", "reflection"}
        What lies beyond the image.
    align_corners : bool
        Whether -1 and 1 are the centres of the first and the last entries, or the ends of the axis.

    Returns
    -------
    ndarray or TracedArray, shape (samples, channels, *places)

    Raises
    ------
    ValueError
        If a mode has another name.
    """
    if mode not in ("bilinear", "nearest", "bicubic") or padding_mode not in ("zeros", "border", "reflection"):
        raise ValueError(f"grid_sample with mode={mode!r} and padding_mode={padding_mode!r} is not known")
    size, axes = x.shape[2:], x.ndim - 2
    corners: list[tuple[Any, Any]] = [(0, 1.0)]  # for each corner, the number of the entry, and its weight
    for axis, length in enumerate(size):
        place = grid[..., axes - 1 - axis]
        place = (place + 1.0) * (0.5 * (length - 1)) if align_corners else ((place + 1.0) * length - 1.0) * 0.5
        if mode == "bicubic":  # its entries are moved, not its places
            around = _cubic_neighbours(place)
            taps = [(_plain(_inside(at, length, padding_mode, align_corners)), more) for at, more in around]
        else:
            taps = _neighbours(_inside(place, length, padding_mode, align_corners), mode)
        corners = [
            (number * length + np.clip(at, 0, length - 1), weight * more * ((at >= 0) & (at < length)))
            for number, weight in corners
            for at, more in taps
        ]
    flat = reshaped(x, (*x.shape[:2], math.prod(size)))
    samples = np.arange(x.shape[0]).reshape(-1, *(1,) * axes)
    found: Any = 0.0
    for number, weight in corners:
        entries = np.moveaxis(flat, 1, -1)[samples, number]  # (samples, *places, channels)
        found = found + entries * np.expand_dims(weight, -1)
    return np.moveaxis(found, -1, 1)


def _neighbours(place: Any, mode: str) -> list[tuple[Any, Any]]:
    """Returns the entries around places along one axis, plain, and their weights.

    Linear interpolation weights entry k by max(0, 1 - abs(place - k)). Where places depend on parameters, that is said
    of three entries, so that it holds, with its kinks, until a place has moved by half an entry.
    """
    nearest = _plain(np.rint(values_of(place)))
    if mode == "nearest":
        return [(nearest, 1.0)]
    if is_traced(place):
        return [(nearest + k, relu(1.0 - np.abs(place - (nearest + k)))) for k in (-1, 0, 1)]
    below = np.floor(place)
    return [(_plain(below), 1.0 - (place - below)), (_plain(below) + 1, place - below)]


def _cubic_neighbours(place: Any) -> list[tuple[Any, Any]]:
    """Returns the entries around places along one axis, before and after which there may be none, and their weights.

    Those of cubic convolution are polynomials for distances up to 1 and up to 2. Where places depend on parameters,
    they are said of five entries, so that they hold until a place has moved by half an entry: at the distance d, with
    u = max(0, 2 - d) and v = max(0, 1 - d), a weight is a (1 - u) u² + (3 + 4 a - 2 v) v².
    """
    if not is_traced(place):
        below = np.floor(place)
        return [(below + k, _cubic(np.abs(place - (below + k)), CUBIC)) for k in range(-1, 3)]
    nearest, found = np.rint(values_of(place)), []
    for k in range(-2, 3):
        distance = np.abs(place - (nearest + k))
        u, v = relu(2.0 - distance), relu(1.0 - distance)
        found.append((nearest + k, CUBIC * (1.0 - u) * u * u + (3.0 + 4.0 * CUBIC - 2.0 * v) * v * v))
    return found


def _plain(x: Any) -> Any:
    return np.asarray(x, np.float64).astype(np.int64)


def _inside(place: Any, length: int, padding_mode: str, align_corners: bool) -> Any:
    """Returns places that are moved into an axis, or reflected at its ends; `zeros` leaves them where they are."""
    if padding_mode == "zeros":
        return place
    if padding_mode == "reflection":
        low, high = (0.0, length - 1.0) if align_corners else (-0.5, length - 0.5)
        if high == low:
            return place * 0.0
        turns = np.rint((values_of(place) - low) / (high - low))  # the end that is nearest, counted from the first one
        off = np.abs(place - (low + turns * (high - low)))
        place = np.where(turns % 2.0 == 0.0, low + off, high - off)
    return np.clip(place, 0.0, length - 1.0)
