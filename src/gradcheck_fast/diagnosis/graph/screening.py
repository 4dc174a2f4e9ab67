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


#: What mutants explain that explain nothing.
_NONE: frozenset[int] = frozenset()


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
        self._is_wrong = np.array([any(np.any(errors[place]) for place in group) for group in groups], dtype=bool)
        self._are_all_wrong = bool(self._is_wrong.all())

    @property
    def count(self) -> int:
        """How many directions there are."""
        return self._tangents.count

    def changes(self, changes: Sequence[Change]) -> Reals:
        """Returns by how much mutants change the gradient along each direction, shape (mutants, directions)."""
        return self._tangents.changes(changes)

    def touches_right(self, change: Change) -> bool:
        """Whether a mutant is bound to change an array that is right, or to change nothing.

        It is if every number that goes back elsewhere depends on such an array.
        """
        if self._are_all_wrong:
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

    def seen(self, changes: Reals) -> list[Seen]:
        """Returns what changes along the directions explain, for each row of shape (mutants, directions)."""
        if not len(changes):
            return []
        is_changed = np.abs(changes) > self.nothing * self.sizes
        near = self.near * np.maximum(np.abs(changes), np.abs(self.errors)) + ROUNDING * self.sizes
        fits = is_changed & self._is_wrong & (np.abs(changes - self.errors) <= near)
        contradicts = (is_changed & ~fits).any(axis=1)
        return [
            Seen(frozenset(np.flatnonzero(row).tolist()) if any_fits else _NONE, bool(contradiction))
            for row, any_fits, contradiction in zip(fits, fits.any(axis=1), contradicts, strict=True)
        ]

    def factor(self, left_out: Reals) -> float | None:
        """Returns the factor that explains the most, if `left_out` is the change when something is left out; or None.

        With a factor c the change is (1 - c) times that. It must be the same along all directions that are changed.
        """
        is_changed = np.abs(left_out) > self.nothing * self.sizes
        ratios = np.sort(self.errors[is_changed] / left_out[is_changed])
        if not ratios.size or not np.isfinite(ratios).all() or not ratios.any():
            return None
        middle = float(ratios[(ratios.size - 1) // 2] + ratios[ratios.size // 2]) / 2.0
        if max(middle - ratios[0], ratios[-1] - middle) > self.near * max(abs(middle), 1e-3):
            return None
        return 1.0 - middle


#: If several numbers are the same, so many of them are named.
_MOST_MEANINGS = 2
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
    found, plain = list[str](), list[str]()
    for what, size in sizes.items():
        number = f"{size:.6g} ({what})" if what.startswith("the number") else what
        for value, words in ((size, f"multiplied by {number}"), (1.0 / size, f"divided by {number}")):
            for sign, signed in ((1.0, ""), (-1.0, " and has the wrong sign")):
                if abs(factor - sign * value) <= within * abs(factor):
                    (plain if what == f"{size:.6g}" else found).append(words + signed)
    # where several numbers are the same, none of them is known to be meant
    said = list(dict.fromkeys(found))[:_MOST_MEANINGS] or plain[:1]
    return f"is {', or '.join(said)}" if said else ""
