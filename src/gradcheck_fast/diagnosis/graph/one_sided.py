"""Lists mistakes with what belongs on one of several ways back: a factor left out on it, or a slope that it has not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from gradcheck_fast.diagnosis.graph.between import through
from gradcheck_fast.diagnosis.graph.entrywise import places_of_functions, slope_between
from gradcheck_fast.diagnosis.graph.mutants import Change, Mutant
from gradcheck_fast.program.steps.product import MATMUL

if TYPE_CHECKING:
    from gradcheck_fast.diagnosis.graph.backward import Backward, Bars, EdgeRule, Reals
    from gradcheck_fast.diagnosis.graph.mutants import Family, View
    from gradcheck_fast.diagnosis.graph.recognise import Entrywise

Edge = tuple[int, int]


# ---- a slope that belongs to one way only


def slopes_on_other_ways(view: View) -> Iterator[Mutant]:
    """Yields mutants in which the derivative of a function is applied to what goes back past it, too.

    So it is if the mask of a rectifier is applied after the gradient of a skip connection was added.
    """
    backward, turns = view.backward, view.turns
    for place, functions, name in places_of_functions(view):
        past = {function: _past(backward, function) for function in functions}
        edges = [(edge, function) for function, others in past.items() for edge in others]
        if not name or not edges:
            continue
        change = Change({edge: _times_slope(backward, *edge, function) for edge, function in edges})
        if view.can_explain(change):
            others = sorted({backward.steps[number].source.line for (number, _), _ in edges} - {0})
            lines = f" from line{'s' * (len(others) > 1)} {', '.join(map(str, others))}" if others else ""
            of = turns.name(functions[-1].bottom, place.source)
            cause = f"the derivative of {name} is applied, too, to what goes back to {of} past it{lines}"
            yield Mutant(f"{place.where}: {cause}", change, place)


def _past(backward: Backward, function: Entrywise) -> list[Edge]:
    """Returns the edges by which what a function is of is read by others."""
    readers = backward.readers.get(function.bottom, ())
    return [(reader, k) for reader, k in readers if not (backward.above[function.top] >> reader & 1 or
                                                         reader == function.top)]  # fmt: skip


def _times_slope(backward: Backward, number: int, k: int, function: Entrywise) -> EdgeRule:
    return lambda bars, up: backward.through(number, k, up) * slope_between(backward, function)


# ---- factors left out on one way


def scales_left_out_on_one_side(view: View) -> Iterator[Mutant]:
    """Yields mutants in which the factor of a product of matrices is left out for one of the two matrices only."""
    backward, turns = view.backward, view.turns
    tops = {number: reader for number in backward.bars if (reader := _scaled_by(backward, number)) is not None}
    for place in view.places_of(tops):
        sides = sorted({k for number in place.steps for k, _ in backward.inner(number)})
        for k in sides if len(sides) > 1 else ():
            edges = [(number, k) for number in place.steps if k in dict(backward.inner(number))]
            change = Change({edge: _of_reader(backward, *edge, tops[edge[0]]) for edge in edges})
            if view.can_explain(change):
                scale = turns.place(tops[place.steps[-1]])
                if scale is None:
                    continue
                word = "divisor" if backward.steps[scale.steps[0]].name == "divide" else "factor"
                what = turns.read(scale, _scale_at(backward, scale.steps[-1], place.steps))
                to = turns.read(place, k, [number for number, _ in edges])
                cause = f"the {word} ({what}) is left out in what goes back to {to} through the product"
                yield Mutant(f"{place.where}: {cause}", change, place)


def _scaled_by(backward: Backward, number: int) -> int | None:
    """Returns the step that multiplies a product of two matrices by something, or divides it; None if none does."""
    readers = backward.readers.get(number, ())
    if backward.steps[number].name != MATMUL.name or len(readers) != 1:
        return None
    ((reader, k),) = readers
    name, shape = backward.steps[reader].name, backward.steps[number].shape
    is_scale = name == "multiply" or (name == "divide" and k == 0)
    other = backward.steps[reader].inputs
    return reader if is_scale and backward.steps[reader].shape == shape and other[0] != other[1] else None


def _scale_at(backward: Backward, reader: int, products: tuple[int, ...]) -> int:
    return 1 if backward.steps[reader].inputs[0] in products else 0


def _of_reader(backward: Backward, number: int, k: int, reader: int) -> EdgeRule:
    def rule(bars: Bars, up: Reals) -> Reals:
        return backward.through(number, k, bars(reader))

    return rule


def vectors_left_out(view: View) -> Iterator[Mutant]:
    """Yields mutants in which ones stand in the place of a vector, such as the weights of one output."""
    backward, turns = view.backward, view.turns
    products = [number for number in backward.bars if backward.steps[number].name == MATMUL.name]
    for place in view.places_of(products):
        for k in (0, 1):
            own = [number for number in place.steps if k in dict(backward.inner(number))]
            others = [backward.x(number)[1 - k] for number in own]
            if not own or not all(np.size(other) > 1 and np.size(other) == max(other.shape) for other in others):
                continue
            change = Change({(number, k): _with_ones(backward, number, k) for number in own})
            if view.can_explain(change):
                what, to = turns.read(place, 1 - k, own), turns.read(place, k, own)
                cause = f"the factor ({what}) is left out in what goes back to {to}: ones stand in its place"
                yield Mutant(f"{place.where}: {cause}", change, place)


def _with_ones(backward: Backward, number: int, k: int) -> EdgeRule:
    other = backward.steps[number].inputs[1 - k]
    return lambda bars, up: through(backward, number, k, up, {other: np.ones_like(backward.values[other])})


FAMILIES: tuple[Family, ...] = (slopes_on_other_ways, scales_left_out_on_one_side, vectors_left_out)
