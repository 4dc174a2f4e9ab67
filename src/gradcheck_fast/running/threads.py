"""Decides how many threads to use, and limits those of other libraries."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from threading import Lock

from gradcheck_fast.inputs.arguments import integer
from gradcheck_fast.kernels import _kernels

#: How many threads are used, at most, unless there are many CPUs. More help nobody, and the OpenMP runtime ends the
#: process if the system cannot start them.
MOST_THREADS = 64
#: How many threads are used for each CPU, at most, where that is more than `MOST_THREADS`.
MOST_PER_CPU = 2


def resolve(n_threads: int | None) -> int:
    """Returns the number of threads to run on.

    Parameters
    ----------
    n_threads : int or None
        How many are wanted; None for as many as there are CPUs that this process may use, see `available`.

    Returns
    -------
    int
        At most 64, or twice the CPUs if that is more. It is 1 in a build without OpenMP, and in a forked child, as the
        OpenMP runtime does not survive a fork.

    Raises
    ------
    TypeError
        If `n_threads` is not an integer.
    ValueError
        If `n_threads` is not positive.
    """
    wanted = available() if n_threads is None else integer("n_threads", n_threads, positive=True)
    if not _kernels.has_openmp or os.getpid() != _OPENMP.process:
        return 1
    return wanted if wanted <= MOST_THREADS else min(wanted, max(MOST_THREADS, MOST_PER_CPU * (os.cpu_count() or 1)))


def take_over() -> None:
    """Says that OpenMP may be used in this process, a fork of one that has never used it."""
    _OPENMP.process = os.getpid()


class _OpenMP:
    """The process that may use OpenMP: the one in which this module was imported. A forked child has another number."""

    def __init__(self) -> None:
        self.process = os.getpid()


_OPENMP = _OpenMP()


@contextmanager
def limited(n_threads: int) -> Iterator[None]:
    """A context in which PyTorch and BLAS use `n_threads` threads.

    PyTorch is not imported for that. BLAS is limited if threadpoolctl is installed.
    """
    with _LIMITS.lock:
        if not _LIMITS.inside:
            _LIMITS.after = _limit(n_threads)
        _LIMITS.inside += 1
    try:
        yield
    finally:
        with _LIMITS.lock:
            _LIMITS.inside -= 1
            if not _LIMITS.inside:
                _LIMITS.after.close()


class _Limits:
    """The limits of this process: the first thread that asks for some sets them for all, the last one removes them."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.inside = 0
        self.after = ExitStack()


_LIMITS = _Limits()


def _limit(n_threads: int) -> ExitStack:
    """Sets the numbers of threads of PyTorch and BLAS; closing what is returned restores them."""
    after = ExitStack()
    torch = sys.modules.get("torch")
    if torch is not None:
        after.callback(torch.set_num_threads, torch.get_num_threads())
        torch.set_num_threads(n_threads)
    try:
        from threadpoolctl import threadpool_limits
    except ImportError:
        pass
    else:
        after.enter_context(threadpool_limits(n_threads))
    return after


def available() -> int:
    """Returns how many CPUs this process may use: by its affinity, its cgroup's quota, and ``OMP_NUM_THREADS``."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _cgroup_quota()
    if quota is not None:
        cpus = min(cpus, max(1, round(quota)))
    limit = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    return min(cpus, int(limit)) if limit.isdigit() and int(limit) > 0 else cpus


@cache
def _cgroup_quota() -> float | None:
    """Returns how many CPUs' time a container may use; None if there is no limit, and outside Linux."""
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()  # version 2
    except (OSError, ValueError):
        try:
            quota = Path("/sys/fs/cgroup/cpu/cpu.cfs_quota_us").read_text()  # version 1
            period = Path("/sys/fs/cgroup/cpu/cpu.cfs_period_us").read_text()
        except OSError:
            return None
    try:
        cpus = int(quota) / int(period)  # without a limit the quota is "max", or -1 in version 1
    except (ValueError, ZeroDivisionError):
        return None
    return cpus if cpus > 0 else None
