"""Workers of all kinds of executors: they may die, and what they were doing is done again."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from multiprocessing import get_context

import numpy as np
import pytest
from processes import FINDS_TESTS
from work import EXPECTED, METHODS, PARAMS, Inline, Mine, function, gradient, make_network, pool, raises

from gradcheck_fast.running import executors

# ---- workers that die


def test_what_a_dead_worker_had_is_done_again_by_an_executor_made_anew():
    made = []

    def make():
        made.append(Inline(deaths=2 if not made else 0))
        return made[-1]

    np.testing.assert_array_equal(gradient(function, PARAMS, executor=make), EXPECTED)
    assert len(made) == 2
    assert set(made[0].ranges[:2]) <= set(made[1].ranges), "the same shares"
    assert all(executor.is_shut_down for executor in made)


def test_a_given_executor_is_not_shut_down():
    inline = Inline()
    gradient(function, PARAMS, executor=inline)
    assert not inline.is_shut_down


def test_where_no_other_can_be_made_the_rest_is_done_here():
    with pytest.warns(
        RuntimeWarning, match=r"^executor: Inline broke \(a worker died\); the rest is done in this process"
    ):
        found = gradient(function, PARAMS, executor=Inline(deaths=10**6))
    np.testing.assert_array_equal(found, EXPECTED)


class DiesOfTask33(Executor):
    """Like a pool of processes: what is with task 33 in it goes down with it."""

    def __init__(self):
        self.waiting, self.timer = [], None

    def submit(self, do, *arguments):
        future = Future()
        self.waiting.append((future, do, arguments))
        if len(self.waiting) == 1:
            self.timer = threading.Timer(0.01, self.work)
            self.timer.start()
        return future

    def work(self):
        waiting, self.waiting = self.waiting, []
        broken = any(begin <= 33 < end for *_, (*_, begin, end) in waiting)
        for future, do, arguments in waiting:
            if broken:
                future.set_exception(BrokenProcessPool("a worker died"))
            else:
                future.set_result(do(*arguments))

    def shutdown(self, wait=True):
        self.timer.join()


def test_the_tasks_that_kill_every_worker_are_named_and_not_their_neighbours(monkeypatch):
    monkeypatch.setattr(executors, "SHARE_SECONDS", 0.0)
    with pytest.raises(RuntimeError, match=r"^executor: its workers died 3 times while differencing w\[11, 0\], the"):
        gradient(function, PARAMS, method="direct", executor=DiesOfTask33)


def test_of_a_network_the_message_says_which_part():
    loss, params = make_network()
    with pytest.raises(RuntimeError, match=r"died 3 times while doing part 1 to \d+ of \d+ of the work, the last time"):
        gradient(loss, params, method="incremental", executor=lambda: Inline(deaths=3))


def dies_once(marker, here, params):
    """The first worker that comes to entry 30 dies of it."""
    if os.getpid() != here and params["w"].flat[30] != PARAMS["w"].flat[30] and not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return function(params)


@pytest.mark.parametrize("given", ["a pool", pytest.param("a function", marks=pytest.mark.long)])
def test_a_worker_of_a_process_pool_is_killed(given, tmp_path):
    executor = pool() if given == "a pool" else pool
    found = gradient(partial(dies_once, tmp_path / "killed", os.getpid()), PARAMS, executor=executor)
    np.testing.assert_array_equal(found, EXPECTED)
    assert (tmp_path / "killed").exists()


def test_loky():
    loky = pytest.importorskip("loky")
    with loky.get_reusable_executor(2) as executor:
        np.testing.assert_array_equal(gradient(function, PARAMS, executor=executor), EXPECTED)


@pytest.mark.long
def test_a_worker_of_loky_is_killed(tmp_path):
    loky = pytest.importorskip("loky")
    found = gradient(
        partial(dies_once, tmp_path / "killed", os.getpid()), PARAMS, executor=lambda: loky.get_reusable_executor(2)
    )
    np.testing.assert_array_equal(found, EXPECTED)


# ---- Dask


@pytest.fixture(scope="module")
def cluster():
    distributed = pytest.importorskip("distributed")
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None, "silence_logs": 50}
    with distributed.LocalCluster(**options) as cluster, distributed.Client(cluster) as client:
        yield client


def test_dask(cluster):
    executor = cluster.get_executor()
    np.testing.assert_array_equal(gradient(function, PARAMS, executor=executor), EXPECTED)
    loss, params = make_network()
    for method in METHODS:
        np.testing.assert_array_equal(
            gradient(loss, params, method=method, executor=executor), gradient(loss, params, method=method)
        )


def test_an_exception_comes_through_dask(cluster):
    with pytest.raises(Mine, match=r"^entry 7\b"):
        gradient(raises, PARAMS, executor=cluster.get_executor())


def test_a_worker_of_dask_is_killed(cluster, tmp_path):
    found = gradient(partial(dies_once, tmp_path / "killed", os.getpid()), PARAMS, executor=cluster.get_executor())
    np.testing.assert_array_equal(found, EXPECTED)
    assert (tmp_path / "killed").exists()


def test_a_dask_client_itself_is_no_executor(cluster):
    with pytest.raises(TypeError, match=r"of a Dask client give client\.get_executor\(\)"):
        gradient(function, PARAMS, executor=cluster)


# ---- Ctrl-C, and MPI: programs of their own


INTERRUPTED = """
import signal, sys, time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
import numpy as np
import gradcheck_fast as gf

