"""Writes `docs/diagnosis-examples.md`: mistakes in hand-written gradients, and what is printed of each.

``python tools/diagnosis_examples.py`` checks the networks of `tests/helpers/planted` with each of their mistakes, those
of `tests/helpers/mistakes.py` and `mistakes_in_time.py`, and runs `tests/diagnosis`, whose reports are collected. With
``--check`` it only says whether the file is up to date.
"""

from __future__ import annotations

import ast
import difflib
import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests" / "helpers"), str(ROOT / "tools")]

import planted  # noqa: E402
from mistakes import IN_ARRAYS, IN_LAYERS, cross_entropy  # noqa: E402
from mistakes_in_time import IN_TIME  # noqa: E402
from pages import DOCS, main  # noqa: E402
from planted.records import Planted  # noqa: E402

import gradcheck_fast as gf  # noqa: E402
from gradcheck_fast.report.report import Report  # noqa: E402

FILE = DOCS / "diagnosis-examples.md"
TITLES = {
    "dense": "Layers, activations, costs, penalties",
    "layers": "Layers as objects, softmax, tied weights, two branches",
    "recurrent": "Recurrent networks",
    "gated": "LSTM and GRU",
    "convolution": "Convolutions",
    "pooling": "Pools",
    "normalisation": "Normalisations, dropout, residuals",
    "attention": "Attention and transformers",
    "embedding": "Embeddings",
}
TEXT = """# Every diagnosis, with its mistake

{count} mistakes, each made in code that is right but for it, and what the first diagnosis of the report says.
[Diagnoses](diagnoses.md) has a whole report, and what a diagnosis rests on. The numbers of the lines, which a report
has, too, are left out here. Each mistake is one of this library's tests; `python tools/diagnosis_examples.py` writes
this page.

## In functions of NumPy

A line with − is right, and what stands in its place, with +, is the mistake. Beneath is what is printed.

{planted}

## In described networks

What is said of a `gf.Network`, which has no lines. The mistake is made in one layer, or one array, at random.

| mistake | what is printed |
| --- | --- |
{described}

## And also

What else was printed in the tests of `tests/diagnosis`. Where it begins with a line, that is the line of the forward
pass.

{others}
"""


# ---- the code of a planted mistake: what differs from the right one


class Chosen(ast.NodeTransformer):
    """The code as it is for one mistake: every condition that asks for the mistake is decided."""

    def __init__(self, mistake: str) -> None:
        self.mistake = mistake

    def decided(self, node: ast.expr) -> object:
        """The value of an expression that knows nothing but the mistake, or None."""
        names = {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}
        known = names in ({"mistake"}, {"m"}) or (names == {"self"} and "self.mistake" in ast.unparse(node))
        if not known or not any(isinstance(getattr(part, "value", None), str) for part in ast.walk(node)):
            return None
        scope = {"mistake": self.mistake, "m": self.mistake, "self": type("Self", (), {"mistake": self.mistake})}
        return bool(eval(ast.unparse(node), {"__builtins__": {}}, scope))

    def visit_If(self, node: ast.If) -> Any:
        """Keeps the branch that is taken."""
        self.generic_visit(node)
        decided = _constant(node.test)
        return node if decided is None else node.body if decided else node.orelse

    def visit_IfExp(self, node: ast.IfExp) -> Any:
        """Keeps the side that is taken."""
        self.generic_visit(node)
        decided = _constant(node.test)
        return node if decided is None else node.body if decided else node.orelse

    def visit_Compare(self, node: ast.Compare) -> Any:
        """Decides a comparison with the mistake."""
        decided = self.decided(node)
        return node if decided is None else ast.Constant(decided)

    def visit_BoolOp(self, node: ast.BoolOp) -> Any:
        """Leaves out what is decided."""
        self.generic_visit(node)
        ends = isinstance(node.op, ast.Or)
        left = [value for value in node.values if _constant(value) is not (not ends)]
        if any(_constant(value) is ends for value in left):
            return ast.Constant(ends)
        if len(left) < 2:
            return left[0] if left else ast.Constant(not ends)
        return ast.BoolOp(node.op, left)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> Any:
        """Decides a negation."""
        self.generic_visit(node)
        decided = _constant(node.operand)
        return ast.Constant(not decided) if isinstance(node.op, ast.Not) and decided is not None else node

    def visit_Call(self, node: ast.Call) -> Any:
        """Looks up ``{"mistake": what}.get(mistake, otherwise)``."""
        self.generic_visit(node)
        function, given = node.func, node.args
        if (
            isinstance(function, ast.Attribute)
            and function.attr == "get"
            and isinstance(function.value, ast.Dict)
            and ast.unparse(given[0]) in ("mistake", "self.mistake")
        ):
            keys = [key.value if isinstance(key, ast.Constant) else None for key in function.value.keys]
            chosen = dict(zip(keys, function.value.values, strict=True))
            return chosen.get(self.mistake, given[1])
        return node


def _constant(node: ast.expr) -> bool | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, bool) else None


