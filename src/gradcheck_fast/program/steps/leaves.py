"""Where a program begins: the data, the targets and the parameters, which are given and not computed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from gradcheck_fast.program.primitive import Primitive, Shape, smooth

if TYPE_CHECKING:
    from gradcheck_fast.program.primitive import Mask

#: The matrices that input steps read: the data and the targets.
DATA, TARGETS = "data", "targets"


def _own_shape(shapes: Sequence[Shape], *, shape: Shape, **attributes: Any) -> Shape:
    return shape


def _given(*arguments: Any, **attributes: Any) -> NoReturn:
    raise TypeError("a leaf of a program is given, not computed")


def _itself(masks: Sequence[Mask], **attributes: Any) -> Mask:
    return masks[0]


def _leaf(name: str) -> Primitive:
    return Primitive(name, name, _own_shape, _given, _given, _given, _itself, smooth, lambda shapes, **attributes: 0.0)


#: Columns of the data or targets, from ``begin`` on; attributes: matrix, begin, shape.
INPUT = _leaf("input")
#: An array of the user's parameters; attributes: shape.
PARAMETER = _leaf("parameter")

PRIMITIVES = (INPUT, PARAMETER)
