"""The check of a file in a fork of this process, which is ended whatever the file does."""

from __future__ import annotations

import faulthandler
import io
import os
import re
import select
import signal
import sys
import time
import warnings
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from gradcheck_fast.cli.outcome import Outcome, examine, not_checked
from gradcheck_fast.cli.targets import Target
from gradcheck_fast.inputs.arguments import duration
from gradcheck_fast.running import threads

#: So many bytes of what a file prints are kept from its beginning, and from its end.
KEPT = 8192
#: How many seconds a file has, beyond its limit, to say where it is.
GRACE_SECONDS = 0.3
#: After so many seconds it is looked whether the process still lives: its own children may hold its pipes open.
LOOK_SECONDS = 0.05
#: How many bytes are read at once, and how often at most when what is left in a pipe is read.
_CHUNK, _MOST_CHUNKS = 65536, 64
#: How many bytes before an outcome say how long it is.
_LENGTH = 8
#: What faulthandler writes for a line of a stack, the innermost first.
_STACK_LINE = re.compile(r'^  File "(.+)", line (\d+) in ', re.MULTILINE)
#: The lines of a stack that lead to the user's file.
_FROM_HERE = re.compile(
    rf'Extension modules: |  File "({re.escape(os.path.dirname(__file__) + os.sep)}.+|<frozen runpy>|<string>)", line '
)


class Request(NamedTuple):
    """What is to be checked, and how.

    Attributes
    ----------
    file, name : str
        See `Target`.
    options : dict
        The keywords of `gradcheck`.
    limit : float
        After how many seconds the file is ended.
    number : int
        What the answer is given, to tell which request it answers.
    save : str
        Where its report is saved, too; "" for nowhere.
    width : int
        The width of the terminal for which the report is coloured; 0 for no colours.
    """

    file: str
    name: str
    options: dict[str, Any]
    limit: float
    number: int = 0
    save: str = ""
    width: int = 0

    @property
    def target(self) -> Target:
        """The file that is to be checked."""
        return Target(Path(self.file), self.name)


