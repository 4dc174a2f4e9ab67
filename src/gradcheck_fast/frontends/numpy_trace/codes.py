"""Finds the rewritten code of a function: compiles the source of its file twice, as it is and with its calls rewritten.

The functions of both are paired in the order in which they stand in the file. A function's own code is then looked up
by what it does, line by line of bytecode, so that a source that has been changed since it was imported is noticed.
"""

from __future__ import annotations
import __future__

import ast
import linecache
import threading
import warnings
from collections.abc import Iterator
from functools import lru_cache
from types import CodeType
from typing import Any, TypeAlias

from gradcheck_fast.frontends.numpy_trace.syntax import CALL, ITEMS, Rewriting

#: Pairs of (code as it is, rewritten code), by name and first line.
_Pairs: TypeAlias = dict[tuple[str, int], list[tuple[CodeType, CodeType]]]

# A notebook's cell may wait at its top level. Its source does not show that an earlier cell imported annotations.
_ALWAYS = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
_INHERITED = __future__.annotations.compiler_flag

#: What no code refers to but that of a test module whose asserts pytest has rewritten.
_OF_PYTEST = "@py"

_lock = threading.RLock()  # of warnings' filters, which belong to all threads


def rewritten_code(code: CodeType, global_names: dict[str, Any]) -> CodeType | None:
    """The code of a function with its calls and assignments rewritten, and constants for the hooks.

    It is None if there is no source, if the source is not that of this code, or if it cannot be rewritten. `code` may
    itself be rewritten code, with other hooks.
    """
    source = _source(code, global_names)
    if not source:
        return None
    wanted, equal = _contents(code), []
    for has_imports in (True, False):
        try:
            pairs = _pairs(code.co_filename, source, code.co_flags & _INHERITED, has_imports)
        except (RecursionError, MemoryError):
            return None
        candidates = pairs.get((code.co_name, code.co_firstlineno), [])
        equal = [pair for pair in candidates if wanted in (_contents(pair[0]), _contents(pair[1]))]
        if equal or not candidates:
            break
    if not equal and _is_of_pytest(code):
        equal = [pair for pair in candidates if _may_be(pair[0], code)]
        equal = equal if len(equal) == 1 else []
    # Equal functions that begin in one line do the same; the columns decide which of them a traceback shows.
    equal.sort(key=lambda pair: pair[0].co_linetable != code.co_linetable)
    return equal[0][1] if equal else None


def codes_of_file(filename: str, source: str) -> list[CodeType]:
    """The rewritten codes of the functions of a file."""
    flags = _INHERITED if "from __future__ import annotations" in source else 0
    pairs = _pairs(filename, source, flags, True).values()
    return [rewritten for pairs_of_name in pairs for _, rewritten in pairs_of_name]


def with_hooks(code: CodeType, call: object, items: object) -> CodeType:
    """The code, and all codes in it, with hooks in the place of the constants `CALL` and `ITEMS`."""

    def replaced(constant: object) -> object:
        if isinstance(constant, CodeType):
            return with_hooks(constant, call, items)
        if isinstance(constant, str):
            return call if constant == CALL else items if constant == ITEMS else constant
        return constant

    return code.replace(co_consts=tuple(map(replaced, code.co_consts)))


def codes_in(code: CodeType) -> Iterator[CodeType]:
    """The code and all codes in it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from codes_in(constant)


def _source(code: CodeType, global_names: dict[str, Any]) -> str:
    linecache.checkcache(code.co_filename)
    lines = linecache.getlines(code.co_filename, global_names)
    if not lines:
        of_code = getattr(linecache, "_getlines_from_code", None)  # of what is typed in, from Python 3.13 on
        lines = of_code(code) if of_code is not None else []
    return "".join(lines)


@lru_cache(maxsize=64)
def _pairs(filename: str, source: str, flags: int, has_imports: bool) -> _Pairs:
    """Pairs the codes of a file as it is, or as it is without its imports.

    Methods of what a file imports are called by other bytecode. So a definition that was compiled by itself, and not
    with the rest of its file, differs.
    """
    pairs: _Pairs = {}
    try:
        with _lock, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(source, filename)
            original = _compiled(tree if has_imports else _WithoutImports().visit(tree), filename, flags)
            rewritten = _compiled(Rewriting().visit(tree), filename, flags)
    except (SyntaxError, ValueError):
        return pairs
    pending = [(original, rewritten)]
    while pending:
        pair = pending.pop()
        inner = [[constant for constant in code.co_consts if isinstance(constant, CodeType)] for code in pair]
        if [_identity(code) for code in inner[0]] != [_identity(code) for code in inner[1]]:
            continue
        for was, now in zip(*inner, strict=True):
            pending.append((was, now))
            pairs.setdefault((was.co_name, was.co_firstlineno), []).append((was, now))
    return pairs


class _WithoutImports(ast.NodeTransformer):
    """Leaves out the imports of a module, but not those of its functions and classes."""

    def visit_Import(self, node: ast.Import) -> ast.stmt:
        return ast.copy_location(ast.Pass(), node)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.stmt:
        return ast.copy_location(ast.Pass(), node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.stmt:
        return node

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.stmt:
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.stmt:
        return node


def _compiled(tree: ast.Module, filename: str, flags: int) -> CodeType:
    code: CodeType = compile(tree, filename, "exec", flags=flags | _ALWAYS, dont_inherit=True)
    return code


def _identity(code: CodeType) -> tuple[object, ...]:
    arguments = code.co_argcount + code.co_kwonlyargcount + bool(code.co_flags & 4) + bool(code.co_flags & 8)
    name = getattr(code, "co_qualname", code.co_name)  # from Python 3.11 on
    return name, code.co_firstlineno, code.co_varnames[:arguments], code.co_freevars


def _contents(code: CodeType) -> tuple[object, ...]:
    """What a code does, as a value to compare. Comparing codes does not do: in Python 3.11 codes that ran differ."""
    counts = code.co_posonlyargcount, code.co_argcount, code.co_kwonlyargcount
    names = code.co_name, code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars
    return code.co_firstlineno, counts, names, code.co_code, tuple(map(_constant, code.co_consts))


def _constant(constant: object) -> object:
    if isinstance(constant, CodeType):
        return _contents(constant)
    if isinstance(constant, frozenset):
        return sorted(map(repr, constant))
    kind = type(constant)
    if kind.__module__ != "builtins" or (kind is str and constant in (CALL, ITEMS)):
        return "a hook"
    return kind, repr(constant)


def _is_of_pytest(code: CodeType) -> bool:
    return any(name.startswith(_OF_PYTEST) for inner in codes_in(code) for name in inner.co_names + inner.co_varnames)


def _may_be(plain: CodeType, of_pytest: CodeType) -> bool:
    return _identity(plain) == _identity(of_pytest) and set(plain.co_names) <= set(of_pytest.co_names)
