"""Finds what is to be checked: files by their names and in directories, and the three parts that a file defines."""

from __future__ import annotations

import ast
import os
import runpy
import symtable
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from gradcheck_fast.inputs.arguments import nearest

#: The names that a file defines, or the entries of what it names, in the order in which `gradcheck` takes them.
PARTS = ("loss", "gradient", "params")
#: A file of a directory that defines fewer of `PARTS` is none that is to be checked; with more, it lacks the others.
_FEWEST_PARTS = 2
#: Directories that hold no files of the user's, beside hidden ones and virtual environments.
_SKIPPED = ("__pycache__", "node_modules", "site-packages")

FILE_HELP = """\
FILE.py is a Python file that defines three names:

    loss       a function of params: net.loss(X, y) of a gf.Network, or your own
    gradient   the gradient to check, or the function of params that gives it
    params     the parameters: an array, or a dict, list or tuple of arrays

FILE.py:name takes them from `name` in that file instead: a dict or an object with these three entries, a tuple
(loss, gradient, params), or a function without arguments that returns one of these.
"""


class InputError(Exception):
    """Is raised if what the user gave cannot be checked; the message says why."""


class Target(NamedTuple):
    """A file that is to be checked.

    Attributes
    ----------
    file : Path
    name : str
        What in the file holds the loss, the gradient and the parameters; "" if the file itself defines them.
    is_found : bool
        Whether it was found in a directory, and not named by the user: then it need not define anything to check.
    """

    file: Path
    name: str = ""
    is_found: bool = False

    def __str__(self) -> str:
        return f"{self.file}:{self.name}" if self.name else str(self.file)


def split(target: str) -> Target:
    """Splits FILE.py[:name] into a path and a name; the file need not exist."""
    file, name = target, ""
    if ":" in target and not Path(target).exists():
        file, _, name = target.rpartition(":")
    return Target(Path(file), name)


def collect(targets: Sequence[str]) -> list[Target]:
    """Returns the files that are named, and all ``*.py`` in the directories that are, in sorted order; each file once.

    Hidden directories, virtual environments, ``__pycache__``, ``node_modules`` and ``site-packages`` are left out, and
    links to directories are not followed.
    """
    found: dict[tuple[str, str], Target] = {}
    for text in targets:
        target = split(text)
        named = [Target(file, is_found=True) for file in _inside(target.file)] if target.file.is_dir() else [target]
        for one in named:
            found.setdefault((os.path.realpath(one.file), one.name), one)
    return list(found.values())


def _inside(directory: Path) -> Iterator[Path]:
    found = []
    for path, directories, files in os.walk(directory):
        here = Path(path)
        directories[:] = [
            name
            for name in directories
            if not name.startswith(".") and name not in _SKIPPED and not (here / name / "pyvenv.cfg").exists()
        ]
        found += [here / name for name in files if name.endswith(".py")]
    yield from sorted(found)


def has_nothing(target: Target) -> bool:
    """Whether a file that was found in a directory defines nothing to check, as its text shows: it need not be run.

    It is so if fewer than two of `PARTS` are bound at the top level of the file. A file that cannot be parsed, or that
    imports all names of another, may define anything.
    """
    if not target.is_found:
        return False
    try:
        source = target.file.read_bytes()
        tree = ast.parse(source)
        table = symtable.symtable(source.decode("utf-8", "replace"), str(target.file), "exec")
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    if any(isinstance(node, ast.ImportFrom) and node.names[0].name == "*" for node in tree.body):
        return False
    bound = {symbol.get_name() for symbol in table.get_symbols() if symbol.is_assigned() or symbol.is_imported()}
    return len(bound.intersection(PARTS)) < _FEWEST_PARTS


def line_of_definition(file: Path, name: str) -> int | None:
    """Returns the last line at the top level of a file in which a name gets its value; None if there is none."""
    try:
        tree = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    found = None
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.name == name:
            found = node.lineno
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            bound = {part.id for part in ast.walk(node) if isinstance(part, ast.Name) and _is_stored(part)}
            found = node.lineno if name in bound else found
    return found


def _is_stored(name: ast.Name) -> bool:
    return isinstance(name.ctx, ast.Store)


def load(target: Target) -> tuple[Any, Any, Any]:
    """Runs a file, and returns the loss, the gradient and the parameters that it defines.

    Raises
    ------
    InputError
        If there is no such file, or it does not define them.
    """
    if not target.file.is_file():
        raise InputError(f"no such file: {target.file}")
    names = runpy.run_path(str(target.file))
    if not target.name:
        return _parts(names, str(target))
    if target.name not in names:
        raise InputError(f"{target.file} defines no {target.name!r}{nearest(target.name, names)}")
    found = names[target.name]
    if callable(found) and not hasattr(found, "loss"):
        found = found()
    return _parts(found, str(target))


def _parts(found: Any, target: str) -> tuple[Any, Any, Any]:
    """Takes the loss, the gradient and the parameters out of a tuple, a mapping or an object."""
    if isinstance(found, tuple) and len(found) == len(PARTS):
        return found
    values = found if isinstance(found, Mapping) else {p: getattr(found, p) for p in PARTS if hasattr(found, p)}
    missing = [part for part in PARTS if part not in values]
    if missing:
        raise InputError(f"{target} defines no {', '.join(missing)}; expected loss, gradient and params")
    return values["loss"], values["gradient"], values["params"]
