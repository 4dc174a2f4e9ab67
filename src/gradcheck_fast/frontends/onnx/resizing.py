"""Resize: where entries of each axis lie with ONNX's options; what is found there is the same for all front ends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_fast.frontends.onnx.registry import Node, Unsupported, integers, operator, plain
from gradcheck_fast.frontends.operators.resampling import along_axis, interpolation_matrix, taken

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


@operator("Resize", since=11)
def _resize(node: Node, x: Any, roi: Any = None, scales: Any = None, sizes: Any = None) -> Any:
    axes = list(node.get("axes") or range(x.ndim))
    axes = [axis % x.ndim for axis in axes]
    before = [x.shape[axis] for axis in axes]
    if sizes is not None and plain(sizes).size:
        after = integers(sizes)
        factors = [m / n for n, m in zip(before, after, strict=True)]
        after, factors = _keeping_ratio(node.get("keep_aspect_ratio_policy", "stretch"), before, after, factors)
    elif scales is not None and plain(scales).size:
        factors = [float(scale) for scale in plain(scales).ravel()]
        after = [int(np.floor(n * scale)) for n, scale in zip(before, factors, strict=True)]
    else:
        raise node.error("it has neither scales nor sizes")
    region = None
    if node.get("coordinate_transformation_mode") == "tf_crop_and_resize":
        numbers = plain(roi).ravel()
        region = list(zip(numbers[: len(axes)], numbers[len(axes) :], strict=True))
    outside: Any = np.zeros((1,) * x.ndim, bool)
    for k, axis in enumerate(axes):
        own = (0.0, 1.0) if region is None else region[k]
        if after[k] == before[k] and factors[k] == 1.0 and region is None:
            continue
        places = _places(node, before[k], after[k], factors[k], own)
        x = _along(node, x, axis, places, factors[k])
        if region is not None:
            beyond = (places < 0) | (places > before[k] - 1)
            outside = outside | beyond.reshape([-1 if j == axis else 1 for j in range(x.ndim)])
    return np.where(outside, node.get("extrapolation_value"), x) if outside.any() else x


def _keeping_ratio(
    policy: str, before: list[int], after: list[int], factors: list[float]
) -> tuple[list[int], list[float]]:
    if policy == "stretch":
        return after, factors
    factor = min(factors) if policy == "not_larger" else max(factors)
    return [int(np.floor(n * factor + 0.5)) for n in before], [factor] * len(before)


def _places(node: Node, size: int, count: int, factor: float, region: tuple[float, float]) -> Floats:
    """Returns where each entry of the result lies in the array."""
    x, mode = np.arange(count, dtype=np.float64), node.get("coordinate_transformation_mode")
    if mode == "asymmetric":
        return x / factor
    if mode == "align_corners":
        return x * (size - 1) / (count - 1) if count > 1 else np.zeros(count)
    if mode == "tf_crop_and_resize":
        begin, end = region
        if count > 1:
            return begin * (size - 1) + x * (end - begin) * (size - 1) / (count - 1)
        return np.full(count, 0.5 * (begin + end) * (size - 1))
    half = (x + 0.5) / factor - 0.5
    if mode == "pytorch_half_pixel":
        return half if count > 1 else np.zeros(count)
    if mode == "half_pixel_symmetric":
        exact = factor * size
        return size / 2 * (1.0 - count / exact) + half
    if mode in ("half_pixel", "tf_half_pixel_for_nn"):
        return half if mode == "half_pixel" else half + 0.5
    raise Unsupported(f"coordinate_transformation_mode {mode}")


def _along(node: Node, x: Any, axis: int, places: Floats, factor: float) -> Any:
    """Returns an array with the entries at these places along an axis."""
    mode, size, smooth = node.get("mode"), x.shape[axis], bool(node.get("antialias"))
    if mode == "nearest":
        return taken(x, np.clip(_nearest(node.get("nearest_mode"), places), 0, size - 1), axis)
    matrix = interpolation_matrix(
        size, places, mode, float(node.get("cubic_coeff_a")), factor=factor if smooth else 1.0,
        inside=bool(node.get("exclude_outside")) or (smooth and mode == "linear"),
    )  # fmt: skip
    return along_axis(x, matrix, axis)


def _nearest(mode: str, places: Floats) -> Any:
    if mode == "round_prefer_floor":
        return np.ceil(places - 0.5).astype(int)
    if mode == "round_prefer_ceil":
        return np.floor(places + 0.5).astype(int)
    return (np.floor(places) if mode == "floor" else np.ceil(places)).astype(int)
