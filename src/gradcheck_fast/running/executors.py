"""Work shared out to the workers of an executor: a pool of processes or threads, MPI, a cluster."""

from __future__ import annotations

import os
import pickle
import sys
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    Executor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
    wait,
)
from contextlib import nullcontext
from functools import lru_cache, partial
from hashlib import sha256
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from gradcheck_fast.running.pieces import cut, first_size, next_size
from gradcheck_fast.running.progress import calls_inside
from gradcheck_fast.running.threads import limited, resolve

if TYPE_CHECKING:
    from gradcheck_fast.running.jobs import Job
    from gradcheck_fast.running.pieces import Range

#: What a share of the work takes: long beside the ten milliseconds that a cluster takes to hand it out, and short
#: beside the patience of someone who pressed Ctrl-C, or of a cluster that loses the worker doing it.
SHARE_SECONDS = 1.0
#: What it takes at least, where little is left and all workers shall have some of it.
SHORTEST_SHARE_SECONDS = 0.05
#: Shares handed out to begin with; more, as long as none has to wait for a worker.
FIRST_SHARES = 4
#: A share is given up when so many workers have died of it, the last of them with no other share about.
MOST_DEATHS = 3
#: Bytes that go along with every share. What is larger, a worker is sent once.
LIGHT = 64 * 1024


class _Share(NamedTuple):
    begin: int
    end: int
    deaths: int = 0
    with_work: bool = False


class _Sent(NamedTuple):
    share: _Share
    executor: Executor
    when: float


class _Order(NamedTuple):
    """What a worker is told with each share: which work it is of, who sends it, and how many threads to use."""

    token: str
    sender: str
    n_threads: int


class Pool:
    """An executor, and what to do when its workers die.

    Parameters
    ----------
    executor : Executor or callable
        Anything with the interface of `concurrent.futures.Executor`, which stays the caller's to shut down; or a
        function that makes one, called again when it breaks, and shut down in the end.
    n_threads : int
        What other libraries may use in each worker that is another process.

    Raises
    ------
    TypeError
        If it is neither.
    """

    def __init__(self, executor: Executor | Callable[[], Executor], n_threads: int = 1) -> None:
        self._n_threads = n_threads
        self._make: Callable[[], Executor] | None = None
        self._executor: Executor | None = None
        self._own: list[Executor] = []
        if hasattr(executor, "submit") and not isinstance(executor, type):
            self._executor = cast("Executor", executor)
        elif callable(executor):
            self._make = executor
        else:
            raise TypeError(
                "executor: expected one with the interface of concurrent.futures, such as ProcessPoolExecutor(), "
                f"or a function that makes one, got {executor!r}"
            )

    def close(self, *, wait: bool) -> None:
        """Shuts down what this made itself."""
        for executor in self._own:
            executor.shutdown(wait=wait)
        self._own.clear()

    def share_out(self, job: Job, missing: Iterable[Range]) -> Generator[Range]:
        """Has a job done by the workers; yields each range of tasks whose results are in place.

        Shares are sized to take SHARE_SECONDS, less towards the end. What a dead worker had is done again.
        """
        gaps, again = deque(missing), list[_Share]()
        sent: dict[Future[Any], _Sent] = {}
        send = self._sender(job)
        size, most = first_size(job), FIRST_SHARES
        try:
            while gaps or again or sent:
                # what may have killed is tried on its own: if it kills again, nothing else was to blame
                suspects = any(share.deaths == MOST_DEATHS - 1 for share in again)
                while (gaps or again) and len(sent) < (1 if suspects else most):
                    share = again.pop() if again else _Share(*cut(gaps, size))
                    executor = self._current()
                    try:
                        future = send(executor, share)
                    except BrokenExecutor as error:
                        again.append(self._after_death(job, share, executor, error))
                        continue
                    sent[future] = _Sent(share, executor, perf_counter())
                for future in wait(sent, return_when=FIRST_COMPLETED).done:
                    share, executor, when = sent.pop(future)
                    try:
                        answer = future.result()
                    except BrokenExecutor as error:
                        again.append(self._after_death(job, share, executor, error))
                        continue
                    if answer is None:
                        again.append(share._replace(with_work=True))
                        continue
                    seconds, found = answer
                    job.put(share.begin, share.end, found)
                    yield share.begin, share.end
                    most += perf_counter() - when < 2.0 * seconds
                    tasks, left = share.end - share.begin, sum(end - begin for begin, end in gaps)
                    fair = left / (2 * most) * seconds / tasks
                    size = next_size(job, tasks, seconds, min(SHARE_SECONDS, max(fair, SHORTEST_SHARE_SECONDS)))
        finally:
            for future in sent:
                future.cancel()

    def _sender(self, job: Job) -> Callable[[Executor, _Share], Future[Any]]:
        """How a share of a job is handed to an executor."""
        packed = b"" if isinstance(self._current(), ThreadPoolExecutor) else _pickled(job.share)
        order = _Order(sha256(packed).hexdigest(), _this_process(), self._n_threads)

        def send(executor: Executor, share: _Share) -> Future[Any]:
            future: Future[Any]
            if isinstance(executor, ThreadPoolExecutor):
                future = executor.submit(_timed, job.share, share.begin, share.end)
            else:
                along = packed if share.with_work or len(packed) <= LIGHT else None
                future = executor.submit(_remote, order, along, share.begin, share.end)
            if not isinstance(future, Future):
                raise TypeError(
                    f"executor: its submit() gave {future!r}, expected a concurrent.futures.Future; "
                    "of a Dask client give client.get_executor()"
                )
            return future

        return send

    def _current(self) -> Executor:
        if self._executor is None and self._make:
            self._executor = self._make()
            if not hasattr(self._executor, "submit"):
                made, self._executor = self._executor, None
                raise TypeError(f"executor: the function that was given made {made!r}, which is no executor")
            self._own.append(self._executor)
        return cast("Executor", self._executor)

    def _after_death(self, job: Job, share: _Share, executor: Executor, error: BrokenExecutor) -> _Share:
        """The share to be done again, by an executor that works."""
        if executor is self._executor:
            self._executor = self._renewed(executor, error)
        if share.deaths + 1 == MOST_DEATHS:
            raise RuntimeError(
                f"executor: its workers died {MOST_DEATHS} times while {job.said(share.begin, share.end)}, the last "
                "time with nothing else going on; does the loss crash there, or is memory short?"
            ) from error
        return share._replace(deaths=share.deaths + 1, with_work=False)

    def _renewed(self, broken: Executor, error: BrokenExecutor) -> Executor | None:
        if self._make is not None:
            return None
        options = _options(broken) if type(broken) is ProcessPoolExecutor else None
        if options is not None:
            self._own.append(ProcessPoolExecutor(**options))
        else:
            warnings.warn(
                f"executor: {type(broken).__name__} broke ({error}); the rest is done in this process. Give a function "
                "that makes an executor, to have a new one made",
                RuntimeWarning,
                stacklevel=calls_inside(),
            )
            self._own.append(ThreadPoolExecutor(1))
        return self._own[-1]


