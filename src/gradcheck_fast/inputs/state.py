"""What a user's function keeps between its calls: random number generators, and attributes of its objects.

The calls that a trace needs besides those that the user would see leave all of it as it was.
"""

from __future__ import annotations

import random
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from types import CellType, CodeType, FunctionType, MemberDescriptorType, MethodType, ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_fast.inputs.random_numbers import GlobalGenerators
from gradcheck_fast.inputs.users_files import is_users_file

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Objects within objects are looked at up to this depth.
MOST_DEEP = 10
#: No more objects than this are looked at.
MOST_OBJECTS = 10_000
#: The entries of an array are kept if it has no more than these; of a larger one only which array it is.
MOST_ENTRIES = 100_000

_UNCHANGING = (int, float, str, bytes, bool, type(None), range, slice)
_MISSING = object()


class State:
    """The attributes of the objects that a function can reach, and the random number generators, at one moment.

    Parameters
    ----------
    function : callable
        What is reached from its object, its closure, the defaults of its parameters, and the variables of its module,
        and of other modules of the user's, that it names.
    most_entries : int
        The entries of an array are kept if it has no more than these.
    """

    def __init__(self, function: Callable[..., Any], most_entries: int = MOST_ENTRIES) -> None:
        self._most_entries = most_entries
        self._random = GlobalGenerators()
        self._generators: list[tuple[Callable[[Any], object], Any]] = []
        self._others: list[tuple[Callable[[Any, Any], None], Any, Any]] = []
        #: Whether random numbers may be drawn, so that their generators have to be put back; that takes a while.
        self.draws = True
        self._seen: set[int] = set()
        self._look(getattr(function, "users_function", function), 0)

    def __getstate__(self) -> dict[str, Any]:
        """Gives what a worker needs, which has objects of its own: the random numbers."""
        return {"_random": self._random, "_generators": self._generators, "_others": [], "draws": self.draws}

    def restore(self) -> None:
        """Puts everything back as it was."""
        if self.draws:
            self.restore_random_numbers()
        for put_back, target, before in self._others:
            put_back(target, before)

    def arrays(self) -> Iterator[tuple[Callable[[Any], object], NDArray[Any]]]:
        """Yields the arrays that are kept, each with what puts another object in its place."""
        for put_back, target, before in self._others:
            if put_back is _put_back_items or put_back is _put_back_names:
                places = [(partial(target.__setitem__, name), value) for name, value in before.items()]
            elif put_back is _put_back_members:
                places = [(partial(target.__setitem__, place), value) for place, value in enumerate(before)]
            elif put_back is _put_back_cell:
                places = [(partial(setattr, target, "cell_contents"), before)]
            else:
                continue
            yield from ((put, value) for put, value in places if type(value) is np.ndarray)

    def restore_random_numbers(self) -> None:
        """Puts the random number generators back, so that the next call draws what the last one drew."""
        self._random.restore()
        for set_state, before in self._generators:
            set_state(before)

    def _look(self, value: Any, depth: int) -> None:
        if depth > MOST_DEEP or id(value) in self._seen or len(self._seen) > MOST_OBJECTS:
            return
        kind = type(value)
        if kind in _UNCHANGING or isinstance(value, (np.generic, ModuleType)):
            return
        self._seen.add(id(value))
        if kind is np.ndarray:
            if value.size <= self._most_entries and value.dtype.kind != "O":
                self._others.append((_put_back_entries, value, value.copy()))
        elif kind is np.random.Generator:
            self._generators.append((partial(setattr, value.bit_generator, "state"), value.bit_generator.state))
        elif kind is np.random.RandomState:
            self._generators.append((value.set_state, value.get_state()))
        elif kind is random.Random:
            self._generators.append((value.setstate, value.getstate()))
        elif isinstance(value, dict):
            self._others.append((_put_back_items, value, dict(value)))
            self._look_at_all(value.values(), depth + 1)
        elif isinstance(value, (list, deque)):
            self._others.append((_put_back_members, value, list(value)))
            self._look_at_all(value, depth + 1)
        elif isinstance(value, set):
            self._others.append((_put_back_set, value, set(value)))
            self._look_at_all(value, depth + 1)
        elif isinstance(value, (tuple, frozenset)):
            self._look_at_all(value, depth + 1)
        elif kind is FunctionType:
            self._look_at_function(value, depth)
        elif kind is MethodType:
            self._look_at_all((value.__func__, value.__self__), depth)
        elif kind in (staticmethod, classmethod):
            self._look(value.__func__, depth)
        elif kind is partial:
            self._look_at_all((value.func, *value.args, *value.keywords.values()), depth + 1)
        elif isinstance(value, type):
            self._look_at_class(value, depth)
        if kind is SimpleNamespace or _is_of_user(kind):
            self._look_at_attributes(value, depth)

    def _look_at_all(self, values: Iterable[Any], depth: int) -> None:
        for value in values:
            self._look(value, depth)

    def _look_at_attributes(self, value: Any, depth: int) -> None:
        attributes = getattr(value, "__dict__", None)
        if isinstance(attributes, dict):
            self._look(attributes, depth + 1)
        for base in filter(_is_of_user, type(value).__mro__):  # members of others, such as `type`, may be read-only
            for slot in vars(base).values():
                if type(slot) is MemberDescriptorType:
                    before = _in_slot(value, slot)
                    self._others.append((partial(_put_back_slot, slot=slot), value, before))
                    self._look(before, depth + 1)
        self._look(type(value), depth + 1)

    def _look_at_class(self, kind: type, depth: int) -> None:
        if not _is_of_user(kind):
            return
        self._others.append((_put_back_class, kind, dict(vars(kind))))
        self._look_at_all(vars(kind).values(), depth + 1)
        self._look_at_all(kind.__mro__[1:-1], depth)

    def _look_at_function(self, function: FunctionType, depth: int) -> None:
        if not is_users_file(function.__code__.co_filename):
            return
        for cell in function.__closure__ or ():
            before = _contents(cell)
            self._others.append((_put_back_cell, cell, before))
            self._look(before, depth + 1)
        self._look_at_all((*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()), depth + 1)
        names = _names(function.__code__)
        self._look_at_names(function.__globals__, names, depth + 1)
        for name in names:
            module = function.__globals__.get(name)
            if isinstance(module, ModuleType) and is_users_file(getattr(module, "__file__", None) or "<none>"):
                self._look_at_names(vars(module), names, depth + 1)

    def _look_at_names(self, variables: dict[str, Any], names: set[str], depth: int) -> None:
        """Looks at variables of a module, some of which may not be there yet."""
        kept = {name: variables.get(name, _MISSING) for name in names}
        self._others.append((_put_back_names, variables, kept))
        self._look_at_all(kept.values(), depth)