def slow(params):
    time.sleep(0.02)
    return float(params.sum())

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    params = np.ones(100_000)
    def started(fraction):
        print("working", flush=True)
    try:
        gf.numerical_gradient(slow, params, executor=partial(ProcessPoolExecutor, 2), progress=started, trace=False)
    except KeyboardInterrupt:
        print((params == 1.0).all(), gf.numerical_gradient(slow, params[:2], trace=False))
"""


def test_ctrl_c_ends_the_workers_within_seconds(tmp_path):
    (tmp_path / "script.py").write_text(INTERRUPTED)
    with subprocess.Popen([sys.executable, tmp_path / "script.py"], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == "working\n"
            pressed = time.monotonic()
            process.send_signal(signal.SIGINT)
            output, _ = process.communicate(timeout=30)
        finally:
            process.kill()
    assert output.splitlines()[-1] == "True [1. 1.]"
    assert time.monotonic() - pressed < 10.0


MPI = f"""{FINDS_TESTS}
from mpi4py.futures import MPIPoolExecutor
from work import EXPECTED, PARAMS, function, gradient, make_network

if __name__ == "__main__":
    loss, params = make_network()
    with MPIPoolExecutor() as executor:
        print((gradient(function, PARAMS, executor=executor) == EXPECTED).all())
        print((gradient(loss, params, executor=executor) == gradient(loss, params)).all())
"""


def test_mpi(tmp_path):
    pytest.importorskip("mpi4py")
    if not shutil.which("mpiexec"):
        pytest.skip("mpiexec is not installed")
    (tmp_path / "script.py").write_text(MPI)
    root = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    few_cores = {"OMPI_MCA_rmaps_base_oversubscribe": "1"}
    command = ["mpiexec", "-n", "3", sys.executable, "-m", "mpi4py.futures", tmp_path / "script.py"]
    environment = {**os.environ, **root, **few_cores}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.stdout.split() == ["True", "True"], done.stderr


@pytest.mark.skipif(sys.version_info < (3, 11), reason="max_tasks_per_child is newer")
def test_a_pool_is_made_anew_as_it_was():
    with ProcessPoolExecutor(2, get_context("spawn"), print, ("ready",), max_tasks_per_child=3) as executor:
        made = executors.Pool(executor)._renewed(executor, BrokenProcessPool())
        names = ("_max_workers", "_mp_context", "_initializer", "_initargs", "_max_tasks_per_child")
        assert [getattr(made, name) for name in names] == [getattr(executor, name) for name in names]
        made.shutdown()
