"""Defines the leaves of a program: data, targets and parameters, whose values are given, and constants."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from gradcheck_fast.program.primitive import Primitive, Shape, require_inputs, smooth

if TYPE_CHECKING:
    from gradcheck_fast.program.primitive import Mask, Reals

#: The names of the two matrices that input steps read.
DATA, TARGETS = "data", "targets"


def _input_shape(shapes: Sequence[Shape], *, matrix: str, begin: int, shape: Shape) -> Shape:
    require_inputs(shapes, 0)
    return shape


def _parameter_shape(shapes: Sequence[Shape], *, shape: Shape) -> Shape:
    require_inputs(shapes, 0)
    return shape


def _constant_shape(shapes: Sequence[Shape], *, value: Reals) -> Shape:
    require_inputs(shapes, 0)
    return value.shape


def _given(*arguments: Any, **attributes: Any) -> NoReturn:
    raise TypeError("a leaf of a program is given, not computed")


def _itself(masks: Sequence[Mask], **attributes: Any) -> Mask:
    return masks[0]


def _leaf(name: str, shape: Callable[..., Shape]) -> Primitive:
    return Primitive(
        name, name, shape, _given, _given, _given, _itself, smooth, _given, lambda shapes, **attributes: 0.0
    )


#: Columns of the data or of the targets, from ``begin`` on. Its attributes are matrix, begin and shape.
INPUT = _leaf("input", _input_shape)
#: An array of the user's parameters. Its attribute is shape.
PARAMETER = _leaf("parameter", _parameter_shape)
#: An array that is part of the program. Its attribute is value.
CONSTANT = Primitive(
    "constant", "constant", _constant_shape, lambda x, *, value: value, lambda x, d, *, value: np.zeros_like(value),
    _given, lambda masks, *, value: np.zeros(value.shape, np.bool_), smooth, _given, lambda shapes, *, value: 0.0,
)  # fmt: skip

PRIMITIVES = (INPUT, PARAMETER, CONSTANT)
