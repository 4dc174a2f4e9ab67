"""How many threads: the CPUs that this process may use, unless told."""

from __future__ import annotations

import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

import gradcheck_fast as gf
from gradcheck_fast.kernels import _kernels
from gradcheck_fast.running import threads

pytestmark = pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="CPU affinity is a Linux matter")
with_openmp = pytest.mark.skipif(not _kernels.has_openmp, reason="this build has no OpenMP")


@pytest.fixture
def machine(monkeypatch):
    """Pretends to be a machine with some CPUs, with files under /sys/fs/cgroup, and with an OMP_NUM_THREADS."""

    def pretend(cpus=64, files=(), omp=None):
        files = dict(files)

        class Path:
            def __init__(self, path):
                self.path = path

            def read_text(self):
                try:
                    return files[self.path]
                except KeyError:
                    raise FileNotFoundError(self.path) from None

        monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(cpus)))
        monkeypatch.setattr(threads, "Path", Path)
        threads._cgroup_quota.cache_clear()
        if omp is None:
            monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
        else:
            monkeypatch.setenv("OMP_NUM_THREADS", omp)

    yield pretend
    threads._cgroup_quota.cache_clear()


V2 = "/sys/fs/cgroup/cpu.max"
V1 = "/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "/sys/fs/cgroup/cpu/cpu.cfs_period_us"


def test_affinity(machine):
    for cpus in (1, 2, 64):
        machine(cpus)
        assert threads.available() == cpus


@pytest.mark.parametrize(
    ("text", "cpus"),
    [
        ("max 100000\n", 64),
        ("100000 100000\n", 1),
        ("400000 100000\n", 4),
        ("50000 100000\n", 1),
        ("1000 100000\n", 1),
        ("250000 50000\n", 5),
        ("9900000 100000\n", 64),
        ("", 64),
        ("nonsense\n", 64),
    ],
)
def test_cgroup_version_2(machine, text, cpus):
    machine(files={V2: text})
    assert threads.available() == cpus


@pytest.mark.parametrize(
    ("quota", "period", "cpus"), [("-1", "100000", 64), ("300000", "100000", 3), ("20000", "100000", 1)]
)
def test_cgroup_version_1(machine, quota, period, cpus):
    machine(files={V1[0]: quota + "\n", V1[1]: period + "\n"})
    assert threads.available() == cpus


def test_cgroup_files_that_make_no_sense_are_no_limit(machine):
    for files in ({V1[0]: "nonsense", V1[1]: "100000"}, {V1[0]: "100000", V1[1]: "0"}, {V2: "100000 0"}, {V2: "a b"}):
        machine(files=files)
        assert threads.available() == 64


@pytest.mark.parametrize(
    ("omp", "cpus"),
    [("1", 1), ("3", 3), (" 3 ", 3), ("3,2,1", 3), ("999", 64), ("0", 64), ("-2", 64), ("", 64), ("all", 64)],
)
def test_omp_num_threads(machine, omp, cpus):
    machine(omp=omp)
    assert threads.available() == cpus


def test_the_smallest_limit_counts(machine):
    machine(cpus=8, files={V2: "400000 100000"}, omp="6")
    assert threads.available() == 4
    machine(cpus=8, files={V2: "400000 100000"}, omp="2")
    assert threads.available() == 2
    machine(cpus=3, files={V2: "400000 100000"}, omp="6")
    assert threads.available() == 3


@with_openmp
def test_resolve(machine):
    machine(cpus=5)
    assert threads.resolve(None) == 5
    assert threads.resolve(1) == 1
    assert threads.resolve(3) == 3
    assert threads.resolve(np.int64(3)) == 3


@with_openmp
def test_forked_child_runs_serially(machine, monkeypatch):
    monkeypatch.setattr(os, "getpid", lambda: -1)
    assert threads.resolve(None) == 1
    assert threads.resolve(8) == 1


def test_build_without_openmp_runs_serially(monkeypatch):
    monkeypatch.setattr(_kernels, "has_openmp", False)
    assert threads.resolve(None) == 1
    assert threads.resolve(8) == 1


@pytest.mark.parametrize("bad", [0, -1, 2.0, 1.5, "2", True, object, [2]], ids=repr)
def test_n_threads_is_a_positive_integer(bad):
    with pytest.raises((TypeError, ValueError), match=r"^n_threads: expected a positive integer"):
        threads.resolve(bad)
    net = gf.Network(gf.Dense(2, 1), gf.SquaredError())
    params = net.init(0)
    loss = net.loss(np.ones((3, 2)), np.ones(3))
    for call in (
        lambda: gf.numerical_gradient(loss, params, n_threads=bad),
        lambda: gf.numerical_gradient(lambda x: x**2, 1.0, n_threads=bad, trace=False),
        lambda: gf.gradcheck(loss, params, params, n_threads=bad),
        lambda: net.predict(params, np.ones((3, 2)), n_threads=bad),
    ):
        with pytest.raises((TypeError, ValueError), match=r"^n_threads: expected a positive integer"):
            call()


@pytest.mark.skipif(sys.platform != "linux", reason="limits processes by ulimit")
def test_more_threads_than_the_system_gives_do_not_end_the_process():
    """OpenMP's runtime ends the process when a thread cannot be created."""
    script = """
import resource
resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
import numpy as np, gradcheck_fast as gf
net = gf.Network([gf.Dense(50, 100, "tanh"), gf.Dense(100, 10)], cost=gf.SquaredError())
loss = net.loss(np.ones((300, 50)), np.ones((300, 10)))
a = gf.numerical_gradient(loss, net.init(0), n_threads=1)
b = gf.numerical_gradient(loss, net.init(0), n_threads=20_000)
assert all((a[name] == b[name]).all() for name in a)
print("survived")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.stdout == "survived\n", done.stderr


def test_threads_of_a_worker_that_limit_others_restore_them_together(monkeypatch):
    """As the threads of a Dask worker do: A begins, B begins, A ends, B ends."""
    torch = SimpleNamespace(threads=4, get_num_threads=lambda: torch.threads)
    torch.set_num_threads = lambda count: setattr(torch, "threads", count)
    monkeypatch.setitem(sys.modules, "torch", torch)
    a, b = threads.limited(1), threads.limited(1)
    for step, expected in ((a.__enter__, 1), (b.__enter__, 1)):
        step()
        assert torch.threads == expected
    a.__exit__(None, None, None)
    assert torch.threads == 1
    b.__exit__(None, None, None)
    assert torch.threads == 4
