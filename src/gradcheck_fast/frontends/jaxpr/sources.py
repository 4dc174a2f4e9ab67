"""The lines of the user's files that the equations of a jaxpr come from."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from gradcheck_fast.frontends.numpy_trace.instructions import NOWHERE, begin
from gradcheck_fast.program.program import Source

#: Whoever captures a jaxpr is in this package; frames outside of its own do not belong to the loss.
_PACKAGE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


class Sources:
    """Finds the source of an equation.

    Parameters
    ----------
    is_users : callable
        Whether a file of that name is the user's.
    """

    def __init__(self, is_users: Callable[[str], bool]) -> None:
        self._is_users = is_users
        self._users: dict[str, bool] = {}
        self._sources: dict[Any, Source] = {}

    def of(self, equation: Any, outer: Source = NOWHERE) -> Source:
        """Returns the instruction of the user's that made an equation, with those that called it.

        `outer` is that of the equation which contains this one. JAX traces what is compiled by itself, and once.
        """
        traceback = equation.source_info.traceback
        if traceback is None:
            return outer
        key = traceback, outer
        found = self._sources.get(key)
        if found is None:
            found = self._sources[key] = self._found(traceback, outer)
        return found

    def _found(self, traceback: Any, outer: Source) -> Source:
        codes, lasts = traceback.raw_frames()  # the innermost is the first
        frames, found = [], outer
        for code, last in zip(codes, lasts, strict=True):
            if code.co_filename.startswith(_PACKAGE):
                found = NOWHERE
                break
            if self._is_users_code(code):
                frames.append((code, last))
        for code, last in reversed(frames):
            caller = found if found.line else None
            line = traceback.code_addr2line(code, last)
            found = Source("", code.co_filename, line, begin(code, last), caller)
        return found

    def is_called_by(self, equation: Any, function: str, folder: str) -> bool:
        """Tells whether the function of this name that made an equation is called from a file in this folder."""
        traceback = equation.source_info.traceback
        codes = traceback.raw_frames()[0] if traceback is not None else []
        places = [k for k, code in enumerate(codes) if code.co_name == function and code.co_filename.startswith(folder)]
        outside = codes[places[-1] + 1 :] if places else codes
        return bool(outside) and outside[0].co_filename.startswith(folder)

    def _is_users_code(self, code: Any) -> bool:
        name = code.co_filename
        found = self._users.get(name)
        if found is None:
            found = self._users[name] = self._is_users(name)
        return found
