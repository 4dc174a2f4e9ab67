"""What a user's function keeps between its calls: random number generators, and attributes of its objects.

The calls that a trace needs besides those that the user would see leave all of it as it was.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from types import FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np

from gradcheck_fast.inputs.users_files import is_users_file

#: Objects within objects are looked at up to this depth.
MOST_DEEP = 10
#: No more objects than this are looked at.
MOST_OBJECTS = 2000
#: The entries of an array are kept if it has no more than these; of a larger one only which array it is.
MOST_ENTRIES = 100_000


_UNCHANGING = (int, float, str, bytes, bool, type(None), range, slice)


class State:
    """The attributes of the objects that a function can reach, and the random number generators, at one moment.

    Parameters
    ----------
    function : callable
        What is reached from its object, its closure, and the variables of its module that it names.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self._random = random.getstate(), np.random.get_state()  # noqa: NPY002  # users draw from the old generator
        self._generators: list[tuple[np.random.Generator, Any]] = []
        self._dicts: list[tuple[dict[Any, Any], dict[Any, Any]]] = []
        self._classes: list[tuple[type, dict[str, Any]]] = []
        self._lists: list[tuple[list[Any], list[Any]]] = []
        self._arrays: list[tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]] = []
        self._seen: set[int] = set()
        self._look(function, 0)

    def restore(self) -> None:
        """Puts everything back as it was."""
        self.restore_random_numbers()
        for target, before in self._dicts:
            if not _same(target, before):
                target.clear()
                target.update(before)
        for kind, attributes in self._classes:
            for name, value in attributes.items():
                if vars(kind).get(name) is not value:
                    setattr(kind, name, value)
        for values, kept in self._lists:
            if len(values) != len(kept) or any(a is not b for a, b in zip(values, kept, strict=True)):
                values[:] = kept
        for array, entries in self._arrays:
            if array.flags.writeable and not np.array_equal(array, entries):
                array[...] = entries

    def restore_random_numbers(self) -> None:
        """Puts the random number generators back, so that the next call draws what the last one drew."""
        random.setstate(self._random[0])
        np.random.set_state(self._random[1])  # noqa: NPY002
        for generator, before in self._generators:
            generator.bit_generator.state = before

    def _look(self, value: Any, depth: int) -> None:
        if depth > MOST_DEEP or id(value) in self._seen or len(self._seen) > MOST_OBJECTS:
            return
        kind = type(value)
        if kind in (int, float, str, bytes, bool, type(None), range, slice) or isinstance(
            value, (np.generic, ModuleType)
        ):
            return
        self._seen.add(id(value))
        if kind is np.ndarray:
            if value.size <= MOST_ENTRIES:
                if value.dtype.kind == "O":
                    return
                self._arrays.append((value, value.copy()))
        elif kind is np.random.Generator:
            self._generators.append((value, value.bit_generator.state))
        elif kind is dict:
            self._dicts.append((value, dict(value)))
            for part in value.values():
                self._look(part, depth + 1)
        elif kind is list:
            self._lists.append((value, list(value)))
            for part in value:
                self._look(part, depth + 1)
        elif kind is tuple:
            for part in value:
                self._look(part, depth + 1)
        elif kind is FunctionType:
            self._look_at_function(value, depth)
        elif kind is MethodType:
            self._look(value.__func__, depth)
            self._look(value.__self__, depth)
        elif isinstance(value, type):
            self._look_at_class(value, depth)
        elif isinstance(getattr(value, "__dict__", None), dict) and _is_of_user(kind):
            self._look(value.__dict__, depth + 1)
            self._look(kind, depth + 1)

    def _look_at_class(self, kind: type, depth: int) -> None:
        if not _is_of_user(kind):
            return
        self._classes.append((kind, dict(vars(kind))))
        for part in vars(kind).values():
            self._look(part, depth + 1)
        for base in kind.__mro__[1:-1]:
            self._look(base, depth)

    def _look_at_function(self, function: FunctionType, depth: int) -> None:
        if not is_users_file(function.__code__.co_filename):
            return
        for cell in function.__closure__ or ():
            try:
                self._look(cell.cell_contents, depth + 1)
            except ValueError:  # a cell that is still empty
                continue
        for name in function.__code__.co_names:
            if name in function.__globals__:
                self._look(function.__globals__[name], depth + 1)


def _is_of_user(kind: type) -> bool:
    module = sys.modules.get(kind.__module__)
    filename = getattr(module, "__file__", None)
    return kind.__module__ == "__main__" or (filename is not None and is_users_file(filename))


def _same(first: dict[Any, Any], second: dict[Any, Any]) -> bool:
    return first.keys() == second.keys() and all(first[key] is second[key] for key in first)


class Frozen:
    """A function that draws the same random numbers in every call.

    Parameters
    ----------
    function : callable
    """

    def __init__(self, function: Callable[..., Any], state: State) -> None:
        self.function, self._state = function, state

    def __call__(self, params: Any) -> Any:
        self._state.restore_random_numbers()
        return self.function(params)


def arrays_like(function: Callable[..., Any], arrays: list[np.ndarray[Any, Any]]) -> str:
    """Returns where a function finds an array that equals one of these, as its user would write it; "" if nowhere.

    Looks at the attributes of its object, and of the objects that it names, and at the variables of its module.
    """
    start: dict[str, Any] = {}
    if isinstance(function, MethodType):
        start["self"], function = function.__self__, function.__func__
    if isinstance(function, FunctionType):
        names, cells = function.__code__.co_freevars, function.__closure__ or ()
        start |= {name: cell.cell_contents for name, cell in zip(names, cells, strict=True) if _is_filled(cell)}
        start |= {
            name: function.__globals__[name] for name in function.__code__.co_names if name in function.__globals__
        }
    pending, seen = list(start.items()), set[int]()
    while pending and len(seen) < MOST_OBJECTS:
        path, value = pending.pop(0)
        if id(value) in seen or path.count(".") > MOST_DEEP:
            continue
        seen.add(id(value))
        if isinstance(value, np.ndarray) and any(
            value.shape == array.shape and np.array_equal(value, array) for array in arrays if array.size > 1
        ):
            return path
        if isinstance(value, dict):
            pending += [(f"{path}[{key!r}]", part) for key, part in value.items()]
        elif isinstance(value, (list, tuple)):
            pending += [(f"{path}[{k}]", part) for k, part in enumerate(value)]
        elif isinstance(getattr(value, "__dict__", None), dict) and _is_of_user(type(value)):
            pending += [(f"{path}.{name}", part) for name, part in vars(value).items()]
    return ""


def _is_filled(cell: Any) -> bool:
    try:
        return cell.cell_contents is not None
    except ValueError:
        return False
