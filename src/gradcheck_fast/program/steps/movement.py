"""Defines the steps that move numbers and compute nothing. Each is linear, and its transpose moves them back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_fast.program.primitive import Primitive, Shape, changes, linear_spread, require_inputs, smooth

if TYPE_CHECKING:
    from gradcheck_fast.program.primitive import Mask, Reals

#: Where a part of an array begins and ends, for each axis.
Ranges = tuple[tuple[int, int], ...]


def _cut(ranges: Ranges) -> tuple[slice, ...]:
    return tuple(slice(begin, end) for begin, end in ranges)


def _slice_shape(shapes: Sequence[Shape], *, ranges: Ranges) -> Shape:
    require_inputs(shapes, 1)
    (shape,) = shapes
    if len(ranges) != len(shape) or any(not 0 <= a <= b <= n for (a, b), n in zip(ranges, shape, strict=False)):
        raise ValueError(f"expected a part of an array of shape {shape}, got {ranges}")
    return tuple(end - begin for begin, end in ranges)


def _slice_value(x: Sequence[Reals], *, ranges: Ranges) -> Reals:
    return x[0][_cut(ranges)]


def _slice_difference(x: Sequence[Reals], d: Sequence[Reals | None], *, ranges: Ranges) -> Reals:
    return changes(x, d)[0][_cut(ranges)]


def _slice_back(x: Sequence[Reals], k: int, up: Reals, *, ranges: Ranges) -> Reals:
    back = np.zeros_like(x[0])
    back[_cut(ranges)] = up
    return back


def _slice_reach(masks: Sequence[Mask], *, ranges: Ranges) -> Mask:
    return masks[0][_cut(ranges)]


def _no_work(shapes: Sequence[Shape], **attributes: Any) -> float:
    return 0.0


#: A part of an array, without gaps. Its attribute is ranges.
SLICE = Primitive(
    "slice", "{0}[...]", _slice_shape, _slice_value, _slice_difference, _slice_back, _slice_reach, smooth,
    linear_spread(_slice_back), _no_work,
)  # fmt: skip

PRIMITIVES = (SLICE,)
