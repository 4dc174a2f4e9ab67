"""Shares work out to the workers of an executor: a pool of processes or threads, MPI, or a cluster."""

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

#: How many seconds a share of the work takes. That is long beside the ten milliseconds that a cluster takes to hand it
#: out, and short beside the patience of someone who pressed Ctrl-C; and little is lost with a worker that dies.
SHARE_SECONDS = 1.0
#: How many seconds a share takes, at least, when little is left and all workers are to have some of it.
SHORTEST_SHARE_SECONDS = 0.05
#: How many shares are handed out at once, to begin with. The number grows as long as no share has to wait for a worker.
FIRST_SHARES = 4
#: A share has not waited for a worker if its answer came within this many times the seconds that the work took.
PROMPT = 2.0
#: Into how many shares for each that is handed out at once what is left is divided towards the end: all workers then
#: become idle at about the same time.
LAST_SHARES = 2
#: A share is given up when this many workers have died of it, the last of them while no other share was being done.
MOST_DEATHS = 3
#: How many bytes are sent along with every share, at most. A larger description of the work is sent to a worker once.
LIGHT = 64 * 1024


class _Share(NamedTuple):
    """The tasks begin..end - 1, how many workers have died of them, and whether the work is sent along."""

    begin: int
    end: int
    deaths: int = 0
    with_work: bool = False


class _Sent(NamedTuple):
    """A share that was handed to an executor, and when."""

    share: _Share
    executor: Executor
    when: float


class _Order(NamedTuple):
    """What a worker is told with each share: to which work it belongs, who sends it, and how many threads to use."""

    token: str
    sender: str
    n_threads: int


class Pool:
    """An executor, and what to do when its workers die.

    Parameters
    ----------
    executor : Executor or callable
        Anything with the interface of `concurrent.futures.Executor`, which the caller shuts down. Or a function that
        makes one: it is called again when the executor breaks, and what it has made is shut down here.
    n_threads : int
        How many threads other libraries may use in each worker that is another process.

    Raises
    ------
    TypeError
        If `executor` is neither.
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
        """Shuts down the executors that were made here."""
        for executor in self._own:
            executor.shutdown(wait=wait)
        self._own.clear()

    def share_out(self, job: Job, missing: Iterable[Range]) -> Generator[Range]:
        """Has the missing tasks of a job done by the workers; yields each range of tasks whose results are in place.

        Shares are sized to take `SHARE_SECONDS`, and less towards the end. What a dead worker was doing is done again.
        """
        gaps, again = deque(missing), list[_Share]()
        sent: dict[Future[Any], _Sent] = {}
        send = self._sender(job)
        size, most = first_size(job), FIRST_SHARES
        try:
            while gaps or again or sent:
                # a share that may have killed workers is done alone: if it kills again, nothing else was to blame
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
                    most += perf_counter() - when < PROMPT * seconds
                    tasks, left = share.end - share.begin, sum(end - begin for begin, end in gaps)
                    fair = left / (LAST_SHARES * most) * seconds / tasks
                    size = next_size(job, tasks, seconds, min(SHARE_SECONDS, max(fair, SHORTEST_SHARE_SECONDS)))
        finally:
            for future in sent:
                future.cancel()

    def _sender(self, job: Job) -> Callable[[Executor, _Share], Future[Any]]:
        """Makes the function that hands a share of a job to an executor."""
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
        """Returns the executor in use; makes it if there is none."""
        if self._executor is None and self._make:
            self._executor = self._make()
            if not hasattr(self._executor, "submit"):
                made, self._executor = self._executor, None
                raise TypeError(f"executor: the function that was given made {made!r}, which is no executor")
            self._own.append(self._executor)
        return cast("Executor", self._executor)

    def _after_death(self, job: Job, share: _Share, executor: Executor, error: BrokenExecutor) -> _Share:
        """Returns the share that a worker died of, to be done again, and replaces the executor if it is broken."""
        if executor is self._executor:
            self._executor = self._renewed(executor, error)
        if share.deaths + 1 == MOST_DEATHS:
            raise RuntimeError(
                f"executor: its workers died {MOST_DEATHS} times while {job.said(share.begin, share.end)}, the last "
                "time with nothing else going on; does the loss crash there, or is memory short?"
            ) from error
        return share._replace(deaths=share.deaths + 1, with_work=False)

    def _renewed(self, broken: Executor, error: BrokenExecutor) -> Executor | None:
        """Returns an executor in place of a broken one; None if the caller's function is to make it."""
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
    """Returns the arguments that a pool was made with; None if it does not know them."""
    names = ["max_workers", "mp_context", "initializer", "initargs"]
    names += ["max_tasks_per_child"] * (sys.version_info >= (3, 11))
    try:
        return {name: getattr(pool, f"_{name}") for name in names}
    except AttributeError:
        return None


def _pickled(share: Callable[[int, int], Any]) -> bytes:
    """Pickles the work, by cloudpickle if it is installed: then functions need not be found by their names.

    Raises
    ------
    TypeError
        If the work cannot be pickled.
    """
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


#: A random name of this process and of its forked children. The number of a process is not enough to know it by: on
#: another machine there may be one with the same number.
_IMPORTED = os.urandom(8).hex()


def _this_process() -> str:
    """Returns a name that no other process has, on no machine."""
    return f"{_IMPORTED} {os.getpid()}"


def _remote(order: _Order, packed: bytes | None, begin: int, end: int) -> tuple[float, Any] | None:
    """Does a share in a worker; returns None if the worker does not have the work and it was not sent along."""
    place = _place(order.token)
    if not place:
        if packed is None:
            return None
        place.append(pickle.loads(packed))
    here = order.sender == _this_process()  # then limits would also hold for the caller's threads
    try:
        with nullcontext() if here else limited(resolve(order.n_threads)):
            return _timed(place[0], begin, end)
    except Exception as error:
        if not _breaks_pools(error):
            raise
        notes = "".join(f"; {note}" for note in getattr(error, "__notes__", ()))
        raise RuntimeError(f"loss: it raised {type(error).__name__}: {error}{notes}") from error


def _breaks_pools(error: Exception) -> bool:
    """Whether an error can be pickled, but not unpickled: a pool would take that for the death of a worker."""
    try:
        sent = pickle.dumps(error)
    except Exception:  # pools can deal with that
        return False
    try:
        pickle.loads(sent)
    except Exception:
        return True
    return False


@lru_cache(maxsize=1)
def _place(token: str) -> list[Callable[[int, int], Any]]:
    """Returns the list in which a worker keeps the work of this token; it is empty unless that was the last work."""
    return []


def _timed(share: Callable[[int, int], Any], begin: int, end: int) -> tuple[float, Any]:
    """Does some tasks; returns the seconds that they took, and what they gave."""
    started = perf_counter()
    found = share(begin, end)
    return perf_counter() - started, found
