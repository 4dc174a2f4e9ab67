"""Reads from the user's source which variables the steps of a trace are assigned to.

A trace knows the line of each step, and from where its function was called, but no names. The statement at that line
has them: of the steps that one visit of it makes, the last one that is read elsewhere is what it assigns. What a
function returns belongs to the variable that the caller assigns it to.
"""

from __future__ import annotations

import ast
import linecache
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from gradcheck_fast.program.program import Source, Step

#: A place among the values that a function returns, and their number; None: it returns one.
Position: TypeAlias = "tuple[int, int] | None"
#: Expressions that only hand on what is known already.
_PLAIN = (ast.Name, ast.Attribute, ast.Constant)
#: An expression without any of these computes nothing.
_COMPUTING = (ast.Call, ast.BinOp, ast.UnaryOp, ast.Compare, ast.Subscript, ast.IfExp)


class Variable(NamedTuple):
    """What a step is assigned to.

    Attributes
    ----------
    name : str
        As it is written: ``z1``, ``h[t]``, ``self.a1``, ``p['z1']``.
    source : Source
        Where it is assigned, which for a value that a function returns is where that was called.
    """

    name: str
    source: Source


class Assignment(NamedTuple):
    """An assignment or a return.

    Attributes
    ----------
    node : ast.stmt
    line : int
        Where it begins.
    targets : tuple of str
        The names that are assigned, several if a tuple is unpacked, "" for what is no name; empty for a return.
    value : ast.expr or None
        What is assigned or returned.
    function : ast.AST or None
        The function that it belongs to.
    """

    node: ast.AST
    line: int
    targets: tuple[str, ...]
    value: ast.expr | None
    function: ast.AST | None


class _Level(NamedTuple):
    """One function on the way to a step: the instruction that runs in it, and the statement that this belongs to."""

    source: Source
    statement: Assignment | None


@lru_cache(maxsize=64)
def _by_line(lines: tuple[str, ...]) -> dict[int, Assignment | None]:
    """Returns the assignments and returns of a file of source, by line."""
    found: dict[int, Assignment | None] = {}
    try:
        tree = ast.parse("".join(lines))
    except (SyntaxError, ValueError):  # a cell of a notebook may have commands in it that are not Python
        return found
    for statement in _statements(tree, None):
        last = getattr(statement.node, "end_lineno", None) or statement.line
        for line in range(statement.line, last + 1):
            # two statements on one line cannot be told apart
            found[line] = None if line in found else statement
    return found


def variables(steps: Sequence[Step]) -> dict[int, tuple[Variable, ...]]:
    """Finds out what the steps of a traced function are assigned to.

    Parameters
    ----------
    steps : sequence of Step
        All steps of a program.

    Returns
    -------
    dict of int to tuple of Variable
        By the numbers of the steps that are assigned to variables, the innermost function's first.
    """
    files: dict[str, dict[int, Assignment | None]] = {}
    paths: dict[Source, list[_Level]] = {}
    by_depth: dict[int, list[int]] = {}
    for number, step in enumerate(steps):
        source = step.source
        if not source.line or step.name in ("constant", "parameter"):
            continue
        if source not in paths:
            paths[source] = _path(source, files)
        by_depth.setdefault(len(paths[source]), []).append(number)
    readers = _last_readers(steps)
    found: dict[int, list[Variable]] = {}
    returned: dict[int, Position] = {}
    for depth in range(max(by_depth, default=0), 0, -1):
        there = sorted({*by_depth.get(depth, ()), *returned})
        at = {number: paths[steps[number].source] for number in there}
        returned = _of_depth(depth - 1, steps, there, at, returned, readers, found)
    return {number: tuple(variables) for number, variables in found.items()}


