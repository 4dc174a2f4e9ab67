"""Finds the statement of the user's file that a step belongs to."""

from __future__ import annotations

import ast
import linecache
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from gradcheck_fast.program.program import Source


class StatementLines(NamedTuple):
    """A statement of a user's file.

    Attributes
    ----------
    file : str
    first, last : int
        Its lines.
    """

    file: str
    first: int
    last: int


class Statements:
    """The statements of the user's files, as these are when the first line of each is asked for."""

    def __init__(self) -> None:
        self._files: dict[str, dict[int, tuple[int, int]]] = {}

    def of(self, source: Source) -> StatementLines:
        """Returns the statement that a line belongs to; the line by itself if there is no source of it."""
        if source.file not in self._files:
            self._files[source.file] = _by_line(tuple(linecache.getlines(source.file)))
        first, last = self._files[source.file].get(source.line, (source.line, source.line))
        return StatementLines(source.file, first, last)


@lru_cache(maxsize=64)
def _by_line(lines: tuple[str, ...]) -> dict[int, tuple[int, int]]:
    """Returns by line the first and last line of the shortest statement there.

    Of a statement that has others in it, such as a loop, these are the lines of its head.
    """
    try:
        tree = ast.parse("".join(lines))
    except (SyntaxError, ValueError):
        return {}
    found: list[tuple[int, int]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.stmt) and node.end_lineno is not None:
            body = getattr(node, "body", None)
            last = body[0].lineno - 1 if isinstance(body, list) and body else node.end_lineno
            found.append((node.lineno, max(node.lineno, last)))
    by_line: dict[int, tuple[int, int]] = {}
    for first, last in sorted(found, key=lambda ends: ends[1] - ends[0]):
        for line in range(first, last + 1):
            by_line.setdefault(line, (first, last))
    return by_line
