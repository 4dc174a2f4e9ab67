"""Lists mistakes with arrays that consist of parts: concatenations, slices, states in a row, flat vectors."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations, islice, pairwise, permutations
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from gradcheck_fast.diagnosis.graph.mutants import Change, Mutant
from gradcheck_fast.diagnosis.graph.places import short
from gradcheck_fast.diagnosis.graph.reads import PRODUCTS, Read, put_at, put_back, reads
from gradcheck_fast.program.steps.movement import GATHER, gather_back_all

if TYPE_CHECKING:
    from gradcheck_fast.diagnosis.graph.backward import Backward, Bars, BlockRule, EdgeRule, Reals
    from gradcheck_fast.diagnosis.graph.mutants import View
    from gradcheck_fast.diagnosis.graph.places import Place
    from gradcheck_fast.diagnosis.graph.reads import Index

    Rows: TypeAlias = Iterable[tuple[Place, list[Read]]]

#: An array is sliced into, or concatenated from, at most so many parts that may be exchanged.
_MOST_PARTS = 4
#: A flat vector of at most so many arrays may have them in any order.
_ANY_ORDER = 4
#: To read an array of so many axes by columns is to transpose it.
_AXES_OF_MATRIX = 2
#: The rows of a matrix are unflattened in so many orders, at most.
_MOST_ORDERS = 64
#: Rows of at most so many states are looked at.
_MOST_STATES = 64


def exchanged_slices(view: View, rows: Rows) -> Iterator[Mutant]:
    """Yields mutants in which what goes back to the parts of an array, such as gates side by side, is exchanged."""
    backward = view.backward
    by_source: dict[object, dict[tuple[int, ...], list[list[Read]]]] = {}
    parts: dict[int, dict[int, Read]] = {}
    for _, found in rows:
        for read in found:
            if read.first == read.top and not view.name_of(read.base):
                parts.setdefault(read.base, {})[read.top] = read
    for tops in parts.values():
        group = [tops[top] for top in sorted(tops)]
        places = np.concatenate([read.places.ravel() for read in group])
        alike = len({read.places.shape for read in group}) == 1 and places.min(initial=0) >= 0
        if 2 <= len(group) <= _MOST_PARTS and alike and np.bincount(places).max(initial=0) == 1:
            sources = tuple(backward.steps[read.top].source for read in group)
            by_source.setdefault(sources, {}).setdefault(group[0].places.shape, []).append(group)
    for groups in (groups for of_shape in by_source.values() for groups in of_shape.values()):
        (place, *_) = view.places_of(group[0].top for group in groups)
        lines = list(dict.fromkeys(short(backward.steps[read.top].source) for read in groups[0]))
        what = f"the {len(groups[0])} parts that {' and '.join(lines)} read{'s' * (len(lines) == 1)}"
        for order in _exchanges(len(groups[0])):
            index = {read.top: group[k].places for group in groups for k, read in zip(order, group, strict=True)}
            change = put_at(backward, (read for group in groups for read in group), index)
            yield Mutant(f"{place.where}: {what} are exchanged on the way back (order {order})", change, place)


def _exchanges(count: int) -> Iterator[tuple[int, ...]]:
    """Yields orders of a few parts: those in which two are exchanged first."""
    orders = [order for order in permutations(range(count)) if order != tuple(range(count))]
    yield from sorted(orders, key=lambda order: sum(k != at for k, at in enumerate(order)))


def exchanged_parts(view: View) -> Iterator[Mutant]:
    """Yields mutants in which the parts of a concatenation get each other's sensitivities."""
    backward = view.backward
    numbers = [
        number
        for number in backward.bars
        if backward.steps[number].name == GATHER.name and 2 <= len(backward.inner(number)) <= _MOST_PARTS
    ]
    alike: dict[object, tuple[Place, list[int]]] = {}
    for place in view.places_of(numbers):
        for number in place.steps:  # one call may put parts of a buffer together before it puts that beside another one
            kind = place, backward.steps[number].shape, len(backward.inner(number))
            alike.setdefault(kind, (place, []))[1].append(number)
    for place, of_kind in alike.values():
        inner = {number: backward.inner(number) for number in of_kind}
        for a, b in combinations(range(min(map(len, inner.values()))), 2):
            edges: dict[tuple[int, int], EdgeRule] = {}
            for number, of_step in inner.items():
                (i, one), (j, other) = of_step[a], of_step[b]
                if backward.steps[one].shape == backward.steps[other].shape:
                    edges[number, i] = _through(backward, number, j)
                    edges[number, j] = _through(backward, number, i)
            if edges:
                cause = f"{place.where}: parts {a} and {b} are exchanged on the way back"
                yield Mutant(cause, Change(edges), place)


