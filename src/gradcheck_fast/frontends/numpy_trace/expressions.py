"""Finds the text of the expression that a step comes from, such as ``1 - z`` in the middle of a line."""

from __future__ import annotations

import ast
import linecache
import sys
from functools import lru_cache
from typing import TYPE_CHECKING

from gradcheck_fast.frontends.numpy_trace.codes import codes_of_file
from gradcheck_fast.inputs.users_files import cut

if TYPE_CHECKING:
    from gradcheck_fast.program.program import Source

#: The first and the last line of an expression, and the columns at which it begins and ends, in bytes.
_Position = tuple[int | None, int | None, int | None, int | None]
#: So many characters of an expression are shown, at most.
_MOST_SHOWN = 40
#: Operands are told apart if there are so many.
_OPERANDS = 2


def text_of_expression(source: Source) -> str:
    """Returns the text of the expression that an instruction computes; "" if it is not known, as in Python 3.10."""
    return cut(_text(source), _MOST_SHOWN)


def text_of_operand(source: Source, k: int) -> str:
    """Returns the text of an operand, or argument, of the expression that an instruction computes; "" if not known."""
    try:
        (statement,) = ast.parse(_text(source)).body
    except (SyntaxError, ValueError):
        return ""
    node = statement.value if isinstance(statement, ast.Expr) else statement
    operands: list[ast.expr] = []
    if isinstance(node, ast.BinOp):
        operands = [node.left, node.right]
    elif isinstance(node, ast.AugAssign):
        operands = [node.target, node.value]
    elif isinstance(node, ast.Call):
        operands = node.args
    return cut(ast.unparse(operands[k]), _MOST_SHOWN) if k < len(operands) == _OPERANDS else ""


def _text(source: Source) -> str:
    lines = tuple(linecache.getlines(source.file))
    places = {_segment(lines, position) for position in _positions(source.file, lines, source.line, source.instruction)}
    return places.pop() if len(places) == 1 else ""


@lru_cache(maxsize=1024)
def _positions(file: str, lines: tuple[str, ...], line: int, instruction: int) -> list[_Position]:
    """Returns the positions of an instruction of a line, in each function of the file that has it."""
    return [
        position
        for places in _tables(file, lines)
        if instruction // 2 < len(places) and (position := places[instruction // 2])[0] == line
    ]


@lru_cache(maxsize=16)
def _tables(file: str, lines: tuple[str, ...]) -> list[list[_Position]]:
    """Returns for each function of a file the positions of its instructions."""
    if sys.version_info < (3, 11):
        return []
    return [list(code.co_positions()) for code in codes_of_file(file, "".join(lines))]


def _segment(lines: tuple[str, ...], position: _Position) -> str:
    first, last, begin, end = position
    if first is None or last is None or begin is None or end is None or last > len(lines):
        return ""
    rows = [line.encode() for line in lines[first - 1 : last]]
    rows[-1] = rows[-1][:end]
    rows[0] = rows[0][begin:]
    return " ".join(row.decode(errors="replace").strip() for row in rows)
