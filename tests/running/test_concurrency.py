"""Threads, processes, signals, memory: none of them changes a result, and none of them is surprising."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np
import pytest
from networks import flat
from processes import FINDS_TESTS, seconds_to_end_after_ctrl_c

import gradcheck_fast as gf
from gradcheck_fast.engine import chain
from gradcheck_fast.engine import engine as methods
from gradcheck_fast.kernels import _kernels
from gradcheck_fast.program.program import Program
from gradcheck_fast.running.runner import Runner

THREADS = (1, 2, 3, 7)
METHODS = ("direct", "incremental", "units", "chain")
#: Where each takes a second or more, plain differences are for the long tests.
QUICK = [pytest.param(method, marks=pytest.mark.long) if method == "direct" else method for method in METHODS]


def make_loss(method="units"):
    """A network in which a method has enough work for its threads, and its parameters."""
    samples = 125 if method == "direct" else 300
    random = np.random.default_rng(11)
    net = gf.Network(
        [gf.Dense(20, 60, "tanh"), gf.Dense(60, 20, "relu"), gf.Dense(20, 5)],
        cost=gf.CrossEntropy(),
        penalty=gf.L2(0.1),
    )
    X, y = random.normal(size=(samples, 20)), random.integers(5, size=samples)
    loss, engine = net.loss(X, y), net.loss(X, y)._engine
    assert min(engine.work("units"), engine.work("incremental")) > 1.5 * methods.SERIAL_WORK
    return loss, net.init(11)


@pytest.fixture(scope="module")
def problem():
    return make_loss()


def flat_gradient(loss, params, **options):
    return flat(gf.numerical_gradient(loss, params, **options))


# ---- threads


@pytest.mark.parametrize("chunks", ["one_chunk", "many_chunks"])
@pytest.mark.parametrize("method", QUICK)
def test_bitwise_equal_for_any_number_of_threads(problem, method, chunks, monkeypatch):
    if chunks == "many_chunks":
        monkeypatch.setattr(methods, "CHUNK_DOUBLES", 1)
        monkeypatch.setattr(methods, "DIRECT_DOUBLES", 1)
        monkeypatch.setattr(chain, "CHUNK_DOUBLES", 1)
        problem = make_loss(method)  # whose memory has not been laid out yet
    results = [flat_gradient(*problem, method=method, n_threads=n) for n in THREADS]
    assert all((result == results[0]).all() for result in results)


def test_the_cost_is_bitwise_equal_for_any_number_of_threads(problem):
    loss, params = problem
    theta = loss.pack(params).flat
    assert len({loss._engine.cost(theta, n) for n in THREADS}) == 1


def test_a_parameter_of_many_steps_is_bitwise_equal_for_any_number_of_threads():
    """Twelve steps add to the gradient of one matrix: not two of them at a time."""
    random, program = np.random.default_rng(2), Program(500)
    x, W, U, b = program.input(8), program.parameter((8, 16)), program.parameter((16, 16)), program.parameter((16,))
    hidden = program.add("tanh", program.affine([(x, W)], b))
    for _ in range(12):
        hidden = program.add("tanh", program.affine([(x, W), (hidden, U)], b))
    program.cost("squared_error", hidden, program.target(16), constant=1.0)
    engine = methods.Engine.of(program, random.normal(size=(500, 8)), random.normal(size=(500, 16)))
    theta = 0.3 * random.normal(size=program.size)
    for run in (engine.units, engine.incremental):
        results = [run(theta, 1e-6, Runner(n)) for n in (1, 7, 7, 7, 2, 2, 2)]
        for gradient, _ in results:
            assert np.array_equal(gradient, results[0][0])


@pytest.mark.parametrize("method", QUICK)
def test_python_threads_do_not_disturb_each_other(problem, method):
    loss, params = problem
    expected = flat_gradient(loss, params, method=method)
    barrier = Barrier(4)

    def differentiate(n_threads):
        barrier.wait()
        return flat_gradient(loss, params, method=method, n_threads=n_threads)

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(differentiate, (1, 2, 3, 2)))
    assert all((result == expected).all() for result in results)


@pytest.mark.parametrize("method", METHODS)
def test_a_call_leaves_nothing_behind_for_the_next(method):
    """Working memory is used again: also after numbers that overflowed, and by fewer threads."""
    net = gf.Network([gf.Dense(3, 20, "exp"), gf.Dense(20, 60, "softplus"), gf.Dense(60, 5)], cost=gf.CrossEntropy())
    random = np.random.default_rng(4)
    data, params = (random.normal(size=(40, 3)), random.integers(5, size=40)), net.init(4)
    expected = flat_gradient(net.loss(*data), params, method=method)
    loss = net.loss(*data)
    huge = {name: 1e5 * array for name, array in params.items()}
    assert not np.isfinite(flat_gradient(loss, huge, method=method, n_threads=3)).all()
    assert (flat_gradient(loss, params, method=method, n_threads=1) == expected).all()


@pytest.mark.parametrize("method", QUICK)
def test_instruction_sets_agree(method, monkeypatch):
    """To 1e-12 of the largest entry; the plain arithmetic of `direct` loses digits, in each in its own way."""
    results = []
    for isa in _kernels.instruction_sets():
        monkeypatch.setenv("GRADCHECK_FAST_ISA", isa)
        results.append(flat_gradient(*make_loss(method), method=method))
    digits = 1e-8 if method == "direct" else 1e-12
    assert all(np.abs(result - results[0]).max() <= digits * np.abs(results[0]).max() for result in results)


def test_an_instruction_set_that_does_not_exist(monkeypatch):
    monkeypatch.setenv("GRADCHECK_FAST_ISA", "x86-64-v9")
    with pytest.raises(ValueError, match=r"GRADCHECK_FAST_ISA: 'x86-64-v9' is not available here; .*baseline"):
        make_loss()


@pytest.mark.parametrize("method", QUICK)
def test_progress_rises_to_one(method, monkeypatch):
    monkeypatch.setattr(methods, "CHUNK_DOUBLES", 1)
    monkeypatch.setattr(methods, "DIRECT_DOUBLES", 1)
    monkeypatch.setattr(chain, "CHUNK_DOUBLES", 1)
    fractions = []
    gf.numerical_gradient(*make_loss(method), method=method, progress=fractions.append)
    assert len(fractions) >= (2 if method == "chain" else 5), "one for each chunk, or for several of a chain"
    assert (np.diff(fractions) > 0).all()
    assert fractions[0] > 0
    assert fractions[-1] == 1


def test_an_exception_in_progress_ends_the_check(problem):
    class Enough(Exception):
        pass

    def stop(fraction):
        raise Enough

    with pytest.raises(Enough):
        gf.numerical_gradient(*problem, method="direct", progress=stop)


# ---- processes of their own

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")


def start(code, *arguments):
    return subprocess.Popen(
        [sys.executable, "-c", FINDS_TESTS + code, *map(str, arguments)], stdout=subprocess.PIPE, text=True
    )


def run(code, *arguments):
    process = start(code, *arguments)
    try:
        output, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 0
    return output.split()


FORKED = """
import os, signal, sys, warnings
from test_concurrency import flat_gradient, make_loss

