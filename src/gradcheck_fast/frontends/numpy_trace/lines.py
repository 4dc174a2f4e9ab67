"""Shows a traced function by the lines of its source, with how much the cost depends on what each computes.

Steps of a graph that has no lines are shown by the layer or node that they come from.
"""

from __future__ import annotations

import linecache
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np

from gradcheck_fast.frontends.numpy_trace.variables import variables
from gradcheck_fast.inputs.users_files import cut

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck_fast.engine.rules import RulesEngine
    from gradcheck_fast.program.program import Program, Source, Step

    #: Says of the steps of a program, by their numbers, what is known of their sensitivities on the user's way back.
    StepVerdicts: TypeAlias = Callable[[Program], Mapping[int, str]]

#: What is known of a sensitivity on the user's way back. At a turning point it is right itself, but what is made of it
#: is not. What is unknown lies between something right and something wrong.
RIGHT, TURNING, WRONG, UNKNOWN = "right", "wrong from here on", "wrong", "unknown"
#: The steps that compute nothing.
_LEAVES = ("parameter", "constant")
#: A table shows this many lines at most.
_MOST_LINES = 200
#: So many characters of a line of source are shown, at most.
_MOST_SHOWN = 60


class StepRow(NamedTuple):
    """A step of a traced function.

    Attributes
    ----------
    number : int
    operation : str
        The primitive: "matmul".
    name : str
        The variable that its value is assigned to; "" if there is none.
    shape : tuple of int
    inputs : tuple of str
        What it reads: variables, or the numbers of steps, as "#3".
    sensitivity : float
        The largest derivative of the cost, in size, by an entry of it; NaN if the cost does not depend on it.
    verdict : str
        Whether the user's own way back has the right sensitivity: ``"right"``, ``"wrong"``, ``"wrong from here on"``
        if it is right, but not what is made of it, ``"unknown"``, or "" for what is not on the way back.
    """

    number: int
    operation: str
    name: str
    shape: tuple[int, ...]
    inputs: tuple[str, ...]
    sensitivity: float
    verdict: str


class SourceLine(NamedTuple):
    """A line of the user's source that computes something of a traced function.

    Attributes
    ----------
    file : str
    line : int
    text : str
        What is written there, with its indentation; without a line, the name of the layer or node.
    operations : str
        The steps that it makes: "multiply ×6, add".
    steps : int
        How many there are.
    shape : tuple of int
        The shape of what it computes in the end.
    sensitivity : float
        The largest derivative of the cost, in size, by an entry of what it computes; NaN if the cost does not depend on
        that, or if it was not asked for.
    rows : tuple of StepRow
        The steps, if sensitivities were asked for.
    """

    file: str
    line: int
    text: str
    operations: str
    steps: int
    shape: tuple[int, ...]
    sensitivity: float
    rows: tuple[StepRow, ...] = ()

    @property
    def verdict(self) -> str:
        """What is known of the user's way back at this line, from the verdicts on its steps.

        A line at which something right becomes something wrong is ``"wrong from here on"``.
        """
        kinds = {row.verdict for row in self.rows}
        if TURNING in kinds or {RIGHT, WRONG} <= kinds:
            return TURNING
        return next((kind for kind in (WRONG, UNKNOWN, RIGHT) if kind in kinds), "")


def source_lines(
    engine: RulesEngine, theta: NDArray[np.float64], names: Sequence[str] = (),
    verdicts: StepVerdicts = lambda program: {},
) -> tuple[SourceLine, ...]:  # fmt: skip
    """Returns the lines of a traced function, in the order in which they run first, with their sensitivities.

    Parameters
    ----------
    engine : RulesEngine
        That of the function's program.
    theta : ndarray, shape (size,)
        The parameters.
    names : sequence of str, optional
        Their arrays.
    verdicts : callable, optional
        ``verdicts(program)`` says what is known of the sensitivities of its steps.
    """
    program = engine.program
    with engine.at(theta, 1) as point:
        bars = point.sensitivities()
    called = dict(zip(program.parameters, names, strict=False))  # a loss may be looked at without its own arrays
    numbered = {row.number: row for row in _rows(program.steps, bars, verdicts(program), called)}
    found = []
    for numbers, line in _by_line(program.steps, bars):
        found.append(line._replace(rows=tuple(numbered[number] for number in numbers)))
    return tuple(found)


