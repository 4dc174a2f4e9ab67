"""A process that has everything imported, and checks files in forks of itself: each file in a process of its own.

`serve` is the whole of it. It forks into as many *slots* as files are to be checked at once, and each slot forks once
more for each file, waits, and tells what came of it. Nothing that a file does reaches the next one: it runs in a
session of its own, which is ended with its processes as soon as there is an outcome, or its time is up.

A slot reads requests from its socket, a line of JSON each, and answers each by a line: its number, a space, and the
`Outcome` as JSON. A request that comes before the answer to the one before ends that check, without an answer. When the
socket is closed, the slot ends.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import socket
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

import rich.console  # this and the next ones: so that no fork has to import them
import rich.text  # noqa: F401

import gradcheck_fast.checks.intermediates
import gradcheck_fast.diagnosis.diagnose
import gradcheck_fast.diagnosis.kinks.slopes_taken
import gradcheck_fast.frontends.network.tensor_network
import gradcheck_fast.frontends.numpy_trace.traced_loss
import gradcheck_fast.report.html  # noqa: F401
from gradcheck_fast.cli.forked import ForkedCheck, Request, fork

if TYPE_CHECKING:
    from gradcheck_fast.cli.outcome import Outcome

#: How many bytes are read at once.
_CHUNK = 65536


def serve(descriptors: Sequence[int]) -> None:
    """Serves one slot for each socket, until they are closed.

    Parameters
    ----------
    descriptors : sequence of int
        File descriptors of the sockets.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.collect()
    gc.freeze()  # or else each fork would copy what its collections touch
    slots = []
    for own in descriptors:
        slots.append(fork())
        if not slots[-1]:
            for other in descriptors:
                if other != own:
                    os.close(other)
            _Slot(socket.socket(fileno=own)).run()
            os._exit(0)
    for descriptor in descriptors:
        os.close(descriptor)
    for slot in slots:
        os.waitpid(slot, 0)


class _Slot:
    """Checks one file after another, each in a fork."""

    def __init__(self, asked: socket.socket) -> None:
        self._socket = asked
        self._unread = b""
        self._is_open = True

    def run(self) -> None:
        """Says that it is there by an empty line, and answers requests until the socket is closed."""
        self._socket.sendall(b"\n")
        while self._is_open:
            line, end, rest = self._unread.partition(b"\n")
            if not end:
                self._receive()
                continue
            self._unread = rest
            request = Request(*json.loads(line))
            outcome = self._check(request)
            if outcome is not None:
                with suppress(OSError):  # nobody waits for it
                    self._socket.sendall(f"{request.number} {outcome.to_json()}\n".encode())

    def _receive(self) -> None:
        received = b""
        with suppress(OSError):
            received = self._socket.recv(_CHUNK)
        self._is_open = bool(received)
        self._unread += received

    def _check(self, request: Request) -> Outcome | None:
        """Checks a file in a fork; None if that is no longer wanted."""
        run = ForkedCheck(request, self._socket.fileno())
        try:
            while self._is_open and not self._unread:
                if run.has_ended() or run.seconds_left <= 0:
                    return run.outcome()
                if run.wait(self._socket.fileno()):
                    self._receive()
            return None
        finally:
            run.end()
