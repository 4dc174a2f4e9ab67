"""Lists mistakes with what is summed in the gradient of an array: turns of a loop, or samples, that do not count.

The gradient of an array is a sum of parts: one for each turn of a loop in which it is used, or for each sample. If the
wrong gradient is a sum of the same parts with other weights, the weights are found by least squares, from many more
entries than there are weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from gradcheck_fast.diagnosis.graph.backward import Change
from gradcheck_fast.diagnosis.graph.mutants import Mutant
from gradcheck_fast.program.steps.reduction import SUM

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck_fast.diagnosis.graph.backward import Backward, EdgeRule, Reals
    from gradcheck_fast.diagnosis.graph.mutants import Family, View
    from gradcheck_fast.diagnosis.graph.places import Place

#: Weights are looked for if there are at most so many.
_MOST_PARTS = 64
#: There must be so many entries more than weights; and for weights that are not 0 and 1, so many for each.
_MORE_ENTRIES, _ENTRIES_PER_WEIGHT = 4, 2
#: At most so many entries are used for each weight: a random choice of them.
_ENTRIES_FITTED = 8
#: At most so many numbers are computed to find the parts of one array.
_MOST_NUMBERS = 1e7
#: The weights must explain the entries to this part, and are 0 or 1 if they are as near to these.
_FITS = 1e-6
#: Weights that differ by less than this part are one factor, and a small mistake elsewhere.
_ONE_FACTOR = 1e-3
#: So many parts that do not count are listed.
_LISTED = 6


class Sum(NamedTuple):
    """The gradient of an array as a sum of parts, which may have other weights in the wrong one.

    Attributes
    ----------
    name : str
        The array.
    place : Place
        Where it is used.
    what : str
        What the parts are: "turns of the loop", or "samples or positions (rows)".
    parts : ndarray of shape (number of parts, entries)
    error : ndarray of shape (entries,)
        The wrong gradient minus the right one.
    change : callable
        Makes the change by which the parts have some weights.
    is_short : bool
        Whether the middle one of three parts stands for all parts but the first and the last.
    """

    name: str
    place: Place
    what: str
    parts: Reals
    error: Reals
    change: Callable[[Reals], Change]
    is_short: bool = False


def some_turns(view: View) -> Iterator[Mutant]:
    """Yields mutants in which some turns of a loop do not count in the gradients of arrays, such as = for +=."""
    yield from _weighted_parts(view, list(_of_turns(view)))


def some_samples(view: View) -> Iterator[Mutant]:
    """Yields mutants in which some samples do not count in the gradients of arrays."""
    yield from _weighted_parts(view, list(_of_samples(view)))


def some_costs(view: View) -> Iterator[Mutant]:
    """Yields mutants in which the first or the last sample does not count in the cost, or is the only one that does."""
    backward, turns = view.backward, view.turns
    for place in view.places:
        if backward.steps[place.steps[0]].name != SUM.name or any(turns.shape(number) for number in place.steps):
            continue
        shapes = {turns.shape(backward.steps[number].inputs[0]) for number in place.steps}
        for axis, length in enumerate(shapes.pop() if len(shapes) == 1 else ()):
            order = np.arange(length)
            for kept in (order == order[-1], order == 0, order > 0, order < order[-1]) if length > 1 else ():
                weights = kept.astype(float)
                change = Change({(number, 0): _along_axis(backward, number, axis, weights) for number in place.steps})
                if view.can_explain(change):
                    what = _names((axis,), len(turns.shape(backward.steps[place.steps[0]].inputs[0])))
                    cause = counts(weights, f"samples or positions ({what}) that are summed")
                    yield Mutant(f"{place.where}: {cause}", change, place)


def _along_axis(backward: Backward, number: int, axis: int, weights: Reals) -> EdgeRule:
    along = _along(np.shape(backward.x(number)[0]), (axis,), weights)
    return lambda bars, up: backward.through(number, 0, up) * along


def _weighted_parts(view: View, sums: Sequence[Sum]) -> Iterator[Mutant]:
    """Yields one mutant for all arrays whose parts have the same weights."""
    groups: list[tuple[list[Sum], Reals]] = []
    for found in sums:
        own = fitted(found)
        if own is None:
            continue
        for row, (group, weights) in enumerate(groups):
            if _are_alike(group[0], found) and _agree(weights, own):
                group.append(found)
                groups[row] = group, np.where(np.isnan(weights), own, weights)
                break
        else:
            groups.append(([found], own))
    for group, weights in groups:  # arrays of too few entries for a fit
        names = {found.name for found in group}
        known = _known(weights)
        group += [
            found
            for found in sums
            if found.name not in names and _are_alike(group[0], found) and _explains(known, found)
        ]
    bars = view.backward.bars
    numbered = zip(view.backward.parameters, view.names, strict=True)
    every = {name for number, name in numbered if number in bars and np.any(bars[number])}
    for group, weights in sorted(groups, key=lambda item: -len({found.name for found in item[0]})):
        arrays = list(dict.fromkeys(found.name for found in group))
        is_simple = set(weights[~np.isnan(weights)].tolist()) <= {0.0, 1.0}
        if not is_simple and not every <= set(arrays):
            continue  # a mistake further up, as in a normalisation, may be like other weights for the arrays below
        edges = {edge: rule for found in group for edge, rule in found.change(_known(weights)).edges.items()}
        place = group[0].place
        cause = f"in the gradient of {', '.join(arrays)}, {counts(weights, group[0].what)}"
        yield Mutant(f"{place.where}: {cause}", Change(edges), place)


def _are_alike(one: Sum, two: Sum) -> bool:
    return one.what == two.what and len(one.parts) == len(two.parts) and one.is_short == two.is_short


def _known(weights: Reals) -> Reals:
    return np.where(np.isnan(weights), 1.0, weights)


def _agree(one: Reals, two: Reals) -> bool:
    """Whether the weights are the same where both are known."""
    off = np.abs(one - two)
    return bool(np.all(np.isnan(off) | (off <= _FITS)))


def counts(known: Reals, what: str) -> str:
    """Says which of some parts count; parts that are zero, whose weights are NaN, go with the others."""
    weights = np.where(np.isnan(known), float(np.nansum(known) > 1.0), known)
    n, kept = len(weights), np.flatnonzero(weights)
    of = f"of the {n} {what}"
    if not set(weights.tolist()) <= {0.0, 1.0}:
        listed = ", ".join(f"{weight:.4g}" for weight in weights[:_LISTED]) + ", …" * (n > _LISTED)
        return f"{of}, each counts with another weight: {listed}"
    if len(kept) == 1:
        which = {0: "the first", n - 1: "the last"}.get(int(kept[0]), f"number {kept[0]}")
        return f"{of}, only {which} counts: the others are left out (= for +=)"
    missing = np.flatnonzero(weights == 0.0)
    if missing.tolist() in ([0], [n - 1]):
        return f"{of}, the {'last' if missing[0] else 'first'} does not count: it is left out"
    listed = ", ".join(map(str, missing[:_LISTED])) + ", …" * (len(missing) > _LISTED)
    return f"{of}, counted from 0, {listed} {'do' if len(missing) > 1 else 'does'} not count: left out"


# ---- turns


def _of_turns(view: View) -> Iterator[Sum]:
    backward, turns = view.backward, view.turns
    for number, name in zip(backward.parameters, view.names, strict=True):
        if name not in view.wrong or number not in backward.bars:
            continue
        parts = list(_parts(view, number))
        length = max((len(_place(view, reader).steps) for (reader, _), _ in parts), default=0)
        if not 1 < length <= _MOST_PARTS:
            continue
        # a place that was first reached by a parameter in the second turn makes one step less than others
        at = {
            edge: turns.turn(edge[0]) + length - len(_place(view, edge[0]).steps)
            for edge, _ in parts
            if len(_place(view, edge[0]).steps) >= max(2, length - 1)
        }
        each = np.zeros((length, *np.shape(backward.values[number])))
        for edge, part in parts:
            if edge in at:
                each[at[edge]] += part
        last = max(at, key=lambda edge: edge[0])
        error = np.ravel(view.analytic[name] - backward.bars[number])
        change = partial(_of_turn, backward, at)
        yield Sum(name, _place(view, last[0]), "turns of the loop", each.reshape(length, -1), error, change)


def _of_turn(backward: Backward, at: Mapping[tuple[int, int], int], weights: Reals) -> Change:
    return Change({edge: _scaled(backward, *edge, weights[turn]) for edge, turn in at.items()})


def _place(view: View, number: int) -> Place:
    place = view.turns.place(number)
    assert place is not None
    return place


def _parts(view: View, number: int) -> Iterator[tuple[tuple[int, int], Reals]]:
    """Yields what each use of an array adds to its gradient, with the edge of the use; views of it are no uses."""
    backward = view.backward
    for reader, k in backward.readers.get(number, ()):
        if reader in view.turns.arrays:
            yield from ((edge, backward.through(reader, k, part)) for edge, part in _parts(view, reader))
        else:
            yield (reader, k), backward.flow(reader, k)


def _edges(view: View, number: int) -> Iterator[tuple[int, int]]:
    """Yields the edges of the uses of an array; views of it are no uses."""
    for reader, k in view.backward.readers.get(number, ()):
        yield from _edges(view, reader) if reader in view.turns.arrays else [(reader, k)]


def _scaled(backward: Backward, number: int, k: int, factor: float) -> EdgeRule:
    return lambda bars, up: backward.through(number, k, up) * factor


# ---- samples


def _of_samples(view: View) -> Iterator[Sum]:
    backward, turns = view.backward, view.turns
    for number, name in zip(backward.parameters, view.names, strict=True):
        if name not in view.wrong or number not in backward.bars:
            continue
        by_place: dict[Place, list[tuple[int, int]]] = {}
        for reader, k in _edges(view, number):
            by_place.setdefault(_place(view, reader), []).append((reader, k))
        for place, edges in by_place.items():
            shape = turns.shape(edges[0][0])
            if any(turns.shape(reader) != shape for reader, _ in edges):
                continue
            size = math.prod(shape) + np.size(backward.values[number])
            for axes in _axes(shape):
                length = math.prod(shape[axis] for axis in axes)
                few = min(length, _MOST_PARTS)
                if length < 2 or few * size * len(edges) > _MOST_NUMBERS:
                    continue
                if length > few:  # only whether the first or the last counts is found out
                    first, last = _parts_of(view, number, edges, axes, [0, length - 1])
                    each = np.stack([first, backward.bars[number] - first - last, last])
                else:
                    each = _parts_of(view, number, edges, axes, range(length))
                if _are_summed(each):
                    error = np.ravel(view.analytic[name] - backward.bars[number])
                    change = partial(_of_sample, backward, edges, shape, axes)
                    what = f"samples or positions ({_names(axes, len(shape))})"
                    yield Sum(name, place, what, each.reshape(len(each), -1), error, change, length > few)


def _of_sample(
    backward: Backward, edges: Sequence[tuple[int, int]], shape: tuple[int, ...], axes: tuple[int, ...], weights: Reals
) -> Change:
    length = int(np.prod([shape[axis] for axis in axes]))
    if len(weights) < length:
        weights = np.concatenate([weights[:1], np.repeat(weights[1], length - 2), weights[2:]])
    return Change({edge: _weighted(backward, *edge, _along(shape, axes, weights)) for edge in edges})


def _axes(shape: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """Yields each axis, and the last two or the first two together, as those of a picture or of a batch in time."""
    yield from ((axis,) for axis in range(len(shape)))
    if len(shape) > 2:
        yield 0, 1
        yield len(shape) - 2, len(shape) - 1


def _names(axes: tuple[int, ...], count: int) -> str:
    if count == 2:
        return ("rows", "columns")[axes[0]]
    return f"entries along {'axis' if len(axes) == 1 else 'axes'} {' and '.join(map(str, axes))}"


def _are_summed(each: Reals) -> bool:
    """Whether parts overlap; those that have entries of the gradient of their own are not summed."""
    return int(np.count_nonzero(each)) > int(np.count_nonzero(np.any(each, axis=0)))


def _parts_of(
    view: View, array: int, edges: Sequence[tuple[int, int]], axes: tuple[int, ...], which: Sequence[int]
) -> Reals:
    """Returns what some entries along some axes of the sensitivities add to the gradient of an array, each a row."""
    backward = view.backward
    total = np.zeros((len(which), *np.shape(backward.values[array])))
    for number, source in edges:
        bar = backward.bars[number]
        length = math.prod(bar.shape[axis] for axis in axes)
        chosen = np.zeros((len(which), length))
        chosen[np.arange(len(which)), which] = 1.0
        lengths = [bar.shape[axis] if axis in axes else 1 for axis in range(bar.ndim)]
        back = backward.of_rows(number, source)(bar * chosen.reshape(len(which), *lengths))
        at = backward.steps[number].inputs[source]
        while at != array:  # through the views of the array
            back = backward.of_rows(at, 0)(back)
            at = backward.steps[at].inputs[0]
        total += back
    return total


def _along(shape: tuple[int, ...], axes: tuple[int, ...], weights: Reals) -> Reals:
    """Returns weights along some axes in a shape in which they can be multiplied with an array of the given shape."""
    return weights.reshape([length if axis in axes else 1 for axis, length in enumerate(shape)])


def _weighted(backward: Backward, number: int, k: int, weights: Reals) -> EdgeRule:
    return lambda bars, up: backward.through(number, k, up * weights)


# ---- rows


def overwritten_rows(view: View) -> Iterator[Mutant]:
    """Yields mutants in which rows that several turns read get only what the last, or the first, of them sends back."""
    backward, turns = view.backward, view.turns
    for place in turns.places:
        if len(place.steps) < 2 or any(number not in turns.arrays for number in place.steps):
            continue
        edges = [(number, 0) for number in place.steps]
        if not view.can_explain(Change({edge: _scaled(backward, *edge, 0.0) for edge in edges})):
            continue
        touched = [backward.through(number, 0, np.ones(turns.shape(number))) != 0.0 for number in place.steps]
        if len({at.shape for at in touched}) > 1 or not np.any(np.sum(touched, axis=0) > 1):
            continue
        array = view.name_of(turns.arrays[place.steps[0]])
        for which, order in (("last", list(reversed(range(len(edges))))), ("first", list(range(len(edges))))):
            taken = np.zeros_like(touched[0])
            rules: dict[tuple[int, int], EdgeRule] = {}
            for turn in order:
                rules[edges[turn]] = _only(backward, *edges[turn], ~taken)
                taken = taken | touched[turn]
            cause = (
                f"in the gradient of {array}, repeated rows are overwritten, not added (= for +=): "
                f"of the turns that read the same row, only the {which} counts"
            )
            yield Mutant(f"{place.where}: {cause}", Change(rules), place)


def _only(backward: Backward, number: int, k: int, kept: NDArray[np.bool_]) -> EdgeRule:
    return lambda bars, up: backward.through(number, k, up) * kept


# ---- weights


def _explains(weights: Reals, found: Sum) -> bool:
    """Whether weights of the parts give the wrong gradient."""
    misfit = np.abs((weights - 1.0) @ found.parts - found.error).max(initial=0.0)
    return bool(misfit <= _FITS * np.abs(found.error).max(initial=0.0))


def fitted(found: Sum) -> Reals | None:
    """Returns the weights of the parts of an array's gradient that give the wrong one, NaN for parts that are zero.

    None if no weights give it.
    """
    parts, error = found.parts, found.error
    counted = np.flatnonzero(np.any(parts, axis=1))
    n, entries = len(counted), parts.shape[1]
    if n < 2 or not np.isfinite(parts).all():
        return None
    weights, each, most = np.full(len(parts), np.nan), parts[counted], _FITS * np.abs(error).max(initial=0.0)
    # the misfits if one part does not count, and if only one does
    misfits = np.stack([np.abs(part + error).max(axis=1, initial=0.0) for part in (each, each.sum(axis=0) - each)])
    if (misfits <= most).any():
        k = int(np.flatnonzero((misfits <= most).any(axis=0))[0])
        own, others = (0.0, 1.0) if misfits[0, k] <= most else (1.0, 0.0)
        weights[counted] = others
        weights[counted[k]] = own
        return weights
    if entries < n + _MORE_ENTRIES or found.is_short:
        return None
    some = np.random.default_rng(0).permutation(entries)[: _ENTRIES_FITTED * n + _MORE_ENTRIES]
    changes, _, rank, _ = np.linalg.lstsq(parts[np.ix_(counted, some)].T, error[some], rcond=_FITS)
    near = 1.0 + changes
    near = np.where(np.abs(near - np.round(near)) < _FITS, np.round(near), near)
    weights[counted] = near
    if rank < n or not _explains(_known(weights), found):
        return None
    if np.ptp(near) <= _ONE_FACTOR * np.abs(near).max():  # a factor of the whole, of which more can be said elsewhere
        return None
    is_simple = set(near.tolist()) <= {0.0, 1.0}
    return weights if is_simple or entries >= _ENTRIES_PER_WEIGHT * n + _MORE_ENTRIES else None


#: All families of this module.
FAMILIES: tuple[Family, ...] = (overwritten_rows, some_costs, some_turns, some_samples)
