"""How many threads to use."""

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

_PROCESS = os.getpid()

#: More threads than this help nobody, and the OpenMP runtime ends the process if the system cannot start them.
MOST_THREADS = 64


def resolve(n_threads: int | None) -> int:
    """The number of threads to run on.

    Parameters
    ----------
    n_threads : int or None
        None: the CPUs that this process may use (affinity, cgroup quota), at most ``OMP_NUM_THREADS``.

    Returns
    -------
    int
        At most 64, or twice the CPUs if that is more; 1 in a build without OpenMP, and in a forked child: the OpenMP
        runtime does not survive a fork.

    Raises
    ------
    TypeError, ValueError
        If `n_threads` is not a positive integer.
    """
    wanted = available() if n_threads is None else integer("n_threads", n_threads, positive=True)
    if not _kernels.has_openmp or os.getpid() != _PROCESS:
        return 1
    return wanted if wanted <= MOST_THREADS else min(wanted, max(MOST_THREADS, 2 * (os.cpu_count() or 1)))


@contextmanager
def limited(n_threads: int) -> Iterator[None]:
    """Inside, PyTorch and (where threadpoolctl is installed) BLAS use so many threads; they are not loaded for that."""
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
    """Of this process: the first thread that limits the others' threads does so for all, the last one restores them."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.inside = 0
        self.after = ExitStack()


_LIMITS = _Limits()


def _limit(n_threads: int) -> ExitStack:
    """Sets the numbers of threads; what it returns restores them."""
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
    """CPUs that this process may use."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _cgroup_quota()
    if quota is not None:
        cpus = min(cpus, max(1, round(quota)))
    limit = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    return min(cpus, int(limit)) if limit.isdigit() and int(limit) > 0 else cpus


@cache
def _cgroup_quota() -> float | None:
    """CPUs' worth of time that a container may use; None without a limit (or outside Linux)."""
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
