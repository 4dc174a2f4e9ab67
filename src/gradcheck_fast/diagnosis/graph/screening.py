"""Finds out quickly which mutants may explain a wrong gradient: by a few numbers, before anything goes back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from gradcheck_fast.diagnosis.graph.tangents import Tangents

if TYPE_CHECKING:
    from gradcheck_fast.diagnosis.graph.backward import Backward, Change, Reals

#: Arrays are looked at in at most so many groups: each takes a pass forward, and memory for all steps.
MOST_GROUPS, MOST_NUMBERS = 10, 100_000_000
#: What a mutant changes along a direction must be what is seen there, to this part.
NEAR = 1e-6
#: Numbers along a direction that are smaller than this part of what they are sums of are nothing.
NOTHING = 1e-11
#: What is changed a little is found as the difference of large numbers, which have errors of this part.
ROUNDING = 1e-10


class Seen(NamedTuple):
    """What a mutant explains.

    Attributes
    ----------
    groups : frozenset of int
        The groups of arrays that it explains.
    contradicts : bool
        Whether it changes a group in another way than the gradient is wrong there.
    """

    groups: frozenset[int]
    contradicts: bool


class Screen:
    """Directions of the parameters, one for each group of arrays, and how wrong the gradient is along each.

    Parameters
    ----------
    backward : Backward
    errors, sizes : sequence of ndarray
        For each array of the parameters, in order: the analytic gradient minus the numerical one, zero where an array
        is right; and the sizes of its entries.
    tolerance : float
        The precision of the gradient, relative to its size.
    """

    def __init__(self, backward: Backward, errors: Sequence[Reals], sizes: Sequence[Reals], tolerance: float) -> None:
        self.backward = backward
        self.near = max(NEAR, 10.0 * tolerance)
        self.nothing = max(NOTHING, tolerance)
        rng = np.random.default_rng(0)
        numbers = sum(np.size(value) for value in backward.values if value is not None)
        most = int(np.clip(MOST_NUMBERS // max(numbers, 1), 2, MOST_GROUPS))
        groups = _groups([bool(np.any(error)) for error in errors], most)
        self.errors, self.sizes = np.zeros(len(groups)), np.zeros(len(groups))
        ends = np.cumsum([0, *(np.size(error) for error in errors)])
        directions = np.zeros((len(groups), ends[-1]))
        for row, group in enumerate(groups):
            for place in group:
                r = rng.standard_normal(np.size(errors[place]))
                if not np.any(errors[place]) and backward.parameters[place] not in backward.learned:
                    continue  # rightly zero, but for rounding
                directions[row, ends[place] : ends[place + 1]] = r
                self.errors[row] += float(r @ np.ravel(errors[place]))
                self.sizes[row] += float(np.abs(r) @ np.ravel(sizes[place]))
        self._tangents = Tangents(backward, directions)
        self._on_right: dict[int, bool] = {}
        self.is_wrong = [any(np.any(errors[place]) for place in group) for group in groups]

    def changes(self, changes: Sequence[Change]) -> Reals:
        """Returns by how much mutants change the gradient along each direction, shape (mutants, directions)."""
        return self._tangents.changes(changes)

    def touches_right(self, change: Change) -> bool:
        """Whether a mutant is bound to change an array that is right, or to change nothing.

        It is if every number that goes back elsewhere depends on such an array.
        """
        if all(self.is_wrong):
            return False
        inputs = [(number, k) for number in change.blocks for k, _ in self.backward.inner(number)]
        return all(
            self._depends_on_right(self.backward.steps[number].inputs[k]) for number, k in (*change.edges, *inputs)
        )

    def _depends_on_right(self, number: int) -> bool:
        if number not in self._on_right:
            along = self._tangents.steps[number]
            self._on_right[number] = along is not None and bool(along[-1].all())
        return self._on_right[number]

    def seen(self, change: Reals) -> Seen:
        """Returns what a change along the directions explains."""
        groups, contradicts = [], False
        for row, (predicted, error, size) in enumerate(zip(change, self.errors, self.sizes, strict=True)):
            is_changed = abs(predicted) > self.nothing * size
            if not is_changed:
                continue
            near = self.near * max(abs(predicted), abs(error)) + ROUNDING * size
            if self.is_wrong[row] and abs(predicted - error) <= near:
                groups.append(row)
            else:
                contradicts = True
        return Seen(frozenset(groups), contradicts)

    def factor(self, left_out: Reals) -> float | None:
        """Returns the factor that explains the most, if `left_out` is the change when something is left out; or None.

        With a factor c the change is (1 - c) times that. It must be the same along all directions that are changed.
        """
        ratios = [
            error / predicted
            for predicted, error, size in zip(left_out, self.errors, self.sizes, strict=True)
            if abs(predicted) > self.nothing * size
        ]
        if not ratios or not np.isfinite(ratios).all() or max(map(abs, ratios)) == 0.0:
            return None
        middle = float(np.median(ratios))
        if any(abs(ratio - middle) > self.near * max(abs(middle), 1e-3) for ratio in ratios):
            return None
        return 1.0 - middle


#: What the simplest factors do, in words.
_FACTORS = {
    0.0: "is left out",
    -1.0: "has the wrong sign",
    2.0: "is doubled",
    0.5: "is halved",
    -2.0: "is doubled and has the wrong sign",
}


def _groups(is_wrong: Sequence[bool], most: int) -> list[list[int]]:
    """Returns the arrays in groups: each wrong one by itself, if there are not too many, and all right ones."""
    wrong = [place for place, of_it in enumerate(is_wrong) if of_it]
    right = [place for place, of_it in enumerate(is_wrong) if not of_it]
    each = max(1, -(-len(wrong) // (most - 1)))
    found = [wrong[begin : begin + each] for begin in range(0, len(wrong), each)]
    return [*found, right] if right else found


def in_words(factor: float, sizes: Mapping[str, float], within: float) -> str:
    """Says what a factor does: "is left out", "is doubled", "has the wrong sign"; "" if it means nothing known."""
    for value, words in _FACTORS.items():
        if abs(factor - value) <= within * max(abs(factor), 1.0):
            return words
    for what, size in sizes.items():
        number = f"{size:.6g} ({what})" if what.startswith("the number") else what
        for value, words in ((size, f"is multiplied by {number}"), (1.0 / size, f"is divided by {number}")):
            for sign, signed in ((1.0, ""), (-1.0, " and has the wrong sign")):
                if abs(factor - sign * value) <= within * abs(factor):
                    return words + signed
    return ""
