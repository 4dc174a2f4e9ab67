"""Recognises what steps compute together, such as a sigmoid that is written as 1 / (1 + exp(-z)), by their values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from gradcheck_fast.diagnosis.graph.between import is_linear
from gradcheck_fast.program.steps import ENTRYWISE, PRIMITIVES, functions

if TYPE_CHECKING:
    from gradcheck_fast.diagnosis.graph.backward import Backward, Reals

#: Two values are the same if they differ by less than this part of the largest.
SAME = 1e-9
#: So many numbers, of which no two are the same, must be the same before a function is recognised by them.
_ENOUGH = 3
#: So many numbers are looked at before all are.
_FEW = 24
#: So many steps between the ends of a function are tried as the step that it is of.
_MOST_BOTTOMS = 8
#: A function is made of at most so many steps.
_MOST_BETWEEN = 32
#: The names of functions of one number that are steps by themselves, and are not linear.
_NAMED = {*ENTRYWISE, *(primitive.name for primitive in functions.PRIMITIVES)} - {"negative"}


class Entrywise(NamedTuple):
    """Steps that compute a function of single numbers.

    Attributes
    ----------
    bottom, top : int
        The step that the function is of, and the step that is its value.
    name : str
        The name of the function, such as "sigmoid"; "" if it is none that is known.
    """

    bottom: int
    top: int
    name: str


def same(a: Reals, b: Reals) -> bool:
    """Whether two arrays have the same shape, and the same finite values to rounding."""
    if np.shape(a) != np.shape(b):
        return False
    with np.errstate(all="ignore"):
        size = max(float(np.abs(a).max(initial=0.0)), float(np.abs(b).max(initial=0.0)))
        return bool(np.isfinite(size) and np.abs(np.subtract(a, b)).max(initial=0.0) <= SAME * size)


def count_distinct(numbers: Reals) -> int:
    """Returns how many different numbers there are; np.unique would import numpy.ma, which takes a while."""
    ordered = np.sort(np.ravel(numbers))
    return int(np.count_nonzero(np.diff(ordered))) + bool(ordered.size)


def origins(backward: Backward) -> dict[int, int]:
    """Returns for each step the step that it is a function of, number by number; for most that is the step itself.

    A step that acts entry by entry has the origin of its inputs, if they have the same one and its shape.
    """
    found: dict[int, int] = {}
    for number in sorted(backward.bars):
        inner = {source for _, source in backward.inner(number)}
        roots = {found.get(source, source) for source in inner}
        if backward.is_entrywise(number) and len(roots) == 1:
            (root,) = roots
            shape = np.shape(backward.values[number])
            # a constant that varies from entry to entry makes a function of one number of it no longer
            others = [x for k, x in enumerate(backward.x(number)) if backward.steps[number].inputs[k] not in inner]
            if np.shape(backward.values[root]) == shape and all(np.size(x) == 1 for x in others):
                found[number] = root
                continue
        found[number] = number
    return found


def entrywise(backward: Backward) -> list[Entrywise]:
    """Returns the functions of single numbers that a program computes, by the steps that are their values.

    A step that is a linear function of one other is none by itself, nor is a part of a function that is known, unless
    it is read elsewhere.
    """
    origin = origins(backward)
    members: dict[int, list[int]] = {}
    for number, root in origin.items():
        if number != root:
            members.setdefault(root, []).append(number)
    known: dict[tuple[object, ...], str] = {}
    found: list[Entrywise] = []
    # what is known of many numbers helps with few, as where one function is called with both
    for root, inside in sorted(members.items(), key=lambda item: -np.size(backward.values[item[0]])):
        found += _of_root(backward, root, inside, known)
    return sorted(found, key=lambda function: (function.top, not function.name))


def _of_root(
    backward: Backward, root: int, inside: list[int], known: dict[tuple[object, ...], str]
) -> list[Entrywise]:  # fmt: skip
    """Returns the functions among the steps that have one origin; `known` has the names that were found before."""
    tops: dict[int, Entrywise] = {}
    bases: dict[int, int] = {root: root}
    within_origin = set(inside)
    for number in inside:
        seen = {source if source in tops else bases[source] for _, source in backward.inner(number)}
        base = bases[number] = seen.pop() if len(seen) == 1 else root
        bottom, name = _named(backward, number, root, known)
        inner = {source for _, source in backward.inner(number)}
        parts = [tops[n] for n in inner if n in tops] if is_linear(backward, number) else []
        if name and not any(part.name for part in parts):
            tops[number] = Entrywise(bottom, number, name)
            for part in parts:  # a multiple of a function that is known is none by itself
                del tops[part.top]
        elif not name and not is_linear(backward, number) and _is_read_outside(backward, number, within_origin):
            tops[number] = Entrywise(base, number, "")
    within: set[int] = set()
    for function in tops.values():
        if function.name:
            inner = {
                n for n in tops if backward.above[function.top] >> n & 1 and backward.above[n] >> function.bottom & 1
            }
            inner -= {function.top, function.bottom}
            within |= {n for n in inner if _leads_only_to(backward, n, function.top, inside)}
    found = [function for number, function in tops.items() if number not in within]
    # a function that is not known may be taken for one, whatever it is made of
    whole = [
        Entrywise(root, function.top, "")
        for function in found
        if function.bottom != root and _is_read_outside(backward, function.top, within_origin)
    ]
    return found + whole


def _is_read_outside(backward: Backward, number: int, inside: set[int]) -> bool:
    """Whether a step, or a linear function of it, is read by a step of another origin, or by none."""
    readers = {reader for reader, _ in backward.readers.get(number, ())}
    return not readers or any(
        reader not in inside or (is_linear(backward, reader) and _is_read_outside(backward, reader, inside))
        for reader in readers
    )


def _leads_only_to(backward: Backward, number: int, top: int, inside: list[int]) -> bool:
    """Whether everything that reads a step does so on the way to a step above it."""
    readers = [reader for reader, _ in backward.readers.get(number, ())]
    return all(reader in inside and (reader == top or backward.above[top] >> reader & 1) for reader in readers)


def _named(backward: Backward, top: int, root: int, known: dict[tuple[object, ...], str]) -> tuple[int, str]:
    """Returns the lowest step that a step is a known function of, and the name of the function; "" if there is none."""
    step = backward.steps[top]
    if step.name in _NAMED and step.inputs[0] == root:
        return root, step.name
    below = _below(backward, top, root)
    for bottom in [root, *below][:_MOST_BOTTOMS]:
        if step.inputs == (bottom,) and step.name in _NAMED:
            return bottom, step.name
        # the same lines compute the same function at each turn of a loop
        between = sum(backward.above[n] >> bottom & 1 for n in below if n != bottom)
        role = (step.source.file, step.source.line, step.source.instruction, step.name, between)
        z, a = backward.values[bottom], backward.values[top]
        if role not in known or (known[role] and not _is(known[role], z, a)):
            known[role] = name_of(z, a)
        if known[role]:
            return bottom, known[role]
    return root, ""


def _is(name: str, z: Reals, a: Reals) -> bool:
    if name not in _FUNCTIONS:
        return name_of(z, a) == name
    with np.errstate(all="ignore"):
        return same(_FUNCTIONS[name](z), a)


def _below(backward: Backward, top: int, root: int) -> list[int]:
    """Returns the steps between a step and its origin, the lowest first; if there are many, those near the step."""
    found: set[int] = set()
    waiting = [top]
    while waiting and len(found) < _MOST_BETWEEN:
        for _, source in backward.inner(waiting.pop()):
            if source != root and source not in found:
                found.add(source)
                waiting.append(source)
    return sorted(found)


def name_of(z: Reals, a: Reals) -> str:
    """Returns the name of the function that gives a from z, by their values; "" if it is none of those that are known.

    Nothing is recognised by so few numbers that it may be chance. Besides the functions that are steps there are those
    with a slope or a scale of their own: "leaky_relu with slope 0.2" and "elu with alpha 0.5".
    """
    z, a = np.ravel(z), np.ravel(a)
    few = slice(None, None, max(1, z.size // _FEW))
    if count_distinct(z[few]) < _ENOUGH or count_distinct(a[few]) < 2:
        return ""
    for name, function in _FUNCTIONS.items():
        with np.errstate(all="ignore"):
            if same(function(z[few]), a[few]) and same(function(z), a):
                # a rectifier shows only where it is 0, or less
                return "" if name in _RECTIFIERS and same(z, a) else name
    return _with_a_number(z, a)


def _with_a_number(z: Reals, a: Reals) -> str:
    above, below = z > 0.0, z < 0.0
    if not above.any() or np.count_nonzero(below) < 2 or not same(a[above], z[above]):
        return ""
    with np.errstate(all="ignore"):
        for name, shape in _BELOW_ZERO.items():
            ratio = a[below] / shape(z[below])
            if np.isfinite(ratio).all() and ratio[0] and same(ratio, np.full_like(ratio, ratio[0])):
                return f"{name}{ratio[0]:.6g}"
    return ""


def _value(name: str, z: Reals) -> Reals:
    return PRIMITIVES[name].value([np.asarray(z)])


def slope_of(name: str, z: Reals) -> Reals:
    """Returns the slope of a function that is a step, at some numbers."""
    with np.errstate(all="ignore"):
        return np.asarray(PRIMITIVES[name].back([np.asarray(z)], 0, np.ones_like(z)))


#: The functions that are recognised. Where the numbers do not tell two apart, the first is named.
_FUNCTIONS: Mapping[str, Callable[[Reals], Reals]] = {
    name: partial(_value, name) for name in (*ENTRYWISE, "absolute", "square", "reciprocal")
}
_RECTIFIERS = ("relu", "leaky_relu", "elu", "hardtanh", "relu6", "absolute")
#: The functions that are z above 0 and a multiple of this below it.
_BELOW_ZERO: Mapping[str, Callable[[Reals], Reals]] = {
    "leaky_relu with slope ": lambda z: z,
    "elu with alpha ": np.expm1,
}
