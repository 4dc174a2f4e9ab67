"""Lists mistakes with arrays that stand in each other's place in products, and with uses that are transposed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import permutations
from typing import TYPE_CHECKING

import numpy as np

from gradcheck_fast.diagnosis.graph.backward import Change
from gradcheck_fast.diagnosis.graph.mutants import Mutant
from gradcheck_fast.diagnosis.graph.products import Product, base, products, with_other
from gradcheck_fast.program.steps.product import MATMUL, transposed

if TYPE_CHECKING:
    from gradcheck_fast.diagnosis.graph.backward import Backward, EdgeRule, Reals
    from gradcheck_fast.diagnosis.graph.mutants import Family, View

#: At most so many places of products are compared with each other.
_MOST_PLACES = 8
#: The steps that multiply two values.
_PRODUCTS = (MATMUL.name, "multiply")


def own_factors(view: View) -> Iterator[Mutant]:
    """Yields mutants in which what goes back to a factor of a product is built with that factor, not with the other."""
    backward, turns = view.backward, view.turns
    for place in view.places:
        if backward.steps[place.steps[0]].name not in _PRODUCTS:
            continue
        for k in (0, 1):
            edges = [(number, k) for number in place.steps if k in dict(backward.inner(number))]
            shapes = {(np.shape(one), np.shape(other)) for one, other in (backward.x(number) for number, _ in edges)}
            is_same = any(backward.steps[number].inputs[0] == backward.steps[number].inputs[1] for number, _ in edges)
            if not edges or is_same or any(one != other or one == () for one, other in shapes):
                continue
            change = Change({edge: _with_own(backward, *edge) for edge in edges})
            if view.can_explain(change):
                to, other = turns.read(place, k), turns.read(place, 1 - k)
                cause = f"{place.where}: what goes back to {to} is built with {to} itself instead of {other}"
                yield Mutant(cause, change, place)


def _with_own(backward: Backward, number: int, k: int) -> EdgeRule:
    return _with(backward, number, k, backward.x(number)[k])


def _with(backward: Backward, number: int, k: int, other: Reals) -> EdgeRule:
    step, x = backward.steps[number], backward.x(number)
    x[1 - k] = other
    if step.name == MATMUL.name:
        return with_other(backward, number, k, other)
    return lambda bars, up: np.asarray(step.primitive.back(x, k, up, **step.attributes))


def arrays_of_other_places(view: View) -> Iterator[Mutant]:
    """Yields mutants in which arrays of parameters of two places are exchanged on the way back, or one stands for both.

    Each turn of a loop over layers may have arrays of its own.
    """
    backward = view.backward
    found: list[tuple[Product, list[int]]] = []
    for product in products(view):
        own = [base(backward, backward.steps[number].inputs[1 - product.k])[0] for number, _ in product.edges]
        if set(own) <= set(backward.parameters) and len(product.edges) == len(product.place.steps):
            found.append((product, own))
    for (one, own), (other, theirs) in permutations(found[:_MOST_PLACES], 2):
        shapes = [np.shape(backward.values[number]) for number in own]
        if own == theirs or shapes != [np.shape(backward.values[number]) for number in theirs]:
            continue
        names = f"{one.factor} and {other.factor}"
        if own[0] < theirs[0]:
            rules = {**_with_arrays(backward, one, theirs), **_with_arrays(backward, other, own)}
            lines = " and ".join(dict.fromkeys(f"line {product.place.source.line}" for product in (one, other)))
            cause = f"{names}, the factors of {lines}, are exchanged on the way back"
            yield Mutant(f"{one.place.where}: {cause}", Change(rules), one.place)
        if len(set(own)) > 1:
            cause = f"on the way back {other.factor} is in the place of {one.factor}"
            yield Mutant(f"{one.place.where}: {cause}", Change(_with_arrays(backward, one, theirs)), one.place)


def _with_arrays(backward: Backward, product: Product, arrays: Sequence[int]) -> dict[tuple[int, int], EdgeRule]:
    rules = {}
    for (number, k), array in zip(product.edges, arrays, strict=True):
        _, moved = base(backward, backward.steps[number].inputs[1 - k])
        rules[number, k] = with_other(backward, number, k, moved(backward.values[array]))
    return rules


def transposed_uses(view: View) -> Iterator[Mutant]:
    """Yields mutants in which what some steps send back to a square array is transposed, as if indices were swapped.

    Products, after which the array may have to be transposed, are not among them.
    """
    backward, turns = view.backward, view.turns
    square = [n for n in turns.arrays if len(turns.shape(n)) == 2 and turns.shape(n)[0] == turns.shape(n)[1] > 1]
    edges: dict[int, int] = {}
    for number in square:
        for reader, k in backward.readers.get(number, ()):
            if reader not in square and backward.steps[reader].name != MATMUL.name:
                edges[reader] = k
    for place in view.places_of(edges):
        own = [(number, edges[number]) for number in place.steps]
        change = Change({edge: _transposed(backward, *edge) for edge in own})
        if view.can_explain(change):
            to = turns.read(place, edges[place.steps[0]])
            yield Mutant(f"{place.where}: what goes back from here to {to} is transposed", change, place)


def _transposed(backward: Backward, number: int, k: int) -> EdgeRule:
    return lambda bars, up: np.ascontiguousarray(transposed(backward.through(number, k, up)))


#: The families of this module, but for those of `OTHERS`.
FAMILIES: tuple[Family, ...] = (arrays_of_other_places, transposed_uses)
#: Those in which another value stands in the place of the right one.
OTHERS: tuple[Family, ...] = (own_factors,)