def _path(source: Source, files: dict[str, dict[int, Assignment | None]]) -> list[_Level]:
    """Returns the functions on the way to an instruction, the outermost first."""
    levels: list[_Level] = []
    at: Source | None = source
    while at is not None and at.line:
        if at.file not in files:
            files[at.file] = _by_line(tuple(linecache.getlines(at.file)))
        levels.append(_Level(at, files[at.file].get(at.line)))
        at = at.caller
    levels.reverse()
    path: list[_Level] = []
    for level in levels:  # a comprehension is a function of its own, in the same statement
        if not path or level.statement is None or level.statement is not path[-1].statement:
            path.append(level)
    return path


def _of_depth(
    depth: int, steps: Sequence[Step], there: Sequence[int], at: Mapping[int, list[_Level]],
    returned: Mapping[int, Position], readers: Sequence[int | None], found: dict[int, list[Variable]],
) -> dict[int, Position]:  # fmt: skip
    """Names what the statements at one depth of calls assign; returns the steps that their functions return."""
    up: dict[int, Position] = {}
    bound: dict[tuple[object, str], list[tuple[int, int]]] = {}
    for visit in _visits(depth, steps, there, at, returned):
        level = at[visit[0]][depth]
        statement = level.statement
        if statement is None or statement.value is None:
            continue
        # whether it takes what the function that is called returns, and computes nothing
        passes = isinstance(statement.value, ast.Call) and not isinstance(statement.node, ast.AugAssign)
        ends = visit[-1]
        outs = [k for k in visit if (passes and returned.get(k)) or _is_read_after(readers[k], ends)]
        if passes and any(k in returned for k in outs):
            outs = [k for k in outs if k in returned]
        placed = _placed(statement, outs, returned if passes else {})
        caller = at[visit[0]][depth - 1].source if depth else None
        for number, position in placed:
            if not statement.targets:
                up[number] = position
                continue
            name = statement.targets[position[0] if position else 0]
            if name:
                found.setdefault(number, []).append(Variable(name, at[number][depth].source))
                key = (caller, id(statement.function))
                bound.setdefault((key, name), []).append((statement.line, number))
                for other, place in _returns(statement.function):
                    if other == name:
                        up[number] = place
    for bindings in bound.values():  # of what is bound twice in one call, the first is not returned
        last = max(line for line, _ in bindings)
        for line, number in bindings:
            if line < last:
                up.pop(number, None)
    return up


def _visits(
    depth: int, steps: Sequence[Step], there: Sequence[int], at: Mapping[int, list[_Level]],
    returned: Mapping[int, Position],
) -> Iterator[list[int]]:  # fmt: skip
    """Yields the steps that belong to one visit of a statement. A loop goes back to an earlier instruction."""
    by_call: dict[object, list[int]] = {}
    for number in there:
        by_call.setdefault(at[number][depth - 1].source if depth else None, []).append(number)
    for numbers in by_call.values():
        visit: list[int] = []
        for number in numbers:
            if visit:
                before, now = at[visit[-1]][depth], at[number][depth]
                is_same = before.statement is now.statement and before.statement is not None
                if not is_same or now.source.instruction < before.source.instruction:
                    yield from _repeated(depth, steps, visit, at, returned)
                    visit = []
            visit.append(number)
        if visit:
            yield from _repeated(depth, steps, visit, at, returned)