warnings.simplefilter("ignore")  # Python 3.12 and later warn of every fork of a process with threads
loss, params = make_loss()
gradients = lambda: [flat_gradient(loss, params, method=m, n_threads=2).tobytes() for m in sys.argv[1:]]
in_parent = gradients()

def in_child():
    signal.alarm(30)  # a hang ends the child, not the test session
    return loss(params) == loss(params) and gradients() == in_parent
"""


@needs_fork
@pytest.mark.parametrize("methods", [METHODS[1:], pytest.param(METHODS, marks=pytest.mark.long)], ids=["quick", "all"])
def test_a_forked_child_of_a_parent_that_used_threads(methods):
    code = """
for _ in range(3):
    if not (child := os.fork()):
        os._exit(0 if in_child() else 3)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    assert run(FORKED + code, *methods) == ["0", "0", "0"]


@pytest.mark.long
@needs_fork
def test_a_pool_of_forked_workers():
    code = """
from multiprocessing import get_context
with get_context("fork").Pool(2) as pool:
    print(*[pool.apply_async(in_child).get(timeout=40) for _ in range(4)])
print(gradients() == in_parent)
"""
    assert run(FORKED + code, *METHODS) == ["True"] * 5


LONG = """
import signal, sys, time
import numpy as np
import gradcheck_fast as gf

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell starts background jobs with SIGINT ignored
method = sys.argv[1]
random = np.random.default_rng(0)
net = gf.Network([gf.Dense(300, 400, "gelu"), gf.Dense(400, 400, "gelu"), gf.Dense(400, 10)], cost=gf.SquaredError())
N = 30000 if method in ("units", "chain") else 3000
loss, params = net.loss(random.normal(size=(N, 300)), random.normal(size=(N, 10))), net.init(0)
print("ready", flush=True)
try:
    gf.numerical_gradient(loss, params, method=method)
    print("finished")
except KeyboardInterrupt:
    print(time.time())
"""


@pytest.mark.parametrize("method", METHODS)
def test_ctrl_c_ends_a_long_check_within_a_second(method):
    process = start(LONG, method)
    assert seconds_to_end_after_ctrl_c(process, 0.3) < 1.0


MEMORY = """
import sys
import numpy as np
import gradcheck_fast as gf

method, samples = sys.argv[1], int(sys.argv[2])
random = np.random.default_rng(0)
net = gf.Network([gf.Dense(1, 1, "tanh", bias=False, name=f"layer{k}") for k in range(12)], cost=gf.SquaredError())
loss = net.loss(random.normal(size=(samples, 1)), random.normal(size=(samples, 1)))
loss(net.init(0))
gf.numerical_gradient(loss, net.init(0), method=method, n_threads=2)
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="this system does not tell peak memory this way")
@pytest.mark.parametrize("method", QUICK)
def test_memory_does_not_grow_with_the_samples(method):
    """Each sample is 16 bytes of data and 6 kB of tape: 18,000 more would be 110 MB if all lay there at once.

    A chain has tapes for values, for what goes back, and for two changes.
    """
    few, many = (int(run(MEMORY, method, samples)[0]) / 1024 for samples in (2000, 20000))
    assert many - few < (30 if method == "chain" else 10), f"{few:.1f} MiB with 2000 samples, {many:.1f} MiB with 20000"
