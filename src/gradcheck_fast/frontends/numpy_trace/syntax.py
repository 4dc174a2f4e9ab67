"""Rewrites the syntax tree of a file so that its calls and its assignments to items go through constants.

A call `f(a, k=b)` becomes `CALL.call(f, a, k=b)`, where `CALL` is a string constant; `rewrite.py` puts a hook in its
place in the compiled code, so that no name has to be added to anybody's globals or builtins. Assignments call methods
of the constant `ITEMS`:

=================  ==================================================================
`x[k] = v`         `if ITEMS.assign(v, x, k, True): x = ITEMS.take()`
`x[k] += v`        `if ITEMS.update("iadd", ITEMS.load(x, k), v, True): x = ITEMS.take()`
`f(x)[k] = v`      `ITEMS.assign(v, f(x), k, False)`
`np.c_[a, b]`      `CALL.call(np.c_.__getitem__, (a, b))`
`a, x[k] = v`      `@1, @2 = v; a = @1; x[k] = @2; del @1, @2`, and then as above
=================  ==================================================================

The order of evaluation is Python's. The names with an @ are variables of the function, and no program can write them.
"""

from __future__ import annotations

import ast
import copy
import sys
from collections.abc import Iterable, Sequence
from typing import TypeVar

#: The constants that stand for the hook, and for what assignments call.
CALL, ITEMS = "<gradcheck_fast: the hook of calls>", "<gradcheck_fast: the hook of items>"

#: Calls by these names stay as they are. All but print look at the frame that they are called from.
UNTOUCHED = frozenset({
    "super", "locals", "globals", "vars", "dir", "eval", "exec", "__import__", "breakpoint",
    "print", "warn", "warnings.warn", "namedtuple", "collections.namedtuple",
    "sys._getframe", "inspect.currentframe", "inspect.stack", "currentframe",
})  # fmt: skip

#: NumPy's objects that join arrays when they are indexed, by the names under which they are used.
JOINERS = frozenset({"c_", "r_"})

#: The functions of the module `operator` that do what the statements do.
IN_PLACE: dict[type[ast.operator], str] = {
    ast.Add: "iadd", ast.Sub: "isub", ast.Mult: "imul", ast.MatMult: "imatmul", ast.Div: "itruediv",
    ast.FloorDiv: "ifloordiv", ast.Mod: "imod", ast.Pow: "ipow", ast.LShift: "ilshift", ast.RShift: "irshift",
    ast.BitOr: "ior", ast.BitXor: "ixor", ast.BitAnd: "iand",
}  # fmt: skip

_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)

_Function = TypeVar("_Function", ast.FunctionDef, ast.AsyncFunctionDef)

_at = ast.copy_location


