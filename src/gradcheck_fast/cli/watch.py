"""Checks a file again at each save, and shows the new verdict beside the last one."""

from __future__ import annotations

import os
import select
import socket
import sys
import threading
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any, TextIO

from gradcheck_fast.cli.exit_codes import BAD_INPUT
from gradcheck_fast.cli.forked import Request
from gradcheck_fast.cli.many import exit_code
from gradcheck_fast.cli.pool import Pool, lost
from gradcheck_fast.cli.screen import State, make_screen
from gradcheck_fast.cli.targets import InputError, Target

#: So many milliseconds without another change end what counts as one save, and so many do in any case.
_STEP, _DEBOUNCE = 10, 50
#: After so many seconds files are looked at even if nothing was reported of them, as it is on some network drives; and
#: after so many if the file is gone, as nothing is reported of a directory that is gone, too.
_LOOK_SECONDS, _LOOK_SECONDS_IF_GONE = 1.0, 0.1
#: How many bytes are read at once.
_CHUNK = 4096
#: What tells one state of a file from another: when it was written, its size, and which file it is.
_Stamp = tuple[int, int, int]


def watch(target: Target, options: Mapping[str, Any], limit: float, out: TextIO | None = None) -> int:
    """Checks a file, and again whenever it, or a module of the user's that it imports, is saved; until Ctrl-C.

    On a terminal one screen is updated; elsewhere each verdict is a line.

    Parameters
    ----------
    target : Target
    options : mapping
        The keywords of `gradcheck`.
    limit : float
        After how many seconds a check is ended.
    out : file, optional
        Where it is shown; None for the standard output.

    Returns
    -------
    int
        The exit code of the last verdict.

    Raises
    ------
    InputError
        If there is no such file at the start, or watchfiles is not installed; it is an optional dependency.
    """
    try:
        import watchfiles  # noqa: F401  # whether it is there is to be known before anything is shown
    except ModuleNotFoundError:
        raise InputError('watch needs watchfiles: pip install "gradcheck_fast[watch]"') from None
    if not target.file.is_file():
        raise InputError(f"no such file: {target.file}")
    with Pool(1) as pool, _Alarm() as alarm, make_screen(target, out or sys.stdout) as screen:
        watching = _Watching(Request(str(target.file), target.name, dict(options), limit), pool)
        with suppress(KeyboardInterrupt):
            while True:
                alarm.watch(watching.files)
                if watching.look(screen.width):
                    screen.show(watching.state)
                if watching.wait(alarm):
                    screen.show(watching.state)
    state = watching.state
    return exit_code([state.now]) if state.now else BAD_INPUT


class _Watching:
    """What is known of a file that is watched.

    Parameters
    ----------
    request : Request
        How the file is checked.
    pool : Pool
        Of one slot, which checks it.
    """

    def __init__(self, request: Request, pool: Pool) -> None:
        self.state = State()
        self.files = [request.file]
        self._stamps: dict[str, _Stamp | None] = {}
        self._sent_at = 0
        self._pool = pool
        self._request = request

    def look(self, width: int) -> bool:
        """Looks at the files, and lets them be checked if they are others than before; returns whether they are."""
        stamps = {file: _stamp(file) for file in self.files}
        if stamps == self._stamps:
            return False
        self._stamps = stamps
        is_gone = stamps[self._request.file] is None
        self.state = self.state._replace(is_gone=is_gone, is_checking=not is_gone)
        self._request = self._request._replace(number=self._request.number + 1, width=width)  # earlier answers are void
        if not is_gone:
            self._sent_at = time.time_ns()
            self._pool.slots[0].send(self._request)
        return True

    def wait(self, alarm: _Alarm) -> bool:
        """Waits until a file has changed, or a verdict has come, but not long; returns whether a verdict has."""
        seconds = _LOOK_SECONDS_IF_GONE if self.state.is_gone else _LOOK_SECONDS
        slot = self._pool.slots[0]
        ready = select.select([slot.fileno(), alarm.fileno()], [], [], seconds)[0]
        if alarm.fileno() in ready:
            alarm.reset()
        answer = slot.receive() if slot.fileno() in ready else None
        if not slot.is_open:
            self._pool.replace(slot)
            answer = self._request.number, lost(self._request)
        if answer is None or answer[0] != self._request.number or self.state.is_gone:
            return False
        self._follow(answer[1].imported)
        self.state = self.state.after(answer[1])
        return True

    def _follow(self, imported: Iterable[str]) -> None:
        """Watches also the modules that the file imports."""
        for file in imported:
            if file not in self._stamps:
                stamp = _stamp(file)
                was_saved_since = stamp is None or stamp[0] >= self._sent_at
                self.files.append(file)
                self._stamps[file] = None if was_saved_since else stamp


class _Alarm:
    """Can be read from, for `select`, when something has changed in the directories of some files."""

    def __init__(self) -> None:
        self._own, self._other = socket.socketpair()
        self._own.setblocking(False)
        self._watched: frozenset[tuple[str, int]] = frozenset()
        self._stop = threading.Event()

    def fileno(self) -> int:
        """The descriptor that can be read from."""
        return self._own.fileno()

    def reset(self) -> None:
        """Forgets what has changed so far."""
        with suppress(BlockingIOError):
            while self._own.recv(_CHUNK):
                pass

    def watch(self, files: Iterable[str]) -> None:
        """Watches the directories of these files, as far as there are such: editors replace files by others."""
        directories = {os.path.dirname(path(file)) for file in files for path in (os.path.abspath, os.path.realpath)}
        found = {(directory, stamp[2]) for directory in directories if (stamp := _stamp(directory))}
        if found != self._watched:
            self._stop.set()
            self._stop = threading.Event()
            self._watched = frozenset(found)
            paths = sorted(directory for directory, _ in found)
            threading.Thread(target=_tell, args=(paths, self._stop, self._other), daemon=True).start()

    def __enter__(self) -> _Alarm:
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._own.close()
        self._other.close()


def _tell(directories: Iterable[str], stop: threading.Event, other: socket.socket) -> None:
    """Writes a byte whenever something has changed in some directories."""
    import watchfiles  # an optional dependency

    with suppress(OSError, RuntimeError):  # a directory has just gone, or nobody reads any more
        for _ in watchfiles.watch(
            *directories,
            watch_filter=None,
            debounce=_DEBOUNCE,
            step=_STEP,
            stop_event=stop,
            raise_interrupt=False,
            recursive=False,
        ):
            other.send(b"!")


def _stamp(path: str) -> _Stamp | None:
    """What tells this state of a file from others; None if there is none."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
