"""Finds the numbers that mistakes multiply or divide by: lengths of the data, turns of loops, and constants."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from gradcheck_fast.diagnosis.graph.common_factors import scale_of_mask
from gradcheck_fast.diagnosis.graph.places import short
from gradcheck_fast.program.steps.leaves import CONSTANT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gradcheck_fast.diagnosis.graph.backward import Backward
    from gradcheck_fast.diagnosis.graph.places import Place

#: So many constants, and turns of loops, are looked at, at most.
_MOST = 12
#: How the words for counts begin, and those for the turns of a loop.
_COUNT, _OF_TURNS = "the number of", "the number of turns"
#: The names of the axes of a matrix; others are numbered.
_AXES = ("rows", "columns")


def sizes_of(backward: Backward) -> dict[str, float]:
    """Returns numbers other than 1 by what they are in words, the most likely ones first."""
    found: dict[str, float] = {}
    data = [step for step in backward.steps if step.name == CONSTANT.name and step.shape]
    largest = max(data, key=lambda step: (int(np.prod(step.shape)), len(step.shape)), default=None)
    if largest is not None:
        shape = largest.shape
        for axis, length in enumerate(shape):
            what = _AXES[axis] if len(shape) == 2 else f"entries of axis {axis}"
            found[f"the number of {what} of the data of {short(largest.source)}"] = length
    turns = Counter((step.source, step.name) for number, step in enumerate(backward.steps) if number in backward.bars)
    for (source, _), times in turns.most_common(_MOST):
        if times > 1 and source.line and times not in found.values():
            found[f"the number of turns of line {source.line}"] = times
    numbers = [
        (float(backward.values[k]), step)
        for number, step in enumerate(backward.steps)
        if number in backward.bars and step.name in ("multiply", "divide")
        for k in step.inputs
        if backward.steps[k].name == CONSTANT.name and backward.steps[k].shape == ()
    ]
    for value, source in dict.fromkeys((value, step.source) for value, step in numbers):
        if len(found) < 3 * _MOST:
            found.setdefault(f"the {abs(value):.6g} of {short(source)}", abs(value))
    for number in backward.bars:
        mask = scale_of_mask(backward, number)
        if mask is not None and mask[1] not in found.values():
            found[f"the scale {mask[1]:.6g} of the mask of {short(backward.steps[number].source)}"] = mask[1]
    return {what: size for what, size in found.items() if size not in (0.0, 1.0) and np.isfinite(size)}


def sizes_at(backward: Backward, sizes: Mapping[str, float], place: Place) -> dict[str, float]:
    """Returns such numbers by what they are in words at a place; where nothing is so often, a count is only a number.

    A count is there if an axis of a step of the place, or of what it reads, is as long, or if the place has so many
    turns.
    """
    of_place = {source for number in place.steps for source in (number, *backward.steps[number].inputs)}
    lengths = {length for number in of_place for length in backward.steps[number].shape}

    def is_there(what: str, size: float) -> bool:
        if not what.startswith(_COUNT):
            return True
        return len(place.steps) % size == 0 if what.startswith(_OF_TURNS) else size in lengths

    return {what if is_there(what, size) else f"{size:.6g}": size for what, size in sizes.items()}
