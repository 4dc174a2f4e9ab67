"""Lists mistakes with the entries that a cost picks, such as the logarithms of the probabilities of the targets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from gradcheck_fast.diagnosis.graph.mutants import Mutant
from gradcheck_fast.diagnosis.graph.places import short
from gradcheck_fast.diagnosis.graph.reads import MOVEMENTS, Read, put_at, reads

if TYPE_CHECKING:
    from gradcheck_fast.diagnosis.graph.backward import Backward
    from gradcheck_fast.diagnosis.graph.mutants import Family, View
    from gradcheck_fast.diagnosis.graph.reads import Index

#: At most so many lookups are tried in the place of the targets.
_MOST_LOOKUPS = 6


def other_targets(view: View) -> Iterator[Mutant]:
    """Yields mutants in which the targets are those of another turn of the loop, or what an embedding is read for.

    So it is if the gradient of a language model takes the word that is read for the one that should follow.
    """
    backward = view.backward
    picks: dict[int, tuple[Read, Index]] = {}
    lookups: dict[int, Index] = {}
    for number in backward.bars:
        if backward.steps[number].name in MOVEMENTS:
            nearest = next(reads(backward, number), None)
            chosen = None if nearest is None else _chosen(backward, nearest)
            if nearest is not None and chosen is not None:
                picks[number] = nearest, chosen
            rows = None if nearest is None else _rows(view, nearest)
            if rows is not None:
                lookups[number] = rows
    by_lookup = list(view.places_of(lookups))[:_MOST_LOOKUPS]
    for place in view.places_of(picks):
        found = [picks[number][0] for number in place.steps]
        own = [picks[number][1] for number in place.steps]
        if any(backward.steps[read.base].shape != backward.steps[found[0].base].shape for read in found):
            continue
        others: list[tuple[str, list[Index | None]]] = []
        if len(own) > 1:
            others += [("those of the turn before", [None, *own[:-1]]), ("those of the turn after", [*own[1:], None])]
        for lookup in by_lookup:
            if len(lookup.steps) == len(own):
                others.append((f"what {short(lookup.source)} looks up", [lookups[number] for number in lookup.steps]))
        for words, targets in others:
            places = _places(backward, found, targets)
            if places is not None:
                cause = f"{place.where}: on the way back the entries that are picked are {words}"
                yield Mutant(cause, put_at(backward, found, places), place)


def _chosen(backward: Backward, read: Read) -> Index | None:
    """Returns which entry is picked of each row of a matrix, in order; None if that is not what is read."""
    shape = backward.steps[read.base].shape
    if len(shape) != 2 or read.places.shape != shape[:1] or shape[1] < 2:
        return None
    rows, columns = np.divmod(read.places, shape[1])
    is_each = bool((rows == np.arange(shape[0])).all())
    return columns if is_each and not (columns == columns[0]).all() else None


def _rows(view: View, read: Read) -> Index | None:
    """Returns the rows of a table of parameters that are looked up; None if that is not what is read."""
    table = view.backward.steps[read.base].shape
    if not view.name_of(read.base) or len(table) != 2 or read.places.ndim != 2 or read.places.shape[1] != table[1]:
        return None
    is_whole = (read.places[:, 0] % table[1] == 0).all() and (np.diff(read.places, axis=1) == 1).all()
    return read.places[:, 0] // table[1] if is_whole and not read.is_kept else None


def _places(
    backward: Backward, found: Sequence[Read], targets: Sequence[Index | None]
) -> dict[int, Index] | None:  # fmt: skip
    """Returns where the picked entries lie with other targets; None if these do not fit, or are the same."""
    places = {}
    for read, columns in zip(found, targets, strict=True):
        length = backward.steps[read.base].shape[1]
        if columns is None:
            places[read.top] = read.places
        elif columns.shape != read.places.shape or columns.max(initial=0) >= length:
            return None
        else:
            places[read.top] = np.arange(len(columns)) * length + columns
    return places if any((places[read.top] != read.places).any() for read in found) else None


FAMILIES: tuple[Family, ...] = (other_targets,)
