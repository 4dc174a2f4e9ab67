"""Finds out which steps of a program belong to which layer and time, and gives them names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, cast

from gradcheck_fast.engine._program import NOTHING
from gradcheck_fast.frontends.network.recurrent import Recurrent
from gradcheck_fast.program.steps import PRIMITIVES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradcheck_fast.diagnosis.adjoint import Tape
    from gradcheck_fast.engine.rows import RowProgram, RowStep, Term
    from gradcheck_fast.frontends.network.layers import Layer


class Owner(NamedTuple):
    """The layer that an array belongs to.

    Attributes
    ----------
    layer : int
        1, 2, ...
    reverse : bool
        Whether the array is used in the backward direction.
    own : str
        The layer's own name of the array, without the direction.
    name : str
        The network's name of the array.
    """

    layer: int
    reverse: bool
    own: str
    name: str


def owners(tape: Tape) -> dict[int, Owner]:
    """Returns the owner of each array, by the offset of the array in the flat vector."""
    owned = (
        (number, own.endswith("_reverse"), own.removesuffix("_reverse"))
        for number, layer in enumerate(tape.network.layers, 1)
        for own in layer.shapes
    )
    return {
        array.offset: Owner(*owner, name)
        for array, owner, name in zip(tape.program.arrays, owned, tape.network.shapes, strict=True)
    }


@dataclass(frozen=True, eq=False, repr=False)
class Group:
    """A layer in one direction, which has the same steps, its *cell*, at each time.

    Attributes
    ----------
    layer : int
        1, 2, ...
    where : str
        "layer 1", or "layer 1 backwards".
    cells : list of list of int
        The numbers of the steps of each time, in the order of processing. The k-th steps of all times do the same:
        their *role* is k.
    names : list of str
        The name of each role.
    state : dict
        The roles whose values the next time reads. The value lists the readers there as (role, number of the input).
    """

    layer: int
    where: str
    cells: list[list[int]]
    names: list[str]

    state: dict[int, list[tuple[int, int]]]

    @property
    def times(self) -> int:
        return len(self.cells)


def groups(tape: Tape) -> list[Group]:
    """Returns the layers of a network, each in each of its directions, from the first to the last.

    All times of a recurrent layer must have the same steps, as in a network that `unroll` returns.
    """
    of = owners(tape)
    cells: dict[tuple[int, bool], list[list[int]]] = {}
    current: tuple[int, bool] | None = None
    used: set[int] = set()
    for number, step in enumerate(tape.program.steps):
        if step.terms:
            owner = of[step.terms[0].parameter.array.offset]
            if owner.own in ("h0", "c0"):
                continue
            blocks = {term.parameter.number for term in step.terms}
            if (owner.layer, owner.reverse) != current or blocks & used:  # no cell uses a block twice
                current, used = (owner.layer, owner.reverse), set()
                cells.setdefault(current, []).append([])
            used |= blocks
        elif step.is_input or step.is_cost or step.is_affine:
            continue
        if current is not None:
            cells[current][-1].append(number)
    found = []
    for (layer, reverse), steps in sorted(cells.items()):
        names = _names(tape, cast("Layer", tape.network.layers[layer - 1]), steps)
        where = f"layer {layer}" + " backwards" * reverse
        found.append(Group(layer, where, steps, names, carried(tape.program, steps)))
    return found


def _names(tape: Tape, layer: Layer, cells: list[list[int]]) -> list[str]:
    """Returns the names of the steps of a cell: after the state, after the gates, or else after what they do."""
    steps = tape.program.steps
    state = {} if len(cells) < 2 else _state_names(tape.program, cells)
    before = {} if len(cells) < 2 else {cells[-2][role]: f"{name}[t-1]" for role, name in state.items()}
    letters = layer.letters if isinstance(layer, Recurrent) else ""
    called: dict[int, str] = {}
    for role, number in enumerate(cells[-1]):
        step = steps[number]
        inputs = [called.get(source, before.get(source, "x")) for source in step.inputs]
        if role in state:
            name = state[role]
        elif step.is_affine:
            column = next(term.parameter.column for term in step.terms if not term.diagonal)
            name = f"z_{letters[column // layer.hidden]}" if isinstance(layer, Recurrent) and len(letters) > 1 else "z"
        elif len(inputs) > 1:
            name = _written(step, inputs)
        elif inputs[0].lstrip("(").startswith("z_"):
            name = inputs[0].lstrip("(")[2]
        elif inputs[0] == "z":
            name = "h" if letters else "a"
        else:
            name = _written(step, inputs)
        called[number] = name
    return [called[number] for number in cells[-1]]


def _written(step: RowStep, inputs: list[str]) -> str:
    """Writes a step as a formula of the names of its inputs."""
    names = dict(zip(step.positions, inputs, strict=True))
    return PRIMITIVES[step.name].written.format(*(names.get(k, "mask") for k in range(max(names) + 1)))


def _state_names(program: RowProgram, cells: list[list[int]]) -> dict[int, str]:
    """Returns the names of the state by role: h for what a matrix multiplies at the next time, c for the rest."""
    names = {}
    for role, readers in carried(program, cells).items():
        multiplied = any(
            program.steps[cells[1][reader]].is_affine
            and any(at == position and not term.diagonal for at, _, term in inner_terms(program, cells[1][reader]))
            for reader, position in readers
        )
        names[role] = "h" if multiplied else "c"
        step = program.steps[cells[0][role]]
        if step.name == "where" and step.inputs[0] in cells[0]:
            names[cells[0].index(step.inputs[0])] = names[role]
    return names


def carried(program: RowProgram, cells: list[list[int]]) -> dict[int, list[tuple[int, int]]]:
    """Returns the roles whose values the next time reads, each with its readers as (role, number of the input)."""
    if len(cells) < 2:
        return {}
    before = {number: role for role, number in enumerate(cells[0])}
    readers: dict[int, list[tuple[int, int]]] = {}
    for role, number in enumerate(cells[1]):
        for position, source in enumerate(program.steps[number].inputs):
            if source in before:
                readers.setdefault(before[source], []).append((role, position))
    return readers


def inner_terms(program: RowProgram, number: int) -> Iterator[tuple[int, int, Term]]:
    """Yields number of the input, number of the term, and the term, for the terms of a step that multiply a step."""
    terms = [(k, term) for k, term in enumerate(program.steps[number].terms) if term.step != NOTHING]
    for position, (k, term) in enumerate(terms):
        yield position, k, term
