"""Lists mistakes that are made anew in each layer, or turn, on the way down: they compound."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from gradcheck_fast.diagnosis.graph.backward import Scaled
from gradcheck_fast.diagnosis.graph.mutants import Change, Mutant
from gradcheck_fast.diagnosis.graph.recurrences import states
from gradcheck_fast.diagnosis.graph.screening import in_words
from gradcheck_fast.diagnosis.graph.sizes import sizes_at
from gradcheck_fast.program.steps.product import MATMUL

if TYPE_CHECKING:
    from gradcheck_fast.diagnosis.graph.backward import Backward, Bars, EdgeRule, Reals
    from gradcheck_fast.diagnosis.graph.mutants import Family, View
    from gradcheck_fast.diagnosis.graph.places import Place

Edge = tuple[int, int]
#: An array is a multiple of the right one to this part.
_SAME = 1e-9
#: So many factors are tried, at most.
_MOST_FACTORS = 2


def scaled_in_each_layer(view: View) -> Iterator[Mutant]:
    """Yields mutants in which all that goes down from a layer is divided by the number of samples, or the like.

    An array two layers down then has the square of the factor. It is read from the arrays, of which it explains two at
    least.
    """
    backward = view.backward
    factors = _factors(view) if len(view.wrong) > 1 else []
    if not factors:
        return
    for place, edges in _downwards(view):
        change = Change(dict.fromkeys(edges, lambda bars, up: None))
        if len(edges) < 2 or not view.can_explain(change) or not backward.is_in_series(change):
            continue
        sizes = sizes_at(backward, view.sizes, place)
        for factor in factors:
            said = in_words(factor, sizes, _SAME)
            if said:
                scaled = Change({edge: Scaled(backward, *edge, factor) for edge in edges})
                yield Mutant(f"{place.where}: all that goes back to its input {said}, in each layer", scaled, place)


def _factors(view: View) -> list[float]:
    """Returns the factors of wrong arrays that are multiples of the right ones, the nearest to 1 first."""
    found: list[float] = []
    for number, name in zip(view.backward.parameters, view.names, strict=True):
        if name not in view.wrong or name not in view.analytic or number not in view.backward.bars:
            continue
        own, right = view.analytic[name], view.backward.bars[number]
        size = float(np.sum(right * right))
        factor = float(np.sum(own * right)) / size if size else 0.0
        is_multiple = np.abs(own - factor * right).max() <= _SAME * np.abs(own).max()
        if factor and is_multiple and not any(abs(factor / other - 1.0) < _SAME for other in found):
            found.append(factor)
    return sorted(found, key=lambda factor: abs(np.log(abs(factor))))[:_MOST_FACTORS]


def _downwards(view: View) -> Iterator[tuple[Place, list[Edge]]]:
    """Yields the places of products with arrays of parameters, and what goes back there to the other factor."""
    turns, backward = view.turns, view.backward
    products = [number for number in backward.bars if backward.steps[number].name == MATMUL.name]
    every: list[tuple[Place, list[Edge]]] = []
    for place in view.places_of(products):
        edges = [
            (number, k) for number in place.steps for k, source in backward.inner(number)
            if source not in turns.arrays and backward.steps[number].inputs[1 - k] in turns.arrays
        ]  # fmt: skip
        if edges:
            every.append((place, edges))
            yield place, edges
    largest = [place for place, _ in every if not any(set(place.steps) < set(other.steps) for other, _ in every)]
    if len(largest) > 1:
        lines = dict.fromkeys(place.source.line for place in largest[1:])
        where = f"{largest[0].where}, and line{'s' * (len(lines) > 1)} {', '.join(map(str, lines))}"
        together = [edge for place, edges in every if place in largest for edge in edges]
        yield largest[0]._replace(steps=tuple(sorted({n for n, _ in together})), where=where), together


# ---- what is kept from turn to turn


def kept_from_turn_to_turn(view: View) -> Iterator[Mutant]:
    """Yields mutants in which what goes back to the state of the turn before is added to that of the turns after."""
    backward = view.backward
    for state in states(view):
        if state.is_sum:
            continue
        by_reader: dict[object, list[Edge]] = {}
        for edge in _of_first_turns(view, state.carried):
            place = view.turns.place(edge[0])
            shape = backward.steps[backward.steps[edge[0]].inputs[edge[1]]].shape
            by_reader.setdefault((place and place.steps, edge[1], shape), []).append(edge)
        for edges in by_reader.values():
            chain = sorted(edges)
            change = Change({edge: _with_later(backward, edge, _after(backward, edge, chain)) for edge in chain})
            if len(chain) > 1 and view.can_explain(change):
                name = view.turns.name(state.place.steps[-1], state.place.source)
                cause = f"what goes back to {name} from the next turn is added to that of all turns after it"
                yield Mutant(f"{state.place.where}: {cause}", change, state.place)


def _of_first_turns(view: View, carried: list[Edge]) -> list[Edge]:
    """Returns edges between turns with those of the first turns, which read where a loop begins."""
    found = dict.fromkeys(carried)
    for number, k in carried:
        place = view.turns.place(number)
        for own in place.steps if place is not None else ():
            if k in dict(view.backward.inner(own)):
                found[own, k] = None
    return list(found)


def _after(backward: Backward, edge: Edge, chain: list[Edge]) -> list[Edge]:
    """Returns the edges of later turns, whose states are made of what an edge is read for."""
    sources = ((later, backward.steps[later[0]].inputs[later[1]]) for later in chain if later[0] > edge[0])
    return [later for later, source in sources if backward.above[source] >> edge[0] & 1]


def _with_later(backward: Backward, edge: Edge, later: list[Edge]) -> EdgeRule:
    def rule(bars: Bars, up: Reals) -> Reals:
        parts = (backward.through(number, k, bars(number)) for number, k in later)
        return sum(parts, start=backward.through(*edge, up))

    return rule


FAMILIES: tuple[Family, ...] = (scaled_in_each_layer, kept_from_turn_to_turn)