def exchanged_factors(view: View) -> Iterator[Mutant]:
    """Yields mutants in which the two factors of a product, such as queries and keys, get each other's sensitivities.

    They are compared as they are before they are transposed or reshaped for the product.
    """
    backward = view.backward
    numbers = [n for n in backward.bars if backward.steps[n].name in PRODUCTS and len(backward.inner(n)) == 2]
    for place in view.places_of(numbers):
        factors = {number: [_origin(backward, source) for source in backward.steps[number].inputs]
                   for number in place.steps}  # fmt: skip
        if any(
            one == other or backward.steps[one].shape != backward.steps[other].shape
            for (one, _), (other, _) in factors.values()
        ):
            continue
        names = [view.turns.name(base, place.source) for base, _ in factors[place.steps[0]]]
        cause = f"{place.where}: what goes back to {names[0]} and to {names[1]} is exchanged"
        rules = {number: _exchanged(backward, number, *of_step) for number, of_step in factors.items()}
        yield Mutant(cause, Change({}, rules), place)


def _origin(backward: Backward, number: int) -> tuple[int, Index]:
    """Returns the step furthest below of which a step is only another order, and where its entries are in that."""
    found = number, np.arange(math.prod(backward.steps[number].shape))
    for read in reads(backward, number):
        if read.is_moved:
            found = read.base, read.places
    return found


def _exchanged(backward: Backward, number: int, one: tuple[int, Index], other: tuple[int, Index]) -> BlockRule:
    def rule(bars: Bars, up: Reals) -> Iterator[tuple[int, Reals]]:
        for k, (_, places), (to, _) in ((0, one, other), (1, other, one)):
            yield to, put_back(places, backward.through(number, k, up), backward.values[to])

    return rule


def reversed_turns(view: View) -> Iterator[Mutant]:
    """Yields mutants in which one part of what is put together in each turn comes back to the turns in reverse order.

    So it is if a recurrence runs backwards beside another one, and what goes back to it is not reversed.
    """
    backward = view.backward
    numbers = [n for n in backward.bars if backward.steps[n].name == GATHER.name and len(backward.inner(n)) > 1]
    for place in view.places_of(numbers):
        kinds = {(backward.steps[n].shape, tuple(k for k, _ in backward.inner(n))) for n in place.steps}
        if not 2 < len(place.steps) <= _MOST_STATES or len(kinds) > 1:
            continue
        for k, source in backward.inner(place.steps[0])[:_MOST_PARTS]:
            edges = {
                (number, k): _through_other(backward, number, other, k)
                for number, other in zip(place.steps, reversed(place.steps), strict=True)
                if backward.steps[backward.steps[other].inputs[k]].shape == backward.steps[source].shape
            }
            called = {backward.steps[backward.steps[number].inputs[k]].source.caller for number in place.steps}
            of_call = "".join(f" (called in line {at.line})" for at in called if len(called) == 1 and at and at.line)
            what = f"what goes back to {view.turns.name(source, place.source)}{of_call}"
            yield Mutant(f"{place.where}: {what} comes to the turns in reverse order", Change(edges), place)


def _through_other(backward: Backward, number: int, other: int, k: int) -> EdgeRule:
    return lambda bars, up: backward.through(other, k, up if other == number else bars(other))


def _through(backward: Backward, number: int, k: int | None) -> EdgeRule:
    return lambda bars, up: None if k is None else backward.through(number, k, up)


def stacked_in_another_order(view: View) -> Iterator[Mutant]:
    """Yields mutants in which what goes back to the turns of a loop, whose results are put in a row, is misplaced.

    It is in reverse order, as that of a recurrence that runs backwards, or comes to the turn before or after.
    """
    backward = view.backward
    for number in backward.bars:
        inner = backward.inner(number)
        if backward.steps[number].name != GATHER.name or not 2 < len(inner) <= _MOST_STATES:
            continue
        (place,) = list(view.places_of([number]))[-1:]
        rows: dict[object, list[tuple[int, int]]] = {}
        for k, source in inner:
            rows.setdefault((backward.steps[source].source, backward.steps[source].shape), []).append((k, source))
        for row in (row for row in rows.values() if len(row) > 1):
            what = f"what goes back to the turns of {view.turns.name(row[0][1], place.source)}"
            ks = [k for k, _ in sorted(row, key=lambda edge: edge[1])]
            orders: dict[str, list[int | None]] = {
                "comes in reverse order": [*ks[::-1]],
                "comes to the turn after": [None, *ks[:-1]],
                "comes to the turn before": [*ks[1:], None],
            }
            for how, others in orders.items():
                edges: dict[tuple[int, int], EdgeRule] = {
                    (number, k): _through(backward, number, other) for k, other in zip(ks, others, strict=True)
                }
                yield Mutant(f"{place.where}: {what} {how}", Change(edges), place)


def buffers_by_columns(view: View) -> Iterator[Mutant]:
    """Yields mutants in which an array that was filled piece by piece, and flattened, is unflattened in another order.

    Nothing is known of its shape but the number of its entries and the length of its first axis.
    """
    backward = view.backward
    for number in backward.bars:
        step, inner = backward.steps[number], backward.inner(number)
        if step.name != GATHER.name or len(step.shape) != 2 or len(inner) < _MOST_PARTS:
            continue
        if len({backward.steps[source].source for _, source in inner}) > 1:
            continue
        (place,) = list(view.places_of([number]))[-1:]
        seen = {np.arange(math.prod(step.shape)).tobytes()}
        for how, order in islice(_unflattened(step.shape), _MOST_ORDERS):
            if order.tobytes() not in seen:
                seen.add(order.tobytes())
                cause = f"{place.where}: the entries that are flattened here are put back in another order, {how}"
                change = Change({}, {number: _distributed(backward, number, order)})
                yield Mutant(f"{cause}, on the way back", change, place)


