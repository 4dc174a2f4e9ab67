"""Lists mistakes with steps that only move numbers: transposes, reshapes, slices, padding."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations, islice, permutations, product
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np

from gradcheck_fast.diagnosis.graph import embeddings, kernels, parts, windows
from gradcheck_fast.diagnosis.graph.mutants import Change, Mutant
from gradcheck_fast.diagnosis.graph.reads import Read, put_at, put_back, rows_of_reads, with_other

if TYPE_CHECKING:
    from gradcheck_fast.diagnosis.graph.backward import Backward, EdgeRule
    from gradcheck_fast.diagnosis.graph.mutants import Family, View
    from gradcheck_fast.diagnosis.graph.places import Place
    from gradcheck_fast.diagnosis.graph.reads import Index

    Rows: TypeAlias = Iterable[tuple[Place, list[Read]]]

#: Arrays of at most so many axes are put into every order of axes, those of more only into some.
_ALL_ORDERS = 3
#: The border of padding is cut off at so many wrong places, at most.
_MOST_CUTS = 64


def moved(view: View) -> Iterator[Mutant]:
    """Yields mutants in which numbers are put back at the wrong places."""
    rows = list(rows_of_reads(view))
    yield from windows.overwritten(view, rows)
    yield from kernels.wrong_kernels(view, rows)
    yield from windows.misplaced(view, rows)
    yield from border_kept(view, rows)
    yield from parts.exchanged_parts(view)
    yield from parts.exchanged_factors(view)
    yield from parts.stacked_in_another_order(view)
    yield from parts.reversed_turns(view)
    yield from parts.buffers_by_columns(view)
    yield from embeddings.wrong_rows(view, rows)
    yield from parts.exchanged_slices(view, rows)
    yield from parts.flattened_in_another_order(view, rows)
    yield from other_orders(view, rows)
    yield from windows.overwritten_by_outer_turns(view, rows)
    yield from shifted_slices(view, rows)


# ---- transposes and reshapes


def other_orders(view: View, rows: Rows) -> Iterator[Mutant]:
    """Yields mutants in which a transposition or a reshape is undone in another order of the axes.

    Each stands for what goes back, and for the gradient of a matrix alone whose product is moved, or that is multiplied
    by what is moved: rows that are flattened as (position, batch) are not those that are flattened as (batch,
    position).
    """
    backward = view.backward
    for place, found in rows:
        if not all(read.is_moved for read in found):
            continue
        of_base = f"the entries of {view.turns.name(found[0].base, place.source)} are"
        orders = [_orders(read, backward.values[read.base].shape) for read in found]
        for how in orders[0]:
            if not all(how in of for of in orders):
                continue
            index = {read.top: of[how] for read, of in zip(found, orders, strict=True)}
            cause = f"{place.where}: {of_base} {how}"
            yield Mutant(f"{cause} on the way back", put_at(backward, found, index), place)
            for what, edges in _of_products(view, found, index, place):
                yield Mutant(f"{cause} in the gradient of {what}", Change(edges), place)


def _orders(read: Read, base: tuple[int, ...]) -> dict[str, Index]:
    """Returns other maps from the entries of a top to those of its base, by what is wrong in words."""
    top, size = read.places.shape, read.places.size
    flat = np.arange(size)
    found: dict[str, Index] = {}
    known = {read.places.tobytes()}

    def add(how: str, index: Index) -> None:
        if index.tobytes() not in known:
            known.add(index.tobytes())
            found[how] = index

    add("not put back in order, only reshaped,", flat.reshape(top))
    columns = flat.reshape(base).ravel(order="F").reshape(top, order="F")
    add("put back in another order, column after column (order='F'),", np.ascontiguousarray(columns))
    for order in _orders_of(top, _order_in_base(read)):
        index = flat.reshape([top[axis] for axis in order]).transpose(np.argsort(order))
        add(
            f"put back in another order, with the axes transposed to {order} before a reshape,",
            np.ascontiguousarray(index),
        )
    for order in _orders_of(base, range(len(base))):
        index = flat.reshape(base).transpose(order)
        how = f"put back in another order, reshaped to the axes {order},"
        add(how, np.ascontiguousarray(index.reshape(top)))
        add(how.replace("reshaped", "transposed"), np.argsort(index, axis=None).reshape(top))
    return found


def _orders_of(shape: tuple[int, ...], right: Sequence[int]) -> list[tuple[int, ...]]:
    """Returns orders of axes that may be taken for the right one; of many axes only those that are near to it."""
    count = len(shape)
    if count <= _ALL_ORDERS:
        return list(permutations(range(count)))
    rest = tuple(range(1, count))
    found = [tuple(map(int, np.argsort(right))), tuple(range(count))[::-1]]
    found += [(0, *rest[1:], 1), (0, count - 1, *rest[:-1])]  # channels first, or last
    for a, b in combinations(range(count), 2):
        order = list(right)
        order[a], order[b] = order[b], order[a]
        found.append(tuple(order))
    return found


def _order_in_base(read: Read) -> tuple[int, ...]:
    """Returns the axes of a top in the order in which they lie in its base: those that move furthest first."""
    places, moves = read.places, []
    for axis in range(places.ndim):
        line = places[tuple(slice(None) if k == axis else 0 for k in range(places.ndim))]
        moves.append(abs(int(line[-1] - line[0])) / max(line.size - 1, 1))
    return tuple(sorted(range(places.ndim), key=lambda axis: -moves[axis]))


def _of_products(
    view: View, found: Sequence[Read], index: dict[int, Index], place: Place
) -> Iterator[tuple[str, dict[tuple[int, int], EdgeRule]]]:
    """Yields in words parameters whose gradients may be built from rows in another order, and what goes to them."""
    backward = view.backward
    after: dict[tuple[int, int], EdgeRule] = {}
    before: dict[tuple[int, int], EdgeRule] = {}
    for read in found:
        wrong = index[read.top]
        for number in _products_of(backward, read.base):
            for k, _ in backward.inner(number):
                after[number, k] = _reordered(backward, number, k, read, wrong)
        for reader, k in backward.readers.get(read.top, ()):
            if backward.steps[reader].name == "matmul" and (1 - k) in dict(backward.inner(reader)):
                other = backward.values[read.base].ravel()[wrong]
                before[reader, 1 - k] = with_other(backward, reader, 1 - k, other)
    for edges in (after, before):
        for k in (0, 1):
            inputs = {edge: backward.steps[edge[0]].inputs[k] for edge in edges if edge[1] == k}
            of_input = {edge: edges[edge] for edge, source in inputs.items() if source in view.turns.arrays}
            if of_input:
                factors = {view.turns.name(inputs[edge], place.source) for edge in of_input}
                yield " and ".join(sorted(factors)), of_input


def _products_of(backward: Backward, base: int) -> Iterator[int]:
    """Yields the matrix product that a step is, or to which it adds something of no larger shape."""
    for number in (base, *(source for _, source in backward.inner(base) if backward.steps[base].name == "add")):
        if backward.steps[number].name == "matmul" and backward.steps[number].shape == backward.steps[base].shape:
            yield number


def _reordered(backward: Backward, number: int, k: int, read: Read, wrong: Index) -> EdgeRule:
    like = backward.values[number]
    return lambda bars, up: backward.through(number, k, put_back(wrong, up.ravel()[read.places], like))


# ---- slices


def shifted_slices(view: View, rows: Rows) -> Iterator[Mutant]:
    """Yields mutants in which what goes back to a slice is put at another place, such as one further on."""
    backward = view.backward
    for place, found in rows:
        shapes = [backward.steps[read.base].shape for read in found]
        if len({len(shape) for shape in shapes}) > 1 or any(read.places.min(initial=0) < 0 for read in found):
            continue
        for axis in range(len(shapes[0])):
            if not any(_can_shift(read, shape, axis) for read, shape in zip(found, shapes, strict=True)):
                continue
            for by in (1, -1):
                index = {
                    read.top: _shifted(read.places, shape, axis, by) for read, shape in zip(found, shapes, strict=True)
                }
                if all((index[read.top] < 0).all() for read in found):
                    continue  # it is lost, not put elsewhere
                cause = f"{place.where}: what goes back is put {'after' if by > 0 else 'before'} its place"
                yield Mutant(f"{cause}, by one along axis {axis}", put_at(backward, found, index), place)


def _can_shift(read: Read, shape: tuple[int, ...], axis: int) -> bool:
    """Whether a top has not all places of its base along an axis."""
    if not read.places.size or read.places.size == math.prod(shape):
        return False
    return bool(np.count_nonzero(np.bincount(np.unravel_index(read.places, shape)[axis].ravel())) < shape[axis])


def _shifted(index: Index, shape: tuple[int, ...], axis: int, by: int) -> Index:
    """Returns the places further on along an axis; -1 where they lie outside."""
    at = list(np.unravel_index(index, shape))
    at[axis] = at[axis] + by
    inside = (at[axis] >= 0) & (at[axis] < shape[axis])
    return np.where(inside, np.ravel_multi_index(at, shape, mode="clip"), -1)


# ---- padding


def border_kept(view: View, rows: Rows) -> Iterator[Mutant]:
    """Yields mutants in which the border of padding is cut off at the wrong end, or what goes back from it is lost."""
    backward = view.backward
    for place, found in (*rows, *_padded_in_all_calls(view, rows)):
        boxes = [_box(read, backward.steps[read.base].shape) for read in found]
        if not found or any(box is None for box in boxes):
            continue
        is_stack = any(_has_data_beside(backward, read) for read in found)
        cuts = [_cuts(read, box, is_stack) for read, box in zip(found, boxes, strict=True) if box]
        for move, (how, _) in cuts[0].items():
            kept = {read.top: of[move][1] for read, of in zip(found, cuts, strict=True) if move in of}
            change = put_at(backward, [read for read in found if read.top in kept], kept)
            yield Mutant(f"{place.where}: {how} on the way back", change, place)


def _padded_in_all_calls(view: View, rows: Rows) -> Iterator[tuple[Place, list[Read]]]:
    """Yields what one line pads, in whatever lines it was computed that its function is called with."""
    steps, by_line = view.backward.steps, dict[object, dict[int, Read]]()
    for _, found in rows:
        for read in (read for read in found if read.top == read.first):
            by_line.setdefault(steps[read.top].source[1:4], {}).setdefault(read.top, read)
    for tops in by_line.values():
        if len({steps[read.base].source[1:3] for read in tops.values()}) > 1:
            yield view.by_step.place(tuple(sorted(tops))), [tops[top] for top in sorted(tops)]


def _has_data_beside(backward: Backward, read: Read) -> bool:
    """Whether there are different numbers beside what a top reads, as in a concatenation, not those of a border."""
    beside = backward.values[read.top][read.places < 0]
    return beside.size > 0 and bool((beside != beside[0]).any())


class _Box(NamedTuple):
    """Where all entries of a base lie together inside of a padded top.

    Attributes
    ----------
    corner : tuple of int
        Where they begin.
    shape : tuple of int
        The shape of the base.
    """

    corner: tuple[int, ...]
    shape: tuple[int, ...]

    def places(self, top: tuple[int, ...]) -> Index:
        """Returns the places in the base of the entries of a top; -1 outside of the box."""
        found = np.full(top, -1)
        found[tuple(slice(at, at + n) for at, n in zip(*self, strict=True))] = np.arange(math.prod(self.shape)).reshape(
            self.shape
        )
        return found


def _box(read: Read, base: tuple[int, ...]) -> _Box | None:
    """Returns where the base lies inside of a top that has all of it, and more around it; None if it does not."""
    top = read.places.shape
    if len(top) != len(base) or any(t < b for t, b in zip(top, base, strict=True)) or top == base or 0 in base:
        return None
    for corner in np.argwhere(read.places == 0):
        box = _Box(tuple(map(int, corner)), base)
        if all(at + n <= t for at, n, t in zip(corner, base, top, strict=True)):
            places = box.places(top)
            if (read.places == places)[places >= 0].all():
                return box
    return None


def _cuts(read: Read, box: _Box, is_stack: bool) -> dict[tuple[int, ...], tuple[str, Index]]:
    """Returns what may be taken for the part of a top that goes back to its base: in words, and as places.

    The keys say how far it lies from the right one; that which lies there has not all that belongs to it.
    """
    found: dict[tuple[int, ...], tuple[str, Index]] = {}
    top = read.places.shape
    if (read.places >= 0).sum() > math.prod(box.shape):
        how = "what goes back from the border of the padding is not added"
        found[(0,) * len(top)] = how, box.places(top)
    room = [t - n for t, n in zip(top, box.shape, strict=True)]
    ways = [
        [at, *(where for where in dict.fromkeys((0, most, at - 1, at + 1)) if where != at and 0 <= where <= most)]
        for at, most in zip(box.corner, room, strict=True)
    ]
    for corner in islice(product(*map(reversed, ways)), _MOST_CUTS):
        if corner != box.corner:
            where, right = (
                ", ".join(f"{at}:{at + n}" for at, n in zip(begin, box.shape, strict=True))
                for begin in (corner, box.corner)
            )
            how = f"the border of the padding is cut off at the wrong place ([{where}] is taken, not [{right}])"
            if is_stack:
                how = f"the wrong part of the concatenation is taken ([{where}], not [{right}])"
            move = tuple(at - own for at, own in zip(corner, box.corner, strict=True))
            found[move] = how, box._replace(corner=corner).places(top)
    return found


FAMILIES: tuple[Family, ...] = (moved,)

__all__ = ["FAMILIES", "moved"]
