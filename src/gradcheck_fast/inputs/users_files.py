"""Tells which files of source are the user's, and quotes their lines."""

from __future__ import annotations

import functools
import linecache
import os
import site
import sysconfig


def is_users_file(filename: str) -> bool:
    """Whether a file of source is the user's: not the standard library's, an installed library's, or this library's."""
    if filename.startswith("<"):
        typed = filename.startswith("<python-input")  # in Python's own prompt from 3.13 on
        return not filename.startswith("<frozen ") and (typed or bool(linecache.getlines(filename)))
    return _is_outside_of_libraries(filename)


def line_of(filename: str, line: int) -> str:
    """Returns a line of a file of source without the spaces around it; "" if it cannot be read."""
    return linecache.getline(filename, line).strip()


def cut(text: str, most: int) -> str:
    """Returns a text; if it has more than so many characters, its beginning and "…"."""
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"


@functools.lru_cache(maxsize=1024)
def _is_outside_of_libraries(filename: str) -> bool:
    paths = [os.path.normcase(resolved(filename)) for resolved in (os.path.abspath, os.path.realpath)]
    if any(name in path.split(os.sep) for path in paths for name in ("site-packages", "dist-packages")):
        return False
    return not any(path.startswith(_libraries()) for path in paths)


@functools.lru_cache(maxsize=1)
def _libraries() -> tuple[str, ...]:
    names = ("stdlib", "platstdlib", "purelib", "platlib")
    found = {path for name, path in sysconfig.get_paths().items() if name in names}
    found.update(getattr(site, "getsitepackages", list)())  # some virtual environments lack it
    found.add(site.getusersitepackages())
    found.add(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    both = {resolved(path) for path in found if path for resolved in (os.path.abspath, os.path.realpath)}
    return tuple(os.path.join(os.path.normcase(path), "") for path in both)
