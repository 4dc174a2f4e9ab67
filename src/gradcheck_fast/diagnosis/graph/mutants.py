"""Mistakes on the way back: what they are in words, where they are, and what goes back with them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np

from gradcheck_fast.diagnosis.graph.backward import Change, merged
from gradcheck_fast.diagnosis.graph.known_softmaxes import Softmax, softmaxes
from gradcheck_fast.diagnosis.graph.places import Place, Places
from gradcheck_fast.diagnosis.graph.recognise import Entrywise, entrywise
from gradcheck_fast.diagnosis.graph.turns import Turns

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gradcheck_fast.diagnosis.graph.backward import Backward, Bars, BlockRule, EdgeRule, Reals


#: The steps through which something goes back times the other input.
_PRODUCTS = ("multiply", "matmul")


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
        return self.by_step.all

    @cached_property
    def by_step(self) -> Places:
        """The places of any steps."""
        return Places(self.backward)

    @cached_property
    def functions(self) -> list[Entrywise]:
        """The functions of single numbers that the program computes, such as activations."""
        return entrywise(self.backward)

    @cached_property
    def softmaxes(self) -> list[Softmax]:
        """The softmaxes that the program computes."""
        return softmaxes(self.backward)

    def places_of(self, numbers: Iterable[int]) -> Iterator[Place]:
        """Yields the places of some steps."""
        return self.by_step.of(sorted(numbers))

    @cached_property
    def turns(self) -> Turns:
        """The steps by place and turn of their loops."""
        return Turns(self.backward, self.names, self.places)

    def can_explain(self, change: Change) -> bool:
        """Whether a mistake reaches an array that is wrong, and none that is right. It makes no pass back.

        An array whose gradient is zero may be reached.
        """
        bits = 0
        for number, k in change.edges:
            bits |= self._reached[self.backward.steps[number].inputs[k]]
        for number in change.blocks:
            bits |= self._reached[number]
        return bool(bits & self._is_wrong) and not bits & self._is_right

    @cached_property
    def _reached(self) -> list[int]:
        """For each step the arrays that it sends something back to, as bits; a factor of zeros lets nothing pass."""
        backward = self.backward
        found = [0] * len(backward.steps)
        for place, number in enumerate(backward.parameters):
            found[number] = 1 << place
        for number in sorted(backward.bars):
            is_product = backward.steps[number].name in _PRODUCTS
            for k, source in backward.inner(number):
                if not is_product or np.any(backward.x(number)[1 - k]):
                    found[number] |= found[source]
        return found

    @cached_property
    def _is_wrong(self) -> int:
        return sum(1 << place for place, name in enumerate(self.names) if name in self.wrong)

    @cached_property
    def _is_right(self) -> int:
        numbered = enumerate(zip(self.backward.parameters, self.names, strict=True))
        right = ((place, number) for place, (number, name) in numbered if name not in self.wrong)
        return sum(1 << place for place, number in right if number in self.backward.learned)

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
