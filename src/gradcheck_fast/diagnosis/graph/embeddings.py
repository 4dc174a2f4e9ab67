"""Lists mistakes with lookups in tables of parameters, such as embeddings: gradients that come to the wrong rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import permutations
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from gradcheck_fast.diagnosis.graph.mutants import Change, Mutant, merged
from gradcheck_fast.diagnosis.graph.places import short
from gradcheck_fast.diagnosis.graph.reads import Read, back, put_at, put_back

if TYPE_CHECKING:
    from gradcheck_fast.diagnosis.graph.backward import Backward, Reals
    from gradcheck_fast.diagnosis.graph.mutants import View
    from gradcheck_fast.diagnosis.graph.places import Place
    from gradcheck_fast.diagnosis.graph.reads import Index

    Rows: TypeAlias = Iterable[tuple[Place, list[Read]]]

#: Lookups at most so many places are compared with each other.
_MOST = 8


def wrong_rows(view: View, rows: Rows) -> Iterator[Mutant]:
    """Yields mutants in which what goes back from a lookup goes to the rows of another one, or only a part of it."""
    lookups = [(place, found) for place, found in rows if all(_is_lookup(view, read) for read in found)]
    for place, found in lookups:
        yield from _partial(view.backward, place, found)
    pairs = permutations(lookups[:_MOST], 2)
    for (place, found), (other_place, other) in pairs:
        if not _fit(view.backward, found, other):
            continue
        one = _at_rows(view.backward, found, other)
        lines = short(other_place.source)
        yield Mutant(f"{place.where}: what goes back goes to the rows that {lines} reads", one, place)
        if found[0].top < other[0].top:
            both = merged([one, _at_rows(view.backward, other, found)])
            cause = f"{place.where}: what goes back to its rows, and to those that {lines} reads, is exchanged"
            yield Mutant(cause, both, place)


def _is_lookup(view: View, read: Read) -> bool:
    """Whether a top consists of whole rows of a table of parameters, but not of all of them in order."""
    table = view.backward.steps[read.base].shape
    if not view.name_of(read.base) or len(table) != 2 or read.places.shape[-1:] != table[-1:]:
        return False
    return bool((np.diff(read.places, axis=-1) == 1).all() and (read.places[..., 0] % table[1] == 0).all()) and (
        not read.is_kept
    )


def _fit(backward: Backward, found: Sequence[Read], other: Sequence[Read]) -> bool:
    """Whether what goes back from some lookups fits to the rows of the others, which are not the same."""
    return (
        len(found) == len(other)
        and {read.top for read in found}.isdisjoint(read.top for read in other)
        and all(
            a.places.shape == b.places.shape and backward.steps[a.base].shape == backward.steps[b.base].shape
            for a, b in zip(found, other, strict=True)
        )
        and any((a.places != b.places).any() for a, b in zip(found, other, strict=True))
    )


def _at_rows(backward: Backward, found: Sequence[Read], other: Sequence[Read]) -> Change:
    return put_at(backward, found, {read.top: instead.places for read, instead in zip(found, other, strict=True)})


def _partial(backward: Backward, place: Place, found: Sequence[Read]) -> Iterator[Mutant]:
    """Yields mutants in which only some of the rows that are looked up at once get anything."""
    dimensions = {read.places.ndim for read in found}
    for axis in range(max(dimensions) - 1) if len(dimensions) == 1 else ():
        length = min(read.places.shape[axis] for read in found)
        for how, kept in _PARTS if length > 1 else ():
            change = back(
                backward,
                found,
                lambda read, up, axis=axis, kept=kept: put_back(  # type: ignore[misc]
                    read.places, _only(up, axis, kept), backward.values[read.base]
                ),
            )
            yield Mutant(f"{place.where}: {how} of the rows along axis {axis} of the lookup", change, place)
    if len(dimensions) == 1 and max(dimensions) > 2:
        counted = {read.top: _first_in_sample(read.places) for read in found}
        if not all(at.all() for at in counted.values()):
            change = back(
                backward,
                found,
                lambda read, up: put_back(read.places, up * counted[read.top], backward.values[read.base]),
            )
            cause = f"{place.where}: a row that is looked up several times in one sample counts once"
            yield Mutant(cause, change, place)


def _first_in_sample(places: Index) -> Reals:
    """Marks with 1 the first lookup of each row in each sample; the others are 0."""
    rows = places[..., 0].reshape(len(places), -1)
    earlier = np.tril(rows[:, :, np.newaxis] == rows[:, np.newaxis, :], -1).any(axis=2)
    return np.where(earlier, 0.0, 1.0).reshape(*places.shape[:-1], 1)


def _only(up: Reals, axis: int, kept: Callable[[int], slice]) -> Reals:
    found = np.zeros_like(up)
    part = (slice(None),) * axis + (kept(up.shape[axis]),)
    found[part] = up[part]
    return found


#: Which rows get what goes back, in words and as slices of so many.
_PARTS: tuple[tuple[str, Callable[[int], slice]], ...] = (
    ("what goes back reaches only the first", lambda n: slice(0, 1)),
    ("what goes back reaches only the last", lambda n: slice(n - 1, n)),
    ("what goes back does not reach the first", lambda n: slice(1, n)),
    ("what goes back does not reach the last", lambda n: slice(0, n - 1)),
)
