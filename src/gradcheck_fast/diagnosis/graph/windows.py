"""Lists mistakes with windows, as of convolutions and pools, and with rows of a table that are read several times.

What goes back from windows is added up where they overlap. It does not matter how they are written: as one array of all
windows, or as many slices, one for each turn of a loop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from gradcheck_fast.diagnosis.graph.mutants import Change, Mutant, merged, nothing
from gradcheck_fast.diagnosis.graph.places import words
from gradcheck_fast.diagnosis.graph.reads import MOVEMENTS, PRODUCTS, Read, back, put_at, put_back, with_other

if TYPE_CHECKING:
    from gradcheck_fast.diagnosis.graph.backward import Backward, EdgeRule, Reals
    from gradcheck_fast.diagnosis.graph.mutants import View
    from gradcheck_fast.diagnosis.graph.places import Place
    from gradcheck_fast.diagnosis.graph.reads import Index

    Rows: TypeAlias = Iterable[tuple[Place, list[Read]]]

#: The steps that choose one of the entries of a window.
_EXTREMES = ("max", "min")


class _Grid(NamedTuple):
    """Windows whose entries have coordinates in their base that are sums: of one vector for each axis.

    Attributes
    ----------
    shape : tuple of int
        The shape of the base.
    origin : ndarray, shape (dimensions of the base,)
    moves : list of ndarray, each of shape (extent of the axis, dimensions of the base)
        How the coordinates move along each axis. The first axis is that of the steps, if the windows are of several.
    """

    shape: tuple[int, ...]
    origin: Index
    moves: list[Index]

    def indices(self) -> Index:
        """Returns the places in the base, by the axes; -1 where they lie outside."""
        count = len(self.moves)
        at = self.origin.reshape(-1, *(1,) * count)
        for axis, moves in enumerate(self.moves):
            at = at + moves.T.reshape(len(self.shape), *(-1 if k == axis else 1 for k in range(count)))
        size = np.array(self.shape).reshape(-1, *(1,) * count)
        inside = ((at >= 0) & (at < size)).all(axis=0)
        return np.where(inside, np.ravel_multi_index(tuple(at), self.shape, mode="clip"), -1)

    def shared(self, axis: int) -> list[int]:
        """Returns the coordinates that both this axis and another one move."""
        return [
            c
            for c in range(len(self.shape))
            if self.moves[axis][:, c].any() and any(m[:, c].any() for k, m in enumerate(self.moves) if k != axis)
        ]

    def moved(self, axis: int, coordinates: Sequence[int], rule: Callable[[Index], Index]) -> _Grid:
        """Returns the windows with other moves along an axis."""
        moves = self.moves[axis].copy()
        for c in coordinates:
            moves[:, c] = rule(moves[:, c])
        return self._replace(moves=[moves if k == axis else m for k, m in enumerate(self.moves)])

    def exchanged(self, a: int, b: int) -> _Grid:
        """Returns the windows with two axes of the same extent exchanged."""
        moves = list(self.moves)
        moves[a], moves[b] = moves[b], moves[a]
        return self._replace(moves=moves)


def by_base(found: Iterable[Read]) -> list[list[Read]]:
    """Returns what is read in groups of the same base."""
    groups: dict[int, list[Read]] = {}
    for read in found:
        groups.setdefault(read.base, []).append(read)
    return list(groups.values())


def overlap(group: Sequence[Read]) -> bool:
    """Whether some entries of the base are read several times."""
    read = np.concatenate([read.places.ravel() for read in group])
    read = read[read >= 0]
    return bool(read.size) and int(np.bincount(read).max()) > 1


# ---- overwritten instead of added


def overwritten(view: View, rows: Rows) -> Iterator[Mutant]:
    """Yields mutants in which what goes back to an entry that is read several times is overwritten: = for +=."""
    backward, seen = view.backward, set()
    for place, found in rows:
        groups = [group for group in by_base(found) if overlap(group) or _is_read_again(view, group)]
        tops = tuple(read.top for group in groups for read in group)
        if not tops or tops in seen:  # what overlaps in one base does so in those below
            continue
        seen.add(tops)
        name = view.name_of(groups[0][0].base)
        what = f"rows of {name} that are used several times" if name else "entries that lie in several windows"
        if name and not _are_rows(backward, groups):
            what = f"{name}, which is used several times,"
        several = any(len(backward.readers.get(read.top, ())) > 1 for group in groups for read in group)
        for which, step in (("last", 1), ("first", -1)):
            # windows overlap in an order that depends on how the loops are nested
            counts = f"only the {which} counts" if name else "only one of the windows counts"
            cause = f"{place.where}: what goes back to {what} is overwritten instead of added, {counts}"
            yield Mutant(cause, merged(_winners(backward, group, step) for group in groups), place)
            if several:
                changes = [_winning_turns(backward, group, step) for group in groups]
                yield Mutant(cause, merged(changes), place)
            one_filter = _of_one_filter(backward, groups, step)
            if one_filter is not None and _sends_something(backward, one_filter):
                changes = [one_filter, *(_winners(backward, group, step) for group in groups)]
                yield Mutant(f"{cause}, of the {which} filter alone", merged(changes), place)
            if len(tops) > len(groups):
                cause += " of those that are read at once"
                yield Mutant(cause, merged(_winners(backward, [r], step) for group in groups for r in group), place)


def overwritten_by_outer_turns(view: View, rows: Rows) -> Iterator[Mutant]:
    """Yields mutants in which an array of parameters gets only what the last turn of an outer loop gives: = for +=."""
    readers = view.backward.readers
    reading: dict[tuple[int, ...], str] = {
        tuple(read.top for read in found): view.name_of(found[0].base) for _, found in rows
    }
    of_line: dict[object, list[tuple[str, Change, Place]]] = {}
    reading |= {(number,): view.name_of(number) for number in view.backward.parameters}
    for read, name in reading.items():
        edges = [
            [(n, k) for n, k in sorted(readers.get(top, ())) if view.backward.steps[n].name not in MOVEMENTS]
            for top in read
        ]
        counts = {len(of_top) for of_top in edges}
        if not name or len(counts) > 1:
            continue
        (count,) = counts
        for turns in (n for n in range(2, count + 1) if count % n == 0):
            if not all(_is_repeated(view.backward, of_top, count // turns) for of_top in edges):
                continue
            lost = [edge for of_top in edges for edge in of_top[: count - count // turns]]
            (place, *_) = view.places_of([edges[0][-1][0]])
            loop = "an outer loop" if turns < count else "the loops"
            cause = f"what goes back to {name} is overwritten by each of {turns} turns of {loop}"
            changes = Change(dict.fromkeys(lost, nothing))
            yield Mutant(f"{place.where}: {cause}, only the last counts", changes, place)
            if turns == count:
                of_line.setdefault((place.source[1:4], len(edges)), []).append((name, changes, place))
    for some in (some for some in of_line.values() if len(some) > 1):
        names, changes_of_each, (place, *_) = zip(*some, strict=True)
        anywhere = place._replace(where=words(place.source, of_caller=False), caller=None)
        cause = f"what goes back to {' and to '.join(names)} is overwritten by each turn of the loops"
        yield Mutant(f"{anywhere.where}: {cause}, only the last counts", merged(changes_of_each), anywhere)


def _is_repeated(backward: Backward, edges: Sequence[tuple[int, int]], period: int) -> bool:
    """Whether the same instructions read something again and again, so many in each turn."""
    sources = [backward.steps[number].source for number, _ in edges]
    return sources == sources[:period] * (len(edges) // period)


def _are_rows(backward: Backward, groups: Sequence[Sequence[Read]]) -> bool:
    """Whether rows of matrices are read, or other parts of arrays, not whole arrays."""
    reads = (read for group in groups for read in group)
    return all(len(backward.steps[read.base].shape) > 1 and read.places.size != read.size for read in reads)


def _is_read_again(view: View, group: Sequence[Read]) -> bool:
    """Whether rows of an array of parameters are read by the same instruction in several turns of a loop."""
    readers = view.backward.readers
    return bool(view.name_of(group[0].base)) and any(
        len(edges) > len({view.backward.steps[reader].source for reader, _ in edges})
        for edges in (readers.get(read.top, ()) for read in group)
    )


def _winners(backward: Backward, group: Sequence[Read], step: int) -> Change:
    """Makes the change in which only the last window (if `step` is 1) or the first (-1) with an entry counts for it."""
    numbers = np.arange(sum(read.places.size for read in group))
    masks = _last([read.places for read in group], numbers, step)
    kept = {read.top: mask for read, mask in zip(group, masks, strict=True)}
    like = backward.values[group[0].base]
    return back(backward, group, lambda read, up: put_back(read.places, up * kept[read.top], like))


def _of_one_filter(backward: Backward, groups: Sequence[Sequence[Read]], step: int) -> Change | None:
    """Makes the change in which only the last filter (if `step` is 1), or the first, sends anything back to windows.

    So it is if the innermost loop on the way back, which overwrites what is there, runs over filters. None is returned
    if windows are not multiplied by several filters at once.
    """
    edges: dict[tuple[int, int], EdgeRule] = {}
    for reader, k in (edge for group in groups for read in group for edge in backward.readers.get(read.top, ())):
        axes = _filter_axes(backward, reader, k)
        if not axes:
            return None
        edges[reader, k] = _masked(backward, reader, k, axes, -1 if step == 1 else 0)
    return Change(edges) if edges else None


def _sends_something(backward: Backward, change: Change) -> bool:
    """Whether anything goes back along one of the edges of a change; otherwise it is left out, not overwritten."""
    rights = backward.bars_with({})
    return any(np.any(rule(rights, backward.bars[reader])) for (reader, _), rule in change.edges.items())


def _filter_axes(backward: Backward, number: int, k: int) -> list[int]:
    """Returns the axes of a product along which its input k is used again and again."""
    step, x = backward.steps[number], backward.x(number)
    if step.name == "matmul" and min(np.ndim(x[0]), np.ndim(x[1])) > 1:
        return [len(step.shape) - 1 - k]
    if step.name == "multiply":
        shape = (1,) * (len(step.shape) - np.ndim(x[k])) + np.shape(x[k])
        return [axis for axis, length in enumerate(step.shape) if length > shape[axis]]
    return []


def _masked(backward: Backward, number: int, k: int, axes: Sequence[int], at: int) -> EdgeRule:
    mask = np.zeros(backward.steps[number].shape)
    mask[tuple(at if axis in axes else slice(None) for axis in range(mask.ndim))] = 1.0
    return lambda bars, up: backward.through(number, k, up * mask)


def _winning_turns(backward: Backward, group: Sequence[Read], step: int) -> Change:
    """The same if each window is read several times: only what is read in the last or first turn of a loop counts."""
    edges = sorted((reader, k, read) for read in group for reader, k in backward.readers.get(read.top, ()))
    turns, seen = [0], set[object]()
    for reader, k, _ in edges:
        instruction = (backward.steps[reader].source, backward.steps[reader].name, k)
        if instruction in seen:  # the loop has come to the same instruction again
            turns.append(turns[-1] + 1)
            seen.clear()
        else:
            turns.append(turns[-1])
        seen.add(instruction)
    numbers = np.repeat(turns[1:], [read.places.size for _, _, read in edges])
    masks = _last([read.places for _, _, read in edges], numbers, step)

    def masked(reader: int, k: int, mask: Reals) -> EdgeRule:
        return lambda bars, up: backward.through(reader, k, up) * mask

    return Change({(reader, k): masked(reader, k, mask) for (reader, k, _), mask in zip(edges, masks, strict=True)})


def _last(indices: Sequence[Index], numbers: Index, step: int) -> list[Reals]:
    """Returns for each array of places 1 where an entry has the last number of all with its place, and 0 elsewhere.

    The numbers ascend. If `step` is -1, the first stands in place of the last.
    """
    places = np.concatenate([index.ravel() for index in indices])
    owner = np.full(int(places.max(initial=0)) + 2, -1)
    owner[places[::step]] = numbers[::step]  # of several with one place the last stays
    is_last = (owner[places] == numbers).astype(np.float64)
    ends = np.cumsum([index.size for index in indices])[:-1]
    return [part.reshape(index.shape) for part, index in zip(np.split(is_last, ends), indices, strict=True)]


# ---- put back at the wrong place


def misplaced(view: View, rows: Rows) -> Iterator[Mutant]:
    """Yields mutants in which strides are forgotten, or windows are turned, on the way back or in a kernel's gradient.

    Each stands for what goes back to the array that the windows are cut from, for the gradient of what the windows are
    multiplied by, and for both.
    """
    backward, seen = view.backward, set()
    for place, found in rows:
        data = (group for group in by_base(found) if not view.name_of(group[0].base))
        groups = [(group, grid) for group in data if (grid := _grid(backward, group)) is not None]
        tops = tuple(read.top for group, _ in groups for read in group)
        if tops in seen:
            continue
        seen.add(tops)
        for how, wrong in _wrong_grids(backward, groups):
            indices = {
                read.top: index
                for (group, _), grid in zip(groups, wrong, strict=True)
                for read, index in zip(group, _per_step(grid.indices(), group), strict=True)
            }
            going_back = put_at(backward, (read for group, _ in groups for read in group), indices)
            of_kernel = _read_elsewhere(backward, [read for group, _ in groups for read in group], indices)
            yield Mutant(f"{place.where}: {how} on the way back", going_back, place)
            if of_kernel.edges:
                yield Mutant(f"{place.where}: {how} in the gradient of what it is multiplied by", of_kernel, place)
                yield Mutant(f"{place.where}: {how} in all that goes back", merged([going_back, of_kernel]), place)


def _grid(backward: Backward, group: Sequence[Read]) -> _Grid | None:
    """Returns windows as sums of coordinates; None if they are none, or if they do not overlap or lie apart."""
    shape = backward.steps[group[0].base].shape
    if len({read.places.shape for read in group}) > 1:
        return None
    stack = np.stack([read.places for read in group])
    if stack.min(initial=0) < 0 or stack.size < 2 or not shape:
        return None
    at = np.array(np.unravel_index(stack, shape))
    origin = at.reshape(len(shape), -1)[:, 0]
    moves = []
    for axis in range(stack.ndim):
        line: tuple[Any, ...] = (slice(None), *(slice(None) if k == axis else 0 for k in range(stack.ndim)))
        moves.append((at[line] - origin[:, np.newaxis]).T)
    grid = _Grid(shape, origin, moves)
    if not any(grid.shared(axis) for axis in range(len(moves))) or not (grid.indices() == stack).all():
        return None
    return grid


def _wrong_grids(backward: Backward, groups: Sequence[tuple[list[Read], _Grid]]) -> Iterator[tuple[str, list[_Grid]]]:
    """Yields in words what may be wrong with the places of windows, and these places."""
    if not groups or len({len(grid.moves) for _, grid in groups}) > 1:
        return
    group, first = groups[0]
    kernel, is_multiplied = _kernel_axes(backward, group[0], first)
    flipped = " (the kernel is flipped)" * is_multiplied
    strided = [axis for axis in range(len(first.moves)) if _step(first, axis) > 1]
    for what, axes in (
        ("dilation", [axis for axis in strided if axis in kernel]),
        ("stride", [axis for axis in strided if axis not in kernel]),
    ):
        for some in _all_and_each(axes):
            size = _step(first, some[0])
            yield f"the {what} {size} is forgotten", [_changed(grid, some, _closer) for _, grid in groups]
    for some in _all_and_each([axis for axis in kernel if first.shared(axis)]):
        turned = [_changed(grid, some, lambda c: c.max() + c.min() - c) for _, grid in groups]
        yield f"the entries of each window are in reverse order{flipped}", turned
    for a, b in combinations(kernel, 2):
        if len(first.moves[a]) == len(first.moves[b]) > 1:
            chosen = "" if is_multiplied else ", those of the entry that is chosen"
            yield f"two axes of each window are exchanged{chosen},", [grid.exchanged(a, b) for _, grid in groups]


def _all_and_each(axes: list[int]) -> list[list[int]]:
    return [axes, *([axis] for axis in axes if len(axes) > 1)] if axes else []


def _changed(grid: _Grid, axes: Sequence[int], rule: Callable[[Index], Index]) -> _Grid:
    for axis in axes:
        grid = grid.moved(axis, grid.shared(axis), rule)
    return grid


def _step(grid: _Grid, axis: int) -> int:
    """Returns how far the windows, or their entries, lie apart along an axis; 1 if other axes do not move that way."""
    return max((int(np.gcd.reduce(grid.moves[axis][:, c])) for c in grid.shared(axis)), default=1)


def _closer(c: Index) -> Index:
    return c // max(1, int(np.gcd.reduce(c)))


def _kernel_axes(backward: Backward, read: Read, grid: _Grid) -> tuple[list[int], bool]:
    """Returns the axes along which the entries of one window lie, [] if not known, and whether they are multiplied.

    They are the axes that a product sums over, or that a maximum is taken over.
    """
    for reader, k in backward.readers.get(read.top, ()):
        step, ndim = backward.steps[reader], read.places.ndim
        summed: set[int] = set()
        if step.name == "matmul":
            summed = {ndim - 1 if k == 0 or ndim == 1 else ndim - 2}
        elif step.name == "multiply" and len(step.shape) == ndim:
            for above, _ in backward.readers.get(reader, ()):
                if backward.steps[above].name == "sum":
                    summed |= set(backward.steps[above].attributes["axis"])
        elif step.name in _EXTREMES:
            return [axis + 1 for axis in sorted(step.attributes["axis"]) if grid.shared(axis + 1)], False
        if summed:
            axes = [axis + 1 for axis in sorted(summed) if grid.shared(axis + 1)]
            return axes or [0] * bool(grid.shared(0)), True
    return [], False


def _per_step(stack: Index, group: Sequence[Read]) -> list[Index]:
    return [stack[number] for number in range(len(group))]


def _read_elsewhere(backward: Backward, found: Sequence[Read], indices: dict[int, Index]) -> Change:
    """Makes the change of what goes back to the other factors of products, if other entries are read for it."""
    edges: dict[tuple[int, int], EdgeRule] = {}
    for read in found:
        base = np.append(backward.values[read.base].ravel(), 0.0)  # an index of -1 reads the 0
        for reader, k in backward.readers.get(read.top, ()):
            if backward.steps[reader].name in PRODUCTS and (1 - k) in dict(backward.inner(reader)):
                edges[reader, 1 - k] = with_other(backward, reader, 1 - k, base[indices[read.top]])
    return Change(edges)


__all__ = ["misplaced", "overwritten", "overwritten_by_outer_turns"]