def lines_of(steps: Sequence[Step], bars: Mapping[int, NDArray[np.float64]] | None = None) -> tuple[SourceLine, ...]:
    """Returns the lines of the steps of a traced function; with the sensitivities of the steps, if these are given."""
    return tuple(line for _, line in _by_line(steps, bars))


def _by_line(
    steps: Sequence[Step], bars: Mapping[int, NDArray[np.float64]] | None
) -> Iterator[tuple[list[int], SourceLine]]:
    """Yields the lines, each with the numbers of its steps."""
    rows: dict[tuple[str, int, str], list[int]] = {}
    for number, step in enumerate(steps):
        if step.name not in _LEAVES:
            rows.setdefault(_place(step.source), []).append(number)
    read = _read_elsewhere(steps)
    for (file, line, name), numbers in rows.items():
        names = Counter(steps[number].name for number in numbers)
        said = ", ".join(name if count == 1 else f"{name} ×{count}" for name, count in names.items())
        sizes = [float(np.abs(bars[k]).max(initial=0.0)) for k in numbers if bars and k in bars and k in read]
        text = linecache.getline(file, line).rstrip() if line else name
        size = max(sizes, default=np.nan)
        yield numbers, SourceLine(file, line, text, said, len(numbers), steps[numbers[-1]].shape, size)


def _rows(
    steps: Sequence[Step], bars: Mapping[int, NDArray[np.float64]], verdicts: Mapping[int, str],
    parameters: Mapping[int, str],
) -> Iterator[StepRow]:  # fmt: skip
    """Yields the steps as they are shown."""
    names = {number: found[-1].name for number, found in variables(steps).items()} | dict(parameters)
    for number, step in enumerate(steps):
        if step.name not in _LEAVES:
            size = float(np.abs(bars[number]).max(initial=0.0)) if number in bars else np.nan
            inputs = tuple(names.get(k) or _words(steps[k], k) for k in step.inputs)
            yield StepRow(number, step.name, names.get(number, ""), step.shape, inputs, size, verdicts.get(number, ""))


def _words(step: Step, number: int) -> str:
    """Returns what a step without a variable is called where another reads it."""
    return f"#{number}" if step.name not in _LEAVES else step.source.name or step.name


def table(lines: Iterable[SourceLine]) -> str:
    """Writes lines as a table: by file, if there are several; with sensitivities, if any are known."""
    rows = list(lines)
    has_several_files, file = len({row.file for row in rows}) > 1, ""
    has_sizes = any(row.sensitivity == row.sensitivity for row in rows)
    width = max((len(row.operations) for row in rows[:_MOST_LINES]), default=0)
    width = min(max(width, len("operations")), 40)
    title = f"{'|dE/dvalue|':>11}  " if has_sizes else ""
    said = [f"{'line':>6}  {'steps':>6}  {'shape':<16}  {title}{'operations':<{width}}  source"]
    for row in rows[:_MOST_LINES]:
        if has_several_files and row.file != file:
            said.append(row.file)
            file = row.file
        size = "" if row.sensitivity != row.sensitivity else f"{row.sensitivity:.2e}"
        size = f"{size:>11}  " if has_sizes else ""
        text = cut(row.text.strip(), _MOST_SHOWN)
        words = f"{row.line or '':>6}  {row.steps:>6}  {row.shape!s:<16}  {size}{row.operations:<{width}}  {text}"
        said.append(words.rstrip())
    if len(rows) > _MOST_LINES:
        said.append(f"… and {len(rows) - _MOST_LINES} more lines")
    return "\n".join(said)


def _place(source: Source) -> tuple[str, int, str]:
    """Returns the file and line that steps belong to, or, without a line, the layer or node."""
    return source.file, source.line, "" if source.line else source.name


def _read_elsewhere(steps: Sequence[Step]) -> set[int]:
    """Returns the steps that a step of another line reads, or none: what their lines are for."""
    own, elsewhere = set[int](), set[int]()
    for step in steps:
        for source in step.inputs:
            is_own = _place(steps[source].source) == _place(step.source)
            (own if is_own else elsewhere).add(source)
    return elsewhere | (set(range(len(steps))) - own)
