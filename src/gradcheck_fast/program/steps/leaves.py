"""Defines the leaves of a program: data, targets and parameters, whose values are given and not computed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from gradcheck_fast.program.primitive import Primitive, Shape, smooth

if TYPE_CHECKING:
    from gradcheck_fast.program.primitive import Mask

#: The names of the two matrices that input steps read.
DATA, TARGETS = "data", "targets"


def _own_shape(shapes: Sequence[Shape], *, shape: Shape, **attributes: Any) -> Shape:
    return shape


def _given(*arguments: Any, **attributes: Any) -> NoReturn:
    raise TypeError("a leaf of a program is given, not computed")


def _itself(masks: Sequence[Mask], **attributes: Any) -> Mask:
    return masks[0]


def _leaf(name: str) -> Primitive:
    return Primitive(name, name, _own_shape, _given, _given, _given, _itself, smooth, lambda shapes, **attributes: 0.0)


#: Columns of the data or of the targets, from ``begin`` on. Its attributes are matrix, begin and shape.
INPUT = _leaf("input")
#: An array of the user's parameters. Its attribute is shape.
PARAMETER = _leaf("parameter")

PRIMITIVES = (INPUT, PARAMETER)
