"""Shows a network's steps by layer, time and role, and makes mistakes: changes of what goes back through the steps."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from gradcheck_fast.diagnosis.adjoint import Change
from gradcheck_fast.diagnosis.cells import groups, inner_terms, owners
from gradcheck_fast.engine._program import NOTHING

if TYPE_CHECKING:
    from gradcheck_fast.diagnosis.adjoint import Rows, Rule, Sensitivities, Tape
    from gradcheck_fast.diagnosis.cells import Group
    from gradcheck_fast.engine.layout import ParameterBlock


class Mutant(NamedTuple):
    """A mistake in words, and the change that it makes on the way back."""

    cause: str
    change: Change


class Use(NamedTuple):
    """A place where a matrix multiplies a step.

    Attributes
    ----------
    number : int
        The affine step.
    term, position : int
        Which of its terms and which of its inputs it is.
    source : int
        The step that is multiplied.
    parameter : ParameterBlock
        The matrix.
    """

    number: int
    term: int
    position: int
    source: int
    parameter: ParameterBlock


class View:
    """A network's tape, with its steps by layer, time and role."""

    def __init__(self, tape: Tape) -> None:
        self.tape = tape
        self.steps = tape.program.steps
        self.groups = groups(tape)
        self.owners = owners(tape)
        self.costs = [number for number, step in enumerate(self.steps) if step.is_cost]
        #: All uses of each matrix, by the name of its array.
        self.uses: dict[str, list[Use]] = {}
        #: The step and the number of the term of all uses of each bias, by the name of its array.
        self.biases: dict[str, list[tuple[int, int]]] = {}
        for number, step in enumerate(self.steps):
            for position, k, term in inner_terms(tape.program, number):
                if not term.diagonal:
                    use = Use(number, k, position, term.step, term.parameter)
                    self.uses.setdefault(self.name_of(term.parameter), []).append(use)
            for k, term in enumerate(step.terms):
                if term.step == NOTHING:
                    self.biases.setdefault(self.name_of(term.parameter), []).append((number, k))

    @property
    def recurrent(self) -> list[Group]:
        """The layers that run through more than one time and have a state."""
        return [group for group in self.groups if group.state]

    def pairs(self) -> Iterator[tuple[Group, Group]]:
        """Yields all pairs of layers that have as many outputs and times.

        Each is an affine step, perhaps with an activation.
        """
        simple = [group for group in self.groups if len(group.cells[0]) <= 2 and not group.state]
        for group in simple:
            for other in simple:
                alike = self.steps[group.cells[0][0]].width == self.steps[other.cells[0][0]].width
                if group is not other and alike and group.times == other.times:
                    yield group, other

    def readers(self, number: int) -> list[tuple[int, int]]:
        """Returns the steps that read a step, each with the number of the input."""
        return [
            (reader, position)
            for reader in range(number + 1, len(self.steps))
            for position, source in enumerate(self.steps[reader].inputs)
            if source == number
        ]

    def is_data(self, number: int) -> bool:
        """Whether a step is an input, so that nothing goes back through it."""
        return self.steps[number].is_input

    def is_activation(self, number: int) -> bool:
        """Whether a step is elementwise, and the cost depends on it."""
        return self.steps[number].is_entrywise and number in self.tape.program.needed

    def name_of(self, parameter: ParameterBlock) -> str:
        """Returns the name of the array that a parameter is part of."""
        return self.owners[parameter.array.offset].name

    # ---- rules

    def scaled(self, number: int, position: int, factor: Rows | float) -> Rule:
        """Makes the rule by which what goes back along an edge is right, but times a factor."""
        return lambda bars, up: self.tape.through(number, position, up) * factor

    def passed_by(self, number: int, position: int, other: int) -> Rule:
        """Makes the rule by which what goes back along an edge is computed from the sensitivities of another step."""
        return lambda bars, up: self.tape.through(number, position, bars[other])

    def term_by(self, number: int, k: int, other: int) -> Rule:
        """Makes the rule by which a term's share is computed from the sensitivities of another step."""
        return lambda bars, up: self.tape.term(number, k, bars[other])

    def built_with(self, uses: Sequence[Use], sources: Sequence[int]) -> Change:
        """Makes the change by which gradients of matrices are built with the values of other steps.

        Where the source is `NOTHING`, the use adds nothing to the gradient.
        """

        def rule(source: int) -> Rule:
            return nothing if source == NOTHING else lambda bars, up: self.tape.values[source].T @ up

        return Change({}, {(use.number, use.term): rule(source) for use, source in zip(uses, sources, strict=True)})

    def sent_back(self, uses: Iterable[Use], weights: Callable[[Use], Rows]) -> Change:
        """Makes the change by which affine steps send back their sensitivities times other weights."""

        def rule(use: Use) -> Rule:
            matrix = weights(use)
            return lambda bars, up: up @ matrix

        return Change({(use.number, use.position): rule(use) for use in uses}, {})


#: A function that yields the mutants of one kind of mistake.
Family: TypeAlias = Callable[[View], Iterator[Mutant]]


def times(factor: Rows | float) -> Rule:
    """Makes the rule by which what goes back is the sensitivity of the step times a factor."""
    return lambda bars, up: up * factor


def nothing(bars: Sensitivities, up: Rows) -> None:
    """Returns None: the rule by which nothing goes back."""


def merged(changes: Iterable[Change]) -> Change:
    """Merges changes that do not overlap into one."""
    found = list(changes)
    return Change(
        {place: rule for change in found for place, rule in change.edges.items()},
        {place: rule for change in found for place, rule in change.terms.items()},
    )
