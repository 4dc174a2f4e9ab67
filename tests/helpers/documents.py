"""Reads pages of the documentation, runs their code as a reader would, and compares what they say is printed."""

from __future__ import annotations

import ast
import contextlib
import importlib.util
import io
import linecache
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from gradcheck_fast.cli.main import _parser, main

ROOT = Path(__file__).parents[2]
#: Libraries that a page may need and that need not be installed.
OPTIONAL = ("jax", "onnx", "sklearn", "torch")
COMPILER = os.environ.get("CC", "cc")

_BLOCK = re.compile(r"^(`{3,})([^`\n]*)\n(.*?)^\1[ ]*$", re.MULTILINE | re.DOTALL)
#: What differs from machine to machine: errors of rounding, what is seen beside them, and times.
_ROUNDING = re.compile(r"(?<![\w.])(?:0(?:\.0)?e\+00|\d+(?:\.\d+)?e-(?:0[7-9]|[1-9]\d))(?!\d)")
_SEEN = re.compile(r"\babove [\d.]+\s+%")
_TIME = re.compile(r"(?<![\w.])[\d.,]+ (?:us|µs|ms|s)\b")
_AGREEMENT = re.compile(r"\bto #|\bexactly\b")
#: The worst entries: where errors are alike, their order differs.
_WORST = re.compile(r"^(worst .*\n)(?:.+\n)+", re.MULTILINE)
_LONG_NUMBER = re.compile(r"-?\d+\.\d{7,}(?:e[-+]\d+)?")
_SKIPPED_LINES = re.compile(r"^\.\.\.$", re.MULTILINE)
_COMPILATION = re.compile(r"(?:^|`)cc (-O2 [^`\n]* (\w+\.c) -o \w+\.so)", re.MULTILINE)


class Block(NamedTuple):
    """A fenced block of a page.

    Attributes
    ----------
    language : str
        What stands behind the fence; "" if nothing does.
    text : str
    line : int
        Of the page: that of the opening fence.
    follows : bool
        Whether nothing stands between this block and the one before.
    """

    language: str
    text: str
    line: int
    follows: bool


def blocks(page: Path) -> list[Block]:
    """Returns the blocks of a page in order, those within directives too, but not the directives."""
    return list(_blocks(page.read_text(encoding="utf-8"), 1))


def _blocks(text: str, line: int) -> Iterator[Block]:
    end = 0
    for found in _BLOCK.finditer(text):
        begin = line + text.count("\n", 0, found.start())
        if found[2].startswith("{"):
            yield from _blocks(found[3], begin + 1)
        else:
            yield Block(found[2].strip(), found[3], begin, not text[end : found.start()].strip())
        end = found.end()


def plain(text: str) -> str:
    """Returns words, names, shapes, counts and rounded numbers, without what differs from machine to machine."""
    text = _WORST.sub(r"\1", text)
    text = _AGREEMENT.sub("#", _ROUNDING.sub("#", _SEEN.sub("#", _TIME.sub("# s", text))))
    text = _LONG_NUMBER.sub(lambda number: f"{float(number[0]):.6g}", text)
    return " ".join(text.split())


def assert_shown(shown: str, printed: str) -> None:
    """Asserts that `shown` is what was printed; a line ``...`` of it stands for any number of lines."""
    first, *others = (plain(piece) for piece in _SKIPPED_LINES.split(shown))
    rest = plain(printed)
    assert rest.startswith(first) if others else rest == first, f"{first}\n\nis not what was printed:\n\n{rest}"
    rest = rest[len(first) :]
    for piece in others:
        before, found, rest = rest.partition(piece) if piece else (rest, "", rest)
        assert found == piece, f"{piece}\n\nis not in what was printed:\n\n{before}"
    assert not others or not others[-1] or not rest.strip(), f"{rest}\n\nwas printed, too"


