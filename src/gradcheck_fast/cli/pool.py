"""The other end of `server`: sends files to be checked to processes, several at once, and gives their outcomes."""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from gradcheck_fast.cli.outcome import Outcome, not_checked
from gradcheck_fast.cli.targets import InputError

if TYPE_CHECKING:
    from types import TracebackType

    from gradcheck_fast.cli.forked import Request

#: What the server runs. Its first statement takes away the working directory, in which a user's file may have the name
#: of a module of the standard library.
_SERVER = (
    "import sys; sys.path[:] = sys.argv[2:]; "
    "from gradcheck_fast.cli.server import serve; serve([int(d) for d in sys.argv[1].split(',')])"
)
#: What tells libraries how many threads they may use; it is set before the server imports any. Those of BLAS start anew
#: in each fork, and wait for work in a loop: for a small network that takes five times as long as its check.
_OPENMP, _BLAS = "OMP_NUM_THREADS", ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
#: How many bytes are read at once.
_CHUNK = 65536
#: How many seconds a server has to end by itself.
_SECONDS_TO_END = 2.0


class Slot:
    """A process that checks one file at a time, and the socket to it.

    Attributes
    ----------
    has_started : bool
        Whether it was heard of.
    is_open : bool
        Whether it has not ended.
    """

    def __init__(self, asked: socket.socket) -> None:
        self._socket = asked
        self._unread = b""
        self.has_started = False
        self.is_open = True

    def fileno(self) -> int:
        """The descriptor of the socket, for `select`."""
        return self._socket.fileno()

    def send(self, request: Request) -> None:
        """Lets it check a file. A check that is going on is ended, and there will be no outcome of that."""
        with suppress(OSError):  # it has ended, which `receive` will find
            self._socket.sendall(json.dumps(request).encode() + b"\n")

    def receive(self) -> tuple[int, Outcome] | None:
        """Reads what it has sent; returns the number of a request and its outcome if one is complete.

        It returns None, and is not `is_open` from then on, if the process has ended.
        """
        received = b""
        with suppress(OSError):
            received = self._socket.recv(_CHUNK)
        self.is_open = bool(received)
        self._unread += received
        line, end, rest = self._unread.partition(b"\n")
        if end and not self.has_started:
            self.has_started = True
            line, end, rest = rest.partition(b"\n")
        self._unread = rest if end else line
        if not end:
            return None
        number, _, outcome = line.decode().partition(" ")
        return int(number), Outcome.from_json(outcome)

    def close(self) -> None:
        """Lets it end, and with it the file that it checks."""
        self._socket.close()


class Pool:
    """Processes that check files, each in a process of its own. It is a context manager, which ends them.

    Parameters
    ----------
    jobs : int
        How many files are checked at once.
    threads : int or None
        How many threads each may use, and BLAS in it; None for as many as there are CPUs, but one for BLAS, unless the
        user's environment says otherwise.
    """

    def __init__(self, jobs: int, threads: int | None = None) -> None:
        self._threads = threads
        self._servers: list[subprocess.Popen[bytes]] = []
        self.slots = self._start(jobs)

    def run(self, requests: Iterable[Request]) -> Iterator[tuple[int, Outcome]]:
        """Checks files, and gives the number of each and its outcome as soon as there is one."""
        waiting = deque(requests)
        busy: dict[Slot, Request] = {}
        while waiting or busy:
            for slot in self.slots:
                if waiting and slot not in busy:
                    busy[slot] = waiting.popleft()
                    slot.send(busy[slot])
            for slot in select.select(list(busy), [], [])[0]:
                answer = slot.receive()
                if answer is None and not slot.is_open:
                    self.replace(slot)
                    answer = busy[slot].number, lost(busy[slot])
                if answer is not None:
                    del busy[slot]
                    yield answer

    def replace(self, slot: Slot) -> None:
        """Starts another process instead of one that has ended.

        Raises
        ------
        InputError
            If the process did not even start.
        """
        if not slot.has_started:
            raise InputError("the process that is to check files did not start; its error is above")
        slot.close()
        at = self.slots.index(slot)
        self.slots[at : at + 1] = self._start(1)

    def _start(self, jobs: int) -> list[Slot]:
        """Starts a server with some slots."""
        pairs = [socket.socketpair() for _ in range(jobs)]
        theirs = [their.fileno() for _, their in pairs]
        self._servers.append(
            subprocess.Popen(
                [sys.executable, "-c", _SERVER, ",".join(map(str, theirs)), *_paths()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=theirs,
                env=self._environment(),
                start_new_session=True,  # Ctrl-C is for this process, which ends the others
            )
        )
        for _, their in pairs:
            their.close()
        return [Slot(own) for own, _ in pairs]

    def _environment(self) -> dict[str, str]:
        if self._threads is None:
            return dict.fromkeys(_BLAS, "1") | os.environ
        return os.environ | dict.fromkeys((_OPENMP, *_BLAS), str(self._threads))

    def close(self) -> None:
        """Ends all processes."""
        for slot in self.slots:
            slot.close()
        for server in self._servers:
            try:
                server.wait(_SECONDS_TO_END)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()

    def __enter__(self) -> Pool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def lost(request: Request) -> Outcome:
    """The outcome of a file with which the slot that checked it was lost."""
    return not_checked(request.target, "ended the process that watched over it")


def _paths() -> Sequence[str]:
    """Where modules are looked for: as in this process, but absolute."""
    return [os.path.abspath(path) for path in sys.path]
