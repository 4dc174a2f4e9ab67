"""Lists mistakes with arrays that are filled part by part, at a stride, as by a transposed convolution."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from gradcheck_fast.diagnosis.graph.mutants import Change, Mutant
from gradcheck_fast.program.steps.movement import GATHER

if TYPE_CHECKING:
    from gradcheck_fast.diagnosis.graph.backward import Backward, EdgeRule
    from gradcheck_fast.diagnosis.graph.mutants import Family, View
    from gradcheck_fast.diagnosis.graph.reads import Index

#: An array of at least so many parts shows whether they are written at a stride.
_PARTS = 3


def forgotten_strides(view: View) -> Iterator[Mutant]:
    """Yields mutants in which what goes back to the parts of an array is read at stride 1, not at their own."""
    backward = view.backward
    for number in backward.bars:
        inner = backward.inner(number)
        if backward.steps[number].name != GATHER.name or len(inner) < _PARTS:
            continue
        alike: dict[tuple[int, ...], list[tuple[int, Index]]] = {}
        for k, source in inner:
            places = _written(backward, number, k)
            if places is not None:
                alike.setdefault(backward.steps[source].shape, []).append((k, places))
        for parts in (parts for parts in alike.values() if len(parts) >= _PARTS):
            found = _at_stride_one([places for _, places in parts], backward.steps[number].shape)
            if found is not None:
                stride, wrong = found
                rules: dict[tuple[int, int], EdgeRule] = {
                    (number, k): _read_at(at, np.shape(backward.x(number)[k]))
                    for (k, _), at in zip(parts, wrong, strict=True)
                }
                sources = [backward.steps[number].inputs[k] for k, _ in parts]
                place = view.by_step.place(tuple(sources))
                cause = f"the stride {stride} at which the parts are written is forgotten on the way back"
                yield Mutant(f"{place.where}: {cause}", Change(rules), place)


def _written(backward: Backward, number: int, k: int) -> Index | None:
    """Returns where a gather puts the entries of its input k, in their order; None if not each goes to one place."""
    own, origins = backward.moves(number).of(k)
    return own if np.array_equal(origins, np.arange(np.size(backward.x(number)[k]))) else None


def _at_stride_one(parts: Sequence[Index], shape: tuple[int, ...]) -> tuple[int, list[Index]] | None:
    """Returns the stride of parts along one axis, and their places if it were 1; None if they have no stride."""
    at = [np.array(np.unravel_index(places, shape)) for places in parts]
    moves = [other - one for one, other in pairwise(at)]
    first = moves[0][:, 0]
    if any((move != first[:, np.newaxis]).any() for move in moves) or np.count_nonzero(first) != 1:
        return None
    stride = int(first.max())
    if stride < 2:
        return None
    unit = (first > 0).astype(np.int64)[:, np.newaxis]
    wrong = [np.ravel_multi_index(tuple(at[0] + turn * unit), shape) for turn in range(len(parts))]
    return stride, wrong


def _read_at(places: Index, shape: tuple[int, ...]) -> EdgeRule:
    return lambda bars, up: up.ravel()[places].reshape(shape)


FAMILIES: tuple[Family, ...] = (forgotten_strides,)
