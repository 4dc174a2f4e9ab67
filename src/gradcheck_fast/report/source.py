"""Shows lines of the user's source: those that a diagnosis is about, and those of a traced loss."""

from __future__ import annotations

import linecache
import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from gradcheck_fast.inputs.users_files import cut

if TYPE_CHECKING:
    from gradcheck_fast.frontends.numpy_trace.lines import SourceLine

#: How many lines are shown before and after each line.
CONTEXT = 2
#: So many characters of a line are shown, at most.
_MOST_SHOWN = 92
#: Lines of a file that are no farther apart than this are shown in one piece.
_NEAR = 2 * CONTEXT
#: Lines of a traced loss that are no farther apart than this are shown with those between them.
_BETWEEN = 12


class Row(NamedTuple):
    """A line of an excerpt.

    Attributes
    ----------
    number : int
    text : str
        Without the spaces that all lines of the excerpt begin with.
    is_marked : bool
        Whether it is one of the lines that the excerpt is about.
    """

    number: int
    text: str
    is_marked: bool


class Excerpt(NamedTuple):
    """Some lines of a file around those that something is said about.

    Attributes
    ----------
    file : str
    line : int
        The first line that it is about.
    rows : tuple of Row
    """

    file: str
    line: int
    rows: tuple[Row, ...]

    @property
    def place(self) -> str:
        """The file and the line, as compilers write it; the file from the working directory on, if it lies in that."""
        return f"{short_path(self.file)}:{self.line}"


def excerpts(lines: Iterable[tuple[str, int]]) -> list[Excerpt]:
    """Returns the lines with those around them, as far as their files can be read; near ones are shown together.

    Parameters
    ----------
    lines : iterable of (str, int)
        Files, and the numbers of lines in them.
    """
    by_file: dict[str, set[int]] = {}
    for file, line in lines:
        if 0 < line <= len(linecache.getlines(file)):
            by_file.setdefault(file, set()).add(line)
    found = []
    for file, numbers in by_file.items():
        pieces: list[list[int]] = []
        for number in sorted(numbers):
            if pieces and number - pieces[-1][-1] <= _NEAR:
                pieces[-1].append(number)
            else:
                pieces.append([number])
        found += [Excerpt(file, piece[0], _rows(file, piece)) for piece in pieces]
    return found


def in_text(excerpt: Excerpt) -> list[str]:
    """Writes an excerpt as lines of text: its place, and the lines with their numbers; ``>`` points at some of them."""
    width = len(str(excerpt.rows[-1].number))
    said = [f"  --> {excerpt.place}"]
    for row in excerpt.rows:
        said.append(f"  {'>' if row.is_marked else ' '} {row.number:>{width}} | {cut(row.text, _MOST_SHOWN)}".rstrip())
    return said


def listing(lines: Sequence[SourceLine]) -> list[tuple[str, list[tuple[Row, SourceLine | None]]]]:
    """Returns the source of a traced loss by file: each line, and what it computes, or None if that is nothing.

    Lines between those that compute something are shown, unless they are many. Of a file that cannot be read the lines
    show their steps in place of the text. What has no line, such as the nodes of a graph, comes last, by its name.
    """
    by_file: dict[str, dict[int, SourceLine]] = {}
    others: list[tuple[Row, SourceLine | None]] = []
    for line in lines:
        if line.line:
            by_file.setdefault(line.file, {})[line.line] = line
        else:
            others.append((Row(0, line.text or line.operations, True), line))
    found: list[tuple[str, list[tuple[Row, SourceLine | None]]]] = []
    for file, computing in by_file.items():
        if not any(linecache.getline(file, number) for number in computing):
            unread = ((Row(number, f"({line.operations})", True), line) for number, line in sorted(computing.items()))
            found.append((file, list(unread)))
            continue
        shown: list[int] = []
        for number in sorted(computing):
            if shown and number - shown[-1] <= _BETWEEN:
                shown += range(shown[-1] + 1, number)
            shown.append(number)
        texts = _dedented([linecache.getline(file, number) for number in shown])
        rows = (Row(number, text, number in computing) for number, text in zip(shown, texts, strict=True))
        found.append((file, [(row, computing.get(row.number)) for row in rows]))
    return [*found, *([("", others)] if others else [])]


def short_path(file: str) -> str:
    """Returns a path from the working directory on, if the file lies in that."""
    try:
        relative = os.path.relpath(file)
    except ValueError:  # on another drive
        return file
    return file if file.startswith("<") or relative.startswith(os.pardir) else relative


def _rows(file: str, marked: Sequence[int]) -> tuple[Row, ...]:
    last = len(linecache.getlines(file))
    numbers = range(max(marked[0] - CONTEXT, 1), min(marked[-1] + CONTEXT, last) + 1)
    texts = _dedented([linecache.getline(file, number) for number in numbers])
    return tuple(Row(number, text, number in marked) for number, text in zip(numbers, texts, strict=True))


def _dedented(lines: Sequence[str]) -> list[str]:
    """Takes away the spaces that all lines begin with."""
    texts = [line.rstrip().expandtabs(4) for line in lines]
    common = min((len(text) - len(text.lstrip()) for text in texts if text), default=0)
    return [text[common:] for text in texts]
