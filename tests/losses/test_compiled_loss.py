"""callback(): what compiled functions are given, threads, processes, the header."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
import threading

import numpy as np
import pytest
from compiled import COMPILER, FLAT, PROTOTYPE, RANDOM, declared, needs_openmp, python
from processes import seconds_to_end_after_ctrl_c

import gradcheck_fast as gf
from gradcheck_fast.losses import compiled_loss as callbacks

# ---- parameters


@pytest.mark.parametrize("dtype", ["f2", "f4", "i4", "u1"])
def test_it_is_given_float64(library, dtype):
    x = np.arange(1, 6).astype(dtype)
    assert gf.callback(declared(library.weighted))(x) == python(x)


def test_a_tree_is_one_vector_in_its_order():
    seen = []

    @PROTOTYPE
    def function(theta, n, data):
        seen.append(theta[:n])
        return 0.0

    gf.callback(function)({"b": np.asfortranarray([[1.0, 2.0], [3.0, 4.0]]), "a": (5, np.arange(12.0)[6::2])})
    assert seen == [[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0]]


def test_no_parameters_at_all(library):
    loss = gf.callback(declared(library.weighted), threadsafe=True)
    assert loss({}) == 0.0
    assert gf.numerical_gradient(loss, {}) == {}


def test_nan_has_no_gradient(library):
    with pytest.raises(ValueError, match="loss: it is nan at these parameters"):
        gf.gradcheck(declared(library.not_a_number), FLAT, FLAT)


def test_very_many_parameters(library):
    """The costs of some entries of four million, at both ends, and between them."""
    theta = np.linspace(-1, 1, 4_000_000)
    loss = gf.callback(declared(library.weighted), threadsafe=True)
    costs = loss._costs_of(loss.pack(theta))
    entries = np.array([0, 2_000_001, 3_999_999])
    found = costs.costs(theta, entries, np.zeros(3), 2)
    change = -(entries + 1.0) * theta[entries] ** 2
    np.testing.assert_allclose(found - costs.cost(theta), change, rtol=1e-3, atol=1e-2)


# ---- writing into the parameters


@pytest.mark.parametrize("threadsafe", [False, True])
@pytest.mark.parametrize(("name", "entry"), [("clears", r"a\[1, 0\]"), ("flips", r"a\[1, 0\]"), ("clips", "b")])
def test_a_function_that_writes_into_its_parameters(library, name, entry, threadsafe):
    """``clips`` writes only into what lies above 1, which here only the perturbed entry does."""
    loss = gf.callback(declared(library[name]), threadsafe=threadsafe)
    params = {"a": np.full((2, 2), 0.5), "b": 1.0}
    before = {"a": params["a"].copy(), "b": 1.0}
    for call in (gf.numerical_gradient, lambda loss, params: gf.gradcheck(loss, params, params)):
        with pytest.raises(ValueError, match=rf"^loss: the function writes into its parameters, {entry}"):
            call(loss, params)
    assert np.array_equal(params["a"], before["a"])


@pytest.mark.parametrize("name", ["clears", "flips"])
def test_writing_is_noticed_when_the_loss_is_called(library, name):
    with pytest.raises(ValueError, match=r"writes into its parameters, params\[2\]"):
        gf.callback(declared(library[name]))(np.ones(4))


@pytest.mark.parametrize("threadsafe", [False, True])
def test_writing_is_noticed_when_other_entries_are_perturbed(library, threadsafe):
    loss, theta = gf.callback(declared(library.clears), threadsafe=threadsafe), np.ones(4)
    with pytest.raises(ValueError, match=r"writes into its parameters, params\[2\]"):
        loss._costs_of(loss.pack(theta)).costs(theta, np.array([0, 1]), np.zeros(2), 1)


# ---- threads


@pytest.fixture
def always_threads(monkeypatch):
    monkeypatch.setattr(callbacks, "SERIAL_SECONDS", 0.0)


def test_bitwise_equal_for_any_number_of_threads(library, always_threads):
    x = RANDOM.normal(size=1000)
    loss = gf.callback(declared(library.weighted), threadsafe=True)
    gradients = [gf.numerical_gradient(loss, x, n_threads=n) for n in (1, 2, 7, 7, 7)]
    assert all(np.array_equal(gradient, gradients[0]) for gradient in gradients)


@needs_openmp
@pytest.mark.parametrize(("threadsafe", "most"), [(False, 1), (True, 2)])
def test_only_what_is_threadsafe_is_called_by_two_threads_at_once(library, always_threads, threadsafe, most):
    calls = (ctypes.c_int * 2)()
    loss = gf.callback(declared(library.in_flight), user_data=calls, threadsafe=threadsafe)
    gf.numerical_gradient(loss, np.ones(3), n_threads=2)
    assert list(calls) == [0, most]


@pytest.mark.parametrize(("threadsafe", "most"), [(False, 1), (True, 2)])
def test_nor_for_two_threads_of_python(library, threadsafe, most):
    calls = (ctypes.c_int * 2)()
    loss = gf.callback(declared(library.in_flight), user_data=calls, threadsafe=threadsafe)
    differentiate = lambda: gf.numerical_gradient(loss, np.ones(3), n_threads=1)
    threads = [threading.Thread(target=differentiate) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(calls) == [0, most]


def test_a_python_function_called_back_from_many_threads():
    """It takes the interpreter lock itself, in threads that Python did not start."""
    loss = gf.callback(PROTOTYPE(lambda theta, n, data: python(theta[:n])), threadsafe=True)
    costs = loss._costs_of(loss.pack(FLAT))
    entries = np.arange(len(FLAT)).repeat(20)
    costs._seconds = 1.0  # so that threads are worth it
    assert np.array_equal(costs.costs(FLAT, entries, FLAT[entries], 4), np.full(len(entries), python(FLAT)))


def test_nothing_of_python_runs_between_two_evaluations(library):
    events = []
    loss, x = gf.callback(declared(library.weighted)), np.ones(5000)
    sys.setprofile(lambda frame, event, argument: events.append(event))
    try:
        gf.numerical_gradient(loss, x)
    finally:
        sys.setprofile(None)
    assert 0 < len(events) < len(x)


@pytest.mark.parametrize(("seconds", "threads"), [(1e-7, 1), (1.0, 2)])
def test_few_short_evaluations_do_not_start_threads(monkeypatch, seconds, threads):
    loss = gf.callback(PROTOTYPE(lambda theta, n, data: 0.0), threadsafe=True)
    used = []
    monkeypatch.setattr(callbacks._callback, "costs", lambda *arguments: used.append(arguments[-2]) or -1)
    costs = loss._costs_of(loss.pack(FLAT))
    costs._seconds = seconds
    costs.costs(FLAT, np.arange(10), FLAT, 2)
    assert used == [threads]


# ---- processes


def run(code, path, *arguments):
    command = [sys.executable, "-c", PRELUDE + code, path, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


PRELUDE = """
import ctypes, os, signal, sys, time, warnings
import numpy as np
import gradcheck_fast as gf

