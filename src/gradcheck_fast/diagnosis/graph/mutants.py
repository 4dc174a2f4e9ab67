"""Mistakes on the way back: what they are in words, where they are, and what goes back with them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np

from gradcheck_fast.diagnosis.graph.backward import Change, merged
from gradcheck_fast.diagnosis.graph.places import Place, Places

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gradcheck_fast.diagnosis.graph.backward import Backward, Bars, BlockRule, EdgeRule, Reals


class Mutant(NamedTuple):
    """A mistake in words, and the change that it makes on the way back.

    Attributes
    ----------
    cause : str
        Begins with the place: "net.py line 12, `a1 = sigmoid(z1)`: its derivative is left out".
    change : Change
    place : Place
        The line that is shown with the diagnosis.
    scales : bool
        Whether the change leaves out what goes back somewhere, so that any other factor there is looked for, too; its
        words then have ``{factor}`` where the factor is said: "is {factor}", which becomes "is left out", "is doubled",
        "is multiplied by N = 32".
    """

    cause: str
    change: Change
    place: Place
    scales: bool = False


@dataclass(frozen=True, eq=False)
class View:
    """What the families of mutants look at.

    Attributes
    ----------
    backward : Backward
        The right way back.
    names : sequence of str
        The names of the arrays of parameters, in the order of `Backward.parameters`.
    sizes : mapping of str to float
        Numbers that mistakes multiply or divide by, such as "the number of rows of X, 32", by what they are in words.
    wrong : frozenset of str
        The arrays in which something is wrong.
    analytic : mapping of str to ndarray
        The gradient that is checked.
    """

    backward: Backward
    names: Sequence[str]
    sizes: Mapping[str, float] = field(default_factory=dict)
    wrong: frozenset[str] = frozenset()
    analytic: Mapping[str, Reals] = field(default_factory=dict)

    @cached_property
    def places(self) -> list[Place]:
        """Every place at which something goes back, from the first line to the last; see `Places`."""
        return Places(self.backward).all

    def places_of(self, numbers: Iterable[int]) -> Iterator[Place]:
        """Yields the places of some steps."""
        return Places(self.backward).of(sorted(numbers))

    def name_of(self, number: int) -> str:
        """Returns the name of the array of parameters that a step is, or "" if it is none."""
        parameters = self.backward.parameters
        return self.names[parameters.index(number)] if number in parameters else ""


#: A function that yields the mutants of one kind of mistake, the more likely ones first.
Family: TypeAlias = Callable[[View], Iterator[Mutant]]


def edges(steps: Iterable[int], k: int, rule: Callable[[int], EdgeRule]) -> Change:
    """Makes the change of what goes back from some steps to their input k; `rule(number)` is the rule of one step."""
    return Change({(number, k): rule(number) for number in steps})


def block(top: int, bottom: int, rule: Callable[[Bars, Reals], Reals | None]) -> Change:
    """Makes the change of all that goes back from one step: it goes to a step below, past all between them."""

    def whole(bars: Bars, up: Reals) -> Iterable[tuple[int, Reals]]:
        back = rule(bars, up)
        return () if back is None else ((bottom, back),)

    whole_rule: BlockRule = whole
    return Change({}, {top: whole_rule})


def times(factor: Reals | float) -> EdgeRule:
    """Makes the rule by which what goes back is the sensitivity of the step times a factor."""
    return lambda bars, up: np.asarray(up * factor)


def nothing(bars: Bars, up: Reals) -> None:
    """Returns None: the rule by which nothing goes back."""


__all__ = ["Change", "Family", "Mutant", "Place", "View", "block", "edges", "merged", "nothing", "times"]