class ForkedCheck:
    """A fork of this process that checks a file, in a session of its own, and the pipes from it.

    Parameters
    ----------
    request : Request
    hidden : int
        A descriptor that the file is not to have.
    """

    def __init__(self, request: Request, hidden: int) -> None:
        self._request = request
        self._began = time.monotonic()
        self._exit_code: int | None = None
        pipes = [os.pipe() for _ in range(3)]
        self._pid = fork()
        if not self._pid:
            for descriptor in (hidden, *(reading for reading, _ in pipes)):
                os.close(descriptor)
            _work(request, *(writing for _, writing in pipes))
        for _, writing in pipes:
            os.close(writing)
        self._result = _Pipe(pipes[0][0], most=None)
        self._printed, self._stack = (_Pipe(reading, KEPT) for reading, _ in pipes[1:])

    @property
    def seconds_left(self) -> float:
        """How many seconds it may still take; none are left if it is 0 or less."""
        return self._began + self._request.limit + GRACE_SECONDS - time.monotonic()

    def wait(self, other: int) -> bool:
        """Reads what it sends within a short time; returns whether something can be read from another descriptor."""
        pipes = {pipe.descriptor: pipe for pipe in self._pipes if pipe.is_open}
        ready = select.select([*pipes, other], [], [], max(0.0, min(self.seconds_left, LOOK_SECONDS)))[0]
        for descriptor in pipes.keys() & set(ready):
            pipes[descriptor].read()
        return other in ready

    def has_ended(self) -> bool:
        """Whether there is a result, or the process lives no longer."""
        if not self._is_whole and self._exit_code is None:
            pid, status = os.waitpid(self._pid, os.WNOHANG)
            if pid:
                self._exit_code = os.waitstatus_to_exitcode(status)
                self._drain()
        return self._is_whole or self._exit_code is not None

    def outcome(self) -> Outcome:
        """What came of it: the result if there is one, or else why there is none."""
        self._drain()
        target = self._request.target
        if self._is_whole:
            outcome = Outcome.from_json(self._result.kept[_LENGTH:].decode())
        else:
            stack = "".join(line for line in self._stack.text().splitlines(True) if not _FROM_HERE.match(line))
            place = _place(stack, target.file)
            seconds = time.monotonic() - self._began
            outcome = not_checked(target, self._why(), text=stack, place=place, seconds=seconds)
        return replace(outcome, output=self._printed.text())

    def end(self) -> None:
        """Ends the process, and those that it has started, and closes the pipes."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._pid, signal.SIGKILL)
        if self._exit_code is None:
            os.kill(self._pid, signal.SIGKILL)  # it may not have had the time to get a group of its own
            os.waitpid(self._pid, 0)
        for pipe in self._pipes:
            os.close(pipe.descriptor)

    @property
    def _pipes(self) -> tuple[_Pipe, ...]:
        return self._result, self._printed, self._stack

    @property
    def _is_whole(self) -> bool:
        """Whether the result has arrived as a whole."""
        got = self._result.kept
        return len(got) >= _LENGTH and len(got) - _LENGTH >= int.from_bytes(got[:_LENGTH], "big")

    def _why(self) -> str:
        if self._exit_code is None:
            return f"was ended after its time limit of {duration(self._request.limit)}"
        if self._exit_code >= 0:
            return f"ended its process before it was checked, with exit code {self._exit_code}"
        name = signal.strsignal(-self._exit_code) or "unknown"
        return f"crashed: signal {-self._exit_code} ({name.lower()}) ended its process"

    def _drain(self) -> None:
        """Reads what is left in the pipes."""
        for pipe in self._pipes:
            for _ in range(_MOST_CHUNKS):
                if not (pipe.is_open and select.select([pipe.descriptor], [], [], 0)[0]):
                    break
                pipe.read()


class _Pipe:
    """The reading end of a pipe, and what came out of it: all of it, or so many bytes from its beginning and end."""

    def __init__(self, descriptor: int, most: int | None) -> None:
        self.descriptor = descriptor
        self.is_open = True
        self.kept = bytearray()
        self._most = most
        self._left_out = 0

    def read(self) -> None:
        """Reads what is there."""
        chunk = os.read(self.descriptor, _CHUNK)
        self.is_open = bool(chunk)
        self.kept += chunk
        if self._most is not None and len(self.kept) > 2 * self._most:
            self._left_out += len(self.kept) - 2 * self._most
            del self.kept[self._most : len(self.kept) - self._most]

    def text(self) -> str:
        """What was kept; a line in its middle says how much was not."""
        if self._most is None or not self._left_out:
            return self.kept.decode("utf-8", "replace")
        start, end = (part.decode("utf-8", "replace") for part in (self.kept[: self._most], self.kept[self._most :]))
        return f"{start}\n[{self._left_out:,} bytes are left out]\n{end}"


def fork() -> int:
    """Forks this process, and returns 0 in the fork, which may use as many threads of OpenMP as if it had not been one.

    This process must not have used OpenMP, whose threads do not survive a fork.
    """
    with warnings.catch_warnings():  # Python warns of threads; those of BLAS end by themselves before a fork
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if not pid:
        threads.take_over()
    return pid


def _work(request: Request, result: int, printed: int, stack: int) -> NoReturn:
    """Checks a file in this process, a fork, and ends it. Forks of the file itself end here, too, but say nothing."""
    own = os.getpid()
    try:
        os.setsid()
        _redirect(printed)
        faulthandler.enable(file=stack)
        faulthandler.dump_traceback_later(request.limit, file=stack)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        sys.argv[:] = [request.file]
        outcome = examine(request.target, request.options, save=request.save, width=request.width)
        if os.getpid() == own:
            sent = outcome.to_json().encode()
            _send(result, len(sent).to_bytes(_LENGTH, "big") + sent)
    finally:
        if os.getpid() == own:
            for stream in (sys.stdout, sys.stderr):
                with suppress(Exception):
                    stream.flush()
        os._exit(0)


def _redirect(printed: int) -> None:
    """Lets the user's file read nothing, and print into a pipe."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    for descriptor, standard in ((nothing, 0), (printed, 1), (printed, 2)):
        os.dup2(descriptor, standard)
    for descriptor in (nothing, printed):
        os.close(descriptor)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # what was printed before a crash is not lost


def _send(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _place(stack: str, file: Path) -> tuple[str, int] | None:
    """The innermost line of a file in the stack that faulthandler wrote; None if there is none."""
    here = os.path.realpath(file)
    lines: Sequence[tuple[str, str]] = _STACK_LINE.findall(stack)
    return next(((str(file), int(line)) for name, line in lines if os.path.realpath(name) == here), None)
