"""Runs users' functions with every call in them handed to a hook, without changing anything that is theirs.

A function is not changed, but made a second time: of the same source, with the same globals, closure and defaults. See
`syntax.py` for what is rewritten, and `codes.py` for how a function's code is found.
"""

from __future__ import annotations

import functools
import sys
import threading
from collections.abc import Callable
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType
from typing import Any, Protocol

from gradcheck_fast.frontends.numpy_trace.codes import codes_in, rewritten_code, with_hooks
from gradcheck_fast.inputs.users_files import is_users_file

#: So many codes a `Rewriter` remembers; then it begins anew.
_MOST_CODES = 4096

#: What a function has besides what it is made of. Annotations are evaluated lazily from Python 3.14 on.
_ATTRIBUTES = ("__module__", "__qualname__", "__doc__", "__kwdefaults__")


class Hook(Protocol):
    """What rewritten functions hand their calls and their assignments to items to."""

    def call(self, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Do what `function(*args, **kwargs)` does, and return its result."""

    def setitem(self, container: Any, key: Any, value: Any, /) -> Any:
        """Do what `container[key] = value` does.

        Return the container, or another object that the variable should have from now on. Only a variable of the
        function itself, or an attribute of a name, is given another object; elsewhere what is returned is ignored.
        """

    def augmented(self, operator_name: str, target: Any, value: Any, /) -> Any:
        """Do what `target op= value` does for an item, and return the new item.

        The name is that of the function in the module `operator`: "iadd" for `+=`, for example.
        """


class Rewriter:
    """Makes the versions of users' functions that hand their calls to a hook.

    Parameters
    ----------
    hook : Hook
        What the calls are handed to.
    is_users : callable, optional
        Whether functions of the file of this name are to be rewritten.
    """

    def __init__(self, hook: Hook, is_users: Callable[[str], bool] = is_users_file) -> None:
        self._hook = hook
        self._items = _Items(hook)
        self._is_users = is_users
        # By identity: code objects are slow to compare. They are kept, so that no other gets the same identity.
        self._codes: dict[int, tuple[CodeType, CodeType | None]] = {}

    def convert(self, function: Any) -> Callable[..., Any] | None:
        """The version of a callable that hands its calls to the hook.

        Parameters
        ----------
        function : object
            A function, method, partial, class, callable object, staticmethod or classmethod; or a function of these
            that is wrapped by `functools.lru_cache`, Numba or another compiled wrapper. The wrapper is left out.

        Returns
        -------
        callable or None
            None if it is no function of the user's, or if there is no source for it. A classmethod gives a classmethod,
            which is not callable itself, as before.
        """
        if isinstance(function, FunctionType):
            return self._function(function)
        if isinstance(function, BuiltinFunctionType):
            return None
        if isinstance(function, MethodType):
            converted = self.convert(function.__func__)
            return None if converted is None else MethodType(converted, function.__self__)
        if isinstance(function, type):
            return self._class(function)
        if isinstance(function, staticmethod | classmethod):
            converted = self.convert(function.__func__)
            kind: Any = type(function)
            return None if converted is None else kind(converted)
        if type(function) is functools.partial:
            converted = self.convert(function.func)
            return None if converted is None else functools.partial(converted, *function.args, **function.keywords)
        return self._object(function)

    def _function(self, function: FunctionType) -> FunctionType | None:
        code = function.__code__
        known = self._codes.get(id(code))
        rewritten = known[1] if known is not None else self._rewritten(code, function.__globals__)
        if rewritten is None:
            return None
        if rewritten is code:
            return function
        # Both codes have the same free variables in the same order.
        made = FunctionType(
            rewritten, function.__globals__, function.__name__, function.__defaults__, function.__closure__
        )
        made.__dict__ = function.__dict__  # the same, so that what is stored in it is seen by both
        for name in _ATTRIBUTES:
            setattr(made, name, getattr(function, name))
        if sys.version_info >= (3, 12):
            made.__type_params__ = function.__type_params__
        lazily = getattr(function, "__annotate__", None)
        if lazily is not None:
            made.__annotate__ = lazily  # type: ignore[attr-defined]
        else:
            made.__annotations__ = function.__annotations__
        return made

    def _rewritten(self, code: CodeType, global_names: dict[str, Any]) -> CodeType | None:
        plain = rewritten_code(code, global_names) if self._is_users(code.co_filename) else None
        rewritten = None if plain is None else with_hooks(plain, self._hook, self._items)
        if len(self._codes) > _MOST_CODES:
            self._codes.clear()
        if rewritten is not None:  # functions that rewritten code makes are rewritten already
            self._codes.update((id(inner), (inner, inner)) for inner in codes_in(rewritten))
        self._codes[id(code)] = code, rewritten
        return rewritten

    def _class(self, cls: Any) -> Callable[..., Any] | None:
        """What constructs objects of a class, for a class that is constructed in the ordinary way."""
        initialise = cls.__init__
        if type(cls).__call__ is not type.__call__ or cls.__new__ is not object.__new__:
            return None
        converted = self._function(initialise) if isinstance(initialise, FunctionType) else None
        if converted is None:
            return None

        def construct(*args: Any, **kwargs: Any) -> Any:
            made = cls.__new__(cls)
            result = converted(made, *args, **kwargs)
            if result is not None:
                raise TypeError(f"__init__() should return None, not '{type(result).__name__}'")
            return made

        return construct

    def _object(self, function: Any) -> Callable[..., Any] | None:
        kind = type(function)
        for base in kind.__mro__:
            if "__call__" in vars(base):
                call = vars(base)["__call__"]
                break
        else:
            return None
        if isinstance(call, FunctionType):
            converted = self._function(call)
            return None if converted is None else MethodType(converted, function)
        if kind.__module__.partition(".")[0] == "numba":
            return self.convert(getattr(function, "py_func", None))
        if hasattr(function, "_self_wrapper"):  # of wrapt: its wrappers may do anything
            return None
        return self.convert(getattr(function, "__wrapped__", None))


class _Keys:
    """Returns the key that it is asked for."""

    def __getitem__(self, key: Any) -> Any:
        return key


class _Items:
    """What rewritten assignments to items call."""

    key = _Keys()

    def __init__(self, hook: Hook) -> None:
        self._hook = hook
        self._of_thread = threading.local()

    def assign(self, value: Any, container: Any, key: Any, rebinds: bool) -> bool:
        """Store an item, and tell whether its container has to be replaced by what `take` returns."""
        now = self._hook.setitem(container, key, value)
        if now is container or not rebinds:
            return False
        self._of_thread.container = now
        return True

    def load(self, container: Any, key: Any) -> tuple[Any, Any, Any]:
        return container, key, container[key]

    def update(self, operator_name: str, loaded: tuple[Any, Any, Any], value: Any, rebinds: bool) -> bool:
        container, key, item = loaded
        return self.assign(self._hook.augmented(operator_name, item, value), container, key, rebinds)

    def take(self) -> Any:
        container = self._of_thread.container
        del self._of_thread.container
        return container