class Reader:
    """A reader of one page, who runs its blocks in order in a directory.

    The first block of Python is written to ``net.py``, and each other one to a file of its own. All have their names in
    common, as they would in a notebook. What needs a library that is not installed is left out, and so is what needs
    what was left out.

    Parameters
    ----------
    directory : Path
        The current one.

    Attributes
    ----------
    printed : str
        By the last block of Python that was run.
    missing : set of str
        The libraries that are not installed, and would have been needed.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.names: dict[str, object] = {"__name__": "page"}
        self.printed = ""
        self.missing: set[str] = set()
        self._left_out: set[str] = set()
        self._count = 0
        (directory / "examples").symlink_to(ROOT / "examples")

    def python(self, text: str) -> bool:
        """Runs a block of Python; returns whether it could be."""
        file = self.directory / ("net.py" if self._count == 0 else f"block_{self._count}.py")
        self._count += 1
        file.write_text(text, encoding="utf-8")
        tree = ast.parse(text)
        libraries = {name for name in _imported(tree) if name in OPTIONAL and importlib.util.find_spec(name) is None}
        bound = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
        read = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
        if libraries or (read - bound) & self._left_out:
            self.missing |= libraries
            self._left_out |= _defined(tree) - set(self.names)
            return False
        linecache.checkcache(str(file))
        with contextlib.redirect_stdout(io.StringIO()) as output:
            exec(compile(text, str(file), "exec"), self.names)
        self.printed = output.getvalue()
        return True

    def shell(self, command: str) -> str:
        """Runs a command, and returns what it prints."""
        program, *arguments = shlex.split(command)
        if program == "gradcheck-fast":
            linecache.checkcache()
            with contextlib.redirect_stdout(io.StringIO()) as output:
                main(arguments)
            return output.getvalue()
        assert program == "python", command
        ran = subprocess.run([sys.executable, *arguments], cwd=self.directory, capture_output=True, text=True)
        assert not ran.returncode, ran.stderr
        return ran.stdout

    def console(self, text: str) -> None:
        """Runs the commands of a block, and compares what it shows beneath each."""
        for session in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
            command, _, shown = session.partition("\n")
            assert_shown(shown, self.shell(command))

    def text(self, block: Block) -> None:
        """Compares a block with what was printed, or, if prose stands between, looks for it in that and the reports."""
        if block.follows:
            assert_shown(block.text, self.printed)
        else:
            reports = [str(value) for value in self.names.values() if type(value).__name__.endswith("Report")]
            assert_shown(f"...\n{block.text}...\n", "\n".join((self.printed, *reports)))

    def compile(self, block: Block, page: str) -> bool:
        """Compiles a block of C with the command that the page has; returns whether there is a compiler."""
        if shutil.which(COMPILER) is None:
            return False
        command = _COMPILATION.search(page)
        assert command, "the page does not say how its C is compiled"
        (self.directory / command[2]).write_text(block.text, encoding="utf-8")
        path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))  # for its python
        compilation = f"{COMPILER} {command[1]}"
        subprocess.run(compilation, shell=True, cwd=self.directory, check=True, env={**os.environ, "PATH": path})
        return True


def read(
    page: Path,
    directory: Path,
    edits: Mapping[int, tuple[str, str]] | None = None,
    *,
    compares: bool = True,
    first: int | None = None,
) -> Reader:
    """Reads a page from its beginning, and asserts that it is right.

    Parameters
    ----------
    page, directory : Path
    edits : mapping of int to pair of str, optional
        What the prose asks the reader to change in ``net.py`` before the k-th block of a console: from what, to what.
    compares : bool, optional
        Whether blocks of text show what the page's own code prints.
    first : int, optional
        Of how many blocks; None for all.
    """
    reader, consoles, runs = Reader(directory), 0, True
    content = page.read_text(encoding="utf-8")
    for block in blocks(page)[:first]:
        if block.language == "python":
            runs = reader.python(block.text)
        elif block.language == "c":
            runs = reader.compile(block, content)
        elif block.language == "console":
            if edits and consoles in edits:
                _edit(directory / "net.py", *edits[consoles])
            reader.console(block.text)
            consoles += 1
        elif block.language == "text" and runs and compares:
            reader.text(block)
    return reader


def parses(command: str) -> bool:
    """Whether the command line knows a command and all its options."""
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            _parser().parse_args(shlex.split(command))
    except SystemExit:
        return False
    return True


def _edit(file: Path, old: str, new: str) -> None:
    text = file.read_text(encoding="utf-8")
    assert text.count(old) == 1
    file.write_text(text.replace(old, new), encoding="utf-8")


def _imported(tree: ast.Module) -> set[str]:
    """The libraries that a block imports, here or by ``gf.NAME``."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.partition(".")[0])
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "gf":
            names.add(node.attr)
    return names


def _defined(tree: ast.Module) -> set[str]:
    """The names that a block would have defined at its top level."""
    found = {node.name for node in tree.body if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
    for node in tree.body:
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            found |= {(alias.asname or alias.name).partition(".")[0] for alias in node.names}
        elif isinstance(node, (ast.Assign, ast.AugAssign, ast.For)):
            found |= {
                name.id for name in ast.walk(node) if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Store)
            }
    return found
