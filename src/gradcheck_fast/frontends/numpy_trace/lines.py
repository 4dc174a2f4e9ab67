"""Shows a traced function by the lines of its source, with how much the cost depends on what each computes.

Steps of a graph that has no lines are shown by the layer or node that they come from.
"""

from __future__ import annotations

import linecache
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from gradcheck_fast.inputs.users_files import cut

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck_fast.engine.rules import RulesEngine
    from gradcheck_fast.program.program import Source, Step

#: A table shows this many lines at most.
_MOST_LINES = 200
#: So many characters of a line of source are shown, at most.
_MOST_SHOWN = 60


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
    """

    file: str
    line: int
    text: str
    operations: str
    steps: int
    shape: tuple[int, ...]
    sensitivity: float


def source_lines(engine: RulesEngine, theta: NDArray[np.float64]) -> tuple[SourceLine, ...]:
    """Returns the lines of a traced function, in the order in which they run first, with their sensitivities.

    Parameters
    ----------
    engine : RulesEngine
        That of the function's program.
    theta : ndarray, shape (size,)
        The parameters.
    """
    steps = engine.program.steps
    with engine.at(theta, 1) as point:
        return lines_of(steps, point.sensitivities())


def lines_of(steps: Sequence[Step], bars: Mapping[int, NDArray[np.float64]] | None = None) -> tuple[SourceLine, ...]:
    """Returns the lines of the steps of a traced function; with the sensitivities of the steps, if these are given."""
    rows: dict[tuple[str, int, str], list[int]] = {}
    for number, step in enumerate(steps):
        if step.name not in ("parameter", "constant"):
            rows.setdefault(_place(step.source), []).append(number)
    read = _read_elsewhere(steps)
    found = []
    for (file, line, name), numbers in rows.items():
        names = Counter(steps[number].name for number in numbers)
        said = ", ".join(name if count == 1 else f"{name} ×{count}" for name, count in names.items())
        sizes = [float(np.abs(bars[k]).max(initial=0.0)) for k in numbers if bars and k in bars and k in read]
        found.append(
            SourceLine(
                file, line, linecache.getline(file, line).rstrip() if line else name, said, len(numbers),
                steps[numbers[-1]].shape, max(sizes, default=np.nan),
            )
        )  # fmt: skip
    return tuple(found)


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