def code(mistake: Planted, chosen: str) -> list[str]:
    """The lines of a network and the classes and functions that it uses, as they are for a mistake.

    What stands outside of the functions in it, such as sizes, is as for the right gradient.
    """
    tree = ast.parse(mistake.file.read_text(encoding="utf-8"))
    defined = {node.name: node for node in tree.body if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
    own = defined.pop(mistake.network)
    wanted: dict[str, ast.FunctionDef | ast.ClassDef] = {}
    todo = [own]
    while todo:
        used = {part.id for part in ast.walk(todo.pop()) if isinstance(part, ast.Name)}
        todo += [defined[name] for name in used & defined.keys() - wanted.keys()]
        wanted |= {name: defined[name] for name in used & defined.keys()}
    own.body = [
        Chosen(chosen if isinstance(node, (ast.FunctionDef, ast.ClassDef)) else "").visit(node) for node in own.body
    ]
    own.body = [part for node in own.body for part in (node if isinstance(node, list) else [node])]
    nodes = [own, *(Chosen(chosen).visit(wanted[name]) for name in defined if name in wanted)]
    for node in nodes:
        _end_at_returns(node)
    return "\n".join(ast.unparse(ast.fix_missing_locations(node)) for node in nodes).splitlines()


def _end_at_returns(node: ast.AST) -> None:
    """Takes away what stands behind a return."""
    for part in ast.walk(node):
        body = getattr(part, "body", None)
        if isinstance(body, list):
            ends = [k for k, line in enumerate(body) if isinstance(line, ast.Return)]
            part.body = body[: ends[0] + 1] if ends else body  # type: ignore[attr-defined]


def changed(mistake: Planted) -> list[str]:
    """The lines that differ, those of the right code with -, those of the mistake with +."""
    right, wrong = code(mistake, ""), code(mistake, mistake.mistake)
    lines = [line for line in difflib.ndiff(right, wrong) if line[0] in "+-"]
    signs = [line[0] for line in lines]
    bodies = textwrap.dedent("\n".join(line[2:] for line in lines)).splitlines()
    return [f"{sign} {body}" for sign, body in zip(signs, bodies, strict=True) if body.strip() != "pass"]


# ---- what is printed


def without_places(cause: str) -> str:
    """A cause without the numbers of lines, which move when a test does."""
    cause = re.sub(r"[\w./]+\.py line \d+, (?=`)", "", cause)
    cause = re.sub(r" \(called in ([\w.]+ )?(line \d+)?(, )?(`[^`]*`)?\)", "", cause)
    cause = re.sub(r",? (of|in|and|from) (the )?lines? \d+(, \d+)*( and \d+)?", "", cause)
    return re.sub(r"<[\w ]+ at 0x[0-9a-f]+>", "…", cause)


def first(report: Report) -> str:
    """The first diagnosis of a report."""
    return without_places(report.diagnoses[0].cause)


def wrapped(cause: str) -> list[str]:
    """A cause in lines that no reader takes for one that begins with + or -."""
    return textwrap.wrap(
        cause, 78, initial_indent="→ ", subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
    )


def of_planted() -> Iterator[tuple[Planted, str]]:
    """The mistakes of `tests/helpers/planted`, and what is printed."""
    for mistake in planted.MISTAKES:
        loss, gradient, params = planted.case(mistake.name)
        loss(params)
        report = gf.gradcheck(loss, gradient(params), params)
        if report.diagnoses:
            yield mistake, first(report)


def sections(found: list[tuple[Planted, str]]) -> Iterator[str]:
    """The planted mistakes under headings: what differs in the code, and what is printed."""
    for file, title in TITLES.items():
        yield f"### {title}"
        for mistake, cause in found:
            if mistake.file.stem == file:
                yield "\n".join(["```diff", *changed(mistake), *wrapped(cause), "```"])


def described() -> Iterator[tuple[str, str]]:
    """The mistakes in described networks, in words, and what is printed."""
    of_softmax = {
        "softmax-twice": lambda rng: cross_entropy(rng, True),
        "softmax-not-at-all": lambda rng: cross_entropy(rng, False),
    }
    for name, plant in {**IN_ARRAYS, **IN_LAYERS, **IN_TIME, **of_softmax}.items():
        found = plant(np.random.default_rng(0))
        report = gf.gradcheck(found.loss, found.wrong, found.params)
        if report.diagnoses:
            yield name.replace("-", " "), first(report)


def in_tests() -> set[str]:
    """What is printed first in the reports of the tests."""
    found: set[str] = set()
    make = Report.__init__

    def recorded(self: Report, *args: object, **options: object) -> None:
        make(self, *args, **options)  # type: ignore[arg-type]
        if self.diagnoses:
            found.add(first(self))

    Report.__init__ = recorded  # type: ignore[method-assign]
    try:
        chosen = ["-q", "-p", "no:cacheprovider", "-p", "no:xdist", "--deselect", "tests/diagnosis/test_planted.py"]
        pytest.main([*chosen, str(ROOT / "tests" / "diagnosis")])
    finally:
        Report.__init__ = make  # type: ignore[method-assign]
    return found


def kind(cause: str) -> str:
    """A cause without what is particular to one function: pieces of source, numbers and the names of arrays."""
    cause = re.sub(r"`[^`]*`", "`", cause)
    return re.sub(r"\b([A-Za-z]{1,2}\d?|[A-Z]\w*|params|\d[\d.e+-]*)\b", "#", cause)


def row(*cells: str) -> str:
    """One row of a table."""
    return "| " + " | ".join(cell.replace("|", r"\|").replace("\n", " ") for cell in cells) + " |"


def text() -> str:
    """The page."""
    code, networks = list(of_planted()), list(described())
    seen = {kind(cause) for _, cause in [*code, *networks]}
    others = []
    for cause in sorted(in_tests(), key=lambda cause: re.sub(r"^`[^`]*`: ", "", cause)):
        if kind(cause) not in seen:
            seen.add(kind(cause))
            others.append(f"- {cause}")
    return TEXT.format(
        count=len(code) + len(networks) + len(others),
        planted="\n\n".join(sections(code)),
        described="\n".join(row(*pair) for pair in networks),
        others="\n".join(others),
    )


if __name__ == "__main__":
    main(FILE, text)
