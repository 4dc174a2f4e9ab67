"""Where an object keeps its arrays: each is found, read and put back by its path, such as ``layers[0].params['W']``."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Sequence
from types import FunctionType, MemberDescriptorType, MethodType, ModuleType
from typing import Any, NamedTuple, TypeAlias

import numpy as np

#: Objects within objects are looked at up to this depth.
MOST_DEEP = 6
#: No more objects than this are looked at.
MOST_OBJECTS = 2_000

_NO_OWNERS = (
    str,
    bytes,
    int,
    float,
    complex,
    type,
    type(None),
    FunctionType,
    MethodType,
    ModuleType,
    np.generic,
    np.ndarray,
)


class Part(NamedTuple):
    """One part of a path: an attribute of an object, or an item of a dict, list or tuple."""

    key: Any
    is_attribute: bool

    def __str__(self) -> str:
        return f".{self.key}" if self.is_attribute else f"[{self.key!r}]"


Path: TypeAlias = tuple[Part, ...]
Parts: TypeAlias = Sequence[tuple[Part, Any]]


def spelled(path: Path) -> str:
    """Returns a path as Python spells it, from the object on: ``W``, ``params['W']``, ``layers[0].W``."""
    return "".join(map(str, path)).removeprefix(".")


def numbers_in(root: Any) -> dict[Path, Any]:
    """Finds all arrays of floating-point numbers, and all floats, in an object, and in the objects that it holds."""
    return {path: value for path, value in _leaves(root, _parts) if is_floating(value)}


def named(root: Any, names: Container[str]) -> list[Path]:
    """Returns the paths of the numbers in an object that have one of these names."""
    numbers = (int, float, np.integer, np.floating)
    return [
        path for path, value in _leaves(root, _parts)
        if path and path[-1].key in names and isinstance(value, numbers) and not isinstance(value, bool)
    ]  # fmt: skip


def members(root: Any) -> list[tuple[Path, Any]]:
    """Returns whatever dicts, lists and tuples hold that is none itself, with the paths."""
    return list(_leaves(root, _members))


def is_floating(value: Any) -> bool:
    """Tells whether something is an array of floating-point numbers, or a float."""
    return value.dtype.kind == "f" if isinstance(value, (np.ndarray, np.generic)) else type(value) is float


def get(root: Any, path: Path) -> Any:
    """Returns what lies at a path.

    Raises
    ------
    AttributeError, LookupError, TypeError
        If nothing does.
    """
    for part in path:
        root = getattr(root, part.key) if part.is_attribute else root[part.key]
    return root


def put(root: Any, path: Path, value: Any) -> Any:
    """Puts something at a path, and returns the root, or what has to take its place: a tuple is made anew."""
    if not path:
        return value
    owner, part = get(root, path[:-1]), path[-1]
    if part.is_attribute:
        object.__setattr__(owner, part.key, value)
    elif isinstance(owner, tuple):
        members = [value if k == part.key else member for k, member in enumerate(owner)]
        made = type(owner)(*members) if hasattr(owner, "_fields") else tuple(members)
        return put(root, path[:-1], made)
    else:
        owner[part.key] = value
    return root


def _leaves(root: Any, parts_of: Callable[[Any], Parts | None]) -> Iterator[tuple[Path, Any]]:
    """Yields what has no parts, with its path, in order. An array that lies at several places is found at each."""
    pending: list[tuple[Path, Any]] = [((), root)]
    seen: set[int] = set()
    while pending and len(seen) < MOST_OBJECTS:
        path, value = pending.pop()
        parts = parts_of(value)
        if parts is None:
            yield path, value
        elif id(value) not in seen and len(path) <= MOST_DEEP:
            seen.add(id(value))
            pending += [((*path, part), child) for part, child in reversed(parts)]


def _members(value: Any) -> Parts | None:
    if isinstance(value, dict):
        return [(Part(key, False), child) for key, child in value.items()]
    if isinstance(value, (list, tuple)):
        return [(Part(k, False), child) for k, child in enumerate(value)]
    return None


def _parts(value: Any) -> Parts | None:
    """Returns what an object consists of; None if it has no parts."""
    found = _members(value)
    if found is not None:
        return found
    if isinstance(value, _NO_OWNERS) or type(value).__module__.partition(".")[0] in ("numpy", "builtins"):
        return None
    names = dict(getattr(value, "__dict__", {}))
    for base in type(value).__mro__[:-1]:
        for name, own in vars(base).items():
            is_slot = type(own) is MemberDescriptorType and name != "__dict__"
            if name not in names and (is_slot or isinstance(own, (np.ndarray, list, dict))) and hasattr(value, name):
                names[name] = getattr(value, name)
    return [(Part(name, True), child) for name, child in names.items()]
