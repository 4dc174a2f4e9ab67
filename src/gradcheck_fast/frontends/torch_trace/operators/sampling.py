"""Operators that give pictures and sequences another resolution, or take their entries between places."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gradcheck_fast.frontends.operators import resampling
from gradcheck_fast.frontends.torch_trace.operators.registry import Call, aten

#: PyTorch's numbers for modes of `grid_sampler`.
_MODES, _PADDINGS = ("bilinear", "nearest", "bicubic"), ("zeros", "border", "reflection")


def _size(x: Any, size: Sequence[int] | None, factors: Sequence[float]) -> list[int]:
    """Returns the new lengths: those that are given, or the old ones times the factors."""
    if size is not None:
        return list(size)
    return [int(length * factor) for length, factor in zip(x.shape[2:], factors, strict=True)]


def _factors(args: Sequence[Any], axes: int) -> list[float | None]:
    """Returns the factors of the lengths, which come one by one or as a list."""
    if len(args) == 1 and isinstance(args[0], (list, tuple)):
        return list(args[0])
    return [*args, *[None] * (axes - len(args))]


def _interpolated(mode: str) -> Any:
    def rule(call: Call, x: Any, size: Any, align_corners: bool, *args: Any) -> Any:
        scales = _factors(args, x.ndim - 2)
        size = _size(x, size, [scale or 1.0 for scale in scales])
        return resampling.upsample(x, size, mode, align_corners=align_corners, scales=scales)

    return rule


def _nearest(mode: str) -> Any:
    def rule(call: Call, x: Any, size: Any, *args: Any) -> Any:
        scales = _factors(args, x.ndim - 2)
        return resampling.upsample(x, _size(x, size, [scale or 1.0 for scale in scales]), mode, scales=scales)

    return rule


for _axes in (1, 2, 3):
    aten(f"upsample_nearest{_axes}d")(_nearest("nearest"))
    aten(f"_upsample_nearest_exact{_axes}d")(_nearest("nearest-exact"))
aten("upsample_linear1d")(_interpolated("linear"))
aten("upsample_bilinear2d")(_interpolated("bilinear"))
aten("upsample_trilinear3d")(_interpolated("trilinear"))
aten("upsample_bicubic2d")(_interpolated("bicubic"))


@aten("grid_sampler_2d", "grid_sampler_3d")
def grid_sampler(call: Call, x: Any, grid: Any, mode: int, padding: int, align_corners: bool) -> Any:
    """``grid_sample``."""
    return resampling.grid_sample(x, grid, _MODES[mode], _PADDINGS[padding], align_corners)


@aten("affine_grid_generator")
def affine_grid(call: Call, theta: Any, size: Sequence[int], align_corners: bool) -> Any:
    """``affine_grid``: the centres of all entries, from -1 to 1, by matrices of shape (samples, axes, axes + 1)."""
    lengths = list(size)[2:]
    along = []
    for length in lengths:
        at = np.linspace(-1.0, 1.0, length) if length > 1 else np.zeros(1)
        along.append(at if align_corners or length == 1 else at * ((length - 1) / length))
    parts = [*np.meshgrid(*along, indexing="ij")[::-1], np.ones(lengths)]
    base = np.stack([part.reshape(-1) for part in parts], axis=-1)
    found = base @ np.swapaxes(theta, -1, -2)
    return found.reshape((theta.shape[0], *lengths, len(lengths)))