PROTOTYPE = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.POINTER(ctypes.c_double), ctypes.c_ssize_t, ctypes.c_void_p)
library = ctypes.CDLL(sys.argv[1])
"""


@pytest.mark.parametrize("threadsafe", [False, True])
def test_ctrl_c_ends_a_long_check_within_a_second(path, threadsafe):
    code = """
signal.signal(signal.SIGINT, signal.default_int_handler)
loss = gf.callback(PROTOTYPE(("slow", library)), threadsafe=sys.argv[2] == "True")
print("ready", flush=True)
try:
    gf.numerical_gradient(loss, np.ones(100_000))
    print("finished")
except KeyboardInterrupt:
    print(time.time())
"""
    process = run(code, path, threadsafe)
    assert seconds_to_end_after_ctrl_c(process, 0.3) < 1.0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_forked_child_of_a_parent_that_used_threads(path):
    code = """
warnings.simplefilter("ignore")  # Python 3.12 and later warn of every fork of a process with threads
loss = gf.callback(PROTOTYPE(("slow", library)), threadsafe=True)
gradient = lambda: gf.numerical_gradient(loss, np.ones(8), n_threads=2)
expected = gradient()
if not (child := os.fork()):
    signal.alarm(20)
    os._exit(0 if np.array_equal(gradient(), expected) else 3)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    output, _ = run(code, path).communicate(timeout=60)
    assert output == "0\n"


# ---- the header


@pytest.mark.parametrize(("language", "standard"), [("c", "c99"), ("c", "c17"), ("c++", "c++11")])
def test_the_header_declares_the_signature(tmp_path, language, standard):
    compiler = COMPILER if language == "c" else os.environ.get("CXX", "c++")
    if shutil.which(compiler) is None:
        pytest.skip(f"there is no compiler {compiler}")
    linkage = "" if language == "c" else 'extern "C" '
    body = "(double *theta, intptr_t n, void *user_data) { return n && !user_data ? theta[0] : 0.0; }"
    command = [compiler, "-x", language, f"-std={standard}", "-pedantic", "-Wall", "-Wextra", "-Werror"]
    for result, compiles in (("double", True), ("float", False)):
        source = tmp_path / "loss.txt"
        source.write_text(f"#include <gradcheck_fast.h>\n{linkage}gradcheck_fast_loss loss;\n{result} loss{body}\n")
        done = subprocess.run([*command, f"-I{gf.get_include()}", "-fsyntax-only", source], capture_output=True)
        assert (done.returncode == 0) == compiles, done.stderr


def test_what_takes_less_is_not_what_is_done_already():
    function = PROTOTYPE(lambda theta, n, data: 0.0)
    said = {safe: gf.callback(function, threadsafe=safe).faster("direct", 100.0) for safe in (False, True)}
    assert "threadsafe=True" in said[False] and "threadsafe" not in said[True]
