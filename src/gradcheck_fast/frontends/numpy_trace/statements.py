"""Finds the statement of the user's file that a step belongs to."""

from __future__ import annotations

import ast
import linecache
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from gradcheck_fast.program.program import Source


class Place(NamedTuple):
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


def place_of(source: Source) -> Place:
    """Returns the statement that a line belongs to; the line by itself if there is no source of it."""
    lines = tuple(linecache.getlines(source.file))
    for first, last in _statements(lines):
        if first <= source.line <= last:
            return Place(source.file, first, last)
    return Place(source.file, source.line, source.line)


@lru_cache(maxsize=64)
def _statements(lines: tuple[str, ...]) -> list[tuple[int, int]]:
    """Returns the lines of all statements that have no others in them, and of the heads of those that do."""
    try:
        tree = ast.parse("".join(lines))
    except (SyntaxError, ValueError):
        return []
    found: list[tuple[int, int]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.stmt) and node.end_lineno is not None:
            body = getattr(node, "body", None)
            last = body[0].lineno - 1 if isinstance(body, list) and body else node.end_lineno
            found.append((node.lineno, max(node.lineno, last)))
    return sorted(found, key=lambda ends: ends[1] - ends[0])