def _options(pool: ProcessPoolExecutor) -> dict[str, Any] | None:
    """What a pool was made with, as far as it knows it itself."""
    names = ["max_workers", "mp_context", "initializer", "initargs"]
    names += ["max_tasks_per_child"] * (sys.version_info >= (3, 11))
    try:
        return {name: getattr(pool, f"_{name}") for name in names}
    except AttributeError:
        return None


def _pickled(share: Callable[[int, int], Any]) -> bytes:
    """With cloudpickle, where it is installed, functions need not be found by their name."""
    try:
        from cloudpickle import dumps
    except ImportError:
        dumps = partial(pickle.dumps, protocol=pickle.HIGHEST_PROTOCOL)
    try:
        return bytes(dumps(share))
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise TypeError(
            f"loss: it cannot be sent to another process: {error}. Define it, and what it uses, at the top level of a "
            "module, or install cloudpickle; a ThreadPoolExecutor takes any function"
        ) from error


#: Of this process and its forked children; on another machine a process may have the same number.
_IMPORTED = os.urandom(8).hex()


def _this_process() -> str:
    return f"{_IMPORTED} {os.getpid()}"


def _remote(order: _Order, packed: bytes | None, begin: int, end: int) -> tuple[float, Any] | None:
    """Runs in a worker. Does a share of the work that `packed` describes, or says by None that it has not got it."""
    place = _place(order.token)
    if not place:
        if packed is None:
            return None
        place.append(pickle.loads(packed))
    here = order.sender == _this_process()  # the caller's own threads are not ours to limit
    try:
        with nullcontext() if here else limited(resolve(order.n_threads)):
            return _timed(place[0], begin, end)
    except Exception as error:
        if not _breaks_pools(error):
            raise
        notes = "".join(f"; {note}" for note in getattr(error, "__notes__", ()))
        raise RuntimeError(f"loss: it raised {type(error).__name__}: {error}{notes}") from error


def _breaks_pools(error: Exception) -> bool:
    """Whether an error can be sent to another process, but not read there: a pool takes that for a death."""
    try:
        sent = pickle.dumps(error)
    except Exception:  # pools know what to do
        return False
    try:
        pickle.loads(sent)
    except Exception:
        return True
    return False


@lru_cache(maxsize=1)
def _place(token: str) -> list[Callable[[int, int], Any]]:
    """Where a worker keeps the work that it had last: nothing, or what `token` stands for."""
    return []


def _timed(share: Callable[[int, int], Any], begin: int, end: int) -> tuple[float, Any]:
    started = perf_counter()
    found = share(begin, end)
    return perf_counter() - started, found
