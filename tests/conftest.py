"""What tests of several modules need to run."""

from __future__ import annotations

import ctypes
import shutil
import subprocess

import pytest
import work
from compiled import COMPILER, FLAGS, HERE

from gradcheck_fast.running import checkpoint


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    if shutil.which(COMPILER) is None:
        pytest.skip(f"there is no C compiler, {COMPILER}")
    library = tmp_path_factory.mktemp("callbacks") / "callbacks.so"
    subprocess.run([COMPILER, *FLAGS, HERE / "callbacks.c", "-o", library, "-lm"], check=True)
    return str(library)


@pytest.fixture(scope="module")
def library(path):
    return ctypes.CDLL(path)


@pytest.fixture(scope="module")
def one_thread_of_torch():
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def seed_of_torch():
    pytest.importorskip("torch").manual_seed(0)


@pytest.fixture
def clock_of(monkeypatch):
    """A function that gives modules a clock that moves only when told, or by so much at every look."""

    class Clock:
        now = each_look = 0.0

        def __call__(self):
            self.now += self.each_look
            return self.now

    def clock_of(*modules):
        clock = Clock()
        for module in modules:
            monkeypatch.setattr(module, "perf_counter", clock)
        return clock

    return clock_of


@pytest.fixture
def eager(monkeypatch):
    """Everything that is done is saved."""
    monkeypatch.setattr(checkpoint, "SAVE_SECONDS", 0.0)
    monkeypatch.setattr(checkpoint, "SAVE_PART", float("inf"))


@pytest.fixture(scope="module")
def processes():
    with work.pool() as executor:
        yield executor


@pytest.fixture
def pyplot():
    matplotlib = pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    matplotlib.use("Agg")
    from matplotlib import pyplot

    yield pyplot
    pyplot.close("all")
