"""Finds out which instruction of the user's files is running, and from where it was called."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from gradcheck_fast.program.program import Source

if TYPE_CHECKING:
    from types import CodeType, FrameType

NOWHERE = Source()


class Instructions:
    """The instructions that run while a function is recorded.

    Parameters
    ----------
    is_users : callable
        Whether a file of that name is the user's.
    outside : code
        That of the function that records: it and its callers do not belong to what is recorded.
    """

    def __init__(self, is_users: Callable[[str], bool], outside: CodeType) -> None:
        self._is_users, self._outside = is_users, outside
        self._users: dict[str, bool] = {}
        self._sources: dict[tuple[int, ...], Source] = {}

    def running(self) -> Source:
        """Returns the innermost instruction of the user's that is running, with those that called it."""
        frame: FrameType | None = sys._getframe(1)
        users, outside = self._users, self._outside
        path: list[FrameType] = []
        places: list[int] = []
        while frame is not None and (code := frame.f_code) is not outside:
            name = code.co_filename
            is_users = users.get(name)
            if is_users is None:
                is_users = users[name] = self._is_users(name)
            if is_users:
                path.append(frame)
                places += id(code), frame.f_lasti
            frame = frame.f_back
        key = tuple(places)
        found = self._sources.get(key)
        if found is None:
            found = NOWHERE
            for frame in reversed(path):
                caller = found if found.line else None
                found = Source("", frame.f_code.co_filename, frame.f_lineno, begin(frame.f_code, frame.f_lasti), caller)
            self._sources[key] = found
        return found


def begin(code: CodeType, at: int) -> int:
    """Returns where the instruction begins that is running.

    Once a call has run several times, Python says that it is in the cache behind the instruction, of operations 0.
    """
    operations = code.co_code
    while at > 0 and operations[at] == 0:
        at -= 2
    return at
