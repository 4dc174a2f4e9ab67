"""Finds out where one line reads a value several times, so that it must be said which of the uses is meant."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from gradcheck_fast.diagnosis.graph.places import MOVEMENT
from gradcheck_fast.diagnosis.graph.recognise import same
from gradcheck_fast.frontends.numpy_trace.expressions import text_of_expression

if TYPE_CHECKING:
    from gradcheck_fast.diagnosis.graph.backward import Backward
    from gradcheck_fast.diagnosis.graph.places import Place

Edge = tuple[int, int]
#: What an input is in an expression, by the step, and by the number of the input, or -1 for any.
_ROLES = {
    ("add", -1): "a term",
    ("subtract", -1): "a term",
    ("multiply", -1): "a factor",
    ("matmul", -1): "a factor",
    ("divide", 0): "the dividend",
    ("divide", 1): "the divisor",
}
#: A line on one path of calls, and the step that it reads, without the views of it.
_Key = tuple[object, int]


def the_use(backward: Backward, place: Place, edges: Iterable[Edge]) -> str:
    """Says in which expression a place reads a value if its line reads it in others, too; "" if it does not."""
    some = set(edges)
    others = {other for edge in some for other in _uses(backward).get(_key(backward, edge), ())} - some
    text = text_of_expression(place.source) if others else ""
    if not text:
        return ""
    names = {(backward.steps[number].name, k) for number, k in some}
    roles = {_ROLES.get((name, k)) or _ROLES.get((name, -1)) for name, k in names}
    role = roles.pop() if len(roles) == 1 else None
    return f" as {role} of `{text}`" if role else f" from `{text}`"


def equal_parts(backward: Backward, edges: Iterable[Edge]) -> list[Edge] | None:
    """Returns for edges others of their lines by which the same goes back to the same; None if there are none.

    So it is with the two uses of v in v |v|: what goes back by one of them is half of it all.
    """
    some, found = set(edges), list[Edge]()
    for edge in some:
        others = [
            other for other in _uses(backward).get(_key(backward, edge), ())
            if other not in some and same(backward.flow(*other), backward.flow(*edge))
        ]  # fmt: skip
        if not others:
            return None
        found.append(min(others, key=lambda other: abs(other[0] - edge[0])))
    return found


def _key(backward: Backward, edge: Edge) -> _Key:
    step = backward.steps[edge[0]]
    return (step.source.file, step.source.line, step.source.caller), _base(backward, step.inputs[edge[1]])


def _base(backward: Backward, number: int) -> int:
    while backward.steps[number].name in MOVEMENT and len(backward.steps[number].inputs) == 1:
        (number,) = backward.steps[number].inputs
    return number


def _uses(backward: Backward) -> dict[_Key, list[Edge]]:
    return backward.once("several uses", lambda: _find_uses(backward))


def _find_uses(backward: Backward) -> dict[_Key, list[Edge]]:
    found: dict[_Key, list[Edge]] = {}
    for number in backward.bars:
        if backward.steps[number].name not in MOVEMENT and backward.steps[number].source.line:
            for k, _ in backward.inner(number):
                found.setdefault(_key(backward, (number, k)), []).append((number, k))
    return {key: edges for key, edges in found.items() if len(edges) > 1}