class Rewriting(ast.NodeTransformer):
    """Rewrites a module's tree in place; annotations and base classes stay as they are."""

    def __init__(self) -> None:
        self._locals: frozenset[str] | None = None  # those of the function that is being visited; None outside of one
        self._temporaries = 0

    def visit_Call(self, node: ast.Call) -> ast.expr:
        self.generic_visit(node)
        function = node.func
        if _dotted(function) in UNTOUCHED:
            return node
        # The line of a method's call is that of its name, which may be below the beginning of the expression.
        line, column = node.lineno, node.col_offset
        if isinstance(function, ast.Attribute) and function.end_lineno is not None:
            line, column = function.end_lineno, max((function.end_col_offset or 0) - len(function.attr), 0)
        node.func = _method(CALL, "call", node, line, column)
        node.args.insert(0, function)
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        return self._function(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AsyncFunctionDef:
        return self._function(node)

    def _function(self, node: _Function) -> _Function:
        node.decorator_list = [self.visit(decorator) for decorator in node.decorator_list]
        self.visit(node.args)  # default values
        outer, self._locals = self._locals, _local_names(node)
        node.body = self._statements(node.body)
        self._locals = outer
        return node

    def visit_arg(self, node: ast.arg) -> ast.arg:
        return node  # its annotation is not evaluated in a function

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.ClassDef:
        outer, self._locals = self._locals, None
        node.body = self._statements(node.body)
        self._locals = outer
        return node

    def visit_TypeAlias(self, node: ast.stmt) -> ast.stmt:
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AnnAssign:
        if node.value is not None:
            node.value = self.visit(node.value)
        return node

    def visit_Assign(self, node: ast.Assign) -> list[ast.stmt]:
        self.generic_visit(node)
        return self._assigned(node.targets, node.value, node)

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.stmt:
        self.generic_visit(node)
        target = node.target
        if not isinstance(target, ast.Subscript):
            return node
        operator = _at(ast.Constant(IN_PLACE[type(node.op)]), target)
        loaded = _call("load", [target.value, _key(target)], target)
        return self._stored("update", [operator, loaded, node.value], target)

    def visit_Subscript(self, node: ast.Subscript) -> ast.expr:
        self.generic_visit(node)
        name = _dotted(node.value)
        if not isinstance(node.ctx, ast.Load) or name is None or name.rpartition(".")[2] not in JOINERS:
            return node
        joined = _at(ast.Attribute(value=node.value, attr="__getitem__", ctx=ast.Load()), node)
        function = _method(CALL, "call", node, node.lineno, node.col_offset)
        return _at(ast.Call(func=function, args=[joined, _key(node)], keywords=[]), node)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> ast.JoinedStr:
        if sys.version_info < (3, 12):  # where places in f-strings could be such as the compiler does not accept
            for inner in ast.walk(node):
                if isinstance(inner, ast.expr) and not _is_place(inner):
                    ast.copy_location(inner, node)
        self.generic_visit(node)
        return node

    def _statements(self, statements: Iterable[ast.stmt]) -> list[ast.stmt]:
        result: list[ast.stmt] = []
        for statement in statements:
            visited = self.visit(statement)
            result += visited if isinstance(visited, list) else [visited]
        return result

    def _assigned(self, targets: Sequence[ast.expr], value: ast.expr, where: ast.Assign) -> list[ast.stmt]:
        """The statements that assign a value to targets, of which some may be items, one after the other."""
        if len(targets) == 1 and isinstance(targets[0], ast.Subscript):
            target = targets[0]
            return [self._stored("assign", [value, target.value, _key(target)], target)]
        if self._locals is None or not any(map(_has_items, targets)):
            assignment = _at(ast.Assign(targets=list(targets), value=value), where)
            assignment.type_comment = where.type_comment
            return [assignment]
        if len(targets) > 1:
            parts, names = list(targets), [self._temporary()]
            into: ast.expr = _name(names[0], ast.Store(), where)
            names_of_parts = names * len(parts)
        else:
            (whole,) = targets
            assert isinstance(whole, ast.Tuple | ast.List)
            parts = [part.value if isinstance(part, ast.Starred) else part for part in whole.elts]
            names = names_of_parts = [self._temporary() for _ in parts]
            pieces: list[ast.expr] = []
            for part, name in zip(whole.elts, names, strict=True):
                piece: ast.expr = _name(name, ast.Store(), part)
                if isinstance(part, ast.Starred):
                    piece = _at(ast.Starred(value=piece, ctx=ast.Store()), part)
                pieces.append(piece)
            into = _at(ast.Tuple(elts=pieces, ctx=ast.Store()), whole)
        statements: list[ast.stmt] = [_at(ast.Assign(targets=[into], value=value), where)]
        for part, name in zip(parts, names_of_parts, strict=True):
            statements += self._assigned([part], _name(name, ast.Load(), part), where)
        statements.append(_at(ast.Delete(targets=[_name(name, ast.Del(), where) for name in names]), where))
        return statements

    def _stored(self, method: str, arguments: list[ast.expr], target: ast.Subscript) -> ast.stmt:
        """The statement that stores an item, and rebinds the container's name if the hook asks for it."""
        variable = self._variable(target.value)
        stored = _call(method, [*arguments, _at(ast.Constant(variable is not None), target)], target)
        if variable is None:
            return _at(ast.Expr(value=stored), target)
        rebound = _at(ast.Assign(targets=[variable], value=_call("take", [], target)), target)
        return _at(ast.If(test=stored, body=[rebound], orelse=[]), target)

    def _variable(self, container: ast.expr) -> ast.Name | ast.Attribute | None:
        """The container as something to be assigned to: one of the function's own names, or an attribute of a name."""
        root = container
        while isinstance(root, ast.Attribute):
            root = root.value
        if self._locals is None or not isinstance(root, ast.Name):
            return None
        if isinstance(container, ast.Attribute) or (isinstance(container, ast.Name) and container.id in self._locals):
            variable = copy.deepcopy(container)
            variable.ctx = ast.Store()
            return variable
        return None

    def _temporary(self) -> str:
        self._temporaries += 1
        return f"@{self._temporaries}"


def _local_names(function: ast.FunctionDef | ast.AsyncFunctionDef) -> frozenset[str]:
    """Names that are certainly local to a function: its parameters, and what it assigns to."""
    arguments = function.args
    parameters = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
    names = {parameter.arg for parameter in parameters if parameter is not None}
    elsewhere: set[str] = set()
    pending: list[ast.AST] = list(function.body)
    while pending:
        node = pending.pop()
        if isinstance(node, _SCOPES + _COMPREHENSIONS):
            continue
        if isinstance(node, ast.Global | ast.Nonlocal):
            elsewhere.update(node.names)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        pending.extend(ast.iter_child_nodes(node))
    return frozenset(names - elsewhere)


def _dotted(function: ast.expr) -> str | None:
    if isinstance(function, ast.Name):
        return function.id
    if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name):
        return f"{function.value.id}.{function.attr}"
    return None


def _has_items(target: ast.expr) -> bool:
    if isinstance(target, ast.Tuple | ast.List):
        return any(map(_has_items, target.elts))
    return isinstance(target, ast.Subscript) or (isinstance(target, ast.Starred) and _has_items(target.value))


def _key(target: ast.Subscript) -> ast.expr:
    """The key of an item as an expression of its own. Slices are read from `ITEMS.key[...]`, which returns its key."""
    key: ast.expr = target.slice
    parts: list[ast.expr] = key.elts if isinstance(key, ast.Tuple) else [key]
    if not any(isinstance(part, ast.Slice) for part in parts):
        return key
    keys = _method(ITEMS, "key", target, target.lineno, target.col_offset)
    return _at(ast.Subscript(value=keys, slice=key, ctx=ast.Load()), target)


def _call(method: str, arguments: list[ast.expr], where: ast.expr) -> ast.Call:
    function = _method(ITEMS, method, where, where.lineno, where.col_offset)
    return _at(ast.Call(func=function, args=arguments, keywords=[]), where)


def _method(constant: str, name: str, where: ast.expr, line: int, column: int) -> ast.Attribute:
    attribute = ast.Attribute(value=_at(ast.Constant(constant), where), attr=name, ctx=ast.Load())
    attribute.lineno = attribute.end_lineno = line
    attribute.col_offset, attribute.end_col_offset = column, column + len(name)
    return attribute


def _name(name: str, context: ast.expr_context, where: ast.expr | ast.stmt) -> ast.Name:
    return _at(ast.Name(id=name, ctx=context), where)


def _is_place(node: ast.expr) -> bool:
    begin, end = (node.lineno, node.col_offset), (node.end_lineno or 0, node.end_col_offset or 0)
    return begin <= end and min(begin) >= 0 and begin[0] > 0
