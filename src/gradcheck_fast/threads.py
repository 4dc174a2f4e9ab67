"""How many threads to use."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

from . import _engine
from .names import positive_integer

_PROCESS = os.getpid()


def resolve(n_threads: int | None) -> int:
    """The number of threads to run on.

    Parameters
    ----------
    n_threads : int or None
        None: the CPUs that this process may use (affinity, cgroup quota), at most ``OMP_NUM_THREADS``.

    Returns
    -------
    int
        1 in a build without OpenMP, and in a forked child: the OpenMP runtime does not survive a fork.

    Raises
    ------
    TypeError, ValueError
        If `n_threads` is not a positive integer.
    """
    wanted = available() if n_threads is None else positive_integer("n_threads", n_threads)
    if not _engine.has_openmp or os.getpid() != _PROCESS:
        return 1
    return wanted


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
            quota = Path("/sys/fs/cgroup/cpu/cpu.cfs_quota_us").read_text().strip()  # version 1
            period = Path("/sys/fs/cgroup/cpu/cpu.cfs_period_us").read_text().strip()
        except OSError:
            return None
    return None if quota in ("max", "-1") else float(quota) / float(period)