def _repeated(
    depth: int, steps: Sequence[Step], visit: list[int], at: Mapping[int, list[_Level]],
    returned: Mapping[int, Position],
) -> Iterator[list[int]]:  # fmt: skip
    """Yields the visits of a statement of one instruction, which a loop comes to without leaving it."""
    statement = at[visit[0]][depth].statement
    is_one = len({at[number][depth].source.instruction for number in visit}) == 1
    if not is_one or len(statement.targets if statement else ()) != 1 or any(k in returned for k in visit):
        yield visit
        return
    names, count = [steps[number].name for number in visit], len(visit)
    period = next(n for n in range(1, count + 1) if count % n == 0 and names == names[:n] * (count // n))
    for begin in range(0, count, period):
        yield visit[begin : begin + period]


def _placed(statement: Assignment, outs: Sequence[int], returned: Mapping[int, Position]) -> list[tuple[int, Position]]:
    """Says which of the steps that leave a statement is which of the values that it assigns or returns."""
    if not outs:
        return []
    value, count = statement.value, len(statement.targets)
    elements = list(value.elts) if isinstance(value, (ast.Tuple, ast.List)) else []
    if not statement.targets:
        count = len(elements)
    if elements and len(elements) == count and count > 1:
        computed = [k for k, element in enumerate(elements) if _computes(element)]
        if len(outs) != len(computed):
            return []
        return [(number, (k, count)) for number, k in zip(outs, computed, strict=True)]
    placed = [(number, returned[number]) for number in outs if returned.get(number)]
    if placed:
        if not statement.targets:
            return list(placed)
        return [(number, place) for number, place in placed if place and place[1] == count]
    if count <= 1:
        return [(outs[-1], None)]
    if len(outs) % count:
        return []
    return [(number, (k % count, count)) for k, number in enumerate(outs)]


def _statements(node: ast.AST, function: ast.AST | None) -> Iterator[Assignment]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield from _statements(child, child)
        elif isinstance(child, (ast.Assign, ast.AnnAssign, ast.AugAssign, ast.Return)):
            body = next((part for part in ast.walk(child) if isinstance(part, ast.Lambda)), None)
            if body is not None:  # what runs there is the lambda
                yield Assignment(child, child.lineno, (), body.body, body)
                continue
            target = child.targets[0] if isinstance(child, ast.Assign) else getattr(child, "target", None)
            names = () if target is None else tuple(_names(target))
            yield Assignment(child, child.lineno, names, child.value, function)
        elif isinstance(child, (ast.stmt, ast.ExceptHandler, ast.match_case)):
            yield from _statements(child, function)


def _names(target: ast.expr) -> Iterator[str]:
    if isinstance(target, (ast.Tuple, ast.List)):
        for element in target.elts:
            yield "" if isinstance(element, (ast.Tuple, ast.List, ast.Starred)) else ast.unparse(element)
    else:
        yield ast.unparse(target)


def _returns(function: ast.AST | None) -> Iterator[tuple[str, Position]]:
    """Yields the names that a function returns, with their places."""
    if not isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef)):
        return
    for statement in _statements(function, function):
        if isinstance(statement.node, ast.Return) and statement.function is function:
            value = statement.value
            if isinstance(value, (ast.Tuple, ast.List)):
                for k, element in enumerate(value.elts):
                    if isinstance(element, (ast.Name, ast.Attribute)):
                        yield ast.unparse(element), (k, len(value.elts))
            elif isinstance(value, (ast.Name, ast.Attribute)):
                yield ast.unparse(value), None


def _computes(element: ast.expr) -> bool:
    return not isinstance(element, _PLAIN) and any(isinstance(part, _COMPUTING) for part in ast.walk(element))


def _last_readers(steps: Sequence[Step]) -> list[int | None]:
    """Returns the last step that reads each step."""
    found: list[int | None] = [None] * len(steps)
    for number, step in enumerate(steps):
        for source in step.inputs:
            found[source] = number
    return found


def _is_read_after(reader: int | None, number: int) -> bool:
    return reader is None or reader > number


def words_of(name: str) -> tuple[str, ...]:
    """Returns the names by which a variable may be meant, the most exact first: ``self.h[t]`` is ``h``, too.

    Parameters
    ----------
    name : str
        As `Variable.name`.
    """
    try:
        node: ast.AST = ast.parse(name, mode="eval").body
    except (SyntaxError, ValueError):
        return (name,)
    found = [name]
    while isinstance(node, (ast.Subscript, ast.Attribute)):
        if isinstance(node, ast.Attribute):
            found.append(node.attr)
            break
        if isinstance(node.slice, ast.Constant) and isinstance(node.slice.value, str):
            found.append(node.slice.value)
            break
        node = node.value
        found.append(ast.unparse(node))
    if isinstance(node, ast.Attribute):
        found.append(node.attr)
    return tuple(dict.fromkeys(found))