def _names(code: CodeType) -> set[str]:
    """Returns the names that a code and the codes in it use, of variables of the module and of attributes."""
    found = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            found |= _names(constant)
    return found


def _is_of_user(kind: type) -> bool:
    module = sys.modules.get(kind.__module__)
    filename = getattr(module, "__file__", None)
    return kind.__module__ == "__main__" or (filename is not None and is_users_file(filename))


# ---- how each kind of thing is put back


def _put_back_entries(array: NDArray[Any], entries: NDArray[Any]) -> None:
    if array.flags.writeable and not np.array_equal(array, entries):
        array[...] = entries


def _put_back_items(target: dict[Any, Any], before: dict[Any, Any]) -> None:
    if target.keys() != before.keys() or any(target[key] is not value for key, value in before.items()):
        target.clear()
        target.update(before)


def _put_back_members(target: list[Any] | deque[Any], before: list[Any]) -> None:
    if len(target) != len(before) or any(a is not b for a, b in zip(target, before, strict=True)):
        target.clear()
        target.extend(before)


def _put_back_names(variables: dict[str, Any], before: dict[str, Any]) -> None:
    for name, value in before.items():
        if value is _MISSING:
            variables.pop(name, None)
        elif variables.get(name, _MISSING) is not value:
            variables[name] = value


def _put_back_set(target: set[Any], before: set[Any]) -> None:
    if target != before:
        target.clear()
        target.update(before)


def _put_back_class(kind: type, before: dict[str, Any]) -> None:
    for name, value in before.items():
        if vars(kind).get(name) is not value:
            setattr(kind, name, value)
    for name in vars(kind).keys() - before.keys():
        if not name.startswith("__"):  # Python itself adds such, as the annotations that were asked for
            delattr(kind, name)


def _in_slot(value: Any, slot: MemberDescriptorType) -> Any:
    try:
        return slot.__get__(value)
    except AttributeError:
        return _MISSING


def _put_back_slot(target: Any, before: Any, *, slot: MemberDescriptorType) -> None:
    # by the slot itself: an object that is frozen refuses to have its attributes set
    if _in_slot(target, slot) is before:
        return
    if before is _MISSING:
        slot.__delete__(target)
    else:
        slot.__set__(target, before)


def _contents(cell: CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # it is empty
        return _MISSING


def _put_back_cell(cell: CellType, before: Any) -> None:
    if before is not _MISSING:
        cell.cell_contents = before
    elif _contents(cell) is not _MISSING:
        del cell.cell_contents


class Frozen:
    """A function that draws the same random numbers in every call.

    Parameters
    ----------
    function : callable
    state : State
        What is kept of the random number generators.
    """

    def __init__(self, function: Callable[..., Any], state: State) -> None:
        self.function, self._state = function, state
        self.users_function = getattr(function, "users_function", function)

    def __call__(self, params: Any) -> Any:
        self._state.restore_random_numbers()
        return self.function(params)

    def with_function(self, function: Callable[..., Any]) -> Frozen:
        """Returns the same of another version of the user's function."""
        replaced = getattr(self.function, "with_function", lambda own: own)
        return Frozen(replaced(function), self._state)


def arrays_like(function: Callable[..., Any], arrays: list[np.ndarray[Any, Any]]) -> str:
    """Returns where a function finds an array that equals one of these, as its user would write it; "" if nowhere.

    Looks at the attributes of its object, and of the objects that it names, and at the variables of its module.
    """
    start: dict[str, Any] = {}
    if isinstance(function, MethodType):
        start["self"], function = function.__self__, function.__func__
    if isinstance(function, FunctionType):
        start |= dict(zip(function.__code__.co_freevars, map(_contents, function.__closure__ or ()), strict=True))
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