def _unflattened(shape: tuple[int, ...]) -> Iterator[tuple[str, Index]]:
    """Yields in words how the rows of a matrix may be taken for arrays of more axes, and where their entries go."""
    flat = np.arange(math.prod(shape)).reshape(shape)
    factored = [(shape[0], *of_row) for of_row in _factored(shape[1])]
    for whole in factored:
        how = "" if sum(length > 1 for length in whole[1:]) > _AXES_OF_MATRIX else "transposed, or "
        yield f"{how}column after column (order='F')", flat.reshape(whole, order="F").reshape(shape)
    for whole in factored:
        for axes in permutations(range(1, len(whole))) if 1 not in whole[1:] else ():
            yield f"transposed to the axes {(0, *axes)}", flat.reshape(whole).transpose(0, *axes).reshape(shape)


def _factored(size: int) -> Iterator[tuple[int, ...]]:
    """Yields the shapes of two or three axes of an array of so many entries."""
    for a in (a for a in range(1, size + 1) if size % a == 0):
        yield a, size // a
        yield from ((a, b, size // a // b) for b in range(2, size // a) if size // a % b == 0)


def _distributed(backward: Backward, number: int, order: Index) -> BlockRule:
    """Makes the rule by which the inputs of a gather get its sensitivities after these were put into another order."""
    step, inner = backward.steps[number], backward.inner(number)

    def rule(bars: Bars, up: Reals) -> Iterator[tuple[int, Reals]]:
        found = gather_back_all(backward.x(number), up.ravel()[order], **step.attributes)
        return ((source, found[k]) for k, source in inner)

    return rule


def flattened_in_another_order(view: View, rows: Rows) -> Iterator[Mutant]:
    """Yields mutants in which the arrays that a flat vector of parameters holds are flattened in another order."""
    backward = view.backward
    of_vector: dict[int, dict[int, Read]] = {}
    for _, found in rows:
        for read in found:
            if view.name_of(read.base) and len(backward.steps[read.base].shape) == 1:
                of_vector.setdefault(read.base, {})[read.top] = read
    for base, tops in of_vector.items():
        shapes: dict[int, tuple[int, ...]] = {}
        for read in tops.values():
            begin, shape = _part(read)
            if shape:
                shapes.setdefault(begin, shape)
        begins = sorted(shapes)
        if any(a + math.prod(shapes[a]) > b for a, b in pairwise(begins)):
            continue
        (place, *_) = view.places_of([min(tops)])
        what = f"{place.where}: the parts of {view.name_of(base)}"
        size = next(iter(tops.values())).size
        for how, goes in _flattened(begins, shapes, size):
            places = {top: goes[read.places] for top, read in tops.items()}
            yield Mutant(f"{what} {how}", put_at(backward, tops.values(), places), place)


def _part(read: Read) -> tuple[int, tuple[int, ...]]:
    """Returns where a part of a flat vector begins, and its shape there; () if a top is no part in one piece."""
    begin = int(read.places.min(initial=read.size))
    whole = np.arange(begin, begin + read.places.size)
    for places in (read.places, read.places.T):  # a matrix is often transposed where it is used
        if (places.ravel() == whole).all():
            return begin, places.shape
    return begin, ()


def _flattened(
    begins: Sequence[int], shapes: Mapping[int, tuple[int, ...]], size: int
) -> Iterator[tuple[str, Index]]:  # fmt: skip
    """Yields in words how parts may be flattened wrongly, and where each entry of the vector then goes."""
    goes = np.arange(size)
    for begin in begins:
        count, shape = math.prod(shapes[begin]), shapes[begin]
        goes[begin : begin + count] = begin + np.arange(count).reshape(shape[::-1]).transpose().ravel()
    yield "are flattened column after column", goes
    for order in _orders(len(begins)) if len(begins) > 1 else ():
        goes, end = np.arange(size), begins[0]
        for k in order:
            count = math.prod(shapes[begins[k]])
            goes[begins[k] : begins[k] + count] = np.arange(end, end + count)
            end += count
        yield f"follow each other in another order ({', '.join(str(k + 1) for k in order)})", goes


def _orders(count: int) -> Iterator[tuple[int, ...]]:
    """Yields orders of the parts of a vector: any of a few; of many the reverse one, and those with two exchanged."""
    if count <= _ANY_ORDER:
        yield from _exchanges(count)
        return
    yield tuple(range(count))[::-1]
    yield (*range(0, count, 2), *range(1, count, 2))  # all weights, then all biases
    for k in range(count - 1):
        yield (*range(k), k + 1, k, *range(k + 2, count))
